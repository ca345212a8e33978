"""Every loss of the registry meets every test; the oracles are formulas written out here with `math`, grids of them, and other libraries."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import margins
from lossbook.margins import LOSSES, MarginLoss, ramp_loss
from tests.tolerances import assert_near

# φ(m) once more, in plain floats, from the papers: the oracle of most tests below.
PLAIN: dict[str, Callable[[float], float]] = {
    "zero_one": lambda m: float(m <= 0),
    "hinge": lambda m: max(0.0, 1 - m),
    "squared_hinge": lambda m: max(0.0, 1 - m) ** 2,
    "logistic": lambda m: math.log1p(math.exp(-m)) if m > -700 else -m,
    "logistic2": lambda m: math.log1p(math.exp(-m)) / math.log(2) if m > -700 else -m / math.log(2),
    "exponential": lambda m: math.exp(-m) if m > -700 else math.inf,
    "squared": lambda m: (1 - m) ** 2,
    "ramp": lambda m: min(max(0.0, 1 - m), 1.0),
    "ramp_minus_one": lambda m: min(max(0.0, 1 - m), 2.0),
    "sigmoid": lambda m: 1 / (1 + math.exp(m)) if m < 700 else 0.0,
    "savage": lambda m: 1 / (1 + math.exp(2 * m)) ** 2 if m < 170 else 0.0,
    "unhinged": lambda m: 1 - m,
    "perceptron": lambda m: max(0.0, -m),
}
# φ(-1), φ(0), φ(1/2), φ(1), φ(2), worked out by hand.
E = math.e
POINTS = {
    "zero_one": (1, 1, 0, 0, 0),
    "hinge": (2, 1, 0.5, 0, 0),
    "squared_hinge": (4, 1, 0.25, 0, 0),
    "logistic": (math.log(1 + E), math.log(2), math.log(1 + E**-0.5), math.log(1 + 1 / E), math.log(1 + E**-2)),
    "logistic2": (math.log2(1 + E), 1, math.log2(1 + E**-0.5), math.log2(1 + 1 / E), math.log2(1 + E**-2)),
    "exponential": (E, 1, E**-0.5, 1 / E, E**-2),
    "squared": (4, 1, 0.25, 0, 1),
    "ramp": (1, 1, 0.5, 0, 0),
    "ramp_minus_one": (2, 1, 0.5, 0, 0),
    "sigmoid": (E / (1 + E), 0.5, 1 / (1 + E**0.5), 1 / (1 + E), 1 / (1 + E**2)),
    "savage": ((E**2 / (1 + E**2)) ** 2, 0.25, 1 / (1 + E) ** 2, 1 / (1 + E**2) ** 2, 1 / (1 + E**4) ** 2),
    "unhinged": (2, 1, 0.5, 0, -1),
    "perceptron": (1, 0, 0, 0, 0),
}
EXTREMES = (-1e4, -500.0, -20.0, -1.5, 0.0, 0.25, 2.0, 20.0, 500.0, 1e4)
GRID = np.concatenate([[-60.0, -30.0], np.arange(-8000, 8001) / 1000, [30.0, 60.0]])  # scores; has 0 and ±1
NO_FLOOR = {"unhinged"}  # its conditional risk falls without end, so no grid finds the minimum


@pytest.fixture(params=LOSSES.values(), ids=LOSSES)
def loss(request: pytest.FixtureRequest) -> MarginLoss:
    return request.param


def plain(loss: MarginLoss, values: np.ndarray) -> np.ndarray:
    return np.array([PLAIN[loss.name](float(value)) for value in values])


def grid_risks(loss: MarginLoss, eta: float) -> np.ndarray:
    """The conditional risk of every score of GRID, from PLAIN."""
    return eta * plain(loss, GRID) + (1 - eta) * plain(loss, -GRID)


def away_from_kinks(loss: MarginLoss, *, low: float = -4, high: float = 4, number: int = 33) -> Tensor:
    values = torch.linspace(low, high, number, dtype=torch.float64) + 0.0123
    return values[[all(abs(value - kink) > 1e-3 for kink in loss.kinks) for value in values.tolist()]]


def test_the_catalogue_is_complete() -> None:
    assert set(LOSSES) == set(PLAIN) == set(POINTS)
    assert all(getattr(margins, name) is loss and loss.name == name for name, loss in LOSSES.items())


# --- values and slopes -----------------------------------------------------------------------------------------------------------------------


def test_values_by_hand(loss: MarginLoss, device: torch.device, real_dtype: torch.dtype) -> None:
    points = torch.tensor([-1, 0, 0.5, 1, 2], dtype=real_dtype, device=device)
    torch.testing.assert_close(loss(points), torch.tensor(POINTS[loss.name], dtype=real_dtype, device=device))


def test_slopes_are_those_of_finite_differences(loss: MarginLoss) -> None:
    points, h = away_from_kinks(loss), 1e-6
    numeric = (plain(loss, points.numpy() + h) - plain(loss, points.numpy() - h)) / (2 * h)
    np.testing.assert_allclose(loss.derivative(points).numpy(), numeric, rtol=1e-6, atol=1e-8)


def test_autograd_gives_the_declared_slope_kinks_included(loss: MarginLoss) -> None:
    points = torch.cat([away_from_kinks(loss), torch.tensor([0.0, *loss.kinks], dtype=torch.float64)]).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(points).sum(), points)
    torch.testing.assert_close(gradient, loss.derivative(points.detach()), rtol=1e-12, atol=1e-14)


def test_at_a_kink_the_slope_is_the_right_hand_one_and_differs_from_the_left(loss: MarginLoss) -> None:
    h = 1e-6
    for kink in loss.kinks:
        left, at, right = (PLAIN[loss.name](kink + step) for step in (-h, 0, h))
        assert abs((right - at) - (at - left)) > h / 2, "no kink at all"
        if loss.name != "zero_one":  # a jump has no slope; what is declared is the 0 that autograd gives
            assert float(loss.derivative(torch.tensor([kink], dtype=torch.float64))) == pytest.approx((right - at) / h, abs=1e-6)


def test_is_differentiable_means_that_both_slopes_agree_everywhere(loss: MarginLoss) -> None:
    h = 1e-5
    points = np.round(np.arange(-3, 3.0005, 0.125), 3)  # has every kink of the catalogue
    values = plain(loss, np.stack([points - h, points, points + h]).ravel()).reshape(3, -1)
    bent = np.abs(values[2] - 2 * values[1] + values[0]) > h / 2  # curvature alone would give at most φ''(-3) h² = 20 h²
    assert sorted(points[bent]) == sorted(loss.kinks)
    assert loss.is_differentiable == (not bent.any())


def test_gradcheck_to_second_order(loss: MarginLoss) -> None:
    points = away_from_kinks(loss, number=9).requires_grad_()
    assert torch.autograd.gradcheck(loss, points)
    assert torch.autograd.gradgradcheck(loss, points)


def test_extremes_in_every_dtype(loss: MarginLoss, device: torch.device, dtype: torch.dtype) -> None:
    points = torch.tensor(EXTREMES, dtype=dtype, device=device, requires_grad=True)
    values = loss(points)
    (gradient,) = torch.autograd.grad(values.sum(), points, create_graph=True)
    second = torch.autograd.grad(gradient.sum(), points)[0] if gradient.requires_grad else torch.zeros_like(gradient)
    slopes = loss.derivative(points.detach())
    for found in (values, gradient, second, slopes):
        assert found.device.type == device.type
        assert not found.isnan().any()
    assert values.dtype == slopes.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    exact = torch.tensor([PLAIN[loss.name](float(point)) for point in points.detach().double()], dtype=torch.float64)
    assert_near(values.detach(), exact.to(values.dtype))  # inf only where the number itself is too large
    assert_near(gradient.detach(), slopes.to(dtype))


@pytest.mark.parametrize("end", [-1, 1])
def test_the_ends_of_every_dtype(loss: MarginLoss, dtype: torch.dtype, end: int) -> None:
    largest = torch.finfo(dtype).max
    points = torch.tensor([end * largest, end * largest / 2, end * torch.finfo(dtype).tiny], dtype=dtype, requires_grad=True)
    values = loss(points)
    (gradient,) = torch.autograd.grad(values.sum(), points, create_graph=True)
    second = torch.autograd.grad(gradient.sum(), points)[0] if gradient.requires_grad else torch.zeros_like(gradient)
    assert not any(bool(found.isnan().any()) for found in (values, gradient, second, loss.derivative(points)))
    if dtype != torch.float64:  # of float64 there is no wider one
        exact = torch.tensor([PLAIN[loss.name](float(point)) for point in points.detach()], dtype=torch.float64)
        torch.testing.assert_close(values.detach(), exact.float(), rtol=1e-5, atol=1e-6)


def test_nan_is_never_hidden(loss: MarginLoss, dtype: torch.dtype) -> None:
    points = torch.tensor([0.5, math.nan], dtype=dtype)
    for found in (loss(points), loss.derivative(points), loss.scaled(2)(points), loss.conditional_risk(1.0, points)):
        assert found.isnan().tolist() == [False, True]


def test_no_result_lies_in_the_memory_of_an_argument(loss: MarginLoss) -> None:
    """What is written into a result leaves the argument as it was."""
    given = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    for method in (loss, loss.derivative, loss.minimizer, loss.minimal_risk, loss.psi, lambda x: loss.conditional_risk(0.5, x)):
        method(given).fill_(7)
        assert given.tolist() == [0.25, 0.5, 0.75]


def test_compile_vmap_and_autocast_change_nothing(loss: MarginLoss) -> None:
    torch.compiler.reset()
    points = torch.linspace(-3, 3, 13)
    torch.testing.assert_close(torch.compile(loss, fullgraph=True, backend="aot_eager")(points), loss(points))
    torch.testing.assert_close(torch.compile(loss.derivative, fullgraph=True, backend="aot_eager")(points), loss.derivative(points))
    torch.testing.assert_close(torch.vmap(loss)(points), loss(points))
    torch.testing.assert_close(torch.vmap(torch.func.grad(loss))(points), loss.derivative(points))
    plainly = loss(points), loss.derivative(points), loss.conditional_risk(0.3, points)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss(points), loss.derivative(points), loss.conditional_risk(0.3, points)
    for one, other in zip(plainly, mixed, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    risks = torch.vmap(lambda eta: loss.conditional_risk(eta, points))(torch.tensor([0.2, 0.9]))
    torch.testing.assert_close(risks[1], loss.conditional_risk(0.9, points))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_risk_has_the_dtype_of_its_scores(dtype: torch.dtype) -> None:
    """Whatever η is: a number next to a score without axes would otherwise decide."""
    logistic, eta = margins.logistic, torch.tensor(0.25)
    for scores in (torch.tensor(0.5, dtype=dtype), torch.tensor([0.5], dtype=dtype)):
        for share in (0.25, np.float32(0.25), eta, eta.double(), eta.double().expand_as(scores)):
            found = logistic.conditional_risk(share, scores)
            assert found.dtype == dtype
            assert float(found) == pytest.approx(0.25 * math.log1p(math.exp(-0.5)) + 0.75 * math.log1p(math.exp(0.5)), rel=1e-6)
    assert torch.vmap(lambda score: logistic.conditional_risk(0.25, score))(torch.ones(2, dtype=dtype)).dtype == dtype


def test_a_share_close_to_one_leaves_the_other_its_digits() -> None:
    """1 - η of η = 1 - 1e-9 is 0 in float32, but times φ(-20) it is half of the risk: e^20 1e-9 = .485."""
    found = margins.exponential.conditional_risk(1 - 1e-9, torch.tensor([20.0]))
    assert float(found) == pytest.approx((1 - 1e-9) * math.exp(-20) + 1e-9 * math.exp(20), rel=1e-5)


def test_numbers_may_be_those_of_numpy() -> None:
    loss = margins.logistic
    assert float(loss.minimizer(np.float32(0.25))) == float(loss.minimizer(0.25))
    assert float(loss.psi(np.float64(0.5))) == float(loss.psi(0.5))
    assert loss.scaled(np.float32(0.5)) == loss.scaled(0.5)
    assert ramp_loss(np.int64(-1)) == ramp_loss(-1)


def test_a_subclass_is_looked_at_and_gives_a_plain_tensor(loss: MarginLoss) -> None:
    class Renamed(Tensor):
        pass

    points = torch.tensor([0.25, 0.75])
    renamed = points.as_subclass(Renamed)
    for method in (loss, loss.derivative, loss.minimizer, loss.minimal_risk, loss.psi):
        assert type(method(renamed)) is Tensor
        assert torch.equal(method(renamed), method(points))
    with pytest.raises(ValueError, match="`eta` should lie in"):
        loss.minimizer(renamed + 1)


def test_empty_and_scalar_margins(loss: MarginLoss) -> None:
    assert loss(torch.empty(0, 3)).shape == (0, 3)
    assert loss(torch.tensor(0.5)).shape == ()


# --- closed forms ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.0, 0.1, 0.3, 0.5, 0.6, 0.99, 1.0])
def test_conditional_risk_minimiser_and_minimal_risk_by_grid(loss: MarginLoss, eta: float) -> None:
    risks, scores = grid_risks(loss, eta), torch.tensor(GRID)
    torch.testing.assert_close(loss.conditional_risk(eta, scores), torch.tensor(risks), rtol=1e-10, atol=1e-12)
    if loss.name in NO_FLOOR:
        return
    least, best = float(risks.min()), float(loss.minimizer(eta))
    assert float(loss.minimal_risk(eta)) == pytest.approx(least, abs=2e-6)  # φ'' (0.0005)² / 2 where the grid has not the minimiser itself
    at_best = float(loss.conditional_risk(eta, torch.tensor([best], dtype=torch.float64)))
    assert at_best == pytest.approx(float(loss.minimal_risk(eta)), abs=1e-12)
    ties = GRID[risks <= least + 1e-9]
    finite = max(-60.0, min(60.0, best))  # the grid ends where an infinite minimiser would lie
    assert np.abs(ties - finite).min() <= 5.1e-4 or abs(finite) > 8


@pytest.mark.parametrize("eta", [0.0, 0.2, 0.5, 0.7, 1.0])
def test_the_unhinged_risk_has_no_floor(eta: float) -> None:
    loss = margins.unhinged
    far = [float(loss.conditional_risk(eta, torch.tensor([score], dtype=torch.float64))) for score in (-1e6, 1e6)]
    if eta == 0.5:
        assert far == [1, 1] == [float(loss.minimal_risk(eta))] * 2
        assert float(loss.minimizer(eta)) == 0
    else:
        assert min(far) < -1e5
        assert float(loss.minimal_risk(eta)) == -math.inf
        assert float(loss.minimizer(eta)) == math.copysign(math.inf, eta - 0.5)


def convex_envelope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The largest convex function below the points, at x (a monotone chain)."""
    hull: list[int] = []
    for i in range(len(x)):
        while len(hull) > 1 and (y[hull[-1]] - y[hull[-2]]) * (x[i] - x[hull[-2]]) >= (y[i] - y[hull[-2]]) * (x[hull[-1]] - x[hull[-2]]):
            hull.pop()
        hull.append(i)
    return np.interp(x, x[hull], y[hull])


