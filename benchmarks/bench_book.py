"""The built book: bytes of its pages and explorers, first paint and sliders in Chromium, and what the build recorded of its kernels.

python -m benchmarks.bench_book        after `make book`
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from jupyter_cache import get_cache

from benchmarks.browser import moved, opened
from benchmarks.harness import Budget, LeftOut, main
from tests.book import site as book

EXECUTED = book.SITE.parent / "work/executed"


def chapters() -> list[str]:
    """The pages written by people."""
    if not book.chapter_names():
        raise LeftOut("the book is not built: run `make book`")
    return book.chapter_names()


class Pages:
    """What a host sends, compressed."""

    work = "bytes of the book"

    def measure(self, seconds: float) -> Iterator[Budget]:
        sizes = {name: book.gzipped(book.SITE / name) / 1000 for name in chapters()}
        pieces = [tag for name in sizes for tag in book.article(name).find_all(class_="lossbook-explorer")]
        explorers = [len(gzip.compress(str(piece).encode(), 6)) / 1000 for piece in pieces]
        heaviest = max(sizes, key=lambda name: sizes[name])
        yield Budget("pages", "", len(sizes))
        yield Budget("a page's HTML with its figures, median", "KB gzipped", median(sizes.values()))
        yield Budget("a page's HTML with its figures, the heaviest", "KB gzipped", sizes[heaviest], 500, Path(heaviest).stem)
        yield Budget("explorers", "", len(explorers))
        yield Budget("an explorer, median", "KB gzipped", median(explorers))
        yield Budget("an explorer, the heaviest", "KB gzipped", max(explorers), 60)


class Kernels:
    """What the last build that executed a page wrote into its cache."""

    work = "kernels of the book"

    def measure(self, seconds: float) -> Iterator[Budget]:
        chapters()
        (folder,) = EXECUTED.iterdir()
        records = {Path(record.uri).stem: record.data for record in get_cache(folder).list_cache_records()}
        slowest = sorted(records, key=lambda name: -records[name]["execution_seconds"])
        largest = max(records, key=lambda name: records[name]["peak_bytes"])
        yield Budget("all pages executed, one after the other", "s", sum(data["execution_seconds"] for data in records.values()))
        for place, name in zip(("slowest", "second slowest", "third slowest"), slowest, strict=False):
            yield Budget(f"the {place} page executed", "s", records[name]["execution_seconds"], 40, name)
        yield Budget("the kernel with most memory", "MB", records[largest]["peak_bytes"] / 1e6, 1000, largest)


class FirstPaint:
    """From the start of the navigation to the first text or picture, read from the disk, theme and MathJax included."""

    work = "first paint"
    script = "() => performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)"

    def measure(self, seconds: float) -> Iterator[Budget]:
        times: dict[str, float] = {}
        with opened() as page:
            for name in chapters():
                page.goto((book.SITE / name).as_uri())
                page.wait_for_function(f"({self.script})().length > 0")
                times[name] = page.evaluate(self.script)[0]
        latest = max(times, key=lambda name: times[name])
        yield Budget("first paint of a page, median", "ms", median(times.values()))
        yield Budget("first paint of a page, the latest", "ms", times[latest], None, Path(latest).stem)


class Sliders:
    """Every first slider of every explorer of the book, 40 moves each."""

    work = "sliders of the book"

    def measure(self, seconds: float) -> Iterator[Budget]:
        script, painted = [], []
        with opened() as page:
            for name in chapters():
                page.goto((book.SITE / name).as_uri())
                for explorer in page.query_selector_all(".lossbook-explorer"):
                    slider = explorer.query_selector("input[type=range]")
                    if slider is not None and slider.is_visible():
                        times = moved(slider, 40)
                        script += times[0]
                        painted += times[1]
        for kind, times in (("script", script), ("event to painted frame", painted)):
            middle, tail = np.quantile(times, [0.5, 0.95]).tolist()
            yield Budget(f"all sliders of the book, {kind}, median", "ms", middle, 16)
            yield Budget(f"all sliders of the book, {kind}, 95th percentile", "ms", tail, 16)


JOBS = [Pages(), Kernels(), FirstPaint(), Sliders()]

if __name__ == "__main__":
    main(__doc__, JOBS, peers=["jupyter-book", "sphinx", "playwright"])
