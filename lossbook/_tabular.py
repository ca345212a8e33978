"""Decisions in sequence: exact values, regret and opportunity cost on gymnasium's tables. The public face is `lossbook.decisions`.

An environment with a table says, for each state and action, what may follow: `env.unwrapped.P[state][action]` is a list of (probability, next
state, reward, terminated). After a terminal transition nothing more is earned. Chapter: opportunity-cost.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossbook import _checks
from lossbook._reduction import check_reduction, reduce


class Values(NamedTuple):
    """The optimal values V* [S] and Q* [S, A], float64, in units of reward."""

    values: Tensor
    q_values: Tensor


class _Table(NamedTuple):
    """Expected rewards [S, A]; successors [S, A, M] with the probability [S, A, M] of going on there; how an episode starts [S]."""

    rewards: Tensor
    successors: Tensor
    going_on: Tensor
    start: Tensor


def _table(env: Any) -> _Table:
    """Read the table once, into padded arrays."""
    base = getattr(env, "unwrapped", env)
    actions = getattr(getattr(env, "action_space", None), "n", None)
    if actions is None:
        _checks.wrong_type("env", "be a gymnasium environment with discrete actions", type(base).__name__)
    if not hasattr(base, "P"):
        _checks.wrong_type("env", "have a table of transitions, `env.unwrapped.P`", type(base).__name__)
    states, width = len(base.P), max(len(outcomes) for row in base.P.values() for outcomes in row.values())
    padded = [outcomes + [(0.0, 0, 0.0, True)] * (width - len(outcomes)) for row in base.P.values() for outcomes in row.values()]
    flat = torch.tensor([[float(part) for part in outcome] for outcomes in padded for outcome in outcomes], dtype=torch.float64)
    probs, successors, rewards, ends = flat.reshape(states, int(actions), width, 4).unbind(dim=-1)
    start = torch.as_tensor(getattr(base, "initial_state_distrib", torch.full((states,), 1 / states)), dtype=torch.float64)
    return _Table((probs * rewards).sum(dim=-1), successors.long(), probs * (1 - ends), start / start.sum())


def _look_ahead(table: _Table, values: Tensor, discount: float) -> Tensor:
    """Q(s, a) = r(s, a) + γ Σ_s' P(s' | s, a) V(s')."""
    return table.rewards + discount * (table.going_on * values[table.successors]).sum(dim=-1)


def _matrix(table: _Table, policy: Tensor) -> Tensor:
    """P(going on to s' | s) under policy probabilities [S, A]: [S, S]."""
    states = len(table.start)
    weight = (policy[:, :, None] * table.going_on).flatten(1)
    return torch.zeros(states, states, dtype=torch.float64).scatter_add_(1, table.successors.flatten(1), weight)


def _evaluate(table: _Table, policy: Tensor, discount: float) -> Tensor:
    """Solve V = r + γ P V for the policy."""
    identity = torch.eye(len(table.start), dtype=torch.float64)
    values: Tensor = torch.linalg.solve(identity - discount * _matrix(table, policy), (policy * table.rewards).sum(dim=1))
    return values


def _check_discount(discount: float) -> None:
    _checks.check_number("discount", discount, low=0, high=1, high_open=True)


def _policy_probs(policy: Tensor, table: _Table) -> Tensor:
    """Actions [S], or probabilities [S, A], as probabilities [S, A]."""
    states, actions = table.rewards.shape
    _checks.check_tensor("policy", policy)
    if policy.shape == (states,):
        _checks.check_labels("policy", policy, actions)
        return torch.nn.functional.one_hot(policy.long(), actions).double()
    if policy.shape != (states, actions):
        _checks.wrong_value("policy", f"have shape ({states},) or ({states}, {actions})", tuple(policy.shape))
    _checks.check_range("policy", policy, 0, 1)
    if not torch.allclose(policy.double().sum(dim=1), torch.ones(states, dtype=torch.float64), atol=1e-6):
        sums = policy.sum(dim=1)
        _checks.wrong_value("policy", "have rows that sum to 1", f"sums from {float(sums.min()):g} to {float(sums.max()):g}")
    return policy.double()


def value_iteration(env: Any, *, discount: float) -> Values:
    """The optimal values of a tabular environment: V*(s) = max_a Q*(s, a), Q*(s, a) = r(s, a) + γ Σ_s' P(s' | s, a) V*(s').

    A few sweeps of value iteration over all states at once, then Howard's policy iteration, each policy evaluated by one linear solve. It ends when
    no action improves on the policy by more than rounding, so the result is exact to about 1e-10 and not to a tolerance of the caller's.

    Args:
        env: a gymnasium environment with discrete actions and a table, such as FrozenLake-v1, CliffWalking-v1 or Taxi-v4.
        discount: γ in [0, 1), a factor a step.
    Returns: `Values(values [S], q_values [S, A])`, float64.
    Raises: TypeError for an environment without a table or with other actions; ValueError for γ outside [0, 1).

    Example:
        >>> import gymnasium
        >>> round(float(value_iteration(gymnasium.make("FrozenLake-v1"), discount=0.99).values[0]), 5)
        0.54203

    Reference: R. Sutton, A. Barto, "Reinforcement Learning: An Introduction", second edition, 2018, sections 4.3 and 4.4.
    """
    _check_discount(discount)
    table = _table(env)
    values = torch.zeros(len(table.start), dtype=torch.float64)
    for _ in range(50):
        values = _look_ahead(table, values, discount).amax(dim=1)
    actions = _look_ahead(table, values, discount).argmax(dim=1)
    while True:
        values = _evaluate(table, torch.nn.functional.one_hot(actions, table.rewards.shape[1]).double(), discount)
        q_values = _look_ahead(table, values, discount)
        best, better = q_values.max(dim=1)
        improves = best > q_values.gather(1, actions[:, None])[:, 0] + 1e-11 * (1 + values.abs())
        if not bool(improves.any()):
            return Values(best, q_values)
        actions = torch.where(improves, better, actions)


def policy_values(env: Any, policy: Tensor, *, discount: float) -> Tensor:
    """V^π(s): the expected discounted reward from each state on, exactly, by one linear solve.

    Args: env, discount: as `value_iteration`. policy: actions [S], or probabilities [S, A].
    Returns: [S] float64.
    Raises: as `value_iteration`; ValueError for another shape, actions out of range or rows that don't sum to 1.
    """
    _check_discount(discount)
    table = _table(env)
    return _evaluate(table, _policy_probs(policy, table), discount)


def occupancy(env: Any, policy: Tensor, *, discount: float, start: Tensor | None = None) -> Tensor:
    """d^π(s) = Σ_t γ^t P(s_t = s): how often each state is visited, discounted and not normalised; sums to at most 1 / (1 - γ).

    Args: env, policy, discount: as `policy_values`. start: [S], how likely each first state is; the environment's own if None.
    Returns: [S] float64.
    Raises: as `policy_values`; ValueError for a `start` of another shape.
    """
    _check_discount(discount)
    table = _table(env)
    first = _start(table, start)
    identity = torch.eye(len(table.start), dtype=torch.float64)
    visits: Tensor = torch.linalg.solve((identity - discount * _matrix(table, _policy_probs(policy, table))).T, first)
    return visits


def _start(table: _Table, start: Tensor | None) -> Tensor:
    if start is None:
        return table.start
    _checks.check_same_shape("start", start, "env.unwrapped.P", table.start)
    return start.double()


def policy_regret(env: Any, policy: Tensor, *, discount: float, start: Tensor | None = None) -> Tensor:
    """What the policy forgoes: the mean over first states of V*(s) - V^π(s).

    By the performance difference lemma it equals Σ_s d^π(s) (V*(s) - Σ_a π(a | s) Q*(s, a)): opportunity costs, weighted by visits.

    Args, Raises: as `occupancy`. Returns: [] float64, in units of reward; never negative but for rounding.
    Reference: S. Kakade, J. Langford, "Approximately optimal approximate reinforcement learning", 2002, lemma 6.1.
    """
    optimal = value_iteration(env, discount=discount).values
    table = _table(env)
    return _start(table, start) @ (optimal - _evaluate(table, _policy_probs(policy, table), discount))


def opportunity_cost(q_values: Tensor) -> Tensor:
    """What each action forgoes against the best one: max_a' Q(s, a') - Q(s, a), at least 0 and 0 for the best.

    Args: q_values: [..., A], floating.
    Returns: the same shape and dtype.
    Raises: TypeError for another dtype; ValueError without an axis of actions.

    Example:
        >>> opportunity_cost(torch.tensor([1.0, 3.0, 2.5]))
        tensor([2.0000, 0.0000, 0.5000])

    Reference: M. Lagoudakis, R. Parr, "Reinforcement learning as classification", 2003; A. Lazaric et al., "Analysis of a classification-based
    policy iteration algorithm", 2010, equation 2.
    """
    _checks.check_floating("q_values", q_values)
    if q_values.ndim == 0 or q_values.shape[-1] == 0:
        _checks.wrong_value("q_values", "have shape [..., A] with A ≥ 1", tuple(q_values.shape))
    return q_values.amax(dim=-1, keepdim=True) - q_values


def opportunity_cost_loss(logits: Tensor, costs: Tensor, *, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """The expected cost of the softmax policy: Σ_a softmax(logits)_a costs_a.

    Args:
        logits: [N, A], floating.
        costs: [N, A], the cost of each action, such as `opportunity_cost(q_values)`.
        weight: [N], how much each state counts, such as its `occupancy`; 1 if None.
        reduction: "mean" divides by N, whatever the weights; "sum"; "none".
    Returns: [] or [N], in units of cost. Bounded by the largest cost, and not convex in the logits.
    Raises: TypeError or ValueError for other shapes, dtypes, infinite costs or reduction.

    Example:
        >>> opportunity_cost_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 10.0]]))
        tensor(5.)

    Reference: A. Lazaric, M. Ghavamzadeh, R. Munos, "Analysis of a classification-based policy iteration algorithm", 2010, for the weighted 0-1 loss
    of which this is the expectation under a softmax policy.
    """
    _checks.check_floating("logits", logits)
    _checks.check_ndim("logits", logits, 2, "[N, A]")
    _checks.check_floating("costs", costs)
    _checks.check_same_shape("costs", costs, "logits", logits)
    _checks.check_finite("costs", costs)
    check_reduction(reduction)
    losses = (logits.softmax(dim=1) * costs).sum(dim=1)
    if weight is not None:
        _checks.check_floating("weight", weight)
        if weight.shape != losses.shape:
            _checks.wrong_value("weight", f"have shape {tuple(losses.shape)} to match `logits`", tuple(weight.shape))
        losses = losses * weight
    return reduce(losses, reduction)
