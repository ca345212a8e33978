"""The figures of `explore` in Chromium: mouse, keyboard, finger, address, themes, accessibility, and every frame as matplotlib drew it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from threading import Thread
from typing import Any

import ipywidgets
import numpy as np
import pytest
from matplotlib.figure import Figure
from playwright.sync_api import Page, expect

from lossbook.book import plots
from lossbook.explorer import Explorer, content_security_policy, explore
from tests.browser.conftest import Opener, Visit, serious, smallest_text
from tests.test_explorer import CONTROLS, HOSTILE, drawn, flat, full

GRID = np.linspace(-2, 3, 61)

Writer = Callable[..., Path]


def step(margin: float = -0.5, loss: str = "hinge", shown: bool = True) -> tuple[Figure, str]:
    """A point that moves along a curve."""
    figure, axes = plots.subplots()
    axes.plot(GRID, np.maximum(0, 1 - GRID) if loss == "hinge" else np.exp(-GRID))
    if shown:
        axes.plot([margin], [1.0], "o", color=plots.COLORS["ink"], gid="the-point")
    axes.set(xlim=(-2, 3), ylim=(0, 3), xlabel="margin")
    more = " It is a long sentence, which takes two lines or more on a phone, as sentences may." if margin > 1 else ""
    return figure, f"The {loss} loss at {margin:g}.{more}"


@cache
def stepper() -> Explorer:
    return explore(
        step,
        margin=(-2.0, 3.0, 0.5),
        loss=["hinge", "exponential"],
        shown=True,
        drag={"margin": "the-point"},
        alt="A point moves along a curve.",
    )


@cache
def plane() -> Explorer:
    def plane(x: int = 1, y: int = 1, kind: str = "a") -> tuple[Figure, str]:
        figure, axes = plots.subplots()
        axes.plot([x], [y], "o", markersize=14, gid="it")
        axes.set(xlim=(-0.5, 4.5), ylim=(-0.5, 4.5))
        return figure, f"({x}, {y}) {kind}"

    choice = ipywidgets.ToggleButtons(options=["a", "b"])
    return explore(plane, x=(0, 4), y=(0, 4), kind=choice, drag={"x": "it", "y": "it"}, alt="A point in the plane.")


def root(page: Page, explorer: Explorer) -> str:
    return f"#{explorer.page.identity}"


def sentence(page: Page, explorer: Explorer) -> Any:
    return page.locator(f"{root(page, explorer)} [aria-live=polite]")


def handle_center(page: Page, explorer: Explorer) -> tuple[float, float]:
    box = page.locator(f"{root(page, explorer)} .lossbook-handle").bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


TREE = """svg => {
    const read = node => {
        const children = Array.from(node.children).filter(child => !child.matches('.lossbook-handle')).flatMap(read);
        const attributes = Object.fromEntries(Array.from(node.attributes, attribute => [attribute.name, attribute.value]));
        if (node.tagName === 'g' && !node.attributes.length) return children;
        return [[node.tagName, attributes, node.children.length ? '' : node.textContent, children]];
    };
    return read(svg);
}"""


def listed(tree: Any) -> Any:
    return [[tag, attributes, text, listed(children)] for tag, attributes, text, children in tree]


@pytest.mark.parametrize("case", [case for case in CONTROLS if case != "no control"])
def test_chromium_shows_every_frame_as_it_was_drawn(case: str, visit: Opener, write: Writer) -> None:
    explorer = drawn(case)
    page = visit(write(explorer.html)).page
    clip = re.search(r"url\(#(.*?)-\d+\)", explorer.html)
    assert clip
    for state in product(*(range(len(control)) for control in explorer.controls)):
        choose(page, explorer, state)
        svg, said = full(explorer, state, clip[1])
        assert page.eval_on_selector("svg", TREE) == listed(flat(svg))
        if said:
            expect(sentence(page, explorer)).to_have_text(said)


def choose(page: Page, explorer: Explorer, state: tuple[int, ...]) -> None:
    for control, setting in zip(explorer.controls, state, strict=True):
        field = page.get_by_label(control.label, exact=True)
        if control.kind == "range":
            field.fill(str(setting))
        elif control.kind == "select":
            field.select_option(control.texts[setting])
        else:
            field.set_checked(bool(setting))


def test_keys_move_the_slider(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html)).page
    slider = page.get_by_label("margin", exact=True)
    expect(slider).to_have_attribute("aria-valuetext", "-0.5")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Play margin")).to_be_focused()
    page.keyboard.press("Tab")
    expect(slider).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(sentence(page, stepper())).to_have_text("The hinge loss at 0.5.")
    expect(slider).to_have_attribute("aria-valuetext", "0.5")
    expect(page.locator("output")).to_have_text("0.5")
    page.keyboard.press("Home")
    expect(sentence(page, stepper())).to_have_text("The hinge loss at -2.")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(sentence(page, stepper())).to_have_text("The exponential loss at -2.")
    points = page.locator("svg.lossbook-svg use").count()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("svg.lossbook-svg use")).to_have_count(points - 1)


def test_the_mouse_moves_the_slider(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html)).page
    box = page.get_by_label("margin", exact=True).bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] - 8, box["y"] + box["height"] / 2)
    expect(page.locator("output")).to_have_text("3.0")
    expect(sentence(page, stepper())).to_contain_text("The hinge loss at 3.")


def held(opened: Visit) -> Page:
    """The page with a clock that moves when it is told to."""
    opened.page.clock.install(time=0)
    opened.page.clock.pause_at(1000)
    return opened.page


def test_a_slider_plays_from_here_to_its_end_and_then_from_its_start(visit: Opener, write: Writer) -> None:
    page = held(visit(write(stepper().html)))
    page.get_by_label("margin", exact=True).fill("6")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Pause margin")).to_be_focused()
    for text in ("1.5", "2.0", "2.5"):
        expect(page.locator("output")).to_have_text(text)
        page.clock.run_for(100)
    expect(page.locator("output")).to_have_text("3.0")
    expect(sentence(page, stepper())).to_have_count(0)
    page.clock.run_for(100)
    expect(sentence(page, stepper())).to_contain_text("The hinge loss at 3.")
    assert page.evaluate("location.hash").startswith(f"{root(page, stepper())}.margin=3.0&")
    page.get_by_role("button", name="Play margin").click()
    expect(page.locator("output")).to_have_text("-2.0")
    page.clock.run_for(100)
    expect(page.locator("output")).to_have_text("-1.5")
    page.get_by_role("button", name="Pause margin").click()
    page.clock.run_for(1000)
    expect(page.locator("output")).to_have_text("-1.5")


STOPS: dict[str, Callable[[Page], Any]] = {
    "a key": lambda page: page.get_by_label("margin", exact=True).press("Home"),
    "another control": lambda page: page.get_by_label("loss", exact=True).select_option("exponential"),
    "a drag": lambda page: page.locator(".lossbook-handle").dispatch_event("pointerdown", {"pointerId": 1}),
    "a press on the slider": lambda page: page.get_by_label("margin", exact=True).dispatch_event("pointerdown"),
    "Escape": lambda page: page.keyboard.press("Escape"),
    "leaving": lambda page: page.evaluate("window.dispatchEvent(new Event('pagehide'))"),
    "a link": lambda page: page.evaluate(f"location.hash = '#{stepper().page.identity}.margin=-2.0'"),
}


@pytest.mark.parametrize("stop", STOPS)
def test_playing_stops_at(stop: str, visit: Opener, write: Writer) -> None:
    page = held(visit(write(stepper().html), quiet=False))  # no pointer of this id is down, which an event that nobody's hand makes is told
    page.get_by_role("button", name="Play margin").click()
    page.clock.run_for(100)
    expect(page.locator("output")).to_have_text("0.5")
    STOPS[stop](page)
    expect(page.get_by_role("button", name="Play margin")).to_be_visible()
    page.clock.run_for(1000)
    expect(page.locator("output")).to_have_text("-2.0" if stop in ("a key", "a link") else "0.5")
    assert page.evaluate("location.hash").startswith(f"{root(page, stepper())}.margin=")


def test_what_plays_is_read_out_once_at_its_end(visit: Opener, write: Writer) -> None:
    page = held(visit(write(stepper().html)))
    page.evaluate("""() => {
        window.said = [];
        const line = document.querySelector('.lossbook-sentence > span');
        new MutationObserver(() => window.said.push([line.getAttribute('aria-live'), line.textContent])).observe(line, {childList: true});
    }""")
    page.get_by_role("button", name="Play margin").click()
    page.clock.run_for(2000)
    page.wait_for_function("window.said.some(([live]) => live === 'polite')")
    said = page.evaluate("window.said")
    assert [text for live, text in said if live == "polite"] == [said[-1][1]]
    assert said[-1][1].startswith("The hinge loss at 3.")
    assert len(said) > 5


def test_a_long_slider_plays_for_six_seconds(visit: Opener, write: Writer) -> None:
    explorer = explore(lambda many: plots.subplots()[0], many=(0, 100), alt="Empty axes.")
    page = held(visit(write(explorer.html)))
    page.get_by_label("many", exact=True).fill("0")
    page.get_by_role("button", name="Play many").click()
    page.clock.run_for(5000)
    expect(page.get_by_role("button", name="Pause many")).to_be_visible()
    page.clock.run_for(1000)
    expect(page.locator("output")).to_have_text("100")


def test_who_wants_no_motion_gets_no_button_and_nothing_else_moves(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html)).page
    page.get_by_role("button", name="Play margin").click()
    boxes = "all => all.map(one => { const box = one.getBoundingClientRect(); return [box.top, box.bottom]; })"
    before = page.eval_on_selector_all(".lossbook-explorer, .lossbook-control", boxes)
    page.emulate_media(reduced_motion="reduce")
    expect(page.locator(".lossbook-play")).to_be_hidden()
    expect(page.locator(".lossbook-play")).to_have_attribute("aria-label", "Play margin")
    assert page.eval_on_selector_all(".lossbook-explorer, .lossbook-control", boxes) == before
    page.reload()
    expect(page.locator(".lossbook-play")).to_have_count(0)


def test_three_settings_need_no_button(visit: Opener, write: Writer) -> None:
    few = explore(lambda few: plots.subplots()[0], few=(0, 2), alt="Empty axes.")
    page = visit(write(few.html, stepper().html)).page
    expect(page.get_by_role("button")).to_have_count(1)


def test_radios_choose(visit: Opener, write: Writer) -> None:
    page = visit(write(plane().html, plane().html)).page
    first, second = page.locator(".lossbook-explorer").all()
    first.get_by_label("b", exact=True).check()
    expect(first.locator("[aria-live=polite]")).to_have_text("(1, 1) b")
    expect(second.locator("[aria-live=polite]")).to_have_text("(1, 1) a")
    expect(second.get_by_label("a", exact=True)).to_be_checked()


def test_the_mouse_drags_the_artist(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html)).page
    x, y = handle_center(page, stepper())
    page.get_by_label("margin", exact=True).fill("8")
    far, _ = handle_center(page, stepper())
    page.get_by_label("margin", exact=True).fill("3")
    unit = (far - x) / 5
    page.mouse.move(x + 4, y + 3)
    page.mouse.down()
    expect(page.locator("output")).to_have_text("-0.5")
    page.mouse.move(x + 4 + 2.3 * unit, y - 60, steps=5)
    expect(page.locator("output")).to_have_text("0.5")
    page.mouse.move(x + 4 + 2.7 * unit, y + 90)
    expect(page.locator("output")).to_have_text("1.0")
    page.mouse.move(x + 4000, y)
    expect(page.locator("output")).to_have_text("3.0")
    page.mouse.up()
    page.mouse.move(x, y)
    expect(page.locator("output")).to_have_text("3.0")
    expect(page.get_by_label("margin", exact=True)).to_have_value("10")


def test_a_drag_in_the_plane_moves_both_controls(visit: Opener, write: Writer) -> None:
    page = visit(write(plane().html)).page
    x, y = handle_center(page, plane())
    page.get_by_label("x", exact=True).fill("4")
    page.get_by_label("y", exact=True).fill("3")
    far_x, far_y = handle_center(page, plane())
    page.mouse.move(far_x, far_y)
    page.mouse.down()
    page.mouse.move(x, y, steps=3)
    page.mouse.up()
    expect(sentence(page, plane())).to_have_text("(1, 1) a")


def test_a_finger_drags_the_artist_and_the_page_stays(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html, "<p>tall</p>" * 60), width=375, height=700, touch=True).page
    page.locator(".lossbook-handle").scroll_into_view_if_needed()
    x, y = handle_center(page, stepper())
    driver = page.context.new_cdp_session(page)
    before = page.evaluate("scrollY")

    def touch(kind: str, *points: tuple[float, float]) -> None:
        driver.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": px, "y": py} for px, py in points]})

    touch("touchStart", (x, y))
    for part in range(1, 11):
        touch("touchMove", (x + 15 * part, y + 8 * part))
    expect(page.locator("output")).not_to_have_text("-0.5")
    touch("touchEnd")
    assert page.evaluate("scrollY") == before


def test_an_artist_that_is_not_drawn_has_no_handle(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html)).page
    expect(page.locator(".lossbook-handle")).to_be_visible()
    page.get_by_label("shown", exact=True).uncheck()
    expect(page.locator(".lossbook-handle")).to_be_hidden()


def test_the_address_follows_and_leads_back(visit: Opener, write: Writer) -> None:
    path = write(stepper().html)
    page = visit(path).page
    page.get_by_label("margin", exact=True).fill("6")
    page.get_by_label("loss", exact=True).select_option("exponential")
    name = stepper().page.identity
    wanted = f"#{name}.margin=1.0&{name}.loss=exponential&{name}.shown=on"
    page.wait_for_function("hash => location.hash === hash", arg=wanted)
    assert page.evaluate("history.length") == 2  # the blank page and this one: moving a slider adds no step to go back

    again = visit(path.resolve().as_uri() + wanted).page
    expect(sentence(again, stepper())).to_contain_text("The exponential loss at 1.")
    expect(again.get_by_label("margin", exact=True)).to_have_value("6")
    again.evaluate(f"location.hash = '#{name}.margin=-2.0'")
    expect(sentence(again, stepper())).to_have_text("The exponential loss at -2.")


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        (".margin=0.6", "The hinge loss at 0.5."),
        (".margin=99", "The hinge loss at 3."),
        (".margin=&{id}.loss=", "The hinge loss at -0.5."),
        (".margin=NaN&{id}.loss=nothing", "The hinge loss at -0.5."),
        (".margin=%E0%A4%A&{id}.nothing=1", "The hinge loss at -0.5."),
        (".__proto__=1&{id}.=2&&&=", "The hinge loss at -0.5."),
        (".loss=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E", "The hinge loss at -0.5."),
    ],
)
def test_any_address_is_survived(fragment: str, said: str, visit: Opener, write: Writer) -> None:
    name = stepper().page.identity
    page = visit(write(stepper().html).resolve().as_uri() + f"#{name}" + fragment.replace("{id}", name)).page
    expect(sentence(page, stepper())).to_contain_text(said)


def test_two_on_a_page_do_not_disturb_each_other(visit: Opener, write: Writer) -> None:
    path = write(stepper().html, stepper().html, plane().html)
    page = visit(path).page
    first, second, third = page.locator(".lossbook-explorer").all()
    assert len(set(page.eval_on_selector_all(".lossbook-explorer", "roots => roots.map(root => root.id)"))) == 3
    second.get_by_label("margin", exact=True).fill("0")
    third.get_by_label("x", exact=True).fill("4")
    expect(first.locator("[aria-live=polite]")).to_have_text("The hinge loss at -0.5.")
    expect(second.locator("[aria-live=polite]")).to_have_text("The hinge loss at -2.")
    expect(third.locator("[aria-live=polite]")).to_have_text("(4, 1) a")
    name, other = stepper().page.identity, plane().page.identity
    page.wait_for_function("part => location.hash.includes(part)", arg=f"{other}.x=4")
    address = page.evaluate("location.href")  # `page.url` may still be the one before
    expect(visit(address).page.locator("[aria-live=polite]")).to_have_text(["The hinge loss at -0.5.", "The hinge loss at -2.", "(4, 1) a"])
    assert f"{name}-2.margin=-2.0" in address


def test_a_heading_in_the_address_is_left_alone_until_something_moves(visit: Opener, write: Writer) -> None:
    page = visit(write("<h2 id='there'>There</h2>", stepper().html).resolve().as_uri() + "#there").page
    expect(sentence(page, stepper())).to_have_text("The hinge loss at -0.5.")
    assert page.evaluate("location.hash") == "#there"


def luminance(color: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


@pytest.mark.parametrize(
    ("attributes", "system", "dark"),
    [
        ("", "light", False),
        ("", "dark", True),
        ('data-theme="light"', "dark", False),
        ('data-theme="dark"', "light", True),
    ],
)
def test_colours_follow_the_theme(attributes: str, system: str, dark: bool, visit: Opener, write: Writer) -> None:
    path = write(stepper().html, plots.to_html(plane().frame({"x": 1, "y": 1, "kind": "a"}) and plots.subplots()[0], alt="Axes.").html)
    path.write_text(path.read_text().replace("<html ", f"<html {attributes} "))
    page = visit(path, theme=system).page
    for selector in (".lossbook-explorer", ".lossbook-figure"):
        ink = page.eval_on_selector(f"{selector} svg text", "text => getComputedStyle(text).fill")
        assert (luminance(ink) > 0.5) is dark
        paper = page.eval_on_selector(f"{selector} svg", "svg => getComputedStyle(svg).backgroundColor")
        assert paper == "rgba(0, 0, 0, 0)"
    expect(page.locator("select")).to_have_css("color", "rgb(230, 233, 239)" if dark else "rgb(31, 36, 48)")


def test_jupyterlab_in_dark_is_dark(visit: Opener, write: Writer) -> None:
    path = write(stepper().html)
    path.write_text(path.read_text().replace("<body>", '<body data-jp-theme-light="false">'))
    assert luminance(visit(path).page.eval_on_selector("svg text", "text => getComputedStyle(text).fill")) > 0.5


def test_colours_change_with_the_theme_without_a_reload(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html)).page
    before = page.eval_on_selector("svg text", "text => getComputedStyle(text).fill")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.eval_on_selector("svg text", "text => getComputedStyle(text).fill") != before


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(theme: str, visit: Opener, write: Writer) -> None:
    path = write(stepper().html, plane().html, plots.to_html(plots.subplots()[0], alt="Empty axes.").html)
    background = "<style>html{background:#fff;color:#222}@media (prefers-color-scheme:dark){html{background:#14181e;color:#eee}}</style>"
    path.write_text(path.read_text().replace("</head>", background + "</head>"))
    assert serious(visit(path, theme=theme).page) == []


def test_a_phone_sees_text_and_no_sideways_scroll(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html, plane().html, plots.to_html(plots.subplots(1, 2)[0], alt="Two.").html), width=375, touch=True).page
    assert smallest_text(page) >= 10
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    heights = page.eval_on_selector_all("input[type=range], select, button, .lossbook-checkbox > label", "all => all.map(e => e.offsetHeight)")
    assert min(heights) >= 44


def test_nothing_jumps_when_the_sentence_grows(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html), width=375).page
    slider = page.get_by_label("margin", exact=True)
    tops = set()
    for setting in range(11):
        slider.fill(str(setting))
        tops.add(slider.evaluate("slider => slider.getBoundingClientRect().top"))
    assert len(tops) == 1


def test_without_scripts_the_first_frame_and_its_sentence_stand(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html), scripts=False).page
    expect(page.locator("svg.lossbook-svg")).to_be_visible()
    expect(page.locator("svg.lossbook-svg use").last).to_be_visible()
    expect(sentence(page, stepper())).to_have_text("The hinge loss at -0.5.")
    expect(page.locator("noscript p")).to_be_visible()
    expect(page.get_by_label("margin", exact=True)).to_be_disabled()
    expect(page.locator(".lossbook-handle, .lossbook-play")).to_have_count(0)


def test_print_is_light(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html), theme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert luminance(page.eval_on_selector("svg text", "text => getComputedStyle(text).fill")) < 0.5
    expect(page.locator(".lossbook-handle")).to_be_hidden()
    expect(page.locator(".lossbook-play")).to_be_hidden()


def test_hostile_texts_stay_texts(visit: Opener, write: Writer) -> None:
    def hostile(**values: Any) -> tuple[Figure, str]:
        figure, axes = plots.subplots()
        axes.set_title(HOSTILE if "2" in values["choice"] else "fine", parse_math=False)
        return figure, f"{HOSTILE} {values['choice']}"

    explorer = explore(hostile, alt=HOSTILE, choice=[HOSTILE, HOSTILE + "2"], **{HOSTILE: True})
    page = visit(write(explorer.html)).page
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    page.get_by_label("choice", exact=True).select_option(index=1)
    assert page.locator("svg text").last.text_content() == HOSTILE
    assert sentence(page, explorer).text_content() == f"{HOSTILE} {HOSTILE}2"
    assert page.locator("svg").get_attribute("aria-label") == HOSTILE
    assert page.locator("main img").count() == 0


def test_a_move_touches_only_what_differs(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html)).page
    page.evaluate("""() => {
        window.changes = [];
        const all = {subtree: true, childList: true, attributes: true};
        new MutationObserver(list => window.changes.push(...list)).observe(document.querySelector('svg'), all);
    }""")
    page.get_by_label("margin", exact=True).fill("4")
    page.wait_for_function("window.changes.length > 0")
    touched = page.evaluate("window.changes.filter(change => !change.target.matches('.lossbook-handle')).map(change => change.attributeName)")
    assert len(touched) <= 2
    page.evaluate("window.changes.length = 0")
    page.get_by_label("margin", exact=True).fill("4")
    page.get_by_label("shown", exact=True).check()
    assert page.evaluate("window.changes.length") == 0


def test_the_new_frame_is_in_place_when_the_event_returns(visit: Opener, write: Writer) -> None:
    page = visit(write(stepper().html)).page
    frames = page.evaluate("""async () => {
        const slider = document.querySelector('input[type=range]'), svg = document.querySelector('svg'), shots = [];
        for (const setting of [0, 5, 10]) {
            slider.value = setting;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
            const now = svg.outerHTML;
            await new Promise(requestAnimationFrame);
            shots.push(now === svg.outerHTML);
        }
        return shots;
    }""")
    assert frames == [True, True, True]


@pytest.fixture
def strict(write: Writer) -> Any:
    """A server on this machine that sends every page with the strict policy."""
    path = write(stepper().html, plots.to_html(plots.subplots()[0], alt="Axes.").html)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Security-Policy", content_security_policy())
            self.end_headers()
            self.wfile.write(path.read_bytes() if self.path == "/" else b"")

        def log_message(self, *parts: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_strict_policy_stops_nothing(strict: str, visit: Opener) -> None:
    opened = visit(strict, quiet=False)
    opened.page.get_by_label("margin", exact=True).fill("10")
    expect(sentence(opened.page, stepper())).to_contain_text("The hinge loss at 3.")
    expect(opened.page.locator("svg.lossbook-svg").first).to_have_css("display", "block")
    assert [error for error in opened.errors if "favicon" not in error and "404" not in error] == []
