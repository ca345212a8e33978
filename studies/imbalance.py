"""A crowd of easy background: is focal loss ahead of cross-entropy once weights, sampling and start are tuned alike?

Scenes of 64 by 64 pixels have one scanned digit or none; a small network looks at every window of 12 by 12 and says how likely a digit is there.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch import Tensor

from lossbook import boxes, focal
from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, unclear, within

SCENES, HIDDEN, BATCH, LONG = 160, 16, 512, 500
SEEN = 1200  # digits before this one are learned from, the others are judged on


class Crowd(NamedTuple):
    """Windows [N, 36], 6 by 6 means of two by two pixels; and which of them are objects, [N]."""

    pixels: Tensor
    targets: Tensor


def run(arm: str, seed: int, *, steps: int, rate: float, knob: float) -> dict[str, float]:
    """Learn from the windows of some scenes, choose a cut on other scenes, and judge on others again.

    Args:
        arm: "cross-entropy", which starts at one half; "low start", the same from the share of objects; "weight", whose objects weigh more;
            "sampling", with more objects in a batch; "focal" from the share of objects, and "focal from ½".
        seed: Of scenes, first weights and batches.
        steps: So many, of Adam, each on 512 windows; the rate falls to 0 meanwhile.
        rate: Of the first step.
        knob: The weight of an object, the share of objects in a batch, or γ; nothing otherwise.

    Returns:
        `lost`: 100 minus the average precision in percent. `log_loss`, of the probabilities as they are said, and `mapped`, once the weight, the
        sampling or γ is taken out by its formula, in thousandths of a nat a window. `half`: mistakes at a cut of one half, and `mistakes`, at the cut
        that made fewest on the scenes for that, for each hundred objects. `moved`: by how many points average precision changed in the last tenth.
    """
    learn, choose, judge = scenes(seed, "learn"), scenes(seed, "choose"), scenes(seed, "judge")
    share = float(learn.targets.mean())
    weight = knob if arm == "weight" else 1.0
    seen = knob if arm == "sampling" else share
    gamma = knob if arm.startswith("focal") else 0.0
    start = math.log(weight) + math.log(seen / (1 - seen)) if arm not in ("cross-entropy", "focal from ½") else 0.0
    network = Network(start, seed)
    generator = torch.Generator().manual_seed(seed)
    objects, crowd = (learn.targets == 1).nonzero()[:, 0], (learn.targets == 0).nonzero()[:, 0]
    before = 0.0
    for step in range(steps):
        if arm == "sampling":
            few = round(seen * BATCH)
            drawn = [rows[torch.randint(len(rows), (size,), generator=generator)] for rows, size in ((objects, few), (crowd, BATCH - few))]
            rows = torch.cat(drawn)
        else:
            rows = torch.randint(len(learn.targets), (BATCH,), generator=generator)
        targets = learn.targets[rows]
        network.step(learn.pixels[rows], targets, 1 + (weight - 1) * targets, gamma, rate * (1 - step / steps))
        if step == steps * 9 // 10:
            before = precision(network(judge.pixels), judge.targets)
    scores, cut = network(judge.pixels), best_cut(network(choose.pixels), choose.targets)
    back = mapped(scores, gamma, math.log(weight) + math.log(seen / (1 - seen)) - math.log(share / (1 - share)))
    found = precision(scores, judge.targets)
    return {
        "lost": 100 - found,
        "log_loss": log_loss(scores, judge.targets),
        "mapped": log_loss(back, judge.targets),
        "half": mistakes(scores, judge.targets, 0.0),
        "mistakes": mistakes(scores, judge.targets, cut),
        "moved": abs(found - before),
    }


class Network:
    """One hidden layer of rectified linear units, whose gradient is written out, and Adam."""

    def __init__(self, start: float, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        first = torch.randn(36, HIDDEN, generator=generator) * (2 / 36) ** 0.5
        last = torch.randn(HIDDEN, 1, generator=generator) * 0.01
        self.layers = [first, torch.zeros(HIDDEN), last, torch.tensor([start])]
        self.adam = torch.optim.Adam(self.layers, fused=True)

    def hidden(self, pixels: Tensor) -> Tensor:
        return torch.addmm(self.layers[1], pixels, self.layers[0]).clamp_(min=0)

    def __call__(self, pixels: Tensor) -> Tensor:
        return torch.addmm(self.layers[3], self.hidden(pixels), self.layers[2])[:, 0]

    def step(self, pixels: Tensor, targets: Tensor, weights: Tensor, gamma: float, rate: float) -> None:
        hidden = self.hidden(pixels)
        scores = torch.addmm(self.layers[3], hidden, self.layers[2])[:, 0]
        slopes = (slope(scores, targets, gamma) * weights / len(targets))[:, None]
        deeper = (slopes @ self.layers[2].T) * (hidden > 0)
        gradients = [pixels.T @ deeper, deeper.sum(0), hidden.T @ slopes, slopes.sum(0)]
        for layer, gradient in zip(self.layers, gradients, strict=True):
            layer.grad = gradient
        self.adam.param_groups[0]["lr"] = rate
        self.adam.step()


def slope(scores: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Of the focal loss in the score: minus its pull, (1 − q)^γ (1 − q − γ q ln q) upwards for an object and downwards for the rest."""
    if gamma == 0:
        return scores.sigmoid() - targets
    signs = 2 * targets - 1
    q = torch.sigmoid(signs * scores)
    rest = torch.sigmoid(-signs * scores)
    return -signs * rest**gamma * (rest - gamma * q * F.logsigmoid(signs * scores))


