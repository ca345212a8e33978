"""The package's public names on one page, from their docstrings, each with the chapters that explain it.

```{api}
```

Names in backticks that are public link to their own entry; "Chapter: boosting." in a docstring becomes a link to the chapter.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from .docstrings import Block, Section, parse

CODE = re.compile(r"(`[^`]+`|\bChapters?: [\w, -]+?\.)")
LONG = 78  # characters of a signature that stay on one line


class Annotation:
    """An annotation that is shown as it is written."""

    def __init__(self, text: object) -> None:
        text = getattr(text, "__forward_arg__", text)  # as a NamedTuple has them
        self.text = text if isinstance(text, str) else inspect.formatannotation(text)

    def __repr__(self) -> str:
        return self.text


def signature(name: str, thing: Any, *, longest: float = LONG) -> str:
    """How a function or class is called, one parameter a line where that is longer than `longest`."""
    found = inspect.signature(thing)
    parameters = [p.replace(annotation=Annotation(p.annotation)) if p.annotation is not p.empty else p for p in found.parameters.values()]
    returns = "" if found.return_annotation is found.empty or inspect.isclass(thing) else f" -> {Annotation(found.return_annotation)}"
    whole = name + str(found.replace(parameters=parameters, return_annotation=inspect.Signature.empty)) + returns
    if len(whole) <= longest:
        return whole
    pieces: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in pieces and not any(piece.startswith("*") for piece in pieces):
            pieces.append("*")
        pieces.append(str(parameter))
    return f"{name}(\n" + "".join(f"    {piece},\n" for piece in pieces) + f"){returns}"


def public_names(module: ModuleType) -> list[str]:
    """What a module offers, in its own order."""
    return list(module.__all__)


def modules() -> dict[str, ModuleType]:
    """The package's public modules by name."""
    import lossbook

    functions = (path.rpartition(".")[2] for path in lossbook._FUNCTIONS.values())
    return {name: import_module(f"lossbook.{name}") for name in sorted({*lossbook._MODULES, *functions})}


def anchor(module: str, name: str = "") -> str:
    """The id of an entry."""
    return f"api-{module}-{name}" if name else f"api-{module}"


