"""The benchmarks' common part: what it computes, what a failing job does, and what the performance page can rely on. No time is tested."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import harness
from benchmarks.harness import Budget, Case, Comparison, Line, Slope, Work
from lossbook.book.benchmarks import Results, digits, reached, read

KINDS = {kind.__name__.lower(): kind for kind in (Comparison, Slope, Budget)}
WRITTEN = sorted(harness.RESULTS.glob("*.json"))


@dataclass(frozen=True)
class Three:
    """A job that measures the number three, or does not."""

    work: str = "three"
    error: Exception | None = None

    def measure(self, seconds: float) -> Iterator[Line]:
        yield Budget(self.work, "KB", 3.00001, 4)
        if self.error:
            raise self.error


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> partial[int]:
    """Runs jobs as a script named bench_three.py would; returns its exit code."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path)

    def script(*jobs: Three, arguments: tuple[str, ...] = ()) -> int:
        monkeypatch.setattr(sys, "argv", ["/somewhere/bench_three.py", "--seconds", "0", *arguments])
        with pytest.raises(SystemExit) as ended:
            harness.main("Three.", jobs)
        return int(ended.value.code)

    return partial(script)


def test_a_whole_run_writes_its_lines(run: partial[int], tmp_path: Path) -> None:
    assert run(Three()) == 0
    found = json.loads((tmp_path / "three.json").read_text())
    assert found["lines"] == [{"kind": "budget", "work": "three", "unit": "KB", "measured": 3.0, "budget": 4, "note": ""}]
    assert found["versions"]["torch"] == torch.__version__.split("+")[0]


