"""The hang guard of the tests and of the build, in one place.

No test and no step of the build may hang on how fast a machine is: on seconds, on an order of durations, on a pause that was long enough once.
Seconds belong to `make bench`, and the page of the build shows them. What is waited for comes, or it never comes; a guard only ends the second
case, so that a run with something broken in it ends, too, and says what. The guards, all of half an hour or more, are these:

- PATIENCE, for one wait: for a server, or for what a page in Chromium should show;
- `timeout` in pyproject.toml, for one test, with the programs that it started;
- `timeout` in _config.yml for one cell of a chapter, and HANG in _ext/lossbook_sphinx/execution.py for its kernel.

LOSSBOOK_PATIENCE=5 shortens the first, for who is after a red test in the browser. `tests/test_speed_independence.py` keeps shorter ones out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

GUARD = 1800  # seconds
PATIENCE = float(os.environ.get("LOSSBOOK_PATIENCE", GUARD))


def wait_until(there: Callable[[], bool], explain: Callable[[], str]) -> None:
    """Ask again and again; `explain` is asked what became of it where that was in vain."""
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.2)
