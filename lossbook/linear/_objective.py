"""The objective of a linear classifier as a solver sees it: one sweep over blocks of examples gives value, gradient and Hessian.

The parameters are one float64 vector theta [D + 1], the intercept last, whatever the dtype of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook.margins import MarginLoss


class Block(NamedTuple):
    """Some of the examples: features [B, D], signs [B] in the same dtype, and the weight [B] of each."""

    features: Tensor
    signs: Tensor
    weight: Tensor | None = None


class Sweep(NamedTuple):
    """What a pass found: the objective; the same with its kinks rounded, and the gradient and Hessian of that; what the rounding may cost."""

    objective: float
    value: float
    gradient: Tensor
    hessian: Tensor
    gap: float


class Rounding(NamedTuple):
    """By margin: what a rounded kink adds to φ and to φ', and what it can have cost."""

    excess: Tensor
    slope: Tensor
    gap: Tensor


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


Kinks = tuple[tuple[float, float], ...]


@cache
def kinks(loss: MarginLoss) -> Kinks:
    """Each kink k of φ with the jump of its slope there: positive where φ bends upwards, negative where it bends downwards."""
    sides = [loss.derivative(torch.tensor([kink - 1e-9, kink], dtype=torch.float64, device="cpu")).tolist() for kink in loss.kinks]
    return tuple((kink, right - left) for kink, (left, right) in zip(loss.kinks, sides, strict=True))


@cache
def split(loss: MarginLoss) -> tuple[MarginLoss, Kinks]:
    """φ(m) = straight(m) - Σ jump (k - m)₊: φ with its downward kinks straightened, and these kinks. The ramp gives the hinge and one kink."""
    bends = tuple((kink, -jump) for kink, jump in kinks(loss) if jump < 0)

    def value(margins: Tensor) -> Tensor:
        return sum((jump * torch.relu(kink - margins) for kink, jump in bends), loss.value(margins))

    def slope(margins: Tensor) -> Tensor:
        return sum((jump * -(margins < kink).to(margins.dtype) for kink, jump in bends), loss.slope(margins))

    upward = tuple(kink for kink, jump in kinks(loss) if jump > 0)
    return replace(loss, name=f"{loss.name}, straightened", value=value, slope=slope, kinks=upward), bends


@dataclass(frozen=True)
class Curve:
    """φ with each kink k, of jump J > 0, rounded to a parabola on [k - δ, k + δ]: φ + J (δ - |m - k|)₊² / (4δ), at most J δ/4 above φ.

    With a `window` wider than the width δ, the parabola goes on to k ± window: what a solver expects of margins that are to keep their slopes.
    """

    loss: MarginLoss
    width: float = 0.0
    window: float = 0.0

    @cached_property
    def rounded(self) -> Kinks:
        """The kinks that bend upwards; none where the width δ is 0."""
        return tuple((kink, jump) for kink, jump in kinks(self.loss) if jump > 0 and self.width)

    def curvature(self, margins: Tensor) -> Tensor:
        """φ'' by autograd of φ', and J / (2δ) inside a rounded kink."""
        with torch.enable_grad():
            leaf = margins.detach().requires_grad_()
            slope = self.loss.derivative(leaf)
            curvature = torch.autograd.grad(slope.sum(), leaf)[0] if slope.requires_grad else torch.zeros_like(margins)
        for kink, jump in self.rounded:
            curvature = curvature + jump / (2 * self.width) * ((margins - kink).abs() < max(self.window, self.width))
        return curvature

    def rounding(self, margins: Tensor) -> Rounding:
        """What the rounding adds to φ and to φ', and the most that it can have cost: φ less the line through its kink with the rounded slope."""
        excess = slope = gap = torch.zeros_like(margins)
        for kink, jump in self.rounded:
            offset = margins - kink
            distance = offset.abs()
            inside = torch.where(distance < max(self.window, self.width), self.width - distance, 0)
            share = jump / (2 * self.width) * inside
            excess = excess + share * inside / 2
            slope = slope - torch.where(offset >= 0, share, -share)
            gap = gap + share * distance
        return Rounding(excess, slope, gap)


