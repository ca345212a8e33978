"""Cross-entropy and its relatives: what a model pays, in nats, for the probability it gave to what happened.

The class axis, everywhere in this module, is torch's: axis 0 of one distribution [K], axis 1 of a batch [N, K] or [N, K, ...].
Chapters: probability, label-smoothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook._core.checks import (
    check_distribution,
    check_finite,
    check_floating,
    check_number,
    check_range,
    check_real,
    check_same_device,
    check_same_shape,
    check_values,
    wrong_value,
)
from lossbook._core.classes import NO_LABEL, check_class_labels, check_class_targets, class_axis, kept, one_hot, per_class
from lossbook._core.door import full_precision, plain_arguments, widened
from lossbook._core.elements import present
from lossbook._core.reduction import Reduction, check_reduction, reduce
from lossbook._core.stable import bernoulli_costs, log_sigmoid, times_log

__all__ = ["adjust_logits", "binary_cross_entropy", "cross_entropy", "generalized_cross_entropy", "kl_divergence"]


@full_precision
def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    label_smoothing: float = 0.0,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Softmax cross-entropy: −Σₖ wₖ t̃ₖ ln qₖ with q = softmax(logits) and t̃ = (1−ε) t + ε/K.

    Args:
        logits: [K], [N, K] or [N, K, ...], real; −∞ is legal and stands for probability 0.
        targets: class ids of shape [], [N] or [N, ...] (integer), or probabilities of the shape of `logits` (floating point).
        label_smoothing: ε in [0, 1), the share of every target that is spread evenly over all K classes, the true one included.
        weight: [K], one weight a class; None is 1 everywhere.
        ignore_index: the class id of what has no loss, no gradient, and is not counted; it may lie outside [0, K). None ignores nothing.
        sample_weight: [N] or of the shape of the losses, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of shape [], [N] or [N, ...], in nats.

    Raises:
        TypeError: logits that are not floating point, targets that are neither class ids nor probabilities, weights that are not real, an
            `ignore_index` that is no integer.
        ValueError: another shape or device, class ids out of range, targets that are no distribution, an `ignore_index` beside probabilities,
            ε outside [0, 1), negative or infinite sample weights, an unknown reduction.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [9.0, 0.0]])
        >>> cross_entropy(logits, torch.tensor([0, 0, 255]), ignore_index=255, reduction="none")
        tensor([0.1269, 2.1269, 0.0000])

    Reference:
        I. J. Good, Rational decisions, 1952, section 4. Smoothing: C. Szegedy et al., Rethinking the Inception architecture, 2016, section 7.

    Conventions:
        Natural logarithm; log₂ is this over ln 2. The mean divides by the number of losses that are not ignored, also under `weight`, and with
        `sample_weight` by their sum, Σ w l / Σ w, as scikit-learn does. torch divides by the sum of the class weights met, so that there a
        batch's mean depends on which classes it holds: for that mean pass `sample_weight=weight[labels]` in place of `weight`, with any weight
        where the label is ignored (under smoothing, where classes weigh inside the sum, divide the sum yourself). Where all is ignored the mean
        is 0, and torch's NaN. ε/K on every class, as in torch: a target of 0.9 for K = 2 is ε = 0.2. Some papers put ε/(K−1) on the wrong
        classes only. A term 0 · ln 0 is 0.
    """
    axis = class_axis("logits", logits)
    check_class_targets("targets", targets, logits, ignore_index=ignore_index)
    check_number("label_smoothing", label_smoothing, low=0, high=1, high_open=True)
    check_reduction(reduction)
    logits, targets, counts = kept(logits, targets, ignore_index, sample_weight)
    soft = targets.dtype.is_floating_point
    if weight is None and label_smoothing == 0 and not soft:
        return reduce(F.cross_entropy(logits, targets, ignore_index=NO_LABEL, reduction="none"), reduction, weight=counts)
    probs = targets.to(logits.dtype) if soft else one_hot(targets, logits)
    smoothed = (1 - label_smoothing) * probs + label_smoothing / logits.shape[axis]
    weighted = smoothed if weight is None else smoothed * per_class("weight", weight, logits)
    return reduce(-times_log(weighted, logits.log_softmax(axis)).sum(axis), reduction, weight=counts)


