"""Decisions without a table: returns against the exact values, prices by trying against the exact Q, and a car that learns from them."""

from __future__ import annotations

import threading
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from scipy import stats

from lossbook import decisions


def lake() -> Any:
    return gymnasium.make("FrozenLake-v1", max_episode_steps=1000)


def test_returns_agree_with_the_exact_value() -> None:
    env = lake()
    best = decisions.value_iteration(env, discount=0.9).q_values.argmax(dim=1)
    returns = decisions.episode_returns(env, best, episodes=1500, discount=0.9)
    exact = float(decisions.policy_values(env, best, discount=0.9)[0])
    assert float(returns.mean()) == pytest.approx(exact, abs=5 * float(returns.std()) / 1500**0.5)
    assert torch.equal(returns[3:5], decisions.episode_returns(env, lambda state: best[state], episodes=2, discount=0.9, seed=3))


def test_trying_every_move_gives_q_of_the_policy(generator: torch.Generator) -> None:
    env = lake()
    env.reset(seed=0)
    policy = torch.randint(0, 4, (16,), generator=generator)
    values = decisions.policy_values(env, policy, discount=0.9)
    exact = [sum(p * (r + 0.9 * float(values[n]) * (not over)) for p, n, r, over in env.unwrapped.P[14][a]) for a in range(4)]
    env.unwrapped.s = 14  # beside the goal, where moves differ
    single = torch.stack([decisions.rollout_q_values(env, policy, horizon=300, discount=0.9, seed=seed) for seed in range(600)])
    error = (single.mean(dim=0) - torch.tensor(exact)).abs()
    assert bool((error < 5 * single.std(dim=0) / 600**0.5 + 1e-9).all())
    together = decisions.rollout_q_values(env, policy, horizon=300, discount=0.9, rollouts=600)
    torch.testing.assert_close(together, single.mean(dim=0))
    assert env.unwrapped.s == 14  # the copies moved, not the world


def test_one_trial_is_exact_where_nothing_is_left_to_chance() -> None:
    """A car on its hill: the prices, added up along the way as the lemma says, are the whole difference to the teacher."""
    env = gymnasium.make("MountainCar-v0").unwrapped

    def teacher(observation: Any) -> int:
        return 2 if observation[1] >= 0 else 0

    observation, _ = env.reset(seed=1)
    start = np.array(env.state)
    total, factor = 0.0, 1.0
    for step in range(40):  # forty moves of a bad driver, then the teacher's
        q_values = decisions.rollout_q_values(env, teacher, horizon=400, discount=0.99)
        action = step % 3
        total += factor * float(q_values[teacher(observation)] - q_values[action])
        factor *= 0.99
        observation, *_ = env.step(action)
    after = decisions.rollout_q_values(env, teacher, horizon=400, discount=0.99)[teacher(observation)]
    driven = -sum(0.99**step for step in range(40)) + factor * float(after)
    env.reset(seed=1)
    env.state = start
    taught = float(decisions.rollout_q_values(env, teacher, horizon=400, discount=0.99)[teacher(start)])
    assert taught - driven == pytest.approx(total, abs=1e-9)


def test_interval_is_students() -> None:
    sample = torch.tensor([1.0, 4.0, 2.0, 8.0])
    found = decisions.mean_interval(sample, confidence=0.9)
    assert found[1:] == pytest.approx(stats.t.interval(0.9, 3, loc=3.75, scale=stats.sem(sample.numpy())))
    assert found.mean == pytest.approx(3.75)


