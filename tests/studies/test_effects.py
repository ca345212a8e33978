"""Effects and their intervals, beside scipy's and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from studies import Runs, above, below, paired, read, unclear, within

DIFFERENCES = np.random.default_rng(0).normal(0.3, 1.0, 20)


def test_students_interval_is_scipys() -> None:
    found, peer = paired(DIFFERENCES), stats.ttest_1samp(DIFFERENCES, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high))
    assert found.mean == pytest.approx(DIFFERENCES.mean())
    assert (found.size, found.positive, found.negative) == (20, int((DIFFERENCES > 0).sum()), int((DIFFERENCES < 0).sum()))


def test_more_comparisons_want_wider_intervals() -> None:
    found, peer = paired(DIFFERENCES, comparisons=4), stats.ttest_1samp(DIFFERENCES, 0).confidence_interval(1 - 0.05 / 4)
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high))


def test_the_bootstrap_is_scipys_and_repeats() -> None:
    found = paired(DIFFERENCES, method="bootstrap")
    peer = stats.bootstrap((DIFFERENCES,), np.mean, method="BCa", rng=np.random.default_rng(0)).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(peer))
    assert found == paired(DIFFERENCES, method="bootstrap")


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_what_never_differs_has_an_interval_of_no_width(method: str) -> None:
    found = paired([0.25] * 5, method=method)
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("wrong", [[1.0], [], [1.0, math.nan], [1.0, math.inf], [[1.0], [2.0]]], ids=str)
def test_no_interval_without_two_numbers(wrong: list) -> None:
    with pytest.raises(ValueError, match="`differences` should be two finite numbers at least"):
        paired(wrong)


def test_predicates_ask_of_the_whole_interval() -> None:
    effect = paired([1.0, 2.0, 3.0])  # -0.48 to 4.48
    assert [p.holds(effect) for p in (above(0), above(-1), below(4), below(5), within(-1, 5), within(0, 5), within(-1, 4), unclear())] == [
        False,
        True,
        False,
        True,
        True,
        False,
        False,
        True,
    ]
    assert not unclear().holds(paired([1.0, 1.1, 1.2]))
    assert not unclear().holds(paired([-1.0, -1.1, -1.2]))


def rows(**numbers: list[float]) -> Runs:
    return Runs([{"arm": arm, "seed": seed, "loss": value, "size": 1} for arm, values in numbers.items() for seed, value in enumerate(values)], {})


def test_differences_are_paired_by_seed() -> None:
    runs = rows(a=[1.0, 2.0, 4.0], b=[0.0, 2.0, 1.0])
    assert runs.difference("loss", "a", "b").each == (1.0, 0.0, 3.0)
    runs.rows.reverse()
    assert sorted(runs.difference("loss", "a", "b").each) == [0.0, 1.0, 3.0]
    assert runs.mean("loss", "b", size=1).mean == 1.0


def test_a_lead_is_that_over_the_closest_rival() -> None:
    runs = rows(a=[1.0, 1.1, 1.2], b=[1.5, 1.7, 1.6], c=[9.0, 9.1, 9.3])
    lead = runs.lead("loss", "a", "b", "c")
    assert lead == runs.difference("loss", "b", "a", comparisons=2)
    assert lead.comparisons == 2
    assert runs.lead("loss", "b", "a", "c").mean < 0


def test_what_is_not_there_is_named() -> None:
    runs = rows(a=[1.0, 2.0], b=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="`settings` should be those of some run"):
        runs.where(size=2)
    with pytest.raises(ValueError, match="`b` should have the seeds of `a`"):
        runs.difference("loss", "a", "b")
    with pytest.raises(ValueError, match="`settings` should leave one run a seed"):
        Runs(runs.rows + runs.rows, {}).by_seed("loss", "a")
    with pytest.raises(FileNotFoundError, match="make studies ONLY=nothing"):
        read("nothing")


def test_what_rounding_has_left_is_a_tie() -> None:
    found = paired([0.5, 7e-18, -3e-18, 0.0, -0.25])
    assert (found.positive, found.negative) == (1, 1)
    assert (paired([0.0, 0.0]).positive, paired([0.0, 0.0]).negative) == (0, 0)
