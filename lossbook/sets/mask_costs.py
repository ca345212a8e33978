"""How far one mask is from another: the dice loss of pairs, and the costs of all pairs."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook._checks import check_choice, check_floating, check_range, check_same_shape, check_tensor, values_readable, wrong_value
from lossbook._focal_kernel import widened
from lossbook._reduction import Reduction, check_reduction, reduce

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss in MaskFormer
_PIECE = 2**16  # elements that are computed together: their temporaries stay in the cache
_SCRATCH = 2**20  # elements of a matrix product's left side


class MaskCosts(NamedTuple):
    """The mask cost (focal or cross-entropy, a mean over the pixels) and the dice cost of every pair, each [Q, N]."""

    mask: Tensor
    dice: Tensor


def dice_loss(mask_logits: Tensor, masks: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Dice loss of each mask: 1 − (2 Σ p t + 1) / (Σ p + Σ t + 1) with p = σ(logits), the sums over the pixels.

    Args:
        mask_logits: [M, H, W], or [M, P] for P sampled pixels, real.
        masks: of the same shape, in [0, 1].
        reduction: "mean" (over the M masks), "sum" or "none".

    Returns:
        A scalar, or with "none" the losses [M], in [0, 1).

    Raises:
        TypeError: mask_logits that are not floating point.
        ValueError: another shape, masks outside [0, 1], an unknown reduction.

    Example:
        >>> dice_loss(torch.tensor([[9.0, 9.0, -9.0, -9.0]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]]), reduction="none")
        tensor([0.2501])

    Reference:
        F. Milletari et al., V-Net, 2016, section 3; the + 1 and the plain sums below are those of B. Cheng et al., 2021.

    Conventions:
        V-Net squares the terms of the denominator. The + 1 makes the loss of an empty mask that is found empty 0.
    """
    check_floating("mask_logits", mask_logits)
    check_tensor("masks", masks)
    check_same_shape("masks", masks, "mask_logits", mask_logits)
    if mask_logits.ndim < 2:
        wrong_value("mask_logits", "have shape [M, H, W] or [M, P]", tuple(mask_logits.shape))
    check_range("masks", masks, 0.0, 1.0)
    check_reduction(reduction)
    probs, truth = widened(mask_logits).flatten(1).sigmoid(), widened(masks).flatten(1)
    losses = 1 - (2 * (probs * truth).sum(1) + 1) / (probs.sum(1) + truth.sum(1) + 1)
    return reduce(losses, reduction).to(mask_logits.dtype)


def pairwise_mask_costs(mask_logits: Tensor, masks: Tensor, *, kind: Literal["focal", "cross_entropy"] = "focal") -> MaskCosts:
    r"""The mask cost and the dice cost of every predicted mask with every true one, from one matrix product.

    With pos and neg the losses of a pixel towards 1 and 0: pos · Tᵀ + neg · (1 − T)ᵀ = (pos − neg) · Tᵀ + rowsum(neg). For cross-entropy
    pos − neg = ln(1 + e^−x) − ln(1 + e^x) = −x, so nothing needs to be computed but rowsum(ln(1 + e^x)).

    Args:
        mask_logits: [Q, H, W], or [Q, P] for P sampled pixels, real.
        masks: [N, H, W] or [N, P], in [0, 1].
        kind: "focal" as in MaskFormer (α = 0.25, γ = 2), or "cross_entropy" as in Mask2Former.

    Returns:
        `MaskCosts(mask, dice)`, each [Q, N].

    Raises:
        TypeError: mask_logits that are not floating point.
        ValueError: other pixels, masks outside [0, 1], an unknown kind.

    Example:
        >>> costs = pairwise_mask_costs(torch.tensor([[3.0, -3.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), kind="cross_entropy")
        >>> costs.mask.T, costs.dice.T
        (tensor([[0.0486, 0.6931]]), tensor([[0.0316, 0.3333]]))

    Reference:
        B. Cheng et al., Per-pixel classification is not all you need, 2021, section 3.3; Masked-attention mask transformer, 2022, section 3.3.
    """
    check_floating("mask_logits", mask_logits)
    check_tensor("masks", masks)
    check_choice("kind", kind, ("focal", "cross_entropy"))
    if mask_logits.ndim not in (2, 3):
        wrong_value("mask_logits", "have shape [Q, H, W] or [Q, P]", tuple(mask_logits.shape))
    if masks.ndim != mask_logits.ndim or masks.shape[1:] != mask_logits.shape[1:]:
        wrong_value("masks", f"have the pixels of `mask_logits` {tuple(mask_logits.shape)}", tuple(masks.shape))
    flat, truth = (widened(values).flatten(1) for values in (mask_logits, masks))
    check_range("masks", masks, 0.0, 1.0)
    return MaskCosts(*(cost.to(mask_logits.dtype) for cost in mask_costs(flat, truth.to(flat.dtype), focal=kind == "focal")))


