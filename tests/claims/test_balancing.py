"""C48 to C52: each measure holds, and each number is confirmed by other means."""

from __future__ import annotations

import math

import pytest
import torch

from lossbook.book.claims import LEDGER
from lossbook.book.claims import balancing as claims


def test_numbers_of_the_ledger() -> None:
    assert LEDGER["C48"].measure().details["box_term_over_ten_positives"] == pytest.approx(
        100 * LEDGER["C48"].measure().details["the_same_over_all_thousand"]
    )
    assert LEDGER["C49"].measure().value == pytest.approx(1.609438, abs=5e-7)
    assert LEDGER["C51"].measure().details["smooth_L1_at_half_a_metre"] == pytest.approx(396)
    assert LEDGER["C51"].measure().details["smooth_L1_at_a_centimetre"] == pytest.approx(1e4)
    assert LEDGER["C52"].measure().value == pytest.approx(4.60517, abs=5e-6)


def test_a_constant_changes_no_step() -> None:
    features, metres, labels = claims.two_tasks(0)
    assert labels.bincount().tolist() == pytest.approx([80] * 5, abs=40)  # five spreads of sqrt(400 · 0.2 · 0.8)
    assert float(metres.var()) == pytest.approx(101, abs=5 * math.sqrt(2 / 400) * 101)
    assert abs(float(torch.corrcoef(torch.stack([metres, labels.double()]))[0, 1])) < 5 / math.sqrt(len(features))


def test_a_broken_logarithm_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def heavier(self: claims.UncertaintyWeighting, losses: torch.Tensor) -> torch.Tensor:
        return (self.factors * torch.exp(-self.log_variances) * torch.stack(list(losses))).sum() + 0.75 * self.log_variances.sum()

    monkeypatch.setattr(claims.UncertaintyWeighting, "forward", heavier)
    assert not claims.the_logarithm_holds_the_weights_up(0).holds


def test_a_mean_over_everything_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "smooth_l1", lambda offsets, targets, reduction="mean": (offsets - targets).abs())
    assert not claims.the_box_term_is_summed_over_positives(0).holds
