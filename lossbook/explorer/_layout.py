"""Where the parts of a figure stand: found once by matplotlib, then kept for every other frame: nothing jumps, and nothing is measured twice."""

from __future__ import annotations

from typing import Any, NamedTuple


class Layout(NamedTuple):
    """Places of a figure's axes, their labels and titles, in fractions of the figure or (titles) of the axes."""

    axes: list[Any]
    labels: list[list[tuple[float, float] | None]]
    titles: list[list[float]]
    headings: list[tuple[float, float] | None]

    @classmethod
    def of(cls, figure: Any) -> Layout | None:
        """The layout of a figure that was just drawn at 72 dots an inch; None where it was laid out by hand."""
        if figure.get_layout_engine() is None:
            return None
        return cls(
            [axes.get_position(original=True) for axes in figure.axes],
            [[_label_place(axes, axis) for axis in _axis_pair(axes)] for axes in figure.axes],
            [[title.get_position()[1] for title in _titles(axes)] for axes in figure.axes],
            [text and text.get_position() for text in _headings(figure)],
        )

    def apply(self, figure: Any) -> None:
        """Give a figure with as many axes this layout; another kind of figure keeps its own."""
        if len(figure.axes) != len(self.axes) or figure.get_layout_engine() is None:
            return
        figure.set_layout_engine("none")
        for axes, position, labels, titles in zip(figure.axes, self.axes, self.labels, self.titles, strict=True):
            axes.set_position(position)
            for axis, place in zip(_axis_pair(axes), labels, strict=True):
                if place is not None:
                    axis.set_label_coords(*place, transform=figure.transFigure)
            if axes.get_aspect() == "auto":
                axes._autotitlepos = False
                for title, height in zip(_titles(axes), titles, strict=True):
                    title.set_y(height)
        for text, place in zip(_headings(figure), self.headings, strict=True):
            if text is not None and place is not None:
                text.set_position(place)


def _axis_pair(axes: Any) -> list[Any]:
    return [axes.xaxis, axes.yaxis] if hasattr(axes, "xaxis") else []


def _label_place(axes: Any, axis: Any) -> tuple[float, float] | None:
    """The place of an axis label, which matplotlib keeps half in axes and half in dots; None where it depends on more than the layout."""
    if axes.get_aspect() != "auto" or not axis.get_visible() or not axes.axison or axes.name != "rectilinear":
        return None
    (x, y), box = axis.label.get_position(), axes.get_position(original=True)
    width, height = (72 * inches for inches in axes.figure.get_size_inches())
    if axis is axes.xaxis:
        return box.x0 + x * box.width, y / height
    return x / width, box.y0 + y * box.height


def _titles(axes: Any) -> list[Any]:
    return [getattr(axes, name) for name in ("title", "_left_title", "_right_title") if hasattr(axes, name)]


def _headings(figure: Any) -> list[Any]:
    return [getattr(figure, name, None) for name in ("_suptitle", "_supxlabel", "_supylabel")]
