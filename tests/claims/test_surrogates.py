"""C02, C03, C07, C08, C10 to C14: each number is confirmed by other means, not through the claim's code."""

from __future__ import annotations

import math

import pytest
import torch

from lossbook import margins
from lossbook.book import claims


def test_c02_no_surrogate_jumps_but_the_hinge_has_a_kink() -> None:
    around = torch.tensor([1 - 1e-9, 1 + 1e-9], dtype=torch.float64)
    assert margins.hinge.derivative(around).tolist() == [-1, 0]
    assert margins.logistic.derivative(around).diff().abs().item() < 1e-8
    found = claims.LEDGER["C02"].measure()
    assert [found.details[name] for name in ("slope_of_the_hinge_just_below_1", "and_just_above")] == pytest.approx([-1, 0], abs=1e-6)
    assert found.value == pytest.approx(math.exp(4) * 1e-6, rel=1e-4)  # the steepest of them is the exponential at margin -4
    assert found.details["of_the_0_1_loss"] == 1


def test_c03_slopes_of_the_conditional_risk_vanish_where_the_claim_says() -> None:
    for name, score in {"logistic": math.log(1.5), "exponential": math.log(1.5) / 2, "squared": 0.2}.items():
        slope = margins.LOSSES[name].derivative(torch.tensor([score, -score], dtype=torch.float64))
        assert float(0.6 * slope[0] - 0.4 * slope[1]) == pytest.approx(0, abs=1e-12)
        assert claims.LEDGER["C03"].measure().details[f"{name}_at_0.6"] == pytest.approx(score, abs=1e-4)
    assert claims.LEDGER["C03"].measure().details["hinge_at_0.6"] == pytest.approx(1, abs=1e-4)


def test_c07_the_logistic_loss_crosses_one_at_its_own_root() -> None:
    root = -math.log(math.e - 1)
    assert math.log1p(math.exp(-root)) == pytest.approx(1, abs=1e-14)
    assert float(margins.logistic(torch.tensor(root / 2))) < 1  # a wrong answer that costs less than a mistake
    found = claims.LEDGER["C07"].measure().details
    assert found["logistic_with_the_natural_logarithm"] == pytest.approx(-0.306853, abs=1e-6)
    assert found["which_dips_from"] == pytest.approx(root, abs=2e-4)
    assert found["to"] == 0
    assert found["best_score_at_90_percent_of_1_plus_max_0_minus_m_a_bound_that_fails"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["hinge", "exponential", "squared", "ramp", "logistic2"])
def test_c07_a_bound_is_lowest_where_a_mistake_is_cheapest(name: str) -> None:
    """Each falls up to margin 0 and is nowhere negative, so the tie decides."""
    around = torch.tensor([-3.0, -1.0, -0.1, 0.0], dtype=torch.float64)
    assert (margins.LOSSES[name](around).diff() <= 0).all()
    assert float(margins.LOSSES[name](around)[-1]) == pytest.approx(1, abs=1e-12)
    assert float(margins.LOSSES[name](torch.linspace(-9, 9, 1801)).min()) >= 0
    assert claims.LEDGER["C07"].measure().value == pytest.approx(0, abs=1e-12)


def test_c08_two_minimisers_no_minimiser_and_one() -> None:
    from scipy.optimize import minimize_scalar

    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert [float(margins.hinge(weight * x).sum()) for weight in (0.5, 1.0, 2.0, 3.0)] == [0.5, 0, 0, 0]
    ridge = minimize_scalar(lambda w: float(margins.hinge(w * x).sum()) + 0.05 * w**2, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9})
    assert claims.LEDGER["C08"].measure().details["minimiser_with_a_ridge"] == pytest.approx(ridge.x, abs=0.01)
    assert claims.LEDGER["C08"].measure().details["logistic_at_10"] == pytest.approx(math.log1p(math.exp(-10)) + math.log1p(math.exp(-20)))


