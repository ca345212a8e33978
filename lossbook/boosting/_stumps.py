"""Stumps, and the search for the best one under any weights. `Stump` is public in `lossbook.boosting`."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import check_floating, wrong_value
from lossbook._core.door import plain_arguments

BLOCK = 1 << 17  # sorted values worked on at a time on a CPU: their sums stay in the cache
LEAST = torch.finfo(torch.float64).eps  # scikit-learn's floor under the weights: no example is ever lost, and no half weighs nothing
TIE = 1e-12  # rounding: of stumps this equal the one with the lowest feature, then threshold, is taken


class Stump(NamedTuple):
    """A weak rule: sign `left` where features[:, feature] <= threshold, sign `right` elsewhere. One that says the same of everyone has feature -1."""

    feature: int
    threshold: float
    left: int
    right: int

    @plain_arguments
    def __call__(self, features: Tensor) -> Tensor:
        """The rule's signs; the comparison is made in float64.

        Args:
            features: [N, D], floating.

        Returns:
            [N] float64, -1 or +1; NaN where the rule looks at NaN, which lies on neither side.

        Raises:
            TypeError or ValueError for another dtype, or fewer columns.
        """
        check_columns(features, 1 + self.feature)
        if self.left == self.right:
            return features.new_full((len(features),), self.left, dtype=torch.float64)
        values = features[:, self.feature].detach().double()
        signs = torch.where(values <= self.threshold, float(self.left), float(self.right)).to(values)
        return torch.where(values.isnan(), values, signs)


def constant(sign: int) -> Stump:
    """The rule that says the same of everyone."""
    return Stump(-1, math.inf, sign, sign)


def check_columns(features: Tensor, needed: int) -> None:
    """`features` is [N, D], and has the columns that are looked at."""
    check_floating("features", features)
    if features.ndim != 2 or features.shape[1] < needed:
        wrong_value("features", f"have shape [N, D] with D >= {needed}", tuple(features.shape))


class StumpSearch:
    """Each column sorted once; then the best stump for any weights takes one gather and one cumulative sum of each column."""

    def __init__(self, features: Tensor, y: Tensor, criterion: str) -> None:
        self.gini, self.y, self.one_class = criterion == "gini", y, bool((y == y[0]).all())
        self.columns = features.detach().double().T.contiguous().resolve_neg()
        width, count = self.columns.shape
        # on a CPU numpy sorts faster
        order = torch.from_numpy(self.columns.numpy().argsort(axis=1)) if self.columns.device.type == "cpu" else self.columns.argsort(dim=1)
        self.ordered, self.order = self.columns.gather(1, order), order.int()
        step = max(1, min(BLOCK // count, width)) if features.device.type == "cpu" else max(width, 1)
        self.blocks = []
        for start in range(0, width, step):
            ordered = self.ordered[start : start + step]
            tied = torch.nn.functional.pad(ordered[:, 1:] <= ordered[:, :-1], (0, 1))  # no threshold lies between equal values
            self.blocks.append((self.order[start : start + step], tied.flatten().nonzero()[:, 0]))
        # written anew each round, so that no memory is fetched anew: the sums to the left of each place, and two numbers made from them
        self.lefts = self.columns.new_empty(step * count, dtype=torch.complex128 if self.gini else torch.float64)
        self.gains, self.spreads = self.columns.new_empty(2, step * count)

    def positive(self, stump: Stump) -> Tensor:
        """Where the stump says +1."""
        if stump.left == stump.right:
            return torch.full(self.columns.shape[1:], stump.left > 0, device=self.columns.device)
        below = self.columns[stump.feature] <= stump.threshold
        return below if stump.left > 0 else ~below

    def best(self, w: Tensor) -> Stump:
        """The stump with the best criterion under the weights w; the constant rule where that is better, or where nothing can be split."""
        signed = w * self.y
        total, least = float(signed.sum()), float(w.min())
        # Gini: what each example has beyond the mean sign, and its weight, as one complex number and so in one cumulative sum
        sums = torch.complex(signed - w * total, w) if self.gini else signed
        best: list[float] = []
        for order, tied in self.blocks:
            gains, lefts = self._gains(sums, total, least, order, tied)
            best += gains.amax(dim=1).tolist() if gains.numel() else [-math.inf] * len(gains)
        most = max(best, default=-math.inf)
        # the edge of a stump with nobody to its left; Gini, which weighs its halves itself, splits whatever can be split and is not of one class
        if self.one_class or most < (0 if self.gini else abs(total) / 2 * (1 - TIE)):
            return constant(1 if total > 0 else -1)
        feature = next(index for index, gain in enumerate(best) if gain >= most * (1 - TIE))
        if len(self.blocks) > 1:
            row = feature % len(self.blocks[0][0])
            gains, lefts = self._gains(sums, total, least, *self.blocks[feature // len(self.blocks[0][0])])
        else:
            row = feature
        place = int((gains[row] >= most * (1 - TIE)).nonzero()[0])
        low, high = self.ordered[feature, place : place + 2].tolist()
        middle, left = low / 2 + high / 2, lefts[row, place].item()
        threshold = low if middle >= high else middle
        if isinstance(left, complex):
            left = left.real + total * left.imag
            return Stump(feature, threshold, 1 if left > 0 else -1, 1 if total > left else -1)
        return Stump(feature, threshold, *((1, -1) if 2 * left > total else (-1, 1)))

    def _gains(self, sums: Tensor, total: float, least: float, order: Tensor, tied: Tensor) -> tuple[Tensor, Tensor]:
        """The criterion at each place between two neighbours, [columns, N - 1], larger is better, -inf between equal values; the sums there."""
        size, places = order.numel(), (slice(None), slice(order.shape[1] - 1))
        flat = self.lefts[:size]
        torch.index_select(sums, 0, order.view(-1), out=flat)
        lefts = flat.view(order.shape).cumsum_(dim=1)
        if self.gini:
            # Gini impurity of a half is 2 w+ w- / w: its fall is (Σ_left w (y - mean))² / (w_left w_right), up to constants
            spread = torch.addcmul(flat.imag, flat.imag, flat.imag, value=-1, out=self.spreads[:size])
            if least < 1e-9:  # then the last places hold less weight than rounding
                spread.clamp_(min=LEAST)
            gains = torch.mul(flat.real, flat.real, out=self.gains[:size]).div_(spread)
        else:
            gains = torch.sub(flat, total / 2, out=self.gains[:size]).abs_()  # half the edge 1 - 2 e of the better stump that splits here
        if len(tied):
            gains.index_fill_(0, tied, -math.inf)
        return gains.view(order.shape)[places], lefts[places]
