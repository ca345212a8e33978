"""The one place of stable primitives: each with the identity that makes it safe at both ends."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook._core.checks import values_readable


def log1pexp(x: Tensor) -> Tensor:
    """ln(1 + e^x) = -ln(sigmoid(-x)), without overflow: max(x, 0) + log1p(e^-|x|)."""
    return -F.logsigmoid(-x)


def log_sigmoid(x: Tensor) -> Tensor:
    """ln(sigmoid(x)) = min(x, 0) - log1p(e^-|x|)."""
    return F.logsigmoid(x)


def logaddexp(a: Tensor, b: Tensor) -> Tensor:
    """ln(e^a + e^b) = a - ln(sigmoid(a - b)), from the larger one. The second derivative of torch's own is NaN where e^|a - b| overflows."""
    return torch.where(a > b, a - F.logsigmoid(a - b), b - F.logsigmoid(b - a))


def times_log(probs: Tensor, logs: Tensor) -> Tensor:
    """p · ln q with 0 · (-∞) = 0, in value and gradient: an outcome that never happens costs nothing, however improbable the model holds it."""
    return probs * torch.where((probs == 0) & logs.isneginf(), 0.0, logs)


def left_out(logits: Tensor, gone: Tensor) -> Tensor:
    """`logits` with 0 where they are `gone` from the losses, so that no NaN comes from there, in value or gradient.

    Where all are finite they stay as they are: their loss is multiplied by 0, and its gradient with it. A copy would take longer than the loss.
    """
    if values_readable(logits) and math.isfinite(logits.detach().sum()):
        return logits
    return logits.masked_fill(gone, 0.0)


def bernoulli_costs(logits: Tensor, targets: Tensor) -> Tensor:
    """-t ln(sigmoid(s)) - (1 - t) ln(sigmoid(-s)), torch's binary cross-entropy; at an infinite logit, where that is 0 · ∞, it is 0 if the target is
    that very side, and ∞ otherwise."""
    costs = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if values_readable(costs) and math.isfinite(costs.detach().sum()):
        return costs
    endless = logits.isinf()
    return costs.masked_fill(endless, torch.inf).masked_fill(endless & (targets == (logits > 0)), 0.0)
