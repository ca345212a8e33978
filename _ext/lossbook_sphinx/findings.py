"""The book's own findings in one table, each with its effect and interval, and links both ways.

```{findings}
```

The numbers are those of the boxes on the pages; a finding whose box no page of the book at hand shows is a warning where its chapter is there.
"""

from __future__ import annotations

import html
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .noted import Noted, handed, link_boxes

if TYPE_CHECKING:
    from studies import Finding

LOGGER = logging.getLogger(__name__)
COLUMNS = ("Finding", "What the book finds", "Measured", "Chapter")


class findings(nodes.General, nodes.Element):
    """Where the table goes."""


class FindingsDirective(SphinxDirective):
    """A place for the table, filled once every chapter is read."""

    def run(self) -> list[nodes.Node]:
        """The place."""
        return [findings()]


class FindingBoxes(Noted):
    """What the boxes of findings on each page show."""

    key, place = "findings", findings

    def note(self, app: Sphinx, doctree: nodes.document) -> dict[str, dict[str, Any]]:
        """By finding."""
        return {data["finding"]: data for data in handed(doctree) if "finding" in data}


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Fill the tables of a page, and let its boxes link to the first table of the book."""
    for place in list(doctree.findall(findings)):
        place.replace_self(nodes.raw("", table(app, docname), format="html"))
    link_boxes(app, doctree, docname, FindingBoxes)


def table(app: Sphinx, docname: str) -> str:
    """All findings, in the order of their numbers."""
    from studies import FINDINGS

    pages = {PurePosixPath(page).name: page for page in FindingBoxes.pages(app.env)}
    rows = []
    for finding in FINDINGS.values():
        page = pages.get(finding.chapter)
        box = FindingBoxes.pages(app.env)[page].get(finding.id) if page else None
        if page and box is None:
            LOGGER.warning("finding %s is not shown in its chapter, %s", finding.id, page, location=docname)
        address = app.builder.get_relative_uri(docname, page) if page else None
        rows.append(row(finding, address if box else None, app.env.titles[page].astext() if page else finding.chapter))
    heads = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in COLUMNS)
    return (
        '<div class="findings"><table class="ledger-table" role="table"><caption>The findings, in the order of the chapters.</caption>'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead><tbody role="rowgroup">{"".join(rows)}</tbody></table></div>'
    )


def row(finding: Finding, address: str | None, title: str) -> str:
    """One finding: its sentence, the effect, how it was found."""
    from studies import show

    box, say = show(finding.id), html.escape
    surprise = "" if box.holds else " <b>This no longer holds.</b>"
    number = f'<b class="ledger-value">{box.value}</b> ({say(box.interval)}) {say(finding.quantity)}{surprise}'
    measured = f'{number}<p class="ledger-expected">{say(box.how)}</p>'
    cells = (f"<p>{say(box.sentence)}</p>", measured, f'<a href="{address}">{say(title)}</a>' if address else say(title))
    verdict = finding.predicate.verdict
    name = f'<a href="{address}#finding-{finding.id}">{finding.id}</a>' if address else finding.id
    body = "".join(f'<td role="cell" data-label="{label}"><div>{text}</div></td>' for label, text in zip(COLUMNS[1:], cells, strict=True))
    head = f'<th scope="row" role="rowheader">{name} <span class="claim-verdict">{verdict}</span></th>'
    return f'<tr role="row" id="ledger-{finding.id}" class="finding-row">{head}{body}</tr>'


def skip(self: nodes.NodeVisitor, node: findings) -> None:
    """Outside HTML there is no table."""
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the directive and the steps."""
    app.add_node(findings, html=(skip, None), latex=(skip, None), text=(skip, None), man=(skip, None), texinfo=(skip, None))
    app.add_directive("findings", FindingsDirective)
    app.add_env_collector(FindingBoxes)
    app.connect("doctree-resolved", resolve)
