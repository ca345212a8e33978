"""Set losses on every path on which a value could differ: total and parts, value and gradient, against every pair written out in float64."""

from __future__ import annotations

import copy
import importlib
import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.autograd import forward_ad

from lossbook import sets
from lossbook.sets import _mask_matching
from tests.tolerances import assert_near

CLASSES = 5
NARROW = [torch.float16, torch.bfloat16]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64]

# ------------------------------------------------------------------------------------------------------------------------------- oracle


def overlap(box: Tensor, target: Tensor) -> Tensor:
    """GIoU of two boxes by centre and size."""
    low, high = box[:2] - box[2:] / 2, box[:2] + box[2:] / 2
    target_low, target_high = target[:2] - target[2:] / 2, target[:2] + target[2:] / 2
    intersection = (torch.minimum(high, target_high) - torch.maximum(low, target_low)).clamp_min(0).prod()
    union = box[2:].prod() + target[2:].prod() - intersection
    hull = (torch.maximum(high, target_high) - torch.minimum(low, target_low)).prod()
    return intersection / union - (hull - union) / hull


def box_pair(box: Tensor, target: Tensor, point: None) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two costs beside the class, and the two losses."""
    distance, giou = (box - target).abs().sum(), overlap(box, target)
    return (distance, -giou), (distance, 1 - giou)


def dice(x: Tensor, t: Tensor) -> Tensor:
    p = x.sigmoid()
    return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def focal_cost(x: Tensor, t: Tensor) -> Tensor:
    """MaskFormer's matching is linear in the mask, also between 0 and 1."""
    p = x.sigmoid()
    return (0.25 * t * (1 - p) ** 2 * -F.logsigmoid(x) + 0.75 * (1 - t) * p**2 * -F.logsigmoid(-x)).mean()


def focal_loss(x: Tensor, t: Tensor) -> Tensor:
    """Its loss is not: every factor is mixed."""
    p = x.sigmoid()
    costs = -t * F.logsigmoid(x) - (1 - t) * F.logsigmoid(-x)
    return ((0.25 * t + 0.75 * (1 - t)) * (1 - p * t - (1 - p) * (1 - t)) ** 2 * costs).mean()


def whole_pair(x: Tensor, t: Tensor, point: None) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    small = F.interpolate(t[None, None], size=x.shape, mode="nearest")[0, 0]
    large = F.interpolate(x[None, None], size=t.shape, mode="bilinear")[0, 0]
    return (focal_cost(x, small), dice(x, small)), (focal_loss(large, t), dice(large, t))


