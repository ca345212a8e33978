"""Do probabilities keep their word? Reliability curves, calibration errors, the Brier score, and the two maps that repair scores.

A model is calibrated where, among the cases that it gives probability p, a fraction p comes true. Bins are right-closed, ((i-1)/bins, i/bins], the
first one holds 0 as well, and every sum is in float64 whatever the dtype of `probs`. Chapters: label-smoothing, confidence.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import check_choice, check_count, check_floating, check_ndim, wrong_value
from lossbook._core.classes import one_hot
from lossbook._core.door import full_precision
from lossbook._core.ranks import dense_ranks
from lossbook._core.reduction import Reduction, check_reduction, reduce
from lossbook.reliability._bins import bin_index, bin_sums, edges
from lossbook.reliability._cases import check_forecasts
from lossbook.reliability._scaling import PlattScaling, fit_platt, fit_temperature

__all__ = [
    "MurphyDecomposition",
    "PlattScaling",
    "ReliabilityCurve",
    "brier_score",
    "expected_calibration_error",
    "fit_platt",
    "fit_temperature",
    "murphy_decomposition",
    "reliability_curve",
]


class ReliabilityCurve(NamedTuple):
    """One entry a bin, all float64: `edges` [bins + 1], `counts`, mean `confidence`, and `frequency` of what came true (NaN in an empty bin)."""

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


@full_precision
def expected_calibration_error(probs: Tensor, labels: Tensor, *, bins: int = 15, norm: Literal["l1", "l2", "max"] = "l1") -> Tensor:
    r"""How far, on average, a bin's mean probability is from the frequency of what came true.

    l1: sum_b (n_b/N) |freq_b - conf_b|     l2: sqrt(sum_b (n_b/N) (freq_b - conf_b)^2)     max: max_b |freq_b - conf_b|

    Args:
        probs: [N], P(label 1), compared with how often label 1 comes; or [N, K], distributions, of which each row's largest is compared with how
            often it is right.
        labels: [N] class ids: 0 or 1, or 0 to K-1.
        bins: number of equally wide bins on [0, 1].
        norm: "l1", the usual ECE; "l2", its root mean square; "max", the maximum calibration error.

    Returns:
        A scalar, float64; 0 where N is 0. It has a gradient in `probs` almost everywhere (bins do not move).

    Raises:
        ValueError: wrong shape, a probability outside [0, 1], a row that does not sum to 1, a label out of range, an unknown norm, fewer than one
            bin.
        TypeError: probs not floating, labels not integer.

    Example:
        >>> expected_calibration_error(torch.tensor([0.25, 0.25, 0.75, 0.75]), torch.tensor([0, 1, 1, 1]), bins=2)
        tensor(0.2500, dtype=torch.float64)

    Reference:
        C. Guo, G. Pleiss, Y. Sun, K. Weinberger, On Calibration of Modern Neural Networks, 2017, eq. 3 and 5.

    Conventions:
        right-closed bins as there and in scikit-learn; torchmetrics closes them on the left and gives probability 1 a bin of its own.
        With [N] this is the calibration of P(label 1), not of the winning class.

    Chapter: confidence.
    """
    check_choice("norm", norm, ("l1", "l2", "max"))
    check_count("bins", bins)
    check_forecasts(probs, labels)
    # conf_b - freq_b = sum_b (confidence - correct) / n_b: one weighted sum a bin, and in the l1 norm n_b cancels
    excess, *counts = bin_sums(probs, labels, bins, ("excess",) if norm == "l1" else ("excess", "count"))
    if norm == "l1":
        return excess.abs().sum() / max(labels.numel(), 1)
    gaps = excess / counts[0].clamp(min=1)
    if norm == "max":
        return gaps.abs().amax()
    return _root((counts[0] * gaps.square()).sum() / max(labels.numel(), 1))


@full_precision
def reliability_curve(probs: Tensor, labels: Tensor, *, bins: int = 15) -> ReliabilityCurve:
    """What a reliability diagram draws: mean probability and observed frequency, bin by bin.

    conf_b = (1/n_b) sum_{i in b} p_i,     freq_b = (1/n_b) sum_{i in b} [label i came true]

    Args:
        probs: [N] or [N, K], as in `expected_calibration_error`.
        labels: [N] class ids.
        bins: number of equally wide bins on [0, 1].

    Returns:
        A `ReliabilityCurve`: edges [bins + 1], counts, confidence and frequency [bins].

    Raises:
        ValueError, TypeError: as `expected_calibration_error`.

    Example:
        >>> curve = reliability_curve(torch.tensor([0.25, 0.25, 0.75, 0.75]), torch.tensor([0, 1, 1, 1]), bins=2)
        >>> curve.confidence.tolist(), curve.frequency.tolist()
        ([0.25, 0.75], [0.5, 1.0])

    Reference:
        A. Niculescu-Mizil, R. Caruana, Predicting Good Probabilities with Supervised Learning, 2005, section 3.

    Conventions:
        scikit-learn's `calibration_curve` leaves empty bins out; here they hold NaN.

    Chapter: confidence.
    """
    check_count("bins", bins)
    check_forecasts(probs, labels)
    counts, confidences, hits = bin_sums(probs, labels, bins, ("count", "confidence", "correct"))
    return ReliabilityCurve(edges(bins, probs.device), counts, confidences / counts, hits / counts)


@full_precision
def brier_score(probs: Tensor, labels: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Squared distance between the probabilities and what happened: a proper score, bounded.

    [N]: (p - y)^2     [N, K]: sum_k (p_k - [y = k])^2

    Args:
        probs: [N], P(label 1), or [N, K], the classes' probabilities.
        labels: [N] class ids.
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
        the former by default when there are two classes.

    Chapter: confidence.
    """
    check_reduction(reduction)
    check_forecasts(probs, labels)
    if probs.ndim == 1:
        return reduce((probs - labels.to(probs)).square(), reduction)
    return reduce((probs - one_hot(labels, probs)).square().sum(1), reduction)


