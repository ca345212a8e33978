"""The ledger's filters in Chromium; without scripts the whole table and no dead control."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from lossbook.book.claims import LEDGER
from tests.book import site as book
from tests.browser.conftest import Opener

pytestmark = [pytest.mark.site, pytest.mark.browser]
PAGE = book.SITE / "chapters/reference/ledger.html"
FALSE = [key for key, claim in LEDGER.items() if claim.verdict == "false"]


def test_filters_narrow_the_table_and_say_so(visit: Opener) -> None:
    page = visit(PAGE).page
    rows = page.locator(".ledger tbody tr:visible")
    shown = page.locator(".ledger-shown")
    expect(rows).to_have_count(len(LEDGER))
    page.get_by_label("Verdict").select_option("false")
    expect(rows).to_have_count(len(FALSE))
    expect(shown).to_have_text(f"{len(FALSE)} of {len(LEDGER)} shown.")
    page.get_by_label("Words").fill("prediction ROUNDING")
    expect(rows).to_have_count(1)
    expect(rows).to_have_id("ledger-C38")
    page.get_by_label("Part").select_option("Applications and connections")
    expect(rows).to_have_count(0)
    page.evaluate("location.hash = '#ledger-C38'")
    expect(page.locator("#ledger-C38")).to_be_in_viewport()
    expect(rows).to_have_count(len(LEDGER))


def test_a_link_opens_it_filtered(visit: Opener) -> None:
    page = visit(PAGE).page
    page.locator(".ledger > p a").last.click()
    expect(page.locator(".ledger tbody tr:visible")).to_have_count(len(FALSE))
    expect(page.get_by_label("Verdict")).to_have_value("false")


def test_without_scripts_there_is_all_of_it(visit: Opener) -> None:
    page = visit(PAGE, scripts=False, width=375).page
    expect(page.locator(".ledger tbody tr:visible")).to_have_count(len(LEDGER))
    expect(page.locator(".ledger select:visible, .ledger input:visible")).to_have_count(0)
