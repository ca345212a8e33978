"""The class axis, in one place: axis 0 of one distribution [K], axis 1 of a batch [N, K] or [N, K, ...], as torch has it."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbook._core.checks import (
    check_distribution,
    check_floating,
    check_labels,
    check_real,
    check_same_device,
    check_same_shape,
    check_tensor,
    wrong_value,
)

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


def check_class_labels(parameter: str, labels: Tensor, logits: Tensor) -> None:
    """`labels` are class ids, one for each distribution in `logits`: their shape is that of `logits` without the class axis."""
    axis = class_axis("logits", logits)
    check_tensor(parameter, labels)
    expected = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    if labels.shape != expected:
        wrong_value(parameter, f"have shape {expected} to match `logits`", tuple(labels.shape))
    check_same_device(parameter, labels, "logits", logits)
    check_labels(parameter, labels, logits.shape[axis])


def check_class_targets(parameter: str, targets: Tensor, logits: Tensor) -> None:
    """`targets` are class ids, or distributions of the shape of `logits`."""
    axis = class_axis("logits", logits)
    check_real(parameter, targets)
    if not targets.dtype.is_floating_point:
        check_class_labels(parameter, targets, logits)
        return
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
