"""What else is owed: rates by group, the gaps between them, and the exact price of closing one. Chapter: fairness.

Decisions are 1 (selected) or 0. Groups are integer ids 0 .. G - 1, the sensitive attribute; of several attributes, the groups are their
intersections. Synonyms elsewhere: selection rate = acceptance rate; demographic parity = statistical parity, independence; equalized odds =
separation; true positive rate parity = equal opportunity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import full_precision, plain_arguments
from lossbook._core.people import People, check_unit, checked_groups, given_weight, group_places, group_rates, group_sizes, intersections
from lossbook.fairness._parity import ParityFrontier, parity_frontier

__all__ = [
    "Interval",
    "ParityFrontier",
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equal_opportunity_difference",
    "equalized_odds_difference",
    "equalized_odds_ratio",
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


Groups = Tensor | Sequence[Tensor]
Method = Literal["between_groups", "to_overall"]


@full_precision
def selection_rates(decisions: Tensor, *, groups: Groups, sample_weight: Tensor | None = None) -> Tensor:
    """P(decision = 1 | group) for each group.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        groups: [N], ids from 0, below 2²⁴; or several features, [N, F] or a list of F of [N]: the groups are their intersections.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.

    Returns:
        [G] float64, a place for each id up to the largest; of several features [G₁, ..., G_F], one for each combination of ids.
        NaN where no one is, or no weight.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, negative ids or weights.

    Example:
        >>> selection_rates(torch.tensor([1, 0, 1, 1]), groups=torch.tensor([0, 0, 1, 1]))
        tensor([0.5000, 1.0000], dtype=torch.float64)
        >>> selection_rates(torch.tensor([1, 0, 1, 1]), groups=[torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 0])])
        tensor([[1., 0.],
                [1., nan]], dtype=torch.float64)
    """
    people = People(decisions, groups, None, sample_weight)
    sizes = group_sizes(people.columns)
    places = intersections(people.columns, sizes)
    return group_rates(decisions, places, math.prod(sizes), people.weight).view(sizes)


@full_precision
def true_positive_rates(decisions: Tensor, labels: Tensor, *, groups: Groups, sample_weight: Tensor | None = None) -> Tensor:
    """P(decision = 1 | label = 1, group) for each group.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        labels: [N], 0 or 1.
        groups: [N], ids from 0, below 2²⁴; or several features, [N, F] or a list of F of [N]: the groups are their intersections.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.

    Returns:
        [G] float64, a place for each id up to the largest; of several features [G₁, ..., G_F], one for each combination of ids.
        NaN for a group without positives.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, negative ids or weights.

    Example:
        >>> true_positive_rates(torch.tensor([1, 0, 1, 1]), torch.tensor([1, 1, 1, 0]), groups=torch.tensor([0, 0, 1, 1]))
        tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    people = People(decisions, groups, labels, sample_weight)
    sizes = group_sizes(people.columns)
    places = intersections(people.columns, sizes)
    return group_rates(decisions, places, math.prod(sizes), people.among(1)).view(sizes)


