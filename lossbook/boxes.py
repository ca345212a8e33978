"""How far one box is from another: IoU and its three repairs, as losses of pairs and as matrices of all pairs.

A box is (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, in any unit; `boxes_cxcywh` are (centre x, centre y, width, height).
Losses and overlaps come back in float32 at least. Chapters: balancing, localization, sets.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook._core.checks import check_floating, check_number, check_same_device, check_same_shape, check_values, wrong_value
from lossbook._core.door import full_precision, plain_arguments, widened
from lossbook._core.reduction import Reduction, check_reduction, reduce

__all__ = ["ciou_loss", "diou_loss", "giou_loss", "iou_loss", "pairwise_giou", "pairwise_iou", "smooth_l1", "to_cxcywh", "to_xyxy"]


class _Overlap(NamedTuple):
    """Areas of intersection, union and hull (the smallest box around both), all three over the hull's own."""

    intersection: Tensor
    union: Tensor
    hull: Tensor


def _check_layout(parameter: str, boxes: Tensor) -> None:
    check_floating(parameter, boxes)
    if boxes.ndim == 0 or boxes.shape[-1] != 4:
        wrong_value(parameter, "have shape [..., 4]", tuple(boxes.shape))


def _check_boxes(parameter: str, boxes: Tensor) -> None:
    _check_layout(parameter, boxes)
    sides = boxes.detach()[..., 2:] - boxes.detach()[..., :2]
    check_values(parameter, sides, lambda sides: sides >= 0, "have x1 <= x2 and y1 <= y2 in every box", lambda sides: f"a side of {sides.min():g}")


