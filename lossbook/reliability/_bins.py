"""Sums over the bins of probabilities, equally wide or equally full. Bins are right-closed, and the lowest holds 0 as well; every sum is in float64.

The plain formula: `zeros(bins).scatter_add(0, bucketize(p, edges) - 1, what)`. Two things are done for speed: of a million float32, a bin that is a
product rounded up, and not searched for, is found more than twice as fast, and pieces that fit the cache are summed five times as fast.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lossbook._core.checks import values_readable
from lossbook._core.ranks import dense_ranks
from lossbook.reliability._cases import Cases

_PIECE = 2**17  # numbers in a piece
_ROUNDING = 1e-12  # of a sum of weights
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


def mass_index(confidence: Tensor, weight: Tensor | None, bins: int) -> Tensor:
    """The bin of each probability where each bin should hold as much as another: ⌊bins · weight of what is smaller / weight of all⌋.

    So equal probabilities share a bin, in whatever order they come, and what is as far as rounding from the next bin is in it.
    """
    ranks = dense_ranks(confidence.detach())
    weight = torch.ones_like(confidence, dtype=torch.float64) if weight is None else weight.detach()
    own = torch.zeros_like(weight).scatter_add(0, ranks, weight)
    total = weight.sum()
    share = (own.cumsum(0) - own)[ranks] / torch.where(total > 0, total, 1.0)
    return (share * bins * (1 + _ROUNDING)).long().clamp(min=0, max=bins - 1)


def bin_edges(cases: Cases, bins: int, *, binning: str, per_class: bool) -> Tensor:
    """The bounds of the bins, [bins + 1], or for each class [K, bins + 1]. Of equal mass: 0, the largest probability in each bin but the last, 1."""
    if binning == "width":
        found = edges(bins, cases.labels.device)
        return found.expand(cases.values.shape[1], -1) if per_class else found
    if per_class:
        return torch.stack([bin_edges(one, bins, binning=binning, per_class=False) for one in one_against_the_rest(cases)])
    confidence, _, weight = compared(cases)
    confidence = confidence.detach().double()
    index = mass_index(confidence, weight, bins)
    inside = confidence if weight is None else torch.where(weight > 0, confidence, 0.0)
    highest = torch.zeros(bins, dtype=torch.float64, device=confidence.device).scatter_reduce(0, index, inside, "amax").cummax(0).values
    return torch.cat([torch.zeros_like(highest[:1]), highest[:-1], torch.ones_like(highest[:1])])


def one_against_the_rest(cases: Cases) -> list[Cases]:
    """For each class: what is said of it, and whether it came."""
    return [Cases(cases.values[:, label], cases.labels == label, cases.weight) for label in range(cases.values.shape[1])]


def compared(cases: Cases) -> Cases:
    """What is said, [N], and whether it came true: of [N, K] each row's largest, and whether it is the label's."""
    if cases.values.ndim == 1:
        return cases
    confidence, top = cases.values.max(dim=1)
    return Cases(confidence, top == cases.labels, cases.weight)


def bin_sums(cases: Cases, bins: int, of: tuple[str, ...], *, binning: str, per_class: bool) -> tuple[Tensor, ...]:
    """Per bin [bins], or [K, bins]: the "count", the sum of "confidence", of "correct", or of the "excess" of the first over the second, by weight.

    Of `probs` [N, K] each row's largest is binned, and correct where it is the label's; or each class by itself.
    """
    if per_class:
        by_class = [torch.stack(bin_sums(one, bins, of, binning=binning, per_class=False)) for one in one_against_the_rest(cases)]
        return torch.stack(by_class, 1).unbind()
    if binning == "mass" or not values_readable(cases.values):  # or in a graph, a transformation, or on another device
        return _sums(cases, bins, of, binning).unbind()
    rows = max(_PIECE // (cases.values.shape[1] if cases.values.ndim == 2 else 1), 1)
    values, labels = torch.split(cases.values, rows), torch.split(cases.labels, rows)
    weights = [None] * len(values) if cases.weight is None else torch.split(cases.weight, rows)
    pieces = (Cases(*piece) for piece in zip(values, labels, weights, strict=True))
    return torch.stack([_sums(piece, bins, of, binning) for piece in pieces]).sum(0).unbind()


def _sums(cases: Cases, bins: int, of: tuple[str, ...], binning: str) -> Tensor:
    """[len(of), bins]."""
    probs, labels, weight = compared(cases)
    index = mass_index(probs, weight, bins) if binning == "mass" else bin_index(probs, bins)
    confidence, correct = probs.double(), labels.double()
    nothing = torch.zeros(bins, dtype=torch.float64, device=probs.device)
    parts = (_PARTS[name](confidence, correct) for name in of)
    return torch.stack([nothing.scatter_add(0, index, part if weight is None else weight * part) for part in parts])


_PARTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "count": lambda confidence, correct: torch.ones_like(confidence),
    "confidence": lambda confidence, correct: confidence,
    "correct": lambda confidence, correct: correct,
    "excess": lambda confidence, correct: confidence - correct,
}
