"""Newton's method, whole or begun on a subsample."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook.linear._examples import Rows
from lossbook.linear._objective import Path, Problem, Stop, Sweep, is_rounding

IDLE = 10  # so many steps in a row that gain no more than rounding go back and forth across a kink
HALVINGS = 30


class State(NamedTuple):
    """Where Newton's method is: theta, what the sweep found there, and the objective by step.

    The direction is H⁻¹g; half the decrement gᵀH⁻¹g estimates what is left. `idle` counts the steps in a row that gained no more than rounding, and
    is IDLE where no step goes down. A `borrowed` Hessian is a subsample's, worn once a step with it does not cut the decrement by four.
    """

    theta: Tensor
    found: Sweep
    objective: list[float]
    direction: Tensor
    decrement: float
    idle: int = 0
    borrowed: Tensor | None = None
    is_worn: bool = False

    @property
    def is_stuck(self) -> bool:
        return self.idle == IDLE


def newton(problem: Problem, theta: Tensor, stop: Stop, borrowed: Tensor | None = None) -> Path:
    """Newton's method with backtracking, until half the decrement is `stop.tolerance` of the objective."""
    state = _init(problem, theta, borrowed)
    while not _terminate(problem, state, stop):
        state = _step(problem, state)
    arrived = _arrived(problem, state, stop) or (state.is_stuck and is_rounding(state.decrement, state.found))
    return Path(state.theta, state.objective, arrived, state.found)


def _init(problem: Problem, theta: Tensor, borrowed: Tensor | None) -> State:
    found = problem.sweep(theta, hessian=borrowed is None)
    return State(theta, found, [found.objective], *_direction(found, borrowed), borrowed=borrowed)


def _step(problem: Problem, state: State) -> State:
    """Against the direction, half as far as long as that does not go down; where the borrowed Hessian is worn, the same place with its own."""
    if state.is_worn:
        return _init(problem, state.theta, None)._replace(objective=state.objective)
    theta, found, noise = state.theta, state.found, problem.noise * abs(state.found.value)
    reach = min(1.0, 10 * (1 + float(theta.norm())) / float(state.direction.norm()))  # far from the minimum φ can be all but straight
    for size in (reach / 2**halvings for halvings in range(HALVINGS)):
        there = theta - size * state.direction
        trial = problem.sweep(there, hessian=state.borrowed is None)
        if trial.value + 1e-4 * size * state.decrement <= found.value + noise:
            idle = state.idle + 1 if trial.value >= found.value - noise else 0
            direction, decrement = _direction(trial, state.borrowed)
            is_worn = state.borrowed is not None and (idle == IDLE or decrement > state.decrement / 4)
            return State(there, trial, [*state.objective, trial.objective], direction, decrement, idle, state.borrowed, is_worn)
    return state._replace(idle=IDLE, is_worn=state.borrowed is not None)


def _terminate(problem: Problem, state: State, stop: Stop) -> bool:
    if len(state.objective) > stop.steps or not math.isfinite(state.found.value):
        return True
    return _arrived(problem, state, stop) or (state.is_stuck and not state.is_worn)


def _arrived(problem: Problem, state: State, stop: Stop) -> bool:
    """Little is left; or the step is less than rounding: where the least objective is 0, no decrement is small beside what is left."""
    value = abs(state.found.value)
    return state.decrement <= 2 * stop.tolerance * value or (value <= problem.noise and _stands(problem, state))


def _stands(problem: Problem, state: State) -> bool:
    step, theta = (problem.units.standardized(vector) for vector in (state.direction, state.theta))
    return float(step.norm()) <= problem.noise * float(theta.norm())


def _direction(found: Sweep, borrowed: Tensor | None) -> tuple[Tensor, float]:
    """H⁻¹g and gᵀH⁻¹g."""
    direction = solve(found.hessian if borrowed is None else borrowed, found.gradient)
    return direction, float(found.gradient @ direction)


def solve(hessian: Tensor, gradient: Tensor) -> Tensor:
    """H⁻¹g, with as much of the identity added to H as makes it positive definite to working precision."""
    factor, failed = torch.linalg.cholesky_ex(hessian)
    ridge = 1e-13 * float(hessian.diagonal().mean()) + 1e-200
    while bool(failed) and math.isfinite(ridge):
        factor, failed = torch.linalg.cholesky_ex(hessian + ridge * torch.eye(len(hessian), dtype=hessian.dtype, device=hessian.device))
        ridge *= 100
    return torch.cholesky_solve(gradient[:, None], factor)[:, 0]


def newton_from_subsample(problem: Problem, examples: Rows, stop: Stop, generator: torch.Generator | None) -> Path:
    """Newton from the solution of a subsample, whose Hessian then serves for all examples: a pass costs one product with the rows, not D.

    With m rows of D columns that Hessian is off by about √(D/m), so each pass leaves about D/m of what was left: 1/400 where there are many rows.
    """
    theta, hessian = torch.zeros_like(problem.free), None
    few_rows = 40 * len(theta)
    for count, enough in ((few_rows, 1e-2), (min(10 * few_rows, len(examples) // 16), 1e-3)):
        if few_rows <= count < len(examples) // 4:
            path = newton(replace(problem, examples=examples.sample(count, generator)), theta, Stop(enough, 20))
            theta, hessian = path.theta, path.found.hessian
    return newton(problem, theta, stop, hessian)
