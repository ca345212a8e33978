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

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.stable import log1pexp
from lossbook._margin_loss import MarginLoss

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


def _decide(eta: Tensor) -> Tensor:
    """+1 from η = 1/2 on, -1 below."""
    return torch.where(eta >= 0.5, 1.0, -1.0).to(eta.dtype)


def _bayes_error(eta: Tensor) -> Tensor:
    """min(η, 1 - η): what the best decision at η still gets wrong."""
    return torch.minimum(eta, 1 - eta)


def _endless(eta: Tensor) -> Tensor:
    """±inf, or 0 at η = 1/2: atanh(±1) = ±inf."""
    return torch.atanh(torch.sign(2 * eta - 1))


def _entropy(eta: Tensor) -> Tensor:
    """The binary entropy in nats."""
    entropy: Tensor = torch.special.entr(eta) + torch.special.entr(1 - eta)
    return entropy


def _logistic_psi(theta: Tensor) -> Tensor:
    """ln 2 - H((1+θ)/2) = θ artanh θ + ln(1-θ²)/2: the second has its digits near 0, the first is finite at 1."""
    small = torch.where(theta < 0.5, theta, 0)
    return torch.where(theta < 0.5, small * torch.atanh(small) + torch.log1p(-small.square()) / 2, math.log(2) - _entropy((1 + theta) / 2))


# fmt: off
zero_one = MarginLoss(
    name="zero_one",
    formula="1[m ≤ 0]",
    paper="The loss that is meant.",
    # sign keeps the graph, with the gradient that this loss has, zero; but it makes 0 of NaN
    value=lambda m: torch.where(m.isnan(), m, 1 - torch.relu(torch.sign(m))),
    slope=torch.zeros_like,
    link=_decide,
    risk=_bayes_error,
    transform=lambda theta: theta,
    is_convex=False, is_calibrated=True, is_symmetric=False, lipschitz=INF, bound=1, scale=1, kinks=(0.0,),
)

hinge = MarginLoss(
    name="hinge",
    formula="max(0, 1 - m)",
    paper="C. Cortes, V. Vapnik, Support-vector networks, 1995",
    value=lambda m: torch.relu(1 - m),
    slope=lambda m: _minus_one(m < 1, m),
    link=lambda eta: torch.sign(2 * eta - 1),
    risk=lambda eta: 2 * _bayes_error(eta),
    transform=lambda theta: theta,
    is_convex=True, is_calibrated=True, is_symmetric=False, lipschitz=1, bound=INF, scale=1, kinks=(1.0,),
)

squared_hinge = MarginLoss(
    name="squared_hinge",
    formula="max(0, 1 - m)²",
    paper="T. Zhang, Statistical behavior and consistency of classification methods based on convex risk minimization, 2004",
    value=lambda m: torch.relu(1 - m).square(),
    slope=lambda m: -2 * torch.relu(1 - m),
    link=lambda eta: 2 * eta - 1,
    risk=lambda eta: 4 * eta * (1 - eta),
    transform=torch.square,
    is_convex=True, is_calibrated=True, is_symmetric=False, lipschitz=INF, bound=INF, scale=1,
)

logistic = MarginLoss(
    name="logistic",
    formula="ln(1 + e^-m)",
    paper="J. Friedman, T. Hastie, R. Tibshirani, Additive logistic regression: a statistical view of boosting, 2000",
    value=lambda m: log1pexp(-m),
    slope=lambda m: -torch.sigmoid(-m),
    link=torch.logit,
    risk=_entropy,
    transform=_logistic_psi,
    is_convex=True, is_calibrated=True, is_symmetric=False, lipschitz=1, bound=INF, scale=1 / math.log(2),
)

logistic2 = logistic.scaled(1 / math.log(2), name="logistic2", formula="log2(1 + e^-m)")

exponential = MarginLoss(
    name="exponential",
    formula="e^-m",
    paper="Y. Freund, R. Schapire, A decision-theoretic generalization of on-line learning and an application to boosting, 1997",
    value=lambda m: torch.exp(-m),
    slope=lambda m: -torch.exp(-m),
    link=lambda eta: torch.logit(eta) / 2,
    risk=lambda eta: 2 * torch.sqrt(eta * (1 - eta)),
    transform=lambda theta: theta.square() / (1 + torch.sqrt(1 - theta.square())),  # = 1 - √(1-θ²), with its digits near 0
    is_convex=True, is_calibrated=True, is_symmetric=False, lipschitz=INF, bound=INF, scale=1,
)

