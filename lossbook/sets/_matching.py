"""Bipartite matching: which query answers for which target."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossbook._core.checks import check_floating, check_ndim, wrong_type, wrong_value
from lossbook._core.door import plain_arguments
from lossbook.sets._traced import traced


class Match(NamedTuple):
    """The pairs of one image: `queries[i]` answers for `targets[i]`. Both int64, as long as the shorter side; queries ascend."""

    queries: Tensor
    targets: Tensor


@plain_arguments
def match(cost: Tensor) -> Match:
    r"""The one-to-one assignment of queries to targets whose costs have the smallest sum: min over σ of Σₙ cost[σ(n), n].

    It says who is trained towards what. It does not say that a trained model will find every object once.

    Args:
        cost: [Q, N], finite; any of Q and N may be larger, or 0.

    Returns:
        `Match(queries, targets)` with min(Q, N) pairs, on the device of `cost`.

    Raises:
        TypeError: a cost that is not floating point.
        ValueError: another shape, a NaN or infinite cost.

    Example:
        >>> match(torch.tensor([[1.0, 2.0], [2.0, 100.0]]))  # the greedy choice, 1 + 100, is not the best
        Match(queries=tensor([0, 1]), targets=tensor([1, 0]))

    Reference:
        H. W. Kuhn, The Hungarian method for the assignment problem, 1955; solved here by scipy with D. F. Crouse, On implementing 2D
        rectangular assignment algorithms, 2016.

    Conventions:
        No gradient flows through a matching: compute the cost from detached predictions.
    """
    check_floating("cost", cost)
    check_ndim("cost", cost, 2, "[Q, N]")
    sizes = [cost.shape[1]]
    return matches(assign(cost[None], sizes, "cost", plain=traced([cost])), pairs_by_image(sizes, cost.shape[0]), cost.device)[0]


@plain_arguments
def match_batch(costs: Tensor, sizes: Sequence[int]) -> list[Match]:
    r"""`match` for each image of a batch whose numbers of targets differ, with a single copy of the costs to the host.

    Args:
        costs: [B, Q, N]; image b has `sizes[b]` targets, and its columns beyond them are padding that is never read.
        sizes: B numbers of targets, each in [0, N].

    Returns:
        A list of B matches; that of image b has min(Q, sizes[b]) pairs.

    Raises:
        TypeError: costs that are not floating point.
        ValueError: another shape, another number of sizes, a size outside [0, N], a NaN or infinite cost before the padding.

    Example:
        >>> [pairs.queries.tolist() for pairs in match_batch(torch.rand(2, 4, 3), sizes=[0, 3])][0]
        []
    """
    check_floating("costs", costs)
    check_ndim("costs", costs, 3, "[B, Q, N]")
    numbers = _whole_numbers("sizes", sizes)
    if len(numbers) != costs.shape[0] or any(not 0 <= size <= costs.shape[2] for size in numbers):
        wrong_value("sizes", f"hold {costs.shape[0]} numbers in [0, {costs.shape[2]}]", numbers)
    return matches(assign(costs, numbers, "costs", plain=traced([costs])), pairs_by_image(numbers, costs.shape[1]), costs.device)


def _whole_numbers(parameter: str, values: Any) -> list[int]:
    """Integers, also as numpy has them or in a tensor."""
    try:
        return [operator.index(value) for value in values]
    except TypeError:
        return wrong_type(parameter, "hold integers", repr(values))


def pairs_by_image(sizes: Sequence[int], queries: int) -> list[int]:
    """How many pairs each image has: as many as its shorter side."""
    return [min(size, queries) for size in sizes]


def assign(costs: Tensor, sizes: Sequence[int], parameter: str, *, plain: bool) -> Tensor:
    """The query of each target, int64 [..., B, N], −1 where there is none, for costs [..., B, Q, N] of images with `sizes` targets.

    On the host; or, where `plain`, as an operation of a graph on the device of the costs.
    """
    found: Tensor = _assigned(costs.detach(), list(sizes), parameter) if plain else torch.from_numpy(_assign(costs, sizes, parameter))
    return found


def _assign(costs: Tensor, sizes: Sequence[int], parameter: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    from scipy.optimize import linear_sum_assignment

    table = costs.detach().to("cpu", torch.float64).numpy()  # one copy, in the type that scipy computes in
    readable = bool(np.isfinite(table).all())
    queries = np.full((*table.shape[:-2], table.shape[-1]), -1, dtype=np.int64)
    for image in np.ndindex(*table.shape[:-2]):
        cost = table[image][:, : sizes[image[-1]]]
        if not readable and not np.isfinite(cost).all():
            query, target = np.argwhere(~np.isfinite(cost))[0].tolist()
            place = "" if table.shape[:-2] == (1,) else f" in image {image[-1]}"
            wrong_value(parameter, "be finite", f"{cost[query, target]} for query {query} and target {target}{place}")
        rows, columns = linear_sum_assignment(cost)
        queries[image][columns] = rows
    return queries


@torch.library.custom_op("lossbook::assign", mutates_args=())
def _assigned(costs: Tensor, sizes: Sequence[int], parameter: str) -> Tensor:
    return torch.from_numpy(_assign(costs, sizes, parameter)).to(costs.device)


@_assigned.register_fake
def _(costs: Tensor, sizes: Sequence[int], parameter: str) -> Tensor:
    return costs.new_empty(*costs.shape[:-2], costs.shape[-1], dtype=torch.int64)


@_assigned.register_vmap
def _(info: Any, axes: Any, costs: Tensor, sizes: Sequence[int], parameter: str) -> tuple[Tensor, int]:
    return _assigned(costs.movedim(axes[0], 0), sizes, parameter), 0


def matches(queries: Tensor, pairs: Sequence[int], device: torch.device) -> list[Match]:
    """Assignments [B, N] of images with so many `pairs`, ordered by query."""
    targets = queries.argsort(dim=-1, stable=True)  # those without a query come first
    chosen, most = queries.gather(-1, targets).to(device), queries.shape[-1]
    columns = targets.to(device)
    return [Match(chosen[image, most - count :], columns[image, most - count :]) for image, count in enumerate(pairs)]
