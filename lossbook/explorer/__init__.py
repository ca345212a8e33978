"""`explore`: what `ipywidgets.interact` does, on a page that has no kernel. Chapter: preface.

In a live notebook the call makes an ipywidgets box. In a book build, in nbconvert and in a saved notebook it makes one fragment of HTML that needs
nothing from outside: the first frame as SVG, native controls, and for each setting the few attributes in which its frame differs.
The environment variable `LOSSBOOK_STATIC` decides where it is set: 1 for the page alone, 0 for the live box. Where it is not, a kernel that can ask
its user a question (`allow_stdin`) is live, and one that a build or nbconvert drives is not.

A site with a strict Content-Security-Policy sends `content_security_policy()`: it allows the one script and the two style sheets by their hashes.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from lossbook._core.arguments import check_count, check_number, wrong_type, wrong_value
from lossbook._core.markup import MIME
from lossbook.explorer import _matplotlib, _page, _svg
from lossbook.explorer._assets import content_security_policy
from lossbook.explorer._assets import figure_css as stylesheet
from lossbook.explorer._controls import Control, State, read_controls
from lossbook.explorer._layout import Layout
from lossbook.explorer._palette import COLORS, DASHES, PALETTE
from lossbook.explorer._still import StaticFigure, check_alt, display, show, to_html
from lossbook.explorer._style import style, subplots, use

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = [
    "COLORS",
    "DASHES",
    "PALETTE",
    "Caps",
    "Explorer",
    "Frame",
    "StaticFigure",
    "content_security_policy",
    "display",
    "explore",
    "show",
    "style",
    "stylesheet",
    "subplots",
    "to_html",
    "use",
]


class Frame(NamedTuple):
    """One setting drawn: the figure as a tree, and the sentence beside it."""

    svg: Element
    sentence: str


class Caps(NamedTuple):
    """What a static explorer may cost; None is no cap."""

    frames: int
    bytes: int
    seconds: float | None


def explore(
    draw: Callable[..., Any],
    *,
    alt: str | None = None,
    key: str | None = None,
    drag: Mapping[str, str] | None = None,
    max_frames: int = 600,
    max_bytes: int = 60_000,
    max_seconds: float | None = None,
    **controls: Any,
) -> Explorer:
    """A figure with controls that works on the static page as well as in a live kernel.

    Args:
        draw: Takes the controls by name and returns a matplotlib figure, or a figure and a sentence that says what is seen at this setting.
            It is called once for each combination of settings; its parameters' defaults are the initial values.
        alt: A sentence for those who cannot see the figure; the first line of `draw`'s docstring where it is None.
        key: What stands for the figure in the address of a setting, unique on its page, such as "cliff": lower-case letters, digits and hyphens, a
            letter first. Links to a setting then outlive an edit of the figure. None makes one of the words and the controls.
        drag: From a control's name to the gid of the artist that moves with it: dragging it picks the setting. Two controls may share an artist. In a
            live kernel this takes anywidget; without it there are the controls alone.
        max_frames: How many combinations may be drawn.
        max_bytes: How large the fragment may be, gzipped.
        max_seconds: How many seconds of processor time drawing may take. None is no cap: a cap on seconds stops on a slow machine what a fast one
            draws, so set it where one machine is meant.
        **controls: What `ipywidgets.interact` takes: `(low, high[, step])`, a bool, a number, a list, a dict, pairs `(label, value)`, a widget.

    Returns:
        An `Explorer`, shown where it ends a cell. Its `html` is the static fragment.

    Raises:
        TypeError: `draw` cannot take the controls, or returns something else than a figure; a control is of no known kind.
        ValueError: A control offers nothing, `drag` names an unknown control or artist, `key` is no such name, or a cap is
            exceeded (the message says what to coarsen).

    Example:
        >>> def draw(slope=1.0):
        ...     figure, axes = subplots()
        ...     axes.plot([-1, 1], [-slope, slope])
        ...     return figure, f"The line rises by {slope:g} for each step to the right."
        >>> explorer = explore(draw, slope=(0.0, 2.0, 1.0), alt="A line through the origin.")
        >>> len(explorer)
        3

    Conventions:
        The settings of a slider are its minimum and every further step up to its maximum; the initial one is the nearest to the default. Axes keep
        the layout that they have in the initial frame, so that nothing jumps. On the page a slider of more than three settings has a button that
        plays it, ten settings a second or faster, in six seconds at most.

    Chapter: preface.
    """
    check_count("max_frames", max_frames)
    check_count("max_bytes", max_bytes)
    if max_seconds is not None:
        check_number("max_seconds", max_seconds, low=0.0)
    if alt is not None:
        check_alt(alt)
    check_key(key)
    chosen = read_controls(draw, controls)
    check_drag(drag or {}, chosen)
    explorer = Explorer(draw, page_of(draw, chosen, alt, key, drag or {}), controls, Caps(max_frames, max_bytes, max_seconds))
    explorer._check_cap("frames", len(explorer))
    if not is_live():
        explorer.render()  # now, so that an error stops the cell that made it
    return explorer


def is_live() -> bool:
    """True where a person sits before the kernel; see the first lines of this module."""
    setting = os.environ.get("LOSSBOOK_STATIC")
    if setting is not None:
        return setting in ("", "0")
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython.get_ipython(), "kernel", None) if ipython is not None else None
    return bool(getattr(kernel, "_allow_stdin", False))


class Explorer:
    """What `explore` returns; Jupyter displays it."""

    def __init__(
        self,
        draw: Callable[..., Any],
        page: _page.Page,
        abbreviations: Mapping[str, Any],
        caps: Caps,
    ) -> None:
        self.draw, self.page, self.abbreviations, self.caps = draw, page, dict(abbreviations), caps
        self._layout: Layout | None = None
        self._html: str | None = None

    @property
    def controls(self) -> Sequence[Control]:
        return self.page.controls

    @property
    def alt(self) -> str:
        return self.page.alt

    def __len__(self) -> int:
        """How many combinations of settings there are."""
        return prod(map(len, self.controls))

    @property
    def html(self) -> str:
        """The static fragment, drawn when it is first asked for."""
        return self.render()

    def render(self) -> str:
        """Draw what is not drawn yet, with a progress bar where there is a terminal."""
        if self._html is None:
            started = time.monotonic()
            for done in self.steps():
                _progress(done, len(self), time.monotonic() - started)
        assert self._html is not None
        return self._html

    def steps(self, choose: Callable[[Sequence[State]], State] | None = None, drawn: Callable[[State, Element], None] | None = None) -> Iterator[int]:
        """Draw frame by frame, saying after each how many are done; the fragment is ready at the end.

        Args:
            choose: Which of the settings that are left is drawn next; the first of them where it is None.
            drawn: Is told of each frame, where it is not None.
        """
        grid: list[State] = list(product(*(range(len(control)) for control in self.controls)))
        initial = tuple(control.initial for control in self.controls)
        waiting = [initial, *(state for state in grid if state != initial)]
        frames: dict[State, Frame] = {}
        spent = 0.0
        while waiting:
            state = choose(waiting) if choose else waiting[0]
            waiting.remove(state)
            began = time.process_time()
            frames[state] = self.frame(self.values(state))
            spent += time.process_time() - began
            self._check_cap("seconds", spent, f" after {len(frames)} of {len(grid)} frames")
            if drawn:
                drawn(state, frames[state].svg)
            yield len(frames)
        html = _page.fragment(self.page, [frames[state].svg for state in grid], [frames[state].sentence for state in grid], grid.index(initial))
        self._check_cap("bytes", _page.gzipped(html))
        self._html = html

    def values(self, state: Sequence[int]) -> dict[str, Any]:
        """The arguments of `draw` at a combination of settings.

        Args:
            state: The number of the setting of each control, in their order.
        """
        return {control.name: control.values[setting] for control, setting in zip(self.controls, state, strict=True)}

    def frame(self, values: Mapping[str, Any]) -> Frame:
        """Draw one setting, which need not be on the grid.

        Args:
            values: The arguments of `draw`.
        """
        with _matplotlib.rc_context(style()):
            figure, sentence = figure_and_sentence(self.draw(**values))
            if self._layout is not None:
                self._layout.apply(figure)
            try:
                svg = _svg.to_svg(figure)
            finally:
                _matplotlib.close(figure)
            if self._layout is None:
                self._layout = Layout.of(figure)
        return Frame(svg, sentence)

    def _check_cap(self, cap: str, found: float, when: str = "") -> None:
        """Not more frames, bytes or seconds than allowed."""
        allowed = getattr(self.caps, cap)
        if allowed is not None and found > allowed and self.controls:
            longest = max(self.controls, key=len)
            unit = {"frames": "frames", "bytes": "bytes gzipped", "seconds": "seconds of processor time"}[cap]
            raise ValueError(
                f"`explore` should need at most {allowed:g} {unit}; found {found:.6g}{when}. "
                f"Coarsen `{longest.name}`, which has the most settings ({len(longest)}), or raise `max_{cap}`."
            )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        settings = {control.name: list(control.texts) for control in self.controls}
        return {"text/html": self.html, "text/plain": self.alt, MIME: {"figure": self.page.identity, "settings": settings}}

    def _ipython_display_(self) -> None:
        if is_live():
            from lossbook.explorer import _live

            _live.show(self)
        else:
            display(self._repr_mimebundle_(), raw=True)


def figure_and_sentence(drawn: Any) -> tuple[Any, str]:
    """What `draw` returned, in its two parts."""
    from matplotlib.figure import Figure

    figure, sentence = drawn if isinstance(drawn, tuple) and len(drawn) == 2 else (drawn, "")
    if not isinstance(figure, Figure) or not isinstance(sentence, str):
        found = ", ".join(type(part).__name__ for part in (drawn if isinstance(drawn, tuple) else (drawn,)))
        wrong_type("draw", "return a matplotlib figure, or a figure and a sentence", found)
    return figure, sentence


def page_of(draw: Callable[..., Any], controls: Sequence[Control], alt: str | None, key: str | None, drag: Mapping[str, str]) -> _page.Page:
    """What the fragment is made from; `draw` gives what is not given."""
    words = alt or (draw.__doc__ or "").strip().partition("\n")[0] or "A figure that the controls below it move."
    name = re.sub(r"\W+", "-", getattr(draw, "__name__", ""), flags=re.ASCII).strip("-_").lower()
    return _page.Page(key or _page.identify(name, words, controls), controls, words, drag)


def check_key(key: Any) -> None:
    """`key` can be an id and stand in an address."""
    if key is None:
        return
    if not isinstance(key, str):
        wrong_type("key", "be a name such as 'cliff'", type(key).__name__)
    if not re.fullmatch(r"[a-z][a-z0-9-]*", key):
        wrong_value("key", "be lower-case letters, digits and hyphens, a letter first", repr(key))


def check_drag(drag: Mapping[str, str], controls: Sequence[Control]) -> None:
    """Every key of `drag` is a control."""
    for name in drag:
        if name not in [control.name for control in controls]:
            wrong_value("drag", "have the names of controls as keys", repr(name))


def _progress(done: int, total: int, elapsed: float) -> None:
    """One line that fills, on a terminal only: a page must not carry it."""
    if sys.stderr.isatty() and total > 1:
        bar = "#" * (30 * done // total)
        end = "\n" if done == total else ""
        sys.stderr.write(f"\rdrawing [{bar:<30}] {done}/{total} frames, {elapsed:.0f} s{end}")
        sys.stderr.flush()
