"""The numeric search behind `lossbook.consistency`: the least conditional risk over a half-line, for any function of the margin."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import check_callable, check_concrete, wrong_type, wrong_value

Phi = Callable[[Tensor], Tensor]

FAR = 1e8  # an infimum that is reached only at infinity is read off here
with torch.device("cpu"):  # whatever the default is where the module is first used
    _FINE = (torch.linspace(0, 20, 641, dtype=torch.float64), torch.logspace(-9, -2, 150, dtype=torch.float64))
    _GRID = torch.unique(torch.cat([*_FINE, torch.logspace(1.31, 8, 400, dtype=torch.float64)]))
    _TICKS = torch.linspace(0, 1, 33, dtype=torch.float64)
_VALLEYS, _ROUNDS, _CHUNK = 4, 8, 512


class Least(NamedTuple):
    """The least risk for each eta, and a score that has it (or comes within rounding of it)."""

    risk: Tensor
    score: Tensor


def evaluate(phi: Phi, margins: Tensor) -> Tensor:
    """phi(margins), checked."""
    check_callable("phi", phi)
    losses = phi(margins.clone())  # it may write into what it gets
    if not isinstance(losses, Tensor):
        wrong_type("phi", "return a torch.Tensor", type(losses).__name__)
    if losses.shape != margins.shape:
        wrong_value("phi", f"return shape {tuple(margins.shape)} for margins of that shape", tuple(losses.shape))
    if losses.dtype.is_complex:
        wrong_type("phi", "return real numbers", str(losses.dtype))
    return losses if losses.dtype.is_floating_point else losses.to(margins.dtype)  # `margins <= 0` counts errors, too


def weighted(weight: Tensor, losses: Tensor) -> Tensor:
    """weight * losses with 0 * inf = 0: a label that never comes costs nothing."""
    return torch.where(weight == 0, torch.zeros_like(losses), weight * losses)


def both_sides(phi: Phi, eta: Tensor) -> tuple[Least, Least]:
    """The least risk over scores s <= 0 and over s >= 0, for each eta [T]; C_eta(-s) = C_(1-eta)(s) turns the first into the second."""
    with torch.no_grad():
        wrong, right = ([_least(phi, part) for part in torch.split(side, _CHUNK)] for side in (1 - eta, eta))
    join = [Least(torch.cat([part.risk for part in side]), torch.cat([part.score for part in side])) for side in (wrong, right)]
    return Least(join[0].risk, -join[0].score), join[1]


def _risks(phi: Phi, eta: Tensor, scores: Tensor) -> Tensor:
    """C_eta(s) for each eta [T] at its own scores [T, ...]; a score where phi is NaN is never best."""
    eta = eta.reshape(-1, *[1] * (scores.ndim - 1))
    right, wrong = evaluate(phi, scores), evaluate(phi, -scores)
    check_concrete("phi(margins)", right)
    risks = weighted(eta, right.double()) + weighted(1 - eta, wrong.double())
    return risks.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)


def _least(phi: Phi, eta: Tensor) -> Least:
    """inf of C_eta over s >= 0: a grid out to 1e8, then its deepest valleys magnified 16 times a round."""
    grid = _GRID.expand(len(eta), -1)
    risks = _risks(phi, eta, grid)
    if not bool(risks.isfinite().any(dim=1).all()):
        wrong_value("phi", "be finite somewhere on either side of 0", "no finite value")
    low, high = _valleys(risks)
    for _ in range(_ROUNDS):
        points = low[..., None] + (high - low)[..., None] * _TICKS
        best = _risks(phi, eta, points).argmin(dim=-1)
        low, high = (points.gather(-1, (best + step).clamp(0, len(_TICKS) - 1)[..., None])[..., 0] for step in (-1, 1))
    scores = torch.cat([grid, points.flatten(1)], dim=1)
    risks = torch.cat([risks, _risks(phi, eta, points).flatten(1)], dim=1)
    least = risks.amin(dim=1)
    ties = risks <= (least + 1e-14 * least.abs())[:, None]
    endless = _falls_for_ever(phi, eta, least)
    score = torch.where(ties, scores, torch.inf).amin(dim=1)
    return Least(torch.where(endless, -torch.inf, least), torch.where(endless, torch.inf, score))


def _valleys(risks: Tensor) -> tuple[Tensor, Tensor]:
    """The grid points on either side of the deepest local minima."""
    padded = torch.nn.functional.pad(risks, (1, 1), value=torch.inf)
    depth = torch.where((risks < padded[:, :-2]) & (risks <= padded[:, 2:]), risks, torch.inf)
    valleys = depth.topk(_VALLEYS, largest=False).indices
    return _GRID[(valleys - 1).clamp(min=0)], _GRID[(valleys + 1).clamp(max=len(_GRID) - 1)]


def _falls_for_ever(phi: Phi, eta: Tensor, least: Tensor) -> Tensor:
    """The risk is least at 1e8 and fell by as much in the last doubling of s as in the one before, so it has no lower bound."""
    scores = eta.new_tensor([FAR / 4, FAR / 2, FAR]).expand(len(eta), -1)
    quarter, half, whole = _risks(phi, eta, scores).unbind(1)
    rounding = 1e-14 * _risks(lambda margins: evaluate(phi, margins).abs(), eta, scores[:, 2:])[:, 0]  # of the two terms of the risk
    at_end = whole <= least + 1e-9 * least.abs()
    return (whole == -torch.inf) | (at_end & (half - whole > rounding) & (half - whole >= 0.99 * (quarter - half)))


def lower_hull(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The corners of the largest convex function below the points (x ascending), by Andrew's chain; infinite points are left out."""
    chain: list[tuple[float, float]] = []
    for here in zip(x.tolist(), y.tolist(), strict=True):
        if here[1] == torch.inf:
            continue
        while len(chain) > 1 and _above(chain[-2], chain[-1], here):
            chain.pop()
        chain.append(here)
    xs, ys = x.new_tensor(chain).T.contiguous()
    return xs, ys


def _above(first: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]) -> bool:
    return (middle[1] - first[1]) * (last[0] - first[0]) >= (last[1] - first[1]) * (middle[0] - first[0])


def interpolate(xs: Tensor, ys: Tensor, x: Tensor) -> Tensor:
    """Straight lines between the corners (xs ascending from 0), infinite beyond the last."""
    if len(xs) == 1:
        return torch.where(x <= xs[0], ys[0], torch.inf)
    right = torch.searchsorted(xs, x).clamp(1, len(xs) - 1)
    share = (x - xs[right - 1]) / (xs[right] - xs[right - 1])
    return torch.where(x > xs[-1], torch.inf, ys[right - 1] + share * (ys[right] - ys[right - 1]))