def numeric_psi(function: Callable[[float], float], thetas: np.ndarray) -> np.ndarray:
    """Bartlett et al., definition 2, on a grid: what the best score of the wrong sign costs more than the best score, then the convex envelope."""
    right, wrong = np.array([function(score) for score in GRID]), np.array([function(-score) for score in GRID])
    risks = [(1 + theta) / 2 * right + (1 - theta) / 2 * wrong for theta in thetas]
    return convex_envelope(thetas, np.array([risk[GRID <= 0].min() - risk.min() for risk in risks]))


def test_psi_by_an_independent_grid(loss: MarginLoss) -> None:
    thetas = np.linspace(0, 1, 21)
    if loss.name in NO_FLOOR:
        assert loss.psi(torch.tensor(thetas)).tolist() == [0.0] + [math.inf] * 20
    else:
        np.testing.assert_allclose(loss.psi(torch.tensor(thetas)).numpy(), numeric_psi(PLAIN[loss.name], thetas), atol=2e-6)


@pytest.mark.parametrize(
    ("name", "series"), [("logistic", lambda t: t**2 / 2 + t**4 / 12 + t**6 / 30), ("exponential", lambda t: t**2 / 2 + t**4 / 8)]
)
def test_psi_keeps_its_digits_near_zero(name: str, series: Callable[[float], float]) -> None:
    for theta in (1e-8, 1e-4, 1e-2):  # the next terms of the series are θ⁸/56 and θ⁶/16: below 1e-8 of the sum here
        assert float(LOSSES[name].psi(theta)) == pytest.approx(series(theta), rel=2e-9)


