"""Set losses against transformers' ImageLoss, MaskFormerLoss and Mask2FormerLoss in value and gradient, and matchings against all permutations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Mask2FormerConfig
from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss
from transformers.models.maskformer import modeling_maskformer as maskformer

from lossbook import sets
from lossbook.boxes import pairwise_giou, to_xyxy
from lossbook.sets import _mask_loss, _mask_matching
from lossbook.sets._box_costs import pairwise_box_costs
from tests.tolerances import assert_near

CLASSES = 5


# ----------------------------------------------------------------------------------------------------------------------------- matching


def cheapest(cost: Tensor) -> float:
    """The smallest sum over all one-to-one assignments of min(Q, N) pairs, by trying them."""
    table = (cost if cost.shape[0] >= cost.shape[1] else cost.T).tolist()
    return min(sum(table[q][n] for n, q in enumerate(rows)) for rows in itertools.permutations(range(len(table)), len(table[0]) if table else 0))


@pytest.mark.parametrize("shape", [(5, 5), (6, 3), (3, 6), (1, 4), (7, 1)])
def test_match_is_the_cheapest_of_all_assignments(shape: tuple[int, int], device: torch.device, generator: torch.Generator) -> None:
    for _ in range(40):
        cost = torch.randn(shape, generator=generator)
        found = sets.match(cost.to(device))
        assert len(found.queries) == len(found.targets) == min(shape)
        assert found.queries.tolist() == sorted(set(found.queries.tolist()))
        assert len(set(found.targets.tolist())) == min(shape)
        assert found.queries.device.type == found.targets.device.type == device.type
        assert float(cost[found.queries.cpu(), found.targets.cpu()].sum()) == pytest.approx(cheapest(cost), abs=1e-5)


def test_match_without_queries_or_targets() -> None:
    for shape in ((0, 3), (3, 0), (0, 0)):
        assert [len(side) for side in sets.match(torch.zeros(shape))] == [0, 0]
    assert sets.match_batch(torch.zeros(0, 2, 2), []) == []


def test_match_batch_never_reads_padding(dtype: torch.dtype, generator: torch.Generator) -> None:
    costs = torch.randn(4, 5, 3, generator=generator).to(dtype)
    sizes = [3, 0, 1, 2]
    for image, size in enumerate(sizes):
        costs[image, :, size:] = (math.nan, math.inf, -math.inf, -1e4)[image]
    for image, found in enumerate(sets.match_batch(costs, sizes)):
        alone = sets.match(costs[image, :, : sizes[image]])
        assert torch.equal(found.queries, alone.queries)
        assert torch.equal(found.targets, alone.targets)


def test_bad_costs_are_named() -> None:
    with pytest.raises(ValueError, match=r"`cost` should be finite; found nan for query 1 and target 0"):
        sets.match(torch.tensor([[1.0, 2.0], [math.nan, 1.0]]))
    with pytest.raises(ValueError, match=r"`costs` should be finite; found inf for query 0 and target 1 in image 1"):
        sets.match_batch(torch.tensor([[[1.0, math.inf]], [[1.0, math.inf]]]), [1, 2])
    with pytest.raises(ValueError, match=r"`cost` should have shape \[Q, N\]; found \(3,\)"):
        sets.match(torch.zeros(3))
    with pytest.raises(ValueError, match=r"`sizes` should hold 2 numbers in \[0, 3\]; found \[1, 4\]"):
        sets.match_batch(torch.zeros(2, 2, 3), [1, 4])
    with pytest.raises(ValueError, match=r"`costs` should have shape \[B, Q, N\]"):
        sets.match_batch(torch.zeros(2, 3), [1])


# -------------------------------------------------------------------------------------------------------------------------------- boxes


def box_scene(
    sizes: Sequence[int], generator: torch.Generator, *, layers: int | None = None, queries: int = 7
) -> tuple[Tensor, Tensor, list[dict[str, Tensor]]]:
    leading = (len(sizes), queries) if layers is None else (layers, len(sizes), queries)
    logits = 2 * torch.randn(*leading, CLASSES + 1, generator=generator, dtype=torch.float64)
    boxes = 0.1 + 0.6 * torch.rand(*leading, 4, generator=generator, dtype=torch.float64)
    targets = [
        {
            "labels": torch.randint(CLASSES, (size,), generator=generator),
            "boxes_cxcywh": 0.1 + 0.6 * torch.rand(size, 4, generator=generator, dtype=torch.float64),
        }
        for size in sizes
    ]
    return logits, boxes, targets


def detr_loss(logits: Tensor, boxes: Tensor, targets: list[dict[str, Tensor]], weights: tuple[float, float, float, float] = (1, 5, 2, 0.1)) -> Tensor:
    """transformers' DETR loss; its class weight for the loss is 1 by definition, so ours is multiplied in."""
    layered = (logits, boxes) if logits.ndim == 4 else (logits[None], boxes[None])
    criterion = ImageLoss(HungarianMatcher(*weights[:3]), CLASSES, weights[3], ["labels", "boxes"]).to(logits.dtype)
    criterion.empty_weight[-1] = weights[3]  # it was rounded to float32
    outputs: dict[str, Any] = {"logits": layered[0][-1], "pred_boxes": layered[1][-1]}
    outputs["auxiliary_outputs"] = [{"logits": a, "pred_boxes": b} for a, b in zip(layered[0][:-1], layered[1][:-1], strict=True)]
    parts = criterion(outputs, [{"class_labels": target["labels"], "boxes": target["boxes_cxcywh"].to(boxes)} for target in targets])
    scale = dict(zip(("loss_ce", "loss_bbox", "loss_giou"), weights, strict=False))
    return sum(scale[name.rstrip("_0123456789")] * value for name, value in parts.items())


def gradients(function: Callable[..., Tensor], *leaves: Tensor) -> tuple[Tensor, ...]:
    leaves = tuple(leaf.detach().clone().requires_grad_() for leaf in leaves)
    value = function(*leaves)
    return (value.detach(), *torch.autograd.grad(value, leaves))


