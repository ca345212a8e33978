"""Explorers against matplotlib's `to_jshtml` and one PNG a frame: bytes and CPU time a frame, interleaved, medians; the slider's latency in Chromium.

python -m benchmarks.bench_explorer [--frames 40] [--repeats 3] [--no-browser]
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

os.environ["MPLBACKEND"] = "agg"
os.environ["LOSSBOOK_STATIC"] = "1"

import numpy as np
from matplotlib.figure import Figure

from lossbook import explore, plots

warnings.filterwarnings("ignore", message="Animation was deleted")
Fill = Callable[[Any, float], None]
GRID = np.linspace(-3, 3, 200)
CLOUD = np.random.default_rng(0).normal(size=(2, 300))


def line(axes: Any, t: float) -> None:
    """Two curves and a point."""
    axes.plot(GRID, np.sin(GRID + t))
    axes.plot(GRID, np.exp(-((GRID - t) ** 2)))
    axes.plot([t], [1.0], "o", gid="point")
    axes.set(xlim=(-3, 3), ylim=(-1.2, 1.2), xlabel="margin", title=f"t = {t:.2f}")


def scatter(axes: Any, t: float) -> None:
    """A turning cloud of 300 points and its boundary."""
    x, y = np.cos(t) * CLOUD[0] - np.sin(t) * CLOUD[1], np.sin(t) * CLOUD[0] + np.cos(t) * CLOUD[1]
    axes.scatter(x, y, c=np.where(CLOUD[0] > 0, plots.COLORS["blue"], plots.COLORS["orange"]))
    axes.plot(GRID, np.tan(t) * GRID)
    axes.set(xlim=(-3, 3), ylim=(-3, 3), xlabel="x", ylabel="y")


def contour(axes: Any, t: float) -> None:
    """Filled contours, whose number of pieces changes."""
    x, y = np.meshgrid(GRID[::4], GRID[::4])
    axes.contourf(x, y, np.sin(x + t) * np.cos(y * t), levels=8)


def settings(frames: int) -> np.ndarray:
    return np.linspace(0.0, 1.5, frames)


def as_explorer(fill: Fill, frames: int) -> str:
    def draw(frame: int = 0) -> Figure:
        figure, axes = plots.subplots()
        fill(axes, settings(frames)[frame])
        return figure

    return explore(draw, frame=(0, frames - 1), max_bytes=10**8).html


def as_jshtml(fill: Fill, frames: int) -> str:
    """`to_jshtml` keeps one figure and draws its axes anew; as its documentation does."""
    import matplotlib
    from matplotlib.animation import FuncAnimation

    figure, _ = plots.subplots()

    def update(t: float) -> list[Any]:
        figure.clear()
        fill(figure.subplots(), t)
        return []

    with matplotlib.rc_context({"animation.embed_limit": 1000, "savefig.facecolor": "white"}):
        return str(FuncAnimation(figure, update, frames=settings(frames), init_func=list).to_jshtml())


def as_pngs(fill: Fill, frames: int) -> str:
    """One image a frame at twice the density, as a sharp screen needs, in base64, as a page that stands alone needs."""
    import base64

    pages = []
    for t in settings(frames):
        buffer = io.BytesIO()
        figure, axes = plots.subplots()
        fill(axes, t)
        figure.savefig(buffer, format="png", dpi=200, facecolor="white")
        pages.append(base64.b64encode(buffer.getvalue()).decode())
    return "\n".join(pages)


WAYS = {"lossbook.explore": as_explorer, "to_jshtml, 100 dpi": as_jshtml, "PNG a frame, 200 dpi": as_pngs}


def measure(fill: Fill, frames: int, repeats: int) -> str:
    """Print a table and return the explorer."""
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    pages: dict[str, str] = {}
    for _ in range(repeats):
        for name, way in WAYS.items():
            began = time.process_time()
            pages[name] = way(fill, frames)
            spent[name].append((time.process_time() - began) / frames)
    print(f"\n{fill.__doc__} {frames} frames, median of {repeats}")
    print(f"{'':24s}{'bytes/frame':>12s}{'gzipped':>10s}{'ratio':>8s}{'CPU ms/frame':>14s}{'ratio':>8s}")
    best, quick = len(gzip.compress(pages["lossbook.explore"].encode())), median(spent["lossbook.explore"])
    for name, page in pages.items():
        packed, cpu = len(gzip.compress(page.encode())), median(spent[name])
        print(f"{name:24s}{len(page) / frames:12.0f}{packed / frames:10.0f}{packed / best:7.1f}x{1e3 * cpu:14.1f}{cpu / quick:7.2f}x")
    return pages["lossbook.explore"]


LATENCY = """async () => {
    const slider = document.querySelector('input[type=range]'), last = Number(slider.max), script = [], painted = [];
    const channel = new MessageChannel();
    const afterPaint = () => new Promise(resolve => requestAnimationFrame(() => {
        channel.port1.onmessage = resolve;
        channel.port2.postMessage(0);
    }));
    for (let turn = 0; turn < 200; turn++) {
        await new Promise(resolve => setTimeout(resolve, 3 + turn % 17));
        const start = performance.now();
        slider.value = (turn * 7) % (last + 1);
        slider.dispatchEvent(new Event('input', {bubbles: true}));
        script.push(performance.now() - start);
        await afterPaint();
        painted.push(performance.now() - start);
    }
    return [script, painted];
}"""


def latency(pages: dict[str, str]) -> None:
    """From the slider's event to the painted frame, the wait for the screen's next refresh (8 ms in the mean, 17 at worst, at 60 Hz) included."""
    from playwright.sync_api import sync_playwright

    from tests import chromium

    print(f"\n{'Chromium, 200 moves':24s}{'script ms':>12s}{'p95':>8s}{'painted ms':>12s}{'p95':>8s}")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        page = browser.new_page()
        for name, html in pages.items():
            path = Path(folder, "page.html")
            path.write_text(f"<!doctype html><meta charset=utf-8>{html}", encoding="utf-8")
            page.goto(path.as_uri())
            script, painted = page.evaluate(LATENCY)
            print(f"{name:24s}{median(script):12.2f}{quantiles(script, n=20)[-1]:8.2f}{median(painted):12.1f}{quantiles(painted, n=20)[-1]:8.1f}")
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    pages = {fill.__name__: measure(fill, options.frames, options.repeats) for fill in (line, scatter, contour)}
    if not options.no_browser:
        latency(pages)


if __name__ == "__main__":
    main()
