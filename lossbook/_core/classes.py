"""The class axis, in one place: axis 0 of one distribution [K], axis 1 of a batch [N, K] or [N, K, ...], as torch has it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import (
    check_distribution,
    check_floating,
    check_ignore_index,
    check_labels,
    check_real,
    check_same_device,
    check_same_shape,
    check_tensor,
    wrong_value,
)
from lossbook._core.reduction import laid_out
from lossbook._core.stable import left_out, times_log

# For torch's `ignore_index`, which is -100 unless said: a label that is out of range should be an error wherever values can't be checked, too.
NO_LABEL = torch.iinfo(torch.int64).min


def class_axis(parameter: str, logits: Tensor) -> int:
    """The axis of `logits` that holds the classes; there is at least one class."""
    check_floating(parameter, logits)
    if logits.ndim == 0:
        wrong_value(parameter, "have shape [K], [N, K] or [N, K, ...]", "a scalar")
    axis = min(logits.ndim - 1, 1)
    if logits.shape[axis] == 0:
        wrong_value(parameter, "have at least one class", f"shape {tuple(logits.shape)}")
    return axis


def check_class_labels(parameter: str, labels: Tensor, logits: Tensor, *, ignore_index: int | None = None) -> None:
    """`labels` are class ids or `ignore_index`, one for each distribution in `logits`: their shape is that of `logits` without the class axis."""
    axis = class_axis("logits", logits)
    check_tensor(parameter, labels)
    expected = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    if labels.shape != expected:
        wrong_value(parameter, f"have shape {expected} to match `logits`", tuple(labels.shape))
    check_same_device(parameter, labels, "logits", logits)
    check_ignore_index(ignore_index)
    check_labels(parameter, labels, logits.shape[axis], ignore_index=ignore_index)


class Kept(NamedTuple):
    """What is left of logits and labels where some are ignored or weigh 0: these have the label 0, and logits that no NaN comes from."""

    logits: Tensor
    labels: Tensor  # int64; or probabilities, as they are
    weight: Tensor | None  # of each loss, of the labels' shape: 0 where the label is ignored; None where all count alike


def kept(logits: Tensor, labels: Tensor, ignore_index: int | None, sample_weight: Tensor | None) -> Kept:
    """Logits and checked labels without what `ignore_index` and `sample_weight` take out, and the weight that each loss has in `reduce`."""
    axis, soft = class_axis("logits", logits), labels.dtype.is_floating_point
    labels = labels if soft else labels.long()  # uint8 holds no -100
    weight = None if sample_weight is None else laid_out("sample_weight", sample_weight, logits.select(axis, 0))
    if ignore_index is not None:
        weight = (torch.ones_like(labels, dtype=logits.dtype) if weight is None else weight).masked_fill(labels == ignore_index, 0.0)
    if weight is None:
        return Kept(logits, labels, None)
    gone = weight == 0
    return Kept(left_out(logits, gone.unsqueeze(axis)), labels if soft else labels.masked_fill(gone, 0), weight)


def weighted_by_class(losses: Tensor, weight: Tensor | None, seen: Kept) -> Tensor:
    """Losses times the weight, [K], of the class of their label; 0 · ∞ is 0."""
    if weight is None:
        return losses
    return -times_log(per_class("weight", weight, seen.logits).flatten()[seen.labels], -losses)


def check_class_targets(parameter: str, targets: Tensor, logits: Tensor, *, ignore_index: int | None = None) -> None:
    """`targets` are class ids or `ignore_index`, or distributions of the shape of `logits`, of which none is ignored."""
    axis = class_axis("logits", logits)
    check_real(parameter, targets)
    if not targets.dtype.is_floating_point:
        check_class_labels(parameter, targets, logits, ignore_index=ignore_index)
        return
    check_ignore_index(ignore_index)
    if ignore_index is not None:
        wrong_value("ignore_index", f"be None where `{parameter}` are probabilities, whose `sample_weight` may be 0", ignore_index)
    check_same_shape(parameter, targets, "logits", logits)
    check_distribution(parameter, targets, axis)


def one_hot(labels: Tensor, logits: Tensor) -> Tensor:
    """Class ids as distributions of the shape and dtype of `logits`."""
    axis = class_axis("logits", logits)
    return torch.zeros_like(logits).scatter(axis, labels.long().unsqueeze(axis), 1.0)


def per_class(parameter: str, values: Tensor, logits: Tensor) -> Tensor:
    """One value a class, [K], laid along the class axis of `logits`."""
    axis = class_axis("logits", logits)
    check_real(parameter, values)
    if values.shape != (logits.shape[axis],):
        wrong_value(parameter, f"have shape ({logits.shape[axis]},), one a class of `logits`", tuple(values.shape))
    if values.is_meta:  # from elsewhere they are moved
        check_same_device(parameter, values, "logits", logits)
    return values.to(logits).reshape(-1, *[1] * (logits.ndim - axis - 1))