def rest_pair(x: Tensor, t: Tensor, ignore: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Of what is not ignored, in masks of one size."""
    x, t = x[~ignore], t[~ignore]
    return (focal_cost(x, t), dice(x, t)), (focal_loss(x, t), dice(x, t))


def point_pair(x: Tensor, t: Tensor, points: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    x, t = (F.grid_sample(m[None, None], 2 * points[None, :, None] - 1, align_corners=False)[0, 0, :, 0] for m in (x, t))
    both = -(t * F.logsigmoid(x) + (1 - t) * F.logsigmoid(-x)).mean(), dice(x, t)
    return both, both


@dataclass(frozen=True)
class Scene:
    """A criterion, predictions [L, B, Q, ...], targets and points; with the loss of a pair in plain words."""

    criterion: Any
    pair: Callable[..., Any]
    predictions: tuple[Tensor, Tensor]
    targets: list[dict[str, Tensor]]
    points: Tensor | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "boxes_cxcywh" if isinstance(self.criterion, sets.BoxSetLoss) else "masks"

    def __call__(self, *predictions: Tensor) -> sets.SetLoss:
        given = {} if self.points is None else {"points": self.points}
        loss: sets.SetLoss = self.criterion(*(predictions or self.predictions), self.targets, **given, **self.settings)
        return loss

    def changed(self, labels: Callable[[Tensor, int], Tensor] | None = None, values: Callable[[Tensor, int], Tensor] | None = None) -> Scene:
        """With other targets of each image, by its number."""
        found = []
        for image, target in enumerate(self.targets):
            ids, truth = target["labels"], target[self.name]
            found.append({**target, "labels": labels(ids, image) if labels else ids, self.name: values(truth, image) if values else truth})
        return replace(self, targets=found)


def gain(scores: Tensor, label: int, kind: str) -> Tensor:
    """What a query's scores say for a class in the matching."""
    if kind == "softmax":
        return scores.softmax(-1)[label]
    p, s = scores[label].sigmoid(), scores[label]
    return 0.75 * p**2 * -F.logsigmoid(-s) - 0.25 * (1 - p) ** 2 * -F.logsigmoid(s)


def class_cost(s: Tensor, quality: float | None, criterion: Any) -> Tensor:
    """What a class costs that is a yes or a no: `quality` is the overlap of the pair where it should be a yes, None elsewhere."""
    p, gamma, alpha = s.sigmoid(), criterion.focal_gamma, criterion.focal_alpha
    if criterion.class_loss == "focal":
        return (1 - alpha) * p**gamma * -F.logsigmoid(-s) if quality is None else alpha * (1 - p) ** gamma * -F.logsigmoid(s)
    if quality is None:
        return alpha * p.detach() ** gamma * -F.logsigmoid(-s)
    return quality * (quality * -F.logsigmoid(s) + (1 - quality) * -F.logsigmoid(-s))


def iou(box: Tensor, target: Tensor) -> float:
    low, high = torch.maximum(box[:2] - box[2:] / 2, target[:2] - target[2:] / 2), torch.minimum(box[:2] + box[2:] / 2, target[:2] + target[2:] / 2)
    shared = float((high - low).clamp_min(0).prod())
    return shared / (float(box[2:].prod() + target[2:].prod()) - shared)


def plain(scene: Scene, *predictions: Tensor) -> list[Tensor]:
    """Total, class part and both other parts, pair by pair in float64."""
    logits, values = (prediction.double() for prediction in predictions or scene.predictions)
    criterion, given = scene.criterion, scene.settings.get("matches")
    weights, costs = list(criterion.weights.values()), list(getattr(criterion, "costs", criterion.weights).values())
    kind, by_class = getattr(criterion, "class_loss", "softmax"), criterion.class_weights or [1.0] * criterion.num_classes
    number = max(sum(len(target["labels"]) for target in scene.targets) if given is None else sum(len(queries) for queries, _ in given), 1)
    parts, first = torch.zeros(3, dtype=torch.float64), torch.tensor([1.0, 0, 0], dtype=torch.float64)
    for place, (scores, layer) in enumerate(zip(logits, values, strict=True)):
        paid, weighed = torch.zeros(3, dtype=torch.float64), 0.0
        for image, target in enumerate(scene.targets):
            ids, truth = target["labels"].tolist(), target[scene.name].double()
            points = target.get("ignore") if scene.points is None else scene.points.double().expand(len(scene.targets), -1, 2)[image]
            pairs = [[scene.pair(layer[image, q], truth[n], points) for n in range(len(ids))] for q in range(layer.shape[1])]
            if given is None:
                gains = [[gain(scores[image, q], label, kind) for label in ids] for q in range(len(pairs))]
                table = [[float(c @ c.new_tensor(costs)) for c in each] for each in costs_of(pairs, gains)]
                answers = dict(zip(*linear_sum_assignment(np.array(table).reshape(len(pairs), len(ids))), strict=True))
            else:
                answers = dict(zip(*(side.tolist() for side in given[image]), strict=True))
            for q, n in answers.items():
                paid = paid + torch.stack([torch.zeros((), dtype=torch.float64), *pairs[q][n][1]]) / number
            for q in range(len(pairs)):
                wanted = ids[answers[q]] if q in answers else criterion.num_classes
                if kind == "softmax":
                    weight = [*by_class, criterion.no_object_weight][wanted]
                    paid, weighed = paid - weight * scores[image, q].log_softmax(-1)[wanted] * first, weighed + weight
                    continue
                for k in range(criterion.num_classes):
                    quality = iou(layer[image, q].detach(), truth[answers[q]].detach()) if k == wanted else None
                    paid = paid + by_class[k] * class_cost(scores[image, q, k], quality, criterion) / number * first
        share = 1.0 if criterion.layer_weights is None else criterion.layer_weights[place]
        parts = parts + share * paid / torch.tensor([weighed or 1.0, 1, 1], dtype=torch.float64)
    return [(parts * torch.tensor(weights, dtype=torch.float64)).sum(), *parts]


def costs_of(pairs: list[Any], gains: list[list[Tensor]]) -> list[list[Tensor]]:
    """The three costs of each pair, as the weights are ordered."""
    return [[torch.stack([-g, *c]).detach() for g, (c, _) in zip(some, row, strict=True)] for some, row in zip(gains, pairs, strict=True)]


def numbers(loss: sets.SetLoss) -> list[Tensor]:
    return [loss.total, *loss.parts.values()]


def observed(call: Callable[..., list[Tensor]], *leaves: Tensor) -> list[tuple[Tensor, ...]]:
    """Each number with its gradients."""
    leaves = tuple(leaf.detach().requires_grad_() for leaf in leaves)
    values = call(*leaves)
    settings: dict[str, Any] = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    none = tuple(torch.zeros_like(leaf) for leaf in leaves)
    slopes = [torch.autograd.grad(value, leaves, **settings) if value.requires_grad else none for value in values]
    return [(value.detach(), *slope) for value, slope in zip(values, slopes, strict=True)]


def expected(scene: Scene) -> list[tuple[Tensor, ...]]:
    return observed(lambda *predictions: plain(scene, *predictions), *scene.predictions)


def found(scene: Scene, call: Callable[..., list[Tensor]] | None = None) -> list[tuple[Tensor, ...]]:
    return observed(call or (lambda *predictions: numbers(scene(*predictions))), *scene.predictions)


def same(ours: list[tuple[Tensor, ...]], theirs: list[tuple[Tensor, ...]], dtype: torch.dtype = torch.float64) -> None:
    for found_, expected_ in zip(ours, theirs, strict=True):
        for one, other in zip(found_, expected_, strict=True):
            assert one.shape == other.shape
            assert_near(one, other, dtype)


# ------------------------------------------------------------------------------------------------------------------------------- scenes


def moved(scene: Scene, move: Callable[[Tensor], Tensor]) -> Scene:
    """With the pairs that it hands in, and what it ignores, if it does, somewhere else."""
    targets = [{**target, "ignore": move(target["ignore"])} if "ignore" in target else target for target in scene.targets]
    return replace(
        scene, targets=targets, settings={name: [tuple(map(move, pairs)) for pairs in matches] for name, matches in scene.settings.items()}
    )


def rounded(values: Tensor) -> Tensor:
    """What every floating dtype holds: a number with eight bits."""
    return values.bfloat16().double()


def box_scene(sizes: tuple[int, ...], *, layers: int = 1, queries: int = 4, classes: int = CLASSES) -> Scene:
    generator = torch.Generator().manual_seed(sum(sizes) + layers)
    leading = (layers, len(sizes), queries)
    logits = rounded(2 * torch.randn(*leading, classes + 1, generator=generator))
    boxes = rounded(0.1 + 0.6 * torch.rand(*leading, 4, generator=generator))
    targets = [
        {
            "labels": torch.randint(classes, (n,), generator=generator),
            "boxes_cxcywh": rounded(0.1 + 0.6 * torch.rand(n, 4, generator=generator)),
        }
        for n in sizes
    ]
    return Scene(sets.BoxSetLoss(classes, class_weight=1.5), box_pair, (logits, boxes), targets)


def classes_apart(class_loss: Any) -> Scene:
    """Without "no object"; a weight for each class and each layer, and another weight in the matching."""
    scene = box_scene((3, 0, 6), layers=2)
    weights = {"class_weights": [0.5, 1.0, 2.0, 0.0, 1.5], "layer_weights": [0.25, 1.0], "class_cost": 3.0}
    criterion = sets.BoxSetLoss(CLASSES, class_loss=class_loss, focal_gamma=1.5, **weights)
    return replace(scene, criterion=criterion, predictions=(scene.predictions[0][..., :-1], scene.predictions[1]))


def partly_ignored(scene: Scene) -> Scene:
    generator = torch.Generator().manual_seed(0)
    targets = [{**target, "ignore": torch.rand(6, 6, generator=generator) > 0.6} for target in scene.targets]
    return replace(scene, targets=targets, pair=rest_pair)


def handed_in(scene: Scene) -> Scene:
    """With pairs that no matching would find: two queries for one target, and targets without a query."""
    side = {3: ([0, 2, 3], [2, 0, 2]), 0: ([], []), 6: ([1, 3], [5, 4]), 2: ([3], [0]), 5: ([2, 0, 1], [1, 1, 1])}
    pairs = [side[len(target["labels"])] for target in scene.targets]
    return replace(scene, settings={"matches": [sets.Match(*(torch.tensor(numbers, dtype=torch.int64) for numbers in pair)) for pair in pairs]})


def weighted(scene: Scene) -> Scene:
    """With a weight for each class and each layer."""
    kind = type(scene.criterion)
    named = {f"{name}_weight": weight for name, weight in scene.criterion.weights.items()}
    weights = {"class_weights": torch.tensor([0.5, 1.0, 2.0, 0.0, 1.5]), "layer_weights": (0.25, 1.0)}
    return replace(scene, criterion=kind(CLASSES, **named, **weights))


def mask_scene(
    sizes: tuple[int, ...], *, layers: int = 1, queries: int = 4, size: tuple[int, int] = (6, 6), target: tuple[int, int] = (6, 6), points: int = 0
) -> Scene:
    generator = torch.Generator().manual_seed(sum(sizes) + layers)
    leading = (layers, len(sizes), queries)
    logits = rounded(2 * torch.randn(*leading, CLASSES + 1, generator=generator))
    masks = rounded(3 * torch.randn(*leading, *size, generator=generator))
    targets = [
        {"labels": torch.randint(CLASSES, (n,), generator=generator), "masks": torch.rand(n, *target, generator=generator) > 0.5} for n in sizes
    ]
    criterion = sets.MaskSetLoss(CLASSES, class_weight=1.5, mask_weight=20.0, dice_weight=2.0, num_points=points or None)
    given = rounded(torch.rand(len(sizes), points, 2, generator=generator)) if points else None
    return Scene(criterion, point_pair if points else whole_pair, (logits, masks), targets, given)


SCENES: dict[str, Callable[[], Scene]] = {
    "boxes": lambda: box_scene((3, 0, 6), layers=2),
    "focal boxes": lambda: classes_apart("focal"),
    "varifocal boxes": lambda: handed_in(classes_apart("varifocal")),
    "weighted boxes": lambda: handed_in(weighted(box_scene((3, 0, 6), layers=2))),
    "masks": lambda: mask_scene((3, 0, 6), layers=2),
    "larger masks": lambda: mask_scene((2, 5), target=(9, 13)),
    "given masks": lambda: handed_in(mask_scene((2, 5), target=(9, 13))),
    "ignored pixels": lambda: partly_ignored(mask_scene((3, 0, 6), layers=2)),
    "weighted masks": lambda: weighted(mask_scene((3, 0, 6), layers=2)),
    "points": lambda: mask_scene((3, 0, 6), layers=2, target=(9, 13), points=11),
}
every = pytest.mark.parametrize("kind", SCENES)
masked = pytest.mark.parametrize("kind", [kind for kind in SCENES if "boxes" not in kind])


@every
def test_every_pair_written_out(kind: str) -> None:
    """The plainest path, on which the others stand; more objects (6, 5) than queries (4), an image without objects, two decoder layers."""
    same(found(SCENES[kind]()), expected(SCENES[kind]()))


# -------------------------------------------------------------------------------------------------------------------- order in memory

# The same values, stored otherwise. The last two axes are those of an image.
ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "mT": lambda x: x.mT.contiguous().mT,
    "rot90": lambda x: torch.rot90(torch.rot90(x, -1, (-2, -1)).contiguous(), 1, (-2, -1)),
    "objects last": lambda x: x.movedim(-3, -1).contiguous().movedim(-1, -3) if x.ndim > 2 else x.mT.contiguous().mT,
    "flip": lambda x: x.flip(-1).contiguous().flip(-1),
    "crop": lambda x: F.pad(x, (2, 1, 1, 3))[..., 1:-3, 2:-1],
    "every other": lambda x: torch.stack([x, x], -1)[..., 0],
    "backwards": lambda x: x.permute(*reversed(range(x.ndim))).contiguous().permute(*reversed(range(x.ndim))),
    "channels last": lambda x: x.flatten(0, -4).contiguous(memory_format=torch.channels_last).view(x.shape) if x.ndim > 3 else x,
}


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float64], ids=str)
@pytest.mark.parametrize("order", ORDERS)
@masked
def test_target_masks_in_any_order(kind: str, order: str, dtype: torch.dtype) -> None:
    """As COCO's tools decode them, [H, W, N].permute(2, 0, 1), and as augmentations leave them behind; in the first and the last image alone, too."""
    scene = SCENES[kind]()
    right = expected(scene)
    for images in ({0, 1, 2}, {0}, {2}):
        laid = scene.changed(values=lambda masks, image: ORDERS[order](masks.to(dtype)) if image in images else masks)  # noqa: B023
        same(found(laid), right)


