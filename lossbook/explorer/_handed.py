"""Data beside the HTML of a figure or a box, for who builds a page of it: myst-nb hands them on to Sphinx as a node that no reader sees.

myst-nb finds `Renderer` by the entry point `myst_nb.mime_renderers`, so that any book with such figures can ask what is on its pages.
"""

from __future__ import annotations

from typing import Any, ClassVar

from lossbook._core.markup import MIME


class Renderer:
    """What myst-nb asks for each output: `nodes.container(lossbook=data)` for ours, nothing for any other."""

    mime_priority_overrides: ClassVar[tuple[tuple[str, str, int | None], ...]] = ()

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[Any] | None:
        """The node, beside that of the HTML, which the page shows."""
        if data.mime_type != MIME:
            return None
        from docutils import nodes

        return [nodes.container(lossbook=data.content)]
