"""Do decisions with prices need probabilities? Tumours, two measurements of each, and a missed one that costs as much as several false alarms.

Nine rules learn a straight line from one half of the tumours and are charged for their mistakes on the other half.
"""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook import linear
from lossbook.book import data
from studies import Finding, Study, above, below

TRAINING, FOREVER = 284, 9
TOLERANCE = 1e-6  # of the solver: what is left to gain, relative to the objective


class Learned(NamedTuple):
    """Scores of the tumours that were learned from and of the others, and which of them are malignant."""

    seen: Tensor
    seen_malignant: Tensor
    scores: Tensor
    malignant: Tensor
    warned: int


def run(arm: str, seed: int, *, miss: int, l2: float) -> dict[str, float]:
    """Train on one half of the tumours, and pay for the mistakes on the other half.

    Args:
        arm: "logistic, threshold": called malignant where the probability is above 1 / (1 + miss). "logistic, line for 9": the same, but with the
            ridge that was chosen when a miss cost nine. "logistic, one half": where the probability is above 1/2. "logistic, weighted" and "hinge,
            weighted": malignant tumours count `miss` times in training, and the cut is at score 0; "hinge, weighted for 9": they count nine times,
            whatever a miss costs now, and the ridge is that of nine, too. "hinge, squashed": the sigmoid of the score is taken for a probability.
            "logistic, own cut", "hinge, own cut": the score is cut where that is cheapest on the half that was learned from.
        seed: Of the halves.
        miss: What a miss costs, in false alarms.
        l2: The ridge.

    Returns:
        `cost` a tumour, in false alarms; `cost_then`: at the price for which the ridge is chosen, nine for what is "for 9", else `miss`; `missed`: of
        the malignant, in percent; `alarms`: of the benign, in percent; all on the half held out.
        `warned`: whether the solver didn't reach its tolerance.
    """
    loss, how = arm.split(", ")
    then = FOREVER if how.endswith("for 9") else miss
    learned = line(seed, loss, l2, then if how.startswith("weighted") else 1)
    missed, alarms = mistakes(learned, how, miss)
    missed_then, alarms_then = mistakes(learned, how, then)
    return {
        "cost": float((alarms + miss * missed).mean()),
        "cost_then": float((alarms_then + then * missed_then).mean()),
        "missed": 100 * float(missed.sum() / learned.malignant.sum()),
        "alarms": 100 * float(alarms.sum() / (~learned.malignant).sum()),
        "warned": learned.warned,
    }


def mistakes(learned: Learned, how: str, miss: int) -> tuple[Tensor, Tensor]:
    """Which of the held-out tumours are malignant and missed, and which are false alarms, where the score is cut for this price."""
    cut = 0.0
    if how in ("threshold", "line for 9", "squashed"):
        cut = -math.log(miss)  # where the sigmoid is 1 / (1 + miss)
    if how == "own cut":
        cut = cheapest_cut(learned.seen, learned.seen_malignant, miss)
    called = learned.scores > cut
    return (~called & learned.malignant).double(), (called & ~learned.malignant).double()


def cheapest_cut(scores: Tensor, malignant: Tensor, miss: int) -> float:
    """Between two scores of the sample, where mistakes cost least; among equals the lowest."""
    ordered, order = scores.sort()
    steps = torch.where(malignant[order], float(miss), -1.0).cumsum(0)  # what is lost, tumour by tumour, as the cut rises past them
    best = int(torch.cat([torch.zeros(1), steps]).argmin())
    ends = torch.cat([ordered[:1] - 1, ordered, ordered[-1:] + 1])
    return float(ends[best] + ends[best + 1]) / 2


@cache
def line(seed: int, loss: str, l2: float, weight: int) -> Learned:
    """A straight line of one half, malignant tumours counting `weight` times, and its scores of both halves."""
    features, malignant = tumours()
    order = torch.randperm(len(malignant), generator=torch.Generator().manual_seed(seed))
    train, rest = order[:TRAINING], order[TRAINING:]
    signs, counts = 2.0 * malignant[train].double() - 1, torch.where(malignant[train], float(weight), 1.0).double()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fit = linear.fit_linear(features[train], signs, loss=loss, l2=l2, weight=counts, solver="newton", tolerance=TOLERANCE)
    return Learned(fit.scores(features[train]), malignant[train], fit.scores(features[rest]), malignant[rest], len(warned))


