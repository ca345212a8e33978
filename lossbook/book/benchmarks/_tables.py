"""A line of results as the cells of a table: two digits, a unit that reads well, and a column for each kind of machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import Any, NamedTuple

Line = dict[str, Any]
UNKNOWN = "instructions not recorded"


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


def machine(described: str) -> str:
    """A processor in a few words, from what the harness writes: AVX-512, Intel Xeon."""
    model, _, rest = described.partition(", ")
    instructions = rest.partition(", ")[0] if re.match(r"(?!\d)", rest) else ""  # where none are written the number of cores comes next
    return f"{instructions.replace('AVX512', 'AVX-512') or UNKNOWN}, {re.sub(r'[(](R|TM)[)]| Processor', '', model)}"


class Column(NamedTuple):
    """A heading, and what a line shows under it, as HTML; empty cells are left out of the cards."""

    name: str
    cell: Callable[[Line], str]


class Layout(NamedTuple):
    """The columns before those of the machines, what stands under a machine, the columns after them, and a class of its own in the style sheet."""

    before: tuple[Column, ...]
    there: Callable[[Line], str]
    after: tuple[Column, ...] = ()
    look: str = ""

    def columns(self, rows: Sequence[Line]) -> list[Column]:
        """All of them for these rows, without what no row fills."""
        places = sorted({place for row in rows for place in row["on"]})
        found = [*self.before, *(Column(place, partial(self.on, place=place)) for place in places), *self.after]
        return [column for column in found if any(column.cell(row) for row in rows)]

    def on(self, row: Line, place: str) -> str:
        """What a row shows of one machine."""
        return f'<span class="bench-there">{self.there(row["on"][place])}</span>' if place in row["on"] else ""


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
    """The ratio between its quartiles, and both times."""
    median, low, high = line["ratio"]
    spread = "" if low == high else f" <small>[{digits(low)}, {digits(high)}]</small>"
    ours, theirs = (amount(line[side][0], line["unit"]) for side in ("ours", "theirs"))
    return f"<b>{digits(median)}×</b>{spread}<br>{ours}, peer {theirs}"


def faster_and_lighter(line: Line) -> str:
    """That, and what one call of each adds to memory."""
    memory = "" if line["memory"] is None else "<br>{} MB, peer {} MB".format(*map(digits, line["memory"]))
    return f"{faster(line)}{memory}"


def apart(line: Line) -> str:
    """How far the results are apart, on the machine where they are farthest."""
    found = [abs(there["difference"]) for there in line["on"].values() if there["difference"] is not None]
    return "" if not found else f"{max(found):.0e}" if max(found) else "0"


PEER = Column("Peer", lambda line: re.sub("(?<=[a-z])(?=[A-Z])", "<wbr>", escape(line["peer"])))  # names of classes may break between words
COMPARISON = Layout((Column("Work", work), PEER), faster_and_lighter, (Column("Results apart", apart),))
SUMMARY = Layout((Column("Work", lambda line: escape(line["work"])), PEER), faster, look=" bench-short")
SLOPE = Layout(
    (
        Column("Work", work),
        Column("Grows with", lambda line: f"{escape(line['axis'])}: {', '.join(f'{size:,}' for size in line['sizes'])}"),
        Column("Expected", lambda line: f"{line['expected']:g}"),
    ),
    lambda line: f"<b>{line['slope']:.2f}</b><br>{', '.join(amount(time, 'ms') for time in line['times'])}",
)
BUDGET = Layout((Column("What", work),), lambda line: f"<b>{amount(line['measured'], line['unit'])}</b>")


def table(caption: str, layout: Layout, rows: Sequence[Line]) -> Any:
    """A table with a caption."""
    import IPython.display

    show: Any = IPython.display.HTML  # which is not typed
    columns = layout.columns(rows)
    head = "".join(f'<th scope="col" role="columnheader">{escape(column.name)}</th>' for column in columns)
    return show(
        f'<table class="bench-table{layout.look}" role="table"><caption>{escape(caption)}</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(row_of(columns, row) for row in rows)}</tbody></table>'
    )


def row_of(columns: Sequence[Column], row: Line) -> str:
    first, *rest = columns
    cells = "".join(
        f'<td role="cell" data-label="{escape(column.name)}">{value and f"<span>{value}</span>"}</td>'
        for column in rest
        for value in [column.cell(row)]
    )
    return f'<tr role="row"><th scope="row" role="rowheader">{first.cell(row)}</th>{cells}</tr>'
