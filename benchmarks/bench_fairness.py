"""The exact front of error against the parity gap, and one optimum of it, against fairlearn's `ThresholdOptimizer`, which finds the optimum at gap 0.

The peer searches a grid of 1000 selection rates, its default. With 1000 people in each group the grid holds the optimum, and the errors must be
equal to 1e-12; elsewhere ours must be at most the peer's and within 1e-4 of it.

python -m benchmarks.bench_fairness
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from fairlearn.postprocessing import ThresholdOptimizer
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor

from benchmarks.harness import Case, Work, main
from lossbook.fairness import ParityFrontier, parity_frontier


class Scores(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose score is the feature itself."""

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Scores:
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        return features[:, 0]


def people(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """P(label = 1), labels, and two groups of equal size with base rates that differ."""
    source = torch.Generator().manual_seed(0)
    groups = (torch.arange(count) % 2)[torch.randperm(count, generator=source)]
    probs = torch.sigmoid(torch.randn(count, dtype=torch.float64, generator=source) + groups - 0.5)
    return probs, (torch.rand(count, generator=source) < probs).long(), groups


def peer(probs: Tensor, labels: Tensor, groups: Tensor) -> ThresholdOptimizer:
    found = ThresholdOptimizer(
        estimator=Scores(), constraints="demographic_parity", objective="accuracy_score", prefit=True, predict_method="predict"
    )
    return found.fit(probs.numpy()[:, None], labels.numpy(), sensitive_features=groups.numpy())


def work(count: int, gaps: int | Tensor) -> Work:
    probs, labels, groups = given = people(count)

    def excess(ours: ParityFrontier, theirs: ThresholdOptimizer) -> float:
        """How far the peer's error at gap 0 is above ours; infinite where it is below."""
        chances = theirs._pmf_predict(probs.numpy()[:, None], sensitive_features=groups.numpy())[:, 1]
        difference = float(np.where(labels.numpy() == 1, 1 - chances, chances).mean() - ours.errors[0])
        return difference if difference > -1e-12 else np.inf

    return Work(lambda: parity_frontier(probs, groups=groups, labels=labels, gaps=gaps), lambda: peer(*given), difference=excess)


SIZES = {2_000: 1e-12, 10_000: 1e-4, 100_000: 1e-4, 1_000_000: 1e-4}  # people, and how far the peer may be above the optimum
FRONTS: tuple[tuple[str, int | Tensor, float], ...] = (("exact parity optimum", torch.zeros(1), 150), ("front of 101 gaps", 101, 100))
JOBS = [
    Case(f"{what}, {count:,} people", "fairlearn's one optimum", partial(work, count, gaps), goal if count > 2_000 else None, within, at_least=3)
    for count, within in SIZES.items()
    for what, gaps, goal in FRONTS
]

if __name__ == "__main__":
    main(__doc__, JOBS, peers=["fairlearn"])
