"""Every study as it was stored: whole, of today's code, equally tuned, at its end; every finding holds, and falls over when it stops being true."""

from __future__ import annotations

import math
from functools import cache

import pytest
from bs4 import BeautifulSoup

from lossbook.book.claims import LEDGER
from studies import FINDINGS, NAMES, Finding, Runs, Study, harness, load, read, show
from studies.study import combinations
from tests.conftest import ROOT

stored = cache(read)
each_study = pytest.mark.parametrize("name", NAMES)
each_finding = pytest.mark.parametrize("finding", FINDINGS.values(), ids=FINDINGS)


def settings_of(study: Study, row: dict) -> dict:
    """What a run was asked for, beside arm and seed."""
    return {name: row[name] for name in (*study.conditions, *study.tuned[row["arm"]])}


@each_study
def test_the_stored_runs_are_those_of_todays_code(name: str) -> None:
    assert stored(name).about["code"] == load(name).code, f"the study has changed since it was run: make studies ONLY={name}"


@each_study
def test_every_arm_has_every_seed_under_every_condition_and_is_at_its_end(name: str) -> None:
    study, rows = load(name), stored(name).rows
    wanted = {(arm, seed, *condition.values()) for arm in study.arms for seed in study.seeds for condition in combinations(study.conditions)}
    assert sorted((row["arm"], row["seed"], *(row[key] for key in study.conditions)) for row in rows) == sorted(wanted)
    assert len(study.seeds) >= 10
    for row in rows:
        assert study.ended(row), row
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float)), row


@each_study
def test_each_arm_runs_with_what_it_chose_on_other_seeds(name: str) -> None:
    study, runs = load(name), stored(name)
    tried = {(row["arm"], row["seed"], *settings_of(study, row).values()) for row in runs.about["tuning"]}
    assert tried == {(job.arm, job.seed, *job.settings.values()) for job in harness.tuning_jobs(study)}
    choices = harness.chosen(study, runs.about["tuning"])
    assert choices == runs.about["chosen"]
    asked = {(job.arm, job.seed, *job.settings.values()) for job in harness.reported_jobs(study, choices, study.seeds)}
    assert asked == {(row["arm"], row["seed"], *settings_of(study, row).values()) for row in runs.rows}


@each_study
def test_a_run_made_again_lies_among_the_stored_ones(name: str) -> None:
    """Of one arm, drawn by the name of the study; on another processor the digits may differ, and so may which point lies just beyond a line."""
    study, runs = load(name), stored(name)
    row = runs.rows[sum(map(ord, name)) % len(runs.rows)]
    _, numbers = harness.perform(study.run, harness.Job(row["arm"], row["seed"], settings_of(study, row)))
    same = runs.where(arm=row["arm"], **{key: row[key] for key in study.conditions}).rows
    for key in numbers.keys() - {"seconds"}:
        kept = [other[key] for other in same]
        slack = 0.1 * (max(kept) - min(kept)) + 1e-6
        assert min(kept) - slack <= numbers[key] <= max(kept) + slack, f"{key} of {row['arm']}, seed {row['seed']}"


@each_finding
def test_a_finding_holds(finding: Finding) -> None:
    assert finding.holds(), f"{finding.id} no longer holds: {show(finding.id)!r}"


def exchanged(runs: Runs, turn: int) -> Runs:
    """The runs as they would be if every arm were another one."""
    arms = list(dict.fromkeys(row["arm"] for row in runs.rows))
    other = {arm: arms[(place + turn) % len(arms)] for place, arm in enumerate(arms)}
    return Runs([row | {"arm": other[row["arm"]]} for row in runs.rows], runs.about)


def numbers_of(runs: Runs) -> list[str]:
    """What a run gives, but for its settings."""
    study = load(runs.about["study"])
    settings = {"seed", *study.conditions, *(name for arm in study.arms for name in study.tuned[arm])}
    return [key for key, value in runs.rows[0].items() if isinstance(value, (int, float)) and key not in settings]


def moved(runs: Runs, arm: str, step: float) -> Runs:
    """The runs with every number of an arm moved by a step, far beyond what differs between them."""
    return Runs([row | {key: row[key] + step for key in numbers_of(runs)} if row["arm"] == arm else row for row in runs.rows], runs.about)


def flat(runs: Runs, number: str) -> Runs:
    """The runs if one of the numbers were 1 in all of them."""
    return Runs([row | {number: 1} for row in runs.rows], runs.about)


@each_finding
def test_a_finding_falls_over_when_it_stops_being_true(finding: Finding) -> None:
    """Arms exchanged, one of them much worse or much better, or a number that is the same everywhere: no sentence survives all of that."""
    runs = stored(finding.study)
    arms = load(finding.study).arms
    worlds = [exchanged(runs, turn) for turn in range(1, len(arms))] + [moved(runs, arm, step) for arm in arms for step in (1e3, -1e3)]
    worlds += [flat(runs, number) for number in numbers_of(runs)]
    assert not all(finding.holds(world) for world in worlds)


@each_finding
def test_a_box_says_what_was_found_and_how(finding: Finding) -> None:
    box = show(finding.id)
    page = BeautifulSoup(box._repr_html_(), "html.parser")
    assert page.find(id=f"finding-{finding.id}")["data-finding"] == finding.id
    assert page.find(class_="claim-value")["data-holds"] == "true"
    assert page.find(class_="claim-value").text == box.value
    assert box.sentence in page.text
    assert "{" not in box.sentence
    assert f"{box.effect.size} seeds" in page.text
    assert f"above 0 in {box.effect.positive}, below in {box.effect.negative}" in page.text
    assert ("a tie in" in page.text) is (box.effect.positive + box.effect.negative < box.effect.size)
    assert "95% interval" in page.text
    assert repr(box).startswith(f"{finding.id}: {box.sentence}")
    data = box._repr_mimebundle_()["application/vnd.lossbook+json"]
    assert data == {"finding": finding.id, "value": box.value, "interval": box.interval, "holds": True}


def test_findings_have_ids_of_their_own_and_chapters_that_exist() -> None:
    assert list(FINDINGS) == sorted(FINDINGS, key=lambda name: int(name.removeprefix("B")))
    assert not set(FINDINGS) & set(LEDGER)
    for finding in FINDINGS.values():
        assert finding.id[0] == "B"
        assert len(list(ROOT.glob(f"chapters/*/{finding.chapter}.md"))) == 1
    with pytest.raises(KeyError, match="No finding 'B999'; there are "):
        FINDINGS["B999"]


def test_every_module_with_a_study_is_in_the_list() -> None:
    found = {path.stem for path in (ROOT / "studies").glob("*.py") if "STUDY = " in path.read_text()}
    assert found == set(NAMES)
