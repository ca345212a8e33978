"""Matplotlib in the look of these figures: text that stays readable on a phone, one palette."""

from __future__ import annotations

from typing import Any

from lossbook.explorer import _matplotlib
from lossbook.explorer._palette import COLORS, DASHES

WIDTH_IN = 6.4
_FONT_PT = 15.0  # at 6.4 in: 10 px where a phone leaves the figure 310 px; wider screens shrink it again, see figure.css


def style(width: float = WIDTH_IN) -> dict[str, Any]:
    """Matplotlib settings of the house style.

    Args:
        width: Of the figure, in inches; text and lines grow with it.

    Returns:
        A dict for `matplotlib.rcParams.update` or `matplotlib.rc_context`.
    """
    from cycler import cycler

    size = _FONT_PT * width / WIDTH_IN
    colors = [COLORS[name] for name in ("blue", "orange", "green", "red", "purple", "sky", "yellow")]
    return {
        **_matplotlib.SETTINGS,
        "figure.facecolor": "none",
        "figure.edgecolor": "none",
        "figure.figsize": (width, 3.6 * width / WIDTH_IN),
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
        "axes.prop_cycle": cycler(color=colors) + cycler(linestyle=list(DASHES.values())),
    }


def use(width: float = WIDTH_IN) -> None:
    """Set the house style from here on, so that text and lines added to a figure later follow it too.

    Args:
        width: As for `style`.
    """
    import matplotlib

    parameters: Any = matplotlib.rcParams
    parameters.update(style(width))


def subplots(rows: int = 1, cols: int = 1, *, width: float = WIDTH_IN, height: float = 3.6, **keywords: Any) -> tuple[Any, Any]:
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
