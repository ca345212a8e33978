"""Boxes against counted pixels, against transformers' matrices, and against torchvision's formulas written out."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers.loss.loss_for_object_detection import box_iou, generalized_box_iou

from lossbook import boxes
from tests.tolerances import assert_near

LOSSES = [boxes.iou_loss, boxes.giou_loss, boxes.diou_loss, boxes.ciou_loss]
PAIRWISE = [boxes.pairwise_iou, boxes.pairwise_giou]


def random_boxes(*shape: int, generator: torch.Generator, scale: float = 10.0) -> Tensor:
    """Boxes [*shape, 4] with sides of at least scale / 100."""
    low = scale * torch.rand(*shape, 2, generator=generator, dtype=torch.float64)
    return torch.cat([low, low + scale * (0.01 + torch.rand(*shape, 2, generator=generator, dtype=torch.float64))], -1)


def plain_loss(name: str, box: list[float], target: list[float]) -> float:
    """The four losses for one pair in Python floats, from torchvision's formulas (its 1e-7 left out)."""
    intersection = max(min(box[2], target[2]) - max(box[0], target[0]), 0) * max(min(box[3], target[3]) - max(box[1], target[1]), 0)
    sides, target_sides = (box[2] - box[0], box[3] - box[1]), (target[2] - target[0], target[3] - target[1])
    union = sides[0] * sides[1] + target_sides[0] * target_sides[1] - intersection
    hull = (max(box[2], target[2]) - min(box[0], target[0]), max(box[3], target[3]) - min(box[1], target[1]))
    iou = intersection / union
    if name == "iou_loss":
        return 1 - iou
    if name == "giou_loss":
        return 1 - iou + (hull[0] * hull[1] - union) / (hull[0] * hull[1])
    centres = ((box[0] + box[2] - target[0] - target[2]) / 2) ** 2 + ((box[1] + box[3] - target[1] - target[3]) / 2) ** 2
    diou = 1 - iou + centres / (hull[0] ** 2 + hull[1] ** 2)
    if name == "diou_loss":
        return diou
    v = 4 / math.pi**2 * (math.atan(target_sides[0] / target_sides[1]) - math.atan(sides[0] / sides[1])) ** 2
    return diou + v * v / (1 - iou + v)


def test_iou_counts_pixels(generator: torch.Generator) -> None:
    """Boxes with integer corners: intersection and union are counts of unit squares."""
    low = torch.randint(0, 8, (40, 2), generator=generator)
    corners = torch.cat([low, low + torch.randint(1, 8, (40, 2), generator=generator)], -1)
    filled = torch.zeros(40, 16, 16, dtype=torch.bool)
    for image, (x1, y1, x2, y2) in zip(filled, corners.tolist(), strict=True):
        image[y1:y2, x1:x2] = True
    both = (filled[:20, None] & filled[None, 20:]).sum((-1, -2))
    either = (filled[:20, None] | filled[None, 20:]).sum((-1, -2))
    assert_near(boxes.pairwise_iou(corners[:20].double(), corners[20:].double()), both / either.double())


def test_pairwise_matrices_are_those_of_transformers(device: torch.device, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    first, second = (random_boxes(n, generator=generator).to(device, real_dtype) for n in (30, 20))
    assert_near(boxes.pairwise_iou(first, second), box_iou(first, second)[0])
    assert_near(boxes.pairwise_giou(first, second), generalized_box_iou(first, second))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_losses_are_the_plain_formulas(
    loss: Callable[..., Tensor], device: torch.device, real_dtype: torch.dtype, generator: torch.Generator
) -> None:
    first, second = (random_boxes(50, generator=generator) for _ in range(2))
    expected = [plain_loss(loss.__name__, box, target) for box, target in zip(first.tolist(), second.tolist(), strict=True)]
    found = loss(first.to(device, real_dtype), second.to(device, real_dtype), reduction="none")
    assert_near(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("loss", LOSSES[:3], ids=lambda loss: loss.__name__)
def test_gradients(loss: Callable[..., Tensor], generator: torch.Generator) -> None:
    first, second = (random_boxes(6, generator=generator).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, reduction="none"), (first, second))
    assert torch.autograd.gradgradcheck(lambda a, b: loss(a, b, reduction="none"), (first, second))


def test_ciou_gradient_holds_alpha_constant(generator: torch.Generator) -> None:
    """Differences of DIoU + alpha v with alpha frozen at the point: the gradient that torchvision defines."""
    box, target = random_boxes(generator=generator).requires_grad_(), random_boxes(generator=generator)
    (found,) = torch.autograd.grad(boxes.ciou_loss(box, target), box)

    def aspect(values: list[float]) -> float:
        angles = [math.atan((x2 - x1) / (y2 - y1)) for x1, y1, x2, y2 in (target.tolist(), values)]
        return 4 / math.pi**2 * (angles[0] - angles[1]) ** 2

    v = aspect(box.tolist())
    alpha = v / (plain_loss("iou_loss", box.tolist(), target.tolist()) + v)
    for axis, step in enumerate(torch.eye(4, dtype=torch.float64) * 1e-6):
        ends = [(box.detach() + sign * step).tolist() for sign in (1, -1)]
        values = [plain_loss("diou_loss", end, target.tolist()) + alpha * aspect(end) for end in ends]
        assert float(found[axis]) == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-7)


