"""The claims of the chapter mismatch: a better estimate of a probability can be a worse decision."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from lossbook.book.claims.ledger import Measurement, claim, measured
from lossbook.consistency import EstimateReport, estimate_report

FLIPS, ETA = 25, 0.6


def _coin_outcomes() -> tuple[Tensor, Tensor]:
    """The share of heads in 25 flips of a coin with P(heads) = 0.6, [26], and the probability of each share."""
    heads = torch.arange(FLIPS + 1, dtype=torch.float64)
    ways = torch.lgamma(torch.tensor(FLIPS + 1.0, dtype=torch.float64)) - torch.lgamma(heads + 1) - torch.lgamma(FLIPS - heads + 1)
    return heads / FLIPS, torch.exp(ways + heads * math.log(ETA) + (FLIPS - heads) * math.log(1 - ETA))


def _at_most(heads: int) -> Fraction:
    """P(Binomial(25, 3/5) <= heads), exactly."""
    p = Fraction(3, 5)
    return sum((math.comb(FLIPS, k) * p**k * (1 - p) ** (FLIPS - k) for k in range(heads + 1)), Fraction(0))


def _beats(first: EstimateReport, second: EstimateReport) -> bool:
    """Less squared bias and less variance, and yet more mistakes."""
    return bool(first.bias_squared < second.bias_squared and first.variance < second.variance and first.error > second.error)


@claim(
    "C23",
    statement="An algorithm with less squared-error bias and less variance than another can still be the worse classifier.",
    verdict="holds",
    corrected="An algorithm with less squared-error bias and less variance than another can still be the worse classifier.",
    chapter="mismatch",
    references=("friedman1997bias", "domingos2000unified"),
    quantity="mistakes of the better estimator above those of the worse one, after 25 flips of a 60% coin",
)
def better_estimate_worse_decision(seed: int) -> Measurement:
    share, probability = _coin_outcomes()
    shrunken, majority = 0.8 * share, (share > 0.5).double()
    exact = [estimate_report(estimates, ETA, weight=probability) for estimates in (shrunken, majority)]
    generator = torch.Generator().manual_seed(seed)
    sets = (torch.rand(4000, FLIPS, generator=generator, dtype=torch.float64) < ETA).double().mean(dim=1)
    sampled = [estimate_report(estimates, ETA) for estimates in (0.8 * sets, (sets > 0.5).double())]
    pair = [estimate_report(torch.tensor(two, dtype=torch.float64), ETA) for two in ([0.44, 0.48], [0.70, 1.00])]
    # 0.8 k/25 > 1/2 needs k >= 16, a majority k >= 13; a wrong decision costs 2 eta - 1 = 1/5 more than a right one.
    expected = Fraction(1, 5) * (_at_most(15) - _at_most(12))
    return measured(
        float(exact[0].error - exact[1].error),
        float(expected),
        1e-9,
        conditions=_beats(*exact) and _beats(*sampled) and _beats(*pair),
        bias_squared_shrunken=float(exact[0].bias_squared),
        bias_squared_majority=float(exact[1].bias_squared),
        variance_shrunken=float(exact[0].variance),
        variance_majority=float(exact[1].variance),
        error_shrunken=float(exact[0].error),
        error_majority=float(exact[1].error),
        difference_in_4000_simulated_sets=float(sampled[0].error - sampled[1].error),
    )


@claim(
    "C24",
    statement="The bias-variance trade-off of the surrogate is not the bias-variance trade-off of the classifier.",
    verdict="holds",
    corrected="The bias-variance trade-off of the surrogate is not the bias-variance trade-off of the classifier.",
    chapter="mismatch",
    references=("friedman1997bias", "domingos2000unified"),
    quantity="mistakes at η = 0.6 when estimates centred on 0.45 shrink their standard deviation from 0.5 to 0.01",
)
def variance_helps_on_the_wrong_side(seed: int) -> Measurement:
    spreads = (0.5, 0.1, 0.01)
    quantiles = torch.special.ndtri((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000)
    wrong, right = ([estimate_report(centre + spread * quantiles, ETA) for spread in spreads] for centre in (0.45, 0.75))
    squared = [bool(side[0].squared_error > side[1].squared_error > side[2].squared_error) for side in (wrong, right)]
    hurts = wrong[0].error < wrong[1].error < wrong[2].error
    helps = right[0].error > right[1].error >= right[2].error
    normal = torch.randn(4000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sampled = [float(estimate_report(0.45 + spread * normal, ETA).error) for spread in spreads]
    # 4000 draws: each error has a standard deviation of at most 0.2 / (2 sqrt(4000)) = 0.0016.
    near = all(abs(a - float(b.error)) < 5 * 0.0016 for a, b in zip(sampled, wrong, strict=True))
    share, probability = _coin_outcomes()
    shrunken = [estimate_report(factor * share, ETA, weight=probability) for factor in (0.96, 1.0)]
    # Bias for variance: a factor of 0.96 makes the squared error smaller; 0.96 * 13/25 < 1/2, so 13 heads decide wrongly.
    trades = (
        shrunken[0].variance < shrunken[1].variance
        and shrunken[0].squared_error < shrunken[1].squared_error
        and shrunken[0].error > shrunken[1].error
    )
    # Friedman: 0.4 + 0.2 P(estimate <= 1/2), and (0.5 - 0.45) / 0.01 is five standard deviations.
    expected = 0.4 + 0.2 * 0.5 * math.erfc(-5 / math.sqrt(2))
    return measured(
        float(wrong[2].error),
        expected,
        1e-4,
        conditions=all(squared) and bool(hurts) and bool(helps) and near and bool(trades),
        error_at_deviation_half=float(wrong[0].error),
        error_at_deviation_tenth=float(wrong[1].error),
        squared_error_at_deviation_half=float(wrong[0].squared_error),
        squared_error_at_deviation_hundredth=float(wrong[2].squared_error),
        right_side_error_at_deviation_half=float(right[0].error),
        right_side_error_at_deviation_hundredth=float(right[2].error),
        squared_error_of_25_flips=float(shrunken[1].squared_error),
        squared_error_of_25_flips_times_0_96=float(shrunken[0].squared_error),
        error_of_25_flips=float(shrunken[1].error),
        error_of_25_flips_times_0_96=float(shrunken[0].error),
    )
