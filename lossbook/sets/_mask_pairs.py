"""Focal and dice loss of matched masks at full resolution, a few masks at a time: nothing is kept but one gradient at the predictions' resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook._core.checks import check_range
from lossbook._core.focal import plain_focal
from lossbook.sets._cost_sums import ALPHA, GAMMA
from lossbook.sets._mask_costs import dice_loss
from lossbook.sets._traced import plain_slope, several

_PIECE = 2**17  # pixels that are computed together: their temporaries stay in the cache


class Group(NamedTuple):
    """Pairs of one place: `rows` of the flattened predictions, and which of `masks` [N, H, W] each of them should be, but for what is `ignored`."""

    rows: Tensor
    masks: Tensor
    targets: Tensor
    ignored: Tensor | None = None  # bool [N, H, W]


class PairLosses(NamedTuple):
    """Of every pair, [M]: the weighted sum, and the mask loss (a mean over the pixels) and the dice loss that it is made of."""

    weighted: Tensor
    mask: Tensor
    dice: Tensor


def pair_losses(mask_logits: Tensor, groups: list[Group], focal_weight: float, dice_weight: float, *, plain: bool) -> PairLosses:
    """For predictions [R, h, w]. Where masks have another size, the predictions are brought to it bilinearly, as MaskFormer does.

    The slopes of the weighted sum are computed with it; those of its two parts, and of the masks themselves, only if somebody asks for them.
    """
    if plain or any(group.masks.requires_grad or group.ignored is not None for group in groups):
        return weighted_losses(*plain_pair_losses(mask_logits, groups), focal_weight, dice_weight)
    return PairLosses(*_PairLosses.apply(mask_logits, groups, focal_weight, dice_weight))  # type: ignore[no-untyped-call]


def weighted_losses(mask: Tensor, dice: Tensor, mask_weight: float, dice_weight: float) -> PairLosses:
    """Their weighted sum, and both losses."""
    return PairLosses(mask_weight * mask + dice_weight * dice, mask, dice)


def own_slope(gradients: tuple[Tensor | None, ...]) -> Tensor | None:
    """The gradient of the weighted sum where it alone is asked for, once; None where torch's own rules are to be followed."""
    weighted, *parts = gradients
    if torch.is_grad_enabled() or weighted is None or several(weighted) or any(part is not None for part in parts):
        return None
    return weighted


def plain_gradient(mask_logits: Tensor, losses: Callable[[Tensor], PairLosses], gradients: tuple[Tensor | None, ...]) -> Tensor:
    """The gradient of the weighted sum and of both losses, from torch's own operations, so that it can itself be differentiated."""

    def asked(leaf: Tensor) -> list[Tensor]:
        return [loss for loss, gradient in zip(losses(leaf), gradients, strict=True) if gradient is not None]

    return plain_slope(mask_logits, asked, [gradient for gradient in gradients if gradient is not None])


