"""The one place that reduces."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from lossbook._core.checks import check_choice

Reduction = Literal["mean", "sum", "none"]
REDUCTIONS = ("mean", "sum", "none")


def check_reduction(reduction: str) -> None:
    """`reduction` is "mean", "sum" or "none"."""
    check_choice("reduction", reduction, REDUCTIONS)


def reduce(losses: Tensor, reduction: str) -> Tensor:
    """The losses themselves, their sum, or their sum over the number of elements.

    The mean of no elements is 0, not NaN: an empty batch has no gradient and no opinion.
    """
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.sum() / max(losses.numel(), 1)
