"""How long Chromium is waited for comes from one place, for pages and for expectations, until something has failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Error, expect

from tests.browser import conftest
from tests.browser.conftest import Opener, Waits
from tests.patience import PATIENCE


@pytest.fixture
def hasty() -> Iterator[None]:
    """A quarter of a second, for the length of a test."""
    before = Waits.milliseconds
    Waits.last(0.25)
    yield
    Waits.last(before / 1000)


@pytest.mark.usefixtures("hasty")
def test_pages_and_expectations_wait_as_long_as_they_are_told(visit: Opener, write: Callable[..., Path]) -> None:
    page = visit(write("<p>here</p>")).page
    with pytest.raises(Error, match="Timeout 250ms exceeded"):
        page.get_by_text("there").click()
    with pytest.raises(AssertionError, match="timeout 250ms"):
        expect(page.get_by_text("there")).to_be_visible()
    with pytest.raises(Error, match="Timeout 250ms exceeded"):
        page.wait_for_url("**/elsewhere.html")


@pytest.mark.usefixtures("hasty")
def test_after_a_failure_nothing_is_waited_for_as_long_again() -> None:
    for failed, expected in ((False, PATIENCE), (True, min(PATIENCE, conftest.AFTER_A_FAILURE))):
        Waits.last(PATIENCE)
        report = SimpleNamespace(failed=failed)
        hook = conftest.pytest_runtest_makereport()
        next(hook)
        with pytest.raises(StopIteration) as ended:
            hook.send(report)
        assert ended.value.value is report
        assert Waits.milliseconds == 1000 * expected
