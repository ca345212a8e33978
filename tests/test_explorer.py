"""The static fragment of `explore` holds exactly the frames that were drawn, for every kind of control, and nothing unsafe; so does the live box."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from inspect import Parameter
from itertools import count, pairwise, product
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import ipywidgets
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

import lossbook
from lossbook.book import plots
from lossbook.explorer import Explorer, _page, _svg, content_security_policy, explore, is_live
from lossbook.explorer._controls import read_control, setting_of
from lossbook.explorer._live import LiveBox

GRID = np.linspace(-2, 3, 101)


def curve(slope: float = 1.0, loss: str = "hinge", points: bool = False) -> tuple[Figure, str]:
    """A line and a curve, with points where they are asked for."""
    figure, axes = plots.subplots()
    axes.plot(GRID, np.maximum(0, 1 - slope * GRID) if loss == "hinge" else np.log1p(np.exp(-slope * GRID)))
    axes.plot([slope], [1.0], "o", gid="the-point")
    if points:
        axes.scatter([0, 1, 2], [1, slope, 2])
    axes.set(xlim=(-2, 3), ylim=(0, 3), title=f"{loss} at {slope:g}")
    return figure, f"Slope {slope:g} with the {loss} loss."


def changing(count: int = 2, panels: int = 1, legend: bool = False) -> Figure:
    """Lines, panels and a legend that come and go."""
    figure, axes = plots.subplots(1, panels, squeeze=False)
    for panel in axes[0]:
        for index in range(count):
            panel.plot([0, 1], [index, count], "o-", label=f"line {index}")
        panel.fill_between([0, 1], 0, count, alpha=0.2)
        if legend:
            panel.legend()
    return figure


# An independent reader of the fragment: the Python twin of explorer.js.


def data_of(fragment: str) -> Any:
    found = re.search(r'<script type="application/json">(.*?)</script>', fragment, re.DOTALL)
    assert found
    return json.loads(found[1])


def svg_of(fragment: str) -> ElementTree.Element:
    found = re.search(r"<svg.*</svg>", fragment, re.DOTALL)
    assert found
    return ElementTree.fromstring(found[0])


def place(controls: list[int], state: tuple[int, ...], sizes: list[int]) -> int:
    total = 0
    for control in controls:
        total = total * sizes[control] + state[control]
    return total


def undone(numbers: list[int], width: int, lag: int, framewise: int) -> list[list[int]]:
    rows = [numbers[start : start + width] for start in range(0, len(numbers), width)]
    for row in rows:
        for index in range(lag, width) if lag else ():
            row[index] += row[index - lag]
    for above, row in pairwise(rows):
        if framewise:
            row[:] = [left + right for left, right in zip(above, row, strict=True)]
    return rows


def rebuilt(fragment: str, state: tuple[int, ...]) -> tuple[ElementTree.Element, str]:
    """The frame that the browser would show."""
    data, svg = data_of(fragment), svg_of(fragment)
    elements = list(svg.iter())
    for index, name, controls, *rest in data["rows"]:
        at, element = place(controls, state, data["sizes"]), elements[index]
        if len(rest) == 1:
            value = None if rest[0][at] < 0 else data["strings"][rest[0][at]]
        else:
            holes, decimals, lag, framewise, numbers = rest
            parts = re.split(r"(-?\d*\.?\d+(?:e-?\d+)?)", element.attrib[name])
            for hole, number in zip(np.cumsum(holes), undone(numbers, len(holes), lag, framewise)[at], strict=True):
                parts[2 * hole + 1] = str(number / 10**decimals).removesuffix(".0")
            value = "".join(parts)
        if name == "<":
            element[:] = list(ElementTree.fromstring(f"<g>{value}</g>"))
        elif name == "":
            element.text = value
        elif value is None:
            element.attrib.pop(name, None)
        else:
            element.set(name, value)
    said, texts = data["sentence"]
    return svg, texts[place(said, state, data["sizes"])]


def flat(element: ElementTree.Element) -> list[Any]:
    """A tree as nested lists, in which a group without attributes is the same as its children."""
    children = [part for child in element for part in flat(child)]
    attributes = {name: value for name, value in element.attrib.items() if name != _svg.KIND}
    return children if element.tag == "g" and not attributes else [(element.tag, attributes, element.text or "", children)]


def full(explorer: Explorer, state: tuple[int, ...], prefix: str) -> tuple[ElementTree.Element, str]:
    frame = explorer.frame(explorer.values(state))
    _svg.prefix_ids(frame.svg, prefix)
    return _svg.labelled(frame.svg, explorer.alt), frame.sentence


def states(explorer: Explorer) -> list[tuple[int, ...]]:
    return list(product(*(range(len(control)) for control in explorer.controls)))


CONTROLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "one slider": (curve, {"slope": (0.0, 2.0, 0.5)}),
    "three controls": (curve, {"slope": (0.5, 1.5, 0.5), "loss": ["hinge", "logistic"], "points": False}),
    "children that come and go": (changing, {"count": (1, 3), "panels": [1, 2], "legend": True}),
    "no control": (changing, {}),
}


@cache
def drawn(case: str) -> Explorer:
    draw, controls = CONTROLS[case]
    return explore(draw, **controls)


@pytest.mark.parametrize("case", CONTROLS)
def test_every_frame_is_held_exactly(case: str) -> None:
    explorer = drawn(case)
    clip = re.search(r"url\(#(.*?)-\d+\)", explorer.html)
    assert clip
    for state in states(explorer):
        svg, sentence = rebuilt(explorer.html, state)
        wanted, said = full(explorer, state, clip[1])
        assert flat(svg) == flat(wanted)
        assert sentence == said


def test_the_frames_differ() -> None:
    explorer = drawn("three controls")
    assert len({_svg.markup(rebuilt(explorer.html, state)[0]) for state in states(explorer)}) == len(explorer) == 12


def test_the_page_starts_at_the_defaults() -> None:
    explorer = explore(curve, slope=(0.0, 2.0, 0.5), loss=["logistic", "hinge"])
    at = tuple(control["at"] for control in data_of(explorer.html)["controls"])
    assert explorer.values(at) == {"slope": 1.0, "loss": "hinge"}
    assert "Slope 1 with the hinge loss.</span>" in explorer.html
    assert ">hinge at 1</text>" in explorer.html


def test_two_runs_give_the_same_bytes() -> None:
    code = "from tests.test_explorer import drawn; print(drawn('three controls').html)"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert again == drawn("three controls").html + "\n"


def test_a_frame_of_a_line_plot_costs_a_hundred_and_fifty_bytes() -> None:
    few, many = (explore(curve, slope=(0.0, 2.0, step)) for step in (0.5, 0.1))
    assert (len(few), len(many)) == (5, 21)
    assert _page.gzipped(few.html) < 8_000
    assert (_page.gzipped(many.html) - _page.gzipped(few.html)) / 16 < 150


def test_values_are_listed_only_over_the_controls_that_matter() -> None:
    data = data_of(drawn("three controls").html)
    assert {tuple(row[2]) for row in data["rows"]} >= {(0,), (0, 1)}
    assert all(0 not in row[2] or row[1] in ("d", "x", "y", "", "<", "cy", "cx") for row in data["rows"])


def test_axes_stay_where_they_are() -> None:
    def wide(height: float = 1.0) -> Figure:
        figure, axes = plots.subplots()
        figure.suptitle("a title")
        axes.plot([0, 1], [0, height])
        return figure

    explorer = explore(wide, height=[1.0, 10000.0])
    frames = ["".join(_svg.markup(part) for part in rebuilt(explorer.html, state)[0].iter("clipPath")) for state in states(explorer)]
    assert frames[0] == frames[1]
    titles = [next(text.attrib for text in rebuilt(explorer.html, state)[0].iter("text") if text.text == "a title") for state in states(explorer)]
    assert titles[0] == titles[1]


# Controls


@pytest.mark.parametrize(
    ("abbreviation", "default"),
    [
        ((0, 10), None),
        ((0, 10, 3), None),
        ((0.0, 1.0), None),
        ((0.0, 5.0, 0.25), 1.5),
        ((1, 20, 0.5), 3.0),
        ((-2, 2), 1),
        (True, None),
        (False, None),
        (7, None),
        (-3, None),
        (0, None),
        (2.5, None),
        (["a", "b"], None),
        (["a", "b"], "b"),
        ([("one", 1), ("two", 2)], 2),
        ({"one": 1, "two": 2}, 2),
        ("free text", None),
        (np.array([1.5, 2.5]), 2.5),
    ],
)
def test_settings_are_those_of_interact(abbreviation: Any, default: Any) -> None:
    default = Parameter.empty if default is None else default
    control = read_control("it", abbreviation, default)
    widget = ipywidgets.interactive.widget_from_abbrev(abbreviation, default)
    assert (
        control.values[control.initial] == pytest.approx(widget.value) if control.kind == "range" else control.values[control.initial] == widget.value
    )
    if control.kind == "range":
        assert (control.values[0], control.values[-1]) == pytest.approx((widget.min, widget.min + widget.step * (len(control) - 1)))
        assert widget.max - widget.step < control.values[-1] + 1e-9 <= widget.max + 2e-9
        assert np.diff(control.values) == pytest.approx(widget.step)
        assert {type(value) for value in control.values} == {type(widget.value)}
    elif control.kind == "select":
        assert control.texts == widget._options_labels
        assert list(control.values) == list(widget._options_values)


@pytest.mark.parametrize(
    ("widget", "kind", "values", "initial"),
    [
        (lambda: ipywidgets.IntSlider(min=1, max=7, step=3, value=4), "range", (1, 4, 7), 4),
        (lambda: ipywidgets.FloatSlider(min=0, max=1, step=0.5, value=0.5), "range", (0.0, 0.5, 1.0), 0.5),
        (lambda: ipywidgets.BoundedIntText(min=0, max=2, value=1), "range", (0, 1, 2), 1),
        (lambda: ipywidgets.FloatLogSlider(base=10, min=-1, max=1, step=1, value=1), "range", (0.1, 1.0, 10.0), 1.0),
        (lambda: ipywidgets.SelectionSlider(options=[("low", 1), ("high", 9)], value=9), "range", (1, 9), 9),
        (lambda: ipywidgets.Dropdown(options=["a", "b"], value="b"), "select", ("a", "b"), "b"),
        (lambda: ipywidgets.Select(options=["a", "b"], value="a"), "select", ("a", "b"), "a"),
        (lambda: ipywidgets.RadioButtons(options=["a", "b"], value="b"), "radio", ("a", "b"), "b"),
        (lambda: ipywidgets.ToggleButtons(options={"x": 1, "y": 2}, value=2), "radio", (1, 2), 2),
        (lambda: ipywidgets.Checkbox(value=True), "checkbox", (False, True), True),
        (lambda: ipywidgets.ToggleButton(value=False), "checkbox", (False, True), False),
        (lambda: ipywidgets.Text(value="words"), "text", ("words",), "words"),
        (lambda: ipywidgets.fixed("hidden"), "fixed", ("hidden",), "hidden"),
    ],
)
def test_widgets_are_read(widget: Callable[[], Any], kind: str, values: tuple[Any, ...], initial: Any) -> None:
    control = read_control("it", widget())
    assert (control.kind, control.values, control.values[control.initial]) == (kind, values, initial)


def test_a_widget_brings_its_name_and_its_format() -> None:
    control = read_control("gamma", ipywidgets.FloatSlider(min=0, max=1, step=0.25, description="focus", readout_format=".3f"))
    assert (control.label, control.texts[1]) == ("focus", "0.250")
    assert read_control("l2_weight", (0.0, 1.0, 0.5)).label == "l2 weight"
    assert read_control("it", (0.0, 1.0, 0.05)).texts[:2] == ("0.00", "0.05")
    assert read_control("it", (0.0, 1.5, 1.5 / 39)).texts[-2:] == ("1.461538", "1.500000")


@pytest.mark.parametrize(
    ("control", "error", "words"),
    [
        ((1, 2, 3, 4), ValueError, "`slope` should be a tuple of two or three numbers"),
        (("a", "b"), ValueError, "`slope` should be a tuple of two or three numbers"),
        ((2, 1), ValueError, "`slope` should have its minimum first; found (2, 1)"),
        ((0, 1, 0), ValueError, "`slope` should have a positive step; found 0"),
        ((0, 1, -1), ValueError, "`slope` should have a positive step; found -1"),
        ((0.0, float("inf")), ValueError, "`slope` should be finite"),
        ((float("nan"), 1.0), ValueError, "`slope` should be finite"),
        ([], ValueError, "`slope` should offer at least one setting; found none"),
        (None, TypeError, "`slope` should be a tuple of two or three numbers"),
        (object(), TypeError, "found object"),
        (ipywidgets.SelectMultiple(options=[1, 2]), TypeError, "`slope` should be a control with finitely many settings; found SelectMultiple"),
        (ipywidgets.IntRangeSlider(), TypeError, "found IntRangeSlider"),
        (ipywidgets.Button(), TypeError, "found Button"),
        (ipywidgets.FloatText(), TypeError, "found FloatText"),
        ((1, 2, True, 3), ValueError, "`slope` should be a tuple of two or three numbers"),
    ],
)
def test_what_is_no_control_is_refused_by_name(control: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        explore(curve, slope=control)


# Errors and caps


def test_draw_must_take_the_controls() -> None:
    with pytest.raises(TypeError, match=r"`draw` should take the controls gamma .* unexpected keyword argument 'gamma'"):
        explore(curve, gamma=(0, 1))
    with pytest.raises(TypeError, match=r"`draw` should .* missing a required argument: 'a'"):
        explore(lambda a, b: plots.subplots()[0], b=True)
    with pytest.raises(TypeError, match=r"`draw` should be a function; found int"):
        explore(3, b=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("returned", [None, "text", (1, "a"), ("figure", 2)])
def test_draw_must_return_a_figure(returned: Any) -> None:
    with pytest.raises(TypeError, match=r"`draw` should return a matplotlib figure, or a figure and a sentence; found"):
        explore(lambda it: returned, it=True)


def test_a_sentence_must_be_a_text() -> None:
    with pytest.raises(TypeError, match=r"found Figure, int"):
        explore(lambda it: (plots.subplots()[0], 3), it=True)


def test_an_error_of_draw_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        explore(lambda it: 1 / 0, it=True)


def test_caps_name_the_control_to_coarsen() -> None:
    calls = []

    def counted(a: float = 0.0, b: bool = False) -> Figure:
        calls.append(a)
        return plots.subplots()[0]

    with pytest.raises(ValueError, match=r"at most 100 frames; found 202\. Coarsen `a`, .* or raise `max_frames`"):
        explore(counted, a=(0.0, 1.0, 0.01), b=False, max_frames=100)
    assert not calls
    with pytest.raises(ValueError, match=r"at most 500 bytes gzipped; found \d+\. Coarsen `slope`"):
        explore(curve, slope=(0, 2), max_bytes=500)
    with pytest.raises(ValueError, match=r"`max_frames` should be at least 1; found 0"):
        explore(curve, slope=(0, 2), max_frames=0)
    with pytest.raises(TypeError, match=r"`max_bytes` should be an integer; found float"):
        explore(curve, slope=(0, 2), max_bytes=1e5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`max_seconds` should be finite and at least 0; found -1"):
        explore(curve, slope=(0, 2), max_seconds=-1)


def test_a_cap_on_seconds_is_the_authors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which every frame takes a day: drawn, unless the author said how long it may take."""
    clock = count(step=86_400)
    monkeypatch.setattr("lossbook.explorer.time", SimpleNamespace(process_time=lambda: next(clock), monotonic=lambda: next(clock)))
    assert explore(curve, slope=(0, 3))._html is not None
    with pytest.raises(ValueError, match=r"at most 100000 seconds of processor time; found 172800 after 2 of 4 frames\. Coarsen `slope`"):
        explore(curve, slope=(0, 3), max_seconds=100_000)


