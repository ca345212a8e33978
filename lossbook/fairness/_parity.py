"""The exact frontier of error against the parity gap, from sorted probabilities. The public face is `lossbook.fairness`. Chapter: fairness.

The plain formula of the sort: `order = np.argsort(probs)`, then `probs[order]` and `labels[order]`. A million pairs of probability and label,
sorted as one integer each, take two thirds of that time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import full_precision, outside_graphs
from lossbook._core.people import check_labels, check_unit, checked_groups

_Array = npt.NDArray[np.float64]
_Places = npt.NDArray[np.int64]


class ParityFrontier(NamedTuple):
    """Gaps [M], the least error [M] at each, and the thresholds [M, G] on the probability at which each group's decision turns.

    Where `randomize` is on, people exactly at their group's threshold are selected at random, as many as it takes.
    """

    gaps: Tensor
    errors: Tensor
    thresholds: Tensor


def _as_array(value: Tensor) -> _Array:
    """On the host, as float64."""
    found: _Array = value.detach().cpu().numpy().astype(np.float64, copy=False)
    return found


@full_precision
@outside_graphs
def parity_frontier(
    probs: Tensor, *, groups: Tensor, randomize: bool = True, labels: Tensor | None = None, gaps: int | Tensor = 101
) -> ParityFrontier:
    """The least error that any group-wise thresholds of `probs` reach while no two selection rates differ by more than a gap.

    The error is expected under `probs` themselves, or counted on `labels` where these are given. With `randomize` a group may mix two
    thresholds; then each group's error is a convex function of its selection rate (with labels: the lower convex hull, found by pooling adjacent
    violators). The gap is closed from both ends, always where the next step is cheaper, so one sort has the whole front: O(n log n) for all gaps
    together. Without `randomize` every tuple of thresholds is considered, through running minima: O(n log n), and O(n) for each gap.

    Args:
        probs: [N], P(label = 1), or scores in [0, 1] in the same order.
        groups: [N], ids 0 .. G - 1, each with a member.
        randomize: allow mixtures of thresholds.
        labels: [N], 0 or 1, or None.
        gaps: how many gaps, evenly from 0 to that of the least error; or the gaps themselves, [M] in [0, 1].

    Returns:
        A `ParityFrontier`. With labels its thresholds are on the pooled scale: the share of positives among people ranked alike.

    Raises:
        TypeError or ValueError for other shapes, dtypes, values, labels between 0 and 1, or a group without a member.

    Example:
        >>> front = parity_frontier(torch.tensor([0.9, 0.8, 0.4, 0.3]), groups=torch.tensor([0, 0, 1, 1]), gaps=2)
        >>> front.gaps.tolist(), [round(error, 3) for error in front.errors.tolist()]
        ([0.0, 1.0], [0.4, 0.25])

    Reference:
        A. Menon, R. Williamson, "The cost of fairness in binary classification", 2018; S. Corbett-Davies et al., "Algorithmic decision making and the
        cost of fairness", 2017, for the form of the optimum.
    """
    checks.check_floating("probs", probs)
    check_unit("probs", probs)
    checks.check_integer("groups", groups)
    checks.check_ndim("groups", groups, 1, "[N]")
    checked_groups(groups, "probs", probs)
    if labels is not None:
        checks.check_same_shape("labels", labels, "probs", probs)
        check_labels(labels)
    if isinstance(gaps, Tensor):
        check_unit("gaps", gaps)
    else:
        checks.check_count("gaps", gaps, low=2)
    for name, value in {"probs": probs, "groups": groups, "labels": labels, "gaps": gaps}.items():
        if isinstance(value, Tensor):
            checks.check_concrete(name, value)
    positive = None if labels is None else _as_array(labels) == 1
    curves = _curves(_as_array(probs), _members(groups), positive, randomize)
    best = [curve.best for curve in curves]
    grid = _as_array(gaps) if isinstance(gaps, Tensor) else np.linspace(0, max(best) - min(best), gaps)
    errors, thresholds = _mixed_frontier(curves, grid) if randomize else _threshold_frontier(curves, grid)
    return ParityFrontier(*(torch.from_numpy(part).to(probs.device) for part in (grid, errors, thresholds)))


class _Curve(NamedTuple):
    """One group: selection rates [B + 1] from 0 to 1, error at each (a share of all people), the probability of each block between them [B], and
    the place of the least error, the lowest such.
    """

    rates: _Array
    errors: _Array
    probs: _Array
    place: int

    @property
    def best(self) -> float:
        """The selection rate with the least error."""
        return float(self.rates[self.place])


def _members(groups: Tensor) -> list[_Places]:
    """Who is in each group."""
    ids, found = groups.cpu().numpy(), []
    for group in range(int(ids.max()) + 1):
        found.append(np.flatnonzero(ids == group))
        if len(found[-1]) == 0:
            checks.wrong_value("groups", "give every id up to the largest a member", f"no member of {group}")
    return found


def _curves(probs: _Array, members: list[_Places], positive: npt.NDArray[np.bool_] | None, pool: bool) -> list[_Curve]:
    """Each group's curve. A probability and a label are sorted as one integer: the bits of a float64 in [0, 1] rise with it, and leave two free."""
    keys = np.abs(probs).view(np.int64) << 1  # abs: -0.0 has another sign bit
    if positive is not None:
        keys |= positive
    return [_curve(np.sort(keys[own])[::-1], positive is not None, pool, len(keys)) for own in members]


