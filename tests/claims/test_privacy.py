"""C65 to C67 and X05: each measure holds, and each number is confirmed by other means."""

from __future__ import annotations

import math

import pytest

from lossbook.book.claims import LEDGER
from lossbook.book.claims import privacy as claims


def test_numbers_of_the_ledger() -> None:
    assert LEDGER["C65"].measure().value == pytest.approx(0.2689, abs=4e-3)
    assert LEDGER["C66"].measure().expected == pytest.approx(0.06450, abs=5e-6)
    assert LEDGER["C66"].measure().details["with_1001_labels"] == pytest.approx(0.00038, abs=5e-6)
    assert LEDGER["C66"].measure().details["labels_for_one_plain_one_at_this_share"] == pytest.approx(19.66, abs=5e-3)
    assert LEDGER["C67"].measure().value == pytest.approx(0.731, abs=6e-3)
    assert LEDGER["X05"].measure().details["loss_of_an_honest_report_at_margin_5"] == pytest.approx(-2.903, abs=5e-4)


def test_a_mechanism_with_another_flip_rate_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims.RandomizedResponse, "flip_probability", property(lambda self: 1 / (2 + math.exp(self.epsilon))))
    assert not claims.flips_keep_the_promise(0).holds
    assert not claims.one_report_moves_an_even_guess_to_this(0).holds


def test_a_mechanism_that_heeds_no_epsilon_makes_no_trade_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims.RandomizedResponse, "flip_probability", 1 / (1 + math.exp(0.5)))
    assert not claims.less_privacy_fewer_mistakes(0).holds
