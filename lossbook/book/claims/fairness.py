"""What else is owed: claims C63 and C64."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from lossbook.book.claims.ledger import Measurement, claim, measured
from lossbook.fairness import pareto_front, parity_frontier


def _people(base_rates: tuple[float, float], count: int, source: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """P(y = 1 | x, group), labels and groups of `count` people, half in each group, with x | y ~ N(±1, 1)."""
    groups = torch.arange(count) % 2
    base = torch.tensor(base_rates, dtype=torch.float64)[groups]
    labels = (torch.rand(count, generator=source, dtype=torch.float64) < base).long()
    x = torch.randn(count, generator=source, dtype=torch.float64) + 2 * labels - 1
    return torch.sigmoid(2 * x + torch.logit(base)), labels, groups


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _gaussian_error(threshold: float, base: float) -> tuple[float, float]:
    """Error and selection rate of the rule `probability > threshold` in a group with this base rate."""
    cut = (math.log(threshold / (1 - threshold)) - math.log(base / (1 - base))) / 2
    missed, alarmed = _normal_cdf(cut - 1), _normal_cdf(-cut - 1)
    return base * missed + (1 - base) * alarmed, base * (1 - missed) + (1 - base) * alarmed


def _gaussian_parity_error() -> float:
    """Closed form: thresholds 1/2 ± λ, with λ such that both selection rates are one half (base rates 0.7 and 0.3 mirror each other)."""
    from scipy.optimize import brentq

    shift = brentq(lambda shift: _gaussian_error(0.5 + shift, 0.7)[1] - 0.5, 0, 0.49)
    return _gaussian_error(0.5 + shift, 0.7)[0]


@claim(
    "C63",
    statement="There is often a trade-off between accuracy and demographic parity.",
    verdict="conditional",
    corrected="With trusted labels, parity costs accuracy exactly where the best rule doesn't already satisfy it. Where the labels themselves "
    "are biased it can improve the true accuracy. And parity is not equal opportunity.",
    chapter="fairness",
    references=("menon2018cost", "zhao2022inherent", "hardt2016equality", "wick2019unlocking"),
    quantity="least error at parity, two groups with base rates 0.7 and 0.3",
)
def parity_has_a_price_that_depends_on_the_labels(seed: int) -> Measurement:
    source, count = torch.Generator().manual_seed(seed), 40_000
    probs, labels, groups = _people((0.7, 0.3), count, source)
    front = parity_frontier(probs, groups=groups, gaps=2)
    at_parity = (probs > front.thresholds[0][groups]).long()
    reached = [float(at_parity[(groups == g) & (labels == 1)].double().mean()) for g in range(2)]
    # In group 1 half of the positives were recorded as negatives: the recorded probability is half the true one.
    true_probs, true_labels, groups = _people((0.5, 0.5), count, source)
    recorded = torch.where(groups == 1, true_probs / 2, true_probs)
    biased = parity_frontier(recorded, groups=groups, gaps=2)
    wrong = [float(((recorded > cuts[groups]).long() != true_labels).double().mean()) for cuts in (biased.thresholds[1], biased.thresholds[0])]
    closed = _gaussian_parity_error()
    return measured(
        float(front.errors[0]),
        closed,
        0.009,  # five standard deviations over draws of 40,000 people
        conditions=wrong[1] < wrong[0] - 0.1 and reached[1] - reached[0] > 0.2,
        error_without_the_constraint=float(front.errors[1]),
        gap_without_it=float(front.gaps[1]),
        true_positive_rate_at_parity_group_0=reached[0],
        true_positive_rate_at_parity_group_1=reached[1],
        biased_labels_true_error_without_parity=wrong[0],
        biased_labels_true_error_with_parity=wrong[1],
    )


@claim(
    "C64",
    statement="All optimal compromises between error and fairness violation form a Pareto front from which a person must choose.",
    verdict="conditional",
    corrected="They do, and with randomised decisions (or scores without ties) the front is convex. Deterministic rules on a few kinds of "
    "people can leave a dent that no weighted sum of the two goals finds.",
    chapter="fairness",
    references=("menon2018cost", "agarwal2018reductions"),
    quantity="least error of deterministic rules at a gap of 0.3",
)
def deterministic_fronts_can_have_dents(seed: int) -> Measurement:
    del seed  # exact: people of one kind in group 0, of two kinds in group 1, and every rule that decides by kind
    kinds = [(0, 0.9, 1.0), (1, 0.45, 0.3), (1, 0.40, 0.7)]  # group, P(y = 1), share of the group
    points = []
    for rule in itertools.product((0, 1), repeat=3):
        rates = [sum(share for (g, _, share), taken in zip(kinds, rule, strict=True) if g == group and taken) for group in range(2)]
        error = sum(share * ((1 - eta) if taken else eta) for (_, eta, share), taken in zip(kinds, rule, strict=True)) / 2
        points.append((abs(rates[0] - rates[1]), error))
    rules = torch.tensor(points, dtype=torch.float64)
    front = rules[pareto_front(rules.round(decimals=9))]
    front = front[front[:, 0].argsort()]
    dent = front[(front[:, 0] - 0.3).abs() < 1e-9][0]
    weights = torch.linspace(0, 1, 10_001, dtype=torch.float64)[:, None]
    sums = (1 - weights) * rules[:, 1] + weights * rules[:, 0]
    found = rules[sums.argmin(dim=1)]
    never_found = not bool(((found[:, 0] - 0.3).abs() < 1e-9).any())
    probs = torch.tensor([0.9] * 10 + [0.45] * 3 + [0.40] * 7, dtype=torch.float64)
    mixed = parity_frontier(probs, groups=torch.tensor([0] * 10 + [1] * 10), gaps=torch.tensor([0.3], dtype=torch.float64)).errors[0]
    by_hand = (0.1 + 0.3 * 0.45 + 0.7 * 0.60) / 2  # all of group 0, and of group 1 only the less likely kind
    return measured(
        float(dent[1]),
        by_hand,
        1e-12,
        conditions=never_found and len(front) == 4 and float(mixed) < by_hand - 0.01,
        with_randomised_decisions=float(mixed),
        points_on_the_deterministic_front=len(front),
    )
