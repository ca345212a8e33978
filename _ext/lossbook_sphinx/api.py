"""The package's public names on one page: Sphinx's autodoc and napoleon read the docstrings, autosummary writes the table, linkcode the links.

```{api}
```

Names in backticks that are public link to their own entry; "Chapter: boosting." in a docstring becomes a link to the chapter. Every name is in
`objects.inv`, so that other projects can link to it. Links to the source are there where `LOSSBOOK_REPOSITORY_URL` says where that is.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache, partial
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.config import Config as Settings
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.docutils import SphinxDirective

from .docstrings import rst

SETTINGS = {
    "add_module_names": False,
    "autodoc_inherit_docstrings": False,
    "autodoc_member_order": "bysource",
    "autodoc_typehints_format": "short",
    "autosummary_generate": False,
    "toc_object_entries_show_parents": "hide",
}
GOOGLE = Config(napoleon_use_param=False, napoleon_custom_sections=[("Attributes", "params_style"), ("Call with", "params_style")])
ELSEWHERE = [  # types in signatures whose addresses this book does not know: of other packages, private, and named as a string
    ("py:class", r"(torch|numpy|matplotlib|ipywidgets|collections|typing|pathlib|types)\..*"),
    ("py:class", r"lossbook(\.\w+)*\._.*"),
    ("py:class", r"[A-Z]\w*"),
]
OPTIONS = {"autoclass": ["    :members:", "    :special-members: __call__"], "autodata": ["    :no-value:"]}


def modules() -> dict[str, ModuleType]:
    """The package's public modules by name; those that only the book needs come last."""
    import lossbook

    return {name: import_module(f"lossbook.{name}") for name in sorted(lossbook._MODULES, key=lambda name: (name.startswith("book"), name))}


@cache
def full_names() -> dict[str, str]:
    """From a name as docstrings write it to its full one; names that two modules have need their module."""
    bare: dict[str, list[str]] = {}
    found = {}
    for module, thing in modules().items():
        found[f"lossbook.{module}"] = f"lossbook.{module}"
        for name in thing.__all__:
            full = f"lossbook.{module}.{name}"
            found |= {f"{module}.{name}": full, f"{module.removeprefix('book.')}.{name}": full, full: full}
            bare.setdefault(name, []).append(full)
    return {name: full[0] for name, full in bare.items() if len(full) == 1 and name not in modules()} | found


def documenter(thing: Any) -> str:
    """What autodoc calls such a thing; what can be called and has no name of its own is a constant, as a loss of the margin is."""
    return "autoclass" if inspect.isclass(thing) else "autofunction" if inspect.isroutine(thing) else "autodata"


class ApiDirective(SphinxDirective):
    """The package, and all of its public modules or those named in the argument."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """A table of the modules, and a section for each."""
        chosen = self.arguments[0].split() if self.arguments else list(modules())
        table = [".. autosummary::", "    :nosignatures:", "", *(f"    lossbook.{name}" for name in chosen)]
        return [*self.parsed(table), *([] if self.arguments else [self.package()]), *map(self.module, chosen)]

    def package(self) -> nodes.section:
        """What `lossbook` itself offers beside its modules."""
        import lossbook

        names = [name for name in lossbook.__all__ if name not in modules()]
        return self.section("lossbook", [f".. {documenter(getattr(lossbook, name))}:: lossbook.{name}" for name in names])

    def module(self, name: str) -> nodes.section:
        """A module: what it says of itself, then its constants in a line each, then the rest."""
        module, entries = f"lossbook.{name}", list[str]()
        names = (key for key in modules()[name].__all__ if not inspect.ismodule(getattr(modules()[name], key)))
        for key in sorted(names, key=lambda key: documenter(getattr(modules()[name], key)) != "autodata"):
            kind = documenter(getattr(modules()[name], key))
            entries += [f".. {kind}:: {module}.{key}", *OPTIONS.get(kind, []), ""]
        return self.section(module, [f".. automodule:: {module}", "", *entries])

    def section(self, title: str, lines: list[str]) -> nodes.section:
        """A section of generated reStructuredText."""
        anchor = title.replace("lossbook", "api").replace(".", "-") if "." in title else "api-lossbook"  # "api" is the page itself
        return nodes.section("", nodes.title("", title), *self.parsed(lines), ids=[anchor], classes=["api-module"])

    def parsed(self, lines: list[str]) -> list[nodes.Node]:
        """The nodes of some reStructuredText."""
        node = nodes.Element()
        self.state.nested_parse(StringList(["```{eval-rst}", *lines, "```"]), 0, node)
        return node.children


def read(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Turn a docstring into reStructuredText."""
    pages = {PurePosixPath(page).name: page for page in app.env.found_docs}

    def code(text: str) -> str:
        return f":py:obj:`{text} <{full_names()[text]}>`" if text in full_names() else f"``{text}``"

    def chapter(stem: str) -> str:
        return f":doc:`/{pages[stem]}`" if stem in pages else stem

    text = described(thing) if what == "data" else "\n".join(lines)
    if what == "function" and name.count(".") == 1:  # the package's own name for a function that its module documents
        text = f"{lines[0]}\n\nIn full: `{full_names()[name.partition('.')[2]]}`."
    lines[:] = [*GoogleDocstring(rst(text, code, chapter), GOOGLE, app, "object", name, thing).lines(), ""]


