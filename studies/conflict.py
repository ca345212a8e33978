"""Does it help to mend the steps of two tasks that conflict? Scanned digits: a network names each and says how high the middle of its ink lies."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired, unclear

Array = NDArray[np.float64]

TRAINING = 200
STEPS = {"SGD": 1500, "Adam": 750}
MOVED = 5.0  # percent in the last twentieth of the steps


def run(arm: str, seed: int, *, case: str, rate: float, weight: float = 1.0) -> dict[str, float]:
    """Train on all 200 digits at every step, with a rate that falls to 0 in a straight line, and judge on the other digits.

    Args:
        arm: What the trunk follows. "naming alone" or "height alone": the gradient of that loss; "sum" of both; "fixed weight": both, the
            height's with a weight; "PCGrad" or "MGDA", of the gradients as they are or, "PCGrad, weighted" and "MGDA, weighted", of those times the
            weights. A head follows the gradient of its own loss, with its weight.
        seed: Of the digits for training and of the network's start.
        case: The optimiser, "SGD" for plain gradient descent or "Adam", and how many tanh units are shared: "Adam, 8 units".
        rate: Adam's, at the start; a tenth of that of plain gradient descent.
        weight: How many times as heavy the height's loss is as the naming's; the two weights add up to 2.

    Returns:
        In percent of the other digits `misnamed`; of the variance of their heights what is `unexplained`, 100 at most; `lost`, their sum, or alone
        the one that was learned; `moved`, how much that changed in the last twentieth of the steps. In percent of all steps: `conflicts`, where
        the two gradients of the trunk make an angle of more than 90°; `harmful`, where a small step along their sum would raise one of the two
        losses; `uphill`, where the step of the trunk that was taken raises one to first order; `rose`, where a loss was higher after the step.
    """
    optimizer, units = case.split(", ")[0], int(case.split(", ")[1].removesuffix(" units"))
    world, network, steps = the_world(seed), Network(seed, units), STEPS[optimizer]
    learned = np.array([arm != "naming alone", arm != "height alone"])
    asked = learned * np.array([weight, 1.0]) * 2 / (1 + weight)
    moments, counts = np.zeros((2, network.weights.size)), np.zeros(4)
    late, before = 0.0, (np.inf, np.inf)
    with np.errstate(all="ignore"):  # too high a rate for plain gradient descent, which tuning is to find out
        for step in range(steps):
            if step == steps - steps // 20:
                late = learned @ judged(network, world)  # type: ignore[assignment]
            now, gradients = losses_and_gradients(network, world.pixels, world.names, world.heights)
            direction, rows = asked @ gradients, gradients[:, : network.trunk]
            products = rows @ rows.T
            if arm.split(",")[0] in MENDED:
                weighted = asked[:, None] * rows
                direction[: network.trunk] = MENDED[arm.split(",")[0]](weighted @ weighted.T) @ weighted
            falling = rate * (1 - step / steps)
            move = 10 * falling * direction if optimizer == "SGD" else falling * adam(direction, moments, step)
            network.weights -= move
            along = rows @ move[: network.trunk]
            rounding = -1e-9 * np.sqrt(products.max()) * np.sqrt(move @ move)
            rose = now[0] > before[0] or now[1] > before[1]
            counts += (products[0, 1] < 0, products.sum(axis=0).min() < 0, along.min() < rounding, rose)
            before = now
        unexplained, misnamed = judged(network, world)
    lost = learned @ (unexplained, misnamed)
    ended = {"misnamed": misnamed, "unexplained": unexplained, "lost": lost, "moved": abs(lost - late)}
    return ended | dict(zip(("conflicts", "harmful", "uphill", "rose"), (100 * counts / steps).tolist(), strict=True))  # type: ignore[return-value]


class World(NamedTuple):
    """Digits for training and others: pixels and a 1, names as rows with a single 1, and heights that have mean 0 and variance 1 in training."""

    pixels: Array  # [200, 65]
    names: Array  # [200, 10]
    heights: Array  # [200]
    other_pixels: Array
    other_names: Array
    other_heights: Array


class Network:
    """64 pixels and a 1, a trunk of tanh units, a height and ten logits; all weights in one array, those of the trunk at its head."""

    def __init__(self, seed: int, units: int) -> None:
        source, self.units, self.trunk = np.random.default_rng(seed), units, 65 * units
        trunk, heads = source.normal(size=(65, units)) / 8, source.normal(size=(units + 1, 11)) / units**0.5
        trunk[-1] = heads[-1] = 0  # biases
        self.weights = np.concatenate([trunk.ravel(), heads.ravel()])

    def __call__(self, pixels: Array) -> tuple[Array, Array]:
        """The shared units and a 1 [rows, units + 1], and what the heads say [rows, 11], the height first."""
        hidden = np.ones((len(pixels), self.units + 1))
        np.tanh(pixels @ self.weights[: self.trunk].reshape(65, self.units), out=hidden[:, :-1])
        return hidden, hidden @ self.heads

    @property
    def heads(self) -> Array:
        """Their weights, the height's in the first column."""
        return self.weights[self.trunk :].reshape(self.units + 1, 11)