def precision(scores: Tensor, targets: Tensor) -> float:
    """The average precision, in percent."""
    return 100 * float(average_precision_score(targets, scores))


def log_loss(scores: Tensor, targets: Tensor) -> float:
    """In thousandths of a nat."""
    return 1000 * float(F.binary_cross_entropy_with_logits(scores, targets))


def mapped(scores: Tensor, gamma: float, offset: float) -> Tensor:
    """Scores of the chance itself."""
    if gamma == 0:
        return scores - offset
    return torch.logit(focal.recover_eta(scores.double().sigmoid(), gamma=gamma), eps=1e-12).float()


def mistakes(scores: Tensor, targets: Tensor, cut: float) -> float:
    """For each hundred objects."""
    return 100 * float(((scores > cut) != (targets == 1)).sum()) / float(targets.sum())


def best_cut(scores: Tensor, targets: Tensor) -> float:
    """The cut above which there are the most objects, less the others."""
    ordered, order = scores.sort(descending=True)
    gain = (2 * targets[order] - 1).cumsum(0)
    last = int(gain.argmax())
    return float((ordered[last] + ordered[last + 1]) / 2)


@cache
def scenes(seed: int, use: str) -> Crowd:
    """All windows of some scenes, new for each seed and use: an object if it overlaps a digit's box by half, background below 0.4, else left out."""
    uses = ("learn", "choose", "judge")
    pool = torch.arange(SEEN) if use == "learn" else torch.arange(SEEN, 1797)
    generator = torch.Generator().manual_seed(3 * seed + uses.index(use))
    made = data.digit_scenes(SCENES, generator=generator, size=64, fewest=0, most=1, pool=pool)
    corner = 2 * torch.arange(27).double()
    y, x = torch.meshgrid(corner, corner, indexing="ij")
    windows = torch.stack([x, y, x + 12, y + 12], dim=-1).reshape(-1, 4)
    overlap = torch.stack([boxes.pairwise_iou(windows, found).sum(dim=1) for found in made.boxes_xyxy]).flatten()
    pixels = F.unfold(F.avg_pool2d(made.images.float()[:, None], 2), 6).transpose(1, 2).reshape(-1, 36) - 0.2
    counted = (overlap >= 0.5) | (overlap < 0.4)
    return Crowd(pixels[counted], (overlap[counted] >= 0.5).float())


