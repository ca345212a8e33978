"""The package's page: every public name has an entry that others can link to, with what its docstring says, and a link to its source."""

from __future__ import annotations

import gzip
import importlib
import posixpath
import re
import sys
from pathlib import Path

import pytest
from bs4 import Tag
from sphinx.util.inventory import InventoryFile

import lossbook
from lossbook.book import atlas
from tests.book import site as book
from tests.book.mini import EXTENSIONS, TinyBook

sys.path.insert(0, str(EXTENSIONS))
from lossbook_sphinx.docstrings import rst

ROOT = Path(__file__).parent.parent.parent
PAGE = "chapters/reference/api.html"
MODULES = lossbook._MODULES
REPOSITORY = "https://github.com/OWNER/NAME"


def said(text: str) -> str:
    """A docstring as reStructuredText, with code and chapters marked."""
    return rst(text, "``{}``".format, ":doc:`{}`".format)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The shape of `x`.", "The shape of ``x``."),
        ("of `x`s, non`x`", "of ``x``\\ s, non\\ ``x``"),
        ("(`a`, `b`)", "(``a``, ``b``)"),
        ("`a\n  b`", "``a b``"),
        ("|A| * w_, P(y | x)", "\\|A\\| \\* w\\_, P(y \\| x)"),
        ("p_t stays", "p_t stays"),
        ("a \\ b", "a \\\\ b"),
        ("$x_i$ and $|y|$.", ":math:`x_i` and :math:`|y|`."),
        ("    $$ a\n       b $$", "    .. math::\n\n        a b\n"),
        ("A. Uthor, 1999.", "\\A. Uthor, 1999."),
        ("    B. Other.", "    \\B. Other."),
        (">>> f(`x`, *y)\n|z|\n\n*", ">>> f(`x`, *y)\n|z|\n\n\\*"),
        ("Adds.\n\nReturns:\n    One.", "Adds.\n\n:Returns:\n    One."),
        ("Raises:\n    ValueError: never.", "Raises:\n    ValueError: never."),
        ("Raises:\n    What addition raises.", ":Raises:\n    What addition raises."),
        ("Adds. Chapter: boosting.", "Adds. Chapter: :doc:`boosting`."),
        ("Adds,\nChapters: a-b,\nc.", "Adds,\nChapters: :doc:`a-b`, :doc:`c`."),
        ("Adds.\n\nChapters: a, b.", "Adds.\n\n:Chapters: :doc:`a`, :doc:`b`"),
        ("Chapter: the third.", "Chapter: the third."),
    ],
)
def test_a_docstring_becomes_restructuredtext(text: str, expected: str) -> None:
    assert said(text) == expected


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> TinyBook:
    """A book with two modules, two of the chapters that they name, and a repository."""
    tiny = TinyBook(tmp_path_factory.mktemp("small"))
    conf = tiny.folder / "conf.py"
    conf.write_text(conf.read_text().replace('html_theme = "basic"', 'html_theme = "sphinx_book_theme"'))  # which knows what a repository is
    tiny.page("# Title\n\n```{toctree}\nboosting\nimbalance\n```\n\n```{api} boosting crossentropy focal margins\n```\n")
    tiny.page("# Why so obsessed?\n", "boosting")
    tiny.page("# Focus\n", "imbalance")
    tiny.build(LOSSBOOK_REPOSITORY_URL=REPOSITORY, LOSSBOOK_REPOSITORY_BRANCH="next")
    return tiny


def entry(page: Tag, name: str) -> Tag:
    """A name's description: its signature and what it says."""
    found = page.find(id=name)
    assert isinstance(found, Tag)
    description = found.find_parent("dl")
    assert isinstance(description, Tag)
    return description


def fields(description: Tag) -> list[str]:
    """The heads of an entry's sections, in order."""
    listing = description.find("dl", class_="field-list")
    return [term.get_text().rstrip(":") for term in listing.find_all("dt", recursive=False)] if isinstance(listing, Tag) else []


def test_sections_are_fields_in_the_docstrings_order(small: TinyBook) -> None:
    loss = entry(small.read(), "lossbook.focal.sigmoid_focal_loss")
    assert fields(loss) == ["Parameters", "Returns", "Raises", "Example", "Reference", "Conventions"]
    names = [tag.get_text() for tag in loss.find("dl", class_="field-list").dd.find_all("strong")]
    assert names == ["logits", "targets", "gamma", "alpha", "ignore", "sample_weight", "reduction"]
    assert loss.find("div", class_="doctest")
    assert "gamma: float = 2.0" in loss.dt.get_text()


def test_names_and_chapters_are_links(small: TinyBook) -> None:
    page = small.read()
    boosting, focal = (page.find(id=f"module-lossbook.{name}") for name in ("boosting", "focal"))
    assert boosting.find("a", href="boosting.html").text == "Why so obsessed?"
    chapters = "".join(focal.find("dl", class_="field-list").get_text().split())
    assert chapters == "Chapters:Focus,localization", "a chapter that the book doesn't have stays a word"
    assert entry(page, "lossbook.focal.sigmoid_focal_loss").find("a", href="#lossbook.focal.recover_eta")
    assert page.find("table", class_="autosummary").find("a", href="#module-lossbook.focal")
    assert page.find(id="api-focal"), "the page's own anchors stay"


