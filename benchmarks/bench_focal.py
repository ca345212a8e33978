"""Sigmoid focal loss and asymmetric loss, forward and backward, against torchvision's formula and that of the paper's authors.

Neither is imported: each is ten lines of torch, written out below.

python -m benchmarks.bench_focal
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import Case, Work, main
from lossbook.focal import asymmetric_loss, sigmoid_focal_loss


def torchvision_focal(logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """torchvision.ops.sigmoid_focal_loss(..., reduction="mean")."""
    probs = torch.sigmoid(logits)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = probs * targets + (1 - probs) * (1 - targets)
    loss = cross_entropy * ((1 - p_t) ** gamma)
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return loss.mean()


def authors_asymmetric(logits: Tensor, targets: Tensor, *, gamma_negative: float = 4.0, gamma_positive: float = 1.0, clip: float = 0.05) -> Tensor:
    """What the code beside the paper of Ridnik et al. computes, as a mean."""
    present, absent = logits.sigmoid(), (1 - logits.sigmoid() + clip).clamp(max=1)
    logs = targets * present.clamp(min=1e-8).log() + (1 - targets) * absent.clamp(min=1e-8).log()
    chosen = present * targets + absent * (1 - targets)
    return -(logs * (1 - chosen) ** (gamma_positive * targets + gamma_negative * (1 - targets))).mean()


def ours(logits: Tensor, targets: Tensor) -> Tensor:
    return sigmoid_focal_loss(logits, targets, alpha=0.25)


def step(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logits.grad = None
    value = loss(logits, targets)
    value.backward()
    return value, logits.grad


def work(count: int, mine: Callable[[Tensor, Tensor], Tensor] = ours, theirs: Callable[[Tensor, Tensor], Tensor] = torchvision_focal) -> Work:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, generator=generator).requires_grad_()
    targets = (torch.rand(count, generator=generator) < 0.02).float()
    return Work(partial(step, mine, logits, targets), partial(step, theirs, logits, targets), touched=3 * logits.nbytes)


def case(count: int, goal: float | None, *, memory: bool = False) -> Case:
    warm = partial(work, 300_000) if memory else None
    return Case(f"sigmoid focal loss, {count:,} logits", "torchvision's formula", partial(work, count), goal, warm=warm)


def asymmetric(count: int) -> Case:
    return Case(f"asymmetric loss, {count:,} logits", "the authors' formula", partial(work, count, asymmetric_loss, authors_asymmetric), None)


JOBS = [case(8_400_000, 12, memory=True), case(1_000_000, 3, memory=True), case(100_000, None), case(2_000, 1.5)]
JOBS += [asymmetric(count) for count in (1_000_000, 2_000)]

if __name__ == "__main__":
    main(__doc__, JOBS)