def test_touching_equal_and_distant_boxes() -> None:
    unit, beside, far = torch.tensor([[0.0, 0, 1, 1], [1.0, 0, 2, 1], [9.0, 0, 10, 1]])
    assert boxes.iou_loss(unit, unit) == boxes.giou_loss(unit, unit) == boxes.diou_loss(unit, unit) == boxes.ciou_loss(unit, unit) == 0
    assert boxes.iou_loss(unit, beside) == boxes.iou_loss(unit, far) == 1
    assert boxes.giou_loss(unit, beside) == 1  # the hull is the union
    assert float(boxes.giou_loss(unit, far)) == pytest.approx(1 + 8 / 10)  # 8 of the hull's 10 unit squares are empty
    assert float(boxes.diou_loss(unit, far)) == pytest.approx(1 + 81 / 101)  # centres 9 apart, diagonal squared 10² + 1²


def test_only_iou_has_no_gradient_between_boxes_that_do_not_touch() -> None:
    target = torch.tensor([4.0, 0, 6, 2])
    for loss in LOSSES:
        box = torch.tensor([0.0, 0, 2, 2], requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(box, target), box)
        assert bool((gradient == 0).all()) == (loss is boxes.iou_loss)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_points_lines_and_extremes_have_finite_values_and_gradients(loss: Callable[..., Tensor], device: torch.device, dtype: torch.dtype) -> None:
    corners = [[0.0, 0, 0, 0], [1.0, 1, 1, 5], [-1e4, -1e4, 1e4, 1e4], [-1e4, 0, -1e4, 0], [0.0, 0, 1, 1], [1e4, 1e4, 1e4, 1e4]]
    grid = torch.tensor(corners, dtype=dtype, device=device)
    first = grid.repeat_interleave(len(corners), 0).requires_grad_()
    losses = loss(first, grid.repeat(len(corners), 1), reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), first)
    assert losses.dtype == dtype
    assert bool(losses.isfinite().all())
    assert bool(gradient.isfinite().all())
    assert bool(((losses >= -1e-2) & (losses <= 2.51)).all())


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0, 2.0])
def test_smooth_l1_is_torchs(beta: float, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    offsets, targets = (4 * torch.randn(200, generator=generator, dtype=torch.float64).to(real_dtype) for _ in range(2))
    error = (offsets - targets).abs()
    plain = torch.where(error < beta, error.square() / (2 * beta) if beta else error, error - beta / 2)
    assert_near(boxes.smooth_l1(offsets, targets, beta=beta, reduction="none"), plain)
    assert_near(boxes.smooth_l1(offsets, targets, beta=beta), torch.nn.functional.smooth_l1_loss(offsets, targets, beta=beta))


def test_conversions_are_inverse(generator: torch.Generator) -> None:
    corners = random_boxes(3, 7, generator=generator)
    assert_near(boxes.to_xyxy(boxes.to_cxcywh(corners)), corners)


def test_reductions_and_empty_batches() -> None:
    pair = torch.tensor([[0.0, 0, 2, 2], [0.0, 0, 2, 2]]), torch.tensor([[0.0, 0, 2, 2], [4.0, 0, 6, 2]])
    assert float(boxes.giou_loss(*pair)) == pytest.approx(float(boxes.giou_loss(*pair, reduction="sum")) / 2)
    empty = torch.zeros(0, 4, requires_grad=True)
    for loss in LOSSES:
        assert loss(empty, torch.zeros(0, 4)) == 0
        assert loss(empty, torch.zeros(0, 4), reduction="none").shape == (0,)
    for matrix in PAIRWISE:
        assert matrix(empty, torch.zeros(3, 4)).shape == (0, 3)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_compiles_and_maps(loss: Callable[..., Tensor], generator: torch.Generator) -> None:
    first, second = (random_boxes(5, generator=generator) for _ in range(2))
    expected = loss(first, second, reduction="none")
    assert_near(torch.compile(loss, fullgraph=True, backend="eager")(first, second, reduction="none"), expected)
    assert_near(torch.func.vmap(lambda a, b: loss(a, b, reduction="none"))(first, second), expected)


def test_bad_boxes_are_named() -> None:
    good = torch.tensor([[0.0, 0, 1, 1]])
    for call in (boxes.iou_loss, boxes.pairwise_iou):
        with pytest.raises(ValueError, match=r"`boxes_xyxy` should have x1 <= x2 and y1 <= y2 in every box; found \[2\.0, 0\.0, 1\.0, 1\.0\]"):
            call(torch.tensor([[2.0, 0, 1, 1]]), good)
        with pytest.raises(ValueError, match=r"`targets_xyxy` should have x1 <= x2"):
            call(good, torch.tensor([[0.0, math.nan, 1, 1]]))
        with pytest.raises(ValueError, match=r"`boxes_xyxy` should have shape \[\.\.\., 4\]; found \(1, 3\)"):
            call(good[:, :3], good)
        with pytest.raises(TypeError, match="`boxes_xyxy` should have a floating-point dtype"):
            call(good.long(), good)
    with pytest.raises(ValueError, match=r"`targets_xyxy` should have shape \(1, 4\) to match `boxes_xyxy`; found \(4,\)"):
        boxes.giou_loss(good, good[0])
    with pytest.raises(ValueError, match=r"`targets_xyxy` should have shape .* leading axes"):
        boxes.pairwise_giou(good, good[None])
    with pytest.raises(ValueError, match="`reduction` should be one of"):
        boxes.diou_loss(good, good, reduction="average")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`beta` should lie in"):
        boxes.smooth_l1(good, good, beta=-1.0)
    with pytest.raises(ValueError, match="`targets` should have shape"):
        boxes.smooth_l1(good, good[0])
