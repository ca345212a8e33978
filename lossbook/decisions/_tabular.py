"""Decisions in sequence: exact values, regret and opportunity cost on gymnasium's tables. The public face is `lossbook.decisions`.

An environment with a table says, for each state and action, what may follow: `env.unwrapped.P[state][action]` is a list of (probability, next
state, reward, terminated). After a terminal transition nothing more is earned. Chapter: opportunity-cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import full_precision, outside_graphs, plain, plain_arguments
from lossbook._core.reduction import Reduction, check_reduction, reduce

R = TypeVar("R")
_Array = npt.NDArray[np.float64]
_P = "env.unwrapped.P"
_LARGEST = float(np.finfo(np.float64).max)
_FARTHEST = 1 - 1e-12
_ROUNDING = 1e-15  # of a value: so little an action may gain a step without being taken
_SLACK = 1e-6  # what probabilities may sum to beside 1: some tables are of float32


class Values(NamedTuple):
    """The optimal values V* [S] and Q* [S, A], float64, in units of reward."""

    values: Tensor
    q_values: Tensor


class _Fields(NamedTuple):
    rewards: Tensor
    successors: Tensor
    going_on: Tensor
    start: Tensor


class Table(_Fields):
    """Expected rewards [S, A]; successors [S, A, M] with the probability [S, A, M] of going on there; how an episode starts [S].

    All in float64 but the successors, which are int64, on the host and without a gradient. What a table cannot be is a ValueError when it is made.
    """

    __slots__ = ()

    def __new__(cls, rewards: Tensor, successors: Tensor, going_on: Tensor, start: Tensor) -> Self:
        """A table whose numbers are looked at."""
        rewards, successors, going_on, start = map(plain, (rewards, successors, going_on, start))
        for name, value in {"rewards": rewards, "going_on": going_on, "start": start}.items():
            checks.check_real(name, value)
        checks.check_tensor("successors", successors)
        if rewards.ndim != 2 or not rewards.numel():
            checks.wrong_value("rewards", "have shape [S, A] with S ≥ 1 and A ≥ 1", tuple(rewards.shape))
        checks.check_finite("rewards", rewards)
        if successors.ndim != 3 or successors.shape[:2] != rewards.shape or not successors.numel():
            checks.wrong_value("successors", f"have shape {tuple(rewards.shape)} and one axis of outcomes", tuple(successors.shape))
        checks.check_labels("successors", successors, len(rewards))
        checks.check_same_shape("going_on", going_on, "successors", successors)
        checks.check_range("going_on", going_on, 0, 1)
        sums = going_on.sum(dim=2, keepdim=True, dtype=torch.float64)
        checks.check_values("going_on", sums, lambda sums: sums <= 1 + _SLACK, "sum to at most 1 along axis 2", lambda sums: f"{sums.max():g}")
        if start.shape != rewards.shape[:1]:
            checks.wrong_value("start", f"have shape ({len(rewards)},)", tuple(start.shape))
        checks.check_distribution("start", start, 0)
        return cls._make(map(_on_host, (rewards, successors, going_on / sums.clamp(min=1), start)))

    def _replace(self, **changed: Tensor) -> Self:
        """A table that differs in some of its fields."""
        return type(self)(**{**self._asdict(), **changed})


def action_count(env: Any) -> int:
    """How many actions there are; a TypeError where they aren't discrete."""
    space: Any = getattr(env, "action_space", None)
    if type(space).__name__ != "Discrete":
        found = f"{type(getattr(env, 'unwrapped', env)).__name__}" + (f" with actions {space}" if space is not None else "")
        checks.wrong_type("env", "be a gymnasium environment with discrete actions", found)
    return int(space.n)


