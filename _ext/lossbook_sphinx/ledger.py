"""The ledger: every claim in one table, with the number that its chapter's box shows, and links both ways.

```{ledger}
```

Nothing is measured for it. While the chapters are read, what their claim boxes say is noted; once all are read, the table is filled with it, so
that ledger and chapter can't disagree. A chapter of the book that doesn't show a claim of its own is a warning. A claim whose chapter isn't in the
book at hand (one page built alone) has a row that says so.
"""

from __future__ import annotations

import html
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .noted import Noted, handed, link_boxes

if TYPE_CHECKING:
    from lossbook.book.claims import Claim

LOGGER = logging.getLogger(__name__)
COUNTED = {"holds": "{} hold", "conditional": "{} hold under conditions", "false": "{} are false as stated"}
COLUMNS = ("Claim", "What the article says", "Measured", "Chapter")


class ledger(nodes.General, nodes.Element):
    """Where the table goes."""


class Box(NamedTuple):
    """What a chapter's box shows of one claim."""

    value: str
    expected: str
    holds: bool


class LedgerDirective(SphinxDirective):
    """A place for the table, filled once every chapter is read."""

    def run(self) -> list[nodes.Node]:
        """The place."""
        return [ledger()]


class Boxes(Noted):
    """What the claim boxes of each page show."""

    key, place = "ledger", ledger

    def note(self, app: Sphinx, doctree: nodes.document) -> dict[str, Box]:
        """By claim."""
        return {data["claim"]: Box(data["value"], data["expected"], data["holds"]) for data in handed(doctree) if "claim" in data}


def parts(env: BuildEnvironment) -> dict[str, str]:
    """The part of the book that each page belongs to."""
    trees = env.get_doctree(env.config.root_doc).findall(addnodes.toctree)
    return {page: tree["caption"] for tree in trees if tree.get("caption") for page in tree["includefiles"]}


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Fill the ledgers of a page, and let its boxes link to the first ledger of the book."""
    for place in list(doctree.findall(ledger)):
        place.replace_self(nodes.raw("", table(app, docname), format="html"))
    link_boxes(app, doctree, docname, Boxes)


def table(app: Sphinx, docname: str) -> str:
    """The sentence that counts, the filters, and the table."""
    from lossbook.book.claims import LEDGER

    pages = {PurePosixPath(page).name: page for page in Boxes.pages(app.env)}
    part_of = parts(app.env)
    rows = []
    for claim in LEDGER.values():
        page = pages.get(claim.chapter)
        box = Boxes.pages(app.env)[page].get(claim.id) if page else None
        if page and box is None:
            LOGGER.warning("claim %s is not shown in its chapter, %s: the ledger has no number for it", claim.id, page, location=docname)
        address = app.builder.get_relative_uri(docname, page) if page else None
        title = app.env.titles[page].astext() if page else claim.chapter
        rows.append(row(claim, box, address, title, part_of.get(page or "", "")))
    shown = list(dict.fromkeys(part_of[page] for claim in LEDGER.values() if (page := pages.get(claim.chapter)) in part_of))
    heads = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in COLUMNS)
    return (
        f'<div class="ledger"><p>{count(list(LEDGER.values()))}</p>{filters(shown)}'
        f'<table class="ledger-table" role="table"><caption>The claims, in the order of the article.</caption>'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead><tbody role="rowgroup">{"".join(rows)}</tbody></table></div>'
    )


def count(claims: list[Claim]) -> str:
    """How many claims there are of each verdict."""
    article = Counter(claim.verdict for claim in claims if claim.id.startswith("C"))
    *most, last = (f'<a href="?verdict={verdict}">{text.format(article[verdict])}</a>' for verdict, text in COUNTED.items())
    beyond = sum(claim.id.startswith("X") for claim in claims)
    return f"The article makes {sum(article.values())} claims that can be checked: {', '.join(most)} and {last}. {beyond} results go beyond it."


def filters(part_names: list[str]) -> str:
    """Native controls, hidden until a script is there to obey them."""
    from lossbook.book.claims.ledger import VERDICTS

    def choice(name: str, label: str, options: dict[str, str]) -> str:
        items = "".join(f'<option value="{html.escape(value)}">{html.escape(text)}</option>' for value, text in {"": "All", **options}.items())
        return f'<label>{label} <select name="{name}" autocomplete="off">{items}</select></label>'

    return (
        f'<form class="ledger-filters" hidden>{choice("verdict", "Verdict", VERDICTS)}'
        f"{choice('part', 'Part', {name: name for name in part_names})}"
        '<label>Words <input type="search" name="words" autocomplete="off"></label><p class="ledger-shown" aria-live="polite"></p></form>'
    )


def row(claim: Claim, box: Box | None, address: str | None, title: str, part: str) -> str:
    """One claim."""
    from lossbook.book.claims.ledger import VERDICTS

    say = html.escape
    better = "" if claim.verdict == "holds" else f'<p class="ledger-better"><b>Better:</b> {say(claim.corrected)}</p>'
    measured = "in its chapter, which is not part of this copy"
    if box:
        surprise = "" if box.holds else " <b>This is not what was expected.</b>"
        measured = f'<b class="ledger-value">{box.value}</b> {say(claim.quantity)}<p class="ledger-expected">expected {box.expected}{surprise}</p>'
    cells = (
        f"<p>{'<i>Beyond the article.</i> ' if claim.id.startswith('X') else ''}{say(claim.statement)}</p>{better}",
        measured,
        f'<a href="{address}">{say(title)}</a>' if address else say(title),
    )
    name = f'<a href="{address}#claim-{claim.id}">{claim.id}</a>' if box else claim.id
    body = "".join(f'<td role="cell" data-label="{label}"><div>{text}</div></td>' for label, text in zip(COLUMNS[1:], cells, strict=True))
    return (
        f'<tr role="row" id="ledger-{claim.id}" class="claim-{claim.verdict}" data-verdict="{claim.verdict}" data-part="{say(part)}">'
        f'<th scope="row" role="rowheader">{name} <span class="claim-verdict">{VERDICTS[claim.verdict]}</span></th>{body}</tr>'
    )


def skip(self: nodes.NodeVisitor, node: ledger) -> None:
    """Outside HTML there is no table."""
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the directive and the steps."""
    app.add_node(ledger, html=(skip, None), latex=(skip, None), text=(skip, None), man=(skip, None), texinfo=(skip, None))
    app.add_directive("ledger", LedgerDirective)
    app.add_env_collector(Boxes)
    app.connect("doctree-resolved", resolve)
