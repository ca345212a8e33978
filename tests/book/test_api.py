"""The package's page: every public name, with what its docstring says taken apart, and links to chapters and to other names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import lossbook
from lossbook import atlas
from tests.book import site as book
from tests.book.mini import EXTENSIONS, TinyBook

sys.path.insert(0, str(EXTENSIONS))
from lossbook_sphinx.api import public_names, signature
from lossbook_sphinx.docstrings import Block, Section, parse

PAGE = "chapters/reference/api.html"
MODULES = ["auditor", "explorer", *lossbook._MODULES]
SAID = """Adds.

    a + b

More, and
on a second line.

Args:
    a: one
        number.
    b, *rest: others.

Returns: the sum.
Raises:
    ValueError: a is
        None.
Example:
    >>> 1 + 1

    >>> 2
Reference: A. Uthor, "Sums", 1999.
Second line. Chapter: boosting.

After the sections."""


def test_a_docstring_is_taken_apart() -> None:
    parsed = parse(SAID)
    assert parsed.blocks == [
        Block("Adds.", False),
        Block("a + b", True),
        Block("More, and on a second line.", False),
        Block("After the sections.", False),
    ]
    assert parsed.sections == [
        Section("Args", [("a", "one number."), ("b, *rest", "others.")], []),
        Section("Returns", [], [Block("the sum.", False)]),
        Section("Raises", [("ValueError", "a is None.")], []),
        Section("Example", [], [Block(">>> 1 + 1", True), Block(">>> 2", True)]),
        Section("Reference", [], [Block('A. Uthor, "Sums", 1999. Second line. Chapter: boosting.', False)]),
    ]


def test_arguments_on_one_line_are_told_apart() -> None:
    (section,) = parse("Args: counts, sizes: how many. confidence: in (0, 1).").sections
    assert section == Section("Args", [("counts, sizes", "how many."), ("confidence", "in (0, 1).")], [])
    (section,) = parse("Raises: ValueError unless s < 1.").sections
    assert section == Section("Raises", [], [Block("ValueError unless s < 1.", False)])


def test_a_signature_is_as_it_is_written() -> None:
    def short(logits: torch.Tensor, *, weight: float | None = None) -> Tensor: ...  # noqa: F821

    def long(a_first_parameter: float, a_second_parameter: float, *, a_third_parameter: str = "a default") -> float: ...

    assert signature("short", short) == "short(logits: torch.Tensor, *, weight: float | None = None) -> Tensor"
    assert signature("long", long).splitlines() == [
        "long(",
        "    a_first_parameter: float,",
        "    a_second_parameter: float,",
        "    *,",
        "    a_third_parameter: str = 'a default',",
        ") -> float",
    ]
    assert signature("short", lambda a, b=1: a) == "short(a, b=1)"


def test_names_and_chapters_are_links(tiny: TinyBook) -> None:
    tiny.page("# Title\n\n```{toctree}\nboosting\nfocal-page\n```\n\n```{api} boosting focal\n```\n")
    tiny.page("# Why so obsessed?\n", "boosting")
    tiny.page("# Focus\n", "focal-page")
    tiny.build()
    page = tiny.read()
    module = page.find(id="api-boosting")
    link = module.find("a", href="boosting.html")
    assert link.text == "Why so obsessed?"
    assert page.find(id="api-boosting-AdaBoost").h3
    assert page.find(id="api-focal-sigmoid_focal_loss").find("a", href="#api-focal-recover_eta")
    assert "Chapters: imbalance, localization." in page.find(id="api-focal").text, "chapters that the book doesn't have stay words"


@pytest.mark.site
@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_its_entry(module: str) -> None:
    page = book.article(PAGE)
    assert page.find(id=f"api-{module}")
    for name in public_names(importlib.import_module(f"lossbook.{module}")):
        assert page.find(id=f"api-{module}-{name}"), f"{module}.{name} is missing"


@pytest.mark.site
@pytest.mark.parametrize("module", MODULES)
def test_every_module_links_to_its_chapters(module: str) -> None:
    here = {Path(name).stem: name for name in book.chapter_names()}
    targets = {book.target(PAGE, tag["href"])[0].stem for tag in book.article(PAGE).find(id=f"api-{module}").find_all("a", href=True)}
    assert set(atlas.chapters(importlib.import_module(f"lossbook.{module}"))) & set(here) <= targets