class ApiDirective(SphinxDirective):
    """All public modules, or those named in the argument."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """A section a module."""
        every = modules()
        self.links = dict(self.entries(every))
        chosen = self.arguments[0].split() if self.arguments else list(every)
        return [self.glance(every, chosen), *(self.module(name, every[name]) for name in chosen)]

    def glance(self, every: dict[str, ModuleType], chosen: list[str]) -> nodes.definition_list:
        """The modules in a line each."""
        listing = nodes.definition_list(classes=["api-glance"])
        for name in chosen:
            first = " ".join(parse(every[name].__doc__ or "").blocks[0].text.partition(" Chapter")[0].split())
            term = nodes.term("", "", nodes.reference("", "", nodes.literal("", name), internal=True, refid=anchor(name)))
            listing += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph("", "", *self.inline(first))))
        return listing

    def entries(self, every: dict[str, ModuleType]) -> Iterator[tuple[str, str]]:
        """From a name as docstrings write it to the id of its entry; names that two modules have need their module."""
        bare: dict[str, list[str]] = {}
        for module, thing in every.items():
            yield f"lossbook.{module}", anchor(module)
            for name in public_names(thing):
                yield f"{module}.{name}", anchor(module, name)
                yield f"lossbook.{module}.{name}", anchor(module, name)
                bare.setdefault(name, []).append(anchor(module, name))
        yield from ((name, found[0]) for name, found in bare.items() if len(found) == 1 and name not in every)

    def module(self, name: str, module: ModuleType) -> nodes.section:
        """A module: what it says of itself, then its names."""
        node = nodes.section("", nodes.title("", f"lossbook.{name}"), ids=[anchor(name)])
        node += self.docstring(module.__doc__ or "")
        data = [key for key in public_names(module) if not callable(getattr(module, key)) or not hasattr(getattr(module, key), "__name__")]
        if data:
            node += self.constants(name, module, data)
        node += [self.entry(name, key, getattr(module, key)) for key in public_names(module) if key not in data]
        return node

    def constants(self, module: str, owner: ModuleType, names: list[str]) -> nodes.definition_list:
        """Values that a module offers, in a line each."""
        listing = nodes.definition_list(classes=["api-data"])
        for name in names:
            value = getattr(owner, name)
            term = nodes.term("", "", nodes.literal("", name), ids=[anchor(module, name)])
            listing += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph("", "", *self.inline(described(value)))))
        return listing

    def entry(self, module: str, name: str, thing: Any) -> nodes.section:
        """A function or a class."""
        node = nodes.section("", nodes.title("", name), ids=[anchor(module, name)], classes=["api-entry"])
        node += literal(signature(f"{module}.{name}", thing), "python")
        node += self.docstring(inspect.getdoc(thing) or "")
        if inspect.isclass(thing):
            node += self.methods(thing)
        return node

    def methods(self, kind: type) -> list[nodes.Node]:
        """What a class adds: its public methods and properties that say what they do."""
        listing = nodes.definition_list(classes=["api-methods"])
        for name, member in vars(kind).items():
            function = inspect.unwrap(member.__func__ if isinstance(member, staticmethod | classmethod) else member) if callable(member) else member
            said = inspect.getdoc(member) if not name.startswith("_") or name == "__call__" else None
            if not said or not (inspect.isfunction(function) or isinstance(member, property)):
                continue
            shown = name if isinstance(member, property) else signature(f".{name}".replace(".__call__", ""), function, longest=math.inf)
            term = nodes.term("", "", nodes.literal("", re.sub(r"\(self(, )?", "(", shown)))
            listing += nodes.definition_list_item("", term, nodes.definition("", *self.docstring(said)))
        return [listing] if listing.children else []

    def docstring(self, text: str) -> list[nodes.Node]:
        """Paragraphs and sections."""
        parsed = parse(text)
        found = [self.block(block) for block in parsed.blocks]
        if parsed.sections:
            listing = nodes.definition_list(classes=["api-sections"])
            listing += [self.section(section) for section in parsed.sections]
            found.append(listing)
        return found

    def section(self, section: Section) -> nodes.definition_list_item:
        """Args, Returns, Raises and the others, as a term and what it holds."""
        content: list[nodes.Node] = [self.block(block) for block in section.blocks]
        if section.entries:
            listing = nodes.definition_list(classes=["api-args"])
            for name, text in section.entries:
                term = nodes.term("", "", nodes.literal("", name))
                listing += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph("", "", *self.inline(text))))
            content = [listing]
        return nodes.definition_list_item("", nodes.term("", section.name), nodes.definition("", *content))

    def block(self, block: Block) -> nodes.Node:
        """A paragraph, or code."""
        if block.literal:
            return literal(block.text, "pycon" if block.text.startswith(">>>") else "text")
        return nodes.paragraph("", "", *self.inline(block.text))

    def inline(self, text: str) -> list[nodes.Node]:
        """Text with code, links to other entries and links to chapters."""
        found: list[nodes.Node] = []
        for piece in CODE.split(text):
            if piece.startswith("`"):
                found.append(self.code(piece[1:-1]))
            elif CODE.fullmatch(piece):
                found += self.chapters(piece)
            elif piece:
                found.append(nodes.Text(piece))
        return found

    def code(self, text: str) -> nodes.Node:
        """A name, linked to its entry where it has one."""
        target = self.links.get(text)
        return nodes.reference("", "", nodes.literal("", text), internal=True, refid=target) if target else nodes.literal("", text)

    def chapters(self, text: str) -> list[nodes.Node]:
        """ "Chapters: a, b." with the chapters as links by their titles, where the book has them."""
        pages = {PurePosixPath(page).name: page for page in self.env.found_docs}
        word, _, names = text[:-1].partition(": ")
        found: list[nodes.Node] = [nodes.Text(f"{word}: ")]
        for position, name in enumerate(names.split(", ")):
            found += [nodes.Text(", ")] if position else []
            if name in pages:
                options = {"refdomain": "std", "reftype": "doc", "refexplicit": False, "refwarn": True, "refdoc": self.env.docname}
                found.append(addnodes.pending_xref("", nodes.inline("", name), reftarget=f"/{pages[name]}", **options))
            else:
                found.append(nodes.Text(name))
        return [*found, nodes.Text(".")]


def literal(text: str, language: str) -> nodes.literal_block:
    """A block of code."""
    return nodes.literal_block(text, text, language=language)


def described(value: Any) -> str:
    """A constant in a line."""
    if hasattr(value, "formula"):
        return f"the loss {value.formula}. {value.paper.rstrip('.')}."
    if hasattr(value, "keys"):
        return f"a mapping with the keys {', '.join(f'`{key}`' for key in value)}."
    return f"`{value!r}`"


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("api", ApiDirective)
