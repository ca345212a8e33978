"""The loss of a set of boxes: DETR's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lossbook._core.checks import check_count, check_floating, check_same_device, check_values, wrong_value
from lossbook._core.door import full_precision, plain_arguments
from lossbook.boxes import pairwise_giou, to_xyxy
from lossbook.sets._box_pairs import box_pair_losses
from lossbook.sets._class_loss import class_loss
from lossbook.sets._matching import assign, pairs_by_image
from lossbook.sets._result import SetLoss, set_loss
from lossbook.sets._targets import at_least_one, averaged_over_ranks, check_weights, read_pairs, read_targets
from lossbook.sets._traced import padded


class BoxSetLoss(torch.nn.Module):
    r"""DETR's loss: match queries to objects one to one, then pay for class, corner distance and overlap of each pair.

    The matching minimises Σ −class_weight · p_q(label) + l1_weight · |b_q − b|₁ − giou_weight · GIoU(b_q, b), over a layer's queries of an image.
    The loss is then class_weight · CE + l1_weight · Σ |b_q − b|₁ / n + giou_weight · Σ (1 − GIoU) / n, where the queries without a partner
    are to say "no object", at weight `no_object_weight`, and n is the number of objects in the batch (1 if there is none).

    Args:
        num_classes: K; the logits have K + 1 columns, the last is "no object".
        class_weight, l1_weight, giou_weight: weights in the matching and in the loss, >= 0.
        no_object_weight: weight of "no object" in the cross-entropy, whose mean divides by the sum of the weights met.

    Call with:
        logits: [B, Q, K+1], or [L, B, Q, K+1] for L decoder layers, each matched on its own.
        boxes_cxcywh: [B, Q, 4] or [L, B, Q, 4], (centre x, centre y, width, height) with width, height >= 0; in units of the image's size.
        targets: B `BoxTargets`, or mappings with `labels` [N] and `boxes_cxcywh` [N, 4]. An image may have no objects, or more than Q.

    Returns:
        `SetLoss(total, parts, ...)`, parts "class", "l1" and "giou"; float32 for half-precision predictions.

    Raises:
        TypeError: predictions that are not floating point, targets without the two fields, labels that are not integers.
        ValueError: another shape, labels out of range, negative widths or heights, NaN or infinite costs, negative weights, two devices.

    Example:
        >>> criterion = BoxSetLoss(num_classes=2)
        >>> box = torch.tensor([0.5, 0.5, 0.2, 0.2])
        >>> loss = criterion(torch.zeros(1, 3, 3), box.expand(1, 3, 4), [{"labels": torch.tensor([1]), "boxes_cxcywh": box[None]}])
        >>> loss.matches[0].targets, loss.parts["l1"]
        (tensor([0]), tensor(0.))

    Reference:
        N. Carion et al., End-to-end object detection with transformers, 2020, equations 1 and 2.

    Conventions:
        The matching sees −p, the loss −ln p, as in the paper's section 3.1. Every layer's loss is added with the same weights. Under
        `torch.distributed` the number of objects and the sum of the class weights are averaged over the ranks, so that averaged gradients are
        those of one process; DETR's code averages the former only.
        Compiled, exported, mapped or without values it is made of torch's own operations, and the matching, done on the host, is one of them.
    """

    __call__: Callable[..., SetLoss]  # torch says Any

    @plain_arguments
    def __init__(
        self, num_classes: int, *, class_weight: float = 1.0, l1_weight: float = 5.0, giou_weight: float = 2.0, no_object_weight: float = 0.1
    ) -> None:
        super().__init__()
        check_count("num_classes", num_classes)
        self.num_classes = num_classes
        self.weights = check_weights(class_weight=class_weight, l1_weight=l1_weight, giou_weight=giou_weight)
        self.no_object_weight = check_weights(no_object_weight=no_object_weight)["no_object"]

    def extra_repr(self) -> str:
        settings = {f"{name}_weight": weight for name, weight in self.weights.items()} | {"no_object_weight": self.no_object_weight}
        return ", ".join([f"num_classes={self.num_classes}", *(f"{name}={value:g}" for name, value in settings.items())])

    @full_precision
    def forward(self, logits: Tensor, boxes_cxcywh: Tensor, targets: Sequence[Any]) -> SetLoss:
        logits, boxes = self._check(logits, boxes_cxcywh)
        layers, batch, count, _ = boxes.shape
        objects = read_targets(targets, (logits, boxes), self.num_classes, "boxes_cxcywh", "[N, 4]")
        labels, plain = objects.labels, objects.plain
        target_boxes = padded([_like(value, boxes) for value in objects.values], plain=plain) if batch else boxes.new_zeros(0, 0, 4)
        _check_boxes("targets", target_boxes)

        log_probs = logits.detach().log_softmax(-1)
        costs = (plain_box_costs if plain else pairwise_box_costs)(log_probs, boxes.detach(), labels, target_boxes, self.weights)
        assignments = assign(costs, objects.sizes, "the cost of a pair", plain=plain)
        pairs = read_pairs(assignments, objects, count, self.num_classes)

        by_image = pairs_by_image(objects.sizes, count)
        matched = sum(by_image)
        weight = matched + self.no_object_weight * (batch * count - matched)
        number, weight = averaged_over_ranks([sum(objects.sizes), weight], boxes.device)
        wanted = target_boxes.flatten(0, 1).index_select(0, pairs.targets)
        losses = box_pair_losses(boxes.flatten(0, 2), pairs.queries, wanted, plain=plain)
        l1, giou = (loss.view(layers, matched).sum(1) / at_least_one(number) for loss in losses)
        classes = class_loss(logits, log_probs, pairs.classes, self.no_object_weight, weight, plain=plain)
        return set_loss(torch.stack([classes, l1, giou]), self.weights, assignments, by_image)

    def _check(self, logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions with a layers axis, in the wider of their dtypes."""
        check_floating("logits", logits)
        check_floating("boxes_cxcywh", boxes)
        if logits.ndim not in (3, 4) or logits.shape[-1] != self.num_classes + 1 or (logits.ndim == 4 and not logits.shape[0]):
            wrong_value("logits", f"have shape [B, Q, {self.num_classes + 1}] or [L, B, Q, {self.num_classes + 1}]", tuple(logits.shape))
        if boxes.shape != (*logits.shape[:-1], 4):
            wrong_value("boxes_cxcywh", f"have shape {(*logits.shape[:-1], 4)} to match `logits`", tuple(boxes.shape))
        check_same_device("boxes_cxcywh", boxes, "logits", logits)
        _check_boxes("boxes_cxcywh", boxes)
        if logits.dtype != boxes.dtype:
            logits, boxes = logits.double(), boxes.double()
        return (logits, boxes) if logits.ndim == 4 else (logits[None], boxes[None])


