"""Decisions in sequence: exact values, regret and opportunity cost on gymnasium's tables. The public face is `lossbook.decisions`.

An environment with a table says, for each state and action, what may follow: `env.unwrapped.P[state][action]` is a list of (probability, next
state, reward, terminated). After a terminal transition nothing more is earned. Chapter: opportunity-cost.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.reduction import Reduction, check_reduction, reduce

_Array = npt.NDArray[np.float64]


class Values(NamedTuple):
    """The optimal values V* [S] and Q* [S, A], float64, in units of reward."""

    values: Tensor
    q_values: Tensor


class Table(NamedTuple):
    """Expected rewards [S, A]; successors [S, A, M] with the probability [S, A, M] of going on there; how an episode starts [S]."""

    rewards: Tensor
    successors: Tensor
    going_on: Tensor
    start: Tensor


def action_count(env: Any) -> int:
    """How many actions there are; a TypeError where they aren't discrete."""
    space: Any = getattr(env, "action_space", None)
    if type(space).__name__ != "Discrete":
        found = f"{type(getattr(env, 'unwrapped', env)).__name__}" + (f" with actions {space}" if space is not None else "")
        checks.wrong_type("env", "be a gymnasium environment with discrete actions", found)
    return int(space.n)


def read_table(env: Any) -> Table:
    """The table of a tabular environment, as arrays. Every function here takes it in the environment's place, and needn't read it again.

    Args:
        env: a gymnasium environment with discrete actions and `env.unwrapped.P`, such as FrozenLake-v1, CliffWalking-v1 or Taxi-v4.

    Returns:
        A `Table`, padded to the largest number M of outcomes with outcomes of probability 0.

    Raises:
        TypeError for an environment without a table or with other actions; ValueError where a state has more or fewer actions than the others.

    Example:
        >>> import gymnasium
        >>> read_table(gymnasium.make("CliffWalking-v1")).rewards.shape
        torch.Size([48, 4])
    """
    if isinstance(env, Table):
        return env
    actions, base = action_count(env), getattr(env, "unwrapped", env)
    if not hasattr(base, "P"):
        checks.wrong_type("env", "have a table of transitions, `env.unwrapped.P`", type(base).__name__)
    states = len(base.P)
    wrong = [state for state, row in base.P.items() if len(row) != actions]
    if wrong:
        checks.wrong_value("env", f"have {actions} actions in each state of its table", f"{len(base.P[wrong[0]])} in state {wrong[0]}")
    rows = [base.P[state] for state in range(states)]
    outcomes = [row[action] for action in range(actions) for row in rows]
    counts = np.fromiter(map(len, outcomes), np.int64, len(outcomes))
    padded = np.zeros((len(outcomes), counts.max(), 4))
    padded[np.arange(counts.max()) < counts[:, None]] = np.fromiter(chain.from_iterable(chain.from_iterable(outcomes)), np.float64).reshape(-1, 4)
    # Laid out as [M, A, S] and handed out as [S, A, M]: the last axis in memory is the long one, which is what makes a sweep fast.
    probs, successors, rewards, ends = (np.ascontiguousarray(part.T).reshape(-1, actions, states).T for part in np.moveaxis(padded, 2, 0))
    start = np.array(getattr(base, "initial_state_distrib", np.ones(states)), np.float64)
    expected = np.ascontiguousarray((probs * rewards).sum(axis=2).T).T
    following, going_on = successors.astype(np.int64, order="K"), probs * (1 - ends)
    return Table(torch.from_numpy(expected), torch.from_numpy(following), torch.from_numpy(going_on), torch.from_numpy(start / start.sum()))


def _matrix(table: Table, policy: Tensor) -> npt.NDArray[Any]:
    """P(going on to s' | s) under policy probabilities [S, A]: [S, S]."""
    states = len(table.start)
    weight = policy.numpy()[:, :, None] * table.going_on.numpy()
    cells = states * np.arange(states)[:, None, None] + table.successors.numpy()
    return np.bincount(cells.ravel(), weight.ravel(), states**2).reshape(states, states)


