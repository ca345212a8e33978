"""What The Loss Book adds to Sphinx: keyed and parallel execution, quizzes, numbered figures of any output, one setting for the book's address."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from . import address, execution, quiz


def setup(app: Sphinx) -> dict[str, Any]:
    """Set up every part."""
    for part in (address, execution, quiz):
        part.setup(app)
    return {"version": "0.1.0", "parallel_read_safe": True, "parallel_write_safe": True}
