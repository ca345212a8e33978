"""Two losses on one small network: who is heard if one of them is written in another unit, is mostly noise, or if the shared room is small?

Scanned digits, 400 of them for training. One head names the digit, the other says how high the middle of its ink lies.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired, within

TRAINING, BATCH, STEPS = 400, 32, 1000
NOISE = 10.0  # pixels, drawn anew whenever a digit is; a height without noise has a standard deviation of 0.4
MOVED, SHAKEN = 5.0, 30.0  # percent in the last twentieth of the steps, without noise and with it


def run(arm: str, seed: int, *, case: str, rate: float, weight: float = 1.0, pace: float = 1.0, alpha: float = 0.0) -> dict[str, float]:
    """Train by Adam, with a rate that falls to 0 in a straight line, and judge on the other digits.

    Args:
        arm: How the squared error of the heights and the cross-entropy of the names become one number. "plain sum"; "fixed weight" on the squared
            error; "standardised", the plain sum for heights divided by their standard deviation; "learned weights" by their likelihood, from s = 1;
            "from the first losses", the same from where s² is at its best for the untrained network; "logarithms", half the sum of the losses'
            logarithms; or "GradNorm".
        seed: Of the digits for training, of the network's start, of the batches and the noise.
        case: Heights in "pixels", told to a network with eight shared units; in "hundredths" of a pixel; in pixels with normal "noise" of 10 pixels;
            or in pixels, with only "two units".
        rate: Adam's, at the start.
        weight: Of the squared error, in "fixed weight".
        pace: How much faster than the network the weights of the losses are learned.
        alpha: GradNorm's: how much faster a task that has fallen behind is to learn.

    Returns:
        In percent of the other digits `misnamed`; of the variance of their heights, without noise, what is `unexplained`, 100 at most; `lost`, their
        sum; and `moved`, how much that changed in the last twentieth of the steps.
    """
    world = the_world(seed, case, standardised=arm == "standardised")
    network = Network(seed, 2 if case == "two units" else 8)
    total, knobs = combined(arm, world, network, rate * pace, weight, alpha)
    optimizer = torch.optim.Adam([{"params": [network.weights], "lr": rate}, {"params": knobs, "lr": rate * pace}], fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    late = (100.0, 100.0)
    for step in range(STEPS):
        if step == STEPS - STEPS // 20:
            late = judged(network, world)
        optimizer.zero_grad()
        total(step).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    misnamed, unexplained = judged(network, world)
    return {"misnamed": misnamed, "unexplained": unexplained, "lost": misnamed + unexplained, "moved": abs(misnamed + unexplained - sum(late))}


class World(NamedTuple):
    """Digits for training, the heights as the network is told them and what undoes their unit, other digits, and every draw that a training makes."""

    pixels: Tensor  # [400, 64]
    labels: Tensor  # [400]
    heights: Tensor  # [400]
    unit: float
    other_pixels: Tensor
    other_labels: Tensor
    other_heights: Tensor  # in pixels
    batches: Tensor  # [steps, 32]
    noise: Tensor  # [steps, 32]


class Network:
    """64 pixels, a trunk of tanh units, ten logits and a height; all weights in one tensor, those of the trunk at its head."""

    def __init__(self, seed: int, units: int) -> None:
        source, self.units, self.trunk = torch.Generator().manual_seed(seed), units, 64 * units
        trunk, names, height = (torch.randn(shape, generator=source).double() / shape[0] ** 0.5 for shape in ((64, units), (units, 10), (units, 1)))
        biases = torch.zeros(units + 10 + 1, dtype=torch.float64)
        self.weights = torch.cat([trunk.flatten(), names.flatten(), height.flatten(), biases]).requires_grad_()

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [rows, 10] and heights [rows]."""
        trunk, names, height, *biases = self.weights.split([self.trunk, self.units * 10, self.units, self.units, 10, 1])  # type: ignore[no-untyped-call]
        shared = (pixels @ trunk.view(64, self.units) + biases[0]).tanh()
        return shared @ names.view(self.units, 10) + biases[1], shared @ height + biases[2]


def losses(network: Network, world: World, rows: Tensor, noise: Tensor) -> Tensor:
    """The mean squared error of the heights and the cross-entropy of the names."""
    logits, heights = network(world.pixels[rows])
    return torch.stack([F.mse_loss(heights, world.heights[rows] + noise), F.cross_entropy(logits, world.labels[rows])])