@pytest.mark.parametrize("layers", [None, 1, 3])
@pytest.mark.parametrize("sizes", [(3, 1, 5), (0, 4), (0, 0), (9, 2)], ids=str)
def test_box_loss_is_detrs(
    sizes: tuple[int, ...], layers: int | None, device: torch.device, real_dtype: torch.dtype, generator: torch.Generator
) -> None:
    """Empty images, an empty batch of objects, and more objects (9) than queries (7) included."""
    logits, boxes, targets = box_scene(sizes, generator, layers=layers)
    for weights in ((1.0, 5.0, 2.0, 0.1), (2.0, 1.0, 3.0, 0.5)):
        criterion = sets.BoxSetLoss(CLASSES, class_weight=weights[0], l1_weight=weights[1], giou_weight=weights[2], no_object_weight=weights[3])
        here = [{name: value.to(device) for name, value in target.items()} for target in targets]
        found = gradients(lambda a, b: criterion(a, b, here).total, logits.to(device, real_dtype), boxes.to(device, real_dtype))  # noqa: B023
        expected = gradients(lambda a, b: detr_loss(a, b, targets, weights), logits, boxes)  # noqa: B023
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == real_dtype
            assert_near(ours, theirs)


def test_predictions_may_lie_in_memory_in_any_order(generator: torch.Generator) -> None:
    """As a model hands them over that has its queries first, its layers last, or its pixels before them."""
    for (logits, values, targets), criterion in (
        (box_scene([3, 2], generator, layers=3), sets.BoxSetLoss(CLASSES)),
        (mask_scene([3, 2], generator, layers=3), sets.MaskSetLoss(CLASSES)),
    ):
        expected = gradients(lambda a, b: criterion(a, b, targets).total, logits, values)  # noqa: B023
        for order in ((2, 1, 0), (1, 2, 0), (0, 2, 1)):

            def total(a: Tensor, b: Tensor) -> Tensor:
                back = [order.index(axis) for axis in range(3)]  # noqa: B023
                turned = [x.permute(*order, *range(3, x.ndim)).contiguous().permute(*back, *range(3, x.ndim)) for x in (a, b)]  # noqa: B023
                assert not turned[0].is_contiguous()
                return criterion(*turned, targets).total  # noqa: B023

            for ours, theirs in zip(gradients(total, logits, values), expected, strict=True):
                assert_near(ours, theirs)


def test_box_costs_are_one_image_at_a_time(generator: torch.Generator) -> None:
    logits, boxes, targets = box_scene([4, 4], generator, layers=2)
    labels, true_boxes = (torch.stack([target[name] for target in targets]) for name in ("labels", "boxes_cxcywh"))
    probs = logits.softmax(-1).gather(-1, labels[None, :, None].expand(2, 2, 7, -1))
    found = pairwise_box_costs(probs, boxes, true_boxes, {"class": 1.0, "l1": 5.0, "giou": 2.0})
    for layer, image in itertools.product(range(2), range(2)):
        expected = -logits[layer, image].softmax(-1)[:, labels[image]]
        expected = expected + 5 * (boxes[layer, image][:, None] - true_boxes[image]).abs().sum(-1)
        expected = expected - 2 * pairwise_giou(to_xyxy(boxes[layer, image]), to_xyxy(true_boxes[image]))
        assert_near(found[layer, image], expected)


def test_layers_are_independent_and_their_losses_add_up(generator: torch.Generator) -> None:
    logits, boxes, targets = box_scene([3, 0, 2], generator, layers=3)
    criterion = sets.BoxSetLoss(CLASSES)
    loss = criterion(logits, boxes, targets)
    alone = [criterion(a, b, targets) for a, b in zip(logits, boxes, strict=True)]
    assert_near(loss.total, sum(layer.total for layer in alone))
    assert set(loss.parts) == {"class", "l1", "giou"}
    for name, part in loss.parts.items():
        assert_near(part, sum(layer.parts[name] for layer in alone))
    for layer, expected in zip(loss.by_layer, alone, strict=True):
        assert_near(layer.total, expected.total)
        for ours, theirs in zip(layer.matches, expected.matches, strict=True):
            assert torch.equal(torch.stack(ours), torch.stack(theirs))
    assert torch.equal(torch.stack(loss.matches[0]), torch.stack(alone[-1].matches[0]))
    assert_near(loss.total, loss.parts["class"] + 5 * loss.parts["l1"] + 2 * loss.parts["giou"])


def test_parts_have_gradients_that_add_up_to_the_totals(generator: torch.Generator) -> None:
    logits, boxes, targets = box_scene([3, 2], generator)
    criterion = sets.BoxSetLoss(CLASSES)

    def from_parts(a: Tensor, b: Tensor) -> Tensor:
        parts = criterion(a, b, targets).parts
        return parts["class"] + 5 * parts["l1"] + 2 * parts["giou"]

    for ours, theirs in zip(gradients(from_parts, logits, boxes), gradients(lambda a, b: criterion(a, b, targets).total, logits, boxes), strict=True):
        assert_near(ours, theirs)


def test_records_mappings_and_named_tuples_are_targets(generator: torch.Generator) -> None:
    logits, boxes, targets = box_scene([3, 2], generator)
    expected = sets.BoxSetLoss(CLASSES)(logits, boxes, targets).total
    tuples = [sets.BoxTargets(**target) for target in targets]
    assert sets.BoxSetLoss(CLASSES)(logits, boxes, tuples).total == expected


def test_box_derivatives(generator: torch.Generator) -> None:
    """Finite differences of a float64 loss (the matching does not change within them), to second order; and a backward pass done twice."""
    logits, boxes, targets = box_scene([3, 0, 2], generator, layers=2, queries=4)
    leaves = logits.requires_grad_(), boxes.requires_grad_()
    criterion = sets.BoxSetLoss(CLASSES)
    assert torch.autograd.gradcheck(lambda a, b: criterion(a, b, targets).total, leaves)
    assert torch.autograd.gradgradcheck(lambda a, b: criterion(a, b, targets).total, leaves, fast_mode=True)
    total = criterion(*leaves, targets).total
    once, twice = ([g.clone() for g in torch.autograd.grad(total, leaves, retain_graph=True)] for _ in range(2))
    for first, second in zip(once, twice, strict=True):
        assert torch.equal(first, second)


