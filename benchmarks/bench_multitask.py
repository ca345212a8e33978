"""PCGrad and MGDA against torchjd: the same values first.

python -m benchmarks.bench_multitask
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torchjd.aggregation import MGDA, PCGrad

from benchmarks.harness import Case, Work, main, relative_difference
from lossbook.multitask import mgda, pcgrad

SIZES = ((2, 10_000), (10, 10_000), (10, 100_000), (10, 1_000_000))


def rows(tasks: int, size: int) -> Tensor:
    return torch.randn(tasks, size, generator=torch.Generator().manual_seed(0))


def in_one_order(gradients: Tensor) -> float:
    """How far both PCGrads are apart when both meet the tasks in the same order, which each draws for itself in the timing."""
    tasks, original = len(gradients), torch.randperm
    order = torch.stack([original(tasks, generator=torch.Generator().manual_seed(task)) for task in range(tasks)])
    drawn = iter(order)
    torch.randperm = lambda size: next(drawn)
    try:
        theirs = PCGrad()(gradients)
    finally:
        torch.randperm = original
    return relative_difference(pcgrad(gradients, order=order), theirs)


def no_longer(gradients: Tensor) -> float:
    """By how much our vector is longer than the peer's at its tightest: the shortest is the solution."""
    return float((mgda(gradients) @ gradients).norm() / MGDA(epsilon=1e-6, max_iters=2000)(gradients).norm()) - 1


def work(method: str, tasks: int, size: int) -> Work:
    gradients = rows(tasks, size)
    if method == "PCGrad":
        return Work(partial(pcgrad, gradients), partial(PCGrad(), gradients), lambda *_: in_one_order(gradients), 2 * gradients.nbytes)
    return Work(lambda: mgda(gradients) @ gradients, partial(MGDA(), gradients), lambda *_: no_longer(gradients[:, :10_000]), 2 * gradients.nbytes)


JOBS = [
    Case(f"{method}, {tasks} tasks, {size:,} parameters", "torchjd", partial(work, method, tasks, size), goal if tasks == 10 else None, 1e-4)
    for method, goal in (("PCGrad", 5), ("MGDA", 8))
    for tasks, size in SIZES
]

if __name__ == "__main__":
    main(__doc__, JOBS, peers=["torchjd"])
