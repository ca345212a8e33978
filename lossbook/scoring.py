"""Losses built from an entropy: Savage's proper scoring rules, the spherical score, and sparsemax as a Fenchel-Young loss.

A concave entropy H(p) says how unsure a distribution is; its tangents are a loss that no forecaster beats by saying anything but p.
Chapter: probability.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lossbook._core.checks import check_callable, check_floating, check_range, check_same_shape
from lossbook._core.classes import check_class_labels, class_axis, kept, weighted_by_class
from lossbook._core.door import full_precision, plain_arguments, widened
from lossbook._core.reduction import Reduction, check_reduction, reduce

__all__ = ["savage_loss", "sparsemax", "sparsemax_loss", "spherical_loss"]


@full_precision
def savage_loss(entropy: Callable[[Tensor], Tensor], probs: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""The proper loss of an entropy: ℓ(t, q) = H(q) + (t − q) H′(q), the tangent of H at q read off at the outcome t.

    Args:
        entropy: H, a concave function of q = P(label 1) on [0, 1], element by element and differentiable by torch.
        probs: q, any shape, in [0, 1].
        targets: of the shape of `probs`, in [0, 1]; between 0 and 1 it is the mean of the losses at 1 and at 0.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of the shape of `probs`. Its expected value is smallest at q = P(label 1).

    Raises:
        TypeError: an entropy that is not callable or gives no tensor, probabilities that are not floating point, targets that are not real.
        ValueError: another shape, also of what the entropy gives, values outside [0, 1], an unknown reduction.

    Example:
        >>> brier = savage_loss(lambda q: q * (1 - q), torch.tensor([0.7, 0.7]), torch.tensor([1.0, 0.0]), reduction="none")
        >>> brier  # (t − q)²
        tensor([0.0900, 0.4900])

    Reference:
        L. J. Savage, Elicitation of personal probabilities and expectations, 1971, section 4.

    Conventions:
        A loss, to be minimised; Savage writes a score with a convex G = −H, to be maximised.
    """
    check_callable("entropy", entropy)
    check_floating("probs", probs)
    check_same_shape("targets", targets, "probs", probs)
    check_range("probs", probs, 0.0, 1.0)
    check_range("targets", targets, 0.0, 1.0)
    check_reduction(reduction)
    targets = targets.to(probs.dtype)
    height, pull_back = torch.func.vjp(entropy, probs)[:2]
    check_same_shape("entropy(probs)", height, "probs", probs)
    (slope,) = pull_back(torch.ones_like(probs))
    # Where the entropy is infinitely steep, as at 0 and 1, the outcome that was sure is still on its tangent: 0 · ∞ is 0.
    slope = torch.where((targets == probs) & slope.isinf(), 0.0, slope)
    return reduce(height + (targets - probs) * slope, reduction)


