"""What a teacher asks of each chapter, taken from the chapters themselves, and routes through them.

```{teachers} chapters        ```{teachers} routes
```                           ```

The first is a table: a chapter's minutes, what it gives ("You will ..." in its box), what it needs (the chapters that its box links to), how many
exercises of which kind, and the first figure with the question under it. The second comes from `routes.yml` beside the page: steps, each a chapter
and a figure at a setting to show. A section, figure, control or value that doesn't exist is a warning, as in the chooser.
"""

from __future__ import annotations

import html
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_node, exercise_subtitle

from . import chooser
from .noted import Noted
from .reading import minutes

LOGGER = logging.getLogger(__name__)
KINDS = ("chapters", "routes")
MINUTES = {"Predict": 5, "Compute": 10, "Break": 10, "Prove": 20, "Extend": 30}  # what a student takes for an exercise, as the page says
COLUMNS = {
    "chapters": ("Chapter", "What it gives, and needs", "Exercises", "To show, and to ask"),
    "routes": ("When", "Chapter", "To show, and to ask"),
}


class teachers(nodes.General, nodes.Element):
    """Where a table goes."""


class TeachersDirective(SphinxDirective):
    """A place for a table, filled once every chapter is read."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The place, with the data of the routes."""
        if self.arguments[0] not in KINDS:
            raise self.error(f"This is of {' or '.join(KINDS)}; found {self.arguments[0]!r}.")
        _, path = self.env.relfn2path("routes.yml")
        self.env.note_dependency(path)
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8")) if self.arguments[0] == "routes" else []
        return [teachers(kind=self.arguments[0], data=data)]


class Chapter(NamedTuple):
    """What a chapter says of itself."""

    minutes: int
    gives: str
    needs: list[str]
    exercises: dict[str, int]
    figure: str
    question: str


class Chapters(Noted):
    """By page; None for a page without exercises."""

    key, place = "teachers", teachers

    def note(self, app: Sphinx, doctree: nodes.document) -> Chapter | None:
        """Its box, exercises, first figure and the question under it."""
        kinds = Counter(kind_of(node) for node in doctree.findall(is_exercise))
        box = next((node for node in doctree.findall(nodes.admonition) if "slim" in node["classes"]), None)
        if not kinds or box is None:
            return None
        said = " ".join(node.astext() for node in box.findall(nodes.paragraph)).replace("\n", " ")
        gives = said.partition("Before:")[0].partition("You will ")[2].strip().rstrip(".,")
        needs = [node["reftarget"] for node in box.findall(addnodes.pending_xref) if node["reftype"] == "doc"]
        figure = next(iter(chooser.figures(doctree)), "")
        return Chapter(minutes(doctree), gives, needs, dict(kinds), figure, question_of(doctree))


def is_exercise(node: nodes.Node) -> bool:
    """Is it one of sphinx-exercise's?"""
    return isinstance(node, (exercise_node, exercise_enumerable_node))


def kind_of(exercise: nodes.Element) -> str:
    """Predict, compute, break, prove or extend: what stands in brackets in its title."""
    return next((node.astext().strip("() ") for node in exercise.findall(exercise_subtitle)), "")