@dataclass(frozen=True)
class Problem:
    """(1/N) Σ weight φ(y (w·x + b)) + l2/2 |w|² + l1 |w|₁ over all blocks, to be minimised.

    `penalized` [D + 1] marks what l1 and l2 act on, `free` [D + 1] what may move; `noise` is the rounding of the features' dtype. With an `anchor` (a
    theta), φ loses the tangent of jump (k - m)₊ at the anchor's margins, for each k of `bends`.
    """

    blocks: Callable[[], Iterable[Block]]
    penalized: Tensor
    free: Tensor
    noise: float
    l2: float = 0.0
    l1: float = 0.0
    bends: Kinks = ()
    anchor: Tensor | None = None

    @cached_property
    def units(self) -> Units:
        """Of the columns, l2 being a spread too: where a column has next to none, l2 alone bends the objective. A pass over the blocks."""
        size, sums, squares = 0, torch.zeros_like(self.free[:-1]), torch.zeros_like(self.free[:-1])
        for features, _, _ in self.blocks():
            wide = features.double()
            size, sums, squares = size + len(wide), sums + wide.sum(dim=0), squares + wide.square().sum(dim=0)
        shifts = bool(self.free[-1] > self.penalized[-1])  # an intercept that costs something does not follow the means
        mean = sums / size if shifts else torch.zeros_like(sums)
        variance = (squares / size - mean.square()).clamp(min=1e-10 * squares / size) + self.l2
        if not bool(variance.isfinite().all()):  # squares beyond float64
            return Units(torch.zeros_like(sums), torch.ones_like(sums))
        return Units(mean, torch.where(variance > 0, variance, 1.0).sqrt())

    def sweep(self, curve: Curve, theta: Tensor, *, hessian: bool = False) -> Sweep:
        """One pass over the blocks; without `hessian` the Hessian is empty. The l1 term is in the objective, not in the gradient."""
        size, total, excess, gap = 0, 0.0, 0.0, 0.0
        gradient, second = torch.zeros_like(theta), theta.new_zeros((len(theta), len(theta)) if hessian else (0, 0))
        for features, signs, weight in self.blocks():
            margins = margins_of(features, signs, theta)
            losses, slope, scale = curve.loss.value(margins), curve.loss.slope(margins), 1.0 if weight is None else weight
            if self.anchor is not None:
                behind = margins_of(features, signs, self.anchor)
                for kink, jump in self.bends:
                    losses, slope = losses + jump * (behind < kink) * (margins - kink), slope + jump * (behind < kink)
            size, total = size + len(signs), total + float((losses * scale).sum(dtype=torch.float64))
            if curve.rounded:
                rounding = curve.rounding(margins)
                slope = slope + rounding.slope
                excess += float((rounding.excess * scale).sum(dtype=torch.float64))
                gap += float((rounding.gap * scale).sum(dtype=torch.float64))
            slope = slope * signs if weight is None else slope * signs * weight
            gradient[:-1] += features.T.mv(slope)
            gradient[-1] += slope.sum()
            if hessian:
                second += _outer(features, curve.curvature(margins) * scale)
        ridge = self.l2 * self.penalized
        value = total / size + float(theta.square() @ ridge) / 2 + self.l1 * float(theta.abs() @ self.penalized)
        if hessian:
            second = (second / size + ridge.diag()) * torch.outer(self.free, self.free) + (1 - self.free).diag()
        return Sweep(value, value + excess / size, (gradient / size + ridge * theta) * self.free, second, gap / size)


def margins_of(features: Tensor, signs: Tensor, theta: Tensor) -> Tensor:
    """y (w·x + b), in the dtype of the features."""
    theta = theta.to(features.dtype)
    return features.mv(theta[:-1]).add_(theta[-1]).mul_(signs)


def _outer(features: Tensor, curvature: Tensor) -> Tensor:
    """Σ c (x, 1)(x, 1)ᵀ, over the rows whose curvature c is not 0."""
    if 2 * int(curvature.count_nonzero()) < len(curvature):  # few margins lie in a kink: gathering their rows is cheaper than the product
        rows = curvature.nonzero().squeeze(1)
        features, curvature = features[rows], curvature[rows]
    bent = features * curvature[:, None]
    last = torch.cat([bent.sum(dim=0), curvature.sum()[None]])
    return torch.cat([torch.cat([features.T @ bent, last[None, :-1]]), last[:, None]], dim=1)
