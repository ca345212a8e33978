"""What other packages call what lossbook has: a section with a table for each package.

```{elsewhere}
```

The data are `chapters/reference/elsewhere.yml`; `tests/book/test_elsewhere.py` runs the calls.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

DATA = Path(__file__).parent.parent.parent / "chapters/reference/elsewhere.yml"
INTRODUCTION = (
    "Each pair of calls gives the same number. The last column says what differs where both are left at their defaults. "
    "The book's tests run them, but for those with a link: there the definition is behind the link."
)


def cell(text: str) -> str:
    """Text in a cell of a table."""
    return text.replace("|", "\\|")


def table(calls: list[dict[str, Any]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = ["| there | here | what differs |", "|---|---|---|"]
    for call in calls:
        link = f" [(definition)]({call['source']})" if "source" in call else ""
        lines.append(f"| `{cell(call['theirs'])}` | `{cell(call['ours'])}` | {cell(call['differs'])}{link} |")
    return lines


class ElsewhereDirective(SphinxDirective):
    """The section."""

    def run(self) -> list[nodes.Node]:
        """A table for each package, under its name."""
        self.env.note_dependency(str(DATA))
        lines = [INTRODUCTION, ""]
        for entry in yaml.safe_load(DATA.read_text(encoding="utf-8")):
            lines += [f"**{entry['package']}**", "", *table(entry["calls"]), ""]
        section = nodes.section("", nodes.title("", "From other packages"), ids=["api-elsewhere"])
        self.state.nested_parse(StringList(lines), 0, section)
        return [section]


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("elsewhere", ElsewhereDirective)
