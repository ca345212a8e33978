"""What the chapter calibration says of its study beside the findings: the hinge's scores, decisions that no loss and no ridge changes, powers."""

from __future__ import annotations

import pytest
import torch

from studies import calibration, read


@pytest.mark.parametrize("truth", ["census", "even", "narrow"])
def test_the_hinge_has_no_choice(truth: str) -> None:
    """At ridges up to 1 all scores are -1, 0 and 1: the excess loss is twice the excess mistakes, and at ties once."""
    positive, negative = calibration.answers(truth, 4000, 0)
    for ridge in (1, 0.1, 1e-6):
        scores, _ = calibration.table("hinge", positive, negative, ridge)
        assert torch.equal(scores, (positive - negative).sign())
    rows = read("calibration").where(arm="hinge", truth=truth).rows
    assert all(row["l2"] == 1 for row in rows)
    assert all(row["mistakes"] <= row["loss"] * (1 + 1e-6) and row["loss"] <= 2 * row["mistakes"] * (1 + 1e-6) for row in rows)


@pytest.mark.parametrize("arm", calibration.ARMS)
def test_every_table_decides_by_majority(arm: str) -> None:
    positive, negative = calibration.answers("census", 4000, 0)
    for ridge in calibration.RIDGES:
        scores, _ = calibration.table(arm, positive, negative, ridge)
        assert torch.equal(scores.sign(), (positive - negative).sign())


def test_one_ridge_for_all_sizes_the_smaller_the_lower_the_power() -> None:
    effects = [calibration.one_ridge(read("calibration"), ridge) for ridge in calibration.RIDGES]
    assert [effect.mean for effect in effects] == sorted([effect.mean for effect in effects], reverse=True)
    assert all(effect.low > 0.5 for effect in effects)
