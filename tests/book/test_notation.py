"""The table of notation agrees with the package and with the chapters that it names."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "chapters/reference/notation.md"
ROWS = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in PAGE.read_text().splitlines() if line.startswith("| $")]


@cache
def names_of_the_package() -> frozenset[str]:
    """What its functions take, what they are called, and what its records hold."""
    found: set[str] = set()
    for path in (ROOT / "lossbook").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.arg):
                found.add(node.arg)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
    return frozenset(found)


def names(row: tuple[str, ...]) -> list[str]:
    return re.findall(r"`(\w+)`", row[1])


def test_the_table_is_read() -> None:
    assert len(ROWS) > 20
    assert all(len(row) == 4 and names(row) for row in ROWS)
    symbols = [row[0] for row in ROWS]
    assert len(set(symbols)) == len(symbols)
    assert len({name for row in ROWS for name in names(row)}) == sum(len(names(row)) for row in ROWS), "one name, one meaning"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_name_is_one_of_the_package(row: tuple[str, ...]) -> None:
    assert set(names(row)) <= names_of_the_package()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_chapter_uses_symbol_or_name(row: tuple[str, ...]) -> None:
    chapter = PAGE.parent / f"{re.search(r'{doc}`(.*)`', row[3])[1]}.md"
    text = chapter.read_text(encoding="utf-8")
    symbols = re.findall(r"\$([^$]+)\$", row[0])
    assert any(symbol.split(" = ")[0].replace(" ", "") in text.replace(" ", "") for symbol in symbols), f"no {row[0]} in {chapter.stem}"