def question_of(doctree: nodes.document) -> str:
    """The paragraph in italics that follows the first figure."""
    passed = False
    for node in doctree.findall():
        passed |= isinstance(node, nodes.figure)
        if passed and isinstance(node, nodes.paragraph) and isinstance(node.children[0], nodes.emphasis):
            return node.astext().replace("\n", " ")
    return ""


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Fill the tables of a page."""
    for place in list(doctree.findall(teachers)):
        rows = chapter_rows(app, docname) if place["kind"] == "chapters" else [table(app, docname, route) for route in place["data"]]
        text = whole("chapters", "The chapters, as they describe themselves.", rows) if place["kind"] == "chapters" else "".join(rows)
        place.replace_self(nodes.raw("", text, format="html"))


def chapter_rows(app: Sphinx, docname: str) -> list[str]:
    """A row a chapter, in the order of the contents."""
    pages = Chapters.pages(app.env)
    trees = app.env.get_doctree(app.config.root_doc).findall(addnodes.toctree)
    listed = [page for tree in trees for page in tree["includefiles"]]
    return [chapter_row(app, docname, page, pages[page]) for page in listed if page in pages]


def chapter_row(app: Sphinx, docname: str, page: str, chapter: Chapter) -> str:
    """One chapter."""
    address = app.builder.get_relative_uri(docname, page)
    links = [link(app, docname, resolved(page, target)) for target in chapter.needs]
    needs = f"<p>Before: {', '.join(text for text in links if text)}.</p>" if any(links) else ""
    kinds = ", ".join(f"{count} {kind.lower()}" if count > 1 else kind.lower() for kind, count in chapter.exercises.items())
    exercises = f"{kinds}<p>{sum(count * MINUTES.get(kind, 10) for kind, count in chapter.exercises.items())} minutes</p>"
    head = f'<a href="{address}">{html.escape(app.env.titles[page].astext())}</a><p>{chapter.minutes} minutes</p>'
    show = f'<a href="{address}#{chapter.figure}">The figure</a>: {html.escape(chapter.question)}' if chapter.figure else ""
    return cells("chapters", head, f"<p>{html.escape(chapter.gives[:1].upper() + chapter.gives[1:])}.</p>{needs}", exercises, show)


def resolved(page: str, target: str) -> str:
    """The page that a chapter's `{doc}` means."""
    parts = [*page.split("/")[:-1], *target.split("/")]
    kept: list[str] = []
    for part in parts:
        kept = kept[:-1] if part == ".." else [*kept, part]
    return "/".join(kept)


def link(app: Sphinx, docname: str, page: str) -> str:
    """A link by the page's title; nothing where the page isn't in the book at hand."""
    if page not in app.env.titles:
        return ""
    return f'<a href="{app.builder.get_relative_uri(docname, page)}">{html.escape(app.env.titles[page].astext())}</a>'


def table(app: Sphinx, docname: str, route: dict[str, Any]) -> str:
    """One route: what it is for, and its steps."""
    rows = [step(app, docname, entry) for entry in route["steps"]]
    return f"<h3>{chooser.say(route['name'])}</h3><p>{chooser.say(route['for'])}</p>{whole('routes', route['name'], rows)}"


def step(app: Sphinx, docname: str, entry: dict[str, Any]) -> str:
    """A chapter, and a figure of it at a setting."""
    page = entry["chapter"] if entry["chapter"] in app.env.titles else f"chapters/{entry['chapter']}"
    offered = chooser.Targets.pages(app.env).get(page)
    if offered is None:
        LOGGER.warning("the route's %s is in no page of this book", entry["chapter"], location=docname)
        return cells("routes", chooser.say(str(entry["when"])), html.escape(entry["chapter"]), "")
    for complaint in chooser.complaints(offered, next(iter(offered.sections), ""), entry):
        LOGGER.warning("%s, %s", page, complaint, location=docname)
    figure = offered.figures.get(entry["figure"])
    state = chooser.address_of(figure, entry["state"]) if figure else ""
    show = f'<a href="{app.builder.get_relative_uri(docname, page)}#{state}">The figure, set to show it</a>: {chooser.say(entry["ask"])}'
    return cells("routes", chooser.say(str(entry["when"])), link(app, docname, page), show)


def cells(kind: str, *texts: str) -> str:
    """A row; on a phone each cell is a line that says what it is."""
    body = "".join(f'<td role="cell" data-label="{label}"><div>{text}</div></td>' for label, text in zip(COLUMNS[kind][1:], texts[1:], strict=True))
    return f'<tr role="row"><th scope="row" role="rowheader">{texts[0]}</th>{body}</tr>'


def whole(kind: str, caption: str, rows: list[str]) -> str:
    """A table with its heads."""
    heads = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in COLUMNS[kind])
    return (
        f'<div class="teachers"><table class="ledger-table teachers-{kind}" role="table"><caption>{chooser.say(caption)}</caption>'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead><tbody role="rowgroup">{"".join(rows)}</tbody></table></div>'
    )


def skip(self: nodes.NodeVisitor, node: teachers) -> None:
    """Outside HTML there is no table."""
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the directive and the steps."""
    app.add_node(teachers, html=(skip, None), latex=(skip, None), text=(skip, None), man=(skip, None), texinfo=(skip, None))
    app.add_directive("teachers", TeachersDirective)
    app.add_env_collector(Chapters)
    app.connect("doctree-resolved", resolve)
