"""A catalogue of losses of the margin: each is its formula, its slope, what it aims at, and facts that the tests prove.

The margin of an example is m = y·s, sign times score; a loss φ(m) is large where m is negative. Chapter: surrogates.

>>> import torch
>>> margins = torch.tensor([-1.0, 0.0, 2.0])
>>> hinge(margins)
tensor([2., 1., 0.])
>>> hinge.derivative(margins)
tensor([-1., -1.,  0.])
>>> [name for name, loss in LOSSES.items() if loss.scale == 1 and loss.is_convex]
['hinge', 'squared_hinge', 'logistic2', 'exponential', 'squared']
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import plain_arguments
from lossbook._core.stable import log1pexp
from lossbook.margins._closed_forms import (
    bayes_error,
    decide,
    deviation,
    endless,
    entropy,
    exponential_psi,
    itself,
    likelier_sign,
    logistic_psi,
    mean_sign,
    no_ceiling,
    no_floor,
    variance,
)
from lossbook.margins._record import MOST, Given, MarginLoss, Times

__all__ = [
    "LOSSES",
    "MarginLoss",
    "exponential",
    "hinge",
    "logistic",
    "logistic2",
    "perceptron",
    "ramp",
    "ramp_loss",
    "ramp_minus_one",
    "savage",
    "sigmoid",
    "squared",
    "squared_hinge",
    "unhinged",
    "zero_one",
]

INF = math.inf


def _minus_one(falling: Tensor, margins: Tensor) -> Tensor:
    """-1 where `falling`, 0 elsewhere, in the dtype of `margins`."""
    return torch.where(falling, -1.0, 0.0).to(margins.dtype)


# fmt: off
# φ, its slope φ' right below, and the record of both. They are functions with names, not lambdas, so that a loss can be pickled and copied.

# sign keeps the graph, with the gradient that this loss has, zero; but it makes 0 of NaN
def _zero_one(m: Tensor) -> Tensor: return torch.where(m.isnan(), m, 1 - torch.relu(torch.sign(m)))
zero_one = MarginLoss(
    name="zero_one",
    formula="1[m ≤ 0]",
    paper="The loss that is meant.",
    value=_zero_one, slope=torch.zeros_like, link=decide, risk=bayes_error, transform=itself,
    is_convex=False, is_calibrated=True, is_symmetric=False, lipschitz=INF, bound=1, scale=1, kinks=(0.0,),
)

def _hinge(m: Tensor) -> Tensor: return torch.relu(1 - m)
def _hinge_slope(m: Tensor) -> Tensor: return _minus_one(m < 1, m)
hinge = MarginLoss(
    name="hinge",
    formula="max(0, 1 - m)",
    paper="C. Cortes, V. Vapnik, Support-vector networks, 1995",
    value=_hinge, slope=_hinge_slope, link=likelier_sign, risk=Times(2, bayes_error), transform=itself,
    is_convex=True, is_calibrated=True, is_symmetric=False, lipschitz=1, bound=INF, scale=1, kinks=(1.0,),
)

def _squared_hinge(m: Tensor) -> Tensor: return torch.relu(1 - m).square()
def _squared_hinge_slope(m: Tensor) -> Tensor: return -2 * torch.relu(1 - m)
squared_hinge = MarginLoss(
    name="squared_hinge",
    formula="max(0, 1 - m)²",
    paper="T. Zhang, Statistical behavior and consistency of classification methods based on convex risk minimization, 2004",
    value=_squared_hinge, slope=_squared_hinge_slope, link=mean_sign, risk=Times(4, variance), transform=torch.square,
    is_convex=True, is_calibrated=True, is_symmetric=False, lipschitz=INF, bound=INF, scale=1,
)

def _logistic(m: Tensor) -> Tensor: return log1pexp(-m)
def _logistic_slope(m: Tensor) -> Tensor: return -torch.sigmoid(-m)
logistic = MarginLoss(
    name="logistic",
    formula="ln(1 + e^-m)",
    paper="J. Friedman, T. Hastie, R. Tibshirani, Additive logistic regression: a statistical view of boosting, 2000",
    value=_logistic, slope=_logistic_slope, link=torch.logit, risk=entropy, transform=logistic_psi,
    is_convex=True, is_calibrated=True, is_symmetric=False, lipschitz=1, bound=INF, scale=1 / math.log(2),
)

logistic2 = logistic.scaled(1 / math.log(2), name="logistic2", formula="log2(1 + e^-m)")

def _exponential(m: Tensor) -> Tensor: return torch.exp(-m)
def _exponential_slope(m: Tensor) -> Tensor: return -torch.exp(-m)
exponential = MarginLoss(
    name="exponential",
    formula="e^-m",
    paper="Y. Freund, R. Schapire, A decision-theoretic generalization of on-line learning and an application to boosting, 1997",
    value=_exponential, slope=_exponential_slope, link=Times(0.5, torch.logit), risk=Times(2, deviation), transform=exponential_psi,
    is_convex=True, is_calibrated=True, is_symmetric=False, lipschitz=INF, bound=INF, scale=1,
)

def _squared(m: Tensor) -> Tensor: return torch.square(1 - m)  # = (y - s)², because y² = 1
def _squared_slope(m: Tensor) -> Tensor: return -2 * (1 - m)
squared = MarginLoss(
    name="squared",
    formula="(1 - m)²",
    paper="B. Widrow, M. Hoff, Adaptive switching circuits, 1960",
    value=_squared, slope=_squared_slope, link=mean_sign, risk=Times(4, variance), transform=torch.square,
    is_convex=True, is_calibrated=True, is_symmetric=False, lipschitz=INF, bound=INF, scale=1,
)


def _ramp(m: Tensor, s: float) -> Tensor: return torch.relu(1 - m).clamp(max=1 - s)  # a difference of hinges would lose its digits far out
def _ramp_slope(m: Tensor, s: float) -> Tensor: return _minus_one((m >= s) & (m < 1), m)


@plain_arguments
def ramp_loss(s: float) -> MarginLoss:
    """The ramp that rises from 0 at margin 1 to its ceiling 1 - s at margin s: min(max(0, 1 - m), 1 - s) = max(0, 1 - m) - max(0, s - m).

    Args:
        s: where it flattens, below 1. At 0 the ceiling is 1 and every wrong answer lies on the flat part; at -1 it is 2, and the loss is symmetric.

    Returns:
        The `MarginLoss`.

    Raises:
        TypeError or ValueError unless s is a number below 1, and finite in float32.

    Example:
        >>> ramp_loss(-1.0)(torch.tensor([-5.0, -0.5, 0.5, 5.0]))
        tensor([2.0000, 1.5000, 0.5000, 0.0000])

    Reference:
        R. Collobert, F. Sinz, J. Weston, L. Bottou, "Trading convexity for scalability", 2006.

    Chapter: ramp.
    """
    checks.check_number("s", s, low=-MOST, high=1, high_open=True)
    return MarginLoss(
        name=f"ramp({s:g})",
        formula=f"min(max(0, 1 - m), {1 - s:g})",
        paper="R. Collobert, F. Sinz, J. Weston, L. Bottou, Trading convexity for scalability, 2006",
        value=Given(_ramp, s),
        slope=Given(_ramp_slope, s),
        link=decide if s > -1 else likelier_sign,
        risk=Times(min(2, 1 - s), bayes_error),
        transform=Times(min(1, 1 - s), itself),
        is_convex=False, is_calibrated=True, is_symmetric=s == -1, lipschitz=1, bound=1 - s, scale=max(1, 1 / (1 - s)), kinks=(float(s), 1.0),
    )


ramp = replace(ramp_loss(0), name="ramp")
ramp_minus_one = replace(
    ramp_loss(-1), name="ramp_minus_one", paper="J. Brooks, Support vector machines with the ramp loss and the hard margin loss, 2011"
)

def _sigmoid(m: Tensor) -> Tensor: return torch.sigmoid(-m)
def _sigmoid_slope(m: Tensor) -> Tensor: return -torch.sigmoid(-m) * torch.sigmoid(m)
sigmoid = MarginLoss(
    name="sigmoid",
    formula="1 / (1 + e^m)",
    paper="L. Mason, J. Baxter, P. Bartlett, M. Frean, Boosting algorithms as gradient descent, 2000",
    value=_sigmoid, slope=_sigmoid_slope, link=endless, risk=bayes_error, transform=Times(0.5, itself),
    is_convex=False, is_calibrated=True, is_symmetric=True, lipschitz=0.25, bound=1, scale=2,
)

def _savage(m: Tensor) -> Tensor: return torch.sigmoid(-2 * m).square()
def _savage_slope(m: Tensor) -> Tensor: return -4 * torch.sigmoid(-2 * m).square() * torch.sigmoid(2 * m)
savage = MarginLoss(
    name="savage",
    formula="1 / (1 + e^2m)²",
    paper="H. Masnadi-Shirazi, N. Vasconcelos, On the design of loss functions for classification, 2008",
    value=_savage, slope=_savage_slope, link=Times(0.5, torch.logit), risk=variance, transform=Times(0.25, torch.square),
    is_convex=False, is_calibrated=True, is_symmetric=False, lipschitz=16 / 27, bound=1, scale=4,
)

def _unhinged(m: Tensor) -> Tensor: return 1 - m
def _unhinged_slope(m: Tensor) -> Tensor: return -torch.ones_like(m)
unhinged = MarginLoss(
    name="unhinged",
    formula="1 - m",
    paper="B. van Rooyen, A. Menon, R. Williamson, Learning with symmetric label noise: the importance of being unhinged, 2015",
    value=_unhinged, slope=_unhinged_slope, link=endless, risk=no_floor, transform=no_ceiling,
    is_convex=True, is_calibrated=True, is_symmetric=True, lipschitz=1, bound=INF, scale=INF,
)

def _perceptron(m: Tensor) -> Tensor: return torch.relu(-m)
def _perceptron_slope(m: Tensor) -> Tensor: return _minus_one(m < 0, m)
perceptron = MarginLoss(
    name="perceptron",
    formula="max(0, -m)",
    paper="F. Rosenblatt, The perceptron: a probabilistic model for information storage and organization in the brain, 1958",
    value=_perceptron, slope=_perceptron_slope, link=torch.zeros_like, risk=torch.zeros_like, transform=torch.zeros_like,
    is_convex=True, is_calibrated=False, is_symmetric=False, lipschitz=1, bound=INF, scale=INF, kinks=(0.0,),
)

# fmt: on
LOSSES: dict[str, MarginLoss] = {
    loss.name: loss
    for loss in (
        *(zero_one, hinge, squared_hinge, logistic, logistic2, exponential, squared),
        *(ramp, ramp_minus_one, sigmoid, savage, unhinged, perceptron),
    )
}


def check_loss(loss: Any) -> MarginLoss:
    """The loss itself, given or by its name in `LOSSES`; it has a slope to follow."""
    if not isinstance(loss, (str, MarginLoss)):
        checks.wrong_type("loss", "be a name in `margins.LOSSES` or a `MarginLoss`", type(loss).__name__)
    if isinstance(loss, str):
        checks.check_choice("loss", loss, LOSSES)
    phi: MarginLoss = loss if isinstance(loss, MarginLoss) else LOSSES[loss]
    if phi.name == "zero_one":
        checks.wrong_value("loss", "have a slope to follow", "zero_one, which is flat")
    return phi
