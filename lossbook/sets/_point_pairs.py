"""Cross-entropy and dice loss of matched masks at sampled points; the slopes are written out, and the sampler alone is differentiated by torch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook.sets._mask_costs import dice_loss
from lossbook.sets._mask_pairs import PairLosses, kept_mean, own_slope, plain_gradient, weighted_losses, without
from lossbook.sets._points import sampled

_PIECE = 2**17  # points that are computed together: their temporaries stay in the cache


def point_pair_losses(
    mask_logits: Tensor,
    rows: Tensor,
    place: Tensor,
    truth: Tensor,
    mask_weight: float,
    dice_weight: float,
    *,
    ignored: Tensor | None = None,
    plain: bool,
) -> PairLosses:
    """Of every pair, for predictions [R, h, w] at `rows` [M], read at `place` [M, P, 2], where they should be `truth` [M, P], unless `ignored`."""
    if plain or truth.requires_grad or ignored is not None:
        return weighted_losses(*plain_point_losses(mask_logits, rows, place, truth, ignored), mask_weight, dice_weight)
    return PairLosses(*_PointPairs.apply(mask_logits, rows, place, truth, (mask_weight, dice_weight)))  # type: ignore[no-untyped-call]


def plain_point_losses(mask_logits: Tensor, rows: Tensor, place: Tensor, truth: Tensor, ignored: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Both losses [M] from torch's own operations."""
    scores = sampled(mask_logits[rows], place)
    if ignored is not None:
        scores, truth = without(ignored, scores, truth)
    losses = F.binary_cross_entropy_with_logits(scores, truth, reduction="none")
    mask = losses.mean(1) if ignored is None else kept_mean(losses, ignored)
    return mask, dice_loss(scores, truth.clamp(0, 1), reduction="none")


class _PointPairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mask_logits: Tensor, rows: Tensor, place: Tensor, truth: Tensor, weights: tuple[float, float]) -> tuple[Tensor, ...]:
        ctx.save_for_backward(mask_logits)
        ctx.set_materialize_grads(False)
        with torch.enable_grad():
            leaf = mask_logits.detach()[rows].requires_grad_()
            scores = sampled(leaf, place)
        mask, dice, slopes = _run(scores.detach(), truth, *weights)
        ctx.pairs, ctx.weights, ctx.sampler, ctx.slopes = (rows, place, truth), weights, (scores, leaf), slopes
        return tuple(weighted_losses(mask, dice, *weights))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (mask_logits,) = ctx.saved_tensors
        if all(gradient is None for gradient in gradients):
            return None, None, None, None, None
        gradient = own_slope(gradients)
        if gradient is None:
            losses = lambda leaf: weighted_losses(*plain_point_losses(leaf, *ctx.pairs), *ctx.weights)  # noqa: E731
            return plain_gradient(mask_logits, losses, gradients), None, None, None, None
        scores, leaf = ctx.sampler
        (slopes,) = torch.autograd.grad(scores, leaf, ctx.slopes * gradient[:, None], retain_graph=True)
        result = mask_logits.new_zeros(mask_logits.shape)
        return result.index_copy_(0, ctx.pairs[0], slopes), None, None, None, None


def _run(scores: Tensor, truth: Tensor, mask_weight: float, dice_weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """Both losses [M], and the slopes [M, P] of their weighted sum, a few masks at a time."""
    count, points = scores.shape
    losses, slopes = scores.new_empty(2, count), scores.new_empty(scores.shape)
    step = max(_PIECE // max(points, 1), 1) if scores.device.type == "cpu" else max(count, 1)
    for low in range(0, count, step):
        some = slice(low, low + step)
        losses[:, some] = _piece(scores[some], truth[some], slopes[some], mask_weight, dice_weight)
    return losses[0], losses[1], slopes


def _piece(x: Tensor, t: Tensor, slope: Tensor, mask_weight: float, dice_weight: float) -> Tensor:
    """Both losses [2, m]; writes the slope [m, P].

    The slope of ln(1 + e^x) − x t is p − t. With I = 2 Σ p t + 1 and U = Σ p + Σ t + 1 the dice loss is 1 − I / U, and its slope is
    p (1 − p) (I / U² − 2 t / U).
    """
    probs, other = x.new_empty(2, *x.shape)
    torch.sigmoid(x, out=probs)
    mask = F.softplus(x, threshold=40.0).addcmul_(x, t, value=-1).mean(1)
    common = 2 * torch.mul(probs, t, out=other).sum(1) + 1
    union = probs.sum(1) + t.sum(1) + 1
    steep = torch.addcmul(probs, probs, probs, value=-1, out=other)
    inside, outside = (-2 * dice_weight / union)[:, None], (dice_weight * common / union.square())[:, None]
    share = mask_weight / max(x.shape[1], 1)
    torch.mul(t, inside, out=slope).add_(outside).mul_(steep).add_(probs, alpha=share).sub_(t, alpha=share)
    return torch.stack([mask, 1 - common / union])