def test_drag_must_name_a_control_and_an_artist() -> None:
    with pytest.raises(ValueError, match=r"`drag` should have the names of controls as keys; found 'speed'"):
        explore(curve, slope=(0, 2), drag={"speed": "the-point"})
    with pytest.raises(ValueError, match=r"`drag` should name artists by the gid that `draw` gives them; found 'a-point'"):
        explore(curve, slope=(0, 2), drag={"slope": "a-point"})


def test_alt_is_a_sentence_or_the_docstring() -> None:
    with pytest.raises(ValueError, match="`alt` should say what the figure shows"):
        explore(curve, slope=(0, 2), alt="  ")
    assert svg_of(explore(curve, slope=(0, 2)).html).get("aria-label") == "A line and a curve, with points where they are asked for."
    assert svg_of(explore(curve, slope=(0, 2), alt='A "line" & more').html).get("aria-label") == 'A "line" & more'


# Drawing


def test_draw_is_called_once_for_each_setting() -> None:
    calls: list[tuple[int, str]] = []

    def counted(a: int, b: str) -> Figure:
        calls.append((a, b))
        return changing()

    explore(counted, a=(0, 2), b=["x", "y"])
    assert sorted(calls) == [(a, b) for a in range(3) for b in "xy"]


def test_pyplot_figures_are_closed_and_settings_restored() -> None:
    before = dict(pyplot.rcParams)

    def with_pyplot(a: int = 1) -> Figure:
        figure, axes = pyplot.subplots()
        axes.plot([0, a])
        return figure

    explorer = explore(with_pyplot, a=(0, 3))
    assert pyplot.get_fignums() == []
    assert dict(pyplot.rcParams) == before
    assert "var(--lossbook-blue" in explorer.html


