"""The recipes stand alone: each cell runs in an empty namespace, is short, and between them they use every family of the package."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lossbook

PAGE = Path(__file__).parent.parent.parent / "chapters/workshop/recipes.md"
CELL = re.compile(r"^```\{code-cell\} ipython3\n(?:---\n.*?---\n)?(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
RECIPES = CELL.findall(PAGE.read_text(encoding="utf-8"))
FAMILIES = set(lossbook.__all__) - {"__version__", "audit", "book"}


def test_every_family_has_a_recipe() -> None:
    imported = {name.name for recipe in RECIPES for node in ast.walk(ast.parse(recipe)) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert imported >= FAMILIES


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: re.findall(r"lossbook import ([\w, ]+)", recipe)[0])
def test_a_recipe_is_ten_lines(recipe: str) -> None:
    lines = [line for line in recipe.splitlines() if line.strip() and not line.startswith(("import ", "from "))]
    assert len(lines) <= 10


def test_every_recipe_runs_alone(tmp_path: Path) -> None:
    """One process, a fresh namespace each, warnings as errors, away from the checkout's folder."""
    script = "import warnings; warnings.simplefilter('error')\n" + "".join(
        f"exec(compile({recipe!r}, 'recipe', 'exec'), {{}})\n" for recipe in RECIPES
    )
    root = str(PAGE.parent.parent.parent)
    code = f"import sys; sys.path.insert(0, {root!r})\n{script}"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "LOSSBOOK_STATIC": "1", "MPLBACKEND": "agg"},
    )
    assert run.returncode == 0, run.stderr
