"""Linear classifiers under any loss of the margin: the step that moves the weights, and the solvers that take many of them.

Chapters: learning, impostor, ramp.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import full_precision, outside_graphs
from lossbook.linear._curve import Curve, kinks
from lossbook.linear._examples import INTERCEPTS, check_penalties, given_examples, given_start, outside_autograd
from lossbook.linear._line import Line, LinearFit, regularized_risk
from lossbook.linear._minimize import Search, minimize
from lossbook.linear._objective import Path, Problem, Stop
from lossbook.linear._sgd import fit_sgd, sgd_step
from lossbook.margins import MarginLoss, check_loss

__all__ = ["Line", "LinearFit", "fit_linear", "fit_sgd", "regularized_risk", "sgd_step"]


@outside_graphs
@full_precision
def fit_linear(
    features: Tensor | Iterable[tuple[Tensor, Tensor]],
    signs: Tensor | None = None,
    *,
    loss: str | MarginLoss,
    l2: float = 0.0,
    l1: float = 0.0,
    solver: Literal["lbfgs", "newton", "sgd", "cccp"] = "lbfgs",
    intercept: Literal["free", "regularized", "none"] = "free",
    weight: Tensor | None = None,
    start: tuple[Tensor, Tensor] | LinearFit | None = None,
    starts: int = 1,
    tolerance: float = 1e-10,
    steps: int = 1000,
    generator: torch.Generator | None = None,
) -> LinearFit:
    """The linear classifier of least regularised risk: min over w, b of (1/N) Σ φ(y (w·x + b)) + l2/2 |w|² + l1 |w|₁.

    Args:
        features, signs: [N, D] and [N] in {-1, +1}; or, as `features` alone, an iterable of such pairs, which then need not fit in memory.
        loss: a name in `margins.LOSSES`, or a `MarginLoss`.
        l2, l1: at least 0.
        solver: "lbfgs", any loss with a slope, with or without l1. "newton", convex losses, l1 = 0, a few thousand columns at most: the fastest and
            the most exact, above all where φ has kinks. "cccp", the ramps: a convex problem a step. "sgd", a mini-batch a step: `fit_sgd` with its
            own rate, schedule and batches.
        intercept: "free"; "regularized" as one more weight, on a column of ones, as scikit-learn's `LinearSVC` does; or "none".
        weight: [N], multiplies each example's loss; the mean still divides by N. In memory only.
        start: weights and intercept to begin at; zeros by default, for "cccp" the minimiser of the loss with its concave kinks straightened.
        starts: for "cccp", how many starting points; all but the first are drawn at random and the lowest objective wins.
        tolerance: stop when the objective is estimated to lie this close, relatively, above a minimum. Not for "sgd".
        steps: at most so many steps a start; a warning says where they did not do. Not for "sgd".
        generator: on the CPU; draws the batches, the random starts and the subsample with which "newton" begins on many examples.

    Returns:
        `LinearFit(weights [D], intercept [], objective [T])` in the dtype of the features (float32 for half precision). The objective is that of all
        examples by step; for "sgd" see there.

    Raises:
        TypeError or ValueError for bad arguments, NaN or infinite features, a solver that cannot do the problem, an objective without a minimum.

    Example:
        >>> features, signs = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), torch.tensor([-1, -1, 1, 1])
        >>> [round(weight, 3) for weight in fit_linear(features, signs, loss="hinge", l2=0.1, solver="newton").weights.tolist()]
        [1.0]

    Reference:
        O. Chapelle, "Training a support vector machine in the primal", 2007; G. Andrew, J. Gao, "Scalable training of L1-regularized log-linear
        models", 2007; R. Collobert, F. Sinz, J. Weston, L. Bottou, "Trading convexity for scalability", 2006.

    Conventions:
        A mean over the examples and a half before l2, so that scikit-learn's C is 1 / (N l2), for `LogisticRegression` and for both losses of
        `LinearSVC`.

    Chapters: learning, impostor, ramp.
    """
    phi = check_loss(loss)
    check_penalties(l2, l1)
    checks.check_choice("intercept", intercept, INTERCEPTS)
    checks.check_count("starts", starts)
    checks.check_count("steps", steps)
    checks.check_number("tolerance", tolerance, low=0, low_open=True)
    checks.check_generator("generator", generator)
    _check_solver(solver, phi, l1)
    if solver == "sgd":
        return fit_sgd(features, signs, loss=phi, l2=l2, l1=l1, intercept=intercept, weight=weight, start=start, generator=generator)
    examples = given_examples(features, signs, weight, passes=2)
    first = examples.first.features
    theta = None if start is None else given_start(start, first)
    with outside_autograd(first.device):
        penalized, free = _roles(intercept, first)
        problem = Problem(examples, Curve(phi), l2, l1, penalized, free, torch.finfo(first.dtype).eps)
        path = minimize(problem, Search(solver, theta, starts, Stop(max(tolerance, problem.noise), steps), generator))
        _check_found(path, steps)
        theta = path.theta.to(first.dtype)
        return LinearFit(theta[:-1], theta[-1], torch.tensor(path.objective, dtype=torch.float64, device="cpu"))


def _check_solver(solver: str, loss: MarginLoss, l1: float) -> None:
    """The solver is one, and can do the problem."""
    checks.check_choice("solver", solver, ("lbfgs", "newton", "sgd", "cccp"))
    if solver == "newton" and not loss.is_convex:
        checks.wrong_value("solver", "be 'lbfgs', 'sgd' or, for a ramp, 'cccp' where the loss is not convex", f"'newton' with {loss.name}")
    if solver == "cccp" and not any(jump < 0 for _, jump in kinks(loss)):
        checks.wrong_value("loss", "be a ramp for the solver 'cccp'", loss.name)
    if solver in ("newton", "cccp") and l1 > 0:
        checks.wrong_value("solver", "be 'lbfgs' or 'sgd' where l1 > 0", repr(solver))


def _roles(intercept: str, features: Tensor) -> tuple[Tensor, Tensor]:
    """Which of w and b [D + 1] l1 and l2 act on, and which may move."""
    every = features.new_ones(features.shape[1] + 1, dtype=torch.float64)
    weights = every.clone()
    weights[-1] = 0
    return every if intercept == "regularized" else weights, weights if intercept == "none" else every


def _check_found(path: Path, steps: int) -> None:
    """An error where there is no minimum, a warning where it was not reached."""
    value, gradient = path.found.value, path.found.gradient
    if path.objective[-1] < -1e9:
        expected = "have a minimum on these examples (l2 > 0 without a free intercept gives one)"
        checks.wrong_value("loss", expected, f"an objective of {path.objective[-1]:.3g}")
    if not (math.isfinite(value) and bool(gradient.isfinite().all())):
        found = f"an objective of {value:g} with the slope {float(gradient.norm()):g}"
        checks.wrong_value("features", "be finite, and small enough for the loss to be so", found)
    if not path.converged:
        message = f"`fit_linear` has not reached a minimum in {steps} steps. Allow more; where the examples are separable, give `l2`."
        warnings.warn(message, RuntimeWarning, stacklevel=_outside())


def _outside() -> int:
    """How far up the stack the first caller is who is neither this package nor torch: a warning points at him."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in ("lossbook", "torch"):
        frame, level = frame.f_back, level + 1
    return level
