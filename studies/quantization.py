"""What is left in a few bits of networks that were trained by two losses: logits rounded, weights rounded on one grid a layer or one a unit.

Scanned digits, one hidden layer. Some networks learn as if nothing would be rounded, others round while they learn.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import multiclass
from lossbook.book import data
from lossbook.book.training import train
from lossbook.quantization import grid_scale, quantize
from studies import Effect, Finding, Runs, Study, above, paired, within

TRAINING, HIDDEN, STEPS, RATE = 1000, 32, 300, 0.02
MOVED = 0.1  # nats; where weights jump from level to level, the loss jumps with them

Layers = tuple[Tensor, Tensor, Tensor, Tensor]


def run(arm: str, seed: int, *, bits: int, l2: float) -> dict[str, float]:
    """Train, round, and count mistakes on digits that were not trained on.

    Args:
        arm: How a network is trained, and what is rounded. "cross-entropy"; "hinge", which is Crammer and Singer's; "aware", by cross-entropy that
            sees the rounded weights while it learns, slopes passed straight through the rounding. Then "logits", on a grid that reaches the largest
            of them; "layers", the weights, each layer on a grid of its own; "units", the weights, each unit on a grid of its own.
        seed: Of the split and of the start.
        bits: So many.
        l2: The ridge on the weights.

    Returns:
        `mistakes` in percent, after rounding; `exact`, those before; `largest`: the largest logit, of either sign, before; `lead`: the median over
        digits of the best logit's lead over the next, as a share of `largest`; `moved`: by how much the mean training loss moved from the last
        tenth of the steps but one to the last.
    """
    way, rounded = arm.split(", ")
    aware = way == "aware"
    layers, moved = trained(way, seed, rounded if aware else "", bits if aware else 0, l2)
    pixels, labels, order = digits(seed)
    rest = order[TRAINING:]
    logits, after = (scores(layers, pixels[rest], how, bits) for how in ("", rounded))
    first, second = logits.topk(2).values.T
    return {
        "mistakes": 100 * float((after.argmax(1) != labels[rest]).double().mean()),
        "exact": 100 * float((logits.argmax(1) != labels[rest]).double().mean()),
        "largest": float(logits.abs().max()),
        "lead": float(((first - second) / logits.abs().max()).median()),
        "moved": moved,
    }


def scores(layers: Layers, pixels: Tensor, rounded: str, bits: int) -> Tensor:
    """The logits of some pixels; where something is rounded, its slope is taken to be 1."""
    first, shift, last, end = layers
    if rounded in ("layers", "units"):
        first, last = (straight_through(weights, bits, by_unit=rounded == "units") for weights in (first, last))
    logits = torch.relu(pixels @ first + shift) @ last + end
    return straight_through(logits, bits) if rounded == "logits" else logits


def straight_through(values: Tensor, bits: int, *, by_unit: bool = False) -> Tensor:
    """Rounded forward; backward as if it were not."""
    exact = values.detach()
    steps = exact.abs().amax(0, keepdim=True) / (2 ** (bits - 1) - 1) if by_unit else grid_scale(exact, bits=bits)
    return values + (quantize(exact, bits=bits, scale=steps.clamp(min=1e-12)) - exact)


@cache
def trained(way: str, seed: int, rounded: str, bits: int, l2: float) -> tuple[Layers, float]:
    """Adam on all examples at once, its rate falling to 0."""
    pixels, labels, order = digits(seed)
    seen = order[:TRAINING]
    generator = torch.Generator().manual_seed(seed)
    layers = (
        torch.randn(pixels.shape[1], HIDDEN, generator=generator) * (2 / pixels.shape[1]) ** 0.5,
        torch.zeros(HIDDEN),
        torch.randn(HIDDEN, 10, generator=generator) / HIDDEN**0.5,
        torch.zeros(10),
    )
    for layer in layers:
        layer.requires_grad_()

    def loss() -> Tensor:
        logits = scores(layers, pixels[seen], rounded, bits)
        fit = multiclass.crammer_singer(logits, labels[seen]) if way == "hinge" else F.cross_entropy(logits, labels[seen])
        path.append(float(fit.detach()))
        rate.step()
        return fit + l2 / 2 * (layers[0].square().sum() + layers[2].square().sum())  # type: ignore[no-any-return]

    path: list[float] = []
    optimizer = torch.optim.Adam(layers, lr=RATE)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / STEPS)) / 2)
    optimizer.step()  # of nothing, before the schedule's first
    train(optimizer, loss, steps=STEPS)
    tenth = STEPS // 10  # where rounding makes the loss jump, its mean over a tenth of the steps is what can settle
    moved = abs(sum(path[-tenth:]) - sum(path[-2 * tenth : -tenth])) / tenth
    return tuple(layer.detach() for layer in layers), moved  # type: ignore[return-value]


@cache
def digits(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, what was written, and an order."""
    images, labels = data.digits()
    pixels = images.reshape(len(images), -1).float()
    return pixels, labels, torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))


