"""The house: what stands where, and that no two modules of the package need each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lossbook"


def dotted(path: Path) -> str:
    """The name by which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for path in PACKAGE.rglob("*.py")}


def imported(name: str) -> set[str]:
    """The modules of the package that a module names in an import, wherever in the file: at its head, in a function, or for type checkers."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{name}: a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & set(MODULES)
            if any(one not in MODULES for one in inner):
                found.add(node.module)
    return (found & set(MODULES)) - {name}


def face(name: str) -> bool:
    """A package that brings its modules in when they are used names them for type checkers alone."""
    return name in ("lossbook", "lossbook.book")


def test_no_circle_of_imports() -> None:
    graph = {name: set() if face(name) else imported(name) for name in MODULES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_a_circle_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "palette.py"
    path.write_text("def late():\n    from lossbook.explorer import explore\n")
    monkeypatch.setitem(MODULES, "lossbook.explorer._palette", path)
    with pytest.raises(pytest.fail.Exception, match=r"lossbook\.explorer\._palette"):
        test_no_circle_of_imports()


def test_ls_shows_the_fields_words() -> None:
    names = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()} - {"__pycache__"}
    assert {name for name in names if name.startswith("_")} == {"__init__", "__main__", "_core"}
    assert not {path.suffix for path in PACKAGE.iterdir()} - {"", ".py", ".typed"}, "style sheets and data lie in their rooms"


@pytest.mark.parametrize("name", sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists() and path.name != "_core"))
def test_a_room_has_one_face(name: str) -> None:
    """Beside a package's `__init__` stands nothing public and private at once."""
    files = {path.stem for path in (PACKAGE / name).glob("*.py")} - {"__init__"}
    assert len({file.startswith("_") for file in files}) <= 1, files


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_no_room_reaches_into_anothers_drawers() -> None:
    """A helper is for its own room; what two rooms need is public in one of them, or in `_core`."""
    for name in MODULES:
        reached = {one for one in imported(name) if "._" in one and room(one) not in (room(name), "_core")}
        assert not reached, f"{name} imports {reached}"


def test_the_package_knows_nothing_of_the_book_around_it() -> None:
    """What an engineer imports needs neither the claims nor the data, nor anything outside."""
    for name in MODULES:
        if not name.startswith("lossbook.book"):
            assert not {one for one in imported(name) if one.startswith("lossbook.book")} or face(name), name
        text = MODULES[name].read_text(encoding="utf-8")
        assert "import chapters" not in text, name
        assert "import studies" not in text, name


@pytest.mark.parametrize("statement", ["import lossbook.explorer", "from lossbook import explore", "import lossbook; lossbook.explore"])
def test_figures_need_no_torch(statement: str) -> None:
    """A figure is drawn and written out, and torch has not come in."""
    code = f"""{statement}
import sys
from lossbook.explorer import explore, subplots
def draw(slope=1.0):
    figure, axes = subplots()
    axes.plot([0, 1], [0, slope])
    return figure, "A line."
assert "<svg" in explore(draw, slope=(0.0, 2.0, 1.0)).html
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
