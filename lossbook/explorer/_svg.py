"""From a matplotlib figure to a small, deterministic, themeable SVG tree.

Text stays text, numbers are rounded to what a screen can show, style attributes become presentation attributes (a strict Content-Security-Policy
forbids `style=`), palette colours become CSS custom properties, and only the ids that something refers to are kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lossbook._core.markup import escape
from lossbook.explorer import _matplotlib
from lossbook.explorer._palette import COLORS

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

KIND = "_kind"  # what matplotlib calls an element ("line2d", "patch"); private, used to align frames, never written out
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"
NUMBER = re.compile(r"-?\d*\.?\d+(?:e-?\d+)?")
_AUTOMATIC_ID = re.compile(r"(.*)_\d+$")
_REFERENCE = re.compile(r"#([\w.-]+)")
DECIMALS = {  # how finely the numbers in an attribute are written: a hundredth of a point is a thirtieth of a pixel
    **dict.fromkeys(("d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "points", "viewBox", "stroke-dasharray"), 2),
    **dict.fromkeys(("opacity", "fill-opacity", "stroke-opacity", "stroke-width"), 3),
    "transform": 4,
}
_FAR = 1e6  # no screen reaches further
_SAFE_LINK = re.compile(r"(https?:|mailto:|#|/|\./|\.\./)", re.IGNORECASE)


def to_svg(figure: Any) -> Element:
    """The figure as a clean SVG tree, whose internal ids are `1`, `2`, ... until `named` makes them unique on the page."""
    from xml.etree import ElementTree  # here, and not for everybody who imports lossbook

    svg = ElementTree.fromstring(_matplotlib.printed(figure).encode())
    _clean(svg, base_size(figure.get_figwidth()))
    _keep_referenced_ids(svg)
    return svg


def base_size(width_in: float) -> float:
    """The font size, in the SVG's units, that counts as 1em in a figure `width_in` inches wide."""
    return round(15.0 * width_in / 6.4, 2)


def prefix_ids(svg: Element, prefix: str) -> None:
    """Make the ids, and what refers to them, unique on the page by a prefix; in place."""
    for element in svg.iter():
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, f"{prefix}-{value}")
            elif _refers(name, value):
                element.set(name, value.replace("#", f"#{prefix}-"))


def labelled(svg: Element, alt: str) -> Element:
    """The tree in the role of an image, with `alt` as its name; changes `svg` in place."""
    attributes = {"class": "lossbook-svg", "role": "img", "aria-label": alt, **svg.attrib}
    svg.attrib.clear()
    svg.attrib.update(attributes)
    return svg


def markup(element: Element) -> str:
    """The element as text that both HTML and XML parsers read."""
    return "".join(_write(element))


def digest(text: str) -> str:
    """Eight characters that identify `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def center(svg: Element, gid: str) -> tuple[float, float] | None:
    """The middle of what the artist with this gid drew, in the SVG's units; None where it drew nothing."""
    xs: list[float] = []
    ys: list[float] = []
    for group in svg.iter():
        if group.get("data-gid") == gid:
            for element in _drawn(group):
                if element.tag in ("use", "text", "rect", "image"):
                    x, y = (float(element.get(name, 0)) for name in "xy")
                    xs += [x, x + float(element.get("width", 0))]
                    ys += [y, y + float(element.get("height", 0))]
                elif element.tag == "path":
                    numbers = [float(number) for number in NUMBER.findall(element.get("d", ""))]
                    xs += numbers[0::2]
                    ys += numbers[1::2]
    return (round((min(xs) + max(xs)) / 2, 2), round((min(ys) + max(ys)) / 2, 2)) if xs else None


def _drawn(group: Element) -> Iterator[Element]:
    """What is painted inside a group: everything but its definitions."""
    for child in group:
        if child.tag != "defs":
            yield child
            yield from _drawn(child)


def _clean(svg: Element, base: float) -> None:
    palette = _palette()
    _strip(svg)
    for element in svg.iter():
        element.attrib = _attributes(element, base, palette)
    width, height = (float(part) for part in svg.attrib["viewBox"].split()[2:])
    svg.attrib = {
        "viewBox": svg.attrib["viewBox"],
        "width": _short(width * 4 / 3, 0),
        "height": _short(height * 4 / 3, 0),
        "font-size": _short(base, 2),
        "stroke-linejoin": "round",
    }


def _palette() -> dict[str, str]:
    named_colors = {light: f"var(--lossbook-{name},{light})" for name, light in COLORS.items()}
    return {**named_colors, "#000000": named_colors[COLORS["ink"]], "#ffffff": named_colors[COLORS["paper"]]}


