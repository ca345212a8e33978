"""Does the squared loss suffer from points that are right by far? Scanned digits, "is it a nine?", and a second scanner with a stronger lamp.

Three in ten of the nines to learn from come from the second scanner, brighter by a factor, or are left out; the half that is held out comes from the
first alone.
"""

from __future__ import annotations

import warnings
from functools import cache

import torch
from torch import Tensor

from lossbook import linear
from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired, within

TRAINING, BRIGHT = 898, 0.3
TOLERANCE = 1e-6  # of the solver: what is left to gain, relative to the objective


def run(arm: str, seed: int, *, gain: int, weights: str, l2: float) -> dict[str, float]:
    """Train on one half of the digits, some nines brighter or left out, and count on the other half.

    Args:
        arm: "squared", "logistic", "hinge", "squared hinge", the squared loss without a charge above margin 1: for a line on the 64 pixels.
            With ", 200 ReLUs" behind it, for a line on so many max(0, a·x + c) in place of the pixels, with random a, and c from -1 to 1.
        seed: Of the halves, of which nines are bright, and of ReLUs.
        gain: How much brighter these nines are; 1 for not at all, 0 for left out.
        weights: "equal" for every example, or "balanced": nines together weigh as much as all other digits together, which is about 9 to 1.
        l2: The ridge.

    Returns:
        `missed`: the share of nines taken for others; `alarms`: of others taken for nines; `mistakes`: of all digits that are wrong; `disordered`:
        of pairs of a nine and another in which the nine has the lower score; in percent of the half held out. `cost`: mistakes as the training
        weighs them. `bright_wrong`: of the bright nines that were learned from, 0 where there are none. `warned`: whether the solver didn't reach
        its tolerance.
    """
    pixels, signs, bright, order = halves(seed)
    train, rest = order[:TRAINING], order[TRAINING:]
    if gain == 0:
        train, bright = train[~bright], bright[~bright]
    seen = torch.where(bright[:, None], gain * pixels[train], pixels[train])
    unseen = pixels[rest]
    loss, _, units = arm.partition(", ")
    if units:
        count = int(units.removesuffix(" ReLUs"))
        seen, unseen = relus(seen, count, seed), relus(unseen, count, seed)
    nines = (signs[train] > 0).double()
    weight = nines / (2 * nines.mean()) + (1 - nines) / (2 - 2 * nines.mean()) if weights == "balanced" else None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fit = linear.fit_linear(seen, signs[train], loss=loss.replace(" ", "_"), l2=l2, weight=weight, solver="newton", tolerance=TOLERANCE)
    scores = fit.scores(unseen)
    ours, others = scores[signs[rest] > 0], scores[signs[rest] < 0]
    missed, alarms = percent(ours <= 0), percent(others >= 0)
    mistakes = percent(signs[rest] * scores <= 0)
    return {
        "missed": missed,
        "alarms": alarms,
        "mistakes": mistakes,
        "cost": mistakes if weights == "equal" else (missed + alarms) / 2,
        "disordered": percent(ours[:, None] <= others),
        "bright_wrong": percent(fit.scores(seen)[bright] <= 0) if gain > 0 else 0.0,
        "warned": len(warned),
    }


def percent(wrong: Tensor) -> float:
    """How many are."""
    return 100 * float(wrong.double().mean())


def relus(images: Tensor, count: int, seed: int) -> Tensor:
    """max(0, a·x + c) with random a, of spread 1/8 an entry, and c from -1 to 1: the hidden layer of a network that isn't trained."""
    ways = torch.randn(images.shape[1], count, generator=torch.Generator().manual_seed(seed), dtype=images.dtype) / 8
    return (images @ ways + torch.linspace(-1, 1, count, dtype=images.dtype)).clamp(min=0)


