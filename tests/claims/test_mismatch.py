"""C23 and C24: each measure holds, and each number is confirmed by other means."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import binom, norm

from lossbook.book.claims import LEDGER
from lossbook.book.claims import mismatch as claims
from lossbook.consistency import EstimateReport, estimate_report


def test_coin_numbers_against_scipy() -> None:
    """0.8 k/25 > 1/2 from 16 heads on, a majority from 13 on; the shrunken mean has bias 0.2 * 0.6 and variance 0.64 * 0.24/25."""
    details = LEDGER["C23"].measure().details
    assert details["error_shrunken"] == pytest.approx(0.4 + 0.2 * binom.cdf(15, 25, 0.6), abs=1e-12)
    assert details["error_majority"] == pytest.approx(0.4 + 0.2 * binom.cdf(12, 25, 0.6), abs=1e-12)
    assert details["bias_squared_shrunken"] == pytest.approx(0.12**2)
    assert details["variance_shrunken"] == pytest.approx(0.64 * 0.24 / 25)
    right = binom.sf(12, 25, 0.6)
    assert details["bias_squared_majority"] == pytest.approx((right - 0.6) ** 2)
    assert details["variance_majority"] == pytest.approx(right * (1 - right))


def test_normal_numbers_against_scipy() -> None:
    """The quantile grid of 20,000 points is right to about 1e-5."""
    details = LEDGER["C24"].measure().details
    assert details["error_at_deviation_half"] == pytest.approx(0.4 + 0.2 * norm.cdf(0.1), abs=5e-5)
    assert details["error_at_deviation_tenth"] == pytest.approx(0.4 + 0.2 * norm.cdf(0.5), abs=5e-5)
    assert details["right_side_error_at_deviation_half"] == pytest.approx(0.4 + 0.2 * norm.cdf(-0.5), abs=5e-5)


def test_a_report_that_forgets_the_truth_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the error min(eta, 1 - eta) whatever the estimates, both claims would fail."""

    def blind(estimates: torch.Tensor, eta: float, *, weight: torch.Tensor | None = None) -> EstimateReport:
        return estimate_report(estimates, eta, weight=weight)._replace(error=torch.tensor(min(eta, 1 - eta)))

    monkeypatch.setattr(claims, "estimate_report", blind)
    assert not claims.better_estimate_worse_decision(0).holds
    assert not claims.variance_helps_on_the_wrong_side(0).holds
