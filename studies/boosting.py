"""What do flipped labels do to boosting, and is it the exponential loss that lets them? Tumours, stumps, a fifth of the training labels flipped.

What decides is mistakes on the other half of the tumours, whose labels nobody has flipped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook import linear, margins
from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired, within

LAST = {1.0: 400, 0.1: 4000}  # by what a step is multiplied by: as long a way
NEWTON = 40  # steps of a line search at most


class Split(NamedTuple):
    """Half of the tumours to learn from, with some labels flipped, and the other half as it is."""

    features: Tensor
    signs: Tensor
    others: Tensor
    other_signs: Tensor


class Path(NamedTuple):
    """Mistakes by round on the other half [T], and after the last on the half that was learned from, its labels as they were seen; in percent."""

    others: Tensor
    training: float


def run(arm: str, seed: int, *, flips: float, stop: float, l2: float) -> dict[str, float]:
    """Boost stumps on one half of the tumours, leave off after some rounds, and count mistakes on the other.

    Args:
        arm: "exponential" is AdaBoost, "logistic" the same descent on another loss; "..., shrunk" multiplies each step by 0.1. "line" is no
            boosting, but logistic regression with a ridge.
        seed: Of the split and of the flips.
        flips: The chance of each training label to be flipped.
        stop: After how many rounds to leave off; ten times as many where steps are shrunk.
        l2: The ridge of "line".

    Returns:
        `mistakes`: on the other half, in percent; `last`: the same after all 400 rounds, or 4000; `training`: mistakes, after those, on the half
        that was learned from, with its labels as they were seen.
    """
    split = drawn(seed, flips)
    if arm == "line":
        fit = linear.fit_linear(split.features, split.signs, loss="logistic", l2=l2, solver="newton")
        wrong = mistakes(split.other_signs * fit.scores(split.others))
        return {"mistakes": wrong, "last": wrong, "training": mistakes(split.signs * fit.scores(split.features))}
    path = boosted(arm, seed, flips)
    rounds = round(stop * (10 if arm.endswith("shrunk") else 1))
    return {"mistakes": float(path.others[rounds - 1]), "last": float(path.others[-1]), "training": path.training}


def mistakes(margin: Tensor) -> float:
    """In percent."""
    return 100 * float(margins.zero_one(margin).mean())


@cache
def boosted(arm: str, seed: int, flips: float) -> Path:
    """Descent in function space: the stump that the slope of the loss points to, then down along it to the bottom, or a tenth of the way."""
    split = drawn(seed, flips)
    loss, shrink = arm.partition(",")[0], 0.1 if arm.endswith("shrunk") else 1.0
    steepest = stumps(split)
    margin, other = torch.zeros_like(split.signs), torch.zeros_like(split.other_signs)
    others = []
    for _ in range(LAST[shrink]):
        pull = -margins.LOSSES[loss].derivative(margin)
        here, there = steepest(pull * split.signs)
        step = shrink * bottom(loss, margin, split.signs * here)
        margin, other = margin + step * split.signs * here, other + step * there
        others.append(mistakes(split.other_signs * other))
    return Path(torch.tensor(others), mistakes(margin))


def stumps(split: Split) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A search: for a number on each example, the stump [N] that has the greatest product with it, and what it says of the others."""
    values, order = split.features.sort(dim=0)
    splits = values[1:] > values[:-1]  # between neighbours that differ

    def search(toward: Tensor) -> tuple[Tensor, Tensor]:
        products = toward.sum() - 2 * toward[order].cumsum(dim=0)[:-1]  # of −1 up to here and +1 beyond
        best = int(torch.where(splits, products.abs(), -1).argmax())
        row, column = divmod(best, products.shape[1])
        threshold = (values[row, column] + values[row + 1, column]) / 2
        sign = float(products[row, column].sign())
        return tuple(sign * torch.where(table[:, column] > threshold, 1.0, -1.0).double() for table in (split.features, split.others))  # type: ignore[return-value]

    return search


def bottom(loss: str, margin: Tensor, direction: Tensor) -> float:
    """Where the mean loss is least along a direction of −1 and +1: for the exponential loss half the log odds, else by Newton's steps."""
    if loss == "exponential":
        weight = (-margin).softmax(0)
        wrong = float(weight[direction < 0].sum())
        return 0.5 * float(torch.log(torch.tensor((1 - wrong) / wrong, dtype=torch.float64)))
    length = 0.0
    for _ in range(NEWTON):
        pull = torch.sigmoid(-margin - length * direction)
        change = float((direction * pull).sum() / (pull * (1 - pull)).sum())
        length += max(-1.0, min(1.0, change))
        if abs(change) < 1e-9:
            break
    return length


