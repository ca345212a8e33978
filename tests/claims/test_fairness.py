"""C63 and C64: each measure holds, with the numbers of the closed forms."""

from __future__ import annotations

import pytest
import torch

from lossbook.book.claims import LEDGER
from lossbook.book.claims import fairness as claims
from lossbook.fairness import ParityFrontier


def test_numbers_of_the_ledger() -> None:
    parity, front = LEDGER["C63"].measure(), LEDGER["C64"].measure()
    assert parity.expected == pytest.approx(0.238990, abs=1e-6)
    assert parity.details["error_without_the_constraint"] == pytest.approx(0.138749, abs=0.009)
    assert parity.details["gap_without_it"] == pytest.approx(0.461130, abs=0.025)
    assert parity.details["true_positive_rate_at_parity_group_0"] == pytest.approx(0.686, abs=0.02)
    assert parity.details["true_positive_rate_at_parity_group_1"] == pytest.approx(0.935, abs=0.02)
    assert front.expected == pytest.approx(0.1755, abs=1e-4)
    assert front.details["error_at_gap_0_4"] == pytest.approx(0.1410, abs=0.009)
    assert front.details["where_people_are_of_three_kinds_rules_on_the_front"] == 4  # (0, .3425), (.3, .3275), (.7, .2725), (1, .2575)
    assert front.details["of_these_some_price_finds"] == 3  # the line from (0, .3425) to (.7, .2725) passes below (.3, .3275)


def test_equal_base_rates_cost_nothing() -> None:
    assert claims._least_error((0.4, 0.4), 0.0) == claims._least_error((0.4, 0.4), 1.0)


def test_biased_labels_end_at_thresholds_two_thirds_and_one_third() -> None:
    """Slopes 1 - 2η in group 0 and 1 - η in group 1 cancel at a common η of 2/3; the true error there is the mean of two normal tails."""
    details = LEDGER["C63"].measure().details
    cut = 0.34657359  # η = σ(2x) = 2/3 at x = ln(2)/2
    expected = (claims._normal_cdf(cut - 1) + claims._normal_cdf(-cut - 1)) / 2
    assert details["biased_labels_true_error_with_parity"] == pytest.approx(expected, abs=0.01)
    assert details["biased_labels_true_error_without_parity"] == pytest.approx((claims._normal_cdf(-1) + 0.5) / 2, abs=0.012)


def test_a_frontier_that_ignores_the_gap_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = claims.parity_frontier

    def free(probs: torch.Tensor, *, groups: torch.Tensor, gaps: int) -> ParityFrontier:
        front = honest(probs, groups=groups, gaps=gaps)
        return front._replace(errors=front.errors[[1, 1]], thresholds=front.thresholds[[1, 1]])

    monkeypatch.setattr(claims, "parity_frontier", free)
    assert not claims.parity_often_costs_accuracy(0).holds