@cache
def halves(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pixels [N, 64] from 0 to 1, signs (+1 for a nine), which of the training images come from the second scanner, an order of all images."""
    scans = data.digits()
    signs = torch.where(scans.labels == 9, 1.0, -1.0).double()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(signs), generator=generator)
    bright = (signs[order[:TRAINING]] > 0) & (torch.rand(TRAINING, generator=generator) < BRIGHT)
    return scans.images.flatten(1).double(), signs, bright, order


ARMS = (
    "squared",
    "squared hinge",
    "logistic",
    "hinge",
    "squared, 200 ReLUs",
    "squared hinge, 200 ReLUs",
    "logistic, 200 ReLUs",
    "squared, 50 ReLUs",
    "logistic, 50 ReLUs",
)

STUDY = Study(
    run=run,
    chapter="impostor",
    question="Some nines to learn from are brighter than those to come: does that hurt the squared loss more than others, compared with leaving them "
    "out, each at its own best ridge, and what remains of it where nines weigh as much as all others, or the model can bend?",
    arms=ARMS,
    conditions={"gain": (0, 1, 2, 8), "weights": ("equal", "balanced")},
    tuned={arm: {"l2": (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)} for arm in ARMS},
    least="cost",
    tuning_seeds=range(100, 108),
    seeds=range(40),
    end=f"Every objective is convex, and the solver stopped when it could gain no more than {TOLERANCE:g} of it.",
    ended=lambda numbers: numbers["warned"] == 0,
)


def added(runs: Runs, number: str, weights: str, arm: str = "squared", rivals: tuple[str, ...] = ("logistic", "hinge")) -> Effect:
    """How much more than to its rivals' bright nines add to an arm's number, against none of them: of several comparisons the nearest to nothing."""

    def by_lamp(name: str) -> list[float]:
        without, bright = (runs.by_seed(number, name, gain=gain, weights=weights) for gain in (0, 8))
        return [bright[seed] - without[seed] for seed in without]

    def more_than(rival: str) -> Effect:
        return paired([ours - theirs for ours, theirs in zip(by_lamp(arm), by_lamp(rival), strict=True)], comparisons=len(rivals))

    return min(map(more_than, rivals), key=lambda effect: effect.low)


def missed_more(runs: Runs) -> Effect:
    """How many more nines the squared loss misses than the nearer of logistic loss and hinge, without a stronger lamp."""
    effects = [runs.difference("missed", "squared", rival, comparisons=2, gain=1, weights="equal") for rival in ("logistic", "hinge")]
    return min(effects, key=lambda effect: effect.low)


FINDINGS = (
    Finding(
        "B70",
        "With one digit in ten a nine, equal weights and no stronger lamp, the line of the squared loss misses {mean:.0f} in a hundred nines more "
        "than that of the logistic loss or the hinge, whichever is nearer.",
        "nines missed by the squared loss minus those missed by the nearer rival, in percent of nines",
        missed_more,
        above(0),
    ),
    Finding(
        "B71",
        "With equal weights, learning from three nines in ten that are eight times as bright adds {mean:.1f} mistakes in a hundred more, compared "
        "with leaving them out, under the squared loss than under the logistic loss or the hinge, whichever is nearer.",
        "mistakes with the bright nines minus those without, squared loss minus the nearer rival, in percent of ordinary digits",
        lambda runs: added(runs, "mistakes", "equal"),
        above(0),
    ),
    Finding(
        "B72",
        "With nines that weigh as much as all others, learning from the bright ones, compared with leaving them out, still adds {mean:.1f} points "
        "more to the mean of misses and false alarms under the squared loss than under the logistic loss or the hinge.",
        "the mean of misses and false alarms with the bright nines minus that without, squared loss minus the nearer rival, in percent",
        lambda runs: added(runs, "cost", "balanced"),
        above(0),
    ),
    Finding(
        "B73",
        "Without its right branch, as the squared hinge, the squared loss makes within half a point as many mistakes as the logistic loss, with the "
        "lamp eight times as strong and equal weights.",
        "mistakes of the squared hinge minus those of the logistic loss, in percent of ordinary digits",
        lambda runs: runs.difference("mistakes", "squared hinge", "logistic", gain=8, weights="equal"),
        within(-0.5, 0.5),
    ),
    Finding(
        "B74",
        "With room to bend, brightness hurts neither loss more: on 200 random ReLU features, with equal weights, bright nines to learn from add "
        "within half a point as many mistakes under the squared loss as under the logistic loss, compared with leaving those nines out.",
        "mistakes on 200 ReLU features with the bright nines minus those without, squared minus logistic loss, in percent of ordinary digits",
        lambda runs: added(runs, "mistakes", "equal", "squared, 200 ReLUs", ("logistic, 200 ReLUs",)),
        within(-0.5, 0.5),
    ),
    Finding(
        "B25",
        "It takes room: on 50 ReLU features, fewer than there are pixels, they add {mean:.1f} mistakes in a hundred more under the squared loss.",
        "mistakes on 50 ReLU features with the bright nines minus those without, squared minus logistic loss, in percent of ordinary digits",
        lambda runs: added(runs, "mistakes", "equal", "squared, 50 ReLUs", ("logistic, 50 ReLUs",)),
        above(0),
    ),
    Finding(
        "B26",
        "The right branch costs something even there: on 200 ReLU features and with one lamp the squared loss makes {mean:.1f} mistakes in a hundred "
        "more than the squared hinge.",
        "mistakes on 200 ReLU features of the squared loss minus those of the squared hinge, without a stronger lamp, in percent of ordinary digits",
        lambda runs: runs.difference("mistakes", "squared, 200 ReLUs", "squared hinge, 200 ReLUs", gain=1, weights="equal"),
        above(0),
    ),
)
