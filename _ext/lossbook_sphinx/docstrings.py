"""Reads the package's docstrings: a summary, paragraphs, and the sections that CONTRIBUTING asks for."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import NamedTuple

SECTIONS = ("Args", "Attributes", "Call with", "Returns", "Raises", "Example", "Reference", "Convention", "Conventions", "Requires")
HEAD = re.compile(rf"^({'|'.join(SECTIONS)}):(?: (.*))?$")
ENTRY = re.compile(r"^(\**[\w.]+(?:, \**[\w.]+)*): +(.*)$", flags=re.DOTALL)


class Block(NamedTuple):
    """A paragraph, or text to show as it stands: code, a formula on lines of its own."""

    text: str
    literal: bool


class Section(NamedTuple):
    """A part under a heading: entries by name where all of it is entries, else blocks."""

    name: str
    entries: list[tuple[str, str]]
    blocks: list[Block]


class Docstring(NamedTuple):
    """What a docstring says, taken apart."""

    blocks: list[Block]
    sections: list[Section]


def parse(docstring: str) -> Docstring:
    """Take a docstring apart.

    >>> parsed = parse("Adds.\\n\\nArgs:\\n    a: one\\n        number.\\n    b: another.\\nReturns: the sum.")
    >>> parsed.blocks
    [Block(text='Adds.', literal=False)]
    >>> [(section.name, section.entries) for section in parsed.sections]
    [('Args', [('a', 'one number.'), ('b', 'another.')]), ('Returns', [])]
    """
    first: list[str] = []
    parts: list[tuple[str, list[str]]] = []
    for line in inspect.cleandoc(docstring).splitlines():
        head = HEAD.match(line)
        if head:
            parts.append((head[1], [head[2]] if head[2] else []))
        elif parts and (line.startswith(" ") or not line or not ended(parts[-1][1])):
            parts[-1][1].append(line)
        else:
            first.append(line)
    return Docstring(blocks(first), [section(name, lines) for name, lines in parts])


def ended(lines: list[str]) -> bool:
    """A blank line ends a section whose next line isn't indented."""
    return bool(lines) and not lines[-1]


def section(name: str, lines: list[str]) -> Section:
    """Entries where every piece is one, else blocks."""
    text = textwrap.dedent("\n".join(lines)).strip("\n")
    if name in {"Args", "Attributes", "Call with", "Raises"}:
        pieces = re.split(r"\n(?=\S)", text) if "\n" in text else re.split(r"(?<=\.) (?=[a-z_0-9, ]+: )", text)
        found = [ENTRY.match(piece) for piece in pieces]
        if all(found):
            return Section(name, [(entry[1], " ".join(entry[2].split())) for entry in found if entry], [])
    return Section(name, [], blocks(text.splitlines()))


def blocks(lines: list[str]) -> list[Block]:
    """Paragraphs, and what is indented or a doctest as it stands."""
    found = []
    for piece in re.split(r"\n\s*\n", "\n".join(lines)):
        if piece.strip():
            literal = piece.startswith((" ", ">>>"))
            found.append(Block(textwrap.dedent(piece).strip("\n") if literal else " ".join(piece.split()), literal))
    return found
