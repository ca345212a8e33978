"""Points in masks: drawn, kept where the prediction is least certain, and read bilinearly."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_PIECE = 2**17  # pixels that are made numbers together


class Corners(NamedTuple):
    """The four pixels around each point, as indices into the flattened mask, and their bilinear weights; both [..., P, 4].

    Pixel centres lie at (i + 1/2) / size; beyond the border a mask is 0, so corners out there weigh nothing.
    """

    pixel: Tensor
    weight: Tensor


def corners(points: Tensor, size: torch.Size, dtype: torch.dtype) -> Corners:
    """Of points [..., P, 2], (x, y) in [0, 1], in a mask of `size` (height, width)."""
    height, width = size
    place = points.to(dtype) * torch.tensor([width, height], dtype=dtype, device=points.device) - 0.5
    low = place.floor()
    share = place - low
    x, y = (
        low[..., 0, None] + torch.tensor([0.0, 1, 0, 1], dtype=dtype, device=points.device),
        low[..., 1, None] + torch.tensor([0.0, 0, 1, 1], dtype=dtype, device=points.device),
    )
    sides = torch.stack([1 - share, share], -1)  # [..., P, xy, low or high]
    weight = (sides[..., 1, :, None] * sides[..., 0, None, :]).flatten(-2)  # y first: (low, low), (low, high), (high, low), (high, high)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    pixel = y.clamp_(0, height - 1) * width + x.clamp_(0, width - 1)
    return Corners(pixel.long(), weight * inside)


def read_shared(masks: Tensor, at: Corners) -> Tensor:
    """Masks [C, H, W], all at the same points: [P, C].

    It is a sum of four rows of the transposed masks. Large masks of a narrow type are picked first and made numbers after.
    """
    flat = masks.flatten(1)
    if masks.dtype.is_floating_point or flat.shape[1] <= at.pixel.numel():
        return F.embedding_bag(at.pixel, flat.to(at.weight.dtype).t().contiguous(), mode="sum", per_sample_weights=at.weight)
    pixel = at.pixel.t().contiguous()
    picked = torch.from_numpy(flat.numpy().take(pixel.numpy(), axis=1)) if masks.device.type == "cpu" else flat[:, pixel]
    return (picked.to(at.weight.dtype) * at.weight.t()).sum(1).t()


def read_own(masks: Tensor, which: Tensor, place: Tensor) -> Tensor:
    """Of masks [N, H, W] the ones at `which` [M], each at its own places [M, P, 2]: [M, P]. A few masks at a time become numbers."""
    step = max(_PIECE // max(masks.shape[1:].numel(), 1), 1) if masks.device.type == "cpu" else max(len(which), 1)
    pieces = zip(torch.split(which, step), torch.split(place, step), strict=True)
    return torch.cat([sampled(masks[chosen].to(place.dtype), some) for chosen, some in pieces])


def sampled(masks: Tensor, place: Tensor) -> Tensor:
    """Predictions [M, H, W], each at its own places [M, P, 2], (x, y) in [−1, 1], differentiable: [M, P]."""
    return F.grid_sample(masks[:, None], place[:, :, None].to(masks.dtype), mode="bilinear", align_corners=False)[:, 0, :, 0]


def read_ignored_at(ignored: Tensor, place: Tensor) -> Tensor:
    """Of maps [M, H, W] of ignored pixels, whether each of its own places [M, P, 2] lies on one: bool [M, P]."""
    pixels = F.grid_sample(ignored[:, None].to(place.dtype), place[:, :, None], mode="nearest", align_corners=False)
    return pixels[:, 0, :, 0] > 0.5


def drawn_points(leading: tuple[int, ...], count: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform points [*leading, P, 2], (x, y) in [0, 1], on the device of `like`; drawn where the generator lives."""
    device = like.device if generator is None else generator.device
    return torch.rand(*leading, count, 2, device=device, generator=generator).to(like.device)


def drawn_places(masks: int, count: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """`drawn_points` [M, P, 2] in [−1, 1], as the sampler has it; in place, since there are millions of them."""
    return drawn_points((masks,), count, like, generator).mul_(2).sub_(1)


def uncertain_places(mask_logits: Tensor, count: int, oversample: float, importance: float, generator: torch.Generator | None) -> Tensor:
    """For each mask [M, H, W] the places [M, P, 2] in [−1, 1] that PointRend trains on.

    The `importance` share is where |logit| is smallest among `oversample` times as many random ones; the rest is random.
    """
    masks, certain = len(mask_logits), int(importance * count)
    candidates = drawn_places(masks, int(count * oversample), mask_logits, generator)
    nearest = sampled(mask_logits, candidates).abs_().topk(certain, dim=1, largest=False, sorted=False).indices
    return torch.cat([candidates.gather(1, nearest[..., None].expand(-1, -1, 2)), drawn_places(masks, count - certain, mask_logits, generator)], 1)
