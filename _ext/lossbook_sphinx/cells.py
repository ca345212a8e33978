"""Details of pages: a figure comes before its folded code, ids and roles are sound, and a directive that Markdown would not see is said."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
BROKEN_FENCE = re.compile(r"^ *(`{3,})\{[\w:-]+\}.*`", flags=re.MULTILINE)


class FigureFirst(SphinxPostTransform):
    """A cell tagged `hide-input` shows its output, then the fold with its code: the reader meets the figure first.

    The fold of a cell without output, which computes what the next one draws, goes with it: behind that figure, before that code.
    """

    default_priority = 200  # just after myst-nb has folded the code
    formats = ("html",)

    def run(self, **kwargs: object) -> None:
        """Move the fold to the end of its cell."""
        waiting: list[nodes.Element] = []
        for cell in list(self.document.findall(nodes.container)):
            if cell.get("nb_element") != "cell_code" or cell.get("hide_mode") != "input":
                continue
            if waiting and _before(cell) is not waiting[-1]:
                waiting = []
            if len(cell.children) == 1:
                waiting.append(cell)
                continue
            fold, *outputs = cell.children
            folds = [other.children[0] for other in waiting]
            for other in waiting:
                other.parent.remove(other)
            waiting = []
            cell.children = [*outputs, *folds, fold]
            for child in folds:
                child.parent = cell


def _before(node: nodes.Element) -> nodes.Node | None:
    """What stands directly before a node, comments and targets aside."""
    siblings = node.parent.children[: node.parent.index(node)]
    return next((other for other in reversed(siblings) if not isinstance(other, (nodes.comment, nodes.target))), None)


class UniqueIds(SphinxPostTransform):
    """sphinx-exercise gives every exercise and every solution of a page the same id; nothing links to it."""

    default_priority = 201
    formats = ("html",)

    def run(self, **kwargs: object) -> None:
        """Drop those ids."""
        for section in self.document.findall(nodes.section):
            section["ids"] = [key for key in section["ids"] if key not in {"exercise-content", "solution-content"}]


def warn_of_broken_fences(app: Sphinx, docname: str, source: list[str]) -> None:
    """CommonMark allows no backtick after a fence of backticks, so such a directive silently becomes text."""
    for found in BROKEN_FENCE.finditer(source[0]):
        line = source[0].count("\n", 0, found.start()) + 1
        LOGGER.warning("a directive whose first line contains `code` needs a fence of colons, :::", location=(docname, line))


def name_list_items(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """docutils writes a bibliography as a list whose items have another role, which a screen reader then does not count."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app: Sphinx) -> None:
    """Register them."""
    app.add_post_transform(FigureFirst)
    app.add_post_transform(UniqueIds)
    app.connect("source-read", warn_of_broken_fences)
    app.connect("html-page-context", name_list_items)