def losses_and_gradients(network: Network, pixels: Array, names: Array, heights: Array) -> tuple[tuple[float, float], Array]:
    """The mean squared error of the heights, the cross-entropy of the names, and their gradients in all weights, [2, weights]."""
    hidden, said = network(pixels)
    error, shifted = said[:, 0] - heights, said[:, 1:] - said[:, 1:].max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    totals = exponentials.sum(axis=1, keepdims=True)
    slopes = np.concatenate([2 * error[:, None], exponentials / totals - names], axis=1) / len(pixels)  # of each loss in what its head says
    bent, at_heads = 1 - hidden[:, :-1] ** 2, hidden.T @ slopes
    gradients = np.zeros((2, network.weights.size))
    for row, own in zip(gradients, (slice(0, 1), slice(1, 11)), strict=True):
        row[: network.trunk] = (pixels.T @ (slopes[:, own] @ network.heads[:-1, own].T * bent)).ravel()
        row[network.trunk :].reshape(-1, 11)[:, own] = at_heads[:, own]
    return (error @ error / len(pixels), (np.log(totals).sum() - (shifted * names).sum()) / len(pixels)), gradients  # type: ignore[return-value]


def surgery(products: Array) -> Array:
    """What PCGrad's step has of each of two gradients, from their products g_s·g_t: 1, and where they conflict what projecting the other adds."""
    return 1 - min(products[0, 1], 0.0) / products.diagonal()  # type: ignore[no-any-return]


def shortest(products: Array) -> Array:
    """MGDA's weights of two gradients, from their products: where the length of the mixture has the slope 0, or at an end."""
    first = (products[1, 1] - products[0, 1]) / (products[0, 0] - 2 * products[0, 1] + products[1, 1])
    first = min(max(first, 0.0), 1.0)
    return np.array([first, 1 - first])


MENDED = {"PCGrad": surgery, "MGDA": shortest}


def adam(gradient: Array, moments: Array, step: int) -> Array:
    """Adam's direction: the running mean of the gradients over the root of that of their squares, number by number."""
    moments[0] += 0.1 * (gradient - moments[0])
    moments[1] += 0.001 * (gradient**2 - moments[1])
    return moments[0] / (1 - 0.9 ** (step + 1)) / (np.sqrt(moments[1] / (1 - 0.999 ** (step + 1))) + 1e-8)  # type: ignore[no-any-return]


def judged(network: Network, world: World) -> tuple[float, float]:
    """In percent: how much of the variance of the other digits' heights is not explained, and how many of them are misnamed."""
    _, said = network(world.other_pixels)
    misnamed = (said[:, 1:].argmax(axis=1) != world.other_names.argmax(axis=1)).mean()
    unexplained = ((said[:, 0] - world.other_heights) ** 2).mean() / world.other_heights.var()
    return 100 * min(1.0, float(unexplained)), 100 * float(misnamed)  # 1.0 if it is no number


@cache
def digits() -> tuple[Array, Array, Array]:
    """Pixels and a 1 [1797, 65], names [1797, 10], and how high the middle of the ink lies above the middle of the picture, in pixels."""
    images, labels = data.digits()
    ink = images.double().sum(dim=2)  # by row of the picture
    heights = 3.5 - ink @ torch.arange(8.0).double() / ink.sum(dim=1)
    return np.pad(images.flatten(1).double().numpy(), ((0, 0), (0, 1)), constant_values=1.0), np.eye(10)[labels.numpy()], heights.numpy()


@cache
def the_world(seed: int) -> World:
    """A split of the digits."""
    pixels, names, heights = digits()
    order = np.random.default_rng(5000 + seed).permutation(len(pixels))
    train, other = order[:TRAINING], order[TRAINING:]
    heights = (heights - heights[train].mean()) / heights[train].std()
    return World(pixels[train], names[train], heights[train], pixels[other], names[other], heights[other])


RATES = (0.001, 0.002, 0.004, 0.005, 0.007, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.07, 0.1, 0.2)
WEIGHTED = ("fixed weight", "PCGrad, weighted", "MGDA, weighted")