def _like(values: Tensor, other: Tensor) -> Tensor:
    """In the dtype and on the device of `other`."""
    return values if values.dtype == other.dtype and values.device == other.device else values.to(other)


def _check_boxes(parameter: str, boxes_cxcywh: Tensor) -> None:
    if boxes_cxcywh.numel():
        least = boxes_cxcywh.detach()[..., 2:].min()  # NaN where any is NaN
        check_values(parameter, least, lambda least: least >= 0, "have boxes with width and height >= 0", lambda least: f"{least.min():g}")


@torch.no_grad()
def plain_box_costs(log_probs: Tensor, boxes: Tensor, labels: Tensor, target_boxes: Tensor, weights: dict[str, float]) -> Tensor:
    """`pairwise_box_costs` as it is written down."""
    layers, batch, count, _ = boxes.shape
    targets = target_boxes.expand(layers, *target_boxes.shape)
    probs = log_probs.gather(-1, labels[None, :, None, :].expand(layers, batch, count, -1)).exp()
    distance = (boxes[..., None, :] - targets[:, :, None]).abs().sum(-1)
    return weights["l1"] * distance - weights["class"] * probs - weights["giou"] * pairwise_giou(to_xyxy(boxes), to_xyxy(targets))


@torch.no_grad()
def pairwise_box_costs(log_probs: Tensor, boxes: Tensor, labels: Tensor, target_boxes: Tensor, weights: dict[str, float]) -> Tensor:
    """−class · p + l1 · |b − b'|₁ − giou · GIoU for every query and target of an image, [L, B, Q, N], without any pair across images.

    With raw overlaps w' = min(right, right') − max(left, left') and h' alike, intersection is max(w', 0) max(h', 0), and the hull is
    (w + w_target − w') (h + h_target − h'): its sides are the two sides minus their overlap, also where that is negative.
    """
    layers, batch, count, _ = boxes.shape
    size = labels.shape[1]
    flat = boxes.flatten(0, 1), target_boxes.expand(layers, batch, size, 4).flatten(0, 1)
    cost = torch.cdist(*flat, p=1).view(layers, batch, count, size).mul_(weights["l1"])
    cost.sub_(log_probs.gather(-1, labels[None, :, None, :].expand(layers, batch, count, size)).exp_(), alpha=weights["class"])
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
