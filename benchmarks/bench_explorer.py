"""Explorers against matplotlib's `to_jshtml` and one PNG a frame: bytes and CPU time a frame, and the slider's latency in Chromium.

python -m benchmarks.bench_explorer
"""

from __future__ import annotations

import base64
import gzip
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure

from benchmarks.browser import moved, opened
from benchmarks.harness import Budget, Comparison, Spread, in_turn, main, spread
from lossbook import explore
from lossbook.book import plots

os.environ.update(MPLBACKEND="agg", LOSSBOOK_STATIC="1")
warnings.filterwarnings("ignore", message="Animation was deleted")
FRAMES = 40

Fill = Callable[[Any, float], None]
GRID = np.linspace(-3, 3, 200)
CLOUD = np.random.default_rng(0).normal(size=(2, 300))


def line(axes: Any, t: float) -> None:
    """two curves and a point"""
    axes.plot(GRID, np.sin(GRID + t))
    axes.plot(GRID, np.exp(-((GRID - t) ** 2)))
    axes.plot([t], [1.0], "o", gid="point")
    axes.set(xlim=(-3, 3), ylim=(-1.2, 1.2), xlabel="margin", title=f"t = {t:.2f}")


def scatter(axes: Any, t: float) -> None:
    """a turning cloud of 300 points and its boundary"""
    x, y = np.cos(t) * CLOUD[0] - np.sin(t) * CLOUD[1], np.sin(t) * CLOUD[0] + np.cos(t) * CLOUD[1]
    axes.scatter(x, y, c=np.where(CLOUD[0] > 0, plots.COLORS["blue"], plots.COLORS["orange"]))
    axes.plot(GRID, np.tan(t) * GRID)
    axes.set(xlim=(-3, 3), ylim=(-3, 3), xlabel="x", ylabel="y")


def contour(axes: Any, t: float) -> None:
    """filled contours, whose number of pieces changes"""
    x, y = np.meshgrid(GRID[::4], GRID[::4])
    axes.contourf(x, y, np.sin(x + t) * np.cos(y * t), levels=8)


def settings() -> np.ndarray:
    return np.linspace(0.0, 1.5, FRAMES)


def as_explorer(fill: Fill) -> str:
    def draw(frame: int = 0) -> Figure:
        figure, axes = plots.subplots()
        fill(axes, settings()[frame])
        return figure

    return explore(draw, frame=(0, FRAMES - 1), max_bytes=10**8).html


def as_jshtml(fill: Fill) -> str:
    """`to_jshtml` keeps one figure and draws its axes anew; as its documentation does."""
    figure, _ = plots.subplots()

    def update(t: float) -> list[Any]:
        figure.clear()
        fill(figure.subplots(), t)
        return []

    with matplotlib.rc_context({"animation.embed_limit": 1000, "savefig.facecolor": "white"}):
        return str(FuncAnimation(figure, update, frames=settings(), init_func=list).to_jshtml())


def as_pngs(fill: Fill) -> str:
    """One image a frame at twice the density, as a sharp screen needs, in base64, as a page that stands alone needs."""
    pages = []
    for t in settings():
        buffer = io.BytesIO()
        figure, axes = plots.subplots()
        fill(axes, t)
        figure.savefig(buffer, format="png", dpi=200, facecolor="white")
        pages.append(base64.b64encode(buffer.getvalue()).decode())
    return "\n".join(pages)


PEERS: dict[str, Callable[[Fill], str]] = {"matplotlib's to_jshtml, 100 dpi": as_jshtml, "a PNG a frame, 200 dpi": as_pngs}


@dataclass(frozen=True)
class Explorer:
    """One figure with a slider of `FRAMES` settings, every way."""

    fill: Fill

    @property
    def work(self) -> str:
        return f"explorer, {self.fill.__doc__}"

    def measure(self, seconds: float) -> Iterator[Comparison]:
        pages: dict[str, str] = {}

        def make(name: str, way: Callable[[Fill], str]) -> None:
            pages[name] = way(self.fill)

        ways = {"ours": as_explorer, **PEERS}
        times = in_turn([partial(make, name, way) for name, way in ways.items()], seconds, at_least=3)
        each = [[milliseconds / FRAMES for milliseconds in column] for column in times]
        size = {name: len(gzip.compress(page.encode())) / FRAMES for name, page in pages.items()}
        for peer, column in zip(PEERS, each[1:], strict=True):
            ratio = spread([slow / fast for fast, slow in zip(each[0], column, strict=True)])
            yield Comparison(self.work, peer, "bytes a frame, gzipped", once(size["ours"]), once(size[peer]), once(size[peer] / size["ours"]))
            yield Comparison(self.work, peer, "ms a frame", spread(each[0]), spread(column), ratio)
        yield Budget(f"{self.work}, {FRAMES} frames", "KB gzipped", size["ours"] * FRAMES / 1000, 60)


def once(value: float) -> Spread:
    """What is the same every time."""
    return Spread(value, value, value)


@dataclass(frozen=True)
class Latency:
    """From the slider's event to the painted frame in Chromium, the wait for the screen's next refresh (8 ms in the mean, 17 at worst) included."""

    fill: Fill

    @property
    def work(self) -> str:
        return f"slider, {self.fill.__doc__}"

    def measure(self, seconds: float) -> Iterator[Budget]:
        with tempfile.TemporaryDirectory() as folder, opened() as page:
            path = Path(folder, "page.html")
            path.write_text(f"<!doctype html><meta charset=utf-8>{as_explorer(self.fill)}", encoding="utf-8")
            page.goto(path.as_uri())
            script, painted = moved(page.query_selector("input[type=range]"))
        for name, times in (("script", script), ("event to painted frame", painted)):
            middle, tail = np.quantile(times, [0.5, 0.95]).tolist()
            yield Budget(f"{self.work}, {name}, median", "ms", middle, 16)
            yield Budget(f"{self.work}, {name}, 95th percentile", "ms", tail, 16)


FIGURES = (line, scatter, contour)
JOBS = [*map(Explorer, FIGURES), *map(Latency, FIGURES)]

if __name__ == "__main__":
    main(__doc__, JOBS, peers=["matplotlib"])
