"""The harness: equal tuning on other seeds, the same numbers in any order, and a study that goes on where it was stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from studies import harness
from studies import study as studies_study
from tests.studies import toy


def numbers(found: dict, key: str = "runs") -> list[dict]:
    """Rows without their seconds."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found[key]]


def test_every_arm_chooses_on_the_tuning_seeds_and_runs_on_the_others(tmp_path: Path) -> None:
    found = harness.conduct(toy.study(), seen=tmp_path)
    assert {row["seed"] for row in found["tuning"]} == {100, 101, 102}
    assert len(found["tuning"]) == 2 * 2 * 3 * 3  # arms, conditions, knobs, seeds
    assert [(row["arm"], row["noise"], row["seed"]) for row in found["runs"]] == [
        (arm, noise, seed) for arm in ("plain", "better") for noise in (0.1, 1.0) for seed in range(4)
    ]
    assert {(row["arm"], row["knob"]) for row in found["runs"]} == {("plain", 1.0), ("better", 2.0)}
    assert [row["at_an_end"] for row in found["chosen"]] == [[], [], ["knob"], ["knob"]]


def test_a_run_has_one_thread_and_gives_the_others_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = harness.conduct(toy.study(), seen=tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert {row["threads"] for row in found["runs"]} == {1}


def test_the_same_numbers_in_any_order_on_any_number_of_workers(tmp_path: Path) -> None:
    """Torch's own random numbers too begin at the seed."""
    torch.manual_seed(5)
    alone = harness.conduct(toy.study(), seen=tmp_path / "alone")
    torch.manual_seed(6)
    together = harness.conduct(toy.study(), seen=tmp_path / "together", workers=2)
    assert numbers(alone) == numbers(together)
    assert numbers(alone, "tuning") == numbers(together, "tuning")
    noise = [row["loss"] for row in alone["runs"] if row["noise"] == 1.0]
    assert len(set(noise)) == len(noise)


def test_a_study_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    made = []

    def stops(arm: str, seed: int, **settings: float) -> dict[str, float]:
        if len(made) == 30:
            raise KeyboardInterrupt
        made.append(seed)
        return toy.run(arm, seed, **settings)

    with pytest.raises(KeyboardInterrupt):
        harness.conduct(toy.study(run=stops), seen=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_text()
    assert whole.count("\n") == 30
    path.write_text(whole[:-20])  # it was cut off in the middle of a line
    made.clear()
    made.append(-1)

    def goes_on(arm: str, seed: int, **settings: float) -> dict[str, float]:
        made.append(seed)
        return toy.run(arm, seed, **settings)

    study = toy.study(run=goes_on)
    path.rename(tmp_path / f"{study.name}-{study.code}.jsonl")
    found = harness.conduct(study, seen=tmp_path)
    assert len(made) - 1 == 36 + 16 - 29
    assert numbers(found) == numbers(harness.conduct(toy.study(), seen=tmp_path / "anew"))


def test_a_run_that_is_not_at_its_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`run` should go on until a training is at its end; found .*plain: 8; better: 8\. Nothing is trained"):
        harness.conduct(toy.study(ended=lambda numbers: numbers["left"] > 0), seen=tmp_path)


def test_a_few_seeds_are_the_first(tmp_path: Path) -> None:
    assert {row["seed"] for row in harness.conduct(toy.study(), seeds=2, seen=tmp_path)["runs"]} == {0, 1}


def test_the_file_has_a_line_a_run_and_comes_back(tmp_path: Path) -> None:
    found = harness.conduct(toy.study(), seen=tmp_path)
    text = harness.text(found)
    assert json.loads(text) == json.loads(json.dumps(found))
    assert sum('"seed": ' in line for line in text.splitlines()) == 16 + 36
    assert found["versions"]["torch"].startswith(torch.__version__.split("+")[0])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tuned": {"plain": {"knob": (1.0,)}}}, r"`tuned` should have the arms \['plain', 'better'\]"),
        ({"tuned": {"plain": {}, "better": {"knob": (1.0, 2.0)}}}, "`tuned` should give all arms as many settings"),
        ({"seeds": range(99, 102)}, r"`tuning_seeds` should hold no seed that is reported; found \[100, 101\]"),
    ],
)
def test_an_unequal_study_is_refused(changed: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        toy.study(**changed)


def test_arms_may_have_knobs_of_their_own(tmp_path: Path) -> None:
    def two(arm: str, seed: int, *, noise: float, knob: float = 0.0, other: float = 0.0) -> dict[str, float]:
        return toy.run(arm, seed, noise=noise, knob=knob + other)

    study = toy.study(run=two, tuned={"plain": {"knob": (0.0, 1.0)}, "better": {"other": (1.0, 2.0)}})
    rows = harness.conduct(study, seen=tmp_path)["runs"]
    assert {(row["arm"], row.get("knob"), row.get("other")) for row in rows} == {("plain", 1.0, None), ("better", None, 2.0)}


def test_an_arm_without_a_choice_needs_no_tuning(tmp_path: Path) -> None:
    found = harness.conduct(toy.study(tuned={arm: {"knob": (1.0,)} for arm in toy.BEST}), seen=tmp_path)
    assert found["tuning"] == []
    assert {row["knob"] for row in found["runs"]} == {1.0}


SOURCE = '''"""About it."""
import math
WIDE, NARROW = 3, 4
def halved(a):
    return a / WIDE
def run(arm, seed):
    """Says."""
    return {"a": halved(math.pi)}  # so
def effect(runs):
    return runs[0]
STUDY = dict(run=run, seeds=range(3))
FINDINGS: tuple = (1,)
'''


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (SOURCE.replace("About", "Of"), True),
        (SOURCE.replace("Says", "Tells"), True),
        (SOURCE.replace("# so", "# or so"), True),
        (SOURCE.replace("(1,)", "(1, 2)"), True),
        (SOURCE.replace("range(3)", "range(4)"), True),
        (SOURCE.replace("runs[0]", "runs[1]"), True),
        (SOURCE.replace("math.pi", "math.e"), False),
        (SOURCE.replace("seed)", "seed=3)"), False),
        (SOURCE.replace("a / WIDE", "a / 2"), False),
        (SOURCE.replace("= 3, 4", "= 2, 4"), False),
    ],
    ids=["docstring", "docstring of run", "comment", "findings", "declaration", "an effect", "number", "default", "what it calls", "a constant"],
)
def test_a_study_is_known_by_what_it_computes(other: str, same: bool) -> None:
    assert (studies_study.fingerprint(SOURCE) == studies_study.fingerprint(other)) is same


def test_a_cluster_that_there_is_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`BACKEND` should be one of loky, dask, ray; found 'threads'"):
        harness.conduct(toy.study(), seen=tmp_path, backend="threads")


@pytest.mark.thorough
@pytest.mark.filterwarnings("default")  # what dask's own sockets and event loops warn of is dask's affair
def test_the_same_numbers_from_a_local_cluster_of_dask(tmp_path: Path) -> None:
    from dask.distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None):
        found = harness.conduct(toy.study(), seen=tmp_path / "dask", backend="dask", workers=2)
    assert numbers(found) == numbers(harness.conduct(toy.study(), seen=tmp_path / "loky"))
