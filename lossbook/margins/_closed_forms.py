"""What a loss of the margin aims at: its minimiser and minimal risk at η = P(y = +1), and its ψ. Several losses share one of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

INF = math.inf

# --- minimisers ------------------------------------------------------------------------------------------------------------------------------------


def decide(eta: Tensor) -> Tensor:
    """+1 from η = 1/2 on, -1 below."""
    return torch.where(eta >= 0.5, 1.0, -1.0).to(eta.dtype)


def mean_sign(eta: Tensor) -> Tensor:
    """2η - 1, the mean of y."""
    return 2 * eta - 1


def likelier_sign(eta: Tensor) -> Tensor:
    """The sign of 2η - 1, with 0 at η = 1/2."""
    return torch.sign(mean_sign(eta))


def endless(eta: Tensor) -> Tensor:
    """±inf, with 0 at η = 1/2."""
    sign = likelier_sign(eta)
    return torch.where(sign == 0, sign, sign.detach() * INF)  # a step has the slope 0, which times inf would be NaN


# --- minimal risks ---------------------------------------------------------------------------------------------------------------------------------


def bayes_error(eta: Tensor) -> Tensor:
    """min(η, 1 - η): what the best decision at η still gets wrong."""
    return torch.minimum(eta, 1 - eta)


def variance(eta: Tensor) -> Tensor:
    """η (1 - η)."""
    return eta * (1 - eta)


def deviation(eta: Tensor) -> Tensor:
    """√(η (1 - η)) = √η √(1 - η), of which the second has its slopes, ±inf, at both ends."""
    return torch.sqrt(eta) * torch.sqrt(1 - eta)


def entropy(eta: Tensor) -> Tensor:
    """-η ln η - (1 - η) ln(1 - η)."""
    nats: Tensor = torch.special.entr(eta) + torch.special.entr(1 - eta)
    return nats


def no_floor(eta: Tensor) -> Tensor:
    """-inf, with 1 at η = 1/2: with scores kept in [-B, B] the unhinged risk is at least 1 - B|2η - 1|, and its ψ is Bθ."""
    return torch.where(eta == 0.5, 1.0, -INF).to(eta.dtype)


# --- ψ ---------------------------------------------------------------------------------------------------------------------------------------------


def itself(theta: Tensor) -> Tensor:
    """θ, in memory of its own."""
    return theta.clone()


def logistic_psi(theta: Tensor) -> Tensor:
    """ln 2 - H((1+θ)/2) = θ artanh θ + ln(1-θ²)/2: the second has its digits near 0, the first is finite at 1."""
    small = torch.where(theta < 0.5, theta, 0)
    return torch.where(theta < 0.5, small * torch.atanh(small) + torch.log1p(-small.square()) / 2, math.log(2) - entropy((1 + theta) / 2))


def exponential_psi(theta: Tensor) -> Tensor:
    """1 - √(1-θ²) = θ² / (1 + √(1-θ²)), the second with its digits near 0."""
    return theta.square() / (1 + torch.sqrt(1 - theta.square()))


def no_ceiling(theta: Tensor) -> Tensor:
    """inf, with 0 at 0."""
    return torch.where(theta == 0, 0.0, INF).to(theta.dtype)
