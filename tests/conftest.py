"""Fixtures that every test may use: a device, a dtype, a seed, the built book; and what happens where Chromium or the book is missing."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")

import hypothesis
import numpy as np
import pytest
import torch

from tests import browsers, chromium

torch.set_num_threads(1)
# An example may take as long as it does: see tests/patience.py.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

ROOT = Path(__file__).parent.parent
SITE = ROOT / "_build/html"
NO_CHROMIUM = f"no Chromium: {chromium.HOW_TO_GET_IT}"
NO_OTHERS = f"Firefox or WebKit is missing: {browsers.HOW_TO_GET_THEM}"
NO_SITE = "the book is not built: run `make book`"

ON_THE_SIDE = {
    "tiny",
    "tiny_ledger",
    "small",
    "whole",
    "book",
    "sdist",
    "verdicts",
    "python",
}  # fixtures that build a book, a package or an environment

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """The CPU and, where there is one, a CUDA device."""
    return torch.device(request.param)


@pytest.fixture(params=DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Every floating-point dtype that a loss should survive."""
    return request.param


@pytest.fixture(params=DTYPES[:2], ids=lambda dtype: str(dtype).removeprefix("torch."))
def real_dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """float64 and float32: the dtypes in which closed forms are compared."""
    return request.param


@pytest.fixture
def generator() -> torch.Generator:
    """A torch generator on the CPU, seeded anew for each test; draw there and move to `device`."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A numpy generator, seeded anew for each test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built book."""
    return SITE


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Everything in tests/browser needs Chromium, or all the others. What a machine lacks is left out, with the reason, but on CI it is a failure."""
    lacking = {"browser": NO_CHROMIUM} if chromium.find() is None else {}
    lacking |= {"browsers": NO_OTHERS} if browsers.missing() else {}
    lacking |= {} if (SITE / "index.html").exists() else {"site": NO_SITE}
    for item in items:
        if ON_THE_SIDE & {*getattr(item, "fixturenames", ())}:
            item.add_marker("thorough")
        if Path(__file__).parent / "browser" in item.path.parents and not item.get_closest_marker("browsers"):
            item.add_marker("browser")
        for marker, reason in lacking.items():
            if item.get_closest_marker(marker) and os.environ.get("CI") != "true":
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say last what was left out, and how to get it."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for reason in (NO_CHROMIUM, NO_OTHERS, NO_SITE):
        count = sum(reason in text for text in skipped)
        if count:
            terminalreporter.write_line(f"{count} tests were left out, {reason}.", yellow=True)
