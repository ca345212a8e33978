"""How far one mask is from another: the dice loss of pairs, and the costs of all pairs."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import check_choice, check_floating, check_range, check_real, check_same_device, check_same_shape, wrong_value
from lossbook._core.door import full_precision
from lossbook._core.reduction import Reduction, check_reduction, reduce
from lossbook.sets._cost_sums import ALPHA, cost_sums, plain_sums
from lossbook.sets._traced import traced


class MaskCosts(NamedTuple):
    """The mask cost (focal or cross-entropy, a mean over the pixels) and the dice cost of every pair, each [Q, N]."""

    mask: Tensor
    dice: Tensor


@full_precision
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
        V-Net squares the terms of the denominator. The + 1 makes the loss of an empty mask that is found empty 0. Other smoothing, classes and
        ignored pixels are in `overlap.dice_loss`, which on masks of 0 and 1 is this at smooth=1.
    """
    check_floating("mask_logits", mask_logits)
    check_real("masks", masks)
    check_same_shape("masks", masks, "mask_logits", mask_logits)
    if mask_logits.ndim < 2:
        wrong_value("mask_logits", "have shape [M, H, W] or [M, P]", tuple(mask_logits.shape))
    check_range("masks", masks, 0.0, 1.0)
    check_reduction(reduction)
    probs, truth = mask_logits.flatten(1).sigmoid(), masks.flatten(1).to(mask_logits.dtype)
    losses = 1 - (2 * (probs * truth).sum(1) + 1) / (probs.sum(1) + truth.sum(1) + 1)
    return reduce(losses, reduction)


@full_precision
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
    check_real("masks", masks)
    check_choice("kind", kind, ("focal", "cross_entropy"))
    if mask_logits.ndim not in (2, 3):
        wrong_value("mask_logits", "have shape [Q, H, W] or [Q, P]", tuple(mask_logits.shape))
    if masks.ndim != mask_logits.ndim or masks.shape[1:] != mask_logits.shape[1:]:
        wrong_value("masks", f"have the pixels of `mask_logits` {tuple(mask_logits.shape)}", tuple(masks.shape))
    check_same_device("masks", masks, "mask_logits", mask_logits)
    check_range("masks", masks, 0.0, 1.0)
    return mask_costs(mask_logits.flatten(1), masks.flatten(1).to(mask_logits.dtype), focal=kind == "focal")


def mask_costs(mask_logits: Tensor, masks: Tensor, *, focal: bool) -> MaskCosts:
    """`pairwise_mask_costs` of [Q, P] and [N, P]; on a CPU a few queries at a time where nobody asks for a gradient."""
    differentiated = torch.is_grad_enabled() and (mask_logits.requires_grad or masks.requires_grad)
    if differentiated or mask_logits.device.type != "cpu" or traced([mask_logits, masks]):
        return plain_mask_costs(mask_logits, masks, focal=focal)
    table = cost_sums(mask_logits.detach(), with_ones(masks.detach(), mask_logits.dtype), focal=focal)
    return costs_from(table, masks.detach().sum(-1), mask_logits.shape[-1], focal=focal)


def plain_mask_costs(mask_logits: Tensor, masks: Tensor, *, focal: bool) -> MaskCosts:
    """The same from torch's own operations, [..., Q, N] of [..., Q, P] and [..., N, P]."""
    return costs_from(plain_sums(mask_logits, masks, focal=focal), masks.sum(-1), mask_logits.shape[-1], focal=focal)


def costs_from(table: Tensor, sizes: Tensor, pixels: int, *, focal: bool) -> MaskCosts:
    """Both costs [..., Q, N] from a table of sums [..., 1 + N, 2, Q] and the sizes of the masks [..., N]."""
    first, rows = table[..., :1, :, :], table[..., 1:, :, :]
    mask = (rows[..., 0, :] + first[..., 0, :]) * ((1 - ALPHA if focal else 1.0) / max(pixels, 1))
    dice = 1 - (2 * rows[..., 1, :] + 1) / (first[..., 1, :] + sizes[..., None] + 1)
    return MaskCosts(mask.mT, dice.mT)


def with_ones(masks: Tensor, dtype: torch.dtype) -> Tensor:
    """Masks [N, P] after a row of ones, [1 + N, P]."""
    rows = masks.new_empty(1 + len(masks), masks.shape[1], dtype=dtype)
    rows[0], rows[1:] = 1, masks
    return rows
