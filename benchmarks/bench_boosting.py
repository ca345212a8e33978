"""AdaBoost with stumps against scikit-learn: the same stumps, thresholds and error curve first.

python -m benchmarks.bench_boosting
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from sklearn.ensemble import AdaBoostClassifier
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from benchmarks.harness import Case, Work, main, relative_difference
from lossbook.boosting import AdaBoost


def ten_squares(count: int, columns: int = 20) -> tuple[Tensor, Tensor]:
    """Hastie, Tibshirani and Friedman's example: the sign of a sum of ten squares, with noise and ten idle columns; float32, as the peer's trees."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, columns, generator=generator)
    noise = torch.randn(count, generator=generator)
    return features, torch.where(features[:, :10].square().sum(1) + noise > 9.34, 1, -1)


def same_stumps(ours: AdaBoost, theirs: Any) -> float:
    """How far errors and weights are apart, once features and thresholds are the very same."""
    stumps = [(tree.tree_.feature[0], tree.tree_.threshold[0]) for tree in theirs.estimators_]
    if [(stump.feature, stump.threshold) for stump in ours.stumps] != stumps:
        raise ValueError("the stumps differ")
    return relative_difference((ours.errors, 2 * ours.alphas), (theirs.estimator_errors_, theirs.estimator_weights_))


def no_worse(ours: AdaBoost, theirs: Any) -> float:
    """By how much our first stump errs more often than the peer's, which is chosen by impurity."""
    return max(float(ours.errors[0]) - float(theirs.estimator_errors_[0]), 0.0)


def work(count: int, rounds: int, criterion: str) -> Work:
    features, signs = ten_squares(count)
    columns, classes = features.numpy(), signs.numpy()
    return Work(
        lambda: AdaBoost(rounds, criterion).fit(features, signs),
        lambda: AdaBoostClassifier(DecisionTreeClassifier(max_depth=1), n_estimators=rounds, random_state=0).fit(columns, classes),
        difference=same_stumps if criterion == "gini" else no_worse,
    )


def cases(count: int, rounds: int) -> list[Case]:
    name = f"AdaBoost, {count:,} examples, 20 columns, {rounds} rounds"
    note = "stumps by weighted error, which scikit-learn does not offer"
    return [
        Case(name, "scikit-learn", partial(work, count, rounds, "gini"), 12, 1e-11, note="the same stumps"),
        Case(f"{name}, by error", "scikit-learn", partial(work, count, rounds, "error"), None, 1e-11, note=note),
    ]


JOBS = [case for count, rounds in ((1_000, 50), (10_000, 50), (100_000, 20)) for case in cases(count, rounds)]

if __name__ == "__main__":
    main(__doc__, JOBS, peers=["scikit-learn"])
