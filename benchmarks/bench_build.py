"""Building the whole book in a fresh copy of what git tracks: cold, and again with nothing changed. Minutes; `make bench ONLY=build`.

python -m benchmarks.bench_build
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Budget, main

ROOT = Path(__file__).parent.parent


def copy(folder: Path) -> None:
    """The tracked files, as they are in the working tree."""
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def build(folder: Path) -> float:
    """Seconds of wall time."""
    began = time.monotonic()
    subprocess.run([sys.executable, "_ext/build.py"], cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, check=True)
    return time.monotonic() - began


class Build:
    """Two builds one after the other."""

    work = "building the book"

    def measure(self, seconds: float) -> Iterator[Budget]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            copy(folder)
            yield Budget("the whole book built cold, pages executed two at a time", "s", build(folder), 300)
            yield Budget("the book built again, nothing changed", "s", build(folder), 20)


if __name__ == "__main__":
    main(__doc__, [Build()], peers=["jupyter-book", "sphinx"])
