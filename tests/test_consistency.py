"""consistency: the numeric search against closed forms, exact enumeration and scipy."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from lossbook import margins
from lossbook.consistency import calibration_check, conditional_risk, estimate_report, excess_risk_bound, minimal_risk, minimizer, psi_transform
from tests.conftest import ROOT
from tests.tolerances import assert_near

THETAS = torch.cat([torch.linspace(0, 1, 29), torch.tensor([1e-3, 1e-2, 0.123456, 0.999])]).double()
EVERY = pytest.mark.parametrize("loss", margins.LOSSES.values(), ids=lambda loss: loss.name)

# psi by hand: H(eta) from the stationary point of C_eta, minus the value at s = 0 (or where the wrong sign is cheapest).
CLOSED = {
    "hinge": (lambda m: (1 - m).clamp(min=0), lambda t: t),
    "logistic": (lambda m: torch.nn.functional.softplus(-m), lambda t: (torch.special.xlogy(1 + t, 1 + t) + torch.special.xlogy(1 - t, 1 - t)) / 2),
    "exponential": (lambda m: torch.exp(-m), lambda t: 1 - (1 - t * t).sqrt()),
    "squared": (lambda m: (1 - m) ** 2, lambda t: t * t),
    "tangent": (lambda m: (2 * torch.atan(m) - 1) ** 2, lambda t: t * t),  # v = 2 atan(s) is the squared loss's score; bounded, not convex
    "sigmoid": (lambda m: torch.sigmoid(-m), lambda t: t / 2),  # the infimum min(eta, 1 - eta) is only approached
    "perceptron": (lambda m: (-m).clamp(min=0), lambda t: 0 * t),
    "unhinged": (lambda m: 1 - m, lambda t: torch.where(t > 0, torch.inf, 0.0).double()),
    "far": (lambda m: (1000 - m).clamp(min=0), lambda t: 1000 * t),  # a kink far outside the fine grid
    "slow": (lambda m: torch.where(m > 0, 1 / (1 + m.abs()), 1.0), lambda t: t),  # H = 1 - eta, approached like 1/s; H^- = eta, by s -> -inf
    "bent": (lambda m: (1 - m).clamp(0, 1.5), lambda t: t),  # psi-tilde = min(1.5 t, 0.25 + 0.75 t) is concave: the hull is the chord
}


@pytest.mark.parametrize("name", CLOSED)
def test_psi_of_a_plain_function_equals_its_closed_form(name: str) -> None:
    phi, closed = CLOSED[name]
    found, expected = psi_transform(phi, THETAS), closed(THETAS)
    assert torch.equal(found.isinf(), expected.isinf())
    finite = expected.isfinite()
    assert (found[finite] - expected[finite]).abs().max() < 1e-7 * max(1.0, float(expected[finite].max()))


@EVERY
def test_psi_of_every_registered_loss(loss: margins.MarginLoss) -> None:
    expected = loss.psi(THETAS)
    found = psi_transform(loss, THETAS)
    assert torch.equal(found.isinf(), expected.isinf())
    assert (found - expected)[expected.isfinite()].abs().max() < 1e-6


@EVERY
def test_minimal_risk_and_minimizer_of_every_registered_loss(loss: margins.MarginLoss) -> None:
    eta = torch.tensor([0.0, 0.03, 0.2, 0.4, 0.6, 0.75, 0.999, 1.0], dtype=torch.float64)
    assert_near(minimal_risk(loss, eta), loss.minimal_risk(eta))
    scores, closed = minimizer(loss, eta), loss.minimizer(eta)
    attained = closed.isfinite() & scores.isfinite()
    reached = torch.where(attained, conditional_risk(loss, eta, torch.where(attained, scores, 0.0)), 0.0)
    assert_near(reached, torch.where(attained, minimal_risk(loss, eta), 0.0))
    if loss.name not in ("zero_one", "perceptron"):
        assert torch.equal(scores.sign()[eta != 0.5], (2 * eta - 1).sign()[eta != 0.5])


@EVERY
def test_calibration_check_agrees_with_the_catalogue(loss: margins.MarginLoss) -> None:
    assert calibration_check(loss).is_calibrated == loss.is_calibrated


@pytest.mark.parametrize("seed", range(5))
def test_psi_of_random_piecewise_linear_losses_is_exact(seed: int) -> None:
    """A bounded piecewise-linear loss attains both infima of C_eta at 0, at a kink of either sign, or on a constant tail: enumerate them."""
    rng = np.random.default_rng(seed)
    kinks = np.sort(rng.uniform(-6, 6, size=7))
    heights = rng.uniform(0, 3, size=7)

    def phi(m: Tensor) -> Tensor:
        return torch.from_numpy(np.interp(m.numpy(), kinks, heights))

    candidates = np.concatenate([kinks, -kinks, [0.0, -10.0, 10.0]])
    risk = {float(s): (np.interp(s, kinks, heights), np.interp(-s, kinks, heights)) for s in candidates}
    thetas = np.linspace(0, 1, 1025)
    etas = (1 + thetas) / 2
    table = np.array([[eta * up + (1 - eta) * down for up, down in risk.values()] for eta in etas])
    wrong = np.array([s <= 0 for s in risk])
    tilde = table[:, wrong].min(axis=1) - table.min(axis=1)
    tilde[0] = 0.0
    some = range(0, 1025, 128)
    # The hull at t by its definition: the least convex combination of two points around t.
    hull = [min(_chord(thetas, tilde, i, j, k) for i in range(0, k + 1, 8) for j in range(k, 1025, 8)) for k in some]
    found = psi_transform(phi, torch.from_numpy(thetas[some]))
    assert np.abs(found.numpy() - np.array(hull)).max() < 2e-3  # the chords use every eighth point
    slope, intercept = np.polynomial.polynomial.polyfit([0, 1], [tilde[0], tilde[-1]], 1)[::-1]
    assert (found.numpy() <= intercept + slope * thetas[some] + 1e-9).all()
    exact = np.array([tilde[k] for k in some])
    assert (found.numpy() <= exact + 1e-9).all()
    one = torch.tensor([1.0], dtype=torch.float64)
    assert abs(float(psi_transform(phi, one)) - tilde[-1]) < 1e-9


def _chord(x: np.ndarray, y: np.ndarray, i: int, j: int, k: int) -> float:
    return float(y[k]) if i == j else float(y[i] + (y[j] - y[i]) * (x[k] - x[i]) / (x[j] - x[i]))


@pytest.mark.parametrize("seed", range(2))
def test_psi_is_a_bound_on_random_distributions(seed: int) -> None:
    """Theorem 1: psi(excess 0-1 risk) <= excess phi-risk, for any score function; 300 distributions over five points, each with five scores."""
    rng = torch.Generator().manual_seed(seed)
    eta = torch.rand(300, 5, generator=rng, dtype=torch.float64)
    mass = torch.rand(300, 5, generator=rng, dtype=torch.float64)
    mass /= mass.sum(dim=1, keepdim=True)
    scores = torch.randn(300, 5, generator=rng, dtype=torch.float64)
    mistakes = torch.where(scores > 0, 1 - eta, eta)
    excess = (mass * (mistakes - torch.minimum(eta, 1 - eta))).sum(dim=1)
    for name in ("hinge", "logistic", "exponential", "squared", "ramp", "savage"):
        loss = margins.LOSSES[name]
        surrogate = (mass * (loss.conditional_risk(eta, scores) - loss.minimal_risk(eta))).sum(dim=1)
        assert (psi_transform(loss, excess) <= surrogate + 1e-9).all()


@pytest.mark.parametrize("factor", [1e-30, 1e-12, 1e30])
@pytest.mark.parametrize("name", ["hinge", "exponential", "sigmoid", "unhinged"])
def test_the_unit_of_a_loss_changes_nothing(name: str, factor: float) -> None:
    """psi and the minimal risk have the unit, the bound and the verdict have none."""
    loss = margins.LOSSES[name]
    scaled, shares = loss.scaled(factor), torch.tensor([0.0, 0.01, 0.3, 1.0], dtype=torch.float64)
    for function in (psi_transform, minimal_risk):
        assert_near(function(scaled, shares) / factor, function(loss, shares))
    assert_near(excess_risk_bound(scaled, factor * shares), excess_risk_bound(loss, shares), torch.float32)
    assert calibration_check(scaled).is_calibrated == loss.is_calibrated


def test_psi_is_tight() -> None:
    """One point with eta = (1 + t)/2 and a score just below 0 has excess 0-1 risk t and excess logistic risk psi(t)."""
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    at_zero = conditional_risk(margins.logistic, (1 + t) / 2, torch.zeros_like(t))
    assert_near(psi_transform(margins.logistic, t), at_zero - minimal_risk(margins.logistic, (1 + t) / 2))


@pytest.mark.parametrize("eta", [0.1, 0.42, 0.77, 0.96])
def test_minimal_risk_against_scipy(eta: float) -> None:
    loss = margins.logistic
    found = minimize_scalar(lambda s: eta * math.log1p(math.exp(-s)) + (1 - eta) * math.log1p(math.exp(s)), bounds=(-20, 20), method="bounded")
    assert float(minimal_risk(loss, eta)) == pytest.approx(found.fun, abs=1e-9)
    assert float(minimizer(loss, eta)) == pytest.approx(found.x, abs=1e-4)


@pytest.mark.parametrize(("left", "right"), [(-1.0, -0.5), (-3.0, -1.0), (-1.0, -0.9)])
def test_a_kink_at_zero_breaks_calibration_up_to_a_known_eta(left: float, right: float) -> None:
    """Slopes l < r < 0 on the two sides of 0: s = 0 is best while eta r - (1 - eta) l >= 0, that is up to eta = l / (l + r)."""
    check = calibration_check(lambda m: torch.maximum(left * m, right * m) + 2)
    assert not check.is_calibrated
    assert check.smallest_gap < 1e-12
    assert check.eta == pytest.approx(left / (left + right), abs=1e-6)
    assert check.lowest_eta == pytest.approx(0.505)


def test_an_upper_bound_need_not_be_calibrated() -> None:
    """1 + max(0, -m) is convex and above the 0-1 loss, yet the best score is 0 at every eta."""
    check = calibration_check(lambda m: 1 + (-m).clamp(min=0))
    assert (check.is_calibrated, check.eta) == (False, 1.0)
    assert float(minimizer(lambda m: 1 + (-m).clamp(min=0), 0.9)) == 0


def test_calibration_fails_where_the_wrong_tail_is_cheap() -> None:
    """phi = m^2 asks for 0 whatever the label."""
    check = calibration_check(torch.square)
    assert (check.is_calibrated, check.eta) == (False, 1.0)


@pytest.mark.parametrize("name", ["hinge", "logistic", "exponential", "squared", "ramp", "sigmoid"])
def test_excess_risk_bound_inverts_psi(name: str) -> None:
    loss = margins.LOSSES[name]
    excess = torch.tensor([1e-6, 0.005, 0.1, 0.4], dtype=torch.float64)
    assert (loss.psi(excess_risk_bound(loss, excess)) - excess).abs().max() < 1e-6


def test_excess_risk_bound_at_the_ends() -> None:
    excess = torch.tensor([0.0, 5.0], dtype=torch.float64)
    assert excess_risk_bound(margins.hinge, excess).tolist() == pytest.approx([0, 1], abs=1e-6)
    assert excess_risk_bound(margins.perceptron, excess).tolist() == [1, 1]  # nothing is promised
    assert excess_risk_bound(margins.unhinged, excess).tolist() == pytest.approx([0, 0], abs=1e-6)


def test_scores_where_phi_has_no_value_are_left_out() -> None:
    """The plain formula e^-m / (1 + e^-m) is inf/inf below -709; its infimum is not there."""
    naive = lambda m: torch.exp(-m) / (1 + torch.exp(-m))  # noqa: E731
    assert torch.isnan(naive(torch.tensor(-1e3, dtype=torch.float64)))
    assert_near(psi_transform(naive, THETAS), THETAS / 2)


def test_shapes_and_devices(device: torch.device) -> None:
    theta = torch.rand(2, 3).to(device)
    found = psi_transform(margins.hinge, theta)
    assert (found.shape, found.device.type, found.dtype) == (theta.shape, device.type, torch.float64)
    assert_near(found, theta.double())
    assert psi_transform(margins.hinge, 0.25).shape == ()
    assert psi_transform(margins.hinge, torch.zeros(0)).shape == (0,)
    assert minimal_risk(margins.hinge, torch.zeros(0)).shape == (0,)


def test_conditional_risk_under_transforms() -> None:
    scores = torch.randn(5, dtype=torch.float64, requires_grad=True)
    eta = torch.rand(5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: conditional_risk(margins.logistic, eta, s), scores)
    batched = torch.vmap(lambda s: conditional_risk(margins.logistic, 0.3, s))(scores.detach()[:, None])
    assert_near(batched[:, 0], conditional_risk(margins.logistic, 0.3, scores.detach()))


def test_an_impossible_label_has_no_gradient() -> None:
    """0 * inf is 0 in the value, and 0 times an infinite slope in the gradient."""
    scores = torch.tensor([1e4, 1.0], dtype=torch.float64, requires_grad=True)
    risk = conditional_risk(margins.exponential, 1.0, scores)
    (gradient,) = torch.autograd.grad(risk.sum(), scores)
    assert risk.tolist() == [0, pytest.approx(math.exp(-1))]
    assert gradient.tolist() == [0, pytest.approx(-math.exp(-1))]


def test_a_share_close_to_one_leaves_the_other_its_digits() -> None:
    """1 - eta is 0 in float32, but times phi(-20) it is half of the risk."""
    found = conditional_risk(margins.exponential, 1 - 1e-9, torch.tensor([20.0]))
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(math.exp(-20) + 1e-9 * math.exp(20), rel=1e-5)


@pytest.mark.parametrize("eta", [0.3, torch.tensor(0.3, dtype=torch.float64), torch.tensor([0.3, 0.6], dtype=torch.float64)])
def test_phi_may_write_into_what_it_gets(eta: Tensor | float) -> None:
    """It would otherwise overwrite the scores of the caller, or the grid of every later search."""

    def in_place(m: Tensor) -> Tensor:
        return m.neg_().exp_()

    scores = torch.tensor([0.5, -1.0], dtype=torch.float64)
    assert torch.equal(conditional_risk(in_place, 0.3, scores), conditional_risk(margins.exponential, 0.3, scores))
    assert scores.tolist() == [0.5, -1.0]
    for _ in range(2):
        assert_near(minimal_risk(in_place, eta), margins.exponential.minimal_risk(eta))
        assert_near(psi_transform(in_place, eta), margins.exponential.psi(eta), torch.float32)


def test_the_search_wants_numbers() -> None:
    """A tensor inside a transformation has none to be looked at, be it eta or what phi gives."""
    words = r"should have values to be read, outside of vmap, torch.func and whole graphs; found a tensor inside of one\."
    for function, name in ((minimal_risk, "eta"), (minimizer, "eta"), (psi_transform, "theta"), (excess_risk_bound, "excess")):
        with pytest.raises(TypeError, match=f"`{name}` {words}"):
            torch.vmap(lambda x, function=function: function(margins.hinge, x))(torch.tensor([0.2, 0.4]))
    with pytest.raises(TypeError, match=rf"`phi\(margins\)` {words}"):
        torch.func.grad(lambda a: torch.tensor(calibration_check(lambda m: a * margins.hinge(m)).smallest_gap))(torch.tensor(2.0))


def test_the_search_is_the_same_wherever_it_is_first_used() -> None:
    """Its grid lies on the CPU and takes part in autograd, though the module came in under another default device and in inference mode."""
    program = """