@cache
def tumours() -> tuple[Tensor, Tensor]:
    """Mean radius and mean texture of 569 tumours, and which of them are malignant."""
    table = data.breast_cancer()
    columns = [table.names.index("mean radius"), table.names.index("mean texture")]
    return table.features[:, columns].double(), table.signs > 0


ARMS = (
    "logistic, threshold",
    "logistic, line for 9",
    "logistic, one half",
    "logistic, own cut",
    "logistic, weighted",
    "hinge, weighted",
    "hinge, weighted for 9",
    "hinge, own cut",
    "hinge, squashed",
)

STUDY = Study(
    run=run,
    chapter="probability",
    question="What is cheapest where mistakes have prices: a probability and a threshold, prices in the training loss, or a cut chosen afterwards, "
    "each with its own best ridge; and what if the prices change?",
    arms=ARMS,
    conditions={"miss": (1, 3, 9, 20)},
    tuned={arm: {"l2": (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 1e-4, 1e-5, 1e-6)} for arm in ARMS},
    least="cost_then",
    tuning_seeds=range(100, 116),
    seeds=range(60),
    end=f"Every objective is convex, and the solver stopped when it could gain no more than {TOLERANCE:g} of it.",
    ended=lambda numbers: numbers["warned"] == 0,
)

TUMOUR = "in false alarms a tumour"

FINDINGS = (
    Finding(
        "B75",
        "Where a missed cancer costs nine false alarms, the logistic line at its threshold of one tenth saves {mean:.2f} a tumour against a cut at "
        "one half, over splits of these tumours.",
        f"cost at one half minus cost at the threshold, {TUMOUR}",
        lambda runs: runs.difference("cost", "logistic, one half", "logistic, threshold", miss=9),
        above(0),
    ),
    Finding(
        "B76",
        "At this price the hinge's score, squashed by a sigmoid and cut at the threshold, costs {mean:.2f} more than the logistic line there, each "
        "with the ridge that was best on other splits.",
        f"cost of the squashed hinge minus that of the logistic line at the threshold, {TUMOUR}",
        lambda runs: runs.difference("cost", "hinge, squashed", "logistic, threshold", miss=9),
        above(0),
    ),
    Finding(
        "B77",
        "Where a miss costs nine, a hinge weighted nine to one costs {mean:.3f} more than the logistic line at its threshold.",
        f"cost of the weighted hinge minus that of the logistic line at the threshold, {TUMOUR}",
        lambda runs: runs.difference("cost", "hinge, weighted", "logistic, threshold", miss=9),
        above(0),
    ),
    Finding(
        "B78",
        "Once a miss costs no more than a false alarm, the hinge weighted nine to one, still cut at 0, costs {mean:.2f} more than the logistic line "
        "for nine, cut at its new threshold.",
        f"cost of the hinge weighted for 9 minus that of the logistic line for 9, cut at the threshold for 1, with a miss at 1, {TUMOUR}",
        lambda runs: runs.difference("cost", "hinge, weighted for 9", "logistic, line for 9", miss=1),
        above(0),
    ),
    Finding(
        "B79",
        "With a miss at nine, the hinge's score, cut where its own half pays least, costs less than the logistic line at its threshold: "
        "the difference is {low:.3f} to {high:.3f} false alarms a tumour.",
        f"cost of the hinge with its own cut minus that of the logistic line at the threshold, {TUMOUR}",
        lambda runs: runs.difference("cost", "hinge, own cut", "logistic, threshold", miss=9),
        below(0),
    ),
    Finding(
        "B47",
        "Once a miss costs twenty, a new threshold alone is not enough: the logistic line for nine, cut at it, costs {mean:.2f} more than one "
        "whose ridge was chosen for twenty.",
        f"cost of the logistic line for 9 minus that of the line for 20, both cut at the threshold for 20, {TUMOUR}",
        lambda runs: runs.difference("cost", "logistic, line for 9", "logistic, threshold", miss=20),
        above(0),
    ),
    Finding(
        "B48",
        "With a miss at twenty, a logistic score cut where its own half pays least costs {mean:.2f} more than one cut at the threshold, each with "
        "the ridge that was best on other splits.",
        f"cost of the logistic line with its own cut minus that at the threshold, with a miss at 20, {TUMOUR}",
        lambda runs: runs.difference("cost", "logistic, own cut", "logistic, threshold", miss=20),
        above(0),
    ),
)
