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

__all__ = ["LOSS_STYLES", "arrows", "boundary", "front", "handle", "two_classes"]


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


def two_classes(axes: Any, points: Any, signs: Any, *, size: Any = 6.0, filled: Any = None, **look: Any) -> None:
    """The two classes in a plane: blue circles for the sign -1, orange triangles for +1. One look in all chapters.

    Args:
        axes: Where to draw.
        points: Where they are, [N, 2].
        signs: Below zero or above it, [N].
        size: The marker's size in points, for all of them or [N], one each.
        filled: Which of them are filled, [N]; the others are hollow, with the paper's colour inside. All, where it is not given.
        look: What else matplotlib's `plot` takes; with one size each, or with hollow points, what `scatter` takes.

    Example:
        >>> figure, axes = subplots()
        >>> two_classes(axes, [[0, 1], [2, 1], [2, 0]], [-1, 1, 1])
    """
    import numpy as np

    points, signs, size = np.asarray(points), np.asarray(signs), np.asarray(size)
    for rows, marker, color in ((signs < 0, "o", COLORS["blue"]), (signs > 0, "^", COLORS["orange"])):
        if filled is None and size.ndim == 0:
            axes.plot(*points[rows].T, marker, color=color, markersize=float(size), **look)
            continue
        inside = np.where(np.ones(len(signs), dtype=bool) if filled is None else np.asarray(filled), color, COLORS["paper"])
        areas = (size if size.ndim == 0 else size[rows]) ** 2  # one size for all is drawn as copies of one shape
        axes.scatter(*points[rows].T, s=areas, marker=marker, facecolors=list(inside[rows]), edgecolors=color, **look)


def boundary(axes: Any, weights: Any, intercept: Any = 0.0, *, level: float = 0.0, reach: float = 40.0, **look: Any) -> None:
    """The line ⟨w, x⟩ + b = level through the plane: where a linear classifier decides, and at the levels ±1 the margins of a support vector machine.

    Args:
        axes: Where to draw. Set its limits, since the line is longer than what is seen of it.
        weights: w, [2].
        intercept: b.
        level: The score along the line.
        reach: How far the line goes from the point next to the origin, each way.
        look: What matplotlib's `plot` takes; ink and solid where nothing else is said.

    Example:
        >>> figure, axes = subplots()
        >>> boundary(axes, [1.0, 2.0], -1.0, linestyle="--")
    """
    import numpy as np

    weights = np.asarray(weights, dtype=float)
    length = np.hypot(*weights)
    normal = weights / length
    foot = (level - float(intercept)) / length * normal
    along = reach * np.array([-normal[1], normal[0]])
    axes.plot(*np.stack([foot - along, foot + along]).T, **{"color": COLORS["ink"], "linestyle": "-", **look})


def arrows(axes: Any, tails: Any, vectors: Any, *, head: float = 0.22, **look: Any) -> None:
    """Arrows as one line with gaps, so that a frame differs from the next in one path; what has no length is left out.

    Args:
        axes: Where to draw, with equal scales on both axes if the heads should be even.
        tails: Where they begin, [N, 2].
        vectors: From there to their tips, [N, 2].
        head: How long a head may get, in the units of the plane; that of a short arrow is 0.4 of its length.
        look: What matplotlib's `plot` takes; ink and solid where nothing else is said.

    Example:
        >>> figure, axes = subplots()
        >>> arrows(axes, [[0, 0], [1, 1]], [[1, 0], [0, 0.5]], linewidth=1.8)
    """
    import numpy as np

    tails, vectors = np.asarray(tails, dtype=float), np.asarray(vectors, dtype=float)
    lengths = np.hypot(*vectors.T)
    tails, vectors, lengths = tails[lengths > 0], vectors[lengths > 0], lengths[lengths > 0, None]
    tips, heads = tails + vectors, np.minimum(0.4 * lengths, head)
    across = np.stack([-vectors[:, 1], vectors[:, 0]], axis=1) / lengths
    back, gap = tips - heads * vectors / lengths, np.full_like(tips, np.nan)
    strokes = np.stack([tails, tips, back + 0.6 * heads * across, tips, back - 0.6 * heads * across, gap], axis=1)
    axes.plot(*strokes.reshape(-1, 2).T, **{"color": COLORS["ink"], "linestyle": "-", **look})


def handle(axes: Any, x: Any, y: Any, gid: str, *, color: str = "ink", hollow: bool = False, **look: Any) -> None:
    """What a reader drags: a large dot, or a ring around what is drawn beneath it.

    Args:
        axes: Where to draw.
        x, y: Where it stands.
        gid: Its name, for `explore(drag=...)`.
        color: A name from `PALETTE`.
        hollow: A ring.
        look: What matplotlib's `plot` takes: marker, markersize, ...

    Example:
        >>> figure, axes = subplots()
        >>> handle(axes, 0.5, 0.25, "moving-point", color="green")
    """
    shape = {"markersize": 19, "markerfacecolor": "none", "markeredgewidth": 2.2} if hollow else {"markersize": 12}
    axes.plot([float(x)], [float(y)], **{"color": COLORS[color], "marker": "o", "linestyle": "none", "gid": gid, **shape, **look})
