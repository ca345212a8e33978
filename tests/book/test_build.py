"""A build after one that failed: what the first left in the way is gone, and what a good one made stays."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(ROOT / "_ext"))
    sys.modules.pop("build", None)
    import build

    return build


def test_a_file_by_the_name_of_the_folder_goes(build: object, tmp_path: Path) -> None:
    (tmp_path / "_static").write_text("/* a style sheet that found no folder */")
    build.drop_leftover(tmp_path)  # type: ignore[attr-defined]
    assert not (tmp_path / "_static").exists()
    build.drop_leftover(tmp_path)  # type: ignore[attr-defined]


def test_the_folder_stays(build: object, tmp_path: Path) -> None:
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static/book.css").write_text("")
    build.drop_leftover(tmp_path)  # type: ignore[attr-defined]
    assert (tmp_path / "_static/book.css").exists()
