"""The ledger: what a claim is, what its measurement says, and that its box shows untrusted text as text."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup

from lossbook.book.claims import LEDGER, Claim, ClaimBox, Measurement, claim, measured, show
from lossbook.book.claims.ledger import number

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


@pytest.mark.parametrize(("value", "text"), [(math.nan, "NaN"), (math.inf, "∞"), (-math.inf, "-∞")])
@pytest.mark.parametrize("place", ["value", "expected", "tolerance", "details"])
def test_a_claim_that_measures_no_number_shows_that_it_does_not_hold(place: str, value: float, text: str) -> None:
    """NaN or an infinity, wherever in the measurement, stands in the box, which says that this was not expected."""

    def function(seed: int) -> Measurement:
        numbers = {"value": 1.0, "expected": 2.0, "tolerance": 0.5} | {place: value}
        return measured(**{name: number for name, number in numbers.items() if name != "details"}, conditions=False, other=numbers.get("details", 0))

    box = ClaimBox(Claim("X98", "s", "holds", "s", "preface", (), "quantity", function), function(0))
    assert not box.measurement.holds
    soup = BeautifulSoup(box._repr_html_(), "html.parser")
    assert soup.find(class_="claim-value")["data-holds"] == "false"
    said = soup.find(class_="claim-measured").text
    assert said.endswith("This is not what was expected.")
    assert text in (soup.find(class_="claim-details").text if place == "details" else said)
    assert repr(box).endswith(". This is not what was expected")
    assert (f"= {text}," if place == "value" else f"expected {text}" if place == "expected" else "=") in repr(box)


def test_a_nan_agrees_with_nothing() -> None:
    for value, expected in ((math.nan, 1.0), (1.0, math.nan), (math.nan, math.nan), (math.inf, -math.inf), (math.inf, 1.0)):
        assert not measured(value, expected, 0.5).holds


def test_a_claim_written_anew_is_measured_anew(entry: Claim) -> None:
    """As where its cell of a notebook is run again: what the former function measured is not shown for the new one."""
    assert show("X99").measurement.value == 7

    def register(value: float) -> None:
        def seven(seed: int) -> Measurement:
            return measured(value, 7, 0.5)

        seven.__qualname__ = entry.function.__qualname__
        claim("X99", statement="s", verdict="false", corrected="c", chapter="preface", references=(), quantity="q")(seven)

    register(8)
    assert show("X99").measurement.value == 8


def test_a_measurement_is_the_same_wherever_it_is_asked_for() -> None:
    """It draws, trains and keeps its tensors as torch does when it starts, and leaves torch as it found it."""

    def trains(seed: int) -> Measurement:
        start = torch.randn(3, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        (gradient,) = torch.autograd.grad((start[None] @ start[:, None]).sum(), start)
        return measured(float(gradient.sum()), 0, 0, itemsize=start.itemsize)

    plain = Claim("X97", "s", "holds", "s", "preface", (), "q", trains)
    expected = trains(3)
    assert expected.details == {"itemsize": 4}
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            assert plain.measure(3) == expected
            assert torch.is_inference_mode_enabled()
            assert torch.zeros(1).device.type == "meta"
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_seed_is_a_whole_number(entry: Claim) -> None:
    assert entry.measure(np.int64(2)) is entry.measure(2)
    for seed, error, message in (
        (-1, ValueError, "at least 0; found -1"),
        (1.0, TypeError, "an integer; found float"),
        (True, TypeError, "an integer"),
    ):
        with pytest.raises(error, match=f"`seed` should be {message}"):
            entry.measure(seed)


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