@pytest.mark.parametrize("s", [-3.0, -1.0, -0.5, 0.0, 0.5, 0.9])
def test_any_ramp(s: float) -> None:
    loss = ramp_loss(s)

    def as_hinges(m: float) -> float:
        return max(0.0, 1 - m) - max(0.0, s - m)

    np.testing.assert_allclose(loss(torch.tensor(GRID)).numpy(), [as_hinges(m) for m in GRID], atol=1e-13)
    for eta in (0.0, 0.2, 0.5, 0.8, 1.0):
        risks = np.array([eta * as_hinges(score) + (1 - eta) * as_hinges(-score) for score in GRID])
        assert float(loss.minimal_risk(eta)) == pytest.approx(risks.min(), abs=1e-12)
        assert float(loss.conditional_risk(eta, loss.minimizer(eta))) == pytest.approx(risks.min(), abs=1e-12)
    thetas = np.linspace(0, 1, 11)
    np.testing.assert_allclose(loss.psi(torch.tensor(thetas)).numpy(), numeric_psi(as_hinges, thetas), atol=1e-12)
    assert loss.bound == 1 - s == pytest.approx(max(as_hinges(m) for m in GRID))
    assert loss.is_symmetric == (np.ptp([as_hinges(m) + as_hinges(-m) for m in GRID]) < 1e-12)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # by torch itself, at the first tangent
