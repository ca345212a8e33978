"""A figure in somebody else's book: what the page "Figures for your own book" says is built as it stands, and moved in Chromium."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jupytext
import pytest
from playwright.sync_api import expect

from tests.book.test_sources import ROOT, cells
from tests.browser.conftest import Opener

PAGE = "chapters/workshop/figures.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```\{code-block\} \w+\n:caption: (\S+)\n(.*?)```", TEXT, re.S))
(CELL,) = (code for _, code in cells(PAGE) if "def power" in code)
MARKDOWN = f"{BLOCKS['power.md']}\n```{{code-cell}} ipython3\n{CELL.strip()}\n```\n"

pytestmark = pytest.mark.thorough


def run(folder: Path, line: str) -> None:
    """A command in the folder, from the tests' environment."""
    program, *arguments = line.split()
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("LOSSBOOK_")}
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=surroundings)
    assert done.returncode == 0, done.stdout + done.stderr


def jupyter_book(folder: Path) -> Path:
    for name in ("_config.yml", "_toc.yml"):
        (folder / name).write_text(BLOCKS[name])
    (folder / "power.md").write_text(MARKDOWN)
    run(folder, "jupyter-book build .")
    return folder / "_build/html/power.html"


def sphinx(folder: Path) -> Path:
    (folder / "conf.py").write_text(BLOCKS["conf.py"])
    (folder / "power.md").write_text(MARKDOWN)
    run(folder, "sphinx-build . _build")
    return folder / "_build/power.html"


def nbconvert(folder: Path) -> Path:
    jupytext.write(jupytext.reads(MARKDOWN, fmt="md:myst"), folder / "power.ipynb")
    for line in BLOCKS["convert.sh"].splitlines():  # as the page has them
        run(folder, line)
    stored = (folder / "power.ipynb").read_text(encoding="utf-8")
    assert "lossbook-explorer" in stored
    return folder / "power.html"


def bare(folder: Path) -> Path:
    (folder / "power.py").write_text(CELL[: CELL.index("alt = ")])
    (folder / "bare.py").write_text(BLOCKS["bare.py"])
    run(folder, "python bare.py")
    return folder / "power.html"


@pytest.mark.browser
@pytest.mark.parametrize("build", [jupyter_book, sphinx, nbconvert, bare])
def test_the_figure_moves(build: Callable[[Path], Path], tmp_path: Path, visit: Opener) -> None:
    page = visit(build(tmp_path), quiet=False).page  # the pages that nbconvert and others make ask for scripts of their own, elsewhere
    slider = page.locator(".lossbook-explorer input[type=range]")
    sentence = page.locator(".lossbook-explorer [aria-live=polite]")
    expect(sentence).to_contain_text("the power 2 is 0.250")
    slider.focus()
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    expect(sentence).to_contain_text("the power 1 is 0.500")


def test_torch_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "power.py").write_text(f"{CELL}\nimport sys\nassert 'torch' not in sys.modules\n")
    run(tmp_path, "python power.py")
