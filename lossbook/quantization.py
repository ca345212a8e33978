"""What is left of a loss when scores are rounded to a few bits: grids, rounding of logits and of probabilities, the change in loss.

Chapter: quantization.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lossbook._core.checks import (
    check_callable,
    check_count,
    check_floating,
    check_number,
    check_range,
    check_same_device,
    check_same_shape,
    check_tensor,
    check_values,
    wrong_type,
    wrong_value,
)
from lossbook._core.classes import check_class_labels, class_axis, kept
from lossbook._core.door import full_precision, plain_arguments, widened
from lossbook._core.reduction import Reduction, check_reduction, reduce
from lossbook._core.stable import log_sigmoid, logaddexp

__all__ = ["grid_scale", "quantize", "quantize_probs", "worst_change", "worst_cross_entropy_change"]


@full_precision
def grid_scale(values: Tensor, *, bits: int) -> Tensor:
    """The step of the smallest grid of `bits` bits that reaches the largest value: max |values| / (2^(bits-1) - 1).

    Args:
        values: any shape, at least one value.
        bits: from 2 to 24.

    Returns:
        A scalar of the dtype of `values`, float32 at least; 1 where all values are 0.

    Raises:
        TypeError: values that are not floating point, bits that are not an integer.
        ValueError: no values, NaN or an infinity among them, bits outside 2 to 24.

    Example:
        >>> grid_scale(torch.tensor([-7.0, 3.0]), bits=4)
        tensor(1.)

    Reference:
        B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference, 2018, section 2.1.

    Conventions:
        Symmetric, without a zero point: 0 stays 0, and the two signs have the same levels.
    """
    check_floating("values", values)
    _check_bits(bits)
    if not values.numel():
        wrong_value("values", "hold at least one value", f"shape {tuple(values.shape)}")
    largest, most = values.detach().abs().amax(), _levels(bits)
    check_values("values", largest, torch.isfinite, "be finite", lambda value: "NaN" if bool(value.isnan()) else "an infinity")
    scale = largest / most
    scale = torch.where((most * scale).isinf(), torch.nextafter(scale, torch.zeros_like(scale)), scale)  # rounded up, near the largest of the dtype
    return torch.where(scale == 0, 1.0, scale)


@plain_arguments
def quantize(values: Tensor, *, bits: int, scale: float | Tensor | None = None) -> Tensor:
    r"""Each value moved to the nearest level of a grid: scale · clamp(round(value / scale), −n, n) with n = 2^(bits−1) − 1.

    Args:
        values: logits, margins or weights, any shape.
        bits: from 2 to 24: 2 bits are the levels −1, 0, 1, 8 bits are −127 to 127, in units of the scale.
        scale: the step between levels, > 0, a number or a tensor that broadcasts to the shape of `values`; None takes `grid_scale`, which clamps
            nothing.

    Returns:
        A tensor of the shape and dtype of `values`, at most half a step away from it where nothing is clamped. Its gradient is 0.

    Raises:
        TypeError: values that are not floating point, bits that are not an integer, a scale that is not real.
        ValueError: bits outside 2 to 24, a scale of another shape or one that is not finite and positive in the dtype of `values` (float32 at least),
            no finite values to find a scale from.

    Example:
        >>> quantize(torch.tensor([-7.0, 0.4, 2.6]), bits=4)
        tensor([-7.,  0.,  3.])
        >>> quantize(torch.tensor([-7.0, 0.4, 2.6]), bits=2, scale=2.0)
        tensor([-2.,  0.,  2.])

    Reference:
        B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference, 2018, equation 12.

    Conventions:
        Round half to even. Symmetric levels, so n is 127 with 8 bits and −128 is not used.
    """
    check_floating("values", values)
    _check_bits(bits)
    wide: Tensor = widened(values)
    most = _levels(bits)
    step = grid_scale(values, bits=bits) if scale is None else _as_scale(scale, wide)
    return ((wide / step).round().clamp(-most, most) * step).to(values.dtype)


@plain_arguments
def quantize_probs(probs: Tensor, *, bits: int) -> Tensor:
    """Probabilities moved to the nearest of the 2^bits levels 0, 1/n, ..., 1 with n = 2^bits − 1.

    Args:
        probs: any shape, in [0, 1].
        bits: from 1 to 24.

    Returns:
        A tensor of the shape and dtype of `probs`. Levels 0 and 1 are among them, so −ln of the result can be infinite. Its gradient is 0.

    Raises:
        TypeError: probabilities that are not floating point, bits that are not an integer.
        ValueError: values outside [0, 1], bits outside 1 to 24.

    Example:
        >>> quantize_probs(torch.tensor([0.01, 0.40, 0.99]), bits=2)
        tensor([0.0000, 0.3333, 1.0000])

    Reference:
        B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference, 2018, equation 12.

    Conventions:
        Round half to even. The rounded probabilities of several classes need not sum to 1.
    """
    check_floating("probs", probs)
    _check_bits(bits, low=1)
    check_range("probs", probs, 0.0, 1.0)
    levels = (1 << bits) - 1
    wide: Tensor = widened(probs)
    return ((wide * levels).round() / levels).to(probs.dtype)


@full_precision
def worst_change(loss: Callable[[Tensor], Tensor], margins: Tensor, *, step: float) -> Tensor:
    r"""How much a margin loss can change when the margins move to a grid: the larger of |φ(m ± δ) − φ(m)|, with δ = step / 2.

    Args:
        loss: φ, element by element, such as `lossbook.margins.hinge`; convex or monotone.
        margins: any shape.
        step: the distance between levels, > 0. Rounding moves a margin by at most half of it.

    Returns:
        A tensor of the shape and dtype of `margins`, float32 at least.

    Raises:
        TypeError: margins that are not floating point, a step that is not a number.
        ValueError: a step that is not positive or not finite in float32, a loss that changes the shape.

    Example:
        >>> from lossbook.margins import hinge, logistic
        >>> margins = torch.tensor([-2.0, 1.0, 4.6])
        >>> worst_change(hinge, margins, step=1.0)
        tensor([0.5000, 0.5000, 0.0000])
        >>> worst_change(logistic, margins, step=1.0)
        tensor([0.4520, 0.1608, 0.0064])

    Reference:
        The slope bounds it: a loss of Lipschitz constant L changes by at most L δ. No source known for the comparison of losses made with it.

    Conventions:
        For a convex or a monotone φ no smaller move changes more, so two evaluations give the maximum over the whole rounding cell.
    """
    check_floating("margins", margins)
    check_callable("loss", loss)
    _check_step(step)
    middle = margins.double()  # a small move of a large margin, and a small difference of large losses, have few digits in float32
    here = loss(middle.clone())  # it may write into what it gets
    check_same_shape("loss(margins)", here, "margins", margins)
    return torch.maximum((loss(middle + step / 2) - here).abs(), (loss(middle - step / 2) - here).abs()).to(margins.dtype)


@full_precision
def worst_cross_entropy_change(
    logits: Tensor,
    labels: Tensor,
    *,
    step: float,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""How much softmax cross-entropy can rise when each logit moves to a grid: ln(p_y + (1 − p_y) e^(2δ)), with δ = step / 2.

    Args:
        logits: [K], [N, K] or [N, K, ...], real.
        labels: class ids of shape [], [N] or [N, ...].
        step: the distance between levels, > 0.
        ignore_index: the label of what has no loss, no gradient, and is not counted; it may lie outside [0, K). None ignores nothing.
        sample_weight: [N] or of the shape of the losses, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" a value for each label: (1 − p_y) step to first order, and never more than the step.

    Raises:
        TypeError: logits that are not floating point, labels that are not integer.
        ValueError: another shape, class ids out of range, a step that is not positive or not finite in float32, negative or infinite weights,
            an unknown reduction.

    Example:
        >>> worst_cross_entropy_change(torch.tensor([[4.6, 0.0], [0.0, 4.6]]), torch.tensor([0, 0]), step=1.0, reduction="none")
        tensor([0.0170, 0.9937])

    Reference:
        Cross-entropy is ln Σ_k e^(z_k) − z_y, convex in the logits: the worst corner lowers z_y by δ and raises all others by δ.

    Conventions:
        Natural logarithm. A fall is never larger than this rise, by convexity. The mean is Σ w l / Σ w over what is not ignored, and 0 where
        all is.
    """
    axis = class_axis("logits", logits)
    check_class_labels("labels", labels, logits, ignore_index=ignore_index)
    _check_step(step)
    check_reduction(reduction)
    logits, labels, weight = kept(logits, labels, ignore_index, sample_weight)
    own, least = labels.unsqueeze(axis), torch.finfo(logits.dtype).min
    others = logits.scatter(axis, own, least).clamp(min=least).logsumexp(axis)  # of infinities alone it would have no gradient
    lead = logits.gather(axis, own).squeeze(axis) - others  # p_y = sigmoid(lead), for any number of classes
    if step < 1:  # = ln(1 + (1 − p_y)(e^(2δ) − 1)), with the digits of a small rise
        return reduce(torch.log1p(torch.sigmoid(-lead) * math.expm1(step)), reduction, weight=weight)
    return reduce(logaddexp(log_sigmoid(lead), log_sigmoid(-lead) + step), reduction, weight=weight)