def test_equal_boxes_and_points_have_finite_losses_and_gradients() -> None:
    """Ties in every minimum and maximum, boxes without area, and logits of ±1e4."""
    boxes = torch.tensor([[[0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.2, 0.2], [0.2, 0.2, 0.0, 0.3]]])
    logits = torch.tensor([1e4, -1e4, 0.0]).repeat(1, 3, 2)
    targets = [{"labels": torch.tensor([0, 1, 2]), "boxes_cxcywh": boxes[0].flip(0)}]
    loss, *slopes = gradients(lambda a, b: sets.BoxSetLoss(CLASSES)(a, b, targets).total, logits, boxes)
    assert all(bool(values.isfinite().all()) for values in (loss, *slopes))
    matched = sets.BoxSetLoss(CLASSES)(torch.zeros(1, 3, 6), boxes, targets)
    assert matched.parts["l1"] == 0
    assert float(matched.parts["giou"]) == pytest.approx(2 / 3)  # by convention boxes without area, two of the three here, overlap nothing


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_predictions_are_computed_in_float32(narrow: torch.dtype, generator: torch.Generator) -> None:
    logits, boxes, targets = box_scene([3, 2], generator)
    logits, boxes = logits.to(narrow), boxes.to(narrow)
    found = gradients(lambda a, b: sets.BoxSetLoss(CLASSES)(a, b, targets).total, logits, boxes)
    expected = gradients(lambda a, b: sets.BoxSetLoss(CLASSES)(a, b, targets).total, logits.float(), boxes.float())
    assert found[0].dtype == torch.float32
    assert_near(found[0], expected[0])
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        assert_near(ours, theirs.to(narrow))


def test_no_images_and_no_queries() -> None:
    criterion = sets.BoxSetLoss(CLASSES)
    for shape in ((0, 3), (2, 0)):
        logits = torch.zeros(*shape, CLASSES + 1, requires_grad=True)
        targets = [{"labels": torch.tensor([1]), "boxes_cxcywh": torch.full((1, 4), 0.5)}] * shape[0]
        loss = criterion(logits, torch.zeros(*shape, 4), targets)
        loss.total.backward()
        assert loss.total == 0


def test_bad_box_arguments_are_named(generator: torch.Generator) -> None:
    logits, boxes, targets = box_scene([3, 2], generator)
    criterion = sets.BoxSetLoss(CLASSES)
    with pytest.raises(ValueError, match=r"`logits` should have shape \[B, Q, 6\] or \[L, B, Q, 6\]; found \(2, 7, 5\)"):
        criterion(logits[..., 1:], boxes, targets)
    with pytest.raises(ValueError, match=r"`boxes_cxcywh` should have shape \(2, 7, 4\) to match `logits`; found \(2, 6, 4\)"):
        criterion(logits, boxes[:, 1:], targets)
    with pytest.raises(ValueError, match=r"`targets` should hold 2 images to match `logits`; found 1"):
        criterion(logits, boxes, targets[:1])
    with pytest.raises(TypeError, match=r"`targets\[1\]` should be a mapping or a record with `boxes_cxcywh`; found dict"):
        criterion(logits, boxes, [targets[0], {"labels": targets[1]["labels"]}])
    with pytest.raises(ValueError, match=r"`targets\[0\]` should have `labels` of shape \[N\] and `boxes_cxcywh` of shape \[N, 4\]"):
        criterion(logits, boxes, [{**targets[0], "labels": torch.tensor([1])}, targets[1]])
    with pytest.raises(ValueError, match=r"`targets` should have boxes with width and height >= 0; found -0.5"):
        criterion(logits, boxes, [{**targets[0], "boxes_cxcywh": torch.tensor([[0.5, 0.5, -0.5, 0.5]] * 3)}, targets[1]])
    with pytest.raises(ValueError, match=r"`boxes_cxcywh` should have boxes with width and height >= 0"):
        criterion(logits, -boxes, targets)
    with pytest.raises(ValueError, match=r"`the cost of a pair` should be finite; found nan for query 0 and target 0 in image 0"):
        criterion(logits * math.nan, boxes, targets)
    with pytest.raises(ValueError, match="`l1_weight` should be finite and at least 0; found -1"):
        sets.BoxSetLoss(CLASSES, l1_weight=-1)
    with pytest.raises(ValueError, match="`num_classes` should be at least 1"):
        sets.BoxSetLoss(0)


# -------------------------------------------------------------------------------------------------------------------------------- masks


def mask_scene(
    sizes: Sequence[int], generator: torch.Generator, *, layers: int | None = None, queries: int = 6, size: int = 8, target: int | None = None
) -> tuple[Tensor, Tensor, list[dict[str, Tensor]]]:
    leading = (len(sizes), queries) if layers is None else (layers, len(sizes), queries)
    logits = 2 * torch.randn(*leading, CLASSES + 1, generator=generator, dtype=torch.float64)
    mask_logits = 3 * torch.randn(*leading, size, size + 2, generator=generator, dtype=torch.float64)
    shape = (size, size + 2) if target is None else (target, target + 3)
    coarse = [torch.rand(count, 1, 4, 4, generator=generator) for count in sizes]
    masks = [(F.interpolate(rough, shape, mode="bilinear")[:, 0] if len(rough) else torch.zeros(0, *shape)) > 0.5 for rough in coarse]
    labels = [torch.randint(CLASSES, (count,), generator=generator) for count in sizes]
    return logits, mask_logits, [{"labels": ids, "masks": mask} for ids, mask in zip(labels, masks, strict=True)]


