"""Figures on pages outside the chapters: numbered 1, 2, 3 within their page, and elsewhere called "Fig. 1 of" that page.

Sphinx counts all that has no chapter's number in one row through the book, so the second figure of a page could be the ninth. Tables and whatever
else has a caption with a number are counted in the same way.
"""

from __future__ import annotations

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors.toctree import TocTreeCollector

assign_through_the_book = TocTreeCollector.assign_figure_numbers


def assign_within_pages(self: TocTreeCollector, env: BuildEnvironment) -> list[str]:
    """Assign every number, as Sphinx does; the pages whose numbers changed."""
    before = env.toc_fignumbers
    assign_through_the_book(self, env)
    for numbered in env.toc_fignumbers.values():
        for kind, numbers in numbered.items():
            if all(len(number) == 1 for number in numbers.values()):  # a chapter's have two parts, 3.2
                numbered[kind] = {label: (place,) for place, label in enumerate(numbers, start=1)}
    return [page for page, numbered in env.toc_fignumbers.items() if numbered != before.get(page)]


def name_pages(app: Sphinx, document: nodes.document, page: str) -> None:
    """Say in a reference which page a number belongs to, where it is another page's and has no chapter in it."""
    for reference in document.findall(addnodes.number_reference):
        address, _, label = reference.get("refuri", "").partition("#")  # within a page there is none
        for other, kinds in app.env.toc_fignumbers.items() if address else ():
            within_page = any(len(numbers.get(label, ())) == 1 for numbers in kinds.values())
            if within_page and app.builder.get_relative_uri(page, other) == address:
                reference += nodes.inline("", f" of {app.env.titles[other].astext()}")


def setup(app: Sphinx) -> None:
    """Put the numbers in place of Sphinx's."""
    TocTreeCollector.assign_figure_numbers = assign_within_pages  # type: ignore[method-assign]
    app.connect("doctree-resolved", name_pages)
