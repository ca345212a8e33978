"""Sums over the bins of probabilities. Bins are right-closed, and the lowest holds 0 as well; every sum is in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook._core.checks import check_labels, values_readable
from lossbook._core.memory import workspace
from lossbook.reliability._scaling import check_case_shapes, check_case_values

Array = np.ndarray[Any, np.dtype[Any]]
_PIECE = 2**17  # cases looked at together: their buffers stay in the cache
_SLACK = 0.005  # what a sum of probabilities may be off without a closer look; a float32 sum of them is off by less
_EXACT = 2**24  # below so many bins a float32 times their number is a float64 without rounding


def edges(bins: int, device: torch.device) -> Tensor:
    """The bounds of the bins, [bins + 1]."""
    return torch.arange(bins + 1, dtype=torch.float64, device=device) / bins


def bin_index(confidence: Tensor, bins: int) -> Tensor:
    """The bin of each probability, as `torch.bucketize(confidence, edges) - 1` has it: floor(p * bins), and one compare with the true edge.

    Rounding keeps order and hits integers, so p * bins is never on the wrong side of one, at worst on it: the compare settles that. In float64, which
    holds any number of bins.
    """
    wide = confidence.detach().double()
    low = (wide * bins).floor().long()
    return (low + (wide > edges(bins, confidence.device)[low]) - 1).clamp(min=0)


def bin_sums(probs: Tensor, labels: Tensor, bins: int, of: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Per bin [bins]: the "count", the sum of "confidence", of "correct", or of the "excess" of the first over the second. Checks its arguments.

    Of `probs` [N, K] each row's largest is binned, and correct where it is the label's.
    """
    check_case_shapes(probs, labels)
    in_pieces = not probs.requires_grad and values_readable(probs) and values_readable(labels)
    if probs.ndim == 2 and in_pieces:
        probs, labels = _top_label_in_pieces(probs, labels)
    elif probs.ndim == 2:
        check_case_values(probs, labels)
        probs, top = probs.max(dim=1)
        labels = (top == labels).to(torch.uint8)
    if in_pieces:
        return tuple(_in_pieces(probs, labels, bins, of))
    check_case_values(probs, labels)
    index, confidence, correct = bin_index(probs, bins), probs.double(), labels.double()
    parts = {"count": torch.ones_like(confidence), "confidence": confidence, "correct": correct, "excess": confidence - correct}
    return tuple(torch.zeros(bins, dtype=torch.float64, device=probs.device).scatter_add(0, index, parts[name]) for name in of)


def _top_label_in_pieces(probs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's largest probability, and whether it is the label's: of several equal ones the first. A piece is checked while it is near."""
    check_labels("labels", labels, probs.shape[1])
    count, classes = probs.shape
    tops, hits, ones = probs.new_empty(count), torch.empty(count, dtype=torch.bool), probs.new_ones(classes)
    rows = max(_PIECE // classes, 1)
    pieces = zip(*(torch.split(each, rows) for each in (probs, labels.long(), tops, hits)), strict=True)
    for piece, own, top, hit in pieces if count else ():
        torch.amax(piece, 1, out=top)
        if not (piece.amin() >= 0 and top.max() <= 1 and (piece @ ones - 1).abs().max() <= _SLACK):
            check_case_values(piece, own)  # which says what is wrong, if it is
        torch.eq(piece.gather(1, own[:, None])[:, 0], top, out=hit)
        unsure = (hit & (top <= 0.5 + _SLACK)).nonzero()[:, 0]  # above that there is no second one
        hit[unsure] = piece[unsure].argmax(1) == own[unsure]
    return tops, hits.view(torch.uint8)


def _in_pieces(probs: Tensor, labels: Tensor, bins: int, of: tuple[str, ...]) -> Tensor:
    """[len(of), bins], in one pass: a piece is checked, binned and summed while it is near."""
    confidences, truths, room = probs.numpy(force=True), labels.numpy(force=True), _Room(min(_PIECE, len(labels)))
    starts = range(0, len(labels), _PIECE)
    sums = torch.zeros(len(starts), len(of), bins + 1, dtype=torch.float64)  # a row for each piece: many short sums round less than a long one
    for start, rows in zip(starts, sums.unbind(), strict=True):
        confidence, truth = confidences[start : start + _PIECE], truths[start : start + _PIECE]
        if not (_in_unit_interval(confidence) and np.bitwise_or.reduce(truth) in (0, 1)):
            check_case_values(probs, labels)
        if len(truth) < len(room.value):
            room = _Room(len(truth))
        np.copyto(room.value, confidence)
        room.fill_index(bins, exact=confidence.dtype == np.float32 and bins < _EXACT)
        for row, name in zip(rows.unbind(), of, strict=True):
            _FILL[name](room.weight, room.value, truth)
            row.scatter_add_(0, room.indices, room.weights)
    total = sums.sum(0)
    total[:, 1] += total[:, 0]  # the ceiling of 0 is 0
    return total[:, 1:]


def _in_unit_interval(confidence: Array) -> bool:
    """In one pass: as whole numbers, the bits of floats from 0 to 1 are in the floats' order, and those of all others (and of -0) are larger."""
    one = np.ones((), dtype=confidence.dtype)
    whole = f"u{one.itemsize}"
    return bool(confidence.view(whole).max() <= one.view(whole))


class _Room:
    """Buffers for a piece of so many cases; two of them twice, for numpy, which calls faster, and for torch, which adds to bins faster."""

    def __init__(self, size: int) -> None:
        value, self.weights, indices, narrow = workspace((4, size), torch.float64, torch.device("cpu"))
        self.indices = indices.view(torch.int64)
        self.value, self.weight, self.index = (tensor.numpy() for tensor in (value, self.weights, self.indices))
        self.narrow: Array = narrow.numpy().view(np.int32)[:size]

    def fill_index(self, bins: int, *, exact: bool) -> None:
        """The bins of the values, counted from 1: the ceiling of p * bins where that product is exact."""
        if exact:
            np.ceil(np.multiply(self.value, bins, out=self.weight), out=self.weight)
            np.copyto(self.narrow, self.weight, casting="unsafe")  # the way over 32 bits is the shorter one: processors convert several at once
            np.copyto(self.index, self.narrow)
        else:
            np.copyto(self.index, bin_index(torch.from_numpy(self.value), bins).numpy() + 1)


def _excess(weight: Array, confidence: Array, correct: Array) -> None:
    np.copyto(weight, correct)
    np.subtract(confidence, weight, out=weight)


_FILL: dict[str, Callable[[Array, Array, Array], None]] = {
    "count": lambda weight, confidence, correct: weight.fill(1.0),
    "confidence": lambda weight, confidence, correct: np.copyto(weight, confidence),
    "correct": lambda weight, confidence, correct: np.copyto(weight, correct),
    "excess": _excess,
}
