"""Claims of the chapter "ramp": what is won and lost by giving up convexity. C28 to C31, and the extra X04."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lossbook import linear, margins
from lossbook.book.claims.ledger import Measurement, claim, measured
from lossbook.margins import MarginLoss

CHAPTER = "ramp"
FLOAT = torch.float64


@claim(
    "C28",
    statement="The ramp loss behaves like the hinge near the boundary, is constant for very wrong predictions, and charges at most 1.",
    verdict="conditional",
    corrected="With the hinge's own slope, a ramp charges at most 1 or slopes on both sides of the boundary, not both: with its ceiling at 1 it is "
    "flat for every wrong answer, and to keep the slope down to margin -1 its ceiling must be 2. Half as steep it does both.",
    chapter=CHAPTER,
    references=("collobert2006trading", "brooks2011support", "wu2007robust"),
    quantity="ceiling of the ramp that still slopes at all margins between -1 and 1",
)
def ceiling(seed: int) -> Measurement:
    grid = torch.linspace(-20, 20, 8001, dtype=FLOAT)
    low, high = margins.ramp, margins.ramp_minus_one
    wrong = grid[grid < 0]
    flat_when_wrong = float((low(wrong) - 1).abs().max()) == 0 and float(low.derivative(wrong).abs().max()) == 0
    hinge_like = float((high(grid) - margins.hinge(grid))[grid >= -1].abs().max()) == 0
    generator = torch.Generator().manual_seed(seed)
    places = (2 * torch.rand(20, generator=generator) - 1.5).tolist()
    gaps = [float((margins.ramp_loss(s)(grid) - (torch.relu(1 - grid) - torch.relu(s - grid))).abs().max()) for s in places]
    return measured(
        float(high(grid).max()),
        1 - (-1),
        0,
        conditions=flat_when_wrong and hinge_like and float(low(grid).max()) == 1 and max(gaps) < 1e-13,
        ceiling_of_the_ramp_that_ends_at_margin_0=float(low(grid).max()),
        its_slope_at_any_wrong_answer=float(low.derivative(wrong).abs().max()),
        gap_to_a_difference_of_hinges=max(gaps),
    )


def clouds(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Signs half and half; x | y is normal around y (1.5, 0) with spread 0.7: the best line errs on Φ(-1.5/0.7) of the points."""
    signs = torch.where(torch.arange(count) % 2 == 0, 1.0, -1.0).to(FLOAT)
    return 0.7 * torch.randn(count, 2, generator=generator, dtype=FLOAT) + 1.5 * signs[:, None] * torch.tensor([1.0, 0.0], dtype=FLOAT), signs


def error_of(fit: linear.LinearFit) -> float:
    """P(mistake) of a line on `clouds`, in closed form."""
    length = fit.weights.norm()
    z = torch.stack([(1.5 * fit.weights[0] + sign * fit.intercept) / (0.7 * length) for sign in (1, -1)])
    return float(torch.special.ndtr(-z).mean())


@claim(
    "C29",
    statement="A bounded loss ignores grossly mislabelled points, where the hinge and cross-entropy contort the model to fit them.",
    verdict="conditional",
    corrected="A bounded loss ignores gross outliers once they lie on its flat part; descent that starts from the hinge's solution need not put them "
    "there. What contorts an unbounded loss here is leverage, how far out a point lies: 20 far labels among 200 take it above 40% error, where 30% "
    "of 2000 labels flipped at random among near points leave it below 3%.",
    chapter=CHAPTER,
    references=("collobert2006trading", "wu2007robust", "huber1964robust"),
    quantity="error of the ramp's line, best of several starts, with 10% gross outliers",
)
def ignores(seed: int) -> Measurement:
    generator = torch.Generator().manual_seed(seed)
    features, signs = clouds(200, generator)
    clean = linear.fit_linear(features, signs, loss="hinge", l2=0.01, solver="newton")
    many, theirs = clouds(2000, generator)
    flipped = theirs * torch.where(torch.rand(2000, generator=generator) < 0.3, -1.0, 1.0).to(FLOAT)
    shaken = linear.fit_linear(many, flipped, loss="logistic", l2=0.01, solver="newton", start=(clean.weights, clean.intercept))
    features[:20], signs[:20] = torch.tensor([-15.0, 0.0], dtype=FLOAT), 1.0
    errors = {name: error_of(linear.fit_linear(features, signs, loss=name, l2=0.01, solver="newton")) for name in ("hinge", "logistic", "squared")}
    best = linear.fit_linear(features, signs, loss="ramp", l2=0.01, solver="cccp", starts=8, tolerance=1e-4, generator=generator)
    stuck = linear.fit_linear(features, signs, loss="ramp", l2=0.01, solver="cccp", tolerance=1e-6)  # from the hinge's solution
    far = torch.tensor(-100.0, dtype=FLOAT)
    slopes = {name: float(margins.LOSSES[name].derivative(far)) for name in ("hinge", "logistic", "squared", "ramp")}
    conditions = all(error > 0.4 for error in errors.values()) and error_of(stuck) > 0.4 and error_of(shaken) < 0.03 and error_of(clean) < 0.03
    conditions = conditions and slopes["hinge"] == -1 and slopes["ramp"] == 0
    return measured(
        error_of(best),
        math.erfc(1.5 / 0.7 / math.sqrt(2)) / 2,  # the Bayes error Φ(-1.5/0.7) = .01606
        0.035,
        conditions=conditions,
        **{f"error_of_{name}": error for name, error in errors.items()},
        error_of_the_ramp_started_at_the_hinge=error_of(stuck),
        error_of_logistic_with_30_percent_of_labels_flipped=error_of(shaken),
        slope_of_the_hinge_at_margin_minus_100=slopes["hinge"],
    )


