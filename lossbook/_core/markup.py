"""Text in HTML, and the data beside it."""

from __future__ import annotations

MIME = "application/vnd.lossbook+json"  # of the data of a figure or a box, for who builds a page of it


def escape(text: str) -> str:
    """Text that is safe in HTML, inside and outside of attributes."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#x27;")):
        text = text.replace(character, entity)
    return text
