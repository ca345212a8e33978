"""The exact frontier of error against the parity gap, from sorted probabilities. The public face is `lossbook.fairness`. Chapter: fairness."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook import _checks


class ParityFrontier(NamedTuple):
    """Gaps [M], the least error [M] at each, and the thresholds [M, G] on the probability at which each group's decision turns.

    Where `randomize` is on, people exactly at their group's threshold are selected at random, as many as it takes.
    """

    gaps: Tensor
    errors: Tensor
    thresholds: Tensor


def check_groups(groups: Tensor, parameter: str, reference: Tensor) -> int:
    """`groups` are ids from 0, one for each element of `reference`; returns how many ids there are."""
    _checks.check_integer("groups", groups)
    _checks.check_same_shape("groups", groups, parameter, reference)
    _checks.check_ndim("groups", groups, 1, "[N]")
    if groups.numel() == 0:
        _checks.wrong_value("groups", "have at least one element", "none")
    if int(groups.min()) < 0:
        _checks.wrong_value("groups", "be at least 0", int(groups.min()))
    return int(groups.max()) + 1


def check_binary(parameter: str, value: Tensor) -> None:
    """`value` is a vector in [0, 1]: decisions, labels or probabilities."""
    _checks.check_tensor(parameter, value)
    _checks.check_ndim(parameter, value, 1, "[N]")
    _checks.check_range(parameter, value.double(), 0, 1)


def parity_frontier(
    probs: Tensor, *, groups: Tensor, randomize: bool = True, labels: Tensor | None = None, gaps: int | Tensor = 101
) -> ParityFrontier:
    """The least error that any group-wise thresholds of `probs` reach while no two selection rates differ by more than a gap.

    The error is expected under `probs` themselves, or counted on `labels` where these are given. With `randomize` a group may mix two
    thresholds; then each group's error is a convex function of its selection rate (with labels: the lower convex hull, found by pooling adjacent
    violators), and at every gap the best common window of rates is where the slopes cancel. Without it every threshold is tried, through running
    minima. O(n log n), and a logarithm more for each gap.

    Args:
        probs: [N], P(label = 1), or scores in [0, 1] in the same order.
        groups: [N], ids 0 .. G - 1, each with a member.
        randomize: allow mixtures of thresholds.
        labels: [N], 0 or 1, or None.
        gaps: how many gaps, evenly from 0 to that of the least error; or the gaps themselves, [M] in [0, 1].
    Returns: a `ParityFrontier`. With labels its thresholds are on the pooled scale: the share of positives among people ranked alike.
    Raises: TypeError or ValueError for other shapes, dtypes, values, or a group without a member.

    Example:
        >>> front = parity_frontier(torch.tensor([0.9, 0.8, 0.4, 0.3]), groups=torch.tensor([0, 0, 1, 1]), gaps=2)
        >>> front.gaps.tolist(), [round(error, 3) for error in front.errors.tolist()]
        ([0.0, 1.0], [0.4, 0.25])

    Reference: A. Menon, R. Williamson, "The cost of fairness in binary classification", 2018; S. Corbett-Davies et al., "Algorithmic decision making
    and the cost of fairness", 2017, for the form of the optimum.
    """
    _checks.check_floating("probs", probs)
    check_binary("probs", probs)
    count = check_groups(groups, "probs", probs)
    if labels is not None:
        check_binary("labels", labels)
        _checks.check_same_shape("labels", labels, "probs", probs)
    missing = (groups.bincount(minlength=count) == 0).nonzero().flatten().tolist()
    if missing:
        _checks.wrong_value("groups", "give every id up to the largest a member", f"no member of {missing[0]}")
    curves = [_curve(probs[groups == g], None if labels is None else labels[groups == g], randomize, len(probs)) for g in range(count)]
    best = torch.stack([curve.rates[curve.errors.argmin()] for curve in curves])
    if isinstance(gaps, Tensor):
        check_binary("gaps", gaps)
        grid = gaps.double()
    else:
        _checks.check_count("gaps", gaps, low=2)
        grid = torch.linspace(0, float(best.max() - best.min()), gaps, dtype=torch.float64)
    return _mixed_frontier(curves, best, grid) if randomize else _threshold_frontier(curves, grid)


class _Curve(NamedTuple):
    """One group: selection rates [B + 1] from 0 to 1, error at each (a share of all people), and the probability of each block between them [B]."""

    rates: Tensor
    errors: Tensor
    probs: Tensor


def _curve(probs: Tensor, labels: Tensor | None, pool: bool, total: int) -> _Curve:
    values, order = probs.double().sort(descending=True)
    positives = values if labels is None else labels.double()[order]
    scores, ids = torch.unique_consecutive(values, return_inverse=True)  # people of equal probability are selected together
    sizes = torch.zeros(len(scores), dtype=torch.float64, device=probs.device).index_add(0, ids, torch.ones_like(values))
    sums = torch.zeros_like(sizes).index_add(0, ids, positives)
    if labels is not None and pool:
        sizes, scores = _pool_adjacent_violators(sizes, sums)
        sums = sizes * scores
    start = torch.zeros(1, dtype=torch.float64, device=probs.device)
    rates = torch.cat([start, sizes.cumsum(0) / len(values)])
    errors = torch.cat([start, (sizes - 2 * sums).cumsum(0)]) + sums.sum()
    return _Curve(rates, errors / total, scores)


def _pool_adjacent_violators(sizes: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Merge neighbours until the share of positives falls from block to block (the upper hull of the cumulative positives): sizes and shares."""
    from scipy.optimize import isotonic_regression

    fit = isotonic_regression((-sums / sizes).cpu().numpy(), weights=sizes.cpu().numpy())
    return torch.as_tensor(fit.weights).to(sizes), -torch.as_tensor(fit.x[fit.blocks[:-1]]).to(sizes)


