"""The map of the chapters: one picture in stops, each a small drawing, a link and the chapter's question.

:::{trail} Principles and mechanisms
principles/the-cliff: Why can't we just minimise mistakes?
principles/surrogates: What do we minimise instead?
:::

Every line names a page, beside the page that holds the map, and its question; the link's text is the page's title. The drawings: `sketches`.
"""

from __future__ import annotations

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class TrailDirective(SphinxDirective):
    """Reads the part's name from the argument and a stop from each line."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """A heading line and the list of stops."""
        stops = nodes.bullet_list("", *(self.stop(line) for line in self.content if line.strip()), classes=["trail"])
        return [nodes.paragraph("", self.arguments[0], classes=["trail-part"]), stops]

    def stop(self, line: str) -> nodes.list_item:
        """The drawing, the link that covers the stop, and the question."""
        from .sketches import SKETCHES, draw  # here, since it imports torch, and most builds of a page alone have no map

        page, colon, asked = (part.strip() for part in line.partition(":"))
        if not colon or not asked:
            raise self.error(f"A stop of a trail is 'page: its question'; found {line!r}.")
        name = page.rsplit("/", 1)[-1]
        if name not in SKETCHES:
            raise self.error(f"No drawing for {name!r}; sketches.py has {', '.join(SKETCHES)}.")
        link = addnodes.pending_xref("", nodes.inline("", "", classes=["xref", "doc"]), refdomain="std", reftype="doc", reftarget=page)
        link.update_all_atts({"refdoc": self.env.docname, "refexplicit": False, "refwarn": True}, replace=True)
        self.set_source_info(link)
        picture = nodes.raw("", draw(name), format="html")
        return nodes.list_item("", picture, nodes.paragraph("", "", link, classes=["trail-title"]), nodes.paragraph("", asked))


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("trail", TrailDirective)
