"""What else is owed: rates by group, the gaps between them, and the exact price of closing one. Chapter: fairness.

Decisions are 1 (selected) or 0. Groups are integer ids 0 .. G - 1, the sensitive attribute. Synonyms elsewhere: selection rate = acceptance rate;
demographic parity = statistical parity, independence; equalized odds = separation; true positive rate parity = equal opportunity.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import full_precision, plain_arguments
from lossbook.fairness._parity import ParityFrontier, check_groups, check_labels, check_unit, group_count, group_places, parity_frontier

__all__ = [
    "Interval",
    "ParityFrontier",
    "demographic_parity_difference",
    "equal_opportunity_difference",
    "equalized_odds_difference",
    "false_positive_rates",
    "pareto_front",
    "parity_frontier",
    "parity_penalty",
    "rate_intervals",
    "selection_rates",
    "true_positive_rates",
]


class Interval(NamedTuple):
    """Lower and upper ends, each [G]."""

    low: Tensor
    high: Tensor


def _rates(values: Tensor, places: Tensor, count: int, among: Tensor | None = None) -> Tensor:
    """The mean of the values at each of so many places; NaN, without a gradient, where nobody is."""
    weight = torch.ones(len(values), dtype=torch.float64, device=values.device) if among is None else among.double()
    nothing = torch.zeros(count, dtype=torch.float64, device=values.device)
    totals, sizes = (nothing.scatter_add(0, places, part) for part in (weight * values.double(), weight))
    return torch.where(sizes > 0, totals / sizes.clamp(min=1), torch.nan)


@full_precision
def selection_rates(decisions: Tensor, *, groups: Tensor) -> Tensor:
    """P(decision = 1 | group) for each group.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        groups: [N], ids from 0, below 2²⁴.

    Returns:
        [G] float64; NaN for an id that no one has.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, or negative ids.

    Example:
        >>> selection_rates(torch.tensor([1, 0, 1, 1]), groups=torch.tensor([0, 0, 1, 1]))
        tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    _check_people(decisions, groups)
    return _rates(decisions, groups.long(), group_count(groups))


@full_precision
def true_positive_rates(decisions: Tensor, labels: Tensor, *, groups: Tensor) -> Tensor:
    """P(decision = 1 | label = 1, group) for each group.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        labels: [N], 0 or 1.
        groups: [N], ids from 0, below 2²⁴.

    Returns:
        [G] float64; NaN for a group without positives.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, or negative ids.

    Example:
        >>> true_positive_rates(torch.tensor([1, 0, 1, 1]), torch.tensor([1, 1, 1, 0]), groups=torch.tensor([0, 0, 1, 1]))
        tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    _check_people(decisions, groups, labels)
    return _rates(decisions, groups.long(), group_count(groups), among=labels == 1)


@full_precision
def false_positive_rates(decisions: Tensor, labels: Tensor, *, groups: Tensor) -> Tensor:
    """P(decision = 1 | label = 0, group) for each group.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        labels: [N], 0 or 1.
        groups: [N], ids from 0, below 2²⁴.

    Returns:
        [G] float64; NaN for a group without negatives.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, or negative ids.

    Example:
        >>> false_positive_rates(torch.tensor([1, 0, 1, 0]), torch.tensor([0, 0, 1, 0]), groups=torch.tensor([0, 0, 1, 1]))
        tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    _check_people(decisions, groups, labels)
    return _rates(decisions, groups.long(), group_count(groups), among=labels == 0)


def _check_people(decisions: Tensor, groups: Tensor, labels: Tensor | None = None) -> None:
    check_unit("decisions", decisions)
    if labels is not None:
        checks.check_same_shape("labels", labels, "decisions", decisions)
        check_labels(labels)
    check_groups(groups, "decisions", decisions)


def _spread(rates: Tensor) -> Tensor:
    """The largest less the smallest of the rates that are known; 0 where none is."""
    known = ~rates.isnan()
    gap = torch.where(known, rates, -torch.inf).amax() - torch.where(known, rates, torch.inf).amin()
    return torch.where(known.any(), gap, 0.0)


@full_precision
def demographic_parity_difference(decisions: Tensor, *, groups: Tensor) -> Tensor:
    """The largest selection rate less the smallest, over the groups that have members.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        groups: [N], ids from 0.

    Returns:
        [], float64, 0 where all groups are selected equally often.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, or negative ids.

    Example:
        >>> demographic_parity_difference(torch.tensor([1, 0, 1, 1]), groups=torch.tensor([0, 0, 1, 1]))
        tensor(0.5000, dtype=torch.float64)

    Reference:
        S. Barocas, M. Hardt, A. Narayanan, "Fairness and Machine Learning", chapter 3 (independence).

    Conventions:
        The range over groups, as fairlearn's `demographic_parity_difference` with method="between_groups".
    """
    _check_people(decisions, groups)
    return _spread(_rates(decisions, *group_places(groups)))


