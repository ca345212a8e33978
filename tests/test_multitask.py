"""Weights at their closed-form optimum, gradients against autograd, PCGrad by the paper's loop and torchjd, MGDA by its optimality conditions."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor
from torchjd.aggregation import MGDA, PCGrad

from lossbook.multitask import UncertaintyWeighting, mgda, pcgrad, task_gradients
from tests.tolerances import assert_near

BOTH = ("regression", "classification")
W = torch.ones(2, requires_grad=True)


def optimum(losses: Tensor) -> UncertaintyWeighting:
    """Newton's method in ln s², each term alone: derivative ½ - c L e^-u, second derivative c L e^-u."""
    combine = UncertaintyWeighting(BOTH).double()
    for _ in range(60):
        (slope,) = torch.autograd.grad(combine(losses), combine.parameters(), create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), combine.parameters())
        with torch.no_grad():
            combine.log_variances += (-slope / curvature).clamp(-1, 1)
    return combine


@pytest.mark.parametrize("losses", [(100.0, 1.6), (1e6, 1.6), (0.01, 0.2)])
def test_the_optimum_gives_every_term_one_half(losses: tuple[float, float]) -> None:
    regression, classification = losses
    combine = optimum(torch.tensor(losses).double())
    torch.testing.assert_close(combine.log_variances.exp().detach(), torch.tensor([regression, 2 * classification]).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(combine.weights * torch.tensor(losses).double(), torch.full((2,), 0.5).double())
    profile = math.log(regression) / 2 + math.log(2 * classification) / 2 + 1
    assert float(combine(torch.tensor(losses).double()).detach()) == pytest.approx(profile, abs=1e-6)


def test_value_and_weights_are_the_formula(device: torch.device, real_dtype: torch.dtype) -> None:
    combine = UncertaintyWeighting(BOTH).to(device, real_dtype)
    with torch.no_grad():
        combine.log_variances.copy_(torch.tensor([0.3, -1.2]))
    losses = torch.tensor([2.0, 0.7], device=device, dtype=real_dtype)
    s1, s2 = math.exp(0.15), math.exp(-0.6)
    expected = 2.0 / (2 * s1**2) + math.log(s1) + 0.7 / s2**2 + math.log(s2)
    assert_near(combine(losses).detach(), torch.tensor(expected, dtype=torch.float64), torch.float32)  # ln s² was set in float32
    assert_near(combine.weights, torch.tensor([0.5 / s1**2, 1 / s2**2]), torch.float32)
    assert_near(combine(list(losses)), combine(losses))


def test_gradients_of_gradients(generator: torch.Generator) -> None:
    losses = torch.rand(2, generator=generator, dtype=torch.float64, requires_grad=True)
    variances = torch.randn(2, generator=generator, dtype=torch.float64, requires_grad=True)
    combine = UncertaintyWeighting(BOTH)

    def value(losses: Tensor, variances: Tensor) -> Tensor:
        return torch.func.functional_call(combine, {"log_variances": variances}, (losses.abs(),))

    assert torch.autograd.gradcheck(value, (losses, variances))
    assert torch.autograd.gradgradcheck(value, (losses, variances))


def test_extreme_losses_and_weights_are_never_nan(device: torch.device, dtype: torch.dtype) -> None:
    for variance in (-1e4, 0.0, 1e4):
        combine = UncertaintyWeighting(BOTH).to(device, dtype)
        with torch.no_grad():
            combine.log_variances.fill_(variance)
        losses = torch.tensor([1e4, 0.0], device=device, dtype=dtype, requires_grad=True)
        value = combine(losses)
        value.backward()
        assert not value.isnan()
        assert not losses.grad.isnan().any()
        assert not combine.log_variances.grad.isnan().any()


def test_compiles_maps_and_survives_autocast(generator: torch.Generator) -> None:
    combine, losses = UncertaintyWeighting(BOTH), torch.rand(5, 2, generator=generator)
    one_by_one = torch.stack([combine(row) for row in losses])
    torch.testing.assert_close(torch.func.vmap(combine)(losses), one_by_one)
    torch.testing.assert_close(torch.compile(combine, fullgraph=True, backend="aot_eager")(losses[0]), one_by_one[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(combine(losses[0]), one_by_one[0])


def test_task_gradients_are_the_jacobian(device: torch.device, generator: torch.Generator) -> None:
    w = torch.randn(3, 2, generator=generator, dtype=torch.float64).to(device).requires_grad_()
    b = torch.randn(2, generator=generator, dtype=torch.float64).to(device).requires_grad_()
    x = torch.randn(4, 3, generator=generator, dtype=torch.float64).to(device)
    losses = torch.stack([(x @ w + b).square().mean(), (x @ w).sin().sum(), b[0].exp()])
    expected = torch.zeros(3, 8, dtype=torch.float64, device=device)
    hidden = x @ w + b
    expected[0, :6] = (2 * x.T @ hidden / hidden.numel()).flatten()  # by hand
    expected[0, 6:] = 2 * hidden.sum(0) / hidden.numel()
    expected[1, :6] = (x.T @ (x @ w).cos()).flatten()
    expected[2, 6] = b[0].exp()
    found = task_gradients(losses, [w, b])
    assert_near(found, expected.detach())
    assert not found.requires_grad
    losses.sum().backward()  # the graph is still there
    assert_near(found.sum(0)[:6].view(3, 2), w.grad)
    assert_near(task_gradients(list(torch.stack([w.sum(), b.sum()])), iter([b])), torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.float64)


def test_a_slope_that_is_infinite_for_one_loss_stays_with_it() -> None:
    """In a stack, autograd multiplies it by the other loss's 0, which is NaN."""
    w = torch.zeros(2, requires_grad=True)
    found = task_gradients([w.sqrt().sum(), 3 * w.sum()], [w])
    assert found.tolist() == [[math.inf] * 2, [3.0] * 2]


def test_what_a_loss_does_not_reach_has_a_gradient_of_zero(device: torch.device) -> None:
    w, b = (torch.ones(size, device=device, requires_grad=True) for size in (2, 3))
    constant = torch.tensor(5.0, device=device)
    assert task_gradients([w.sum(), constant, 2 * b.sum()], [w, b]).tolist() == [[1, 1, 0, 0, 0], [0] * 5, [0, 0, 2, 2, 2]]
    assert task_gradients(torch.stack([w.sum(), constant]), [b]).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_gradients_of_an_embedding_are_taken_sparse_and_dense() -> None:
    places = torch.tensor([2, 0, 2])
    weights = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    rows = []
    for sparse in (False, True):
        table = torch.nn.Embedding(4, 2, _weight=weights.clone(), sparse=sparse)
        bias = torch.ones(2, requires_grad=True)
        rows.append(task_gradients([(table(places) + bias).square().sum(), bias.sum()], [table.weight, bias]))
    assert torch.equal(rows[0], rows[1])
    assert rows[0][0, 4:6].tolist() == pytest.approx((4 * (weights[2] + 1)).tolist())


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_task_gradients_on_every_path(dtype: torch.dtype) -> None:
    """Of losses and parameters of any dtype, under no_grad, of a parameter with a name of its own; rows have the parameters' dtype."""

    class Named(torch.nn.Parameter):
        pass

    w = Named(torch.tensor([1.0, 2.0], dtype=dtype))
    losses = [w.square().sum(), 3 * w[0]]
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = task_gradients(losses, [w])
    assert type(found) is Tensor
    assert found.dtype == dtype
    assert found.tolist() == [[2, 4], [3, 0]]
    wide = torch.ones(1, dtype=torch.float64, requires_grad=True)
    assert task_gradients([w.sum() * wide[0]], [w, wide]).dtype == torch.float64


def test_a_vector_of_losses_and_its_scalars_weigh_alike(dtype: torch.dtype) -> None:
    """Half precision in a list is widened as it is in a vector: 60000 + 60000 is no infinity."""
    combine = UncertaintyWeighting(["classification", "classification"])
    losses = torch.tensor([60000.0, 60000.0]).to(dtype)
    expected = float(losses.double().sum())
    for given in (losses, list(losses), tuple(losses)):
        value = combine(given)
        assert value.dtype == torch.promote_types(dtype, torch.float32)
        assert float(value.detach()) == pytest.approx(expected, rel=1e-7)


def test_a_weighting_is_kept_on_disk_and_copied(generator: torch.Generator) -> None:
    combine = UncertaintyWeighting(BOTH)
    with torch.no_grad():
        combine.log_variances.copy_(torch.tensor([0.5, -1.0]))
    assert repr(combine) == "UncertaintyWeighting(kinds=['regression', 'classification'])"
    losses, other = torch.rand(2, generator=generator), UncertaintyWeighting(iter(BOTH))
    other.load_state_dict(combine.state_dict())
    for same in (other, copy.deepcopy(combine), pickle.loads(pickle.dumps(combine))):
        assert torch.equal(same(losses), combine(losses))
        assert same.kinds == BOTH


def surgery(gradients: Tensor, order: list[list[int]]) -> Tensor:
    """Algorithm 1 of Yu et al. as it stands, on the vectors themselves."""
    total = torch.zeros_like(gradients[0])
    for i, row in enumerate(order):
        projected = gradients[i].clone()
        for j in row:
            if j != i and projected @ gradients[j] < 0:
                projected = projected - (projected @ gradients[j]) / (gradients[j] @ gradients[j]) * gradients[j]
        total += projected
    return total


@pytest.mark.parametrize("tasks", [1, 2, 3, 7])
def test_pcgrad_is_the_papers_loop(tasks: int, device: torch.device, generator: torch.Generator) -> None:
    for _ in range(20):
        gradients = torch.randn(tasks, 5, generator=generator, dtype=torch.float64)
        order = torch.rand(tasks, tasks, generator=generator).argsort(1)
        found = pcgrad(gradients.to(device), order=order.to(device))
        torch.testing.assert_close(found.cpu(), surgery(gradients, order.tolist()), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(pcgrad(gradients, order=order[0]), surgery(gradients, [order[0].tolist()] * tasks), rtol=1e-9, atol=1e-9)


def test_long_gradients_are_multiplied_in_blocks_to_the_same_end(device: torch.device, generator: torch.Generator) -> None:
    """The columns fill whole blocks and a rest; the last, which lies in the rest, decides which tasks disagree."""
    gradients = torch.randn(3, 16 * (1 << 14) + 3, generator=generator, dtype=torch.float64) / 1e4
    gradients[:, -1] = torch.tensor([1.0, -1.0, 0.5])
    order = torch.arange(3)
    assert float(gradients[0] @ gradients[1]) < 0
    torch.testing.assert_close(pcgrad(gradients.to(device), order=order).cpu(), surgery(gradients, [order.tolist()] * 3), rtol=1e-9, atol=1e-12)


def test_any_layout_in_memory_gives_the_same(device: torch.device, generator: torch.Generator) -> None:
    gradients = torch.randn(4, 60, generator=generator, dtype=torch.float64).to(device)
    for other in (gradients.T.contiguous().T, torch.stack([gradients, gradients], dim=-1)[..., 0], gradients.clone().requires_grad_()):
        torch.testing.assert_close(mgda(other), mgda(gradients))
        torch.testing.assert_close(pcgrad(other, order=torch.arange(4)), pcgrad(gradients, order=torch.arange(4)))


def test_pcgrad_is_torchjds(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    """torchjd draws its orders with `torch.randperm`; hand it the rows of ours."""
    for tasks in (2, 5, 10):
        gradients = torch.randn(tasks, 8, generator=generator, dtype=torch.float64)
        order = torch.rand(tasks, tasks, generator=generator).argsort(1)
        rows = iter(order)
        monkeypatch.setattr(torch, "randperm", lambda size, rows=rows: next(rows))
        expected = PCGrad()(gradients)
        monkeypatch.undo()
        torch.testing.assert_close(pcgrad(gradients, order=order), expected, rtol=1e-9, atol=1e-9)


def test_two_tasks_are_never_hurt_to_first_order(generator: torch.Generator) -> None:
    conflicts = 0
    for _ in range(400):
        gradients = torch.randn(2, 4, generator=generator, dtype=torch.float64) * torch.tensor([[1.0], [30.0]])
        step = pcgrad(gradients)
        assert bool((gradients @ step >= -1e-9 * gradients.norm(dim=1) * step.norm()).all())
        if gradients[0] @ gradients[1] >= 0:
            torch.testing.assert_close(step, gradients.sum(0))
        conflicts += int(gradients[0] @ gradients[1] < 0)
    assert 100 < conflicts < 300


def test_drawn_orders_are_reproducible_and_matter(generator: torch.Generator) -> None:
    gradients = torch.randn(6, 3, generator=generator)
    first, again, other = (pcgrad(gradients, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def assert_shortest(gradients: Tensor, weights: Tensor, slack: float) -> None:
    """The KKT conditions: on the simplex, and no task's gradient is further along v than |v|², those with weight exactly so far."""
    assert bool((weights >= 0).all())
    assert float(weights.sum()) == pytest.approx(1, abs=slack)
    v = weights @ gradients
    room = slack * float(gradients.norm(dim=1).max() * (weights @ gradients.norm(dim=1)))
    products = gradients @ v - v @ v
    assert float(products.min()) >= -room
    assert float((weights * products).abs().max()) <= room


def exact_shortest(rows: list[list[int]]) -> Fraction:
    """|v|² of the shortest convex combination, in fractions: of every set of rows the nearest point of its affine hull, where it is inside."""
    best = min(Fraction(sum(x * x for x in row)) for row in rows)
    for size in range(2, len(rows) + 1):
        for chosen in itertools.combinations(rows, size):
            weights = solved([[Fraction(sum(a * b for a, b in zip(one, other, strict=True))) for other in chosen] for one in chosen])
            if weights is not None and min(weights) >= 0:
                v = [sum(w * row[axis] for w, row in zip(weights, chosen, strict=True)) for axis in range(len(rows[0]))]
                best = min(best, sum((x * x for x in v), Fraction(0)))
    return best


def solved(gramian: list[list[Fraction]]) -> list[Fraction] | None:
    """w and μ with G w + μ 1 = 0 and Σ w = 1 by elimination, or None where that has not one solution."""
    size = len(gramian) + 1
    table = [[*row, Fraction(1), Fraction(0)] for row in gramian] + [[*[Fraction(1)] * (size - 1), Fraction(0), Fraction(1)]]
    for step in range(size):
        pivot = next((row for row in range(step, size) if table[row][step] != 0), None)
        if pivot is None:
            return None
        table[step], table[pivot] = table[pivot], table[step]
        table[step] = [value / table[step][step] for value in table[step]]
        for row in range(size):
            if row != step:
                table[row] = [a - table[row][step] * b for a, b in zip(table[row], table[step], strict=True)]
    return [table[row][-1] for row in range(size - 1)]


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (4, 3), (5, 4), (6, 2)])
def test_mgda_is_as_short_as_exact_fractions_say(shape: tuple[int, int]) -> None:
    draw = torch.Generator().manual_seed(shape[0])
    for _ in range(40):
        rows = torch.randint(-3, 4, shape, generator=draw)
        gradients = rows.double()
        step = mgda(gradients) @ gradients
        assert float(step @ step) == pytest.approx(float(exact_shortest(rows.tolist())), abs=1e-13)


@pytest.mark.parametrize("short", [1e-3, 1e-6, 1e-8, 1e-10])
def test_mgda_takes_in_a_row_that_is_opposed_by_a_hair(short: float) -> None:
    """(1 - short, 1) agrees with (1, 0) by less than (1, 0) with itself. The third row keeps the answer from being the nearest point of all three."""
    gradients = torch.tensor([[1.0, 0.0], [1 - short, 1.0], [4.0, 5.0]], dtype=torch.float64)
    weights = mgda(gradients)
    # the distance from 0 to the line through the first two: w₂ = short / (short² + 1)
    assert float(weights[1]) == pytest.approx(short / (short**2 + 1), rel=1e-6)
    assert_shortest(gradients, weights, 1e-13)


@pytest.mark.parametrize("change", ["none", "twin", "opposite", "unequal", "zero"])
def test_mgda_meets_the_kkt_conditions(change: str, generator: torch.Generator) -> None:
    for _ in range(60):
        tasks, size = (int(torch.randint(low, 11, (), generator=generator)) for low in (2, 1))
        gradients = torch.randn(tasks, size, generator=generator, dtype=torch.float64)
        changes: dict[str, Callable[[Tensor], Tensor]] = {
            "none": lambda g: g,
            "twin": lambda g: torch.cat([g[:-1], g[:1]]),
            "opposite": lambda g: torch.cat([g[:-1], -3 * g[:1]]),
            "unequal": lambda g: g * 10.0 ** (2 * torch.randn(len(g), 1, generator=generator)),
            "zero": lambda g: torch.cat([g[:-1], 0 * g[:1]]),
        }
        gradients = changes[change](gradients)
        assert_shortest(gradients, mgda(gradients), 1e-13)


def test_mgda_of_two_is_sener_and_koltuns_closed_form(device: torch.device, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    for _ in range(30):
        a, b = torch.randn(2, 6, generator=generator, dtype=real_dtype)
        share = float(((b - a) @ b / (a - b).square().sum()).clamp(0, 1))
        weights = mgda(torch.stack([a, b]).to(device))
        assert weights.device.type == device.type
        assert weights.dtype == real_dtype
        torch.testing.assert_close(weights.cpu().double(), torch.tensor([share, 1 - share]).double(), rtol=1e-4, atol=1e-5)


def test_mgda_agrees_with_torchjd_where_that_has_converged(generator: torch.Generator) -> None:
    for _ in range(10):
        gradients = torch.randn(5, 40, generator=generator, dtype=torch.float64)
        theirs = MGDA(epsilon=1e-9, max_iters=5000)(gradients)
        ours = mgda(gradients) @ gradients
        assert float(ours.norm()) <= float(theirs.norm()) + 1e-12
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02)  # Frank and Wolfe's steps are of order 1/k


def test_half_precision_is_widened(dtype: torch.dtype, device: torch.device) -> None:
    gradients = torch.tensor([[300.0, 0.0], [-300.0, 300.0]], device=device, dtype=dtype)
    step = pcgrad(gradients)
    assert step.dtype == dtype
    assert_near(step, torch.tensor([150.0, 450.0]), dtype)  # (300, 0) loses half of (-300, 300) reversed: (150, 150); the other its first entry
    assert_near(mgda(gradients), torch.tensor([0.6, 0.4], dtype=torch.float64), dtype)


@pytest.mark.parametrize("unit", [1e-300, 1e-170, -1e-170, 1e-25, 1e25, 1e170, -1e170, 1e300])
def test_the_unit_of_the_gradients_is_no_matter(unit: float, dtype: torch.dtype) -> None:
    """Their squares are no numbers of the dtype, or next to none; what they do to each other is the same."""
    gradients = torch.tensor([[2.0, 0.0, 1.0], [-1.0, 1.0, 0.0], [0.0, -2.0, 1.0]], dtype=torch.float64)
    order = torch.tensor([2, 0, 1])
    scaled = (unit * gradients).to(dtype)
    if not bool((scaled != 0)[gradients != 0].all() & scaled.isfinite().all()):
        return  # no numbers of this dtype
    rounded = (scaled.double() / unit).nan_to_num()
    assert_near(pcgrad(scaled, order=order).double() / unit, surgery(rounded, [order.tolist()] * 3), max(dtype, torch.float32, key=eps))
    assert_near(mgda(scaled), mgda(gradients), max(dtype, torch.float32, key=eps))


def eps(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


def test_gradients_of_very_different_lengths() -> None:
    """Surgery asks for directions alone; one row is a gradient of 0, which is against none."""
    for short in (1e-40, 1e-25, 1e-3):
        gradients = torch.tensor([[1.0, 0.0], [-short, 0.0], [-short, short], [0.0, 0.0]])
        for order in itertools.permutations(range(4)):
            found = pcgrad(gradients, order=torch.tensor(order))
            wide = gradients.double()[:3] / torch.tensor([[1.0], [short], [short]]).double()  # each projected in its own unit
            expected = torch.zeros(2, dtype=torch.float64)
            for task, length in enumerate((1.0, short, short)):
                g = wide[task]
                for other in order:
                    if other not in (task, 3) and g @ wide[other] < -1e-12:
                        g = g - (g @ wide[other]) / (wide[other] @ wide[other]) * wide[other]
                expected += length * g
            assert_near(found, expected)
        assert_shortest(gradients, mgda(gradients), 1e-6)
    assert pcgrad(torch.zeros(2, 3)).tolist() == [0, 0, 0]
    assert pcgrad(torch.zeros(2, 0)).tolist() == []
    assert float(mgda(torch.zeros(2, 0)).sum()) == 1


@pytest.mark.parametrize("unit", [torch.int8, torch.uint8, torch.int32, torch.uint16])
def test_an_order_of_any_integers(unit: torch.dtype, generator: torch.Generator) -> None:
    gradients = torch.randn(4, 3, generator=generator)
    expected = pcgrad(gradients, order=torch.tensor([2, 0, 3, 1]))
    assert torch.equal(pcgrad(gradients, order=torch.tensor([2, 0, 3, 1]).to(unit)), expected)
    assert torch.equal(pcgrad(gradients, order=np.array([2, 0, 3, 1])), expected)
    assert torch.equal(pcgrad(gradients, order=[2, 0, 3, 1]), expected)


def test_gradients_with_another_name_give_tensors_without(generator: torch.Generator) -> None:
    gradients = torch.randn(3, 4, generator=generator)
    named = gradients.as_subclass(type("Named", (Tensor,), {}))
    for found, expected in ((pcgrad(named, order=torch.arange(3)), pcgrad(gradients, order=torch.arange(3))), (mgda(named), mgda(gradients))):
        assert type(found) is Tensor
        assert torch.equal(found, expected)


def test_gradients_with_a_negative_bit() -> None:
    """What `imag` of a conjugate leaves behind, and numpy does not read."""
    gradients = torch.complex(torch.zeros(2, 2), torch.tensor([[2.0, 0.0], [-1.0, 1.0]])).conj().imag
    assert gradients.is_neg()
    assert pcgrad(gradients).tolist() == [-1, -2]
    assert_near(mgda(gradients), mgda(gradients.clone()))


def test_half_precision_is_summed_in_float32(dtype: torch.dtype, generator: torch.Generator) -> None:
    """4096 products of one sign: a sum in half precision stops growing at 2048 (float16) or 256 (bfloat16)."""
    gradients = torch.stack([torch.ones(4096), -torch.ones(4096) / 2, torch.arange(4096) % 2 - 0.75]).to(dtype)
    found = pcgrad(gradients, order=torch.arange(3))
    assert found.dtype == dtype
    assert_near(found, surgery(gradients.double(), [[0, 1, 2]] * 3), dtype)
    assert mgda(gradients).dtype == dtype
    assert_near(mgda(gradients), mgda(gradients.double()), dtype)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: UncertaintyWeighting("regression"), TypeError, "`kinds` should be a sequence of names; found str"),
        (lambda: UncertaintyWeighting(2), TypeError, "`kinds` should be a sequence of names; found int"),
        (lambda: UncertaintyWeighting(BOTH)([]), ValueError, r"`losses` should have shape \(2,\).*found \(0,\)"),
        (lambda: UncertaintyWeighting(BOTH)([torch.ones(()), torch.ones((), dtype=torch.long)]), TypeError, r"`losses\[1\]` should have a floating"),
        (
            lambda: UncertaintyWeighting(BOTH)([torch.ones(()), torch.ones((), device="meta")]),
            ValueError,
            r"`losses\[1\]` should be on the device cpu",
        ),
        (lambda: UncertaintyWeighting(BOTH)(W.to("meta")), ValueError, "`losses` should be on the device cpu to match `log_variances`"),
        (lambda: task_gradients(W.sum()[None], W), TypeError, "`parameters` should be an iterable of tensors; found Tensor"),
        (lambda: task_gradients(W.sum()[None], torch.nn.Linear(2, 1)), TypeError, "`parameters` should be an iterable of tensors; found Linear"),
        (lambda: task_gradients(W.sum()[None], [W, 1.0]), TypeError, r"`parameters\[1\]` should be a torch.Tensor; found float"),
        (
            lambda: task_gradients(W.sum()[None], [W, torch.ones(2, device="meta", requires_grad=True)]),
            ValueError,
            r"`parameters\[1\]` should be on the device cpu to match `parameters\[0\]`; found meta",
        ),
        (lambda: task_gradients(W.sum()[None], [W, W]), ValueError, "`parameters` should be all different; found one that comes twice"),
        (lambda: task_gradients([], [W]), ValueError, "`losses` should have a graph to differentiate; found none"),
        (lambda: torch.vmap(mgda)(torch.ones(2, 2, 2)), TypeError, "`gradients` should have values to be read, outside of vmap"),
        (lambda: torch.vmap(pcgrad)(torch.ones(2, 2, 2)), TypeError, "`gradients` should have values to be read, outside of vmap"),
        (lambda: mgda(torch.ones(2, 2, device="meta")), TypeError, "`gradients` should have values to be read"),
        (lambda: pcgrad(torch.ones(2, 2), order=[[0, 1], [1]]), TypeError, "`order` should be a tensor or a sequence of rows"),
        (lambda: pcgrad(torch.ones(2, 2), order=[["a"]]), TypeError, "`order` should be a tensor or a sequence of rows"),
        (lambda: pcgrad(torch.ones(2, 2), generator=3), TypeError, "`generator` should be a torch.Generator; found int"),
        (lambda: UncertaintyWeighting([]), ValueError, "`kinds` should name at least one task"),
        (lambda: UncertaintyWeighting(["ranking"]), ValueError, r"`kinds\[0\]` should be one of"),
        (lambda: UncertaintyWeighting(BOTH)([torch.ones(()), 1.0]), TypeError, r"`losses\[1\]` should be a torch.Tensor"),
        (lambda: task_gradients(torch.ones(2), [torch.ones(1, requires_grad=True)]), ValueError, "`losses` should have a graph"),
        (lambda: task_gradients(torch.ones(2, requires_grad=True), []), ValueError, "`parameters` should .* found none"),
        (lambda: task_gradients(torch.ones(2, requires_grad=True), [torch.ones(1)]), ValueError, "found one that does not"),
        (lambda: pcgrad(torch.ones(2)), ValueError, r"`gradients` should have shape \[T, P\]"),
        (lambda: pcgrad(torch.ones(0, 2)), ValueError, "at least one task"),
        (lambda: pcgrad(torch.ones(2, 2), order=torch.tensor([0, 0])), ValueError, r"0 to 1, of shape \(2,\) or \(2, 2\); found \[0, 0\]\."),
        (lambda: pcgrad(torch.ones(2, 2), order=torch.tensor([[0, 1]])), ValueError, r"found \[\[0, 1\]\]\."),
        (lambda: pcgrad(torch.ones(2, 2), order=[[0, 1], [1, 0]], generator=torch.Generator()), TypeError, "`generator` should be None"),
    ],
)
def test_errors_name_parameter_expectation_and_finding(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
