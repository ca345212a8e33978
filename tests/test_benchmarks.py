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
from bs4 import BeautifulSoup

from benchmarks import harness
from benchmarks.harness import Budget, Case, Comparison, Line, Slope, Work
from lossbook.book.benchmarks import Results, digits, read

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


WIDE, NARROW, OLD = "Fast(R) Processor, AVX512, 2 cores, Linux x86_64", "A<B, AVX2, 4 cores", "Slow, 2 cores"


def wrote(machine: str, *lines: dict[str, Any]) -> dict[str, Any]:
    """What a script wrote on a machine."""
    return {"machine": machine, "lines": list(lines)}


def test_kinds_of_machine_stand_side_by_side() -> None:
    there = {**compared(6.0, 4.0), "difference": -3e-7, "memory": [20.0, 300.0]}
    found = Results({"sets": wrote(WIDE, compared(5.0, 4.0))}, (("sets", wrote(NARROW, there)), ("sets", wrote(OLD, compared(7.0, 4.0)))))
    html = found.compared("Losses.", "sets", "absent").data
    heads = [cell.get_text() for cell in BeautifulSoup(html, "html.parser").select("thead th")]
    assert heads == ["Work", "Peer", "AVX-512, Fast", "AVX2, A<B", "Results apart"]
    assert "a &lt;work&gt;" in html
    assert "<b>5×</b> <small>[1, 9]</small><br>2 ms, peer 3 s</span>" in html, "3000 ms read better in seconds"
    assert "<b>6×</b> <small>[1, 9]</small><br>2 ms, peer 3 s<br>20 MB, peer 300 MB</span>" in html
    assert " MB" not in found.summary("In short.", [("a <work>", "peer")]).data
    assert "<span>3e-07</span>" in html
    assert "7×" not in html, "others have said what instructions they have"
    assert found.ratios("a <work>", "peer") == [5.0, 6.0]
    with pytest.raises(ValueError, match=r"`work` and `peer` should be those of a row; found 'a <work>' and 'nobody'\."):
        found.ratios("a <work>", "nobody")


def test_a_machine_that_has_not_said_its_instructions_is_shown_where_no_other_has_the_row() -> None:
    html = Results({"sets": wrote(OLD, compared(5.0, 4.0))}).compared("Losses.", "sets").data
    assert 'data-label="instructions not recorded, Slow"><span><span class="bench-there"><b>5×</b>' in html
    assert "Results apart" not in html, "no line says so"


def test_a_page_chooses_its_rows_and_their_order() -> None:
    lines = [{**compared(float(k), None), "work": name} for k, name in enumerate("abc")]
    found = Results({"sets": wrote(WIDE, *lines)})
    assert [line["work"] for line in found.lines("comparison", works=("c", "a"))] == ["c", "a"]
    assert [line["work"] for line in found.lines("comparison")] == ["a", "b", "c"]
    assert found.compared("Losses.", works=("c",)).data.count("<tr") == 2


def test_growth_and_sizes_have_tables_of_their_own() -> None:
    slope = {"kind": "slope", **harness.rounded(vars(Slope("sorting", "rows", [10, 1000], [0.05, 2.0], 0.801, 1.0)))}
    sizes = {"kind": "budget", **vars(Budget("page", "bytes", 2500.0, 2000))}
    found = Results({"scaling": wrote(WIDE, slope), "book": wrote(WIDE, sizes)})
    growth = found.growth("Growth.").data
    assert all(words in growth for words in ("<caption>Growth.", "rows: 10, 1,000", "50 µs, 2 ms", "<b>0.80</b>"))
    assert "<b>2.5 KB</b>" in found.sizes("Sizes.", "book").data
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
