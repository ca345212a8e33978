"""Boxes against counted pixels, against transformers' matrices, and against torchvision's formulas written out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
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


@pytest.mark.parametrize("shift", [0.0, 0.5, 30.0], ids=["within", "across", "apart"])
def test_ciou_gradient_holds_alpha_constant(shift: float) -> None:
    """Differences of DIoU + alpha v with alpha frozen at the point: the gradient that torchvision defines. That of alpha v itself is far from it."""
    box = torch.tensor([1.0, 2.0, 7.0, 5.0], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0.0, 0.0, 8.0, 9.0], dtype=torch.float64) + shift
    (found,) = torch.autograd.grad(boxes.ciou_loss(box, target), box)

    def aspect(values: list[float]) -> float:
        angles = [math.atan((x2 - x1) / (y2 - y1)) for x1, y1, x2, y2 in (target.tolist(), values)]
        return 4 / math.pi**2 * (angles[0] - angles[1]) ** 2

    def slopes(loss: Callable[[list[float]], float]) -> Tensor:
        steps = torch.eye(4, dtype=torch.float64) * 1e-6
        ends = [[loss((box.detach() + sign * step).tolist()) for sign in (1, -1)] for step in steps]
        return torch.tensor([(high - low) / 2e-6 for high, low in ends], dtype=torch.float64)

    v = aspect(box.tolist())
    alpha = v / (plain_loss("iou_loss", box.tolist(), target.tolist()) + v)
    held = slopes(lambda end: plain_loss("diou_loss", end, target.tolist()) + alpha * aspect(end))
    true = slopes(lambda end: plain_loss("ciou_loss", end, target.tolist()))
    torch.testing.assert_close(found, held, rtol=0, atol=1e-8)
    assert float((true - held).abs().max()) > 1e-3


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
    assert losses.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
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
        with pytest.raises(ValueError, match=r"`boxes_xyxy` should have x1 <= x2 and y1 <= y2 in every box; found a side of -1"):
            call(torch.tensor([[2.0, 0, 1, 1]]), good)
        with pytest.raises(ValueError, match=r"`targets_xyxy` should have x1 <= x2 and y1 <= y2 in every box; found a side of nan"):
            call(good, torch.tensor([[0.0, math.nan, 1, 1]]))
        with pytest.raises(ValueError, match=r"`boxes_xyxy` should have shape \[\.\.\., 4\]; found \(1, 3\)"):
            call(good[:, :3], good)
    with pytest.raises(ValueError, match=r"`targets_xyxy` should have shape \(1, 4\) to match `boxes_xyxy`; found \(4,\)"):
        boxes.giou_loss(good, good[0])
    with pytest.raises(ValueError, match=r"`targets_xyxy` should have shape .* leading axes"):
        boxes.pairwise_giou(good, good[None])
    with pytest.raises(ValueError, match="`targets` should have shape"):
        boxes.smooth_l1(good, good[0])


# --- one number on every path --------------------------------------------------------------------------------------------------------------------

EVERY = [*LOSSES, *PAIRWISE, boxes.to_cxcywh, boxes.smooth_l1]


def called(function: Callable[..., Tensor], first: Tensor, second: Tensor) -> Tensor:
    return function(first) if function.__name__ == "to_cxcywh" else function(first, second)


def value_and_slopes(function: Callable[..., Tensor], first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
    """The value, and the gradients of a sum of it with different weights."""
    leaves = [tensor.detach().requires_grad_() for tensor in (first, second)]
    value = called(function, *leaves)
    weights = torch.arange(1, value.numel() + 1, device=value.device).to(value).view(value.shape)
    slopes = torch.autograd.grad((value * weights).sum(), leaves, allow_unused=True)
    return (value.detach(), *(slope for slope in slopes if slope is not None))


def same(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], dtype: torch.dtype | None = None) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert_near(ours, theirs, dtype)


def reversed_in_memory(boxes_xyxy: Tensor) -> Tensor:
    return boxes_xyxy.flip(0, 1).contiguous().flip(0, 1)


ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "columns": lambda x: x.mT.contiguous().mT,
    "reversed": reversed_in_memory,
    "every other": lambda x: torch.stack([x, 77 + x], -1)[..., 0],
    "a crop": lambda x: torch.nn.functional.pad(x, (3, 2, 1, 1), value=-5.0)[1:-1, 3:-2],
    "turned": lambda x: torch.rot90(torch.rot90(x, -1).contiguous()),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("function", EVERY, ids=lambda function: function.__name__)
def test_boxes_may_lie_in_memory_in_any_order(function: Callable[..., Tensor], order: str, generator: torch.Generator) -> None:
    first, second = (random_boxes(5, generator=generator) for _ in range(2))
    laid = [ORDERS[order](tensor) for tensor in (first, second)]
    assert torch.equal(laid[0], first)
    same(value_and_slopes(function, *laid), value_and_slopes(function, first, second))
    one = second[:1].expand(5, 4)
    same(value_and_slopes(function, first, one), value_and_slopes(function, first, one.contiguous()))


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("function", EVERY, ids=lambda function: function.__name__)
def test_half_precision_is_computed_and_returned_in_float32(function: Callable[..., Tensor], narrow: torch.dtype, generator: torch.Generator) -> None:
    """Also inside autocast, which would do a part of it in half precision. A conversion of coordinates keeps their dtype."""
    first, second = (random_boxes(5, generator=generator).to(narrow) for _ in range(2))
    expected = value_and_slopes(function, first.double(), second.double())
    for inside in (False, True):
        with torch.autocast("cpu", narrow, enabled=inside):
            value, *slopes = value_and_slopes(function, first, second)
        assert value.dtype == (narrow if function is boxes.to_cxcywh else torch.float32)
        assert_near(value, expected[0])
        for slope, plain in zip(slopes, expected[1:], strict=True):
            assert slope.dtype == narrow
            assert_near(slope, plain)


def test_centres_of_large_boxes_are_finite_in_half_precision() -> None:
    """The sum of two corners is twice as large as any of them, and float16 ends at 65,504."""
    corners = torch.tensor([40960.0, 49152.0, 61440.0, 61440.0], dtype=torch.float16)
    assert boxes.to_cxcywh(corners).tolist() == [51200.0, 55296.0, 20480.0, 12288.0]


@pytest.mark.parametrize("loss", [*LOSSES, *PAIRWISE], ids=lambda loss: loss.__name__)
def test_no_unit_of_length_is_too_small_or_too_large(loss: Callable[..., Tensor], real_dtype: torch.dtype, generator: torch.Generator) -> None:
    """IoU and its repairs have no unit: areas must neither vanish nor overflow. Gradients are in one over the unit."""
    first, second = (random_boxes(6, generator=generator, scale=1.0) for _ in range(2))
    first[:2], second[1] = second[:2], second[1] + 0.1
    first, second = first.to(real_dtype), second.to(real_dtype)
    expected = value_and_slopes(loss, first, second)
    for power in (-100, -60, 60, 100, 126) if real_dtype == torch.float32 else (-900, -400, 400, 900, 1022):
        unit = 2.0**power
        value, *slopes = value_and_slopes(loss, first * unit, second * unit)
        assert_near(value, expected[0])
        for slope, plain in zip(slopes, expected[1:], strict=True):
            assert_near(slope * unit, plain)
    low, high = torch.finfo(real_dtype).min, torch.finfo(real_dtype).max
    whole, part = torch.tensor([[low, low, high, high]], dtype=real_dtype), torch.tensor([[low, 0.0, high, high]], dtype=real_dtype)
    assert float(boxes.iou_loss(whole, part)) == 0.5
    assert all(bool(values.isfinite().all()) for values in value_and_slopes(loss, whole, part))


class Renamed(Tensor):
    """A subclass that only renames, as torchvision's tv_tensors are."""


