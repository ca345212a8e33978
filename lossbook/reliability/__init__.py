"""Do probabilities keep their word? Reliability curves, calibration errors, the Brier score, and the two maps that repair scores.

A model is calibrated where, among the cases that it gives probability p, a fraction p comes true. Bins are right-closed, ((i-1)/bins, i/bins], the
first one holds 0 as well, and every sum is in float64 whatever the dtype of `probs`. Chapters: label-smoothing, confidence.

Everywhere a case counts as often as its `sample_weight` says, and one whose label is `ignore_index` is not there.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import (
    check_choice,
    check_count,
    check_finite,
    check_flag,
    check_floating,
    check_ndim,
    check_range,
    check_same_shape,
    wrong_type,
    wrong_value,
)
from lossbook._core.classes import one_hot
from lossbook._core.door import full_precision
from lossbook._core.ranks import dense_ranks
from lossbook._core.reduction import Reduction, check_reduction, reduce
from lossbook.reliability._bins import bin_edges, bin_index, bin_sums
from lossbook.reliability._cases import Cases, checked_forecasts
from lossbook.reliability._scaling import PlattScaling, fit_platt, fit_temperature

__all__ = [
    "MurphyDecomposition",
    "PlattScaling",
    "ReliabilityCurve",
    "brier_score",
    "error_of_curve",
    "expected_calibration_error",
    "fit_platt",
    "fit_temperature",
    "murphy_decomposition",
    "reliability_curve",
]


class ReliabilityCurve(NamedTuple):
    """One entry a bin, all float64: `edges` [bins + 1], `counts`, mean `confidence`, and `frequency` of what came true (NaN in an empty bin).

    Weights count: with them `counts` are sums of weights. A curve for each class has a leading axis [K] in all four.
    """

    edges: Tensor
    counts: Tensor
    confidence: Tensor
    frequency: Tensor


class MurphyDecomposition(NamedTuple):
    """Brier score = reliability - resolution + uncertainty + within. `within` is what binning itself hides; 0 where equal probs are grouped."""

    reliability: Tensor
    resolution: Tensor
    uncertainty: Tensor
    within: Tensor


Norm = Literal["l1", "l2", "max"]
Binning = Literal["width", "mass"]
NORMS = ("l1", "l2", "max")


@full_precision
def expected_calibration_error(
    probs: Tensor,
    labels: Tensor,
    *,
    bins: int = 15,
    norm: Norm = "l1",
    binning: Binning = "width",
    per_class: bool = False,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
) -> Tensor:
    r"""How far, on average, a bin's mean probability is from the frequency of what came true.

    l1: sum_b (n_b/N) |freq_b - conf_b|     l2: sqrt(sum_b (n_b/N) (freq_b - conf_b)^2)     max: max_b |freq_b - conf_b|

    With weights, n_b and N are sums of them, and means and frequencies are weighted. With `per_class` it is the mean over the classes k of the
    error of P(k) against whether k came.

    Args:
        probs: [N], P(label 1), compared with how often label 1 comes; or [N, K], distributions, of which each row's largest is compared with how
            often it is right.
        labels: [N] class ids: 0 or 1, or 0 to K-1.
        bins: number of bins on [0, 1].
        norm: "l1", the usual ECE; "l2", its root mean square; "max", the maximum calibration error.
        binning: "width", bins are equally wide; "mass", they hold equally much of what is there.
        per_class: each class of `probs` [N, K] against the rest, in place of each row's largest.
        ignore_index: the label of what is not there, whatever its probabilities; it may lie outside [0, K). None ignores nothing.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.

    Returns:
        A scalar, float64; 0 where N is 0 or all is ignored. It has a gradient in `probs` almost everywhere (bins do not move).

    Raises:
        ValueError: wrong shape, a probability outside [0, 1], a row that does not sum to 1, a label out of range, an unknown norm or binning, fewer
            than one bin, `per_class` without classes, negative weights.
        TypeError: probs not floating, labels not integer.

    Example:
        >>> expected_calibration_error(torch.tensor([0.25, 0.25, 0.75, 0.75]), torch.tensor([0, 1, 1, 1]), bins=2)
        tensor(0.2500, dtype=torch.float64)

    Reference:
        C. Guo, G. Pleiss, Y. Sun, K. Weinberger, On Calibration of Modern Neural Networks, 2017, eq. 3 and 5. K. Nguyen, B. O'Connor, Posterior
        calibration and exploratory analysis for natural language processing models, 2015, section 3.2, for bins of equal mass. M. Kull et al., Beyond
        temperature scaling, 2019, eq. 3, and J. Nixon et al., Measuring calibration in deep learning, 2019 (SCE, and ACE with "mass"), for
        `per_class`.

    Conventions:
        right-closed bins as there and in scikit-learn; torchmetrics closes them on the left and gives probability 1 a bin of its own.
        With [N] this is the calibration of P(label 1), not of the winning class.
        Bins of equal mass: a case lies in bin ⌊bins · W/N⌋ + 1, where W is the weight of all cases of smaller probability. So equal probabilities
        share a bin, though it then holds more than its share and the next ones less or nothing; where N is no multiple of `bins`, sizes differ by
        one; and an integer weight is so many cases. scikit-learn's `strategy="quantile"` takes interpolated quantiles: the same bins where `bins`
        divides N. Nixon et al. drop the rest of the division, and cut through ties.
        A class of which there is no label has frequency 0, and counts in the mean over classes as any other.

    Chapter: confidence.
    """
    check_choice("norm", norm, NORMS)
    cases = _binned(probs, labels, bins, binning, per_class, ignore_index, sample_weight)
    # conf_b - freq_b = sum_b (confidence - correct) / n_b: one weighted sum a bin, and in the l1 norm n_b cancels
    of = ("excess",) if norm == "l1" else ("excess", "count")
    excess, *counts = bin_sums(cases, bins, of, binning=binning, per_class=per_class)
    if norm == "l1":
        errors = excess.abs().sum(-1) / cases.total()
    else:
        errors = _norm(excess / torch.where(counts[0] > 0, counts[0], 1.0), counts[0], norm, cases.total())
    return errors.mean() if per_class else errors


def _binned(probs: Tensor, labels: Tensor, bins: int, binning: str, per_class: bool, ignore_index: int | None, sample_weight: Tensor | None) -> Cases:
    """The cases that are to be binned."""
    check_count("bins", bins)
    check_choice("binning", binning, ("width", "mass"))
    check_flag("per_class", per_class)
    cases = checked_forecasts(probs, labels, ignore_index, sample_weight)
    if per_class and probs.ndim == 1:
        wrong_value("probs", "have shape [N, K] where `per_class` is True", tuple(probs.shape))
    return cases


def _norm(gaps: Tensor, counts: Tensor, norm: str, total: Tensor | int) -> Tensor:
    """Over the last axis, of gaps that are 0 where the count is."""
    if norm == "l1":
        return (counts * gaps.abs()).sum(-1) / total
    if norm == "max":
        return gaps.abs().amax(-1)
    return _root((counts * gaps.square()).sum(-1) / total)


@full_precision
def reliability_curve(
    probs: Tensor,
    labels: Tensor,
    *,
    bins: int = 15,
    binning: Binning = "width",
    per_class: bool = False,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
) -> ReliabilityCurve:
    """What a reliability diagram draws: mean probability and observed frequency, bin by bin.

    conf_b = (1/n_b) sum_{i in b} p_i,     freq_b = (1/n_b) sum_{i in b} [label i came true]

    Args:
        probs: [N] or [N, K], as in `expected_calibration_error`.
        labels: [N] class ids.
        bins: number of bins on [0, 1].
        binning: "width" or "mass", as there.
        per_class: a curve for each class against the rest.
        ignore_index: the label of what is not there. None ignores nothing.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.

    Returns:
        A `ReliabilityCurve`: edges [bins + 1], counts, confidence and frequency [bins]; with `per_class` [K, bins + 1] and [K, bins].

    Raises:
        ValueError, TypeError: as `expected_calibration_error`.

    Example:
        >>> curve = reliability_curve(torch.tensor([0.25, 0.25, 0.75, 0.75]), torch.tensor([0, 1, 1, 1]), bins=2)
        >>> curve.confidence.tolist(), curve.frequency.tolist()
        ([0.25, 0.75], [0.5, 1.0])

    Reference:
        A. Niculescu-Mizil, R. Caruana, Predicting Good Probabilities with Supervised Learning, 2005, section 3.

    Conventions:
        scikit-learn's `calibration_curve` leaves empty bins out; here they hold NaN. The edges of bins of equal mass are 0, the largest probability
        in each bin but the last, and 1; scikit-learn's lie between two probabilities, and the outer ones at the smallest and the largest.

    Chapter: confidence.
    """
    cases = _binned(probs, labels, bins, binning, per_class, ignore_index, sample_weight)
    counts, confidences, hits = bin_sums(cases, bins, ("count", "confidence", "correct"), binning=binning, per_class=per_class)
    # where nothing is, NaN is a constant: over a count of 0 it would reach the gradient of what weighs nothing
    confidence, frequency = (torch.where(counts > 0, sums / torch.where(counts > 0, counts, 1.0), torch.nan) for sums in (confidences, hits))
    return ReliabilityCurve(bin_edges(cases, bins, binning=binning, per_class=per_class), counts, confidence, frequency)


def error_of_curve(curve: ReliabilityCurve, *, norm: Norm = "l1") -> Tensor:
    """The calibration error that a reliability curve shows: `expected_calibration_error` of the cases that it was made of.

    Args:
        curve: of `reliability_curve`, or with the sums of several: counts, confidence and frequency [bins], or [K, bins] for a curve of each class.
        norm: "l1", "l2" or "max".

    Returns:
        A scalar, float64; of curves of classes the mean over them. 0 where nothing was counted.

    Raises:
        ValueError: negative counts, a confidence or frequency outside [0, 1] in a bin that is not empty, other shapes, an unknown norm.
        TypeError: what is no curve of floating tensors.

    Example:
        >>> error_of_curve(reliability_curve(torch.tensor([0.25, 0.25, 0.75, 0.75]), torch.tensor([0, 1, 1, 1]), bins=2))
        tensor(0.2500, dtype=torch.float64)

    Reference:
        C. Guo, G. Pleiss, Y. Sun, K. Weinberger, On Calibration of Modern Neural Networks, 2017, eq. 3 and 5.

    Chapter: confidence.
    """
    if not isinstance(curve, ReliabilityCurve):
        wrong_type("curve", "be a ReliabilityCurve", type(curve).__name__)
    return _error_of_curve(curve.counts, curve.confidence, curve.frequency, norm)


@full_precision
def _error_of_curve(counts: Tensor, confidence: Tensor, frequency: Tensor, norm: str) -> Tensor:
    check_choice("norm", norm, NORMS)
    check_floating("curve.counts", counts)
    if counts.ndim not in (1, 2) or not counts.numel():
        wrong_value("curve.counts", "have shape [bins] or [K, bins]", tuple(counts.shape))
    check_range("curve.counts", counts, 0.0, float("inf"))
    check_finite("curve.counts", counts)
    means = []
    for name, value in (("curve.confidence", confidence), ("curve.frequency", frequency)):
        check_floating(name, value)
        check_same_shape(name, value, "curve.counts", counts)
        means.append(torch.where(counts > 0, value, 0.0).double())
        check_range(name, means[-1], 0.0, 1.0)
    counts = counts.double()
    totals = counts.sum(-1)
    return _norm(means[0] - means[1], counts, norm, torch.where(totals > 0, totals, 1.0)).mean()


@full_precision
def brier_score(
    probs: Tensor,
    labels: Tensor,
    *,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Squared distance between the probabilities and what happened: a proper score, bounded.

    [N]: (p - y)^2     [N, K]: sum_k (p_k - [y = k])^2

    Args:
        probs: [N], P(label 1), or [N, K], the classes' probabilities.
        labels: [N] class ids.
        ignore_index: the label of what has no score, no gradient, and is not counted; it may lie outside [0, K). None ignores nothing.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.
        reduction: "mean" over the N cases, "sum" or "none".

    Returns:
        A scalar, or [N] with reduction "none"; float64 where `probs` are, else float32.

    Raises:
        ValueError, TypeError: as `expected_calibration_error`, and an unknown reduction.

    Example:
        >>> brier_score(torch.tensor([0.9, 0.2]), torch.tensor([1, 0]))
        tensor(0.0250)

    Reference:
        G. Brier, Verification of Forecasts Expressed in Terms of Probability, 1950, eq. 2.

    Conventions:
        With K classes the sum over all of them, in [0, 2], as Brier has it: for K = 2 twice the binary score in [0, 1]. scikit-learn halves
        the former by default when there are two classes. The mean is Σ w l / Σ w over what is not ignored, as scikit-learn's, and 0 where all is.

    Chapter: confidence.
    """
    check_reduction(reduction)
    probs, labels, weight = checked_forecasts(probs, labels, ignore_index, sample_weight)
    weight = None if weight is None else weight.to(probs.dtype)
    if probs.ndim == 1:
        return reduce((probs - labels.to(probs)).square(), reduction, weight=weight)
    return reduce((probs - one_hot(labels, probs)).square().sum(1), reduction, weight=weight)