def combined(arm: str, world: World, network: Network, pace: float, weight: float, alpha: float) -> tuple[Callable[[int], Tensor], list[Tensor]]:
    """The number that a step lowers, and what is learned beside the network's weights."""

    def at(step: int) -> Tensor:
        return losses(network, world, world.batches[step], world.noise[step])

    if arm in ("plain sum", "standardised"):
        return lambda step: at(step).sum(), []
    if arm == "fixed weight":
        return lambda step: torch.tensor([weight, 1.0], dtype=torch.float64) @ at(step), []
    if arm == "logarithms":
        return lambda step: at(step).log().sum() / 2, []
    if arm == "GradNorm":
        return grad_norm(at, network, pace, alpha), []
    halves = torch.tensor([0.5, 1.0], dtype=torch.float64)  # L₁ / 2s₁² + ln s₁ + L₂ / s₂² + ln s₂, of which u = ln s² is learned
    u = (2 * halves * first_losses(at)).log() if arm == "from the first losses" else torch.zeros(2, dtype=torch.float64)
    u.requires_grad_()
    return lambda step: ((-u).exp() * halves * at(step) + u / 2).sum(), [u]


def first_losses(at: Callable[[int], Tensor]) -> Tensor:
    """Of the untrained network, the mean of twenty batches."""
    return torch.stack([at(step).detach() for step in range(20)]).mean(dim=0)


def grad_norm(at: Callable[[int], Tensor], network: Network, pace: float, alpha: float) -> Callable[[int], Tensor]:
    """Weights with the sum 2 that bring the two weighted gradients of the trunk to one length, or, for α > 0, give a task that is behind more of it.

    Chen et al. (2018), algorithm 1, with two liberties: weights are raised or lowered by a factor, so that none becomes negative, and the descent on
    them knows the sign alone, as Adam's nearly does.
    """
    weights, first = torch.ones(2, dtype=torch.float64), first_losses(at)

    def total(step: int) -> Tensor:
        nonlocal weights
        both = at(step)
        slopes = [torch.autograd.grad(loss, network.weights, retain_graph=True)[0][: network.trunk] for loss in both]
        lengths = weights * torch.stack(slopes).norm(dim=1)
        behind = both.detach() / first
        wanted = lengths.mean() * (behind / behind.mean()) ** alpha
        weights = weights * (pace * (1 - step / STEPS) * (wanted - lengths).sign()).exp()
        weights = 2 * weights / weights.sum()
        return weights @ both  # type: ignore[no-any-return]

    return total


@torch.no_grad()
def judged(network: Network, world: World) -> tuple[float, float]:
    """In percent of the other digits: how many are misnamed, and how much of the variance of their heights is not explained."""
    logits, heights = network(world.other_pixels)
    missed = (heights / world.unit - world.other_heights).square().mean() / world.other_heights.var()
    return 100 * float((logits.argmax(dim=1) != world.other_labels).double().mean()), 100 * min(float(missed), 1.0)


@cache
def digits() -> tuple[Tensor, Tensor, Tensor]:
    """Pixels [1797, 64], labels, and the height of the middle of the ink above the middle of the picture, in pixels."""
    images, labels = data.digits()
    ink = images.double().sum(dim=2)  # by row of the picture
    return images.flatten(1).double(), labels, 3.5 - ink @ torch.arange(8.0).double() / ink.sum(dim=1)


def the_world(seed: int, case: str, *, standardised: bool) -> World:
    """A split of the digits, with the heights as they are told."""
    pixels, labels, heights = digits()
    source = torch.Generator().manual_seed(5000 + seed)
    order = torch.randperm(len(labels), generator=source)
    train, other = order[:TRAINING], order[TRAINING:]
    noise = NOISE if case == "noise" else 0.0
    spread = float((heights[train].var() + noise**2).sqrt())
    unit = 1 / spread if standardised else 100.0 if case == "hundredths" else 1.0
    middle = heights[train].mean()
    return World(
        pixels[train],
        labels[train],
        unit * (heights[train] - middle),
        unit,
        pixels[other],
        labels[other],
        heights[other] - middle,
        torch.randint(TRAINING, (STEPS, BATCH), generator=source),
        unit * noise * torch.randn(STEPS, BATCH, generator=source).double(),
    )


MANY_RATES = tuple(round(10 ** (-3 + place / 5), 5) for place in range(12))  # 0.001 to 0.16
LEARNED = {"rate": (0.01, 0.03, 0.1), "pace": (0.1, 0.3, 1.0, 3.0)}

STUDY = Study(
    run=run,
    chapter="balancing",
    question="Heights change their unit, or are mostly noise, or room is short: which way of adding two losses still learns both tasks?",
    arms=("plain sum", "fixed weight", "standardised", "learned weights", "from the first losses", "logarithms", "GradNorm"),
    conditions={"case": ("pixels", "hundredths", "noise", "two units")},
    tuned={
        "plain sum": {"rate": MANY_RATES},
        "fixed weight": {"rate": (0.02, 0.06), "weight": (1e-4, 1e-3, 1e-2, 1.0, 10.0, 100.0)},
        "standardised": {"rate": MANY_RATES},
        "learned weights": LEARNED,
        "from the first losses": LEARNED,
        "logarithms": {"rate": MANY_RATES},
        "GradNorm": {"rate": (0.01, 0.03, 0.1), "pace": (1.0, 10.0), "alpha": (0.0, 1.5)},
    },
    least="lost",
    tuning_seeds=range(100, 106),
    seeds=range(20),
    end=f"The rate fell to 0 over {STEPS} steps; what is lost moved in the last 20th by less than {MOVED:g}, with noise by less than {SHAKEN:g}.",
    ended=lambda row: row["moved"] < (SHAKEN if row["case"] == "noise" else MOVED),
)


