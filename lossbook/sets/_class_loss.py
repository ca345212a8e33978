"""The class part of a set loss: every query is told its target's class, or "no object"."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossbook.sets._pairs import Pairs, wanted_classes
from lossbook.sets._targets import averaged, or_one
from lossbook.sets._traced import plain_slope, several


def class_loss(
    logits: Tensor, log_probs: Tensor, pairs: Pairs, class_weights: list[float] | None, no_object_weight: float, total_weight: Any, *, plain: bool
) -> Tensor:
    """Weighted cross-entropy by layer, [L]: −Σ w ln p(wanted) / Σ w, with w that of the class, or `no_object_weight` for the last class.

    `logits` [L, B, Q, K+1] with `log_probs` their detached log-softmax (the matching needs it too). Without `class_weights` the sum of the weights
    is known beforehand: it is `total_weight`.
    """
    no_object = logits.shape[-1] - 1
    wanted = wanted_classes(pairs, logits.shape[:3], no_object, plain=plain)
    if class_weights is None:
        share = log_probs.new_tensor([1.0, no_object_weight]) / or_one(total_weight)
        weight = torch.where(wanted == no_object, share[1], share[0])
    else:
        weight = log_probs.new_tensor([*class_weights, no_object_weight])[wanted]
        weight = weight / or_one(averaged(weight.flatten(1).sum(1)))[:, None, None]
    if plain:
        return plain_class_loss(logits, wanted[..., None], weight[..., None])
    loss: Tensor = _ClassLoss.apply(logits, log_probs, wanted[..., None], weight[..., None])  # type: ignore[no-untyped-call]
    return loss


def plain_class_loss(logits: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """−Σ w ln p(wanted) by layer from torch's own operations."""
    return -(logits.log_softmax(-1).gather(-1, wanted) * weight).flatten(1).sum(1)


class _ClassLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, log_probs: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(logits, wanted, weight)
        ctx.log_probs = log_probs
        return (log_probs.gather(-1, wanted) * weight).flatten(1).sum(1).neg_()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        logits, wanted, weight = ctx.saved_tensors
        if torch.is_grad_enabled() or several(gradient):  # a gradient that will itself be differentiated, or many at once
            losses = lambda logits: plain_class_loss(logits, wanted, weight)  # noqa: E731
            return plain_slope(logits, losses, gradient), None, None, None
        log_probs, ctx.log_probs = ctx.log_probs, None  # its memory becomes the gradient; a second backward pass computes it again
        scaled = weight * gradient[:, None, None, None]
        probs = (logits.log_softmax(-1) if log_probs is None else log_probs).exp_()
        return probs.mul_(scaled).scatter_add_(-1, wanted, scaled.neg()), None, None, None
