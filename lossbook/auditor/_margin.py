"""The facts about a function of the margin: what it costs, how it bends, what it aims at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lossbook import consistency
from lossbook.auditor._bench import Bench, Case
from lossbook.auditor._finding import Finding

NEAR = torch.linspace(-8, 8, 4097, dtype=torch.float64)  # a step of 1/256, which floats have exactly
FAR = torch.logspace(math.log10(8), 4, 400, dtype=torch.float64)
GRID = torch.cat([-FAR.flip(0), NEAR[1:-1], FAR])
THETAS = (0.25, 0.5, 0.75, 1.0)
LINK_ETAS = (0.55, 0.6, 0.75, 0.9)
INF = math.inf


class Phi:
    """The loss as a function of float64 margins of any shape, with no graph."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def __call__(self, margins: Tensor) -> Tensor:
        return self.bench.value(Case(margins.detach(), None)).detach().double()

    def at(self, margin: float) -> float:
        """φ at one margin."""
        return float(self(torch.tensor([margin], dtype=torch.float64)))


def facts(bench: Bench, properties: dict[str, Any]) -> Iterator[Finding]:
    """All of them; the numbers go into `properties` as well."""
    phi = Phi(bench)
    for one in (_height, _convexity, _slope, _steepness, _ceiling, _symmetry, _calibration, _link):
        yield from one(phi, properties)


def _height(phi: Phi, properties: dict[str, Any]) -> Iterator[Finding]:
    values = phi(GRID)
    values = values[~values.isnan()]
    wrong = phi(GRID[GRID <= 0])
    least, floor = float(wrong[~wrong.isnan()].min()), float(values.min())
    scale = 1 / least if least > 0 and floor >= 0 else INF
    properties |= {"value_at_0": phi.at(0.0), "scale": scale}
    repair = f"times {scale:.4g} it is the lowest multiple that does" if scale < INF else "no multiple of it does"
    if floor >= 0 and least >= 1 - 1e-12:
        yield Finding("upper_bound", True, scale, f"never below the 0-1 loss; φ(0) = {phi.at(0.0):.4g}; {repair}", "fact")
    else:
        yield Finding("upper_bound", False, scale, f"below the 0-1 loss somewhere; φ(0) = {phi.at(0.0):.4g}; {repair}", "fact")


def _convexity(phi: Phi, properties: dict[str, Any]) -> Iterator[Finding]:
    """A chord that lies below the curve, the plainest one that there is."""
    worst, words = 0.0, ""
    for step in (1.0, 0.25, 1 / 16):
        middles = torch.arange(-8, 8 + step / 2, step, dtype=torch.float64)
        left, here, right = (phi(middles + side * step) for side in (-1, 0, 1))
        above = here - (left + right) / 2
        above = torch.where(above.isfinite(), above, 0.0)
        place = int(above.argmax())
        if float(above[place]) > 1e-9 * max(1.0, abs(float(here[place]))) and not words:
            worst, m = float(above[place]), float(middles[place])
            words = f"φ({m:g}) = {phi.at(m):.4g} lies {worst:.4g} above the chord from {m - step:g} to {m + step:g}"
    properties["convex"] = not words
    yield Finding("convex", not words, worst, words or "no chord between -9 and 9 lies below it", "fact")


def _slope(phi: Phi, properties: dict[str, Any]) -> Iterator[Finding]:
    h = 1e-6
    left, right = (phi.at(0.0) - phi.at(-h)) / h, (phi.at(h) - phi.at(0.0)) / h
    smooth = abs(left - right) < 1e-4 * max(1.0, abs(left))
    slope = (phi.at(h) - phi.at(-h)) / (2 * h)
    properties["slope_at_0"] = slope if smooth else None
    words = f"φ'(0) = {slope:.4g}" if smooth else f"a kink or jump at 0: slope {left:.4g} to the left, {right:.4g} to the right"
    yield Finding("falls_at_0", smooth and slope < -1e-9, slope if smooth else "kink", words, "fact")


