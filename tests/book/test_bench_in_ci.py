"""What the audit's page offers for a project's own tests runs as it stands: the test files, and the hook of pre-commit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.book.test_sources import ROOT

TEXT = (ROOT / "chapters/workshop/audit.md").read_text(encoding="utf-8")
SOUND = """
from lossbook import focal, crossentropy

def focal_loss(logits, targets):
    return focal.sigmoid_focal_loss(logits, targets, gamma=0.5)

def smooth_loss(logits, labels):
    return crossentropy.cross_entropy(logits, labels, label_smoothing=0.1)
"""
BROKEN = SOUND.replace("return focal.sigmoid_focal_loss(logits, targets, gamma=0.5)", "return ((1 - logits.sigmoid()) ** 0.5 * targets).mean()")

pytestmark = pytest.mark.thorough


def blocks(language: str) -> list[str]:
    """The page's blocks that are shown and not run."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's package, with losses that are sound."""
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage/__init__.py").touch()
    (tmp_path / "mypackage/losses.py").write_text(SOUND)
    return tmp_path


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in the project, by the environment that the tests run in."""
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    surroundings = {**os.environ, "PATH": bin_first, "PRE_COMMIT_HOME": str(project / ".cache"), "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, env=surroundings)


@pytest.mark.parametrize("number", range(2))
def test_the_test_files_pass_and_fail(project: Path, number: int) -> None:
    files = [block for block in blocks("python") if "def test_" in block]
    assert len(files) == 2
    (project / "test_losses.py").write_text(files[number])
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_losses.py")
    passed = run(project, *command)
    assert passed.returncode == 0, passed.stdout
    (project / "mypackage/losses.py").write_text(BROKEN)
    assert "the gradient is nan" in run(project, *command).stdout


def test_the_hook_runs_when_the_losses_have_changed(project: Path) -> None:
    (hook,) = blocks("yaml")
    (project / ".pre-commit-config.yaml").write_text(hook)
    run(project, "git", "init", "-q")
    run(project, "git", "add", ".")
    command = ("pre-commit", "run", "--all-files")
    passed = run(project, *command)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "Passed" in passed.stdout
    (project / "mypackage/losses.py").write_text(BROKEN)
    run(project, "git", "add", ".")
    failed = run(project, *command)
    assert failed.returncode == 1
    assert "the gradient is nan" in failed.stdout
