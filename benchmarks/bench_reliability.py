"""Expected calibration error against torchmetrics: our value within 1e-9 of the float64 definition first.

python -m benchmarks.bench_reliability
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from benchmarks.harness import Case, Work, main
from lossbook.reliability import expected_calibration_error

warnings.filterwarnings("ignore", category=UserWarning, module="torchmetrics")


def definition(confidence: Tensor, correct: Tensor, bins: int = 15) -> float:
    """The l1 error in float64, with `torch.bucketize`: what both have to give."""
    index = (torch.bucketize(confidence.double(), torch.arange(bins + 1, dtype=torch.float64) / bins) - 1).clamp(min=0)
    excess = torch.zeros(bins, dtype=torch.float64).scatter_add_(0, index, confidence.double() - correct.double())
    return float(excess.abs().sum() / len(confidence))


def work(probs: Tensor, labels: Tensor, expected: float, peer: Any, **settings: int) -> Work:
    theirs = partial(peer, probs, labels, n_bins=15, **settings)
    off = abs(float(theirs()) - expected)
    return Work(
        partial(expected_calibration_error, probs, labels),
        theirs,
        lambda ours, _: abs(float(ours) - expected),
        touched=probs.nbytes + labels.nbytes,
        note=f"torchmetrics ends {off:.0e} from the float64 value",
    )


def binary(count: int) -> Work:
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(count, generator=generator)
    labels = (torch.rand(count, generator=generator) < probs).long()
    return work(probs, labels, definition(probs, labels), binary_calibration_error)


def one_bin(count: int) -> Work:
    probs, labels = torch.full((count,), 0.51), torch.arange(count) % 2
    return work(probs, labels, definition(probs, labels), binary_calibration_error)


def top_label(count: int, classes: int) -> Work:
    generator = torch.Generator().manual_seed(0)
    probs = (3 * torch.randn(count, classes, generator=generator)).softmax(1)
    labels = torch.randint(0, classes, (count,), generator=generator)
    confidence, top = probs.max(1)
    return work(probs, labels, definition(confidence, top == labels), multiclass_calibration_error, num_classes=classes)


def case(name: str, make: partial[Work], goal: float | None = None) -> Case:
    return Case(f"calibration error, 15 bins, {name}", "torchmetrics", make, goal, 1e-9)


JOBS = [
    case("1e4 probabilities", partial(binary, 10_000)),
    case("1e6 probabilities", partial(binary, 1_000_000), 15),
    case("1e7 probabilities", partial(binary, 10_000_000), 15),
    case("1e6 probabilities, all in one bin", partial(one_bin, 1_000_000)),
    case("top label of 10 classes, 1e6 rows", partial(top_label, 1_000_000, 10)),
]

if __name__ == "__main__":
    main(__doc__, JOBS, peers=["torchmetrics"])
