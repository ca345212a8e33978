"""The solvers of `linear`: Newton on blocks, L-BFGS (OWL-QN where there is an l1 term), and the concave-convex procedure."""

from __future__ import annotations

import math
import sys
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook.linear._examples import Rows, Stream
from lossbook.linear._objective import Curve, Problem, Sweep, split
from lossbook.margins import MarginLoss

WIDTHS = tuple(5 * 10.0**-k for k in range(1, 10))  # half-widths to which kinks are rounded, one after the other
ROUNDING = 1e-6  # where no step goes down, this much of the objective is put down to rounding
IDLE = 10  # so many steps in a row that gain no more than rounding go back and forth across a kink


class Path(NamedTuple):
    """Where a solver went: theta, the objective by step, whether it arrived, and what the last sweep found."""

    theta: Tensor
    objective: list[float]
    converged: bool
    state: Sweep


Solver = Callable[..., Path]


def solve(
    solver: str,
    problem: Problem,
    examples: Rows | Stream,
    loss: MarginLoss,
    theta: Tensor | None,
    starts: int,
    tolerance: float,
    steps: int,
    generator: torch.Generator | None,
) -> Path:
    """The path of the named solver, from theta where one is given; an error where there is no minimum, a warning where it was not reached."""
    origin = torch.zeros_like(problem.free) if theta is None else theta
    if solver == "cccp":
        origins = [theta, *(random_line(examples, problem.free, generator) for _ in range(starts - 1))]
        path = min((cccp(problem, loss, start, tolerance=tolerance, steps=steps) for start in origins), key=lambda path: path.objective[-1])
    elif solver == "newton" and theta is None and not loss.kinks and isinstance(examples, Rows):
        path = newton_from_subsample(problem, examples, loss, tolerance=tolerance, steps=steps, generator=generator)
    else:
        path = through_kinks(newton if solver == "newton" else lbfgs, problem, loss, origin, tolerance=tolerance, steps=steps)
    if path.objective[-1] < -1e9:
        expected = "have a minimum on these examples (l2 > 0 without a free intercept gives one)"
        checks.wrong_value("loss", expected, f"an objective of {path.objective[-1]:.3g}")
    if not (math.isfinite(path.state.value) and bool(path.state.gradient.isfinite().all())):
        found = f"an objective of {path.state.value:g} with the slope {float(path.state.gradient.norm()):g}"
        checks.wrong_value("features", "be finite, and small enough for the loss to be so", found)
    if not path.converged:
        message = f"`fit_linear` has not reached a minimum in {steps} steps. Allow more; where the examples are separable, give `l2`."
        warnings.warn(message, RuntimeWarning, stacklevel=_outside())
    return path


