"""Focal and dice loss of matched masks at full resolution, a few masks at a time: nothing is kept but one gradient at the predictions' resolution."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook._focal_kernel import focal_and_slope, plain_focal
from lossbook.sets.mask_costs import ALPHA, GAMMA, dice_loss

_PIECE = 2**16  # pixels that are computed together: their temporaries stay in the cache


class Group(NamedTuple):
    """Pairs of one place: `rows` of the flattened predictions, and which of `masks` [N, H, W] each of them should be."""

    rows: Tensor
    masks: Tensor
    targets: Tensor


class PairLosses(NamedTuple):
    """Of every pair, [M]: the weighted sum, and the focal loss (a mean over the pixels) and the dice loss that it is made of."""

    weighted: Tensor
    focal: Tensor
    dice: Tensor


def pair_losses(mask_logits: Tensor, groups: list[Group], focal_weight: float, dice_weight: float) -> PairLosses:
    """For predictions [R, h, w]. Where masks have another size, the predictions are brought to it bilinearly, as MaskFormer does.

    The slopes of the weighted sum are computed with it; those of its two parts only if somebody asks for them.
    """
    return PairLosses(*_PairLosses.apply(mask_logits, groups, focal_weight, dice_weight))  # type: ignore[no-untyped-call]


class _PairLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mask_logits: Tensor, groups: list[Group], focal_weight: float, dice_weight: float) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(mask_logits)
        ctx.set_materialize_grads(False)
        ctx.groups, ctx.weights = groups, (focal_weight, dice_weight)
        focal, dice, ctx.slopes = _run(mask_logits, groups, focal_weight, dice_weight)
        return focal_weight * focal + dice_weight * dice, focal, dice

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (mask_logits,) = ctx.saved_tensors
        if all(gradient is None for gradient in gradients):
            return None, None, None, None
        if torch.is_grad_enabled() or gradients[0] is None or gradients[1] is not None or gradients[2] is not None:
            return _plain_gradient(mask_logits, ctx.groups, ctx.weights, gradients), None, None, None
        slopes, ctx.slopes = ctx.slopes, None  # handed over; a second backward pass computes them again
        result, start = torch.zeros_like(mask_logits), 0
        for rows, slope in slopes if slopes is not None else _run(mask_logits, ctx.groups, *ctx.weights)[2]:
            slope.mul_(gradients[0][start : start + len(rows), None, None])
            result.index_copy_(0, rows, slope.to(result.dtype))
            start += len(rows)
        return result, None, None, None


def _plain_gradient(mask_logits: Tensor, groups: list[Group], weights: tuple[float, float], gradients: tuple[Tensor | None, ...]) -> Tensor:
    """The gradient from torch's own operations, so that it can itself be differentiated."""
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        leaf = mask_logits if create else mask_logits.detach().requires_grad_()
        focal, dice = plain_pair_losses(leaf, groups)
        values = zip((weights[0] * focal + weights[1] * dice, focal, dice), gradients, strict=True)
        total = torch.stack([(value * gradient).sum() for value, gradient in values if gradient is not None]).sum()
        return torch.autograd.grad(total, leaf, create_graph=create)[0]


def plain_pair_losses(mask_logits: Tensor, groups: list[Group]) -> tuple[Tensor, Tensor]:
    """Focal and dice loss of every pair, each [M], all pairs at once."""
    focal, dice = [mask_logits.new_zeros(0)], [mask_logits.new_zeros(0)]
    for rows, masks, targets in groups:
        logits, truth = _resized(mask_logits[rows], masks.shape[1:]), masks[targets].to(mask_logits.dtype)
        focal.append(plain_focal(logits, truth, gamma=GAMMA, alpha=ALPHA).flatten(1).mean(1))
        dice.append(dice_loss(logits, truth, reduction="none"))
    return torch.cat(focal), torch.cat(dice)


