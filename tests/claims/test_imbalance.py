"""C54 to C56: each measure holds, and each number is confirmed by other means."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lossbook.book.claims import LEDGER
from lossbook.book.claims import imbalance as claims


def test_numbers_of_the_ledger() -> None:
    assert LEDGER["C55"].measure().value == 120_087
    found = LEDGER["C56"].measure()
    assert found.value == pytest.approx(0.99946, abs=5e-6)
    assert found.details["the_same_share_under_cross_entropy"] == pytest.approx(0.1864, abs=5e-5)


def test_minimiser_against_a_grid() -> None:
    for eta, known in ((0.6, 0.5378), (0.8, 0.6266), (0.9, 0.6942), (0.99, 0.8464)):
        grid = [(k + 0.5) / 20_000 for k in range(20_000)]
        best = min(grid, key=lambda q, eta=eta: -eta * (1 - q) ** 2 * math.log(q) - (1 - eta) * q**2 * math.log(1 - q))
        assert claims._minimizer(eta, gamma=2.0) == pytest.approx(best, abs=6e-5)
        assert best == pytest.approx(known, abs=1e-4)


def test_anchors_lie_where_they_should() -> None:
    anchors = claims._anchors()
    sides = anchors[:, 2:] - anchors[:, :2]
    assert torch.allclose(sides.prod(dim=1).sqrt().amin(), torch.tensor(32.0, dtype=torch.float64))
    assert torch.allclose(sides.prod(dim=1).sqrt().amax(), 512 * torch.tensor(2.0, dtype=torch.float64) ** (2 / 3))
    ratios = (sides[:, 0] / sides[:, 1]).round(decimals=9).unique()
    assert ratios.tolist() == [0.5, 1.0, 2.0]


def test_a_focal_loss_without_its_square_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = claims.sigmoid_focal_loss

    def wrong(logits: Tensor, targets: Tensor, *, gamma: float, reduction: str) -> Tensor:
        return right(logits, targets, gamma=gamma / 2, reduction=reduction)  # type: ignore[arg-type]

    monkeypatch.setattr(claims, "sigmoid_focal_loss", wrong)
    assert not claims.the_hard_get_nearly_all_of_the_loss(0).holds


def test_a_cross_entropy_that_weighs_all_alike_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "binary_cross_entropy", lambda logits, targets, reduction: -(logits * targets).sum())
    assert not claims.cross_entropy_already_prefers_the_hard(0).holds


def test_the_share_of_the_pull_by_hand() -> None:
    """(1 − q)^2 (1 − q − 2 q ln q) of what the truth gets, a hundred at q = 0.1 among a hundred thousand at q = 0.99."""
    hard, easy = ((1 - q) ** 2 * (1 - q - 2 * q * math.log(q)) for q in (0.1, 0.99))
    details = LEDGER["C56"].measure().details
    assert details["share_of_the_pull"] == pytest.approx(100 * hard / (100 * hard + 100_000 * easy), rel=1e-9)
    assert details["that_share_under_cross_entropy"] == pytest.approx(90 / 1090, rel=1e-9)
