"""Two maps that repair scores: temperature scaling and Platt's sigmoid. Public in `lossbook.reliability`."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import check_finite, check_floating, check_integer, check_labels, check_ndim, check_range, check_tensor, wrong_value
from lossbook._core.stable import log1pexp


class PlattScaling(NamedTuple):
    """P(label 1 | score) = sigmoid(slope * score + intercept)."""

    slope: Tensor
    intercept: Tensor

    def probs(self, scores: Tensor) -> Tensor:
        """The calibrated probabilities.

        Args:
            scores: any shape, floating.

        Returns:
            The same shape and dtype.

        Raises:
            TypeError for another dtype.
        """
        check_floating("scores", scores)
        return torch.sigmoid(self.slope.to(scores) * scores + self.intercept.to(scores))


def fit_temperature(logits: Tensor, labels: Tensor) -> Tensor:
    """The temperature T > 0 that makes softmax(logits / T), or sigmoid(logits / T), most likely to have given the labels.

    argmin_T (1/N) sum_i -ln softmax(logits_i / T)[label_i]

    The loss is convex in 1/T: Newton's method in 1/T, kept inside the bracket that the slope's sign has shown so far.

    Args:
        logits: [N, K], or [N] for label 1 against label 0; finite, held out from training.
        labels: [N] class ids.

    Returns:
        A scalar, float64. No ranking changes: argmax(logits / T) = argmax(logits).

    Raises:
        ValueError: wrong shape, labels out of range, logits not finite, no logits; or where no temperature is best: every label already has the
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
    check_cases(logits, labels, name="logits")
    check_finite("logits", logits)
    scores = logits.detach().double()
    classes = torch.stack((torch.zeros_like(scores), scores), dim=1) if scores.ndim == 1 else scores
    rivals = classes - classes.gather(1, labels.long()[:, None])  # -ln softmax = logsumexp of these, times 1/T
    if not bool((rivals > 0).any()):
        wrong_value("logits", "rank at least one label below another class, or the loss falls for ever as T -> 0", "every label first")
    if float(rivals.mean()) >= 0:
        wrong_value(
            "logits", "favour their labels on average, or the loss falls for ever as T -> infinity", f"a mean lead of {-float(rivals.mean()):g}"
        )
    inverse, low, high = 1.0, 0.0, math.inf
    for _ in range(200):
        weights = (inverse * rivals).softmax(dim=1)
        means = (weights * rivals).sum(dim=1)
        slope, curvature = float(means.mean()), float(((weights * rivals.square()).sum(dim=1) - means.square()).mean())
        if slope == 0:
            break
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = inverse - slope / curvature if curvature > 0 else math.nan
        proposal = step if low < step < high else (2 * inverse if high == math.inf else (low + high) / 2)
        if abs(proposal - inverse) <= 1e-13 * inverse:
            break
        inverse = proposal
    return torch.tensor(1 / inverse, dtype=torch.float64, device=logits.device)


def fit_platt(scores: Tensor, labels: Tensor) -> PlattScaling:
    r"""The sigmoid that turns scores into probabilities, fitted on held-out scores.

    argmin_{a,b} sum_i ln(1 + exp(a s_i + b)) - t_i (a s_i + b),     t = (N1 + 1)/(N1 + 2) for label 1 and 1/(N0 + 2) for label 0

    The targets are Platt's: not 1 and 0, but what a uniform prior on each class's reliability makes of N1 and N0 cases. They keep the fit finite on
    separable scores. Newton's method on standardised scores, the step halved while the loss rises.

    Args:
        scores: [N], any real scores, finite, held out from training.
        labels: [N], 0 or 1.

    Returns:
        A `PlattScaling(slope, intercept)` of float64 scalars; `.probs(scores)` applies it. Equal scores get slope 0.

    Raises:
        ValueError: wrong shape, labels out of range, scores not finite, no scores.
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
    check_cases(scores, labels, name="scores")
    check_finite("scores", scores)
    values = scores.detach().double()
    centre, spread = values.mean(), values.std(correction=0)
    spread = torch.where(spread > 0, spread, 1.0)
    design = torch.stack(((values - centre) / spread, torch.ones_like(values)), dim=1)
    ones = labels.double().sum()
    targets = torch.where(labels == 1, (ones + 1) / (ones + 2), 1 / (len(labels) - ones + 2))

    def loss(coefficients: Tensor) -> float:
        fitted = design @ coefficients
        return float((log1pexp(fitted) - targets * fitted).sum())

    coefficients = torch.zeros(2, dtype=torch.float64, device=scores.device)
    for _ in range(100):
        probs = torch.sigmoid(design @ coefficients)
        gradient = design.T @ (probs - targets)
        hessian = design.T @ (design * (probs * (1 - probs))[:, None]) + 1e-12 * torch.eye(2, dtype=torch.float64, device=scores.device)
        step, size, before = torch.linalg.solve(hessian, gradient), 1.0, loss(coefficients)
        while loss(coefficients - size * step) > before and size > 1e-10:
            size /= 2
        coefficients = coefficients - size * step
        if float((size * step).abs().max()) <= 1e-12 * (1 + float(coefficients.abs().max())):
            break
    slope = coefficients[0] / spread
    return PlattScaling(slope, coefficients[1] - slope * centre)


def check_cases(probs: Tensor, labels: Tensor, name: str = "probs") -> None:
    """`probs` is [N] or [N, K] and floating, `labels` is [N] with ids of its classes, and neither is empty where something is to be fitted."""
    check_case_shapes(probs, labels, name)
    check_case_values(probs, labels, name)


def check_case_shapes(probs: Tensor, labels: Tensor, name: str = "probs") -> None:
    """What `check_cases` says of shapes and dtypes."""
    check_floating(name, probs)
    if probs.ndim not in (1, 2) or (probs.ndim == 2 and not probs.shape[1]):
        wrong_value(name, "have shape [N] or [N, K] with K >= 1", tuple(probs.shape))
    check_tensor("labels", labels)
    if labels.shape != probs.shape[:1]:
        wrong_value("labels", f"have shape {tuple(probs.shape[:1])} to match `{name}`", tuple(labels.shape))
    if name != "probs" and not labels.numel():
        wrong_value(name, "hold at least one case", tuple(probs.shape))
    check_integer("labels", labels)


def check_case_values(probs: Tensor, labels: Tensor, name: str = "probs") -> None:
    """What `check_cases` says of labels and probabilities, looked at only where `values_readable`."""
    check_labels("labels", labels, 2 if probs.ndim == 1 else probs.shape[1])
    if name == "probs":
        check_range("probs", probs, 0.0, 1.0)
