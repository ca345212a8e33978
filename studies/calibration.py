"""How many mistakes go with how much excess loss, as samples grow? A table with a score of its own for every kind of person: all functions there are.

The truth is known: the shares of a census of 12 000 people, or shares that were made up for 244 kinds. The promise of a calibrated loss is a bound on
the excess of mistakes by the excess of loss; here both are computed, without a test set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossbook import consistency, margins
from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired, within

SIZES = (4000, 16000, 64000, 256000)
SAMPLES, STEPS = 25, 40  # in a run; of Newton's method
NEARLY = 1e-9  # what may be left of the objective's slope, relative to the sample


class Truth(NamedTuple):
    """Of every kind of person the share of all people, and the share of +1 among them, [K] each."""

    share: Tensor
    eta: Tensor


def run(arm: str, seed: int, *, truth: str, size: int, l2: float) -> dict[str, float]:
    """Fit a table to samples from a known truth, and take the excesses over the best of all tables.

    Args:
        arm: "hinge", "logistic" or "squared".
        seed: Of the samples.
        truth: "census": kinds are married or not, sixteen levels of schooling, eight ages, and +1 is an income above 50 000 dollars. "even": as many
            kinds, as common as each other, with η spread evenly over [0, 1]. "narrow": the same with η = (1 ± θ)/2, where θ is one standard
            deviation of what a sample says of it.
        size: Of each sample.
        l2: The ridge on every score, beside a sum of losses over the sample.

    Returns:
        `loss`, `mistakes`: the excess of each, a mean over 25 samples, with a score of 0 on the less likely side; `ties`: how much of the mistakes is
        at scores of 0; `coins`: the mistakes if a coin decides there; `slope`: what is left of the objective's slope, relative to the sample.
    """
    share, eta = truth_of(truth, size)
    scores, slope = table(arm, *answers(truth, size, seed), l2)
    etas = eta.expand_as(scores)
    wrong = torch.where(etas > 0.5, scores <= 0, scores >= 0)
    phi = margins.LOSSES[arm]
    loss = float(((phi.conditional_risk(etas, scores) - phi.minimal_risk(etas)) @ share).mean())
    extra = (2 * etas - 1).abs()
    mistakes, ties = (float(((extra * where) @ share).mean()) for where in (wrong, scores == 0))
    return {"loss": loss, "mistakes": mistakes, "ties": ties, "coins": mistakes - ties / 2, "slope": slope}


def table(arm: str, positive: Tensor, negative: Tensor, l2: float) -> tuple[Tensor, float]:
    """For each kind the score of least loss plus ridge, by a formula or by Newton's method; and the slope that is left."""
    ahead, count = positive - negative, positive + negative
    if arm == "hinge":
        return (ahead / l2).clamp(-1, 1), 0.0
    if arm == "squared":
        return 2 * ahead / (2 * count + l2), 0.0
    scores = torch.zeros_like(ahead)  # from 0 the method never oversteps, since the slope is concave on the way
    for _ in range(STEPS):
        sigma = torch.sigmoid(scores)
        slope = count * sigma - positive + l2 * scores
        scores = scores - slope / (count * sigma * (1 - sigma) + l2)
    return scores, float(slope.abs().max() / count.sum(dim=1).max())


