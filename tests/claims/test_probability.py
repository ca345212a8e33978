"""C15 to C19, X01, X06, X08 and X10: each measure holds, and each number is confirmed by other means."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import entropy, norm

from lossbook.book.claims import LEDGER
from lossbook.book.claims import probability as claims


def test_c15_the_plain_formula_in_python_floats() -> None:
    details = LEDGER["C15"].measure().details
    assert set(details) == {"logistic", "binary", "softmax"}
    from lossbook.crossentropy import binary_cross_entropy

    for margin in (-30.0, -1.0, 0.0, 2.5, 30.0):
        ours = float(binary_cross_entropy(torch.tensor(margin, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)))
        assert ours == pytest.approx(math.log1p(math.exp(-margin)), rel=1e-14)


def test_c16_another_arithmetic_and_numpys_rounding() -> None:
    measurement = LEDGER["C16"].measure()
    details = measurement.details
    tail = sum((-1) ** (n + 1) * math.exp(-20 * n) / n for n in range(1, 4))  # ln(1 + x) by its series
    assert details["loss_at_margin_20"] == pytest.approx(tail, rel=1e-14)
    assert details["nudge_at_margin_20"] == pytest.approx(math.exp(-20) / (1 + math.exp(-20)), rel=1e-14)
    assert math.isfinite(measurement.value)  # of 0 it would be minus infinity
    steps = np.arange(0, 30, 0.01, dtype=np.float32)
    naive = np.log(np.float32(1) + np.exp(-steps))
    first_zero = details["margin_from_which_softmax_cross_entropy_rounds_to_0_in_float32"]
    assert first_zero == pytest.approx(float(steps[naive == 0].min()), abs=0.02)


def test_c17_another_optimiser_finds_both_minima() -> None:
    truth = np.array([0.6, 0.05, 0.35])
    details = LEDGER["C17"].measure().details
    for name, divergence in (
        ("forward_minimum", lambda a: entropy(truth, [a, a, 1 - 2 * a])),
        ("reverse_minimum", lambda a: entropy([a, a, 1 - 2 * a], truth)),
    ):
        found = minimize_scalar(divergence, bounds=(1e-6, 0.5 - 1e-6), method="bounded", options={"xatol": 1e-10}).x
        assert details[name] == pytest.approx(found, abs=2e-5)
    assert details["forward_minimum"] - details["reverse_minimum"] > 0.07  # the direction matters


def test_c17_on_a_sample_the_two_may_part() -> None:
    details = LEDGER["C17"].measure().details
    assert details["change_of_a_samples_cross_entropy"] == pytest.approx(entropy([0.3, 0.7]) - math.log(2))
    assert details["change_of_its_KL_to_the_truth"] == pytest.approx(entropy([0.5, 0.5], [0.3, 0.7]))


def test_c17_a_divergence_the_wrong_way_round_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = claims.crossentropy.kl_divergence
    monkeypatch.setattr(claims.crossentropy, "kl_divergence", lambda p, q, **how: right(q, p, **how))
    assert not claims.same_minimum(0).holds


def test_c18_the_line_that_misses_the_middle_and_the_shares_that_were_drawn() -> None:
    measurement = LEDGER["C18"].measure()
    assert measurement.details["largest_error_of_a_line_on_a_U"] == pytest.approx(8 / 15, abs=1e-6)
    learned = measurement.details["learned_where_60_in_100_are_ill"]
    draws = torch.rand(5, 20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)[2] < 0.6
    assert learned == pytest.approx(float(draws.double().mean()), abs=1e-9)
    assert measurement.tolerance > 5 * math.sqrt(0.25 / 20_000)


def test_c18_a_loss_that_is_not_proper_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    smoothed = claims.crossentropy.binary_cross_entropy
    monkeypatch.setattr(claims.crossentropy, "binary_cross_entropy", lambda s, targets: smoothed(s, targets, label_smoothing=0.2))
    assert not claims.learns_the_probability(0).holds


def test_c19_costs_by_quadrature_and_by_drawing() -> None:
    measurement = LEDGER["C19"].measure()
    best = minimize_scalar(lambda cut: 0.5 * (norm.sf(cut, -1) + 9 * norm.cdf(cut, 1)), bounds=(-5, 5), method="bounded").fun
    assert measurement.expected == pytest.approx(best, abs=1e-8)
    assert measurement.value >= best - 1e-12
    features, signs = claims.two_normals(400_000, 5)
    called = features[:, 0] > -0.5 * math.log(9)
    paid = float((called & (signs < 0)).double().mean() + 9 * (~called & (signs > 0)).double().mean())
    assert abs(paid - best) < 5 * math.sqrt(0.5 * 81 * norm.cdf(-math.log(3) - 1) / 400_000) + 5 * 0.5 / math.sqrt(400_000)


def test_c19_the_weighted_hinge_in_closed_form() -> None:
    """Of a margin that is normal with mean μ and spread w: E max(0, 1 − m) = (1 − μ) Φ(z) + w φ(z) with z = (1 − μ) / w."""

    def hinge(mean: float, spread: float) -> float:
        z = (1 - mean) / spread
        return (1 - mean) * norm.cdf(z) + spread * norm.pdf(z)

    least = minimize(lambda line: 0.5 * (9 * hinge(line[0] + line[1], line[0]) + hinge(line[0] - line[1], line[0])), [1.0, 1.0], method="Nelder-Mead")
    cut = -least.x[1] / least.x[0]
    assert LEDGER["C19"].measure().details["weighted_hinge_in_the_long_run"] == pytest.approx(
        0.5 * (norm.sf(cut, -1) + 9 * norm.cdf(cut, 1)), abs=1e-4
    )
    # Near slope 0 with intercept 1 + (a − 1) w the objective is 1 + (w / 2) (c (φ(a) − a Φ(−a)) + a − 2) but for what vanishes faster. The bracket
    # is least where Φ(−a) = 1 / c, and c φ(a) − 2 there: slope 0 is the minimum if that is above 0.
    assert 19 * norm.pdf(norm.isf(1 / 19)) > 2 > 9 * norm.pdf(norm.isf(1 / 9))


@pytest.mark.parametrize("miss", [9, 19])
def test_c19_the_weighted_logistic_line_is_where_its_slopes_vanish(miss: int) -> None:
    """Slope 2 and intercept ln c: the log-odds of two normals whose positives count c times, and the cut is at -ln(c) / 2, the best one."""

    def pull(x: float) -> float:
        said = 1 / (1 + math.exp(-2 * x - math.log(miss)))
        return said * norm.pdf(x, -1) - miss * (1 - said) * norm.pdf(x, 1)

    assert quad(pull, -12, 12)[0] == pytest.approx(0, abs=1e-9)
    assert quad(lambda x: x * pull(x), -12, 12)[0] == pytest.approx(0, abs=1e-9)
    assert 0 <= LEDGER["C19"].measure().details[f"weighted_logistic_above_the_best_at_{miss}_to_1"] < 1e-6


def test_c19_the_cheapest_cut_by_trying_all() -> None:
    features, signs = claims.two_normals(200, 3)
    scores = features[:, 0]
    cut = claims.cheapest(scores, signs, 9)

    def paid(at: float) -> float:
        return float(((scores > at) & (signs < 0)).sum() + 9 * ((scores <= at) & (signs > 0)).sum())

    assert paid(cut) == min(paid(float(at)) for at in scores)


def test_x01_answers_by_another_optimiser() -> None:
    details = LEDGER["X01"].measure().details
    for name, loss in (
        ("focal_loss_answers", lambda q: -((1 - q) ** 2) * math.log(q)),
        ("smoothed_cross_entropy_answers", lambda q: -0.9 * math.log(q) - 0.1 * math.log(1 - q)),
    ):
        found = minimize_scalar(
            lambda q, loss=loss: 0.7 * loss(q) + 0.3 * loss(1 - q), bounds=(0.01, 0.99), method="bounded", options={"xatol": 1e-9}
        ).x
        assert details[name] == pytest.approx(found, abs=1e-4)


def test_x06_chow_by_quadrature() -> None:
    details = LEDGER["X06"].measure().details

    def posterior(x: float) -> float:
        return norm.pdf(x, 1) / (norm.pdf(x, 1) + norm.pdf(x, -1))

    edge = math.log(9) / 2
    assert posterior(edge) == pytest.approx(0.9, abs=1e-12)
    assert details["error"] == pytest.approx(quad(lambda x: norm.pdf(x, 1), -12, -edge)[0], abs=1e-4)
    assert details["declined"] == pytest.approx(quad(lambda x: norm.pdf(x, 1), -edge, edge)[0], abs=1e-4)
    assert LEDGER["X06"].measure().value < details["risk_without_declining"]


def test_x08_no_other_cut_has_a_lower_balanced_error() -> None:
    measurement = LEDGER["X08"].measure()
    balanced = [0.5 * (norm.sf(cut, -1) + norm.cdf(cut, 1)) for cut in np.linspace(-3, 3, 601)]
    assert measurement.value == pytest.approx(min(balanced), abs=1e-4)
    plain = [0.95 * norm.sf(cut, -1) + 0.05 * norm.cdf(cut, 1) for cut in np.linspace(-3, 4, 7001)]
    assert measurement.details["plain_error_before"] == pytest.approx(min(plain), abs=1e-4)


def test_x10_by_hand() -> None:
    details = LEDGER["X10"].measure().details
    # Two classes at gap 0: sparsemax is (1/2, 1/2), so the loss is 0 − ½·½ + ½ − 0 = 1/4.
    assert details["loss_at_lead_0"] == pytest.approx(0.25, abs=1e-12)
    assert details["loss_at_lead_1"] == 0.0
    assert details["generalized_at_q_half"] == pytest.approx(2 * (1 - math.sqrt(0.1)), abs=1e-12)
