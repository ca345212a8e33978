"""What the pages of the book draw alike: one look for each loss, and the shapes that several chapters share.

The palette, the style and the figures themselves are those of `lossbook.explorer`, and are here under the same names. Chapter: preface.
"""

from __future__ import annotations

from typing import Any

from lossbook.explorer import COLORS as COLORS
from lossbook.explorer import DASHES as DASHES
from lossbook.explorer import PALETTE as PALETTE
from lossbook.explorer import StaticFigure as StaticFigure
from lossbook.explorer import display as display
from lossbook.explorer import show as show
from lossbook.explorer import style as style
from lossbook.explorer import stylesheet as stylesheet
from lossbook.explorer import subplots as subplots
from lossbook.explorer import to_html as to_html
from lossbook.explorer import use as use

__all__ = ["LOSS_STYLES", "front"]


def _look(color: str, dash: str) -> dict[str, Any]:
    return {"color": COLORS[color], "linestyle": DASHES[dash]}


LOSS_STYLES: dict[str, dict[str, Any]] = {
    "zero_one": _look("ink", "solid"),
    "hinge": _look("blue", "long"),
    "squared_hinge": _look("sky", "long_short"),
    "logistic": _look("orange", "dash_dot"),
    "logistic2": _look("yellow", "dash_dot_dot"),
    "log2": _look("yellow", "dash_dot_dot"),
    "exponential": _look("red", "dotted"),
    "squared": _look("purple", "short"),
    "ramp": _look("green", "dash_dot_dot"),
    "ramp_minus_one": _look("green", "long"),
    "savage": _look("red", "dash_dot"),
    "sigmoid": _look("green", "dotted"),
    "unhinged": _look("muted", "long"),
    "perceptron": _look("sky", "short"),
    "cross_entropy": _look("orange", "dash_dot"),
    "focal": _look("purple", "long_short"),
}


def front(
    axes: Any,
    x: Any,
    y: Any,
    *,
    point: tuple[float, float] | None = None,
    seeds: tuple[Any, Any] | None = None,
    color: str = "blue",
    dash: str = "solid",
    alpha: float = 1.0,
    label: str | None = None,
    gid: str = "front-point",
) -> None:
    """What one scale costs on another: the front, the band in which its seeds lie, and the point that a preference picks. One look in all chapters.

    Args:
        axes: Where to draw.
        x, y: The front, [M] each.
        point: Where the preference stands.
        seeds: The same front from several seeds: x [S, M] or [M], and y [S, M]. The band runs between their smallest and their largest values.
        color, dash: Names from `PALETTE` and of the dashes: solid, long, short, dotted, dash_dot, ...
        alpha: Less than 1 for a front that is only there to compare.
        label: For the legend.
        gid: The point's name, for `explore(drag=...)`.

    Example:
        >>> figure, axes = subplots()
        >>> front(axes, [0, 1, 2], [4, 1, 0], point=(1, 1), seeds=([0, 1, 2], [[4, 1, 0], [5, 2, 1]]))
    """
    import numpy as np

    if seeds is not None:
        across, up = np.broadcast_arrays(*(np.atleast_2d(np.asarray(part, dtype=float)) for part in seeds))
        corners = [np.append(part.min(axis=0), part.max(axis=0)[::-1]) for part in (across, up)]
        axes.fill(*corners, color=COLORS[color], alpha=0.22 * alpha, linewidth=0)
    axes.plot(np.asarray(x), np.asarray(y), color=COLORS[color], linestyle=DASHES[dash], alpha=alpha, label=label)
    if point is not None:
        axes.plot(*([float(part)] for part in point), "o", color=COLORS["green"], markersize=13, gid=gid)
