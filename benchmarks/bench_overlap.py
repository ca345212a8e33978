"""Lovász losses, forward and backward, against the authors' implementation.

It is written out below: a loop over the classes, or the images, each with a sort of its errors and the differences of the Jaccard loss down the
sorted errors. These are differences of numbers near 1, so in float32 its gradient has three right digits; ours is held to its gradient in float64.

python -m benchmarks.bench_overlap
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import Case, Work, main, relative_difference
from lossbook.overlap import lovasz_loss

Loss = Callable[[Tensor, Tensor], Tensor]
CLASSES = 21


def lovasz_grad(truth_sorted: Tensor) -> Tensor:
    """pytorch/lovasz_losses.py of github.com/bermanmaxim/LovaszSoftmax, of which this and the next two are the bodies, in any floating dtype."""
    total = truth_sorted.sum()
    intersection = total - truth_sorted.cumsum(0)
    union = total + (1 - truth_sorted).cumsum(0)
    jaccard = 1.0 - intersection / union
    jaccard[1:] = jaccard[1:] - jaccard[:-1].clone()
    return jaccard


def berman_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """lovasz_softmax(logits.softmax(1), labels, classes="present", per_image=False)."""
    probs = logits.softmax(1).permute(0, 2, 3, 1).contiguous().view(-1, logits.shape[1])
    labels = labels.view(-1)
    losses = []
    for k in range(logits.shape[1]):
        truth = (labels == k).to(probs.dtype)
        if truth.sum() == 0:
            continue
        errors, order = torch.sort((truth - probs[:, k]).abs(), 0, descending=True)
        losses.append(torch.dot(errors, lovasz_grad(truth[order])))
    return sum(losses) / len(losses)  # type: ignore[return-value]


def berman_hinge(logits: Tensor, masks: Tensor) -> Tensor:
    """lovasz_hinge(logits, masks, per_image=True)."""
    losses = []
    for scores, mask in zip(logits.flatten(1), masks.flatten(1), strict=True):
        truth = mask.to(scores.dtype)
        errors, order = torch.sort(1.0 - scores * (2.0 * truth - 1.0), dim=0, descending=True)
        losses.append(torch.dot(F.relu(errors), lovasz_grad(truth[order])))
    return sum(losses) / len(losses)  # type: ignore[return-value]


def step(loss: Loss, logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    logits.grad = None
    value = loss(logits, truth)
    value.backward()
    return value, logits.grad


def apart(found: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor]) -> float:
    """Of the values, and of the gradients in the Euclidean norm: where two errors are all but equal float32 may take the other one first."""
    return max(relative_difference(found[0], exact[0]), float((found[1] - exact[1]).norm() / exact[1].norm()))


def work(images: int, size: int, *, classes: int | None) -> Work:
    generator = torch.Generator().manual_seed(0)
    shape = (images, size, size)
    if classes:
        ours, theirs = partial(lovasz_loss, kind="multiclass", batch=True), berman_softmax
        logits, truth = torch.randn(images, classes, size, size, generator=generator), torch.randint(0, classes, shape, generator=generator)
    else:
        ours, theirs = lovasz_loss, berman_hinge
        logits, truth = torch.randn(shape, generator=generator), (torch.rand(shape, generator=generator) < 0.2).long()
    logits = (2 * logits).requires_grad_()
    exact = step(theirs, logits.detach().double().requires_grad_(), truth)
    difference = apart(step(ours, logits, truth), exact)
    return Work(partial(step, ours, logits, truth), partial(step, theirs, logits, truth), difference, touched=3 * logits.nbytes)


def case(name: str, images: int, size: int, goal: float | None, *, classes: int | None = None) -> Case:
    warm = partial(work, 1, 64, classes=classes)
    return Case(f"Lovász {name}", "the authors' code", partial(work, images, size, classes=classes), goal, warm=warm)


JOBS = [
    case("softmax, 4 x 256² pixels, 21 classes", 4, 256, 2.5, classes=CLASSES),
    case("softmax, 1 x 512² pixels, 21 classes", 1, 512, 2.5, classes=CLASSES),
    case("hinge, 16 masks of 256²", 16, 256, 2),
]

if __name__ == "__main__":
    main(__doc__, JOBS)