import torch, lossbook
with torch.device("meta"), torch.inference_mode():
    search = lossbook.consistency
loss = lossbook.margins.squared
eta = torch.tensor([0.5, 0.75], dtype=torch.float64)
assert torch.allclose(search.minimal_risk(loss, eta), torch.tensor([1.0, 0.75], dtype=torch.float64))
assert torch.allclose(search.psi_transform(loss, eta), eta.square())
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr


def test_numbers_and_dtypes_of_all_kinds(dtype: torch.dtype) -> None:
    eta = torch.tensor([0.25, 0.75], dtype=dtype)
    assert minimal_risk(margins.squared, np.float32(0.25)) == minimal_risk(margins.squared, 0.25)
    assert_near(minimal_risk(margins.squared, eta), torch.tensor([0.75, 0.75], dtype=torch.float64))
    for whole in (torch.uint8, torch.int64, torch.uint64, torch.bool):
        assert_near(minimal_risk(margins.squared, torch.tensor([0, 1], dtype=whole)), torch.zeros(2, dtype=torch.float64))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert conditional_risk(margins.squared, eta, eta).dtype == wide
    assert {part.dtype for part in estimate_report(eta, 0.5, weight=eta.new_full((2,), 0.5).double())} == {wide}


def test_autocast_changes_nothing(generator: torch.Generator) -> None:
    estimates, weight = torch.rand(5, 3, generator=generator), torch.full((5,), 0.2)
    plain = estimate_report(estimates, 0.6, weight=weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for one, other in zip(plain, estimate_report(estimates, 0.6, weight=weight), strict=True):
            assert torch.equal(one, other)


def test_an_estimate_of_nan_decides_nothing() -> None:
    report = estimate_report(torch.tensor([[0.2, 0.2], [math.nan, 0.9]]), 0.6)
    assert all(part.isnan().tolist() == [True, False] for part in report)


def test_estimate_report_adds_up(generator: torch.Generator) -> None:
    estimates = torch.rand(400, 7, generator=generator, dtype=torch.float64)
    eta = torch.rand(7, generator=generator, dtype=torch.float64)
    report = estimate_report(estimates, eta)
    assert_near(report.squared_error, (estimates - eta).square().mean(dim=0))
    draws = torch.where(estimates > 0.5, 1 - eta, eta).mean(dim=0)  # the error of each decision, averaged
    assert_near(report.error, draws)
    doubled = estimate_report(torch.cat([estimates, estimates[:1]]), eta, weight=torch.full((401,), 1 / 401, dtype=torch.float64))
    assert_near(doubled.error, torch.where(torch.cat([estimates, estimates[:1]]) > 0.5, 1 - eta, eta).mean(dim=0))


def test_estimate_report_of_a_weighted_pair() -> None:
    report = estimate_report(torch.tensor([0.2, 0.9], dtype=torch.float64), 0.6, weight=torch.tensor([0.25, 0.75], dtype=torch.float64))
    assert float(report.bias_squared) == pytest.approx((0.725 - 0.6) ** 2)
    assert float(report.variance) == pytest.approx(0.25 * 0.75 * 0.7**2)
    assert float(report.error) == pytest.approx(0.4 + 0.2 * 0.25)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: psi_transform(margins.hinge, 1.5), ValueError, r"`theta` should lie in \[0, 1\]; found"),
        (lambda: psi_transform(margins.hinge, "x"), TypeError, "`theta` should be a real number"),
        (lambda: psi_transform(lambda m: 1.0, 0.5), TypeError, "`phi` should return a torch.Tensor; found float"),
        (lambda: psi_transform(lambda m: m.sum(), 0.5), ValueError, "`phi` should return shape"),
        (lambda: psi_transform(lambda m: m * torch.nan, 0.5), ValueError, "`phi` should be finite somewhere"),
        (lambda: conditional_risk(margins.hinge, torch.rand(2), torch.rand(3)), ValueError, r"`eta` should have shape \(3,\) to match `scores`"),
        *(
            (lambda excess=excess: excess_risk_bound(margins.hinge, excess), ValueError, f"`excess` should be finite and at least 0; found {found}")
            for excess, found in (
                (-1.0, "-1.0"),
                (math.inf, "inf"),
                (torch.tensor([0.5, -1.0]), "values from -1 to 0.5"),
                (torch.tensor(math.inf), "values from inf to inf"),
                (torch.tensor(math.nan), "values from nan to nan"),
            )
        ),
        (lambda: minimal_risk(margins.hinge, torch.ones(2).to_sparse()), TypeError, "`eta` should be a dense tensor"),
        (lambda: minimizer(margins.hinge, torch.tensor([1j])), TypeError, "`eta` should be real"),
        (lambda: calibration_check(lambda m: None), TypeError, "`phi` should return a torch.Tensor"),
        (lambda: estimate_report(torch.rand(2, 2, 2), 0.5), ValueError, "`estimates` should have shape"),
        (lambda: estimate_report(torch.rand(3, 2), torch.rand(3)), ValueError, r"`eta` should have shape \(2,\)"),
        (lambda: estimate_report(torch.rand(3), 0.2, weight=torch.rand(2)), ValueError, r"`weight` should have shape \(3,\)"),
        (
            lambda: estimate_report(torch.rand(2), 0.2, weight=torch.tensor([0.9, 0.9])),
            ValueError,
            "`weight` should sum to 1 along axis 0; found a sum",
        ),
        (lambda: estimate_report(torch.rand(2), 0.2, weight=torch.tensor([1.5, -0.5])), ValueError, r"`weight` should lie in \[0, 1\]"),
        (lambda: estimate_report(torch.rand(2), 0.2, weight=torch.tensor([1, 0])), TypeError, "`weight` should have a floating-point dtype"),
    ],
)
def test_errors_name_parameter_expectation_and_finding(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_function_may_count_errors_but_returns_real_numbers() -> None:
    """The 0-1 loss as truth values has ψ(θ) = θ, as it has as numbers."""
    theta = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    for phi in (lambda m: m <= 0, lambda m: (m <= 0).to(torch.uint8)):
        assert_near(psi_transform(phi, theta), theta)
    with pytest.raises(TypeError, match=r"`phi` should return real numbers; found torch\.complex128"):
        psi_transform(lambda m: m.to(torch.complex128), theta)