@full_precision
def spherical_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Spherical loss: 1 − p_y / ‖p‖₂, proper and bounded: 1 − the cosine between the forecast and the outcome.

    Args:
        logits: [K], [N, K] or [N, K, ...], real.
        labels: class ids of shape [], [N] or [N, ...].
        weight: [K], one weight w_y a class; None is 1 everywhere.
        ignore_index: the label of what has no loss, no gradient, and is not counted; it may lie outside [0, K). None ignores nothing.
        sample_weight: [N] or of the shape of the losses, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of shape [], [N] or [N, ...], in [0, 1] times the weights.

    Raises:
        TypeError: logits that are not floating point, labels or an `ignore_index` that are not integer, weights that are not real.
        ValueError: another shape, class ids out of range, negative or infinite sample weights, an unknown reduction.

    Example:
        >>> spherical_loss(torch.tensor([0.6, 0.8]).log(), torch.tensor(0))
        tensor(0.4000)

    Reference:
        T. Gneiting and A. E. Raftery, Strictly proper scoring rules, prediction, and estimation, 2007, section 3.

    Conventions:
        One minus the score, so that smaller is better and 0 is perfect. The mean divides by the number of losses that are not ignored, also
        under `weight`, and with `sample_weight` by their sum, Σ w l / Σ w; `sample_weight=weight[labels]` gives the mean over the class weights
        met. Where all is ignored it is 0.
    """
    axis = class_axis("logits", logits)
    check_class_labels("labels", labels, logits, ignore_index=ignore_index)
    check_reduction(reduction)
    seen = kept(logits, labels, ignore_index, sample_weight)
    shifted = seen.logits - _highest(seen.logits, axis)  # twice the largest logit is finite
    chosen = shifted.gather(axis, seen.labels.unsqueeze(axis)).squeeze(axis)
    # The softmax's denominator cancels: ln(p_y / ‖p‖) = z_y − ½ ln Σ e^(2z).
    losses = -torch.expm1(chosen - 0.5 * (2 * shifted).logsumexp(axis))
    return reduce(weighted_by_class(losses, weight, seen), reduction, weight=seen.weight)


@plain_arguments
def sparsemax(logits: Tensor) -> Tensor:
    r"""Sparsemax: the point of the probability simplex nearest to the logits, argmin over p of ‖p − z‖₂. Many of its entries are 0.

    Args:
        logits: [K], [N, K] or [N, K, ...], real.

    Returns:
        Probabilities of the shape of `logits`: max(z − τ, 0), with the threshold τ that makes them sum to 1.

    Raises:
        TypeError: logits that are not floating point.
        ValueError: no class axis, or no class on it.

    Example:
        >>> sparsemax(torch.tensor([1.0, 0.5, -1.0]))
        tensor([0.7500, 0.2500, 0.0000])

    Reference:
        A. F. T. Martins and R. F. Astudillo, From softmax to sparsemax, 2016, algorithm 1.
    """
    axis = class_axis("logits", logits)
    centred = _centred(widened(logits), axis)
    ordered = centred.sort(axis, descending=True).values.movedim(axis, -1)
    ranks = torch.arange(1, logits.shape[axis] + 1, device=logits.device)
    sums = ordered.cumsum(-1)
    support = (1 + ranks * ordered > sums).sum(-1, keepdim=True).clamp(min=1)  # at least 1, but for NaN
    threshold = (sums.gather(-1, support - 1) - 1) / support
    return (centred - threshold.movedim(-1, axis)).relu().to(logits.dtype)  # not clamp(min=0), whose slope at 0 is 1


@full_precision
def sparsemax_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Sparsemax loss: Ω*(z) + Ω(e_y) − z_y with Ω = ½‖·‖², the Fenchel-Young loss of the squared norm. Zero once z_y leads by 1.

    Args:
        logits: [K], [N, K] or [N, K, ...], real.
        labels: class ids of shape [], [N] or [N, ...].
        weight: [K], one weight w_y a class; None is 1 everywhere.
        ignore_index: the label of what has no loss, no gradient, and is not counted; it may lie outside [0, K). None ignores nothing.
        sample_weight: [N] or of the shape of the losses, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of shape [], [N] or [N, ...]. Convex; the gradient is sparsemax(z) − e_y.

    Raises:
        TypeError: logits that are not floating point, labels or an `ignore_index` that are not integer, weights that are not real.
        ValueError: another shape, class ids out of range, negative or infinite sample weights, an unknown reduction.

    Example:
        >>> sparsemax_loss(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 0]), reduction="none")
        tensor([0.2500, 0.0000])

    Reference:
        A. F. T. Martins and R. F. Astudillo, From softmax to sparsemax, 2016, equation 14. M. Blondel, A. F. T. Martins and V. Niculae,
        Learning with Fenchel-Young losses, 2020, definition 2.

    Conventions:
        With Ω = Σ p ln p the same recipe gives cross-entropy. The factor ½ is the paper's; for two classes the loss is (1 − gap)² / 4 on [−1, 1].
        The mean divides by the number of losses that are not ignored, also under `weight`, and with `sample_weight` by their sum, Σ w l / Σ w;
        `sample_weight=weight[labels]` gives the mean over the class weights met. Where all is ignored it is 0.
    """
    axis = class_axis("logits", logits)
    check_class_labels("labels", labels, logits, ignore_index=ignore_index)
    check_reduction(reduction)
    seen = kept(logits, labels, ignore_index, sample_weight)
    probs, centred = sparsemax(seen.logits), _centred(seen.logits, axis)
    # Ω*(z) = ⟨p, z⟩ − ½‖p‖² at p = sparsemax(z); z_y itself is not clamped.
    conjugate = (probs * centred - 0.5 * probs.square()).sum(axis)
    chosen = (seen.logits - _highest(seen.logits, axis)).gather(axis, seen.labels.unsqueeze(axis)).squeeze(axis)
    return reduce(weighted_by_class(conjugate + 0.5 - chosen, weight, seen), reduction, weight=seen.weight)


def _highest(logits: Tensor, axis: int) -> Tensor:
    return logits.detach().amax(axis, keepdim=True)  # nothing here changes when all logits move together, so the shift needs no gradient


def _centred(logits: Tensor, axis: int) -> Tensor:
    # The threshold lies in [max − 1, max): what is lower than that has probability 0 and may be clamped there, so nothing overflows.
    return (logits - _highest(logits, axis)).clamp(min=-1)
