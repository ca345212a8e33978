"""The one place that reduces."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lossbook._core.checks import check_choice, check_finite, check_range, check_same_device, wrong_value

Reduction = Literal["mean", "sum", "none"]
REDUCTIONS = ("mean", "sum", "none")


def check_reduction(reduction: str) -> None:
    """`reduction` is "mean", "sum" or "none"."""
    check_choice("reduction", reduction, REDUCTIONS)


def reduce(losses: Tensor, reduction: str, *, weight: Tensor | None = None) -> Tensor:
    """The losses themselves, their sum, or their sum over the number of elements.

    With `weight`, of their shape: w l, Σ w l, or Σ w l / Σ w, and what weighs 0 is not there. The mean of nothing is 0, not NaN: an empty batch
    has no gradient and no opinion.
    """
    if weight is not None:
        losses = torch.where(weight > 0, losses, 0.0) * weight
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if weight is None:
        return losses.sum() / max(losses.numel(), 1)
    total = weight.sum()
    return losses.sum() / torch.where(total > 0, total, 1.0)


def laid_out(parameter: str, weight: Tensor | None, losses: Tensor, *, of: str = "logits") -> Tensor | None:
    """Weights of examples, of shape [N] or of the shape of the losses [N, ...], as weights of the losses; they are finite and >= 0.

    They lie where the losses do, which are those `of` a parameter.
    """
    if weight is None:
        return None
    check_range(parameter, weight, 0.0, float("inf"))
    check_finite(parameter, weight)
    if weight.shape != losses.shape and weight.shape != losses.shape[:1]:
        shapes = {(), tuple(losses.shape[:1]), tuple(losses.shape)} - ({()} if losses.ndim else set())
        wrong_value(parameter, "have shape " + " or ".join(map(str, sorted(shapes))), tuple(weight.shape))
    check_same_device(parameter, weight, of, losses)
    return weight.to(losses.dtype).reshape((*weight.shape, *[1] * (losses.ndim - weight.ndim))).expand(losses.shape)