@pytest.mark.parametrize("order", ORDERS)
@every
def test_predictions_boxes_and_labels_in_any_order(kind: str, order: str) -> None:
    scene = SCENES[kind]()
    laid = replace(scene, predictions=tuple(map(ORDERS[order], scene.predictions)))
    assert all(torch.equal(one, other) for one, other in zip(laid.predictions, scene.predictions, strict=True))
    if "boxes" in kind:
        laid = laid.changed(values=lambda boxes, image: ORDERS[order](boxes))
    laid = laid.changed(labels=lambda ids, image: torch.stack([ids, ids], -1)[:, 0])
    same(found(laid), expected(scene))
    upstream = [torch.zeros_like(prediction, requires_grad=True) for prediction in scene.predictions]
    moved = observed(lambda *leaves: numbers(scene(*(ORDERS[order](p + leaf) for p, leaf in zip(scene.predictions, leaves, strict=True)))), *upstream)
    same(moved, expected(scene))


@every
def test_what_is_stored_once_and_seen_many_times(kind: str) -> None:
    """`expand`: every object alike, and every query, image and layer."""
    scene = SCENES[kind]()
    scene = scene.changed(
        labels=lambda ids, image: torch.tensor(image).expand(len(ids)), values=lambda values, image: values[:1].expand(len(values), *values.shape[1:])
    )
    once = [prediction[:1, :1] for prediction in scene.predictions]
    whole = tuple(part.expand(*prediction.shape[:2], *part.shape[2:]) for part, prediction in zip(once, scene.predictions, strict=True))
    copied = replace(scene, predictions=tuple(prediction.contiguous() for prediction in whole)).changed(
        labels=lambda ids, image: ids.contiguous(), values=lambda values, image: values.contiguous()
    )
    same(found(replace(scene, predictions=whole)), expected(copied))


# --------------------------------------------------------------------------------------------------------------------- dtypes of truth


@pytest.mark.parametrize("first", INTEGERS, ids=str)
@every
def test_labels_of_any_integer_dtype_side_by_side(kind: str, first: torch.dtype) -> None:
    scene = SCENES[kind]()
    shift = INTEGERS.index(first)
    mixed = scene.changed(labels=lambda ids, image: ids.to(INTEGERS[(shift + image) % len(INTEGERS)]))
    same(found(mixed), expected(scene))


@pytest.mark.parametrize("first", INTEGERS, ids=str)
def test_no_label_takes_the_dtype_of_another_image(first: torch.dtype) -> None:
    """300 as uint8 is 44. The largest labels that a dtype holds, beside others that it doesn't, in either order."""
    scene = box_scene((2, 2), classes=70000)
    most = min(torch.iinfo(first).max, 69999)
    for turned in (False, True):
        ids = [torch.tensor([most, 0], dtype=first), torch.tensor([69999, 300])]
        ids = ids[::-1] if turned else ids
        wide = scene.changed(labels=lambda _, image: ids[image].long())  # noqa: B023
        same(found(scene.changed(labels=lambda _, image: ids[image])), expected(wide))  # noqa: B023


