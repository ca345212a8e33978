"""What is noted of each page while it is read, and known once all are: the one way in which pages here learn of each other.

Figures and claim boxes hand over data beside their HTML (`lossbook.explorer._handed`): `handed` finds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors import EnvironmentCollector


def handed(tree: nodes.Node) -> Iterator[dict[str, Any]]:
    """The data of the figures and boxes below a node, in order."""
    return (node["lossbook"] for node in tree.findall(nodes.container) if "lossbook" in node)


def link_boxes(app: Sphinx, doctree: nodes.document, docname: str, boxes: type[Noted]) -> None:
    """Let the ids in the boxes of a page, which `boxes` has noted by id, link to their rows in the first table of the book."""
    from lossbook.book.claims.ledger import head

    target = next(iter(sorted(boxes.places(app.env))), None)
    if target is None or docname == target:
        return
    address = app.builder.get_relative_uri(docname, target)
    for node in list(doctree.findall(nodes.raw)):
        text = node.astext()
        for key in boxes.pages(app.env).get(docname, {}):
            text = text.replace(head(key), f'<a class="claim-id" href="{address}#ledger-{key}" title="{key} in the ledger">{key}</a>')
        if text != node.astext():
            node.replace_self(nodes.raw("", text, format=node["format"]))


class Noted(EnvironmentCollector):
    """By page, what `note` says of it; and the pages with a node of the kind `place`, which are written anew whenever any page was read anew."""

    key: str
    place: type[nodes.Element]

    def note(self, app: Sphinx, doctree: nodes.document) -> Any:
        """What a page has; None is nothing."""
        raise NotImplementedError

    @classmethod
    def pages(cls, env: BuildEnvironment) -> dict[str, Any]:
        """By name of the page, what was noted."""
        return cls._kept(env, "pages", {})

    @classmethod
    def places(cls, env: BuildEnvironment) -> set[str]:
        """The pages on which something is filled in."""
        return cls._kept(env, "places", set())

    @classmethod
    def _kept(cls, env: BuildEnvironment, what: str, empty: Any) -> Any:
        return env.__dict__.setdefault(f"lossbook_{cls.key}_{what}", empty)

    def process_doc(self, app: Sphinx, doctree: nodes.document) -> None:
        """A page was read."""
        found = self.note(app, doctree)
        if found is not None:
            self.pages(app.env)[app.env.docname] = found
        if next(doctree.findall(self.place), None):
            self.places(app.env).add(app.env.docname)

    def clear_doc(self, app: Sphinx, env: BuildEnvironment, docname: str) -> None:
        """A page is about to be read anew, or is gone."""
        self.pages(env).pop(docname, None)
        self.places(env).discard(docname)

    def merge_other(self, app: Sphinx, env: BuildEnvironment, docnames: set[str], other: BuildEnvironment) -> None:
        """What another process read."""
        self.pages(env).update({name: found for name, found in self.pages(other).items() if name in docnames})
        self.places(env).update(self.places(other) & set(docnames))

    def get_updated_docs(self, app: Sphinx, env: BuildEnvironment) -> list[str]:
        """When a page changed, what is filled in from it is written anew."""
        return sorted(self.places(env))
