"""Does the squared loss suffer from points that are right by far? Scanned digits, "is it a nine?", and a second scanner with a stronger lamp.

Three in ten of the nines to learn from come from the second scanner, brighter by a factor; the half that is held out comes from the first alone.
"""

from __future__ import annotations

import warnings
from functools import cache

import torch
from torch import Tensor

from lossbook import linear
from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired, within

TRAINING, BRIGHT, CENTRES = 898, 0.3, 200
TOLERANCE = 1e-6  # of the solver: what is left to gain, relative to the objective


def run(arm: str, seed: int, *, gain: int, weights: str, l2: float) -> dict[str, float]:
    """Train on one half of the digits, some nines brighter, and count on the other half.

    Args:
        arm: "squared", "logistic", "hinge"; "squared hinge", the squared loss without a charge above margin 1: all for a straight line on the 64
            pixels. "squared, bent" and "logistic, bent" have a bump around each of 200 training images in place of the pixels.
        seed: Of the halves, of which nines are bright, and of the bumps' centres.
        gain: How much brighter these nines are; 1 for not at all.
        weights: "equal" for every example, or "balanced": nines together weigh as much as all other digits together, which is about 9 to 1.
        l2: The ridge.

    Returns:
        `missed`: the share of nines taken for others; `alarms`: of others taken for nines; `mistakes`: of all digits that are wrong; `disordered`:
        of pairs of a nine and another in which the nine has the lower score; in percent of the half held out. `cost`: mistakes as the training
        weighs them. `bright_wrong`: of the bright nines that were learned from. `warned`: whether the solver didn't reach its tolerance.
    """
    pixels, signs, bright, order = halves(seed)
    train, rest = order[:TRAINING], order[TRAINING:]
    seen = torch.where(bright[:, None], gain * pixels[train], pixels[train])
    unseen = pixels[rest]
    if arm.endswith("bent"):
        seen, unseen = bumps(seen, seen[:CENTRES], pixels[train]), bumps(unseen, seen[:CENTRES], pixels[train])
    nines = (signs[train] > 0).double()
    weight = nines / (2 * nines.mean()) + (1 - nines) / (2 - 2 * nines.mean()) if weights == "balanced" else None
    loss = arm.removesuffix(", bent").replace(" ", "_")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fit = linear.fit_linear(seen, signs[train], loss=loss, l2=l2, weight=weight, solver="newton", tolerance=TOLERANCE)
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
        "bright_wrong": percent(fit.scores(seen)[bright] <= 0),
        "warned": len(warned),
    }


def percent(wrong: Tensor) -> float:
    """How many are."""
    return 100 * float(wrong.double().mean())


def bumps(images: Tensor, centres: Tensor, ordinary: Tensor) -> Tensor:
    """exp(−|x − c|² / h²) for each centre c, where h² is the median of squared distances between the ordinary images."""
    spread = torch.cdist(ordinary, ordinary).square().median()
    return torch.exp(-torch.cdist(images, centres).square() / spread)


@cache
def halves(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pixels [N, 64] from 0 to 1, signs (+1 for a nine), which of the training images come from the second scanner, an order of all images."""
    scans = data.digits()
    signs = torch.where(scans.labels == 9, 1.0, -1.0).double()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(signs), generator=generator)
    bright = (signs[order[:TRAINING]] > 0) & (torch.rand(TRAINING, generator=generator) < BRIGHT)
    return scans.images.flatten(1).double(), signs, bright, order


ARMS = ("squared", "squared hinge", "logistic", "hinge", "squared, bent", "logistic, bent")

STUDY = Study(
    run=run,
    chapter="impostor",
    question="Some nines to learn from are brighter than those to come: does that hurt the squared loss more than others, each at its own best "
    "ridge, and what remains of it where nines weigh as much as all others, or the model can bend?",
    arms=ARMS,
    conditions={"gain": (1, 2, 4, 8), "weights": ("equal", "balanced")},
    tuned={arm: {"l2": (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)} for arm in ARMS},
    least="cost",
    tuning_seeds=range(100, 108),
    seeds=range(20),
    end=f"Every objective is convex, and the solver stopped when it could gain no more than {TOLERANCE:g} of it.",
    ended=lambda numbers: numbers["warned"] == 0,
)


def added(runs: Runs, number: str, weights: str) -> Effect:
    """How much more the lamp adds for the squared loss than for logistic loss and hinge: the comparison that comes nearest to nothing, of two."""

    def by_lamp(arm: str) -> list[float]:
        ordinary, bright = (runs.by_seed(number, arm, gain=gain, weights=weights) for gain in (1, 8))
        return [bright[seed] - ordinary[seed] for seed in ordinary]

    def more_than(rival: str) -> Effect:
        return paired([ours - theirs for ours, theirs in zip(by_lamp("squared"), by_lamp(rival), strict=True)], comparisons=2)

    return min(map(more_than, ("logistic", "hinge")), key=lambda effect: effect.low)


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
        "With equal weights, a lamp eight times as strong over three nines in ten to learn from adds {mean:.1f} mistakes in a hundred more under the "
        "squared loss than under the logistic loss or the hinge, whichever is nearer.",
        "what the lamp adds to mistakes, squared loss minus the nearer rival, in percent of ordinary digits",
        lambda runs: added(runs, "mistakes", "equal"),
        above(0),
    ),
    Finding(
        "B72",
        "With nines that weigh as much as all others, the lamp eight times as strong still adds {mean:.1f} points more to the mean of misses and "
        "false alarms under the squared loss than under the logistic loss or the hinge.",
        "what the lamp adds to the mean of misses and false alarms, squared loss minus the nearer rival, in percent",
        lambda runs: added(runs, "cost", "balanced"),
        above(0),
    ),
    Finding(
        "B73",
        "Without its right arm, as the squared hinge, the squared loss makes within half a point as many mistakes as the logistic loss, with the "
        "lamp eight times as strong and equal weights.",
        "mistakes of the squared hinge minus those of the logistic loss, in percent of ordinary digits",
        lambda runs: runs.difference("mistakes", "squared hinge", "logistic", gain=8, weights="equal"),
        within(-0.5, 0.5),
    ),
    Finding(
        "B74",
        "On 200 bumps, where the model can bend, the squared loss makes within half a point as many mistakes as the logistic loss, with the lamp "
        "eight times as strong and equal weights.",
        "mistakes of the bent model, squared minus logistic loss, in percent of ordinary digits",
        lambda runs: runs.difference("mistakes", "squared, bent", "logistic, bent", gain=8, weights="equal"),
        within(-0.5, 0.5),
    ),
)
