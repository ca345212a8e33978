"""What the benchmarks measured: the rows that they wrote, kinds of machine side by side, as tables that turn into cards on a narrow screen.

Chapter: performance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossbook.book.benchmarks import _tables
from lossbook.book.benchmarks._tables import Line
from lossbook.book.benchmarks._tables import digits as digits

__all__ = ["Results", "digits", "read"]


@dataclass(frozen=True)
class Results:
    """What the benchmarks wrote last.

    Attributes:
        scripts: By the name of a script: when and on what it ran, and its lines. A line compares, says how large something is, or how a time grows.
        elsewhere: The same of other kinds of machine: a script's name, and what it wrote there.
    """

    scripts: dict[str, dict[str, Any]]
    elsewhere: tuple[tuple[str, dict[str, Any]], ...] = ()

    def lines(self, kind: str, *names: str, works: Sequence[str] = ()) -> list[Line]:
        """The lines of one kind that the named scripts wrote; of all scripts, where none is named.

        Each has one key more, `on`: the same line on every kind of machine. One that did not note its instructions is left out where another did.

        Args:
            kind: "comparison", "slope" or "budget".
            names: Scripts; one that has written nothing is passed over.
            works: What the lines are about, or how that begins, in this order; all, where nothing is named.
        """
        chosen = [name for name in names or self.scripts if name in self.scripts]
        found = [{**line, "on": self._on(name, line)} for name in chosen for line in self.scripts[name]["lines"] if line["kind"] == kind]
        return [line for start in works for line in found if line["work"].startswith(start)] if works else found

    def _on(self, name: str, line: Line) -> dict[str, Line]:
        """A script's line on every kind of machine, by the machine's name in a table."""
        runs = [self.scripts[name], *(found for other, found in self.elsewhere if other == name)]
        same = {key: line.get(key) for key in ("kind", "work", "peer", "axis", "unit")}
        there = {_tables.machine(run["machine"]): other for run in runs for other in run["lines"] if {key: other.get(key) for key in same} == same}
        return {place: there[place] for place in sorted(there) if _tables.UNKNOWN not in place} or there

    def row(self, work: str, peer: str) -> Line:
        """The comparison of one work with one peer, as `lines` has it.

        Args:
            work: As in a line.
            peer: As in a line.

        Raises:
            ValueError: no such row.
        """
        for line in self.lines("comparison", works=[work]):
            if (line["work"], line["peer"]) == (work, peer):
                return line
        raise ValueError(f"`work` and `peer` should be those of a row; found {work!r} and {peer!r}.")

    def ratios(self, work: str, peer: str) -> list[float]:
        """What the peer needs over what lossbook needs, on each kind of machine.

        Args:
            work: As for `row`.
            peer: As for `row`.
        """
        return [there["ratio"][0] for there in self.row(work, peer)["on"].values()]

    def provenance(self) -> str:
        """When, on what and with which versions, in sentences; one for each day and machine."""
        return "\n\n".join(self._provenance())

    def _provenance(self) -> Iterator[str]:
        places: dict[tuple[str, str], list[str]] = {}
        versions: dict[str, str] = {}
        for name, found in (*self.scripts.items(), *self.elsewhere):
            places.setdefault((found["date"], found["machine"]), []).append(name)
        for found in self.scripts.values():
            versions |= found["versions"]
        yield from (f"{', '.join(names)}: {date}, {machine}." for (date, machine), names in places.items())
        yield "Versions: " + ", ".join(f"{package} {version}" for package, version in sorted(versions.items())) + "."

    def compared(self, caption: str, *names: str, works: Sequence[str] = ()) -> Any:
        """A table of what the named scripts compared, with a column for each kind of machine.

        Args:
            caption: Of the table.
            names: As for `lines`.
            works: As for `lines`.
        """
        return _tables.table(caption, _tables.COMPARISON, self.lines("comparison", *names, works=works))

    def summary(self, caption: str, rows: Sequence[tuple[str, str]]) -> Any:
        """A table of a few comparisons, with times and ratios only.

        Args:
            caption: Of the table.
            rows: Each a work and its peer.
        """
        return _tables.table(caption, _tables.SUMMARY, [self.row(*row) for row in rows])

    def growth(self, caption: str, *names: str) -> Any:
        """A table of how times grow.

        Args:
            caption: Of the table.
            names: As for `lines`.
        """
        return _tables.table(caption, _tables.SLOPE, self.lines("slope", *names))

    def sizes(self, caption: str, *names: str) -> Any:
        """A table of bytes and seconds that nothing is compared with.

        Args:
            caption: Of the table.
            names: As for `lines`.
        """
        return _tables.table(caption, _tables.BUDGET, self.lines("budget", *names))


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
        ...     _ = Path(folder, "sets.json").write_text('{"machine": "mine", "lines": [{"kind": "budget", "work": "a page"}]}')
        ...     read(folder).lines("budget")[0]["work"]
        'a page'
    """
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise FileNotFoundError(f"`folder` should have the results of benchmarks, *.json; found none in {str(folder)!r}.")
    other = sorted(Path(folder).glob("*/*.json"))
    return Results(
        {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths},
        tuple((path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in other),
    )
