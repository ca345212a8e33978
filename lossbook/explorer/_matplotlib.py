"""What is asked of matplotlib: its settings while drawing, the SVG of a figure, and to forget a figure afterwards."""

from __future__ import annotations

import io
import sys
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "lossbook", "path.simplify": False}


def rc_context(settings: dict[str, Any]) -> AbstractContextManager[None]:
    """Matplotlib's settings while a figure is drawn, and what the SVG needs."""
    import matplotlib

    together: Any = {**settings, **SETTINGS}
    context: AbstractContextManager[None] = matplotlib.rc_context(together)
    return context


def close(figure: Any) -> None:
    """Let pyplot forget the figure, where pyplot made it: nothing leaks and nothing is shown twice."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)


def printed(figure: Any) -> str:
    """The SVG that matplotlib writes."""
    from matplotlib.backends.backend_mixed import MixedModeRenderer
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    mixed: Any = MixedModeRenderer
    buffer, canvas, dpi, color = io.StringIO(), figure.canvas, figure.dpi, figure.get_facecolor()
    width, height = figure.get_size_inches()
    try:
        FigureCanvasSVG(figure)
        figure.dpi = 72
        figure.set_facecolor("none")
        if not isinstance(figure.get_layout_engine(), (PlaceHolderLayoutEngine, type(None))):
            figure.draw_without_rendering()  # a layout engine needs a look at the figure before it settles
        svg = _renderer()(72 * width, 72 * height, buffer, image_dpi=dpi, metadata={"Date": None, "Creator": None})
        renderer = mixed(figure, width, height, dpi, svg)
        figure.draw(renderer)
        renderer.finalize()
    finally:
        figure.set_canvas(canvas)
        figure.dpi = dpi
        figure.set_facecolor(color)
    return buffer.getvalue()


@cache
def _renderer() -> Any:
    """Matplotlib's renderer, but with every vertex of a line, also beyond the edge: a line that moves then keeps its number of points."""
    from matplotlib.backends import backend_svg

    base: Any = backend_svg.RendererSVG

    class Renderer(base):  # type: ignore[misc]
        def _convert_path(self, path: Any, transform: Any = None, clip: Any = None, simplify: Any = None, sketch: Any = None) -> Any:
            return super()._convert_path(path, transform, None, simplify, sketch)

    return Renderer
