"""Does a ceiling on the loss help where labels are wrong? Text messages, a line on 150 words, labels flipped at random in training.

A thousand messages of each split are for training, the others for counting mistakes, by labels that nobody has flipped.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from functools import cache

import torch
from torch import Tensor

from lossbook import linear, margins
from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired, within

TRAINING, WORDS = 1000, 150
TOLERANCE = 1e-4  # of the solvers: what is left to gain, relative to the objective


def run(arm: str, seed: int, *, flips: float, l2: float) -> dict[str, float]:
    """Train on a split with flipped labels, and count mistakes on the rest.

    Args:
        arm: "hinge"; "logistic"; "ramp" with its ceiling at 1, where a wrong point no longer pulls, or "ramp, ceiling 2", which is symmetric:
            φ(m) + φ(−m) = 2; both started at the hinge's line. "ramp, told" starts at the hinge's line for the labels that nobody has flipped, which
            in practice nobody has. "dropped" is the hinge, again and again without the points that it got wrong.
        seed: Of the split and of the flips.
        flips: The share of training labels that are flipped.
        l2: The ridge.

    Returns:
        `mistakes` on clean messages, in percent. `wrong_side`: training messages of negative margin, which the ramp with its ceiling at 1 lets go;
        `found`: how many of those were flipped; `flipped`: how many there were. `objective` at the end. `warned`: how often a solver did not reach
        its tolerance.
    """
    features, signs, order, luck = split(seed)
    train, rest = order[:TRAINING], order[TRAINING:]
    flipped = luck < flips
    noisy = torch.where(flipped, -signs[train], signs[train])
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        told = fitted("hinge", features[train], signs[train], l2) if arm == "ramp, told" else None
        fit = dropped(features[train], noisy, l2) if arm == "dropped" else fitted(arm, features[train], noisy, l2, told)
    wrong = noisy * fit.scores(features[train]) < 0
    return {
        "mistakes": 100 * float(margins.zero_one(signs[rest] * fit.scores(features[rest])).mean()),
        "wrong_side": int(wrong.sum()),
        "found": int((wrong & flipped).sum()),
        "flipped": int(flipped.sum()),
        "objective": float(fit.objective[-1]),
        "warned": len(warned),
    }


def fitted(arm: str, features: Tensor, signs: Tensor, l2: float, start: linear.LinearFit | None = None) -> linear.LinearFit:
    """One loss, one line; a ramp from a start, or from the hinge's line."""
    if arm.startswith("ramp"):
        loss = margins.ramp_minus_one if arm == "ramp, ceiling 2" else margins.ramp
        return linear.fit_linear(features, signs, loss=loss, l2=l2, solver="cccp", tolerance=TOLERANCE, start=start)
    return linear.fit_linear(features, signs, loss=arm, l2=l2, solver="newton", tolerance=TOLERANCE)


def dropped(features: Tensor, signs: Tensor, l2: float) -> linear.LinearFit:
    """The hinge's line; then, until nothing changes, that of the points which the last line got right: 20 times at most.

    The ramp lets a point go and keeps max(m, 1) of it, which is flat up to margin 1 and pulls back beyond. Here that is gone, too.
    """
    fit, kept = fitted("hinge", features, signs, l2), torch.ones(len(signs), dtype=torch.bool)
    for _ in range(20):
        before, kept = kept, signs * fit.scores(features) >= 0
        if torch.equal(before, kept):
            break
        fit = linear.fit_linear(features, signs, loss="hinge", l2=l2, solver="newton", tolerance=TOLERANCE, weight=kept.to(features.dtype))
    return fit


@cache
def messages() -> tuple[list[set[str]], Tensor]:
    """The words of each message, every number as one word; and 1 for spam, −1 for the rest."""
    texts, is_spam = data.sms_spam()
    bags = [set(re.findall(r"[a-z']+|[£!?]|\d+", text.lower())) for text in texts]
    return [{"<number>" if word.isdigit() else word for word in bag} for bag in bags], torch.where(is_spam == 1, 1.0, -1.0).double()


