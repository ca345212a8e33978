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
        `missed`: the share of nines taken for others; `alarms`: of others taken for nines; `mistakes`: of all digits that are wrong; `disordered`: of pairs
        of a nine and another in which the nine has the lower score; in percent of the half held out. `cost`: mistakes as the training weighs them.
        `bright_wrong`: of the bright nines that were learned from. `warned`: whether the solver didn't reach its tolerance.
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
    question="Some nines to learn from are brighter than those to come: does that hurt the squared loss more than others, each at its own best ridge, "
    "and what remains of it where nines weigh as much as all others, or the model can bend?",
    arms=ARMS,
    conditions={"gain": (1, 2, 4, 8), "weights": ("equal", "balanced")},
    tuned={arm: {"l2": (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)} for arm in ARMS},
    least="cost",
    tuning_seeds=range(100, 108),
    seeds=range(20),
    end=f"Every objective is convex, and the solver stopped when it could gain no more than {TOLERANCE:g} of it.",
    ended=lambda numbers: numbers["warned"] == 0,
)

FINDINGS = ()