def test_closed_forms_have_slopes_up_to_the_ends(loss: MarginLoss) -> None:
    """By autograd and forwards: at η of 0, 1/2 and 1 a slope may be infinite, and is never NaN."""
    ends = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    for method in (loss.minimizer, loss.minimal_risk, loss.psi):
        found = method(ends)
        if found.requires_grad:
            assert not torch.autograd.grad(found.sum(), ends)[0].isnan().any()
        with torch.autograd.forward_ad.dual_level():
            dual = method(torch.autograd.forward_ad.make_dual(ends.detach(), torch.ones(4, dtype=torch.float64)))
            tangent = torch.autograd.forward_ad.unpack_dual(dual).tangent
            assert tangent is None or not tangent.isnan().any()


def test_infinite_losses_of_impossible_labels_count_nothing() -> None:
    scores = torch.tensor([1e4, math.inf], dtype=torch.float64, requires_grad=True)
    for name in ("logistic", "exponential", "hinge", "squared"):
        risk = LOSSES[name].conditional_risk(1.0, scores)  # η = 1: the term 0·φ(-s) is 0 although φ(-s) is inf
        assert not risk.isnan().any()
        assert not torch.autograd.grad(risk.sum(), scores)[0].isnan().any()


# --- facts -----------------------------------------------------------------------------------------------------------------------------------


