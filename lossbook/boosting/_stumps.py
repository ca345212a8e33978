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
    """Each column sorted once; then the best stump for any weights takes a gather and a cumulative sum of each column, two by Gini.

    In full, for column x sorted to x_(1) <= x_(2) <= ...: the criterion at place i is |Σ_{j <= i} w_j y_j - Σ w y / 2|, half the edge of the better
    stump that splits there; or, by Gini, (Σ_{j <= i} w_j (y_j - ȳ))² / (W_i (1 - W_i)) with W_i = Σ_{j <= i} w_j. Columns come in blocks that stay in
    a cache, and what is made from them goes into memory that is kept: without it, the rows of `make bench` with 10,000 examples take 1.5 to 1.6 times
    as long.
    """

    def __init__(self, features: Tensor, y: Tensor, criterion: str) -> None:
        self.gini, self.y, self.one_class = criterion == "gini", y, bool((y == y[0]).all())
        self.columns = features.detach().double().T.contiguous().resolve_neg()
        width, count = self.columns.shape
        self.ordered, order = self.columns.sort(dim=1)
        self.width = max(1, min(BLOCK // count, width)) if features.device.type == "cpu" else max(width, 1)
        self.blocks = []
        for start in range(0, width, self.width):
            ordered = self.ordered[start : start + self.width]
            tied = torch.nn.functional.pad(ordered[:, 1:] <= ordered[:, :-1], (0, 1))  # no threshold lies between equal values
            self.blocks.append((order[start : start + self.width].int(), tied.flatten().nonzero()[:, 0]))
        self.sums, self.weights, self.spreads, self.gains = self.columns.new_empty(4, self.width * count)

    def positive(self, stump: Stump) -> Tensor:
        """Where the stump says +1."""
        if stump.left == stump.right:
            return torch.full(self.columns.shape[1:], stump.left > 0, device=self.columns.device)
        below = self.columns[stump.feature] <= stump.threshold
        return below if stump.left > 0 else ~below

    def best(self, w: Tensor) -> Stump:
        """The stump with the best criterion under the weights w; the constant rule where that is better, or where nothing can be split."""
        signed = w * self.y
        total = float(signed.sum())
        best: list[float] = []
        for block in range(len(self.blocks)):
            gains, lefts = self._gains(signed, w, total, block)
            best += gains.amax(dim=1).tolist() if gains.numel() else [-math.inf] * len(gains)
        most = max(best, default=-math.inf)
        # the edge of a stump with nobody to its left; Gini, which weighs its halves itself, splits whatever can be split and is not of one class
        if self.one_class or most < (0 if self.gini else abs(total) / 2 * (1 - TIE)):
            return constant(1 if total > 0 else -1)
        feature = next(index for index, gain in enumerate(best) if gain >= most * (1 - TIE))
        block, row = divmod(feature, self.width)
        if block + 1 < len(self.blocks):  # its memory was taken by a later one
            gains, lefts = self._gains(signed, w, total, block)
        place = int((gains[row] >= most * (1 - TIE)).nonzero()[0])
        low, high = self.ordered[feature, place : place + 2].tolist()
        middle, left = low / 2 + high / 2, float(lefts[row, place])
        threshold = low if middle >= high else middle
        if self.gini:
            return Stump(feature, threshold, 1 if left > 0 else -1, 1 if total > left else -1)
        return Stump(feature, threshold, *((1, -1) if 2 * left > total else (-1, 1)))

    def _gains(self, signed: Tensor, w: Tensor, total: float, block: int) -> tuple[Tensor, Tensor]:
        """The criterion at each place between two neighbours, [columns, N - 1], larger is better, -inf between equal values; Σ w y to its left."""
        order, tied = self.blocks[block]
        size, between = order.numel(), slice(order.shape[1] - 1)
        sums = self._cumulated(signed, order, self.sums)
        if self.gini:
            # Gini impurity of a half is 2 w+ w- / w: its fall is (Σ_left w (y - mean))² / (w_left w_right), up to constants
            weights = self._cumulated(w, order, self.weights)
            spread = torch.addcmul(weights, weights, weights, value=-1, out=self.spreads[:size]).clamp_(min=LEAST)
            gains = torch.sub(sums, weights, alpha=total, out=self.gains[:size]).square_().div_(spread)
        else:
            gains = torch.sub(sums, total / 2, out=self.gains[:size]).abs_()
        if len(tied):
            gains.index_fill_(0, tied, -math.inf)
        return gains.view(order.shape)[:, between], sums.view(order.shape)[:, between]

    def _cumulated(self, values: Tensor, order: Tensor, out: Tensor) -> Tensor:
        """The cumulative sums of values [N] along each row of order [columns, N], flat, in the memory of `out`."""
        flat = torch.index_select(values, 0, order.view(-1), out=out[: order.numel()])
        flat.view(order.shape).cumsum_(dim=1)
        return flat