FIVE = torch.tensor([-5.0, -3.0, 3.0, 3.0, 5.0], dtype=FLOAT)
FIVE_SIGNS = torch.tensor([-1.0, 1.0, -1.0, -1.0, 1.0], dtype=FLOAT)


def risk_of_cut(loss: MarginLoss, cuts: Tensor, points: Tensor = FIVE, signs: Tensor = FIVE_SIGNS) -> Tensor:
    """Mean loss of the score x - b for each cut b."""
    return loss(signs * (points - cuts[..., None])).mean(dim=-1)


def valleys(risks: Tensor) -> int:
    """Local minima in the interior of a grid, a flat floor counted once."""
    steps = risks.diff().round(decimals=10)
    turns = torch.sign(steps[steps != 0])
    return int(((turns[:-1] < 0) & (turns[1:] > 0)).sum())


def roll(loss: MarginLoss, start: float) -> float:
    """Where gradient descent on the cut ends: 4000 steps of 0.01."""
    cut = start
    for _ in range(4000):
        cut -= 0.01 * float((-FIVE_SIGNS * loss.derivative(FIVE_SIGNS * (FIVE - cut))).mean())
    return cut


@claim(
    "C30",
    statement="A non-convex loss can have many local minima, in which gradient descent gets stuck.",
    verdict="holds",
    corrected="A non-convex loss can have many local minima, in which gradient descent gets stuck.",
    chapter=CHAPTER,
    references=("yuille2003concave", "collobert2006trading"),
    quantity="ramp risk at the cut where descent from -4.6 ends, twice the least",
)
def stuck(seed: int) -> Measurement:
    cuts = torch.linspace(-8, 8, 1601, dtype=FLOAT)
    ramp, hinge = risk_of_cut(margins.ramp, cuts), risk_of_cut(margins.hinge, cuts)
    ends = {"near": roll(margins.ramp, -4.6), "plateau": roll(margins.ramp, 0.0), "hinge": roll(margins.hinge, 0.0)}
    values = risk_of_cut(margins.ramp, torch.tensor([ends["near"], 4.0, 0.0], dtype=FLOAT)).tolist()
    generator = torch.Generator().manual_seed(seed)
    signs = (2 * torch.randint(2, (30,), generator=generator) - 1).to(FLOAT)
    points = signs + 20 * torch.randn(30, generator=generator, dtype=FLOAT)
    wide = torch.linspace(-70, 70, 14_001, dtype=FLOAT)
    counts = [valleys(risk_of_cut(loss, wide, points, signs)) for loss in (margins.ramp, margins.hinge)]
    conditions = abs(ends["near"] + 4) < 0.02 and ends["plateau"] == 0 and abs(ends["hinge"] - 4) < 0.02 and counts[1] == 1
    conditions = conditions and valleys(ramp) == 2 and valleys(hinge) == 1 and abs(values[1] - 0.2) < 1e-12 and abs(values[2] - 0.6) < 1e-12
    return measured(
        values[0],
        2 / 5,  # at b = -4 two of the five points lie on the flat part, three at margin 1 or more
        0.002,  # a step of 0.01 rattles around the kink
        conditions=conditions,
        least_ramp_risk=float(ramp.min()),
        ramp_risk_on_the_plateau=values[2],
        valleys_of_the_ramp_on_30_random_points=counts[0],
        valleys_of_the_hinge_on_them=counts[1],
    )


def long_servedio(gap: float = 1 / 50) -> Tensor:
    """Four points that the line x₁ > 0 gets right, all of sign +1: one far out, two penalisers below, one puller above."""
    return torch.tensor([[1.0, 0.0], [gap, 5 * gap], [gap, -gap], [gap, -gap]], dtype=FLOAT)


def clean_error(points: Tensor, signs: Tensor, loss: str, weight: Tensor | None = None) -> float:
    """Share of the four points that the line fitted to noisy signs gets wrong."""
    fit = linear.fit_linear(points, signs, loss=loss, l2=1e-6, solver="newton", intercept="none", weight=weight)
    return float((fit.scores(long_servedio()) <= 0).double().mean())


