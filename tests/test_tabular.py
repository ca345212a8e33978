"""Decisions in sequence: values against plain loops over the table, regret against its two identities, the loss against its formula."""

from __future__ import annotations

from typing import Any

import gymnasium
import pytest
import torch
from torch import Tensor

from lossbook import decisions
from tests.tolerances import assert_near

MAKERS = {
    "lake": lambda: gymnasium.make("FrozenLake-v1"),
    "wide lake": lambda: gymnasium.make("FrozenLake-v1", map_name="8x8"),
    "cliff": lambda: gymnasium.make("CliffWalking-v1"),
    "taxi": lambda: gymnasium.make("Taxi-v4"),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def env(request: pytest.FixtureRequest) -> Any:
    return request.param()


def loops(table: dict[int, dict[int, list[tuple[float, int, float, bool]]]], discount: float) -> list[list[float]]:
    """Q* by value iteration written out, to 1e-13."""

    def ahead(state: int, action: int) -> float:
        return sum(p * (r + discount * values[n] * (not done)) for p, n, r, done in table[state][action])

    values = [0.0] * len(table)
    while True:
        moved = 0.0
        for state in table:
            best = max(ahead(state, action) for action in table[state])
            moved, values[state] = max(moved, abs(best - values[state])), best
        if moved < 1e-13:
            return [[ahead(state, action) for action in table[state]] for state in table]


@pytest.mark.parametrize("discount", [0.0, 0.9])
def test_values_are_those_of_plain_loops(env: Any, discount: float) -> None:
    found = decisions.value_iteration(env, discount=discount)
    expected = torch.tensor(loops(env.unwrapped.P, discount), dtype=torch.float64)
    torch.testing.assert_close(found.q_values, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.values, expected.amax(dim=1), rtol=0, atol=1e-10)


def test_values_at_a_discount_of_0_99() -> None:
    lake, cliff = (decisions.value_iteration(MAKERS[name](), discount=0.99) for name in ("lake", "cliff"))
    assert float(lake.values[0]) == pytest.approx(0.54203, abs=5e-6)
    # thirteen steps of -1 from the start around the cliff: -(1 - γ^13) / (1 - γ)
    assert float(cliff.values[36]) == pytest.approx(-(1 - 0.99**13) / 0.01, rel=1e-12)


def test_a_table_read_before_gives_the_same(env: Any) -> None:
    table = decisions.read_table(env)
    assert torch.equal(decisions.value_iteration(table, discount=0.9).q_values, decisions.value_iteration(env, discount=0.9).q_values)
    sums = [sum(p * (not over) for p, _, _, over in env.unwrapped.P[state][1]) for state in env.unwrapped.P]
    torch.testing.assert_close(table.going_on[:, 1].sum(dim=1), torch.tensor(sums, dtype=torch.float64))
    best = decisions.value_iteration(table, discount=0.9).q_values.argmax(dim=1)
    assert abs(float(decisions.policy_regret(table, best, discount=0.9))) < 1e-9


def test_a_maze_longer_than_thirty_sweeps() -> None:
    """From one end of a frozen corridor of 60 fields to the other: the goal is worth γ^(steps - 1)."""
    env = gymnasium.make("FrozenLake-v1", desc=["S" + "F" * 58 + "G"], is_slippery=False)
    values = decisions.value_iteration(env, discount=0.97).values
    torch.testing.assert_close(values[:59], 0.97 ** torch.arange(58, -1, -1, dtype=torch.float64), rtol=0, atol=1e-12)


def random_policy(q_values: Tensor, source: torch.Generator) -> Tensor:
    return torch.rand(q_values.shape, dtype=torch.float64, generator=source).mul(5).softmax(dim=1)


def test_regret_is_visits_times_opportunity_cost(env: Any, generator: torch.Generator) -> None:
    """The performance difference lemma, for mixed policies."""
    q_values = decisions.value_iteration(env, discount=0.95).q_values
    policy = random_policy(q_values, generator)
    visits = decisions.occupancy(env, policy, discount=0.95)
    by_visits = (visits * (policy * decisions.opportunity_cost(q_values)).sum(dim=1)).sum()
    regret = decisions.policy_regret(env, policy, discount=0.95)
    assert float(regret) == pytest.approx(float(by_visits), rel=1e-9, abs=1e-9)
    assert float(regret) > 0


def test_the_best_policy_has_no_regret_and_a_mistake_where_nobody_goes_costs_nothing() -> None:
    env = MAKERS["cliff"]()
    best = decisions.value_iteration(env, discount=0.99).q_values.argmax(dim=1)
    assert abs(float(decisions.policy_regret(env, best, discount=0.99))) < 1e-9
    unvisited = best.clone()
    visits = decisions.occupancy(env, best, discount=0.99)
    unvisited[visits == 0] = (unvisited[visits == 0] + 1) % 4
    assert int((unvisited != best).sum()) >= 20
    assert abs(float(decisions.policy_regret(env, unvisited, discount=0.99))) < 1e-9
    stuck = best.clone()
    stuck[36] = 1  # right at the start: over the cliff and back, for ever, at -100 a step
    assert float(decisions.policy_regret(env, stuck, discount=0.99)) == pytest.approx(100 / 0.01 - (1 - 0.99**13) / 0.01, rel=1e-9)


def test_policy_values_agree_with_episodes(generator: torch.Generator) -> None:
    env = MAKERS["lake"]()
    best = decisions.value_iteration(env, discount=0.9).q_values.argmax(dim=1)
    exact = float(decisions.policy_values(env, best, discount=0.9)[0])
    returns = []
    for seed in range(1500):
        state, _ = env.reset(seed=seed)
        total, factor, over = 0.0, 1.0, False
        while not over:
            state, reward, terminated, truncated, _ = env.step(int(best[state]))
            total, factor, over = total + factor * float(reward), factor * 0.9, terminated or truncated
        returns.append(total)
    sample = torch.tensor(returns, dtype=torch.float64)
    assert float(sample.mean()) == pytest.approx(exact, abs=5 * float(sample.std()) / len(sample) ** 0.5)


def test_occupancy_sums_to_the_horizon_where_nothing_ends() -> None:
    env = MAKERS["cliff"]()
    up = torch.zeros(48, dtype=torch.long)  # walks into the wall for ever
    start = torch.zeros(48, dtype=torch.float64)
    start[36] = 1
    visits = decisions.occupancy(env, up, discount=0.9, start=start)
    assert float(visits.sum()) == pytest.approx(10, rel=1e-9)
    assert visits[[36, 24, 12]].tolist() == pytest.approx([1, 0.9, 0.81])


def test_cost_loss_is_the_expectation(device: torch.device, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    logits = torch.randn(7, 4, dtype=real_dtype, generator=generator)
    costs, weight = torch.rand(7, 4, dtype=real_dtype, generator=generator), torch.rand(7, dtype=real_dtype, generator=generator)
    odds = logits.double().exp()
    expected = (odds / odds.sum(dim=1, keepdim=True) * costs.double()).sum(dim=1) * weight.double()
    each = decisions.opportunity_cost_loss(logits.to(device), costs.to(device), weight=weight.to(device), reduction="none")
    assert_near(each, expected, real_dtype)
    torch.testing.assert_close(decisions.opportunity_cost_loss(logits, costs, weight=weight), each.cpu().sum() / 7)
    torch.testing.assert_close(decisions.opportunity_cost_loss(logits, costs, weight=weight, reduction="sum"), each.cpu().sum())


def test_cost_loss_gradients_compile_and_vmap(generator: torch.Generator) -> None:
    logits = torch.randn(3, 5, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    costs = torch.rand(3, 5, 4, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(lambda z: decisions.opportunity_cost_loss(z, costs[0]), logits[0])
    assert torch.autograd.gradgradcheck(lambda z: decisions.opportunity_cost_loss(z, costs[0]), logits[0])
    one_by_one = torch.stack([decisions.opportunity_cost_loss(z, c) for z, c in zip(logits, costs, strict=True)])
    torch.testing.assert_close(torch.vmap(decisions.opportunity_cost_loss)(logits, costs), one_by_one)
    compiled = torch.compile(decisions.opportunity_cost_loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits[0].detach(), costs[0]), one_by_one[0])


def test_cost_loss_survives_extremes(dtype: torch.dtype, device: torch.device) -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], dtype=dtype, device=device, requires_grad=True)
    value = decisions.opportunity_cost_loss(logits, torch.tensor([[0, 1e4], [0, 1e4]], dtype=dtype, device=device), reduction="none")
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.tolist() == pytest.approx([0, 1e4], rel=4e-3)
    assert not bool(gradient.isnan().any())


Z = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("error", "call", "words"),
    [
        (TypeError, lambda: decisions.value_iteration(gymnasium.make("CartPole-v1"), discount=0.9), "`env` should have a table of transitions"),
        (
            TypeError,
            lambda: decisions.value_iteration(gymnasium.make("Pendulum-v1"), discount=0.9),
            "`env` should be a gymnasium environment with discrete",
        ),
        (ValueError, lambda: decisions.value_iteration(MAKERS["lake"](), discount=1.0), r"`discount` should lie in \[0, 1\)"),
        (
            ValueError,
            lambda: decisions.policy_values(MAKERS["lake"](), torch.zeros(3).long(), discount=0.9),
            r"`policy` should have shape \(16,\) or \(16, 4\)",
        ),
        (ValueError, lambda: decisions.policy_values(MAKERS["lake"](), torch.full((16,), 4), discount=0.9), r"`policy` should lie in \[0, 4\)"),
        (
            ValueError,
            lambda: decisions.policy_regret(MAKERS["lake"](), torch.ones(16, 4) / 3, discount=0.9),
            "`policy` should have rows that sum to 1",
        ),
        (
            ValueError,
            lambda: decisions.occupancy(MAKERS["lake"](), torch.zeros(16).long(), discount=0.9, start=torch.ones(3)),
            "`start` should have shape",
        ),
        (TypeError, lambda: decisions.opportunity_cost(torch.tensor([1, 2])), "`q_values` should have a floating-point"),
        (ValueError, lambda: decisions.opportunity_cost(torch.tensor(1.0)), "`q_values` should have shape"),
        (ValueError, lambda: decisions.opportunity_cost_loss(Z, Z[:1]), r"`costs` should have shape \(2, 3\) to match `logits`"),
        (ValueError, lambda: decisions.opportunity_cost_loss(Z, Z / 0), "`costs` should be finite"),
        (ValueError, lambda: decisions.opportunity_cost_loss(Z, Z, weight=torch.ones(3)), r"`weight` should have shape \(2,\)"),
        (ValueError, lambda: decisions.opportunity_cost_loss(Z, Z, reduction="avg"), "`reduction`"),
    ],
)
def test_bad_calls_say_what_was_expected(error: type[Exception], call, words: str) -> None:
    with pytest.raises(error, match=words):
        call()
