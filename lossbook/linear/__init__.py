"""Linear classifiers under any loss of the margin: the step that moves the weights, and the solvers that take many of them.

Chapters: learning, impostor, ramp.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import full_precision, outside_graphs, plain, plain_arguments, widened
from lossbook.linear._examples import Block, Rows, Stream, check_examples, check_line, check_penalties, check_solver
from lossbook.linear._minimize import solve
from lossbook.linear._objective import Problem
from lossbook.margins import MarginLoss, check_loss

__all__ = ["Line", "LinearFit", "fit_linear", "regularized_risk", "sgd_step"]

INTERCEPTS = ("free", "regularized", "none")
SCHEDULES = ("constant", "inverse", "inverse_sqrt", "pegasos")
AVERAGES = ("none", "uniform", "polynomial")


class Line(NamedTuple):
    """Weights w [D] and intercept b [] of the score w·x + b."""

    weights: Tensor
    intercept: Tensor


class LinearFit(NamedTuple):
    """What `fit_linear` found: weights [D], intercept [], and the objective by step [T], float64 on the CPU."""

    weights: Tensor
    intercept: Tensor
    objective: Tensor

    @full_precision
    def scores(self, features: Tensor) -> Tensor:
        """w·x + b.

        Args:
            features: [..., D], in the dtype of the weights, or of half precision where these are float32.

        Returns:
            [...], float32 at least.

        Raises:
            TypeError or ValueError for another dtype or number of columns.
        """
        weights, intercept = widened(plain(self.weights)), widened(plain(self.intercept))
        checks.check_floating("features", features)
        if features.shape[-1:] != weights.shape:
            checks.wrong_value("features", f"have shape [..., {len(weights)}], a column a weight", tuple(features.shape))
        checks.check_same_dtype("features", features, "weights", weights)
        checks.check_same_device("features", features, "weights", weights)
        scores: Tensor = features @ weights + intercept
        return scores


@full_precision
def regularized_risk(
    weights: Tensor,
    intercept: Tensor,
    features: Tensor,
    signs: Tensor,
    *,
    loss: str | MarginLoss,
    l2: float = 0.0,
    l1: float = 0.0,
    weight: Tensor | None = None,
) -> Tensor:
    """The mean loss of the margins, and the price of the weights: (1/N) Σ φ(y (w·x + b)) + l2/2 |w|² + l1 |w|₁.

    Args:
        weights, intercept: [D] and []; the intercept is not regularised.
        features, signs: [N, D] and [N] in {-1, +1}.
        loss: a name in `margins.LOSSES`, or a `MarginLoss`.
        l2, l1: at least 0.
        weight: [N], multiplies each example's loss; the mean still divides by N.

    Returns:
        A tensor [] in the dtype of the features, float32 at least, differentiable by autograd.

    Raises:
        TypeError or ValueError for a wrong dtype, shape or sign, an unknown loss, a negative l2 or l1.

    Example:
        >>> features, signs = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, -1])
        >>> regularized_risk(torch.tensor([2.0, 0.0]), torch.tensor(0.0), features, signs, loss="hinge", l2=0.1)
        tensor(0.7000)

    Conventions:
        A mean, and a half before l2, so that scikit-learn's C is 1 / (N l2).

    Chapter: learning.
    """
    phi = check_loss(loss)
    check_penalties(l2, l1)
    check_examples(features, signs, weight)
    check_line(weights, intercept, features)
    checks.check_same_dtype("weights", weights, "features", features)
    return _risk(weights, intercept.to(weights.dtype), _alike(features, signs, weight), phi, l2, l1)


def _alike(features: Tensor, signs: Tensor, weight: Tensor | None) -> Block:
    """All in the dtype of the features, float32 at least."""
    features = widened(features)
    return Block(features, signs.to(features.dtype), None if weight is None else weight.to(features.dtype))


def _risk(weights: Tensor, intercept: Tensor, block: Block, phi: MarginLoss, l2: float, l1: float) -> Tensor:
    features, signs, weight = block
    losses = phi((features @ weights + intercept) * signs)
    return (losses if weight is None else weight * losses).mean() + l2 / 2 * weights.square().sum() + l1 * weights.abs().sum()


@plain_arguments
def sgd_step(
    weights: Tensor,
    intercept: Tensor,
    features: Tensor,
    signs: Tensor,
    *,
    loss: str | MarginLoss,
    rate: float,
    l2: float = 0.0,
    l1: float = 0.0,
    weight: Tensor | None = None,
) -> Line:
    """One step of stochastic gradient descent on a mini-batch, written out: shrink, then correct.

    w ← (1 - rate·l2) w - rate · mean φ'(m) y x, after which each weight moves rate·l1 towards 0 and stops there; b ← b - rate · mean φ'(m) y.

    Args:
        weights, intercept: [D] and [], where the step starts.
        features, signs: the mini-batch, [N, D] and [N] in {-1, +1}.
        loss: a name in `margins.LOSSES`, or a `MarginLoss`.
        rate: the step size, above 0.
        l2, l1: at least 0.
        weight: [N], multiplies each example's loss; the mean still divides by N.

    Returns:
        `Line(weights, intercept)`, each in the dtype that it came in; half precision is computed in float32.

    Raises:
        as `regularized_risk`, and ValueError unless rate > 0.

    Example:
        >>> wrong, sign = torch.tensor([[-4.0, 1.0]]), torch.tensor([1])
        >>> sgd_step(torch.tensor([1.0, 0.0]), torch.tensor(0.0), wrong, sign, loss="hinge", rate=0.25).weights
        tensor([0.0000, 0.2500])

    Reference:
        S. Shalev-Shwartz, Y. Singer, N. Srebro, A. Cotter, "Pegasos: primal estimated sub-gradient solver for SVM", 2011, figure 1; for l1, J. Duchi,
        Y. Singer, "Efficient online and batch learning using forward backward splitting", 2009.

    Chapter: learning.
    """
    phi = check_loss(loss)
    check_penalties(l2, l1)
    check_examples(features, signs, weight)
    check_line(weights, intercept, features)
    checks.check_same_dtype("weights", weights, "features", features)
    if weight is not None:
        checks.check_same_dtype("weight", weight, "features", features)
    checks.check_number("rate", rate, low=0, low_open=True)
    line = _step(widened(weights), widened(intercept), _alike(features, signs, weight), phi, rate, l2, l1)
    return Line(line.weights.to(weights.dtype), line.intercept.to(intercept.dtype))


def _step(weights: Tensor, intercept: Tensor, block: Block, phi: MarginLoss, rate: float, l2: float, l1: float) -> Line:
    features, signs, weight = block
    margins = (features @ weights + intercept) * signs
    pull = -phi.derivative(margins) * signs / len(signs)  # how hard each example pulls at its score, and which way
    pull = pull if weight is None else weight * pull
    weights = (1 - rate * l2) * weights + rate * (pull @ features)
    if l1:
        weights = torch.sign(weights) * torch.relu(weights.abs() - rate * l1)
    return Line(weights, intercept + rate * pull.sum())


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
    rate: float = 0.1,
    schedule: Literal["constant", "inverse", "inverse_sqrt", "pegasos"] = "constant",
    average: Literal["none", "uniform", "polynomial"] = "none",
    batch_size: int = 32,
    epochs: int = 10,
    generator: torch.Generator | None = None,
) -> LinearFit:
    """The linear classifier of least regularised risk: min over w, b of (1/N) Σ φ(y (w·x + b)) + l2/2 |w|² + l1 |w|₁.

    Args:
        features, signs: [N, D] and [N] in {-1, +1}; or, as `features` alone, an iterable of such pairs, which then need not fit in memory.
        loss: a name in `margins.LOSSES`, or a `MarginLoss`.
        l2, l1: at least 0.
        solver: "lbfgs", any loss with a slope, with or without l1. "newton", convex losses, l1 = 0, a few thousand columns at most: the fastest and
            the most exact, above all where φ has kinks. "cccp", the ramps: a convex problem a step. "sgd", a mini-batch a step.
        intercept: "free"; "regularized" as one more weight, on a column of ones, as scikit-learn's `LinearSVC` does; or "none".
        weight: [N], multiplies each example's loss; the mean still divides by N. In memory only.
        start: weights and intercept to begin at; zeros by default, for "cccp" the minimiser of the loss with its concave kinks straightened.
        starts: for "cccp", how many starting points; all but the first are drawn at random and the lowest objective wins.
        tolerance: stop when the objective is estimated to lie this close, relatively, above a minimum. Not for "sgd".
        steps: at most so many steps a start; a warning says where they did not do. Not for "sgd".
        rate, schedule: for "sgd", the step size at step t = 1, 2, ...: `rate`, rate / (1 + rate·l2·t), rate / √t, or 1 / (l2·t) with |w| kept below
            1/√l2 ("pegasos": the hinge alone, no free intercept).
        average: for "sgd", return the mean of all iterates instead of the last, or one that favours the later ones (Shamir & Zhang, with η = 3).
        batch_size, epochs: for "sgd"; a stream has batches of its own.
        generator: on the CPU; draws the batches, the random starts and the subsample with which "newton" begins on many examples.

    Returns:
        `LinearFit(weights [D], intercept [], objective [T])` in the dtype of the features (float32 for half precision). The objective is that of all
        examples by step; for "sgd" that of each step's own batch, before the step.

    Raises:
        TypeError or ValueError for bad arguments, NaN or infinite features, a solver that cannot do the problem, an objective without a minimum.

    Example:
        >>> features, signs = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), torch.tensor([-1, -1, 1, 1])
        >>> [round(weight, 3) for weight in fit_linear(features, signs, loss="hinge", l2=0.1, solver="newton").weights.tolist()]
        [1.0]

    Reference:
        O. Chapelle, "Training a support vector machine in the primal", 2007; G. Andrew, J. Gao, "Scalable training of L1-regularized log-linear
        models", 2007; R. Collobert, F. Sinz, J. Weston, L. Bottou, "Trading convexity for scalability", 2006; Pegasos as in `sgd_step`; O.
        Shamir, T. Zhang, "Stochastic gradient descent for non-smooth optimization", 2013.

    Conventions:
        A mean over the examples and a half before l2, so that scikit-learn's C is 1 / (N l2), for `LogisticRegression` and for both losses of
        `LinearSVC`.

    Chapters: learning, impostor, ramp.
    """
    phi = check_loss(loss)
    check_penalties(l2, l1)
    for parameter, value, choices in (("intercept", intercept, INTERCEPTS), ("schedule", schedule, SCHEDULES), ("average", average, AVERAGES)):
        checks.check_choice(parameter, value, choices)
    for parameter, count in (("starts", starts), ("steps", steps), ("batch_size", batch_size), ("epochs", epochs)):
        checks.check_count(parameter, count)
    for parameter, number in (("tolerance", tolerance), ("rate", rate)):
        checks.check_number(parameter, number, low=0, low_open=True)
    checks.check_generator("generator", generator)
    check_solver(solver, phi, l2, l1)
    if solver == "sgd" and schedule == "pegasos" and (phi.name != "hinge" or l2 == 0 or intercept == "free"):
        found = f"loss {phi.name}, l2 {l2:g}, intercept {intercept!r}"
        checks.wrong_value("schedule", "be 'pegasos' only with the hinge, l2 > 0 and no free intercept", found)
    passes = epochs if solver == "sgd" else 2
    examples = Rows(features, signs, weight) if isinstance(features, Tensor) else Stream(features, signs, weight, passes)
    first = examples.first.features
    theta = None if start is None else _checked_start(start, first)
    # what is found is fit for training, though the call was in inference mode
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(first.device.type, enabled=False):
        if solver == "sgd":
            batches = (batch for _ in range(epochs) for batch in examples.batches(batch_size, generator))
            return _sgd(batches, phi, first, theta, l2, l1, intercept, rate, schedule, average)
        ones = first.new_ones(first.shape[1] + 1, dtype=torch.float64)
        without = torch.cat([ones[1:], ones.new_zeros(1)])
        penalized, free = ones if intercept == "regularized" else without, without if intercept == "none" else ones
        problem = Problem(examples.blocks, penalized, free, torch.finfo(first.dtype).eps, l2, l1)
        path = solve(solver, problem, examples, phi, theta, starts, max(tolerance, problem.noise), steps, generator)
        theta = path.theta.to(first.dtype)
        return LinearFit(theta[:-1], theta[-1], torch.tensor(path.objective, dtype=torch.float64, device="cpu"))


def _checked_start(start: tuple[Tensor, Tensor] | LinearFit, first: Tensor) -> Tensor:
    """Weights and intercept as one vector [D + 1], float64."""
    if not isinstance(start, tuple) or len(start) < 2:
        checks.wrong_type("start", "be a pair (weights, intercept) or a `LinearFit`", type(start).__name__)
    weights, intercept = plain(start[0]), plain(start[1])
    check_line(weights, intercept, first)
    checks.check_finite("weights", weights)
    checks.check_finite("intercept", intercept)
    return torch.cat([weights.detach().double(), intercept.detach().double()[None]])


def _sgd(
    batches: Iterable[Block],
    phi: MarginLoss,
    first: Tensor,
    theta: Tensor | None,
    l2: float,
    l1: float,
    intercept: str,
    rate: float,
    schedule: str,
    average: str,
) -> LinearFit:
    """A step on each batch, and a running mean of the lines it passes through."""
    theta = first.new_zeros(first.shape[1] + 1) if theta is None else theta.to(first.dtype)
    as_weight = intercept == "regularized"  # a weight like the others, on a column of ones
    line = Line(theta, theta.new_zeros(())) if as_weight else Line(theta[:-1], theta[-1])
    mean, risks = line, []
    for t, block in enumerate(batches, start=1):
        if as_weight:
            block = block._replace(features=torch.cat([block.features, torch.ones_like(block.features[:, :1])], dim=1))
        risks.append(_risk(*line, block, phi, l2, l1))
        step = {"constant": rate, "inverse": rate / (1 + rate * l2 * t), "inverse_sqrt": rate / math.sqrt(t), "pegasos": 1 / max(l2 * t, 1e-300)}
        weights, constant = _step(*line, block, phi, step[schedule], l2, l1)
        if schedule == "pegasos":  # the minimiser lies in the ball of this radius
            weights = weights / (math.sqrt(l2) * weights.norm()).clamp(min=1)
        line = Line(weights, constant if intercept == "free" else line.intercept)
        share = {"none": 1.0, "uniform": 1 / t, "polynomial": 4 / (t + 3)}[average]
        mean = Line(mean.weights + share * (line.weights - mean.weights), mean.intercept + share * (line.intercept - mean.intercept))
    if not bool(mean.weights.isfinite().all() & mean.intercept.isfinite()):
        raise ValueError("`features` should be finite, and `rate` small enough for SGD to settle; found weights that are not finite.")
    weights, constant = (mean.weights[:-1], mean.weights[-1]) if as_weight else mean
    return LinearFit(weights, constant, torch.stack(risks).double().cpu())
