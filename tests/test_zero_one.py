"""The exact line against brute force in exact integers and against linear programs; Cover's count against enumeration; the smoothed risk."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
import torch
from torch import Tensor

from lossbook import margins, zero_one
from lossbook.zero_one import BestLine, best_line, count_dichotomies, smoothed_risk

Point = tuple[int, int]


def fewest_errors(points: list[Point], signs: list[int]) -> int:
    """Brute force over the lines through every two points, in exact integers: O(n³).

    A line that splits the points can be moved until it touches two of them. Those on the line can then be split anywhere along it, either way round,
    by turning the line a little about that place, or all be put on one side by shifting it.
    """
    best = min(signs.count(1), signs.count(-1))
    for (px, py), (qx, qy) in itertools.permutations(points, 2):
        ux, uy = qx - px, qy - py
        if (ux, uy) == (0, 0):
            continue
        sides = [ux * (y - py) - uy * (x - px) for x, y in points]
        off = sum((side > 0) != (sign > 0) for side, sign in zip(sides, signs, strict=True) if side)
        along = [(ux * x + uy * y, sign) for (x, y), side, sign in zip(points, sides, signs, strict=True) if not side]
        for cut in [min(along)[0] - 1, *(place for place, _ in along)]:
            wrong = sum((place > cut) != (sign > 0) for place, sign in along)
            best = min(best, off + wrong, off + len(along) - wrong)
    return best


def count(line: BestLine, features: Tensor, signs: Tensor) -> int:
    return int((signs * (features.double() @ line.weights + line.intercept) <= 0).sum())


@pytest.mark.parametrize("side", [1, 2, 3, 10, 1000])
def test_best_line_equals_brute_force_on_grids_full_of_ties(side: int) -> None:
    draw = random.Random(side)  # small grids: duplicates, collinear points and all points at one place are the rule
    for _ in range(250):
        n = draw.randint(1, 9)
        points = [(draw.randint(0, side), draw.randint(0, side)) for _ in range(n)]
        signs = [draw.choice((-1, 1)) for _ in range(n)]
        features = torch.tensor(points, dtype=torch.float64) * draw.choice((1.0, 0.1, 1 / 3)) + draw.choice((0.0, 7.7))
        line = best_line(features, torch.tensor(signs))
        assert line.errors == fewest_errors(points, signs) == count(line, features, torch.tensor(signs))


def test_best_line_equals_brute_force_in_general_position() -> None:
    draw = random.Random(0)
    for n in (12, 20, 30):
        points = [(draw.randint(-(10**6), 10**6), draw.randint(-(10**6), 10**6)) for _ in range(n)]
        signs = [draw.choice((-1, 1)) for _ in range(n)]
        assert best_line(torch.tensor(points, dtype=torch.float64), torch.tensor(signs)).errors == fewest_errors(points, signs)


def test_no_line_separates_fewer_by_linear_programs(rng: np.random.Generator) -> None:
    """Independent of any geometry: a set of errors is possible iff a linear program that leaves them out is feasible."""
    from scipy.optimize import linprog

    features, signs = rng.normal(size=(11, 2)), np.resize([-1, 1, 1], 11)
    errors = best_line(torch.tensor(features), torch.tensor(signs)).errors

    def separable(kept: np.ndarray) -> bool:
        rows = -signs[kept, None] * np.column_stack([features[kept], np.ones(len(kept))])
        return linprog(np.zeros(3), A_ub=rows, b_ub=-np.ones(len(kept)), bounds=(None, None), method="highs").status == 0

    def possible(number: int) -> bool:
        return any(separable(np.setdiff1d(range(11), left_out)) for left_out in itertools.combinations(range(11), number))

    assert errors > 0
    assert possible(errors)
    assert not possible(errors - 1)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    features, signs = torch.randn(40, 2, generator=generator), 2 * torch.randint(0, 2, (40,), generator=generator) - 1
    whole = best_line(features, signs)
    monkeypatch.setattr(zero_one, "_BLOCK", 7 * 40)  # seven pivots at a time
    assert best_line(features, signs).errors == whole.errors


def test_best_line_does_not_depend_on_the_frame(generator: torch.Generator) -> None:
    features, signs = torch.randn(50, 2, generator=generator).double(), 2 * torch.randint(0, 2, (50,), generator=generator) - 1
    errors, turn = best_line(features, signs).errors, torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    assert errors < 25
    for moved in (features @ turn, features * 1e-6, features * 1e6, features + 1e3, features @ torch.diag(torch.tensor([1.0, 50.0]).double())):
        assert best_line(moved, signs).errors == errors
    assert best_line(features, -signs).errors == errors  # the reversed line
    assert best_line(torch.cat([features] * 2), torch.cat([signs] * 2)).errors == 2 * errors


def test_the_line_leaves_room(device: torch.device) -> None:
    features = torch.tensor([[-2.0, 0.0], [-1.0, 1.0], [1.0, 0.0], [2.0, 3.0]], device=device)
    line = best_line(features, torch.tensor([-1, -1, 1, 1], device=device))
    assert line.errors == 0
    assert line.weights.dtype == line.intercept.dtype == torch.float64
    assert line.weights.device.type == device.type
    assert float(line.weights.norm()) == pytest.approx(1)
    assert float((features.double() @ line.weights + line.intercept).abs().min()) > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_best_line_in_other_dtypes(dtype: torch.dtype) -> None:
    features = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]], dtype=dtype)
    assert best_line(features, torch.tensor([1, 1, -1, -1])).errors == 1  # XOR


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e-160, 1e160, 1e300, 1.7e308])
def test_best_line_at_the_ends_of_float64(size: float) -> None:
    """Squared distances are 0 below 1e-162 and infinite above 1e154; the number of errors is that of the same points at size 1."""
    corners, signs = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64), torch.tensor([1, 1, -1, -1])
    line = best_line(size * corners, signs)  # XOR
    assert line.errors == 1
    assert float(line.weights.norm()) == pytest.approx(1)
    assert line.intercept.isfinite()


def test_best_line_does_not_depend_on_how_its_arguments_are_stored(generator: torch.Generator) -> None:
    features, signs = torch.randn(30, 2, generator=generator).double(), 2 * torch.randint(0, 2, (30,), generator=generator) - 1
    plain = best_line(features, signs)
    ones = best_line(features, torch.ones(30, dtype=torch.uint8))
    assert ones.errors == 0
    for dtype in (torch.int8, torch.int32, torch.float16, torch.float64):
        assert torch.equal(best_line(features.mT.contiguous().mT, signs.to(dtype)).weights, plain.weights)


def test_a_line_is_found_from_values_that_are_there(generator: torch.Generator) -> None:
    features, signs = torch.randn(2, 5, 2, generator=generator), torch.tensor([1, -1, 1, -1, 1])
    with pytest.raises(TypeError, match=r"`features` should have values to be read, outside of vmap, .*; found a tensor inside of one"):
        torch.vmap(lambda x: best_line(x, signs).weights)(features)


def test_degenerate_sets() -> None:
    one_place = torch.ones(5, 2)
    majority = best_line(one_place, torch.tensor([1, 1, -1, -1, -1]))
    assert majority.errors == 2
    assert majority.weights.tolist() == [0, 0]
    assert float(majority.intercept) == -1
    assert best_line(torch.zeros(1, 2), torch.tensor([-1])).errors == 0
    assert best_line(torch.randn(6, 2), torch.ones(6)).errors == 0  # a constant answer is a line that passes by
    on_a_line = torch.stack([torch.arange(6.0), 2 * torch.arange(6.0)], dim=1)
    assert best_line(on_a_line, torch.tensor([-1, -1, 1, -1, 1, 1])).errors == 1


def test_best_line_beats_the_proxies_on_real_tumours() -> None:
    from sklearn.linear_model import LogisticRegression

    from lossbook.book import data

    features, signs, names = data.breast_cancer()
    pair = features[:, [names.index("worst area"), names.index("worst texture")]]
    fitted = LogisticRegression(C=1e6).fit(pair.numpy(), signs.numpy())
    assert best_line(pair, signs).errors < int((fitted.predict(pair.numpy()) != signs.numpy()).sum())


def test_count_dichotomies_by_enumeration(rng: np.random.Generator) -> None:
    from scipy.optimize import linprog

    for dimension, n in [(1, 5), (2, 5), (2, 6), (3, 6), (4, 5)]:
        points = np.column_stack([rng.normal(size=(n, dimension)), np.ones(n)])
        reached = sum(
            linprog(np.zeros(dimension + 1), A_ub=-np.array(signs)[:, None] * points, b_ub=-np.ones(n), bounds=(None, None), method="highs").status
            == 0
            for signs in itertools.product([-1, 1], repeat=n)
        )
        assert reached == count_dichotomies(n, dimension)
    assert count_dichotomies(10, 2) == 92
    assert count_dichotomies(20, 10) == 709_044
    assert count_dichotomies(20, 19) == count_dichotomies(20, 100) == 2**20  # n points in n - 1 dimensions can be labelled in every way


# --- the smoothed risk ------------------------------------------------------------------------------------------------------------------------


def plain_smoothed_risk(weights: Tensor, features: Tensor, signs: Tensor, sigma: float) -> list[float]:
    """Φ(-y w·x / (σ|x|)) in plain floats."""
    rows = zip(features.tolist(), signs.tolist(), strict=True)
    z = [-y * math.fsum(a * b for a, b in zip(weights.tolist(), x, strict=True)) / (sigma * math.hypot(*x)) for x, y in rows]
    return [math.erfc(-value / math.sqrt(2)) / 2 for value in z]


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_smoothed_risk_is_the_formula_and_the_frequency(sigma: float, generator: torch.Generator, device: torch.device) -> None:
    weights, features = torch.randn(3, generator=generator).double(), torch.randn(8, 3, generator=generator).double()
    signs = 2 * torch.randint(0, 2, (8,), generator=generator) - 1
    found = smoothed_risk(weights.to(device), features.to(device), signs.to(device), sigma=sigma, reduction="none").cpu()
    expected = torch.tensor(plain_smoothed_risk(weights, features, signs, sigma), dtype=torch.float64)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(smoothed_risk(weights, features, signs, sigma=sigma), expected.mean())
    torch.testing.assert_close(smoothed_risk(weights, features, signs, sigma=sigma, reduction="sum"), expected.sum())
    trembling = weights + sigma * torch.randn(40_000, 3, generator=generator).double()
    frequency = margins.zero_one(signs * (trembling @ features.T)).mean(dim=0)
    spread = (expected * (1 - expected) / 40_000).sqrt()
    assert bool(((found - frequency).abs() <= 5 * spread + 1e-12).all())  # five sigmas


def test_smoothed_risk_becomes_the_zero_one_risk(generator: torch.Generator) -> None:
    weights, features = torch.randn(4, generator=generator), torch.randn(30, 4, generator=generator)
    signs = 2 * torch.randint(0, 2, (30,), generator=generator) - 1
    exact = margins.zero_one(signs * (features @ weights))
    torch.testing.assert_close(smoothed_risk(weights, features, signs, sigma=1e-6, reduction="none"), exact)


def test_smoothed_risk_gradients(generator: torch.Generator) -> None:
    weights = torch.randn(3, generator=generator).double().requires_grad_()
    features = torch.randn(5, 3, generator=generator).double()
    signs = 2 * torch.randint(0, 2, (5,), generator=generator) - 1

    def risk(w: Tensor) -> Tensor:
        return smoothed_risk(w, features, signs, sigma=0.7)

    assert torch.autograd.gradcheck(risk, weights)
    assert torch.autograd.gradgradcheck(risk, weights)
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(risk, fullgraph=True, backend="aot_eager")(weights), risk(weights))
    batch = torch.stack([weights, 2 * weights])
    torch.testing.assert_close(torch.vmap(risk)(batch), torch.stack([risk(w) for w in batch]))


def test_smoothed_risk_is_not_convex() -> None:
    features, signs = torch.tensor([[1.0, 1.0], [-1.0, 1.0]]), torch.tensor([1, 1])  # both right at (0, 9), both wrong at (0, -9): a flat top between
    ends = [smoothed_risk(torch.tensor([0.0, w]), features, signs) for w in (-9.0, -1.0)]
    middle = smoothed_risk(torch.tensor([0.0, -5.0]), features, signs)
    assert middle > sum(ends) / 2 + 0.05


def test_smoothed_risk_at_extremes(dtype: torch.dtype, device: torch.device) -> None:
    weights = torch.tensor([1e4, -1e4], dtype=dtype, device=device, requires_grad=True)
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=dtype, device=device)
    signs = torch.tensor([1, 1, 1], device=device)
    for sigma in (1e-2, 1.0):
        values = smoothed_risk(weights, 1e4 * features, signs, sigma=sigma, reduction="none")
        assert values.tolist() == [0, 1, 1]  # far right, far wrong, and a row of zeros, which no weights can get right
        assert values.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        (gradient,) = torch.autograd.grad(values.sum(), weights, create_graph=True)
        assert gradient.isfinite().all()
        assert torch.autograd.grad(gradient.sum(), weights)[0].isfinite().all()


# Φ(-y w·x / (σ|x|)) of w = (1, 1), y = 1 and x in the direction of (1, 1): Φ(-√2).
AHEAD = math.erfc(1) / 2


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.uint64, torch.float16, torch.float64])
def test_signs_of_every_dtype_count_alike(dtype: torch.dtype) -> None:
    """-1 in uint8 is 255: a sign is negated as a number."""
    risk = smoothed_risk(torch.ones(2), torch.ones(3, 2), torch.ones(3, dtype=dtype))
    assert risk.dtype == torch.float32
    assert float(risk) == pytest.approx(AHEAD, rel=1e-6)


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        *((torch.float32, size) for size in (1e-44, 1e-30, 1e30, 3e38)),
        *((torch.float64, size) for size in (1e-320, 1e-200, 1e200, 1.7e308)),
        *((torch.float16, size) for size in (6e-8, 6e4)),
        *((torch.bfloat16, size) for size in (1e-38, 3e38)),
    ],
)
def test_only_the_direction_of_features_counts(dtype: torch.dtype, size: float) -> None:
    """|x|² is 0 or infinite for most of these."""
    weights, features = torch.ones(2, dtype=dtype, requires_grad=True), torch.full((1, 2), size, dtype=dtype)
    risk = smoothed_risk(weights, features, torch.ones(1))
    assert float(risk.detach()) == pytest.approx(AHEAD, rel=1e-6)
    (gradient,) = torch.autograd.grad(risk, weights)
    density = math.exp(-1) / math.sqrt(2 * math.pi)  # φ(√2), times -x/|x| in each of the two axes
    assert gradient.tolist() == pytest.approx([-density / math.sqrt(2)] * 2, rel=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_weights_that_cancel_leave_a_tie(dtype: torch.dtype) -> None:
    """Their products with x overflow one by one: inf - inf is NaN."""
    most = 2.0**127 if dtype == torch.float32 else 2.0**1023  # so that a sum of them is exact in whatever order a processor takes it
    weights = torch.tensor([most] * 8 + [-most] * 8, dtype=dtype, requires_grad=True)
    features = 1.5 * torch.ones(1, 16, dtype=dtype)
    for sigma in (1e-45, 1.0, 1e30):
        risk = smoothed_risk(weights, features, torch.ones(1), sigma=sigma)
        assert float(risk.detach()) == 0.5
        assert not torch.autograd.grad(risk, weights)[0].isnan().any()


def test_a_spread_that_vanishes_in_the_dtype_leaves_the_zero_one_risk() -> None:
    weights, features = torch.tensor([1.0, -1.0], requires_grad=True), torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    risks = smoothed_risk(weights, features, torch.ones(3), sigma=1e-46, reduction="none")
    assert risks.tolist() == [0.5, 0, 1]  # a tie trembles to either side
    assert not torch.autograd.grad(risks[1:].sum(), weights)[0].isnan().any()


def test_autocast_changes_nothing(generator: torch.Generator) -> None:
    weights, features = torch.randn(4, generator=generator), torch.randn(9, 4, generator=generator)
    signs = 2 * torch.randint(0, 2, (9,), generator=generator) - 1
    plain = smoothed_risk(weights, features, signs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(smoothed_risk(weights, features, signs), plain)


def test_numbers_may_be_those_of_numpy() -> None:
    assert count_dichotomies(np.int64(20), np.int32(2)) == 382
    risks = [smoothed_risk(torch.ones(2), torch.ones(1, 2), torch.ones(1), sigma=sigma) for sigma in (np.float32(0.5), 0.5)]
    assert torch.equal(*risks)


def test_many_dimensions_are_counted_at_once() -> None:
    """Beyond n - 1 of them nothing is added; a loop over all would not end."""
    assert count_dichotomies(5, 10**15) == 2**5


def test_an_empty_batch_has_no_risk() -> None:
    assert float(smoothed_risk(torch.ones(2), torch.empty(0, 2), torch.empty(0))) == 0


def test_errors_name_parameter_expectation_and_finding() -> None:
    features, signs = torch.zeros(3, 2), torch.ones(3)
    with pytest.raises(ValueError, match=r"`features` should have shape \[N, 2\] with N ≥ 1; found \(3, 3\)\."):
        best_line(torch.zeros(3, 3), signs)
    with pytest.raises(ValueError, match=r"`features` should have shape \[N, 2\] with N ≥ 1; found \(0, 2\)\."):
        best_line(torch.zeros(0, 2), torch.zeros(0))
    weights = torch.ones(2)
    with pytest.raises(ValueError, match=r"`weights` should hold at least one weight; found shape \(0,\)\."):
        smoothed_risk(torch.ones(0), torch.zeros(3, 0), signs)
    with pytest.raises(ValueError, match=r"`signs` should be on the device cpu to match `features`; found meta\."):
        smoothed_risk(weights, features, signs.to("meta"))
    with pytest.raises(ValueError, match=r"`features` should be on the device cpu to match `weights`; found meta\."):
        smoothed_risk(weights, features.to("meta"), signs)
    with pytest.raises(ValueError, match=r"`features` should have shape \[N, 2\] to match `weights`; found \(3, 4\)\."):
        smoothed_risk(weights, torch.zeros(3, 4), signs)
