"""The build's account of itself: every executed page with its time, and nothing that names a machine."""

from __future__ import annotations

import getpass
import platform
import re
from pathlib import Path

import pytest
import torch
from jupyter_cache import get_cache

from tests.book import site as book
from tests.book.mini import TinyBook

PAGE = "chapters/reference/status.html"


def test_a_page_with_code_has_a_row(tiny: TinyBook) -> None:
    still = "import time\ntime.process_time = lambda: 86400.25"
    tiny.page(f"# First\n\n```{{code-cell}} ipython3\n{still}\n```\n\n```{{toctree}}\nstatus\nplain\n```\n")
    (tiny.folder / "status.md").write_text("# Status\n\n```{build-status}\n```\n")
    (tiny.folder / "plain.md").write_text("# Plain\n")
    tiny.build(SOURCE_DATE_EPOCH="0")
    page = tiny.read("status")
    pages, versions = page.find_all("table", class_="build-status")
    (row,) = pages.tbody.find_all("tr")
    title, processor, clock, memory = (cell.text for cell in row.find_all("td"))
    assert title == "First"
    assert row.a["href"] == "index.html"
    (folder,) = (tiny.folder / "_build/executed").iterdir()
    (record,) = get_cache(str(folder)).list_cache_records()
    assert processor == "86400.2"
    assert clock == f"{record.data['execution_seconds']:.1f}"
    assert 10 < float(memory) < 1000
    assert f"CPUs, Python {platform.python_version()}. The code" in page.text
    assert "Written on 1 January 1970" in page.text
    assert "The code of 1 pages" in page.text
    assert dict(tuple(cell.text for cell in row.find_all("td")) for row in versions.tbody.find_all("tr"))["torch"] == torch.__version__


@pytest.mark.site
def test_every_notebook_of_the_book_is_accounted_for() -> None:
    table = book.article(PAGE).find("table", class_="build-status")
    listed = {book.target(PAGE, link["href"])[0].stem for link in table.find_all("a")}
    root = Path(__file__).parent.parent.parent
    notebooks = {Path(name).stem for name in book.chapter_names() if "{code-cell}" in (root / name).with_suffix(".md").read_text()}
    assert listed == notebooks


@pytest.mark.site
def test_it_names_no_machine() -> None:
    text = book.article(PAGE).text
    names = {platform.node(), str(Path.home()), str(Path(__file__).parent.parent.parent)}
    assert not [name for name in names if name and re.search(rf"\b{re.escape(name)}\b", text)]
    assert getpass.getuser() not in text or getpass.getuser() in {"root", "runner"}
