"""The ledger shows what the chapters' boxes show, all of it, with links that lead both ways."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag

from lossbook.book.claims import LEDGER, ClaimBox
from lossbook.book.claims.ledger import Measurement
from studies import FINDINGS
from tests.book import site as book
from tests.book.mini import TinyBook

PAGE = "chapters/reference/ledger.html"
CONTENTS = "\n```{toctree}\n:caption: A part\nthe-cliff\nsurrogates\nledger\n```\n"


def chapter(*claims: str, value: float = 0.125) -> str:
    """A page with the boxes of these claims, as its cell leaves them."""
    shown = [ClaimBox(LEDGER[key], Measurement(value, 0.25, 0.5, True, {}))._repr_mimebundle_() for key in claims]
    return f"# Chapter\n\n```{{code-cell}} ipython3\nfor bundle in {shown!r}:\n    display(bundle, raw=True)\n```\n"


@pytest.fixture(scope="module")
def tiny_ledger(tmp_path_factory: pytest.TempPathFactory) -> TinyBook:
    """Two chapters of which one is whole, and a ledger."""
    book = TinyBook(tmp_path_factory.mktemp("ledger"))
    (book.folder / "deep").mkdir()
    book.page("# Title\n" + CONTENTS.replace("ledger", "deep/ledger"))
    book.page(chapter("C01", "C05", "C06"), "the-cliff")
    book.page(chapter("C02", "C07", "C10"), "surrogates")
    book.page("# Ledger\n\n```{ledger}\n```\n", "deep/ledger")
    return book


def row(page: BeautifulSoup, key: str) -> Tag:
    """A claim's row."""
    return page.find(id=f"ledger-{key}")


def test_rows_show_the_boxes_and_link_to_them_and_back(tiny_ledger: TinyBook) -> None:
    warnings = tiny_ledger.build(check=False)
    found = row(tiny_ledger.read("deep/ledger"), "C07")
    assert found.find(class_="ledger-value").text == "0.125"
    assert "expected 0.25 ± 0.5" in found.text
    assert found.th.a["href"] == "../surrogates.html#claim-C07"
    assert found["data-part"] == "A part"
    box = tiny_ledger.read("surrogates").find(id="claim-C07")
    assert box.find(class_="claim-id")["href"] == "deep/ledger.html#ledger-C07"
    missing = set(re.findall(r"WARNING: claim (C\d\d) is not shown in its chapter", warnings))
    assert missing == {"C03", "C08", "C11", "C12", "C13", "C14"}
    assert "not part of this copy" in row(tiny_ledger.read("deep/ledger"), "C15").text


def test_a_changed_chapter_changes_the_ledger(tiny_ledger: TinyBook) -> None:
    tiny_ledger.build(check=False)
    tiny_ledger.page(chapter("C01", "C05", "C06", value=0.375), "the-cliff")
    tiny_ledger.build(check=False)
    assert row(tiny_ledger.read("deep/ledger"), "C05").find(class_="ledger-value").text == "0.375"
    assert row(tiny_ledger.read("deep/ledger"), "C02").find(class_="ledger-value").text == "0.125"


def test_without_a_ledger_a_box_is_as_the_notebook_has_it(tiny: TinyBook) -> None:
    tiny.page(chapter("C07"))
    tiny.build()
    assert tiny.read().find(id="claim-C07").find(class_="claim-id").name == "span"


@pytest.mark.site
def test_every_claim_has_its_row_in_order() -> None:
    rows = book.article(PAGE).select(".ledger tbody tr")
    assert [found["id"] for found in rows] == [f"ledger-{key}" for key in LEDGER]
    assert {f"ledger-C{number:02d}" for number in range(1, 68)} <= {found["id"] for found in rows}
    verdicts = Counter(found["data-verdict"] for found in rows if found["id"].startswith("ledger-C"))
    sentence = book.article(PAGE).select_one(".ledger > p").text
    assert [int(number) for number in re.findall(r"\d+", sentence)][:4] == [67, verdicts["holds"], verdicts["conditional"], verdicts["false"]]


@pytest.mark.site
def test_every_finding_has_its_row_in_order_and_is_that_of_its_chapters_box() -> None:
    rows = book.article(PAGE).select(".findings tbody tr")
    assert [found["id"] for found in rows] == [f"ledger-{key}" for key in FINDINGS]
    pages = {Path(name).stem: name for name in book.chapter_names()}
    for found, (key, finding) in zip(rows, FINDINGS.items(), strict=True):
        box = book.article(pages[finding.chapter]).find(id=f"finding-{key}")
        assert found.find(class_="ledger-value").text == box.find(class_="claim-value").text
        assert box.find(class_="claim-value")["data-holds"] == "true"
        assert found.th.a["href"].endswith(f"{finding.chapter}.html#finding-{key}")
        assert box.find(class_="claim-id")["href"].endswith(f"ledger.html#ledger-{key}")


@pytest.mark.site
def test_a_row_is_its_chapters_box() -> None:
    pages = {Path(name).stem: name for name in book.chapter_names()}
    for key, claim in LEDGER.items():
        found = row(book.article(PAGE), key)
        assert claim.statement in found.text
        box = book.article(pages[claim.chapter]).find(id=f"claim-{key}")
        assert found.find(class_="ledger-value").text == box.find(class_="claim-value").text
        file, anchor = book.target(PAGE, found.th.a["href"])
        assert (file.relative_to(book.SITE).as_posix(), anchor) == (pages[claim.chapter], f"claim-{key}")
        file, anchor = book.target(pages[claim.chapter], box.find(class_="claim-id")["href"])
        assert (file.relative_to(book.SITE).as_posix(), anchor) == (PAGE, f"ledger-{key}")