def _check_bits(bits: int, low: int = 2) -> None:
    check_count("bits", bits, low=low)
    if bits > 24:
        wrong_value("bits", "be at most 24, beyond which float32 has no more levels", bits)


def _levels(bits: int) -> int:
    """On either side of 0."""
    return (1 << (bits - 1)) - 1


def _check_step(step: float) -> None:
    check_number("step", step, low=0.0, high=torch.finfo(torch.float32).max, low_open=True)


def _as_scale(scale: float | Tensor, values: Tensor) -> Tensor:
    """A step in the dtype of `values`, one for all of them or one a row, column ..."""
    if not isinstance(scale, Tensor):
        check_number("scale", scale, low=0.0, low_open=True)
        scale = torch.as_tensor(scale, dtype=values.dtype, device=values.device)
    check_tensor("scale", scale)
    check_same_device("scale", scale, "values", values)
    if scale.dtype.is_complex or scale.dtype == torch.bool:
        wrong_type("scale", "have a floating-point or integer dtype", str(scale.dtype))
    axes = zip(reversed(scale.shape), reversed(values.shape), strict=False)
    if scale.ndim > values.ndim or any(size not in (1, whole) for size, whole in axes):
        wrong_value("scale", f"broadcast to the shape {tuple(values.shape)} of `values`", f"shape {tuple(scale.shape)}")
    step = scale.to(values)
    expected = f"be finite and above 0 in {values.dtype}"
    check_values("scale", step, lambda step: (step > 0) & step.isfinite(), expected, lambda step: f"values from {step.min():g} to {step.max():g}")
    return step
