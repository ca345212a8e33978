"""Losses element by element: what of the logits and of their truth is there, and what each loss weighs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import check_floating, check_real, check_same_shape, check_tensor, wrong_type
from lossbook._core.reduction import laid_out
from lossbook._core.stable import left_out


class Present(NamedTuple):
    """What is left of logits and their truth where some are ignored or weigh 0: an ignored truth is 0, and no NaN comes from the logits."""

    logits: Tensor
    targets: Tensor
    weight: Tensor | None  # of each loss, of the logits' shape: 0 where it is ignored; None where all count alike


def present(parameter: str, targets: Tensor, logits: Tensor, *, ignore: Tensor | None, sample_weight: Tensor | None) -> Present:
    """Logits and targets of their shape, called `parameter`, without what `ignore` and `sample_weight` take out, and what each loss weighs."""
    check_floating("logits", logits)
    check_real(parameter, targets)
    check_same_shape(parameter, targets, "logits", logits)
    weight = None if sample_weight is None else laid_out("sample_weight", sample_weight, logits)
    if ignore is not None:
        check_tensor("ignore", ignore)
        if ignore.dtype != torch.bool:
            wrong_type("ignore", "have the dtype torch.bool", str(ignore.dtype))
        check_same_shape("ignore", ignore, "logits", logits)
        targets = targets.masked_fill(ignore, 0)
        weight = (torch.ones_like(logits) if weight is None else weight).masked_fill(ignore, 0.0)
    return Present(logits if weight is None else left_out(logits, weight == 0), targets, weight)
