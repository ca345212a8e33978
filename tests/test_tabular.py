"""Decisions in sequence: values against plain loops over the table, regret against its two identities, the loss against its formula."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from lossbook import decisions
from lossbook.decisions import _tabular
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
        (
            ValueError,
            lambda: decisions.policy_values(MAKERS["lake"](), torch.zeros(3).long(), discount=0.9),
            r"`policy` should have shape \(16,\) or \(16, 4\)",
        ),
        (ValueError, lambda: decisions.policy_values(MAKERS["lake"](), torch.full((16,), 4), discount=0.9), r"`policy` should lie in \[0, 4\)"),
        (
            ValueError,
            lambda: decisions.policy_regret(MAKERS["lake"](), torch.ones(16, 4) / 3, discount=0.9),
            "`policy` should sum to 1 along axis 1",
        ),
        (
            ValueError,
            lambda: decisions.occupancy(MAKERS["lake"](), torch.zeros(16).long(), discount=0.9, start=torch.ones(3)),
            "`start` should have shape",
        ),
        (ValueError, lambda: decisions.opportunity_cost(torch.tensor(1.0)), "`q_values` should have shape"),
        (ValueError, lambda: decisions.opportunity_cost_loss(Z, Z / 0), "`costs` should be finite"),
    ],
)
def test_bad_calls_say_what_was_expected(error: type[Exception], call, words: str) -> None:
    with pytest.raises(error, match=words):
        call()


# --- every table that is no table of probabilities is refused, in words that name state and action -------------------------------------------------


class Given(gymnasium.Env[int, int]):
    """An environment that is its table."""

    def __init__(self, table: Any, start: Any = None) -> None:
        self.P = table
        self.action_space = gymnasium.spaces.Discrete(2)
        if start is not None:
            self.initial_state_distrib = start


def two_states(outcomes: Any) -> Given:
    """Nothing happens, but for one action in one state."""
    stay = [(1.0, 0, 0.0, False)]
    return Given({0: {0: stay, 1: stay}, 1: {0: stay, 1: outcomes}})


SPOILT = {
    "half of the probability": ([(0.5, 0, -1.0, False)], "sum to 1; found a sum of 0.5"),
    "too much of it": ([(0.6, 0, -1.0, False)] * 2, "sum to 1; found a sum of 1.2"),
    "above 1": ([(1.2, 0, -1.0, False), (-0.2, 1, 0.0, False)], "probabilities from 0 to 1; found 1.2"),
    "below 0": ([(-0.5, 0, 1.0, False), (1.5, 0, 1.0, False)], "probabilities from 0 to 1; found -0.5"),
    "a state before the first": ([(1.0, -1, -1.0, False)], "states from 0 to 1; found -1"),
    "a state after the last": ([(0.5, 0, 0.0, False), (0.5, 2, 0.0, False)], "states from 0 to 1; found 2"),
    "half a state": ([(1.0, 0.5, 0.0, False)], "states from 0 to 1; found 0.5"),
    "five of four": ([(1.0, 0, -1.0, False, {})] * 4, "four finite numbers"),
    "three of four": ([(1.0, 0, -1.0)], "four finite numbers"),
    "five and three": ([(0.5, 0, -1.0, False, 0.5), (1, 0.0, False)], "four finite numbers"),
    "NaN": ([(1.0, 0, math.nan, False)], r"four finite numbers.*nan"),
    "an infinite reward": ([(1.0, 0, math.inf, False)], "four finite numbers"),
    "a text": ([("all", 0, 1.0, False)], "four finite numbers"),
    "nothing for a reward": ([(1.0, 0, None, False)], r"four finite numbers.*None"),
    "a complex number": ([(1j, 0, 1.0, False)], "four finite numbers"),
    "less than no end": ([(1.0, 0, 1.0, -1)], "True or False of the end of an episode; found -1"),
    "half an end": ([(1.0, 0, 1.0, 0.5)], "True or False"),
    "nowhere to go": ([], "sum to 1; found a sum of 0"),
    "a number": (1.0, "list its outcomes; found a float"),
    "one outcome without its list": ((1.0, 0, 0.0, False), "four finite numbers"),
}


@pytest.mark.parametrize(("outcomes", "words"), SPOILT.values(), ids=SPOILT)
def test_a_spoilt_table_is_refused_where_it_is_spoilt(outcomes: Any, words: str) -> None:
    """γ Σ p > 1 used to run for ever, -1 to be the last state, and NumPy to speak for itself."""
    env = two_states(outcomes)
    for call in (
        lambda: decisions.read_table(env),
        lambda: decisions.value_iteration(env, discount=0.99),
        lambda: decisions.policy_regret(env, torch.tensor([0, 0]), discount=0.99),
    ):
        with pytest.raises(ValueError, match=rf"^`env.unwrapped.P\[1\]\[1\]` should .*{words}"):
            call()


GOOD = {0: [(1.0, 0, 0.0, False)], 1: [(1.0, 0, 1.0, False)]}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([GOOD], "`env.unwrapped.P` should map each state to its actions; found a list"),
        ({0: [GOOD[0], GOOD[1]]}, r"`env.unwrapped.P\[0\]` should map each action to its outcomes; found a list"),
        ({}, "`env.unwrapped.P` should have at least one state; found none"),
        ({1: GOOD}, "`env.unwrapped.P` should have every state from 0 to 0; found no state 0"),
        ({0: {0: GOOD[0], 2: GOOD[1]}}, r"`env.unwrapped.P\[0\]` should have every action from 0 to 1; found no action 1"),
        ({0: GOOD, 1: {0: GOOD[0]}}, "`env` should have 2 actions in each state of its table; found 1 in state 1"),
        ({0: {0: GOOD[0], 1: iter(GOOD[1])}}, r"`env.unwrapped.P\[0\]\[1\]` should list its outcomes; found a list_iterator"),
        ({0: {0: GOOD[0], 1: [iter(GOOD[1][0])]}}, r"`env.unwrapped.P\[0\]\[1\]` should have outcomes of four finite numbers"),
    ],
)
def test_a_table_of_another_form_is_refused(table: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decisions.value_iteration(Given(table), discount=0.9)


def test_a_table_made_by_hand_is_of_real_numbers_and_no_sum_of_it_is_in_half_precision() -> None:
    fields = decisions.read_table(two_states([(1.0, 1, 1.0, False)]))._asdict()
    for field in ("rewards", "going_on", "start"):
        with pytest.raises(TypeError, match=f"`{field}` should have a dtype of real numbers; found torch.complex128"):
            decisions.Table(**{**fields, field: fields[field] + 0j})
    outcomes = torch.tensor([0.5, 0.5, 4e-4], dtype=torch.float16)  # 1.0004, which float16 does not hold
    shape = (*fields["rewards"].shape, 3)
    with pytest.raises(ValueError, match=r"`going_on` should sum to at most 1 along axis 2; found 1\.0004"):
        decisions.Table(**{**fields, "going_on": outcomes.expand(shape), "successors": torch.zeros(shape, dtype=torch.int64)})


@pytest.mark.parametrize("start", [[-1.0], [math.nan], [0.5, 0.5], [0.0], ["first"]], ids=str)
def test_where_an_episode_starts_is_a_distribution(start: Any) -> None:
    with pytest.raises(ValueError, match=r"`env.unwrapped.initial_state_distrib` should be 1 probabilities that sum to 1; found"):
        decisions.read_table(Given({0: GOOD}, start))
    for bad in (torch.tensor([5.0]), torch.tensor([-1.0]), torch.tensor([math.nan])):
        with pytest.raises(ValueError, match="`start` should "):
            decisions.policy_regret(Given({0: GOOD}), torch.tensor([0]), discount=0.9, start=bad)
    with pytest.raises(TypeError, match="`start` should have a dtype of real numbers"):
        decisions.occupancy(Given({0: GOOD}), torch.tensor([0]), discount=0.9, start=torch.tensor([1 + 0j]))


def test_what_is_no_error_in_a_table() -> None:
    """Keys in another order, NumPy's numbers, probabilities of float32, lists for tuples, several outcomes beside one."""
    third = np.float32(1 / 3)
    several = [[third, np.int64(0), np.float32(3.0), np.bool_(False)], (third, 1, 3, 0), (third, 1, 3.0, True)]
    env = Given({1: {1: [(1.0, 0, 1.0, False)], 0: several}, 0: {0: [(1.0, 1, 0.5, False)], 1: [(1.0, 1, 0.0, True)]}})
    # V0 = .5 + γ V1, V1 = 3 + γ (V0 + V1) / 3 at γ = 1/2: V1 = 3 + (.5 + V1 / 2 + V1) / 6, so 3/4 V1 = 37/12
    expected = torch.tensor([0.5 + 37 / 18, 37 / 9], dtype=torch.float64)
    torch.testing.assert_close(decisions.value_iteration(env, discount=np.float32(0.5)).values, expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(decisions.policy_values(env, torch.tensor([0, 0], dtype=torch.uint16), discount=0.5), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("going_on", lambda t: 1.2 * t.going_on, r"`going_on` should lie in \[0, 1\]"),
        ("going_on", lambda t: torch.cat([t.going_on, t.going_on], 2)[..., :2] + 0.2, r"`going_on` should have shape \(2, 2, 1\)"),
        ("successors", lambda t: t.successors - 1, r"`successors` should lie in \[0, 2\); found values from -1"),
        ("successors", lambda t: t.successors + 7, r"`successors` should lie in \[0, 2\)"),
        ("successors", lambda t: t.successors[0], r"`successors` should have shape \(2, 2\) and one axis of outcomes"),
        ("rewards", lambda t: t.rewards / 0, "`rewards` should be finite; found NaN"),
        ("rewards", lambda t: t.rewards[0], r"`rewards` should have shape \[S, A\]"),
        ("start", lambda t: t.start[:1], r"`start` should have shape \(2,\)"),
        ("start", lambda t: t.start * 2, r"`start` should sum to 1 along axis 0"),
    ],
)
def test_a_table_made_by_hand_is_looked_at(field: str, value: Any, words: str) -> None:
    table = decisions.read_table(two_states([(1.0, 1, 1.0, False)]))
    with pytest.raises(ValueError, match=words):
        table._replace(**{field: value(table)})
    with pytest.raises(ValueError, match=words):
        decisions.Table(**{**table._asdict(), field: value(table)})
    doubled = (torch.full((2, 2, 2), 0.6), torch.zeros(2, 2, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"`going_on` should sum to at most 1 along axis 2; found 1\.2"):
        decisions.Table(rewards=table.rewards, successors=doubled[1], going_on=doubled[0], start=table.start)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_table_made_by_hand_is_one_of_float64(dtype: torch.dtype) -> None:
    whole = decisions.read_table(two_states([(0.5, 1, 3.0, False), (0.5, 0, 1.0, True)]))
    narrow = decisions.Table(
        rewards=whole.rewards.to(dtype).requires_grad_(),
        successors=whole.successors.to(torch.uint16),
        going_on=whole.going_on.to(dtype),
        start=whole.start.to(dtype),
    )
    assert [(field.dtype, field.requires_grad) for field in narrow] == [(field.dtype, False) for field in whole]
    for one, other in zip(decisions.value_iteration(narrow, discount=0.9), decisions.value_iteration(whole, discount=0.9), strict=True):
        assert torch.equal(one, other)  # halves are halves in every dtype


# --- exact values ----------------------------------------------------------------------------------------------------------------------------------


def exactly(table: decisions.Table, actions: list[int], discount: float) -> list[Fraction]:
    """V of a policy where every move has one outcome and nothing ends, in fractions: follow it until a state comes again."""
    gamma, rewards, after = Fraction(discount), table.rewards.tolist(), table.successors.tolist()

    def value(state: int) -> Fraction:
        seen, earned, total = {}, [], Fraction(0)
        while state not in seen:
            seen[state] = len(earned)
            earned.append(total)
            total += gamma ** (len(earned) - 1) * Fraction(rewards[state][actions[state]])
            state = after[state][actions[state]][0]
        first, steps = earned[seen[state]], len(earned) - seen[state]
        return first + (total - first) / (1 - gamma**steps)

    return [value(state) for state in range(len(actions))]


def ring(seed: int) -> Given:
    """Forty states in a ring, forward or back, each with a reward of its own."""
    rewards = np.random.default_rng(seed).normal(size=(40, 2)).tolist()
    return Given({s: {a: [(1.0, (s + 2 * a - 1) % 40, rewards[s][a], False)] for a in range(2)} for s in range(40)})


def assert_optimal(table: decisions.Table, found: decisions.Values, discount: float) -> None:
    """The policy is the best one to the last digit, by the Bellman equation in fractions, and its values are these."""
    values = exactly(table, found.q_values.argmax(dim=1).tolist(), discount)
    for state, (rewards, after) in enumerate(zip(table.rewards.tolist(), table.successors.tolist(), strict=True)):
        moves = [Fraction(r) + Fraction(discount) * values[n] for r, (n,) in zip(rewards, after, strict=True)]
        assert max(moves) == values[state]
    scale = max(map(abs, values))
    assert max(abs(Fraction(v) - exact) for v, exact in zip(found.values.tolist(), values, strict=True)) <= scale * Fraction(1e-15) / (
        1 - Fraction(discount)
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("discount", [0.999, 0.999999])
def test_values_on_rings_are_exact(seed: int, discount: float) -> None:
    """So long a horizon that policies, not sweeps, decide."""
    table = decisions.read_table(ring(seed))
    found = decisions.value_iteration(table, discount=discount)
    assert_optimal(table, found, discount)
    ahead = table.rewards + discount * found.values[table.successors[..., 0]]
    assert float((ahead.amax(dim=1) - found.values).abs().max()) < 1e-15 / (1 - discount) * float(found.values.abs().max())


def test_the_better_of_two_long_ways_by_a_billionth() -> None:
    """One pays 1 a step; the other pays once, after forty steps, and 2e-9 more: no forty sweeps see it, and over all laps it is worth 5e-8."""
    gamma = Fraction(0.999)
    late = float((sum(gamma**step for step in range(40)) + Fraction(2, 10**9)) / gamma**39)
    table: dict[int, Any] = {0: {0: [(1.0, 40, 1.0, False)], 1: [(1.0, 1, 0.0, False)]}}
    for first, pay, last in ((1, 0.0, late), (40, 1.0, 1.0)):
        for state in range(first, first + 39):
            move = [(1.0, 0 if state == first + 38 else state + 1, last if state == first + 38 else pay, False)]
            table[state] = {0: move, 1: move}
    read = decisions.read_table(Given(table))
    found = decisions.value_iteration(read, discount=0.999)
    assert found.q_values[0].argmax() == 1
    assert_optimal(read, found, 0.999)


def test_a_discount_near_1_ends_and_one_too_near_is_refused() -> None:
    for seed in range(4):
        table = decisions.read_table(ring(seed))
        found = decisions.value_iteration(table, discount=1 - 1e-12)
        assert float((found.q_values.amax(dim=1) - found.values).abs().max()) == 0
    for call in (decisions.value_iteration, lambda env, discount: decisions.policy_values(env, torch.zeros(40).long(), discount=discount)):
        with pytest.raises(ValueError, match="`discount` should be at most 1 - 1e-12, beyond which float64 has no digits left"):
            call(ring(0), discount=1 - 2**-53)


@pytest.mark.parametrize("seed", [3, 46, 84, 100])
def test_where_rounding_has_the_last_word_the_search_ends(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At horizons of a million million steps policies gain over each other by rounding alone, and in these tables they took turns for ever."""
    rng = np.random.default_rng(seed)
    states, actions, count = (int(rng.integers(low, high)) for low, high in ((2, 30), (2, 4), (1, 4)))

    def outcomes() -> list[tuple[float, int, float, bool]]:
        return [(float(prob), int(rng.integers(states)), float(rng.integers(0, 2)), False) for prob in rng.dirichlet(np.ones(count))]

    env, solves = Given({s: {a: outcomes() for a in range(actions)} for s in range(states)}), []
    env.action_space = gymnasium.spaces.Discrete(actions)
    solve = _tabular._Moves.values_of

    def counted(moves: Any, actions: Any) -> Any:
        solves.append(1)
        assert len(solves) < 100
        return solve(moves, actions)

    monkeypatch.setattr(_tabular._Moves, "values_of", counted)
    for discount in (1 - 1e-12, 1 - 1e-10):
        solves.clear()
        found, table = decisions.value_iteration(env, discount=discount), decisions.read_table(env)
        ahead = table.rewards + discount * (table.going_on * found.values[table.successors]).sum(dim=2)
        # the values of two classes of states that never meet are each known to 1e-15 / (1 - γ), and one step decides between them
        assert float((ahead.amax(dim=1) - found.values).abs().max()) < 1e-15 / (1 - discount) * float(found.values.abs().max())


def test_a_table_made_by_hand_that_sums_to_a_little_above_1() -> None:
    """As float32 may leave it: a reward of 1 for ever is worth 1 / (1 - γ), and not 1 / (1 - 1.0000008 γ), which is below 0."""
    whole = decisions.read_table(Given({0: {0: [(0.5, 0, 1.0, False)] * 2, 1: [(0.5, 0, 0.0, False)] * 2}}))
    table = whole._replace(going_on=whole.going_on + 4e-7)
    gamma = 1 - 1e-7
    assert float(decisions.value_iteration(table, discount=gamma).values) == pytest.approx(1e7, rel=1e-8)
    assert float(decisions.policy_values(table, torch.tensor([0]), discount=gamma)) == pytest.approx(1e7, rel=1e-8)


# --- policies in every form ------------------------------------------------------------------------------------------------------------------------


def test_what_a_policy_earns_has_its_gradient(generator: torch.Generator) -> None:
    table = decisions.read_table(MAKERS["lake"]())
    logits = torch.randn(16, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    start = torch.rand(16, dtype=torch.float64, generator=generator).softmax(dim=0).requires_grad_()
    for measure in (decisions.policy_values, decisions.occupancy, decisions.policy_regret):
        assert torch.autograd.gradcheck(lambda z, measure=measure: measure(table, z.softmax(dim=1), discount=0.9), logits)
    assert torch.autograd.gradcheck(lambda s: decisions.policy_regret(table, logits.detach().softmax(dim=1), discount=0.9, start=s / s.sum()), start)
    many = torch.stack([logits.detach(), -logits.detach()]).softmax(dim=2)
    mapped = torch.vmap(lambda policy: decisions.policy_values(table, policy, discount=0.9))(many)
    torch.testing.assert_close(mapped, torch.stack([decisions.policy_values(table, policy, discount=0.9) for policy in many]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_policy_in_half_precision_is_a_distribution(dtype: torch.dtype, generator: torch.Generator) -> None:
    """Its rows sum to 1 to within rounding; what is missing is not lost at every step."""
    env, policy = MAKERS["cliff"](), torch.rand(48, 4, generator=generator).softmax(dim=1).to(dtype)
    whole = policy.double() / policy.double().sum(dim=1, keepdim=True)
    assert not torch.equal(whole, policy.double())
    found = decisions.policy_values(env, policy, discount=0.999)
    torch.testing.assert_close(found, decisions.policy_values(env, whole, discount=0.999), rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8, torch.uint16, torch.uint32, torch.uint64])
def test_actions_of_every_integer_dtype(dtype: torch.dtype) -> None:
    env, actions = MAKERS["lake"](), torch.arange(16) % 4
    assert torch.equal(decisions.policy_values(env, actions.to(dtype), discount=0.9), decisions.policy_values(env, actions, discount=0.9))
    for extreme in {torch.iinfo(dtype).max, torch.iinfo(dtype).min} - {0}:
        with pytest.raises(ValueError, match=r"`policy` should lie in \[0, 4\)"):
            decisions.policy_values(env, torch.full((16,), extreme, dtype=dtype), discount=0.9)


def test_a_table_read_without_gradients_can_be_used_with_them() -> None:
    with torch.inference_mode():
        table = decisions.read_table(MAKERS["lake"]())
        best = decisions.value_iteration(table, discount=0.9)
    policy = torch.full((16, 4), 0.25, requires_grad=True)
    (decisions.policy_values(table, policy, discount=0.9) - best.values).sum().backward()
    assert policy.grad is not None
    assert bool(policy.grad.isfinite().all())


def test_no_cost_among_no_actions_and_extreme_costs() -> None:
    with pytest.raises(ValueError, match=r"`logits` should have shape \[N, A\] with A ≥ 1; found"):
        decisions.opportunity_cost_loss(torch.zeros(2, 0), torch.zeros(2, 0))
    logits = torch.tensor([[3e38, -3e38, 0.0]], requires_grad=True)
    value = decisions.opportunity_cost_loss(logits, torch.tensor([[2.0, 3e38, 1.0]]))
    value.backward()
    assert value.item() == 2
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0, 0, 0]]
    q_values = torch.tensor([6e4, -6e4], dtype=torch.float16)
    assert decisions.opportunity_cost(q_values).tolist() == [0, 2 * float(q_values[0])]  # an infinity in float16