def _curve(keys: _Places, labelled: bool, pool: bool, total: int) -> _Curve:
    bits = keys >> 1
    ends = np.flatnonzero(bits[1:] != bits[:-1])  # people of equal probability are selected together
    selected = np.concatenate([[0], ends + 1, [len(keys)]])
    scores = bits[selected[1:] - 1].view(np.float64)
    if labelled:
        positives = np.concatenate([[0], (keys & 1).cumsum()[selected[1:] - 1]])
        if pool:
            selected, positives = _upper_hull(selected, positives)
            scores = (positives[1:] - positives[:-1]) / (selected[1:] - selected[:-1])
    sizes = selected[1:] - selected[:-1]
    sums = positives[1:] - positives[:-1] if labelled else sizes * scores
    errors = (np.concatenate([[0], (sizes - 2 * sums).cumsum()]) + sums.sum()) / total
    return _Curve(selected / len(keys), errors, scores, int(errors.argmin()))


def _upper_hull(x: _Places, y: _Places) -> tuple[_Places, _Places]:
    """The corners of the least concave curve above points whose x rises: what pooling adjacent violators leaves.

    A point that is not above the line between its neighbours is no corner, whatever else goes: so all such points go at once, again and again, until
    none is left; scipy's loop ends what would take more than thirty rounds.
    """
    for _ in range(30):
        across, up = x[1:] - x[:-1], y[1:] - y[:-1]
        is_corner = up[:-1] * across[1:] > up[1:] * across[:-1]  # in integers, so exact
        if is_corner.all():
            return x, y
        kept = np.concatenate([[0], np.flatnonzero(is_corner) + 1, [len(x) - 1]])
        x, y = x[kept], y[kept]
    from scipy.optimize import isotonic_regression

    kept = isotonic_regression(-(y[1:] - y[:-1]) / (x[1:] - x[:-1]), weights=x[1:] - x[:-1]).blocks
    return x[kept], y[kept]


def _mixed_frontier(curves: list[_Curve], gaps: _Array) -> tuple[_Array, _Array]:
    """Errors [M] and thresholds [M, G]: lower the highest rates and raise the lowest, whichever is cheaper, until the gap is closed.

    What either costs rises the further it goes, since the curves are convex: so sorting all steps by their slope is the best order.
    """
    best = [curve.best for curve in curves]
    highest, lowest = max(best), min(best)
    down, down_widths = _edge([(curve.rates[: curve.place + 1], curve.errors[: curve.place + 1]) for curve in curves])
    up, up_widths = _edge([(1 - curve.rates[curve.place :][::-1], curve.errors[curve.place :][::-1]) for curve in curves])
    order = np.concatenate([down, up]).argsort(kind="stable")
    widths = np.concatenate([down_widths, up_widths])[order]
    closed, lowered = _sums(widths), _sums(np.where(order < len(down), widths, 0.0))
    drop = np.interp(highest - lowest - gaps, closed, lowered)  # np.interp holds the ends: gaps beyond the widest are free
    top = highest - drop
    bottom = np.minimum(lowest + np.maximum(highest - lowest - gaps, 0) - drop, top)
    rates = [np.minimum(np.maximum(rate, bottom), top) for rate in best]
    errors = sum((np.interp(rate, curve.rates, curve.errors) for rate, curve in zip(rates, curves, strict=True)), np.zeros_like(gaps))
    return errors, np.stack([_threshold(curve, rate) for rate, curve in zip(rates, curves, strict=True)], axis=1)


