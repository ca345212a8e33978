"""The built book in Chromium, with the network cut off: every page in both themes, on a laptop and on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.book import site as book
from tests.browser.conftest import Opener, Visit, serious
from tests.browser.shoot import settle

pytestmark = [pytest.mark.site, pytest.mark.browser]
PAGES = [name for name in book.page_names() if name not in {"index.html", "404.html"}] or ["index.html"]
CHAPTERS = book.chapter_names() or ["index.html"]
WITH_QUIZ = [name for name in book.chapter_names() if book.read(name).select("fieldset.quiz")]
WITH_EXPLORER = [name for name in book.chapter_names() if book.read(name).select(".lossbook-explorer")]
LONG = {"chapters/reference/api.html"}  # whose accessibility alone takes a minute
LOOKS = [("light", 1280), *(pytest.param(*look, marks=pytest.mark.thorough) for look in (("light", 375), ("dark", 375), ("dark", 1280)))]
ACCESSIBLE = {("light", 1280), ("dark", 375)}  # both themes and both widths; the two other looks would double what takes longest
WIDER_THAN_THEMSELVES = "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.innerText.slice(0, 200))"
TOO_WIDE = """() => { const width = document.documentElement.clientWidth;
  return Array.from(document.querySelectorAll('body *')).filter(element => element.getBoundingClientRect().right > width + 1
    && getComputedStyle(element).position !== 'fixed' && element.checkVisibility()).slice(0, 5).map(element => element.outerHTML.slice(0, 200)); }"""


def settled(visit: Visit) -> Page:
    """The page once nothing of it is under way."""
    settle(visit.page)
    return visit.page


@pytest.mark.parametrize(("theme", "width"), LOOKS)
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.thorough] * (name in LONG)) for name in PAGES])
def test_a_page_is_quiet_fits_and_is_accessible(visit: Opener, host: str, name: str, theme: str, width: int) -> None:
    """`visit` itself fails the test on a request that leaves the host and on an error in the console."""
    page = settled(visit(f"{host}/{name}", theme=theme, width=width))
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, page.evaluate(TOO_WIDE)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    found = serious(page) if (theme, width) in ACCESSIBLE else []
    assert not found, [(violation["id"], [node["html"][:200] for node in violation["nodes"][:5]]) for violation in found]


@pytest.mark.thorough
@pytest.mark.parametrize("name", CHAPTERS)
def test_code_does_not_scroll_on_a_laptop(visit: Opener, host: str, name: str) -> None:
    page = settled(visit(f"{host}/{name}"))
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert page.eval_on_selector_all("div.cell_input pre", WIDER_THAN_THEMSELVES) == []


def choose_every_answer(quiz: Locator) -> None:
    """With the keyboard alone: each answer in turn explains itself, and only it."""
    answers = quiz.locator(".quiz-answer")
    page = quiz.page
    expect(quiz.locator(".quiz-reason:visible")).to_have_count(0)
    answers.first.locator("input").focus()
    page.keyboard.press("Space")
    for position in range(answers.count()):
        answer = answers.nth(position)
        expect(answer.locator("input")).to_be_checked()
        expect(answer.locator("input")).to_be_focused()
        reason = answer.locator(".quiz-reason")
        expect(reason).to_be_visible()
        right = "quiz-right" in (reason.get_attribute("class") or "")
        expect(reason).to_contain_text("Right." if right else "Not quite.")
        expect(quiz.locator(".quiz-reason:visible")).to_have_count(1)
        page.keyboard.press("ArrowDown")


@pytest.mark.thorough
@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("name", WITH_QUIZ)
def test_a_quiz_works_from_the_keyboard(visit: Opener, host: str, name: str, scripts: bool) -> None:
    page = visit(f"{host}/{name}", scripts=scripts).page
    for position in range(page.locator("fieldset.quiz").count()):
        choose_every_answer(page.locator("fieldset.quiz").nth(position))


@pytest.mark.parametrize("name", WITH_QUIZ[:1])
def test_a_quiz_works_with_the_mouse_and_on_paper(visit: Opener, host: str, name: str) -> None:
    page = settled(visit(f"{host}/{name}"))
    quiz = page.locator("fieldset.quiz").first
    quiz.locator("label").last.click()
    expect(quiz.locator(".quiz-reason").last).to_be_visible()
    page.emulate_media(media="print")
    expect(page.locator(".quiz-reason:visible")).to_have_count(page.locator(".quiz-reason").count())


@pytest.mark.thorough
@pytest.mark.parametrize("name", WITH_EXPLORER)
def test_every_control_of_every_figure_moves_something(visit: Opener, host: str, name: str) -> None:
    page = settled(visit(f"{host}/{name}"))
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    for figure in page.locator(".lossbook-explorer").all():
        controls = figure.locator("input, select")
        assert controls.count() > 0
        for control in controls.all():
            seen = {figure.inner_html()}
            kind = control.get_attribute("type") or control.evaluate("element => element.tagName")
            if kind == "checkbox" or kind == "radio":
                control.click()
                seen.add(figure.inner_html())
            else:
                control.focus()
                for key in ("Home", "ArrowRight", "ArrowDown", "End", "ArrowLeft", "ArrowUp"):
                    page.keyboard.press(key)
                    seen.add(figure.locator("svg").first.inner_html())
            assert len(seen) > 1, f"{control.evaluate('element => element.outerHTML')} moves nothing"


@pytest.mark.thorough
@pytest.mark.parametrize("name", WITH_EXPLORER)
def test_a_page_opened_as_a_file_is_alive(visit: Opener, name: str) -> None:
    page = settled(visit(book.SITE / name))
    figure = page.locator(".lossbook-explorer").first
    before = figure.locator("[aria-live]").first.inner_text()
    control = figure.locator("input[type=range], select").first
    control.focus()
    for key in ("End", "Home"):
        page.keyboard.press(key)
        if figure.locator("[aria-live]").first.inner_text() != before:
            return
    pytest.fail("the figure's sentence stayed the same")


@pytest.mark.thorough
@pytest.mark.parametrize("name", WITH_EXPLORER)
def test_without_scripts_there_is_the_first_frame_and_its_sentence(visit: Opener, host: str, name: str) -> None:
    page = visit(f"{host}/{name}", scripts=False).page
    for figure in page.locator("figure:has(.lossbook-explorer)").all():
        expect(figure.locator("svg").first).to_be_visible()
        assert len(figure.locator("[aria-live]").first.inner_text().split()) > 3


def test_solutions_open_from_the_keyboard(visit: Opener, host: str) -> None:
    name = next((name for name in CHAPTERS if book.read(name).select(".solution.dropdown")), None)
    assert name, "no chapter has a solution to open"
    page = settled(visit(f"{host}/{name}"))
    solution = page.locator(".solution.dropdown").first
    content = solution.locator("section, p").nth(1)
    expect(content).not_to_be_visible()
    solution.locator("button").first.focus()
    page.keyboard.press("Enter")
    expect(content).to_be_visible()


def test_a_missing_page_of_any_depth_leads_home(visit: Opener, host: str) -> None:
    opened = visit(f"{host}/chapters/no/such/page.html", quiet=False)
    assert opened.outside == []
    expect(opened.page.locator("h1")).to_contain_text("cliff")
    opened.page.locator("a").first.click()
    opened.page.wait_for_url(f"{host}/chapters/**")


def test_the_first_page_is_the_preface(visit: Opener, host: str) -> None:
    opened = visit(f"{host}/index.html")
    opened.page.wait_for_url("**/chapters/preface.html")
    expect(opened.page.locator("article h1")).to_contain_text("The Loss Book")


def test_search_finds_a_word(visit: Opener, host: str) -> None:
    page = visit(f"{host}/search.html?q=hinge").page
    expect(page.locator("#search-results li").first).to_be_visible()


def test_the_theme_can_be_switched(visit: Opener, host: str) -> None:
    page = settled(visit(f"{host}/{CHAPTERS[0]}"))
    before = page.evaluate("document.documentElement.dataset.theme")
    button = page.locator("button.theme-switch-button:visible").first
    for _ in range(3):
        button.click()
        if page.evaluate("document.documentElement.dataset.theme") != before:
            return
    pytest.fail("the button changed nothing")


def test_the_buttons_have_their_pictures(visit: Opener, host: str) -> None:
    """The icons' script is cut down to the icons in use; none of those may be missing."""
    for width in (1280, 375):
        page = settled(visit(f"{host}/{CHAPTERS[0]}", width=width))
        expect(page.locator("svg.svg-inline--fa")).not_to_have_count(0)
        expect(page.locator("i.fa, i.fas, i.fa-solid, i.fab, i.fa-brands, i.fa-regular, .fa-spin")).to_have_count(0)
        icons = page.eval_on_selector_all("svg.svg-inline--fa", "all => all.map(icon => [icon.dataset.icon, icon.querySelectorAll('path').length])")
        assert not [name for name, paths in icons if paths == 0]
