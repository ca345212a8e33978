"""Decisions where there is no table: real episodes, and prices from a planner that copies the world and tries each move.

Any gymnasium environment with discrete actions will do. The public face is `lossbook.decisions`. Chapter: opportunity-cost.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import full_precision, outside_graphs, plain_arguments
from lossbook.decisions._tabular import action_count

Policy = Callable[[Any], Any]  # from an observation to an action


class Estimate(NamedTuple):
    """A mean with the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def _as_policy(env: Any, policy: Policy | Tensor) -> Callable[[Any], int]:
    """A function, or the one that looks up a tensor of actions [S]; what it says is an action of the environment's, or an error says so."""
    first = int(getattr(env.action_space, "start", 0))
    last = first + action_count(env) - 1
    choose = _looked_up(env, policy) if isinstance(policy, Tensor) else policy
    if not callable(choose):
        checks.wrong_type("policy", "be a function of an observation, or a tensor of actions [S]", type(policy).__name__)

    def act(observation: Any) -> int:
        said = choose(observation)
        try:
            action = int(said)
            known = bool(action == said) and first <= action <= last
        except (TypeError, ValueError, OverflowError, RuntimeError):
            known = False
        if not known:
            checks.wrong_value("policy", f"give actions from {first} to {last}", said)
        return action

    return act


def _looked_up(env: Any, policy: Tensor) -> Policy:
    checks.check_integer("policy", policy)
    checks.check_ndim("policy", policy, 1, "[S]")
    checks.check_concrete("policy", policy)
    space: Any = getattr(env, "observation_space", None)
    if type(space).__name__ != "Discrete":
        checks.wrong_type("policy", "be a function where observations are not numbers of states", "a tensor")
    if len(policy) != int(space.n):
        checks.wrong_value("policy", f"have shape ({int(space.n)},), an action for each state", tuple(policy.shape))
    actions, start = policy.tolist(), int(getattr(space, "start", 0))
    return lambda observation: actions[int(observation) - start]


def _follow(env: Any, action: int, policy: Callable[[Any], int], steps: int, discount: float) -> float:
    """Take the action, then follow the policy for at most so many steps in all: the discounted reward."""
    total, factor = 0.0, 1.0
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(action)
        total, factor = total + factor * float(reward), factor * discount
        if terminated or truncated:
            break
        action = policy(observation)
    return total


@plain_arguments
@outside_graphs
def episode_returns(
    env: Any, policy: Policy | Tensor, *, episodes: int = 100, discount: float = 1.0, max_steps: int = 10_000, seed: int = 0
) -> Tensor:
    """What the policy earns in real episodes: Σ_t γ^t r_t for each of them.

    Args:
        env: any gymnasium environment with discrete actions.
        policy: a function from an observation to an action, or actions [S] where observations are numbers of states.
        episodes: how many; the i-th is reset with seed `seed` + i.
        discount: γ in [0, 1].
        max_steps: where an episode that neither ends nor is cut off by the environment is left.
        seed: of the first episode.

    Returns:
        [episodes] float64.

    Raises:
        TypeError for another environment or policy; ValueError for a number out of range, or an action that the environment does not have.

    Example:
        >>> import gymnasium
        >>> episode_returns(gymnasium.make("CliffWalking-v1"), lambda state: 1, episodes=2, max_steps=5)
        tensor([-500., -500.], dtype=torch.float64)
    """
    action_count(env)
    follow = _as_policy(env, policy)
    checks.check_count("episodes", episodes)
    checks.check_count("max_steps", max_steps)
    checks.check_count("seed", seed, low=0)
    checks.check_number("discount", discount, low=0, high=1)

    def play(number: int) -> float:
        observation, _ = env.reset(seed=seed + number)
        return _follow(env, follow(observation), follow, max_steps, discount)

    return torch.tensor([play(number) for number in range(episodes)], dtype=torch.float64)


@full_precision
@outside_graphs
def mean_interval(returns: Tensor, *, confidence: float = 0.95) -> Estimate:
    """The mean of independent returns, and the interval mean ± t s / √n of Student's law.

    Args:
        returns: [N], floating, N ≥ 2.
        confidence: in (0, 1).

    Returns:
        An `Estimate(mean, low, high)`.

    Raises:
        TypeError or ValueError for other arguments.

    Example:
        >>> mean_interval(torch.tensor([1.0, 2.0, 3.0])).mean
        2.0
    """
    from scipy.special import stdtrit

    checks.check_floating("returns", returns)
    if returns.ndim != 1 or len(returns) < 2:
        checks.wrong_value("returns", "have shape [N] with N ≥ 2", tuple(returns.shape))
    checks.check_number("confidence", confidence, low=0, high=1, low_open=True, high_open=True)
    checks.check_concrete("returns", returns)
    count, sample = len(returns), returns.detach().double()
    unit = 2.0 ** (math.frexp(float(sample.abs().max()))[1] - 1)  # a power of two near the largest: no sum or square overflows, no digit changes
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * float((sample / unit).std()) * unit / math.sqrt(count)
    mean = float((sample / unit).mean()) * unit
    return Estimate(mean, mean - half, mean + half)


@plain_arguments
@outside_graphs
def rollout_q_values(env: Any, policy: Policy | Tensor, *, horizon: int, discount: float, rollouts: int = 1, seed: int = 0) -> Tensor:
    """Q^π(s, a) for every action in the state in which `env` stands, by trying: copy the world, take a, then follow π.

    All actions see the same chances, so that their differences, the opportunity costs, vary less than their values do. `env` itself doesn't move.

    Args:
        env: a gymnasium environment with discrete actions that has been reset and can be copied by `copy.deepcopy`.
        policy: as `episode_returns`.
        horizon: after how many steps a trial is cut off; what comes later counts as 0, so at most γ^horizon of it is missing.
        discount: γ in [0, 1].
        rollouts: how many trials of each action to average; one is enough where nothing is left to chance.
        seed: of the chances of the first trial.

    Returns:
        [A] float64.

    Raises:
        TypeError for another environment or policy, or one that can't be copied; ValueError for a number out of range, or an action that the
            environment does not have.

    Example:
        >>> import gymnasium
        >>> cliff = gymnasium.make("CliffWalking-v1")
        >>> _ = cliff.reset(seed=0)
        >>> rollout_q_values(cliff, lambda state: 0, horizon=2, discount=0.5)
        tensor([  -1.5000, -100.5000,   -1.5000,   -1.5000], dtype=torch.float64)

    Reference:
        M. Lagoudakis, R. Parr, "Reinforcement learning as classification", 2003, section 3.
    """
    import numpy as np

    actions, follow = action_count(env), _as_policy(env, policy)
    first = int(getattr(env.action_space, "start", 0))
    checks.check_count("horizon", horizon)
    checks.check_count("rollouts", rollouts)
    checks.check_count("seed", seed, low=0)
    checks.check_number("discount", discount, low=0, high=1)

    def attempt(action: int, number: int) -> float:
        twin = _copied(env)
        twin.unwrapped.np_random = np.random.default_rng(seed + number)
        return _follow(twin, first + action, follow, horizon, discount)

    trials = [[attempt(action, number) for action in range(actions)] for number in range(rollouts)]
    return torch.tensor(trials, dtype=torch.float64).mean(dim=0)


def _copied(env: Any) -> Any:
    try:
        return copy.deepcopy(env)
    except TypeError as error:
        raise TypeError(f"`env` should be an environment that `copy.deepcopy` can copy; found {type(env.unwrapped).__name__}.") from error