def test_one_figure_may_be_drawn_again_and_again() -> None:
    figure, axes = plots.subplots()
    (line,) = axes.plot([0, 1], [0, 1], color="#123456")
    axes.set(ylim=(0, 3))

    def moved(height: int = 1) -> Figure:
        line.set_ydata([0, height])
        return figure

    explorer = explore(moved, height=(0, 3))
    paths = [next(path.get("d") for path in rebuilt(explorer.html, (i,))[0].iter("path") if path.get("stroke") == "#123456") for i in range(4)]
    assert len(set(paths)) == 4


def test_drag_knows_where_the_artist_is() -> None:
    data = data_of(explore(curve, slope=(0.0, 2.0, 0.5), loss=["hinge", "logistic"], drag={"slope": "the-point"}).html)
    (drag,) = data["drags"]
    assert (drag["controls"], drag["by"]) == ([0], [0])
    xs, ys = drag["at"][0::2], drag["at"][1::2]
    assert len(xs) == 5
    assert np.ptp(np.diff(xs)) < 0.02 < np.diff(xs).min()
    assert np.ptp(ys) == 0


def test_two_controls_may_move_one_artist() -> None:
    def both(x: float = 0.0, y: float = 0.0) -> Figure:
        figure, axes = plots.subplots()
        axes.plot([x], [y], "o", gid="it")
        axes.set(xlim=(-1, 2), ylim=(-1, 2))
        return figure

    (drag,) = data_of(explore(both, x=(0, 1), y=(0, 2), drag={"x": "it", "y": "it"}).html)["drags"]
    assert (drag["controls"], drag["by"], len(drag["at"])) == ([0, 1], [0, 1], 12)


