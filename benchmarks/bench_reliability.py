"""Expected calibration error against torchmetrics: one process, one thread, interleaved, CPU time, medians; values equal first.

python benchmarks/bench_reliability.py [--repeats 15]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from lossbook.reliability import expected_calibration_error

warnings.filterwarnings("ignore", category=UserWarning, module="torchmetrics")


def definition(confidence: Tensor, correct: Tensor, bins: int = 15) -> float:
    """The l1 error in float64, with `torch.bucketize`: what both have to give."""
    index = (torch.bucketize(confidence.double(), torch.arange(bins + 1, dtype=torch.float64) / bins) - 1).clamp(min=0)
    excess = torch.zeros(bins, dtype=torch.float64).scatter_add_(0, index, confidence.double() - correct.double())
    return float(excess.abs().sum() / len(confidence))


def seconds(call: Callable[[], Tensor]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def compare(name: str, ours: Callable[[], Tensor], peer: Callable[[], Tensor], expected: float, repeats: int) -> None:
    errors = abs(float(ours()) - expected), abs(float(peer()) - expected)
    if errors[0] > 1e-9:
        raise SystemExit(f"{name}: {float(ours())} should be {expected}")
    times = [(seconds(ours), seconds(peer)) for _ in range(repeats)]
    ratio = median(theirs / mine for mine, theirs in times)
    print(
        f"{name:34s} {1e3 * median(t[0] for t in times):9.2f} ms {1e3 * median(t[1] for t in times):9.2f} ms {ratio:7.1f}x"
        f"   off the float64 value by {errors[0]:.0e} and {errors[1]:.0e}"
    )


def main() -> None:
    from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    print(f"{'15 bins, l1':34s} {'lossbook':>12s} {'torchmetrics':>12s}   ratio of the pairs, median")
    for count in (10_000, 1_000_000, 10_000_000):
        probs = torch.rand(count, generator=generator)
        labels = (torch.rand(count, generator=generator) < probs).long()
        compare(
            f"binary, {count:.0e}".replace("e+0", "e"),
            lambda: expected_calibration_error(probs, labels),  # noqa: B023
            lambda: binary_calibration_error(probs, labels, n_bins=15),  # noqa: B023
            definition(probs, labels),
            repeats if count < 10_000_000 else max(repeats // 3, 3),
        )
    probs, labels = torch.full((1_000_000,), 0.51), torch.arange(1_000_000) % 2
    compare(
        "binary, 1e6, all in one bin",
        lambda: expected_calibration_error(probs, labels),
        lambda: binary_calibration_error(probs, labels, n_bins=15),
        definition(probs, labels),
        repeats,
    )
    classes = (3 * torch.randn(1_000_000, 10, generator=generator)).softmax(1)
    labels = torch.randint(0, 10, (1_000_000,), generator=generator)
    confidence, top = classes.max(1)
    compare(
        "10 classes, top label, 1e6",
        lambda: expected_calibration_error(classes, labels),
        lambda: multiclass_calibration_error(classes, labels, num_classes=10, n_bins=15),
        definition(confidence, top == labels),
        max(repeats // 3, 3),
    )


if __name__ == "__main__":
    main()