class _PairLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mask_logits: Tensor, groups: list[Group], focal_weight: float, dice_weight: float) -> tuple[Tensor, ...]:
        ctx.save_for_backward(mask_logits)
        ctx.set_materialize_grads(False)
        ctx.groups, ctx.weights = groups, (focal_weight, dice_weight)
        focal, dice, ctx.slopes = _run(mask_logits, groups, focal_weight, dice_weight)
        return tuple(weighted_losses(focal, dice, focal_weight, dice_weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (mask_logits,) = ctx.saved_tensors
        if all(gradient is None for gradient in gradients):
            return None, None, None, None
        gradient = own_slope(gradients)
        if gradient is None:
            losses = lambda leaf: weighted_losses(*plain_pair_losses(leaf, ctx.groups), *ctx.weights)  # noqa: E731
            return plain_gradient(mask_logits, losses, gradients), None, None, None
        slopes, ctx.slopes = ctx.slopes, None  # handed over; a second backward pass computes them again
        slopes = _run(mask_logits, ctx.groups, *ctx.weights)[2] if slopes is None else slopes
        slopes.mul_(gradient[:, None, None])
        result = mask_logits.new_zeros(mask_logits.shape)
        return result.index_copy_(0, _rows(ctx.groups, result.device), slopes), None, None, None


def plain_pair_losses(mask_logits: Tensor, groups: list[Group]) -> tuple[Tensor, Tensor]:
    """Focal and dice loss of every pair, each [M], all pairs at once."""
    none = mask_logits[:0].flatten(1).sum(1)  # a gradient of zeros where nothing is matched, and not none at all
    focal, dice = [none], [none]
    for rows, masks, targets, ignored in groups:
        values = _plain_piece(mask_logits[rows], masks[targets].to(mask_logits.dtype), None if ignored is None else ignored[targets])
        focal.append(values[0])
        dice.append(values[1])
    return torch.cat(focal), torch.cat(dice)


def _plain_piece(logits: Tensor, truth: Tensor, ignored: Tensor | None = None) -> tuple[Tensor, Tensor]:
    resized = _resized(logits, truth.shape[1:])
    if ignored is None:
        return plain_focal(resized, truth, gamma=GAMMA, alpha=ALPHA).flatten(1).mean(1), dice_loss(resized, truth, reduction="none")
    resized, truth = without(ignored, resized, truth)
    return kept_mean(plain_focal(resized, truth, gamma=GAMMA, alpha=ALPHA), ignored), dice_loss(resized, truth, reduction="none")


def without(ignored: Tensor, logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and masks in which what is ignored is surely nothing, and should be nothing: σ(−1e4) = ln(1 + e^−1e4) = 0, which adds to no sum."""
    return logits.masked_fill(ignored, -1e4), truth.masked_fill(ignored, 0)


def kept_mean(losses: Tensor, ignored: Tensor) -> Tensor:
    """The mean of each mask's losses [M, ...], 0 where they are ignored, over what is not; 0 where all is."""
    return losses.flatten(1).sum(1) / (~ignored).flatten(1).sum(1).clamp_min(1)


def _rows(groups: list[Group], device: torch.device) -> Tensor:
    return torch.cat([torch.zeros(0, dtype=torch.int64, device=device), *(group.rows for group in groups)])


def _run(mask_logits: Tensor, groups: list[Group], focal_weight: float, dice_weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """Both losses [M], and the slopes [M, h, w] of their weighted sum, a few masks at a time."""
    wide, device, count = mask_logits.dtype, mask_logits.device, sum(group.rows.shape[0] for group in groups)
    losses, slopes, start = mask_logits.new_zeros(2, count), mask_logits.new_empty(count, *mask_logits.shape[1:]), 0
    for rows, masks, targets, _ in groups:
        step = max(_PIECE // max(masks.shape[1:].numel(), 1), 1) if device.type == "cpu" else max(rows.shape[0], 1)
        for low in range(0, rows.shape[0], step):
            logits, truth = mask_logits.index_select(0, rows[low : low + step]), masks[targets[low : low + step]]
            here = slice(start, start + logits.shape[0])
            signs = _signs(truth, wide)
            if signs is None:
                losses[:, here], slopes[here] = _soft_piece(logits, truth.to(wide), focal_weight, dice_weight)
            else:
                losses[:, here], slope = _hard_piece(_resized(logits, signs.shape[1:]), signs, focal_weight, dice_weight)
                slopes[here] = _brought_back(slope, logits.shape[1:])
                del slope, signs  # or the next piece would need room beside them
            start += logits.shape[0]
    return losses[0], losses[1], slopes


def _signs(truth: Tensor, dtype: torch.dtype) -> Tensor | None:
    """y = 1 − 2 t where all of `truth` is 0 or 1; None where it isn't, and where looking would hold up a device."""
    if truth.dtype == torch.bool:
        return torch.rsub(truth.view(torch.int8), 1, alpha=2).to(dtype)
    if truth.device.type != "cpu":
        return None
    signs = torch.rsub(truth.to(dtype), 1, alpha=2)
    if not signs.numel() or all(float(end) == 1 for end in signs.square().aminmax()):
        return signs
    check_range("targets", truth, 0.0, 1.0)
    return None


def _soft_piece(logits: Tensor, truth: Tensor, focal_weight: float, dice_weight: float) -> tuple[Tensor, Tensor]:
    """Both losses [2, m] and the slope of their weighted sum [m, h, w], for masks [m, H, W] and predictions [m, h, w]."""
    if torch.is_inference_mode_enabled():  # nothing can be differentiated, and nobody will ask for the slope
        return torch.stack(_plain_piece(logits, truth)), torch.zeros_like(logits)
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        losses = torch.stack(_plain_piece(leaf, truth))
        (slope,) = torch.autograd.grad((focal_weight * losses[0] + dice_weight * losses[1]).sum(), leaf)
    return losses.detach(), slope


def _hard_piece(logits: Tensor, signs: Tensor, focal_weight: float, dice_weight: float) -> tuple[Tensor, Tensor]:
    """Both losses [2, m] and the slope [m, H, W] for masks of 0 and 1, given as y = 1 − 2 t [m, H, W]; the memory of both arguments is used up.

    With z = y x:  1 − p_t = q = σ(z),  −ln p_t = c = ln(1 + e^z),  d (q² c) / dx = y q² (q + 2 (1 − q) c),  y α_t = y / 2 + 1 / 2 − α,  p − t = y q.
    With I = 2 Σ p t + 1 and U = Σ p + Σ t + 1 the dice loss is 1 − I / U, and its slope in x is p (1 − p) (I / U² − 2 t / U).
    """
    x, y = logits.flatten(1), signs.flatten(1)
    pixels, scale = y.shape[1], 1 / max(y.shape[1], 1)
    unlikely, likely, weights = y.new_empty(3, *y.shape)
    costs = F.softplus(x.mul_(y), threshold=40.0)  # e^40 is far from overflow and ln(1 + e^40) is 40 in float64
    torch.sigmoid(x, out=unlikely)
    torch.sub(unlikely.new_ones(()), unlikely, out=likely)  # subtracting from a number has no `out`
    torch.mul(y, scale / 2, out=weights).add_((0.5 - ALPHA) * scale).mul_(unlikely).mul_(unlikely)
    slope = torch.addcmul(unlikely, likely, costs, value=2, out=x).mul_(weights)
    focal = weights.mul_(costs).mul_(y).sum(1)
    steep = likely.mul_(unlikely)  # p (1 − p)
    missed = unlikely.mul_(y)
    truth = (pixels - y.sum(1)) / 2
    union = 2 * truth + missed.sum(1) + 1
    common = 2 * (truth + missed.clamp_max_(0).sum(1)) + 1  # Σ p t = Σ t − Σ (1 − p) t
    inside, outside = (dice_weight / union)[:, None], (dice_weight * common / union.square())[:, None]
    y.sub_(1).mul_(inside).add_(outside).mul_(steep).add_(slope, alpha=focal_weight)  # −2 t / U = (y − 1) / U
    return torch.stack([focal, 1 - common / union]), y.view(signs.shape)


def _resized(logits: Tensor, size: torch.Size) -> Tensor:
    if logits.shape[1:] == size:
        return logits
    return F.interpolate(logits[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _brought_back(slopes: Tensor, size: torch.Size) -> Tensor:
    """The transpose of `_resized`, [m, H, W], which are used up, to [m, h, w]: rows are added where they came from, columns by a matrix product.

    Each row of the larger mask is a mean of two rows of the smaller, so nine tenths of the work is two additions of whole rows; torch's own
    backward adds pixel by pixel and takes several times as long.
    """
    if slopes.shape[1:] == size:
        return slopes
    below, above, share = _neighbours(slopes.shape[1], size[0], slopes)
    rows = slopes.new_zeros(len(slopes), size[0], slopes.shape[2])
    rows.index_add_(1, above, slopes * share[:, None]).index_add_(1, below, slopes.mul_((1 - share)[:, None]))
    below, above, share = _neighbours(slopes.shape[2], size[1], slopes)
    columns = slopes.new_zeros(slopes.shape[2], size[1])
    columns.scatter_add_(1, below[:, None], (1 - share)[:, None]).scatter_add_(1, above[:, None], share[:, None])
    return rows @ columns


def _neighbours(count: int, source: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two of `source` pixels that each of `count` pixels lies between, and the share of the second."""
    place = ((torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) * (source / count) - 0.5).clamp_(min=0)
    below = place.long().clamp_(max=source - 1)
    return below, (below + 1).clamp_(max=source - 1), place - below