def test_c08_a_ridge_on_the_weights_alone_leaves_the_intercept_a_range() -> None:
    from lossbook import linear

    points, signs = torch.tensor([[-1.0], [1.0]], dtype=torch.float64), torch.tensor([-1.0, 1.0], dtype=torch.float64)
    found = claims.LEDGER["C08"].measure().details["least_where_only_w_is_penalised_at_b_minus_0_4"]
    for intercept in (-0.4, 0.0, 0.4):
        start = (torch.tensor([0.5], dtype=torch.float64), torch.tensor(intercept, dtype=torch.float64))
        fit = linear.fit_linear(points, signs, loss="hinge", l2=2.0, solver="newton", start=start)
        assert float(fit.objective[0]) == float(fit.objective[-1]) == found  # where it begins is a minimum
    both = linear.fit_linear(points, signs, loss="hinge", l2=2.0, solver="newton", intercept="regularized")
    assert float(both.intercept) == pytest.approx(0, abs=1e-6)


def test_c10_what_is_right_is_surer() -> None:
    from scipy.integrate import quad
    from scipy.stats import norm

    assert (margins.zero_one(torch.tensor([-2.0, -0.0, 0.0, 1e-30])) == torch.tensor([1.0, 1.0, 1.0, 0.0])).all()
    wrong = norm.cdf(-1.5)  # distances t from the line: φ(t + 1.5) of those that are wrong, φ(t - 1.5) of those that are right
    surer = quad(lambda t: norm.pdf(t + 1.5) / wrong * norm.sf(t - 1.5) / (1 - wrong), 0, 12)[0]
    found = claims.LEDGER["C10"].measure()
    assert found.expected == pytest.approx(surer, abs=1e-3)
    assert found.details["right_in_the_fifth_of_smallest_scores"] < 0.8 < 0.99 < found.details["in_the_fifth_of_largest"]


def test_c11_points_of_the_hinge() -> None:
    assert margins.hinge(torch.tensor([-3.0, 0.0, 0.5, 1.0, 7.0])).tolist() == [4, 1, 0.5, 0, 0]
    assert claims.LEDGER["C11"].measure().details["slope_below"] == pytest.approx(-1, abs=1e-9)


def test_c12_on_points_whose_support_is_known() -> None:
    from sklearn.svm import SVC

    # Two points at ±1 hold the line x = 0 with slope 1 (margins exactly 1); five further out hold nothing.
    x, y = [[-1.0], [1.0], [3.0], [4.0], [-2.0], [-5.0], [9.0]], [-1, 1, 1, 1, -1, -1, 1]
    whole, two = (SVC(kernel="linear", C=1, tol=1e-10).fit(x[:n], y[:n]) for n in (7, 2))
    assert float(whole.coef_[0, 0]) == pytest.approx(1)
    assert float(two.coef_[0, 0]) == pytest.approx(1)
    found = claims.LEDGER["C12"].measure()
    assert found.details["change_of_logistic_regression"] > 0.3
    assert found.details["margin_2_after_one_ridge_step"] == pytest.approx(1.9)


@pytest.mark.parametrize("seed", range(3))
def test_c13_right_outliers_weigh_nothing_and_wrong_ones_everything(seed: int) -> None:
    found = claims.LEDGER["C13"].measure(seed)
    assert found.value < 1e-6
    assert found.details["error_without_it_moved"] < 0.12  # Φ(-1.5) = .0668, ± .004 for the test set and what 200 training points cost
    assert found.details["error_with_a_tenth_mislabelled_and_far_on_the_wrong_side"] > 0.4


def test_c14_the_hinge_wants_one_score_and_the_logistic_loss_the_odds() -> None:
    found = claims.LEDGER["C14"].measure()
    assert found.value == pytest.approx(found.details["svm_score_where_it_is_99_percent"], abs=0.01)
    scores = torch.linspace(-6, 6, 12_001, dtype=torch.float64)
    best = [float(scores[(eta * margins.hinge(scores) + (1 - eta) * margins.hinge(-scores)).argmin()]) for eta in (0.6, 0.99)]
    assert best == pytest.approx([1, 1], abs=1e-3)
    assert found.details["logistic_at_60_percent"] == pytest.approx(0.6, abs=0.01)