def _check_pairs(boxes_xyxy: Tensor, targets_xyxy: Tensor, reduction: str) -> None:
    _check_boxes("boxes_xyxy", boxes_xyxy)
    _check_boxes("targets_xyxy", targets_xyxy)
    check_same_shape("targets_xyxy", targets_xyxy, "boxes_xyxy", boxes_xyxy)
    check_reduction(reduction)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, and 0 (in value and gradient) where the denominator is 0."""
    some = denominator > torch.finfo(denominator.dtype).tiny
    return torch.where(some, numerator, 0.0) / torch.where(some, denominator, 1.0)


def _unit(length: Tensor) -> Tensor:
    """What to measure in, so that squares and areas neither overflow nor vanish: the length, held constant."""
    return length.detach().clamp_min(torch.finfo(length.dtype).tiny)


def _along(low: Tensor, high: Tensor, target_low: Tensor, target_high: Tensor) -> tuple[Tensor, ...]:
    """Along one axis the shared length, both sides and the hull, over the hull: no area changes its share when an axis is stretched."""
    shared = (torch.minimum(high, target_high) - torch.maximum(low, target_low)).clamp_min(0)
    hull = torch.maximum(high, target_high) - torch.minimum(low, target_low)
    unit = _unit(hull)
    return shared / unit, (high - low) / unit, (target_high - target_low) / unit, hull / unit


def _overlap(boxes: Tensor, targets: Tensor) -> _Overlap:
    """Of boxes [..., 4] and targets [..., 4] that broadcast against each other."""
    left, top, right, bottom = (boxes / 2).unbind(-1)  # halved, the difference of any two finite numbers is finite
    target_left, target_top, target_right, target_bottom = (targets / 2).unbind(-1)
    width, side, target_side, hull = _along(left, right, target_left, target_right)
    height, upright, target_upright, tall = _along(top, bottom, target_top, target_bottom)
    intersection = width * height
    return _Overlap(intersection, side * upright + target_side * target_upright - intersection, hull * tall)


def _iou(overlap: _Overlap) -> Tensor:
    return _ratio(overlap.intersection, overlap.union)


def _giou(overlap: _Overlap) -> Tensor:
    return _iou(overlap) - _ratio(overlap.hull - overlap.union, overlap.hull)


def _diou(boxes: Tensor, targets: Tensor, overlap: _Overlap) -> Tensor:
    """IoU minus the squared distance of the centres over the squared diagonal of the hull."""
    (low, high), (target_low, target_high) = ((ends / 2).tensor_split(2, -1) for ends in (boxes, targets))
    shift, hull = (low + high) / 2 - (target_low + target_high) / 2, torch.maximum(high, target_high) - torch.minimum(low, target_low)
    unit = _unit(hull.amax(-1, keepdim=True))
    return _iou(overlap) - _ratio((shift / unit).square().sum(-1), (hull / unit).square().sum(-1))


def _aspect(boxes: Tensor) -> Tensor:
    """arctan(width / height), in [0, π/2]; π/4, without a gradient, for a point."""
    low, high = (boxes / 2).tensor_split(2, -1)
    sides = high - low
    shares = sides / _unit(sides.amax(-1, keepdim=True))
    width, height = torch.where((shares > 0).any(-1, keepdim=True), shares, 1.0).unbind(-1)
    return torch.atan2(width, height)


@plain_arguments
def to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """Boxes by centre and size as boxes by corners.

    Args:
        boxes_cxcywh: (centre x, centre y, width, height) [..., 4], floating.

    Returns:
        (x1, y1, x2, y2) [..., 4].

    Raises:
        TypeError: a dtype that is not floating point.
        ValueError: a last axis that is not 4 long.

    Example:
        >>> to_xyxy(torch.tensor([2.0, 3.0, 2.0, 4.0]))
        tensor([1., 1., 3., 5.])
    """
    _check_layout("boxes_cxcywh", boxes_cxcywh)
    centre, half = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


@plain_arguments
def to_cxcywh(boxes_xyxy: Tensor) -> Tensor:
    """Boxes by corners as boxes by centre and size.

    Args:
        boxes_xyxy: (x1, y1, x2, y2) [..., 4], floating.

    Returns:
        (centre x, centre y, width, height) [..., 4].

    Raises:
        TypeError: a dtype that is not floating point.
        ValueError: a last axis that is not 4 long.

    Example:
        >>> to_cxcywh(torch.tensor([1.0, 1.0, 3.0, 5.0]))
        tensor([2., 3., 2., 4.])
    """
    _check_layout("boxes_xyxy", boxes_xyxy)
    wide = widened(boxes_xyxy)  # in float16 the sum of two corners at 40,000 is an infinity
    low, high = wide[..., :2], wide[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1).to(boxes_xyxy.dtype)


def _all_pairs(boxes_xyxy: Tensor, targets_xyxy: Tensor) -> _Overlap:
    _check_boxes("boxes_xyxy", boxes_xyxy)
    _check_boxes("targets_xyxy", targets_xyxy)
    if boxes_xyxy.ndim < 2 or targets_xyxy.ndim != boxes_xyxy.ndim or boxes_xyxy.shape[:-2] != targets_xyxy.shape[:-2]:
        expected = f"have shape [..., N, 4] with the leading axes of `boxes_xyxy` {tuple(boxes_xyxy.shape)}"
        wrong_value("targets_xyxy", expected, tuple(targets_xyxy.shape))
    check_same_device("targets_xyxy", targets_xyxy, "boxes_xyxy", boxes_xyxy)
    return _overlap(boxes_xyxy.unsqueeze(-2), targets_xyxy.unsqueeze(-3))  # [..., Q, 1, 4] and [..., 1, N, 4]


@full_precision
def pairwise_iou(boxes_xyxy: Tensor, targets_xyxy: Tensor) -> Tensor:
    r"""Intersection over union of every box with every target: |A ∩ B| / |A ∪ B|.

    Args:
        boxes_xyxy: [Q, 4], or [..., Q, 4] with leading axes, in any unit of length.
        targets_xyxy: [N, 4], or [..., N, 4] with the same leading axes.

    Returns:
        IoU in [0, 1], of shape [Q, N] or [..., Q, N]; 0 for two boxes without area.

    Raises:
        TypeError: boxes that are not floating point.
        ValueError: no last axis of 4, other leading axes, a box with x2 < x1 or y2 < y1 (or NaN).

    Example:
        >>> pairwise_iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0]]))
        tensor([[0.3333, 0.0000]])

    Reference:
        P. Jaccard, The distribution of the flora in the alpine zone, 1912.

    Conventions:
        Coordinates are points on the line, not pixels: the width is x2 − x1, without the + 1 of some detection code.
    """
    return _iou(_all_pairs(boxes_xyxy, targets_xyxy))


@full_precision
def pairwise_giou(boxes_xyxy: Tensor, targets_xyxy: Tensor) -> Tensor:
    r"""Generalised IoU of every box with every target: IoU − |C ∖ (A ∪ B)| / |C|, where C is the smallest box around both.

    Args:
        boxes_xyxy: [Q, 4], or [..., Q, 4] with leading axes, in any unit of length.
        targets_xyxy: [N, 4], or [..., N, 4] with the same leading axes.

    Returns:
        GIoU in [−1, 1], of shape [Q, N] or [..., Q, N].

    Raises:
        TypeError: boxes that are not floating point.
        ValueError: no last axis of 4, other leading axes, a box with x2 < x1 or y2 < y1 (or NaN).

    Example:
        >>> pairwise_giou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0], [4.0, 0.0, 6.0, 2.0]]))
        tensor([[ 0.3333, -0.3333]])

    Reference:
        H. Rezatofighi et al., Generalized intersection over union, 2019, algorithm 1.
    """
    return _giou(_all_pairs(boxes_xyxy, targets_xyxy))


@full_precision
def iou_loss(boxes_xyxy: Tensor, targets_xyxy: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""1 − IoU. Boxes that do not touch all cost 1, and have no gradient.

    Args:
        boxes_xyxy: [..., 4], predicted, in any unit of length.
        targets_xyxy: [..., 4], of the same shape.
        reduction: "mean" (over the boxes), "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of shape [...], in [0, 1].

    Raises:
        TypeError: boxes that are not floating point.
        ValueError: another shape, a box with x2 < x1 or y2 < y1 (or NaN), an unknown reduction.

    Example:
        >>> iou_loss(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 0.0, 3.0, 2.0]))
        tensor(0.6667)

    Reference:
        J. Yu et al., UnitBox, 2016, who take −ln IoU.

    Conventions:
        mmdetection's `IoULoss` is −ln IoU as well. No small number is added to a denominator: boxes of area 0 are handled.
    """
    _check_pairs(boxes_xyxy, targets_xyxy, reduction)
    return reduce(1 - _iou(_overlap(boxes_xyxy, targets_xyxy)), reduction)


