"""Two maps that repair scores: temperature scaling and Platt's sigmoid. Public in `lossbook.reliability`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import check_floating, check_ndim, wrong_value
from lossbook._core.door import full_precision, outside_graphs, plain_arguments
from lossbook._core.stable import log1pexp
from lossbook.reliability._cases import checked_fit

_FARTHEST = 1e300  # how many times the largest lead against a label a lead for one may be, before their quotient is an infinity


class PlattScaling(NamedTuple):
    """P(label 1 | score) = sigmoid(slope * score + intercept)."""

    slope: Tensor
    intercept: Tensor

    @plain_arguments
    def probs(self, scores: Tensor) -> Tensor:
        """The calibrated probabilities.

        Args:
            scores: any shape, floating.

        Returns:
            The same shape and dtype, computed in float64: where scores lie far from 0, slope and intercept cancel.

        Raises:
            TypeError for another dtype.
        """
        check_floating("scores", scores)
        slope, intercept = (part.to(scores.device, torch.float64) for part in self)
        return torch.sigmoid(slope * scores.double() + intercept).to(scores.dtype)


@full_precision
@outside_graphs
def fit_temperature(logits: Tensor, labels: Tensor, *, ignore_index: int | None = None, sample_weight: Tensor | None = None) -> Tensor:
    """The temperature T > 0 that makes softmax(logits / T), or sigmoid(logits / T), most likely to have given the labels.

    argmin_T (1/N) sum_i w_i -ln softmax(logits_i / T)[label_i]

    The loss is convex in 1/T: Newton's method in 1/T, kept inside the bracket that the slope's sign has shown so far.

    Args:
        logits: [N, K], or [N] for label 1 against label 0; finite, held out from training.
        labels: [N] class ids.
        ignore_index: the label of what is not there, whatever its logits. None ignores nothing.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.

    Returns:
        A scalar, float64. No ranking changes: argmax(logits / T) = argmax(logits).

    Raises:
        ValueError: wrong shape, labels out of range, logits not finite, none left; or where no temperature is best: every label already has the
            largest logit (the loss falls for ever as T -> 0), or the logits are no better than none (it falls as T -> infinity).
        TypeError: logits not floating, labels not integer.

    Example:
        >>> logits = torch.tensor([4.0, 4.0, 4.0, -4.0])  # says 0.982; right in 3 of 4 cases
        >>> temperature = fit_temperature(logits, torch.tensor([1, 1, 0, 0]))
        >>> torch.sigmoid(logits / temperature)[0]
        tensor(0.7500)

    Reference:
        C. Guo, G. Pleiss, Y. Sun, K. Weinberger, On Calibration of Modern Neural Networks, 2017, eq. 9.

    Chapter: confidence.
    """
    scores, labels, weight = checked_fit("logits", logits, labels, ignore_index, sample_weight)
    weight = weight / weight.max()  # so that no sum of leads overflows
    total = weight.sum()
    half = 0.5 if float(scores.abs().max()) > 1 else 1.0  # so that a difference of two does not overflow
    classes = (torch.stack((torch.zeros_like(scores), scores), dim=1) if scores.ndim == 1 else scores) * half
    rivals = classes - classes.gather(1, labels[:, None])  # -ln softmax = logsumexp of these, times 1/T
    largest = float(rivals.max())
    if largest <= 0:
        wrong_value("logits", "rank at least one label below another class, or the loss falls for ever as T -> 0", "every label first")
    rivals = (rivals / largest).clamp(min=-_FARTHEST)  # of a class that is masked out no more matters
    nearest = rivals.scatter(1, labels[:, None], -math.inf).amax(dim=1)
    if float(nearest.min()) <= -_FARTHEST:
        wrong_value("logits", f"lead for a label by at most {_FARTHEST:g} times what they lead against one", "a longer lead")
    lead = -float((weight * rivals.mean(1)).sum() / total)
    if lead <= 1e-14 * float((weight * rivals.abs().mean(1)).sum() / total):  # or rounding would decide
        found = f"a mean lead of {lead * largest / half:g}"
        wrong_value("logits", "favour their labels on average, or the loss falls for ever as T -> infinity", found)

    def slope(inverse: float) -> tuple[float, float]:
        pulled = (inverse * rivals).softmax(dim=1) * rivals
        means = pulled.sum(dim=1)
        spreads = (pulled * rivals).sum(dim=1) - means.square()
        return float((weight * means).sum() / total), float((weight * spreads).sum() / total)

    temperature = largest / (half * _rising_root(slope))
    if temperature == math.inf:
        wrong_value("logits", "have a temperature that float64 holds", f"logits up to {float(scores.abs().max()):g}")
    return torch.tensor(temperature, dtype=torch.float64, device=logits.device)


def _rising_root(slope: Callable[[float], tuple[float, float]]) -> float:
    """Where on (0, infinity) a rising function is 0, from its value and its own slope, by Newton's method from 1 on.

    A step that leaves the bracket shown so far, or does not halve the last one, gives way: without an upper end to a factor that grows, within a
    bracket to its geometric mean, which finds any power of ten.
    """
    place, low, high, growth, last = 1.0, 0.0, math.inf, 2.0, math.inf
    while True:
        value, steepness = slope(place)
        if value == 0:
            return place
        low, high = (low, place) if value > 0 else (place, high)
        proposal = place - value / steepness if steepness > 0 else math.nan
        if not (low < proposal < high and abs(proposal - place) <= last / 2):
            proposal = low * growth if high == math.inf else high / growth if low == 0 else math.sqrt(low) * math.sqrt(high)
            growth *= growth if low == 0 or high == math.inf else 1
        last = abs(proposal - place)
        if last <= 1e-13 * place:
            return proposal
        place = proposal


@full_precision
@outside_graphs
def fit_platt(scores: Tensor, labels: Tensor, *, ignore_index: int | None = None, sample_weight: Tensor | None = None) -> PlattScaling:
    r"""The sigmoid that turns scores into probabilities, fitted on held-out scores.

    argmin_{a,b} sum_i w_i (ln(1 + exp(a s_i + b)) - t_i (a s_i + b)),     t = (N1 + 1)/(N1 + 2) for label 1 and 1/(N0 + 2) for label 0

    The targets are Platt's: not 1 and 0, but what a uniform prior on each class's reliability makes of N1 and N0 cases. With weights N1 and N0
    are sums of them. They keep the fit finite on separable scores. Newton's method on standardised scores, the step halved while the loss rises.

    Args:
        scores: [N], any real scores, finite, held out from training.
        labels: [N], 0 or 1.
        ignore_index: the label of what is not there, whatever its score. None ignores nothing.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.

    Returns:
        A `PlattScaling(slope, intercept)` of float64 scalars; `.probs(scores)` applies it. Equal scores get slope 0.

    Raises:
        ValueError: wrong shape, labels out of range, scores not finite, none left.
        TypeError: scores not floating, labels not integer.

    Example:
        >>> platt = fit_platt(torch.tensor([-2.0, -1.0, 1.0, 2.0]), torch.tensor([0, 0, 1, 1]))
        >>> platt.probs(torch.tensor([-1.0, 1.0]))
        tensor([0.3376, 0.6624])

    Reference:
        J. Platt, Probabilistic Outputs for Support Vector Machines, 1999, eq. 2 and section 2.2; H.-T. Lin, C.-J. Lin, R. Weng, A Note on Platt's
        Probabilistic Outputs for Support Vector Machines, 2007, for the method.

    Conventions:
        sigmoid(a s + b); Platt and scikit-learn write 1/(1 + exp(A s + B)), so A = -a, B = -b.

    Chapter: confidence.
    """
    check_floating("scores", scores)
    check_ndim("scores", scores, 1, "[N]")
    values, labels, weight = checked_fit("scores", scores, labels, ignore_index, sample_weight)
    largest = values.abs().max()
    values = values / torch.where(largest > 0, largest, 1.0)  # no square overflows or vanishes, and equal scores have a mean that is equal to them
    centre, spread = values.mean(), values.std(correction=0)
    spread = torch.where(spread > 0, spread, 1.0)
    design = torch.stack(((values - centre) / spread, torch.ones_like(values)), dim=1)
    ones = (weight * labels).sum()
    targets = torch.where(labels == 1, (ones + 1) / (ones + 2), 1 / (weight.sum() - ones + 2))

    def loss(coefficients: Tensor) -> float:
        fitted = design @ coefficients
        return float((weight * (log1pexp(fitted) - targets * fitted)).sum())

    coefficients = torch.zeros(2, dtype=torch.float64, device=scores.device)
    for _ in range(100):
        probs = torch.sigmoid(design @ coefficients)
        gradient = design.T @ (weight * (probs - targets))
        hessian = design.T @ (design * (weight * probs * (1 - probs))[:, None]) + 1e-12 * torch.eye(2, dtype=torch.float64, device=scores.device)
        step, size, before = torch.linalg.solve(hessian, gradient), 1.0, loss(coefficients)
        while loss(coefficients - size * step) > before and size > 1e-10:
            size /= 2
        coefficients = coefficients - size * step
        if float((size * step).abs().max()) <= 1e-12 * (1 + float(coefficients.abs().max())):
            break
    slope = coefficients[0] / spread
    intercept = coefficients[1] - slope * centre
    slope = slope / torch.where(largest > 0, largest, 1.0)
    if not bool(slope.isfinite()):
        wrong_value("scores", "have a slope that float64 holds", f"scores up to {float(largest):g}")
    return PlattScaling(slope, intercept)
