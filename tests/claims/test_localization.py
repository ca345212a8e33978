"""C57: the measure holds, and its numbers are confirmed by other means."""

from __future__ import annotations

import math

import pytest
import torch

from lossbook.book.claims import LEDGER
from lossbook.book.claims import localization as claims


def test_the_learned_scores_are_stationary() -> None:
    """The derivatives of the two expected losses, by hand, change sign at the scores found."""
    found = LEDGER["C57"].measure().details["score_learned_by_quality_focal_loss"]

    def quality_slope(s: float) -> float:  # d/ds of |y − s|² (−y ln s − (1 − y) ln(1 − s)), weighed by the chances
        total = 0.0
        for y, chance in ((0.1, 0.3), (0.9, 0.7)):
            entropy = -y * math.log(s) - (1 - y) * math.log(1 - s)
            total += chance * (2 * (s - y) * entropy + (s - y) ** 2 * (s - y) / (s * (1 - s)))
        return total

    assert quality_slope(found - 1e-4) < 0 < quality_slope(found + 1e-4)


def test_another_pair_of_qualities() -> None:
    """E[q²] / E[q] of 0.2 and 0.8 with equal chances is 0.34 / 0.5 = 0.68."""
    quality, chances = torch.tensor([0.2, 0.8]).double(), torch.tensor([0.5, 0.5]).double()
    assert claims._best_score(claims.varifocal_loss, quality, chances) == pytest.approx(0.68, abs=2e-5)
    assert claims._best_score(claims.binary_cross_entropy, quality, chances) == pytest.approx(0.5, abs=2e-5)


def test_top_is_good_counts_the_highest_score() -> None:
    quality = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.2, 0.3]])
    scores = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert claims._top_is_good(quality, scores) == pytest.approx(1 / 3)


def test_a_varifocal_loss_without_its_weight_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "varifocal_loss", claims.binary_cross_entropy)
    assert not claims.a_score_that_guesses_the_overlap_sorts_better(0).holds


def test_the_expected_share_is_that_of_many_draws() -> None:
    """With an error of 0.3, 20,000 images: five standard deviations of a share of about 0.72 are 0.016. With none to speak of it is nearly 1."""
    source = torch.Generator().manual_seed(7)
    iou = torch.rand(20_000, 20, 5, generator=source).sort(dim=-1).values[..., 3]
    scores = iou + 0.3 * torch.randn(iou.shape, generator=source)
    assert claims._expected_good(0.3) == pytest.approx(claims._top_is_good(iou, scores), abs=0.016)
    assert claims._expected_good(0.01) > 0.99