def _evaluate(table: Table, policy: Tensor, discount: float) -> Tensor:
    """Solve V = r + γ P V for the policy."""
    rewards = (policy.numpy() * table.rewards.numpy()).sum(axis=1)
    return torch.from_numpy(np.linalg.solve(np.eye(len(rewards)) - discount * _matrix(table, policy), rewards))


def _check_discount(discount: float) -> None:
    checks.check_number("discount", discount, low=0, high=1, high_open=True)


def _policy_probs(policy: Tensor, table: Table) -> Tensor:
    """Actions [S], or probabilities [S, A], as probabilities [S, A]."""
    states, actions = table.rewards.shape
    checks.check_tensor("policy", policy)
    if policy.shape == (states,):
        checks.check_labels("policy", policy, actions)
        return torch.nn.functional.one_hot(policy.cpu().long(), actions).double()
    if policy.shape != (states, actions):
        checks.wrong_value("policy", f"have shape ({states},) or ({states}, {actions})", tuple(policy.shape))
    checks.check_range("policy", policy, 0, 1)
    if not torch.allclose(policy.double().sum(dim=1), torch.ones(states, dtype=torch.float64), atol=1e-6):
        sums = policy.sum(dim=1)
        checks.wrong_value("policy", "have rows that sum to 1", f"sums from {float(sums.min()):g} to {float(sums.max()):g}")
    return policy.detach().cpu().double()


