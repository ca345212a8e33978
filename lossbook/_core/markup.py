"""Text in HTML."""

from __future__ import annotations


def escape(text: str) -> str:
    """Text that is safe in HTML, inside and outside of attributes."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#x27;")):
        text = text.replace(character, entity)
    return text
