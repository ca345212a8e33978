"""The 0-1 loss itself: its exact minimiser among lines in the plane, how many ways a hyperplane can label points, and a smoothed 0-1 risk.

Chapter: the-cliff. As everywhere in this book a tie, y·s = 0, is an error.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import full_precision, plain_arguments
from lossbook._core.reduction import Reduction, check_reduction, reduce

__all__ = ["BestLine", "best_line", "count_dichotomies", "smoothed_risk"]

_BLOCK = 1 << 20  # elements of one block of the sweep: pivots times points


class BestLine(NamedTuple):
    """The classifier sign(x·weights + intercept): weights [2] and intercept [], float64, and the number of training points it gets wrong."""

    weights: Tensor
    intercept: Tensor
    errors: int


@plain_arguments
def best_line(features: Tensor, signs: Tensor) -> BestLine:
    """A line with the fewest training errors: min over w, b of #{i : y_i (w·x_i + b) ≤ 0}, exactly, in O(n² log n).

    Every way in which a line can split the points is also made by a line that all but touches one of them. So each point in turn is a pivot: the
    directions to all others are sorted, a line makes half a turn about the pivot, and the error count changes by one wherever it passes a point.
    A line and its reverse make complementary errors, so half a turn sees both. The pivot, with whatever lies at its place, goes to its better side.

    Args:
        features: [N, 2], floating; at least one point.
        signs: [N], -1 or +1.

    Returns:
        A `BestLine`; among those with the fewest errors, one with much room to turn.

    Raises:
        ValueError or TypeError for other shapes, dtypes, signs, or features that are not finite; TypeError inside of `vmap`, `torch.func` and whole
        graphs of `torch.compile`.

    Example:
        >>> corners = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
        >>> best_line(corners, torch.tensor([1, 1, -1, -1])).errors
        1

    Reference:
        D. Johnson, F. Preparata, "The densest hemisphere problem", 1978.

    Conventions:
        Lines closer to each other than float64 can tell, seen from their pivot, count as one; collinear points and duplicates are handled.
    """
    checks.check_floating("features", features)
    if features.ndim != 2 or features.shape[1] != 2 or len(features) == 0:
        checks.wrong_value("features", "have shape [N, 2] with N ≥ 1", tuple(features.shape))
    checks.check_finite("features", features)
    checks.check_same_shape("signs", signs, "features", features[:, 0])
    checks.check_signs("signs", signs)
    checks.check_concrete("features", features)
    checks.check_concrete("signs", signs)

    points, y = features.detach().double(), signs.detach().double()
    size = _size(points)
    points = points / size  # so that no distance is 0 or inf by rounding
    rank, line = math.inf, _constant(y)
    step = max(1, _BLOCK // len(points))
    for start in range(0, len(points), step):
        found, candidate = _sweep(points, y, points[start : start + step])
        if found < rank:
            rank, line = found, candidate
    weights, intercept = line
    errors = int((y * (points @ weights + intercept) <= 0).sum())
    return BestLine(weights, intercept * size, errors)


def _size(values: Tensor, axis: int | None = None) -> Tensor:
    """The power of two below the largest magnitude, along an axis where one is given; 1 where all are 0. To divide by it rounds nothing."""
    largest = values.detach().abs().amax(() if axis is None else axis, keepdim=axis is not None)
    return torch.where(largest == 0, 1, largest / (2 * torch.frexp(largest).mantissa))


def _constant(y: Tensor) -> tuple[Tensor, Tensor]:
    """The majority's sign everywhere: all there is when the points lie at one place."""
    return y.new_zeros(2), torch.where(y.sum() >= 0, 1.0, -1.0).to(y.dtype)


