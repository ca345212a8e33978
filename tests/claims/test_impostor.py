"""C04, C20 to C22: each number is confirmed by other means, not through the claim's code."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import torch

from lossbook import linear, margins
from lossbook.book import claims
from lossbook.book.claims.impostor import FarPoints


def test_c04_the_least_squares_line_gives_up_every_near_positive_and_the_others_none() -> None:
    """At 2.85 all of the 70% near positives are lost: half of 0.7 and next to nothing else. The best cut errs on about 2%."""
    found = claims.LEDGER["C04"].measure()
    near, far, negative = NormalDist(1, 0.5), NormalDist(20, 0.5), NormalDist(-1, 0.5)
    expected = (0.7 * near.cdf(2.85) + 0.3 * far.cdf(2.85) + 1 - negative.cdf(2.85)) / 2
    assert found.expected == pytest.approx(expected, abs=1e-12)
    assert found.value == pytest.approx(0.35, abs=0.005)
    best = min((0.7 * near.cdf(cut) + 1 - negative.cdf(cut)) / 2 for cut in np.linspace(-1, 1, 2001))
    assert found.details["error_of_the_best_cut"] == pytest.approx(best, abs=1e-6)
    assert best == pytest.approx(0.01898, abs=1e-5)


def test_c04_errors_are_what_counting_gives() -> None:
    law, generator = FarPoints(), torch.Generator().manual_seed(5)
    features, signs = law.sample(200_000, generator)
    counted = float(margins.zero_one(signs * (features[:, 0] - 0.3)).mean())
    assert float(law.error_of_cut(torch.tensor(0.3, dtype=torch.float64))) == pytest.approx(counted, abs=0.0017)  # five sigmas
    grid = torch.linspace(-6, 26, 32_001, dtype=torch.float64)
    assert law.error_of(grid - 0.3, grid) == pytest.approx(counted, abs=0.0019)


def test_c20_by_hand() -> None:
    ten = torch.tensor(10.0, dtype=torch.float64)
    assert float(margins.squared(ten)) == 81
    assert float(margins.hinge(ten)) == 0
    assert float(margins.logistic(ten)) == pytest.approx(4.539889921686465e-05, rel=1e-12)  # ln(1 + e^-10)
    assert float(margins.squared.derivative(ten)) == 18


@pytest.mark.parametrize("place", [1.0, 3.0, 5.0, 6.0, 12.0])
def test_c21_the_boundary_is_where_numpy_finds_it(place: float) -> None:
    x, y = np.array([-1, -1, 1, place]), np.array([-1.0, -1, 1, 1])
    slope, constant = np.polyfit(x, y, 1)
    assert -constant / slope == pytest.approx((place - 1) / 4)  # balanced signs: the mean of x
    fit = linear.fit_linear(torch.tensor(x)[:, None], torch.tensor(y), loss="squared", solver="newton")
    assert float(fit.weights[0]) == pytest.approx(slope)
    assert float(fit.intercept) == pytest.approx(constant)
    assert (float(fit.scores(torch.tensor([1.0], dtype=torch.float64))) < -1e-9) == (place > 5)


def test_c22_no_regression_goes_below_a_twelfth() -> None:
    """Var U(-1/2, 1/2) = 1/12; the regression in cells fits a little of the noise, about 100/200000 of it."""
    found = claims.LEDGER["C22"].measure()
    assert found.value == pytest.approx(1 / 12, abs=0.00085)
    assert found.details["share_of_wrong_signs"] == 0
