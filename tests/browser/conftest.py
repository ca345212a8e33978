"""Chromium for the tests: one browser a session, a page opener with the network cut off, and a look that every page must bear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests import chromium
from tests.book import site as book
from tests.browser.host import server
from tests.browser.shoot import choose_theme, watch
from tests.patience import PATIENCE

AFTER_A_FAILURE = 60.0  # seconds: the run is red by then, and a hundred pages with one fault need not be waited for one by one


class Waits:
    """How long Playwright waits for what a page should show, in milliseconds as it counts; its own 5 and 30 seconds say how fast a machine is."""

    milliseconds = 1000 * PATIENCE

    @classmethod
    def last(cls, seconds: float) -> None:
        """From now on."""
        cls.milliseconds = 1000 * seconds
        expect.set_options(timeout=cls.milliseconds)


Waits.last(PATIENCE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """After a failure, nothing is waited for as long again."""
    report: Any = yield
    if report.failed:
        Waits.last(min(PATIENCE, AFTER_A_FAILURE))
    return report


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """A fresh profile that waits."""
    context = browser.new_context(**options)
    context.set_default_timeout(Waits.milliseconds)
    return context


class Visit(NamedTuple):
    """An open page, and what it said and asked for."""

    page: Page
    errors: list[str]
    outside: list[str]


class Opener(Protocol):
    """What the fixture `visit` is."""

    def __call__(
        self,
        address: str | Path,
        *,
        theme: str = "light",
        width: int = 1280,
        height: int = 900,
        scripts: bool = True,
        touch: bool = False,
        quiet: bool = True,
    ) -> Visit: ...


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """The address of the served book."""
    with server(book.SITE) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for the session."""
    with sync_playwright() as driver:
        chrome = driver.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"], timeout=Waits.milliseconds)
        yield chrome
        chrome.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Opener]:
    """Open a file (a `Path`) or an address on this machine in a fresh profile.

    No request leaves the machine. When the test ends, a page that asked for something outside, or wrote an error to the console, fails it;
    `quiet=False` leaves that to the test.
    """
    contexts: list[BrowserContext] = []
    visits: list[Visit] = []

    def open_page(
        address: str | Path,
        *,
        theme: str = "light",
        width: int = 1280,
        height: int = 900,
        scripts: bool = True,
        touch: bool = False,
        quiet: bool = True,
    ) -> Visit:
        size = {"width": width, "height": height}
        context = new_context(browser, viewport=size, java_script_enabled=scripts, has_touch=touch, is_mobile=touch)
        contexts.append(context)
        opened = Visit(context.new_page(), [], [])
        if quiet:
            visits.append(opened)
        watch(opened.page, opened.errors, opened.outside)
        choose_theme(opened.page, theme)
        opened.page.goto(address.resolve().as_uri() if isinstance(address, Path) else address)
        return opened

    yield open_page
    for context in contexts:
        context.close()
    for opened in visits:
        assert opened.errors == []
        assert opened.outside == []


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write fragments of HTML as one page and return its path."""

    def page(*fragments: str, head: str = "", name: str = "page.html") -> Path:
        path = tmp_path / name
        meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        body = "\n".join(f"<section>{fragment}</section>" for fragment in fragments)
        path.write_text(
            f'<!doctype html><html lang="en"><head>{meta}<title>Page</title>{head}</head><body><main><h1>Page</h1>{body}</main></body></html>'
        )
        return path

    return page


def serious(page: Page) -> list[dict[str, Any]]:
    """What axe-core finds wrong with the page, of the impacts "serious" and "critical"."""
    from axe_playwright_python.sync_playwright import Axe

    # without `preload`, axe would fetch each @import of a style sheet as if it lay beside the page; what passes needs no list of its places, which
    # takes longer than the check
    found: list[dict[str, Any]] = Axe().run(page, options={"preload": False, "resultTypes": ["violations"]}).response["violations"]
    return [violation for violation in found if violation["impact"] in ("serious", "critical")]


SMALLEST_TEXT = """root => Math.min(...Array.from(root.querySelectorAll('svg.lossbook-svg text'), text =>
    Math.min(...[text, ...text.querySelectorAll('tspan')].filter(part => part.textContent.trim()).map(part =>
        parseFloat(getComputedStyle(part).fontSize) * Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b)))))"""


def smallest_text(page: Page, selector: str = "body") -> float:
    """The height of the smallest text in the page's figures, in CSS pixels."""
    return float(page.eval_on_selector(selector, SMALLEST_TEXT))
