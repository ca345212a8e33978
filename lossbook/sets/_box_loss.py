"""The loss of a set of boxes: DETR's, Deformable DETR's, and RT-DETR's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lossbook._core.checks import check_choice, check_count, check_floating, check_number, check_same_device, check_values, wrong_value
from lossbook._core.door import full_precision, plain_arguments
from lossbook.sets._box_costs import pairwise_box_costs, plain_box_costs
from lossbook.sets._box_pairs import box_pair_losses
from lossbook.sets._class_loss import class_loss
from lossbook.sets._matching import Match, assign, pairs_by_image
from lossbook.sets._pairs import Pairs, given_pairs, read_matches, read_pairs
from lossbook.sets._result import SetLoss, set_loss
from lossbook.sets._sigmoid_loss import focal_class_loss, focal_gains, pair_quality, varifocal_class_loss
from lossbook.sets._targets import (
    Objects,
    at_least_one,
    averaged_over_ranks,
    check_layers,
    check_relative,
    check_weights,
    read_targets,
    read_weights,
    settings_in_words,
)
from lossbook.sets._traced import padded

_NO_OBJECT_WEIGHT = 0.1  # DETR's


class BoxSetLoss(torch.nn.Module):
    r"""DETR's loss and its successors': match queries to objects one to one, then pay for class, corner distance and overlap of each pair.

    The matching minimises Σ −class_cost · p_q(label) + l1_weight · |b_q − b|₁ − giou_weight · GIoU(b_q, b), over a layer's queries of an image.
    The loss is then class_weight · CE + l1_weight · Σ |b_q − b|₁ / n + giou_weight · Σ (1 − GIoU) / n, where the queries without a partner
    are to say "no object", at weight `no_object_weight`, and n is the number of objects in the batch (1 if there is none).

    With `class_loss` "focal" or "varifocal" there is no "no object": each of K classes of a query is a yes or a no, with p = σ(logit). The matching
    has (1 − α) p² · −ln(1 − p) − α (1 − p)² · −ln p, with α = 1/4, in place of p. The loss has, in place of CE, a sum over all queries and classes,
    over n: "focal" of −α_t (1 − p_t)^γ ln p_t; "varifocal" of q · BCE(p, q) at the classes of the pairs, with q the IoU of the pair, and of
    −α p^γ ln(1 − p) elsewhere.

    Args:
        num_classes: K; the logits have K + 1 columns, the last is "no object"; K columns with "focal" and "varifocal".
        class_weight, l1_weight, giou_weight: weights in the matching and in the loss, >= 0.
        no_object_weight: weight of "no object" in the cross-entropy, whose mean divides by the sum of the weights met; with "softmax" alone.
        class_loss: "softmax" is DETR's, "focal" Deformable DETR's, "varifocal" RT-DETR's.
        class_weights: [K], what each class weighs in the class part: the queries that should say it, or with "focal" and "varifocal" its column.
        layer_weights: what each of L layers weighs in `total` and `parts`; None weighs all 1.
        focal_alpha: α, None is 1/4 with "focal" and 3/4 with "varifocal".
        focal_gamma: γ >= 0 of "focal" and "varifocal".
        class_cost: the weight of the class in the matching where it is another one than in the loss: RT-DETR has 2 there and 1 here.

    Call with:
        logits: [B, Q, K+1], or [L, B, Q, K+1] for L decoder layers, each matched on its own. K columns with "focal" and "varifocal".
        boxes_cxcywh: [B, Q, 4] or [L, B, Q, 4], (centre x, centre y, width, height) with width, height >= 0; in units of the image's size.
        targets: B `BoxTargets`, or mappings or records with `labels` (or `class_labels`) [N] and `boxes_cxcywh` (or `boxes`) [N, 4], alike. An image
            may have no objects, or more than Q.
        matches: B `Match`, or pairs of queries and targets [M], in place of a matching, in every layer. A target may be in several pairs, a query
            in one. n is then the number of pairs.

    Returns:
        `SetLoss(total, parts, ...)`, parts "class", "l1" and "giou"; float32 for half-precision predictions.

    Raises:
        TypeError: predictions that are not floating point, targets without the two fields, labels or matches that are not integers.
        ValueError: another shape, labels or matches out of range, a query in two pairs, negative widths or heights, target boxes in pixels, NaN or
            infinite costs, negative weights, a `no_object_weight` where there is no such class, two devices.

    Example:
        >>> criterion = BoxSetLoss(num_classes=2)
        >>> box = torch.tensor([0.5, 0.5, 0.2, 0.2])
        >>> loss = criterion(torch.zeros(1, 3, 3), box.expand(1, 3, 4), [{"labels": torch.tensor([1]), "boxes_cxcywh": box[None]}])
        >>> loss.matches[0].targets, loss.parts["l1"]
        (tensor([0]), tensor(0.))

    Reference:
        N. Carion et al., End-to-end object detection with transformers, 2020, equations 1 and 2. "focal": X. Zhu et al., Deformable DETR, 2021,
        appendix A.3. "varifocal": Y. Zhao et al., DETRs beat YOLOs on real-time object detection, 2024, with H. Zhang et al., VarifocalNet, 2021.

    Conventions:
        The matching sees −p, the loss −ln p, as in the paper's section 3.1. Every layer's loss is added with the same weights, unless there are
        `layer_weights`. Under `torch.distributed` the number of objects and the sum of the class weights are averaged over the ranks: averaged
        gradients are those of one process; DETR's code averages the former only, RT-DETR's neither.
        Class weights have no say in the matching. "focal" and "varifocal" divide by n, not by the weights met.
        The focal cost is computed from the logits; transformers adds 1e-8 to p within the logarithm, and ends at 18.4 where ours goes on.
        "varifocal" is RT-DETR's: no gradient flows through q and p^γ, and a pair with q = 0 costs nothing; `focal.varifocal_loss` differs in both.
        Denoising queries are a call of their own, with `matches`: with G groups n is G times the number of objects, as in RT-DETR. With more objects
        than queries the pairs of a matching, handed in again, give a smaller n than the matching did.
        Where a target has a field by two names, our own is read: `labels`, `boxes_cxcywh`. torchvision's `boxes` are corners in pixels: coordinates
        above 2 are refused. Corners that are only divided by the image's size would be misread: `boxes.to_cxcywh` makes centres of them.
        Compiled, exported, mapped or without values it is made of torch's own operations, and the matching, done on the host, is one of them.
    """

    __call__: Callable[..., SetLoss]  # torch says Any

    @plain_arguments
    def __init__(
        self,
        num_classes: int,
        *,
        class_weight: float = 1.0,
        l1_weight: float = 5.0,
        giou_weight: float = 2.0,
        no_object_weight: float = _NO_OBJECT_WEIGHT,
        class_loss: Literal["softmax", "focal", "varifocal"] = "softmax",
        class_weights: Tensor | Sequence[float] | None = None,
        layer_weights: Sequence[float] | None = None,
        focal_alpha: float | None = None,
        focal_gamma: float = 2.0,
        class_cost: float | None = None,
    ) -> None:
        super().__init__()
        check_count("num_classes", num_classes)
        self.num_classes = num_classes
        self.weights = check_weights(class_weight=class_weight, l1_weight=l1_weight, giou_weight=giou_weight)
        self.costs = self.weights if class_cost is None else self.weights | check_weights(class_cost=class_cost)
        self.no_object_weight = check_weights(no_object_weight=no_object_weight)["no_object"]
        check_choice("class_loss", class_loss, ("softmax", "focal", "varifocal"))
        if class_loss != "softmax" and no_object_weight != _NO_OBJECT_WEIGHT:
            wrong_value("no_object_weight", f"be left out with class_loss={class_loss!r}, which has no such class", no_object_weight)
        self.class_loss = class_loss
        self.class_weights = read_weights("class_weights", class_weights, num_classes)
        self.layer_weights = read_weights("layer_weights", layer_weights)
        check_number("focal_gamma", focal_gamma, low=0)
        if focal_alpha is None:
            focal_alpha = 0.75 if class_loss == "varifocal" else 0.25
        check_number("focal_alpha", focal_alpha, low=0, high=1)
        self.focal_alpha, self.focal_gamma = float(focal_alpha), float(focal_gamma)

    def extra_repr(self) -> str:
        settings: dict[str, Any] = {"num_classes": self.num_classes} | {f"{name}_weight": weight for name, weight in self.weights.items()}
        if self.class_loss == "softmax":
            settings["no_object_weight"] = self.no_object_weight
        else:
            settings |= {"class_loss": self.class_loss, "focal_alpha": self.focal_alpha, "focal_gamma": self.focal_gamma}
        if self.costs["class"] != self.weights["class"]:
            settings["class_cost"] = self.costs["class"]
        return settings_in_words(settings | {"class_weights": self.class_weights, "layer_weights": self.layer_weights})

    @full_precision
    def forward(
        self, logits: Tensor, boxes_cxcywh: Tensor, targets: Sequence[Any], *, matches: Sequence[Match | tuple[Tensor, Tensor]] | None = None
    ) -> SetLoss:
        logits, boxes = self._check(logits, boxes_cxcywh)
        layers, batch, count, _ = boxes.shape
        objects = read_targets(targets, (logits, boxes), self.num_classes, "boxes_cxcywh", "[N, 4]")
        target_boxes = padded([_like(value, boxes) for value in objects.values], plain=objects.plain) if batch else boxes.new_zeros(0, 0, 4)
        check_relative(targets, target_boxes)
        _check_boxes("targets", target_boxes)

        scores = logits.detach().log_softmax(-1) if self.class_loss == "softmax" else logits.detach()
        found: Tensor | list[Match]
        if matches is None:
            found = self._assigned(scores, boxes.detach(), objects, target_boxes)
            pairs, by_image, number = read_pairs(found, objects, count), pairs_by_image(objects.sizes, count), sum(objects.sizes)
        else:
            found, objects = read_matches(matches, objects, count)
            pairs, by_image = given_pairs(found, objects, layers, count), [len(each.queries) for each in found]
            number = sum(by_image)

        matched = sum(by_image)
        weight = matched + self.no_object_weight * (batch * count - matched)
        number, weight = averaged_over_ranks([number, weight], boxes.device)
        wanted = target_boxes.flatten(0, 1).index_select(0, pairs.targets)
        losses = box_pair_losses(boxes.flatten(0, 2), pairs.queries, wanted, plain=objects.plain)
        l1, giou = (loss.view(layers, matched).sum(1) / at_least_one(number) for loss in losses)
        if self.class_loss == "softmax":
            classes = class_loss(logits, scores, pairs, self.class_weights, self.no_object_weight, weight, plain=objects.plain)
        else:
            classes = self._sigmoid_part(logits, boxes, pairs, wanted, plain=objects.plain) / at_least_one(number)
        return set_loss(torch.stack([classes, l1, giou]), self.weights, found, by_image, layers=self.layer_weights)

    def _assigned(self, scores: Tensor, boxes: Tensor, objects: Objects, target_boxes: Tensor) -> Tensor:
        """The query of each target [L, B, N], −1 for none."""
        said = scores.gather(-1, objects.labels[None, :, None, :].expand(*boxes.shape[:3], -1))
        gains = said.exp_() if self.class_loss == "softmax" else focal_gains(said)
        costs = (plain_box_costs if objects.plain else pairwise_box_costs)(gains, boxes, target_boxes, self.costs)
        return assign(costs, objects.sizes, "the cost of a pair", plain=objects.plain)

    def _sigmoid_part(self, logits: Tensor, boxes: Tensor, pairs: Pairs, wanted: Tensor, *, plain: bool) -> Tensor:
        alpha, gamma = self.focal_alpha, self.focal_gamma
        if self.class_loss == "focal":
            return focal_class_loss(logits, pairs, self.class_weights, alpha=alpha, gamma=gamma, plain=plain)
        quality = pair_quality(boxes.detach().flatten(0, 2), pairs.queries, wanted.detach())
        return varifocal_class_loss(logits, pairs, quality, self.class_weights, alpha=alpha, gamma=gamma, plain=plain)

    def _check(self, logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions with a layers axis, in the wider of their dtypes."""
        check_floating("logits", logits)
        check_floating("boxes_cxcywh", boxes)
        columns = self.num_classes + (self.class_loss == "softmax")
        if logits.ndim not in (3, 4) or logits.shape[-1] != columns or (logits.ndim == 4 and not logits.shape[0]):
            wrong_value("logits", f"have shape [B, Q, {columns}] or [L, B, Q, {columns}]", tuple(logits.shape))
        if boxes.shape != (*logits.shape[:-1], 4):
            wrong_value("boxes_cxcywh", f"have shape {(*logits.shape[:-1], 4)} to match `logits`", tuple(boxes.shape))
        check_same_device("boxes_cxcywh", boxes, "logits", logits)
        check_layers("logits", logits, self.layer_weights)
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
