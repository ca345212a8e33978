"""The record that every loss of the margin is: a formula, a slope, closed forms, and facts. `margins` is the catalogue of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import full_precision, plain_arguments

Function = Callable[[Tensor], Tensor]
LEAST, MOST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max  # a factor beyond them is 0 or inf to a float32 tensor


@dataclass(frozen=True)
class Times:
    """factor · function(x). Unlike a closure it can be compared, pickled and sent to another process; so can `Given`."""

    factor: float
    function: Function

    def __call__(self, x: Tensor) -> Tensor:
        return self.factor * self.function(x)


@dataclass(frozen=True)
class Given:
    """function(x, parameter), of x alone."""

    function: Callable[[Tensor, float], Tensor]
    parameter: float

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x, self.parameter)


@dataclass(frozen=True)
class MarginLoss:
    """A loss φ of the margin m = y·s, with its closed forms and facts.

    Element-wise, on the device of `margins`; computed and returned in float32 at least, autocast or not; the same under `torch.compile`, `vmap` and
    `torch.func`, and differentiable twice. Only NaN gives NaN; a value too large for its dtype is inf, as e^-m is from -89 on in float32. A loss can
    be compared, copied, pickled and saved, if the functions of it can; those of `margins` can.

    Attributes:
        name, formula, paper: what the loss is called, φ(m) in plain text, and where it comes from.
        kinks: the margins at which φ has no derivative.
        value, slope, link, risk, transform: φ, φ', minimiser, minimal risk and ψ as plain functions; the methods check their arguments first.
        is_convex: φ is convex.
        is_calibrated: at every η ≠ 1/2, scores of the wrong sign cannot reach the minimal conditional risk.
        is_symmetric: φ(m) + φ(-m) is constant, so flipping labels at random does not move the minimiser.
        lipschitz: the largest |φ'|, inf where there is none.
        bound: the supremum of φ, inf where there is none.
        scale: the smallest c for which c·φ(m) ≥ 1[m ≤ 0] at every m; inf where no c will do.

    Example:
        >>> from lossbook.margins import logistic
        >>> logistic.minimizer(0.6)
        tensor(0.4055, dtype=torch.float64)
        >>> logistic.psi(1.0), logistic.bound, logistic.is_convex
        (tensor(0.6931, dtype=torch.float64), inf, True)

    Reference:
        P. Bartlett, M. Jordan, J. McAuliffe, "Convexity, classification, and risk bounds", 2006.

    Conventions:
        Natural logarithm, no factor 1/2, and a tie m = 0 is an error of the 0-1 loss.

    Chapters: surrogates, calibration.
    """

    name: str
    formula: str
    paper: str
    value: Function = field(repr=False)
    slope: Function = field(repr=False)
    link: Function = field(repr=False)
    risk: Function = field(repr=False)
    transform: Function = field(repr=False)
    is_convex: bool
    is_calibrated: bool
    is_symmetric: bool
    lipschitz: float
    bound: float
    scale: float
    kinks: tuple[float, ...] = ()

    @full_precision
    def __call__(self, margins: Tensor) -> Tensor:
        """φ(m), element by element.

        Args:
            margins: any shape, floating.

        Raises:
            TypeError for another dtype.
        """
        checks.check_floating("margins", margins)
        return self.value(margins)

    @full_precision
    def derivative(self, margins: Tensor) -> Tensor:
        """φ'(m), element by element; at a kink the slope to the right, which is also what autograd gives; NaN at NaN.

        Args:
            margins: any shape, floating.

        Raises:
            TypeError for another dtype.
        """
        checks.check_floating("margins", margins)
        return torch.where(margins.isnan(), margins, self.slope(margins))  # a slope that is a constant would hide it

    @full_precision
    def conditional_risk(self, eta: Tensor | float, scores: Tensor) -> Tensor:
        """η φ(s) + (1 - η) φ(-s): the expected loss of score s at a point where P(y = +1) = η, with 0·inf = 0.

        Args:
            eta: a number, or a tensor of no axes or of `scores`' shape, in [0, 1].
            scores: any shape.

        Returns:
            A tensor of the shape and dtype of `scores`.

        Raises:
            TypeError for a dtype that is not floating; ValueError for a shape that would broadcast, or η outside [0, 1].
        """
        checks.check_floating("scores", scores)
        eta = _in_unit_interval("eta", eta)
        if eta.ndim:
            checks.check_same_shape("eta", eta, "scores", scores)
        return self._expected(eta.to(scores), scores) + self._expected((1 - eta).to(scores), -scores)

    def _expected(self, probs: Tensor, margins: Tensor) -> Tensor:
        impossible = (probs == 0) & ~self.value(margins).isfinite()  # moved to 0 before φ, so that the gradient is not 0·inf either
        return probs * self.value(torch.where(impossible, 0, margins))

    @full_precision
    def minimizer(self, eta: Tensor | float) -> Tensor:
        """The score of least conditional risk, ±inf where it is only approached.

        Of several the one nearest to 0, of two opposite ones the positive; ±1 for `zero_one`, where any score of that sign would do.

        Args:
            eta: P(y = +1), a number or a tensor of any shape, in [0, 1].

        Raises:
            TypeError or ValueError for another dtype, or η outside [0, 1].
        """
        return self.link(_in_unit_interval("eta", eta))

    @full_precision
    def minimal_risk(self, eta: Tensor | float) -> Tensor:
        """The infimum of the conditional risk over all scores.

        Args:
            eta: P(y = +1), a number or a tensor of any shape, in [0, 1].

        Raises:
            TypeError or ValueError for another dtype, or η outside [0, 1].
        """
        return self.risk(_in_unit_interval("eta", eta))

    @full_precision
    def psi(self, theta: Tensor | float) -> Tensor:
        """The largest convex ψ with ψ(excess 0-1 risk) ≤ excess φ-risk, at θ = |2η - 1| (Bartlett et al., definition 2).

        Args:
            theta: a number or a tensor of any shape, in [0, 1].

        Raises:
            TypeError or ValueError for another dtype, or θ outside [0, 1].
        """
        return self.transform(_in_unit_interval("theta", theta))

    @property
    def is_differentiable(self) -> bool:
        """φ has a derivative at every margin."""
        return not self.kinks

    @plain_arguments
    def scaled(self, factor: float, *, name: str | None = None, formula: str | None = None) -> MarginLoss:
        """The same loss in another unit: `factor`·φ, with every closed form and fact to match.

        Args:
            factor: above 0; what is 0 or infinite in float32 is none.
            name, formula: what the new loss is called and how it is written; made from the old ones where None.

        Raises:
            TypeError or ValueError for another factor.
        """
        checks.check_number("factor", factor, low=LEAST, high=MOST)
        return replace(
            self,
            name=name or f"{factor:g} {self.name}",
            formula=formula or f"{factor:g} ({self.formula})",
            value=Times(factor, self.value),
            slope=Times(factor, self.slope),
            risk=Times(factor, self.risk),
            transform=Times(factor, self.transform),
            lipschitz=factor * self.lipschitz,
            bound=factor * self.bound,
            scale=self.scale / factor,
        )


def _in_unit_interval(parameter: str, value: Tensor | float) -> Tensor:
    """`value` as a tensor, once every element is known to lie in [0, 1]; a number becomes float64."""
    if not isinstance(value, Tensor):
        checks.check_number(parameter, value, low=0, high=1)
        return torch.tensor(value, dtype=torch.float64)
    checks.check_floating(parameter, value)
    checks.check_range(parameter, value, 0, 1)
    return value