FINE = {"rate": (0.003, 0.005, 0.01, 0.017, 0.03, 0.05, 0.1, 0.17, 0.3), "knob": (0.0,)}
RATES = {"focal": (0.03, 0.05, 0.1), "focal from ½": (0.01, 0.03, 0.1)}
KNOBS = {"weight": (3.0, 10.0, 30.0), "sampling": (0.03, 0.1, 0.3), "focal": (0.5, 1.0, 2.0), "focal from ½": (0.5, 1.0, 2.0)}
ARMS = ("cross-entropy", "low start", "weight", "sampling", "focal", "focal from ½")

STUDY = Study(
    run=run,
    chapter="imbalance",
    question="One window in three hundred is an object: is focal loss ahead of cross-entropy as a ranking, a probability or a decision, where a "
    "low start, a weight and sampling are tuned as it is?",
    arms=ARMS,
    conditions={"steps": (LONG,)},
    tuned={arm: {"rate": RATES.get(arm, (0.03, 0.1, 0.3)), "knob": KNOBS[arm]} if arm in KNOBS else FINE for arm in ARMS},
    least="lost",
    tuning_seeds=range(100, 102),
    seeds=range(20),
    end=f"Adam's rate fell to 0, and in the last tenth of {LONG} steps average precision moved by less than 3 points.",
    ended=lambda numbers: numbers["moved"] < 3,
)


def nearest(runs: Runs, number: str, *arms: str) -> Effect:
    """By how much the number of the nearest of some arms is above that of the low start."""
    effects = [runs.difference(number, arm, "low start", comparisons=len(arms)) for arm in arms]
    return min(effects, key=lambda effect: effect.low)


FINDINGS = (
    Finding(
        "B130",
        "Cross-entropy that starts at the base rate ends {mean:.1f} points of average precision above cross-entropy that starts at one half, each at "
        "its best rate, after 500 steps.",
        "average precision from the base rate minus that from one half, in points",
        lambda runs: runs.difference("lost", "cross-entropy", "low start"),
        above(0),
    ),
    Finding(
        "B131",
        "From the same low start focal loss, with the best of three γ from ½ on, ranks {mean:.1f} points worse than cross-entropy.",
        "average precision of the low start minus that of focal loss, in points",
        lambda runs: runs.difference("lost", "focal", "low start", comparisons=3),
        above(0),
    ),
    Finding(
        "B132",
        "Sampling ranks as well as the low start alone: within 2 points of average precision.",
        "average precision of the low start minus that of sampling, in points",
        lambda runs: runs.difference("lost", "sampling", "low start", comparisons=3),
        within(-2, 2),
    ),
    Finding(
        "B133",
        "Whether a weight ranks better or worse than none can't be told.",
        "average precision of the low start minus that of the weight, in points",
        lambda runs: runs.difference("lost", "weight", "low start", comparisons=3),
        unclear(),
    ),
    Finding(
        "B134",
        "Focal loss does not make up for a start at one half: there it ranks {mean:.1f} points worse than cross-entropy.",
        "average precision of cross-entropy minus that of focal loss, both from one half, in points",
        lambda runs: runs.difference("lost", "focal from ½", "cross-entropy"),
        above(0),
    ),
    Finding(
        "B135",
        "As they are said, the probabilities of weight, sampling and focal loss are worse than those of the low start alone, of the nearest by "
        "{mean:.1f} thousandths of a nat a window.",
        "log loss of the nearest of the three minus that of the low start, in thousandths of a nat a window",
        lambda runs: nearest(runs, "log_loss", "weight", "sampling", "focal"),
        above(0),
    ),
    Finding(
        "B136",
        "With the sampling taken out by its formula they are as good: within half a thousandth of a nat.",
        "log loss of sampling, taken out, minus that of the low start, in thousandths of a nat a window",
        lambda runs: runs.difference("mapped", "sampling", "low start"),
        within(-0.5, 0.5),
    ),
    Finding(
        "B137",
        "At a cut chosen on scenes of its own, sampling makes as many mistakes as the low start alone: within 3 for each hundred objects.",
        "mistakes of sampling minus those of the low start, for each hundred objects",
        lambda runs: runs.difference("mistakes", "sampling", "low start"),
        within(-3, 3),
    ),
)
