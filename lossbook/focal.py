"""Focal losses: cross-entropy that loses interest in what is already right, and its kin, for many labels or for the quality of a box.

Chapters: imbalance, localization.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from lossbook._core.checks import check_floating, check_number, check_range
from lossbook._core.classes import check_class_labels, class_axis, kept, weighted_by_class
from lossbook._core.door import full_precision, plain_arguments, widened
from lossbook._core.elements import present
from lossbook._core.focal import SETTLED, asymmetric_and_slope, focal_and_slope, plain_asymmetric, plain_focal, power, settled
from lossbook._core.onepass import OnePass, one_pass
from lossbook._core.reduction import Reduction, check_reduction, reduce
from lossbook._core.stable import bernoulli_costs

__all__ = ["asymmetric_loss", "quality_focal_loss", "recover_eta", "sigmoid_focal_loss", "softmax_focal_loss", "varifocal_loss"]


def _elements(
    logits: Tensor, targets: Tensor, name: str, ignore: Tensor | None, sample_weight: Tensor | None, reduction: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits, targets in their dtype, and the weight of each loss; what is ignored has weight 0."""
    logits, targets, weight = present(name, targets, logits, ignore=ignore, sample_weight=sample_weight)
    check_reduction(reduction)
    return logits, targets.to(logits.dtype), weight


