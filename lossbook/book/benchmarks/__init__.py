"""What the benchmarks measured: the rows that they wrote, as tables that turn into cards on a narrow screen, and one figure of all goals.

Chapter: performance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossbook.book import plots
from lossbook.book.benchmarks import _tables
from lossbook.book.benchmarks._tables import Line
from lossbook.book.benchmarks._tables import digits as digits
from lossbook.book.benchmarks._tables import reached as reached

__all__ = ["Results", "digits", "reached", "read"]


@dataclass(frozen=True)
class Results:
    """What the benchmarks wrote last.

    Attributes:
        scripts: By the name of a script: when and on what it ran, and its lines. A line compares, bounds a size, or says how a time grows.
        elsewhere: The same of other kinds of machine: a script's name, and what it wrote there.
    """

    scripts: dict[str, dict[str, Any]]
    elsewhere: tuple[tuple[str, dict[str, Any]], ...] = ()

    def lines(self, kind: str, *names: str) -> list[Line]:
        """The lines of one kind that the named scripts wrote; of all scripts, where none is named.

        Args:
            kind: "comparison", "slope" or "budget".
            names: Scripts; one that has written nothing is passed over.
        """
        chosen = [name for name in names or self.scripts if name in self.scripts]
        return [line for name in chosen for line in self.scripts[name]["lines"] if line["kind"] == kind]

    def _compared(self, *names: str) -> list[Line]:
        """The comparisons, each with the ratios of the same one on other kinds of machine, by the processor's name."""
        there: dict[tuple[str, str], list[tuple[str, float]]] = {}
        for _, found in self.elsewhere:
            for line in found["lines"]:
                if line["kind"] == "comparison":
                    there.setdefault((line["work"], line["peer"]), []).append((found["machine"].partition(",")[0], line["ratio"][0]))
        return [{**line, "elsewhere": there.get((line["work"], line["peer"]), [])} for line in self.lines("comparison", *names)]

    def goals(self) -> list[Line]:
        """Every comparison that has a goal, with the name of its script."""
        return [{**line, "script": name} for name in self.scripts for line in self.lines("comparison", name) if line["goal"]]

    def shortfalls(self) -> Iterator[str]:
        """A sentence for each goal that is not reached."""
        for line in self.goals():
            if not reached(line):
                yield f"{line['work']}, beside {line['peer']}: {line['ratio'][0]:.3g}× where {line['goal']:g}× was the goal."

    def provenance(self) -> str:
        """When, on what and with which versions, in sentences; one for each day and machine."""
        places: dict[tuple[str, str], list[str]] = {}
        versions: dict[str, str] = {}
        for name, found in (*self.scripts.items(), *self.elsewhere):
            places.setdefault((found["date"], found["machine"]), []).append(name)
        for found in self.scripts.values():
            versions |= found["versions"]
        told = [f"{', '.join(names)}: {date}, {machine}." for (date, machine), names in places.items()]
        return "\n\n".join([*told, "Versions: " + ", ".join(f"{package} {version}" for package, version in sorted(versions.items())) + "."])

    def compared(self, caption: str, *names: str) -> Any:
        """A table of what the named scripts compared.

        Args:
            caption: Of the table.
            names: As for `lines`.
        """
        return _tables.table(caption, _tables.COMPARISON, self._compared(*names))

    def growth(self, caption: str, *names: str) -> Any:
        """A table of how times grow.

        Args:
            caption: Of the table.
            names: As for `lines`.
        """
        return _tables.table(caption, _tables.SLOPE, self.lines("slope", *names))

    def budgets(self, caption: str, *names: str) -> Any:
        """A table of sizes and seconds beside their budgets.

        Args:
            caption: Of the table.
            names: As for `lines`.
        """
        return _tables.table(caption, _tables.BUDGET, self.lines("budget", *names))

    def figure(self) -> Any:
        """Every ratio over its goal, on one line a script; right of the vertical line the goal is reached."""
        rows = self.goals()
        scripts = sorted({row["script"] for row in rows}, reverse=True)
        figure, axes = plots.subplots(height=0.9 + 0.45 * len(scripts))
        for name, color, marker, chosen in (("reached", "blue", "o", True), ("short", "orange", "D", False)):
            shown = [row for row in rows if reached(row) is chosen]
            ratios, places = [row["ratio"][0] / row["goal"] for row in shown], [scripts.index(row["script"]) for row in shown]
            axes.plot(ratios, places, marker, color=plots.COLORS[color], label=name, linestyle="none", alpha=0.8)
        axes.axvline(1, color=plots.COLORS["ink"], linewidth=1.5, linestyle="-")
        axes.set_xscale("log")
        ticks = [value for value in (0.1, 0.25, 0.5, 1, 2, 4, 8, 16) if value <= 2 * max(row["ratio"][0] / row["goal"] for row in rows)]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_yticks(range(len(scripts)), scripts)
        axes.set(xlabel="ratio reached / goal", ylim=(-0.6, len(scripts) - 0.4))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
        return figure


def read(folder: str | Path) -> Results:
    """The results that lie in a folder.

    Args:
        folder: `benchmarks/results` of a checkout, as seen from where the reader stands: a page stands in its own folder. In folders of its own lies
            what other kinds of machine have written.

    Raises:
        FileNotFoundError: no results there.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "sets.json").write_text('{"lines": [{"kind": "budget", "work": "a page"}]}')
        ...     read(folder).lines("budget")
        [{'kind': 'budget', 'work': 'a page'}]
    """
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise FileNotFoundError(f"`folder` should have the results of benchmarks, *.json; found none in {str(folder)!r}.")
    other = sorted(Path(folder).glob("*/*.json"))
    return Results(
        {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths},
        tuple((path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in other),
    )