def _sums(values: _Array) -> _Array:
    """Running sums, from 0 on: what a sample of a few thousand costs is the number of calls, and np.append takes three."""
    sums = np.zeros(len(values) + 1)
    values.cumsum(out=sums[1:])
    return sums


def _edge(sides: list[tuple[_Array, _Array]]) -> tuple[_Array, _Array]:
    """The cost per unit of lowering the highest selection rates, step by step down to 0, and the length of each step.

    A side has a group's rates from 0 to its best, and the errors there. At a rate u the groups pay whose best rate is above u.
    """
    jumps = []
    for rates, errors in sides:
        slopes = ((errors[:-1] - errors[1:]) / (rates[1:] - rates[:-1]))[::-1]
        slopes[1:] -= slopes[:-1].copy()
        jumps.append(slopes)
    starts = np.concatenate([rates[:0:-1] for rates, _ in sides])
    order = (-starts).argsort(kind="stable")
    starts = starts[order]
    return np.concatenate(jumps)[order].cumsum(), starts - np.concatenate([starts[1:], [0.0]])


def _threshold(curve: _Curve, rates: _Array) -> _Array:
    """The probability at which the decision turns at any selection rate: that of the next to be selected, or of those selected in part."""
    place = curve.rates.searchsorted(rates + 1e-12, side="right") - 1
    found: _Array = curve.probs[np.minimum(np.maximum(place, 0), len(curve.probs) - 1)]
    return found


def _threshold_frontier(curves: list[_Curve], gaps: _Array) -> tuple[_Array, _Array]:
    """The best tuple of thresholds whose rates lie within a window, tried for every window that starts at one of the rates."""
    starts = np.unique(np.concatenate([curve.rates for curve in curves]))
    tables = [_running_minima(curve.errors) for curve in curves]
    firsts = [np.searchsorted(curve.rates, starts - 1e-12) for curve in curves]
    errors, thresholds = np.empty(len(gaps)), np.empty((len(gaps), len(curves)))
    for row, gap in enumerate(gaps):
        lasts = [np.searchsorted(curve.rates, starts + gap + 1e-12, side="right") for curve in curves]  # one past the end of the window
        found = [_window_minimum(c.errors, *parts) for c, *parts in zip(curves, tables, firsts, lasts, strict=True)]
        total = np.sum([error for error, _ in found], axis=0)
        window = total.argmin()
        errors[row] = total[window]
        thresholds[row] = [np.append(np.inf, curve.probs)[place[window]] for curve, (_, place) in zip(curves, found, strict=True)]
    return errors, thresholds


def _running_minima(values: _Array) -> list[_Places]:
    """Where the least of the 2^k values from each position on is, for every k."""
    table = [np.arange(len(values))]
    while 2 ** len(table) <= len(values):
        half = 2 ** (len(table) - 1)
        left, right = table[-1][:-half], table[-1][half:]
        table.append(np.where(values[right] < values[left], right, left))
    return table


def _window_minimum(values: _Array, table: list[_Places], first: _Places, last: _Places) -> tuple[_Array, _Places]:
    """The least of values[first:last] and its place; inf for an empty window."""
    level = np.frexp(np.maximum(last - first, 1))[1] - 1  # the largest k with 2^k <= length
    error, place = np.full(first.shape, np.inf), np.zeros_like(first)
    for k, minima in enumerate(table):
        rows = np.flatnonzero((level == k) & (last > first))
        left, right = minima[first[rows]], minima[last[rows] - 2**k]
        place[rows] = np.where(values[right] < values[left], right, left)
        error[rows] = values[place[rows]]
    return error, place
