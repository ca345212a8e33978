"""L-BFGS and, where there is an l1 term, OWL-QN."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook.linear._objective import Path, Problem, Stop, Sweep, is_rounding

MEMORY = 20
QUIET = 3  # so many steps in a row must find next to nothing left
SMALLEST = 1e-12

Pairs = tuple[tuple[Tensor, Tensor], ...]


class State(NamedTuple):
    """Where L-BFGS is: theta, what the sweep found there, and the objective by step.

    `slope` is the pseudo-gradient, and the direction H⁻¹ times it, with the H⁻¹ that the last steps and the changes of the gradient imply (`pairs`).
    Half the decrement, slope times direction, estimates what is left; `quiet` counts the steps in a row where that is little. `reach` is the length
    of the next step as long as nothing bends.
    """

    theta: Tensor
    found: Sweep
    objective: list[float]
    slope: Tensor
    direction: Tensor
    decrement: float
    pairs: Pairs = ()
    reach: float = 1.0
    quiet: int = 0
    is_stuck: bool = False


def lbfgs(problem: Problem, theta: Tensor, stop: Stop) -> Path:
    """L-BFGS with backtracking; where l1 > 0, OWL-QN: a step stays in the orthant that the pseudo-gradient points into (Andrew & Gao, 2007).

    Steps and slopes are remembered as on standardised columns: in raw units the decrement seems small long before the minimum, above all in float32.
    """
    state = _init(problem, theta)
    while not _terminate(state, stop):
        state = _step(problem, state)
        little = bool(state.pairs) and state.decrement <= 2 * stop.tolerance * abs(state.found.value)
        state = state._replace(quiet=state.quiet + 1 if little else 0)
    arrived = is_rounding(state.decrement, state.found) if state.is_stuck else _arrived(state)
    return Path(state.theta, state.objective, arrived, state.found)


def _init(problem: Problem, theta: Tensor) -> State:
    found = problem.sweep(theta)
    return State(theta, found, [found.objective], *_direction(problem, theta, found, ()))


def _step(problem: Problem, state: State) -> State:
    """Against the direction, half as far as long as that does not go down."""
    units, noise = problem.units, problem.noise * abs(state.found.value)
    size = 1.0 if state.pairs else state.reach * min(1.0, 1 / float(units.slopes(state.slope).norm()))
    while size >= SMALLEST:
        there = _same_orthant(problem, state.theta - size * state.direction, state)
        trial = problem.sweep(there)
        if trial.value + 1e-4 * size * state.decrement <= state.found.value + noise:
            pairs = _remembered(state.pairs, units.standardized(there - state.theta), units.slopes(trial.gradient - state.found.gradient))
            reach = 2 * state.reach  # as long as nothing bends, steps grow: the objective may fall for ever
            way = _direction(problem, there, trial, pairs)
            return State(there, trial, [*state.objective, trial.objective], *way, pairs, reach, state.quiet)
        size /= 2
    return state._replace(is_stuck=True)


def _terminate(state: State, stop: Stop) -> bool:
    return len(state.objective) > stop.steps or not math.isfinite(state.found.value) or state.is_stuck or _arrived(state)


def _arrived(state: State) -> bool:
    return state.decrement == 0 or state.quiet == QUIET


def _direction(problem: Problem, theta: Tensor, found: Sweep, pairs: Pairs) -> tuple[Tensor, Tensor, float]:
    """The pseudo-gradient, the direction, and their product."""
    slope = pseudo_gradient(problem, found.gradient, theta)
    direction = problem.units.raw(_two_loops(pairs, problem.units.slopes(slope)))
    if problem.l1:
        direction = torch.where(direction * slope > 0, direction, 0)
    return slope, direction, float(slope @ direction)


def _remembered(pairs: Pairs, step: Tensor, bend: Tensor) -> Pairs:
    """The last pairs; one along which the slope does not grow says nothing of a Hessian."""
    if float(step @ bend) <= 1e-10 * float(bend.norm()) * float(step.norm()):
        return pairs
    return (*pairs, (step, bend))[-MEMORY:]


def _two_loops(pairs: Pairs, gradient: Tensor) -> Tensor:
    """The inverse Hessian that the steps and the changes of the gradient imply, times the gradient (Nocedal & Wright, 2006, algorithm 7.4)."""
    direction, shares = gradient.clone(), []
    for step, bend in reversed(pairs):
        shares.append((step @ direction) / (step @ bend))
        direction -= shares[-1] * bend
    if pairs:
        step, bend = pairs[-1]
        direction *= (step @ bend) / (bend @ bend)
    for (step, bend), share in zip(pairs, reversed(shares), strict=True):
        direction += (share - (bend @ direction) / (step @ bend)) * step
    return direction


def pseudo_gradient(problem: Problem, gradient: Tensor, theta: Tensor) -> Tensor:
    """The smallest subgradient with the l1 term: at a weight of 0 the gradient must exceed l1 to move it."""
    l1 = problem.l1 * problem.penalized
    at_zero = torch.sign(gradient) * torch.relu(gradient.abs() - l1)
    return torch.where((theta == 0) & (l1 > 0), at_zero, gradient + l1 * torch.sign(theta))


def _same_orthant(problem: Problem, there: Tensor, state: State) -> Tensor:
    """`there`, with every weight that the l1 term acts on stopped at 0 where it would change its sign."""
    if not problem.l1:
        return there
    orthant = torch.where(state.theta == 0, -torch.sign(state.slope), torch.sign(state.theta))
    return torch.where((there * orthant > 0) | (problem.penalized == 0), there, 0)