def maskformer_loss(logits: Tensor, mask_logits: Tensor, targets: list[dict[str, Tensor]], weights: tuple[float, float, float]) -> Tensor:
    layered = (logits, mask_logits) if logits.ndim == 4 else (logits[None], mask_logits[None])
    criterion = maskformer.MaskFormerLoss(CLASSES, maskformer.MaskFormerHungarianMatcher(*weights), {}, 0.1).to(logits.dtype)
    criterion.empty_weight[-1] = 0.1  # it was rounded to float32
    labels, masks = [target["labels"] for target in targets], [target["masks"].to(logits.dtype) for target in targets]
    auxiliary = [{"class_queries_logits": a, "masks_queries_logits": b} for a, b in zip(layered[0][:-1], layered[1][:-1], strict=True)]
    parts = criterion(layered[1][-1], layered[0][-1], masks, labels, auxiliary)
    scale = dict(zip(("loss_cross_entropy", "loss_mask", "loss_dice"), weights, strict=True))
    return sum(scale[name.rstrip("_0123456789")] * value for name, value in parts.items())


@pytest.mark.parametrize("layers", [None, 2])
@pytest.mark.parametrize("target", [None, 16, 21, 5], ids=["same size", "twice", "odd", "smaller"])
def test_mask_loss_is_maskformers(
    target: int | None, layers: int | None, device: torch.device, real_dtype: torch.dtype, generator: torch.Generator
) -> None:
    """Targets of the predictions' size, larger and smaller; an image without objects, and one with more objects (8) than queries (6)."""
    logits, mask_logits, targets = mask_scene([3, 0, 8], generator, layers=layers, target=target)
    weights = (1.0, 20.0, 1.0)
    criterion = sets.MaskSetLoss(CLASSES)
    here = [{name: value.to(device) for name, value in target.items()} for target in targets]
    found = gradients(lambda a, b: criterion(a, b, here).total, logits.to(device, real_dtype), mask_logits.to(device, real_dtype))
    expected = gradients(lambda a, b: maskformer_loss(a, b, targets, weights), logits, mask_logits)
    for ours, theirs in zip(found, expected, strict=True):
        assert_near(ours, theirs)


@pytest.mark.parametrize("target", [None, 13], ids=["same size", "other size"])
def test_soft_masks_and_logits_far_out_are_maskformers(target: int | None, generator: torch.Generator) -> None:
    """Masks between 0 and 1, in one image; and logits whose sigmoid is 0 or 1."""
    logits, mask_logits, targets = mask_scene([3, 2], generator, target=target)
    targets[0]["masks"] = torch.rand(targets[0]["masks"].shape, generator=generator, dtype=torch.float64)
    for scale in (1.0, 100.0, 1e4):
        found = gradients(lambda a, b: sets.MaskSetLoss(CLASSES)(a, b, targets).total, logits, scale * mask_logits)
        expected = gradients(lambda a, b: maskformer_loss(a, b, targets, (1.0, 20.0, 1.0)), logits, scale * mask_logits)
        for ours, theirs in zip(found, expected, strict=True):
            assert_near(ours, theirs)


@pytest.mark.parametrize("sizes", [(3, 1, 4), (2, 0, 8)], ids=str)
@pytest.mark.parametrize("target", [None, 19], ids=["same size", "other size"])
def test_point_loss_is_mask2formers_at_the_same_random_points(target: int | None, sizes: tuple[int, ...], generator: torch.Generator) -> None:
    """Both draw from torch's global generator in the same order: matching points, candidates, and the rest."""
    logits, mask_logits, targets = mask_scene(sizes, generator, target=target)
    logits, mask_logits = logits.float(), mask_logits.float()
    config = Mask2FormerConfig(num_labels=CLASSES, train_num_points=40, class_weight=2.0, mask_weight=5.0, dice_weight=3.0)
    theirs, scale = Mask2FormerLoss(config, {}), {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 3.0}
    ours = sets.MaskSetLoss(CLASSES, class_weight=2.0, mask_weight=5.0, dice_weight=3.0, num_points=40)
    labels, masks = [target["labels"] for target in targets], [target["masks"].float() for target in targets]
    for seed in range(5):

        def expected(a: Tensor, b: Tensor, seed: int = seed) -> Tensor:
            torch.manual_seed(seed)
            return sum(scale[name] * value for name, value in theirs(b, a, masks, labels).items())

        def found(a: Tensor, b: Tensor, seed: int = seed) -> Tensor:
            return ours(a, b, targets, generator=torch.Generator().manual_seed(seed)).total

        for mine, other in zip(gradients(found, logits, mask_logits), gradients(expected, logits, mask_logits), strict=True):
            assert_near(mine, other)


def handed_out(draws: Sequence[Tensor], into: list[tuple[int, ...]]) -> Callable[..., Tensor]:
    """A `torch.rand` that gives `draws` in turn, and writes down which shape was asked for."""
    ahead = iter(draws)

    def rand(*size: int, **settings: Any) -> Tensor:
        into.append(size)
        return next(ahead).clone().view(size)

    return rand


