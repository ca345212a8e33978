"""Docstrings as the package writes them, turned into what autodoc and napoleon read.

Napoleon takes Args, Attributes, Raises and Call with apart. Here is the rest: code between single backticks, formulas between dollars, marks that
reStructuredText would take for its own, and the house's other sections, each of which becomes a field beside napoleon's.
"""

from __future__ import annotations

import re
from collections.abc import Callable

HEAD = re.compile(r"^(Returns|Example|Reference|Conventions|Raises(?!:\n +\w+: )):$", flags=re.MULTILINE)
PIECE = re.compile(
    r"""(?P<doctest>^[ ]*>>>[^\n]*(?:\n[ ]*\S[^\n]*)*)
    | ^(?P<indent>[ ]*)\$\$(?P<display>.+?)\$\$
    | \$(?P<math>[^$\n]+)\$
    | `(?P<code>[^`]+)`
    | (?P<field>(?<=\n\n)|\A)?\bChapters?:[ ](?P<chapters>[\w-]+(?:,\s+[\w-]+)*)\.(?=\s|\Z)""",
    flags=re.MULTILINE | re.DOTALL | re.VERBOSE,
)
MARK = re.compile(r"[\\*|]|(?<=\w)_(?!\w)|^ *(?=[A-Za-z]\. )", flags=re.MULTILINE)  # the last would number a list by an author's initial


def rst(text: str, code: Callable[[str], str], chapter: Callable[[str], str]) -> str:
    """A docstring as reStructuredText; `code` writes what stood between backticks, `chapter` a chapter's name.

    >>> print(rst("The |x| of `x`, $x^2$.\\n\\nReturns:\\n    One.\\n\\nChapter: a.", "``{}``".format, ":doc:`{}`".format))
    The \\|x\\| of ``x``, :math:`x^2`.
    <BLANKLINE>
    :Returns:
        One.
    <BLANKLINE>
    :Chapter: :doc:`a`
    """
    found, end = [""], 0
    for piece in PIECE.finditer(text):
        found += [_plain(text[end : piece.start()]), _spaced(_written(piece, code, chapter), text, piece)]
        end = piece.end()
    return HEAD.sub(r":\1:", "".join([*found, _plain(text[end:])]))


def _plain(text: str) -> str:
    return MARK.sub(lambda mark: f"{mark[0]}\\" if mark[0].isspace() or not mark[0] else f"\\{mark[0]}", text)


def _written(piece: re.Match[str], code: Callable[[str], str], chapter: Callable[[str], str]) -> str:
    if piece["doctest"]:
        return piece[0]
    if piece["display"]:
        return f"{piece['indent']}.. math::\n\n{piece['indent']}    {' '.join(piece['display'].split())}\n"
    if piece["math"]:
        return f":math:`{piece['math']}`"
    if piece["code"]:
        return code(" ".join(piece["code"].split()))
    names = ", ".join(map(chapter, re.split(r",\s+", piece["chapters"])))
    word = piece[0].partition(":")[0]
    return f":{word}: {names}" if piece["field"] is not None else f"{word}: {names}."


def _spaced(written: str, text: str, piece: re.Match[str]) -> str:
    """Inline markup stands between spaces or such marks; a space that is escaped leaves none on the page."""
    if not (piece["code"] or piece["math"]):
        return written
    before, after = text[: piece.start()][-1:].strip(), text[piece.end() :][:1].strip()
    return ("" if before in "([{<-/" else "\\ ") + written + ("" if after in ".,;:!?)]}>-/" else "\\ ")