@cache
def drawn(seed: int, flips: float) -> Split:
    """A split and its flips."""
    tumours, generator = data.breast_cancer(), torch.Generator().manual_seed(seed)
    order = torch.randperm(len(tumours.signs), generator=generator)
    train, rest = order[: len(order) // 2], order[len(order) // 2 :]
    signs = tumours.signs.double()
    flipped = torch.rand(len(train), generator=generator) < flips
    return Split(tumours.features[train], torch.where(flipped, -signs[train], signs[train]), tumours.features[rest], signs[rest])


STOPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100, 150, 250, 400)
RIDGES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 2e-2, 3e-2, 5e-2, 7e-2, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
BOOSTED = ("exponential", "logistic", "exponential, shrunk", "logistic, shrunk")

STUDY = Study(
    run=run,
    chapter="boosting",
    question="A fifth of the labels is flipped: what do they cost boosted stumps, and is the cost due to the exponential loss, to full steps, or "
    "to going on for too long?",
    arms=(*BOOSTED, "line"),
    conditions={"flips": (0.0, 0.2)},
    tuned={arm: {"stop": STOPS, "l2": (0.0,)} for arm in BOOSTED} | {"line": {"stop": (0,), "l2": RIDGES}},
    least="mistakes",
    tuning_seeds=range(100, 108),
    seeds=range(20),
    end="Boosting has no end where some sum of stumps gets all labels right: after the last round fewer than three in a hundred of those learned "
    "from, flipped ones among them, did not come out as they were seen. To stop before that is a choice.",
    ended=lambda numbers: numbers["arm"] == "line" or numbers["training"] < 3,
)


def harm(runs: Runs, number: str, arm: str) -> Effect:
    """By how much more mistakes an arm makes with a fifth of the labels flipped than with none."""
    flipped, true = (runs.by_seed(number, arm, flips=flips) for flips in (0.2, 0.0))
    return paired([flipped[seed] - true[seed] for seed in flipped])


def stopped(runs: Runs) -> Effect:
    """By how much fewer mistakes AdaBoost makes when it is stopped in time, a fifth of the labels flipped."""
    return paired([row["last"] - row["mistakes"] for row in runs.where(arm="exponential", flips=0.2).rows])


FINDINGS = (
    Finding(
        "B100",
        "Boosted for 400 rounds, AdaBoost makes {mean:.1f} in a hundred more mistakes on others where a fifth of the labels that it learned from is "
        "flipped than where none is.",
        "mistakes after 400 rounds with a fifth flipped minus those with none, in percent",
        lambda runs: harm(runs, "last", "exponential"),
        above(0),
    ),
    Finding(
        "B101",
        "The logistic loss doesn't help: with a fifth flipped, after 400 rounds it makes {mean:.1f} in a hundred more mistakes than the exponential.",
        "mistakes after 400 rounds, logistic minus exponential, a fifth flipped, in percent",
        lambda runs: runs.difference("last", "logistic", "exponential", flips=0.2),
        above(0),
    ),
    Finding(
        "B102",
        "With a fifth flipped, AdaBoost makes {mean:.1f} in a hundred fewer mistakes where it is stopped in time than after 400 rounds.",
        "mistakes after 400 rounds minus those at the stop, in percent",
        stopped,
        above(0),
    ),
    Finding(
        "B103",
        "Steps of a tenth add to that: each stopped at its own best, they make another {mean:.1f} in a hundred fewer.",
        "mistakes at the stop, full steps minus a tenth of each, exponential loss, a fifth flipped, in percent",
        lambda runs: runs.difference("mistakes", "exponential", "exponential, shrunk", flips=0.2),
        above(0),
    ),
    Finding(
        "B104",
        "With short steps, stopped in time, and a fifth flipped, the losses differ by less than one mistake in a hundred.",
        "mistakes at the stop, exponential minus logistic, steps of a tenth, in percent",
        lambda runs: runs.difference("mistakes", "exponential, shrunk", "logistic, shrunk", flips=0.2),
        within(-1, 1),
    ),
    Finding(
        "B105",
        "With short steps and stopped in time, a fifth of flipped labels still costs {mean:.1f} mistakes in a hundred.",
        "mistakes at the stop, exponential loss, steps of a tenth, a fifth flipped minus none, in percent",
        lambda runs: harm(runs, "mistakes", "exponential, shrunk"),
        above(0),
    ),
)
