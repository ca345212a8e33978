"""C61 and C62: each measure holds, and each number is confirmed by other means."""

from __future__ import annotations

import pytest
import torch

from lossbook.book.claims import LEDGER
from lossbook.book.claims import opportunity_cost as claims


def test_numbers_of_the_ledger() -> None:
    cliff, bayes = LEDGER["C61"].measure(), LEDGER["C62"].measure()
    assert cliff.value == pytest.approx(9987.75, abs=5e-3)
    assert cliff.details["regret_of_20_mistakes_where_nobody_goes"] == pytest.approx(0, abs=1e-9)
    assert bayes.value == pytest.approx(0.8)
    assert bayes.details["cost_of_acting_on_the_likeliest_state"] == pytest.approx(2.0)


def test_the_one_mistake_costs_what_a_long_walk_says() -> None:
    """Stepping right at the start costs 100 and leads back, so V^π = -100 / (1 - γ); the shortest way has 13 steps at a cost of 1."""
    import gymnasium

    env = gymnasium.make("CliffWalking-v1")
    env.reset(seed=0)
    rewards = [float(env.step(1)[1]) for _ in range(2000)]
    discounted = sum(reward * 0.99**step for step, reward in enumerate(rewards))
    shortest = -sum(0.99**step for step in range(13))
    assert LEDGER["C61"].measure().value == pytest.approx(shortest - discounted, abs=1e-4)


def test_a_wrong_decision_rule_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims.decisions, "bayes_decision", lambda probs, costs: probs.argmax(dim=1))
    assert not claims.the_likeliest_state_is_not_the_point(0).holds


def test_a_regret_that_forgets_visits_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims.decisions, "occupancy", lambda env, policy, *, discount: torch.zeros(48, dtype=torch.float64))
    assert not claims.one_mistake_can_outweigh_twenty(0).holds
