"""The objective of a linear classifier as a solver sees it: one sweep over blocks of examples gives value, gradient and Hessian.

The parameters are one float64 vector theta [D + 1], the intercept last, whatever the dtype of the features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook.linear._curve import Curve, Kinks
from lossbook.linear._examples import Block, Examples


class Sweep(NamedTuple):
    """What a pass found: the objective; the same with its kinks rounded, and the gradient and Hessian of that; what the rounding may cost."""

    objective: float
    value: float
    gradient: Tensor
    hessian: Tensor
    gap: float


@dataclass
class Sums:
    """What the blocks of a sweep add up to: slopes and curvatures of the losses, their values, and how many examples there were."""

    gradient: Tensor
    hessian: Tensor
    size: int = 0
    losses: float = 0.0
    excess: float = 0.0
    gap: float = 0.0


class Stop(NamedTuple):
    """When a solver is to stop: within `tolerance` of a minimum, relatively and by its own estimate, or after so many steps."""

    tolerance: float
    steps: int


class Path(NamedTuple):
    """Where a solver went: theta, the objective by step, whether it arrived, and what the last sweep found."""

    theta: Tensor
    objective: list[float]
    converged: bool
    found: Sweep


def is_rounding(decrement: float, found: Sweep) -> bool:
    """Where no step goes down, a millionth of the objective is put down to rounding."""
    return decrement < 1e-6 * (abs(found.value) + 1e-6)


class Units(NamedTuple):
    """The mean and the spread [D] of each column: theta as it would be on standardised columns, which is what a solver's step is measured in.

    w = u / spread and b = c - mean·w; so slopes transform by the transpose.
    """

    mean: Tensor
    spread: Tensor

    def standardized(self, theta: Tensor) -> Tensor:
        """(u, c) of (w, b)."""
        return torch.cat([theta[:-1] * self.spread, (theta[-1] + self.mean @ theta[:-1])[None]])

    def raw(self, theta: Tensor) -> Tensor:
        """(w, b) of (u, c)."""
        weights = theta[:-1] / self.spread
        return torch.cat([weights, (theta[-1] - self.mean @ weights)[None]])

    def slopes(self, gradient: Tensor) -> Tensor:
        """The gradient in (u, c) of the one in (w, b)."""
        return torch.cat([(gradient[:-1] - self.mean * gradient[-1]) / self.spread, gradient[-1:]])


@dataclass(frozen=True)
class Problem:
    """(1/N) Σ weight φ(y (w·x + b)) + l2/2 |w|² + l1 |w|₁ over all examples, to be minimised.

    `penalized` [D + 1] marks what l1 and l2 act on, `free` [D + 1] what may move; `noise` is the rounding of the features' dtype. With an `anchor` (a
    theta), φ loses the tangent of jump (k - m)₊ at the anchor's margins, for each k of `bends`.
    """

    examples: Examples
    curve: Curve
    l2: float
    l1: float
    penalized: Tensor
    free: Tensor
    noise: float
    bends: Kinks = ()
    anchor: Tensor | None = None

    @cached_property
    def units(self) -> Units:
        """Of the columns, l2 being a spread too: where a column has next to none, l2 alone bends the objective."""
        mean, square = self.examples.moments
        if not bool(self.free[-1] > self.penalized[-1]):  # an intercept that is none, or costs something, does not follow the means
            mean = torch.zeros_like(mean)
        variance = (square - mean.square()).clamp(min=1e-10 * square) + self.l2
        if not bool(variance.isfinite().all()):  # squares beyond float64
            return Units(torch.zeros_like(mean), torch.ones_like(mean))
        return Units(mean, torch.where(variance > 0, variance, 1.0).sqrt())

    def sweep(self, theta: Tensor, *, hessian: bool = False) -> Sweep:
        """One pass over the blocks; without `hessian` the Hessian is empty. The l1 term is in the objective, not in the gradient."""
        sums = Sums(torch.zeros_like(theta), theta.new_zeros((len(theta), len(theta)) if hessian else (0, 0)))
        for block in self.examples.blocks():
            self._add(sums, block, theta)
        ridge = self.l2 * self.penalized
        value = sums.losses / sums.size + float(theta.square() @ ridge) / 2 + self.l1 * float(theta.abs() @ self.penalized)
        gradient = (sums.gradient / sums.size + ridge * theta) * self.free
        second = sums.hessian
        if hessian:
            second = (second / sums.size + ridge.diag()) * torch.outer(self.free, self.free) + (1 - self.free).diag()
        return Sweep(value, value + sums.excess / sums.size, gradient, second, sums.gap / sums.size)

    def _add(self, sums: Sums, block: Block, theta: Tensor) -> None:
        """What a block adds to each sum."""
        margins = margins_of(block, theta)
        losses, slope = self._losses(block, margins)
        sums.size += len(margins)
        sums.losses += _total(losses, block.weight)
        if self.curve.rounded:
            rounding = self.curve.rounding(margins)
            slope = slope + rounding.slope
            sums.excess += _total(rounding.excess, block.weight)
            sums.gap += _total(rounding.gap, block.weight)
        slope = _weighted(slope * block.signs, block.weight)
        sums.gradient[:-1] += block.features.T.mv(slope)
        sums.gradient[-1] += slope.sum()
        if len(sums.hessian):
            sums.hessian += _outer(block.features, _weighted(self.curve.curvature(margins), block.weight))

    def _losses(self, block: Block, margins: Tensor) -> tuple[Tensor, Tensor]:
        """φ and φ' at the margins, with the tangent where there is an anchor."""
        losses, slope = self.curve.loss.value(margins), self.curve.loss.slope(margins)
        if self.anchor is not None:
            behind = margins_of(block, self.anchor)
            for kink, jump in self.bends:
                losses, slope = losses + jump * (behind < kink) * (margins - kink), slope + jump * (behind < kink)
        return losses, slope


def margins_of(block: Block, theta: Tensor) -> Tensor:
    """y (w·x + b), in the dtype of the features."""
    theta = theta.to(block.features.dtype)
    return block.features.mv(theta[:-1]).add_(theta[-1]).mul_(block.signs)


def _weighted(values: Tensor, weight: Tensor | None) -> Tensor:
    return values if weight is None else values * weight


def _total(values: Tensor, weight: Tensor | None) -> float:
    return float(_weighted(values, weight).sum(dtype=torch.float64))


def _outer(features: Tensor, curvature: Tensor) -> Tensor:
    """Σ c (x, 1)(x, 1)ᵀ, over the rows whose curvature c is not 0."""
    if 2 * int(curvature.count_nonzero()) < len(curvature):  # few margins lie in a kink: gathering their rows is cheaper than the product
        rows = curvature.nonzero().squeeze(1)
        features, curvature = features[rows], curvature[rows]
    bent = features * curvature[:, None]
    last = torch.cat([bent.sum(dim=0), curvature.sum()[None]])
    return torch.cat([torch.cat([features.T @ bent, last[None, :-1]]), last[:, None]], dim=1)
