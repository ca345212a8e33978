"""The ledger: what a claim is, what its measurement says, and that its box shows untrusted text as text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bs4 import BeautifulSoup

from lossbook.claims import LEDGER, Claim, ClaimBox, Measurement, claim, measured, show
from lossbook.claims._ledger import number

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp; <b>"


@pytest.fixture
def entry() -> Iterator[Claim]:
    """A claim that is in the ledger for the length of a test."""

    @claim("X99", statement="s", verdict="false", corrected="c", chapter="preface", references=(), quantity="q")
    def seven(seed: int) -> Measurement:
        return measured(7 + seed, 7, 0.5, conditions=seed < 5, other=1)

    yield LEDGER["X99"]
    del LEDGER._claims["X99"]


def test_holds_is_computed() -> None:
    assert measured(1.0, 1.04, 0.05).holds
    assert not measured(1.0, 1.06, 0.05).holds
    assert not measured(1.0, 1.0, 0.05, conditions=False).holds
    assert measured(float("inf"), float("inf"), 0.0).holds
    assert not measured(float("nan"), 1.0, 0.5).holds
    assert measured(1, 1, 0, more=2).details == {"more": 2.0}


def test_a_claim_is_measured_by_its_seed_and_once(entry: Claim) -> None:
    assert entry.measure() == Measurement(7.0, 7.0, 0.5, True, {"other": 1.0})
    assert not entry.measure(1).holds
    assert entry.measure() is entry.measure()
    assert show("X99").measurement is entry.measure()
    assert repr(show("X99")) == "X99 (false as stated): q = 7, expected 7"


def test_an_id_belongs_to_one_claim(entry: Claim) -> None:
    def other(seed: int) -> Measurement:
        return measured(0, 0, 0)

    with pytest.raises(ValueError, match="X99 is registered twice"):
        claim("X99", statement="s", verdict="holds", corrected="s", chapter="preface", references=(), quantity="q")(other)
    with pytest.raises(KeyError, match="No claim 'C99'"):
        LEDGER["C99"]


def test_untrusted_text_stays_text() -> None:
    def nothing(seed: int) -> Measurement:
        return measured(0, 0, 0)

    hostile = Claim("X98", HOSTILE, "false", HOSTILE, "preface", (HOSTILE,), HOSTILE, nothing)
    box = ClaimBox(hostile, Measurement(1.0, 1.0, 0.1, True, {HOSTILE: 1.0}))
    soup = BeautifulSoup(box._repr_html_(), "html.parser")
    assert not soup.find_all(["script", "img"])
    assert soup.find(class_="claim-statement").text.endswith(HOSTILE)
    assert soup.find(class_="claim-corrected").text.endswith(HOSTILE)
    assert HOSTILE in soup.find(class_="claim-measured").text
    assert HOSTILE in soup.find("li").text


@pytest.mark.parametrize(("value", "text"), [(0.693147, "0.6931"), (27.9, "27.9"), (1.3e-15, "1.3e-15"), (709044.0, "709044"), (2.5e-7, "2.5e-7")])
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