def test_is_convex(loss: MarginLoss, rng: np.random.Generator) -> None:
    a, b = rng.uniform(-6, 6, 4000), rng.uniform(-6, 6, 4000)
    sag = (plain(loss, a) + plain(loss, b)) / 2 - plain(loss, (a + b) / 2)
    assert loss.is_convex == bool((sag >= -1e-12).all())
    assert loss.is_convex or sag.min() < -0.05  # a clear violation, not rounding


def test_is_calibrated(loss: MarginLoss) -> None:
    if loss.name in NO_FLOOR:
        assert loss.is_calibrated  # below 1, its risk at 0, only scores of the right sign go
        return
    gaps = []
    for eta in (0.02, 0.3, 0.45, 0.55, 0.7, 0.98):
        risks = grid_risks(loss, eta)
        gaps.append(risks[GRID * (2 * eta - 1) <= 0].min() - risks.min())
    assert loss.is_calibrated == (min(gaps) > 1e-4)
    if loss.is_convex and loss.name != "perceptron":  # theorem 2 of Bartlett et al.: a convex φ is calibrated iff φ'(0) exists and is negative
        assert 0.0 not in loss.kinks
        assert float(loss.derivative(torch.tensor([0.0]))) < 0


def test_is_symmetric(loss: MarginLoss) -> None:
    points = np.delete(GRID, np.flatnonzero(np.abs(GRID) < 1e-9))  # the 0-1 loss counts a tie on both sides, at 0 alone
    spread = np.ptp(plain(loss, points) + plain(loss, -points))
    if loss.name == "zero_one":
        assert spread == 0
        assert PLAIN["zero_one"](0) * 2 == 2  # so its sum is 1 everywhere but at 0, where it is 2
        assert not loss.is_symmetric
    else:
        assert loss.is_symmetric == bool(spread < 1e-9)


