"""Sigmoid focal loss, forward and backward, against torchvision's formula.

torchvision itself is not imported: its function is ten lines of torch, written out below.

python -m benchmarks.bench_focal
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import Case, Work, main
from lossbook.focal import sigmoid_focal_loss


def torchvision_focal(logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """torchvision.ops.sigmoid_focal_loss(..., reduction="mean")."""
    probs = torch.sigmoid(logits)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = probs * targets + (1 - probs) * (1 - targets)
    loss = cross_entropy * ((1 - p_t) ** gamma)
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return loss.mean()


def ours(logits: Tensor, targets: Tensor) -> Tensor:
    return sigmoid_focal_loss(logits, targets, alpha=0.25)


def step(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logits.grad = None
    value = loss(logits, targets)
    value.backward()
    return value, logits.grad


def work(count: int) -> Work:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, generator=generator).requires_grad_()
    targets = (torch.rand(count, generator=generator) < 0.02).float()
    return Work(partial(step, ours, logits, targets), partial(step, torchvision_focal, logits, targets), touched=3 * logits.nbytes)


def case(count: int, goal: float | None, *, memory: bool = False) -> Case:
    warm = partial(work, 300_000) if memory else None
    return Case(f"sigmoid focal loss, {count:,} logits", "torchvision's formula", partial(work, count), goal, warm=warm)


JOBS = [case(8_400_000, 12, memory=True), case(1_000_000, 3, memory=True), case(100_000, None), case(2_000, 1.5)]

if __name__ == "__main__":
    main(__doc__, JOBS)
