"""What belongs to a module, and who tests it."""

from __future__ import annotations

import re
from pathlib import Path

# Tests that do not carry the name of the module or of one of its files. What lies under everything is tested where it is used.
ALSO = {
    "book": ("test_data", "test_ledger"),
    "sets": ("test_set_paths", "test_set_detectors"),
    "_core": ("test_crossentropy", "test_focal", "test_names"),
}
ROWS = {"_core": "crossentropy|boxes|decisions"}
# Tests of every public function, of which a module has the rows that name it: `test_a_good_call[boxes.iou_loss]`.
SHARED = ("tests/test_inputs.py", "tests/test_torch_world.py", "tests/paths")


def files(folder: Path) -> dict[str, list[str]]:
    """The files of each room below `folder`: a module, or a package with its helpers."""
    package = folder / "lossbook"
    found: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        inner = path.relative_to(package)
        found.setdefault(inner.parts[0].removesuffix(".py"), []).append(str(path.relative_to(folder)))
    return found


def witnesses(folder: Path, module: str, paths: list[str]) -> list[list[str]]:
    """The test files of a module: first its own and its doctests, then, for what those let pass, the ones shared by all."""
    names = dict.fromkeys(f"test_{name.lstrip('_')}" for name in (module, *(Path(path).stem for path in paths)))
    own = [f"tests/{name}.py" for name in (*names, *ALSO.get(module, ())) if (folder / f"tests/{name}.py").exists()]
    shared = [path for path in SHARED if (folder / path).exists()]
    return [[*own, *paths], shared]


def concerns(module: str, node: str) -> bool:
    """Does a test speak of the module? One of the shared files does if its parameter names it."""
    return not node.startswith(SHARED) or re.search(rf"\[(?:.*\W)?(?:{ROWS.get(module, module)})\.", node) is not None
