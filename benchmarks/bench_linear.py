"""Time to within 1e-4 of the least objective, against scikit-learn: one process, one thread, interleaved, CPU time, medians; the objectives first.

python benchmarks/bench_linear.py [--count 1000000] [--columns 50] [--repeats 5]

The peer runs at the loosest tolerance of a grid that brings it within 1e-4, which is looked for beforehand and not timed; ours at tolerance 1e-4.
Both get the same float64 features. A peer that no tolerance brings there within its steps is timed at the tightest one, and its gap says so.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits
from torch import Tensor

from lossbook.linear import fit_linear
from lossbook.margins import LOSSES

L2 = 1e-6
NEAR = 1e-4
DESIGNS = {  # correlation of the columns, and how many powers of ten their units span
    "independent": (0.0, 0.0),
    "correlated": (0.5, 0.0),
    "correlated, units over two powers of ten": (0.5, 2.0),
}


class Peer(NamedTuple):
    """An estimator of scikit-learn, and the tolerances to try, the loosest first."""

    name: str
    make: Callable[[float, int], Any]
    tolerances: tuple[float, ...]


def c_of(count: int) -> float:
    """scikit-learn's C for our l2."""
    return 1 / (L2 * count)


PEERS = {
    "logistic": (
        Peer("LogisticRegression", lambda tol, n: LogisticRegression(C=c_of(n), tol=tol, max_iter=500), (1e-2, 1e-3, 1e-4, 1e-5)),
        Peer("... newton-cholesky", lambda tol, n: LogisticRegression(C=c_of(n), tol=tol, solver="newton-cholesky"), (1e-1, 1e-2, 1e-3)),
    ),
    "squared_hinge": (Peer("LinearSVC", lambda tol, n: LinearSVC(C=c_of(n), dual=False, tol=tol, max_iter=1000), (1e-1, 1e-2, 1e-3, 1e-4)),),
}


def examples(count: int, columns: int, correlation: float, powers: float) -> tuple[Tensor, Tensor]:
    """Normal columns in units of their own, and signs drawn from a logistic model of the columns before their units."""
    generator = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky((1 - correlation) * torch.eye(columns, dtype=torch.float64) + correlation)
    features = torch.randn(count, columns, generator=generator, dtype=torch.float64) @ root.T
    truth = torch.randn(columns, generator=generator, dtype=torch.float64) / columns**0.5
    signs = torch.where(torch.rand(count, generator=generator) < torch.sigmoid(2 * features @ truth), 1, -1)
    return features * 10 ** (powers * torch.rand(columns, generator=generator, dtype=torch.float64) - powers / 2), signs


def objective(loss: str, features: Tensor, signs: Tensor, weights: Tensor, intercept: float) -> float:
    """The mean loss and the ridge in plain sums; LinearSVC's ridge has the intercept, too."""
    penalty = weights.square().sum() + (intercept**2 if loss == "squared_hinge" else 0)
    return float(LOSSES[loss]((features @ weights + intercept) * signs).mean() + L2 / 2 * penalty)


def ours(loss: str, features: Tensor, signs: Tensor, tolerance: float) -> tuple[Tensor, float]:
    intercept = "regularized" if loss == "squared_hinge" else "free"
    fit = fit_linear(features, signs, loss=loss, l2=L2, solver="newton", intercept=intercept, tolerance=tolerance)
    return fit.weights, float(fit.intercept)


def theirs(peer: Peer, features: Tensor, signs: Tensor, tolerance: float) -> tuple[Tensor, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the gap that is printed says how far it came
        fit = peer.make(tolerance, len(signs)).fit(features.numpy(), signs.numpy())
    return torch.tensor(fit.coef_[0]), float(fit.intercept_[0])


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def rows(loss: str, features: Tensor, signs: Tensor, repeats: int) -> Iterator[str]:
    """One line a peer: medians with their range, the gaps to the least objective, and the median of the paired ratios."""

    def gap(line: tuple[Tensor, float]) -> float:
        return objective(loss, features, signs, *line) / least - 1

    least = objective(loss, features, signs, *ours(loss, features, signs, 1e-12))
    our_gap = gap(ours(loss, features, signs, NEAR))
    if not -1e-9 < our_gap < NEAR:
        raise SystemExit(f"lossbook ended {our_gap:.1e} above the least objective")
    for peer in PEERS[loss]:
        for tolerance in peer.tolerances:
            their_gap = gap(theirs(peer, features, signs, tolerance))
            if their_gap < -1e-8:
                raise SystemExit(f"{peer.name} ended {-their_gap:.1e} BELOW what was taken for the least objective")
            if their_gap < NEAR:
                break
        slow, fast = partial(theirs, peer, features, signs, tolerance), partial(ours, loss, features, signs, NEAR)
        times = [(seconds(slow), seconds(fast)) for _ in range(repeats)]
        columns = [sorted(column) for column in zip(*times, strict=True)]
        ratio = median(peer_time / our_time for peer_time, our_time in times)
        spans = [f"{median(column):7.2f} [{column[0]:.2f}, {column[-1]:.2f}]" for column in columns]
        yield f"{loss:14s} {peer.name:20s} {spans[0]:24s} {their_gap:8.0e} {spans[1]:24s} {our_gap:8.0e} {ratio:7.1f}x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    for design, (correlation, powers) in DESIGNS.items():
        features, signs = examples(options.count, options.columns, correlation, powers)
        print(f"\n{options.count} examples, {options.columns} columns, {design}; seconds of one core")
        print(f"{'':35s} {'scikit-learn':24s} {'gap':>8s} {'lossbook':24s} {'gap':>8s} {'ratio':>8s}", flush=True)
        for loss in PEERS:
            for row in rows(loss, features, signs, options.repeats):
                print(row, flush=True)


if __name__ == "__main__":
    main()
