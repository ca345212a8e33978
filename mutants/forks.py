"""Tests in a forked process: importing torch costs more than most tests, so it is imported once and each mutant begins where that has been done."""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

GIGABYTE = 2**30
THREADED = {"jax", "jaxlib", "optax", "chex"}  # they start threads when imported, and a thread does not live on in a fork


class Ended(NamedTuple):
    """How a process ended: its exit code (negative: the signal), the processor's seconds, and what it had to tell."""

    code: int
    seconds: float
    told: dict[str, Any]

    @property
    def timed_out(self) -> bool:
        return -self.code in (signal.SIGXCPU, signal.SIGALRM)


class Ears:
    """A plugin of pytest's: which tests run and in which order, what each cost, and which failed first."""

    def __init__(self, concerns: Callable[[str], bool], seconds: dict[str, float]) -> None:
        self.concerns, self.known = concerns, seconds
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """The cheap ones first: most mutants are noticed by one of those."""
        items[:] = sorted((item for item in items if self.concerns(item.nodeid)), key=lambda item: self.known.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


def run_tests(paths: list[str], concerns: Callable[[str], bool], known: dict[str, float], limit: float | None) -> Ended:
    """The tests of these files, until one fails, in a process of their own that may spend `limit` seconds of the processor."""

    def work() -> tuple[int, dict[str, Any]]:
        import pytest

        ears = Ears(concerns, known)
        ignored = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what is imported already needs no rewriting
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *ignored, *paths], plugins=[ears])
        return int(code), {"seconds": ears.seconds, "failed": ears.failed, "imported": list(sys.modules)}

    return in_fork(work, limit)


def in_fork(work: Callable[[], tuple[int, dict[str, Any]]], limit: float | None) -> Ended:
    """A function's exit code and what it tells, from a forked process; what it prints is told as `output` where it fails.

    The limit is on the processor's time, which a busy machine does not use up. An hour by the clock ends what only waits.
    """
    with tempfile.TemporaryDirectory() as folder:
        told, printed = Path(folder, "told"), Path(folder, "printed")
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            with suppress(BaseException):
                os.setsid()
                out = os.open(printed, os.O_CREAT | os.O_WRONLY)
                os.dup2(out, 1)
                os.dup2(out, 2)
                if limit is not None:
                    seconds = int(limit) + 1
                    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
                    resource.setrlimit(resource.RLIMIT_DATA, (8 * GIGABYTE, 8 * GIGABYTE))
                code, tale = work()
                told.write_text(json.dumps(tale))
                os._exit(code)
            os._exit(3)
        code, seconds = wait(pid, time.monotonic() + 3600)
        tale = json.loads(told.read_text()) if told.exists() else {}
        return Ended(code, seconds, {"output": printed.read_text(errors="replace") if printed.exists() else "", **tale})


def wait(pid: int, until: float) -> tuple[int, float]:
    """The exit code of a child and its seconds; at the end nothing that it started is left."""
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        late = not done and time.monotonic() > until
        if done or late:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        if late:
            _, _, usage = os.wait4(pid, 0)
            return -signal.SIGALRM, usage.ru_utime + usage.ru_stime
        if done:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        time.sleep(0.01)


def import_ahead(names: list[str], folder: Path) -> None:
    """What the tests import from elsewhere is imported here, once; the package and its tests are not, since they change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            if name.split(".")[0] in THREADED | {"lossbook", "tests", "__main__"}:
                continue
            with suppress(Exception):
                importlib.import_module(name)
    stray = [name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(str(folder))]
    for name in stray:
        del sys.modules[name]
