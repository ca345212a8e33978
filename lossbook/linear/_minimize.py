"""From a problem to its minimum: through the kinks of φ, past its concave part, from one start or several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook.linear._curve import Curve, split
from lossbook.linear._examples import Rows
from lossbook.linear._lbfgs import lbfgs
from lossbook.linear._newton import newton, newton_from_subsample, solve
from lossbook.linear._objective import Path, Problem, Stop

WIDTHS = tuple(5 * 10.0**-k for k in range(1, 10))  # half-widths to which kinks are rounded, one after the other

Solver = Callable[[Problem, Tensor, Stop], Path]
SOLVERS: dict[str, Solver] = {"lbfgs": lbfgs, "newton": newton}


class Search(NamedTuple):
    """Which solver, from where, and until when; for "cccp", from how many starts. The generator draws starts and subsamples."""

    solver: str
    start: Tensor | None
    starts: int
    stop: Stop
    generator: torch.Generator | None


def minimize(problem: Problem, search: Search) -> Path:
    """The path of the solver; for several starts the one that ends lowest."""
    if search.solver == "cccp":
        starts = [search.start, *(random_line(problem, search.generator) for _ in range(search.starts - 1))]
        return min((cccp(problem, start, search.stop) for start in starts), key=lambda path: path.objective[-1])
    examples = problem.examples
    if search.solver == "newton" and search.start is None and not problem.curve.loss.kinks and isinstance(examples, Rows):
        return newton_from_subsample(problem, examples, search.stop, search.generator)
    theta = torch.zeros_like(problem.free) if search.start is None else search.start
    return through_kinks(SOLVERS[search.solver], problem, theta, search.stop)


def through_kinks(solver: Solver, problem: Problem, theta: Tensor, stop: Stop) -> Path:
    """Run a solver on φ; where φ bends upwards at kinks, on ever narrower roundings, until these cost at most the tolerance of the objective."""
    loss = problem.curve.loss
    rounded = Curve(loss, WIDTHS[0]).rounded
    if not rounded:
        return solver(problem, theta, stop)
    margin = problem.noise * max(abs(kink) for kink, _ in rounded)  # how far rounding moves a margin there
    objective: list[float] = []
    arrived = False
    for window, width in zip((0.0, *WIDTHS), WIDTHS, strict=False):
        if solver is newton and window:
            theta = _narrow(problem, Curve(loss, width, window), theta)
        path = solver(replace(problem, curve=Curve(loss, width)), theta, stop)
        theta, objective = path.theta, objective + path.objective
        arrived = path.converged or (arrived and width < 100 * margin)  # there a solver can miss its tolerance by rounding alone
        if path.found.gap <= stop.tolerance * abs(path.found.objective):
            break
    return Path(theta, objective, arrived, path.found)


def _narrow(problem: Problem, curve: Curve, theta: Tensor) -> Tensor:
    """Where the minimum goes as a kink's rounding narrows, if the margins inside it stay inside and keep their slopes: one linear system."""
    found = replace(problem, curve=curve).sweep(theta, hessian=True)
    there = theta - solve(found.hessian, found.gradient)
    narrow = replace(problem, curve=replace(curve, window=0.0))
    return there if narrow.sweep(there).value < narrow.sweep(theta).value else theta


def cccp(problem: Problem, theta: Tensor | None, stop: Stop) -> Path:
    """The concave-convex procedure: replace the concave part of φ by its tangent at the last theta, minimise, repeat (Collobert et al., 2006).

    The tangent lies above the concave part and touches it, so the objective never rises. Without a theta it starts where the convex part is least.
    """
    convex, bends = split(problem.curve.loss)
    straight = replace(problem, curve=Curve(convex))
    if theta is None:
        theta = through_kinks(newton, straight, torch.zeros_like(problem.free), stop._replace(steps=1000)).theta
    found, exact = problem.sweep(theta), 1e-3
    objective = [found.objective]
    while len(objective) <= stop.steps:
        tangent = replace(straight, bends=bends, anchor=theta)
        there = through_kinks(newton, tangent, theta, Stop(max(exact, stop.tolerance), 1000)).theta
        trial = problem.sweep(there)
        if trial.objective < objective[-1] - stop.tolerance * abs(objective[-1]):
            theta, found = there, trial
            objective.append(trial.objective)
        elif exact > stop.tolerance:
            exact = stop.tolerance  # rough solutions brought it so far; from here on exact ones
        else:
            return Path(theta, objective, True, found)
    return Path(theta, objective, False, found)


def random_line(problem: Problem, generator: torch.Generator | None) -> Tensor:
    """Halfway between two random examples, of both signs where there are both, which get the scores +1 and -1."""
    block = problem.examples.first
    ends = []
    for sign in (1, -1):
        rows = (block.signs == sign).nonzero().squeeze(1)
        rows = rows if len(rows) else torch.arange(len(block.signs), device=rows.device)
        ends.append(block.features[rows[int(torch.randint(len(rows), (), generator=generator, device="cpu"))]].double())
    across = ends[0] - ends[1]
    weights = 2 * across / across.square().sum().clamp(min=1e-12)
    return torch.cat([weights, -(weights @ (ends[0] + ends[1]) / 2)[None]]) * problem.free
