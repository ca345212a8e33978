"""C32 to C36: each measure holds, and each number is confirmed by other means."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq, minimize
from scipy.special import expit
from scipy.stats import norm

from lossbook.book.claims import LEDGER
from lossbook.book.claims import label_smoothing as claims


def test_c32_the_separable_weight_follows_the_flow() -> None:
    # Gradient flow w' = 1 / (1 + e^w) gives w + e^w = t + 1; a thousand steps of 1 stay close to it.
    found = LEDGER["C32"].measure()
    weight = brentq(lambda w: w + math.exp(w) - 1001, 0, 20)
    assert found.details["weight"] == pytest.approx(weight, abs=0.02)
    assert found.expected == pytest.approx(expit(weight), abs=1e-9)


def test_c32_every_label_pulls_to_its_end_and_mixed_labels_balance_at_their_share() -> None:
    found = LEDGER["C32"].measure().details
    assert found["weakest_push_at_scores_up_to_30"] == pytest.approx(expit(-30.0), rel=1e-3)
    balance = brentq(lambda s: 7 * (expit(s) - 1) + 3 * expit(s), -5, 5)
    assert found["probability_at_which_the_pushes_of_seven_ones_and_three_zeros_balance"] == pytest.approx(expit(balance), abs=1e-6)


def test_c33_the_gap_by_the_formula_and_by_numpy() -> None:
    measurement = LEDGER["C33"].measure()
    found = minimize(lambda s: 0.9 * np.log1p(np.exp(-s[0])) + 0.1 * np.log1p(np.exp(s[0])), [0.0], tol=1e-12)
    assert measurement.value == pytest.approx(found.x[0], abs=1e-4)
    assert measurement.details["smallest_loss"] == pytest.approx(found.fun, abs=1e-9)
    assert measurement.details["gap_for_ten_classes"] == pytest.approx(math.log(0.91 / 0.01), abs=1e-4)


def test_c34_targets_by_hand() -> None:
    measurement = LEDGER["C34"].measure()
    assert [measurement.value, measurement.details["second_class"], measurement.details["third_class"]] == pytest.approx([0.52, 0.31, 0.17], abs=1e-6)


def test_c35_limit_by_another_quadrature() -> None:
    def pull(slope: float) -> float:
        return quad(lambda z: (expit(slope * z) - 0.8 * expit(z) - 0.1) * z * norm.pdf(z, scale=2), -20, 20, limit=200)[0]

    slope = brentq(pull, 0.1, 1.0)
    limit = quad(lambda z: abs(expit(slope * z) - expit(z)) * norm.pdf(z, scale=2), -20, 20, limit=200, points=[0])[0]
    assert claims.smoothed_limit(0.2) == pytest.approx(limit, abs=1e-6)
    assert slope < 1  # shrunk towards one half
    assert claims.smoothed_limit(0.0) == pytest.approx(0.0, abs=1e-6)


def test_c35_the_fit_against_scipy() -> None:
    features, _, labels = claims.logistic_sample(200, 3, 1)
    fit = claims.fit_smoothed(features, labels, 0.2, l2=1e-3)
    x, t = np.c_[features.numpy(), np.ones(200)], 0.8 * labels.numpy() + 0.1

    def risk(theta: np.ndarray) -> float:
        scores = x @ theta
        # `fit_smoothed` averages over 2 n rows, so its penalty counts twice here.
        return float(np.mean(np.logaddexp(0, scores) - t * scores) + 1e-3 * theta[:-1] @ theta[:-1])

    found = minimize(risk, np.zeros(4), tol=1e-12).x
    assert [*fit.weights.tolist(), float(fit.intercept)] == pytest.approx(found.tolist(), abs=1e-4)


def test_c36_torch_explodes_in_the_same_places() -> None:
    ruled_out = torch.tensor([[0.0, -math.inf]], dtype=torch.float64)
    label = torch.tensor([0])
    assert float(torch.nn.functional.cross_entropy(ruled_out, label)) == 0.0
    assert float(torch.nn.functional.cross_entropy(ruled_out, label, label_smoothing=0.2)) == math.inf
    gap = torch.tensor([[1000.0, 0.0]], dtype=torch.float64)
    assert LEDGER["C36"].measure().value == pytest.approx(float(torch.nn.functional.cross_entropy(gap, label, label_smoothing=0.2)), abs=1e-9)
    assert LEDGER["C36"].measure().details["largest_loss_with_a_mixed_prediction"] == pytest.approx(math.log(2 / 0.2), abs=1e-12)