@full_precision
def murphy_decomposition(probs: Tensor, labels: Tensor, *, bins: int | None = None) -> MurphyDecomposition:
    r"""What a Brier score is made of: reliability (lower is better), resolution (higher is better) and the uncertainty of the labels.

    sum_b (n_b/N)(conf_b - freq_b)^2 - sum_b (n_b/N)(freq_b - base)^2 + base (1 - base) + within, with base the share of label 1 and
    within = mean[(p - conf_b)^2] - 2 mean[(p - conf_b)(y - freq_b)].

    Args:
        probs: [N], P(label 1).
        labels: [N], 0 or 1.
        bins: number of equally wide bins; None groups equal probabilities, for which `within` is 0 and Murphy's three terms are the whole score.

    Returns:
        A `MurphyDecomposition` of float64 scalars.

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
    check_forecasts(probs, labels)
    if not labels.numel():
        wrong_value("labels", "hold at least one label", "none")
    confidence, truth = probs.double(), labels.double()
    groups, size = (dense_ranks(probs.detach()), labels.numel()) if bins is None else (bin_index(probs, bins), bins)
    nothing = torch.zeros(size, dtype=torch.float64, device=probs.device)
    counts, confidences, hits = (nothing.scatter_add(0, groups, part) for part in (torch.ones_like(truth), confidence, truth))
    counts = counts.clamp(min=1)
    conf, freq, base = (confidences / counts)[groups], (hits / counts)[groups], truth.mean()
    within = (confidence - conf).square() - 2 * (confidence - conf) * (truth - freq)
    return MurphyDecomposition((conf - freq).square().mean(), (freq - base).square().mean(), base * (1 - base), within.mean())


def _root(square: Tensor) -> Tensor:
    """The square root, with gradient 0 at 0 instead of infinity."""
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)
