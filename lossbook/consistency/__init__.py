"""When does a small surrogate risk mean few mistakes? Conditional risks, their minimisers, and the psi-transform of any margin loss.

At a point x where P(y=+1|x) = eta, a score s risks C_eta(s) = eta phi(s) + (1-eta) phi(-s). Everything here follows from that one curve.
`phi` is any function of the margin: it takes a float64 tensor and returns one of the same shape. The search is numeric and knows no closed form;
`lossbook.margins` has those. Nor has it a gradient: it looks at numbers, which there are none of inside `vmap`, `torch.func` and whole graphs.
Chapters: mismatch, calibration.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import (
    check_concrete,
    check_distribution,
    check_floating,
    check_number,
    check_range,
    check_same_shape,
    check_tensor,
    check_values,
    wrong_type,
    wrong_value,
)
from lossbook._core.door import full_precision
from lossbook.consistency._search import Phi, both_sides, evaluate, interpolate, lower_hull, weighted

__all__ = [
    "CalibrationCheck",
    "EstimateReport",
    "calibration_check",
    "conditional_risk",
    "estimate_report",
    "excess_risk_bound",
    "minimal_risk",
    "minimizer",
    "psi_transform",
]

_THETAS = torch.linspace(0, 1, 1025, dtype=torch.float64, device="cpu")


@full_precision
def conditional_risk(phi: Phi, eta: Tensor | float, scores: Tensor) -> Tensor:
    r"""The risk of a score where a share `eta` of the labels is +1.

    $$ C_\eta(s) = \eta\,\phi(s) + (1-\eta)\,\phi(-s), \qquad 0 \cdot \infty = 0 $$

    Args:
        phi: a function of the margin.
        eta: P(y = +1 | x), a number or a tensor of the shape of `scores`, in [0, 1].
        scores: real scores s, any shape.

    Returns:
        A tensor of the shape and dtype of `scores`, float32 at least.

    Raises:
        TypeError: `scores` has no floating-point dtype, or `phi` returns no tensor.
        ValueError: `eta` lies outside [0, 1] or has another shape; `phi` changes the shape.

    Example:
        >>> hinge = lambda margins: (1 - margins).clamp(min=0)
        >>> conditional_risk(hinge, 0.75, torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        [1.0, 0.5]

    Reference:
        P. Bartlett, M. Jordan, J. McAuliffe, "Convexity, classification, and risk bounds", 2006.

    Chapter: calibration.
    """
    check_floating("scores", scores)
    eta = _probability("eta", eta)
    if eta.ndim:
        check_same_shape("eta", eta, "scores", scores)
    return _share(phi, eta.to(scores), scores) + _share(phi, (1 - eta).to(scores), -scores)


def _share(phi: Phi, probs: Tensor, margins: Tensor) -> Tensor:
    impossible = (probs == 0) & ~evaluate(phi, margins).isfinite()  # moved to 0 before phi, so that the gradient is not 0 * inf either
    return weighted(probs, evaluate(phi, torch.where(impossible, 0, margins))).to(margins.dtype)


@full_precision
def minimal_risk(phi: Phi, eta: Tensor | float) -> Tensor:
    r"""The least conditional risk of any score, $H(\eta) = \inf_s C_\eta(s)$.

    Args:
        phi: a function of the margin.
        eta: P(y = +1 | x), a number or a tensor of any shape, in [0, 1].

    Returns:
        A float64 tensor of the shape of `eta`; minus infinity where the risk falls for ever.

    Raises:
        ValueError: `eta` lies outside [0, 1]; `phi` changes the shape or has no finite value.

    Example:
        >>> minimal_risk(lambda margins: (1 - margins) ** 2, torch.tensor([0.5, 0.75, 1.0])).round(decimals=9).tolist()    # 4 eta (1 - eta)
        [1.0, 0.75, 0.0]

    Reference:
        Bartlett, Jordan, McAuliffe, 2006, definition 1.

    Chapter: calibration.
    """
    eta = _probability("eta", eta)
    wrong, right = both_sides(phi, _flat("eta", eta))
    return torch.minimum(wrong.risk, right.risk).reshape(eta.shape).to(eta.device)


@full_precision
def minimizer(phi: Phi, eta: Tensor | float) -> Tensor:
    r"""A score of least conditional risk, $\arg\min_s C_\eta(s)$: what training on phi aims at.

    Args:
        phi: a function of the margin.
        eta: P(y = +1 | x), a number or a tensor of any shape, in [0, 1].

    Returns:
        A float64 tensor of the shape of `eta`. Of several minimisers one nearest to 0; where the infimum is not attained, a score whose risk is
        within rounding of it; where the risk falls for ever, an infinity.

    Raises:
        ValueError: as `minimal_risk`.

    Example:
        >>> minimizer(lambda margins: (1 - margins) ** 2, torch.tensor([0.2, 0.75])).round(decimals=6).tolist()    # 2 eta - 1
        [-0.6, 0.5]

    Reference:
        J. Friedman, T. Hastie, R. Tibshirani, "Additive logistic regression", 2000.

    Chapter: surrogates.
    """
    eta = _probability("eta", eta)
    wrong, right = both_sides(phi, _flat("eta", eta))
    return torch.where(right.risk <= wrong.risk, right.score, wrong.score).reshape(eta.shape).to(eta.device)


@full_precision
def psi_transform(phi: Phi, theta: Tensor | float) -> Tensor:
    r"""The least excess surrogate risk that an excess 0-1 risk of theta can have.

    $$ \tilde\psi(\theta) = \inf_{s \le 0} C_\eta(s) - \inf_s C_\eta(s), \quad \eta = \tfrac{1+\theta}{2}, \qquad \psi = \tilde\psi^{**} $$

    The double star is the largest convex function below. For every distribution and every measurable score function,
    psi(excess 0-1 risk) <= excess phi-risk.

    Args:
        phi: a function of the margin; it may be kinked, non-convex, unbounded, and need not attain its infimum. Scores at which it is NaN are left
            out. A valley of the risk narrower than 1/32 near 0, or than 4 % of its distance from 0 beyond 20, can be missed.
        theta: excess 0-1 risk, a number or a tensor of any shape, in [0, 1].

    Returns:
        A float64 tensor of the shape of `theta`, accurate to about 1e-7; infinite where the right sign gains without end.

    Raises:
        TypeError: `phi` returns no tensor.
        ValueError: `theta` lies outside [0, 1]; `phi` changes the shape or has no finite value.

    Example:
        >>> exponential = lambda margins: torch.exp(-margins)
        >>> psi_transform(exponential, torch.tensor([0.6, 0.8], dtype=torch.float64)).round(decimals=6).tolist()    # 1 - sqrt(1 - theta^2)
        [0.2, 0.4]

    Reference:
        Bartlett, Jordan, McAuliffe, 2006, definition 2 and theorem 1.

    Conventions:
        theta counts the excess over the Bayes risk, a score of 0 is wrong, logs are natural. Some write psi for what is here psi-tilde.

    Chapter: calibration.
    """
    theta = _probability("theta", theta)
    flat = _flat("theta", theta)
    knots = torch.unique(torch.cat([_knots(phi), flat]))  # each theta is a knot: where psi-tilde is convex the hull changes nothing
    psi = interpolate(*lower_hull(knots, _excess(phi, knots)), flat)
    return psi.reshape(theta.shape).to(theta.device)


@full_precision
def excess_risk_bound(phi: Phi, excess: Tensor | float) -> Tensor:
    r"""The largest excess 0-1 risk that an excess surrogate risk allows.

    $$ \psi^{-1}(\varepsilon) = \sup\{\theta \in [0, 1] : \psi(\theta) \le \varepsilon\} $$

    Args:
        phi: a function of the margin, as in `psi_transform`.
        excess: surrogate risk above its infimum over all measurable scores, a number or a tensor of any shape, at least 0.

    Returns:
        A float64 tensor of the shape of `excess`, in [0, 1], accurate to about 1e-6.

    Raises:
        TypeError: `phi` returns no tensor.
        ValueError: `excess` is negative, infinite or NaN.

    Example:
        >>> hinge, squared = lambda margins: (1 - margins).clamp(min=0), lambda margins: (1 - margins) ** 2
        >>> [round(excess_risk_bound(phi, 0.01).item(), 4) for phi in (hinge, squared)]
        [0.01, 0.1]

    Reference:
        Bartlett, Jordan, McAuliffe, 2006, theorem 1.

    Chapter: calibration.
    """
    excess = _real("excess", excess, 0.0, torch.inf)
    check_values("excess", excess, lambda e: (e >= 0) & e.isfinite(), "be finite and at least 0", lambda e: f"values from {e.min():g} to {e.max():g}")
    knots, allowance = _knots(phi), _flat("excess", excess)
    corners = lower_hull(knots, _excess(phi, knots))
    low, high = torch.zeros_like(allowance), torch.ones_like(allowance)
    for _ in range(24):  # 2^-24 < 1e-7
        middle = (low + high) / 2
        allowed = torch.minimum(interpolate(*corners, middle), _excess(phi, middle)) <= allowance  # psi is below both, and equals one of them
        low, high = torch.where(allowed, middle, low), torch.where(allowed, high, middle)
    bound = torch.where(interpolate(*corners, torch.ones_like(low)) <= allowance, 1.0, low)
    return bound.reshape(excess.shape).to(excess.device)


class CalibrationCheck(NamedTuple):
    """Is a loss classification-calibrated, and if not, where does it fail?

    `eta` is the clearest case, the largest P(y=+1|x) at which a wrong sign costs nothing; `lowest_eta` the smallest that was looked at (both None for
    a calibrated loss); `smallest_gap` the least extra risk of a wrong sign over all that were looked at.
    """

    is_calibrated: bool
    eta: float | None
    lowest_eta: float | None
    smallest_gap: float


@full_precision
def calibration_check(phi: Phi) -> CalibrationCheck:
    r"""Does a wrong sign cost something at every eta but 1/2?

    $$ \inf_{s(2\eta-1) \le 0} C_\eta(s) > \inf_s C_\eta(s) \quad \text{for all } \eta \ne \tfrac12 $$

    Args:
        phi: a function of the margin, as in `psi_transform`.

    Returns:
        A `CalibrationCheck`. Looked at are 397 etas from 0.505 to 1 (symmetry gives the rest); a gap counts from a billionth of the risk on.

    Raises:
        TypeError: `phi` returns no tensor.
        ValueError: `phi` changes the shape or has no finite value.

    Example:
        >>> calibration_check(lambda margins: (1 - margins).clamp(min=0)).is_calibrated
        True
        >>> calibration_check(lambda margins: (-margins).clamp(min=0)).eta    # the perceptron: a score of 0 is best even where all labels agree
        1.0

    Reference:
        Bartlett, Jordan, McAuliffe, 2006, definition 1; for convex phi it holds if and only if phi'(0) exists and is negative (theorem 2).

    Chapter: calibration.
    """
    thetas = torch.linspace(0.01, 1, 397, dtype=torch.float64)
    free, gap = _is_free(phi, thetas), float(_excess(phi, thetas).min())
    if not bool(free.any()):
        return CalibrationCheck(True, None, None, gap)
    failing = thetas[free]
    low, high = failing[-1:], failing[-1:] + (thetas[1] - thetas[0])
    for _ in range(30):  # the edge of the failing interval, if it is not 1 itself
        middle = (low + high) / 2
        low, high = (middle, high) if float(middle) <= 1 and bool(_is_free(phi, middle)) else (low, middle)
    return CalibrationCheck(False, (1 + float(low)) / 2, (1 + float(failing[0])) / 2, gap)


class EstimateReport(NamedTuple):
    """Squared bias, variance and their sum, as estimates of eta; and the error of deciding +1 where the estimate is above 1/2."""

    bias_squared: Tensor
    variance: Tensor
    squared_error: Tensor
    error: Tensor


@full_precision
def estimate_report(estimates: Tensor, eta: Tensor | float, *, weight: Tensor | None = None) -> EstimateReport:
    r"""What repeated estimates of eta are worth, as estimates and as decisions.

    $$ E(\hat\eta-\eta)^2 = (E\hat\eta-\eta)^2 + \mathrm{Var}\,\hat\eta, \qquad
       \mathrm{error} = \min(\eta, 1-\eta) + |2\eta-1|\; P(\hat\eta \text{ on the wrong side of } \tfrac12) $$

    Args:
        estimates: estimates of P(y = +1 | x) from R training sets, shape [R] for one point or [R, N] for N points.
        eta: the truth, a number or a tensor of shape [N], in [0, 1].
        weight: the probability of each of the R outcomes, shape [R], summing to 1; equal if None.

    Returns:
        An `EstimateReport` of tensors, one number a point: shape [] or [N].

    Raises:
        TypeError: `estimates` or `weight` has no floating-point dtype.
        ValueError: a shape does not fit; `eta` lies outside [0, 1]; `weight` is no distribution.

    Example:
        >>> round(estimate_report(torch.tensor([0.44, 0.48]), 0.6).error.item(), 6)    # close to 0.6, and always on the wrong side
        0.6
        >>> round(estimate_report(torch.tensor([0.70, 1.00]), 0.6).error.item(), 6)    # far from 0.6, and always right
        0.4

    Reference:
        J. Friedman, "On bias, variance, 0/1-loss, and the curse-of-dimensionality", 1997.

    Conventions:
        An estimate of exactly 1/2 decides -1. Variance divides by R.

    Chapter: mismatch.
    """
    check_floating("estimates", estimates)
    if estimates.ndim not in (1, 2) or len(estimates) == 0:
        wrong_value("estimates", "have shape [R] or [R, N], R at least 1", tuple(estimates.shape))
    eta = _probability("eta", eta).to(estimates)
    if eta.ndim:
        check_same_shape("eta", eta, "estimates[0]", estimates[0])
    equal = estimates.new_full((len(estimates),), 1 / len(estimates))
    weight = equal if weight is None else weight
    check_floating("weight", weight)
    check_same_shape("weight", weight, "the rows of `estimates`", equal)
    check_distribution("weight", weight, 0)
    weight = weight.to(estimates)
    mean = weight @ estimates
    bias_squared, variance = (mean - eta).square(), weight @ (estimates - mean).square()
    wrong_side = weight @ torch.where(estimates.isnan(), estimates, (estimates > 0.5) != (eta > 0.5))
    error = torch.minimum(eta, 1 - eta) + (2 * eta - 1).abs() * wrong_side
    return EstimateReport(bias_squared, variance, bias_squared + variance, error)


def _real(parameter: str, value: Tensor | float, low: float, high: float) -> Tensor:
    """A number that is finite and lies in [low, high], or real numbers of any dtype, in float64."""
    if not isinstance(value, Tensor):
        check_number(parameter, value, low=low, high=high)
        return torch.tensor(value, dtype=torch.float64)
    check_tensor(parameter, value)
    if value.dtype.is_complex:
        wrong_type(parameter, "be real", str(value.dtype))
    return value.double()


def _probability(parameter: str, value: Tensor | float) -> Tensor:
    probs = _real(parameter, value, 0.0, 1.0)
    check_range(parameter, probs, 0.0, 1.0)
    return probs


def _flat(parameter: str, values: Tensor) -> Tensor:
    """The numbers that a search starts from."""
    check_concrete(parameter, values)
    return values.detach().cpu().flatten().contiguous()


def _excess(phi: Phi, theta: Tensor) -> Tensor:
    """psi-tilde: what it costs at least to be on the wrong side."""
    wrong, right = both_sides(phi, (1 + theta) / 2)
    gap = torch.where(wrong.risk == -torch.inf, 0.0, (wrong.risk - right.risk).clamp(min=0))
    return torch.where(theta == 0, 0.0, gap)


def _knots(phi: Phi) -> Tensor:
    """Where psi-tilde is looked at: at every eighth theta if it is convex there, else at all of them, so that the chords of its hull end well."""
    few = _THETAS[::8]
    return few if bool((_excess(phi, few).diff(n=2) >= -1e-12).all()) else _THETAS


def _is_free(phi: Phi, theta: Tensor) -> Tensor:
    """A wrong sign costs nothing, up to rounding."""
    wrong, right = both_sides(phi, (1 + theta) / 2)
    near = (wrong.risk - right.risk <= 1e-9 * (wrong.risk.abs() + right.risk.abs())) & (right.risk > -torch.inf)
    return near | (wrong.risk == -torch.inf)