@full_precision
def false_positive_rates(decisions: Tensor, labels: Tensor, *, groups: Groups, sample_weight: Tensor | None = None) -> Tensor:
    """P(decision = 1 | label = 0, group) for each group.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        labels: [N], 0 or 1.
        groups: [N], ids from 0, below 2²⁴; or several features, [N, F] or a list of F of [N]: the groups are their intersections.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.

    Returns:
        [G] float64, a place for each id up to the largest; of several features [G₁, ..., G_F], one for each combination of ids.
        NaN for a group without negatives.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, negative ids or weights.

    Example:
        >>> false_positive_rates(torch.tensor([1, 0, 1, 0]), torch.tensor([0, 0, 1, 0]), groups=torch.tensor([0, 0, 1, 1]))
        tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    people = People(decisions, groups, labels, sample_weight)
    sizes = group_sizes(people.columns)
    places = intersections(people.columns, sizes)
    return group_rates(decisions, places, math.prod(sizes), people.among(0)).view(sizes)


@full_precision
def demographic_parity_difference(
    decisions: Tensor, *, groups: Groups, sample_weight: Tensor | None = None, method: Method = "between_groups"
) -> Tensor:
    """The largest selection rate less the smallest, over the groups that have members.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        groups: [N], any ids from 0; or several features, [N, F] or a list of F of [N]: the groups are their intersections.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.
        method: "between_groups", the largest rate against the smallest; "to_overall", the rate that is farthest from that of all people.

    Returns:
        [], float64, 0 where all groups are selected equally often.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, negative ids or weights, another method.

    Example:
        >>> demographic_parity_difference(torch.tensor([1, 0, 1, 1]), groups=torch.tensor([0, 0, 1, 1]))
        tensor(0.5000, dtype=torch.float64)

    Reference:
        S. Barocas, M. Hardt, A. Narayanan, "Fairness and Machine Learning", chapter 3 (independence).

    Conventions:
        As fairlearn's `demographic_parity_difference`, with the same methods. A group without members, or without weight, is left out.
    """
    people = People(decisions, groups, None, sample_weight)
    return people.difference(people.weight, method)


@full_precision
def demographic_parity_ratio(decisions: Tensor, *, groups: Groups, sample_weight: Tensor | None = None, method: Method = "between_groups") -> Tensor:
    """The smallest selection rate over the largest, over the groups that have members: the four-fifths rule asks for 0.8.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        groups: [N], any ids from 0; or several features, [N, F] or a list of F of [N]: the groups are their intersections.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.
        method: "between_groups", the largest rate against the smallest; "to_overall", the rate that is farthest from that of all people.

    Returns:
        [], float64 in [0, 1], 1 where all groups are selected equally often.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, negative ids or weights, another method.

    Example:
        >>> demographic_parity_ratio(torch.tensor([1, 0, 1, 1]), groups=torch.tensor([0, 0, 1, 1]))
        tensor(0.5000, dtype=torch.float64)

    Reference:
        S. Barocas, M. Hardt, A. Narayanan, "Fairness and Machine Learning", chapter 3 (independence).

    Conventions:
        As fairlearn's `demographic_parity_ratio`; "to_overall" is the least of rate/overall and overall/rate. Where no one at all is selected the
        rates are equal and the ratio is 1, as the difference is 0; fairlearn gives NaN.
    """
    people = People(decisions, groups, None, sample_weight)
    return people.ratio(people.weight, method)


@full_precision
def equal_opportunity_difference(
    decisions: Tensor, labels: Tensor, *, groups: Groups, sample_weight: Tensor | None = None, method: Method = "between_groups"
) -> Tensor:
    """The largest true positive rate less the smallest, over the groups that have positives.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        labels: [N], 0 or 1.
        groups: [N], any ids from 0; or several features, [N, F] or a list of F of [N]: the groups are their intersections.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.
        method: "between_groups", the largest rate against the smallest; "to_overall", the rate that is farthest from that of all people.

    Returns:
        [], float64.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, negative ids or weights, another method.

    Example:
        >>> decisions, labels = torch.tensor([1, 0, 1, 1]), torch.tensor([1, 1, 1, 0])
        >>> equal_opportunity_difference(decisions, labels, groups=torch.tensor([0, 0, 1, 1]))
        tensor(0.5000, dtype=torch.float64)

    Reference:
        M. Hardt, E. Price, N. Srebro, "Equality of opportunity in supervised learning", 2016, definition 2.2.

    Conventions:
        A group without positives has no rate and is left out; fairlearn gives it the rate 0.
    """
    people = People(decisions, groups, labels, sample_weight)
    return people.difference(people.among(1), method)


@full_precision
def equalized_odds_difference(
    decisions: Tensor, labels: Tensor, *, groups: Groups, sample_weight: Tensor | None = None, method: Method = "between_groups"
) -> Tensor:
    """The larger of the gaps in true and in false positive rates.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        labels: [N], 0 or 1.
        groups: [N], any ids from 0; or several features, [N, F] or a list of F of [N]: the groups are their intersections.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.
        method: "between_groups", the largest rate against the smallest; "to_overall", the rate that is farthest from that of all people.

    Returns:
        [], float64.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, negative ids or weights, another method.

    Example:
        >>> decisions, labels = torch.tensor([1, 0, 1, 1]), torch.tensor([1, 0, 1, 0])
        >>> equalized_odds_difference(decisions, labels, groups=torch.tensor([0, 0, 1, 1]))
        tensor(1., dtype=torch.float64)

    Reference:
        M. Hardt, E. Price, N. Srebro, "Equality of opportunity in supervised learning", 2016, definition 2.1.

    Conventions:
        The worse of the two, as fairlearn's `equalized_odds_difference`; others add them up. A group without positives has no true positive rate and
        is left out of that gap, as one without negatives is of the other; fairlearn gives it the rate 0.
    """
    people = People(decisions, groups, labels, sample_weight)
    return torch.maximum(*(people.difference(people.among(label), method) for label in (1, 0)))


@full_precision
def equalized_odds_ratio(
    decisions: Tensor, labels: Tensor, *, groups: Groups, sample_weight: Tensor | None = None, method: Method = "between_groups"
) -> Tensor:
    """The smaller of the ratios of true and of false positive rates.

    Args:
        decisions: [N], bool, 0/1, or probabilities of selection.
        labels: [N], 0 or 1.
        groups: [N], any ids from 0; or several features, [N, F] or a list of F of [N]: the groups are their intersections.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.
        method: "between_groups", the largest rate against the smallest; "to_overall", the rate that is farthest from that of all people.

    Returns:
        [], float64 in [0, 1], 1 where the decisions err equally often in all groups.

    Raises:
        TypeError or ValueError for other shapes or dtypes, values outside [0, 1], labels between 0 and 1, negative ids or weights, another method.

    Example:
        >>> decisions, labels = torch.tensor([1, 0, 1, 1]), torch.tensor([1, 0, 1, 1])
        >>> equalized_odds_ratio(decisions, labels, groups=torch.tensor([0, 0, 1, 1]))
        tensor(1., dtype=torch.float64)

    Reference:
        M. Hardt, E. Price, N. Srebro, "Equality of opportunity in supervised learning", 2016, definition 2.1.

    Conventions:
        The worse of the two, as fairlearn's `equalized_odds_ratio`. Rates that are all 0, such as the false positive rates of decisions that are
        right, have the ratio 1; fairlearn gives NaN, or leaves it out, by the order. Groups without a rate are left out, as in the difference.
    """
    people = People(decisions, groups, labels, sample_weight)
    return torch.minimum(*(people.ratio(people.among(label), method) for label in (1, 0)))


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
def parity_penalty(probs: Tensor, *, groups: Groups, sample_weight: Tensor | None = None) -> Tensor:
    """The variance of the groups' mean probabilities: a differentiable stand-in for the parity gap, to be added to a loss.

    Σ_g (mean of probs in g - mean of the groups' means)² / G, over the groups that have members.

    Args:
        probs: [N], floating, in [0, 1].
        groups: [N], any ids from 0; or several features, [N, F] or a list of F of [N]: the groups are their intersections.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.

    Returns:
        [], float64 where `probs` are, else float32; summed in float64. 0 exactly where all groups have the same mean probability.

    Raises:
        TypeError or ValueError for other shapes, dtypes, values or ids.

    Example:
        >>> parity_penalty(torch.tensor([0.2, 0.4, 0.8, 0.6]), groups=torch.tensor([0, 0, 1, 1]))
        tensor(0.0400)

    Conventions:
        The means are weighted, the variance is not: every group counts alike. Soft selections, so a penalty of 0 doesn't make the thresholded
        decisions equal.
    """
    checks.check_floating("probs", probs)
    check_unit("probs", probs)
    columns = checked_groups(groups, "probs", probs)
    means = group_rates(probs, *group_places(columns), given_weight(sample_weight, probs, "probs"))
    present = ~means.isnan()
    means, count = torch.where(present, means, 0.0), present.sum().clamp(min=1)
    centre = means.sum() / count
    return (torch.where(present, (means - centre).square(), 0.0).sum() / count).to(probs.dtype)


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
