"""What the mask part of a matching costs: on a CPU image after image in the cache, elsewhere all images of a layer at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook.sets._cost_sums import cost_sums
from lossbook.sets._mask_costs import MaskCosts, costs_from, plain_mask_costs, with_ones
from lossbook.sets._mask_pairs import without
from lossbook.sets._points import corners, read_ignored_at, read_shared
from lossbook.sets._traced import padded


def matching_costs(
    mask_logits: Tensor,
    masks: list[Tensor],
    points: Tensor | None,
    mask_weight: float,
    dice_weight: float,
    *,
    ignored: Tensor | None = None,
    plain: bool,
) -> Tensor:
    """mask_weight · C_mask + dice_weight · C_dice of every query and target of an image, [L, B, Q, N]; meaningless where it has fewer than N targets.

    For predictions [L, B, Q, H, W] and one [N_b, H', W'] an image; focal costs of whole masks, or cross-entropy at `points` [L, B, P, 2]. What is
    `ignored`, bool [B, H', W'], costs nothing.
    """
    if not masks:
        return mask_logits.new_zeros(*mask_logits.shape[:3], 0)
    with torch.no_grad():
        if ignored is not None:
            return costs_by_layer(mask_logits, [truth.detach() for truth in masks], points, mask_weight, dice_weight, ignored)
        run = costs_by_image if mask_logits.device.type == "cpu" and not plain else costs_by_layer
        return run(mask_logits, [truth.detach() for truth in masks], points, mask_weight, dice_weight)


def costs_by_image(mask_logits: Tensor, masks: list[Tensor], points: Tensor | None, mask_weight: float, dice_weight: float) -> Tensor:
    """No query is compared with another image's masks, and every temporary is small."""
    layers, batch, count = mask_logits.shape[:3]
    wide, most = mask_logits.dtype, max(truth.shape[0] for truth in masks)
    table, sizes = mask_logits.new_zeros(layers, batch, 1 + most, 2, count), mask_logits.new_zeros(layers, batch, most)
    for image, truth in enumerate(masks):
        right = with_ones(nearest(truth, mask_logits.shape[-2:]).flatten(1), wide) if points is None else truth
        for layer in range(layers if truth.shape[0] else 0):
            scores = mask_logits[layer, image]
            if points is None:
                scores = scores.flatten(1)
            else:
                read = [read_shared(values, corners(points[layer, image], values.shape[1:], wide)) for values in (scores, truth)]
                scores, right = read[0].t(), with_ones(read[1].t(), wide)
            table[layer, image, : right.shape[0]] = cost_sums(scores, right, focal=points is None)
            sizes[layer, image, : truth.shape[0]] = right[1:].sum(1)
    pixels = mask_logits.shape[-2:].numel() if points is None else points.shape[2]
    costs = costs_from(table, sizes, pixels, focal=points is None)
    return mask_weight * costs.mask + dice_weight * costs.dice


def costs_by_layer(
    mask_logits: Tensor, masks: list[Tensor], points: Tensor | None, mask_weight: float, dice_weight: float, ignored: Tensor | None = None
) -> Tensor:
    """The same with padded targets and batched kernels: a device is kept busy by few large launches."""
    truth = padded([values.to(mask_logits) for values in masks], plain=True)  # [B, N, H', W']
    if points is None:
        truth = nearest(truth.flatten(0, 1), mask_logits.shape[-2:]).reshape(*truth.shape[:2], *mask_logits.shape[-2:])
        ignored = None if ignored is None else nearest(ignored.to(truth.dtype), mask_logits.shape[-2:]) > 0
    costs = []
    for layer, scores in enumerate(mask_logits):
        pair, nothing = [scores, truth], ignored
        if points is not None:
            place = 2 * points[layer, :, :, None].to(scores.dtype) - 1
            pair = [F.grid_sample(values, place, mode="bilinear", align_corners=False) for values in pair]
            nothing = None if ignored is None else read_ignored_at(ignored, place[:, :, 0])
        found = _plain_costs(pair[0].flatten(2), pair[1].flatten(2), nothing, focal=points is None)
        costs.append(mask_weight * found.mask + dice_weight * found.dice)
    return torch.stack(costs)


def _plain_costs(scores: Tensor, truth: Tensor, ignored: Tensor | None, *, focal: bool) -> MaskCosts:
    """Both costs [B, Q, N] of [B, Q, P] and [B, N, P], without what is `ignored`, [B, ...]."""
    if ignored is None:
        return plain_mask_costs(scores, truth, focal=focal)
    nothing = ignored.flatten(1)[:, None]
    found = plain_mask_costs(*without(nothing, scores, truth), focal=focal)
    return found._replace(mask=found.mask * nothing.shape[-1] / (~nothing).sum(-1, keepdim=True).clamp_min(1))


def nearest(masks: Tensor, size: torch.Size) -> Tensor:
    """Masks [N, H, W] at another size, by the nearest pixel."""
    if masks.shape[1:] == size:
        return masks
    if not masks.shape[0]:
        return masks.new_zeros(0, *size)
    numbers = masks.view(torch.uint8) if masks.dtype == torch.bool else masks
    numbers = numbers if numbers.dtype == torch.uint8 or numbers.dtype.is_floating_point else numbers.float()
    return F.interpolate(numbers[:, None], size=size, mode="nearest")[:, 0]
