"""Which loss when, and from a symptom to its cause: two tables filled from one file of data.

```{chooser} answers        ```{chooser} symptoms
```                        ```

The file is `chooser.yml` beside the page. A row names a section of a chapter (its proof), one line of code, and what shows it: a figure with controls
and the setting to open it at, or the boxes of claims and findings. It may name what the audit found of it in released libraries (`audited.json`).
While the chapters are read, their sections, figures and boxes are noted; once all are read, the links are made, and a section, figure, control,
value, box or library's loss that doesn't exist is a warning. A row whose chapter isn't in the book at hand (one page built alone) has no links.

The answers come with their questions, as native radio buttons that a script obeys. Without scripts the whole table is there and the form is hidden.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .noted import Noted, handed

LOGGER = logging.getLogger(__name__)
COLUMNS = {"answers": ("When", "Take", "Go there"), "symptoms": ("What you see", "Why", "Go there")}
CAPTIONS = {"answers": "The answers.", "symptoms": "What one sees, and where it comes from."}


class chooser(nodes.General, nodes.Element):
    """Where a table goes."""


class Figure(NamedTuple):
    """A figure with controls: its id in a page's address, and the texts of each control's settings."""

    address: str
    settings: dict[str, list[str]]


class Page(NamedTuple):
    """What a chapter offers to link to: sections by id with their titles, figures by name, and the boxes of claims and findings by id."""

    sections: dict[str, str]
    figures: dict[str, Figure]
    boxes: dict[str, str]


class ChooserDirective(SphinxDirective):
    """A place for a table, filled once every chapter is read."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The place, with the data."""
        if self.arguments[0] not in COLUMNS:
            raise self.error(f"A chooser is of {' or '.join(COLUMNS)}; found {self.arguments[0]!r}.")
        _, path = self.env.relfn2path("chooser.yml")
        self.env.note_dependency(path)
        return [chooser(kind=self.arguments[0], data=yaml.safe_load(Path(path).read_text(encoding="utf-8")))]


def figures(doctree: nodes.document) -> dict[str, Figure]:
    """The figures with controls on a page, by the name that captions refer to."""
    found = {}
    for figure in doctree.findall(nodes.figure):
        for data in handed(figure):
            if "figure" in data:
                found |= {name: Figure(data["figure"], data["settings"]) for name in figure["ids"] + figure["names"]}
    return found


class Targets(Noted):
    """What each page offers to link to."""

    key, place = "chooser", chooser

    def note(self, app: Sphinx, doctree: nodes.document) -> Page:
        """Its sections and figures; an address that two figures share is a warning, since it would open the first of them alone."""
        titled = [(section, section.next_node(nodes.title)) for section in doctree.findall(nodes.section)]
        sections = {key: title.astext() for section, title in titled if title is not None for key in section["ids"]}
        addresses = Counter(data["figure"] for data in handed(doctree) if "figure" in data)
        for address, count in addresses.items():
            if count > 1:
                LOGGER.warning("%d figures have the address %r: give each of them a key of its own", count, address, location=app.env.docname)
        boxes = {data[kind]: kind for data in handed(doctree) for kind in ("claim", "finding") if kind in data}
        return Page(sections, figures(doctree), boxes)


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Fill the tables of a page."""
    for place in list(doctree.findall(chooser)):
        place.replace_self(nodes.raw("", table(app, docname, place["kind"], place["data"]), format="html"))


def table(app: Sphinx, docname: str, kind: str, data: dict[str, Any]) -> str:
    """The questions, if any, and the table."""
    rows = "".join(row(app, docname, kind, entry) for entry in data[kind])
    heads = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in COLUMNS[kind])
    form = questions(data["questions"]) if kind == "answers" else ""
    return (
        f'<div class="chooser" id="chooser-{kind}">{form}<table class="chooser-table" role="table"><caption>{CAPTIONS[kind]}</caption>'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead><tbody role="rowgroup">{rows}</tbody></table></div>'
    )


def questions(asked: dict[str, Any]) -> str:
    """A fieldset of radio buttons for each question, hidden until a script is there to obey them."""
    fields = []
    for name, question in asked.items():
        options = {**question["options"], "": "Show me all"}
        buttons = "".join(
            f'<label><input type="radio" name="{name}" value="{value}" autocomplete="off"{" checked" * (position == 0)}>{html.escape(text)}</label>'
            for position, (value, text) in enumerate(options.items())
        )
        fields.append(f"<fieldset><legend>{say(question['ask'])}</legend>{buttons}</fieldset>")
    return f'<form class="chooser-questions" hidden>{"".join(fields)}<p class="chooser-shown" aria-live="polite"></p></form>'


def say(text: str) -> str:
    """A sentence of the data as the page shows its own: escaped, with a typographer's apostrophe."""
    return html.escape(text.replace("'", "’"))


