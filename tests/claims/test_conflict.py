"""C53: the measure holds, and its rule is confirmed by other means."""

from __future__ import annotations

import math

import pytest
import torch

from lossbook.book.claims import LEDGER
from lossbook.book.claims import conflict as claims


def test_numbers_of_the_ledger() -> None:
    details = LEDGER["C53"].measure().details
    assert details["loss_of_1_after_a_shared_step"] == pytest.approx(1.3924)
    assert details["the_same_at_the_joint_optimum"] == pytest.approx(3.3058, abs=5e-5)
    assert 100 < details["pairs_where_the_sum_hurts"] < 900


@pytest.mark.parametrize(("angle", "ratio", "hurts"), [(170, 1.0, False), (170, 2.0, True), (100, 2.0, False), (100, 7.0, True), (80, 50.0, False)])
def test_the_rule_at_angles_done_by_hand(angle: float, ratio: float, hurts: bool) -> None:
    """cos 100° = -0.1736, so the length must exceed 1 / 0.1736 = 5.76; cos 170° = -0.985. Surgery leaves sin² of the second gradient's square."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    gradients = torch.tensor([[ratio * cosine, ratio * sine], [1.0, 0.0]], dtype=torch.float64)
    along_the_second = 1 + ratio * cosine  # what the plain sum moves it
    assert (along_the_second < 0) == hurts
    assert float(claims.pcgrad(gradients) @ gradients[1]) == pytest.approx(sine**2 if cosine < 0 else along_the_second)


def test_a_surgery_that_hurts_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "pcgrad", lambda gradients: gradients.sum(dim=0))
    assert not claims.a_conflict_hurts_only_the_shorter_gradient(0).holds
