"""The chooser in Chromium: answers follow the questions, links open figures at their settings, and without scripts all is there."""

from __future__ import annotations

from urllib.parse import unquote, urljoin

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.book import site as book
from tests.book.test_chooser import DATA, PAGE, ROWS
from tests.browser.conftest import Opener

pytestmark = [pytest.mark.site, pytest.mark.browser]
ANSWERS, QUESTIONS = DATA["answers"], DATA["questions"]


def takes(need: str, trouble: str) -> list[str]:
    """What the data answers."""
    return [row["take"] for row in ANSWERS if need in row["need"] and trouble in row["trouble"]]


def rows(page: Page) -> Locator:
    return page.locator("#chooser-answers tbody tr:visible")


def test_the_first_choice_is_answered_at_once(visit: Opener) -> None:
    page = visit(book.SITE / PAGE).page
    expect(rows(page)).to_have_count(len(takes("decision", "none")))
    expect(page.locator(".chooser-shown")).to_contain_text("Hinge; Cross-entropy.")
    assert page.locator(".chooser-shown").get_attribute("aria-live") == "polite"
    expect(page.locator("#chooser-symptoms tbody tr:visible")).to_have_count(len(DATA["symptoms"]))


def test_answers_follow_the_questions_and_the_address_follows_both(visit: Opener) -> None:
    page = visit(book.SITE / PAGE).page
    page.get_by_label(QUESTIONS["need"]["options"]["probability"], exact=True).check()
    page.get_by_label(QUESTIONS["trouble"]["options"]["few"], exact=True).check()
    expect(rows(page)).to_have_count(len(takes("probability", "few")))
    page.wait_for_function("hash => location.hash === hash", arg="#chooser.need=probability&chooser.trouble=few")
    page.get_by_label(QUESTIONS["need"]["options"]["boxes"], exact=True).check()
    expect(page.locator(".chooser-shown")).to_contain_text("For the trouble alone")
    expect(rows(page)).to_have_count(len([row for row in ANSWERS if "few" in row["trouble"]]))
    for name in QUESTIONS:
        page.locator(f"input[name={name}][value='']").check()
    expect(rows(page)).to_have_count(len(ANSWERS))


def test_from_the_keyboard(visit: Opener) -> None:
    page = visit(book.SITE / PAGE).page
    page.locator("input[name=trouble]").first.focus()
    for trouble in list(QUESTIONS["trouble"]["options"])[1:]:
        page.keyboard.press("ArrowDown")
        expect(page.locator(f"input[name=trouble][value={trouble}]")).to_be_focused()
        expected = takes("decision", trouble) or [row["take"] for row in ANSWERS if trouble in row["trouble"]]
        expect(page.locator(".chooser-shown")).to_contain_text(f"{'; '.join(expected)}.")


def test_a_link_opens_it_at_a_choice(visit: Opener) -> None:
    page = visit(book.SITE / PAGE).page
    page.goto(f"{page.url}#chooser.need=decision&chooser.trouble=prices")
    expect(rows(page)).to_have_count(len(takes("decision", "prices")))
    page.evaluate("location.hash = '#chooser.trouble=bits'")
    expect(rows(page)).to_have_count(len(takes("decision", "bits")))


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted({row["proof"].split("#")[0] for row in ROWS if "figure" in row}))
def test_a_link_opens_the_figure_at_its_setting(visit: Opener, name: str) -> None:
    page = visit(book.SITE / PAGE).page
    chosen = [number for number, row in enumerate(ROWS) if row["proof"].startswith(name) and "figure" in row]
    every = page.locator(".chooser-table tbody tr")
    links = [every.nth(number).locator(".chooser-figure a").get_attribute("href") or "" for number in chosen]
    for address, number in zip(links, chosen, strict=True):
        opened = visit(book.SITE / PAGE).page
        opened.goto(urljoin(opened.url, address))
        figure = opened.locator(f"figure#{ROWS[number]['figure']} .lossbook-explorer")
        expect(figure).to_be_in_viewport()
        shown = figure.locator("[data-control]").evaluate_all(
            "all => Object.fromEntries(all.filter(one => one.tagName !== 'OUTPUT').map(one => [one.dataset.control, one.type === 'checkbox'"
            " ? (one.checked ? 'on' : 'off') : one.tagName === 'SELECT' ? one.selectedOptions[0].textContent : one.getAttribute('aria-valuetext')]))"
        )
        names = [unquote(pair.split("=")[0]).rpartition(".")[2] for pair in address.partition("#")[2].split("&")]
        assert sorted(shown.values()) == sorted(ROWS[number]["state"][name] for name in names)


def test_without_scripts_the_whole_table_is_there(visit: Opener) -> None:
    page = visit(book.SITE / PAGE, scripts=False, width=375).page
    expect(page.locator(".chooser-table tbody tr:visible")).to_have_count(len(ROWS))
    expect(page.locator(".chooser-questions:visible")).to_have_count(0)