@full_precision
def murphy_decomposition(
    probs: Tensor, labels: Tensor, *, bins: int | None = None, ignore_index: int | None = None, sample_weight: Tensor | None = None
) -> MurphyDecomposition:
    r"""What a Brier score is made of: reliability (lower is better), resolution (higher is better) and the uncertainty of the labels.

    sum_b (n_b/N)(conf_b - freq_b)^2 - sum_b (n_b/N)(freq_b - base)^2 + base (1 - base) + within, with base the share of label 1 and
    within = mean[(p - conf_b)^2] - 2 mean[(p - conf_b)(y - freq_b)]. With weights all counts and means are weighted.

    Args:
        probs: [N], P(label 1).
        labels: [N], 0 or 1.
        bins: number of equally wide bins; None groups equal probabilities, for which `within` is 0 and Murphy's three terms are the whole score.
        ignore_index: the label of what is not there. None ignores nothing.
        sample_weight: [N], finite and >= 0; None is 1 everywhere.

    Returns:
        A `MurphyDecomposition` of float64 scalars; all 0 where all is ignored.

    Raises:
        ValueError, TypeError: as `expected_calibration_error`, an empty batch, and `probs` of another shape than [N].

    Example:
        >>> parts = murphy_decomposition(torch.tensor([0.25, 0.25, 0.75, 0.75]), torch.tensor([0, 1, 1, 1]))
        >>> [round(float(part), 4) for part in parts]
        [0.0625, 0.0625, 0.1875, 0.0]

    Reference:
        A. Murphy, A New Vector Partition of the Probability Score, 1973, eq. 5; D. Stephenson, C. Coelho, I. Jolliffe, Two Extra Components in the
        Brier Score Decomposition, 2008, eq. 6, for the last term.

    Chapter: confidence.
    """
    check_floating("probs", probs)
    check_ndim("probs", probs, 1, "[N]")
    if bins is not None:
        check_count("bins", bins)
    probs, labels, weight = checked_forecasts(probs, labels, ignore_index, sample_weight)
    if not labels.numel():
        wrong_value("labels", "hold at least one label", "none")
    confidence, truth = probs.double(), labels.double()
    weight = torch.ones_like(truth) if weight is None else weight
    total = Cases(probs, labels, weight).total()
    groups, size = (dense_ranks(probs.detach()), labels.numel()) if bins is None else (bin_index(probs, bins), bins)
    nothing = torch.zeros(size, dtype=torch.float64, device=probs.device)
    counts, confidences, hits = (nothing.scatter_add(0, groups, part) for part in (weight, weight * confidence, weight * truth))
    counts = torch.where(counts > 0, counts, 1.0)

    def mean(values: Tensor) -> Tensor:
        return (weight * values).sum() / total

    conf, freq, base = (confidences / counts)[groups], (hits / counts)[groups], mean(truth)
    within = (confidence - conf).square() - 2 * (confidence - conf) * (truth - freq)
    return MurphyDecomposition(mean((conf - freq).square()), mean((freq - base).square()), base * (1 - base), mean(within))


def _root(square: Tensor) -> Tensor:
    """The square root, with gradient 0 at 0 instead of infinity."""
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)
