"""Who notices that the package is broken? Run where `lossbook` is a copy with a mutation; prints "red" or "green" for each.

    python -m tests.mutant FOLDER test_margins.py::test_values_by_hand C07 chapters/principles/surrogates.md:1

A test, a claim of the ledger, or a chapter up to its n-th cell with an assert. Nothing is drawn: an explorer only draws when it is shown.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import lossbook


class Reports:
    """A plugin of pytest's that notes which tests failed, and which ran."""

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self.ran: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ran.add(report.nodeid)
        if report.failed:
            self.failed.add(report.nodeid)


def tests(names: list[str]) -> dict[str, bool]:
    """Which of them fail."""
    if not names:
        return {}
    reports = Reports()
    pytest.main(["-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in names)], plugins=[reports])
    for name in names:
        assert any(node.startswith(f"tests/{name}") for node in reports.ran), f"{name} did not run"
    return {name: any(node.startswith(f"tests/{name}") for node in reports.failed) for name in names}


def is_red(who: str) -> bool:
    """A claim that does not hold, or a chapter whose assert fails."""
    from lossbook.claims import LEDGER

    try:
        if not who.startswith("chapters/"):
            return not LEDGER[who].measure().holds
        run_chapter(*who.split(":"))
    except Exception as error:
        print(f"{who}: {type(error).__name__}: {error}")
        return True
    return False


def run_chapter(path: str, count: str) -> None:
    """The code of a chapter, cell by cell, up to the cell with its `count`-th assert."""
    import jupytext  # not before pytest has begun: it would warn of modules that it can no longer rewrite

    names: dict[str, object] = {"__name__": "chapter"}
    left = int(count)
    for cell in jupytext.read(path).cells:
        if cell.cell_type == "code" and left:
            exec(compile(cell.source, path, "exec"), names)
            left -= "assert " in cell.source
    assert not left, f"{path} has not so many asserts"


def main(folder: str, *witnesses: str) -> None:
    assert Path(lossbook.__file__).is_relative_to(folder), f"this is not the copy: {lossbook.__file__}"
    found = tests([who for who in witnesses if who.startswith("test_")])
    found |= {who: is_red(who) for who in witnesses if who not in found}
    print(json.dumps({who: "red" if red else "green" for who, red in found.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
