"""C09, C25 to C27, X02 and X03: each measure holds, and each number is confirmed by other means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad
from scipy.optimize import minimize

from lossbook import margins
from lossbook.book.claims import LEDGER
from lossbook.book.claims import calibration as claims
from lossbook.book.claims.calibration import best_line, clean_error, four_points, surrogate_risk


@pytest.mark.parametrize("name", ["logistic", "exponential", "squared", "hinge"])
def test_best_line_is_best_by_another_optimiser(name: str) -> None:
    """Nelder-Mead knows neither gradient nor linear program; the risk is written out with numpy."""
    phi = {
        "logistic": lambda m: np.logaddexp(0, -m),
        "exponential": lambda m: np.exp(-m),
        "squared": lambda m: (1 - m) ** 2,
        "hinge": lambda m: np.maximum(0, 1 - m),
    }[name]
    g, flip = 0.02, 0.2
    points = np.array([[1, 0], [g, -g], [g, -g], [g, 5 * g]])

    def risk(w: np.ndarray) -> float:
        return float(np.mean((1 - flip) * phi(points @ w) + flip * phi(-points @ w)))

    found = best_line(name, four_points(g, flip))
    start = found.numpy() + np.array([0.3, -2.0])
    other = minimize(risk, start, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 4000, "maxfev": 4000})
    assert surrogate_risk(name, four_points(g, flip), found) == pytest.approx(risk(found.numpy()), abs=1e-12)
    assert risk(found.numpy()) <= other.fun + 2e-9  # the solver rounds the kink of the hinge to a width of 1e-8
    assert clean_error(four_points(g, flip), torch.from_numpy(other.x)) == 0.5


def test_no_convex_potential_is_safe_but_the_unhinged_loss_is() -> None:
    """Margins of w = Σx: the penalisers get g(1 + 3g) - 3g² = g > 0."""
    for flip in (0.05, 0.2, 0.45):
        weights = best_line("unhinged", four_points(0.02, flip))
        assert clean_error(four_points(0.02, flip), weights) == 0
        assert float(four_points(0.02, flip).points[1] @ weights) == pytest.approx((1 - 2 * flip) * 0.02 / 4)


def test_a_sample_has_the_frequencies_of_its_distribution() -> None:
    """20,000 draws: a share of 0.2 has a standard deviation of 0.0028."""
    sample = claims.drawn(four_points(0.02, 0.2), 20_000, seed=1)
    assert float(sample.positive.sum() + sample.negative.sum()) == pytest.approx(1)
    assert (sample.positive - 0.2).abs().max() < 5 * 0.0029
    assert (sample.negative - 0.05).abs().max() < 5 * 0.0016


def test_the_critical_noise_puts_the_penalisers_on_the_line() -> None:
    flip = LEDGER["X03"].measure().expected
    weights = best_line("logistic", four_points(0.02, flip))
    assert abs(float(four_points(0.02, flip).points[1] @ weights)) < 1e-6
    assert float(weights[0]) == pytest.approx(float(weights[1]), abs=1e-4)


def test_numbers_of_the_ledger() -> None:
    assert LEDGER["C09"].measure().details["margin_of_the_penalisers"] == pytest.approx(-0.1055, abs=5e-5)
    assert LEDGER["C26"].measure().value == pytest.approx(0.13081, abs=5e-6)
    least = LEDGER["C26"].measure().details  # at θ = 0.01, the nearest to a coin flip that is looked at
    assert least["least_price_of_a_wrong_sign_from_η_505_on_hinge"] == pytest.approx(0.01, abs=1e-9)
    assert least["the_same_of_the_log_loss"] == pytest.approx(0.01**2 / 2 + 0.01**4 / 12, abs=1e-9)
    found = LEDGER["C27"].measure()
    assert found.value == pytest.approx(0.0999, abs=5e-5)
    assert found.details["ψ_at_one_tenth"] == pytest.approx(0.005008, abs=5e-7)
    assert found.details["for_the_squared_error"] == pytest.approx(math.sqrt(0.005), abs=1e-6)
    assert found.details["for_the_exponential_loss"] == pytest.approx(math.sqrt(1 - 0.995**2), abs=1e-6)


def test_share_of_failures_over_all_distributions() -> None:
    """A quarter for Crammer-Singer, by integrating over the part of the triangle where all shares are below 1/2."""
    share, _ = dblquad(lambda q, p: 2.0, 0, 0.5, lambda p: 0.5 - p, lambda p: 0.5)
    assert LEDGER["X02"].measure().details["Crammer_Singer_over_all_distributions"] == pytest.approx(share, abs=1e-6)


def test_a_hinge_with_another_margin_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that rises half as fast has half the psi: C26 and C27 notice."""
    monkeypatch.setitem(margins.LOSSES, "hinge", margins.hinge.scaled(0.5))
    assert not claims.which_are_calibrated(0).holds
    monkeypatch.setitem(margins.LOSSES, "logistic", margins.logistic.scaled(2.0))
    assert not claims.price_of_smoothness(0).holds


def test_a_line_that_is_not_the_minimum_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "best_line", lambda name, sample: torch.tensor([1.0, 0.0], dtype=torch.float64))
    for measure in (claims.lands_near, claims.guarantee, claims.restricted_class):
        assert not measure(0).holds


def test_the_most_mistakes_within_a_budget_invert_psi() -> None:
    """ψ is θ for the hinge, θ² for the squared loss, 1 - √(1 - θ²) for the exponential; the grid has steps of 1e-5."""
    for name, most in [("hinge", 0.01), ("squared", 0.1), ("exponential", math.sqrt(1 - 0.99**2)), ("perceptron", 1.0)]:
        assert claims.most_mistakes(name, 0.01) == pytest.approx(most, abs=2e-5)


def test_a_loss_that_ignores_mistakes_does_not_land_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is turned round has nearly all wrong: C09 notices."""
    fit = claims.fit_linear

    def turned(*arguments: Any, **options: Any) -> Any:
        found = fit(*arguments, **options)
        return found._replace(weights=-found.weights, intercept=-found.intercept)

    monkeypatch.setattr(claims, "fit_linear", turned)
    assert not claims.lands_near(0).holds
