"""A figure that does not move, as HTML: inline SVG that follows light and dark."""

from __future__ import annotations

from typing import Any, NamedTuple

from lossbook._core.arguments import wrong_type, wrong_value
from lossbook.explorer import _matplotlib, _svg
from lossbook.explorer._assets import figure_css
from lossbook.explorer._style import style


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
    with _matplotlib.rc_context(style(figure.get_figwidth())):
        svg = _svg.to_svg(figure)
    _matplotlib.close(figure)
    prefix = "figure-" + _svg.digest(_svg.markup(svg))
    _svg.prefix_ids(svg, prefix)
    body = _svg.markup(_svg.labelled(svg, alt))
    return StaticFigure(f'<div class="lossbook-figure"><style>{figure_css()}</style>{body}</div>', alt)


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