def mask_costs(mask_logits: Tensor, masks: Tensor, *, focal: bool, scratch: Tensor | None = None) -> MaskCosts:
    """`pairwise_mask_costs` of [Q, P] and [N, P]: one matrix product of 2 Q rows with the masks.

    Without a gradient, the rows of a few queries at a time go into `scratch`; a caller with many images hands in the same one.
    """
    count, pixels = mask_logits.shape
    if not values_readable(mask_logits) or (mask_logits.requires_grad and torch.is_grad_enabled()):
        probs, miss = mask_logits.sigmoid(), F.softplus(mask_logits, threshold=40.0)
        negative = (1 - ALPHA) * probs.square() * miss if focal else miss
        positive = ALPHA * (1 - probs).square() * (miss - mask_logits) if focal else miss - mask_logits
        signal, shared = (positive - negative) @ masks.t(), probs @ masks.t()
        offset, sizes = negative.sum(1), probs.sum(1)
    else:
        rows = mask_scratch(mask_logits, mask_logits.dtype) if scratch is None else scratch
        signal, shared = (mask_logits.new_empty(count, len(masks)) for _ in range(2))
        offset, sizes = (mask_logits.new_empty(count) for _ in range(2))
        for low in range(0, count, len(rows) // 2):
            some = slice(low, min(low + len(rows) // 2, count))
            few = mask_logits[some]
            _fill(few, rows[: len(few)], rows[len(few) : 2 * len(few)], offset[some], focal=focal)
            products = rows[: 2 * len(few)] @ masks.t()
            signal[some], shared[some] = products[: len(few)], products[len(few) :]
            torch.sum(rows[len(few) : 2 * len(few)], 1, out=sizes[some])
    mask = (signal + offset[:, None]) / max(pixels, 1)
    return MaskCosts(mask, 1 - (2 * shared + 1) / (sizes[:, None] + masks.sum(1) + 1))


def mask_scratch(mask_logits: Tensor, dtype: torch.dtype) -> Tensor:
    """Room for the two rows of as many queries of [Q, P] as fit in about four megabytes."""
    count, pixels = mask_logits.shape
    return mask_logits.new_empty(2 * max(min(_SCRATCH // max(2 * pixels, 1), count), 1), pixels, dtype=dtype)


def _fill(logits: Tensor, signal: Tensor, probs: Tensor, offset: Tensor, *, focal: bool) -> None:
    """pos − neg, p and rowsum(neg) of some queries. −ln(1 − p) is ln(1 + e^x), and −ln p is x less."""
    step = max(_PIECE // max(logits.shape[1], 1), 1)
    for low in range(0, len(logits), step):
        x, p, s, o = (values[low : low + step] for values in (logits, probs, signal, offset))
        torch.sigmoid(x, out=p)
        miss = F.softplus(x, threshold=40.0)
        if not focal:
            torch.sum(miss, -1, out=o)
            torch.neg(x, out=s)
            continue
        negative = (p * p).mul_(miss)
        torch.sum(negative, -1, out=o).mul_(1 - ALPHA)
        other = torch.rsub(p, 1)
        torch.mul(other.mul_(other), miss.sub_(x), out=s)
        s.mul_(ALPHA).sub_(negative, alpha=1 - ALPHA)


def point_costs(scores: Tensor, masks: Tensor) -> MaskCosts:
    """Cross-entropy and dice cost from logits [P, Q] and masks [P, N] at sampled points; [Q, N]. For cross-entropy pos − neg is −x."""
    points, count = scores.shape
    truth = masks.t().contiguous()
    offset, sizes = scores.new_zeros(count), scores.new_zeros(count)
    signal, shared = (scores.new_zeros(len(truth), count) for _ in range(2))
    step = max(_PIECE // max(count, 1), 1) if scores.device.type == "cpu" else max(points, 1)
    for low in range(0, points, step):
        x, t = scores[low : low + step], truth[:, low : low + step]
        probs = x.sigmoid()
        offset += F.softplus(x, threshold=40.0).sum(0)
        sizes += probs.sum(0)
        signal.addmm_(t, x)
        shared.addmm_(t, probs)
    return MaskCosts((offset - signal).t() / max(points, 1), (1 - (2 * shared + 1) / (sizes + truth.sum(1)[:, None] + 1)).t())
