"""No test, no step of the build and no cell of a chapter hangs on how fast a machine is: see `tests/patience.py`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import yaml

from tests.book.test_sources import CHAPTERS, cells
from tests.conftest import ROOT
from tests.patience import GUARD

EXEMPT = {"tests/patience.py"}  # the guard itself
SOURCES = sorted(path for folder in ("tests", "_ext", "lossbook/book/claims") for path in (ROOT / folder).rglob("*.py"))
OPENERS = {"tests/browser/conftest.py", "tests/browser/shoot.py", "_ext/paper.py"}  # they set how long a page is waited for

WAIT = re.compile(r"(\w+_)?(timeout|deadline)(_\w+)?", re.IGNORECASE)
DURATION = re.compile(r"(\w*_)?(milli|micro|nano)?(seconds|elapsed|durations?|latency|latencies|took|clock|timings?)", re.IGNORECASE)
CLOCKS = {f"{name}{unit}" for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time") for unit in ("", "_ns")}
# What takes how long it waits at most by position.
WAITERS = {"wait", "join", "timeout", "set_default_timeout", "set_default_navigation_timeout", "settimeout", "acquire", "result"}
ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def offences(source: str, *, opener: bool = False) -> list[str]:
    """What hangs on speed in a program, each with its line."""
    tree = ast.parse(source)
    numbers = {
        target.id: value
        for node in tree.body
        if isinstance(node, ast.Assign) and (value := folded(node.value, {})) is not None
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    beats = {id(part) for node in ast.walk(tree) if isinstance(node, ast.While) for part in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        for line, complaint in complaints(node, numbers, in_a_loop=id(node) in beats, opener=opener):
            found.append((line, complaint))
    return [f"{line}: {complaint}" for line, complaint in sorted(set(found))]


def folded(node: ast.AST, names: dict[str, float]) -> float | None:
    """The number that an expression is, where it is one whatever happens."""
    if isinstance(node, ast.Constant):
        return float(node.value) if isinstance(node.value, (int, float)) and not isinstance(node.value, bool) else None
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, (ast.BinOp, ast.UnaryOp)):
        parts = [folded(part, names) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
        return None if None in parts else max(map(abs, parts))  # its size is all that matters here
    return None


def is_short(node: ast.AST, numbers: dict[str, float]) -> bool:
    """A number on the spot, or a named one below the guard. A number on the spot is short whatever it is: it may be milliseconds."""
    value = folded(node, numbers)
    return value is not None and not (isinstance(node, ast.Name) and value >= GUARD)


def name_of(node: ast.AST) -> str:
    """The last word of what is called, or read: `record.data["cpu_seconds"]` is cpu_seconds."""
    if isinstance(node, ast.Subscript):
        return str(node.slice.value) if isinstance(node.slice, ast.Constant) else name_of(node.value)
    if isinstance(node, ast.Call):
        return name_of(node.func)
    return str(getattr(node, "attr", getattr(node, "id", "")))


def is_duration(node: ast.AST) -> bool:
    """A clock is read in it, or something that is called a duration."""
    parts = [part for part in ast.walk(node) if isinstance(part, (ast.Call, ast.Name, ast.Attribute, ast.Subscript))]
    return any(DURATION.fullmatch(name_of(part)) or (isinstance(part, ast.Call) and name_of(part) in CLOCKS) for part in parts)


def complaints(node: ast.AST, numbers: dict[str, float], *, in_a_loop: bool, opener: bool) -> Iterator[tuple[int, str]]:
    """What is wrong with one node. Inside a `while`, a short wait is a beat of the loop and limits nothing."""
    if isinstance(node, ast.Call):
        yield from wrong_calls(node, numbers, in_a_loop=in_a_loop, opener=opener)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and WAIT.fullmatch(str(key.value)) and is_short(value, numbers):
                yield node.lineno, f"a time-out of its own, {ast.unparse(value)}"
    elif isinstance(node, ast.arguments):
        positional = zip(reversed(node.args), reversed(node.defaults), strict=False)
        for argument, value in (*positional, *zip(node.kwonlyargs, node.kw_defaults, strict=True)):
            if value is not None and WAIT.fullmatch(argument.arg) and is_short(value, numbers):
                yield value.lineno, f"a time-out of its own, {ast.unparse(value)}"
    elif isinstance(node, ast.Compare) and any(isinstance(operator, ORDERS) for operator in node.ops):
        sides = [node.left, *node.comparators]
        others = [folded(side, numbers) for side in sides if not is_duration(side)]
        if len(others) < len(sides) and set(others) != {0.0}:
            yield node.lineno, f"an order of durations, {ast.unparse(node)}"


def wrong_calls(call: ast.Call, numbers: dict[str, float], *, in_a_loop: bool, opener: bool) -> Iterator[tuple[int, str]]:
    """Waits that are short, pauses, and pages of Playwright's own patience."""
    name = name_of(call)
    waits = [keyword.value for keyword in call.keywords if keyword.arg and WAIT.fullmatch(keyword.arg)]
    waits += call.args if name in WAITERS and isinstance(call.func, ast.Attribute) else []
    if not in_a_loop and any(is_short(value, numbers) for value in waits):
        yield call.lineno, f"a time-out of its own, {ast.unparse(call)[:80]}"
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if any(isinstance(value, ast.Constant) and value.value == "networkidle" for value in given):
        yield call.lineno, "half a second without a request, networkidle"
    if name == "wait_for_timeout" or (name == "sleep" and not in_a_loop):
        yield call.lineno, f"a pause and a hope, {ast.unparse(call)}"
    if name in {"new_context", "new_page", "launch"} and isinstance(call.func, ast.Attribute) and not opener and not is_from_a_context(call):
        yield call.lineno, f"Playwright's own time-outs, {ast.unparse(call)[:80]}; take `visit` or `new_context` of tests/browser/conftest.py"


