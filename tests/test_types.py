"""What a type checker sees of the package, installed as a user has it: every public name with its type, and every misspelt one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import lossbook
from tests.conftest import ROOT

pytest.importorskip("mypy", reason="an extra, absent where the core is tested alone")
pytest.importorskip("basedpyright", reason="an extra, absent where the core is tested alone")

RIGHT = """
from typing import assert_type

import torch
from torch import Tensor

import lossbook
from lossbook.margins import MarginLoss
from lossbook.sets import SetLoss

logits, labels = torch.zeros(1, 2, 4), torch.tensor([0, 1])
assert_type(lossbook.focal.softmax_focal_loss(logits[0], labels, gamma=1.0), Tensor)
assert_type(lossbook.margins.hinge, MarginLoss)
assert_type(lossbook.margins.hinge(logits), Tensor)
assert_type(lossbook.margins.LOSSES["hinge"].scaled(2).derivative(logits), Tensor)
boxes = lossbook.sets.BoxSetLoss(3)
assert_type(boxes(logits, logits, [{"labels": labels, "boxes_cxcywh": logits[0]}]), SetLoss)
masks = lossbook.sets.MaskSetLoss(3, num_points=4)
assert_type(masks(logits, logits[..., None], [], generator=torch.Generator()).parts["dice"], Tensor)
assert_type(lossbook.multitask.UncertaintyWeighting(["regression"])([logits.sum()]), Tensor)
lossbook.audit(lossbook.margins.hinge).require("finite")
"""
# What is wrong, and where: at the end of its line stands what a checker should say there.
WRONG = """
import torch
import lossbook

lossbook.typo.x()  # typo
lossbook.focal.sigmoid_focal_los(torch.zeros(2), torch.zeros(2))  # sigmoid_focal_los
lossbook.focal.sigmoid_focal_loss(torch.zeros(2), torch.zeros(2)).no_such()  # no_such
lossbook.margins.hinge.slop  # slop
lossbook.sets.BoxSetLoss(3)(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), []).totl  # totl
lossbook.sets.MaskSetLoss(3)(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4, 4), []).totl  # totl
lossbook.multitask.UncertaintyWeighting(["regression"])(torch.zeros(1)).totl  # totl
"""


def names() -> list[str]:
    """Every public name, those of its modules' too."""
    modules = [name for name in lossbook._MODULES if name not in ("auditor", "explorer")]  # these come by their functions
    return [*lossbook.__all__, *(f"{module}.{name}" for module in modules for name in import_module(f"lossbook.{module}").__all__)]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment that has the package installed, and sees what it needs in this one."""
    there = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(there)], check=True)
    (site,) = there.glob("lib/python*/site-packages")
    (site / "lossbook").symlink_to(ROOT / "lossbook")
    (site / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return there / "bin/python"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    (folder / "right.py").write_text(RIGHT)
    (folder / "wrong.py").write_text(WRONG)
    (folder / "named.py").write_text("import lossbook\n" + "\n".join(f"reveal_type(lossbook.{name})" for name in names()))
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    return folder


pytestmark = pytest.mark.thorough
Found = list[tuple[str, int, str, str]]  # file, line, severity, message


@pytest.fixture(scope="module")
def by_mypy(python: Path, files: Path) -> Found:
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "right.py", "wrong.py", "named.py"]
    run = subprocess.run(command, cwd=files, capture_output=True, text=True)
    lines = re.findall(r"^(\w+\.py):(\d+): (error|note): (.*)$", run.stdout, flags=re.MULTILINE)
    assert len(lines) == len(run.stdout.splitlines()) - 1, run.stdout + run.stderr
    return [(file, int(line), severity, message) for file, line, severity, message in lines]


@pytest.fixture(scope="module")
def by_pyright(python: Path, files: Path) -> Found:
    command = [sys.executable, "-m", "basedpyright", "--project", str(files), "--pythonpath", str(python), "--outputjson"]
    run = subprocess.run(command, cwd=files, capture_output=True, text=True)
    found = json.loads(run.stdout)["generalDiagnostics"]
    return [(Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["severity"], one["message"]) for one in found]


@pytest.fixture(params=["mypy", "pyright"])
def found(request: pytest.FixtureRequest) -> Found:
    return request.getfixturevalue(f"by_{request.param}")


def test_a_misspelt_name_is_an_error_and_a_right_one_is_none(found: Found) -> None:
    """Exactly the errors that were planted, each at its line and of its name."""
    planted = [(number, line.split("# ")[1]) for number, line in enumerate(WRONG.splitlines(), 1) if "# " in line]
    errors = [(file, number, message) for file, number, severity, message in found if severity in ("error", "warning")]
    assert [(file, number) for file, number, _ in errors] == [("wrong.py", number) for number, _ in planted], errors
    for (_, name), (_, _, message) in zip(planted, errors, strict=True):
        assert f'"{name}"' in message


def test_every_public_name_has_a_type(found: Found) -> None:
    types = [message for file, _, severity, message in found if file == "named.py" and severity != "error"]
    assert len(types) == len(names())
    unknown = [message for message in types if re.search(r' is "(Any|Unknown|Never|builtins\.object|object)"', message)]
    assert unknown == []