def test_lipschitz_is_the_largest_slope(loss: MarginLoss) -> None:
    steepest = np.abs(np.diff(plain(loss, GRID[2:-2])) / np.diff(GRID[2:-2])).max()
    if math.isfinite(loss.lipschitz):
        # log(1 + e^-m) has slope 1 only in the limit: 1 / (1 + e^-8) at the end of the grid
        assert loss.lipschitz * (1 - 4e-4) <= steepest <= loss.lipschitz * (1 + 1e-9)
    else:
        assert max(steepest, abs(float(loss.derivative(torch.tensor(-1e4))))) > 999


def test_bound_is_the_supremum(loss: MarginLoss) -> None:
    top = max(PLAIN[loss.name](m) for m in (-1e4, *GRID, 1e4))
    assert top > 9e3 if math.isinf(loss.bound) else top == pytest.approx(loss.bound, rel=1e-12)


def test_scale_is_the_least_factor_that_bounds_the_mistakes(loss: MarginLoss) -> None:
    points = np.concatenate([[-1e4], GRID, [1e4]])

    def bounds(factor: float) -> bool:
        return bool((factor * plain(loss, points) - (points <= 0) >= -1e-12).all())

    if math.isinf(loss.scale):
        assert not any(bounds(10.0**k) for k in range(-3, 9))
    else:
        assert bounds(loss.scale)
        assert not bounds(0.999 * loss.scale)


# --- other libraries -------------------------------------------------------------------------------------------------------------------------


def test_peers_of_torch(generator: torch.Generator) -> None:
    scores = 3 * torch.randn(50, generator=generator, dtype=torch.float64)
    signs = torch.where(torch.rand(50, generator=generator) < 0.5, -1.0, 1.0).double()
    zeros = torch.zeros_like(scores)
    m = signs * scores
    close = torch.testing.assert_close
    close(margins.logistic(m), F.soft_margin_loss(scores, signs, reduction="none"))
    close(margins.logistic(m), F.binary_cross_entropy_with_logits(scores, (signs + 1) / 2, reduction="none"))
    close(margins.hinge(m), F.margin_ranking_loss(scores, zeros, signs, margin=1, reduction="none"))
    close(margins.perceptron(m), F.margin_ranking_loss(scores, zeros, signs, margin=0, reduction="none"))
    close(margins.squared(m), F.mse_loss(scores, signs, reduction="none"))
    two = torch.stack([m, zeros], dim=1)  # the sum over wrong classes is divided by 2 there
    close(margins.squared_hinge(m), 2 * F.multi_margin_loss(two, torch.zeros(50, dtype=torch.long), p=2, reduction="none"))
    close(margins.sigmoid(m), 1 - two.softmax(dim=1)[:, 0])
    close(margins.savage(m), (1 - torch.sigmoid(2 * m)) ** 2)
    close(margins.ramp(m), 1 - m.clamp(0, 1))


