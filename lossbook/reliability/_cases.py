"""What the public functions of `lossbook.reliability` ask of the cases they are given, each of them once; behind their door cases are right."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import (
    check_concrete,
    check_distribution,
    check_finite,
    check_floating,
    check_ignore_index,
    check_integer,
    check_labels,
    check_range,
    check_same_device,
    check_tensor,
    wrong_value,
)
from lossbook._core.reduction import laid_out


class Cases(NamedTuple):
    """Probabilities or scores, [N] or [N, K], their labels [N], and what each case weighs [N], float64; None where all weigh 1."""

    values: Tensor
    labels: Tensor
    weight: Tensor | None

    def total(self) -> Tensor | int:
        """What all of them weigh; 1 where there are none, so that nothing over it is 0."""
        if self.weight is None:
            return max(self.labels.numel(), 1)
        total = self.weight.sum()
        return torch.where(total > 0, total, 1.0)


def checked_forecasts(probs: Tensor, labels: Tensor, ignore_index: int | None = None, sample_weight: Tensor | None = None) -> Cases:
    """`probs` are P(label 1), [N], or distributions, [N, K]; `labels` are ids of their classes, [N], or `ignore_index`.

    What is ignored weighs 0, and is not looked at: any probability may stand there, and none of it is left.
    """
    _check_labelled("probs", probs, labels, ignore_index)
    weight = _weight("probs", labels, ignore_index, sample_weight)
    if ignore_index is not None:
        ignored = labels.long() == ignore_index
        classes = probs.shape[1] if probs.ndim == 2 else 1
        probs = probs.masked_fill(ignored.reshape(-1, *[1] * (probs.ndim - 1)), 1 / classes)
        labels = labels.long().masked_fill(ignored, 0)
    if probs.ndim == 1:
        check_range("probs", probs, 0.0, 1.0)
    else:
        check_distribution("probs", probs, 1)
    return Cases(probs, labels, weight)


def checked_fit(
    parameter: str, scores: Tensor, labels: Tensor, ignore_index: int | None, sample_weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """There is something to fit: cases of a weight above 0, of `scores` that are finite, [N] or [N, K]; all can be read, and all that is left is
    among the scores, labels and weights that come back, in float64.
    """
    _check_labelled(parameter, scores, labels, ignore_index)
    weight = _weight(parameter, labels, ignore_index, sample_weight)
    if not labels.numel():
        wrong_value(parameter, "hold at least one case", tuple(scores.shape))
    if weight is None:
        check_finite(parameter, scores)
    for name, value in ((parameter, scores), ("labels", labels), ("sample_weight", weight)):
        if value is not None:
            check_concrete(name, value)
    if weight is None:
        return scores.detach().double(), labels.long(), torch.ones_like(labels, dtype=torch.float64)
    there = weight > 0
    if not bool(there.any()):
        wrong_value(parameter, "hold at least one case that is not ignored and has a weight", "none")
    check_finite(parameter, scores[there])
    return scores[there].detach().double(), labels[there].long(), weight[there].detach()


def _weight(parameter: str, labels: Tensor, ignore_index: int | None, sample_weight: Tensor | None) -> Tensor | None:
    """What each case weighs: 0 where it is ignored."""
    if sample_weight is None and ignore_index is None:
        return None
    ones = torch.ones_like(labels, dtype=torch.float64)
    given = laid_out("sample_weight", sample_weight, ones, of=parameter)
    weight = ones if given is None else given
    return weight if ignore_index is None else weight.masked_fill(labels.long() == ignore_index, 0.0)


def _check_labelled(parameter: str, values: Tensor, labels: Tensor, ignore_index: int | None) -> None:
    check_floating(parameter, values)
    if values.ndim not in (1, 2) or (values.ndim == 2 and not values.shape[1]):
        wrong_value(parameter, "have shape [N] or [N, K] with K >= 1", tuple(values.shape))
    check_tensor("labels", labels)
    if labels.shape != values.shape[:1]:
        wrong_value("labels", f"have shape {tuple(values.shape[:1])} to match `{parameter}`", tuple(labels.shape))
    check_same_device("labels", labels, parameter, values)
    check_integer("labels", labels)
    check_ignore_index(ignore_index)
    check_labels("labels", labels, 2 if values.ndim == 1 else values.shape[1], ignore_index=ignore_index)
