"""The exact front of error against the parity gap, and one optimum of it, against fairlearn's `ThresholdOptimizer`, which finds the optimum at gap 0.

One process, one thread, interleaved, CPU time, medians; errors equal first. The peer searches a grid of 1000 selection rates, its default: where
these hold the optimum the errors must be equal to 1e-12, elsewhere ours must be at most its own and within 1e-4 of it.

python benchmarks/bench_fairness.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from fairlearn.postprocessing import ThresholdOptimizer
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor

from lossbook.fairness import parity_frontier

People = tuple[Tensor, Tensor, Tensor]  # P(label = 1), labels, groups


class Scores(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose score is the feature itself."""

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Scores:
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        return features[:, 0]


def people(count: int) -> People:
    """Two groups of equal size with base rates that differ."""
    source = torch.Generator().manual_seed(0)
    groups = (torch.arange(count) % 2)[torch.randperm(count, generator=source)]
    probs = torch.sigmoid(torch.randn(count, dtype=torch.float64, generator=source) + groups - 0.5)
    return probs, (torch.rand(count, generator=source) < probs).long(), groups


def peer(probs: Tensor, labels: Tensor, groups: Tensor) -> ThresholdOptimizer:
    found = ThresholdOptimizer(
        estimator=Scores(), constraints="demographic_parity", objective="accuracy_score", prefit=True, predict_method="predict"
    )
    return found.fit(probs.numpy()[:, None], labels.numpy(), sensitive_features=groups.numpy())


def ours(probs: Tensor, labels: Tensor, groups: Tensor) -> float:
    return float(parity_frontier(probs, groups=groups, labels=labels, gaps=torch.zeros(1)).errors[0])


def check(given: People, *, within: float) -> None:
    """Stops the program unless the peer's error is ours, or above it by less than `within`."""
    probs, labels, groups = given
    chances = peer(*given)._pmf_predict(probs.numpy()[:, None], sensitive_features=groups.numpy())[:, 1]
    excess = float(np.where(labels.numpy() == 1, 1 - chances, chances).mean()) - ours(*given)
    if not -1e-12 <= excess <= within:
        raise SystemExit(f"errors at gap 0 differ by {excess}")


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    check(people(2_000), within=1e-12)  # 1000 people in each group: every rate is on the peer's grid
    print(f"{'two groups, with labels':24s} {'fairlearn':>12s} {'one optimum':>14s} {'ratio':>7s} {'101 gaps':>12s} {'ratio':>7s}")
    for count in (10_000, 100_000, 1_000_000):
        probs, labels, groups = given = people(count)
        check(given, within=1e-4)
        times = []
        for _ in range(repeats if count < 1_000_000 else max(repeats // 2, 2)):
            theirs = seconds(lambda: peer(*given))  # noqa: B023
            one = seconds(lambda: ours(*given))  # noqa: B023
            front = seconds(lambda: parity_frontier(probs, groups=groups, labels=labels))  # noqa: B023
            times.append((theirs, one, front, theirs / one, theirs / front))
        theirs, one, front, by_one, by_front = (median(column) for column in zip(*times, strict=True))
        print(f"{count:9d} people {1e3 * theirs:18.0f} ms {1e3 * one:11.2f} ms {by_one:6.0f}x {1e3 * front:9.2f} ms {by_front:6.0f}x")


if __name__ == "__main__":
    main()
