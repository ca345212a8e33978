"""Every claim of the ledger: it is there, its chapter shows it, what it says goes with its verdict, and its measurement holds for three seeds."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from lossbook.book.claims import LEDGER
from lossbook.book.claims.ledger import VERDICTS

CHAPTERS = Path(__file__).parent.parent.parent / "chapters"


def test_the_ledger_has_all_claims_and_extras_once_and_in_order() -> None:
    assert list(LEDGER) == [f"C{k:02d}" for k in range(1, 68)] + [f"X{k:02d}" for k in range(1, 11)]


def test_every_chapter_shows_its_claims_once_and_no_others() -> None:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in CHAPTERS.rglob("*.md")}
    shown = Counter((chapter, key) for chapter, text in texts.items() for key in re.findall(r'claims\.show\("(\w+)"', text))
    assert shown == Counter((claim.chapter, key) for key, claim in LEDGER.items())


def test_what_does_not_hold_as_stated_comes_with_the_sentence_that_does() -> None:
    for claim in LEDGER.values():
        assert claim.verdict in VERDICTS
        assert claim.verdict == "holds" or claim.corrected != claim.statement, claim.id


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.thorough), pytest.param(2, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("key", list(LEDGER))
def test_the_measurement_holds_whatever_the_seed(key: str, seed: int) -> None:
    found = LEDGER[key].measure(seed)
    assert found.holds, (seed, found)