def test_peers_of_scikit_learn(generator: torch.Generator) -> None:
    from sklearn.metrics import hinge_loss, log_loss, zero_one_loss

    scores = 2 * torch.randn(40, generator=generator, dtype=torch.float64)
    signs = torch.where(torch.rand(40, generator=generator) < 0.5, -1, 1)
    probs = torch.sigmoid(scores)
    assert float(margins.hinge(signs * scores).mean()) == pytest.approx(hinge_loss(signs, scores))
    assert float(margins.logistic(signs * scores).mean()) == pytest.approx(log_loss(signs, torch.stack([1 - probs, probs], dim=1).numpy()))
    assert float(margins.zero_one(signs * scores).mean()) == pytest.approx(zero_one_loss(signs, torch.where(scores > 0, 1, -1)))


# --- scaling, and what bad arguments get --------------------------------------------------------------------------------------------------------


def test_scaling_carries_every_closed_form_and_fact(loss: MarginLoss) -> None:
    tripled = loss.scaled(3.0)
    points, etas = torch.linspace(-2, 2, 9, dtype=torch.float64), torch.tensor([0.0, 0.3, 0.5, 1.0], dtype=torch.float64)
    for one, three in (
        (loss(points), tripled(points)),
        (loss.derivative(points), tripled.derivative(points)),
        (loss.conditional_risk(0.3, points), tripled.conditional_risk(0.3, points)),
        (loss.minimal_risk(etas), tripled.minimal_risk(etas)),
        (loss.psi(etas), tripled.psi(etas)),
    ):
        torch.testing.assert_close(3 * one, three)
    torch.testing.assert_close(loss.minimizer(etas), tripled.minimizer(etas))
    assert (tripled.lipschitz, tripled.bound, tripled.scale) == (3 * loss.lipschitz, 3 * loss.bound, loss.scale / 3)
    assert tripled.name == f"3 {loss.name}"


def test_a_loss_is_a_record_that_nobody_changes() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        margins.hinge.lipschitz = 2  # type: ignore[misc]
    assert repr(margins.hinge).startswith("MarginLoss(name='hinge', formula='max(0, 1 - m)', paper='C. Cortes")


def test_errors_name_parameter_expectation_and_finding() -> None:
    loss, scores = margins.logistic, torch.zeros(3)
    with pytest.raises(TypeError, match=r"`margins` should be a torch.Tensor; found float\."):
        loss(0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"`margins` should have a floating-point dtype; found torch.int64\."):
        loss.derivative(torch.tensor([1, 2]))
    with pytest.raises(TypeError, match=r"`scores` should have a floating-point dtype"):
        loss.conditional_risk(0.5, torch.tensor([1]))
    with pytest.raises(ValueError, match=r"`eta` should have shape \(3,\) to match `scores`; found \(3, 1\)\."):
        loss.conditional_risk(torch.full((3, 1), 0.5), scores)
    with pytest.raises(ValueError, match=r"`eta` should lie in \[0, 1\]; found 1.2\."):
        loss.minimizer(1.2)
    with pytest.raises(ValueError, match=r"`eta` should lie in \[0, 1\]; found values from -0.1 to 0.5\."):
        loss.minimal_risk(torch.tensor([0.5, -0.1]))
    with pytest.raises(ValueError, match=r"`eta` should lie in \[0, 1\]; found NaN\."):
        loss.minimal_risk(torch.tensor([0.5, math.nan]))
    with pytest.raises(ValueError, match=r"`theta` should lie in \[0, 1\]; found -0.5\."):
        loss.psi(-0.5)
    with pytest.raises(TypeError, match=r"`theta` should be a real number; found str\."):
        loss.psi("half")  # type: ignore[arg-type]
    for factor in (0, 1e-46, 1e39, math.nan):  # the second and the third are 0 and inf to a float32 tensor, and 0·inf is NaN
        with pytest.raises(ValueError, match=rf"`factor` should lie in \[1\.17549e-38, 3\.40282e\+38\]; found {re.escape(str(factor))}\."):
            loss.scaled(factor)
    for s in (1, math.nan, -1e300):
        with pytest.raises(ValueError, match=rf"`s` should lie in \[-3\.40282e\+38, 1\); found {re.escape(str(s))}\."):
            ramp_loss(s)