@pytest.mark.parametrize("sizes", [(3, 1, 4), (2, 0, 8)], ids=str)
@pytest.mark.parametrize("target", [None, 19], ids=["same size", "other size"])
def test_point_loss_of_decoder_layers_is_mask2formers(
    target: int | None, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    """With its auxiliary predictions. It draws layer by layer, the last one first, and we draw for all at once: each layer gets its own points."""
    layers, points, batch, pairs = 3, 40, len(sizes), sum(min(size, 6) for size in sizes)
    logits, mask_logits, targets = mask_scene(sizes, generator, layers=layers, target=target)
    shapes = (batch, points, 2), (pairs, 3 * points, 2), (pairs, points - int(0.75 * points), 2)
    matching, candidates, rest = (torch.rand(layers, *shape, generator=generator, dtype=torch.float64) for shape in shapes)
    labels, masks = [target["labels"] for target in targets], [target["masks"].double() for target in targets]
    config = Mask2FormerConfig(num_labels=CLASSES, train_num_points=points, class_weight=2.0, mask_weight=5.0, dice_weight=3.0)
    theirs, scale = Mask2FormerLoss(config, {}).double(), {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 3.0}
    theirs.empty_weight[-1] = 0.1  # it was rounded to float32
    ours = sets.MaskSetLoss(CLASSES, class_weight=2.0, mask_weight=5.0, dice_weight=3.0, num_points=points)
    asked: list[tuple[int, ...]] = []

    def expected(a: Tensor, b: Tensor) -> Tensor:
        order = [layers - 1, *range(layers - 1)]
        draws = [draw for layer in order for draw in (*matching[layer].split(1), candidates[layer], rest[layer])]
        auxiliary = [{"class_queries_logits": x, "masks_queries_logits": y} for x, y in zip(a[:-1], b[:-1], strict=True)]
        with monkeypatch.context() as patch:
            patch.setattr(torch, "rand", handed_out(draws, asked))
            parts = theirs(b[-1], a[-1], masks, labels, auxiliary)
        assert len(parts) == 3 * layers
        return sum(scale[name.rstrip("_0123456789")] * value for name, value in parts.items())

    def found(a: Tensor, b: Tensor) -> Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(torch, "rand", handed_out([matching, candidates, rest], asked))
            return ours(a, b, targets).total

    results = gradients(found, logits, mask_logits), gradients(expected, logits, mask_logits)
    assert sum(map(math.prod, asked[:3])) == sum(map(math.prod, asked[3:])) == matching.numel() + candidates.numel() + rest.numel()
    for mine, other in zip(*results, strict=True):
        assert_near(mine, other)


def bilinear(mask: Tensor, points: Tensor) -> Tensor:
    """[H, W] at [P, 2], (x, y) in [0, 1], by grid_sample."""
    return F.grid_sample(mask[None, None], 2 * points[None, :, None].to(mask) - 1, align_corners=False)[0, 0, :, 0]


def plain_point_loss(logits: Tensor, mask_logits: Tensor, targets: list[dict[str, Tensor]], points: Tensor, weights: Sequence[float]) -> Tensor:
    """One layer at given points: every cost and loss pair by pair."""
    count, total, class_loss, class_weight = max(sum(len(target["labels"]) for target in targets), 1), 0.0, 0.0, 0.0
    for image, target in enumerate(targets):
        scores = torch.stack([bilinear(mask, points[image]) for mask in mask_logits[image]])
        truth = [bilinear(mask.to(scores.dtype), points[image]) for mask in target["masks"]]
        losses = [[(F.binary_cross_entropy_with_logits(s, t), sets.dice_loss(s[None], t[None])) for t in truth] for s in scores]
        probs = logits[image].softmax(-1)
        wanted = torch.full((len(scores),), CLASSES)
        if truth:
            costs = [
                [weights[1] * m + weights[2] * d - weights[0] * probs[q, target["labels"][n]] for n, (m, d) in enumerate(row)]
                for q, row in enumerate(losses)
            ]
            pairs = sets.match(torch.tensor([[float(cost.detach()) for cost in row] for row in costs]))
            for q, n in zip(*(side.tolist() for side in pairs), strict=True):
                total = total + (weights[1] * losses[q][n][0] + weights[2] * losses[q][n][1]) / count
                wanted[q] = target["labels"][n]
        weight = torch.where(wanted == CLASSES, 0.1, torch.ones((), dtype=probs.dtype))
        class_loss = class_loss - (weight * probs.log().gather(1, wanted[:, None])[:, 0]).sum()
        class_weight = class_weight + weight.sum()
    return total + weights[0] * class_loss / class_weight


@pytest.mark.parametrize("sizes", [(3, 0, 2), (8, 0, 2)], ids=str)
@pytest.mark.parametrize("shared", [True, False], ids=["points of all", "points an image"])
def test_points_may_be_handed_in(shared: bool, sizes: tuple[int, ...], generator: torch.Generator) -> None:
    """Two decoder layers; an image without objects, and one with more objects (8) than queries (6)."""
    logits, mask_logits, targets = mask_scene(sizes, generator, layers=2, target=13)
    points = 1.1 * torch.rand(*(() if shared else (3,)), 30, 2, generator=generator) - 0.05  # some of them beyond the border
    criterion = sets.MaskSetLoss(CLASSES, class_weight=2.0, mask_weight=5.0, dice_weight=3.0, num_points=7)
    each = points.expand(3, 30, 2)
    found = gradients(lambda a, b: criterion(a, b, targets, points=points.double()).total, logits, mask_logits)
    expected = gradients(
        lambda a, b: sum(plain_point_loss(x, y, targets, each, (2.0, 5.0, 3.0)) for x, y in zip(a, b, strict=True)), logits, mask_logits
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert_near(ours, theirs)
    assert criterion(logits, mask_logits, targets, points=points).total == criterion(logits, mask_logits, targets, points=points).total


def test_random_points_follow_their_generator(generator: torch.Generator) -> None:
    logits, mask_logits, targets = mask_scene([3, 2], generator)
    criterion = sets.MaskSetLoss(CLASSES, num_points=9)
    values = [float(criterion(logits, mask_logits, targets, generator=torch.Generator().manual_seed(seed)).total) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_mask_derivatives_parts_and_layers(generator: torch.Generator) -> None:
    for target, points in ((None, None), (9, None), (None, torch.rand(12, 2, generator=generator))):
        logits, mask_logits, targets = mask_scene([2, 0, 1], generator, layers=2, queries=3, size=4, target=target)
        leaves = logits.requires_grad_(), mask_logits.requires_grad_()
        criterion = sets.MaskSetLoss(CLASSES, mask_weight=3.0, dice_weight=2.0, num_points=None if points is None else 12)
        settings = {} if points is None else {"points": points}

        def total(a: Tensor, b: Tensor) -> Tensor:
            return criterion(a, b, targets, **settings).total  # noqa: B023

        assert torch.autograd.gradcheck(total, leaves, fast_mode=True)
        assert torch.autograd.gradgradcheck(total, leaves, fast_mode=True)
        loss = criterion(*leaves, targets, **settings)
        once, twice = ([g.clone() for g in torch.autograd.grad(loss.total, leaves, retain_graph=True)] for _ in range(2))
        weighted = loss.parts["class"] + 3 * loss.parts["mask"] + 2 * loss.parts["dice"]
        assert_near(loss.total, weighted)
        for first, second, parts in zip(once, twice, torch.autograd.grad(weighted, leaves), strict=True):
            assert torch.equal(first, second)
            assert_near(parts, first)
        alone = [criterion(a, b, targets, **settings) for a, b in zip(*leaves, strict=True)]
        assert_near(loss.total, sum(layer.total for layer in alone))
        for layer, expected in zip(loss.by_layer, alone, strict=True):
            assert_near(layer.total, expected.total)


def test_written_down_once_for_every_query_a_matching_lets_each_take_its_nearest(generator: torch.Generator) -> None:
    """Each query's cheapest object, as one target a query: no assignment is cheaper than everybody's own choice, so nobody is told "no object"."""
    logits, mask_logits, targets = mask_scene([3, 2], generator)
    copies, expected = [], []
    for scores, drawn, target in zip(logits, mask_logits, targets, strict=True):
        costs = sets.pairwise_mask_costs(drawn, target["masks"].double())
        chosen = (20 * costs.mask + costs.dice - scores.softmax(-1)[:, target["labels"]]).argmin(1)
        copies.append({"labels": target["labels"][chosen], "masks": target["masks"][chosen]})
        expected.append(chosen)
    loss = sets.MaskSetLoss(CLASSES)(logits, mask_logits, copies)
    for found, copy, target, chosen in zip(loss.matches, copies, targets, expected, strict=True):
        assert torch.equal(found.queries, torch.arange(len(chosen)))
        assert torch.equal(copy["masks"][found.targets], target["masks"][chosen])
    wanted = torch.stack([target["labels"][chosen] for target, chosen in zip(targets, expected, strict=True)])
    assert_near(loss.parts["class"], F.cross_entropy(logits.transpose(1, 2), wanted))
    one_to_one = sets.MaskSetLoss(CLASSES)(logits, mask_logits, targets)
    assert [len(found.queries) for found in one_to_one.matches] == [3, 2]  # of six queries


def test_written_down_twice_each_object_gets_two_queries(generator: torch.Generator) -> None:
    logits, mask_logits, targets = mask_scene([3, 2], generator)
    twice = [{name: torch.cat([value, value]) for name, value in target.items()} for target in targets]
    for found, target in zip(sets.MaskSetLoss(CLASSES)(logits, mask_logits, twice).matches, targets, strict=True):
        answers = (found.targets % len(target["labels"])).bincount()
        assert answers.tolist() == [2] * len(target["labels"])


def test_empty_images_teach_no_object(generator: torch.Generator) -> None:
    logits, mask_logits, targets = mask_scene([0, 0], generator)
    for points in (None, 5):
        loss = sets.MaskSetLoss(CLASSES, num_points=points)(logits, mask_logits, targets)
        assert loss.parts["mask"] == loss.parts["dice"] == 0
        assert_near(loss.parts["class"], -logits.log_softmax(-1)[..., -1].mean())


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_masks_and_extremes(narrow: torch.dtype, generator: torch.Generator) -> None:
    logits, mask_logits, targets = mask_scene([3, 2], generator, target=11)
    for scale in (1.0, 3000.0):
        a, b = (scale * logits).clamp(-1e4, 1e4).to(narrow), (scale * mask_logits).clamp(-1e4, 1e4).to(narrow)
        for points in (None, 16):
            criterion = sets.MaskSetLoss(CLASSES, num_points=points)

            def total(x: Tensor, y: Tensor) -> Tensor:
                return criterion(x, y, targets, generator=torch.Generator().manual_seed(0)).total  # noqa: B023

            found, expected = gradients(total, a, b), gradients(total, a.float(), b.float())
            assert found[0].dtype == torch.float32
            assert_near(found[0], expected[0], torch.float32)
            for ours, theirs in zip(found[1:], expected[1:], strict=True):
                assert bool(ours.isfinite().all())
                assert_near(ours, theirs.to(narrow))


def test_masks_of_any_dtype(generator: torch.Generator) -> None:
    logits, mask_logits, targets = mask_scene([3, 2], generator, target=11)
    for points in (None, 12):
        values = []
        for dtype in (torch.bool, torch.uint8, torch.int64, torch.float32, torch.float64):
            cast = [{**target, "masks": target["masks"].to(dtype)} for target in targets]
            criterion = sets.MaskSetLoss(CLASSES, num_points=points)
            values.append(float(criterion(logits, mask_logits, cast, generator=torch.Generator().manual_seed(0)).total))
        assert values == pytest.approx([values[0]] * 5, rel=1e-12)


def test_dice_loss_and_pairwise_costs_are_maskformers(real_dtype: torch.dtype, device: torch.device, generator: torch.Generator) -> None:
    mask_logits = 3 * torch.randn(7, 5, 6, generator=generator, dtype=torch.float64)
    masks = (torch.rand(4, 5, 6, generator=generator) > 0.5).double()
    flat, truth = mask_logits.flatten(1), masks.flatten(1)
    here = mask_logits.to(device, real_dtype), masks.to(device)
    for kind, mask in (("focal", maskformer.pair_wise_sigmoid_focal_loss(flat, truth)), ("cross_entropy", None)):
        if mask is None:
            mask = torch.stack([torch.stack([F.binary_cross_entropy_with_logits(x, t) for t in truth]) for x in flat])
        for logits in (here[0], here[0].clone().requires_grad_()):  # the path without a gradient, and the one with
            found = sets.pairwise_mask_costs(logits, here[1], kind=kind)
            assert_near(found.mask.detach(), mask)
            assert_near(found.dice.detach(), maskformer.pair_wise_dice_loss(flat, truth))
    matched = sets.dice_loss(here[0][:4], here[1], reduction="none")
    assert_near(matched, maskformer.pair_wise_dice_loss(flat[:4], truth).diagonal())
    assert_near(sets.dice_loss(here[0][:4], here[1]), matched.mean())


def test_pairwise_costs_differentiate_map_and_compile(generator: torch.Generator) -> None:
    mask_logits = torch.randn(2, 3, 8, generator=generator, dtype=torch.float64)
    masks = (torch.rand(2, 2, 8, generator=generator) > 0.5).double()
    for kind in ("focal", "cross_entropy"):
        assert torch.autograd.gradcheck(lambda x: tuple(sets.pairwise_mask_costs(x, masks[0], kind=kind)), mask_logits[0].requires_grad_())  # noqa: B023
        expected = [
            torch.stack(costs)
            for costs in zip(*(sets.pairwise_mask_costs(*pair, kind=kind) for pair in zip(mask_logits, masks, strict=True)), strict=True)
        ]
        mapped = torch.func.vmap(lambda x, t: tuple(sets.pairwise_mask_costs(x, t, kind=kind)))(mask_logits, masks)  # noqa: B023
        for found, value in zip(mapped, expected, strict=True):
            assert_near(found.detach(), value.detach())
    compiled = torch.compile(sets.dice_loss, fullgraph=True, backend="eager")
    assert_near(compiled(mask_logits[0, :2], masks[0]), sets.dice_loss(mask_logits[0, :2], masks[0]))
    assert torch.autograd.gradcheck(lambda x: sets.dice_loss(x, masks[0]), mask_logits.detach()[0, :2].clone().requires_grad_())


def test_large_masks_go_in_pieces(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    """Pieces smaller than a mask, than a row of costs, and than a group of pairs change nothing."""
    logits, mask_logits, targets = mask_scene([3, 2], generator, target=16)
    for points in (None, 30):
        results = []
        for piece in (2**17, 37):
            for module in ("_mask_pairs", "_cost_sums", "_points", "_point_pairs"):
                monkeypatch.setattr(f"lossbook.sets.{module}._PIECE", piece)
            criterion = sets.MaskSetLoss(CLASSES, num_points=points)
            seeded = lambda a, b: criterion(a, b, targets, generator=torch.Generator().manual_seed(0)).total  # noqa: B023, E731
            results.append(gradients(seeded, logits, mask_logits))
        for whole, pieced in zip(*results, strict=True):
            assert_near(whole, pieced)


@pytest.mark.parametrize("points", [None, 500])
def test_steps_do_not_share_memory(points: int | None, generator: torch.Generator) -> None:
    """Two losses before either goes backward, gradients that add up, and four threads at once; gradients of several megabytes."""
    criterion = sets.MaskSetLoss(CLASSES, num_points=points)
    scenes = [mask_scene([3, 2], generator, queries=50, size=80) for _ in range(2)]
    given = None if points is None else torch.rand(points, 2, generator=generator)

    def slope(scene: Any) -> Tensor:
        return gradients(lambda a, b: criterion(a, b, scene[2], points=given).total, *scene[:2])[2]

    alone = [slope(scene) for scene in scenes]
    leaves = [scene[1].clone().requires_grad_() for scene in scenes]
    losses = [criterion(scene[0], leaf, scene[2], points=given).total for scene, leaf in zip(scenes, leaves, strict=True)]
    for loss in (losses[0], losses[1]):
        loss.backward(retain_graph=True)
    losses[0].backward()
    assert_near(leaves[0].grad, 2 * alone[0])
    assert_near(leaves[1].grad, alone[1])
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(slope, scenes * 8), alone * 8, strict=True):
            assert_near(found, expected)


def test_a_loss_that_is_only_looked_at_comes_before_one_that_is_trained_on(generator: torch.Generator) -> None:
    """Under inference mode, in a thread that has not computed anything before; masks of 0 and 1, soft ones, and points."""
    logits, mask_logits, targets = mask_scene([3, 2], generator, target=13)
    soft = [{**target, "masks": target["masks"] * 0.7} for target in targets]
    for truth, points in ((targets, None), (soft, None), (targets, 30)):
        criterion = sets.MaskSetLoss(CLASSES, num_points=points)

        def total(a: Tensor, b: Tensor) -> Tensor:
            return criterion(a, b, truth, generator=torch.Generator().manual_seed(0)).total  # noqa: B023

        def looked_at_then_trained_on() -> tuple[Tensor, ...]:
            with torch.inference_mode():
                seen = total(logits, mask_logits)
            return (seen, *gradients(total, logits, mask_logits))

        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(looked_at_then_trained_on).result()
        for ours, expected in zip(found[1:], gradients(total, logits, mask_logits), strict=True):
            assert_near(ours, expected)
        assert_near(found[0].clone(), found[1])


def test_a_device_gets_batched_costs_and_a_single_group(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    """What runs on a GPU, run here: the same costs from padded targets, and the same loss from all pairs at once."""
    logits, mask_logits, targets = mask_scene([3, 0, 2], generator, layers=2, target=13)
    masks = [target["masks"] for target in targets]
    for points in (None, torch.rand(2, 3, 20, 2, generator=generator).double()):
        by_image = _mask_matching.costs_by_image(mask_logits, masks, points, 5.0, 3.0)
        by_layer = _mask_matching.costs_by_layer(mask_logits, masks, points, 5.0, 3.0)
        for image, size in enumerate((3, 0, 2)):
            assert_near(by_layer[:, image, :, :size], by_image[:, image, :, :size])
        criterion = sets.MaskSetLoss(CLASSES, num_points=None if points is None else 20)
        settings = {} if points is None else {"points": points[0]}
        expected = gradients(lambda a, b: criterion(a, b, targets, **settings).total, logits, mask_logits)  # noqa: B023
        with monkeypatch.context() as patch:
            patch.setattr(_mask_loss, "_image_by_image", lambda mask_logits, plain: False)
            patch.setattr(_mask_matching, "costs_by_image", _mask_matching.costs_by_layer)
            for inside in (False, True):
                with torch.autocast("cpu", torch.bfloat16, enabled=inside):
                    found = gradients(lambda a, b: criterion(a, b, targets, **settings).total, logits, mask_logits)  # noqa: B023
                for ours, theirs in zip(found, expected, strict=True):
                    assert_near(ours, theirs)


@pytest.mark.parametrize("points", [None, 20])
@pytest.mark.parametrize("value", [2.0, -0.5, float("nan")])
def test_masks_outside_the_unit_interval_are_named(value: float, points: int | None) -> None:
    target = {"labels": torch.tensor([0]), "masks": torch.full((1, 4, 4), value)}
    with pytest.raises(ValueError, match=r"`(targets|the cost of a pair)` should"):
        sets.MaskSetLoss(CLASSES, num_points=points)(torch.zeros(1, 3, CLASSES + 1), torch.zeros(1, 3, 4, 4), [target])


def test_bad_mask_arguments_are_named(generator: torch.Generator) -> None:
    logits, mask_logits, targets = mask_scene([3, 2], generator)
    criterion = sets.MaskSetLoss(CLASSES)
    with pytest.raises(ValueError, match=r"`mask_logits` should have shape \(2, 6, 'H', 'W'\) to match `logits`; found \(2, 5, 8, 10\)"):
        criterion(logits, mask_logits[:, 1:], targets)
    with pytest.raises(ValueError, match=r"`logits` should have shape \[B, Q, 6\]"):
        criterion(logits[..., 1:], mask_logits, targets)
    with pytest.raises(ValueError, match=r"`targets` should have masks of one size; found \[\(8, 9\), \(8, 10\)\]"):
        criterion(logits, mask_logits, [targets[0], {**targets[1], "masks": targets[1]["masks"][..., 1:]}])
    with pytest.raises(ValueError, match=r"`targets\[0\]` should have `labels` of shape \[N\] and `masks` of shape \[N, H, W\]"):
        criterion(logits, mask_logits, [{**targets[0], "masks": targets[0]["masks"][0]}, targets[1]])
    with pytest.raises(ValueError, match=r"`targets` should lie in \[0, 1\]"):
        criterion(logits, mask_logits, [{**targets[0], "masks": 2 * targets[0]["masks"].long()}, targets[1]])
    with pytest.raises(ValueError, match=r"`the cost of a pair` should be finite; found nan"):
        criterion(logits, mask_logits * math.nan, targets)
    with pytest.raises(ValueError, match="`points` should be None without `num_points`"):
        criterion(logits, mask_logits, targets, points=torch.rand(5, 2))
    with pytest.raises(ValueError, match=r"`points` should have shape \[P, 2\] or \[2, P, 2\]; found \(3, 5, 2\)"):
        sets.MaskSetLoss(CLASSES, num_points=5)(logits, mask_logits, targets, points=torch.rand(3, 5, 2))
    for name, value in (("mask_weight", -1.0), ("oversample", 0.5), ("importance", 1.5), ("no_object_weight", math.nan)):
        with pytest.raises(ValueError, match=f"`{name}` should (lie in|be finite and at least)"):
            sets.MaskSetLoss(CLASSES, **{name: value})
    with pytest.raises(ValueError, match="`num_points` should be at least 1"):
        sets.MaskSetLoss(CLASSES, num_points=0)
    with pytest.raises(ValueError, match="`masks` should have the pixels of `mask_logits`"):
        sets.pairwise_mask_costs(torch.zeros(2, 4, 3), torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"`mask_logits` should have shape \[Q, H, W\] or \[Q, P\]; found \(4,\)"):
        sets.pairwise_mask_costs(torch.zeros(4), torch.zeros(4))
    with pytest.raises(ValueError, match=r"`mask_logits` should have shape \[M, H, W\] or \[M, P\]"):
        sets.dice_loss(torch.zeros(4), torch.zeros(4))


# -------------------------------------------------------------------------------------------------------------------------- distributed


def _rank_gradients(rank: int, folder: str, share: list[int]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    images = slice(0, share[0]) if rank == 0 else slice(share[0], None)
    results = []
    for scene, criterion in _distributed_scenes():
        predictions = [values[images].clone().requires_grad_() for values in scene[:2]]
        criterion(*predictions, scene[2][images]).total.backward()
        whole = [torch.zeros_like(values) for values in scene[:2]]
        for values, leaf in zip(whole, predictions, strict=True):
            values[images] = leaf.grad / 2  # what averaging the ranks' gradients makes of an image that only one of them has
        results.append(whole)
    torch.save(results, f"{folder}/rank{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _distributed_scenes() -> list[tuple[Any, torch.nn.Module]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (box_scene([3, 0, 9, 2], generator), sets.BoxSetLoss(CLASSES)),
        (box_scene([3, 0, 9, 2], generator), sets.BoxSetLoss(CLASSES, class_weights=[0.5, 1.0, 2.0, 0.0, 1.5])),
        (box_scene([3, 0, 9, 2], generator), sets.BoxSetLoss(CLASSES + 1, class_loss="focal")),
        (mask_scene([3, 0, 8, 2], generator), sets.MaskSetLoss(CLASSES)),
    ]


def test_two_ranks_give_the_gradient_of_one_process(tmp_path: Path) -> None:
    """Images, objects and matched pairs are spread unevenly: three images on the first rank, one on the second."""
    context = torch.multiprocessing.start_processes(_rank_gradients, (str(tmp_path), [3, 1]), nprocs=2, start_method="fork", join=False)
    while not context.join(timeout=60):
        pass
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    for index, (scene, criterion) in enumerate(_distributed_scenes()):
        expected = gradients(lambda a, b: criterion(a, b, scene[2]).total, *scene[:2])[1:]  # noqa: B023
        for found, value in zip([a + b for a, b in zip(ranks[0][index], ranks[1][index], strict=True)], expected, strict=True):
            assert_near(found, value)
