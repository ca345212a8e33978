"""Mutation testing itself: its operators do what they say, a mutant that nobody notices is reported, and what is excused still stands in the code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cosmic_ray.mutating import mutate_code

from mutants.__main__ import tolerated
from mutants.find import Mutant, mutants, places
from mutants.modules import concerns, files, witnesses
from mutants.operators import DropKeyword, DropStatement, ScaleSmallNumber, SkipCall
from tests.conftest import ROOT

WITHOUT_TESTS_OF_THEIR_OWN = {"__init__", "__main__", "claims"}  # tested all over tests/, and in tests/claims


@pytest.mark.parametrize("operator", [DropStatement, SkipCall, DropKeyword, ScaleSmallNumber])
def test_an_operator_makes_its_examples(operator: type) -> None:
    for example in operator.examples():
        assert mutate_code(example.pre_mutation_code, operator(), example.occurrence) == example.post_mutation_code


def found_in(tmp_path: Path, source: str) -> list[Mutant]:
    (tmp_path / "one.py").write_text(source)
    return list(mutants(tmp_path, places(tmp_path, "one.py")))


UNSEEN = '''
"""Words."""
if TYPE_CHECKING:
    x = 1 + 1


def f(a: int | None, *, b: int | None) -> int | None:
    "Words."
    c: int | str = cast(int | str, a)
'''


def test_what_is_not_executed_is_not_mutated(tmp_path: Path) -> None:
    assert found_in(tmp_path, UNSEEN) == []
    assert {mutant.change for mutant in found_in(tmp_path, f"{UNSEEN}    return c + b\n")} == {("return c + b", "return c - b")}


def test_two_operators_that_do_the_same_make_one_mutant(tmp_path: Path) -> None:
    assert [mutant.change for mutant in found_in(tmp_path, "if not y:\n    z = a\n")] == [("if not y:", "if  y:")]


TOY = """
def clipped(x, low, limit=7):
    \"\"\"The least of `low`, `low` + 1 and so on that is at least x.\"\"\"
    while low < x:
        low += 1
    return min(low, limit)
"""
TOY_TEST = """
from lossbook.toy import clipped

def test_clipped():
    assert clipped(2, 1) == 2
"""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What is reported of a package with one function and one test, by what the changed line becomes."""
    tree = tmp_path_factory.mktemp("tree")
    for name, text in {
        "lossbook/toy.py": TOY,
        "lossbook/__init__.py": "",
        "tests/test_toy.py": TOY_TEST,
        "pyproject.toml": "[tool.pytest.ini_options]\n",
    }.items():
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text(text)
    command = [sys.executable, "-m", "mutants", "toy", "--tree", str(tree), "--report", str(tree / "report"), "--patience", "1", "--floor", "90"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (1, ""), run.stdout + run.stderr  # the floor is not reached
    assert (tree / "lossbook/toy.py").read_text() == TOY
    assert (tree / "report/toy.diff").read_text().count("+++ ") == 3
    return {row["becomes"]: row for row in json.loads((tree / "report/toy.json").read_text())}


def test_a_mutant_is_killed_by_the_test_that_fails(verdicts: dict[str, dict[str, str]]) -> None:
    killed = verdicts["low += 2"]
    assert (killed["verdict"], killed["line"], killed["noticed_by"]) == ("killed", "low += 1", "tests/test_toy.py::test_clipped")


def test_a_mutant_that_no_test_looks_at_survives(verdicts: dict[str, dict[str, str]]) -> None:
    survivors = {becomes for becomes, row in verdicts.items() if row["verdict"] == "survived"}
    assert survivors == {"def clipped(x, low, limit= 8):", "def clipped(x, low, limit= 6):", "return low"}


def test_a_mutant_that_does_not_end_is_stopped(verdicts: dict[str, dict[str, str]]) -> None:
    assert verdicts["pass"]["verdict"] == "timed out"


def test_every_room_has_tests() -> None:
    for module, paths in files(ROOT).items():
        if module not in WITHOUT_TESTS_OF_THEIR_OWN:
            own, _ = witnesses(ROOT, module, paths)
            assert any(path.startswith("tests/") for path in own), f"no tests for {module}: say in mutants/modules.py which are its own"


def test_the_rows_of_a_module_are_those_that_name_it() -> None:
    rows = {"test_good[boxes.iou_loss]": True, "test_path[eager-boxes.iou_loss]": True, "test_good[sets.boxes]": False, "test_good[xboxes.f]": False}
    assert {row: concerns("boxes", f"tests/test_inputs.py::{row}") for row in rows} == rows
    assert concerns("boxes", "tests/test_boxes.py::test_anything")


def test_what_is_excused_still_stands_in_the_code() -> None:
    for (path, line, becomes), why in tolerated().items():
        source = " ".join((ROOT / path).read_text().split())
        assert " ".join(line.split()) in source, f"{path} has no such line now: {line}"
        assert line != becomes
        assert why.strip()