def _reduced(loss: OnePass, logits: Tensor, targets: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return one_pass(loss, logits, targets, reduction)
    return reduce(one_pass(loss, logits, targets, "none"), reduction, weight=weight)


@full_precision
def sigmoid_focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    ignore: Tensor | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Binary focal loss: −α_t (1 − p_t)^γ ln p_t, where p_t is the probability given to what is true.

    Args:
        logits: any shape, real.
        targets: of the shape of `logits`, 0 or 1; values between are read as torchvision reads them, p_t = p t + (1 − p)(1 − t).
        gamma: γ >= 0; 0 is binary cross-entropy.
        alpha: weight in [0, 1] of targets 1; targets 0 weigh 1 − alpha. None weighs both 1.
        ignore: booleans of the shape of `logits`, True for what has no loss, no gradient, and is not counted, whatever its target; None ignores
            nothing.
        sample_weight: [N] along the first axis or of the shape of `logits`, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of the shape of `logits`, in nats.

    Raises:
        TypeError: logits that are not floating point, targets or weights that are not real, `ignore` that is not boolean.
        ValueError: another shape or device, targets outside [0, 1], γ < 0, α outside [0, 1], negative or infinite weights, an unknown reduction.

    Example:
        >>> sigmoid_focal_loss(torch.tensor([0.0, 2.1972]), torch.ones(2), reduction="none")  # p = 0.5, 0.9
        tensor([0.1733, 0.0011])

    Reference:
        T.-Y. Lin et al., Focal loss for dense object detection, 2017, equations 4 and 5.

    Conventions:
        The mean divides by the number of elements that are not ignored, and with `sample_weight` by their sum, Σ w l / Σ w; where all is
        ignored it is 0. RetinaNet sums and divides by the number of positive anchors. torchvision's default is alpha = 0.25, and its switch for
        none is alpha = -1. Not proper: the minimiser is not η, see `recover_eta`.
    """
    logits, targets, weight = _elements(logits, targets, "targets", ignore, sample_weight, reduction)
    check_number("gamma", gamma, low=0)
    if alpha is not None:
        check_number("alpha", alpha, low=0, high=1)
    plain, kernel = partial(plain_focal, gamma=gamma, alpha=alpha), partial(focal_and_slope, gamma=gamma, alpha=alpha)
    return _reduced(OnePass(plain, kernel), logits, targets, weight, reduction)


@full_precision
def softmax_focal_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    gamma: float = 2.0,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Focal loss over K classes: −w_y (1 − p_y)^γ ln p_y with p = softmax(logits).

    Args:
        logits: [K], [N, K] or [N, K, ...], real.
        labels: class ids of shape [], [N] or [N, ...].
        gamma: γ >= 0; 0 is cross-entropy.
        weight: [K], one weight w_y a class; None is 1 everywhere.
        ignore_index: the label of what has no loss, no gradient, and is not counted; it may lie outside [0, K). None ignores nothing.
        sample_weight: [N] or of the shape of the losses, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of shape [], [N] or [N, ...], in nats.

    Raises:
        TypeError: logits that are not floating point, labels or an `ignore_index` that are not integer, weights that are not real.
        ValueError: another shape, labels out of range, γ < 0, negative or infinite sample weights, an unknown reduction.

    Example:
        >>> softmax_focal_loss(torch.tensor([0.9, 0.1]).log(), torch.tensor(0))
        tensor(0.0011)

    Reference:
        T.-Y. Lin et al., Focal loss for dense object detection, 2017, equation 4, with p_t the softmax probability.

    Conventions:
        The mean divides by the number of labels that are not ignored, also under `weight`, as `crossentropy.cross_entropy` does, and with
        `sample_weight` by their sum, Σ w l / Σ w; `sample_weight=weight[labels]` gives the mean over the class weights met. Where all is
        ignored it is 0. Some code divides by N K. Not K sigmoid focal losses summed: there the classes do not compete.
    """
    check_class_labels("labels", labels, logits, ignore_index=ignore_index)
    check_number("gamma", gamma, low=0)
    check_reduction(reduction)
    axis = class_axis("logits", logits)
    seen = kept(logits, labels, ignore_index, sample_weight)
    log_probs = seen.logits.log_softmax(axis).gather(axis, seen.labels.unsqueeze(axis)).squeeze(axis)
    near = log_probs.clamp(min=-SETTLED)  # 1 − p = −expm1(ln p) keeps its digits near p = 1; it is 1 from here on, and has no slope
    logs = torch.where(log_probs < -SETTLED, log_probs, power(-torch.expm1(near), gamma) * near)
    return reduce(weighted_by_class(-logs, weight, seen), reduction, weight=seen.weight)


@full_precision
def quality_focal_loss(
    logits: Tensor,
    quality: Tensor,
    *,
    beta: float = 2.0,
    ignore: Tensor | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Quality focal loss: |y − σ|^β · BCE(σ, y), whose target y is the quality of a box (its IoU) and not 0 or 1.

    Args:
        logits: any shape, real.
        quality: of the shape of `logits`, in [0, 1]: the IoU at the true class, 0 elsewhere.
        beta: β >= 0; 0 is binary cross-entropy with soft targets.
        ignore: booleans of the shape of `logits`, True for what has no loss, no gradient, and is not counted, whatever its quality; None ignores
            nothing.
        sample_weight: [N] along the first axis or of the shape of `logits`, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of the shape of `logits`, in nats; 0 exactly where σ = y.

    Raises:
        TypeError: logits that are not floating point, quality or weights that are not real, `ignore` that is not boolean.
        ValueError: another shape or device, quality outside [0, 1], β < 0, negative or infinite weights, an unknown reduction.

    Example:
        >>> quality_focal_loss(torch.tensor([0.0, 2.1972]), torch.tensor([0.5, 0.5]), reduction="none")  # σ = 0.5, 0.9
        tensor([0.0000, 0.1926])

    Reference:
        X. Li et al., Generalized focal loss, 2020, equation 2.

    Conventions:
        The mean divides by the number of elements that are not ignored, and with `sample_weight` by their sum, Σ w l / Σ w; where all is
        ignored it is 0. mmdetection divides the sum by the number of positives. If the quality is random given the image, the minimiser is not
        its mean.
    """
    logits, quality, weight = _elements(logits, quality, "quality", ignore, sample_weight, reduction)
    check_range("quality", quality, 0.0, 1.0)
    check_number("beta", beta, low=0)
    miss = logits.sigmoid() * (1 - quality) - (-logits).sigmoid() * quality  # σ − y, exact at both ends
    return reduce(settled(power(miss.abs(), beta), logits) * bernoulli_costs(logits, quality), reduction, weight=weight)


@full_precision
def varifocal_loss(
    logits: Tensor,
    quality: Tensor,
    *,
    alpha: float = 0.75,
    gamma: float = 2.0,
    ignore: Tensor | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Varifocal loss: y · BCE(σ, y) where the quality y is positive, −α σ^γ ln(1 − σ) where it is 0: only negatives are played down.

    Args:
        logits: any shape, real.
        quality: of the shape of `logits`, in [0, 1]: the IoU at the true class, 0 elsewhere.
        alpha: weight of the negatives, >= 0.
        gamma: γ >= 0, for the negatives.
        ignore: booleans of the shape of `logits`, True for what has no loss, no gradient, and is not counted, whatever its quality; None ignores
            nothing.
        sample_weight: [N] along the first axis or of the shape of `logits`, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of the shape of `logits`, in nats.

    Raises:
        TypeError: logits that are not floating point, quality or weights that are not real, `ignore` that is not boolean.
        ValueError: another shape or device, quality outside [0, 1], α < 0, γ < 0, negative or infinite weights, an unknown reduction.

    Example:
        >>> varifocal_loss(torch.tensor([0.0, 0.0]), torch.tensor([0.5, 0.0]), reduction="none")
        tensor([0.3466, 0.1300])

    Reference:
        H. Zhang et al., VarifocalNet, 2021, equation 2.

    Conventions:
        The mean divides by the number of elements that are not ignored, and with `sample_weight` by their sum, Σ w l / Σ w; where all is
        ignored it is 0. mmdetection divides the sum by the number of positives. If the quality is random given the image, the minimiser is
        E[y²] / E[y], above the mean.
    """
    logits, quality, weight = _elements(logits, quality, "quality", ignore, sample_weight, reduction)
    check_range("quality", quality, 0.0, 1.0)
    check_number("alpha", alpha, low=0)
    check_number("gamma", gamma, low=0)
    negative = alpha * settled(power(logits.sigmoid(), gamma), logits)
    return reduce(torch.where(quality > 0, quality, negative) * bernoulli_costs(logits, quality), reduction, weight=weight)


@full_precision
def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_negative: float = 4.0,
    gamma_positive: float = 1.0,
    clip: float = 0.05,
    ignore: Tensor | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Asymmetric loss, for many labels at once: −t (1 − p)^γ₊ ln p − (1 − t) pₘ^γ₋ ln(1 − pₘ), with p = σ(logits) and pₘ = max(p − m, 0).

    Of many labels most are absent, and easily so. Negatives are played down by a power of their own, and cost nothing at all once p ≤ m.

    Args:
        logits: any shape, real, such as [N, K] for K labels that do not exclude each other; ±∞ is legal.
        targets: of the shape of `logits`, 0 or 1; between 0 and 1 the loss is linear in the target.
        gamma_negative: γ₋ >= 0, for targets 0.
        gamma_positive: γ₊ >= 0, for targets 1.
        clip: m in [0, 1], the probability up to which a negative is right enough; 0 forgives none.
        ignore: booleans of the shape of `logits`, True for what has no loss, no gradient, and is not counted, whatever its target; None ignores
            nothing.
        sample_weight: [N] along the first axis or of the shape of `logits`, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of the shape of `logits`, in nats; a negative costs at most −ln m.

    Raises:
        TypeError: logits that are not floating point, targets or weights that are not real, `ignore` that is not boolean.
        ValueError: another shape or device, targets outside [0, 1], γ₋ < 0, γ₊ < 0, m outside [0, 1], negative or infinite weights, an unknown
            reduction.

    Example:
        >>> logits = torch.tensor([0.0, 0.0, -3.0])  # p = 0.5, 0.5, and 0.047, below the clip
        >>> asymmetric_loss(logits, torch.tensor([1, 0, 0]), reduction="none")
        tensor([0.3466, 0.0245, 0.0000])

    Reference:
        T. Ridnik et al., Asymmetric loss for multi-label classification, 2021, sections 2.2 to 2.4.

    Conventions:
        The paper's formula in value and gradient. The mean divides by the number of elements that are not ignored, and with `sample_weight` by
        their sum, Σ w l / Σ w; where all is ignored it is 0. The authors' code sums; it puts at least 1e-8 into the logarithms, so that a
        positive below p = 1e-8 has no gradient, which here it has; and it can hold the powers constant in the gradient
        (`disable_torch_grad_focal_loss`). For targets 0 and 1, γ₊ = γ₋ and m = 0 it is `sigmoid_focal_loss`; with both γ
        and m = 0, whatever the targets, `crossentropy.binary_cross_entropy`. Not proper.
    """
    logits, targets, weight = _elements(logits, targets, "targets", ignore, sample_weight, reduction)
    check_range("targets", targets, 0.0, 1.0)
    check_number("gamma_negative", gamma_negative, low=0)
    check_number("gamma_positive", gamma_positive, low=0)
    check_number("clip", clip, low=0, high=1)
    plain = partial(plain_asymmetric, gamma_negative=gamma_negative, gamma_positive=gamma_positive, clip=clip)
    kernel = partial(asymmetric_and_slope, gamma_negative=gamma_negative, gamma_positive=gamma_positive, clip=clip)
    return _reduced(OnePass(plain, kernel), logits, targets, weight, reduction)


@plain_arguments
def recover_eta(probs: Tensor, *, gamma: float = 2.0) -> Tensor:
    r"""P(y = 1 | x) from the probability that a focal-trained model gives: the inverse of the focal loss's minimiser.

    At the minimiser q of η φ(q) + (1 − η) φ(1 − q), with φ(q) = −(1 − q)^γ ln q, the derivative is 0, so η = φ′(1 − q) / (φ′(q) + φ′(1 − q)).

    Args:
        probs: any shape, the sigmoid of a focal-trained logit, in [0, 1].
        gamma: the γ it was trained with; 0 changes nothing.

    Returns:
        η, of the shape of `probs`.

    Raises:
        TypeError: probs that are not floating point.
        ValueError: probs outside [0, 1], γ < 0.

    Example:
        >>> recover_eta(torch.tensor([0.5, 0.6942]))
        tensor([0.5000, 0.9000])

    Reference:
        N. Charoenphakdee et al., On focal loss for class-posterior probability estimation, 2021, for two classes.

    Conventions:
        For a loss without alpha.
    """
    check_floating("probs", probs)
    check_range("probs", probs, 0.0, 1.0)
    check_number("gamma", gamma, low=0)
    wide: Tensor = widened(probs)
    q = wide.clamp(torch.finfo(wide.dtype).tiny, 1 - torch.finfo(wide.dtype).eps / 2)
    rest = 1 - q
    # η = σ(ln φ′(1 − q) − ln φ′(q)), with −φ′(q) q (1 − q) = (1 − q)^γ (1 − q − γ q ln q): no power of a small number, however large γ
    odds = gamma * (q.log() - torch.log1p(-q)) + (q - gamma * rest * torch.log1p(-q)).log() - (rest - gamma * q * q.log()).log()
    return odds.sigmoid().to(probs.dtype)