def row(app: Sphinx, docname: str, kind: str, entry: dict[str, Any]) -> str:
    """One answer, or one symptom."""
    code = f'<pre class="chooser-code"><code>{html.escape(entry["code"])}</code></pre>'
    if kind == "answers":
        head, text = entry["when"], f"<b>{say(entry['take'])}.</b> {say(entry['why'])}"
        fits = f' data-need="{" ".join(entry["need"])}" data-trouble="{" ".join(entry["trouble"])}" data-take="{say(entry["take"])}"'
    else:
        head, text, fits = entry["see"], say(entry["cause"]), ""
    cells = "".join(f'<td role="cell">{cell}</td>' for cell in (f"<p>{text}</p>{code}", links(app, docname, entry)))
    return f'<tr role="row"{fits}><th scope="row" role="rowheader">{say(head)}</th>{cells}</tr>'


def links(app: Sphinx, docname: str, entry: dict[str, Any]) -> str:
    """The proof, the figure at its setting, the boxes, and what released libraries do."""
    place, section = entry["proof"].split("#")
    page = f"chapters/{place}" if f"chapters/{place}" in Targets.pages(app.env) else place
    offered = Targets.pages(app.env).get(page)
    if offered is None:
        LOGGER.warning("the chooser's %s is in no page of this book", entry["proof"], location=docname)
        return html.escape(place)
    for complaint in complaints(offered, section, entry):
        LOGGER.warning("%s, %s", page, complaint, location=docname)
    address = app.builder.get_relative_uri(docname, page)
    parts = {"proof": f'<a href="{address}#{section}">{html.escape(offered.sections.get(section, section))}</a>'}
    if figure := offered.figures.get(entry.get("figure", "")):
        parts["figure"] = f'<a href="{address}#{address_of(figure, entry["state"])}">The figure, set to show it</a>'
    boxes = [f'<a href="{address}#{offered.boxes[key]}-{key}">{key}</a>' for key in entry.get("boxes", ()) if key in offered.boxes]
    if boxes:
        parts["boxes"] = f"measured: {', '.join(boxes)}"
    parts["chapter"] = html.escape(app.env.titles[page].astext())
    if entry.get("audited"):
        parts["audited"] = f"in released libraries: {libraries(app, docname, entry['audited'])}"
    return "".join(f'<p class="chooser-{name}">{text}</p>' for name, text in parts.items())


def libraries(app: Sphinx, docname: str, names: list[str]) -> str:
    """Links to the audit's rows, each named by library, loss and finding."""
    _, path = app.env.relfn2path("audited.json", docname)
    known = {f"{row['library']} {row['loss']} {row['finding']}": row for row in json.loads(Path(path).read_text(encoding="utf-8"))["rows"]}
    address = app.builder.get_relative_uri(docname, str(PurePosixPath(docname).with_name("audit")))
    found = []
    for name in names:
        if row := known.get(name):
            found.append(f'<a href="{address}#{row["id"]}">{html.escape(row["library"].replace("_", "-"))} {html.escape(row["loss"])}</a>')
        else:
            LOGGER.warning("the audit has no row %r; there are %s", name, ", ".join(known), location=docname)
    return ", ".join(found)


def address_of(figure: Figure, state: dict[str, str]) -> str:
    """What explorer.js writes into a page's address: id.control=setting, one pair a control."""
    return "&amp;".join(f"{figure.address}.{quote(name, safe='')}={quote(text, safe='')}" for name, text in state.items())


def complaints(page: Page, section: str, entry: dict[str, Any]) -> list[str]:
    """What a row names and the page hasn't."""
    missing = [] if section in page.sections else [f"no section {section!r}; there are {', '.join(page.sections)}"]
    missing += [f"no box {key!r}; there are {', '.join(page.boxes)}" for key in entry.get("boxes", ()) if key not in page.boxes]
    if "figure" not in entry:
        shown = entry.get("boxes") or entry.get("audited")
        return missing if shown else [*missing, "a row without a figure names boxes, or rows of the audit, that show it"]
    figure = page.figures.get(entry["figure"])
    if figure is None:
        return [*missing, f"no figure {entry['figure']!r} with controls; there are {', '.join(page.figures)}"]
    if set(entry["state"]) != set(figure.settings):
        missing.append(f"figure {entry['figure']!r} has the controls {', '.join(figure.settings)}; found {', '.join(entry['state'])}")
    for name, text in entry["state"].items():
        if text not in figure.settings.get(name, [text]):
            missing.append(f"{name} of {entry['figure']!r} is one of {figure.settings[name]}; found {text!r}")
    return missing


def skip(self: nodes.NodeVisitor, node: chooser) -> None:
    """Outside HTML there is no table."""
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the directive and the steps."""
    app.add_node(chooser, html=(skip, None), latex=(skip, None), text=(skip, None), man=(skip, None), texinfo=(skip, None))
    app.add_directive("chooser", ChooserDirective)
    app.add_env_collector(Targets)
    app.connect("doctree-resolved", resolve)
