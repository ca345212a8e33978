"""Figures, quizzes and the chooser of the built book in Firefox and in WebKit, from a host and as files: `make browsers`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.book import site as book
from tests.browser.webdriver import Driver, drive
from tests.patience import wait_until

pytestmark = [pytest.mark.site, pytest.mark.browsers]
CLIFF, SETS, CHOOSER = "chapters/principles/the-cliff.html", "chapters/applications/sets.html", "chapters/workshop/chooser.html"
FIRST = ".lossbook-explorer"
SLIDER, LINE = f"{FIRST} input[type=range]", f"{FIRST} .lossbook-sentence > span"
HANDLE, PLAY = f"{FIRST} .lossbook-handle", f"{FIRST} .lossbook-play"
REASONS = """return Array.from(document.querySelector('fieldset.quiz').querySelectorAll('.quiz-reason'))
  .filter(one => one.offsetHeight).map(one => one.textContent)"""


@pytest.fixture(scope="module", params=["firefox", "webkit"])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """One window for all tests of a browser."""
    with drive(request.param) as driver:
        yield driver


@pytest.fixture(scope="module", params=["file", "http"])
def home(request: pytest.FixtureRequest, host: str) -> str:
    """Where the book's pages begin."""
    return book.SITE.resolve().as_uri() if request.param == "file" else host


def setting(driver: Driver) -> int:
    """Of the first slider."""
    return int(driver.run("return document.querySelector(arguments[0]).value", SLIDER))


def last(driver: Driver) -> int:
    """The slider's end."""
    return int(driver.run("return document.querySelector(arguments[0]).max", SLIDER))


def focus(driver: Driver, selector: str) -> None:
    """As a keyboard would have it."""
    driver.run("arguments[0].focus()", driver.find(selector))


@pytest.mark.parametrize("page", [CLIFF, SETS, CHOOSER])
def test_a_slider_moves_by_key_and_by_pointer(driver: Driver, home: str, page: str) -> None:
    driver.open(f"{home}/{page}")
    focus(driver, SLIDER)
    driver.press("Home")
    assert setting(driver) == 0
    first = driver.run("return document.querySelector(arguments[0]).innerHTML", f"{FIRST} svg")
    driver.press("ArrowRight")
    assert setting(driver) == 1
    assert driver.run("return document.querySelector(arguments[0]).innerHTML", f"{FIRST} svg") != first
    before = driver.text(LINE)
    driver.click(SLIDER, part=0.99)
    assert setting(driver) == last(driver)
    assert driver.text(LINE) != before
    assert driver.run("return document.querySelector(arguments[0]).getAttribute('aria-live')", LINE) == "polite"


def test_an_artist_is_dragged(driver: Driver, home: str) -> None:
    driver.open(f"{home}/{CLIFF}")
    before, said = setting(driver), driver.text(LINE)
    x, y = driver.place(HANDLE)
    driver.drag([(x + 2, y + 2), (x + 40, y + 5), (x + 120, y + 30)])
    there = setting(driver)
    assert there > before + 1
    assert driver.text(LINE) != said
    after = driver.place(HANDLE)
    assert abs(after[0] - x - 118) < 60, "the artist should be near the pointer"
    driver.drag([after, (1, after[1])])
    assert setting(driver) == 0


def test_a_slider_plays_to_its_end(driver: Driver, home: str) -> None:
    driver.open(f"{home}/{CLIFF}")
    focus(driver, PLAY)
    driver.press("Space")
    label = "return document.querySelector(arguments[0]).getAttribute('aria-label')"
    wait_until(lambda: setting(driver) == last(driver) and driver.run(label, PLAY) == "Play margin", lambda: f"it stands at {setting(driver)}")
    assert driver.run("return location.hash").startswith("#cliff-proxies.margin=3.0&")
    driver.click(PLAY)
    wait_until(lambda: 0 < setting(driver) < last(driver), lambda: f"it stands at {setting(driver)}")
    driver.press("Escape")
    wait_until(lambda: driver.run(label, PLAY) == "Play margin", lambda: "it plays on")


def test_a_link_opens_a_figure_at_its_setting(driver: Driver, home: str) -> None:
    driver.open(f"{home}/{CLIFF}#cliff-proxies.margin=1.4&cliff-proxies.loss=hinge")
    assert driver.text(f"{FIRST} output") == "1.4"
    assert driver.text(LINE).startswith("At margin 1.4 the hinge loss is 0.00")


def visible_reasons(driver: Driver) -> list[str]:
    """What the page's first quiz explains now."""
    return [str(text) for text in driver.run(REASONS)]


@pytest.mark.parametrize("page", [CLIFF, SETS])
def test_a_quiz_answers_wrong_and_right(driver: Driver, home: str, page: str) -> None:
    driver.open(f"{home}/{page}")
    assert visible_reasons(driver) == []
    for verdict, says in (("wrong", "Not quite."), ("right", "Right.")):
        driver.click(f"fieldset.quiz input.quiz-{verdict} + label", part=0.02)
        (reason,) = visible_reasons(driver)
        assert reason.strip().startswith(says)


def test_the_chooser_follows_its_questions(driver: Driver, home: str) -> None:
    driver.open(f"{home}/{CHOOSER}")
    before = driver.text(".chooser-shown")
    driver.click("input[name=need][value=probability]")
    assert driver.text(".chooser-shown") != before
    wait_until(lambda: "chooser.need=probability" in driver.run("return location.hash"), lambda: "the address stays")
