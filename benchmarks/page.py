"""What the book's performance page shows: the rows in results/, as tables that turn into cards on a narrow screen, and one figure of all goals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from IPython.display import HTML

from lossbook.book import plots

RESULTS = Path(__file__).parent / "results"
Line = dict[str, Any]


class Column(NamedTuple):
    """A heading, and what a line shows under it, as HTML; empty cells are left out of the cards."""

    name: str
    cell: Callable[[Line], str]


def results() -> dict[str, dict[str, Any]]:
    """What each script wrote last, by its name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def lines(kind: str, *names: str) -> list[Line]:
    """The lines of one kind that the named scripts wrote; of all scripts, where none is named."""
    found = results()
    return [line for name in names or found if name in found for line in found[name]["lines"] if line["kind"] == kind]


def digits(value: float) -> str:
    """Two digits, or the whole number."""
    return f"{value:,.0f}" if abs(value) >= 99.5 else f"{value:.2g}" if abs(value) < 9.95 else f"{value:.0f}"


def amount(value: float, unit: str) -> str:
    """A value in the larger unit where that reads better."""
    quantity, _, rest = unit.partition(" ")
    if quantity == "ms" and value >= 1000:
        value, quantity = value / 1000, "s"
    elif quantity == "ms" and value < 0.1:
        value, quantity = 1000 * value, "µs"
    elif quantity == "bytes" and value >= 1000:
        value, quantity = value / 1000, "KB"
    return " ".join(filter(None, (digits(value), quantity, rest)))


def work(line: Line) -> str:
    note = f'<span class="bench-note">{escape(line["note"])}</span>' if line["note"] else ""
    return f"{escape(line['work'])}{note}"


def faster(line: Line) -> str:
    median, low, high = line["ratio"]
    spread = "" if low == high else f" <small>[{digits(low)}, {digits(high)}]</small>"
    return f"<b>{digits(median)}×</b>{spread}"


def goal(line: Line) -> str:
    if line["goal"] is None:
        return ""
    return f"{line['goal']:g}× {'<span class=bench-reached>reached</span>' if reached(line) else '<span class=bench-short>short</span>'}"


def reached(line: Line) -> bool:
    return bool(line["ratio"][0] >= line["goal"])


def above_floor(line: Line) -> str:
    """Both times in units of the floor; of what lies in the caches the machine can do better than that."""
    if line["floor"] is None:
        return ""
    ours, theirs = (line[side][0] / line["floor"] for side in ("ours", "theirs"))
    return f"{digits(ours)}, peer {digits(theirs)}"


def memory(line: Line) -> str:
    return "" if line["memory"] is None else f"{digits(line['memory'][0])} MB, peer {digits(line['memory'][1])}"


COMPARISON = (
    Column("Work", work),
    Column("Peer", lambda line: f"{escape(line['peer'])}: {amount(line['theirs'][0], line['unit'])}"),
    Column("lossbook", lambda line: amount(line["ours"][0], line["unit"])),
    Column("Ratio", faster),
    Column("Goal", goal),
    Column("Times the floor", above_floor),
    Column("Memory", memory),
)
SLOPE = (
    Column("Work", work),
    Column("Grows with", lambda line: f"{escape(line['axis'])}: {', '.join(f'{size:,}' for size in line['sizes'])}"),
    Column("Time", lambda line: ", ".join(amount(time, "ms") for time in line["times"])),
    Column("Exponent", lambda line: f"<b>{line['slope']:.2f}</b>"),
    Column("Expected", lambda line: f"{line['expected']:g}"),
)
BUDGET = (
    Column("What", work),
    Column("Measured", lambda line: f"<b>{amount(line['measured'], line['unit'])}</b>"),
    Column("Budget", lambda line: "" if line["budget"] is None else f"{line['budget']:g} {within(line)}"),
)


def within(line: Line) -> str:
    return "<span class=bench-reached>kept</span>" if line["measured"] <= line["budget"] else "<span class=bench-short>exceeded</span>"


def table(caption: str, columns: Sequence[Column], rows: Sequence[Line]) -> HTML:
    """A table with a caption; columns that no line fills are left out."""
    columns = [column for column in columns if any(column.cell(row) for row in rows)]
    head = "".join(f'<th scope="col" role="columnheader">{column.name}</th>' for column in columns)
    return HTML(
        f'<table class="bench-table" role="table"><caption>{escape(caption)}</caption><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(table_row(columns, row) for row in rows)}</tbody></table>'
    )


def table_row(columns: Sequence[Column], row: Line) -> str:
    first, *rest = columns
    cells = "".join(
        f'<td role="cell" data-label="{column.name}">{value and f"<span>{value}</span>"}</td>' for column in rest for value in [column.cell(row)]
    )
    return f'<tr role="row"><th scope="row" role="rowheader">{first.cell(row)}</th>{cells}</tr>'


def compared(caption: str, *names: str) -> HTML:
    """What the named scripts compared."""
    return table(caption, COMPARISON, lines("comparison", *names))


def with_goal() -> list[Line]:
    """Every comparison that has a goal, with the name of its script."""
    return [{**line, "script": name} for name, found in results().items() for line in found["lines"] if line["kind"] == "comparison" and line["goal"]]


def shortfalls() -> Iterator[str]:
    """A sentence for each goal that is not reached."""
    for line in with_goal():
        if not reached(line):
            yield f"{line['work']}, beside {line['peer']}: {line['ratio'][0]:.3g}× where {line['goal']:g}× was the goal."


def provenance() -> str:
    """When, on what and with which versions, in sentences; one for each day and machine."""
    places: dict[tuple[str, str], list[str]] = {}
    versions: dict[str, str] = {}
    for name, found in results().items():
        places.setdefault((found["date"], found["machine"]), []).append(name)
        versions |= found["versions"]
    told = [f"{', '.join(names)}: {date}, {machine}." for (date, machine), names in places.items()]
    return "\n\n".join([*told, "Versions: " + ", ".join(f"{package} {version}" for package, version in sorted(versions.items())) + "."])


def figure() -> Any:
    """Every ratio over its goal, on one line a script; right of the vertical line the goal is reached."""
    rows = with_goal()
    scripts = sorted({row["script"] for row in rows}, reverse=True)
    drawing, axes = plots.subplots(height=0.9 + 0.45 * len(scripts))
    for name, color, marker, chosen in (("reached", "blue", "o", True), ("short", "orange", "D", False)):
        shown = [row for row in rows if reached(row) is chosen]
        places = [scripts.index(row["script"]) for row in shown]
        axes.plot(
            [row["ratio"][0] / row["goal"] for row in shown], places, marker, color=plots.COLORS[color], label=name, linestyle="none", alpha=0.8
        )
    axes.axvline(1, color=plots.COLORS["ink"], linewidth=1.5, linestyle="-")
    axes.set_xscale("log")
    ticks = [value for value in (0.1, 0.25, 0.5, 1, 2, 4, 8, 16) if value <= 2 * max(row["ratio"][0] / row["goal"] for row in rows)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(scripts)), scripts)
    axes.set(xlabel="ratio reached / goal", ylim=(-0.6, len(scripts) - 0.4))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return drawing