def described(value: Any) -> str:
    """A constant in a line."""
    from lossbook.book.atlas import latex

    if hasattr(value, "formula"):
        return f"The loss ${latex(value.formula)}$. {value.paper.rstrip('.')}."
    if hasattr(value, "keys"):
        return f"A mapping with the keys {', '.join(f'`{key}`' for key in value)}."
    return f"`{value!r}`"


def skip(app: Sphinx, what: str, name: str, thing: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out what NamedTuple says of its fields."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def place(module: str, name: str) -> tuple[Path, tuple[int, int] | None]:
    """The file in which a name is written, and its lines there."""
    thing: Any = import_module(module)
    path = Path(thing.__file__)
    for part in name.split("."):
        thing = getattr(thing, part, None)
    thing = inspect.unwrap(getattr(thing, "fget", None) or thing)  # a property's function
    try:
        lines, first = inspect.getsourcelines(thing)
        return Path(inspect.getsourcefile(thing) or path), (first, first + len(lines) - 1)
    except TypeError:  # a constant, which knows nothing of its place
        return path, next((span for key, span in assignments(path) if key == name), None)


def assignments(path: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """The names that a module assigns to, with their lines."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        yield from ((target.id, (node.lineno, node.end_lineno or node.lineno)) for target in targets if isinstance(target, ast.Name))


def source(repository: str, branch: str, domain: str, info: dict[str, str]) -> str | None:
    """The address of a name's lines in the repository; None for what isn't there."""
    import lossbook

    if domain != "py" or not info["fullname"] or not info["module"].startswith("lossbook"):
        return None
    path, span = place(info["module"], info["fullname"])
    root = Path(lossbook.__file__).parent.parent
    if not path.is_relative_to(root):
        return None
    lines = f"#L{span[0]}-L{span[1]}" if span else ""
    return f"{repository}/blob/{branch}/{path.relative_to(root).as_posix()}{lines}"


def configure(app: Sphinx, config: Settings) -> None:
    """Set what Sphinx's own extensions ask for."""
    for name, value in SETTINGS.items():
        setattr(config, name, value)
    config.nitpick_ignore_regex = [*config.nitpick_ignore_regex, *ELSEWHERE]
    options = config.html_theme_options
    if "repository_url" in options:
        config.linkcode_resolve = partial(source, options["repository_url"], options["repository_branch"])
        app.setup_extension("sphinx.ext.linkcode")


def setup(app: Sphinx) -> None:
    """Register the directive and the steps."""
    for extension in ("autodoc", "autosummary"):
        app.setup_extension(f"sphinx.ext.{extension}")
    app.add_directive("api", ApiDirective)
    app.connect("config-inited", configure, priority=600)  # after the address is read
    app.connect("autodoc-process-docstring", read)
    app.connect("autodoc-skip-member", skip)
