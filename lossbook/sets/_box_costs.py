"""What a matching of boxes costs: what a query says for the label of a target, and how far the two boxes are apart."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbook.boxes import pairwise_giou, to_xyxy


@torch.no_grad()
def plain_box_costs(gains: Tensor, boxes: Tensor, target_boxes: Tensor, weights: dict[str, float]) -> Tensor:
    """`pairwise_box_costs` as it is written down."""
    targets = target_boxes.expand(len(boxes), *target_boxes.shape)
    distance = (boxes[..., None, :] - targets[:, :, None]).abs().sum(-1)
    return weights["l1"] * distance - weights["class"] * gains - weights["giou"] * pairwise_giou(to_xyxy(boxes), to_xyxy(targets))


@torch.no_grad()
def pairwise_box_costs(gains: Tensor, boxes: Tensor, target_boxes: Tensor, weights: dict[str, float]) -> Tensor:
    """−class · gain + l1 · |b − b'|₁ − giou · GIoU for every query and target of an image, [L, B, Q, N], without any pair across images.

    The gains [L, B, Q, N] are what the class of a target speaks for each query, such as its probability.

    With raw overlaps w' = min(right, right') − max(left, left') and h' alike, intersection is max(w', 0) max(h', 0), and the hull is
    (w + w_target − w') (h + h_target − h'): its sides are the two sides minus their overlap, also where that is negative.
    """
    layers, batch, count, size = gains.shape
    flat = boxes.flatten(0, 1), target_boxes.expand(layers, batch, size, 4).flatten(0, 1)
    cost = torch.cdist(*flat, p=1).view(layers, batch, count, size).mul_(weights["l1"])
    cost.sub_(gains, alpha=weights["class"])
    centre, side = boxes.movedim(-1, 0).unsqueeze(-1).contiguous().split_with_sizes([2, 2])  # [2, L, B, Q, 1]: x and y at once
    target_centre, target_side = target_boxes.movedim(-1, 0).unsqueeze(-2).contiguous().split_with_sizes([2, 2])  # [2, B, 1, N]
    target_centre, target_side = target_centre[:, None], target_side[:, None]
    inner = torch.minimum(centre + side / 2, target_centre + target_side / 2)
    inner.sub_(torch.maximum(centre - side / 2, target_centre - target_side / 2))
    tiny = torch.finfo(cost.dtype).tiny  # two points at one place: 0 / tiny + tiny / tiny − 1 = 0
    hull = (side + target_side).sub_(inner)
    inner.clamp_min_(0)
    hull, intersection = hull[0].mul_(hull[1]).clamp_min_(tiny), inner[0].mul_(inner[1])
    union = (side[0] * side[1] + target_side[0] * target_side[1]).sub_(intersection).clamp_min_(tiny)
    giou = intersection.div_(union).add_(union.div_(hull)).sub_(1)
    return cost.sub_(giou, alpha=weights["giou"])
