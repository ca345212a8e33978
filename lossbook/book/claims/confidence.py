"""Claims of the chapter "confidence": when a score is a probability. C46 and C47, and X07 on temperature."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import linear, reliability
from lossbook.book.claims.ledger import Measurement, claim, measured
from lossbook.book.claims.quantization import digit_scores

CHAPTER = "confidence"
FLOAT = torch.float64


class Forecasts(NamedTuple):
    """Logits [N] on fresh examples, their labels [N], and the inflation of the fitted weights over the true ones."""

    logits: Tensor
    labels: Tensor
    inflation: float


def logistic_forecasts(seed: int, examples: int, dimension: int, strength: float = math.sqrt(5), fresh: int = 20_000) -> Forecasts:
    """Logistic regression without a penalty where the logistic model is true: x ~ N(0, I), P(label 1) = σ(β·x), |β| = `strength`."""
    generator = torch.Generator().manual_seed(seed)
    beta = torch.full((dimension,), strength / math.sqrt(dimension), dtype=FLOAT)
    features = torch.randn(examples, dimension, generator=generator, dtype=FLOAT)
    signs = torch.where(torch.rand(examples, generator=generator) < torch.sigmoid(features @ beta), 1, -1)
    fit = linear.fit_linear(features, signs, loss="logistic", solver="newton")
    # a fresh x enters through β·x and w·x alone, and these two are jointly normal: draw them
    along = float(fit.weights @ beta) / strength
    across = math.sqrt(max(float(fit.weights.square().sum()) - along**2, 0))
    first, second = torch.randn(2, fresh, generator=generator, dtype=FLOAT)
    labels = (torch.rand(fresh, generator=generator) < torch.sigmoid(strength * first)).long()
    return Forecasts(along * first + across * second + fit.intercept, labels, along / strength)


def calibration_slope(logits: Tensor, labels: Tensor) -> float:
    """The slope of a logistic regression of the labels on the logits: 1 where the model is calibrated, below 1 where it is too sure."""
    return float(linear.fit_linear(logits[:, None], 2 * labels - 1, loss="logistic", solver="newton").weights)


class Limit(NamedTuple):
    """Inflation of the weights, noise across them, and calibration slope, where n and d grow together."""

    inflation: float
    noise: float
    slope: float


def high_dimensional_limit(ratio: float, strength: float, nodes: int = 48) -> Limit:
    """What d / n = `ratio` does to logistic regression as both grow: Sur and Candès' three equations, by Gauss-Hermite quadrature.

    The fitted logit of a fresh example is α β·x + s G with G standard normal; α and s solve E[2 σ(U) (λ σ(P))²] = ratio s², E[σ(U) U λ σ(P)] = 0 and
    E[2 σ(U) / (1 + λ σ'(P))] = 1 − ratio, where U = β·x, Q = −α U + s G and P = argmin ln(1 + e^t) + (t − Q)² / (2 λ).
    """
    import numpy as np
    from scipy.optimize import brentq, fsolve
    from scipy.special import expit

    points, masses = np.polynomial.hermite_e.hermegauss(nodes)
    first, second = strength * points[:, None], points[None, :]
    mass = np.outer(masses, masses) / masses.sum() ** 2

    def proximal(step: float, at: Any) -> Any:
        low, high = at - step, at + 0.0
        for _ in range(60):
            middle = (low + high) / 2
            above = middle + step * expit(middle) > at
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return (low + high) / 2

    def equations(logs: Any) -> list[float]:
        inflation, noise, step = np.exp(logs)
        p = expit(proximal(step, -inflation * first + noise * second))
        kept = (mass * 2 * expit(first) / (1 + step * p * (1 - p))).sum()
        return [
            (mass * 2 * expit(first) * (step * p) ** 2).sum() / (ratio * noise**2) - 1,
            (mass * expit(first) * first * p).sum(),
            (1 - kept) / ratio - 1,
        ]

    inflation, noise, _ = np.exp(fsolve(equations, np.log([1.2, 3 * ratio**0.5, 8 * ratio]), xtol=1e-12))
    logits = inflation * first + noise * second
    slope = brentq(lambda b: (mass * (expit(b * logits) - expit(first)) * logits).sum(), 0.01, 2)
    return Limit(float(inflation), float(noise), float(slope))


@claim(
    "C46",
    statement="Logistic regression naturally gives outputs that can be read as well-calibrated probabilities.",
    verdict="conditional",
    corrected="Logistic regression is calibrated where its model is true, there are many examples for each feature, and no penalty is strong. With "
    "five examples for each feature and no penalty it is too sure, even though its model is true; and where its model is wrong a calibration error "
    "near 0 can hide probabilities that are wrong for nearly everyone.",
    chapter=CHAPTER,
    references=("sur2019modern", "bai2021just", "niculescumizil2005predicting", "guo2017calibration"),
    quantity="calibration slope of a true logistic model, true weights of length √5, 2000 examples of 400 features, no penalty",
)
def calibrated_naturally(seed: int) -> Measurement:
    few, many = logistic_forecasts(seed, 20_000, 5), logistic_forecasts(seed, 2000, 400)
    limit, weaker = high_dimensional_limit(0.2, math.sqrt(5)), high_dimensional_limit(0.2, 1.0)
    # a wrong model: P(label 1) = σ(3 (x² − 1)), and a line through it
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(40_000, generator=generator, dtype=FLOAT)
    eta = torch.sigmoid(3 * (x.square() - 1))
    labels = (torch.rand(40_000, generator=generator) < eta).long()
    seen, fresh = slice(20_000), slice(20_000, None)
    fit = linear.fit_linear(x[seen, None], 2 * labels[seen] - 1, loss="logistic", solver="newton", tolerance=1e-14)
    probs = torch.sigmoid(fit.scores(x[:, None]))
    fooled = float(reliability.expected_calibration_error(probs[fresh], labels[fresh]))
    wrong, kept = float((probs - eta)[fresh].abs().mean()), abs(float((probs - labels)[seen].mean())) < 1e-6
    slope, error = (calibration_slope(*few[:2]), float(reliability.expected_calibration_error(torch.sigmoid(many.logits), many.labels)))
    return measured(
        calibration_slope(*many[:2]),
        limit.slope,
        0.15,  # five standard deviations over seeds are .135, and n = 2000 is .01 off the limit
        # five standard errors of the difference of two shares of 20,000 are .025, and the bins' own noise adds .002
        conditions=abs(slope - 1) < 0.1 and error > 0.08 and fooled < 0.03 and wrong > 0.3 and kept,
        slope_with_4000_examples_a_feature=slope,
        calibration_error_with_five=error,
        true_weights_inflated_by=many.inflation,
        inflation_in_theory=limit.inflation,
        slope_in_theory_with_true_weights_of_length_1=weaker.slope,
        wrong_model_calibration_error=fooled,
        wrong_model_mean_error_of_the_probabilities=wrong,
    )


def two_normals(seed: int, count: int, distance: float) -> tuple[Tensor, Tensor]:
    """One feature, N(±distance, 1), half of each sign: the true log-odds are 2 · distance · x."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.where(torch.rand(count, generator=generator) < 0.5, 1, -1)
    return (distance * signs + torch.randn(count, generator=generator, dtype=FLOAT))[:, None], signs


def population_error(slope: float, distance: float, bins: int = 15) -> float:
    """The calibration error of σ(slope · x) on `two_normals` without any sample: in each bin the integral of its difference from the truth."""
    x = torch.linspace(-12, 12, 1_200_001, dtype=FLOAT)
    density = (torch.exp(-0.5 * (x - distance) ** 2) + torch.exp(-0.5 * (x + distance) ** 2)) / (2 * math.sqrt(2 * math.pi))
    gaps = (torch.sigmoid(2 * distance * x) - torch.sigmoid(slope * x)) * density * 2e-5
    index = (torch.sigmoid(slope * x) * bins).long().clamp(max=bins - 1)
    return float(torch.zeros(bins, dtype=FLOAT).index_add(0, index, gaps).abs().sum())


def population_slope(distance: float, penalty: float) -> float:
    """The weight that minimises E max(0, 1 − w M) + penalty w² / 2 with M ~ N(distance, 1): the root of penalty w = E[M; w M < 1]."""
    from scipy.optimize import brentq

    def excess(w: float) -> float:
        cut = 1 / w - distance
        below, density = 0.5 * math.erfc(-cut / math.sqrt(2)), math.exp(-0.5 * cut**2) / math.sqrt(2 * math.pi)
        return penalty * w - (distance * below - density)

    return float(brentq(excess, 1e-6, 1e3))


@claim(
    "C47",
    statement="SVM scores are a distance to a boundary and need an extra step to become meaningful probabilities.",
    verdict="holds",  # the score is the distance times |w|: it "represents" it
    corrected="SVM scores are a distance to a boundary and need an extra step to become meaningful probabilities.",
    chapter=CHAPTER,
    references=("platt1999probabilistic", "niculescumizil2005predicting"),
    quantity="calibration error of the sigmoid of an SVM's score on two normal classes, C = 0.001, without the extra step",
)
def an_extra_step(seed: int) -> Measurement:
    features, signs = two_normals(seed, 12_000, 2.0)
    penalty = 1 / (1e-3 * 4000)  # scikit-learn's C is 1 / (n · penalty)
    svm = linear.fit_linear(features[:4000], signs[:4000], loss="hinge", l2=penalty)
    scores, labels = svm.scores(features), (signs > 0).long()
    platt = reliability.fit_platt(scores[4000:8000], labels[4000:8000])
    raw, repaired = (torch.sigmoid(scores[8000:]), platt.probs(scores[8000:]))
    before, after = (float(reliability.expected_calibration_error(probs, labels[8000:])) for probs in (raw, repaired))
    losses = [float(F.binary_cross_entropy(probs, labels[8000:].double())) for probs in (raw, repaired)]
    distances = (features[:, 0] + svm.intercept / svm.weights[0]).abs()  # from x to the boundary −b / w
    as_distance = float((scores.abs() / svm.weights.norm() - distances).abs().max())
    return measured(
        before,
        population_error(population_slope(2.0, penalty), 2.0),
        0.018,  # five standard deviations over seeds are .016
        conditions=after < 0.02 and losses[1] < losses[0] - 0.1 and as_distance < 1e-9 and abs(float(svm.weights.norm()) - 1) > 0.1,
        after_platt_scaling=after,
        log_loss_before=losses[0],
        log_loss_after=losses[1],
        score_over_distance=float(svm.weights.norm()),
    )


@claim(
    "X07",
    statement="One temperature, fitted on held-out cases, lowers the log loss of a network that is too sure, and leaves the likeliest class.",
    verdict="holds",
    corrected="One temperature, fitted on held-out cases, lowers the log loss of a network that is too sure, and leaves the likeliest class.",
    chapter=CHAPTER,
    references=("guo2017calibration",),
    quantity="likeliest classes changed by the temperature, of 599 digits; of the 600 learned from a fifth had redrawn labels",
)
def temperature_changes_no_decision(seed: int) -> Measurement:
    logits, labels = digit_scores(seed, training=600, hidden=64, steps=300, noise=0.2)
    half = len(labels) // 2
    temperature = reliability.fit_temperature(logits[:half], labels[:half])
    cooled = logits[half:] / temperature
    before, after = (float(F.cross_entropy(each, labels[half:])) for each in (logits[half:], cooled))
    errors = [float(reliability.expected_calibration_error(each.softmax(1), labels[half:])) for each in (logits[half:], cooled)]
    return measured(
        float((cooled.argmax(1) != logits[half:].argmax(1)).sum()),
        0.0,
        0.0,
        conditions=float(temperature) > 1.5 and after < before,
        decisions=float(len(labels) - half),
        temperature=float(temperature),
        log_loss_before=before,
        log_loss_after=after,
        calibration_error_before=errors[0],
        calibration_error_after=errors[1],
    )
