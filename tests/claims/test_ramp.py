"""C28 to C31 and the extra X04: each number is confirmed by other means, not through the claim's code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lossbook import linear, margins
from lossbook.book import claims
from lossbook.book.claims.ramp import clouds, error_of, long_servedio, valleys


def test_c28_five_margins_by_hand() -> None:
    m = torch.tensor([-5.0, -0.5, 0.0, 0.5, 2.0])
    assert margins.ramp(m).tolist() == [1, 1, 1, 0.5, 0]
    assert margins.ramp_minus_one(m).tolist() == [2, 1.5, 1, 0.5, 0]


def test_c29_the_hinge_gives_way_and_the_ramp_does_not() -> None:
    details = claims.LEDGER["C29"].measure().details
    assert min(details[f"error_of_{name}"] for name in ("hinge", "logistic", "squared")) > 0.4
    assert details["error_of_the_ramp_started_at_the_hinge"] > 0.4
    assert claims.LEDGER["C29"].measure().value < 0.05


def test_c29_the_closed_form_of_the_error_is_what_counting_gives() -> None:
    features, signs = clouds(200_000, torch.Generator().manual_seed(3))
    line = linear.LinearFit(torch.tensor([1.0, 0.7], dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64), torch.zeros(1))
    counted = float(margins.zero_one(signs * line.scores(features)).mean())
    assert error_of(line) == pytest.approx(counted, abs=0.003)  # five sigmas of a share near .05


def test_c30_the_landscape_from_plain_numpy() -> None:
    """Every kink of the ramp risk lies at an integer here, so integer cuts hold all its minima: .4 at -4, .2 at 4, .6 between."""
    x, y = np.array([-5, -3, 3, 3, 5]), np.array([-1, 1, -1, -1, 1])
    risks = {b: np.clip(1 - y * (x - b), 0, 1).mean() for b in range(-8, 9)}
    assert (risks[-4], risks[4]) == pytest.approx((0.4, 0.2))
    assert [risks[b] for b in range(-2, 3)] == pytest.approx([0.6] * 5)
    assert min(risks.values()) == pytest.approx(0.2)
    hinge = [np.maximum(0, 1 - y * (x - b)).mean() for b in range(-8, 9)]
    assert np.argmin(hinge) - 8 == 4
    assert min(hinge) == pytest.approx(1.6)
    found = claims.LEDGER["C30"].measure()
    assert found.value == pytest.approx(0.4, abs=0.002)
    assert found.details["ramp_risk_on_the_plateau"] == pytest.approx(0.6)


def test_c30_valleys_are_counted() -> None:
    assert valleys(torch.tensor([3.0, 1.0, 1.0, 2.0, 0.0, 5.0])) == 2
    assert valleys(torch.tensor([3.0, 2.0, 1.0, 0.0])) == 0


def test_c31_the_unhinged_minimiser_is_the_mean_and_the_logistic_one_turns_away() -> None:
    points = long_servedio()
    assert bool((points @ points.mean(dim=0) > 0).all())
    both, signs = points.repeat(2, 1), torch.tensor([1.0] * 4 + [-1.0] * 4)
    share = torch.tensor([0.8] * 4 + [0.2] * 4, dtype=torch.float64)
    fit = linear.fit_linear(both, signs, loss="logistic", solver="newton", intercept="none", weight=share)
    assert fit.scores(points).tolist() == pytest.approx([1.487, 0.706, -0.1055, -0.1055], abs=1e-3)  # both penalisers are wrong
    slope = share * signs * torch.sigmoid(-signs * fit.scores(both)) @ both
    assert float(slope.abs().max()) < 1e-9


def test_x04_symmetric_losses_shrink_under_flips() -> None:
    for name in ("sigmoid", "unhinged", "ramp_minus_one"):
        assert margins.LOSSES[name].is_symmetric
    m = torch.linspace(-6, 6, 101, dtype=torch.float64)
    assert float((1 / (1 + torch.exp(m)) + 1 / (1 + torch.exp(-m)) - 1).abs().max()) < 1e-15
    details = claims.LEDGER["X04"].measure().details
    assert details["span_of_hinge"] == pytest.approx(5)
    assert details["span_of_logistic"] == pytest.approx(4.6187, abs=1e-4)
    assert details["gap_for_logistic"] > 0.1
