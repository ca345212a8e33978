"""AdaBoost with stumps against scikit-learn: one process, one thread, interleaved, CPU time, medians; the same stumps and error curve first.

python benchmarks/bench_boosting.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from sklearn.ensemble import AdaBoostClassifier
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from lossbook.boosting import AdaBoost


def ten_squares(count: int, columns: int = 20) -> tuple[Tensor, Tensor]:
    """Hastie, Tibshirani and Friedman's example: the sign of a sum of ten squares, with noise and ten idle columns; float32, as the peer's trees."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, columns, generator=generator)
    noise = torch.randn(count, generator=generator)
    return features, torch.where(features[:, :10].square().sum(1) + noise > 9.34, 1, -1)


def peer(features: Tensor, signs: Tensor, rounds: int) -> AdaBoostClassifier:
    return AdaBoostClassifier(DecisionTreeClassifier(max_depth=1), n_estimators=rounds, random_state=0).fit(features.numpy(), signs.numpy())


def check(features: Tensor, signs: Tensor, rounds: int) -> None:
    """Stops the program unless "gini" gives the peer's features, thresholds, errors and weights."""
    ours, theirs = AdaBoost(rounds, "gini").fit(features, signs), peer(features, signs, rounds)
    stumps = [(tree.tree_.feature[0], tree.tree_.threshold[0]) for tree in theirs.estimators_]
    if [(stump.feature, stump.threshold) for stump in ours.stumps] != stumps:
        raise SystemExit("the stumps differ")
    np.testing.assert_allclose(ours.errors, theirs.estimator_errors_, rtol=0, atol=1e-12)
    np.testing.assert_allclose(2 * ours.alphas, theirs.estimator_weights_, rtol=0, atol=1e-11)


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"{'20 columns':24s} {'scikit-learn':>13s} {'gini':>10s} {'ratio':>7s} {'error':>10s} {'ratio':>7s}")
    for count, rounds in ((1_000, 50), (10_000, 50), (100_000, 20)):
        features, signs = ten_squares(count)
        check(features, signs, rounds)
        times = []
        for _ in range(repeats if count < 100_000 else max(repeats // 2, 3)):
            theirs = seconds(lambda: peer(features, signs, rounds))  # noqa: B023
            gini = seconds(lambda: AdaBoost(rounds, "gini").fit(features, signs))  # noqa: B023
            error = seconds(lambda: AdaBoost(rounds, "error").fit(features, signs))  # noqa: B023
            times.append((theirs, gini, error, theirs / gini, theirs / error))
        theirs, gini, error, by_gini, by_error = (median(column) for column in zip(*times, strict=True))
        name = f"{count} examples, {rounds} rounds"
        print(f"{name:24s} {1e3 * theirs:10.0f} ms {1e3 * gini:7.0f} ms {by_gini:6.1f}x {1e3 * error:7.0f} ms {by_error:6.1f}x")


if __name__ == "__main__":
    main()
