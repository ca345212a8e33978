"""A page that shows data from outside `lossbook/` names the files in its header, as globs from the root; it is made anew when they change.

reads: benchmarks/results/*.json
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def files(root: Path, metadata: Mapping[str, Any]) -> list[Path]:
    """The files that a page's header names."""
    return sorted(path for pattern in metadata.get("reads", "").split() for path in root.glob(pattern))


def digest(root: Path, metadata: Mapping[str, Any]) -> str:
    """A hash of their names and bytes."""
    found = hashlib.sha256()
    for path in files(root, metadata):
        found.update(path.relative_to(root).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def note(app: Sphinx, doctree: nodes.document) -> None:
    """Sphinx reads the page again when one of them changes or goes."""
    for path in files(Path(app.srcdir), app.env.metadata[app.env.docname]):
        app.env.note_dependency(str(path))


def grown(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The pages whose globs match a file that they have not read yet."""
    return [name for name in env.metadata if {str(path) for path in files(Path(app.srcdir), env.metadata[name])} - env.dependencies[name]]


def setup(app: Sphinx) -> None:
    """Register the steps."""
    app.connect("doctree-read", note)
    app.connect("env-get-outdated", grown)
