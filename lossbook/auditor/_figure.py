"""The picture of a report: the loss along one line through its inputs. matplotlib comes in when it is drawn."""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class Curves(NamedTuple):
    """The loss along one line through its inputs: lines by name, each a number a score, the axis' label, and what the line is."""

    scores: tuple[float, ...]
    lines: dict[str, tuple[float, ...]]
    label: str
    words: str


def picture(curves: Curves, name: str, kind: str) -> tuple[Any, str]:
    """A figure, and the sentence that says what it shows."""
    from lossbook.explorer import COLORS, subplots

    figure, axes = subplots(height=2.9)
    for (title, values), color, dash in zip(curves.lines.items(), ("blue", "orange"), ("-", "--"), strict=False):
        axes.plot(curves.scores, values, dash, color=COLORS[color], label=title)
    if kind == "margin":
        axes.plot(curves.scores, [float(score <= 0) for score in curves.scores], ":", color=COLORS["ink"], label="0-1 loss")
    finite = [value for values in curves.lines.values() for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    bottom = min(0.0, low)
    axes.set(xlim=(-6, 6), ylim=(bottom, max(bottom, 1.05 * min(high, 12.0)) + 0.05), xlabel=curves.label, ylabel="loss")
    axes.legend(loc="upper right")
    return figure, f"The curve of {name} along {curves.words}, from {low:.3g} to {high:.3g}."
