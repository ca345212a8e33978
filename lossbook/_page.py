"""The fragment of HTML that `explore` leaves on a page: figure, sentence, controls, and what changes with them.

Its style and script are the same text in every fragment, so that a site with a strict Content-Security-Policy can allow them by their hash, see
`content_security_policy`. The data are JSON, which is not run, and no element carries a style attribute or an event handler.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossbook import _frames, _svg, plots
from lossbook._controls import Control
from lossbook._core.checks import wrong_value
from lossbook._svg import escape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from lossbook.explorer import Explorer

_NO_SCRIPT = "<noscript><p>The figure shows one setting; its controls need JavaScript.</p></noscript>"


def fragment(explorer: Explorer, svgs: Sequence[Element], sentences: Sequence[str], initial: int) -> str:
    """All frames, in the order of `itertools.product` over the controls, as HTML that shows the initial one and knows the others."""
    controls, sizes = explorer.controls, [len(control) for control in explorer.controls]
    identity = identify(explorer)
    drags = [_drag(gid, explorer, svgs, sizes) for gid in dict.fromkeys(explorer.drag.values())]
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
            f'<div class="lossbook-explorer" id="{identity}" role="group" aria-label="Figure with controls"><style>{stylesheet()}</style>',
            _svg.markup(_svg.labelled(svgs[initial], explorer.alt)),
            _sentence(sentences[initial], sentences),
            f'<form autocomplete="off"><fieldset class="lossbook-controls" disabled>{fields}</fieldset></form>',
            f'{_NO_SCRIPT}<script type="application/json">{to_json(data)}</script><script>{script()}</script></div>',
        )
    )


def still(explorer: Explorer, svg: Element, sentence: str) -> str:
    """One frame without controls."""
    _svg.prefix_ids(svg, f"{identify(explorer)}-{_svg.digest(_svg.markup(svg))}")
    return f'<div class="lossbook-figure">{_svg.markup(_svg.labelled(svg, explorer.alt))}{_sentence(sentence, [sentence])}</div>'


def identify(explorer: Explorer) -> str:
    """The id of the fragment, which also stands in links to a setting: it changes with the controls, not with what is drawn."""
    name = re.sub(r"\W+", "-", getattr(explorer.draw, "__name__", ""), flags=re.ASCII).strip("-_").lower()
    key = json.dumps([explorer.alt, *((control.name, control.texts) for control in explorer.controls)])
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


def _drag(gid: str, explorer: Explorer, svgs: Sequence[Element], sizes: Sequence[int]) -> dict[str, Any]:
    """Where the artist stands at each setting of the controls that move it."""
    centers = [_svg.center(svg, gid) for svg in svgs]
    if all(center is None for center in centers):
        wrong_value("drag", "name artists by the gid that `draw` gives them", repr(gid))
    by, distinct = _frames.depends(centers, sizes)
    names = [control.name for control in explorer.controls]
    moved = [names.index(name) for name, other in explorer.drag.items() if other == gid]
    return {"controls": moved, "by": by, "at": [part for center in distinct for part in (center or (None, None))]}


def to_json(data: Any) -> str:
    """JSON that is safe inside a script element: it cannot close it, nor open a comment."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def stylesheet() -> str:
    """The CSS of an explorer: that of every figure, and that of the controls."""
    return plots.stylesheet() + _svg.squeeze_css(Path(__file__).with_name("explorer.css").read_text(encoding="utf-8"))


@cache
def script() -> str:
    """The script, without comments and indentation."""
    text = Path(__file__).with_name("explorer.js").read_text(encoding="utf-8")
    lines = (line.strip() for line in re.sub(r"^\s*/\*.*?\*/$", "", text, flags=re.DOTALL | re.MULTILINE).splitlines())
    return "\n".join(line for line in lines if line)


def content_security_policy() -> str:
    """A strict policy under which every figure of the package works: its one script and its two style sheets, by their hashes."""
    texts = (script(), stylesheet(), plots.stylesheet())
    code, *styles = (f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)
    sources = {"default": "'self'", "script": f"'self' {code}", "style": f"'self' {' '.join(styles)}", "img": "'self' data:", "object": "'none'"}
    return "; ".join(f"{kind}-src {allowed}" for kind, allowed in sources.items())


def gzipped(text: str) -> int:
    """The bytes that a server sends for this text."""
    return len(gzip.compress(text.encode(), 9, mtime=0))
