"""The binary focal loss and the asymmetric one, element by element: the plain formula, and value and slope in one go."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook._core.checks import check_range
from lossbook._core.stable import bernoulli_costs, log_sigmoid, logaddexp, times_log

SETTLED = 1000.0  # e^-1000 is 0 in every dtype


def floor(values: Tensor) -> Tensor:
    """At least the root of the smallest normal number, so that any power above −2, and its derivative, is finite."""
    return values.clamp_min(torch.finfo(values.dtype).tiny ** 0.5)


def power(base: Tensor, exponent: float) -> Tensor:
    """base^exponent for a base in [0, 1], with a derivative that is finite at 0 also for an exponent below 1: there it is 0."""
    return torch.where(base > torch.finfo(base.dtype).tiny ** 0.5, floor(base) ** exponent, 1.0 if exponent == 0 else 0.0)


def settled(weights: Tensor, logits: Tensor) -> Tensor:
    """The same weights, constant where the logit is so large that they are at their limit.

    Their slope is 0 there, and would be multiplied by costs and γ: near the dtype's end that is 0 · ∞.
    """
    return torch.where(logits.abs() < SETTLED, weights, weights.detach())


def surprise(logits: Tensor, targets: Tensor) -> Tensor:
    """1 − p_t = p (1 − t) + (1 − p) t, with 1 − p = σ(−s): no digits are lost where the answer is sure."""
    return logits.sigmoid() * (1 - targets) + (-logits).sigmoid() * targets


def surprise_and_costs(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """1 − p_t and −ln p_t from one exponential e = e^−|s|: σ(|s|) = 1 / (1 + e), σ(−|s|) = e / (1 + e), ln(1 + e^|s|) = |s| + ln(1 + e).

    As `surprise` and `bernoulli_costs`, and under a compiler twice as fast as these.
    """
    ahead = logits >= 0
    exponential = torch.where(ahead, -logits, logits).exp()
    near = 1 / (1 + exponential)
    far = exponential * near
    unlikely = torch.where(ahead, near, far) * (1 - targets) + torch.where(ahead, far, near) * targets
    wrong = torch.where(ahead, 1 - targets, -targets)
    free = (wrong == 0) & (logits.abs() == torch.inf)  # a sure and right answer, where wrong · s is 0 · ∞; a compiler can't vectorize `isinf`
    return unlikely, torch.where(free, 0.0, wrong * logits) + exponential.log1p()


def plain_focal(logits: Tensor, targets: Tensor, *, gamma: float, alpha: float | None) -> Tensor:
    check_range("targets", targets, 0.0, 1.0)
    unlikely, costs = surprise_and_costs(logits, targets)
    losses = settled(power(unlikely, gamma), logits) * costs
    return losses if alpha is None else (alpha * targets + (1 - alpha) * (1 - targets)) * losses


def focal_and_slope(logits: Tensor, targets: Tensor, scale: float, *, gamma: float, alpha: float | None) -> tuple[Tensor, Tensor]:
    """Losses and slopes for targets that are all 0 or 1; others, and targets that may not be read, go to `_soft_focal_and_slope`.

    With the sign y = 1 − 2t and z = y s:  1 − p_t = q = σ(z),  −ln p_t = c = ln(1 + e^z),  d (q^γ c) / ds = y q^γ (q + γ (1 − q) c).
    """
    if targets.device.type != "cpu":
        return _soft_focal_and_slope(logits, targets, scale, gamma=gamma, alpha=alpha)
    low, high = torch.addcmul(targets, targets, targets, value=-1).aminmax()  # t − t²: 0 at 0 and 1, positive between, negative outside
    if not float(low) == float(high) == 0:
        check_range("targets", targets, 0.0, 1.0)
        return _soft_focal_and_slope(logits, targets, scale, gamma=gamma, alpha=alpha)
    signs = torch.rsub(targets, 1.0, alpha=2.0)
    signed = logits * signs
    costs = F.softplus(signed, threshold=40.0)  # e^40 is far from overflow and ln(1 + e^40) is 40 in float64
    unlikely = signed.sigmoid_()
    weights = unlikely * unlikely if gamma == 2 else unlikely**gamma
    weights.mul_(signs * scale if alpha is None else torch.rsub(targets, scale * (1 - alpha), alpha=scale))  # y α_t = (1 − α) − t
    slopes = torch.addcmul(unlikely, torch.rsub(unlikely, 1.0), costs, value=gamma).mul_(weights)
    return weights.mul_(signs).mul_(costs), slopes


def _soft_focal_and_slope(logits: Tensor, targets: Tensor, scale: float, *, gamma: float, alpha: float | None) -> tuple[Tensor, Tensor]:
    """As `focal_and_slope` for targets in [0, 1]: d q^γ / ds = γ q^γ (p (1 − p) (1 − 2t) / q)."""
    probs, unlikely, costs = logits.sigmoid(), surprise(logits, targets), bernoulli_costs(logits, targets)
    drift = probs * (-logits).sigmoid() * (1 - 2 * targets) / floor(unlikely)
    weights = unlikely**gamma * (scale if alpha is None else scale * (alpha * targets + (1 - alpha) * (1 - targets)))
    return weights * costs, weights * (probs - targets + gamma * (costs * drift))


def plain_asymmetric(logits: Tensor, targets: Tensor, *, gamma_negative: float, gamma_positive: float, clip: float) -> Tensor:
    """−t (1 − p)^γ₊ ln p − (1 − t) r^γ₋ ln(1 − r) with r = (p − m)₊."""
    miss, absent = (-logits).sigmoid(), log_sigmoid(-logits)
    shifted = torch.relu(torch.where(logits > 0, 1 - miss, logits.sigmoid()) - clip)  # p from the side on which its slope p (1 − p) keeps its digits
    if clip > 0:  # 1 − r = 1 − p + m keeps its digits where p is near 1, and its logarithm however small m is
        absent = logaddexp(absent, torch.full_like(absent, math.log(clip)))
    absent = torch.where(shifted < 0.5, torch.log1p(-shifted.clamp(max=0.5)), absent)
    negative = settled(power(shifted, gamma_negative), logits) * absent
    positive = settled(power(miss, gamma_positive), logits) * log_sigmoid(logits)
    return -times_log(targets, positive) - times_log(1 - targets, negative)


def asymmetric_and_slope(
    logits: Tensor, targets: Tensor, scale: float, *, gamma_negative: float, gamma_positive: float, clip: float
) -> tuple[Tensor, Tensor]:
    """With q = 1 − p and the costs c₊ = −ln p and c₋ = −ln(1 − r) the slope is, where r > 0 or else without its second part,
    −t q^γ₊ (q + γ₊ p c₊) + (1 − t) r^γ₋ p (γ₋ q c₋ / r + q / (1 − r))."""
    if logits.device.type != "cpu" or 0 < clip < 1e-30 or not math.isfinite(logits.sum()):  # an m that float32 may not hold, or a logit
        plain = partial(plain_asymmetric, gamma_negative=gamma_negative, gamma_positive=gamma_positive, clip=clip)
        return _taped(plain, logits, targets, scale)
    probs, miss = logits.sigmoid(), (-logits).sigmoid()
    costs = F.softplus(-logits, threshold=40.0)
    weights = (targets * scale).mul_(miss**gamma_positive)
    losses = weights * costs
    slopes = torch.addcmul(miss, probs, costs, value=gamma_positive).mul_(weights)
    shifted = (probs - clip).relu_()
    if clip == 0:
        costs, ratios = F.softplus(logits, threshold=40.0), torch.ones_like(miss)
    else:
        rest = miss + clip
        costs, ratios = torch.where(shifted < 0.5, torch.log1p(-shifted), rest.log()).neg_(), miss / rest
    weights = torch.rsub(targets, scale, alpha=scale).mul_(shifted**gamma_negative)
    weights = weights.masked_fill_(shifted == 0, 0.0) if gamma_negative == 0 else weights
    ratios.addcdiv_(miss.mul_(costs), floor(shifted), value=gamma_negative)
    return losses.addcmul_(weights, costs), probs.mul_(weights).mul_(ratios).sub_(slopes)


def _taped(plain: Callable[[Tensor, Tensor], Tensor], logits: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Losses and slopes by autograd."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = logits.clone().requires_grad_()
        losses = scale * plain(leaf, targets.clone())
        return losses.detach(), torch.autograd.grad(losses.sum(), leaf)[0]