@cache
def answers(truth: str, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """How often each kind said +1 and -1, [samples, K] each; all losses and ridges get the same."""
    share, eta = truth_of(truth, size)
    drawn = np.random.default_rng(seed).multinomial(size, torch.cat([share * eta, share * (1 - eta)]).numpy(), SAMPLES)
    counts = torch.from_numpy(drawn).double()
    positive, negative = counts.chunk(2, dim=1)
    return positive, negative


@cache
def census() -> Truth:
    """Married or not, sixteen levels of schooling, eight ages with about as many people in each: the kinds that somebody belongs to."""
    people = data.adult()
    column = {name: people.features[:, place].contiguous() for place, name in enumerate(people.names)}
    married = (column["marital_status=Married-civ-spouse"] > 0).long()
    schooling = column["education_num"].unique(return_inverse=True)[1]  # type: ignore[no-untyped-call]
    age = torch.bucketize(column["age"], column["age"].quantile(torch.linspace(0, 1, 9, dtype=torch.float64)[1:-1]))
    kind = ((16 * married + schooling) * 8 + age).unique(return_inverse=True)[1]
    count = torch.bincount(kind).double()
    return Truth(count / count.sum(), torch.bincount(kind, weights=(people.signs > 0).double()) / count)


def truth_of(name: str, size: int) -> Truth:
    """The truth by its name; the narrow one has its θ from the size, one over the root of the answers a kind gets."""
    share, eta = census()
    if name == "census":
        return Truth(share, eta)
    place = torch.arange(len(share), dtype=torch.float64)
    theta = math.sqrt(len(share) / size)
    eta = (place + 0.5) / len(share) if name == "even" else 0.5 + theta / 2 * (1 - 2 * (place % 2))
    return Truth(torch.full_like(share, 1 / len(share)), eta)


ARMS = ("hinge", "logistic", "squared")
# On the census at 256,000 the log loss takes the last one, since kinds of one answer want infinite scores: 1e-12 gains less than 1e-8 nats.
RIDGES = (10_000, 3000, 1000, 300, 100, 30, 10, 3, 1, 0.3, 0.1, 0.03, 0.01, 0.001, 1e-4, 1e-6)

STUDY = Study(
    run=run,
    chapter="calibration",
    question="As samples grow, with which power of the excess loss do the excess mistakes fall, for a loss that promises a root and for one that "
    "promises a line, and does that hang on the loss or on how near to a fair coin the truth is?",
    arms=ARMS,
    conditions={"truth": ("census", "even", "narrow"), "size": SIZES},
    tuned={arm: {"l2": RIDGES} for arm in ARMS},
    least="loss",
    tuning_seeds=range(100, 108),
    seeds=range(20),
    end="Two of three minimisers are formulas, and Newton's method left no slope for the third. All ridges up to 1 give the hinge one table.",
    ended=lambda numbers: numbers["slope"] < NEARLY,
)


def one_ridge(runs: Runs, l2: float, truth: str = "census") -> Effect:
    """By seed of the tuning, the power of the log loss where all sizes have the same ridge."""
    return power(Runs([row for row in runs.about["tuning"] if row["l2"] == l2], {}), "logistic", truth)


def power(runs: Runs, arm: str, truth: str, sizes: Sequence[int] = SIZES, counted: str = "mistakes") -> Effect:
    """By seed, the slope of ln mistakes over ln loss among the sizes; 0 where the loss doesn't move."""

    def logs(number: str, seed: int) -> list[float]:
        rows = {row["size"]: row[number] for row in chosen if row["seed"] == seed}
        return [math.log(max(rows[size], 1e-12)) for size in sizes]

    def slope(seed: int) -> float:
        loss, mistakes = (np.array(logs(number, seed)) for number in ("loss", counted))
        loss = loss - loss.mean()
        spread = float(loss @ loss)
        return float(loss @ mistakes) / spread if spread > 0 else 0.0

    chosen = runs.where(arm=arm, truth=truth).rows
    return paired([slope(seed) for seed in sorted({row["seed"] for row in chosen})])


def bend(runs: Runs, counted: str = "mistakes") -> Effect:
    """By seed, how much the power of the log loss on the census is higher at the small sizes than at the large ones."""
    early, late = (power(runs, "logistic", "census", sizes, counted).each for sizes in (SIZES[:2], SIZES[1:]))
    return paired([one - other for one, other in zip(early, late, strict=True)])


def allowed(runs: Runs, arm: str, truth: str, size: int) -> list[float]:
    """By seed, the excess of mistakes that a loss promises not to exceed, at the excess that it has."""
    loss = runs.by_seed("loss", arm, truth=truth, size=size)
    found = consistency.excess_risk_bound(margins.LOSSES[arm], torch.tensor([max(loss[seed], 1e-12) for seed in sorted(loss)], dtype=torch.float64))
    return [float(value) for value in found]


def looser(runs: Runs, size: int = 64000) -> Effect:
    """On the census, how many times what the hinge allows is what the logistic loss allows; both tables decide alike."""
    ours, theirs = (allowed(runs, arm, "census", size) for arm in ("logistic", "hinge"))
    return paired([one / other for one, other in zip(ours, theirs, strict=True)])


def said(runs: Runs) -> dict[str, float]:
    """The numbers in the chapter's prose: of the census, powers from size to size and with one ridge, the last size, and how far losses fell."""

    def mean(number: str, arm: str, truth: str) -> np.ndarray:
        return np.array([np.mean(list(runs.by_seed(number, arm, truth=truth, size=size).values())) for size in SIZES])

    share, eta = census()
    loss, mistakes = mean("loss", "logistic", "census"), mean("mistakes", "logistic", "census")
    steps = np.diff(np.log(mistakes)) / np.diff(np.log(loss))
    falls = {f"fell-{arm}-{truth}": mean("loss", arm, truth) for arm in ("logistic", "hinge") for truth in ("census", "even")}
    return {
        "kinds": len(share),
        "agreed": int(((eta == 0) | (eta == 1)).sum()),
        "agreed-people": 100 * float(share[(eta == 0) | (eta == 1)].sum()),
        "ties-first": float(100 * mean("ties", "logistic", "census")[0] / mistakes[0]),
        "ties-last": float(100 * mean("ties", "logistic", "census")[-1] / mistakes[-1]),
        "coins-power": power(runs, "logistic", "census", counted="coins").mean,
        "coins-bend": bend(runs, "coins").mean,
        "even-power": power(runs, "logistic", "even").mean,
        "near": 100 * float(share[(2 * eta - 1).abs() < 0.1].sum()),
        "seeds": len(STUDY.seeds),
        "ridge-1": one_ridge(runs, 1).mean,
        "ridge-least": one_ridge(runs, RIDGES[-1]).mean,
        "narrow-least": min(one_ridge(runs, l2, "narrow").mean for l2 in RIDGES),
        "narrow-most": max(one_ridge(runs, l2, "narrow").mean for l2 in RIDGES),
        "last-logistic": float(np.mean(allowed(runs, "logistic", "census", SIZES[-1]))),
        "last-mistakes": float(mistakes[-1]),
        **{f"step-{place}": float(step) for place, step in zip(("first", "second", "third"), steps, strict=True)},
        **{name: float(losses[0] / losses[-1]) for name, losses in falls.items()},
    }


FINDINGS = (
    Finding(
        "B40",
        "On a table of a census, from 4,000 to 256,000 answers and with the ridge chosen afresh for each size, excess mistakes fall like the excess "
        "log loss to the power {mean:.2f}, where the promise by itself grants the power one half.",
        "power of the excess log loss with which excess mistakes fall",
        lambda runs: power(runs, "logistic", "census"),
        above(0.8),
    ),
    Finding(
        "B41",
        "Where the likelier answer leads by one standard deviation of what the sample says, so by less as the sample grows, the power is {mean:.2f} "
        "for the log loss: hardly more than one half.",
        "power of the excess log loss with which excess mistakes fall, narrow leads",
        lambda runs: power(runs, "logistic", "narrow"),
        within(0.45, 0.6),
    ),
    Finding(
        "B42",
        "It is not the logarithm: for the squared error with narrow leads the power is {mean:.2f}, too.",
        "power of the excess squared error with which excess mistakes fall, narrow leads",
        lambda runs: power(runs, "squared", "narrow"),
        within(0.45, 0.6),
    ),
    Finding(
        "B43",
        "The power of the log loss on the census is the mean of a bend: it is higher by {mean:.2f} from 4,000 to 16,000 answers than from there "
        "to 256,000.",
        "power of the excess log loss from the first size to the second, minus that from the second to the last",
        bend,
        above(0.2),
    ),
    Finding(
        "B44",
        "Two tables of the census that decide alike, from 64,000 answers, get different promises: the log loss allows {mean:.0f} times as many "
        "mistakes as the hinge, each at its best ridge and the excess that this leaves.",
        "mistakes allowed by the log loss over those allowed by the hinge",
        looser,
        above(10),
    ),
)