@cache
def split(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which of the training messages' commonest words each message has, the signs, an order of all messages, and a number in [0, 1] for each flip."""
    bags, signs = messages()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(bags), generator=generator)
    counts = Counter(word for row in order[:TRAINING].tolist() for word in sorted(bags[row]))
    column = {word: place for place, (word, _) in enumerate(counts.most_common(WORDS))}
    present = torch.zeros(len(bags), WORDS, dtype=torch.float64)
    for row, bag in enumerate(bags):
        present[row, [column[word] for word in bag if word in column]] = 1
    return present, signs, order, torch.rand(TRAINING, generator=generator)


ARMS = ("hinge", "logistic", "ramp", "ramp, ceiling 2", "ramp, told", "dropped")

STUDY = Study(
    run=run,
    chapter="ramp",
    question="Labels are flipped at random: does a loss with a ceiling make fewer mistakes than hinge and logistic loss, each at its own best ridge?",
    arms=ARMS,
    conditions={"flips": (0.0, 0.1, 0.2, 0.3)},
    tuned={arm: {"l2": (0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03)} for arm in ARMS},
    least="mistakes",
    tuning_seeds=range(100, 105),
    seeds=range(20),
    end=f"A convex solver stopped when it could gain no more than {TOLERANCE:g} of its objective, a ramp when one more bowl gained less than that, "
    "dropping when its points stayed the same; a lower valley of the ramp may exist.",
    ended=lambda numbers: numbers["warned"] == 0,
)


def precision(runs: Runs, arm: str) -> dict[int, float]:
    """By seed, how many of the messages on the wrong side have a flipped label, in percent, with two in ten flipped."""
    return {row["seed"]: 100 * row["found"] / row["wrong_side"] for row in runs.where(arm=arm, flips=0.2).rows}


def suspects(runs: Runs) -> Effect:
    """By how much the ramp's suspects are better than those of the hinge."""
    ramp, hinge = precision(runs, "ramp"), precision(runs, "hinge")
    return paired([ramp[seed] - hinge[seed] for seed in ramp])


FINDINGS = (
    Finding(
        "B01",
        "With three training labels in ten flipped, the ramp with its ceiling at 1 makes fewer mistakes than hinge and logistic loss, each at its "
        "own best ridge: {mean:.1f} in a hundred fewer than the better of them.",
        "mistakes of the nearer rival minus the ramp's, in percent of clean messages",
        lambda runs: runs.lead("mistakes", "ramp", "hinge", "logistic", flips=0.3),
        above(0),
    ),
    Finding(
        "B02",
        "With no label flipped the ceiling neither helps nor hurts by as much as half a point: hinge minus ramp is {low:.2f} to {high:.2f}.",
        "mistakes of the hinge minus the ramp's, in percent of clean messages",
        lambda runs: runs.difference("mistakes", "hinge", "ramp", flips=0.0),
        within(-0.5, 0.5),
    ),
    Finding(
        "B03",
        "With a thousand messages, three labels in ten of them flipped, the ramp that is symmetric, with its ceiling at 2, makes {mean:.1f} in a "
        "hundred more mistakes than the one with its ceiling at 1, which is not, each at the best of seven ridges.",
        "mistakes at ceiling 2 minus those at ceiling 1, in percent of clean messages",
        lambda runs: runs.difference("mistakes", "ramp, ceiling 2", "ramp", flips=0.3),
        above(0),
    ),
    Finding(
        "B04",
        "To let go of a point and to drop it come to the same here: with three labels in ten flipped, dropping the points on the wrong side and "
        "fitting the hinge again, until nothing changes, makes within half a point as many mistakes as the ramp.",
        "mistakes after dropping minus the ramp's, in percent of clean messages",
        lambda runs: runs.difference("mistakes", "dropped", "ramp", flips=0.3),
        within(-0.5, 0.5),
    ),
    Finding(
        "B05",
        "The start matters, too: begun at the line of the labels that nobody has flipped, the same ramp makes {mean:.1f} in a "
        "hundred fewer mistakes with three labels in ten flipped.",
        "mistakes from the hinge's line minus those from the told one, in percent of clean messages",
        lambda runs: runs.difference("mistakes", "ramp", "ramp, told", flips=0.3),
        above(0),
    ),
    Finding(
        "B06",
        "The ramp names its suspects, and so does the hinge: of the messages on the wrong side of their lines, with two labels in ten flipped, the "
        "ramp's have a flipped label in {mean:.1f} in a hundred more.",
        "share of flipped labels among those on the wrong side (ramp minus hinge), in percent",
        suspects,
        within(0, 5),
    ),
)
