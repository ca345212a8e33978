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


def _least_error(bases: tuple[float, float], gap: float) -> float:
    """Closed form: thresholds 1/2 ± λ for two groups of one size, with the λ that leaves this gap; the larger base rate comes first."""
    from scipy.optimize import brentq

    def sides(price: float) -> tuple[tuple[float, float], tuple[float, float]]:
        return _gaussian_error(0.5 + price, bases[0]), _gaussian_error(0.5 - price, bases[1])

    def too_wide(price: float) -> float:
        (_, first), (_, second) = sides(price)
        return first - second - gap

    price = 0.0 if too_wide(0.0) <= 0 else brentq(too_wide, 0, 0.4999)
    return sum(error for error, _ in sides(price)) / 2


@claim(
    "C63",
    statement="There is often a trade-off between accuracy and demographic parity.",
    verdict="holds",
    corrected="There is often a trade-off between accuracy and demographic parity.",
    chapter="fairness",
    references=("menon2018cost", "zhao2022inherent", "wick2019unlocking"),
    quantity="least error at parity, two groups with base rates 0.7 and 0.3",
)
def parity_often_costs_accuracy(seed: int) -> Measurement:
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
    tenths = [place / 10 for place in range(1, 10)]
    pairs = [(high, low) for low, high in itertools.combinations(tenths, 2)]
    dear = sum(_least_error(pair, 0.0) - _least_error(pair, 1.0) > 0.01 for pair in pairs)
    return measured(
        float(front.errors[0]),
        _least_error((0.7, 0.3), 0.0),
        0.009,  # five standard deviations over draws of 40,000 people
        conditions=dear > len(pairs) / 2 and wrong[1] < wrong[0] - 0.1 and reached[1] - reached[0] > 0.2,
        error_without_the_constraint=float(front.errors[1]),
        gap_without_it=float(front.gaps[1]),
        pairs_of_base_rates_in_tenths=len(pairs),
        of_these_parity_costs_over_a_mistake_in_a_hundred=dear,
        true_positive_rate_at_parity_group_0=reached[0],
        true_positive_rate_at_parity_group_1=reached[1],
        biased_labels_true_error_without_parity=wrong[0],
        biased_labels_true_error_with_parity=wrong[1],
    )


@claim(
    "C64",
    statement="All optimal compromises between error and fairness violation form a Pareto front from which a person must choose.",
    verdict="holds",
    corrected="All optimal compromises between error and fairness violation form a Pareto front from which a person must choose.",
    chapter="fairness",
    references=("menon2018cost", "agarwal2018reductions"),
    quantity="least error at a gap of 0.2, two groups with base rates 0.7 and 0.3",
)
def less_gap_is_bought_with_error_all_along_the_front(seed: int) -> Measurement:
    source, count = torch.Generator().manual_seed(seed), 40_000
    probs, _, groups = _people((0.7, 0.3), count, source)
    gaps = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    errors = parity_frontier(probs, groups=groups, gaps=gaps).errors
    # Random pairs of cuts: none has both a smaller error and a smaller gap than the front.
    cuts = torch.rand(300, 2, generator=source, dtype=torch.float64)
    chosen = probs > cuts[:, groups]
    rates = torch.stack([chosen[:, groups == g].double().mean(dim=1) for g in range(2)])
    wrong = torch.where(chosen, 1 - probs, probs).mean(dim=1)
    least = parity_frontier(probs, groups=groups, gaps=(rates[0] - rates[1]).abs()).errors
    # People of one kind in group 0, of two kinds in group 1, and every rule that decides by kind: a front that no sum of error and gap finds whole.
    kinds = [(0, 0.9, 1.0), (1, 0.45, 0.3), (1, 0.40, 0.7)]  # group, P(y = 1), share of the group
    points = []
    for rule in itertools.product((0, 1), repeat=3):
        shares = [sum(share for (g, _, share), taken in zip(kinds, rule, strict=True) if g == group and taken) for group in range(2)]
        error = sum(share * ((1 - eta) if taken else eta) for (_, eta, share), taken in zip(kinds, rule, strict=True)) / 2
        points.append((abs(shares[0] - shares[1]), error))
    rules = torch.tensor(points, dtype=torch.float64)
    on_front = pareto_front(rules.round(decimals=9))
    prices = torch.linspace(0, 1, 10_001, dtype=torch.float64)[:, None]
    found = set((rules[:, 1] + prices * rules[:, 0]).argmin(dim=1).tolist())
    return measured(
        float(errors[2]),
        _least_error((0.7, 0.3), 0.2),
        0.009,  # five standard deviations over draws of 40,000 people
        conditions=bool((errors.diff() < -0.005).all()) and bool((wrong >= least - 1e-12).all()) and int(on_front.sum()) > len(found),
        error_at_gap_0=float(errors[0]),
        error_at_gap_0_4=float(errors[4]),
        random_rules_below_the_front_of_300=int((wrong < least - 1e-12).sum()),
        where_people_are_of_three_kinds_rules_on_the_front=int(on_front.sum()),
        of_these_some_price_finds=len(found),
    )