@pytest.mark.parametrize("function", EVERY, ids=lambda function: function.__name__)
def test_subclasses_numpy_numbers_and_inference(function: Callable[..., Tensor], generator: torch.Generator) -> None:
    first, second = (random_boxes(5, generator=generator) for _ in range(2))
    expected = called(function, first, second)
    found = called(function, first.as_subclass(Renamed), second.as_subclass(Renamed))
    assert type(found) is Tensor
    assert torch.equal(found, expected)
    with torch.inference_mode():
        assert torch.equal(called(function, first, second), expected)
    assert torch.equal(boxes.smooth_l1(first, second, beta=np.float32(0.5)), boxes.smooth_l1(first, second, beta=0.5))


CROSSED = torch.tensor([[0.0, 0, 1, 1], [2.0, 0, 1, 1]])


@pytest.mark.parametrize("loss", [*LOSSES, *PAIRWISE], ids=lambda loss: loss.__name__)
def test_a_crossed_box_is_named_on_every_path(loss: Callable[..., Tensor]) -> None:
    good = torch.tensor([[0.0, 0, 1, 1], [0.0, 0, 1, 1]])
    words = "should have x1 <= x2 and y1 <= y2 in every box"
    for wrong in (CROSSED.as_subclass(Renamed), CROSSED.clone().requires_grad_(), CROSSED.half()):
        with pytest.raises(ValueError, match=f"`targets_xyxy` {words}; found a side of -1"):
            loss(good, wrong)
    pairs = torch.stack([good, CROSSED]), torch.stack([good, good])
    for axis in range(3):
        moved = [side.movedim(0, axis) for side in pairs]
        with pytest.raises(ValueError, match=f"`boxes_xyxy` {words}; found a side of -1"):
            torch.func.vmap(loss, in_dims=axis)(*moved)
    with pytest.raises(ValueError, match=f"`boxes_xyxy` {words}; found a side of -1"):
        torch.func.grad(lambda x: loss(x, good).sum())(CROSSED)
    for backend in ("eager", "aot_eager"):
        torch.compiler.reset()
        with pytest.raises(RuntimeError, match=f"`boxes_xyxy` {words}"):
            torch.compile(loss, fullgraph=True, backend=backend)(CROSSED, good)