@full_precision
def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    label_smoothing: float = 0.0,
    pos_weight: Tensor | None = None,
    weight: Tensor | None = None,
    ignore: Tensor | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Binary cross-entropy: −w [w₊ t̃ ln σ(s) + (1−t̃) ln σ(−s)] with t̃ = (1−ε) t + ε/2.

    For a target of 0 or 1, no smoothing and no weights it is ln(1 + e^−m) of the margin m = (2t−1) s: the logistic loss.

    Args:
        logits: any shape, real; ±∞ is legal and stands for probability 0 or 1.
        targets: of the shape of `logits`, in [0, 1]; integers and booleans are 0 and 1.
        label_smoothing: ε in [0, 1), as in `cross_entropy` with K = 2; the smoothed target is what `pos_weight` meets.
        pos_weight: w₊ >= 0, finite: one number [], one a label [K] along the last axis, or of the shape of `logits`; None is 1 everywhere.
        weight: w, one number [], one a label [K] along the last axis, or of the shape of `logits`; None is 1 everywhere.
        ignore: booleans of the shape of `logits`, True for what has no loss, no gradient, and is not counted, whatever its target; None ignores
            nothing.
        sample_weight: [N] along the first axis or of the shape of `logits`, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of the shape of `logits`, in nats.

    Raises:
        TypeError: logits that are not floating point, targets or weights that are not real, `ignore` that is not boolean.
        ValueError: another shape or device, targets outside [0, 1] (signs −1, +1 are no targets), ε outside [0, 1), negative or infinite
            `pos_weight` or `sample_weight`, an unknown reduction.

    Example:
        >>> binary_cross_entropy(torch.tensor([0.0, 30.0]), torch.tensor([1.0, 0.0]), reduction="none")
        tensor([ 0.6931, 30.0000])
        >>> many = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> binary_cross_entropy(torch.zeros(2, 2), many, pos_weight=torch.tensor([3.0, 1.0]), reduction="none")  # 3 ln 2 for the rare label
        tensor([[2.0794, 0.6931],
                [0.6931, 0.6931]])

    Reference:
        D. R. Cox, The regression analysis of binary sequences, 1958, section 2.

    Conventions:
        Natural logarithm. The mean divides by the number of elements that are not ignored, also under `weight` and `pos_weight`, as torch's
        does, and with `sample_weight` by their sum, Σ w l / Σ w, as scikit-learn's. Where all is ignored it is 0. `pos_weight` and `weight` are
        torch's, laid along the last axis as it broadcasts them; torch takes a `pos_weight` of any shape that fits, as [K, 1, 1] for images:
        here that is `.expand(logits.shape)`. For signs call it on `(signs + 1) / 2`, or use `margins.logistic` on the margins.
    """
    logits, targets, counts = present("targets", targets, logits, ignore=ignore, sample_weight=sample_weight)
    check_range("targets", targets, 0.0, 1.0)
    check_number("label_smoothing", label_smoothing, low=0, high=1, high_open=True)
    check_reduction(reduction)
    probs = targets.to(logits.dtype)
    smoothed = (1 - label_smoothing) * probs + label_smoothing / 2 if label_smoothing else probs
    if pos_weight is None:
        losses = bernoulli_costs(logits, smoothed)
    else:
        check_range("pos_weight", pos_weight, 0.0, float("inf"))
        check_finite("pos_weight", pos_weight)
        # t w₊ ln σ(s) + (1 − t) ln σ(−s), each by itself: torch's (1 − t) s − (1 + (w₊ − 1) t) ln σ(s) cancels where s is far below 0
        losses = -times_log(_by_label("pos_weight", pos_weight, logits) * smoothed, log_sigmoid(logits))
        losses = losses - times_log(1 - smoothed, log_sigmoid(-logits))
    return reduce(losses if weight is None else -times_log(_by_label("weight", weight, logits), -losses), reduction, weight=counts)


@full_precision
def kl_divergence(p: Tensor, q: Tensor, *, reduction: Reduction = "none") -> Tensor:
    r"""Kullback-Leibler divergence from the truth p to the model q: Σₖ pₖ ln(pₖ / qₖ), which is cross-entropy minus the entropy of p.

    Args:
        p: probabilities of what happens, [K], [N, K] or [N, K, ...].
        q: probabilities that the model gives, of the shape of `p`.
        reduction: "none" (the default: a divergence belongs to one pair of distributions), "mean" or "sum".

    Returns:
        The divergences in nats, of shape [], [N] or [N, ...]; a scalar with "mean" or "sum". ∞ where the model rules out what happens.

    Raises:
        TypeError: probabilities that are not floating point.
        ValueError: another shape, probabilities that are no distribution, an unknown reduction.

    Example:
        >>> kl_divergence(torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1]))
        tensor(0.5108)

    Reference:
        S. Kullback and R. A. Leibler, On information and sufficiency, 1951, equation 2.4.

    Conventions:
        Truth first, model second. `torch.nn.functional.kl_div` takes the model's log-probabilities first and the truth second. 0 · ln 0 is 0.
    """
    axis = class_axis("p", p)
    check_floating("q", q)
    check_same_shape("q", q, "p", p)
    check_distribution("p", p, axis)
    check_distribution("q", q, axis)
    check_reduction(reduction)
    happens = p > 0  # the logarithms are taken only there, so that no gradient is 0 · ∞
    ratios = torch.where(happens, p, 1.0).log() - torch.where(happens, q, 1.0).log()
    return reduce((p * ratios).sum(axis), reduction)


@full_precision
def generalized_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    q: float = 0.7,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Generalised cross-entropy: (1 − p_y^q) / q, from cross-entropy (q → 0) to the mean absolute error 1 − p_y (q = 1).

    Args:
        logits: [K], [N, K] or [N, K, ...], real.
        labels: class ids of shape [], [N] or [N, ...].
        q: exponent in [0, 1]; 0 is the limit −ln p_y. The paper uses 0.7.
        ignore_index: the label of what has no loss, no gradient, and is not counted; it may lie outside [0, K). None ignores nothing.
        sample_weight: [N] or of the shape of the losses, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of shape [], [N] or [N, ...]: in [0, 1/q], so bounded for q > 0.

    Raises:
        TypeError: logits that are not floating point, labels that are not integer.
        ValueError: another shape, class ids out of range, q outside [0, 1], negative weights, an unknown reduction.

    Example:
        >>> generalized_cross_entropy(torch.tensor([0.1, 0.9]).log(), torch.tensor(0), q=1.0)
        tensor(0.9000)

    Reference:
        Z. Zhang and M. R. Sabuncu, Generalized cross entropy loss for training deep neural networks with noisy labels, 2018, equation 6.

    Conventions:
        The Box-Cox form, as in the paper; no truncation. At q = 1 half the L1 distance between one-hot label and probabilities.
        The mean is Σ w l / Σ w over what is not ignored, and 0 where all is.
    """
    check_class_labels("labels", labels, logits, ignore_index=ignore_index)
    check_number("q", q, low=0, high=1)
    check_reduction(reduction)
    logits, labels, weight = kept(logits, labels, ignore_index, sample_weight)
    log_probs = -F.cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="none")
    # (1 − p^q) / q = −expm1(q ln p) / q keeps its digits where p is near 1 or q near 0; a q that the dtype does not hold is 0.
    losses = -torch.expm1(q * log_probs) / q if q >= torch.finfo(logits.dtype).tiny else -log_probs
    return reduce(losses, reduction, weight=weight)


