"""Sums over the bins of probabilities. Bins are right-closed, and the lowest holds 0 as well; every sum is in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook._checks import values_readable
from lossbook._scaling import check_case_shapes, check_case_values
from lossbook._stable import at_least_float32

Array = np.ndarray[Any, np.dtype[Any]]
_PIECE = 2**16  # cases looked at together: their buffers stay in the cache, and few pages are fetched anew
_EXACT = 2**24  # below so many bins a float32 times their number is a float64 without rounding


def edges(bins: int, device: torch.device) -> Tensor:
    """The bounds of the bins, [bins + 1]."""
    return torch.arange(bins + 1, dtype=torch.float64, device=device) / bins


def bin_index(confidence: Tensor, bins: int) -> Tensor:
    """The bin of each probability, as `torch.bucketize(confidence, edges) - 1` has it: floor(p * bins), and one compare with the true edge.

    Rounding keeps order and hits integers, so p * bins is never on the wrong side of one, at worst on it: the compare settles that.
    """
    low = (confidence.detach() * bins).floor().long()
    return (low + (confidence.detach().double() > edges(bins, confidence.device)[low]) - 1).clamp(min=0)


def bin_sums(probs: Tensor, labels: Tensor, bins: int, of: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Per bin [bins]: the "count", the sum of "confidence", of "correct", or of the "excess" of the first over the second. Checks its arguments.

    Of `probs` [N, K] each row's largest is binned, and correct where it is the label's.
    """
    check_case_shapes(probs, labels)
    if probs.ndim == 2:
        check_case_values(probs, labels)
        probs, top = probs.max(dim=1)
        labels = (top == labels).to(torch.uint8)
    if not probs.requires_grad and values_readable(probs) and values_readable(labels):
        return tuple(_in_pieces(at_least_float32(probs), labels, bins, of))
    check_case_values(probs, labels)
    index, confidence, correct = bin_index(at_least_float32(probs), bins), probs.double(), labels.double()
    parts = {"count": torch.ones_like(confidence), "confidence": confidence, "correct": correct, "excess": confidence - correct}
    return tuple(torch.zeros(bins, dtype=torch.float64, device=probs.device).scatter_add(0, index, parts[name]) for name in of)


def _in_pieces(probs: Tensor, labels: Tensor, bins: int, of: tuple[str, ...]) -> Tensor:
    """[len(of), bins], in one pass: a piece is checked, binned and summed while it is near."""
    sums = torch.zeros(len(of), bins + 1, dtype=torch.float64)
    confidences, truths, size = probs.numpy(force=True), labels.numpy(force=True), min(_PIECE, len(labels))
    buffers = np.empty(size), np.empty(size), np.empty(size, dtype=np.int64)
    for start in range(0, len(labels), _PIECE):
        confidence, truth = confidences[start : start + _PIECE], truths[start : start + _PIECE]
        if not (confidence.min() >= 0 and confidence.max() <= 1 and np.bitwise_or.reduce(truth) in (0, 1)):
            check_case_values(probs, labels)
        value, weight, index = (buffer[: len(truth)] for buffer in buffers)
        np.copyto(value, confidence)
        _fill_index(index, value, weight, bins, exact=confidence.dtype == np.float32 and bins < _EXACT)
        for row, name in zip(sums, of, strict=True):
            _FILL[name](weight, value, truth)
            row += torch.zeros_like(row).scatter_add_(0, torch.from_numpy(index), torch.from_numpy(weight))
    sums[:, 1] += sums[:, 0]  # the ceiling of 0 is 0
    return sums[:, 1:]


def _fill_index(index: Array, value: Array, buffer: Array, bins: int, *, exact: bool) -> None:
    """The bins, counted from 1: the ceiling of p * bins where that product is exact."""
    if exact:
        np.ceil(np.multiply(value, bins, out=buffer), out=buffer)
        np.copyto(index, buffer.astype(np.int32))  # the way over 32 bits is the shorter one: processors convert several at once
    else:
        np.copyto(index, bin_index(torch.from_numpy(value), bins).numpy() + 1)


def _excess(weight: Array, confidence: Array, correct: Array) -> None:
    np.copyto(weight, correct)
    np.subtract(confidence, weight, out=weight)


_FILL: dict[str, Callable[[Array, Array, Array], None]] = {
    "count": lambda weight, confidence, correct: weight.fill(1.0),
    "confidence": lambda weight, confidence, correct: np.copyto(weight, confidence),
    "correct": lambda weight, confidence, correct: np.copyto(weight, correct),
    "excess": _excess,
}