def _sweep(points: Tensor, y: Tensor, pivots: Tensor) -> tuple[float, tuple[Tensor, Tensor]]:
    """The best line that all but touches one of `pivots`: its rank (errors, plus up to 1/2 for want of room), its weights and intercept."""
    offsets = points - pivots[:, None]  # [P, N, 2]
    distances = torch.hypot(*offsets.unbind(-1))
    same = distances == 0
    below = (offsets[..., 1] < 0) | ((offsets[..., 1] == 0) & (offsets[..., 0] < 0))
    turn = torch.where(below, -1.0, 1.0).to(y.dtype)  # a ray and its opposite are one direction of the line
    angles = torch.atan2(turn * offsets[..., 1], turn * offsets[..., 0]).masked_fill(same, math.inf)
    angles, order = angles.sort(dim=1)
    steps = (turn * y).masked_fill(same, 0).gather(1, order)  # passing a point makes an error (+1) or mends one (-1)
    errors = (steps < 0).sum(1, keepdim=True) + steps.cumsum(1)

    others = (~same).sum(1, keepdim=True)
    after_last = (others - 1).clamp(min=0), angles[:, :1] + math.pi  # the first again, half a turn on
    following = angles.roll(-1, dims=1).scatter(1, *after_last)
    gaps = following - angles
    nearest = distances.masked_fill(same, math.inf).amin(1, keepdim=True)
    resolution = 64 * torch.finfo(y.dtype).eps * points.abs().amax() / nearest  # what rounding can turn a direction by
    positive, negative = ((same & (y == sign)).sum(1, keepdim=True) for sign in (1, -1))
    totals = torch.stack([errors, others - errors]) + torch.minimum(positive, negative)  # [2, P, N]: the line and its reverse
    ranks = torch.where((gaps > resolution) & (others > 0), totals + (1 - gaps / math.pi) / 2, math.inf)

    best = int(ranks.argmin())
    reverse, row, column = best // ranks[0].numel(), best // len(y) % len(pivots), best % len(y)
    angle = angles[row, column] + gaps[row, column] / 2
    normal = (1 - 2 * reverse) * torch.stack([-angle.sin(), angle.cos()])
    room = torch.where(same[row], math.inf, (offsets[row] @ normal).abs()).amin()
    side = torch.where(positive[row, 0] >= negative[row, 0], 0.5, -0.5) * room
    return float(ranks.flatten()[best]), (normal, side - pivots[row] @ normal)


@plain_arguments
def count_dichotomies(count: int, dimension: int) -> int:
    """In how many ways affine hyperplanes can label `count` points in general position: 2 Σ_{k ≤ d} C(n - 1, k).

    Args:
        count: n, how many points.
        dimension: d, of the space they lie in.

    Raises:
        TypeError or ValueError unless `count` and `dimension` are positive integers.

    Example:
        >>> count_dichotomies(20, 2), 2**20
        (382, 1048576)

    Reference:
        T. Cover, "Geometrical and statistical properties of systems of linear inequalities", 1965, theorem 1; the intercept is one more axis.
    """
    checks.check_count("count", count)
    checks.check_count("dimension", dimension)
    return 2 * sum(math.comb(count - 1, k) for k in range(min(dimension, count - 1) + 1))


@full_precision
def smoothed_risk(weights: Tensor, features: Tensor, signs: Tensor, *, sigma: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """The 0-1 risk of weights that tremble: E 1[y (w + e)·x ≤ 0] over e ~ N(0, σ² I) = Φ(-y w·x / (σ|x|)).

    A differentiable function of the weights, not convex; as σ falls to 0 it becomes the 0-1 risk.

    Args:
        weights: [D], D at least 1, floating. For an intercept append a column of ones to the features.
        features: [N, D], the dtype of `weights`.
        signs: [N], -1 or +1.
        sigma: standard deviation of each weight's tremble, positive.
        reduction: "mean" divides by N; "sum"; "none".

    Returns:
        [] or [N]. A row of zeros is an error whatever the weights are: 1.

    Raises:
        ValueError or TypeError for other shapes, dtypes, signs, σ ≤ 0, or reduction.

    Example:
        >>> w, x = torch.tensor([1.0, 0.0]), torch.tensor([[3.0, 4.0], [0.0, 2.0]])
        >>> smoothed_risk(w, x, torch.tensor([1, 1]), reduction="none")
        tensor([0.2743, 0.5000])

    Reference:
        R. Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", 1992, for the smoothing.
    """
    checks.check_floating("weights", weights)
    checks.check_ndim("weights", weights, 1, "[D]")
    if len(weights) == 0:
        checks.wrong_value("weights", "hold at least one weight", "shape (0,)")
    checks.check_floating("features", features)
    if features.ndim != 2 or features.shape[1] != len(weights):
        checks.wrong_value("features", f"have shape [N, {len(weights)}] to match `weights`", tuple(features.shape))
    checks.check_same_dtype("features", features, "weights", weights)
    checks.check_same_device("features", features, "weights", weights)
    checks.check_same_shape("signs", signs, "features", features[:, 0])
    checks.check_signs("signs", signs)
    checks.check_number("sigma", sigma, low=0, low_open=True)
    check_reduction(reduction)

    rows, size = features / _size(features, 1), _size(weights)  # of ordinary size, so that no square and no sum overflows or vanishes
    norms = torch.linalg.vector_norm(rows, dim=1)
    zero = norms == 0
    directions = rows / torch.where(zero, 1, norms)[:, None]
    spread = max(sigma, torch.finfo(weights.dtype).tiny)
    z = -signs.to(weights) * (directions @ (weights / size)) * (size / spread).clamp(max=torch.finfo(weights.dtype).max)
    z = z.clamp(-40, 40)  # Φ and its slopes are 0 or 1 in float64 from 39 on; past it inf·0 would wait
    return reduce(torch.where(zero, 1, torch.special.ndtr(z)), reduction)