def _steepness(phi: Phi, properties: dict[str, Any]) -> Iterator[Finding]:
    values = phi(GRID)
    slopes = (values.diff() / GRID.diff()).abs()
    slopes = torch.where(slopes.isnan(), 0.0, slopes)
    place = int(slopes.argmax())
    steepest, m = float(slopes[place]), float(GRID[place])
    ends = float(torch.maximum(slopes[0], slopes[-1]))
    grows = steepest == INF or (ends == steepest and ends > 1.5 * float(torch.maximum(slopes[100], slopes[-101])))
    jumps = _is_jump(phi, GRID[place], GRID[place + 1])
    lipschitz = INF if grows or jumps else steepest
    properties["lipschitz"] = lipschitz
    words = f"it jumps near {m:.3g}" if jumps else "it grows ever steeper" if grows else f"the steepest slope is {lipschitz:.4g}, near m = {m:.3g}"
    yield Finding("lipschitz", lipschitz < INF, lipschitz, words, "fact")


def _is_jump(phi: Phi, low: Tensor, high: Tensor) -> bool:
    """Halving the interval again and again leaves the rise as it is."""
    rise = abs(phi.at(float(high)) - phi.at(float(low)))
    for _ in range(20):
        middle = (low + high) / 2
        left = abs(phi.at(float(middle)) - phi.at(float(low)))
        right = abs(phi.at(float(high)) - phi.at(float(middle)))
        low, high = (low, middle) if left > right else (middle, high)
    return rise > 0 and max(left, right) > 0.5 * rise


def _ceiling(phi: Phi, properties: dict[str, Any]) -> Iterator[Finding]:
    """Bounded if what ten times the distance adds is less than half of what it added before."""
    values = phi(GRID)
    top = float(values[~values.isnan()].max())
    bound = top
    for sign in (-1.0, 1.0):
        near, middle, far = (phi.at(sign * 10.0**power) for power in (2, 3, 4))
        rises = far - middle > 0.5 * (middle - near) and far - middle > 1e-6 * max(1.0, abs(middle))
        bound = INF if rises or math.isinf(far) else bound
    properties["bound"] = bound
    yield Finding("bounded", bound < INF, bound, "it rises without end" if bound == INF else f"never above {bound:.4g}", "fact")


def _symmetry(phi: Phi, properties: dict[str, Any]) -> Iterator[Finding]:
    margins = NEAR[NEAR >= 0]
    sums = phi(margins) + phi(-margins)
    spread = float(sums.max() - sums.min())
    symmetric = spread <= 1e-9 * max(1.0, float(sums.abs().max()))
    properties["symmetric"] = symmetric
    low, high = float(sums.min()), float(sums.max())
    words = f"φ(m) + φ(-m) is {low:.4g} throughout: labels flipped at random do not move its minimum"
    yield Finding("symmetric", symmetric, spread, words if symmetric else f"φ(m) + φ(-m) runs from {low:.4g} to {high:.4g} for m up to 8", "fact")


def _calibration(phi: Phi, properties: dict[str, Any]) -> Iterator[Finding]:
    check = consistency.calibration_check(phi)
    psi = dict(zip(THETAS, consistency.psi_transform(phi, torch.tensor(THETAS, dtype=torch.float64)).tolist(), strict=True))
    properties |= {"breaking_eta": check.eta, "psi": psi}
    words = (
        f"a wrong sign costs something at every η; ψ(1/2) = {psi[0.5]:.4g}" if check.eta is None else f"at η = {check.eta:.4g} a wrong sign is free"
    )
    yield Finding("calibrated", check.is_calibrated, psi[0.5] if check.eta is None else check.eta, words, "fact")


def _link(phi: Phi, properties: dict[str, Any]) -> Iterator[Finding]:
    """Do the best scores tell η = 0.55, 0.6, 0.75 and 0.9 apart?"""
    scores = consistency.minimizer(phi, torch.tensor(LINK_ETAS, dtype=torch.float64))
    properties["link"] = dict(zip(LINK_ETAS, scores.tolist(), strict=True))
    rises = bool((scores.diff() > 1e-4).all()) and bool((scores.abs() < 25).all())
    listed = ", ".join(f"{score:.4g}" for score in scores.tolist())
    words = f"the best scores at η = {', '.join(map(str, LINK_ETAS))} are {listed}"
    yield Finding("estimates", rises, float(scores[2]), words, "fact")
