"""The fragment of HTML that `explore` leaves on a page: figure, sentence, controls, and what changes with them.

Its style and script are the same text in every fragment, so that a site with a strict Content-Security-Policy can allow them by their hash, see
`content_security_policy`. The data are JSON, which is not run, and no element carries a style attribute or an event handler.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lossbook._core.arguments import wrong_value
from lossbook._core.markup import escape
from lossbook.explorer import _frames, _svg
from lossbook.explorer._assets import explorer_css, script
from lossbook.explorer._controls import Control

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_NO_SCRIPT = "<noscript><p>The figure shows one setting; its controls need JavaScript.</p></noscript>"


class Page(NamedTuple):
    """What a fragment is made from, beside its frames: its id, its controls, what it shows in words, and the artist that moves with a control."""

    identity: str
    controls: Sequence[Control]
    alt: str
    drag: Mapping[str, str]


def fragment(page: Page, svgs: Sequence[Element], sentences: Sequence[str], initial: int) -> str:
    """All frames, in the order of `itertools.product` over the controls, as HTML that shows the initial one and knows the others."""
    identity, controls, alt = page.identity, page.controls, page.alt
    sizes = [len(control) for control in controls]
    drags = [_drag(gid, moved, svgs, sizes) for gid, moved in dragged(page).items()]
    prefix = f"{identity}-{_svg.digest(_svg.markup(svgs[initial]))}"
    for svg in svgs:
        _svg.prefix_ids(svg, prefix)
    places = _frames.places(svgs, initial)
    strings, rows = _frames.encode(places, svgs[initial], sizes)
    said, texts = _frames.depends(sentences, sizes)
    fields = "".join(_field(index, control, identity) for index, control in enumerate(controls))
    data = {
        "controls": [{"name": one.name, "kind": one.kind, "texts": one.texts, "at": one.initial} for one in controls],
        "sizes": sizes,
        "rows": rows,
        "strings": strings,
        "sentence": [said, texts],
        "drags": drags,
    }
    return "".join(
        (
            f'<div class="lossbook-explorer" id="{identity}" role="group" aria-label="Figure with controls"><style>{explorer_css()}</style>',
            _svg.markup(_svg.labelled(svgs[initial], alt)),
            _sentence(sentences[initial], sentences),
            f'<form autocomplete="off"><fieldset class="lossbook-controls" disabled>{fields}</fieldset></form>',
            f'{_NO_SCRIPT}<script type="application/json">{to_json(data)}</script><script>{script()}</script></div>',
        )
    )


def still(page: Page, svg: Element, sentence: str) -> str:
    """One frame without controls."""
    _svg.prefix_ids(svg, f"{page.identity}-{_svg.digest(_svg.markup(svg))}")
    return f'<div class="lossbook-figure">{_svg.markup(_svg.labelled(svg, page.alt))}{_sentence(sentence, [sentence])}</div>'


def identify(name: str, alt: str, controls: Sequence[Control]) -> str:
    """An id for a fragment to which nobody gave one: it changes with the words and the controls, not with what is drawn."""
    key = json.dumps([alt, *((control.name, control.texts) for control in controls)])
    return f"{name or 'explore'}-{_svg.digest(key)[:6]}"


def _sentence(sentence: str, every: Sequence[str]) -> str:
    """The sentence, in a place that is tall enough for the longest one, so that nothing below it jumps."""
    if not any(every):
        return ""
    longest = escape(max(every, key=len))
    return f'<p class="lossbook-sentence" data-longest="{longest}"><span aria-live="polite">{escape(sentence)}</span></p>'


def _field(index: int, control: Control, identity: str) -> str:
    """One control as native elements with their label."""
    label, mark = f'<label for="{identity}-c{index}">{escape(control.label)}</label>', f'data-control="{index}" id="{identity}-c{index}"'
    if control.kind == "range":
        text, last = escape(control.texts[control.initial]), len(control) - 1
        span = f'min="0" max="{last}" step="1" value="{control.initial}" aria-valuetext="{text}"'
        value = f'<output for="{identity}-c{index}" aria-live="off" data-control="{index}">{text}</output>'
        return f'<div class="lossbook-control">{label}<input type="range" {mark} {span}>{value}</div>'
    if control.kind == "checkbox":
        checked = " checked" if control.initial else ""
        return f'<div class="lossbook-control lossbook-checkbox"><input type="checkbox" {mark}{checked}>{label}</div>'
    if control.kind == "select":
        options = "".join(f"<option{' selected' * (i == control.initial)}>{escape(text)}</option>" for i, text in enumerate(control.texts))
        return f'<div class="lossbook-control">{label}<select {mark}>{options}</select></div>'
    if control.kind == "radio":
        checks = ["" if i != control.initial else " checked" for i in range(len(control))]
        choices = "".join(
            f'<label><input type="radio" name="control-{index}" data-control="{index}" value="{i}"{checks[i]}>{escape(text)}</label>'
            for i, text in enumerate(control.texts)
        )
        return f'<fieldset class="lossbook-radios"><legend>{escape(control.label)}</legend>{choices}</fieldset>'
    if control.kind == "text":
        return f'<div class="lossbook-control">{label}<input type="text" {mark} readonly value="{escape(control.texts[0])}"></div>'
    return ""


def dragged(page: Page) -> dict[str, list[int]]:
    """The gids of the artists that can be dragged, each with the numbers of the controls that it moves."""
    names = [control.name for control in page.controls]
    return {gid: [names.index(name) for name, other in page.drag.items() if other == gid] for gid in page.drag.values()}


def _drag(gid: str, moved: list[int], svgs: Sequence[Element], sizes: Sequence[int]) -> dict[str, Any]:
    """Where the artist stands at each setting of the controls that move it."""
    centers = [_svg.center(svg, gid) for svg in svgs]
    if all(center is None for center in centers):
        wrong_value("drag", "name artists by the gid that `draw` gives them", repr(gid))
    by, distinct = _frames.depends(centers, sizes)
    return {"controls": moved, "by": by, "at": [part for center in distinct for part in (center or (None, None))]}


def to_json(data: Any) -> str:
    """JSON that is safe inside a script element: it cannot close it, nor open a comment."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def gzipped(text: str) -> int:
    """The bytes that a server sends for this text."""
    return len(gzip.compress(text.encode(), 9, mtime=0))
