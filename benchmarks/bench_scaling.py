"""How the time grows with examples, classes, queries, objects, pixels, tasks: the slope of its logarithm beside the exponent that the algorithm has.

Sizes are large enough that what a call costs at any size no longer counts, where memory allows it.

python -m benchmarks.bench_scaling
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.bench_boosting import ten_squares
from benchmarks.bench_panoptic import STUFF, THINGS, VOID, relabel, scene
from benchmarks.bench_sets import CLASSES, step
from benchmarks.harness import Call, Slope, in_turn, main, spread
from lossbook.boosting import AdaBoost
from lossbook.crossentropy import cross_entropy
from lossbook.fairness import parity_frontier
from lossbook.focal import sigmoid_focal_loss
from lossbook.linear import fit_linear
from lossbook.multiclass import crammer_singer
from lossbook.multitask import mgda, pcgrad
from lossbook.panoptic import panoptic_counts
from lossbook.reliability import expected_calibration_error
from lossbook.sets import BoxSetLoss, MaskSetLoss, match
from lossbook.zero_one import best_line


@dataclass(frozen=True)
class Growth:
    """A call at several sizes, the exponent expected, and why where it is not plain."""

    name: str
    axis: str
    make: Callable[[int], Call]
    sizes: tuple[int, ...]
    expected: float
    note: str = ""

    @property
    def work(self) -> str:
        return f"{self.name} with {self.axis}"

    def measure(self, seconds: float) -> Iterator[Slope]:
        calls = [self.make(size) for size in self.sizes]
        for call in calls:
            call()
        times = tuple(spread(column).median for column in in_turn(calls, seconds, at_least=3))
        slope = float(np.polyfit(np.log(self.sizes), np.log(times), 1)[0])
        yield Slope(self.name, self.axis, self.sizes, times, slope, self.expected, self.note)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def calibration(count: int) -> Call:
    probs = torch.rand(count, generator=seeded())
    return partial(expected_calibration_error, probs, (probs < 0.5).long())


def focal(count: int) -> Call:
    logits = torch.randn(count, generator=seeded()).requires_grad_()
    return step(lambda: sigmoid_focal_loss(logits, (logits.detach() > 2).float()), [logits])


def classes_of(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[int], Call]:
    def make(classes: int) -> Call:
        logits = torch.randn(2_000, classes, generator=seeded()).requires_grad_()
        return step(lambda: loss(logits, torch.zeros(2_000, dtype=torch.int64)), [logits])

    return make


def boost(count: int) -> Call:
    return partial(AdaBoost(5).fit, *ten_squares(count))


def line(count: int) -> Call:
    signs = 2 * torch.randint(2, (count,), generator=seeded()) - 1
    return partial(best_line, torch.randn(count, 2, generator=seeded()), signs)


def logistic(count: int, columns: int) -> Call:
    features = torch.randn(count, columns, generator=seeded())
    signs = torch.where(features[:, 0] + torch.randn(count, generator=seeded()) > 0, 1, -1)
    return partial(fit_linear, features, signs, loss="logistic", l2=1e-3, solver="newton", tolerance=1e-4)


def frontier(count: int) -> Call:
    probs = torch.rand(count, generator=seeded(), dtype=torch.float64)
    return partial(parity_frontier, probs, groups=torch.arange(count) % 2)


def boxes(queries: int, objects: int) -> Call:
    logits = torch.randn(4, queries, CLASSES + 1, generator=seeded()).requires_grad_()
    predicted = (0.2 + 0.5 * torch.rand(4, queries, 4, generator=seeded())).requires_grad_()
    target = {"labels": torch.zeros(objects, dtype=torch.int64), "boxes_cxcywh": 0.2 + 0.4 * torch.rand(objects, 4, generator=seeded())}
    return step(lambda: BoxSetLoss(CLASSES)(logits, predicted, [target] * 4).total, [logits, predicted])


def masks(side: int) -> Call:
    logits = torch.randn(1, 50, CLASSES + 1, generator=seeded()).requires_grad_()
    mask_logits = torch.randn(1, 50, side, side, generator=seeded()).requires_grad_()
    target = {"labels": torch.zeros(10, dtype=torch.int64), "masks": torch.rand(10, side, side, generator=seeded()) < 0.1}
    return step(lambda: MaskSetLoss(CLASSES)(logits, mask_logits, [target]).total, [logits, mask_logits])


def quality(pixels: int) -> Call:
    truth = scene(50, 0)[:, : pixels // 1024].contiguous()
    return partial(panoptic_counts, relabel(scene(50, 0), 1)[:, : pixels // 1024].contiguous(), truth, things=THINGS, stuff=STUFF, void=VOID)


def assignment(count: int) -> Call:
    return partial(match, torch.rand(count, count, generator=seeded()))


def gradients(method: Callable[[Tensor], Tensor], size: int) -> Callable[[int], Call]:
    return lambda tasks: partial(method, torch.randn(tasks, size, generator=seeded()))


ROWS = (1 << 17, 1 << 19, 1 << 21)
CUBE = "cubic at worst; on random costs the search ends early"
GRAMIAN = "the Gramian, every pair of tasks; with few tasks reading the rows, linear, is most of it"
WIDE = "between the passes over the rows, linear in the columns, and the Hessian, quadratic"
JOBS = [
    Growth("calibration error", "probabilities", calibration, ROWS, 1),
    Growth("sigmoid focal loss", "logits", focal, ROWS, 1),
    Growth("cross-entropy", "classes", classes_of(cross_entropy), (100, 400, 1_600), 1, "the largest leaves the caches"),
    Growth("Crammer-Singer", "classes", classes_of(crammer_singer), (100, 400, 1_600), 1),
    Growth("AdaBoost, 5 rounds", "examples", boost, (10_000, 40_000, 160_000), 1, "a sort in front, n log n"),
    Growth("least mistakes in the plane", "points", line, (200, 400, 800), 2, "a sort around each point, n² log n"),
    Growth("logistic regression", "examples", partial(logistic, columns=20), (1 << 19, 1 << 20, 1 << 21), 1),
    Growth("logistic regression", "columns", partial(logistic, 1 << 15), (50, 100, 200), 1.5, WIDE),
    Growth("parity frontier", "examples", frontier, (100_000, 300_000, 1_000_000), 1, "a sort in front, n log n"),
    Growth("box set loss", "queries", partial(boxes, objects=20), (1_000, 2_000, 4_000), 1),
    Growth("box set loss", "objects", partial(boxes, 1_000), (100, 200, 400), 1, "the assignment alone grows faster"),
    Growth("mask set loss", "side of the mask", masks, (128, 256, 512), 2, "linear in its pixels"),
    Growth("panoptic quality", "pixels", quality, (1 << 19, 1 << 20, 1 << 21), 1),
    Growth("assignment", "queries and objects", assignment, (200, 400, 800), 3, CUBE),
    Growth("PCGrad", "tasks", gradients(pcgrad, 100_000), (10, 20, 40), 2, GRAMIAN),
    Growth("PCGrad", "parameters", lambda size: partial(pcgrad, torch.randn(10, size, generator=seeded())), (1 << 17, 1 << 19, 1 << 21), 1),
    Growth("MGDA", "tasks", gradients(mgda, 100_000), (10, 20, 40), 2, GRAMIAN),
]

if __name__ == "__main__":
    main(__doc__, JOBS, peers=["scipy"])
