"""A tiny book in a folder of its own, built by the book's own extension in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bs4 import BeautifulSoup

EXTENSIONS = Path(__file__).parent.parent.parent / "_ext"
HEADER = "---\nfile_format: mystnb\nkernelspec: {display_name: Python 3, language: python, name: python3}\n---\n\n"
CONF = f"""
import sys
sys.path.insert(0, {str(EXTENSIONS)!r})
extensions = ["myst_nb", "lossbook_sphinx"]
project = "Tiny"
html_title = "Tiny"
html_theme = "basic"
exclude_patterns = ["_build"]
numfig = True
nb_execution_mode = "cache"
nb_execution_timeout = 1800
nb_execution_raise_on_error = True
myst_enable_extensions = ["colon_fence", "dollarmath"]
"""


class TinyBook:
    """Pages are written with `page`; `build` returns what Sphinx printed; `read` parses a built page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "lossbook").mkdir()
        (folder / "lossbook/__init__.py").write_text("VALUE = 1\n")
        (folder / "requirements.txt").write_text("torch==2.13.0\n")
        (folder / "conf.py").write_text(CONF)

    def page(self, text: str, name: str = "index") -> None:
        (self.folder / f"{name}.md").write_text(HEADER + text)

    def build(self, builder: str = "html", *, check: bool = True, **environment: str) -> str:
        command = [sys.executable, "-m", "sphinx", "-b", builder, "-W", "-n", "--keep-going", str(self.folder), str(self.out(builder))]
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("LOSSBOOK_") and name != "PYTHONPATH"}
        run = subprocess.run(command, capture_output=True, text=True, env={**surroundings, "NO_COLOR": "1", **environment})
        assert not check or run.returncode == 0, run.stdout + run.stderr
        return run.stdout + run.stderr

    def out(self, builder: str = "html") -> Path:
        return self.folder / "_build" / builder

    def read(self, name: str = "index") -> BeautifulSoup:
        return BeautifulSoup((self.out() / f"{name}.html").read_text(), "html.parser")