STUDY = Study(
    run=run,
    chapter="conflict",
    question="Two tasks share a trunk, tight or roomy: does either lose by it, compared with a trunk of its own, and do PCGrad or MGDA lose "
    "less than a sum with tuned weights, under plain gradient descent and under Adam?",
    arms=("naming alone", "height alone", "sum", "fixed weight", "PCGrad", "MGDA", "PCGrad, weighted", "MGDA, weighted"),
    conditions={"case": ("SGD, 2 units", "Adam, 2 units", "Adam, 8 units")},
    tuned={
        **{arm: {"rate": RATES} for arm in ("naming alone", "height alone", "sum", "PCGrad", "MGDA")},
        **{arm: {"rate": (0.005, 0.02, 0.05), "weight": (1 / 16, 0.25, 1.0, 4.0, 16.0)} for arm in WEIGHTED},
    },
    least="lost",
    tuning_seeds=range(100, 102),
    seeds=range(10),
    end=f"The rate fell to 0, over {STEPS['SGD']} steps of plain gradient descent or {STEPS['Adam']} of Adam; what is lost moved in the last 20th by "
    f"less than {MOVED:g}.",
    ended=lambda row: row["moved"] < MOVED,
)

LOST = "percent misnamed plus percent unexplained"


def cost(runs: Runs, number: str, task: str, case: str) -> Effect:
    """What a task loses in the plain sum, against a network of the same size that learns it alone."""
    return runs.difference(number, "sum", f"{task} alone", case=case)


def harmless(runs: Runs) -> Effect:
    """Of the sum's steps with eight units, the share at which the tasks conflict and a small step along the sum harms neither."""
    conflicts, harmful = (runs.by_seed(number, "sum", case="Adam, 8 units") for number in ("conflicts", "harmful"))
    return paired([conflicts[seed] - harmful[seed] for seed in conflicts])


FINDINGS = (
    Finding(
        "B120",
        "With two units and Adam the plain sum leaves {mean:.0f} in a hundred more of the height's variance unexplained than a network of two units "
        "that learns the height alone.",
        "percent of the height's variance unexplained, sum minus height alone, Adam, 2 units",
        lambda runs: cost(runs, "unexplained", "height", "Adam, 2 units"),
        above(0),
    ),
    Finding(
        "B121",
        "Room makes sharing cheaper, not free: with eight units it is {mean:.1f} in a hundred.",
        "percent of the height's variance unexplained, sum minus height alone, Adam, 8 units",
        lambda runs: cost(runs, "unexplained", "height", "Adam, 8 units"),
        above(0),
    ),
    Finding(
        "B122",
        "With two units and Adam the naming gains: the plain sum misnames {mean:.0f} digits in a hundred fewer than a network that learns the naming "
        "alone.",
        "percent of digits misnamed, naming alone minus sum, Adam, 2 units",
        lambda runs: runs.difference("misnamed", "naming alone", "sum", case="Adam, 2 units"),
        above(0),
    ),
    Finding(
        "B123",
        "With eight units and Adam the tasks conflict at {mean:.0f} in a hundred of the plain sum's steps without harm: a small step along the sum "
        "would lower both losses.",
        "percent of the steps of the sum with a conflict and no harm to first order, Adam, 8 units",
        harmless,
        above(50),
    ),
    Finding(
        "B124",
        "With two units and Adam, {mean:.0f} in a hundred of MGDA's steps point uphill for one of the tasks.",
        "percent of steps of the trunk that raise a loss to first order, MGDA, Adam, 2 units",
        lambda runs: runs.mean("uphill", "MGDA", case="Adam, 2 units"),
        above(0),
    ),
    Finding(
        "B125",
        "Whether PCGrad loses less than the plain sum isn't clear, with two units and Adam.",
        f"{LOST}, sum minus PCGrad, Adam, 2 units",
        lambda runs: runs.difference("lost", "sum", "PCGrad", case="Adam, 2 units"),
        unclear(),
    ),
    Finding(
        "B126",
        "With two units and Adam, a fixed weight loses {mean:.0f} less than PCGrad without one, each chosen among fifteen settings.",
        f"{LOST}, PCGrad minus fixed weight, Adam, 2 units",
        lambda runs: runs.difference("lost", "PCGrad", "fixed weight", case="Adam, 2 units", comparisons=2),
        above(0),
    ),
    Finding(
        "B127",
        "Where PCGrad has a weight, too, it isn't clear that it loses more than the fixed weight, with two units and Adam.",
        f"{LOST}, weighted PCGrad minus fixed weight, Adam, 2 units",
        lambda runs: runs.difference("lost", "PCGrad, weighted", "fixed weight", case="Adam, 2 units"),
        unclear(),
    ),
    Finding(
        "B128",
        "With SGD and two units, MGDA of weighted losses loses {mean:.0f} less than a fixed weight or the plain sum, where that is less sure.",
        f"{LOST}, fixed weight or sum minus weighted MGDA, whichever is less sure, SGD, 2 units",
        lambda runs: runs.lead("lost", "MGDA, weighted", "fixed weight", "sum", case="SGD, 2 units"),
        above(0),
    ),
    Finding(
        "B129",
        "With two units and Adam, the fixed weight loses {mean:.0f} less than MGDA without one, whose runs lie far apart.",
        f"{LOST}, MGDA minus fixed weight, Adam, 2 units",
        lambda runs: runs.difference("lost", "MGDA", "fixed weight", case="Adam, 2 units", comparisons=2),
        above(0),
    ),
)