@outside_graphs
def read_table(env: Any) -> Table:
    """The table of a tabular environment, as arrays. Every function here takes it in the environment's place, and needn't read it again.

    Args:
        env: a gymnasium environment with discrete actions and `env.unwrapped.P`, such as FrozenLake-v1, CliffWalking-v1 or Taxi-v4.

    Returns:
        A `Table`, padded to the largest number M of outcomes with outcomes of probability 0.

    Raises:
        TypeError for an environment without a table or with other actions; ValueError, which names state and action, for a state with more or fewer
            actions than the others, outcomes that are not four finite numbers, probabilities that do not sum to 1, a next state that there is not.

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
    outcomes = _outcomes(base.P, actions)
    states = len(base.P)
    flat, lengths = _flat(outcomes)
    most = max(lengths)
    if len(lengths) > 1:
        counts = np.fromiter(map(len, outcomes), np.int64, len(outcomes))
        flat, known = np.zeros((len(outcomes), most, 4)), flat
        flat[np.arange(most) < counts[:, None]] = known
    # Laid out as [M, A, S] and handed out as [S, A, M]: the last axis in memory is the long one, which is what makes a sweep fast.
    probs, successors, rewards, ends = np.ascontiguousarray(flat.reshape(actions, states, most, 4).transpose(3, 2, 0, 1))
    sums, places = probs.sum(axis=0), _whole(successors)
    if not (_is_sound(probs, sums, rewards, ends) and (places == successors).all() and places.min() >= 0 and places.max() < states):
        for place, listed in enumerate(outcomes):
            _check_outcomes(f"{_P}[{place % states}][{place // states}]", listed, states)
    probs /= sums  # which are 1 to within rounding, and a discount near 1 would blow that up
    parts = (probs * rewards).sum(axis=0).T, places.T, (probs * (1 - ends)).T, _first_states(base, states)
    return _by_itself(lambda: Table._make(map(torch.from_numpy, parts)))


def _outcomes(table: Any, actions: int) -> list[Any]:
    """What may follow each action in each state: the first action in every state, then the second."""
    if not isinstance(table, Mapping):
        checks.wrong_value(_P, "map each state to its actions", f"a {type(table).__name__}")
    if not table:
        checks.wrong_value(_P, "have at least one state", "none")
    if list(table) != [*range(len(table))]:
        _check_keys(_P, table, len(table), "state")
    rows = [table[state] for state in range(len(table))]
    if {*map(type, rows)} == {dict} and {*map(len, rows)} == {actions}:
        with suppress(KeyError):
            return [row[action] for action in range(actions) for row in rows]
    for state, row in enumerate(rows):
        _check_row(state, row, actions)
    return [row[action] for action in range(actions) for row in rows]


def _check_row(state: int, row: Any, actions: int) -> None:
    if not isinstance(row, Mapping):
        checks.wrong_value(f"{_P}[{state}]", "map each action to its outcomes", f"a {type(row).__name__}")
    if len(row) != actions:
        checks.wrong_value("env", f"have {actions} actions in each state of its table", f"{len(row)} in state {state}")
    _check_keys(f"{_P}[{state}]", row, actions, "action")


def _check_keys(name: str, mapping: Mapping[Any, Any], count: int, what: str) -> None:
    for key in range(count):
        if key not in mapping:
            checks.wrong_value(name, f"have every {what} from 0 to {count - 1}", f"no {what} {key}")


def _flat(outcomes: list[Any]) -> tuple[_Array, set[int]]:
    """All outcomes one after the other, [., 4], and how many of them belong together; NaN where that is not what is there."""
    try:
        each = list(chain.from_iterable(outcomes))
        if {*map(len, each)} == {4}:
            return np.fromiter(chain.from_iterable(each), np.float64, 4 * len(each)).reshape(-1, 4), {*map(len, outcomes)}
    except (TypeError, ValueError):
        pass
    return np.full((len(outcomes), 4), np.nan), {1}


def _whole(numbers: _Array) -> npt.NDArray[np.int64]:
    """As integers: others than these numbers where they are not whole, or too large to be told apart."""
    with np.errstate(invalid="ignore"):
        return numbers.astype(np.int64)


def _is_sound(probs: _Array, sums: _Array, rewards: _Array, ends: _Array) -> bool:
    """`_check_outcomes` would find nothing wrong with these: in a few looks at all outcomes at once, with room beside them that holds zeros."""
    likely = probs.min() >= 0 and abs(sums - 1).max() <= _SLACK  # and so none is above 1
    return bool(likely and np.isfinite(rewards).all() and ((ends == 0) | (ends == 1)).all())


def _check_outcomes(name: str, outcomes: Any, states: int) -> None:
    """The outcomes of one action in one state: what is wrong with them, in words."""
    if not isinstance(outcomes, Collection):
        checks.wrong_value(name, "list its outcomes", f"a {type(outcomes).__name__}")
    total = 0.0
    for outcome in outcomes:
        prob, successor, _, end = _numbers(name, outcome)
        if not 0 <= prob <= 1 + _SLACK:
            checks.wrong_value(name, "have probabilities from 0 to 1", f"{prob:g}")
        if not (0 <= successor < states and successor == int(successor)):
            checks.wrong_value(name, f"lead to states from 0 to {states - 1}", f"{successor:g}")
        if end not in (0, 1):
            checks.wrong_value(name, "say True or False of the end of an episode", f"{end:g}")
        total += prob
    if abs(total - 1) > _SLACK:
        checks.wrong_value(name, "have probabilities that sum to 1", f"a sum of {total:g}")


def _numbers(name: str, outcome: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, outcome)) if len(outcome) == 4 else ()
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        checks.wrong_value(name, "have outcomes of four finite numbers: probability, next state, reward, terminated", outcome)
    return numbers


def _first_states(base: Any, states: int) -> _Array:
    """The probability of each state to be the first: all alike where the environment does not say."""
    said = getattr(base, "initial_state_distrib", None)
    try:
        start = np.full(states, 1 / states) if said is None else np.array(said, np.float64)
    except (TypeError, ValueError):
        start = np.zeros(0)
    if start.shape != (states,) or not (start.min() >= 0 and abs(start.sum() - 1) <= _SLACK):
        checks.wrong_value("env.unwrapped.initial_state_distrib", f"be {states} probabilities that sum to 1", said)
    normalised: _Array = start / start.sum()
    return normalised


def _on_host(tensor: Tensor) -> Tensor:
    """The numbers themselves, integers in int64 and all others in float64."""
    return tensor.detach().cpu().to(torch.float64 if tensor.is_floating_point() else torch.int64)


def _matrix(table: Table, policy: Tensor) -> Tensor:
    """P(going on to s' | s) under policy probabilities [S, A]: [S, S]."""
    states = len(table.start)
    weight = policy[:, :, None] * table.going_on
    cells = states * torch.arange(states)[:, None, None] + table.successors
    return torch.zeros(states**2, dtype=torch.float64).scatter_add(0, cells.flatten(), weight.flatten()).view(states, states)


def _evaluate(table: Table, policy: Tensor, discount: float) -> Tensor:
    """Solve V = r + γ P V for the policy."""
    rewards = (policy * table.rewards).sum(dim=1)
    found: Tensor = torch.linalg.solve(torch.eye(len(rewards), dtype=torch.float64) - discount * _matrix(table, policy), rewards)
    return found


def _checked_discount(discount: float) -> float:
    number: float = plain(discount)
    checks.check_number("discount", number, low=0, high=1, high_open=True)
    if number > _FARTHEST:
        checks.wrong_value("discount", "be at most 1 - 1e-12, beyond which float64 has no digits left for the values", number)
    return number


def _policy_probs(policy: Tensor, table: Table) -> Tensor:
    """Actions [S], or probabilities [S, A], as probabilities [S, A] that sum to 1 exactly: a discount near 1 would blow up what is missing."""
    states, actions = table.rewards.shape
    checks.check_real("policy", policy)
    if policy.shape == (states,):
        checks.check_labels("policy", policy, actions)
        return torch.eye(actions, dtype=torch.float64)[policy.cpu().long()]
    if policy.shape != (states, actions):
        checks.wrong_value("policy", f"have shape ({states},) or ({states}, {actions})", tuple(policy.shape))
    checks.check_distribution("policy", policy, 1)
    probs = policy.cpu().double()
    return probs / probs.sum(dim=1, keepdim=True)


@outside_graphs
def value_iteration(env: Any, *, discount: float) -> Values:
    """The optimal values of a tabular environment: V*(s) = max_a Q*(s, a), Q*(s, a) = r(s, a) + γ Σ_s' P(s' | s, a) V*(s').

    Sweeps of value iteration over all states at once. Where every move has one outcome and every way ends, the values stand still after as many
    sweeps as the longest way has steps. Where they still move, Howard's policy iteration goes on, each policy evaluated by one linear solve, until no
    action improves by more than rounding. So the result is exact to about 1e-15 / (1 - γ) of the largest value, not to a tolerance of the caller's.

    Args:
        env: a gymnasium environment with discrete actions and a table, such as FrozenLake-v1, CliffWalking-v1 or Taxi-v4; or its `read_table`.
        discount: γ in [0, 1), a factor a step.

    Returns:
        `Values(values [S], q_values [S, A])`, float64.

    Raises:
        TypeError for an environment without a table or with other actions; ValueError for a table that `read_table` refuses, γ outside [0, 1), or γ
            above 1 - 1e-12, where float64 has no digits left for the values.

    Example:
        >>> import gymnasium
        >>> round(float(value_iteration(gymnasium.make("FrozenLake-v1"), discount=0.99).values[0]), 5)
        0.54203

    Reference:
        R. Sutton, A. Barto, "Reinforcement Learning: An Introduction", second edition, 2018, sections 4.3 and 4.4.
    """
    discount = _checked_discount(discount)
    table = read_table(env)
    return _by_itself(lambda: _optimum(_Moves(table, discount)))


def _by_itself(function: Callable[[], R]) -> R:
    """In no transformation of `torch.func` and not in inference mode: tables and their values hang on no tensor, and may be kept."""
    if torch._C._functorch.get_dynamic_layer_stack_depth() == 0 and not torch.is_inference_mode_enabled():
        return function()
    with torch._C._DisableFuncTorch(), torch.inference_mode(False):
        return function()


def _optimum(moves: _Moves) -> Values:
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
    """Q* [A, S] and V*: from the values of one policy on to the best actions a few moves ahead, until none gains more than rounding.

    Better actions raise the values of some states and lower none, so no policy comes twice; where rounding brings one back, the search is over.
    """
    every, seen = np.arange(len(actions)), set()
    while True:
        seen.add(actions.tobytes())
        q_values = moves.ahead(moves.values_of(actions))
        best: _Array = np.maximum.reduce(q_values)
        if not (best - q_values[actions, every] > _ROUNDING * np.abs(best)).any():
            return q_values, best
        further = best
        for _ in range(2):  # a sweep costs a tenth of a solve and less, and a few often spare one
            further = np.maximum.reduce(moves.ahead(further))
        actions = moves.ahead(further).argmax(axis=0)
        if actions.tobytes() in seen:
            return q_values, best


@plain_arguments
def policy_values(env: Any, policy: Tensor, *, discount: float) -> Tensor:
    """V^π(s): the expected discounted reward from each state on, exactly, by one linear solve.

    Args:
        env: a tabular gymnasium environment, or a `Table`.
        policy: actions [S], or probabilities [S, A].
        discount: γ in [0, 1).

    Returns:
        [S] float64, with a gradient in the policy.

    Raises:
        as `value_iteration`; ValueError for another shape, actions out of range or rows that don't sum to 1 to within the rounding of half precision.

    Example:
        >>> import gymnasium
        >>> up = torch.zeros(48, dtype=torch.int64)  # a step costs 1, for ever
        >>> policy_values(gymnasium.make("CliffWalking-v1"), up, discount=0.9)[36].round(decimals=6)
        tensor(-10., dtype=torch.float64)
    """
    discount = _checked_discount(discount)
    table = read_table(env)
    return _evaluate(table, _policy_probs(policy, table), discount)


@plain_arguments
def occupancy(env: Any, policy: Tensor, *, discount: float, start: Tensor | None = None) -> Tensor:
    """d^π(s) = Σ_t γ^t P(s_t = s): how often each state is visited, discounted and not normalised; sums to at most 1 / (1 - γ).

    Args:
        env: a tabular gymnasium environment, or a `Table`.
        policy: actions [S], or probabilities [S, A].
        discount: γ in [0, 1).
        start: P(first state), [S]; the environment's own where it is None.

    Returns:
        [S] float64, with a gradient in policy and start.

    Raises:
        as `policy_values`; ValueError for a `start` of another shape, or one that is no distribution.

    Example:
        >>> import gymnasium
        >>> up = torch.zeros(48, dtype=torch.int64)
        >>> occupancy(gymnasium.make("CliffWalking-v1"), up, discount=0.9)[36].round(decimals=6)  # it starts there and comes by once
        tensor(1., dtype=torch.float64)
    """
    discount = _checked_discount(discount)
    table = read_table(env)
    first = _start(table, start)
    staying = torch.eye(len(first), dtype=torch.float64) - discount * _matrix(table, _policy_probs(policy, table))
    visits: Tensor = torch.linalg.solve(staying.mT, first)
    return visits


def _start(table: Table, start: Tensor | None) -> Tensor:
    if start is None:
        return table.start
    checks.check_real("start", start)
    if start.shape != table.start.shape:
        checks.wrong_value("start", f"have shape {tuple(table.start.shape)} to match `env.unwrapped.P`", tuple(start.shape))
    checks.check_distribution("start", start, 0)
    return start.cpu().double()


@plain_arguments
def policy_regret(env: Any, policy: Tensor, *, discount: float, start: Tensor | None = None) -> Tensor:
    """What the policy forgoes: the mean over first states of V*(s) - V^π(s).

    By the performance difference lemma it equals Σ_s d^π(s) (V*(s) - Σ_a π(a | s) Q*(s, a)): opportunity costs, weighted by visits.

    Args:
        env: a tabular gymnasium environment, or a `Table`.
        policy: actions [S], or probabilities [S, A].
        discount: γ in [0, 1).
        start: P(first state), [S]; the environment's own where it is None.

    Returns:
        [] float64, in units of reward, with a gradient in policy and start; never negative but for rounding.

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
    discount = _checked_discount(discount)
    table = read_table(env)
    optimal = value_iteration(table, discount=discount).values
    return _start(table, start) @ (optimal - _evaluate(table, _policy_probs(policy, table), discount))


@full_precision
def opportunity_cost(q_values: Tensor) -> Tensor:
    """What each action forgoes against the best one: max_a' Q(s, a') - Q(s, a), at least 0 and 0 for the best.

    Args:
        q_values: [..., A], floating.

    Returns:
        The same shape; float64 where `q_values` are, else float32.

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


@full_precision
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
    if logits.shape[1] == 0:
        checks.wrong_value("logits", "have shape [N, A] with A ≥ 1", tuple(logits.shape))
    checks.check_floating("costs", costs)
    checks.check_same_shape("costs", costs, "logits", logits)
    checks.check_finite("costs", costs)
    check_reduction(reduction)
    losses = (logits.softmax(dim=1) * costs).sum(dim=1)
    if weight is not None:
        checks.check_floating("weight", weight)
        if weight.shape != losses.shape:
            checks.wrong_value("weight", f"have shape {tuple(losses.shape)} to match `logits`", tuple(weight.shape))
        checks.check_same_device("weight", weight, "logits", logits)
        losses = losses * weight
    return reduce(losses, reduction)
