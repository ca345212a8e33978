"""C58 to C60: the measures hold, and their numbers are confirmed by other means."""

from __future__ import annotations

import math

import pytest
import torch

from lossbook.book.claims import LEDGER
from lossbook.book.claims import sets as claims
from lossbook.sets import match


def test_c58_the_count_would_see_two_partners() -> None:
    """Two masks that overlap each other may both cover more than half of their union with a third; disjoint halves may not."""
    third = torch.ones(1, 10, dtype=torch.bool)
    overlapping = torch.tensor([[True] * 6 + [False] * 4, [False] * 4 + [True] * 6])
    disjoint = torch.tensor([[True] * 5 + [False] * 5, [False] * 5 + [True] * 5])
    assert (claims._ious(overlapping, third) > 0.5).sum() == 2
    assert (claims._ious(disjoint, third) > 0.5).sum() == 0
    assert claims._ious(disjoint, third).tolist() == [[0.5], [0.5]]
    found = LEDGER["C58"].measure()
    assert found.value == 0
    assert found.details["segments"] > 1000


def test_c59_greedy_loses_where_the_cheapest_pair_is_a_trap() -> None:
    cost = torch.tensor([[1.0, 2.0], [2.0, 100.0]])
    assert claims._greedy(cost) == 1 + 100
    pairs = match(cost)
    assert sorted(zip(pairs.queries.tolist(), pairs.targets.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert claims._greedy(torch.eye(3) - 1) == -2  # two of the six −1 off the diagonal, then the 0 that is left; −3 is possible
    cyclic = torch.eye(3) - 1
    assert float(cyclic[match(cyclic)].sum()) == -3


def test_c60_identical_slots_split_the_object() -> None:
    """N slots with one logit: ln p is paid once and ln(1 − p) N − 1 times, so p = 1 / N, by calculus and by a grid."""
    for count in (2, 3, 6):
        loss, confidence = claims._identical_slots(count)
        grid = torch.linspace(1e-4, 1 - 1e-4, 99_999, dtype=torch.float64)
        plain = -grid.log() - (count - 1) * torch.log1p(-grid)
        assert confidence == pytest.approx(1 / count, abs=1e-6)
        assert loss == pytest.approx(float(plain.min()), abs=1e-8)
    assert LEDGER["C60"].measure().value == pytest.approx(2 * math.log(2), abs=1e-9)


def test_c60_a_duplicate_is_dear_only_at_full_weight() -> None:
    details = LEDGER["C60"].measure().details
    assert details["cost_of_a_duplicate_at_confidence_0_9"] == pytest.approx(-math.log(1 - 0.9))
    assert details["the_same_with_no_object_weight_0_1"] == pytest.approx(-0.1 * math.log(1 - 0.9))
    fires = details["chance_of_a_match_from_which_a_slot_fires"]
    grid = torch.linspace(0.001, 0.999, 9_981, dtype=torch.float64)
    for chance, above in ((fires - 0.002, False), (fires + 0.002, True)):
        best = grid[(-chance * grid.log() - 0.1 * (1 - chance) * torch.log1p(-grid)).argmin()]
        assert bool(best > 0.5) == above
    assert details["detected_once"] + details["detected_more_than_once"] + details["never_detected"] == pytest.approx(1)
