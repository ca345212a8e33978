"""The live side of `explore`: an ipywidgets box, exact at any value, which turns into the static fragment in a saved notebook.

Where `drag` names an artist, the figure is an anywidget that drags by the page's own code: the settings between which a drag can choose are drawn
first, and where the artist stands in them tells which one is under the pointer. Without anywidget there are the controls alone.

The box is there at once. The grid of the fragment is drawn while the kernel is idle, one frame at a time, and replaces the still that the saved
notebook would show until then. `draw` should therefore depend on its arguments alone.
"""

from __future__ import annotations

import asyncio
import inspect
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from lossbook._core.markup import escape
from lossbook.explorer import _dragging, _page
from lossbook.explorer._assets import explorer_css
from lossbook.explorer._controls import State, setting_of
from lossbook.explorer._still import display

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_QUIET = 1.5  # seconds without a move before drawing for the page goes on
_tasks: set[asyncio.Task[None]] = set()


class Drawn(Protocol):
    """A frame."""

    @property
    def svg(self) -> Element: ...
    @property
    def sentence(self) -> str: ...


class Drawing(Protocol):
    """What is moved: an `Explorer`, of which this module knows no more."""

    draw: Callable[..., Any]
    page: _page.Page
    abbreviations: dict[str, Any]

    def __len__(self) -> int: ...
    def frame(self, values: Mapping[str, Any], /) -> Drawn: ...
    def steps(self, choose: Callable[[Sequence[State]], State], drawn: Callable[[State, Element], None], /) -> Iterator[int]: ...
    def render(self) -> str: ...


class LiveBox:
    """The controls, the figure and the sentence of an explorer as widgets."""

    def __init__(self, explorer: Drawing) -> None:
        import ipywidgets

        self.explorer = explorer
        self.moved = 0.0
        self.controls = _widgets(explorer)
        wide = ipywidgets.Layout(width="auto")
        style = ipywidgets.HTML(f"<style>{explorer_css()}</style>", layout=ipywidgets.Layout(display="none"))
        self.reach = _dragging.Reach(explorer.page)
        self.drags = bool(explorer.page.drag) and find_spec("anywidget") is not None
        self.picture = _dragging.picture()(sizes=self.reach.sizes, layout=wide) if self.drags else ipywidgets.HTML(layout=wide)
        self.errors = ipywidgets.HTML(layout=wide)
        self.progress = ipywidgets.IntProgress(max=len(explorer), description="for the page", layout=ipywidgets.Layout(display="none"))
        self.shown = [widget for widget in self.controls.values() if isinstance(widget, ipywidgets.DOMWidget)]
        self.listen(True)
        self.box = ipywidgets.VBox([style, self.picture, *self.shown, self.errors, self.progress], layout=ipywidgets.Layout(max_width="45rem"))
        self.update()
        if self.drags:
            self.picture.observe(self.pulled, "state")

    def update(self, change: object = None) -> None:
        """Draw the figure for the values that the controls have now."""
        self.moved = time.monotonic() if change is not None else 0.0
        with self.said():
            frame = self.explorer.frame(self.values())
            self.reach.note(self.state(), frame.svg)
            with self.picture.hold_sync():
                self.picture.value = _page.still(self.explorer.page, frame.svg, frame.sentence)
                self.aim()

    def values(self) -> dict[str, Any]:
        """What the controls say now."""
        return {name: widget.get_interact_value() for name, widget in self.controls.items()}

    def state(self) -> State:
        """The settings on the grid that are nearest to what the controls say."""
        values = self.values()
        return tuple(setting_of(control, values[control.name]) for control in self.explorer.page.controls)

    def listen(self, on: bool) -> None:
        """Draw whenever a control moves, or don't."""
        for widget in self.shown:
            (widget.observe if on else widget.unobserve)(self.update, "value")

    def pulled(self, change: Any) -> None:
        """Set the controls to the settings to which an artist was dragged, and draw once."""
        moved = [(control, new) for control, new, old in zip(self.explorer.page.controls, change.new, self.state(), strict=True) if new != old]
        if moved:
            self.listen(False)
            for control, setting in moved:
                self.controls[control.name].value = control.values[setting]
            self.listen(True)
            self.update(change)

    def choose(self, waiting: Sequence[State]) -> State:
        """Which frame the page's grid should have next."""
        return self.reach.next(self.state(), waiting)

    def aim(self) -> None:
        """Tell the figure what a drag can choose from here."""
        if self.drags:
            here = self.state()
            with self.picture.hold_sync():
                self.picture.state, self.picture.drags = list(here), self.reach.drags(here)

    @contextmanager
    def said(self) -> Iterator[None]:
        """An error is said below the controls, because the kernel's log is seen by nobody, and raised."""
        self.errors.value = ""
        try:
            yield
        except Exception as error:
            self.errors.value = f'<pre role="alert">{escape("".join(traceback.format_exception(error)[-2:]))}</pre>'
            raise

    def bundle(self, html: str) -> dict[str, Any]:
        """What a notebook stores: the widget for a live kernel, HTML for everyone else."""
        return {**self.box._repr_mimebundle_(), "text/html": html, "text/plain": self.explorer.page.alt}

    async def draw_grid(self, handle: Any) -> None:
        """Draw the static fragment bit by bit, and hand it to the notebook."""
        self.progress.layout.display = None
        with self.said():
            for done in self.explorer.steps(self.choose, self.reach.note):
                self.progress.value = done
                self.aim()
                await asyncio.sleep(0.01)
                while time.monotonic() - self.moved < _QUIET:
                    await asyncio.sleep(_QUIET / 4)
            handle.update(self.bundle(self.explorer.render()), raw=True)
        self.progress.layout.display = "none"


def _widgets(explorer: Drawing) -> dict[str, Any]:
    """One widget a control, made by the rules of `ipywidgets.interact`."""
    import ipywidgets

    parameters = inspect.signature(explorer.draw).parameters
    widgets = {}
    for control in explorer.page.controls:
        default = parameters[control.name].default if control.name in parameters else inspect.Parameter.empty
        widget = ipywidgets.interactive.widget_from_abbrev(explorer.abbreviations[control.name], default)
        if not getattr(widget, "description", ""):
            widget.description = control.label
        if widget is not explorer.abbreviations[control.name]:
            widget.layout.width = "auto"
            widget.style.description_width = "initial"
        widgets[control.name] = widget
    return widgets


def show(explorer: Drawing) -> None:
    """Display the live box, and draw the static fragment when there is time."""
    live = LiveBox(explorer)
    style = f"<style>{explorer_css()}</style>"
    handle = display(live.bundle(style + live.picture.value), raw=True, display_id=True)
    task = asyncio.get_running_loop().create_task(live.draw_grid(handle))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
