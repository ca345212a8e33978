"""Many frames of one figure as one SVG and, for each place where they differ, the values it takes.

A place is an attribute, a text or, where the number of children differs, the markup inside a group. Its values are listed only over those controls
that they depend on. Where values differ in numbers alone (a path, a position), only those numbers are kept, as differences from their neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

from lossbook.explorer._svg import DECIMALS, KIND, NUMBER, markup

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

TEXT = ""  # the name of a place that is the text of a leaf
MARKUP = "<"  # the name of a place that is the markup inside an element
_CONTAINERS = ("svg", "g", "defs", "a")

Place = tuple["Element", str, list[str | None]]


def places(frames: Sequence[Element], base: int) -> list[Place]:
    """Where the frames differ: the element in `frames[base]`, the attribute's name, and the value in each frame.

    Runs of children without a counterpart in every frame are gathered into a group of their own, in place.
    """
    found: list[Place] = []
    _compare(frames, base, found)
    return found


def _compare(nodes: Sequence[Element], base: int, found: list[Place]) -> None:
    first = nodes[base]
    for name in dict.fromkeys(name for node in nodes for name in node.attrib):
        if name != KIND:
            _note([node.get(name) for node in nodes], first, name, found)
    shapes = {tuple(_shape(child) for child in node) for node in nodes}
    if shapes == {()}:
        _note([node.text or "" for node in nodes], first, TEXT, found)
    elif len(shapes) == 1:
        for children in zip(*nodes, strict=True):
            _compare(children, base, found)
    elif first.tag in _CONTAINERS:
        _align(nodes, base, found)
    else:
        _note([_inside(node) for node in nodes], first, MARKUP, found)


def _shape(node: Element) -> tuple[str, str | None]:
    return node.tag, node.get(KIND)


def _note(values: list[str | None], node: Element, name: str, found: list[Place]) -> None:
    if any(value != values[0] for value in values):
        found.append((node, name, values))


def _align(nodes: Sequence[Element], base: int, found: list[Place]) -> None:
    """Pair the children that all frames begin and end with; what lies between becomes one group, swapped as a whole."""
    lists = [[_shape(child) for child in node] for node in nodes]
    shortest = min(map(len, lists))
    head = next((i for i in range(shortest) if any(shapes[i] != lists[0][i] for shapes in lists)), shortest)
    tail = next((i for i in range(shortest - head) if any(shapes[-1 - i] != lists[0][-1 - i] for shapes in lists)), shortest - head)
    groups = []
    for node in nodes:
        children = list(node)
        group = node.makeelement("g", {})
        group.extend(children[head : len(children) - tail])
        node[:] = [*children[:head], group, *children[len(children) - tail :]]
        groups.append(group)
    for index in (*range(head), *range(-tail, 0)):
        _compare([node[index] for node in nodes], base, found)
    _note([_inside(group) for group in groups], groups[base], MARKUP, found)


def _inside(node: Element) -> str:
    return "".join(markup(child) for child in node)


def encode(found: Sequence[Place], svg: Element, sizes: Sequence[int]) -> tuple[list[str], list[list[Any]]]:
    """The places as JSON: a table of strings, and one row a place.

    Args:
        found: From `places`, with values in the order of `itertools.product` over the controls.
        svg: The tree that holds the elements; rows name them by their position in document order.
        sizes: The number of settings of each control.

    Returns:
        `(strings, rows)`. A row is `[element, name, controls, indices]` where values are whole strings (-1: no such attribute), or
        `[element, name, controls, holes, decimals, lag, framewise, numbers]` where only the numbers at the positions `holes` change.
    """
    position = {id(element): index for index, element in enumerate(svg.iter())}
    strings: dict[str, int] = {}
    rows = []
    for element, name, values in found:
        controls, distinct = depends(values, sizes)
        numeric = _numeric(name, distinct)
        row: list[Any] = [position[id(element)], name, controls]
        rows.append(row + (numeric or [[-1 if value is None else strings.setdefault(value, len(strings)) for value in distinct]]))
    return list(strings), rows


def depends(values: Sequence[Hashable], sizes: Sequence[int]) -> tuple[list[int], list[Any]]:
    """The controls on which the values depend, and the values over these alone."""
    codes: dict[Hashable, int] = {}
    grid = np.array([codes.setdefault(value, len(codes)) for value in values]).reshape(tuple(sizes))
    controls = [axis for axis in range(grid.ndim) if (grid != grid.take([0], axis)).any()]
    reduced = grid[tuple(slice(None) if axis in controls else 0 for axis in range(grid.ndim))]
    table = list(codes)
    return controls, [table[code] for code in reduced.ravel()]


def _numeric(name: str, values: Sequence[str | None]) -> list[Any] | None:
    """The numbers that change among values that are otherwise the same text."""
    if name not in DECIMALS or any(value is None for value in values):
        return None
    texts = [value for value in values if value is not None]
    if len({NUMBER.sub("#", text) for text in texts}) > 1:
        return None
    scale = 10 ** DECIMALS[name]
    numbers = np.array([[round(float(number) * scale) for number in NUMBER.findall(text)] for text in texts], dtype=np.int64)
    holes = np.flatnonzero((numbers != numbers[0]).any(axis=0))
    framewise, lag, small = min(_differences(numbers[:, holes]), key=lambda choice: _cost(choice[2]))
    steps = [int(holes[0]), *(int(right - left) for left, right in pairwise(holes))]
    return [steps, DECIMALS[name], lag, framewise, small.ravel().tolist()]


def _differences(numbers: Any) -> list[tuple[int, int, Any]]:
    """The ways to write the numbers: as differences from the setting before or not, then from the number `lag` places before or not."""
    ways = []
    for framewise, lag in product((0, 1), (0, 1, 2)):
        small = np.diff(numbers, axis=0, prepend=0) if framewise else numbers
        if lag:
            small = small.copy()
            small[:, lag:] -= small[:, :-lag].copy()
        ways.append((framewise, lag, small))
    return ways


def _cost(numbers: Any) -> float:
    """About the bits that the numbers need."""
    return float(np.log2(1 + np.abs(numbers)).sum())


def tokens(text: str) -> list[str]:
    """A text cut at its numbers, which stand at the odd positions."""
    return re.split(f"({NUMBER.pattern})", text)