def _outside() -> int:
    """How far up the stack the first caller is who is neither this package nor torch: a warning points at him."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in ("lossbook", "torch"):
        frame, level = frame.f_back, level + 1
    return level


def newton(problem: Problem, curve: Curve, theta: Tensor, *, tolerance: float, steps: int, hessian: Tensor | None = None) -> Path:
    """Newton's method with backtracking, until half the decrement gᵀH⁻¹g, its estimate of what is left, is `tolerance` of the objective.

    A Hessian handed in (a subsample's) serves as long as each step cuts the decrement by four.
    """
    state = problem.sweep(curve, theta, hessian=hessian is None)
    path, last, size, idle = [state.objective], math.inf, 1.0, 0
    while len(path) <= steps and math.isfinite(state.value):
        direction = _solve(state.hessian if hessian is None else hessian, state.gradient)
        decrement = float(state.gradient @ direction)
        if decrement <= 2 * tolerance * abs(state.value) or _stands(problem, state, theta, direction):
            return Path(theta, path, True, state)
        if hessian is not None and (decrement > last / 4 or size < 1e-9):
            hessian, state, size = None, problem.sweep(curve, theta, hessian=True), 1.0
            continue
        if size < 1e-9 or idle == IDLE:  # no step is small enough to go down, or they lead back and forth: rounding, if little was left
            return Path(theta, path, decrement < ROUNDING * (abs(state.value) + ROUNDING), state)
        reach = min(1.0, 10 * (1 + float(theta.norm())) / float(direction.norm()))  # far from the minimum φ can be all but straight
        direction, last, size = reach * direction, decrement, 1.0
        while size >= 1e-9:
            trial = problem.sweep(curve, theta - size * direction, hessian=hessian is None)
            if trial.value + 1e-4 * size * reach * decrement <= state.value + problem.noise * abs(state.value):
                idle = idle + 1 if trial.value >= state.value - problem.noise * abs(state.value) else 0
                theta, state = theta - size * direction, trial
                path.append(state.objective)
                break
            size /= 2
    return Path(theta, path, False, state)


def _stands(problem: Problem, state: Sweep, theta: Tensor, direction: Tensor) -> bool:
    """The step is less than rounding: where the least objective is 0, no decrement is small beside what is left."""
    if abs(state.value) > problem.noise:
        return False
    units = problem.units
    return float(units.standardized(direction).norm()) <= problem.noise * float(units.standardized(theta).norm())


def newton_from_subsample(
    problem: Problem, examples: Rows, loss: MarginLoss, *, tolerance: float, steps: int, generator: torch.Generator | None
) -> Path:
    """Newton from the solution of a subsample, whose Hessian then serves for all examples: a pass costs one product with the rows, not D.

    With m rows of D columns that Hessian is off by about √(D/m), so each pass leaves about D/m of what was left: 1/400 where there are many rows.
    """
    theta, hessian = torch.zeros_like(problem.free), None
    few_rows = 40 * len(theta)
    for count, enough in ((few_rows, 1e-2), (min(10 * few_rows, len(examples) // 16), 1e-3)):
        if few_rows <= count < len(examples) // 4:
            few = replace(problem, blocks=examples.sample(count, generator).blocks)
            found = newton(few, Curve(loss), theta, tolerance=enough, steps=20)
            theta, hessian = found.theta, found.state.hessian
    return newton(problem, Curve(loss), theta, tolerance=tolerance, steps=steps, hessian=hessian)


def random_line(examples: Rows | Stream, free: Tensor, generator: torch.Generator | None) -> Tensor:
    """Halfway between two random examples, of both signs where there are both, which get the scores +1 and -1."""
    block = examples.first
    ends = []
    for sign in (1, -1):
        rows = (block.signs == sign).nonzero().squeeze(1)
        rows = rows if len(rows) else torch.arange(len(block.signs), device=rows.device)
        ends.append(block.features[rows[int(torch.randint(len(rows), (), generator=generator, device="cpu"))]].double())
    across = ends[0] - ends[1]
    weights = 2 * across / across.square().sum().clamp(min=1e-12)
    return torch.cat([weights, -(weights @ (ends[0] + ends[1]) / 2)[None]]) * free


def _solve(hessian: Tensor, gradient: Tensor) -> Tensor:
    """H⁻¹g, with as much of the identity added to H as makes it positive definite to working precision."""
    factor, failed = torch.linalg.cholesky_ex(hessian)
    ridge = 1e-13 * float(hessian.diagonal().mean()) + 1e-200
    while bool(failed) and math.isfinite(ridge):
        factor, failed = torch.linalg.cholesky_ex(hessian + ridge * torch.eye(len(hessian), dtype=hessian.dtype, device=hessian.device))
        ridge *= 100
    return torch.cholesky_solve(gradient[:, None], factor)[:, 0]


def lbfgs(problem: Problem, curve: Curve, theta: Tensor, *, tolerance: float, steps: int, memory: int = 20) -> Path:
    """L-BFGS with backtracking; where l1 > 0, OWL-QN: a step stays in the orthant that the pseudo-gradient points into (Andrew & Gao, 2007).

    Steps and slopes are remembered as on standardised columns: in raw units the decrement seems small long before the minimum, above all in float32.
    """
    pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=memory)
    units = problem.units
    state = problem.sweep(curve, theta)
    path, quiet, size, reach = [state.objective], 0, 1.0, 1.0
    while len(path) <= steps and math.isfinite(state.value):
        slope = pseudo_gradient(problem, state.gradient, theta)
        direction = units.raw(_two_loops(pairs, units.slopes(slope)))
        if problem.l1:
            direction = torch.where(direction * slope > 0, direction, 0)
        decrement = float(slope @ direction)
        quiet = quiet + 1 if pairs and decrement <= 2 * tolerance * abs(state.value) else 0
        if decrement == 0 or quiet == 3 or size < 1e-12:
            return Path(theta, path, size >= 1e-12 or decrement < ROUNDING * (abs(state.value) + ROUNDING), state)
        size = 1.0 if pairs else reach * min(1.0, 1 / float(units.slopes(slope).norm()))
        reach *= 2  # as long as nothing bends, steps grow: the objective may fall for ever
        while size >= 1e-12:
            there = _same_orthant(problem, theta - size * direction, theta, slope)
            trial = problem.sweep(curve, there)
            if trial.value + 1e-4 * size * decrement <= state.value + problem.noise * abs(state.value):
                step, bend = units.standardized(there - theta), units.slopes(trial.gradient - state.gradient)
                if float(step @ bend) > 1e-10 * float(bend.norm()) * float(step.norm()):
                    pairs.append((step, bend))
                theta, state = there, trial
                path.append(state.objective)
                break
            size /= 2
    return Path(theta, path, False, state)


def _two_loops(pairs: deque[tuple[Tensor, Tensor]], gradient: Tensor) -> Tensor:
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


def _same_orthant(problem: Problem, there: Tensor, theta: Tensor, slope: Tensor) -> Tensor:
    """`there`, with every weight that the l1 term acts on stopped at 0 where it would change its sign."""
    if not problem.l1:
        return there
    orthant = torch.where(theta == 0, -torch.sign(slope), torch.sign(theta))
    return torch.where((there * orthant > 0) | (problem.penalized == 0), there, 0)


def through_kinks(solver: Solver, problem: Problem, loss: MarginLoss, theta: Tensor, *, tolerance: float, steps: int) -> Path:
    """Run a solver on φ; where φ bends upwards at kinks, on ever narrower roundings, until these cost at most `tolerance` of the objective."""
    rounded = Curve(loss, 1.0).rounded
    if not rounded:
        return solver(problem, Curve(loss), theta, tolerance=tolerance, steps=steps)
    margin = problem.noise * max(abs(kink) for kink, _ in rounded)  # how far rounding moves a margin there
    path: list[float] = []
    arrived = False
    for window, width in zip((0.0, *WIDTHS), WIDTHS, strict=False):
        if solver is newton and window:
            theta = _narrow(problem, Curve(loss, width, window), theta)
        found = solver(problem, Curve(loss, width), theta, tolerance=tolerance, steps=steps)
        theta, path = found.theta, path + found.objective
        arrived = found.converged or (arrived and width < 100 * margin)  # there a solver can miss its tolerance by rounding alone
        if found.state.gap <= tolerance * abs(found.state.objective):
            break
    return Path(theta, path, arrived, found.state)


def _narrow(problem: Problem, curve: Curve, theta: Tensor) -> Tensor:
    """Where the minimum goes as a kink's rounding narrows, if the margins inside it stay inside and keep their slopes: one linear system."""
    state = problem.sweep(curve, theta, hessian=True)
    there = theta - _solve(state.hessian, state.gradient)
    narrow = replace(curve, window=0.0)
    return there if problem.sweep(narrow, there).value < problem.sweep(narrow, theta).value else theta


def cccp(problem: Problem, loss: MarginLoss, theta: Tensor | None, *, tolerance: float, steps: int) -> Path:
    """The concave-convex procedure: replace the concave part of φ by its tangent at the last theta, minimise, repeat (Collobert et al., 2006).

    The tangent lies above the concave part and touches it, so the objective never rises. Without a theta it starts where the convex part is least.
    """
    convex, bends = split(loss)
    if theta is None:
        theta = through_kinks(newton, problem, convex, torch.zeros_like(problem.free), tolerance=tolerance, steps=1000).theta
    state, exact = problem.sweep(Curve(loss), theta), 1e-3
    path = [state.objective]
    while len(path) <= steps:
        tangent = replace(problem, bends=bends, anchor=theta)
        there = through_kinks(newton, tangent, convex, theta, tolerance=max(exact, tolerance), steps=1000).theta
        trial = problem.sweep(Curve(loss), there)
        if trial.objective < path[-1] - tolerance * abs(path[-1]):
            theta, state = there, trial
            path.append(trial.objective)
        elif exact > tolerance:
            exact = tolerance  # rough solutions brought it so far; from here on exact ones
        else:
            return Path(theta, path, True, state)
    return Path(theta, path, False, state)
