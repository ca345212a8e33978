"""The glossary is in order, every term has its chapter, and the chapters link to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.book import site as book

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "chapters/reference/glossary.md"
ENTRIES = re.findall(r"^(\S.*)\n    (\S.*)$", PAGE.read_text(encoding="utf-8").partition("```{glossary}")[2], flags=re.MULTILINE)
TERMS = [term for term, _ in ENTRIES]


def test_the_terms_are_in_order_and_many() -> None:
    assert len(TERMS) >= 55
    assert sorted(TERMS, key=str.casefold) == TERMS


@pytest.mark.parametrize(("term", "text"), ENTRIES, ids=TERMS)
def test_a_term_ends_in_the_chapter_that_speaks_of_it(term: str, text: str) -> None:
    chapter = PAGE.parent / f"{re.search(r'{doc}`([^`]+)`$', text)[1]}.md"
    stem = re.escape(re.split("[ -](?!1)", term)[0].rstrip("s"))
    assert re.search(rf"\b{stem}", chapter.read_text(encoding="utf-8"), flags=re.IGNORECASE), f"{chapter.stem} says nothing of {term}"


def test_a_term_explains_itself_first() -> None:
    assert not [term for term, text in ENTRIES if text.startswith("Also:")]
    assert sum("Also" in text for _, text in ENTRIES) >= 40, "the words of other papers"


@pytest.mark.site
def test_chapters_link_to_the_glossary() -> None:
    linking = []
    for name in book.chapter_names():
        targets = [book.target(name, tag["href"]) for tag in book.article(name).select("a[href*='glossary.html#term-']")]
        assert all(anchor in book.anchors(path.relative_to(book.SITE).as_posix()) for path, anchor in targets)
        linking += [name] if targets and "reference" not in name else []
    assert len(linking) >= 12
