"""φ as a solver can bend it: its kinks rounded, its concave ones straightened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook.margins import MarginLoss

Kinks = tuple[tuple[float, float], ...]


class Rounding(NamedTuple):
    """By margin: what a rounded kink adds to φ and to φ', and what it can have cost."""

    excess: Tensor
    slope: Tensor
    gap: Tensor


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