MASK_DTYPES = [torch.bool, *INTEGERS, torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("first", MASK_DTYPES, ids=str)
@masked
def test_masks_of_any_dtype_side_by_side(kind: str, first: torch.dtype) -> None:
    scene = SCENES[kind]()
    shift = MASK_DTYPES.index(first)
    for step in (0, 1, 5):
        mixed = scene.changed(values=lambda masks, image: masks.to(MASK_DTYPES[(shift + step * image) % len(MASK_DTYPES)]))  # noqa: B023
        same(found(mixed), expected(scene))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@masked
def test_soft_masks_beside_hard_ones(kind: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    scene = SCENES[kind]()
    soft = scene.changed(values=lambda m, image: m if image else rounded(torch.rand(m.shape, generator=generator)).to(dtype))
    same(found(soft), expected(soft))


@pytest.mark.parametrize("dtype", [*NARROW, torch.float32], ids=str)
def test_target_boxes_of_any_dtype_side_by_side(dtype: torch.dtype) -> None:
    scene = SCENES["boxes"]()
    same(found(scene.changed(values=lambda boxes, image: boxes.to(dtype if image else torch.float64))), expected(scene))


@every
def test_a_label_that_is_no_integer_is_named_in_every_image(kind: str) -> None:
    scene = SCENES[kind]()
    for image, target in enumerate(scene.targets):
        for dtype in (torch.float32, torch.bool, torch.float16, torch.complex64):
            wrong = scene.changed(labels=lambda ids, i: ids.to(dtype) if i == image else ids)  # noqa: B023
            with pytest.raises(TypeError, match=rf"^`targets\[{image}\]\.labels` should have an integer dtype; found {dtype}\.$"):
                wrong()
        for value in (-1, CLASSES, -100, 2**62):
            wrong = scene.changed(labels=lambda ids, i: torch.full_like(ids, value) if i == image else ids)  # noqa: B023
            if len(target["labels"]):
                with pytest.raises(ValueError, match=r"^`labels` should lie in \[0, 5\); found values from"):
                    wrong()


@every
def test_truth_that_asks_for_a_gradient_gets_it_and_changes_nothing(kind: str, generator: torch.Generator) -> None:
    scene = SCENES[kind]()
    if "boxes" not in kind:
        scene = scene.changed(values=lambda m, image: rounded(torch.rand(m.shape, generator=generator)))
    truth = [target[scene.name] for target in scene.targets]

    def with_truth(call: Callable[..., list[Tensor]], *leaves: Tensor) -> list[Tensor]:
        return call(scene.changed(values=lambda _, image: leaves[2 + image]), *leaves[:2])

    ours = observed(lambda *leaves: with_truth(lambda changed, *p: numbers(changed(*p)), *leaves), *scene.predictions, *truth)
    same(ours, observed(lambda *leaves: with_truth(plain, *leaves), *scene.predictions, *truth))


# ------------------------------------------------------------------------------------------------------------- subclasses and numbers


class Renamed(Tensor):
    """A subclass that only renames, as torchvision's tv_tensors are."""


@every
def test_subclasses_are_the_tensors_that_they_are(kind: str) -> None:
    scene = SCENES[kind]()
    named = scene.changed(labels=lambda ids, image: ids.as_subclass(Renamed), values=lambda values, image: values.as_subclass(Renamed))
    named = replace(named, predictions=tuple(p.as_subclass(Renamed) for p in scene.predictions))
    same(found(named), expected(scene))
    assert type(named().total) is Tensor
    same(found(replace(scene, predictions=tuple(map(torch.nn.Parameter, scene.predictions)))), expected(scene))


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (
            {"labels": torch.tensor([0]), "masks": torch.tensor([[[0, 255], [255, 0]]], dtype=torch.uint8)},
            r"`targets` should lie in \[0, 1\]; found values",
        ),
        ({"labels": torch.tensor([0]), "masks": torch.full((1, 2, 2), -0.5)}, r"`targets` should lie in \[0, 1\]; found values from -0.5"),
        ({"labels": torch.tensor([0]), "masks": torch.full((1, 2, 2), torch.nan)}, r"should (lie in \[0, 1\]|be finite); found nan"),
        ({"labels": torch.tensor([5]), "masks": torch.zeros(1, 2, 2)}, r"`labels` should lie in \[0, 5\); found values from 5 to 5"),
    ],
)
@pytest.mark.parametrize("points", [None, 3])
@pytest.mark.parametrize("path", ["plain", "subclass", "more than queries", "vmap", "grad", "compiled"])
def test_wrong_masks_are_named_on_every_path(path: str, points: int | None, targets: dict[str, Tensor], words: str) -> None:
    """Also a mask that is in no pair, because there are more objects than queries."""
    criterion = sets.MaskSetLoss(CLASSES, num_points=points)
    logits, masks = torch.zeros(1, 2, CLASSES + 1), torch.zeros(1, 2, 4, 4)
    expectation: Any = pytest.raises(ValueError, match=f"(?i){words}")
    if path == "subclass":
        targets = {name: value.as_subclass(Renamed) for name, value in targets.items()}
    if path == "more than queries":
        good = {"labels": torch.tensor([1] * 3), "masks": torch.zeros(3, 2, 2)}
        targets = {name: torch.cat([good[name], value]) for name, value in targets.items()}
        words = words.replace("from 5", "from 1").replace("found values from -0.5", "found values")
        expectation = pytest.raises(ValueError, match=f"(?i){words}")
    call: Callable[..., Tensor] = lambda a, b: criterion(a, b, [targets]).total  # noqa: E731
    if path == "vmap":
        logits, masks, call = logits[None], masks[None], torch.func.vmap(call, randomness="same")
    if path == "grad":
        call = torch.func.grad(call)
    if path == "compiled":
        torch.compiler.reset()
        call = torch.compile(call, backend="eager", fullgraph=True)
        expectation = pytest.raises((RuntimeError, ValueError), match=f"(?i){words.split('; found')[0]}")
    with expectation:
        call(logits, masks)


@pytest.mark.parametrize("path", ["plain", "subclass", "vmap", "grad", "compiled"])
def test_negative_sides_are_named_on_every_path(path: str) -> None:
    criterion, good = sets.BoxSetLoss(CLASSES), torch.full((1, 2, 4), 0.5)
    logits, bad = torch.zeros(1, 2, CLASSES + 1), torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, -0.25]]])
    for parameter, boxes, truth in (("boxes_cxcywh", bad, good[0]), ("targets", good, bad[0])):
        truth = truth.as_subclass(Renamed) if path == "subclass" else truth
        boxes = boxes.as_subclass(Renamed) if path == "subclass" else boxes
        call: Callable[..., Tensor] = lambda a, b, t: criterion(a, b, [{"labels": torch.tensor([0, 1]), "boxes_cxcywh": t}]).total  # noqa: E731
        given = [logits, boxes, truth]
        words, error = f"`{parameter}` should have boxes with width and height >= 0", ValueError
        if path == "vmap":
            call = torch.func.vmap(call, in_dims=(0, 1, 2))
            given = [tensor.unsqueeze(axis) for axis, tensor in enumerate(given)]
        if path == "grad":
            call = torch.func.grad(call)
        if path == "compiled":
            torch.compiler.reset()
            call, error = torch.compile(call, backend="eager", fullgraph=True), RuntimeError
        with pytest.raises(error, match=words if path == "compiled" else f"{words}; found -0.25"):
            call(*given)


@pytest.mark.parametrize("real", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("whole", [np.int8, np.uint8, np.int32, np.uint64])
def test_numbers_of_numpy_are_numbers(real: type, whole: type) -> None:
    weights = {"class_weight": real(1.5), "no_object_weight": real(0.125)}
    for ours, theirs in (
        (sets.BoxSetLoss(whole(5), **weights, l1_weight=real(5), giou_weight=whole(2)), sets.BoxSetLoss(5, class_weight=1.5, no_object_weight=0.125)),
        (
            sets.MaskSetLoss(
                whole(5), **weights, mask_weight=real(20), dice_weight=real(1), num_points=whole(7), oversample=real(3), importance=real(0.75)
            ),
            sets.MaskSetLoss(5, class_weight=1.5, no_object_weight=0.125, num_points=7),
        ),
    ):
        assert repr(ours) == repr(theirs)
        assert {name: type(value) for name, value in vars(ours).items()} == {name: type(value) for name, value in vars(theirs).items()}
    costs = torch.rand(2, 3, 4)
    for sizes in ([whole(2), whole(4)], np.array([2, 4], dtype=whole), torch.tensor([2, 4]), (2, 4)):
        assert [len(pairs.queries) for pairs in sets.match_batch(costs, sizes)] == [2, 3]  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`sizes` should hold integers"):
        sets.match_batch(costs, [1.5, 2])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="`sizes` should hold integers"):
        sets.match_batch(costs, 3)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------------- mixed precision


