"""Decisions about people, their labels and their groups: what is asked of them, and rates over groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import outside_graphs, plain
from lossbook._core.ranks import dense_ranks
from lossbook._core.reduction import laid_out

MOST_GROUPS = 2**24
METHODS = ("between_groups", "to_overall")


def check_unit(parameter: str, value: Tensor) -> None:
    """`value` is a vector in [0, 1]: decisions, labels or probabilities."""
    checks.check_real(parameter, value)
    checks.check_ndim(parameter, value, 1, "[N]")
    checks.check_range(parameter, value, 0, 1)


def check_labels(labels: Tensor) -> None:
    """`labels` is a vector of 0 and 1, of any dtype."""
    check_unit("labels", labels)
    checks.check_values("labels", labels, lambda labels: (labels == 0) | (labels == 1), "hold only 0 and 1", _between)


def _between(labels: Tensor) -> float:
    return float(labels[(labels != 0) & (labels != 1)][0])


def checked_groups(groups: Any, parameter: str, reference: Tensor) -> list[Tensor]:
    """The columns [N] of `groups`, one a feature: ids from 0, one for each element of `reference`."""
    if isinstance(groups, (list, tuple)):
        columns = [plain(column) for column in groups]
    else:
        checks.check_integer("groups", groups)
        columns = list(groups.unbind(1)) if groups.ndim == 2 else [groups]
    if not columns:
        checks.wrong_value("groups", "have at least one feature", "none")
    for column in columns:
        checks.check_integer("groups", column)
        checks.check_same_shape("groups", column, parameter, reference)
        if column.numel() == 0:
            checks.wrong_value("groups", "have at least one element", "none")
        checks.check_values("groups", column, lambda ids: ids >= 0, "be at least 0", lambda ids: int(ids.min()))
    return columns


def group_sizes(columns: Sequence[Tensor]) -> tuple[int, ...]:
    """How many ids each feature has, the largest one with all below it; under `vmap` the same for all that are mapped over."""
    most = [_largest(column) for column in columns]
    if max(most) >= MOST_GROUPS:
        checks.wrong_value("groups", f"be below {MOST_GROUPS}, since the result has a place for each id", max(most))
    sizes = tuple(largest + 1 for largest in most)
    if math.prod(sizes) > MOST_GROUPS:
        checks.wrong_value("groups", f"have at most {MOST_GROUPS} intersections, since the result has a place for each", math.prod(sizes))
    return sizes


@outside_graphs
def _largest(groups: Tensor) -> int:
    seen = checks.readable(groups)
    return int((groups if seen is None else seen).max())


def intersections(columns: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """A place for each combination of ids, in the order in which a tensor of these sizes holds its elements."""
    places = columns[0].long()
    for column, size in zip(columns[1:], sizes[1:], strict=True):
        places = places * size + column.long()
    return places


def group_places(columns: Sequence[Tensor]) -> tuple[Tensor, int]:
    """A place for each group that has a member, and how many places: more than these, but not many more."""
    places, count = _places(columns[0])
    for column in columns[1:]:
        more, size = _places(column)
        places, count = places * size + more, count * size
        if count > max(2 * len(places), 1024):
            places, count = dense_ranks(places), len(places)
    return places, count


def _places(groups: Tensor) -> tuple[Tensor, int]:
    """Ids as they are, or their ranks where these cannot be read or would leave most places empty."""
    seen = checks.readable(groups)
    if seen is not None and int(seen.max()) < max(2 * len(groups), 1024):
        return groups.long(), int(seen.max()) + 1
    return dense_ranks(groups.long()), len(groups)


def group_sums(values: Tensor, places: Tensor, count: int, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Σ w v and Σ w at each of so many places, in float64."""
    nothing = torch.zeros(count, dtype=torch.float64, device=values.device)
    totals, sizes = (nothing.scatter_add(0, places, part) for part in (weight * values.double(), weight))
    return totals, sizes


def group_rates(values: Tensor, places: Tensor, count: int, weight: Tensor | None) -> Tensor:
    """The mean of the values at each of so many places; NaN, without a gradient, where nobody is."""
    weight = torch.ones(len(values), dtype=torch.float64, device=values.device) if weight is None else weight
    totals, sizes = group_sums(values, places, count, weight)
    return torch.where(sizes > 0, totals / torch.where(sizes > 0, sizes, 1.0), torch.nan)


class People:
    """Checked decisions, with the columns of their groups and what each person weighs; None where all weigh 1."""

    def __init__(self, decisions: Tensor, groups: Any, labels: Tensor | None, sample_weight: Tensor | None) -> None:
        check_unit("decisions", decisions)
        if labels is not None:
            checks.check_same_shape("labels", labels, "decisions", decisions)
            check_labels(labels)
        self.decisions, self.labels, self.columns = decisions, labels, checked_groups(groups, "decisions", decisions)
        self.weight = given_weight(sample_weight, decisions, "decisions")

    def among(self, label: int) -> Tensor:
        """What each person weighs among those with a label."""
        assert self.labels is not None
        chosen = (self.labels == label).double()
        return chosen if self.weight is None else chosen * self.weight

    def difference(self, weight: Tensor | None, method: str) -> Tensor:
        """Between the largest and the smallest of the rates that are known, or between one of them and that of all; 0 where none is known."""
        rates, others, known = self._compared(weight, method)
        return torch.where(known, rates - others, 0.0).amax()

    def ratio(self, weight: Tensor | None, method: str) -> Tensor:
        """Of the lower to the higher; 1 where both are 0, or where none is known."""
        rates, others, known = self._compared(weight, method)
        return torch.where(known & (rates > 0), others / torch.where(rates > 0, rates, 1.0), 1.0).amin()

    def _compared(self, weight: Tensor | None, method: str) -> tuple[Tensor, Tensor, Tensor]:
        """The higher and the lower rate of each comparison, and where there is one."""
        checks.check_choice("method", method, METHODS)
        places, count = group_places(self.columns)
        rates = group_rates(self.decisions, places, count, weight)
        known = ~rates.isnan()
        if method == "between_groups":
            high, low = torch.where(known, rates, -torch.inf).amax(), torch.where(known, rates, torch.inf).amin()
            return high, low, known.any()
        overall = group_rates(self.decisions, torch.zeros_like(places), 1, weight)
        rates = torch.where(known, rates, 0.0)
        return torch.maximum(rates, overall), torch.minimum(rates, overall), known


def given_weight(sample_weight: Tensor | None, decisions: Tensor, parameter: str) -> Tensor | None:
    """What each person weighs, in float64."""
    return None if sample_weight is None else laid_out("sample_weight", sample_weight, decisions.double(), of=parameter)
