"""Sums over the bins of probabilities. Bins are right-closed, and the lowest holds 0 as well; every sum is in float64.

The plain formula: `zeros(bins).scatter_add(0, bucketize(p, edges) - 1, what)`. Two things are done for speed: of a million float32, a bin that is a
product rounded up, and not searched for, is found more than twice as fast, and pieces that fit the cache are summed five times as fast.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lossbook._core.checks import values_readable

_PIECE = 2**17  # numbers in a piece
_EXACT = 2**24  # below so many bins a float32 times their number is a float64 without rounding


def edges(bins: int, device: torch.device) -> Tensor:
    """The bounds of the bins, [bins + 1]."""
    return torch.arange(bins + 1, dtype=torch.float64, device=device) / bins


def bin_index(confidence: Tensor, bins: int) -> Tensor:
    """The bin of each probability, as `torch.bucketize(confidence, edges) - 1` has it: p * bins rounded up, less 1.

    In float64 the product may itself be rounded. That keeps order and hits integers, so it is never on the wrong side of one, at worst on it: a
    compare with the true edge settles that.
    """
    wide = confidence.detach().double()
    if confidence.dtype == torch.float32 and bins < _EXACT:
        return ((wide * bins).ceil().long() - 1).clamp(min=0)
    low = (wide * bins).floor().long()
    return (low + (wide > edges(bins, confidence.device)[low]) - 1).clamp(min=0)


def bin_sums(probs: Tensor, labels: Tensor, bins: int, of: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Per bin [bins]: the "count", the sum of "confidence", of "correct", or of the "excess" of the first over the second.

    Of `probs` [N, K] each row's largest is binned, and correct where it is the label's.
    """
    if not values_readable(probs):  # in a graph, a transformation, or on another device
        return _sums(probs, labels, bins, of).unbind()
    rows = max(_PIECE // (probs.shape[1] if probs.ndim == 2 else 1), 1)
    pieces = zip(torch.split(probs, rows), torch.split(labels, rows), strict=True)
    return torch.stack([_sums(piece, own, bins, of) for piece, own in pieces]).sum(0).unbind()


def _sums(probs: Tensor, labels: Tensor, bins: int, of: tuple[str, ...]) -> Tensor:
    """[len(of), bins]."""
    if probs.ndim == 2:
        probs, top = probs.max(dim=1)
        labels = top == labels
    index, confidence, correct = bin_index(probs, bins), probs.double(), labels.double()
    nothing = torch.zeros(bins, dtype=torch.float64, device=probs.device)
    return torch.stack([nothing.scatter_add(0, index, _PARTS[name](confidence, correct)) for name in of])


_PARTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "count": lambda confidence, correct: torch.ones_like(confidence),
    "confidence": lambda confidence, correct: confidence,
    "correct": lambda confidence, correct: correct,
    "excess": lambda confidence, correct: confidence - correct,
}
