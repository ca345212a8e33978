"""The class part of a set loss without "no object": each class of a query is a yes or a no, by focal or varifocal loss.

Plainly it is the sum over all queries and classes of `plain_focal` or `plain_varifocal`.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook._core.focal import focal_and_slope, plain_focal, power
from lossbook._core.onepass import OnePass, one_pass
from lossbook._core.stable import bernoulli_costs
from lossbook.boxes import iou_loss, to_xyxy
from lossbook.sets._pairs import Pairs

MATCHING_ALPHA = 0.25  # and γ = 2 in the matching, in Deformable DETR and RT-DETR whatever they are in the loss
_NO = -1.0  # in place of a quality, where a class is not the target's: a pair without overlap has quality 0


def focal_gains(logits: Tensor) -> Tensor:
    """What a yes saves: (1 − α) p² · −ln(1 − p) − α (1 − p)² · −ln p, with −ln(1 − p) = ln(1 + e^s) and −ln p = ln(1 + e^s) − s."""
    probs, miss = logits.sigmoid(), F.softplus(logits, threshold=40.0)
    return (1 - MATCHING_ALPHA) * probs.square() * miss - MATCHING_ALPHA * (1 - probs).square() * (miss - logits)


def focal_class_loss(logits: Tensor, pairs: Pairs, class_weights: list[float] | None, *, alpha: float, gamma: float, plain: bool) -> Tensor:
    """Σ over queries and classes of the focal loss by layer, [L], for logits [L, B, Q, K]; 1 is the target at the class of a pair, 0 elsewhere."""
    targets = _laid_out(pairs, torch.ones_like(pairs.labels, dtype=logits.dtype), logits, 0.0)
    loss = OnePass(partial(plain_focal, alpha=alpha, gamma=gamma), partial(focal_and_slope, alpha=alpha, gamma=gamma))
    return _summed(loss, logits, targets, class_weights, plain=plain)


def varifocal_class_loss(
    logits: Tensor, pairs: Pairs, quality: Tensor, class_weights: list[float] | None, *, alpha: float, gamma: float, plain: bool
) -> Tensor:
    """The same with the varifocal loss, whose targets are the qualities [M] of the pairs."""
    targets = _laid_out(pairs, quality, logits, _NO)
    loss = OnePass(partial(plain_varifocal, alpha=alpha, gamma=gamma), partial(_varifocal_and_slope, alpha=alpha, gamma=gamma))
    return _summed(loss, logits, targets, class_weights, plain=plain)


@torch.no_grad()
def pair_quality(boxes_cxcywh: Tensor, rows: Tensor, targets_cxcywh: Tensor) -> Tensor:
    """IoU [M] of the boxes [R, 4] at `rows` with their targets [M, 4]."""
    return 1 - iou_loss(to_xyxy(boxes_cxcywh[rows]), to_xyxy(targets_cxcywh), reduction="none")


def _laid_out(pairs: Pairs, values: Tensor, logits: Tensor, elsewhere: float) -> Tensor:
    """Values [M] at the query and the class of each pair, in the shape of `logits`."""
    place = pairs.queries * logits.shape[-1] + pairs.labels
    table = torch.full((logits.numel(),), elsewhere, dtype=logits.dtype, device=logits.device)
    return table.scatter(0, place, values).view(logits.shape)


def _summed(loss: OnePass, logits: Tensor, targets: Tensor, class_weights: list[float] | None, *, plain: bool) -> Tensor:
    if class_weights is not None:
        losses = loss.plain(logits, targets) if plain else one_pass(loss, logits, targets, "none")
        return (losses * losses.new_tensor(class_weights)).flatten(1).sum(1)
    if plain:
        return loss.plain(logits, targets).flatten(1).sum(1)
    return torch.stack([one_pass(loss, *layer, "sum") for layer in zip(logits, targets, strict=True)])


def plain_varifocal(logits: Tensor, quality: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """w · BCE(σ, q) with w = q at the class of a pair; w = α p^γ and q = 0 elsewhere. The weight has no gradient."""
    weight = torch.where(quality < 0, alpha * power(logits.detach().sigmoid(), gamma), quality)
    return weight * bernoulli_costs(logits, quality.clamp_min(0))


def _varifocal_and_slope(logits: Tensor, quality: Tensor, scale: float, *, alpha: float, gamma: float) -> tuple[Tensor, Tensor]:
    """With BCE = ln(1 + e^s) − s q, whose slope is p − q."""
    probs, target = logits.sigmoid(), quality.clamp_min(0)
    played_down = probs * probs if gamma == 2 else probs**gamma
    weight = torch.where(quality < 0, played_down.mul_(alpha), quality).mul_(scale)
    losses = F.softplus(logits, threshold=40.0).addcmul_(logits, target, value=-1).mul_(weight)
    return losses, probs.sub_(target).mul_(weight)
