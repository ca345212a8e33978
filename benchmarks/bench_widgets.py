"""Explorers against the sliders that Plotly and Panel write into a page without a kernel; left out where these are not installed.

Plotly's frames hold the data and its script draws them, Panel's states hold an image of matplotlib's figure. An explorer's bytes have its script in
them; those of the peers' are counted apart.

python -m benchmarks.bench_widgets        pip install plotly panel
"""

from __future__ import annotations

import gzip
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.bench_explorer import CLOUD, FRAMES, GRID, Fill, as_explorer, line, once, scatter, settings
from benchmarks.harness import Budget, Comparison, in_turn, main, spread
from lossbook.book import plots


def curves(t: float) -> list[Any]:
    """What `bench_explorer.line` draws, as Plotly's traces."""
    import plotly.graph_objects as go

    bell = np.exp(-((GRID - t) ** 2))
    return [go.Scatter(x=GRID, y=np.sin(GRID + t)), go.Scatter(x=GRID, y=bell), go.Scatter(x=[t], y=[1.0], mode="markers")]


def cloud(t: float) -> list[Any]:
    """What `bench_explorer.scatter` draws."""
    import plotly.graph_objects as go

    x, y = np.cos(t) * CLOUD[0] - np.sin(t) * CLOUD[1], np.sin(t) * CLOUD[0] + np.cos(t) * CLOUD[1]
    colors = np.where(CLOUD[0] > 0, plots.COLORS["blue"], plots.COLORS["orange"])
    return [go.Scatter(x=x, y=y, mode="markers", marker={"color": colors}), go.Scatter(x=GRID, y=np.tan(t) * GRID)]


TRACES = {line: curves, scatter: cloud}


def as_plotly(fill: Fill) -> str:
    import plotly.graph_objects as go

    traces = TRACES[fill]
    frames = [go.Frame(data=traces(t), name=str(number)) for number, t in enumerate(settings())]
    steps = [{"method": "animate", "label": f"{t:.2f}", "args": [[str(number)], {"mode": "immediate"}]} for number, t in enumerate(settings())]
    figure = go.Figure(data=traces(settings()[0]), frames=frames, layout={"sliders": [{"steps": steps}]})
    return str(figure.to_html(include_plotlyjs=False, full_html=False))


def as_panel(fill: Fill) -> str:
    import panel

    def draw(t: float) -> Any:
        figure, axes = plots.subplots()
        fill(axes, t)
        return panel.pane.Matplotlib(figure, dpi=100)

    slider = panel.widgets.DiscreteSlider(options=settings().tolist())
    page = io.StringIO()
    panel.Column(slider, panel.bind(draw, slider)).save(page, embed=True, max_states=FRAMES, progress=False)
    return page.getvalue()


PEERS: dict[str, Callable[[Fill], str]] = {"Plotly's frames": as_plotly, "Panel's embedded states": as_panel}
NOTES = {"Plotly's frames": "Plotly writes numbers, and draws them in the reader's browser"}


@dataclass(frozen=True)
class Slider:
    """One figure with a slider of `FRAMES` settings, as an explorer and by one peer."""

    fill: Fill
    peer: str

    @property
    def work(self) -> str:
        return f"explorer, {self.fill.__doc__}"

    def measure(self, seconds: float) -> Iterator[Comparison]:
        way = PEERS[self.peer]
        ours, theirs = (len(gzip.compress(page.encode())) / FRAMES for page in (as_explorer(self.fill), way(self.fill)))
        yield Comparison(self.work, self.peer, "bytes a frame, gzipped", once(ours), once(theirs), once(theirs / ours))
        times = in_turn([partial(as_explorer, self.fill), partial(way, self.fill)], seconds, at_least=3)
        fast, slow = ([milliseconds / FRAMES for milliseconds in column] for column in times)
        ratio = spread([peer / own for own, peer in zip(fast, slow, strict=True)])
        yield Comparison(self.work, self.peer, "ms a frame", spread(fast), spread(slow), ratio, note=NOTES.get(self.peer, ""))


class PlotlyScript:
    """What a page loads before Plotly draws anything."""

    work = "plotly.js, which a page with Plotly loads"

    def measure(self, seconds: float) -> Iterator[Budget]:
        from plotly.offline import get_plotlyjs

        yield Budget(self.work, "KB gzipped", len(gzip.compress(get_plotlyjs().encode())) / 1000)


JOBS = [*(Slider(fill, peer) for fill in (line, scatter) for peer in PEERS), PlotlyScript()]

if __name__ == "__main__":
    logging.getLogger("bokeh").setLevel(logging.ERROR)
    main(__doc__, JOBS, peers=["matplotlib", "plotly", "panel"])
