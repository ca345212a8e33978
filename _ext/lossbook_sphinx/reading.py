"""How long a page takes to read: its words, and what is read more slowly than words.

MyST counts words only, 200 of them a minute, so a page of formulas and figures takes twice the time that it promises. What is folded is not counted:
a solution, a hint, the code behind a figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

WORDS_A_MINUTE = 200
FOLDS = {"cell_code_source": ("all", "input", "input+output"), "cell_code_output": ("all", "output", "input+output")}  # part of a cell: modes
SECONDS = {"formula in a line": 3, "formula of its own": 20, "line of code": 3, "result of a cell": 40}


class ReadingTime(SphinxTransform):
    """Put the minutes of this page where `{sub-ref}` asks for MyST's `wordcount-minutes`."""

    default_priority = 210  # just before docutils replaces substitutions, at 220

    def apply(self, **kwargs: object) -> None:
        """Write over MyST's own number."""
        definition = self.document.substitution_defs.get("wordcount-minutes")
        if definition is not None:
            definition.children = [nodes.Text(str(minutes(self.document)))]


def minutes(document: nodes.Element) -> int:
    """The minutes that somebody needs who reads what is open, and looks at each result."""
    words = sum(len(node.astext().split()) for node in opened(document) if isinstance(node, nodes.Text))
    seconds = sum(slow(node) for node in opened(document))
    return max(1, round(words / WORDS_A_MINUTE + seconds / 60))


def opened(node: nodes.Node) -> Iterator[nodes.Node]:
    """What a reader sees of a node without unfolding anything; formulas, code and results are not entered."""
    yield node
    if not isinstance(node, (nodes.math, nodes.math_block, nodes.literal_block, nodes.raw, nodes.comment)) and not is_result(node):
        for child in node.children:
            if not is_folded(child):
                yield from opened(child)


def slow(node: nodes.Node) -> int:
    """The seconds of what takes longer than its words."""
    if isinstance(node, nodes.math):
        return SECONDS["formula in a line"]
    if isinstance(node, nodes.math_block):
        return SECONDS["formula of its own"]
    if isinstance(node, nodes.literal_block):
        return SECONDS["line of code"] * len(node.astext().splitlines())
    return SECONDS["result of a cell"] if is_result(node) else 0


def is_result(node: nodes.Node) -> bool:
    """Is it what a cell shows?"""
    return isinstance(node, nodes.Element) and node.get("nb_element") == "cell_code_output"


def is_folded(node: nodes.Node) -> bool:
    """Is it closed until somebody clicks, or no part of the page?"""
    if not isinstance(node, nodes.Element):
        return False
    if node.get("nb_element") in FOLDS:
        return node.parent.get("hide_mode") in FOLDS[node["nb_element"]]
    return node.get("design_component") == "dropdown" or "dropdown" in node.get("classes", []) or isinstance(node, nodes.substitution_definition)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform."""
    app.add_transform(ReadingTime)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