class Locked(gymnasium.Env):
    """A world that can't be copied."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self.lock = threading.Lock()


def still(_: Any) -> int:
    return 0


@pytest.mark.parametrize(
    ("error", "call", "words"),
    [
        (TypeError, lambda: decisions.episode_returns(gymnasium.make("Pendulum-v1"), still), "discrete actions; found PendulumEnv with actions Box"),
        (TypeError, lambda: decisions.rollout_q_values(object(), still, horizon=1, discount=1.0), "discrete actions; found object"),
        (TypeError, lambda: decisions.rollout_q_values(Locked(), still, horizon=1, discount=1.0), "`copy.deepcopy` can copy; found Locked"),
        (TypeError, lambda: decisions.episode_returns(lake(), [0] * 16), "`policy` should be a function"),  # type: ignore[arg-type]
        (TypeError, lambda: decisions.episode_returns(lake(), torch.zeros(16)), "`policy` should have an integer dtype"),
        (ValueError, lambda: decisions.episode_returns(lake(), still, episodes=0), "`episodes` should be at least 1"),
        (ValueError, lambda: decisions.episode_returns(lake(), still, max_steps=0), "`max_steps` should be at least 1"),
        (ValueError, lambda: decisions.episode_returns(lake(), still, discount=1.5), "`discount` should lie in"),
        (ValueError, lambda: decisions.rollout_q_values(lake(), still, horizon=0, discount=1.0), "`horizon` should be at least 1"),
        (ValueError, lambda: decisions.rollout_q_values(lake(), still, horizon=1, discount=-0.1), "`discount` should lie in"),
        (ValueError, lambda: decisions.mean_interval(torch.ones(3), confidence=0.0), r"`confidence` should lie in \(0, 1\); found 0\.0"),
        (ValueError, lambda: decisions.mean_interval(torch.ones(1)), r"`returns` should have shape \[N\] with N ≥ 2"),
        (ValueError, lambda: decisions.mean_interval(torch.ones(3), confidence=1.0), "`confidence` should lie in"),
    ],
)
def test_bad_calls_say_what_was_expected(error: type[Exception], call, words: str) -> None:
    with pytest.raises(error, match=words):
        call()


# --- what a policy may say, and what numbers may be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [4, -1, 1.7, "right", None, np.nan, [1, 2], torch.tensor([1, 2])], ids=repr)
def test_an_action_that_there_is_not_is_refused(said: Any) -> None:
    """1.7 was taken for 1, and gymnasium's own errors named a key."""
    for call in (
        lambda: decisions.episode_returns(lake(), lambda state: said),
        lambda: decisions.rollout_q_values(reset(lake()), lambda state: said, horizon=3, discount=0.9),
    ):
        with pytest.raises(ValueError, match="`policy` should give actions from 0 to 3; found"):
            call()


def reset(env: Any) -> Any:
    env.reset(seed=0)
    return env


def test_a_table_of_actions_fits_its_environment() -> None:
    with pytest.raises(ValueError, match=r"`policy` should have shape \(16,\), an action for each state; found \(2,\)"):
        decisions.episode_returns(lake(), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="`policy` should give actions from 0 to 3; found 7"):
        decisions.episode_returns(lake(), torch.full((16,), 7))
    with pytest.raises(TypeError, match="`policy` should be a function where observations are not numbers of states; found a tensor"):
        decisions.episode_returns(gymnasium.make("CartPole-v1"), torch.zeros(16, dtype=torch.long))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.uint8, torch.uint16, torch.uint32, torch.uint64])
def test_numbers_of_every_kind(dtype: torch.dtype) -> None:
    actions = torch.arange(16) % 4
    plain = decisions.episode_returns(lake(), actions, episodes=3, discount=0.5, max_steps=20, seed=5)
    options = {"episodes": np.int64(3), "discount": np.float32(0.5), "max_steps": np.uint8(20), "seed": np.int32(5)}
    assert torch.equal(decisions.episode_returns(lake(), actions.to(dtype), **options), plain)
    assert torch.equal(decisions.episode_returns(lake(), lambda state: np.float64(actions[state]), **options), plain)
    for call in (
        lambda: decisions.episode_returns(lake(), actions, seed=-1),
        lambda: decisions.rollout_q_values(reset(lake()), actions, horizon=1, discount=1.0, seed=-1),
    ):
        with pytest.raises(ValueError, match="`seed` should be at least 0; found -1"):
            call()


class Shifted(gymnasium.Env[int, int]):
    """Actions 5 and 6 in states 3 and 4; the action less 5 is the reward, and the state goes round."""

    action_space = gymnasium.spaces.Discrete(2, start=5)
    observation_space = gymnasium.spaces.Discrete(2, start=3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        self.state = 3
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        assert action in (5, 6)
        self.state = 7 - self.state
        return self.state, float(action - 5), False, False, {}


def test_numbers_of_actions_and_states_may_start_anywhere() -> None:
    env = Shifted()
    # 6, 5, 6, 5: one reward every other step
    assert decisions.episode_returns(env, torch.tensor([6, 5]), episodes=1, max_steps=4, discount=0.5).tolist() == [1.25]
    env.reset()
    # then in state 4 the policy says 5, and in state 3 again 6
    found = decisions.rollout_q_values(env, torch.tensor([6, 5]), horizon=3, discount=0.5)
    assert found.tolist() == [0.25, 1.25]


@pytest.mark.parametrize("scale", [1e-300, 1e160, 1e307])
def test_an_interval_at_every_scale(scale: float) -> None:
    """A square of 1e160 is infinite, and the sum of two at 1e308 too."""
    sample = torch.tensor([1.0, 4.0, 2.0, 8.0], dtype=torch.float64)
    found, plain = decisions.mean_interval(scale * sample, confidence=np.float64(0.9)), decisions.mean_interval(sample, confidence=0.9)
    assert found == pytest.approx([scale * end for end in plain], rel=1e-12)
    assert decisions.mean_interval(torch.zeros(3)) == (0, 0, 0)
    half = torch.tensor([0.25, 0.5, 1.0], dtype=torch.float16)
    assert decisions.mean_interval(half) == decisions.mean_interval(half.double())