def value_iteration(env: Any, *, discount: float) -> Values:
    """The optimal values of a tabular environment: V*(s) = max_a Q*(s, a), Q*(s, a) = r(s, a) + γ Σ_s' P(s' | s, a) V*(s').

    Sweeps of value iteration over all states at once. Where every move has one outcome and every way ends, the values stand still after as many
    sweeps as the longest way has steps. Where they still move, Howard's policy iteration goes on, each policy evaluated by one linear solve, until no
    action improves by more than rounding. So the result is exact to about 1e-10 and not to a tolerance of the caller's.

    Args:
        env: a gymnasium environment with discrete actions and a table, such as FrozenLake-v1, CliffWalking-v1 or Taxi-v4; or its `read_table`.
        discount: γ in [0, 1), a factor a step.

    Returns:
        `Values(values [S], q_values [S, A])`, float64.

    Raises:
        TypeError for an environment without a table or with other actions; ValueError for γ outside [0, 1).

    Example:
        >>> import gymnasium
        >>> round(float(value_iteration(gymnasium.make("FrozenLake-v1"), discount=0.99).values[0]), 5)
        0.54203

    Reference:
        R. Sutton, A. Barto, "Reinforcement Learning: An Introduction", second edition, 2018, sections 4.3 and 4.4.
    """
    _check_discount(discount)
    table = read_table(env)
    moves = _Moves(table, discount)
    states = moves.rewards.shape[1]
    values = np.zeros(states)
    # Ten sweeps find a good policy, thirty an end that most mazes have. A solve costs as much as about a quarter as many sweeps as there are states.
    for _ in range(max(30 if len(moves.successors) == 1 else 10, states // 4)):
        before, q_values = values, moves.ahead(values)
        values = np.maximum.reduce(q_values)
        if values.tobytes() == before.tobytes():  # of a few numbers the quickest comparison
            break
    else:
        q_values, values = _howard(moves, q_values.argmax(axis=0))
    return Values(torch.from_numpy(values), torch.from_numpy(q_values.T))


class _Moves:
    """A table as the sweeps read it: rewards [A, S], successors and γ times their probability [M, A, S]."""

    def __init__(self, table: Table, discount: float) -> None:
        self.rewards: _Array = table.rewards.numpy().T
        self.successors: npt.NDArray[np.int64] = table.successors.numpy().T
        self.weights: _Array = discount * table.going_on.numpy().T

    def ahead(self, values: _Array) -> _Array:
        """r + γ P V for every action: [A, S]."""
        parts = values.take(self.successors)
        parts *= self.weights
        found: _Array = np.add.reduce(parts) if len(parts) > 1 else parts[0]
        found += self.rewards
        return found

    def values_of(self, actions: npt.NDArray[np.int64]) -> _Array:
        """Solve V = r + γ P V for one action a state."""
        states = len(actions)
        every = np.arange(states)
        cells = self.successors[:, actions, every] + states * every
        staying = np.bincount(cells.ravel(), self.weights[:, actions, every].ravel(), states**2).reshape(states, states)
        found: _Array = np.asarray(np.linalg.solve(np.eye(states) - staying, self.rewards[actions, every]), np.float64)
        return found


def _howard(moves: _Moves, actions: npt.NDArray[np.int64]) -> tuple[_Array, _Array]:
    """Q* [A, S] and V*: from the values of one policy on to the best actions a few moves ahead, until none gains more than rounding."""
    while True:
        values = moves.values_of(actions)
        q_values = moves.ahead(values)
        best: _Array = np.maximum.reduce(q_values)
        if not (best > values + 1e-11 * (1 + np.abs(values))).any():
            return q_values, best
        for _ in range(3):  # a sweep costs a tenth of a solve and less, and three often spare one
            q_values = moves.ahead(np.maximum.reduce(q_values))
        actions = q_values.argmax(axis=0)


def policy_values(env: Any, policy: Tensor, *, discount: float) -> Tensor:
    """V^π(s): the expected discounted reward from each state on, exactly, by one linear solve.

    Args:
        env: a tabular gymnasium environment, or a `Table`.
        policy: actions [S], or probabilities [S, A].
        discount: γ in [0, 1).

    Returns:
        [S] float64.

    Raises:
        as `value_iteration`; ValueError for another shape, actions out of range or rows that don't sum to 1.

    Example:
        >>> import gymnasium
        >>> up = torch.zeros(48, dtype=torch.int64)  # a step costs 1, for ever
        >>> policy_values(gymnasium.make("CliffWalking-v1"), up, discount=0.9)[36].round(decimals=6)
        tensor(-10., dtype=torch.float64)
    """
    _check_discount(discount)
    table = read_table(env)
    return _evaluate(table, _policy_probs(policy, table), discount)


def occupancy(env: Any, policy: Tensor, *, discount: float, start: Tensor | None = None) -> Tensor:
    """d^π(s) = Σ_t γ^t P(s_t = s): how often each state is visited, discounted and not normalised; sums to at most 1 / (1 - γ).

    Args:
        env: a tabular gymnasium environment, or a `Table`.
        policy: actions [S], or probabilities [S, A].
        discount: γ in [0, 1).
        start: P(first state), [S]; the environment's own where it is None.

    Returns:
        [S] float64.

    Raises:
        as `policy_values`; ValueError for a `start` of another shape.

    Example:
        >>> import gymnasium
        >>> up = torch.zeros(48, dtype=torch.int64)
        >>> occupancy(gymnasium.make("CliffWalking-v1"), up, discount=0.9)[36].round(decimals=6)  # it starts there and comes by once
        tensor(1., dtype=torch.float64)
    """
    _check_discount(discount)
    table = read_table(env)
    first = _start(table, start)
    going_on = np.eye(len(first)) - discount * _matrix(table, _policy_probs(policy, table))
    return torch.from_numpy(np.linalg.solve(going_on.T, first.numpy()))


def _start(table: Table, start: Tensor | None) -> Tensor:
    if start is None:
        return table.start
    checks.check_same_shape("start", start, "env.unwrapped.P", table.start)
    return start.double()


def policy_regret(env: Any, policy: Tensor, *, discount: float, start: Tensor | None = None) -> Tensor:
    """What the policy forgoes: the mean over first states of V*(s) - V^π(s).

    By the performance difference lemma it equals Σ_s d^π(s) (V*(s) - Σ_a π(a | s) Q*(s, a)): opportunity costs, weighted by visits.

    Args:
        env: a tabular gymnasium environment, or a `Table`.
        policy: actions [S], or probabilities [S, A].
        discount: γ in [0, 1).
        start: P(first state), [S]; the environment's own where it is None.

    Returns:
        [] float64, in units of reward; never negative but for rounding.

    Raises:
        as `occupancy`.

    Example:
        >>> import gymnasium
        >>> cliff = gymnasium.make("CliffWalking-v1")
        >>> policy_regret(cliff, value_iteration(cliff, discount=0.9).q_values.argmax(1), discount=0.9).round(decimals=6).abs()
        tensor(0., dtype=torch.float64)

    Reference:
        S. Kakade, J. Langford, "Approximately optimal approximate reinforcement learning", 2002, lemma 6.1.
    """
    table = read_table(env)
    optimal = value_iteration(table, discount=discount).values
    return _start(table, start) @ (optimal - _evaluate(table, _policy_probs(policy, table), discount))


def opportunity_cost(q_values: Tensor) -> Tensor:
    """What each action forgoes against the best one: max_a' Q(s, a') - Q(s, a), at least 0 and 0 for the best.

    Args:
        q_values: [..., A], floating.

    Returns:
        The same shape and dtype.

    Raises:
        TypeError for another dtype; ValueError without an axis of actions.

    Example:
        >>> opportunity_cost(torch.tensor([1.0, 3.0, 2.5]))
        tensor([2.0000, 0.0000, 0.5000])

    Reference:
        M. Lagoudakis, R. Parr, "Reinforcement learning as classification", 2003; A. Lazaric et al., "Analysis of a classification-based policy
        iteration algorithm", 2010, equation 2.
    """
    checks.check_floating("q_values", q_values)
    if q_values.ndim == 0 or q_values.shape[-1] == 0:
        checks.wrong_value("q_values", "have shape [..., A] with A ≥ 1", tuple(q_values.shape))
    return q_values.amax(dim=-1, keepdim=True) - q_values


def opportunity_cost_loss(logits: Tensor, costs: Tensor, *, weight: Tensor | None = None, reduction: Reduction = "mean") -> Tensor:
    """The expected cost of the softmax policy: Σ_a softmax(logits)_a costs_a.

    Args:
        logits: [N, A], floating.
        costs: [N, A], the cost of each action, such as `opportunity_cost(q_values)`.
        weight: [N], how much each state counts, such as its `occupancy`; 1 if None.
        reduction: "mean" divides by N, whatever the weights; "sum"; "none".

    Returns:
        [] or [N], in units of cost. Bounded by the largest cost, and not convex in the logits.

    Raises:
        TypeError or ValueError for other shapes, dtypes, infinite costs or reduction.

    Example:
        >>> opportunity_cost_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 10.0]]))
        tensor(5.)

    Reference:
        A. Lazaric, M. Ghavamzadeh, R. Munos, "Analysis of a classification-based policy iteration algorithm", 2010, for the weighted 0-1 loss of
        which this is the expectation under a softmax policy.
    """
    checks.check_floating("logits", logits)
    checks.check_ndim("logits", logits, 2, "[N, A]")
    checks.check_floating("costs", costs)
    checks.check_same_shape("costs", costs, "logits", logits)
    checks.check_finite("costs", costs)
    check_reduction(reduction)
    losses = (logits.softmax(dim=1) * costs).sum(dim=1)
    if weight is not None:
        checks.check_floating("weight", weight)
        if weight.shape != losses.shape:
            checks.wrong_value("weight", f"have shape {tuple(losses.shape)} to match `logits`", tuple(weight.shape))
        losses = losses * weight
    return reduce(losses, reduction)
