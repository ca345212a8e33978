"""What the public functions of `lossbook.reliability` ask of the cases they are given, each of them once; behind their door cases are right."""

from __future__ import annotations

from torch import Tensor

from lossbook._core.checks import (
    check_concrete,
    check_distribution,
    check_finite,
    check_floating,
    check_integer,
    check_labels,
    check_range,
    check_same_device,
    check_tensor,
    wrong_value,
)


def check_forecasts(probs: Tensor, labels: Tensor) -> None:
    """`probs` are P(label 1), [N], or distributions, [N, K]; `labels` are ids of their classes, [N]."""
    _check_labelled("probs", probs, labels)
    if probs.ndim == 1:
        check_range("probs", probs, 0.0, 1.0)
    else:
        check_distribution("probs", probs, 1)


def check_fit(parameter: str, scores: Tensor, labels: Tensor) -> None:
    """There is something to fit: `scores` are finite, [N] or [N, K] with N >= 1, `labels` are ids of their classes, [N], and all can be read."""
    _check_labelled(parameter, scores, labels)
    if not labels.numel():
        wrong_value(parameter, "hold at least one case", tuple(scores.shape))
    check_finite(parameter, scores)
    check_concrete(parameter, scores)
    check_concrete("labels", labels)


def _check_labelled(parameter: str, values: Tensor, labels: Tensor) -> None:
    check_floating(parameter, values)
    if values.ndim not in (1, 2) or (values.ndim == 2 and not values.shape[1]):
        wrong_value(parameter, "have shape [N] or [N, K] with K >= 1", tuple(values.shape))
    check_tensor("labels", labels)
    if labels.shape != values.shape[:1]:
        wrong_value("labels", f"have shape {tuple(values.shape[:1])} to match `{parameter}`", tuple(labels.shape))
    check_same_device("labels", labels, parameter, values)
    check_integer("labels", labels)
    check_labels("labels", labels, 2 if values.ndim == 1 else values.shape[1])
