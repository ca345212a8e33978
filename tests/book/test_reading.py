"""The minutes of a page: words, formulas, code and results that are open, and nothing that is folded."""

from __future__ import annotations

import pytest

from tests.book.mini import TinyBook

MINUTES = "About {sub-ref}`wordcount-minutes` minutes.\n\n"
WORDS = "word " * 600 + "\n\n"
FORMULAS = "$$\na = b\n$$\n\n" * 12
CODE = "```{code-cell} ipython3\n" + "a = 1\n" * 60 + "```\n\n"
FIGURES = "```{code-cell} ipython3\n1 + 1\n```\n\n" * 9
FOLDED = "```{code-cell} ipython3\n:tags: [hide-input, hide-output]\n\n" + "a = 1\n" * 60 + "a\n```\n\n"


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> TinyBook:
    """A page for each kind of content."""
    book = TinyBook(tmp_path_factory.mktemp("reading"))
    pages = {"index": "", "words": WORDS, "formulas": FORMULAS, "code": CODE, "figures": FIGURES, "folded": FOLDED}
    for name, content in pages.items():
        book.page(f"# Title\n\n{MINUTES}{content}", name)
    page = book.folder / "index.md"
    page.write_text(page.read_text() + "```{toctree}\n" + "\n".join(name for name in pages if name != "index") + "\n```\n")
    book.build()
    return book


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("index", 1, id="a page of nothing"),
        pytest.param("words", 3, id="200 words a minute"),
        pytest.param("formulas", 4, id="three formulas a minute"),
        pytest.param("code", 3, id="twenty lines of code a minute"),
        pytest.param("figures", 6, id="three results in two minutes, and their lines"),
        pytest.param("folded", 1, id="what is folded is not read"),
    ],
)
def test_minutes(book: TinyBook, name: str, expected: int) -> None:
    """MyST's own count would say 1 of each page but that of the words."""
    assert f"About {expected} minutes." in book.read(name).get_text()
