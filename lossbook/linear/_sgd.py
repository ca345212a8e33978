"""Stochastic gradient descent: the step, and a pass of steps over batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import full_precision, outside_graphs, plain_arguments, widened
from lossbook.linear._examples import (
    INTERCEPTS,
    Block,
    alike,
    check_examples,
    check_line,
    check_penalties,
    given_examples,
    given_start,
    outside_autograd,
)
from lossbook.linear._line import Line, LinearFit, Price, risk
from lossbook.margins import MarginLoss, check_loss


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
    price = Price(check_loss(loss), l2, l1)
    check_penalties(l2, l1)
    check_examples(features, signs, weight)
    check_line(weights, intercept, features)
    checks.check_same_dtype("weights", weights, "features", features)
    if weight is not None:
        checks.check_same_dtype("weight", weight, "features", features)
    checks.check_number("rate", rate, low=0, low_open=True)
    line = _step(Line(widened(weights), widened(intercept)), alike(features, signs, weight), price, rate)
    return Line(line.weights.to(weights.dtype), line.intercept.to(intercept.dtype))


def _step(line: Line, block: Block, price: Price, rate: float) -> Line:
    features, signs, weight = block
    weights, intercept = line
    margins = (features @ weights + intercept) * signs
    pull = -price.loss.derivative(margins) * signs / len(signs)  # how hard each example pulls at its score, and which way
    pull = pull if weight is None else weight * pull
    weights = (1 - rate * price.l2) * weights + rate * (pull @ features)
    if price.l1:
        weights = torch.sign(weights) * torch.relu(weights.abs() - rate * price.l1)
    return Line(weights, intercept + rate * pull.sum())


def _constant(t: int, rate: float, l2: float) -> float:
    return rate


def _inverse(t: int, rate: float, l2: float) -> float:
    return rate / (1 + rate * l2 * t)


def _inverse_sqrt(t: int, rate: float, l2: float) -> float:
    return rate / math.sqrt(t)


def _pegasos(t: int, rate: float, l2: float) -> float:
    return 1 / (l2 * t)


SCHEDULES: dict[str, Callable[[int, float, float], float]] = {
    "constant": _constant,
    "inverse": _inverse,
    "inverse_sqrt": _inverse_sqrt,
    "pegasos": _pegasos,
}
# How far the mean moves to the newest line at step t: to it, by an equal share, by the share of Shamir and Zhang's η = 3.
AVERAGES: dict[str, Callable[[int], float]] = {"none": lambda t: 1.0, "uniform": lambda t: 1 / t, "polynomial": lambda t: 4 / (t + 3)}


class Descent(NamedTuple):
    """How to go down, all of it checked."""

    price: Price
    rate: float
    schedule: str
    average: str
    intercept: str


@outside_graphs
@full_precision
def fit_sgd(
    features: Tensor | Iterable[tuple[Tensor, Tensor]],
    signs: Tensor | None = None,
    *,
    loss: str | MarginLoss,
    l2: float = 0.0,
    l1: float = 0.0,
    intercept: Literal["free", "regularized", "none"] = "free",
    weight: Tensor | None = None,
    start: tuple[Tensor, Tensor] | LinearFit | None = None,
    rate: float = 0.1,
    schedule: Literal["constant", "inverse", "inverse_sqrt", "pegasos"] = "constant",
    average: Literal["none", "uniform", "polynomial"] = "none",
    batch_size: int = 32,
    epochs: int = 10,
    generator: torch.Generator | None = None,
) -> LinearFit:
    """A linear classifier by stochastic gradient descent: one `sgd_step` a mini-batch, on (1/N) Σ φ(y (w·x + b)) + l2/2 |w|² + l1 |w|₁.

    Args:
        features, signs: [N, D] and [N] in {-1, +1}; or, as `features` alone, an iterable of such pairs, which then need not fit in memory.
        loss: a name in `margins.LOSSES`, or a `MarginLoss`.
        l2, l1: at least 0.
        intercept: "free"; "regularized" as one more weight, on a column of ones; or "none".
        weight: [N], multiplies each example's loss; the mean still divides by the batch. In memory only.
        start: weights and intercept to begin at; zeros by default.
        rate, schedule: the step size at step t = 1, 2, ...: `rate`, rate / (1 + rate·l2·t), rate / √t, or 1 / (l2·t) with |w| kept below 1/√l2
            ("pegasos": the hinge alone, no free intercept).
        average: "none" returns the last iterate, "uniform" the mean of all, "polynomial" one that favours the later ones (Shamir & Zhang, η = 3).
        batch_size: how many examples a step; a stream has batches of its own.
        epochs: how many times all examples are gone through.
        generator: on the CPU; draws the batches.

    Returns:
        `LinearFit(weights [D], intercept [], objective [T])` in the dtype of the features (float32 for half precision). The objective is that of each
        step's own batch, before the step.

    Raises:
        TypeError or ValueError for bad arguments, NaN or infinite features, a rate at which the weights grow without end.

    Example:
        >>> features, signs = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), torch.tensor([-1, -1, 1, 1])
        >>> fit = fit_sgd(features, signs, loss="hinge", l2=0.1, batch_size=4, epochs=100)
        >>> round(fit.weights.item(), 1), len(fit.objective)
        (1.0, 100)

    Reference:
        Pegasos as in `sgd_step`; O. Shamir, T. Zhang, "Stochastic gradient descent for non-smooth optimization", 2013.

    Conventions:
        A mean over the examples and a half before l2, as in `fit_linear`.

    Chapter: learning.
    """
    descent = Descent(Price(check_loss(loss), l2, l1), rate, schedule, average, intercept)
    _check_descent(descent)
    checks.check_count("batch_size", batch_size)
    checks.check_count("epochs", epochs)
    checks.check_generator("generator", generator)
    examples = given_examples(features, signs, weight, passes=epochs)
    first = examples.first.features
    theta = first.new_zeros(first.shape[1] + 1) if start is None else given_start(start, first).to(first.dtype)
    with outside_autograd(first.device):
        batches = (batch for _ in range(epochs) for batch in examples.batches(batch_size, generator))
        if intercept != "regularized":
            return _descend(descent, Line(theta[:-1], theta[-1]), batches)
        weights, _, objective = _descend(descent, Line(theta, theta.new_zeros(())), map(_with_ones, batches))
        return LinearFit(weights[:-1], weights[-1], objective)


def _check_descent(descent: Descent) -> None:
    (loss, l2, l1), rate, schedule, average, intercept = descent
    check_penalties(l2, l1)
    checks.check_number("rate", rate, low=0, low_open=True)
    checks.check_choice("schedule", schedule, SCHEDULES)
    checks.check_choice("average", average, AVERAGES)
    checks.check_choice("intercept", intercept, INTERCEPTS)
    if schedule == "pegasos" and (loss.name != "hinge" or l2 == 0 or intercept == "free"):
        found = f"loss {loss.name}, l2 {l2:g}, intercept {intercept!r}"
        checks.wrong_value("schedule", "be 'pegasos' only with the hinge, l2 > 0 and no free intercept", found)


def _descend(descent: Descent, line: Line, batches: Iterable[Block]) -> LinearFit:
    """A step on each batch, and a running mean of the lines it passes through."""
    price, mean, risks = descent.price, line, []
    step_size, share = SCHEDULES[descent.schedule], AVERAGES[descent.average]
    for t, block in enumerate(batches, start=1):
        risks.append(risk(line, block, price))
        weights, constant = _step(line, block, price, step_size(t, descent.rate, price.l2))
        if descent.schedule == "pegasos":  # the minimiser lies in the ball of this radius
            weights = weights / (math.sqrt(price.l2) * weights.norm()).clamp(min=1)
        line = Line(weights, constant if descent.intercept == "free" else line.intercept)
        mean = Line(*(old + share(t) * (new - old) for old, new in zip(mean, line, strict=True)))
    if not bool(mean.weights.isfinite().all() & mean.intercept.isfinite()):
        raise ValueError("`features` should be finite, and `rate` small enough for SGD to settle; found weights that are not finite.")
    return LinearFit(*mean, torch.stack(risks).double().cpu())


def _with_ones(block: Block) -> Block:
    """With a column of ones, whose weight is the intercept."""
    return block._replace(features=torch.cat([block.features, torch.ones_like(block.features[:, :1])], dim=1))