def moved_by(runs: Runs, number: str, arm: str, case: str) -> Effect:
    """What the change from pixels to another case adds to an arm's number, seed by seed."""
    before, after = (runs.by_seed(number, arm, case=name) for name in ("pixels", case))
    return paired([after[seed] - before[seed] for seed in before])


def best_of_all(runs: Runs, case: str) -> dict[int, float]:
    """By seed, the least that any arm lost."""
    arms = [runs.by_seed("lost", arm, case=case) for arm in STUDY.arms]
    return {seed: min(arm[seed] for arm in arms) for seed in arms[0]}


def corner(runs: Runs) -> Effect:
    """How much more the luckiest arm lost with two units than with eight."""
    two, eight = best_of_all(runs, "two units"), best_of_all(runs, "pixels")
    return paired([two[seed] - eight[seed] for seed in two])


LOST = "percent misnamed plus percent unexplained"

FINDINGS = (
    Finding(
        "B30",
        "Heights in hundredths of a pixel cost the plain sum {mean:.0f} digits in a hundred, at the rate with the least lost for either unit.",
        "digits misnamed in hundredths minus in pixels (plain sum), in percent",
        lambda runs: moved_by(runs, "misnamed", "plain sum", "hundredths"),
        above(0),
    ),
    Finding(
        "B31",
        "A weight chosen on a grid brings most of that back, but not all: heights divided by their standard deviation still lose {mean:.1f} less.",
        f"{LOST}, fixed weight minus standardised, heights in hundredths",
        lambda runs: runs.difference("lost", "fixed weight", "standardised", case="hundredths"),
        above(0),
    ),
    Finding(
        "B32",
        "Learned weights make up for part of the change of unit: with heights in hundredths they lose {mean:.0f} less than the plain sum.",
        f"{LOST}, plain sum minus learned weights, heights in hundredths",
        lambda runs: runs.difference("lost", "plain sum", "learned weights", case="hundredths"),
        above(0),
    ),
    Finding(
        "B33",
        "Where learned weights start decides how much: from the best ones for the first losses they lose {mean:.0f} less, with heights in "
        "hundredths, than from s = 1.",
        f"{LOST}, learned weights minus those from the first losses, heights in hundredths",
        lambda runs: runs.difference("lost", "learned weights", "from the first losses", case="hundredths"),
        above(0),
    ),
    Finding(
        "B34",
        "With heights in pixels learned weights lose {mean:.1f} less than a plain sum.",
        f"{LOST}, plain sum minus learned weights, heights in pixels",
        lambda runs: runs.difference("lost", "plain sum", "learned weights", case="pixels"),
        above(0),
    ),
    Finding(
        "B35",
        "With heights in pixels learned weights lose as much, within one, as a weight chosen on a grid.",
        f"{LOST}, fixed weight minus learned weights, heights in pixels",
        lambda runs: runs.difference("lost", "fixed weight", "learned weights", case="pixels"),
        within(-1, 1),
    ),
    Finding(
        "B36",
        "Noise with a variance of 100 pixels squared costs the plain sum {mean:.1f} digits in a hundred, at the rate with the least lost for either.",
        "digits misnamed with noise minus without (plain sum), in percent",
        lambda runs: moved_by(runs, "misnamed", "plain sum", "noise"),
        above(0),
    ),
    Finding(
        "B37",
        "Weights learned from the first losses turn the noisy task down: they leave {mean:.0f} in a hundred more of the true height's variance "
        "unexplained than the plain sum.",
        "percent of the height's variance unexplained, from the first losses minus plain sum, with noise",
        lambda runs: runs.difference("unexplained", "from the first losses", "plain sum", case="noise"),
        above(0),
    ),
    Finding(
        "B38",
        "Two shared units are too few, whatever the way of adding: the best of the seven in each run loses {mean:.0f} more than with eight.",
        f"least {LOST} of seven ways, two units minus eight",
        corner,
        above(20),
    ),
    Finding(
        "B39",
        "To standardise is no cure for noise: divided by a standard deviation that is nearly all noise, the heights lose {mean:.0f} more than in the "
        "plain sum.",
        f"{LOST}, standardised minus plain sum, with noise",
        lambda runs: runs.difference("lost", "standardised", "plain sum", case="noise"),
        above(0),
    ),
)