@full_precision
def giou_loss(boxes_xyxy: Tensor, targets_xyxy: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""1 − GIoU: what `iou_loss` lacks, a gradient that pulls together boxes that do not touch.

    Args:
        boxes_xyxy: [..., 4], predicted, in any unit of length.
        targets_xyxy: [..., 4], of the same shape.
        reduction: "mean" (over the boxes), "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of shape [...], in [0, 2].

    Raises:
        TypeError: boxes that are not floating point.
        ValueError: another shape, a box with x2 < x1 or y2 < y1 (or NaN), an unknown reduction.

    Example:
        >>> giou_loss(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([4.0, 0.0, 6.0, 2.0]))
        tensor(1.3333)

    Reference:
        H. Rezatofighi et al., Generalized intersection over union, 2019, algorithm 2.
    """
    _check_pairs(boxes_xyxy, targets_xyxy, reduction)
    return reduce(1 - _giou(_overlap(boxes_xyxy, targets_xyxy)), reduction)


@full_precision
def diou_loss(boxes_xyxy: Tensor, targets_xyxy: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""1 − IoU + ρ² / c²: ρ is the distance of the two centres, c the diagonal of the smallest box around both.

    Args:
        boxes_xyxy: [..., 4], predicted, in any unit of length.
        targets_xyxy: [..., 4], of the same shape.
        reduction: "mean" (over the boxes), "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of shape [...], in [0, 2].

    Raises:
        TypeError: boxes that are not floating point.
        ValueError: another shape, a box with x2 < x1 or y2 < y1 (or NaN), an unknown reduction.

    Example:
        >>> diou_loss(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([4.0, 0.0, 6.0, 2.0]))
        tensor(1.4000)

    Reference:
        Z. Zheng et al., Distance-IoU loss, 2020, equations 6 and 7.
    """
    _check_pairs(boxes_xyxy, targets_xyxy, reduction)
    return reduce(1 - _diou(boxes_xyxy, targets_xyxy, _overlap(boxes_xyxy, targets_xyxy)), reduction)


@full_precision
def ciou_loss(boxes_xyxy: Tensor, targets_xyxy: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""1 − IoU + ρ² / c² + α v: `diou_loss` plus v = (4/π²) (arctan(w*/h*) − arctan(w/h))², a difference of aspect ratios.

    Args:
        boxes_xyxy: [..., 4], predicted, in any unit of length.
        targets_xyxy: [..., 4], of the same shape.
        reduction: "mean" (over the boxes), "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of shape [...], in [0, 2.5].

    Raises:
        TypeError: boxes that are not floating point.
        ValueError: another shape, a box with x2 < x1 or y2 < y1 (or NaN), an unknown reduction.

    Example:
        >>> ciou_loss(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([0.0, 0.0, 4.0, 1.0]))
        tensor(0.7470)

    Reference:
        Z. Zheng et al., Distance-IoU loss, 2020, equations 8 to 11.

    Conventions:
        α = v / (1 − IoU + v) weighs and is held constant in the gradient, as in torchvision; the true gradient of α v is another,
        and code that writes v² / (1 − IoU + v), as mmdetection has done, takes that one.
    """
    _check_pairs(boxes_xyxy, targets_xyxy, reduction)
    overlap = _overlap(boxes_xyxy, targets_xyxy)
    v = (4 / math.pi**2) * (_aspect(targets_xyxy) - _aspect(boxes_xyxy)).square()
    alpha = _ratio(v, 1 - _iou(overlap) + v).detach()
    return reduce(1 - _diou(boxes_xyxy, targets_xyxy, overlap) + alpha * v, reduction)


@full_precision
def smooth_l1(offsets: Tensor, targets: Tensor, *, beta: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    r"""Smooth L1: e² / (2β) where |e| < β, |e| − β/2 beyond, for e = offset − target. Quadratic near the target, linear far from it.

    Args:
        offsets: any shape, real: predicted box coordinates or regression offsets, in the unit of β.
        targets: of the same shape.
        beta: the error at which the two pieces meet, with slope 1; 0 gives the L1 loss.
        reduction: "mean" (over the elements), "sum" or "none".

    Returns:
        A scalar, or with "none" the losses of the shape of `offsets`.

    Raises:
        TypeError: offsets that are not floating point.
        ValueError: another shape, β < 0, an unknown reduction.

    Example:
        >>> smooth_l1(torch.tensor([0.5, 1.0, 3.0]), torch.zeros(3), reduction="none")
        tensor([0.1250, 0.5000, 2.5000])

    Reference:
        R. Girshick, Fast R-CNN, 2015, equation 3 (β = 1).

    Conventions:
        Huber's loss is β times this. A detector sums it over the positive boxes only and has a denominator of its own for it.
    """
    check_floating("offsets", offsets)
    check_floating("targets", targets)
    check_same_shape("targets", targets, "offsets", offsets)
    check_number("beta", beta, low=0)
    check_reduction(reduction)
    return reduce(F.smooth_l1_loss(offsets, targets, beta=beta, reduction="none"), reduction)