ARMS = (
    "cross-entropy, logits",
    "hinge, logits",
    "cross-entropy, layers",
    "hinge, layers",
    "cross-entropy, units",
    "hinge, units",
    "aware, units",
)

STUDY = Study(
    run=run,
    chapter="quantization",
    question="Logits or weights are rounded to a few bits: does the training loss decide what survives, or the grid, or rounding while one learns?",
    arms=ARMS,
    conditions={"bits": (4, 3, 2)},
    tuned={arm: {"l2": (1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)} for arm in ARMS},
    least="mistakes",
    tuning_seeds=range(100, 108),
    seeds=range(20),
    end=f"The rate fell to 0 over {STEPS} steps; from the last tenth but one to the last the mean training loss moved by less than {MOVED:g} nats.",
    ended=lambda numbers: numbers["moved"] < MOVED,
)


def price_of_four_bits(runs: Runs) -> Effect:
    """Mistakes after rounding to four bits, each unit on its own grid, minus those before."""
    return paired([row["mistakes"] - row["exact"] for row in runs.where(arm="cross-entropy, units", bits=4).rows])


FINDINGS = (
    Finding(
        "B65",
        "A network trained by the multiclass hinge does not stand rounding better: with its logits in three bits it makes {mean:.1f} in a hundred "
        "more mistakes than one trained by cross-entropy, each at its own best ridge.",
        "mistakes after rounding, hinge minus cross-entropy, in percent",
        lambda runs: runs.difference("mistakes", "hinge, logits", "cross-entropy, logits", bits=3),
        above(0),
    ),
    Finding(
        "B66",
        "With its logits in two bits it makes {mean:.1f} in a hundred more.",
        "mistakes after rounding, hinge minus cross-entropy, in percent",
        lambda runs: runs.difference("mistakes", "hinge, logits", "cross-entropy, logits", bits=2),
        above(0),
    ),
    Finding(
        "B67",
        "Weights in four bits, each unit on a grid of its own, cost a network trained by cross-entropy less than half a mistake in a hundred.",
        "mistakes after rounding minus those before, in percent",
        price_of_four_bits,
        within(-0.5, 0.5),
    ),
    Finding(
        "B68",
        "In two bits, on grids that reach the largest weight, one for a whole layer costs a network trained by cross-entropy {mean:.0f} in a hundred "
        "more mistakes than one for each unit.",
        "mistakes after rounding, a grid a layer minus a grid a unit, in percent",
        lambda runs: runs.difference("mistakes", "cross-entropy, layers", "cross-entropy, units", bits=2),
        above(0),
    ),
    Finding(
        "B69",
        "A network that sees its weights rounded to two bits while it learns makes {mean:.0f} in a hundred fewer mistakes than one that is rounded "
        "afterwards, both with a grid for each unit that reaches its largest weight.",
        "mistakes of the one rounded afterwards minus those of the other, in percent",
        lambda runs: runs.difference("mistakes", "cross-entropy, units", "aware, units", bits=2),
        above(0),
    ),
)