# The fragment

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`&amp; \u2028 ]]> --> <!-- ${x}"


def test_nothing_untrusted_becomes_markup() -> None:
    def hostile(**values: Any) -> tuple[Figure, str]:
        figure, axes = plots.subplots()
        axes.plot([0, 1], gid=HOSTILE)
        axes.set_title(HOSTILE, parse_math=False)
        axes.text(0.5, 0.5, "link", url="javascript:alert(1)")
        axes.set_xlabel(f"{values}", parse_math=False)
        return figure, f"{HOSTILE} {values}"

    widget = ipywidgets.ToggleButtons(options=[HOSTILE, "b"], description=HOSTILE)
    explorer = explore(hostile, alt=HOSTILE, choice=[HOSTILE, HOSTILE + "2"], other=widget, text=HOSTILE, **{HOSTILE: True})
    fragment = explorer.html
    assert fragment.count("<script") == fragment.count("</script>") == 2
    assert "<img" not in fragment
    assert "javascript:" not in fragment
    assert "<!--" not in fragment
    parser = Tags()
    parser.feed(fragment)
    assert not {name for _, attributes in parser.seen for name in attributes if name.startswith("on") or name == "style"}
    assert {tag for tag, _ in parser.seen} <= SAFE_TAGS
    assert data_of(fragment)["sentence"][1][0].startswith(HOSTILE)
    assert explorer.frame(explorer.values((0, 0, 0, 1))).sentence in html.unescape(fragment)


SAFE_TAGS = {
    *("div", "style", "svg", "g", "path", "defs", "clippath", "rect", "text", "tspan", "use", "a", "p", "span", "form", "fieldset", "legend"),
    *("label", "input", "output", "select", "option", "noscript", "script"),
}


class Tags(HTMLParser):
    """Every element that an HTML parser finds."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))


def parsed(fragment: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(fragment)
    return parser.seen


def test_the_fragment_stands_alone() -> None:
    fragment = drawn("three controls").html
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)[^\"' ]+", fragment)
    assert 'type="module"' not in fragment
    assert not [attributes for tag, attributes in parsed(fragment) if tag in ("link", "img", "iframe") or "src" in attributes]


def test_the_fragment_reads_without_scripts() -> None:
    explorer = drawn("three controls")
    elements = parsed(explorer.html)
    assert elements[0] == (
        "div",
        {"class": "lossbook-explorer", "id": explorer.page.identity, "role": "group", "aria-label": "Figure with controls"},
    )
    assert ("span", {"aria-live": "polite"}) in elements
    assert [attributes for tag, attributes in elements if tag == "fieldset"] == [{"class": "lossbook-controls", "disabled": None}]
    assert [attributes["type"] for tag, attributes in elements if tag == "input"] == ["range", "checkbox"]
    assert len([tag for tag, _ in elements if tag == "select"]) == 1
    assert explorer.html.index("Slope 1 with the hinge loss.</span>") < explorer.html.index("<script")


def test_ids_are_unique_and_every_reference_is_met() -> None:
    fragment = drawn("children that come and go").html + drawn("one slider").html
    ids = [attributes["id"] for _, attributes in parsed(fragment) if "id" in attributes]
    assert len(set(ids)) == len(ids) > 4
    for state in states(drawn("children that come and go")):
        svg = rebuilt(drawn("children that come and go").html, state)[0]
        present = {element.get("id") for element in svg.iter()}
        wanted = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", ElementTree.tostring(svg, encoding="unicode")))
        assert wanted
        assert wanted <= present


def test_frames_are_drawn_one_by_one_and_counted() -> None:
    """As a live box does it while the kernel is idle; the fragment is there after the last."""
    explorer = explore(curve, slope=(0, 2))
    assert list(explorer.steps()) == [1, 2, 3]
    assert explorer.html == explore(curve, slope=(0, 2)).html


def test_an_author_names_the_address() -> None:
    """So that links to a setting outlive an edit of the words or the controls."""
    explorers = [explore(curve, key="the-curve", alt=alt, slope=(0, high)) for alt, high in (("One.", 2), ("Two.", 3))]
    assert {explorer.page.identity for explorer in explorers} == {"the-curve"}
    assert all('id="the-curve"' in explorer.render() for explorer in explorers)


@pytest.mark.parametrize(("key", "error"), [("The curve", ValueError), ("1st", ValueError), ("", ValueError), (3, TypeError)])
def test_a_key_is_a_name_that_an_address_can_have(key: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="`key` should be "):
        explore(curve, key=key, slope=(0, 2))


def test_data_for_who_builds_a_page_stand_beside_the_html() -> None:
    explorer = explore(curve, key="the-curve", slope=(0, 2))
    bundle = explorer._repr_mimebundle_()
    assert bundle["application/vnd.lossbook+json"] == {"figure": "the-curve", "settings": {"slope": ["0", "1", "2"]}}
    assert bundle["text/html"] == explorer.html


def test_the_id_follows_the_controls_and_not_the_picture() -> None:
    identities = [explore(draw, **controls).page.identity for draw, controls in ((curve, {"slope": (0, 2)}), (curve, {"slope": (0, 3)}))]
    assert all(re.fullmatch(r"curve-[0-9a-f]{6}", identity) for identity in identities)
    assert len(set(identities)) == 2
    assert re.fullmatch(r"lambda-[0-9a-f]{6}", explore(lambda a: changing(), a=True).page.identity)


def test_a_strict_policy_allows_the_fragment_by_its_hashes() -> None:
    fragment, still = drawn("one slider").html, plots.to_html(changing(), alt="Lines.").html
    policy = content_security_policy()
    for text in re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", fragment + still, re.DOTALL):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy


def test_the_longest_sentence_reserves_its_room() -> None:
    (attributes,) = [attributes for tag, attributes in parsed(drawn("three controls").html) if tag == "p" and "data-longest" in attributes]
    assert attributes["data-longest"] == "Slope 0.5 with the logistic loss."


def test_display_is_html_without_a_live_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("lossbook.explorer.display", lambda thing, **keywords: shown.append((thing, keywords)))
    explorer = drawn("one slider")
    explorer._ipython_display_()
    assert shown == [(explorer._repr_mimebundle_(), {"raw": True})]


# The live box


@pytest.mark.parametrize(("setting", "live"), [("1", False), ("0", True), ("", True)])
def test_the_environment_decides(setting: str, live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSBOOK_STATIC", setting)
    assert is_live() is live


def test_a_kernel_that_may_ask_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython

    monkeypatch.delenv("LOSSBOOK_STATIC", raising=False)
    assert is_live() is False
    for allowed in (True, False):
        shell = type("Shell", (), {"kernel": type("Kernel", (), {"_allow_stdin": allowed})()})()
        monkeypatch.setattr(IPython, "get_ipython", lambda shell=shell: shell)
        assert is_live() is allowed


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., LiveBox]]:
    monkeypatch.setenv("LOSSBOOK_STATIC", "0")
    boxes = []

    def make(draw: Callable[..., Any], **controls: Any) -> LiveBox:
        boxes.append(LiveBox(explore(draw, **controls)))
        return boxes[-1]

    yield make
    for box in boxes:
        box.box.close()


def test_nothing_is_drawn_before_a_live_box_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSBOOK_STATIC", "0")
    calls = []
    explore(lambda a: calls.append(a) or changing(), a=(0, 5))  # type: ignore[func-returns-value]
    assert not calls


def test_moving_a_live_control_draws_the_exact_value(live: Callable[..., LiveBox]) -> None:
    box = live(curve, slope=(0.0, 2.0, 0.5), loss=["hinge", "logistic"], points=False)
    assert "Slope 1 with the hinge loss." in box.picture.value
    box.controls["slope"].value = 0.123
    assert "Slope 0.123 with the hinge loss." in box.picture.value
    assert ">hinge at 0.123</text>" in box.picture.value
    box.controls["loss"].value = "logistic"
    assert "Slope 0.123 with the logistic loss." in box.picture.value
    before = box.picture.value
    box.controls["points"].value = True
    assert box.picture.value.count("<use") == before.count("<use") + 3


def test_the_live_controls_are_those_of_interact(live: Callable[..., LiveBox]) -> None:
    slider = ipywidgets.IntSlider(min=1, max=4, value=2)
    box = live(changing, count=slider, panels=[1, 2], legend=True)
    assert [type(widget).__name__ for widget in box.controls.values()] == ["IntSlider", "Dropdown", "Checkbox"]
    assert box.controls["count"] is slider
    assert set(box.controls.values()) <= set(box.box.children)


def test_the_live_bundle_has_html_to_fall_back_on(live: Callable[..., LiveBox]) -> None:
    box = live(curve, slope=(0.0, 2.0, 0.5))
    bundle = box.bundle("<p>kept</p>")
    assert bundle["text/html"] == "<p>kept</p>"
    assert bundle["text/plain"] == curve.__doc__
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == box.box.model_id


def test_the_grid_is_drawn_later_for_the_saved_notebook(live: Callable[..., LiveBox]) -> None:
    box, updates = live(curve, slope=(0.0, 2.0, 1.0)), []
    handle = type("Handle", (), {"update": lambda self, bundle, raw: updates.append(bundle)})()
    asyncio.run(box.draw_grid(handle))
    (bundle,) = updates
    assert len(data_of(bundle["text/html"])["controls"][0]["texts"]) == 3
    assert box.progress.value == box.progress.max == 3
    assert box.progress.layout.display == "none"


def point(x: int = 1, y: int = 2, shown: bool = True) -> Figure:
    """A point in the plane, or none."""
    figure, axes = plots.subplots()
    if shown:
        axes.plot([x], [y], "o", gid="it")
    axes.set(xlim=(-1, 5), ylim=(-1, 5))
    return figure


PLANE = {"x": (0, 4), "y": (0, 3), "shown": True, "drag": {"x": "it", "y": "it"}}


def test_a_live_artist_is_dragged_by_the_pages_own_code(live: Callable[..., LiveBox]) -> None:
    """The figure hands over settings, as the page's code chooses them; the controls follow, and one frame is drawn."""
    calls: list[tuple[int, int]] = []

    def counted(x: int = 1, y: int = 2) -> Figure:
        calls.append((x, y))
        return point(x, y)

    box = live(counted, x=(0, 4), y=ipywidgets.IntSlider(2, 0, 3), drag={"x": "it", "y": "it"})
    assert box.picture.state == [1, 2]
    assert "function handleOf" in box.picture._esm
    assert box.picture._esm.rstrip().endswith("export default { render: render };")
    box.picture.state = [4, 0]
    assert [box.controls[name].value for name in "xy"] == [4, 0]
    assert calls == [(1, 2), (4, 0)]
    box.controls["x"].value = 3
    assert box.picture.state == [3, 0]
    assert calls[-1] == (3, 0)


def test_a_value_off_the_grid_stays_exact_beside_a_handle(live: Callable[..., LiveBox]) -> None:
    box = live(curve, slope=(0.0, 2.0, 0.5), drag={"slope": "the-point"})
    box.controls["slope"].value = 0.123
    assert box.controls["slope"].value == 0.123
    assert "Slope 0.123" in box.picture.value
    assert box.picture.state == [0]


def test_the_kernel_draws_first_what_a_drag_can_choose(live: Callable[..., LiveBox]) -> None:
    """With `shown` switched off nothing is there to drag; the settings with it on come first, all of them, and the page has the same places."""
    box = live(point, **PLANE)
    steps = box.explorer.steps(box.choose, box.reach.note)
    for _ in range(20):
        next(steps)
    box.aim()
    (drag,) = box.picture.drags
    (page,) = data_of(explore(point, **PLANE).render())["drags"]
    assert drag["controls"] == drag["by"] == page["controls"] == [0, 1]
    assert page["by"] == [0, 1, 2]
    assert drag["at"] == np.reshape(page["at"], (20, 2, 2))[:, 1].ravel().tolist()
    assert len(list(steps)) == 20
    box.controls["shown"].value = False
    assert set(box.picture.drags[0]["at"]) == {None}


def test_without_anywidget_the_controls_are_there_alone(live: Callable[..., LiveBox], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossbook.explorer._live.find_spec", lambda name: None)
    box = live(point, **PLANE)
    assert type(box.picture).__name__ == "HTML"
    before = box.picture.value
    box.controls["x"].value = 3
    assert box.picture.value != before


@pytest.mark.parametrize(
    ("control", "value", "setting"),
    [
        ((0.0, 1.0, 0.1), 0.3, 3),
        ((0.0, 1.0, 0.1), 0.1 + 0.2, 3),
        ((0.0, 1.0, 0.1), 0.7699, 8),
        (["a", "b"], "b", 1),
        ([("one", np.zeros(2)), ("two", np.ones(2))], np.ones(3), 0),
        (True, False, 0),
        ("words", "other words", 0),
    ],
)
def test_a_value_is_at_its_setting_or_at_the_nearest(control: Any, value: Any, setting: int) -> None:
    assert setting_of(read_control("it", control), value) == setting


def test_what_fails_while_drawing_the_grid_is_said(live: Callable[..., LiveBox]) -> None:
    def fragile(a: int = 0) -> Figure:
        if a == 2:
            raise RuntimeError("two is too much")
        return changing()

    box = live(fragile, a=(0, 3))
    with pytest.raises(RuntimeError, match="two is too much"):
        asyncio.run(box.draw_grid(None))
    assert "RuntimeError: two is too much" in box.errors.value
    with pytest.raises(RuntimeError, match="two is too much"):
        box.controls["a"].value = 2
    box.controls["a"].value = 1
    assert box.errors.value == ""


def test_importing_lossbook_brings_no_matplotlib_and_no_widgets() -> None:
    code = (
        "import sys, lossbook; lossbook.book.plots; lossbook.explore;"
        " print([name for name in ('matplotlib', 'ipywidgets', 'IPython') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_package_shows_explore() -> None:
    assert lossbook.explore is explore


def test_progress_goes_to_a_terminal_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    explore(curve, slope=(0, 2))
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    explore(curve, slope=(0, 2))
    assert re.search(r"\[#{30}\] 3/3 frames", capsys.readouterr().err)
