"""Claims of the chapter the-cliff: mistakes are hard to minimise, their floor need not be zero, and their slope says nothing."""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook import margins
from lossbook.book.claims.ledger import Measurement, claim, measured
from lossbook.zero_one import count_dichotomies, smoothed_risk

CHAPTER = "the-cliff"


class Cloud(NamedTuple):
    """Points [N, 2] float64, signs [N]."""

    features: Tensor
    signs: Tensor


def cloud(count: int, distance: float, generator: torch.Generator) -> Cloud:
    """Two normal clouds of spread 1 around (±distance, 0), with random signs."""
    signs = (2 * torch.randint(0, 2, (count,), generator=generator) - 1).double()
    noise = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    return Cloud(noise + signs[:, None] * torch.tensor([distance, 0.0], dtype=torch.float64), signs)


def labelings(points: Tensor) -> int:
    """How many ways planes really split N points [N, D]: through every D of them, with those on either side. No formula is used."""
    count, dimension = points.shape
    chosen = torch.tensor(list(combinations(range(count), dimension)))  # [P, D]
    homogeneous = torch.cat([points, points.new_ones(count, 1)], dim=1)
    normals = torch.linalg.svd(homogeneous[chosen])[2][:, -1]  # orthogonal to D rows of D + 1
    sides = (normals @ homogeneous.T > 0)[:, None].repeat(1, 2**dimension, 1)  # [P, 2^D, N]
    either = torch.cartesian_prod(*[torch.tensor([False, True])] * dimension).reshape(-1, dimension)
    sides.scatter_(2, chosen[:, None].expand(-1, len(either), -1), either.expand(len(chosen), -1, -1))
    codes = (sides * 2 ** torch.arange(count)).sum(dim=2)
    return len(torch.cat([codes.flatten(), 2**count - 1 - codes.flatten()]).unique())  # type: ignore[no-untyped-call]


@claim(
    "C01",
    statement="Minimising the number of mistakes directly is computationally intractable.",
    verdict="conditional",
    corrected="Minimising mistakes is NP-hard as the number of measurements grows: that is a theorem, and measured here is how the ways to try "
    "multiply. With that number fixed it takes polynomial time, n² log n steps in the plane; and where some plane makes no mistake at all, a linear "
    "program finds it.",
    chapter=CHAPTER,
    references=("johnson1978densest", "bendavid2003difficulty", "feldman2012agnostic", "cover1965geometrical", "nguyen2013algorithms"),
    quantity="ways, of 1024, in which planes over five measurements split ten points",
)
def intractable(seed: int) -> Measurement:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(10, 5, generator=generator, dtype=torch.float64)
    split = {dimension: labelings(points[:, :dimension]) for dimension in (1, 2, 5)}
    conditions = all(split[dimension] == count_dichotomies(10, dimension) for dimension in split)
    return measured(
        split[5],
        count_dichotomies(10, 5),  # Cover: 2 (1 + 9 + 36 + 84 + 126 + 126) = 764
        0,
        conditions=conditions,
        ways_with_one_measurement=split[1],
        ways_with_two=split[2],
    )


@claim(
    "C05",
    statement="The aim is to bring the total loss as close to zero as possible.",
    verdict="holds",  # "as possible" leaves room for a floor, which is what is measured
    corrected="The aim is to bring the total loss as close to zero as possible.",
    chapter=CHAPTER,
    references=("bartlett2006convexity",),
    quantity="as close as is possible, for two normal classes around ±1: the Bayes risk",
)
def floor(seed: int) -> Measurement:
    x = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    density = (torch.exp(-((x - 1) ** 2) / 2) + torch.exp(-((x + 1) ** 2) / 2)) / (2 * math.sqrt(2 * math.pi))
    eta = torch.sigmoid(2 * x)  # the log odds of N(1, 1) against N(-1, 1) are ((x + 1)² - (x - 1)²) / 2 = 2x
    bayes = torch.trapezoid(density * margins.zero_one.minimal_risk(eta), x)
    generator, count = torch.Generator().manual_seed(seed), 200_000
    signs = (2 * torch.randint(0, 2, (count,), generator=generator) - 1).double()
    drawn = signs + torch.randn(count, generator=generator, dtype=torch.float64)
    shares = torch.stack([margins.zero_one(signs * (drawn - cut)).mean() for cut in torch.arange(-1, 1.01, 0.1)])
    expected = math.erfc(1 / math.sqrt(2)) / 2  # Φ(-1) = 0.158655
    spread = math.sqrt(expected * (1 - expected) / count)
    conditions = bool(abs(shares[10] - expected) < 5 * spread) and bool(shares.min() > expected - 5 * spread)  # five sigmas
    least = float(shares.min())
    return measured(
        float(bayes), expected, 1e-5, conditions=conditions, share_of_mistakes_at_the_best_cut=float(shares[10]), least_share_over_21_cuts=least
    )


@claim(
    "C06",
    statement="The 0-1 loss is flat, so gradient descent has no idea which direction to take.",
    verdict="holds",  # descent on the count averaged over trembling weights, in the details, is an addition: another loss
    corrected="The 0-1 loss is flat, so gradient descent has no idea which direction to take.",
    chapter=CHAPTER,
    references=("williams1992simple", "nguyen2013algorithms"),
    quantity="directional differences, of 1000, that are exactly zero",
)
def flat(seed: int) -> Measurement:
    generator = torch.Generator().manual_seed(seed)
    features, signs = cloud(200, 1.0, generator)

    def risk(weights: Tensor) -> Tensor:
        return margins.zero_one(signs * (features @ weights)).mean()

    starts, steps = torch.randn(2, 1000, 2, generator=generator, dtype=torch.float64)
    zeros = sum(int(risk(weights + 1e-9 * step) == risk(weights)) for weights, step in zip(starts, steps, strict=True))

    weights = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)  # at a right angle to the direction that matters
    (gradient,) = torch.autograd.grad(risk(weights), weights)
    before = float(risk(weights.detach()))
    for _ in range(100):
        (downhill,) = torch.autograd.grad(smoothed_risk(weights, features, signs), weights)
        weights = (weights - 2 * downhill).detach().requires_grad_()
    after = float(risk(weights.detach()))
    # Bayes: Φ(-1) = .159; 200 points put .026 around it, so .16 ± 5 sigmas ends below .29, and a coin's .5 above .32.
    slope = float(gradient.norm())
    conditions = slope == 0 and before > 0.32 and after < 0.29
    return measured(zeros, 1000, 0, conditions=conditions, gradient_norm=slope, error_before_smoothed_descent=before, error_after=after)
