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

SCENES, HIDDEN, BATCH, LONG = 160, 16, 512, 1000
SEEN = 1200  # digits before this one are learned from, the others are judged on


class Crowd(NamedTuple):
    """Windows [N, 36], 6 by 6 means of two by two pixels; and which of them are objects, [N]."""

    pixels: Tensor
    targets: Tensor


def run(arm: str, seed: int, *, steps: int, rate: float, knob: float) -> dict[str, float]:
    """Learn from the windows of some scenes, choose a cut on other scenes, and judge on others again.

    Args:
        arm: "cross-entropy", which starts at one half; "low start", the same from the share of objects; "weight", whose objects weigh more;
            "sampling", with more objects in a batch; "focal" and "focal from ½". What doesn't start at one half starts where its own pulls balance.
        seed: Of scenes, first weights and batches.
        steps: So many, of Adam, each on 512 windows; the rate falls to 0 meanwhile.
        rate: Of the first step.
        knob: The weight of an object, the share of objects in a batch, or γ; nothing otherwise.

    Returns:
        `lost`: 100 minus the average precision in percent; `early`, the same after a twentieth of the steps. `log_loss`, of the probabilities as
        they are said, and `mapped`, once the weight, the sampling or γ is taken out by its formula, in thousandths of a nat a window. `half`:
        mistakes at a cut of one half, and `mistakes`, at the cut that made fewest on the scenes for that, for each hundred objects. `moved`: by how
        many points average precision changed in the last tenth.
    """
    learn, choose, judge = scenes(seed, "learn"), scenes(seed, "choose"), scenes(seed, "judge")
    share = float(learn.targets.mean())
    weight = knob if arm == "weight" else 1.0
    seen = knob if arm == "sampling" else share
    gamma = knob if arm.startswith("focal") else 0.0
    level = balanced(seen, gamma)
    start = math.log(weight) + math.log(level / (1 - level)) if arm not in ("cross-entropy", "focal from ½") else 0.0
    network = Network(start, seed)
    generator = torch.Generator().manual_seed(seed)
    objects, crowd = (learn.targets == 1).nonzero()[:, 0], (learn.targets == 0).nonzero()[:, 0]
    before = early = 0.0
    for step in range(steps):
        if arm == "sampling":
            few = round(seen * BATCH)
            drawn = [rows[torch.randint(len(rows), (size,), generator=generator)] for rows, size in ((objects, few), (crowd, BATCH - few))]
            rows = torch.cat(drawn)
        else:
            rows = torch.randint(len(learn.targets), (BATCH,), generator=generator)
        targets = learn.targets[rows]
        network.step(learn.pixels[rows], targets, 1 + (weight - 1) * targets, gamma, rate * (1 - step / steps))
        if step == steps // 20:
            early = precision(network(judge.pixels), judge.targets)
        if step == steps * 9 // 10:
            before = precision(network(judge.pixels), judge.targets)
    scores, cut = network(judge.pixels), best_cut(network(choose.pixels), choose.targets)
    back = mapped(scores, gamma, math.log(weight) + math.log(seen / (1 - seen)) - math.log(share / (1 - share)))
    found = precision(scores, judge.targets)
    return {
        "lost": 100 - found,
        "early": 100 - early,
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
        last = torch.randn(HIDDEN, 1, generator=generator) * HIDDEN**-0.5
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


def balanced(share: float, gamma: float) -> float:
    """The probability at which the pulls of a focal loss balance where a share are objects; found by halving, between that share and one half."""
    low, high = share, 0.5
    for _ in range(50):
        middle = (low + high) / 2
        below = float(focal.recover_eta(torch.tensor(middle, dtype=torch.float64), gamma=gamma)) < share
        low, high = (middle, high) if below else (low, middle)
    return low


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
    """The cut above which there are the most objects, less the others; windows with one score are on one side of it."""
    ordered, order = scores.sort(descending=True)
    gain = (2 * targets[order] - 1).cumsum(0)[:-1].masked_fill(ordered[:-1] == ordered[1:], -math.inf)
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


FINE = {"rate": (0.003, 0.005, 0.01, 0.017, 0.023, 0.03, 0.04, 0.05, 0.07, 0.1, 0.17, 0.3), "knob": (0.0,)}
RATES = (0.017, 0.03, 0.05, 0.1)
KNOBS = {"weight": (3.0, 10.0, 30.0), "sampling": (0.03, 0.1, 0.3), "focal": (0.5, 1.0, 2.0), "focal from ½": (0.5, 1.0, 2.0)}
ARMS = ("cross-entropy", "low start", "weight", "sampling", "focal", "focal from ½")

STUDY = Study(
    run=run,
    chapter="imbalance",
    question="One window in three hundred is an object: is focal loss ahead of cross-entropy as a ranking, a probability or a decision, where a "
    "low start, a weight and sampling are tuned as it is?",
    arms=ARMS,
    conditions={"steps": (LONG,)},
    tuned={arm: {"rate": RATES, "knob": KNOBS[arm]} if arm in KNOBS else FINE for arm in ARMS},
    least="lost",
    tuning_seeds=range(100, 102),
    seeds=range(20),
    end=f"All runs have {LONG} steps of Adam, at a rate that falls to 0; in the last tenth average precision moved by less than 3 points. Longer "
    "runs rank better.",
    ended=lambda numbers: numbers["moved"] < 3,
)


def behind(runs: Runs, number: str, arm: str, *, other: str = "low start", comparisons: int = 1) -> Effect:
    """By how much an arm's number is above that of another."""
    return runs.difference(number, arm, other, comparisons=comparisons)


def nearer(runs: Runs, number: str, *arms: str) -> Effect:
    """By how much the number of the nearest of some arms is above that of the low start."""
    return min((behind(runs, number, arm, comparisons=len(arms)) for arm in arms), key=lambda effect: effect.low)


FINDINGS = (
    Finding(
        "B130",
        f"After {LONG // 20} of {LONG} steps cross-entropy that starts at the base rate is {{mean:.0f}} points of average precision above the same "
        "from one half, each at the rate that is best in the end.",
        f"average precision after {LONG // 20} steps, from the base rate minus from one half, in points",
        lambda runs: behind(runs, "early", "cross-entropy"),
        above(0),
    ),
    Finding(
        "B131",
        f"After {LONG} steps {{mean:.1f}} points are left of that.",
        "average precision at the end, from the base rate minus from one half, in points",
        lambda runs: behind(runs, "lost", "cross-entropy"),
        above(0),
    ),
    Finding(
        "B132",
        "Started where its own pulls balance, focal loss with the best of three γ ranks in the end as cross-entropy does from its low start: within "
        "half a point.",
        "average precision of the low start minus that of focal loss, in points",
        lambda runs: behind(runs, "lost", "focal", comparisons=3),
        within(-0.5, 0.5),
    ),
    Finding(
        "B133",
        "The best of three weights ranks in the end within one point of none.",
        "average precision of the low start minus that of the weight, in points",
        lambda runs: behind(runs, "lost", "weight", comparisons=3),
        within(-1, 1),
    ),
    Finding(
        "B134",
        "From one half, each at the rate that is best in the end, focal loss's being the higher, it is {mean:.0f} points above cross-entropy after "
        f"{LONG // 20} steps.",
        f"average precision after {LONG // 20} steps, focal loss minus cross-entropy, both from one half, in points",
        lambda runs: behind(runs, "early", "cross-entropy", other="focal from ½"),
        above(0),
    ),
    Finding(
        "B135",
        "As they are said, the probabilities of weight and sampling are worse than those of the low start alone, of the nearer by {mean:.1f} "
        "thousandths of a nat a window.",
        "log loss of the nearer of the two minus that of the low start, in thousandths of a nat a window",
        lambda runs: nearer(runs, "log_loss", "weight", "sampling"),
        above(0),
    ),
    Finding(
        "B136",
        "With the mildest weight taken out by its formula the probabilities are nearly as good: within 0.15 thousandths of a nat.",
        "log loss of the weight, taken out, minus that of the low start, in thousandths of a nat a window",
        lambda runs: behind(runs, "mapped", "weight"),
        within(-0.15, 0.15),
    ),
    Finding(
        "B137",
        "At a cut chosen on scenes of its own, sampling makes as many mistakes as the low start alone: within 3 for each hundred objects.",
        "mistakes of sampling minus those of the low start, for each hundred objects",
        lambda runs: behind(runs, "mistakes", "sampling"),
        within(-3, 3),
    ),
    Finding(
        "B138",
        "Sampling, with 3 in a hundred objects or more in a batch, ranks {mean:.1f} points worse in the end.",
        "average precision of the low start minus that of sampling, in points",
        lambda runs: behind(runs, "lost", "sampling", comparisons=3),
        above(0),
    ),
    Finding(
        "B139",
        "From one half it isn't clear which ranks better in the end, cross-entropy or focal loss.",
        "average precision of cross-entropy minus that of focal loss, both from one half, in points",
        lambda runs: behind(runs, "lost", "focal from ½", other="cross-entropy"),
        unclear(),
    ),
)