def test_a_loss_of_the_margin_is_a_line_with_its_formula(small: TinyBook) -> None:
    hinge = entry(small.read(), "lossbook.margins.hinge")
    assert hinge.find(class_="math").get_text() == r"\(\max(0, 1 - m)\)"
    assert "C. Cortes, V. Vapnik, Support-vector networks, 1995." in hinge.get_text()
    assert len(hinge.dd.find_all("p")) == 1
    assert "MarginLoss(" not in hinge.dt.get_text()


@pytest.mark.parametrize(
    ("name", "path", "line"),
    [
        ("focal.sigmoid_focal_loss", "lossbook/focal.py", "def sigmoid_focal_loss("),
        ("boosting.AdaBoost", "lossbook/boosting/__init__.py", "class AdaBoost"),
        ("boosting.AdaBoost.fit", "lossbook/boosting/__init__.py", "    def fit("),
        ("margins.hinge", "lossbook/margins/__init__.py", "hinge = "),
        ("margins.MarginLoss", "lossbook/margins/_record.py", "class MarginLoss"),
    ],
)
def test_an_entry_links_to_its_lines(small: TinyBook, name: str, path: str, line: str) -> None:
    signature = entry(small.read(), f"lossbook.{name}").dt
    address = signature.find("a", href=re.compile(f"^{REPOSITORY}/blob/next/"))["href"]
    found = re.fullmatch(rf"{REPOSITORY}/blob/next/(.+)#L(\d+)-L(\d+)", address)
    assert found
    assert found[1] == path
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()[int(found[2]) - 1 : int(found[3])]
    assert next(one for one in lines if not one.lstrip().startswith("@")).startswith(line), "decorators, then the definition"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TinyBook:
    """The page as the book has it, without a repository; every warning is an error there."""
    tiny = TinyBook(tmp_path_factory.mktemp("whole"))
    tiny.page((ROOT / "chapters/reference/api.md").read_text(encoding="utf-8") + "\n```{toctree}\nbench\n```\n")
    tiny.page("# Audit\n\n(audit-require)=\n## Let a test insist\n", "bench")
    tiny.build()
    return tiny


def public() -> list[str]:
    """Every public name, in full."""
    names = [f"lossbook.{name}" for name in lossbook.__all__]
    for module in MODULES:
        names += [f"lossbook.{module}", *(f"lossbook.{module}.{name}" for name in importlib.import_module(f"lossbook.{module}").__all__)]
    return list(dict.fromkeys(names))


def test_every_public_name_is_in_the_inventory(whole: TinyBook) -> None:
    """So that intersphinx of another project finds it, at an anchor that is there."""
    with (whole.out() / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", posixpath.join)
    found = {name: item[2] for kind, items in inventory.items() if kind.startswith("py:") for name, item in items.items()}
    assert set(public()) <= set(found)
    page = whole.read()
    assert [name for name in public() if not page.find(id=found[name].partition("#")[2])] == []


def test_no_section_is_stranded(whole: TinyBook) -> None:
    heads = re.compile(r"(Args|Attributes|Call|Call with|Returns?|Raises|Examples?|References?|Conventions?|Requires|Notes?): ?")
    page = whole.read()
    outside = [*page.find_all("p"), *page.select("dl.simple:not(.field-list) > dt")]
    assert [text.get_text()[:60] for text in outside if heads.match(text.get_text())] == []
    known = {"Parameters", "Attributes", "Call with", "Returns", "Raises", "Example", "Reference", "Conventions", "Chapter", "Chapters"}
    assert {head for listing in page.find_all("dl", class_="py") for head in fields(listing)} <= known


def test_the_page_is_light_and_links_to_no_source_that_it_does_not_know(whole: TinyBook) -> None:
    content = (whole.out() / "index.html").read_bytes()
    assert len(gzip.compress(content, 6)) < 300_000
    assert b"viewcode-link" not in content


@pytest.mark.site
@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_its_entry(module: str) -> None:
    page = book.article(PAGE)
    assert page.find(id=f"module-lossbook.{module}")
    for name in [] if module == "book" else importlib.import_module(f"lossbook.{module}").__all__:
        assert page.find(id=f"lossbook.{module}.{name}"), f"{module}.{name} is missing"


@pytest.mark.site
@pytest.mark.parametrize("module", MODULES)
def test_every_module_links_to_its_chapters(module: str) -> None:
    here = {Path(name).stem: name for name in book.chapter_names()}
    targets = {book.target(PAGE, tag["href"])[0].stem for tag in book.article(PAGE).find(id=f"module-lossbook.{module}").find_all("a", href=True)}
    assert set(atlas.chapters(importlib.import_module(f"lossbook.{module}"))) & set(here) <= targets
