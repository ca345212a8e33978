"""Figures outside the chapters are numbered within their page; those of a chapter keep its number."""

from __future__ import annotations

import pytest

from tests.book.mini import TinyBook

DOT = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4" cx="4" cy="4"/></svg>'


def figure(name: str) -> str:
    return f"```{{figure}} dot.svg\n:name: {name}\nA dot.\n```\n\n"


def references(*names: str) -> str:
    return "".join(f"({{numref}}`{name}`)\n\n" for name in names)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> TinyBook:
    """A root with a figure, a chapter with two, and two pages without a number, with one and two."""
    book = TinyBook(tmp_path_factory.mktemp("numbering"))
    (book.folder / "dot.svg").write_text(DOT)
    book.page(f"# Root\n\n{figure('a')}```{{toctree}}\n:numbered:\nchapter\n```\n\n```{{toctree}}\nspeed\ndata\n```\n")
    book.page(f"# Chapter\n\n{figure('b')}{figure('c')}{references('b', 'e')}", "chapter")
    book.page(f"# Speed\n\n{figure('d')}", "speed")
    book.page(f"# *Our* data\n\n## Digits\n\n{figure('e')}{figure('f')}{references('f', 'd', 'c')}{{numref}}`The %s dot <a>`", "data")
    book.build()
    return book


@pytest.mark.parametrize(
    ("page", "expected"),
    [("index", ["Fig. 1"]), ("chapter", ["Fig. 1.1", "Fig. 1.2"]), ("speed", ["Fig. 1"]), ("data", ["Fig. 1", "Fig. 2"])],
)
def test_numbers_of_captions(book: TinyBook, page: str, expected: list[str]) -> None:
    assert [tag.get_text().strip() for tag in book.read(page).select("figcaption .caption-number")] == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [("chapter", ["Fig. 1.1", "Fig. 1 of Our data"]), ("data", ["Fig. 2", "Fig. 1 of Speed", "Fig. 1.2", "The 1 dot of Root"])],
)
def test_a_reference_says_which_page(book: TinyBook, page: str, expected: list[str]) -> None:
    found = book.read(page).select("p > a.reference.internal:has(.std-numref)")
    assert [" ".join(tag.get_text().split()) for tag in found] == expected


def test_a_build_after_no_change_writes_no_page_again(book: TinyBook) -> None:
    written = {name: (book.out() / f"{name}.html").stat().st_mtime_ns for name in ("index", "chapter", "speed", "data")}
    book.build()
    assert {name: (book.out() / f"{name}.html").stat().st_mtime_ns for name in written} == written
