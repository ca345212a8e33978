"""The loss of a set of masks: MaskFormer's on whole masks, Mask2Former's on sampled points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbook._core.checks import check_count, check_finite, check_floating, check_number, check_range, check_same_device, wrong_value
from lossbook._core.door import full_precision, plain_arguments
from lossbook.sets._class_loss import class_loss
from lossbook.sets._mask_matching import matching_costs
from lossbook.sets._mask_pairs import Group, PairLosses, pair_losses
from lossbook.sets._matching import Match, assign, pairs_by_image
from lossbook.sets._pairs import Pairs, given_pairs, read_matches, read_pairs
from lossbook.sets._point_pairs import point_pair_losses
from lossbook.sets._points import drawn_points, read_ignored_at, read_own, uncertain_places
from lossbook.sets._result import SetLoss, set_loss
from lossbook.sets._targets import (
    Objects,
    at_least_one,
    averaged_over_ranks,
    check_layers,
    check_weights,
    read_ignored,
    read_targets,
    read_weights,
    settings_in_words,
)
from lossbook.sets._traced import traced


class MaskSetLoss(torch.nn.Module):
    r"""The loss of a set of masks: match queries to objects one to one, then pay for class, pixels and dice of each pair.

    The matching minimises Σ −class_weight · p_q(label) + mask_weight · C_mask + dice_weight · C_dice over a layer's queries of an image; the loss is
    class_weight · CE + mask_weight · Σ L_mask / n + dice_weight · Σ L_dice / n, where queries without a partner are to say "no object", at
    weight `no_object_weight`, and n is the number of objects in the batch (1 if there is none).

    Args:
        num_classes: K; the logits have K + 1 columns, the last is "no object".
        class_weight, mask_weight, dice_weight: weights in the matching and in the loss, >= 0. MaskFormer's are 1, 20, 1, Mask2Former's 2, 5, 5.
        no_object_weight: weight of "no object" in the cross-entropy, whose mean divides by the sum of the weights met.
        num_points: None is MaskFormer: L_mask is the focal loss (α = 0.25, γ = 2, a mean over all pixels). A number is Mask2Former: L_mask is
            cross-entropy at that many points of each mask (12544 in the paper).
        oversample, importance: with `num_points`, L_mask and L_dice look at the `importance` share of the points that is least certain among
            `oversample` times as many random ones, and at new random points for the rest.
        class_weights: [K], what a query that should say each class weighs in the cross-entropy; None weighs all 1.
        layer_weights: what each of L layers weighs in `total` and `parts`; None weighs all 1.

    Call with:
        logits: [B, Q, K+1], or [L, B, Q, K+1] for L decoder layers, each matched on its own.
        mask_logits: [B, Q, H, W] or [L, B, Q, H, W].
        targets: B `MaskTargets`, or mappings or records with `labels` (or `class_labels`) [N] and `masks` [N, H', W'] of 0 and 1; one size H' x W'
            for the batch. An image may have no objects, and then masks of any size, or more than Q. Whole masks are matched at the predictions'
            resolution and compared at the targets'. A mapping may have `ignore` [H', W'], bool: these pixels have no cost, no loss and no gradient.
        points: with `num_points`: [P, 2] or [B, P, 2] in [0, 1], (x, y), to use for matching and loss in place of random ones.
        generator: with `num_points`: where random points come from.
        matches: B `Match`, or pairs of queries and targets [M], in place of a matching, in every layer. A target may be in several pairs, a query
            in one. n is then the number of pairs.

    Returns:
        `SetLoss(total, parts, ...)`, parts "class", "mask" and "dice"; float32 for half-precision predictions.

    Raises:
        TypeError: predictions that are not floating point, targets without the two fields, labels or matches that are not integers.
        ValueError: another shape, labels or matches out of range, a query in two pairs, masks outside [0, 1] or without pixels, NaN or infinite
            costs, negative weights, two devices.

    Example:
        >>> criterion = MaskSetLoss(num_classes=2)
        >>> mask_logits = torch.tensor([[[[-9.0, 9.0]], [[9.0, -9.0]]]])
        >>> loss = criterion(torch.zeros(1, 2, 3), mask_logits, [{"labels": torch.tensor([1]), "masks": torch.tensor([[[1, 0]]])}])
        >>> loss.matches[0].queries, loss.parts["dice"] < 1e-3
        (tensor([1]), tensor(True))

    Reference:
        B. Cheng et al., Per-pixel classification is not all you need, 2021, sections 3.2 and 3.3; Masked-attention mask transformer, 2022,
        section 3.3. Points: A. Kirillov et al., PointRend, 2020, section 3.

    Conventions:
        The matching sees −p, the loss −ln p; class weights have no say in the matching. Under `torch.distributed` the number of objects and the sum
        of the class weights are averaged over the ranks, so that averaged gradients are those of one process. With `matches` and more objects than
        queries n is smaller than that of a matching. The mean over the pixels is over those that are not ignored, and 0 where all are; an object that
        is ignored altogether still counts in n. A sampled point is ignored with the pixel that it lies on, and counts in no mean. Predictions that
        are brought to another size, or sampled, are read between pixels: one under an ignored pixel may be seen by its neighbours.
        Compiled, exported, mapped or without values it is made of torch's own operations, and the matching, done on the host, is one of them.
    """

    __call__: Callable[..., SetLoss]  # torch says Any

    @plain_arguments
    def __init__(
        self,
        num_classes: int,
        *,
        class_weight: float = 1.0,
        mask_weight: float = 20.0,
        dice_weight: float = 1.0,
        no_object_weight: float = 0.1,
        num_points: int | None = None,
        oversample: float = 3.0,
        importance: float = 0.75,
        class_weights: Tensor | Sequence[float] | None = None,
        layer_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        check_count("num_classes", num_classes)
        if num_points is not None:
            check_count("num_points", num_points)
        check_number("oversample", oversample, low=1)
        check_number("importance", importance, low=0, high=1)
        self.num_classes = num_classes
        self.weights = check_weights(class_weight=class_weight, mask_weight=mask_weight, dice_weight=dice_weight)
        self.no_object_weight = check_weights(no_object_weight=no_object_weight)["no_object"]
        self.num_points, self.oversample, self.importance = num_points, oversample, importance
        self.class_weights = read_weights("class_weights", class_weights, num_classes)
        self.layer_weights = read_weights("layer_weights", layer_weights)

    def extra_repr(self) -> str:
        settings: dict[str, Any] = {"num_classes": self.num_classes} | {f"{name}_weight": weight for name, weight in self.weights.items()}
        settings["no_object_weight"] = self.no_object_weight
        if self.num_points is not None:
            settings |= {"num_points": self.num_points, "oversample": self.oversample, "importance": self.importance}
        return settings_in_words(settings | {"class_weights": self.class_weights, "layer_weights": self.layer_weights})

    @full_precision
    def forward(
        self,
        logits: Tensor,
        mask_logits: Tensor,
        targets: Sequence[Any],
        *,
        points: Tensor | None = None,
        generator: torch.Generator | None = None,
        matches: Sequence[Match | tuple[Tensor, Tensor]] | None = None,
    ) -> SetLoss:
        logits, masks = self._check(logits, mask_logits, points)
        layers, batch, count = masks.shape[:3]
        objects = _of_one_size(read_targets(targets, (logits, masks), self.num_classes, "masks", "[N, H, W]"))
        ignored = read_ignored(targets, objects)
        objects = objects if ignored is None else objects._replace(plain=objects.plain or traced([ignored]))
        given = None if points is None else points.detach().to(masks).expand(layers, batch, -1, -1)
        log_probs = logits.detach().log_softmax(-1)
        found: Tensor | list[Match]
        if matches is None:
            self._check_masks(objects, count)
            found = self._assigned(log_probs, masks.detach(), objects, given, generator, ignored)
            pairs, by_image, number = read_pairs(found, objects, count), pairs_by_image(objects.sizes, count), sum(objects.sizes)
        else:
            self._check_masks(objects, -1)
            found, objects = read_matches(matches, objects, count)
            pairs, by_image = given_pairs(found, objects, layers, count), [len(each.queries) for each in found]
            number = sum(by_image)

        plain, matched = objects.plain, sum(by_image)
        weight = matched + self.no_object_weight * (batch * count - matched)
        number, weight = averaged_over_ranks([number, weight], masks.device)
        if ignored is None and _image_by_image(masks, plain):
            groups = _groups(found, objects.values, count) if isinstance(found, Tensor) else _given_groups(found, objects.values, layers, count)
        else:
            groups = _single_group(pairs, objects, masks.device, ignored)
        flat = masks.flatten(0, 2)
        if self.num_points is None:
            losses = pair_losses(flat, groups, self.weights["mask"], self.weights["dice"], plain=plain)
        else:
            losses = self._point_losses(flat, groups, given, generator, plain=plain)
        weighted, mask, dice = (loss.view(layers, matched).sum(1) / at_least_one(number) for loss in losses)
        classes = class_loss(logits, log_probs, pairs, self.class_weights, self.no_object_weight, weight, plain=plain)
        if self.layer_weights is None:
            total = self.weights["class"] * classes.sum() + weighted.sum()
        else:
            total = ((self.weights["class"] * classes + weighted) * weighted.new_tensor(self.layer_weights)).sum()
        return set_loss(torch.stack([classes, mask, dice]), self.weights, found, by_image, total, self.layer_weights)

    def _assigned(
        self,
        log_probs: Tensor,
        masks: Tensor,
        objects: Objects,
        points: Tensor | None,
        generator: torch.Generator | None,
        ignored: Tensor | None,
    ) -> Tensor:
        """The query of each target [L, B, N], −1 for none."""
        layers, batch, count = masks.shape[:3]
        drawn = drawn_points((layers, batch), self.num_points, masks, generator) if self.num_points is not None and points is None else points
        weights = self.weights["mask"], self.weights["dice"]
        costs = matching_costs(masks, objects.values, drawn, *weights, ignored=ignored, plain=objects.plain)
        costs = costs - self.weights["class"] * log_probs.gather(-1, objects.labels[None, :, None].expand(layers, batch, count, -1)).exp_()
        return assign(costs, objects.sizes, "the cost of a pair", plain=objects.plain)

    def _check_masks(self, objects: Objects, queries: int) -> None:
        """Whole masks are looked at where they are read: those of a pair. Others are looked at here."""
        for value, size in zip(objects.values, objects.sizes, strict=True):
            if value.dtype != torch.bool and (self.num_points is not None or size > queries):
                check_range("targets", value, 0.0, 1.0)

    def _check(self, logits: Tensor, mask_logits: Tensor, points: Tensor | None) -> tuple[Tensor, Tensor]:
        """Predictions with a layers axis."""
        check_floating("logits", logits)
        check_floating("mask_logits", mask_logits)
        if logits.ndim not in (3, 4) or logits.shape[-1] != self.num_classes + 1 or (logits.ndim == 4 and not logits.shape[0]):
            wrong_value("logits", f"have shape [B, Q, {self.num_classes + 1}] or [L, B, Q, {self.num_classes + 1}]", tuple(logits.shape))
        if mask_logits.ndim != logits.ndim + 1 or mask_logits.shape[:-2] != logits.shape[:-1]:
            wrong_value("mask_logits", f"have shape {(*logits.shape[:-1], 'H', 'W')} to match `logits`", tuple(mask_logits.shape))
        check_same_device("mask_logits", mask_logits, "logits", logits)
        check_layers("logits", logits, self.layer_weights)
        if 0 in mask_logits.shape[-2:]:
            wrong_value("mask_logits", "have at least one pixel", tuple(mask_logits.shape))
        if points is not None:
            check_floating("points", points)
            check_same_device("points", points, "logits", logits)
            if self.num_points is None:
                wrong_value("points", "be None without `num_points`", tuple(points.shape))
            if points.ndim not in (2, 3) or points.shape[-1] != 2 or (points.ndim == 3 and points.shape[0] != logits.shape[-3]):
                wrong_value("points", f"have shape [P, 2] or [{logits.shape[-3]}, P, 2]", tuple(points.shape))
            if not points.shape[-2]:
                wrong_value("points", "hold at least one point", tuple(points.shape))
            check_finite("points", points)
        return (logits, mask_logits) if logits.ndim == 4 else (logits[None], mask_logits[None])

    def _point_losses(
        self, mask_logits: Tensor, groups: list[Group], points: Tensor | None, generator: torch.Generator | None, *, plain: bool
    ) -> PairLosses:
        """Cross-entropy and dice of every pair at its points, for predictions [R, H, W]."""
        rows = torch.cat([group.rows for group in groups]) if groups else torch.zeros(0, dtype=torch.int64, device=mask_logits.device)
        chosen = mask_logits.detach()[rows]
        if points is None:
            assert self.num_points is not None
            place = uncertain_places(chosen, self.num_points, self.oversample, self.importance, generator).to(chosen.dtype)
        else:
            by_image = points.flatten(0, 1)
            place = 2 * by_image[rows // max(len(mask_logits) // max(len(by_image), 1), 1)] - 1
        own = torch.split(place, [len(group.rows) for group in groups])
        truth = [read_own(group.masks.to(place.device), group.targets.to(place.device), some) for group, some in zip(groups, own, strict=True)]
        target = torch.cat(truth) if truth else place[..., 0]
        maps = [group.ignored[group.targets] for group in groups if group.ignored is not None]
        ignored = read_ignored_at(torch.cat(maps), place) if maps else None
        return point_pair_losses(mask_logits, rows, place, target, self.weights["mask"], self.weights["dice"], ignored=ignored, plain=plain)


def _of_one_size(objects: Objects) -> Objects:
    """Masks must have one size, but for images that have none."""
    shapes = {value.shape[1:] for value, size in zip(objects.values, objects.sizes, strict=True) if size}
    if len(shapes) > 1:
        wrong_value("targets", "have masks of one size", sorted(map(tuple, shapes)))
    shape = next(iter(shapes), (1, 1))
    if 0 in shape:
        wrong_value("targets", "have masks of at least one pixel", tuple(shape))
    if 0 not in objects.sizes:
        return objects
    values = [value if size else value.new_zeros(0, *shape) for value, size in zip(objects.values, objects.sizes, strict=True)]
    return objects._replace(values=values)


def _image_by_image(mask_logits: Tensor, plain: bool) -> bool:
    """In the cache of a CPU; elsewhere all at once."""
    return mask_logits.device.type == "cpu" and not plain


def _groups(assignments: Tensor, masks: list[Tensor], count: int) -> list[Group]:
    """The pairs of each layer and image, by query as in a `Match`; `rows` count through layers, images and queries."""
    groups, table = [], assignments.numpy()
    for place, (layer, image) in enumerate(np.ndindex(table.shape[:2])):
        queries = table[layer, image]
        targets = np.argsort(queries, kind="stable")[np.count_nonzero(queries < 0) :]
        if len(targets):
            groups.append(Group(torch.from_numpy(queries[targets] + place * count), masks[image], torch.from_numpy(targets)))
    return groups


def _given_groups(matches: list[Match], masks: list[Tensor], layers: int, count: int) -> list[Group]:
    """The same for pairs that were handed in, which every layer has."""
    groups = []
    for layer, image in np.ndindex(layers, len(matches)):
        queries, targets = matches[image]
        if len(queries):
            groups.append(Group(queries + (layer * len(matches) + image) * count, masks[image], targets))
    return groups


def _single_group(pairs: Pairs, objects: Objects, device: torch.device, ignored: Tensor | None) -> list[Group]:
    """All pairs at once, for a device that wants few large launches, and for a graph."""
    if not objects.sizes:
        return []
    first = torch.tensor([0, *objects.sizes], device="cpu").cumsum(0).to(device, non_blocking=True)
    width = max(objects.labels.shape[1], 1)
    masks = torch.cat([masks.to(device) for masks in objects.values])
    if ignored is not None:
        ignored = torch.cat([one.expand(size, -1, -1) for one, size in zip(ignored, objects.sizes, strict=True)])
    return [Group(pairs.queries, masks, first[pairs.targets // width] + pairs.targets % width, ignored)]
