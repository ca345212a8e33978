"""A figure that is dragged in a live notebook, by the page's own code.

The page knows where an artist stands at every setting. A kernel finds out while it draws for the page: the settings that a drag can choose from here
come first, and each frame that is drawn in between counts, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from lossbook.explorer import _page, _svg
from lossbook.explorer._assets import module
from lossbook.explorer._controls import State

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class Reach:
    """Where the artists stand in the frames that were drawn so far."""

    def __init__(self, page: _page.Page) -> None:
        self.moves = _page.dragged(page)
        self.sizes = [len(control) for control in page.controls]
        self.centers: dict[tuple[str, State], tuple[float, float] | None] = {}

    def note(self, state: State, svg: Element) -> None:
        """Where the artists stand in this frame."""
        for gid in self.moves:
            self.centers[gid, state] = _svg.center(svg, gid)

    def next(self, here: State, waiting: Sequence[State]) -> State:
        """Which frame to draw next: one that a drag can choose from here, or else the one that lies behind the fewest other controls."""
        return min(waiting, key=lambda state: min((_others(here, state, moved) for moved in self.moves.values()), default=0))

    def drags(self, here: State) -> list[dict[str, Any]]:
        """What the page's code asks for, over the settings that a drag can choose from here; nothing where a frame is not drawn yet."""
        return [{"controls": moved, "by": moved, "at": self._at(gid, moved, here)} for gid, moved in self.moves.items()]

    def _at(self, gid: str, moved: Sequence[int], here: State) -> list[float | None]:
        at: list[float | None] = []
        for settings in product(*(range(self.sizes[index]) for index in moved)):
            state = list(here)
            for index, setting in zip(moved, settings, strict=True):
                state[index] = setting
            at += self.centers.get((gid, tuple(state))) or (None, None)
        return at


def _others(here: State, there: State, moved: Sequence[int]) -> int:
    """How many controls differ, beside those that are moved."""
    return sum(old != new for index, (old, new) in enumerate(zip(here, there, strict=True)) if index not in moved)


@cache
def picture() -> Any:
    """The class of the figure, made where it is used: importing this module needs no anywidget."""
    import anywidget
    from traitlets import List, Unicode

    class Picture(anywidget.AnyWidget):
        _esm = module()
        value = Unicode().tag(sync=True)
        sizes: Any = List().tag(sync=True)
        state: Any = List().tag(sync=True)
        drags: Any = List().tag(sync=True)

    return Picture
