"""quantization: grids against brute force, worst changes against a search of the rounding cell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook.margins import LOSSES, hinge, logistic
from lossbook.quantization import grid_scale, quantize, quantize_probs, worst_change, worst_cross_entropy_change
from tests.tolerances import assert_near


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_each_value_moves_to_the_nearest_level(generator: torch.Generator, device: torch.device, real_dtype: torch.dtype, bits: int) -> None:
    values = (4 * torch.randn(500, generator=generator, dtype=torch.float64)).to(device, real_dtype)
    levels = torch.arange(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1), dtype=torch.float64)
    assert len(levels) == 2**bits - 1
    for scale, factor in ((None, float(grid_scale(values, bits=bits))), (0.75, 0.75)):
        grid = factor * levels
        nearest = grid[(values.double().cpu()[:, None] - grid).abs().argmin(1)]
        rounded = quantize(values, bits=bits, scale=scale)
        assert (rounded.dtype, rounded.device.type) == (real_dtype, device.type)
        assert_near(rounded, nearest)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_default_grid_reaches_the_largest_value_and_clamps_nothing(generator: torch.Generator, bits: int) -> None:
    values = torch.randn(200, generator=generator, dtype=torch.float64)
    step = grid_scale(values, bits=bits)
    assert float((quantize(values, bits=bits) - values).abs().max()) <= float(step) / 2 * (1 + 1e-12)
    widest = values.abs().argmax()
    assert float(quantize(values, bits=bits)[widest]) == pytest.approx(float(values[widest]), rel=1e-12)


def test_rounding_again_changes_nothing_and_signs_are_alike(generator: torch.Generator) -> None:
    values = torch.randn(100, generator=generator, dtype=torch.float64)
    once = quantize(values, bits=4)
    torch.testing.assert_close(quantize(once, bits=4), once)
    torch.testing.assert_close(quantize(-values, bits=4), -once)
    assert quantize(torch.zeros(3), bits=4).tolist() == [0, 0, 0]


def test_a_scale_for_each_row() -> None:
    values = torch.tensor([[1.4, 2.6], [14.0, 26.0]])
    for dtype in (torch.float32, torch.float64, torch.uint8, torch.uint16):
        assert quantize(values, bits=8, scale=torch.tensor([[1], [10]], dtype=dtype)).tolist() == [[1, 3], [10, 30]]


@pytest.mark.parametrize("bits", range(2, 25))
def test_the_largest_numbers_of_a_dtype_stay_finite(dtype: torch.dtype, bits: int) -> None:
    """(max / n) n, rounded up twice, is an infinity for most n."""
    largest = torch.finfo(dtype).max
    values = largest * (1 - torch.arange(20, dtype=torch.float64) * torch.finfo(dtype).eps / 2)
    for value in values.to(dtype).tolist():
        rounded = quantize(torch.tensor([value, -value], dtype=dtype), bits=bits)
        assert rounded.tolist() == pytest.approx([value, -value], rel=2 * torch.finfo(dtype).eps)


def test_numbers_may_be_those_of_numpy() -> None:
    values, labels = torch.tensor([[0.4, -2.6]]), torch.tensor([0])
    assert torch.equal(quantize(values, bits=np.int64(4), scale=np.float32(0.5)), quantize(values, bits=4, scale=0.5))
    assert torch.equal(quantize_probs(values.sigmoid(), bits=np.int32(4)), quantize_probs(values.sigmoid(), bits=4))
    assert torch.equal(worst_change(hinge, values, step=np.float32(0.5)), worst_change(hinge, values, step=0.5))
    changes = [worst_cross_entropy_change(values, labels, step=step) for step in (np.float64(0.5), 0.5)]
    assert torch.equal(*changes)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.uint16, torch.uint32, torch.uint64])
def test_labels_of_every_dtype_are_the_same(dtype: torch.dtype) -> None:
    logits, labels = torch.tensor([[0.5, -1.0, 2.0]]), torch.tensor([2])
    assert torch.equal(*(worst_cross_entropy_change(logits, labels.to(each), step=0.5) for each in (dtype, torch.int64)))


def test_what_autocast_and_half_precision_leave_alone(dtype: torch.dtype) -> None:
    """Rounding keeps the dtype, a loss is in float32 at least; autocast changes neither."""
    logits, labels = torch.tensor([[0.5, -1.25], [2.0, 0.25]], dtype=dtype, requires_grad=True), torch.tensor([0, 1])
    wide = torch.float64 if dtype == torch.float64 else torch.float32

    def all_of_them() -> list[Tensor]:
        changes = worst_change(logistic, logits, step=0.5), worst_cross_entropy_change(logits, labels, step=0.5)
        return [quantize(logits, bits=4, scale=0.25), quantize_probs(logits.sigmoid().clamp(0, 1), bits=4), grid_scale(logits, bits=4), *changes]

    plain = all_of_them()
    assert [found.dtype for found in plain] == [dtype, dtype, wide, wide, wide]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = all_of_them()
    for one, other in zip(plain, mixed, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    exact = worst_cross_entropy_change(logits.detach().double(), labels, step=0.5)
    torch.testing.assert_close(plain[-1].detach(), exact.to(wide), rtol=1e-6, atol=0)


@pytest.mark.parametrize("step", [1e-6, 1e-3, 0.99, 1.0, 30.0])
def test_a_small_rise_keeps_its_digits(step: float) -> None:
    """ln(p + (1 - p) e^step) in float32, against the same in float64 by log1p and expm1."""
    leads = torch.tensor([-30.0, -5.0, 0.0, 1.0, 5.0, 15.0])
    found = worst_cross_entropy_change(torch.stack((leads, torch.zeros(6)), 1), torch.zeros(6, dtype=torch.long), step=step, reduction="none")
    exact = [math.log1p(math.expm1(step) / (1 + math.exp(lead))) for lead in leads.tolist()]
    assert found.tolist() == pytest.approx(exact, rel=3e-6)


def test_a_small_move_of_a_large_margin_keeps_its_digits() -> None:
    """-1000 and -1000 + 0.0005 are ten float32 numbers apart."""
    found = worst_change(logistic, torch.tensor([-20.0, -1000.0, -1e6]), step=1e-3)
    assert found.tolist() == pytest.approx([5e-4] * 3, rel=1e-6)  # the slope is 1


def test_a_class_that_is_masked_out_has_no_gradient() -> None:
    """A logit of -inf is how a class is left out."""
    logits = torch.tensor([[0.5, -math.inf, -math.inf], [0.5, 1.0, -math.inf]], requires_grad=True)
    for step in (0.5, 2.0):
        risen = worst_cross_entropy_change(logits, torch.tensor([0, 0]), step=step, reduction="none")
        exact = math.log1p(math.expm1(step) / (1 + math.exp(-0.5)))
        assert risen.tolist() == pytest.approx([0, exact], rel=1e-6)
        (slope,) = torch.autograd.grad(risen.sum(), logits)
        assert slope[0].tolist() == [0, 0, 0]
        assert slope[1, 2] == 0
        assert slope.isfinite().all()


def test_all_dtypes_survive_extremes(dtype: torch.dtype, device: torch.device) -> None:
    values = torch.tensor([-1e4, -1.0, 0.0, 1.0, 1e4], dtype=dtype, device=device)
    for bits in (2, 8, 24):
        rounded = quantize(values, bits=bits)
        assert rounded.dtype == dtype
        assert rounded.isfinite().all()
        assert float(rounded[-1]) == pytest.approx(float(values[-1]), rel=1e-2)
    logits = torch.stack((values, -values), 1).requires_grad_()
    risen = worst_cross_entropy_change(logits, torch.zeros(5, dtype=torch.long, device=device), step=0.5, reduction="none")
    (slope,) = torch.autograd.grad(risen.sum(), logits)
    assert risen.isfinite().all()
    assert slope.isfinite().all()
    assert worst_change(logistic, values, step=0.5).isfinite().all()


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_probabilities_move_to_the_nearest_of_all_levels(device: torch.device, dtype: torch.dtype, bits: int) -> None:
    probs = torch.linspace(0, 1, 301, dtype=torch.float64).to(device, dtype)
    levels = torch.arange(2**bits, dtype=torch.float64) / (2**bits - 1)
    nearest = levels[(probs.double().cpu()[:, None] - levels).abs().argmin(1)]
    ties = (probs.double().cpu() * (2**bits - 1) % 1 - 0.5).abs() < 1e-4
    assert_near(quantize_probs(probs, bits=bits)[~ties], nearest[~ties])


def test_a_rounded_probability_can_cost_infinitely_much() -> None:
    assert float(-quantize_probs(torch.tensor(0.001), bits=8).log()) == math.inf
    assert float(-quantize_probs(torch.tensor(0.999), bits=8).log()) == 0


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.is_convex or name in ("ramp", "sigmoid", "zero_one")])
def test_no_move_inside_the_cell_changes_more(name: str) -> None:
    margins = torch.linspace(-5, 5, 201, dtype=torch.float64) + 1e-3
    moves = torch.linspace(-0.25, 0.25, 501, dtype=torch.float64)
    searched = (LOSSES[name](margins[:, None] + moves) - LOSSES[name](margins)[:, None]).abs().amax(1)
    torch.testing.assert_close(worst_change(LOSSES[name], margins, step=0.5), searched, rtol=1e-12, atol=1e-12)


def test_a_loss_may_write_into_what_it_gets() -> None:
    margins = torch.tensor([0.0, 1.5], dtype=torch.float64)
    found = worst_change(lambda m: m.neg_().exp_(), margins, step=1.0)
    torch.testing.assert_close(found, math.expm1(0.5) * torch.tensor([1.0, math.exp(-1.5)], dtype=torch.float64))
    assert margins.tolist() == [0.0, 1.5]


def test_no_loss_changes_more_than_its_slope_allows() -> None:
    margins = torch.linspace(-8, 8, 401, dtype=torch.float64)
    bounded = {name: loss for name, loss in LOSSES.items() if math.isfinite(loss.lipschitz)}
    assert {"hinge", "logistic"} <= set(bounded)
    for loss in bounded.values():
        assert float(worst_change(loss, margins, step=0.5).max()) <= loss.lipschitz * 0.25 + 1e-12


def test_a_margin_on_a_grid_changes_the_losses_within_their_worst(generator: torch.Generator) -> None:
    margins = 5 * torch.randn(2000, generator=generator, dtype=torch.float64)
    rounded = quantize(margins, bits=8, scale=0.5)
    for loss in (hinge, logistic):
        change = (loss(rounded) - loss(margins)).abs()
        assert bool((change <= worst_change(loss, margins, step=0.5) + 1e-12).all())


@pytest.mark.parametrize("step", [1e-3, 0.5, 4.0])
def test_the_worst_corner_of_cross_entropy_by_trying_all_corners(generator: torch.Generator, device: torch.device, step: float) -> None:
    logits = 3 * torch.randn(20, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (20,), generator=generator)
    corners = torch.tensor(list(itertools.product([-step / 2, step / 2], repeat=4)), dtype=torch.float64)
    here = F.cross_entropy(logits, labels, reduction="none")
    there = torch.stack([F.cross_entropy(logits + corner, labels, reduction="none") for corner in corners])
    found = worst_cross_entropy_change(logits.to(device), labels.to(device), step=step, reduction="none")
    assert_near(found, (there - here).abs().amax(0))
    first_order = (1 - logits.softmax(1).gather(1, labels[:, None])[:, 0]) * step
    if step == 1e-3:
        assert float((found.cpu() - first_order).abs().max()) < step**2


def test_worst_cross_entropy_change_reductions_class_axis_and_one_class(generator: torch.Generator) -> None:
    logits, labels = torch.randn(3, 4, 5, generator=generator), torch.randint(4, (3, 5), generator=generator)
    each = worst_cross_entropy_change(logits, labels, step=1.0, reduction="none")
    assert each.shape == (3, 5)
    torch.testing.assert_close(worst_cross_entropy_change(logits, labels, step=1.0, reduction="sum"), each.sum())
    torch.testing.assert_close(worst_cross_entropy_change(logits, labels, step=1.0), each.mean())
    torch.testing.assert_close(each[1, 2], worst_cross_entropy_change(logits[1, :, 2], labels[1, 2], step=1.0))
    assert float(worst_cross_entropy_change(torch.zeros(2, 1), torch.tensor([0, 0]), step=1.0)) == 0


def test_two_classes_are_the_margin() -> None:
    margins = torch.linspace(-6, 6, 25, dtype=torch.float64)
    # both logits move by δ, so the margin moves by 2 δ: the cell of a step twice as large
    logits = torch.stack((margins, torch.zeros_like(margins)), 1)
    both = worst_cross_entropy_change(logits, torch.zeros(25, dtype=torch.long), step=0.5, reduction="none")
    torch.testing.assert_close(both, worst_change(logistic, margins, step=1.0), rtol=1e-12, atol=1e-12)


def test_gradients_compile_and_vmap(generator: torch.Generator) -> None:
    logits = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    assert torch.autograd.gradcheck(lambda z: worst_cross_entropy_change(z, labels, step=0.5), logits)
    assert torch.autograd.gradgradcheck(lambda z: worst_cross_entropy_change(z, labels, step=0.5), logits)
    (flat,) = torch.autograd.grad(quantize(logits, bits=4).sum(), logits)
    assert flat.abs().max() == 0

    def both(z: Tensor) -> Tensor:
        return quantize(z, bits=4) + worst_change(logistic, z, step=0.5) + worst_cross_entropy_change(z, labels, step=0.5)

    values = logits.detach().float()
    torch.testing.assert_close(torch.compile(both, fullgraph=True, backend="aot_eager")(values), both(values))
    alone = torch.stack([quantize(row, bits=4) for row in values])
    torch.testing.assert_close(torch.func.vmap(lambda row: quantize(row, bits=4))(values), alone)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: quantize(torch.ones(2), bits=32), ValueError, "`bits` should be at most 24, beyond which float32 has no more levels; found 32."),
        (lambda: quantize(torch.ones(2), bits=4, scale=0.0), ValueError, "`scale` should be finite and above 0; found 0.0."),
        *(
            (
                lambda scale=scale: quantize(torch.ones(2, 3), bits=4, scale=scale),
                ValueError,
                f"`scale` should be finite and above 0 in torch.float32; found values from {found}.",
            )
            for scale, found in (
                (-torch.ones(3), "-1 to -1"),
                (torch.tensor([1.0, math.inf, 1.0]), "1 to inf"),
                (torch.tensor([1.0, math.nan, 1.0]), "nan to nan"),
                (1e-46, "0 to 0"),  # of its grid in float32 nothing is left, and 0/0 is NaN
            )
        ),
        *(
            (
                lambda shape=shape: quantize(torch.ones(2, 3), bits=4, scale=torch.ones(shape)),
                ValueError,
                f"`scale` should broadcast to the shape (2, 3) of `values`; found shape {shape}.",
            )
            for shape in ((2,), (2, 3, 1), (1, 2, 3))
        ),
        (
            lambda: quantize(torch.ones(2), bits=4, scale=torch.tensor(1j)),
            TypeError,
            "`scale` should have a floating-point or integer dtype; found torch.complex64.",
        ),
        (
            lambda: quantize(torch.ones(2), bits=4, scale=torch.ones(2, device="meta")),
            ValueError,
            "`scale` should be on the device cpu to match `values`; found meta.",
        ),
        (lambda: quantize(torch.tensor([1.0, math.inf]), bits=4), ValueError, "`values` should be finite; found an infinity."),
        (lambda: grid_scale(torch.tensor([1.0, math.nan]), bits=4), ValueError, "`values` should be finite; found NaN."),
        (lambda: grid_scale(torch.ones(0), bits=4), ValueError, "`values` should hold at least one value; found shape (0,)."),
        (
            lambda: worst_cross_entropy_change(torch.ones(2, 3), torch.tensor([0, 1]), step=1e39),
            ValueError,
            "`step` should lie in (0, 3.40282e+38]; found 1e+39.",
        ),
        (
            lambda: worst_change(torch.sum, torch.ones(2), step=1.0),
            ValueError,
            "`loss(margins)` should have shape (2,) to match `margins`; found ().",
        ),
        (
            lambda: worst_cross_entropy_change(torch.ones(2, 3), torch.tensor([0, 3]), step=1.0),
            ValueError,
            "`labels` should lie in [0, 3); found values from 0 to 3.",
        ),
    ],
)
def test_what_bad_arguments_get(call: Callable[[], Tensor], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize("high", [30.0, 1e3, 1e4])
def test_the_worst_rise_is_differentiated_twice_at_any_logit(high: float) -> None:
    """Where one class is sure, its curvature is 0 to rounding; NaN once came out of e^|a - b|."""
    logits = torch.tensor([[high, 0.0, -high]], dtype=torch.float64)
    for label in range(3):
        hessian = torch.autograd.functional.hessian(
            lambda logits, label=label: worst_cross_entropy_change(logits, torch.tensor([label]), step=2.0), logits
        )
        assert bool(hessian.isfinite().all())
        assert float(hessian.abs().max()) < 1e-3