def _run(mask_logits: Tensor, groups: list[Group], focal_weight: float, dice_weight: float) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """Losses [M], and piece by piece the rows and the slopes [m, h, w] of the weighted sum."""
    wide = torch.float64 if mask_logits.dtype == torch.float64 else torch.float32
    focal, dice, slopes = [mask_logits.new_zeros(0, dtype=wide)], [mask_logits.new_zeros(0, dtype=wide)], []
    for rows, masks, targets in groups:
        step = max(_PIECE // max(masks[0].numel(), 1), 1) if mask_logits.device.type == "cpu" else len(rows)
        for low in range(0, len(rows), step):
            piece = slice(low, low + step)
            logits, truth = mask_logits.index_select(0, rows[piece]).to(wide), masks[targets[piece]].to(wide)
            values = _piece(logits, truth, focal_weight, dice_weight)
            focal.append(values[0])
            dice.append(values[1])
            slopes.append((rows[piece], values[2]))
    return torch.cat(focal), torch.cat(dice), slopes


def _piece(logits: Tensor, truth: Tensor, focal_weight: float, dice_weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """Both losses [m] and the slope of their weighted sum [m, h, w], for masks [m, H, W] and predictions [m, h, w].

    With p = σ(x), I = 2 Σ p t + 1 and U = Σ p + Σ t + 1 the dice loss is 1 − I / U, and its slope in x is p (1 − p) (I / U² − 2 t / U).
    """
    flat, target = _resized(logits, truth.shape[1:]).flatten(1), truth.flatten(1)
    count, pixels = flat.shape
    focal, common, union = flat.new_zeros(count), flat.new_ones(count), flat.new_ones(count)
    blocks = []
    for x, t in zip(flat.split_with_sizes(_sizes(count, pixels), 1), target.split_with_sizes(_sizes(count, pixels), 1), strict=True):
        losses, slope = focal_and_slope(x, t, 1 / max(pixels, 1), gamma=GAMMA, alpha=ALPHA)
        probs = x.sigmoid()
        focal += losses.sum(1)
        common += 2 * (probs * t).sum(1)
        union += probs.sum(1) + t.sum(1)
        blocks.append((t, slope, probs))
    inside, outside = (-2 * dice_weight / union)[:, None], (dice_weight * common / union.square())[:, None]
    for t, slope, probs in blocks:
        steep = torch.addcmul(probs, probs, probs, value=-1)  # p (1 − p)
        slope.mul_(focal_weight).addcmul_(steep, (t * inside).add_(outside))
    slope = torch.cat([slope for _, slope, _ in blocks], 1) if len(blocks) != 1 else blocks[0][1]
    return focal, 1 - common / union, _brought_back(slope.view(truth.shape), logits.shape[1:])


def _sizes(count: int, pixels: int) -> list[int]:
    """Columns of [count, pixels] in blocks of about `_PIECE` elements."""
    step = max(_PIECE // max(count, 1), 1)
    return [min(step, pixels - low) for low in range(0, max(pixels, 1), step)]


def _resized(logits: Tensor, size: torch.Size) -> Tensor:
    if logits.shape[1:] == size:
        return logits
    return F.interpolate(logits[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _brought_back(slopes: Tensor, size: torch.Size) -> Tensor:
    """The transpose of `_resized`, [m, H, W] to [m, h, w]: rows are added where they came from, columns by a matrix product.

    Each row of the larger mask is a mean of two rows of the smaller, so nine tenths of the work is two additions of whole rows; torch's own
    backward adds pixel by pixel and takes several times as long.
    """
    if slopes.shape[1:] == size:
        return slopes
    below, above, share = _neighbours(slopes.shape[1], size[0], slopes)
    rows = slopes.new_zeros(len(slopes), size[0], slopes.shape[2])
    rows.index_add_(1, below, slopes * (1 - share)[:, None]).index_add_(1, above, slopes * share[:, None])
    below, above, share = _neighbours(slopes.shape[2], size[1], slopes)
    columns = slopes.new_zeros(slopes.shape[2], size[1])
    columns.scatter_add_(1, below[:, None], (1 - share)[:, None]).scatter_add_(1, above[:, None], share[:, None])
    return rows @ columns


def _neighbours(count: int, source: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two of `source` pixels that each of `count` pixels lies between, and the share of the second."""
    place = ((torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) * (source / count) - 0.5).clamp_(min=0)
    below = place.long().clamp_(max=source - 1)
    return below, (below + 1).clamp_(max=source - 1), place - below
