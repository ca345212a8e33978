"""Without a Chromium the browser's tests are left out aloud, and on CI they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import chromium

ROOT = Path(__file__).parent.parent


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_named_chromium_comes_first_then_the_systems_then_playwrights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "downloads"))
    monkeypatch.delenv("LOSSBOOK_CHROMIUM", raising=False)
    assert chromium.find() is None
    downloaded = executable(tmp_path / "downloads/chromium-1200/chrome-linux64/chrome")
    assert chromium.find() == str(downloaded)
    system = executable(tmp_path / "bin/chromium")
    assert chromium.find() == str(system)
    named = executable(tmp_path / "elsewhere/chrome")
    monkeypatch.setenv("LOSSBOOK_CHROMIUM", str(named))
    assert chromium.find() == str(named)


@pytest.mark.thorough
@pytest.mark.parametrize("ci", [False, True])
def test_without_chromium_tests_are_left_out_aloud_but_not_on_ci(tmp_path: Path, ci: bool) -> None:
    (tmp_path / "browser").mkdir()
    tests = tmp_path / "browser/test_sample.py"
    tests.write_text("import pytest\n\n@pytest.mark.browser\ndef test_page():\n    raise RuntimeError('no browser here')\n")
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "LOSSBOOK_CHROMIUM"}}
    environment |= {"PATH": str(tmp_path), "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path), **({"CI": "true"} if ci else {})}
    options = ["-q", "-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *options, str(tests)]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    last = "\n".join(run.stdout.splitlines()[-4:])
    if ci:
        assert run.returncode == 1
        assert "no browser here" in run.stdout
    else:
        assert run.returncode == 0, run.stdout
        assert "1 tests were left out, no Chromium" in last
        assert "playwright install chromium" in last
