"""Have the easy cases something to say? Lines from one half of the breast tumours, or from those of it alone that the hinge listens to.

The other half is judged: how many lie on the wrong side, and what the odds cost that a score is read as.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook import linear, margins, reliability
from lossbook.book import data
from studies import Finding, Study, above, within

HALF, LEVEL = 284, 1 + 1e-6  # tumours to learn from; up to here a margin is at most 1, but for rounding
SURE = 0.99  # the squared hinge's scores may ask for probabilities of 1 and more: they are read as no more than this, and no less than 1 minus it


class Sample(NamedTuple):
    """Features [N, 30] and signs [N]."""

    features: Tensor
    signs: Tensor


def run(arm: str, seed: int, *, easy: float, judged: str, l2: float) -> dict[str, float]:
    """Fit a line to one half of the tumours, or to some of that half, and judge it on the other half.

    Args:
        arm: A loss, and what it learns from: "hinge, all"; "hinge, support", those tumours of the half that have margin 1 or less under a hinge
            trained on it; "hinge, mapped", all, and a logistic curve with two parameters, fitted to the scores of the same half, that turns a score
            into log odds (Platt's map); "logistic, all"; "logistic, support"; "logistic, random", as many as these, drawn at random; "logistic,
            mapped"; "squared hinge, all"; "squared hinge, mapped".
        seed: Of the halves, and of what is drawn.
        easy: The ridge of the hinge that says which tumours are easy and which are support points.
        judged: By what an arm chooses its own ridge, "mistakes" or "odds".
        l2: That ridge, for all tumours of the half; where some are left out, the sum over the others has as much ridge beside it.

    Returns:
        `mistakes`: on the half held out, in percent; `odds`: the mean logistic loss there, in nats, of the log odds that a score is read as;
        `least`: the one of them by which the ridge is chosen; `kept`: how many tumours were learned from; `warned`: fits that didn't reach their end.
    """
    mistakes, odds, kept, warned = learned(arm, seed, 0.0 if arm.endswith(("all", "mapped")) else easy, l2)
    return {"mistakes": mistakes, "odds": odds, "least": mistakes if judged == "mistakes" else odds, "kept": kept, "warned": warned}


@cache
def learned(arm: str, seed: int, easy: float, l2: float) -> tuple[float, float, int, int]:
    """Mistakes, odds, how many were learned from, and warnings."""
    train, rest = halves(seed)
    loss, which = arm.replace(" hinge", "_hinge").split(", ")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        rows = torch.arange(HALF) if which in ("all", "mapped") else support(seed, easy)
        if which == "random":
            rows = torch.randperm(HALF, generator=torch.Generator().manual_seed(1000 + seed))[: len(rows)]
        line = fit(Sample(train.features[rows], train.signs[rows]), loss, l2)
        scores = line.scores(rest.features)
        if which == "mapped":
            curve = reliability.fit_platt(line.scores(train.features), (train.signs > 0).long())
            scores = curve.slope * scores + curve.intercept
    margin = rest.signs * (scores if which == "mapped" else log_odds(scores, loss))
    return 100 * float(margins.zero_one(margin).mean()), float(margins.logistic(margin).mean()), len(rows), len(warned)


def log_odds(scores: Tensor, loss: str) -> Tensor:
    """What scores are read as: the squared hinge wants 2η - 1, the logistic loss the log odds; the hinge has no such formula and is read like it."""
    return torch.logit(((1 + scores) / 2).clamp(1 - SURE, SURE)) if loss == "squared_hinge" else scores


def fit(sample: Sample, loss: str, l2: float) -> linear.LinearFit:
    """The line with the least sum of losses and ridge."""
    return linear.fit_linear(*sample, loss=loss, l2=l2 * HALF / len(sample.signs), solver="newton")


@cache
def support(seed: int, easy: float) -> Tensor:
    """The rows of a half on which the hinge's line rests."""
    train, _ = halves(seed)
    return (train.signs * fit(train, "hinge", easy).scores(train.features) <= LEVEL).nonzero()[:, 0]


@cache
def halves(seed: int) -> tuple[Sample, Sample]:
    """One half to learn from, one to judge."""
    tumours = data.breast_cancer()
    order = torch.randperm(len(tumours.signs), generator=torch.Generator().manual_seed(seed))
    train, rest = (Sample(tumours.features[rows].double(), tumours.signs[rows].double()) for rows in (order[:HALF], order[HALF:]))
    return train, rest


ARMS = (
    "hinge, all",
    "hinge, support",
    "hinge, mapped",
    "logistic, all",
    "logistic, support",
    "logistic, random",
    "logistic, mapped",
    "squared hinge, all",
    "squared hinge, mapped",
)

STUDY = Study(
    run=run,
    chapter="surrogates",
    question="What does a line lose without the cases that the hinge ignores, in decisions and in odds, each arm at its own best ridge?",
    arms=ARMS,
    conditions={"easy": (0.03, 0.3), "judged": ("mistakes", "odds")},
    tuned={arm: {"l2": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)} for arm in ARMS},
    least="least",
    tuning_seeds=range(100, 116),
    seeds=range(40),
    end="Every objective is convex, and the solver stopped where it could gain no more than 1e-10 of it.",
    ended=lambda numbers: numbers["warned"] == 0,
)

FINDINGS = (
    Finding(
        "B80",
        "Both trained on all, each at its own best ridge, the hinge makes {mean:.2f} mistakes in a hundred more than the logistic loss: less than "
        "half of one.",
        "mistakes of the hinge minus those of the logistic loss, in percent of the tumours held out",
        lambda runs: runs.difference("mistakes", "hinge, all", "logistic, all", easy=0.03, judged="mistakes"),
        within(-0.5, 0.5),
    ),
    Finding(
        "B81",
        "Read through a logistic curve with two parameters, fitted to the half that it learned from, the hinge's scores give odds as good as the "
        "logistic loss's: the difference is {mean:.4f} nats, less than a hundredth, each at the ridge that is best for its odds.",
        "mean logistic loss of the hinge's mapped scores minus that of the logistic scores, in nats, on the tumours held out",
        lambda runs: runs.difference("odds", "hinge, mapped", "logistic, all", easy=0.03, judged="odds"),
        within(-0.01, 0.01),
    ),
    Finding(
        "B82",
        "Without what a hinge with the ridge 0.03 calls easy, the logistic loss makes {mean:.1f} mistakes in a hundred more than with all, each time "
        "at the best ridge.",
        "mistakes of the logistic loss from the support points minus those from all, in percent of the tumours held out",
        lambda runs: runs.difference("mistakes", "logistic, support", "logistic, all", easy=0.03, judged="mistakes"),
        above(0),
    ),
    Finding(
        "B83",
        "As many tumours drawn at random are worth less than the support points: from them the logistic loss makes {mean:.1f} mistakes in a hundred "
        "more, each time at the best ridge.",
        "mistakes of the logistic loss from random tumours minus those from the support points, in percent of the tumours held out",
        lambda runs: runs.difference("mistakes", "logistic, random", "logistic, support", easy=0.03, judged="mistakes"),
        above(0),
    ),
    Finding(
        "B84",
        "The logistic loss's odds need the easy tumours, too: even where a hinge with the ridge 0.3 says which are easy and more are kept, they cost "
        "{mean:.3f} nats more without the easy ones, each time at the ridge that is best for the odds.",
        "mean logistic loss from the support points minus that from all, in nats, on the tumours held out",
        lambda runs: runs.difference("odds", "logistic, support", "logistic, all", easy=0.3, judged="odds"),
        above(0),
    ),
)