@full_precision
def equal_opportunity_difference(decisions: Tensor, labels: Tensor, *, groups: Tensor) -> Tensor:
    """The largest true positive rate less the smallest, over the groups that have positives.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        labels: [N], 0 or 1.
        groups: [N], ids from 0.

    Returns:
        [], float64.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, or negative ids.

    Example:
        >>> decisions, labels = torch.tensor([1, 0, 1, 1]), torch.tensor([1, 1, 1, 0])
        >>> equal_opportunity_difference(decisions, labels, groups=torch.tensor([0, 0, 1, 1]))
        tensor(0.5000, dtype=torch.float64)

    Reference:
        M. Hardt, E. Price, N. Srebro, "Equality of opportunity in supervised learning", 2016, definition 2.2.
    """
    _check_people(decisions, groups, labels)
    return _spread(_rates(decisions, *group_places(groups), among=labels == 1))


@full_precision
def equalized_odds_difference(decisions: Tensor, labels: Tensor, *, groups: Tensor) -> Tensor:
    """The larger of the gaps in true and in false positive rates.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        labels: [N], 0 or 1.
        groups: [N], ids from 0.

    Returns:
        [], float64.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, or negative ids.

    Example:
        >>> decisions, labels = torch.tensor([1, 0, 1, 1]), torch.tensor([1, 0, 1, 0])
        >>> equalized_odds_difference(decisions, labels, groups=torch.tensor([0, 0, 1, 1]))
        tensor(1., dtype=torch.float64)

    Reference:
        M. Hardt, E. Price, N. Srebro, "Equality of opportunity in supervised learning", 2016, definition 2.1.

    Conventions:
        The worse of the two, as fairlearn's `equalized_odds_difference`; others add them up.
    """
    _check_people(decisions, groups, labels)
    places = group_places(groups)
    true, false = (_spread(_rates(decisions, *places, among=labels == label)) for label in (1, 0))
    return torch.maximum(true, false)


@full_precision
def rate_intervals(rates: Tensor, counts: Tensor, *, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for each rate: where the true rate may lie, given that it was seen on so many people.

    Args:
        rates: [G], in [0, 1].
        counts: [G], how many people each rate was measured on, at least 1.
        confidence: in (0, 1).

    Raises:
        TypeError or ValueError for other arguments.

    Example:
        >>> low, high = rate_intervals(torch.tensor([0.5]), torch.tensor([100]))
        >>> round(float(low), 3), round(float(high), 3)
        (0.404, 0.596)

    Reference:
        E. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    checks.check_floating("rates", rates)
    checks.check_real("counts", counts)
    checks.check_same_shape("counts", counts, "rates", rates)
    checks.check_range("rates", rates, 0, 1)
    checks.check_range("counts", counts, 1, float("inf"))
    checks.check_number("confidence", confidence, low=0, high=1, low_open=True, high_open=True)
    z = float(torch.special.ndtri(torch.tensor((1 + confidence) / 2, dtype=torch.float64)))
    n, p = counts.double(), rates.double()
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)).sqrt()
    return Interval(centre - half, centre + half)


@full_precision
def parity_penalty(probs: Tensor, *, groups: Tensor) -> Tensor:
    """The variance of the groups' mean probabilities: a differentiable stand-in for the parity gap, to be added to a loss.

    Σ_g (mean of probs in g - mean of the groups' means)² / G, over the groups that have members.

    Args:
        probs: [N], floating, in [0, 1].
        groups: [N], ids from 0.

    Returns:
        [], float64 where `probs` are, else float32; summed in float64. 0 exactly where all groups have the same mean probability.

    Raises:
        TypeError or ValueError for other shapes, dtypes, values or ids.

    Example:
        >>> parity_penalty(torch.tensor([0.2, 0.4, 0.8, 0.6]), groups=torch.tensor([0, 0, 1, 1]))
        tensor(0.0400)

    Conventions:
        Soft selections, so a penalty of 0 doesn't make the thresholded decisions equal.
    """
    checks.check_floating("probs", probs)
    check_unit("probs", probs)
    check_groups(groups, "probs", probs)
    means = _rates(probs, *group_places(groups))
    present = ~means.isnan()
    means = torch.where(present, means, 0.0)
    centre = means.sum() / present.sum()
    return (torch.where(present, (means - centre).square(), 0.0).sum() / present.sum()).to(probs.dtype)


@plain_arguments
def pareto_front(points: Tensor) -> Tensor:
    """Which of the points no other point beats: none is at least as small in every coordinate and smaller in one.

    Args:
        points: [N, D], floating; smaller is better in every coordinate.

    Returns:
        [N] bool. Equal points stand or fall together.

    Raises:
        TypeError or ValueError for another shape or dtype, or NaN.

    Example:
        >>> pareto_front(torch.tensor([[0.0, 3.0], [1.0, 1.0], [2.0, 2.0]]))
        tensor([ True,  True, False])
    """
    checks.check_floating("points", points)
    checks.check_ndim("points", points, 2, "[N, D]")
    checks.check_values("points", points, lambda points: ~points.isnan(), "be free of NaN", lambda _: "NaN")
    blocks = [_is_undominated(block, points) for block in torch.split(points, max(1, 2**22 // max(points.numel(), 1)))]
    return torch.cat(blocks) if blocks else points.new_zeros(0, dtype=torch.bool)


def _is_undominated(block: Tensor, points: Tensor) -> Tensor:
    no_worse = (points[None] <= block[:, None]).all(dim=2)
    better = (points[None] < block[:, None]).any(dim=2)
    return ~(no_worse & better).any(dim=1)
