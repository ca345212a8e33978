"""Every claim of the ledger: it is there, its verdict and chapter are those of the table here, and its measurement holds for each of three seeds."""

from __future__ import annotations

from collections import Counter

import pytest

from lossbook.claims import LEDGER

CHAPTERS = {
    "the-cliff": "C01 C05 C06",
    "surrogates": "C02 C03 C07 C08 C10 C11 C12 C13 C14",
    "probability": "C15 C16 C17 C18 C19 X01 X06 X08 X10",
    "impostor": "C04 C20 C21 C22",
    "mismatch": "C23 C24",
    "calibration": "C09 C25 C26 C27 X02 X03",
    "ramp": "C28 C29 C30 C31 X04",
    "label-smoothing": "C32 C33 C34 C35 C36",
    "quantization": "C37 C38 C39",
    "learning": "C40",
    "boosting": "C41 C42 C43 C44 C45 X09",
    "confidence": "C46 C47 X07",
    "balancing": "C48 C49 C50 C51 C52",
    "conflict": "C53",
    "imbalance": "C54 C55 C56",
    "localization": "C57",
    "sets": "C58 C59 C60",
    "opportunity-cost": "C61 C62",
    "fairness": "C63 C64",
    "privacy": "C65 C66 C67 X05",
}
CHAPTER_OF = {key: chapter for chapter, keys in CHAPTERS.items() for key in keys.split()}
FALSE = "C07 C08 C27 C36 C38 C60"
HOLDS = "C03 C10 C11 C12 C14 C15 C20 C22 C23 C24 C30 C34 C37 C41 C43 C44 C49 C51 C55 C58 C59 C62"


def verdict_of(key: str) -> str:
    """What 67 claims were judged to be; the extras are results, so they hold."""
    if key in FALSE:
        return "false"
    return "holds" if key in HOLDS or key.startswith("X") else "conditional"


def test_the_ledger_has_all_claims_and_extras_once_and_in_order() -> None:
    assert list(LEDGER) == sorted(CHAPTER_OF) == [f"C{k:02d}" for k in range(1, 68)] + [f"X{k:02d}" for k in range(1, 11)]
    assert Counter(claim.verdict for claim in LEDGER.values() if claim.id.startswith("C")) == {"holds": 22, "conditional": 39, "false": 6}


@pytest.mark.parametrize("key", sorted(CHAPTER_OF))
def test_verdict_and_chapter(key: str) -> None:
    assert (LEDGER[key].verdict, LEDGER[key].chapter) == (verdict_of(key), CHAPTER_OF[key])


@pytest.mark.parametrize("key", sorted(CHAPTER_OF))
def test_the_measurement_holds_whatever_the_seed(key: str) -> None:
    for seed in range(3):
        found = LEDGER[key].measure(seed)
        assert found.holds, (seed, found)