@plain_arguments
def adjust_logits(logits: Tensor, priors: Tensor, *, tau: float = 1.0) -> Tensor:
    r"""Logit adjustment: logitsₖ + τ ln πₖ. Train through it and the bare logits serve every class alike, however rare.

    The adjusted logits carry the class frequencies π of the training data, so the bare ones need not: their argmax minimises the balanced
    error, the mean over the classes of each class's error rate. With τ = −1 it corrects a model that was trained without it.

    Args:
        logits: [K], [N, K] or [N, K, ...], real.
        priors: [K], the class frequencies, positive, summing to 1.
        tau: strength τ; 0 changes nothing, negative values take the priors out again.

    Returns:
        The adjusted logits, of the shape of `logits`.

    Raises:
        TypeError: logits or priors that are not floating point.
        ValueError: priors of another length, that do not sum to 1, or with a zero; τ that is not finite.

    Example:
        >>> adjust_logits(torch.zeros(2), torch.tensor([0.25, 0.75]), tau=-1.0)
        tensor([1.3863, 0.2877])

    Reference:
        A. K. Menon et al., Long-tail learning via logit adjustment, 2021, equations 9 and 10.

    Conventions:
        Added, as in the paper's training loss; the paper's post-hoc rule subtracts.
    """
    class_axis("logits", logits)
    check_floating("priors", priors)
    check_distribution("priors", priors, 0)
    check_values("priors", priors, lambda priors: priors > 0, "be positive", lambda priors: "a zero")
    check_number("tau", tau)
    wide: Tensor = widened(logits)
    # in the dtype of the logits rare classes could have no prior left: the logarithm is taken before
    return (wide + tau * per_class("priors", widened(priors).log(), wide)).to(logits.dtype)


def _by_label(parameter: str, values: Tensor, logits: Tensor) -> Tensor:
    """One number, one a label along the last axis, or one an element, in the dtype of the logits."""
    check_real(parameter, values)
    shapes = {(), tuple(logits.shape[-1:]), tuple(logits.shape)}
    if tuple(values.shape) not in shapes:
        wrong_value(parameter, "have shape " + " or ".join(map(str, sorted(shapes, key=len))), tuple(values.shape))
    check_same_device(parameter, values, "logits", logits)
    return values.to(logits.dtype)
