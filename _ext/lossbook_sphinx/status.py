"""The build's own account: how long each page's code ran, in how much memory, when and on what; and the versions that ran it.

```{build-status}
```

The numbers are those that the cache of executed pages keeps. No name and no path of a machine is shown, only its kind and its number of CPUs.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from docutils import nodes
from jupyter_cache import get_cache
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

PACKAGES = ("lossbook", "torch", "numpy", "scipy", "scikit-learn", "gymnasium", "matplotlib", "ipywidgets", "jupyter-book", "myst-nb", "Sphinx")
MARK = "lossbook-build-status"


class build_status(nodes.General, nodes.Element):
    """Where the account goes."""


class BuildStatusDirective(SphinxDirective):
    """A place for the account, filled when the pages are written."""

    def run(self) -> list[nodes.Node]:
        """The place, noted on the page."""
        self.env.metadata[self.env.docname][MARK] = "yes"
        return [build_status()]


def machine() -> str:
    """What a page's code ran on."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"


def rewrite(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """When anything was read anew, the account is written anew."""
    return [name for name, facts in env.metadata.items() if MARK in facts]


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Write the account."""
    for place in list(doctree.findall(build_status)):
        runs = executed(app)
        place.replace_self([nodes.paragraph("", summary(app, runs)), pages(app, docname, runs), versions()])


def executed(app: Sphinx) -> dict[str, Any]:
    """By page, the newest record of the cache."""
    folder = Path(app.config.nb_execution_cache_path or "")
    if not folder.is_dir():
        return {}
    newest = {record.uri: record for record in sorted(get_cache(str(folder)).list_cache_records(), key=lambda record: record.created)}
    ends = {name: f"/{Path(app.env.doc2path(name)).relative_to(app.srcdir).as_posix()}" for name in app.env.found_docs}
    return {name: record for name, end in ends.items() for uri, record in newest.items() if uri.endswith(end)}


def commit(root: Path) -> str:
    """The state of the sources, where git knows it."""
    try:
        run = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return f" from commit {run.stdout.strip()}" if run.returncode == 0 else ""


def summary(app: Sphinx, runs: dict[str, Any]) -> str:
    """The whole in two sentences."""
    day = time.strftime("%-d %B %Y", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    seconds = sum(record.data.get("cpu_seconds", record.data["execution_seconds"]) for record in runs.values())
    written = f"Written on {day}{commit(Path(app.srcdir))}, on {machine()}. "
    return written + f"The code of {len(runs)} pages took {seconds:.0f} seconds of processor time."


def pages(app: Sphinx, docname: str, runs: dict[str, Any]) -> nodes.table:
    """A row for each page that has code, in the order of the contents; what it ran on only where that is not one and the same machine."""
    rows: list[list[nodes.Node | str]] = []
    several = {record.data.get("machine") for record in runs.values()} != {machine()}
    for name in sorted(runs, key=order(app.env)):
        data = runs[name].data
        title = nodes.reference("", app.env.titles[name].astext(), internal=True, refuri=app.builder.get_relative_uri(docname, name))
        memory = f"{data['peak_bytes'] / 1e6:.0f}" if "peak_bytes" in data else ""
        seconds = f"{data['cpu_seconds']:.1f}" if "cpu_seconds" in data else ""
        rows.append([title, seconds, f"{data['execution_seconds']:.1f}", memory, *([data.get("machine", "")] if several else [])])
    return table(["Page", "Processor (s)", "Clock (s)", "Memory (MB)", *(["Ran on"] if several else [])], rows)


def order(env: BuildEnvironment) -> Any:
    """The place of a page in the contents."""
    places = [env.config.root_doc, *(name for included in env.toctree_includes.values() for name in included)]
    return lambda name: (places.index(name) if name in places else len(places), name)


def versions() -> nodes.table:
    """The packages that the numbers depend on."""
    rows: list[list[nodes.Node | str]] = [["Python", platform.python_version()]]
    for name in PACKAGES:
        try:
            rows.append([name, version(name)])
        except PackageNotFoundError:  # a package that this copy is built without
            rows.append([name, "not installed"])
    return table(["Package", "Version"], rows)


def table(heads: list[str], rows: list[list[nodes.Node | str]]) -> nodes.table:
    """A plain table."""

    def line(cells: list[nodes.Node | str]) -> nodes.row:
        entries = (nodes.paragraph("", "", cell if isinstance(cell, nodes.Node) else nodes.Text(cell)) for cell in cells)
        return nodes.row("", *(nodes.entry("", entry) for entry in entries))

    columns = [nodes.colspec(colwidth=1) for _ in heads]
    group = nodes.tgroup("", *columns, nodes.thead("", line(list(heads))), nodes.tbody("", *map(line, rows)), cols=len(heads))
    return nodes.table("", group, classes=["build-status"])


def setup(app: Sphinx) -> None:
    """Register the directive and the steps."""
    app.add_node(build_status)
    app.add_directive("build-status", BuildStatusDirective)
    app.connect("env-updated", rewrite)
    app.connect("doctree-resolved", resolve)
