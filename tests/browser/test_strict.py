"""The site with a strict Content-Security-Policy on every page: all that a page does still works, and what is slipped into it does not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Opener
from tests.browser.host import server
from tests.browser.shoot import settle

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "_ext"))
import strict  # noqa: E402

pytestmark = [pytest.mark.site, pytest.mark.thorough]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A strict copy of the built book, served on this machine."""
    target = tmp_path_factory.mktemp("strict")
    assert strict.copy(ROOT / "_build/html", target) > 25
    with server(target) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_chapter_works_under_the_policy(address: str, visit: Opener) -> None:
    """Explorer, quiz and formulas; the fixture fails on any line in the console, and a refusal is one."""
    page = visit(f"{address}/chapters/principles/the-cliff.html").page
    explorer = page.locator(".lossbook-explorer").first
    before = explorer.locator("[aria-live=polite]").inner_text()
    explorer.get_by_role("slider").first.press("End")
    expect(explorer.locator("[aria-live=polite]")).not_to_have_text(before)
    page.locator("fieldset.quiz input").first.check()
    expect(page.locator("fieldset.quiz .quiz-reason").first).to_be_visible()
    expect(page.locator("mjx-container").first).to_be_visible()
    page.locator("button.theme-switch-button").first.click()


@pytest.mark.parametrize("name", ["reference/ledger", "workshop/chooser", "workshop/audit", "preface"])
def test_other_pages_do(address: str, visit: Opener, name: str) -> None:
    page = visit(f"{address}/chapters/{name}.html").page
    settle(page)
    if name == "reference/ledger":
        page.get_by_label("Words").fill("hinge")
        expect(page.locator(".ledger-shown")).not_to_contain_text("77 of 77")


def test_what_is_slipped_in_does_not_run() -> None:
    """The policy knows the scripts that were there, by their text."""
    page = "<html><head></head><body><script>good()</script><button onclick=\"go('x')\"></button></body></html>"
    found = strict.policy(page)
    assert strict.hashes(["good()"]) in found
    assert strict.hashes(["go('x')"]) in found
    assert strict.hashes(["bad()"]) not in found
    script_sources = found.split("script-src ")[1].split(";")[0]
    assert "unsafe-inline" not in script_sources
    assert "unsafe-eval" not in script_sources
    assert strict.with_policy(page).index("Content-Security-Policy") < strict.with_policy(page).index("good()")


def test_a_script_added_later_is_refused(address: str, visit: Opener) -> None:
    opened = visit(f"{address}/chapters/preface.html", quiet=False)
    with opened.page.expect_console_message(lambda message: message.type == "error" and "Content Security Policy" in message.text):
        ran = opened.page.evaluate("""() => { const script = document.createElement('script'); script.textContent = 'window.slipped = true';
            document.body.append(script); return window.slipped === true; }""")
    assert not ran
