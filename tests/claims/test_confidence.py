"""C46, C47 and X07: each measure holds, and each number is confirmed by other means."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import norm

from lossbook.book.claims import LEDGER
from lossbook.book.claims import confidence as claims


def test_c46_the_limit_by_simulation_of_its_own_equations(rng: np.random.Generator) -> None:
    # with d / n near 0 nothing is inflated
    assert claims.high_dimensional_limit(1e-4, 1.0).inflation == pytest.approx(1, abs=1e-3)
    assert claims.high_dimensional_limit(1e-4, 1.0).slope == pytest.approx(1, abs=1e-3)
    # finer quadrature changes nothing
    limit, finer = (claims.high_dimensional_limit(0.2, math.sqrt(5), nodes) for nodes in (48, 80))
    assert limit.slope == pytest.approx(finer.slope, abs=1e-6)
    # Newton's method in numpy on one large sample; spread over samples: .07 in the inflation and .02 in the slope
    n, d = 2000, 400
    x, beta = rng.normal(size=(n, d)), np.full(d, math.sqrt(5 / d))
    y, w = rng.random(n) < expit(x @ beta), np.zeros(d)
    for _ in range(25):
        p = expit(x @ w)
        w += np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]), x.T @ (y - p))
    assert np.abs(x.T @ (y - expit(x @ w))).max() < 1e-6
    assert w @ beta / 5 == pytest.approx(limit.inflation, abs=0.5)
    fresh = rng.normal(size=(20_000, d))
    logits, truth = fresh @ w, expit(fresh @ beta)
    slope = minimize_scalar(lambda b: np.mean(np.logaddexp(0, b * logits) - truth * b * logits), bounds=(0, 2), method="bounded").x
    assert slope == pytest.approx(limit.slope, abs=0.13)


def test_c46_the_limit_hangs_on_the_length_of_the_true_weights() -> None:
    weak, middle, strong = (claims.high_dimensional_limit(0.2, length) for length in (1.0, math.sqrt(5), 3.0))
    assert weak.inflation < middle.inflation < strong.inflation
    assert weak.noise / 1.0 > middle.noise / math.sqrt(5)  # the weaker the signal, the farther from its direction


def test_c46_fitted_logits_are_the_joint_normal_they_are_drawn_from() -> None:
    forecasts = claims.logistic_forecasts(0, 4000, 3)
    assert forecasts.inflation == pytest.approx(1, abs=0.25)
    limit = claims.high_dimensional_limit(3 / 4000, math.sqrt(5))
    assert float(forecasts.logits.std()) == pytest.approx(math.hypot(limit.inflation * math.sqrt(5), limit.noise), rel=0.25)


def test_c46_a_wrong_model_hides_its_error() -> None:
    found = LEDGER["C46"].measure().details
    mean = quad(lambda x: expit(3 * (x * x - 1)) * norm.pdf(x), -9, 9)[0]
    expected = quad(lambda x: abs(expit(3 * (x * x - 1)) - mean) * norm.pdf(x), -9, 9, limit=200)[0]
    # the line is flat by symmetry; of 20,000 absolute differences the mean has a standard error of .0015
    assert found["wrong_model_mean_error_of_the_probabilities"] == pytest.approx(expected, abs=0.0075)


def test_c47_the_population_by_another_quadrature() -> None:
    penalty = 0.25
    slope = minimize_scalar(
        lambda w: quad(lambda m: (1 - w * m) * norm.pdf(m, 2), -8, 1 / w)[0] + penalty * w * w / 2, bounds=(0.1, 3), method="bounded"
    ).x
    assert claims.population_slope(2.0, penalty) == pytest.approx(slope, abs=1e-4)
    edges = np.log(np.arange(1, 15) / (15 - np.arange(1, 15))) / slope

    def gap(x: float) -> float:
        return (expit(4 * x) - expit(slope * x)) * (norm.pdf(x, 2) + norm.pdf(x, -2)) / 2

    expected = sum(abs(quad(gap, low, high)[0]) for low, high in zip([-12, *edges], [*edges, 12], strict=True))
    assert LEDGER["C47"].measure().expected == pytest.approx(expected, abs=1e-4)


def test_c47_scikit_learns_machine_gives_the_same_scores() -> None:
    from sklearn.svm import SVC

    from lossbook.linear import fit_linear

    features, signs = claims.two_normals(0, 1000, 2.0)
    machine = SVC(kernel="linear", C=1e-3, tol=1e-8).fit(features.numpy(), signs.numpy())
    ours = fit_linear(features, signs, loss="hinge", l2=1.0)  # 1 / (n C)
    assert ours.scores(features).numpy() == pytest.approx(machine.decision_function(features.numpy()), abs=1e-3)


def test_x07_a_grid_finds_the_same_temperature() -> None:
    logits, labels = claims.digit_scores(0, training=600, hidden=64, steps=300, noise=0.2)
    half = len(labels) // 2
    grid = torch.linspace(1, 4, 601)
    losses = torch.stack([torch.nn.functional.cross_entropy(logits[:half] / t, labels[:half]) for t in grid])
    assert LEDGER["X07"].measure(0).details["temperature"] == pytest.approx(float(grid[losses.argmin()]), abs=0.02)