@claim(
    "C31",
    statement="There is a fundamental trade-off: an easy, convex problem, or a loss that is robust to messy data.",
    verdict="conditional",
    corrected="For every smooth convex loss that falls to 0 there are points on which labels flipped at random ruin the line; on four such points "
    "the hinge's line through the origin fails, too. The convex unhinged loss 1 - m is in expectation proof against flips, exactly; but it is "
    "unbounded, so a few gross outliers ruin it.",
    chapter=CHAPTER,
    references=("vanrooyen2015learning", "ghosh2017robust", "long2010random"),
    quantity="clean error of the unhinged loss on Long and Servedio's points, a fifth of the signs flipped",
)
def not_fundamental(seed: int) -> Measurement:
    points, plus = long_servedio(), torch.ones(4, dtype=FLOAT)
    both, signs = points.repeat(2, 1), torch.cat([plus, -plus])
    share = torch.tensor([0.8] * 4 + [0.2] * 4, dtype=FLOAT)  # the law itself, not a sample
    exact = {loss: clean_error(both, signs, loss, share) for loss in ("unhinged", "logistic", "exponential", "hinge")}
    generator = torch.Generator().manual_seed(seed)
    drawn = points[torch.randint(4, (4000,), generator=generator)]
    noisy = torch.where(torch.rand(4000, generator=generator) < 0.2, -1.0, 1.0).to(FLOAT)
    sampled = {loss: clean_error(drawn, noisy, loss) for loss in ("unhinged", "logistic")}
    far = torch.cat([drawn, torch.tensor([[-100.0, 0.0]], dtype=FLOAT).expand(80, 2)])  # 2% gross outliers, far out and labelled +1
    ruined = clean_error(far, torch.cat([noisy, torch.ones(80, dtype=FLOAT)]), "unhinged")
    conditions = all(exact[loss] == 0.5 for loss in ("logistic", "exponential", "hinge"))
    conditions = conditions and sampled == {"unhinged": 0, "logistic": 0.5} and ruined >= 0.5
    return measured(
        exact["unhinged"],
        0,  # its minimiser is the mean of y x, which flips only scale by 1 - 2·0.2
        0,
        conditions=conditions,
        error_of_logistic=exact["logistic"],
        error_of_hinge=exact["hinge"],
        error_of_logistic_on_a_sample_of_4000=sampled["logistic"],
        error_of_unhinged_with_2_percent_gross_outliers=ruined,
    )


@claim(
    "X04",
    statement="Without a penalty, a loss with φ(m) + φ(-m) constant has the same minimiser with and without labels flipped at random, in "
    "expectation.",
    verdict="holds",
    corrected="Without a penalty, a loss with φ(m) + φ(-m) constant has the same minimiser with and without labels flipped at random, in "
    "expectation: noise turns its risk R into (1 - 2ρ) R + a constant. A ridge acts as if it were 1 / (1 - 2ρ) times as strong, and in a "
    "sample the flips are still noise.",
    chapter=CHAPTER,
    references=("ghosh2017robust", "vanrooyen2015learning", "charoenphakdee2021focal"),
    quantity="gap between the noisy risk of the sigmoid loss and the line that its clean risk predicts",
)
def symmetric(seed: int) -> Measurement:
    grid = torch.linspace(-6, 6, 12_001, dtype=FLOAT)
    spans = {}
    for name in ("sigmoid", "unhinged", "ramp_minus_one", "ramp", "hinge", "logistic"):
        total = margins.LOSSES[name](grid) + margins.LOSSES[name](-grid)
        spans[name] = float(total.max() - total.min())
    generator = torch.Generator().manual_seed(seed)
    features, signs = clouds(400, generator)
    lines = torch.randn(20, 2, generator=generator, dtype=FLOAT)
    gaps = {}
    for name in ("sigmoid", "logistic"):
        margin = signs * (lines @ features.T)
        clean, turned = (margins.LOSSES[name](m).mean(dim=1) for m in (margin, -margin))
        noisy = 0.7 * clean + 0.3 * turned  # each label flipped with probability 0.3
        gaps[name] = float((noisy - (0.4 * clean + 0.3 * (clean + turned)[0])).abs().max())
    conditions = all(spans[name] < 1e-12 for name in ("sigmoid", "unhinged", "ramp_minus_one")) and gaps["logistic"] > 0.1
    # hinge: 7 at m = ±6, 2 in between; logistic: 6 + 2 ln(1 + e^-6) against 2 ln 2; ramp ending at 0: 2 at m = 0, 1 from ±1 on
    expected = {"hinge": 7 - 2, "logistic": 6 + 2 * math.log1p(math.exp(-6)) - 2 * math.log(2), "ramp": 2 - 1}
    conditions = conditions and all(abs(spans[name] - value) < 1e-9 for name, value in expected.items())
    details = {f"span_of_{name}": span for name, span in spans.items()}
    return measured(gaps["sigmoid"], 0, 1e-12, conditions=conditions, gap_for_logistic=gaps["logistic"], **details)
