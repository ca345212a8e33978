"""Which of four losses for ten classes decides best, where labels are right, and where the right one has no majority? Scanned digits.

A linear model in the pixels and one in 300 random features; every loss is brought to its minimum, which a bound from below confirms.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossbook import crossentropy, multiclass
from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired

Array = NDArray[np.float64]

TRAINING, CLASSES, FEATURES = 300, 10, 300
WIDTH = 0.01  # over which a kink is rounded off, in units of the margin
NEAR = 0.01  # of what all-zero weights cost: as far as the minimum may be
RIDGES = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5)
LOSSES = {
    "cross-entropy": crossentropy.cross_entropy,
    "Crammer-Singer": multiclass.crammer_singer,
    "Weston-Watkins": multiclass.weston_watkins,
    "Lee-Lin-Wahba": multiclass.lee_lin_wahba,
}
SHARES = {
    "right": (1.0,),
    "44, 28, 28": (0.44, 0.28, 0.28),
    "44, 40, 16": (0.44, 0.40, 0.16),
}


class Split(NamedTuple):
    """Features [N, D] and labels [N, C] to learn from, C labels an image with their shares [C]; features and digits that are kept back."""

    features: Array
    labels: NDArray[np.int64]
    shares: Array
    others: Array
    digits: NDArray[np.int64]


class Fit(NamedTuple):
    """Weights [D, K], how far above the least objective they can be, and how much they gain, both as shares of what all-zero weights cost."""

    weights: Array
    gap: float
    gain: float


def run(arm: str, seed: int, *, features: str, labels: str, l2: float) -> dict[str, float]:
    """Train on 300 digits, decide on the others.

    Args:
        arm: "cross-entropy", "Crammer-Singer", "Weston-Watkins" or "Lee-Lin-Wahba".
        seed: Of the split and the random features.
        features: "64 pixels" or "300 cosines" of random sums of them; a constant comes on top.
        labels: "right"; "44, 28, 28" for each image with three labels at once, 44% its digit, 28% the next and 28% the one after; and "44, 40, 16".
        l2: The ridge.

    Returns:
        `mistakes`: images kept back whose digit has not the highest score, in percent; all of them where all-zero weights cost no more than those
        found, since these are the better fit then, and all scores are equal. `misread`: by the weights that were found, whatever they cost. `gap`:
        what is left to gain, and `gain`: what was gained, both as shares of what all-zero weights cost.
    """
    split, found = drawn(seed, features, labels), fitted(arm, seed, features, labels, l2)
    misread = 100 * float(((split.others @ found.weights).argmax(axis=1) != split.digits).mean())
    return {"mistakes": misread if found.gain > 0 else 100.0, "misread": misread, "gap": found.gap, "gain": found.gain}


@lru_cache(maxsize=16)
def drawn(seed: int, features: str, labels: str) -> Split:
    """The digits of one seed."""
    scans = data.digits()
    digits, pixels = scans.labels.numpy(), scans.images.flatten(1).double().numpy()
    seen = pixels - pixels.mean(axis=0)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(digits))
    sums, phases = generator.normal(size=(64, FEATURES)) / 2.2, generator.uniform(0, 2 * math.pi, FEATURES)
    if features == "300 cosines":
        seen = np.cos(seen @ sums + phases) / 2
    seen = np.hstack([seen, np.ones((len(seen), 1))])
    train, rest = order[:TRAINING], order[TRAINING:]
    shares = np.array(SHARES[labels])
    given = (digits[train][:, None] + np.arange(len(shares))) % CLASSES
    return Split(seen[train], given, shares, seen[rest], digits[rest])


@cache
def fitted(arm: str, seed: int, features: str, labels: str, l2: float) -> Fit:
    """Least mean loss + l2/2 |w|², by L-BFGS; it begins where ten times the ridge has ended.

    The weights are counted in units in which the objective is about as steep in every direction. With the largest ridge kinks are first rounded
    off over a tenth of the margin, then, as with all others, over `WIDTH`.
    """
    from scipy.optimize import minimize

    split = drawn(seed, features, labels)
    left, sizes, right = _directions(seed, features, labels)
    unit = 1 / np.sqrt(sizes**2 / TRAINING + l2)
    begun = right @ fitted(arm, seed, features, labels, 10 * l2).weights / unit[:, None] if l2 < max(RIDGES) else np.zeros((len(unit), CLASSES))
    loss = partial(rounded, arm, labels=split.labels, shares=split.shares)

    def objective(flat: Array, width: float) -> tuple[float, Array]:
        weights = unit[:, None] * flat.reshape(begun.shape)
        mean, slope, _ = loss(left @ (sizes[:, None] * weights), width=width)
        gradient = sizes[:, None] * (left.T @ slope) + l2 * weights
        return mean + l2 / 2 * float((weights**2).sum()), (unit[:, None] * gradient).ravel()

    found = begun.ravel()
    for width in (0.1, WIDTH) if l2 == max(RIDGES) else (WIDTH,):
        options = {"maxiter": 1200, "maxfun": 2400, "maxcor": 20, "ftol": 1e-8, "gtol": 1e-5}
        found = minimize(objective, found, args=(width,), jac=True, method="L-BFGS-B", options=options).x
    weights = right.T @ (unit[:, None] * found.reshape(begun.shape))
    return Fit(weights, *judged(arm, split, weights, l2))


def judged(arm: str, split: Split, weights: Array, l2: float) -> tuple[float, float]:
    """Gap and gain of some weights, as shares of what all-zero weights cost; the losses are the package's, kinks and all.

    Each loss is the largest of many planes a·s + c. Any choice of them bounds the objective from below by mean c - |gradient of mean a·s|² / (2 l2).
    """
    scores = split.features @ weights
    _, slope, level = rounded(arm, scores, split.labels, split.shares, WIDTH)
    bound = level - float(((split.features.T @ slope) ** 2).sum()) / (2 * l2)
    nothing = sharp(arm, np.zeros_like(scores), split)
    cost = sharp(arm, scores, split) + l2 / 2 * float((weights**2).sum())
    return (cost - bound) / nothing, (nothing - cost) / nothing


def sharp(arm: str, scores: Array, split: Split) -> float:
    """The mean loss by the package."""
    centred: Tensor = torch.from_numpy(scores - scores.mean(axis=1, keepdims=True))
    labels = torch.from_numpy(split.labels)
    return sum(float(share * LOSSES[arm](centred, given)) for share, given in zip(split.shares, labels.T, strict=True))  # type: ignore[operator, misc]


def rounded(arm: str, scores: Array, labels: NDArray[np.int64], shares: Array, width: float) -> tuple[float, Array, float]:
    """The mean loss, kinks rounded off; its slope in the scores [N, K], which is a mean of slopes a of planes; and the mean of their levels c."""
    hot = np.eye(CLASSES)[labels]  # [N, C, K]
    if arm == "cross-entropy":
        exps = np.exp(scores - scores.max(axis=1, keepdims=True))
        probs = exps / exps.sum(axis=1, keepdims=True)
        logs = np.log(np.maximum(probs, 1e-300))
        targets = shares @ hot
        return -float((targets * logs).sum(axis=1).mean()), (probs - targets) / len(scores), -float((probs * logs).sum(axis=1).mean())
    if arm == "Lee-Lin-Wahba":
        wrong = 1 - shares @ hot
        bent, say = hinge(1 + scores - scores.mean(axis=1, keepdims=True), width)
        say = wrong * say
        return float((wrong * bent).sum(axis=1).mean()), (say - say.mean(axis=1, keepdims=True)) / len(scores), float(say.sum(axis=1).mean())
    gaps = scores[:, None] - np.take_along_axis(scores, labels, axis=1)[:, :, None] + 1 - hot  # 1 + s_j - s_y; 0 for the right class
    if arm == "Crammer-Singer":
        say = simplex(gaps / width)
        bent = (say * gaps).sum(axis=2) - width / 2 * (say**2).sum(axis=2)
        slope = say - hot
    else:
        each, say = hinge(gaps, width)
        bent = each.sum(axis=2)
        slope = say - hot * say.sum(axis=2, keepdims=True)
    level = (say * (1 - hot)).sum(axis=2)
    return float((bent @ shares).mean()), np.einsum("c,nck->nk", shares, slope) / len(scores), float((level @ shares).mean())


def hinge(gaps: Array, width: float) -> tuple[Array, Array]:
    """max(0, gap) with its kink rounded off by a piece of a parabola, and its slope."""
    slope = np.clip(gaps / width, 0, 1)
    return slope * (gaps - width / 2 * slope), slope


def simplex(points: Array) -> Array:
    """The distribution that is nearest to each point; its slope is what rounds the largest of K numbers off."""
    falling = -np.sort(-points, axis=-1)
    excess = (falling.cumsum(axis=-1) - 1) / np.arange(1, CLASSES + 1)
    last = (falling > excess).sum(axis=-1, keepdims=True) - 1
    return np.maximum(points - np.take_along_axis(excess, last, axis=-1), 0)


@lru_cache(maxsize=16)
def _directions(seed: int, features: str, labels: str) -> tuple[Array, Array, Array]:
    left, sizes, right = np.linalg.svd(drawn(seed, features, labels).features, full_matrices=False)
    return left, sizes, right


STUDY = Study(
    run=run,
    chapter="restricted",
    question="Of four losses for ten classes, two of them consistent, which decides best where labels are right and where the right one has no "
    "majority, in a linear model of the pixels and in a rich one, each at its own best ridge and at its minimum?",
    arms=tuple(LOSSES),
    conditions={"features": ("64 pixels", "300 cosines"), "labels": tuple(SHARES)},
    tuned={arm: {"l2": RIDGES} for arm in LOSSES},
    least="mistakes",
    tuning_seeds=range(100, 108),
    seeds=range(12),
    end=f"Every objective is convex. By a bound from below what is left to gain, kinks and all, is below {100 * NEAR:g}% of what all-zero weights "
    "cost, and below a tenth of what was gained, where anything was.",
    ended=lambda numbers: numbers["gap"] < NEAR and (numbers["gain"] <= 0 or numbers["gap"] < numbers["gain"] / 10),
)


def worse(runs: Runs, arm: str, *others: str, **settings: Any) -> Effect:
    """How many more mistakes an arm makes than each of the others: the comparison that comes nearest to none."""
    return min((runs.difference("mistakes", arm, other, comparisons=len(others), **settings) for other in others), key=lambda effect: effect.low)


def cost_of_a_strong_second(runs: Runs) -> Effect:
    """By how many mistakes more Weston-Watkins pays than Lee-Lin-Wahba for a second label of 40% in place of 28%, on cosines."""

    def added(arm: str) -> list[float]:
        even, uneven = (runs.by_seed("mistakes", arm, features="300 cosines", labels=labels) for labels in ("44, 28, 28", "44, 40, 16"))
        return [uneven[seed] - even[seed] for seed in even]

    return paired([ours - theirs for ours, theirs in zip(added("Weston-Watkins"), added("Lee-Lin-Wahba"), strict=True)])


FINDINGS = (
    Finding(
        "B90",
        "With right labels and linear scores of the pixels, Lee-Lin-Wahba, which is consistent, makes {mean:.0f} mistakes in a hundred more than the "
        "nearest of the other three losses.",
        "mistakes of Lee-Lin-Wahba minus those of the nearest rival, in percent of digits kept back",
        lambda runs: worse(runs, "Lee-Lin-Wahba", "cross-entropy", "Crammer-Singer", "Weston-Watkins", features="64 pixels", labels="right"),
        above(0),
    ),
    Finding(
        "B91",
        "On 300 cosines, under the shares 44, 28 and 28, cross-entropy, consistent at any shares, makes {mean:.0f} mistakes in a hundred more than "
        "Weston-Watkins, which is consistent at these.",
        "mistakes of cross-entropy minus those of Weston-Watkins, in percent of digits kept back",
        lambda runs: runs.difference("mistakes", "cross-entropy", "Weston-Watkins", features="300 cosines", labels="44, 28, 28"),
        above(0),
    ),
    Finding(
        "B92",
        "On 300 cosines a second label of 40% in place of 28%, at which Weston-Watkins ties the two, adds {mean:.0f} mistakes in a hundred more "
        "under Weston-Watkins than under Lee-Lin-Wahba.",
        "mistakes under 44, 40, 16 minus those under 44, 28, 28, Weston-Watkins minus Lee-Lin-Wahba, in percent",
        cost_of_a_strong_second,
        above(0),
    ),
    Finding(
        "B93",
        "On 300 cosines, under the shares 44, 28 and 28, the weights found for Crammer-Singer cost no less than all-zero weights, in every split; "
        "and all-zero weights leave every digit a tie.",
        "mistakes of Crammer-Singer, ties among them, in percent of digits kept back",
        lambda runs: runs.mean("mistakes", "Crammer-Singer", features="300 cosines", labels="44, 28, 28"),
        above(99),
    ),
)
