"""Points in masks: drawn, kept where the prediction is least certain, and read bilinearly."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def drawn_points(leading: tuple[int, ...], count: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform points [*leading, P, 2], (x, y) in [0, 1], on the device of `like`; drawn where the generator lives."""
    device = like.device if generator is None else generator.device
    return torch.rand(*leading, count, 2, device=device, generator=generator).to(like.device)


def sampled(masks: Tensor, points: Tensor) -> Tensor:
    """Masks [M, C, H, W] at points [M, P, 2], bilinear between pixel centres, 0 beyond the border: [M, C, P]."""
    return F.grid_sample(masks, 2 * points[:, :, None].to(masks.dtype) - 1, mode="bilinear", align_corners=False)[..., 0]


def uncertain_points(mask_logits: Tensor, count: int, oversample: float, importance: float, generator: torch.Generator | None) -> Tensor:
    """For each mask [M, 1, H, W] the points [M, P, 2] that PointRend trains on.

    The `importance` share is where |logit| is smallest among `oversample` times as many random points; the rest is random.
    """
    masks, certain = len(mask_logits), int(importance * count)
    candidates = drawn_points((masks,), int(count * oversample), mask_logits, generator)
    distance = sampled(mask_logits, candidates)[:, 0].abs()
    nearest = distance.topk(certain, dim=1, largest=False, sorted=False).indices  # their order does not matter, and sorting is half of topk
    chosen = candidates.gather(1, nearest[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, drawn_points((masks,), count - certain, mask_logits, generator)], 1)