def is_from_a_context(call: ast.Call) -> bool:
    """`context.new_page()` waits as its context does."""
    return name_of(call) == "new_page" and isinstance(call.func, ast.Attribute) and name_of(call.func.value) == "context"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_hangs_on_speed(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    if name not in EXEMPT:
        assert offences(path.read_text(encoding="utf-8"), opener=name in OPENERS) == []


def test_no_benchmark_gives_up_on_a_slow_machine() -> None:
    """Seconds are their business, and how long they may take is not."""
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        assert not [offence for offence in offences(path.read_text(encoding="utf-8")) if "a time-out of its own" in offence], path.name


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_cell_of_a_chapter_does(chapter: str) -> None:
    code = "\n".join(re.sub(r"^[%!].*$", "", code, flags=re.MULTILINE) for _, code in cells(chapter))
    assert offences(code) == []


REFUSED = {
    "subprocess.run(command, timeout=300)": "a time-out of its own",
    "LIMIT = 60\nqueue.get(timeout=LIMIT)": "a time-out of its own",
    "page.wait_for_function(done, timeout=2 * 60_000)": "a time-out of its own",
    "@pytest.mark.timeout(900)\ndef test(): ...": "a time-out of its own",
    "process.wait(30)": "a time-out of its own",
    "context.set_default_timeout(5_000)": "a time-out of its own",
    "SETTINGS = {'deadline': 200}": "a time-out of its own",
    "def ask(address, timeout=5): ...": "a time-out of its own",
    "nbclient.execute(notebook, startup_timeout=60)": "a time-out of its own",
    "time.sleep(1)": "a pause and a hope",
    "while busy:\n    page.wait_for_timeout(100)": "a pause and a hope",
    "page.wait_for_load_state('networkidle')": "half a second without a request",
    "assert 1 < record.data['execution_seconds'] < 120": "an order of durations",
    "SECONDS = 60\nassert found[page]['cpu_seconds'] < SECONDS": "an order of durations",
    "assert time.perf_counter() - start < 2": "an order of durations",
    "assert ours_seconds < theirs_seconds": "an order of durations",
    "if elapsed > 3:\n    raise AssertionError": "an order of durations",
    "browser.new_context()": "Playwright's own time-outs",
    "browser.new_page()": "Playwright's own time-outs",
}
ALLOWED = [
    "subprocess.run(command)",
    "urlopen(address, timeout=PATIENCE)",
    "HANG = 1800\nnbclient.execute(notebook, startup_timeout=HANG)",
    "while not context.join(timeout=60):\n    pass",
    "while not there():\n    time.sleep(0.2)",
    "given(settings(deadline=None))",
    "assert record.data['execution_seconds'] > 0",
    "assert record.data['cpu_seconds'] == 86400.25",
    "context.new_page()",
    "', '.join(names)",
    "options.get('rate', 3)",
]


@pytest.mark.parametrize("program", REFUSED)
def test_what_hangs_on_speed_is_seen(program: str) -> None:
    (found,) = offences(program)
    assert REFUSED[program] in found


@pytest.mark.parametrize("program", ALLOWED)
def test_what_does_not_is_left_alone(program: str) -> None:
    assert offences(program) == []


def test_the_guards_are_generous() -> None:
    """pytest's is longer than that of one wait, so that the wait says first what did not come."""
    assert int(re.search(r"^timeout = (\d+)\b", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)[1]) >= 2 * GUARD
    assert yaml.safe_load((ROOT / "_config.yml").read_text())["execute"]["timeout"] >= GUARD
    for workflow in (ROOT / ".github/workflows").glob("*.yml"):
        for name, job in yaml.safe_load(workflow.read_text())["jobs"].items():
            assert job.get("timeout-minutes", 360) >= 300, f"{workflow.name}: {name}"


def test_no_example_is_too_slow() -> None:
    """hypothesis gives each 200 ms, and their drawing a second, unless it is told otherwise."""
    default = hypothesis.settings()
    assert default.deadline is None
    assert hypothesis.HealthCheck.too_slow in default.suppress_health_check
