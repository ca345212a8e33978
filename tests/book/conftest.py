"""A tiny book for the extension's tests, and the pages of the built one for the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.book.mini import TinyBook


@pytest.fixture
def tiny(tmp_path: Path) -> TinyBook:
    return TinyBook(tmp_path)