@pytest.mark.parametrize("function", EVERY, ids=lambda function: function.__name__)
def test_compiled_mapped_and_without_values(function: Callable[..., Tensor], generator: torch.Generator) -> None:
    first, second = (random_boxes(5, generator=generator) for _ in range(2))
    expected = value_and_slopes(function, first, second)
    for backend in ("eager", "aot_eager"):
        torch.compiler.reset()
        same(value_and_slopes(torch.compile(function, fullgraph=True, backend=backend), first, second), expected)
    batches = [torch.stack([tensor, tensor.flip(0)]) for tensor in (first, second)]
    mapped = torch.func.vmap(lambda a, b: called(function, a, b))(*batches)
    assert_near(mapped, torch.stack([called(function, *pair) for pair in zip(*batches, strict=True)]))
    for kind in ("meta", "cpu"):
        with torch._subclasses.FakeTensorMode() if kind == "cpu" else torch.device("cpu"):
            empty = called(function, *(torch.empty(5, 4, dtype=torch.float64, device=kind) for _ in range(2)))
        assert (empty.shape, empty.dtype, empty.device.type) == (expected[0].shape, torch.float64, kind)


def test_what_is_no_dense_tensor_on_one_device_is_named() -> None:
    good = torch.tensor([[0.0, 0, 1, 1]])
    for call in (*LOSSES, *PAIRWISE, boxes.smooth_l1):
        second = "targets" if call is boxes.smooth_l1 else "targets_xyxy"
        with pytest.raises(ValueError, match=f"`{second}` should be on the device cpu to match `(boxes_xyxy|offsets)`; found meta"):
            call(good, good.to("meta"))
        with pytest.raises(TypeError, match=f"`{second}` should be a dense tensor; found torch.sparse_coo"):
            call(good, good.to_sparse())
        with pytest.raises(TypeError, match=f"`{second}` should have a floating-point dtype; found torch.float8_e5m2"):
            call(good, good.to(torch.float8_e5m2))
