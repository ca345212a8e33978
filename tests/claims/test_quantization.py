"""C37 to C39: each measure holds, and each number is confirmed by other means."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit, softmax

from lossbook.book.claims import LEDGER
from lossbook.book.claims import quantization as claims


def test_c37_rounding_errors_drawn_at_random(rng: np.random.Generator) -> None:
    spared = LEDGER["C37"].measure().value
    margins = rng.uniform(spared, 10, 10_000)
    errors = rng.uniform(-claims.HALF_STEP, claims.HALF_STEP, 10_000)
    assert np.abs(np.maximum(0, 1 - margins - errors)).max() == 0
    below = np.full(10_000, spared - 0.01)
    assert np.maximum(0, 1 - below - errors).max() > 0


def test_c38_cross_entropy_against_the_hinge_by_another_search() -> None:
    found = LEDGER["C38"].measure()

    def log_change(m: float) -> float:
        return np.logaddexp(0, claims.HALF_STEP - m) - np.logaddexp(0, -m)

    def hinge_change(m: float) -> float:
        return max(0, 1 + claims.HALF_STEP - m) - max(0, 1 - m)

    assert found.value == pytest.approx(log_change(math.log(99)), abs=1e-12)
    crossing = brentq(lambda m: log_change(m) - hinge_change(m), 1.0, 1.49)
    assert found.details["margin_from_which_cross_entropy_changes_more_than_the_hinge"] == pytest.approx(crossing, abs=1.1e-3)
    worst = minimize_scalar(lambda m: hinge_change(m) - log_change(m), bounds=(1.3, 2), method="bounded")
    assert found.details["and_by_at_most"] == pytest.approx(-worst.fun, abs=1e-3)
    # the relative error is e^δ - 1 however confident the prediction
    relative = [log_change(m) / np.logaddexp(0, -m) for m in (10.0, 20.0, 30.0)]
    assert relative == pytest.approx([math.expm1(claims.HALF_STEP)] * 3, abs=1e-4)


def test_c38_the_digits_by_numpy() -> None:
    logits, labels = (tensor.numpy() for tensor in claims.digit_scores(0))
    logits = logits.astype(np.float64)
    step = np.abs(logits).max() / 7
    rounded = np.rint(logits / step) * step
    rows = np.arange(len(labels))
    before, after = softmax(logits, axis=1)[rows, labels], softmax(rounded, axis=1)[rows, labels]
    change, wrong = np.abs(np.log(after) - np.log(before)), logits.argmax(1) != labels
    found = LEDGER["C38"].measure(0).details
    assert wrong.mean() < 0.1
    assert found["digits_in_4_bits_mean_change_where_sure"] == pytest.approx(change[before > 0.99].mean(), rel=1e-3)
    assert found["digits_in_4_bits_mean_change_where_wrong"] == pytest.approx(change[wrong].mean(), rel=1e-3)
    # half precision keeps the logit and loses the probability
    assert torch.tensor(20.0).half() == 20
    assert np.float16(expit(-20.0)) == 0


def test_c39_the_gap_by_a_root() -> None:
    assert LEDGER["C39"].measure().value == pytest.approx(brentq(lambda gap: expit(gap) - 0.99, 0, 20), abs=2e-5)


def test_c39_the_networks_own_logits() -> None:
    logits, _ = claims.digit_scores(0)
    assert LEDGER["C39"].measure(0).details["largest_logit_of_either_sign_of_a_network_that_reads_digits"] == pytest.approx(float(logits.abs().max()))
