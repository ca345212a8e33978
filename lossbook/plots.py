"""The house style of the figures: one palette, one look for each loss, text that stays readable on a phone, light and dark.

Figures are shown as inline SVG whose palette colours are CSS custom properties, so they follow the page's theme without being drawn again.
The palette was chosen so that every pair of colours stays apart under protanopia, deuteranopia and tritanopia, and each colour has a contrast of
at least 3 to 1 with the paper, in both themes; series differ by dash or marker as well. Chapter: preface.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from lossbook import _matplotlib, _svg
from lossbook._core.checks import wrong_type, wrong_value

__all__ = ["COLORS", "LOSS_STYLES", "PALETTE", "StaticFigure", "display", "show", "style", "stylesheet", "subplots", "to_html", "use"]

PALETTE: dict[str, tuple[str, str]] = {  # name: (on light paper, on dark paper)
    "ink": ("#1f2430", "#e6e9ef"),
    "muted": ("#5b6472", "#a3acba"),
    "grid": ("#e3e6ea", "#333a45"),
    "paper": ("#ffffff", "#121212"),
    "blue": ("#003baf", "#447dfc"),
    "orange": ("#d57f0d", "#f99b04"),
    "green": ("#00a788", "#35eeb9"),
    "red": ("#a60a41", "#ed3b44"),
    "purple": ("#9f4fff", "#b778b2"),
    "sky": ("#3982b0", "#88c0e8"),
    "yellow": ("#8a6800", "#f0d800"),
}
COLORS: dict[str, str] = {name: light for name, (light, _) in PALETTE.items()}

_DASHES: dict[str, Any] = {
    "solid": "-",
    "long": (0, (7, 2)),
    "short": (0, (3.5, 1.8)),
    "dotted": (0, (1, 1.4)),
    "dash_dot": (0, (6, 1.8, 1, 1.8)),
    "dash_dot_dot": (0, (6, 1.6, 1, 1.6, 1, 1.6)),
    "long_short": (0, (8, 1.8, 3, 1.8)),
}


def _look(color: str, dash: str) -> dict[str, Any]:
    return {"color": COLORS[color], "linestyle": _DASHES[dash]}


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

_WIDTH_IN = 6.4
_FONT_PT = 15.0  # at 6.4 in: 10 px where a phone leaves the figure 310 px; wider screens shrink it again, see figure.css


def style(width: float = _WIDTH_IN) -> dict[str, Any]:
    """Matplotlib settings of the house style.

    Args:
        width: Of the figure, in inches; text and lines grow with it.

    Returns:
        A dict for `matplotlib.rcParams.update` or `matplotlib.rc_context`.
    """
    from cycler import cycler

    size = _FONT_PT * width / _WIDTH_IN
    colors = [COLORS[name] for name in ("blue", "orange", "green", "red", "purple", "sky", "yellow")]
    return {
        **_matplotlib.SETTINGS,
        "figure.facecolor": "none",
        "figure.edgecolor": "none",
        "figure.figsize": (width, 3.6 * width / _WIDTH_IN),
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "none",
        "savefig.edgecolor": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "mathtext.fontset": "dejavusans",
        "font.size": size,
        "axes.titlesize": size,
        "axes.labelsize": size,
        "xtick.labelsize": size,
        "ytick.labelsize": size,
        "legend.fontsize": size,
        "figure.titlesize": size,
        "axes.titleweight": "normal",
        "axes.titlelocation": "left",
        "axes.titlepad": 8,
        "text.color": COLORS["ink"],
        "axes.labelcolor": COLORS["ink"],
        "axes.titlecolor": COLORS["ink"],
        "axes.edgecolor": COLORS["muted"],
        "xtick.color": COLORS["muted"],
        "ytick.color": COLORS["muted"],
        "xtick.labelcolor": COLORS["muted"],
        "ytick.labelcolor": COLORS["muted"],
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 1.0,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": COLORS["grid"],
        "grid.linewidth": 0.9,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.major.pad": 6,
        "ytick.major.pad": 6,
        "lines.linewidth": 2.4,
        "lines.markersize": 8,
        "lines.dash_capstyle": "butt",
        "patch.edgecolor": COLORS["paper"],
        "legend.frameon": False,
        "legend.handlelength": 2.4,
        "axes.prop_cycle": cycler(color=colors) + cycler(linestyle=list(_DASHES.values())),
    }


def use(width: float = _WIDTH_IN) -> None:
    """Set the house style from here on, so that text and lines added to a figure later follow it too.

    Args:
        width: As for `style`.
    """
    import matplotlib

    parameters: Any = matplotlib.rcParams
    parameters.update(style(width))


def subplots(rows: int = 1, cols: int = 1, *, width: float = _WIDTH_IN, height: float = 3.6, **keywords: Any) -> tuple[Any, Any]:
    """A figure and its axes in the house style, known to no window manager: it need not be closed and is never shown twice.

    Args:
        rows, cols: The grid of axes.
        width, height: Size in inches. Text grows with the width, so that it stays readable when a phone shrinks the figure.
        **keywords: For `matplotlib.figure.Figure.subplots`.

    Returns:
        `(figure, axes)` as `matplotlib.pyplot.subplots` returns them.

    Example:
        >>> figure, axes = subplots(1, 2, width=6.4, height=3.0)
        >>> len(axes)
        2
    """
    from matplotlib.figure import Figure

    use(width)
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, cols, **keywords)


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
    axes.plot(np.asarray(x), np.asarray(y), color=COLORS[color], linestyle=_DASHES[dash], alpha=alpha, label=label)
    if point is not None:
        axes.plot(*([float(part)] for part in point), "o", color=COLORS["green"], markersize=13, gid=gid)


class StaticFigure(NamedTuple):
    """A figure as HTML; Jupyter displays it."""

    html: str
    alt: str

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.alt}


def to_html(figure: Any, *, alt: str) -> StaticFigure:
    """The figure as one fragment of HTML: inline SVG that follows light and dark, with `alt` for those who cannot see it.

    Args:
        figure: A matplotlib figure.
        alt: A sentence that says what the figure shows.

    Returns:
        A `StaticFigure`; its `html` needs nothing from outside.

    Raises:
        TypeError: `figure` is no matplotlib figure.
        ValueError: `alt` is empty.
    """
    check_figure("figure", figure)
    check_alt(alt)
    with _matplotlib.house(style(figure.get_figwidth())):
        svg = _svg.render(figure)
    _matplotlib.close(figure)
    prefix = "figure-" + _svg.digest(_svg.markup(svg))
    _svg.prefix_ids(svg, prefix)
    body = _svg.markup(_svg.labelled(svg, alt))
    return StaticFigure(f'<div class="lossbook-figure"><style>{stylesheet()}</style>{body}</div>', alt)


def show(figure: Any, *, alt: str) -> None:
    """Display a figure that does not move.

    Args:
        figure: A matplotlib figure.
        alt: A sentence that says what the figure shows.

    Raises:
        TypeError, ValueError: as `to_html`.
    """
    display(to_html(figure, alt=alt))


def display(thing: Any, **keywords: Any) -> Any:
    """IPython's `display`, which is not typed.

    Args:
        thing: What to show.
        **keywords: For `IPython.display.display`.
    """
    import IPython.display

    function: Any = IPython.display.display
    return function(thing, **keywords)


def stylesheet() -> str:
    """The CSS that every figure carries: the palette in both themes, and how a figure sits on the page."""
    themes = enumerate(("light", "dark"))
    light, dark = (f"color-scheme:{name};" + ";".join(f"--lossbook-{key}:{pair[i]}" for key, pair in PALETTE.items()) for i, name in themes)
    text = Path(__file__).with_name("figure.css").read_text(encoding="utf-8")
    return _svg.squeeze_css(text.replace("/* light palette */", light + ";").replace("/* dark palette */", dark + ";"))


def check_figure(parameter: str, value: Any) -> None:
    """`value` is a matplotlib figure."""
    from matplotlib.figure import Figure

    if not isinstance(value, Figure):
        wrong_type(parameter, "be a matplotlib figure", type(value).__name__)


def check_alt(alt: Any) -> None:
    """`alt` is a sentence."""
    if not isinstance(alt, str):
        wrong_type("alt", "be a sentence", type(alt).__name__)
    if not alt.strip():
        wrong_value("alt", "say what the figure shows", repr(alt))