def test_what_another_kind_of_machine_wrote_is_kept(run: partial[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ["Fast(R) Processor, AVX2, 2 cores", "Slow, 1 cores", "Fast(R) Processor, AVX2, 2 cores"]
    for kind in kinds:
        monkeypatch.setattr(harness, "machine", lambda kind=kind: kind)
        assert run(Three()) == 0
    written = {str(path.relative_to(tmp_path)): json.loads(path.read_text())["machine"] for path in tmp_path.rglob("*.json")}
    assert written == {"three.json": kinds[0], "slow-1-cores/three.json": kinds[1]}
    found = read(tmp_path)
    assert [(name, there["machine"]) for name, there in found.elsewhere] == [("three", kinds[1])]
    assert kinds[1] in found.provenance()


def test_a_failing_job_stops_no_other_and_keeps_the_old_results(run: partial[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Three("one", ValueError("ouch")), Three("two")) == 1
    printed = capsys.readouterr().out
    assert "one: FAILED" in printed
    assert "ValueError: ouch" in printed
    assert "two" in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("jobs", "arguments"), [([Three("one", ModuleNotFoundError("No module named 'plotly'"))], ()), ([Three()], ("--only", "th"))]
)
def test_half_a_run_writes_nothing(run: partial[int], tmp_path: Path, jobs: list[Three], arguments: tuple[str, ...]) -> None:
    assert run(*jobs, arguments=arguments) == 0
    assert not list(tmp_path.iterdir())


def test_results_that_differ_are_not_timed() -> None:
    wrong = Case("sum", "numpy", lambda: Work(lambda: 1.0, lambda: 1.1))
    with pytest.raises(ValueError, match="apart"):
        list(wrong.measure(0))


def test_a_case_compares_and_bounds() -> None:
    numbers = np.ones(1000)
    case = Case("sum", "numpy", lambda: Work(lambda: float(numbers.sum()), lambda: sum(numbers.tolist()), touched=8000), goal=2.0)
    (line,) = case.measure(0)
    assert line.difference == 0
    assert line.ratio.low <= line.ratio.median <= line.ratio.high
    assert line.floor == pytest.approx(8000 / harness.copy_rate())


def test_the_order_of_the_calls_turns_round() -> None:
    calls: list[str] = []
    times = harness.in_turn([lambda: calls.append("a"), lambda: calls.append("b")], 0, at_least=4)
    assert "".join(calls) == "abbaabba"
    assert [len(column) for column in times] == [4, 4]


def test_apart_is_relative_to_the_largest_of_each_part() -> None:
    assert harness.relative_difference((torch.tensor([10.0, 1.0]), 2.0), (torch.tensor([10.0, 2.0]), 2.0)) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="shapes"):
        harness.relative_difference(torch.zeros(3), torch.zeros(3, 1))


def test_a_spread_is_a_median_between_quartiles() -> None:
    assert harness.spread([5.0, 1.0, 2.0, 3.0, 4.0]) == (3.0, 2.0, 4.0)


@pytest.mark.parametrize("path", [*WRITTEN, *harness.RESULTS.glob("*/*.json")], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_written_results_are_whole_and_tell_no_machine_apart(path: Path) -> None:
    content = json.loads(path.read_text())
    assert (harness.RESULTS.parent / f"bench_{path.stem}.py").is_file(), "no script writes this"
    assert {"date", "machine", "versions", "copy_gb_per_s", "lines"} == set(content)
    assert {"lossbook", "torch", "numpy", "python"} <= set(content["versions"])
    assert content["lines"]
    for line in content["lines"]:
        assert {field.name for field in fields(KINDS[line["kind"]])} == set(line) - {"kind"}
        assert "/home" not in str(line)
        assert "/work" not in str(line)


# --- the performance page ---------------------------------------------------------------------------------------------------------------------------


def compared(ratio: float, goal: float | None) -> dict[str, Any]:
    line = Comparison("a <work>", "peer", "ms", harness.Spread(2.0, 1, 3), harness.Spread(3e3, 1, 3), harness.Spread(ratio, 1, 9), goal)
    return {"kind": "comparison", **harness.rounded(vars(line))}


THREE = Results({"sets": {"lines": [compared(5.0, 4.0), compared(3.0, 4.0), compared(1.0, None)]}})


def test_the_page_says_what_is_reached_and_what_is_short() -> None:
    assert [reached(line) for line in THREE.goals()] == [True, False]
    assert list(THREE.shortfalls()) == ["a <work>, beside peer: 3× where 4× was the goal."]
    html = THREE.compared("Losses.", "sets", "absent").data
    assert html.count("<tr") == 4
    assert html.count("bench-reached") == html.count("bench-short") == 1
    assert "a &lt;work&gt;" in html
    assert "3 s" in html, "3000 ms read better in seconds"
    assert "Memory" not in html, "no line has any"


def test_a_row_has_its_ratio_on_other_machines() -> None:
    there = {"machine": "A<B, 2 cores", "lines": [{**compared(7.0, 4.0), "peer": "another"}, compared(6.0, 4.0)]}
    html = Results(THREE.scripts, (("sets", there),)).compared("Losses.", "sets").data
    assert html.count("6× on A&lt;B") == 3
    assert "7×" not in html
    assert (
        Results({"a": {**there, "date": "", "versions": {"torch": "2"}}}, (("a", {**there, "date": "", "versions": {"torch": "1"}}),))
        .provenance()
        .endswith("torch 2.")
    )
    assert "Elsewhere" not in THREE.compared("Losses.", "sets").data


def test_the_figure_has_a_dot_for_every_goal() -> None:
    met, short, _ = THREE.figure().axes[0].lines
    assert met.get_xdata().tolist() == [1.25]
    assert short.get_xdata().tolist() == [0.75]


def test_growth_and_budgets_have_tables_of_their_own() -> None:
    slope = {"kind": "slope", **harness.rounded(vars(Slope("sorting", "rows", [10, 1000], [0.05, 2.0], 0.801, 1.0)))}
    budgets = [{"kind": "budget", **vars(Budget("page", "bytes", 2500.0, budget))} for budget in (3000, 2000, None)]
    found = Results({"scaling": {"lines": [slope]}, "book": {"lines": budgets}})
    growth = found.growth("Growth.").data
    assert all(words in growth for words in ("<caption>Growth.", "rows: 10, 1,000", "50 µs, 2 ms", "<b>0.80</b>"))
    kept = found.budgets("Sizes.", "book").data
    assert kept.count("<b>2.5 KB</b>") == 3
    assert kept.count("kept") == kept.count("exceeded") == 1
    assert found.lines("budget", "scaling") == []


def test_what_was_measured_when_is_told_once_a_day_and_machine() -> None:
    days = {"a": ("Monday", "1"), "b": ("Tuesday", "2"), "c": ("Monday", "2")}
    found = Results({name: {"date": day, "machine": "mine", "versions": {"torch": version}, "lines": []} for name, (day, version) in days.items()})
    assert found.provenance() == "a, c: Monday, mine.\n\nb: Tuesday, mine.\n\nVersions: torch 2."


def test_two_digits_or_the_whole_number() -> None:
    assert [digits(value) for value in (0.0123, 1.26, 9.96, 99.4, 99.6, 12345.6)] == ["0.012", "1.3", "10", "99", "100", "12,346"]


def test_results_are_read_from_a_folder(tmp_path: Path) -> None:
    assert set(read(harness.RESULTS).scripts) == {path.stem for path in WRITTEN}
    with pytest.raises(FileNotFoundError, match=r"`folder` should have the results of benchmarks, \*\.json; found none in '.*'\."):
        read(tmp_path)
