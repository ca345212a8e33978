"""L1 distance and GIoU loss of matched boxes; on a CPU with their slopes written out, one node in the graph in place of fifty."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook.boxes import giou_loss, to_xyxy
from lossbook.sets._traced import plain_slope, several

Array = np.ndarray[Any, np.dtype[Any]]


def box_pair_losses(boxes_cxcywh: Tensor, rows: Tensor, targets_cxcywh: Tensor, *, plain: bool) -> tuple[Tensor, Tensor]:
    """|b − t|₁ and 1 − GIoU(b, t), each [M], for the boxes [R, 4] at `rows` [M] and targets [M, 4]."""
    if plain or boxes_cxcywh.device.type != "cpu" or targets_cxcywh.requires_grad:
        return plain_box_pair_losses(boxes_cxcywh, rows, targets_cxcywh)
    l1, giou = _BoxPairs.apply(boxes_cxcywh, rows, targets_cxcywh)  # type: ignore[no-untyped-call]
    return l1, giou


def plain_box_pair_losses(boxes_cxcywh: Tensor, rows: Tensor, targets_cxcywh: Tensor) -> tuple[Tensor, Tensor]:
    """The same from torch's own operations."""
    picked = boxes_cxcywh[rows]
    return (picked - targets_cxcywh).abs().sum(1), giou_loss(to_xyxy(picked), to_xyxy(targets_cxcywh), reduction="none")


class _BoxPairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, boxes: Tensor, rows: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(boxes, rows, targets)
        values = _losses_and_slopes(boxes.index_select(0, rows).numpy(), targets.numpy())
        l1, giou, *ctx.slopes = (torch.from_numpy(value) for value in values)
        return l1, giou

    @staticmethod
    def backward(ctx: Any, l1_gradient: Tensor, giou_gradient: Tensor) -> tuple[Tensor | None, None, None]:
        boxes, rows, targets = ctx.saved_tensors
        if (
            torch.is_grad_enabled() or several(l1_gradient) or several(giou_gradient)
        ):  # a gradient that will itself be differentiated, or many at once
            losses = lambda boxes: plain_box_pair_losses(boxes, rows, targets)  # noqa: E731
            return plain_slope(boxes, losses, (l1_gradient, giou_gradient)), None, None
        l1_slope, giou_slope = ctx.slopes
        slope = torch.addcmul(l1_slope * l1_gradient[:, None], giou_slope, giou_gradient[:, None])
        return torch.zeros_like(boxes).index_copy_(0, rows, slope), None, None


def _losses_and_slopes(boxes: Array, targets: Array) -> tuple[Array, Array, Array, Array]:
    """L1 and 1 − GIoU [M], and their slopes [M, 4], for x and y at once; numpy, whose calls are cheaper on a few hundred numbers.

    Along each axis `inner` = min(high, high') − max(low, low') is the overlap (minus the gap where there is none) and `hull` = side + side' − inner.
    With intersection I = Π max(inner, 0), union U = Π side + Π side' − I and hull C = Π hull, GIoU = I / U + U / C − 1.
    """
    difference = boxes - targets
    side, target_side = boxes[:, 2:], targets[:, 2:]
    high_gap = difference[:, :2] + difference[:, 2:] / 2  # high − high'
    low_gap = high_gap - difference[:, 2:]
    inner = target_side + np.minimum(high_gap, 0) - np.maximum(low_gap, 0)
    hull = side + target_side - inner
    overlap = np.maximum(inner, 0)
    tiny = np.finfo(boxes.dtype).tiny  # two points at one place: 0 / tiny + tiny / tiny − 1 = 0
    intersection = overlap[:, :1] * overlap[:, 1:]
    union = np.maximum(side[:, :1] * side[:, 1:] + target_side[:, :1] * target_side[:, 1:] - intersection, tiny)
    area = np.maximum(hull[:, :1] * hull[:, 1:], tiny)
    iou, filled = intersection / union, union / area

    in_union = 1 / area - iou / union  # d GIoU / dU, then dI (U falls with I), then d / d hull, the product of the other side
    in_intersection, in_hull = 1 / union - in_union, hull[:, ::-1] * (filled / -area)
    in_inner = in_intersection * overlap[:, ::-1] * (inner >= 0) - in_hull
    in_side = in_union * side[:, ::-1] + in_hull
    half = boxes.dtype.type(0.5)  # at a tie each of the two ends moves half, as torch.minimum has it
    high_moves, low_moves = np.heaviside(-high_gap, half), np.heaviside(low_gap, half)
    slope = np.concatenate([in_inner * (low_moves - high_moves), in_inner * (high_moves + low_moves) / -2 - in_side], 1)
    return np.abs(difference).sum(1), (2 - iou - filled)[:, 0], np.sign(difference), slope
