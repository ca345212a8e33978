"""C01, C05, C06: each number is confirmed by other means, not through the claim's code."""

from __future__ import annotations

import math
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from lossbook import margins, zero_one
from lossbook.book import claims
from lossbook.book.claims.the_cliff import labelings


def test_c01_the_ways_multiply() -> None:
    found = claims.LEDGER["C01"].measure()
    assert found.value == 764 == 2 * sum(math.comb(9, k) for k in range(6))  # Cover, in numbers
    details = found.details
    assert (details["ways_with_one_measurement"], details["ways_with_two"]) == (20, 92)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_c01_counts_what_linear_programs_can_separate(dimension: int) -> None:
    points = np.random.default_rng(dimension).normal(size=(6, dimension))
    homogeneous = np.column_stack([points, np.ones(6)])
    separable = 0
    for signs in product([-1, 1], repeat=6):
        found = linprog(np.zeros(dimension + 1), A_ub=-np.array(signs)[:, None] * homogeneous, b_ub=-np.ones(6), bounds=(None, None))
        separable += found.status == 0
    assert labelings(torch.tensor(points)) == separable


def test_c05_no_cut_on_the_line_beats_the_bayes_risk() -> None:
    expected = NormalDist().cdf(-1)
    cuts = np.linspace(-4, 4, 801)
    errors = [(NormalDist(1).cdf(cut) + 1 - NormalDist(-1).cdf(cut)) / 2 for cut in cuts]
    assert min(errors) == pytest.approx(expected, abs=1e-12)
    assert claims.LEDGER["C05"].measure().value == pytest.approx(expected, abs=1e-5)


def test_c06_autograd_finds_no_slope_but_the_smoothed_risk_has_the_one_of_its_formula() -> None:
    weights = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)
    features, signs = torch.tensor([[1.0, 2.0]], dtype=torch.float64), torch.tensor([1.0])
    (flat,) = torch.autograd.grad(margins.zero_one(signs * (features @ weights)).sum(), weights)
    assert flat.tolist() == [0, 0]
    (slope,) = torch.autograd.grad(zero_one.smoothed_risk(weights, features, signs), weights)
    z = -(0.3 - 0.4) / math.sqrt(5)  # d/dw Φ(z) = -φ(z) x / |x|
    assert slope.tolist() == pytest.approx([-NormalDist().pdf(z) * x / math.sqrt(5) for x in (1, 2)])
    assert claims.LEDGER["C06"].measure().details["error_after"] < 0.29
