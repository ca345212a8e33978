"""Focal and dice loss of matched masks at full resolution, a few masks at a time: nothing is kept but gradients at the predictions' resolution."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook._focal_kernel import focal_and_slope, plain_focal
from lossbook.sets.mask_costs import ALPHA, GAMMA, dice_loss

_PIECE = 2**17  # pixels that are computed together


class Group(NamedTuple):
    """Pairs of one place: `rows` of the flattened predictions, and which of `masks` [N, H, W] each of them should be."""

    rows: Tensor
    masks: Tensor
    targets: Tensor


def pair_losses(mask_logits: Tensor, groups: list[Group]) -> tuple[Tensor, Tensor]:
    """Focal loss (the mean over the pixels) and dice loss of every pair, each [M], for predictions [R, h, w].

    Where masks have another size, the predictions are brought to it bilinearly, as MaskFormer does.
    """
    focal, dice = _PairLosses.apply(mask_logits, groups)  # type: ignore[no-untyped-call]
    return focal, dice


class _PairLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mask_logits: Tensor, groups: list[Group]) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(mask_logits)
        ctx.groups = groups
        focal, dice, ctx.slopes = _run(mask_logits, groups)
        return focal, dice

    @staticmethod
    def backward(ctx: Any, focal_gradient: Tensor, dice_gradient: Tensor) -> tuple[Tensor | None, None]:
        (mask_logits,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient that will itself be differentiated
            losses = plain_pair_losses(mask_logits, ctx.groups)
            return torch.autograd.grad(losses, mask_logits, (focal_gradient, dice_gradient), create_graph=True)[0], None
        slopes, ctx.slopes = ctx.slopes, None  # handed over; a second backward pass computes them again
        focal_slopes, dice_slopes = slopes if slopes is not None else _run(mask_logits, ctx.groups)[2]
        focal_slopes.mul_(focal_gradient[:, None, None]).addcmul_(dice_slopes, dice_gradient[:, None, None])
        rows = torch.cat([group.rows for group in ctx.groups]) if ctx.groups else torch.zeros(0, dtype=torch.int64, device=mask_logits.device)
        return torch.zeros_like(mask_logits).index_copy_(0, rows, focal_slopes.to(mask_logits.dtype)), None


def plain_pair_losses(mask_logits: Tensor, groups: list[Group]) -> tuple[Tensor, Tensor]:
    """The same from torch's own operations, all pairs at once."""
    focal, dice = [mask_logits.new_zeros(0)], [mask_logits.new_zeros(0)]
    for rows, masks, targets in groups:
        logits, truth = _resized(mask_logits[rows], masks.shape[1:]), masks[targets].to(mask_logits.dtype)
        focal.append(plain_focal(logits, truth, gamma=GAMMA, alpha=ALPHA).flatten(1).mean(1))
        dice.append(dice_loss(logits, truth, reduction="none"))
    return torch.cat(focal), torch.cat(dice)


def _run(mask_logits: Tensor, groups: list[Group]) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Losses [M], and their slopes [M, h, w]."""
    pairs = sum(len(group.rows) for group in groups)
    wide = torch.float64 if mask_logits.dtype == torch.float64 else torch.float32
    focal, dice = (torch.empty(pairs, dtype=wide, device=mask_logits.device) for _ in range(2))
    slopes = tuple(torch.empty(pairs, *mask_logits.shape[1:], dtype=wide, device=mask_logits.device) for _ in range(2))
    start = 0
    for rows, masks, targets in groups:
        step = max(_PIECE // max(masks[0].numel(), 1), 1) if mask_logits.device.type == "cpu" else len(rows)
        for low in range(0, len(rows), step):
            piece = slice(start + low, start + min(low + step, len(rows)))
            logits, truth = mask_logits[rows[low : low + step]].to(wide), masks[targets[low : low + step]].to(wide)
            values = _piece(logits, truth)
            focal[piece], dice[piece], slopes[0][piece], slopes[1][piece] = values
        start += len(rows)
    return focal, dice, (slopes[0], slopes[1])


def _piece(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both losses and their slopes for masks [m, H, W] and predictions [m, h, w].

    With p = σ(x), I = 2 Σ p t + 1 and U = Σ p + Σ t + 1 the dice loss is 1 − I / U, and its slope in x is p (1 − p) (I / U² − 2 t / U).
    """
    size = logits.shape[1:]
    resized = _resized(logits, truth.shape[1:])
    flat, target = resized.flatten(1), truth.flatten(1)
    pixels = max(flat.shape[1], 1)
    losses, focal_slope = focal_and_slope(flat, target, 1 / pixels, gamma=GAMMA, alpha=ALPHA)
    probs = flat.sigmoid()
    common = 2 * (probs * target).sum(1) + 1
    union = probs.sum(1) + target.sum(1) + 1
    dice_slope = (target * (-2 / union)[:, None]).add_((common / union**2)[:, None]).mul_(probs).mul_(torch.rsub(probs, 1))
    slopes = torch.stack([focal_slope, dice_slope], 1).view(len(flat), 2, *truth.shape[1:])
    if resized is not logits:
        slopes = torch.ops.aten.upsample_bilinear2d_backward(slopes, list(truth.shape[1:]), [len(flat), 2, *size], False, None, None)
    return losses.sum(1), 1 - common / union, slopes[:, 0], slopes[:, 1]


def _resized(logits: Tensor, size: torch.Size) -> Tensor:
    if logits.shape[1:] == size:
        return logits
    return F.interpolate(logits[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
