"""The chapters as they are written: in the contents, openable as notebooks, and no wider than a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
CHAPTERS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "chapters").rglob("*.md"))
WIDTH = 92  # characters of code that a page shows without wrapping at 1280 pixels
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}


def listed() -> list[str]:
    """Every file that the contents name, with its suffix."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [f"{contents['root']}.md", *(f"{chapter['file']}.md" for part in contents["parts"] for chapter in part["chapters"])]


def cells(chapter: str) -> list[tuple[set[str], str]]:
    """The tags and the code of each cell."""
    found = []
    for body in CELL.findall((ROOT / chapter).read_text(encoding="utf-8")):
        if body.startswith("---\n"):
            _, head, code = body.split("---\n", 2)
            options = yaml.safe_load(head)
        else:
            lines = body.splitlines()
            head = [line for line in lines if re.match(r":[\w-]+:", line)]
            options = {key: yaml.safe_load(value or "null") for key, value in (re.match(r":([\w-]+): ?(.*)", line).groups() for line in head)}
            code = "\n".join(lines[len(head) :])
        found.append((set(options.get("tags") or ()), code))
    return found


def test_the_contents_name_every_chapter_and_nothing_else() -> None:
    assert sorted(listed()) == CHAPTERS


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_visible_code_fits_the_page(chapter: str) -> None:
    lines = [line for tags, code in cells(chapter) if not tags & FOLDED for line in code.splitlines()]
    assert not [line for line in lines if len(line) > WIDTH]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_with_cells_is_a_notebook(chapter: str) -> None:
    text = (ROOT / chapter).read_text(encoding="utf-8")
    if "{code-cell}" in text:
        _, head, _ = text.split("---\n", 2)
        header = yaml.safe_load(head)
        assert header["jupytext"]["text_representation"]["format_name"] == "myst"
        assert header["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_quiz_reads_well_in_jupyterlab(chapter: str) -> None:
    """JupyterLab hides the first line of a fence of backticks, which is the question."""
    assert "```{quiz}" not in (ROOT / chapter).read_text(encoding="utf-8")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_cell_is_read_at_a_glance(chapter: str) -> None:
    """At most 40 lines; and a page runs wherever it lies: it touches no path of Python's."""
    text = (ROOT / chapter).read_text(encoding="utf-8")
    assert [body.count("\n") for body in CELL.findall(text) if body.count("\n") > 40] == []
    assert "sys.path" not in text