@pytest.mark.parametrize("narrow", NARROW, ids=str)
@pytest.mark.parametrize("wide", [torch.float64, torch.float32], ids=str)
@every
def test_autocast_changes_nothing(kind: str, wide: torch.dtype, narrow: torch.dtype) -> None:
    """Forward and backward inside; parts, too, whose gradients are made from torch's own operations."""
    scene = SCENES[kind]()
    scene = replace(scene, predictions=tuple(prediction.to(wide) for prediction in scene.predictions))
    right = found(scene)
    with torch.autocast("cpu", narrow):
        ours = found(scene)
    for one, other in zip(ours, right, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        assert one[0].dtype == wide
    same(ours, expected(scene), wide)


@pytest.mark.parametrize("narrow", NARROW, ids=str)
@every
def test_half_precision_is_computed_and_returned_in_float32(kind: str, narrow: torch.dtype) -> None:
    scene = SCENES[kind]()
    half = replace(scene, predictions=tuple(prediction.to(narrow) for prediction in scene.predictions))
    for inside in (False, True):
        with torch.autocast("cpu", narrow, enabled=inside):
            for (value, *slopes), (right, *theirs) in zip(found(half), expected(scene), strict=True):
                assert value.dtype == torch.float32
                assert_near(value, right)
                for slope, other in zip(slopes, theirs, strict=True):
                    assert slope.dtype == narrow
                    assert_near(slope, other.to(narrow))


@pytest.mark.parametrize("narrow", NARROW, ids=str)
def test_sure_logits_at_many_points_under_autocast(narrow: torch.dtype) -> None:
    """In float16 the sum of 12544 costs near 15 is an infinity, and the matching stopped there."""
    scene = mask_scene((2,), points=12544)
    scene = replace(scene, predictions=(scene.predictions[0].float(), 15 * scene.predictions[1].sign().float()))
    right = found(scene)
    with torch.autocast("cpu", narrow):
        same(found(scene), right, torch.float32)


@pytest.mark.parametrize("narrow", NARROW, ids=str)
@pytest.mark.parametrize("kind", ["masks", "larger masks", "points"])
def test_a_device_multiplies_in_float32_under_autocast(kind: str, narrow: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """The costs of a device, which are made by matrix products, here on a CPU."""
    scene = SCENES[kind]()
    monkeypatch.setattr(_mask_matching, "costs_by_image", _mask_matching.costs_by_layer)
    scene = replace(scene, predictions=tuple(prediction.float() for prediction in scene.predictions))
    seen: list[Tensor] = []

    def spied(*arguments: Any, by_layer: Any = _mask_matching.costs_by_layer) -> Tensor:
        seen.append(by_layer(*arguments))
        return seen[-1]

    monkeypatch.setattr(_mask_matching, "costs_by_image", spied)
    with torch.autocast("cpu", narrow):
        scene()
    scene()
    assert seen[0].dtype == torch.float32
    assert torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("narrow", NARROW, ids=str)
def test_dice_and_costs_of_masks_under_autocast(narrow: torch.dtype, generator: torch.Generator) -> None:
    logits, masks = 3 * torch.randn(4, 60, generator=generator), (torch.rand(4, 60, generator=generator) > 0.5).float()
    for call in (
        sets.dice_loss,
        lambda a, b: sets.pairwise_mask_costs(a, b).mask.sum(),
        lambda a, b: sets.pairwise_mask_costs(a, b, kind="cross_entropy").dice.sum(),
    ):
        right = observed(lambda a, b: [call(a, b)], logits, masks)  # noqa: B023

        def inside(a: Tensor, b: Tensor) -> list[Tensor]:
            with torch.autocast("cpu", narrow):
                return [call(a, b)]  # noqa: B023

        ours = observed(inside, logits, masks)
        assert ours[0][0].dtype == torch.float32
        assert all(torch.equal(a, b) for a, b in zip(ours[0], right[0], strict=True))
        assert call(logits.to(narrow), masks.to(narrow)).dtype == torch.float32
        exact = observed(lambda a, b: [call(a, b)], rounded(logits), masks.double())  # noqa: B023
        assert_near(call(rounded(logits).to(narrow), masks), exact[0][0])


@every
def test_predictions_of_two_precisions_give_the_wider(kind: str) -> None:
    scene = SCENES[kind]()
    for first, second in ((torch.float32, torch.float64), (torch.float64, torch.float32), (torch.float16, torch.float32)):
        mixed = replace(scene, predictions=(scene.predictions[0].to(first), scene.predictions[1].to(second)))
        ours = found(mixed)
        assert ours[0][0].dtype == torch.promote_types(first, second)
        for (value, *slopes), (right, *theirs) in zip(ours, expected(scene), strict=True):
            assert_near(value, right, torch.float32)
            for slope, other, dtype in zip(slopes, theirs, (first, second), strict=True):
                assert_near(slope, other.to(dtype), max((dtype, torch.float32), key=lambda d: torch.finfo(d).eps))


# --------------------------------------------------------------------------------------------------------------- traced and without values


@pytest.mark.thorough
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@every
def test_compiled_in_one_graph(kind: str, backend: str) -> None:
    """The matching is an operation of the graph."""
    torch.compiler.reset()
    scene = SCENES[kind]().changed(labels=lambda ids, image: ids.to(INTEGERS[image]))
    call = torch.compile(lambda *predictions: numbers(scene(*predictions)), backend=backend, fullgraph=True)
    same(found(scene, call), expected(scene))


@pytest.mark.thorough
@pytest.mark.parametrize("make", [box_scene, mask_scene])
def test_a_compiled_criterion_follows_the_numbers_of_objects(make: Callable[..., Scene]) -> None:
    """Batches of other sizes, one after the other; the whole result comes out of the graph."""
    torch.compiler.reset()
    compiled = torch.compile(make((1,)).criterion, backend="eager")
    for sizes in ((3, 1), (1, 2), (2, 6)):
        scene = make(sizes)
        following = replace(scene, criterion=compiled)
        same(found(following), expected(scene))
        for ours, theirs in zip(following().matches, scene().matches, strict=True):
            assert torch.equal(torch.stack(ours), torch.stack(theirs))


@pytest.mark.thorough
@every
def test_exported(kind: str) -> None:
    scene = SCENES[kind]()

    class Loss(torch.nn.Module):
        def forward(self, logits: Tensor, values: Tensor, targets: list[dict[str, Tensor]]) -> list[Tensor]:
            return numbers(replace(scene, targets=targets)(logits, values))

    program = torch.export.export(Loss(), (*scene.predictions, scene.targets)).module()
    other = scene.changed(labels=lambda ids, image: (ids + 1) % CLASSES)
    for given in (scene, other):
        same(found(given, lambda *predictions: program(*predictions, given.targets)), expected(given))  # noqa: B023


@every
def test_torch_func(kind: str) -> None:
    """grad, vjp, jacrev, vmap over predictions, over targets and over one of two predictions, and a gradient inside of vmap."""
    scene = SCENES[kind]()
    right = expected(scene)
    names = range(len(right))
    for part in names:
        call = lambda *predictions: numbers(scene(*predictions))[part]  # noqa: E731, B023
        slopes = torch.func.grad(call, argnums=(0, 1))(*scene.predictions)
        same([(right[part][0], *slopes)], [right[part]])
    values, pull = torch.func.vjp(lambda *predictions: torch.stack(numbers(scene(*predictions))), *scene.predictions)
    for part in names:
        same([(values[part], *pull(F.one_hot(torch.tensor(part), len(right)).double()))], [right[part]])
    jacobians = torch.func.jacrev(lambda *predictions: torch.stack(numbers(scene(*predictions))), argnums=(0, 1))(*scene.predictions)
    for part in names:
        same([(values[part], *(jacobian[part] for jacobian in jacobians))], [right[part]])


@every
def test_vmap(kind: str) -> None:
    """Over predictions and targets together, over either prediction alone, along any axis, and gradients inside."""
    scene = SCENES[kind]()
    other = replace(scene, predictions=tuple(p.flip(2) * 0.5 for p in scene.predictions))
    if "boxes" in kind:
        shifted = scene.changed(labels=lambda ids, image: (ids + 1) % CLASSES, values=lambda boxes, image: boxes * 0.75)
    else:
        shifted = scene.changed(labels=lambda ids, image: (ids + 1) % CLASSES, values=lambda masks, image: masks.flip(-1))
    other = replace(other, targets=shifted.targets)
    stacked = [torch.stack(pair, -1) for pair in zip(scene.predictions, other.predictions, strict=True)]
    targets = [{name: torch.stack([a[name], b[name]], 1) for name in a} for a, b in zip(scene.targets, other.targets, strict=True)]

    def total(logits: Tensor, values: Tensor, targets: list[dict[str, Tensor]]) -> Tensor:
        return replace(scene, targets=targets)(logits, values).total

    values = torch.func.vmap(total, in_dims=(-1, -1, 1))(*stacked, targets)
    slopes = torch.func.vmap(torch.func.grad(total, argnums=(0, 1)), in_dims=(-1, -1, 1))(*stacked, targets)
    for place, each in enumerate((scene, other)):
        same([(values[place], *(slope[place] for slope in slopes))], expected(each)[:1])
    for axis in (0, 1):
        each = [(stacked[k] if k == axis else scene.predictions[k]) for k in range(2)]
        found_ = torch.func.vmap(lambda a, b: total(a, b, scene.targets), in_dims=tuple(-1 if k == axis else None for k in range(2)))(*each)
        for place in range(2):
            chosen = tuple(p[..., place] if k == axis else p for k, p in enumerate(each))
            assert_near(found_[place], plain(replace(scene, predictions=chosen))[0])


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own forward mode calls it
@every
def test_many_gradients_at_once_and_gradients_of_gradients(kind: str) -> None:
    """`is_grads_batched`, as vectorised Jacobians ask for them; forward mode; and the derivative of a gradient along a direction, both ways."""
    scene = SCENES[kind]()
    right = expected(scene)
    leaves = [p.detach().requires_grad_() for p in scene.predictions]
    values = torch.stack(numbers(scene(*leaves)))
    rows = torch.autograd.grad(values, leaves, torch.eye(len(right), dtype=torch.float64), is_grads_batched=True, retain_graph=True)
    for part, expectation in enumerate(right):
        same([(values[part].detach(), *(row[part] for row in rows))], [expectation])
    doubled = torch.autograd.grad(numbers(scene(*leaves))[0], leaves, 2 * torch.ones(3, dtype=torch.float64)[0], retain_graph=True)
    for slope, single in zip(doubled, right[0][1:], strict=True):
        assert_near(slope, 2 * single)
    if kind == "points":
        return  # torch has no forward mode for its sampler
    directions = [torch.ones_like(leaf) for leaf in leaves]
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(leaf.detach(), direction) for leaf, direction in zip(leaves, directions, strict=True)]
        change = forward_ad.unpack_dual(scene(*duals).total).tangent
    assert_near(change, sum((slope * direction).sum() for slope, direction in zip(right[0][1:], directions, strict=True)))


@every
def test_without_values(kind: str) -> None:
    """Fake and meta tensors: shapes and dtypes come out, and how many pairs there are."""
    scene = SCENES[kind]()
    real = scene()
    real_numbers, real_pairs, real_layers = numbers(real), [len(pairs.queries) for pairs in real.matches], len(real.by_layer)

    def like(loss: sets.SetLoss, device: str) -> None:
        for ours, theirs in zip(numbers(loss), real_numbers, strict=True):
            assert (ours.shape, ours.dtype, ours.device.type) == (theirs.shape, theirs.dtype, device)
        assert [len(pairs.queries) for pairs in loss.matches] == real_pairs
        assert len(loss.by_layer) == real_layers

    with torch._subclasses.FakeTensorMode() as mode:
        fake = scene.changed(labels=lambda ids, image: mode.from_tensor(ids), values=lambda values, image: mode.from_tensor(values))
        fake = replace(fake, points=None if scene.points is None else mode.from_tensor(scene.points))
        fake = moved(fake, mode.from_tensor)
        loss = fake(*(mode.from_tensor(p).requires_grad_() for p in scene.predictions))
        loss.total.backward()
        like(loss, "cpu")
    meta = scene.changed(labels=lambda ids, image: ids.to("meta"), values=lambda values, image: values.to("meta"))
    meta = replace(meta, points=None if scene.points is None else scene.points.to("meta"))
    meta = moved(meta, lambda side: side.to("meta"))
    like(meta(*(p.to("meta") for p in scene.predictions)), "meta")


@every
def test_modes_and_contexts(kind: str) -> None:
    """Nothing of the surroundings is looked at: inference mode, no gradient, another default dtype or device, a mode that counts operations."""
    scene = SCENES[kind]()
    right = [value.detach() for value, *_ in expected(scene)]
    for surroundings in (torch.inference_mode(), torch.no_grad(), torch.device("meta"), torch.utils.flop_counter.FlopCounterMode(display=False)):
        with surroundings:
            values = numbers(scene())
        for ours, theirs in zip(values, right, strict=True):
            assert_near(ours.clone(), theirs)
    torch.set_default_dtype(torch.float64)
    try:
        same(found(scene), expected(scene))
    finally:
        torch.set_default_dtype(torch.float32)


def test_random_points_are_the_same_on_every_path() -> None:
    """Drawn in the same order from torch's own generator."""
    scene = replace(mask_scene((3, 0, 6), layers=2, target=(9, 13), points=11), points=None)

    def seeded(*predictions: Tensor) -> list[Tensor]:
        torch.manual_seed(3)
        return numbers(scene(*predictions))

    right = found(scene, seeded)
    torch.compiler.reset()
    same(found(scene, torch.compile(seeded, backend="aot_eager")), right)
    slopes = torch.func.grad(lambda *predictions: seeded(*predictions)[0], argnums=(0, 1))(*scene.predictions)
    same([(right[0][0], *slopes)], right[:1])
    generated = replace(scene, settings={"generator": torch.Generator().manual_seed(3)})
    assert_near(generated().total, right[0][0])


def test_matchings_are_traced_and_mapped(generator: torch.Generator) -> None:
    costs = torch.randn(3, 4, 6, generator=generator, dtype=torch.float64)
    sizes = [6, 0, 2]
    right = sets.match_batch(costs, sizes)
    torch.compiler.reset()
    compiled = torch.compile(lambda table: sets.match_batch(table, sizes), backend="aot_eager", fullgraph=True)
    mapped = torch.func.vmap(lambda table: sets.match(table), in_dims=2, out_dims=1)(costs.movedim(0, -1))
    turned = torch.func.vmap(lambda table: [side for pairs in sets.match_batch(table, sizes) for side in pairs], in_dims=1)
    for side, other in zip(turned(costs[:, None].expand(3, 2, 4, 6)), (side for pairs in right for side in pairs), strict=True):
        assert torch.equal(side, other.expand(2, len(other)))
    for image, pairs in enumerate(compiled(costs)):
        assert torch.equal(torch.stack(pairs), torch.stack(right[image]))
        alone = sets.match(costs[image])
        assert torch.equal(torch.stack([side[:, image] for side in mapped]), torch.stack(alone))
    assert [len(pairs.queries) for pairs in sets.match_batch(costs.to("meta"), sizes)] == [4, 0, 2]
    for order in ORDERS.values():
        for ours, theirs in zip(sets.match_batch(order(costs), sizes), right, strict=True):
            assert torch.equal(torch.stack(ours), torch.stack(theirs))
    named = sets.match(costs[0].as_subclass(Renamed).requires_grad_())
    assert all(type(side) is Tensor and torch.equal(side, other) for side, other in zip(named, right[0], strict=True))
    with pytest.raises(ValueError, match="`cost` should be finite; found nan for query 0 and target 0"):
        torch.compile(sets.match, backend="eager")(costs[0] * torch.nan)


# ------------------------------------------------------------------------------------------------------------------------- odd arguments


@pytest.mark.parametrize("shape", [(0, 1, 1), (0, 0, 0), (0, 5, 7)], ids=str)
@pytest.mark.parametrize("points", [0, 11])
def test_an_image_without_objects_has_masks_of_any_size(points: int, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    scene = mask_scene((3, 0, 6), points=points, target=(8, 8))
    empty = scene.changed(values=lambda masks, image: torch.zeros(shape) if image == 1 else masks)
    same(found(empty), expected(scene))
    monkeypatch.setattr(_mask_matching, "costs_by_image", _mask_matching.costs_by_layer)
    same(found(empty), expected(scene))
    nothing = mask_scene((0, 0), points=points)
    same(found(nothing.changed(values=lambda masks, image: torch.zeros(shape if image else (0, 2, 3)))), expected(nothing))


@pytest.mark.parametrize(("images", "queries"), [((), 4), ((), 0), ((2, 0), 0), ((0, 0), 0), ((0,), 4), ((7,), 1)], ids=str)
@pytest.mark.parametrize("points", [None, 0, 5], ids=["boxes", "masks", "points"])
def test_nothing_to_match(points: int | None, images: tuple[int, ...], queries: int) -> None:
    """No images, no queries, no objects, and more objects than queries; eager and traced."""
    scene = box_scene(images, queries=queries) if points is None else mask_scene(images, queries=queries, points=points)
    same(found(scene), expected(scene))
    slopes = torch.func.grad(lambda *predictions: scene(*predictions).total, argnums=(0, 1))(*scene.predictions)
    same([(scene().total, *slopes)], expected(scene)[:1])
    assert [len(pairs.queries) for pairs in scene().matches] == [min(size, queries) for size in images]


def test_what_cannot_be_matched_is_named() -> None:
    logits, masks = torch.zeros(1, 2, CLASSES + 1), torch.zeros(1, 2, 4, 4)
    target = {"labels": torch.tensor([0]), "masks": torch.zeros(1, 4, 4)}
    criterion = sets.MaskSetLoss(CLASSES)
    with pytest.raises(ValueError, match=r"^`targets` should have masks of at least one pixel; found \(0, 0\)\.$"):
        criterion(logits, masks, [{**target, "masks": torch.zeros(1, 0, 0)}])
    with pytest.raises(ValueError, match=r"^`mask_logits` should have at least one pixel; found \(1, 2, 0, 4\)\.$"):
        criterion(logits, masks[:, :, :0], [target])
    with pytest.raises(ValueError, match=r"^`logits` should have shape \[B, Q, 6\] or \[L, B, Q, 6\]; found \(0, 1, 2, 6\)\.$"):
        criterion(logits[None][:0], masks[None][:0], [target])
    with pytest.raises(ValueError, match=r"^`points` should hold at least one point; found \(0, 2\)\.$"):
        sets.MaskSetLoss(CLASSES, num_points=3)(logits, masks, [target], points=torch.zeros(0, 2))
    with pytest.raises(ValueError, match=r"^`points` should be finite; found NaN\.$"):
        sets.MaskSetLoss(CLASSES, num_points=3)(logits, masks, [target], points=torch.full((3, 2), torch.nan))
    for wrong in (iter([target]), target, {"labels": 1}, 3, torch.zeros(1)):
        with pytest.raises(TypeError, match=r"^`targets` should be a sequence with the targets of each image; found \w+\.$"):
            criterion(logits, masks, wrong)
    for name, value in (("labels", torch.tensor([0])), ("masks", torch.zeros(1, 4, 4))):
        words = rf"^`targets\[0\]\.{name}` should"
        with pytest.raises(TypeError, match=f"{words} be a dense tensor; found torch.sparse_coo"):
            criterion(logits, masks, [{**target, name: value.to_sparse()}])
        with pytest.raises(ValueError, match=f"{words} be on the device cpu to match `logits`; found meta"):
            criterion(logits, masks, [{**target, name: value.to("meta")}])
        with pytest.raises(TypeError, match=f"{words} have (an integer dtype|a dtype of real numbers); found torch.complex64"):
            criterion(logits, masks, [{**target, name: value.to(torch.complex64)}])
        with pytest.raises(TypeError, match=f"{words} have (an integer dtype|a dtype of real numbers); found torch.float8_e4m3fn"):
            criterion(logits, masks, [{**target, name: value.to(torch.float8_e4m3fn)}])
        with pytest.raises(TypeError, match=f"{words} be a torch.Tensor; found ndarray"):
            criterion(logits, masks, [{**target, name: value.numpy()}])
    for place, name in enumerate(("logits", "mask_logits")):
        for change, words in (
            (lambda x: x.to_sparse(), "be a dense tensor"),
            (lambda x: x.to(torch.float8_e5m2), "have a floating-point dtype"),
            (lambda x: x.bool(), "have a floating-point dtype"),
        ):
            given = [change(x) if k == place else x for k, x in enumerate((logits, masks))]
            with pytest.raises(TypeError, match=f"^`{name}` should {words}"):
                criterion(*given, [target])
    with pytest.raises(ValueError, match=r"^`mask_logits` should be on the device cpu to match `logits`; found meta"):
        criterion(logits, masks.to("meta"), [target])
    with pytest.raises(ValueError, match=r"^`boxes_cxcywh` should be on the device meta to match `logits`; found cpu"):
        sets.BoxSetLoss(CLASSES)(logits.to("meta"), torch.zeros(1, 2, 4), [])
    for call in (sets.dice_loss, sets.pairwise_mask_costs):
        with pytest.raises(ValueError, match=r"^`masks` should be on the device cpu to match `mask_logits`; found meta"):
            call(masks[0], masks[0].to("meta"))
        for dtype in (torch.float8_e4m3fn, torch.complex64):
            with pytest.raises(TypeError, match=f"^`masks` should have a dtype of real numbers; found {dtype}"):
                call(masks[0], masks[0].to(dtype))


def test_collapsed_boxes_have_finite_gradients() -> None:
    """Sides too small to have an area, at the place of a point, a line and each other, in float32."""
    sides = torch.tensor([0.0, 1e-45, 1e-30, 1e-20, 1e-10, 0.5])
    boxes = torch.stack([torch.full((36,), 0.5), torch.full((36,), 0.5), sides.repeat_interleave(6), sides.repeat(6)], -1)
    targets = [{"labels": torch.zeros(36, dtype=torch.int64), "boxes_cxcywh": boxes.flip(0)}]
    logits = torch.zeros(1, 36, CLASSES + 1)
    for call in (
        sets.BoxSetLoss(CLASSES),
        lambda a, b, t: sets.BoxSetLoss(CLASSES)(a, b, [{**t[0], "boxes_cxcywh": t[0]["boxes_cxcywh"].requires_grad_()}]),
    ):
        for value, *slopes in observed(lambda a, b: numbers(call(a, b, targets)), logits, boxes[None]):  # noqa: B023
            assert bool(value.isfinite())
            assert all(bool(slope.isfinite().all()) for slope in slopes)


# --------------------------------------------------------------------------------------------------------------------- criteria and results


def test_a_criterion_shows_its_settings() -> None:
    assert repr(sets.BoxSetLoss(3)) == "BoxSetLoss(num_classes=3, class_weight=1, l1_weight=5, giou_weight=2, no_object_weight=0.1)"
    assert repr(sets.MaskSetLoss(3)) == "MaskSetLoss(num_classes=3, class_weight=1, mask_weight=20, dice_weight=1, no_object_weight=0.1)"
    with_points = "dice_weight=1, no_object_weight=0.1, num_points=7, oversample=3, importance=0.75)"
    assert repr(sets.MaskSetLoss(3, num_points=7)).endswith(with_points)


def again(value: Any) -> Iterator[Any]:
    """By pickle, torch.save, copy and deepcopy."""
    yield pickle.loads(pickle.dumps(value))
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    yield torch.load(file, weights_only=False)
    yield copy.deepcopy(value)
    yield copy.copy(value)


@every
def test_criteria_and_results_are_copied_and_pickled(kind: str) -> None:
    scene = SCENES[kind]()
    for criterion in again(scene.criterion):
        assert repr(criterion) == repr(scene.criterion)
        same(found(replace(scene, criterion=criterion)), expected(scene))
    loss = scene(*(p.detach().requires_grad_() for p in scene.predictions))
    assert loss.total.requires_grad
    assert loss.parts["class"].requires_grad
    for other in again(loss):
        assert not other.total.requires_grad
        assert all(torch.equal(a, b) for a, b in zip(numbers(other), numbers(loss), strict=True))
        assert [layer.total for layer in other.by_layer] == [layer.total for layer in loss.by_layer]
        for ours, theirs in zip(other.matches, loss.matches, strict=True):
            assert torch.equal(torch.stack(ours), torch.stack(theirs))


def test_a_result_equals_itself_and_has_a_hash() -> None:
    scene = SCENES["boxes"]()
    loss, other = scene(), scene()
    assert loss == loss
    assert loss != other
    assert len({loss, other, loss}) == 2
    assert repr(loss).startswith("SetLoss(total=tensor(")


def test_the_matching_is_registered_once_more_when_its_module_is_read_again() -> None:
    """As notebooks do it that reload what has changed."""
    from lossbook.sets import _matching

    importlib.reload(_matching)
    assert [side.tolist() for side in torch.func.vmap(_matching.match)(torch.eye(2)[None])] == [[[0, 1]], [[1, 0]]]


def test_what_is_read_first_under_a_mode_is_right_after_it() -> None:
    """The modules hold no tensor that a mode could have made."""
    for module in ("_cost_sums", "_mask_pairs", "_point_pairs", "_points", "_mask_matching"):
        found_ = importlib.import_module(f"lossbook.sets.{module}")
        assert not [name for name, value in vars(found_).items() if isinstance(value, Tensor)]


# -------------------------------------------------------------------------------------------------------------------------- distributed

SHARES = {
    "uneven": [(3, 0, 6), (2,)],
    "a rank without objects": [(3, 6), (0, 0)],
    "a rank without images": [(2, 0), ()],
    "no objects": [(0,), (0, 0)],
}


def distributed_scenes(kind: str, narrow: torch.dtype) -> list[Scene]:
    sizes = sum(SHARES[kind], ())
    scenes = [box_scene(sizes), mask_scene(sizes), mask_scene(sizes, points=7)]
    scenes.append(replace(scenes[0], criterion=sets.BoxSetLoss(CLASSES, no_object_weight=0.0)))  # without objects the weights sum to 0
    scenes.append(handed_in(replace(scenes[0], criterion=sets.BoxSetLoss(CLASSES, class_weights=[0.5, 1.0, 2.0, 0.0, 1.5]))))
    scenes.append(handed_in(scenes[2]))
    apart = scenes[0].predictions[0][..., :-1], scenes[0].predictions[1]
    scenes += [replace(scenes[0], predictions=apart, criterion=sets.BoxSetLoss(CLASSES, class_loss=kind)) for kind in ("focal", "varifocal")]
    return [replace(scene, predictions=tuple(p.to(narrow) for p in scene.predictions)) for scene in scenes]


def rank_gradients(rank: int, folder: str, narrow: torch.dtype) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    results = {}
    for kind, (first, _) in SHARES.items():
        images = slice(0, len(first)) if rank == 0 else slice(len(first), None)
        for number, scene in enumerate(distributed_scenes(kind, narrow)):
            own = replace(
                scene,
                predictions=tuple(p[:, images] for p in scene.predictions),
                targets=scene.targets[images],
                points=None if scene.points is None else scene.points[images],
                settings={name: value[images] for name, value in scene.settings.items()},
            )
            results[kind, number] = found(own)
    torch.save(results, f"{folder}/rank{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.thorough
@pytest.mark.parametrize("narrow", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_two_ranks_give_the_numbers_of_one_process(tmp_path: Path, narrow: torch.dtype) -> None:
    """The mean over the ranks of every part and of its gradient; half precision, uneven shares, and ranks with nothing in them."""
    context = torch.multiprocessing.start_processes(rank_gradients, (str(tmp_path), narrow), nprocs=2, start_method="fork", join=False)
    while not context.join():
        pass
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    precision = torch.float64 if narrow == torch.float64 else torch.float32
    for kind in SHARES:
        for number, scene in enumerate(distributed_scenes(kind, narrow)):
            for first, second, right in zip(ranks[0][kind, number], ranks[1][kind, number], expected(scene), strict=True):
                assert first[0].dtype == precision
                assert_near((first[0] + second[0]) / 2, right[0], precision)
                for ours, other, theirs in zip(first[1:], second[1:], right[1:], strict=True):
                    both = torch.cat([ours, other], 1).double() / 2
                    assert_near(both, theirs.double(), narrow)