def _interpolate(curve: _Curve, rates: Tensor) -> tuple[Tensor, Tensor]:
    """Error, and the threshold, at any selection rates: linear between the curve's points, where people are selected at random."""
    place = torch.searchsorted(curve.rates, rates, right=True).clamp(1, len(curve.rates) - 1)
    left, right = curve.rates[place - 1], curve.rates[place]
    share = ((rates - left) / (right - left)).clamp(0, 1)
    return torch.lerp(curve.errors[place - 1], curve.errors[place], share), curve.probs[place - 1]


def _slope(curve: _Curve, steps: Tensor, rates: Tensor) -> Tensor:
    """d error / d rate, to the right, given the slopes of all blocks."""
    return steps[torch.searchsorted(curve.rates, rates, right=True).clamp(1, len(curve.rates) - 1) - 1]


def _mixed_frontier(curves: list[_Curve], best: Tensor, gaps: Tensor) -> ParityFrontier:
    """The window [t, t + gap] of rates with the least error: convex in t, so bisect on the sign of its slope."""
    low, high = torch.zeros_like(gaps), (1 - gaps).clamp(min=0)
    groups = [(own, curve, curve.errors.diff() / curve.rates.diff()) for own, curve in zip(best, curves, strict=True)]
    for _ in range(60):
        start = (low + high) / 2
        slope = torch.zeros_like(gaps)
        for own, curve, steps in groups:  # a group follows the window's edge only where the window leaves its optimum out
            slope += torch.where(own <= start, _slope(curve, steps, start), 0.0)
            slope += torch.where(own > start + gaps, _slope(curve, steps, start + gaps), 0.0)
        low, high = torch.where(slope < 0, start, low), torch.where(slope < 0, high, start)
    rates = torch.stack([torch.minimum(torch.maximum(own.expand_as(high), high), high + gaps) for own in best])
    found = [_interpolate(curve, row) for curve, row in zip(curves, rates, strict=True)]
    errors = torch.stack([error for error, _ in found]).sum(dim=0)
    return ParityFrontier(gaps, errors, torch.stack([threshold for _, threshold in found], dim=1))


def _threshold_frontier(curves: list[_Curve], gaps: Tensor) -> ParityFrontier:
    """The best tuple of thresholds whose rates lie within a window, tried for every window that starts at one of the rates."""
    starts = torch.unique(torch.cat([curve.rates for curve in curves]))
    tables = [_running_minima(curve.errors) for curve in curves]
    errors, thresholds = [], []
    for gap in gaps.tolist():
        total = torch.zeros_like(starts)
        places = []
        for curve, table in zip(curves, tables, strict=True):
            first = torch.searchsorted(curve.rates, starts - 1e-12)
            last = torch.searchsorted(curve.rates, starts + gap + 1e-12, right=True)  # one past the end of the window
            error, place = _window_minimum(curve.errors, table, first, last)
            total = total + error
            places.append(place)
        window = total.argmin()
        errors.append(total[window])
        thresholds.append(torch.stack([_lowest_selected(curve, place[window]) for curve, place in zip(curves, places, strict=True)]))
    return ParityFrontier(gaps, torch.stack(errors), torch.stack(thresholds))


def _lowest_selected(curve: _Curve, place: Tensor) -> Tensor:
    """The least probability that is selected, inf where nobody is."""
    return torch.cat([curve.probs.new_full((1,), math.inf), curve.probs])[place]


def _running_minima(values: Tensor) -> list[Tensor]:
    """Where the least of the 2^k values from each position on is, for every k."""
    table = [torch.arange(len(values), device=values.device)]
    while 2 ** len(table) <= len(values):
        half = 2 ** (len(table) - 1)
        left, right = table[-1][:-half], table[-1][half:]
        table.append(torch.where(values[right] < values[left], right, left))
    return table


def _window_minimum(values: Tensor, table: list[Tensor], first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """The least of values[first:last] and its place; inf for an empty window."""
    length = (last - first).clamp(min=1)
    level = (length.double().log2() + 1e-9).floor().long()
    error = torch.full(first.shape, math.inf, dtype=values.dtype, device=values.device)
    place = torch.zeros_like(first)
    for k, minima in enumerate(table):
        rows = ((level == k) & (last > first)).nonzero().flatten()
        left, right = minima[first[rows]], minima[last[rows] - 2**k]
        place[rows] = torch.where(values[right] < values[left], right, left)
        error[rows] = values[place[rows]]
    return error, place