def _strip(element: Element) -> None:
    """Drop namespaces, metadata, the style element and white space; gather runs of groups that share one clip path."""
    element.tag = element.tag.removeprefix(_SVG)
    if element.tag not in ("text", "tspan") or (element.text is not None and not element.text.strip()):
        element.text = None
    kept: list[Element] = []
    for child in element:
        child.tail = None
        _strip(child)
        if child.tag in ("metadata", "style", "script") or (child.tag == "defs" and not len(child)):
            continue
        if kept and _same_clip(kept[-1], child):
            kept[-1].extend(child)
        else:
            kept.append(child)
    element[:] = kept


def _same_clip(first: Element, second: Element) -> bool:
    return first.tag == second.tag == "g" and list(first.attrib) == ["clip-path"] and first.attrib == second.attrib


def _attributes(element: Element, base: float, palette: dict[str, str]) -> dict[str, str]:
    """The element's attributes and style declarations as presentation attributes, rounded, and named by the palette."""
    raw = {name.removeprefix(_XLINK): value for name, value in element.attrib.items() if name != "style"}
    for declaration in element.get("style", "").split(";"):
        name, _, value = declaration.partition(":")
        if value:
            raw[name.strip()] = value.strip()
    result: dict[str, str] = {}
    for name, value in raw.items():
        if name in ("font", "version", "type"):
            continue
        if name == "font-family":
            if "Mono" in value.split(",")[0]:
                result[name] = "monospace"
        elif name == "id":
            result.update(_identity(value))
        elif name == "href":
            if value.startswith("data:image/"):
                result[name] = "".join(value.split())
            elif _SAFE_LINK.match(value):
                result[name] = value
        elif name == "font-size":
            result[name] = _short(float(value.removesuffix("px")) / base, 3) + "em"
        elif name == "transform":
            turned = re.sub(r"rotate\(-?0 [^)]*\)", "", value).strip()
            if turned:
                result[name] = _rounded(turned, DECIMALS[name])
        elif name in ("fill", "stroke"):
            result[name] = palette.get(value, value)
        elif name in DECIMALS:
            result[name] = _rounded(value, DECIMALS[name])
        else:
            result[name] = value
    if element.tag == "text":
        if len(element):  # mathtext, which places each letter by itself
            result["class"] = "lossbook-math"
        result.setdefault("fill", palette["#000000"])
    if element.tag == "path" and "d" in result:
        result["d"] = re.sub(r"\s*([A-Za-z])\s*", r"\1", result["d"]).strip()
    return result


def _identity(name: str) -> dict[str, str]:
    """A gid that the author set stays as `data-gid`; what matplotlib numbers by itself only says what kind of thing it is."""
    automatic = _AUTOMATIC_ID.match(name)
    if automatic:
        return {"id": name, KIND: automatic[1]}
    return {"id": name, KIND: name, "data-gid": name}


def _refers(name: str, value: str) -> bool:
    return value.startswith("url(#") or (name == "href" and value.startswith("#"))


def _keep_referenced_ids(svg: Element) -> None:
    """Number the ids that something refers to in order of appearance, and drop the others."""
    referenced = set()
    for element in svg.iter():
        for name, value in element.attrib.items():
            if _refers(name, value):
                referenced.update(_REFERENCE.findall(value))
    numbers: dict[str, str] = {}
    for element in svg.iter():
        identity = element.attrib.pop("id", None)
        if identity in referenced:
            numbers[str(identity)] = str(len(numbers) + 1)
            element.attrib = {"id": numbers[str(identity)], **element.attrib}
            element.attrib.pop("data-gid", None)
    for element in svg.iter():
        for name, value in element.attrib.items():
            if _refers(name, value):
                element.set(name, _REFERENCE.sub(lambda match: "#" + numbers.get(match[1], match[1]), value))


@lru_cache(maxsize=1024)  # most of a figure stays the same from frame to frame
def _rounded(text: str, decimals: int) -> str:
    return NUMBER.sub(lambda match: _short(float(match[0]), decimals), text)


def _short(value: float, decimals: int) -> str:
    """The shortest text of `value` rounded to `decimals` places, as JavaScript would print it."""
    text = f"{min(max(value, -_FAR), _FAR):.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _write(element: Element) -> Iterator[str]:
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in element.attrib.items() if name != KIND)
    if not len(element) and element.text is None:
        yield f"<{element.tag}{attributes}/>"
    else:
        yield f"<{element.tag}{attributes}>{escape(element.text or '')}"
        for child in element:
            yield from _write(child)
            yield escape(child.tail or "")
        yield f"</{element.tag}>"
