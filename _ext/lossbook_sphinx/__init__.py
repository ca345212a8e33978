"""What The Loss Book adds to Sphinx: parallel execution in a cache that knows the package, quizzes, reference pages, one setting for the address."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from . import address, api, cells, chooser, elsewhere, execution, findings, icons, ledger, numbering, quiz, reading, reads, status, teachers, trail

PARTS = (address, api, cells, chooser, elsewhere, execution, findings, icons, ledger, numbering, quiz, reading, reads, status, teachers, trail)


def source_hash() -> int:
    """A number that changes with this package's files, so that Sphinx reads every page again after an edit here."""
    return int(hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()[:8], 16)


def setup(app: Sphinx) -> dict[str, Any]:
    """Set up every part."""
    for part in PARTS:
        part.setup(app)
    return {"env_version": source_hash(), "parallel_read_safe": True, "parallel_write_safe": True}
