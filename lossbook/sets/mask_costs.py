"""How far one mask is from another: the dice loss of pairs, and the costs of all pairs."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook._checks import check_choice, check_floating, check_range, check_same_shape, check_tensor, wrong_value
from lossbook._focal_kernel import widened
from lossbook._reduction import Reduction, check_reduction, reduce

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss in MaskFormer
_PIECE = 2**17  # elements that are computed together: their temporaries stay in the cache


class MaskCosts(NamedTuple):
    """The mask cost (focal or cross-entropy, a mean over the pixels) and the dice cost of every pair, each [..., Q, N]."""

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
        F. Milletari et al., V-Net, 2016, equation 1; the + 1 and the plain sums below are those of B. Cheng et al., 2021.

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
        mask_logits: [Q, H, W] or [Q, P], with any leading axes before a [..., Q, P]; real.
        masks: [N, H, W] or [N, P], with the same leading axes, in [0, 1].
        kind: "focal" as in MaskFormer (α = 0.25, γ = 2), or "cross_entropy" as in Mask2Former.

    Returns:
        `MaskCosts(mask, dice)`, each [Q, N] (or [..., Q, N]).

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
    if mask_logits.ndim < 2 or masks.ndim != mask_logits.ndim:
        wrong_value("masks", f"have the axes of `mask_logits` {tuple(mask_logits.shape)}", tuple(masks.shape))
    pixels = [values.shape[1:] if values.ndim == 3 else (*values.shape[:-2], values.shape[-1]) for values in (mask_logits, masks)]
    if pixels[0] != pixels[1]:
        wrong_value("masks", f"have the pixels of `mask_logits` {tuple(mask_logits.shape)}", tuple(masks.shape))
    flat, truth = (values.flatten(1) if values.ndim == 3 else values for values in (widened(mask_logits), widened(masks)))
    check_range("masks", masks, 0.0, 1.0)
    return MaskCosts(*(cost.to(mask_logits.dtype) for cost in mask_costs(flat, truth.to(flat.dtype), focal=kind == "focal")))


def mask_costs(mask_logits: Tensor, masks: Tensor, *, focal: bool) -> MaskCosts:
    """`pairwise_mask_costs` of [..., Q, P] and [..., N, P]; one matrix product of 2 Q rows with the masks."""
    count, pixels = mask_logits.shape[-2:]
    if mask_logits.ndim > 2 or mask_logits.device.type != "cpu" or (mask_logits.requires_grad and torch.is_grad_enabled()):
        signal, probs, offset = _features(mask_logits, focal=focal)
        rows = torch.cat([signal, probs], -2)
    else:
        rows, offset = mask_logits.new_empty(2 * count, pixels), mask_logits.new_empty(count)
        for low in range(0, count, max(_PIECE // max(pixels, 1), 1)):
            piece = slice(low, min(low + max(_PIECE // max(pixels, 1), 1), count))
            rows[piece], rows[count:][piece], offset[piece] = _features(mask_logits[piece], focal=focal)
    products = rows @ masks.mT
    sizes = rows[..., count:, :].sum(-1)[..., None] + masks.sum(-1)[..., None, :]
    mask = (products[..., :count, :] + offset[..., None]) / max(pixels, 1)
    return MaskCosts(mask, 1 - (2 * products[..., count:, :] + 1) / (sizes + 1))


def _features(logits: Tensor, *, focal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """pos − neg, the probabilities, and rowsum(neg)."""
    probs, miss = logits.sigmoid(), F.softplus(logits, threshold=40.0)  # miss = −ln(1 − p) = ln(1 + e^x), and −ln p = miss − x
    if not focal:
        return -logits, probs, miss.sum(-1)
    negative = probs * probs * miss * (1 - ALPHA)
    positive = (1 - probs).square() * (miss - logits) * ALPHA
    return positive - negative, probs, negative.sum(-1)
