"""A line of results as the cells of a table: two digits, a unit that reads well, and whether a goal is reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any, NamedTuple

Line = dict[str, Any]


def digits(value: float) -> str:
    """Two digits, or the whole number.

    Args:
        value: Any number.

    Example:
        >>> digits(0.1234), digits(1234.6)
        ('0.12', '1,235')
    """
    if abs(value) >= 99.5:
        return f"{value:,.0f}"
    return f"{value:.2g}" if abs(value) < 9.95 else f"{value:.0f}"


def reached(line: Line) -> bool:
    """Whether a comparison reaches its goal.

    Args:
        line: A comparison that has a goal.

    Example:
        >>> reached({"ratio": [5.0, 4.6, 5.3], "goal": 4.0})
        True
    """
    return bool(line["ratio"][0] >= line["goal"])


class Column(NamedTuple):
    """A heading, and what a line shows under it, as HTML; empty cells are left out of the cards."""

    name: str
    cell: Callable[[Line], str]


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


def elsewhere(line: Line) -> str:
    """The median of the ratio on other kinds of machine."""
    return ", ".join(f"{digits(ratio)}× on {escape(name)}" for name, ratio in line.get("elsewhere", []))


def goal(line: Line) -> str:
    if line["goal"] is None:
        return ""
    return f"{line['goal']:g}× {'<span class=bench-reached>reached</span>' if reached(line) else '<span class=bench-short>short</span>'}"


def above_floor(line: Line) -> str:
    """Both times in units of the floor; of what lies in the caches the machine can do better than that."""
    if line["floor"] is None:
        return ""
    ours, theirs = (line[side][0] / line["floor"] for side in ("ours", "theirs"))
    return f"{digits(ours)}, peer {digits(theirs)}"


def memory(line: Line) -> str:
    return "" if line["memory"] is None else f"{digits(line['memory'][0])} MB, peer {digits(line['memory'][1])}"


def within(line: Line) -> str:
    if line["budget"] is None:
        return ""
    kept = line["measured"] <= line["budget"]
    return f"{line['budget']:g} {'<span class=bench-reached>kept</span>' if kept else '<span class=bench-short>exceeded</span>'}"


COMPARISON = (
    Column("Work", work),
    Column("Peer", lambda line: f"{escape(line['peer'])}: {amount(line['theirs'][0], line['unit'])}"),
    Column("lossbook", lambda line: amount(line["ours"][0], line["unit"])),
    Column("Ratio", faster),
    Column("Elsewhere", elsewhere),
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
    Column("Budget", within),
)


def table(caption: str, columns: Sequence[Column], rows: Sequence[Line]) -> Any:
    """A table with a caption; columns that no line fills are left out."""
    import IPython.display

    show: Any = IPython.display.HTML  # which is not typed
    columns = [column for column in columns if any(column.cell(row) for row in rows)]
    head = "".join(f'<th scope="col" role="columnheader">{column.name}</th>' for column in columns)
    return show(
        f'<table class="bench-table" role="table"><caption>{escape(caption)}</caption><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(row_of(columns, row) for row in rows)}</tbody></table>'
    )


def row_of(columns: Sequence[Column], row: Line) -> str:
    first, *rest = columns
    cells = "".join(
        f'<td role="cell" data-label="{column.name}">{value and f"<span>{value}</span>"}</td>' for column in rest for value in [column.cell(row)]
    )
    return f'<tr role="row"><th scope="row" role="rowheader">{first.cell(row)}</th>{cells}</tr>'