squared = MarginLoss(
    name="squared",
    formula="(1 - m)²",
    paper="B. Widrow, M. Hoff, Adaptive switching circuits, 1960",
    value=lambda m: torch.square(1 - m),  # = (y - s)², because y² = 1
    slope=lambda m: -2 * (1 - m),
    link=lambda eta: 2 * eta - 1,
    risk=lambda eta: 4 * eta * (1 - eta),
    transform=torch.square,
    is_convex=True, is_calibrated=True, is_symmetric=False, lipschitz=INF, bound=INF, scale=1,
)


def ramp_loss(s: float) -> MarginLoss:
    """The ramp that rises from 0 at margin 1 to its ceiling 1 - s at margin s: min(max(0, 1 - m), 1 - s) = max(0, 1 - m) - max(0, s - m).

    Args:
        s: where it flattens, below 1. At 0 the ceiling is 1 and every wrong answer lies on the flat part; at -1 it is 2, and the loss is symmetric.

    Returns:
        The `MarginLoss`.

    Raises:
        ValueError unless -inf < s < 1.

    Example:
        >>> ramp_loss(-1.0)(torch.tensor([-5.0, -0.5, 0.5, 5.0]))
        tensor([2.0000, 1.5000, 0.5000, 0.0000])

    Reference:
        R. Collobert, F. Sinz, J. Weston, L. Bottou, "Trading convexity for scalability", 2006.

    Chapter: ramp.
    """
    checks.check_number("s", s, high=1, high_open=True)
    return MarginLoss(
        name=f"ramp({s:g})",
        formula=f"min(max(0, 1 - m), {1 - s:g})",
        paper="R. Collobert, F. Sinz, J. Weston, L. Bottou, Trading convexity for scalability, 2006",
        value=lambda m: torch.relu(1 - m).clamp(max=1 - s),  # the difference of hinges would lose the 1 of 1 + 1e4 in half precision
        slope=lambda m: _minus_one((m >= s) & (m < 1), m),
        link=_decide if s > -1 else hinge.link,
        risk=lambda eta: min(2, 1 - s) * _bayes_error(eta),
        transform=lambda theta: min(1, 1 - s) * theta,
        is_convex=False, is_calibrated=True, is_symmetric=s == -1, lipschitz=1, bound=1 - s, scale=max(1, 1 / (1 - s)), kinks=(float(s), 1.0),
    )


ramp = replace(ramp_loss(0), name="ramp")
ramp_minus_one = replace(
    ramp_loss(-1), name="ramp_minus_one", paper="J. Brooks, Support vector machines with the ramp loss and the hard margin loss, 2011"
)

sigmoid = MarginLoss(
    name="sigmoid",
    formula="1 / (1 + e^m)",
    paper="L. Mason, J. Baxter, P. Bartlett, M. Frean, Boosting algorithms as gradient descent, 2000",
    value=lambda m: torch.sigmoid(-m),
    slope=lambda m: -torch.sigmoid(-m) * torch.sigmoid(m),
    link=_endless,
    risk=_bayes_error,
    transform=lambda theta: theta / 2,
    is_convex=False, is_calibrated=True, is_symmetric=True, lipschitz=0.25, bound=1, scale=2,
)

savage = MarginLoss(
    name="savage",
    formula="1 / (1 + e^2m)²",
    paper="H. Masnadi-Shirazi, N. Vasconcelos, On the design of loss functions for classification, 2008",
    value=lambda m: torch.sigmoid(-2 * m).square(),
    slope=lambda m: -4 * torch.sigmoid(-2 * m).square() * torch.sigmoid(2 * m),
    link=lambda eta: torch.logit(eta) / 2,
    risk=lambda eta: eta * (1 - eta),
    transform=lambda theta: theta.square() / 4,
    is_convex=False, is_calibrated=True, is_symmetric=False, lipschitz=16 / 27, bound=1, scale=4,
)

unhinged = MarginLoss(
    name="unhinged",
    formula="1 - m",
    paper="B. van Rooyen, A. Menon, R. Williamson, Learning with symmetric label noise: the importance of being unhinged, 2015",
    value=lambda m: 1 - m,
    slope=lambda m: -torch.ones_like(m),
    link=_endless,
    risk=lambda eta: torch.where(eta == 0.5, 1.0, -INF).to(eta.dtype),  # no floor: with scores kept in [-B, B] it is 1 - B|2η - 1|, and ψ = Bθ
    transform=lambda theta: torch.where(theta == 0, 0.0, INF).to(theta.dtype),
    is_convex=True, is_calibrated=True, is_symmetric=True, lipschitz=1, bound=INF, scale=INF,
)

perceptron = MarginLoss(
    name="perceptron",
    formula="max(0, -m)",
    paper="F. Rosenblatt, The perceptron: a probabilistic model for information storage and organization in the brain, 1958",
    value=lambda m: torch.relu(-m),
    slope=lambda m: _minus_one(m < 0, m),
    link=torch.zeros_like,
    risk=torch.zeros_like,
    transform=torch.zeros_like,
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
