"""Labels that keep a secret: randomised response, and losses that undo its noise.

Each person tells their true label with a known probability and any other label otherwise, on their own and once. Chapter: privacy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.classes import Kept, kept
from lossbook._core.door import full_precision, plain, plain_arguments
from lossbook._core.reduction import Reduction, check_reduction, reduce
from lossbook._core.stable import logaddexp

__all__ = ["RandomizedResponse", "majority_excess_risk", "sample_inflation"]


@dataclass(frozen=True)
class RandomizedResponse:
    """The mechanism that reports the true label with probability e^ε / (e^ε + K - 1), and each other label with 1 / (e^ε + K - 1).

    It is ε-differentially private in the label: whatever is reported, no two true labels differ in its probability by more than a factor e^ε, and
    that factor is reached. Features are not protected, nor is anything that the features give away.

    Args:
        epsilon: privacy loss ε > 0 of one report, in nats; finite.
        num_classes: K ≥ 2.

    Raises:
        TypeError or ValueError for other arguments.

    Example:
        >>> round(RandomizedResponse(1.0).flip_probability, 4)
        0.2689

    Reference:
        S. Warner, "Randomized response: a survey technique for eliminating evasive answer bias", 1965, for K = 2; P. Kairouz, S. Oh, P. Viswanath,
        "Extremal mechanisms for local differential privacy", 2016, for K classes.
    """

    epsilon: float
    num_classes: int = 2

    def __post_init__(self) -> None:
        for name in ("epsilon", "num_classes"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        checks.check_number("epsilon", self.epsilon, low=0, low_open=True)
        checks.check_count("num_classes", self.num_classes, low=2)

    @property
    def flip_probability(self) -> float:
        """The probability (K - 1) / (e^ε + K - 1) that the reported label is not the true one; 1 / (1 + e^ε) for two classes."""
        others = (self.num_classes - 1) * math.exp(-self.epsilon)  # both sides times e^-ε, which can't overflow
        return others / (1 + others)

    @property
    def transition(self) -> Tensor:
        """P(reported | true), shape [K, K], float64: rows are true labels and sum to 1."""
        off = self.flip_probability / (self.num_classes - 1)
        matrix = torch.full((self.num_classes, self.num_classes), off, dtype=torch.float64)
        return matrix.fill_diagonal_(1 - self.flip_probability)

    def privatize(self, labels: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Report each label through the mechanism, independently of all others.

        Args:
            labels: any shape, integers in [0, K).
            generator: the source of randomness, on the device of `labels`.

        Returns:
            Reported labels, shape and dtype of `labels`.

        Raises:
            TypeError for a dtype that is no integer, or that does not hold all K labels; ValueError for labels out of range.
        """
        checks.check_integer("labels", labels)
        if torch.iinfo(labels.dtype).max < self.num_classes - 1:
            checks.wrong_type("labels", f"have a dtype that holds {self.num_classes - 1}, the last label", str(labels.dtype))
        true = plain(labels).long()
        checks.check_labels("labels", true, self.num_classes)
        flip = torch.rand(true.shape, generator=generator, device=true.device, dtype=torch.float64) < self.flip_probability
        shift = torch.randint(1, self.num_classes, true.shape, generator=generator, device=true.device)
        return torch.where(flip, (true + shift) % self.num_classes, true).to(labels.dtype)

    @full_precision
    def forward_loss(
        self,
        logits: Tensor,
        noisy: Tensor,
        *,
        ignore_index: int | None = None,
        sample_weight: Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> Tensor:
        """The cross-entropy of the reported label: -ln Σ_k softmax(logits)_k P(reported | k). Minimised by the true probabilities.

        Bounded by ln(e^ε + K - 1), since every report has at least the probability of a lie.

        Args:
            logits: [N, K], floating.
            noisy: [N], reported labels.
            ignore_index: the label of what has no loss, no gradient, and is not counted, such as that of who did not report; None ignores nothing.
            sample_weight: [N], finite and >= 0; None is 1 everywhere.
            reduction: "mean" is Σ w l / Σ w over what is not ignored, and 0 where all is; "sum"; "none".

        Returns:
            [] or [N].

        Raises:
            TypeError or ValueError for other shapes, dtypes, labels, weights or reduction.

        Reference:
            G. Patrini et al., "Making deep neural networks robust to label noise: a loss correction approach", 2017, theorem 2.
        """
        logits, noisy, weight = self._seen(logits, noisy, ignore_index, sample_weight, reduction)
        own = logits.log_softmax(dim=1).gather(1, noisy[:, None])[:, 0]
        lie = -self.epsilon - math.log1p((self.num_classes - 1) * math.exp(-self.epsilon))  # ln P(one given lie) = -ln(e^ε + K - 1)
        honest = lie + self.epsilon + math.log(-math.expm1(-self.epsilon))  # ln(P(truth) - P(lie)) = ln P(lie) + ln(e^ε - 1)
        lies = torch.full_like(own, max(lie, torch.finfo(own.dtype).min))  # ε may be more than the dtype holds
        return reduce(-logaddexp(own + honest, lies), reduction, weight=weight)

    @full_precision
    def backward_loss(
        self,
        logits: Tensor,
        noisy: Tensor,
        *,
        ignore_index: int | None = None,
        sample_weight: Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> Tensor:
        """The loss whose mean over the mechanism's randomness is the cross-entropy of the true label.

        The inverse of the transition matrix, worked out: cross-entropy(logits, noisy) + (Σ_k logits_k - K logits_noisy) / (e^ε - 1), so the
        correction is linear in the logits and the loss stays convex. It has no lower bound: a confident truth can earn any reward.

        Args:
            logits: [N, K], floating.
            noisy: [N], reported labels.
            ignore_index: the label of what has no loss, no gradient, and is not counted, such as that of who did not report; None ignores nothing.
            sample_weight: [N], finite and >= 0; None is 1 everywhere.
            reduction: "mean" is Σ w l / Σ w over what is not ignored, and 0 where all is; "sum"; "none".

        Returns:
            [] or [N].

        Raises:
            TypeError or ValueError for other shapes, dtypes, labels, weights or reduction.

        Reference:
            N. Natarajan et al., "Learning with noisy labels", 2013, lemma 1; Patrini et al., 2017, theorem 1.
        """
        logits, noisy, weight = self._seen(logits, noisy, ignore_index, sample_weight, reduction)
        own = logits.log_softmax(dim=1).gather(1, noisy[:, None])[:, 0]
        gap = (logits - logits.gather(1, noisy[:, None])).sum(dim=1)
        share = math.exp(-self.epsilon) / -math.expm1(-self.epsilon)
        return reduce(share * gap - own if share > 0 else -own, reduction, weight=weight)  # a gap that overflows, times 0, would be NaN

    def _seen(self, logits: Tensor, noisy: Tensor, ignore_index: int | None, sample_weight: Tensor | None, reduction: str) -> Kept:
        """What is not ignored, once everything fits."""
        checks.check_floating("logits", logits)
        if logits.ndim != 2 or logits.shape[1] != self.num_classes:
            checks.wrong_value("logits", f"have shape [N, {self.num_classes}]", tuple(logits.shape))
        checks.check_tensor("noisy", noisy)
        if noisy.shape != logits.shape[:1]:
            checks.wrong_value("noisy", f"have shape ({len(logits)},) to match `logits`", tuple(noisy.shape))
        checks.check_same_device("noisy", noisy, "logits", logits)
        checks.check_ignore_index(ignore_index)
        checks.check_labels("noisy", noisy, logits.shape[1], ignore_index=ignore_index)
        check_reduction(reduction)
        return kept(logits, noisy, ignore_index, sample_weight)


@plain_arguments
def sample_inflation(epsilon: float, *, eta: float = 0.5) -> float:
    """How many times as many private labels as plain ones estimate P(y = +1) = η equally well, for two classes: 1 + 1 / (4 η (1 - η) sinh²(ε / 2)).

    The variance of the share of private labels, turned back, over that of plain ones. It is least, coth²(ε / 2), at η = 1/2, where the sample of a
    majority vote must grow by the same factor; towards η = 0 and 1, where plain labels hardly vary, it has no bound.

    Args:
        epsilon: ε > 0 in nats.
        eta: η, strictly between 0 and 1.

    Raises:
        TypeError or ValueError for other arguments.

    Example:
        >>> round(sample_inflation(1.0), 2), round(sample_inflation(1.0, eta=0.9), 2)
        (4.68, 11.23)

    Reference:
        S. Warner, "Randomized response: a survey technique for eliminating evasive answer bias", 1965, for the variance.
    """
    checks.check_number("epsilon", epsilon, low=0, low_open=True)
    checks.check_number("eta", eta, low=0, high=1, low_open=True, high_open=True)
    ratio = 1 / max(math.sinh(min(epsilon / 2, 700)), math.ulp(0))
    return 1 + ratio / (4 * eta * (1 - eta)) * ratio  # ∞ where a float ends, and no OverflowError as a power would be


@plain_arguments
def majority_excess_risk(eta: float, count: int, *, epsilon: float = math.inf) -> float:
    """The exact excess 0-1 risk of the majority of `count` private labels, at one point with P(y = +1) = η > 1/2.

    (2η - 1) P(Bin(n, ρ + (1 - 2ρ) η) ≤ (n - 1) / 2), with the flip probability ρ = 1 / (1 + e^ε); ε = inf is no privacy.

    Args:
        eta: in [1/2, 1].
        count: an odd number of labels.
        epsilon: ε > 0 in nats, or inf.

    Raises:
        TypeError or ValueError for other arguments.

    Example:
        >>> round(majority_excess_risk(0.7, 101, epsilon=0.5), 5)
        0.0645
    """
    checks.check_number("eta", eta, low=0.5, high=1)
    checks.check_count("count", count)
    if count % 2 == 0:
        checks.wrong_value("count", "be odd, so that there is a majority", count)
    if epsilon != math.inf:
        checks.check_number("epsilon", epsilon, low=0, low_open=True)
    flip = math.exp(-epsilon) / (1 + math.exp(-epsilon))
    heads = flip + (1 - 2 * flip) * eta
    return (2 * eta - 1) * _binomial_lower_tail(count, heads, (count - 1) // 2)


def _binomial_lower_tail(count: int, prob: float, most: int) -> float:
    """P(Bin(count, prob) ≤ most), each term from its logarithm."""
    if prob == 1:
        return float(most >= count)
    k = torch.arange(most + 1, dtype=torch.float64)
    n = torch.tensor(float(count), dtype=torch.float64)
    log_terms = (n + 1).lgamma() - (k + 1).lgamma() - (n - k + 1).lgamma() + k * math.log(prob) + (n - k) * math.log1p(-prob)
    return float(log_terms.logsumexp(dim=0).exp())
