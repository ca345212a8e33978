"""Claims of the chapter "probability": what cross-entropy knows. C15 to C19, and the extras X01, X06, X08, X10."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import partial

import torch
from torch import Tensor

from lossbook import crossentropy, decisions, linear, margins, reliability, scoring
from lossbook.book.claims.ledger import Measurement, claim, measured

FLOAT = torch.float64


def normal_cdf(z: float) -> float:
    """Φ(z), the share of a standard normal below z."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def two_normals(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """n points x = y + N(0, 1) with equally frequent signs y: P(y = +1 | x) = σ(2x)."""
    generator = torch.Generator().manual_seed(seed)
    signs = 2 * torch.randint(2, (n,), generator=generator).to(FLOAT) - 1
    return (signs + torch.randn(n, generator=generator, dtype=FLOAT)).unsqueeze(1), signs


def cost_of_cut(cut: float, false_positive: float, false_negative: float) -> float:
    """Expected cost of calling x > cut positive, for `two_normals`: a closed form."""
    return 0.5 * (false_positive * (1 - normal_cdf(cut + 1)) + false_negative * normal_cdf(cut - 1))


def normal_grid(points: int = 200_001) -> tuple[Tensor, Tensor, Tensor]:
    """A grid on [-10, 10] and the probability of each of its cells under N(-1, 1) and under N(+1, 1)."""
    grid = torch.linspace(-10, 10, points, dtype=FLOAT)
    half = float(grid[1] - grid[0]) / 2
    masses = [torch.special.ndtr(grid - mean + half) - torch.special.ndtr(grid - mean - half) for mean in (-1, 1)]
    return grid, masses[0], masses[1]


@claim(
    "C15",
    statement="Cross-entropy is also known as the logistic loss, ln(1 + e⁻ᵐ).",
    verdict="holds",
    corrected="Cross-entropy is also known as the logistic loss, ln(1 + e⁻ᵐ).",
    chapter="probability",
    references=("hastie2009elements",),
    quantity="largest gap between the logistic loss, binary cross-entropy and two-class softmax cross-entropy on [-30, 30]",
)
def same_loss(seed: int) -> Measurement:
    scores = torch.linspace(-30, 30, 60_001, dtype=FLOAT)
    logistic = margins.logistic(scores)
    binary = crossentropy.binary_cross_entropy(scores, torch.ones_like(scores), reduction="none")
    logits = torch.stack([torch.zeros_like(scores), scores], 1)
    softmax = crossentropy.cross_entropy(logits, torch.ones(len(scores), dtype=torch.long), reduction="none")
    formula = torch.log(1 + torch.exp(-scores))  # accurate to rounding on this range
    gaps = {name: float((loss - formula).abs().max()) for name, loss in (("logistic", logistic), ("binary", binary), ("softmax", softmax))}
    return measured(max(gaps.values()), 0.0, 1e-13, logistic=gaps["logistic"], binary=gaps["binary"], softmax=gaps["softmax"])


@claim(
    "C16",
    statement="The cross-entropy of a correct prediction is never zero at any finite margin, so the model always feels a nudge.",
    verdict="holds",
    corrected="The cross-entropy of a correct prediction is never zero at any finite margin, so the model always feels a nudge.",
    chapter="probability",
    references=("hastie2009elements",),
    quantity="decimal logarithm of the loss at margin 1000, with 500 digits",
)
def stays_positive(seed: int) -> Measurement:
    with localcontext() as context:
        context.prec = 500
        losses = {margin: (1 + Decimal(-margin).exp()).ln() for margin in (1, 20, 1000)}
        nudges = {margin: 1 / (1 + Decimal(margin).exp()) for margin in losses}
        logarithm = float(losses[1000].log10())
    # What a computer keeps of it: ln(1 + e^-m) rounds to 0 once e^-m is under half the spacing of float32 at 1, 2^-24: m > 24 ln 2 = 16.64.
    steps = torch.arange(0, 30, 0.01, dtype=torch.float32)
    rounded = crossentropy.cross_entropy(
        torch.stack([steps, torch.zeros_like(steps)], 1), torch.zeros(len(steps), dtype=torch.long), reduction="none"
    )
    first_zero = float(steps[rounded == 0].min())
    binary = float(crossentropy.binary_cross_entropy(torch.tensor(20.0), torch.tensor(1.0)))
    conditions = all(value > 0 for value in (*losses.values(), *nudges.values())) and abs(first_zero - 24 * math.log(2)) < 0.05 and binary > 0
    return measured(
        logarithm,
        -1000 / math.log(10),  # ln(1 + x) is x - x²/2 + ..., and x = e^-1000
        1e-9,
        conditions=conditions,
        loss_at_margin_20=float(losses[20]),
        nudge_at_margin_20=float(nudges[20]),
        margin_from_which_softmax_cross_entropy_rounds_to_0_in_float32=first_zero,
        binary_cross_entropy_at_20_in_float32=binary,
    )


@claim(
    "C17",
    statement="Minimising cross-entropy is equivalent to minimising the Kullback-Leibler divergence between the predicted and the true distribution.",
    verdict="holds",
    corrected="Minimising cross-entropy is equivalent to minimising the Kullback-Leibler divergence between the predicted and the true distribution.",
    chapter="probability",
    references=("cover2006elements",),
    quantity="largest distance between where expected cross-entropy and KL(truth ‖ model) are least, on 200 random paths of models through 5 classes",
)
def same_minimum(seed: int) -> Measurement:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(200, 5, generator=generator, dtype=FLOAT).softmax(1)
    start, direction = torch.randn(2, 200, 5, 1, generator=generator, dtype=FLOAT)
    places = torch.linspace(-4, 4, 2001, dtype=FLOAT)
    paths = (start + direction * places).movedim(2, 1)  # [path, place, class]; hardly any of them passes the truth
    everywhere = truth[:, None].expand_as(paths)
    price = crossentropy.cross_entropy(paths.movedim(2, 1), everywhere.movedim(2, 1), reduction="none")
    forward, reverse = (
        crossentropy.kl_divergence(*pair, reduction="none")
        for pair in ((everywhere.movedim(2, 1), paths.softmax(2).movedim(2, 1)), (paths.softmax(2).movedim(2, 1), everywhere.movedim(2, 1)))
    )
    least = {name: places[values.argmin(1)] for name, values in (("price", price), ("forward", forward), ("reverse", reverse))}
    # A model (a, a, 1 − 2a) that cannot be (.6, .05, .35). Setting the derivatives to zero: forward a = (.6 + .05) / 2, reverse
    # a / (1 − 2a) = √(.6 · .05) / .35.
    shares = torch.linspace(0.001, 0.499, 49_801, dtype=FLOAT)
    family = torch.stack([shares, shares, 1 - 2 * shares], 1)
    target = torch.tensor([0.6, 0.05, 0.35], dtype=FLOAT).expand_as(family)
    best = float(shares[crossentropy.kl_divergence(target, family).argmin()])
    other_way = float(shares[crossentropy.kl_divergence(family, target).argmin()])
    root = math.sqrt(0.6 * 0.05)
    # In expectation only. Of ten patients with an even chance seven fall ill, and a model moves from 1/2 to 7/10.
    ten, even = torch.tensor([0.3, 0.7], dtype=FLOAT), torch.tensor([0.5, 0.5], dtype=FLOAT)
    on_the_sample = float(crossentropy.cross_entropy(ten.log(), ten) - crossentropy.cross_entropy(even.log(), ten))
    to_the_truth = float(crossentropy.kl_divergence(even, ten))
    conditions = abs(best - 0.325) < 2e-5 and abs(other_way - root / (0.35 + 2 * root)) < 2e-5 and on_the_sample < 0 < to_the_truth
    return measured(
        float((least["price"] - least["forward"]).abs().max()),
        0.0,
        float(places[1] - places[0]) * 1.001,  # two places may cost the same but for rounding
        conditions=conditions and float((least["price"] - least["reverse"]).abs().max()) > 0.1,
        forward_minimum=best,
        reverse_minimum=other_way,
        change_of_a_samples_cross_entropy=on_the_sample,
        change_of_its_KL_to_the_truth=to_the_truth,
    )


@claim(
    "C18",
    statement="With cross-entropy you are not just trying to get the answer right, but to learn the true probability of it.",
    verdict="holds",
    corrected="With cross-entropy you are not just trying to get the answer right, but to learn the true probability of it.",
    chapter="probability",
    references=("savage1971elicitation", "gneiting2007strictly"),
    quantity="largest |learned − true probability| of five kinds of patients, from 20 000 labels each",
)
def learns_the_probability(seed: int) -> Measurement:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.tensor([0.02, 0.3, 0.6, 0.9, 0.99], dtype=FLOAT)
    shares = (torch.rand(5, 20_000, generator=generator, dtype=FLOAT) < truth[:, None]).to(FLOAT).mean(1)
    learned = torch.stack([minimise_scalar(partial(crossentropy.binary_cross_entropy, targets=share)) for share in shares]).sigmoid()
    # The hinge gets the same answers right, and asks for the score 1 wherever more than half are ill.
    scores = torch.linspace(-3, 3, 6001, dtype=FLOAT)
    hinge = torch.stack([scores[margins.hinge.conditional_risk(share, scores).argmin()] for share in shares])
    # x = −1, 0, 1 with P(1) = .9, .1, .9: by symmetry the best line is flat at the mean, 19/30, and misses the middle by 8/15.
    places, bent = torch.tensor([[-1.0], [0.0], [1.0]], dtype=FLOAT), torch.tensor([0.9, 0.1, 0.9], dtype=FLOAT)
    doubled = linear.fit_linear(
        places.repeat(2, 1), torch.tensor([1.0] * 3 + [-1.0] * 3, dtype=FLOAT), loss="logistic", weight=torch.cat([bent, 1 - bent])
    )
    worst = float((doubled.scores(places).sigmoid() - bent).abs().max())
    conditions = bool(((hinge > 0) == (learned > 0.5)).all()) and abs(float(hinge[2] - hinge[4])) < 0.01 and abs(worst - 8 / 15) < 1e-6
    # A share of 20 000 is off by √(p (1 − p) / 20 000), 0.0035 at most: five of these.
    return measured(
        float((learned - truth).abs().max()),
        0.0,
        0.018,
        conditions=conditions,
        learned_where_60_in_100_are_ill=float(learned[2]),
        learned_where_99_are=float(learned[4]),
        hinge_score_where_60_are=float(hinge[2]),
        hinge_score_where_99_are=float(hinge[4]),
        largest_error_of_a_line_on_a_U=worst,
    )


def minimise_scalar(objective: Callable[[Tensor], Tensor]) -> Tensor:
    """Newton's method on one number, started at 0."""
    point = torch.zeros((), dtype=FLOAT, requires_grad=True)
    for _ in range(50):
        (slope,) = torch.autograd.grad(objective(point), point, create_graph=True)
        (bend,) = torch.autograd.grad(slope, point)
        point = (point - slope / bend).detach().requires_grad_()
    return point.detach()


@claim(
    "C19",
    statement="Well-calibrated probabilities are essential when errors have different costs and the decision threshold must be set accordingly.",
    verdict="conditional",
    corrected="With true probabilities the best threshold is c_FP / (c_FP + c_FN), for any costs. They are needed where costs differ or change and "
    "no labelled examples are at hand. With such examples a score that orders the cases rightly can be cut where they cost least. Costs as weights "
    "in training make a logistic line on two normals the best cut in the long run; a hinge's is then 1 % too dear at nine to one, 24 % at nineteen "
    "to one.",
    chapter="probability",
    references=("elkan2001foundations",),
    quantity="expected cost at 9 : 1 of the hinge's score, cut where 4000 draws cost least",
)
def threshold_for_costs(seed: int) -> Measurement:
    features, signs = two_normals(4000, seed)
    logistic = linear.fit_linear(features, signs, loss="logistic", solver="newton")
    hinge = linear.fit_linear(features, signs, loss="hinge", l2=1e-6, solver="newton")
    logit = -math.log(9)  # of the threshold 1 / (1 + 9)

    def paid(fit: linear.LinearFit, score: float, miss: float = 9) -> float:
        return cost_of_cut(float((score - fit.intercept) / fit.weights[0]), 1, miss)

    def at_best(miss: float) -> float:
        return cost_of_cut(-math.log(miss) / 2, 1, miss)

    everybody = normal_quantiles(2000)
    weighted = {miss: linear.fit_linear(*everybody, loss="hinge", l2=1e-6, weight=prices(everybody[1], miss), solver="newton") for miss in (9, 19)}
    weights_of = {miss: prices(everybody[1], miss) for miss in (9, 19)}
    right = {miss: linear.fit_linear(*everybody, loss="logistic", weight=weights_of[miss], solver="newton") for miss in (9, 19)}
    found = {
        "logistic_at_the_threshold": paid(logistic, logit),
        "logistic_at_one_half": paid(logistic, 0),
        "hinge_score_read_as_logit": paid(hinge, logit),
        "weighted_hinge_in_the_long_run": paid(weighted[9], 0),
        "weighted_hinge_at_19_to_1": paid(weighted[19], 0, 19),
        "best_possible_at_19_to_1": at_best(19),
        "weighted_logistic_above_the_best_at_9_to_1": paid(right[9], 0) - at_best(9),
        "weighted_logistic_above_the_best_at_19_to_1": paid(right[19], 0, 19) - at_best(19),
    }
    conditions = (
        found["logistic_at_the_threshold"] < at_best(9) + 0.006
        and found["logistic_at_one_half"] > 0.7
        and found["hinge_score_read_as_logit"] > at_best(9) + 0.008
        and abs(found["weighted_hinge_in_the_long_run"] - 0.3533) < 2e-4
        and abs(found["weighted_hinge_at_19_to_1"] - 0.5) < 1e-6  # its slope is 0: everybody is called ill, and the healthy half pays 1
        and 1.23 < 0.5 / at_best(19) < 1.24
        and max(found["weighted_logistic_above_the_best_at_9_to_1"], found["weighted_logistic_above_the_best_at_19_to_1"]) < 1e-5
    )
    # The cost has slope 0 at the best cut: one that is off by 0.2 pays 0.01 more.
    return measured(paid(hinge, cheapest(hinge.scores(features), signs, 9)), at_best(9), 0.01, conditions=conditions, **found)


def normal_quantiles(n: int) -> tuple[Tensor, Tensor]:
    """n points of each normal at evenly spaced probabilities, with their signs: `two_normals` without chance."""
    quantiles = torch.special.ndtri((torch.arange(n, dtype=FLOAT) + 0.5) / n)
    return torch.cat([quantiles - 1, quantiles + 1]).unsqueeze(1), torch.cat([-torch.ones(n, dtype=FLOAT), torch.ones(n, dtype=FLOAT)])


def prices(signs: Tensor, miss: float) -> Tensor:
    """What a mistake costs, by the truth."""
    return torch.where(signs > 0, miss, 1.0).to(FLOAT)


def cheapest(scores: Tensor, signs: Tensor, miss: float) -> float:
    """The cut of a score at which a sample's mistakes cost least: as it rises past an example, a miss is added or a false alarm saved."""
    ordered, order = scores.sort()
    steps = (prices(signs, miss) * signs)[order].cumsum(0)
    return float(ordered[int(steps.argmin())])


@claim(
    "X01",
    statement="A loss that is smallest on average at the true probability is called proper; cross-entropy is one of many.",
    verdict="holds",
    corrected="A loss that is smallest on average at the true probability is called proper; cross-entropy is one of many.",
    chapter="probability",
    references=("savage1971elicitation", "murphy1973new", "gneiting2007strictly"),
    quantity="largest |best answer − 0.7| of the log, Brier and spherical loss, 1 − q_k / ‖q‖, where the truth is 0.7",
)
def proper_losses(seed: int) -> Measurement:
    probs = torch.linspace(0.0001, 0.9999, 9999, dtype=FLOAT)
    logits = torch.stack([(1 - probs).log(), probs.log()], 1)
    yes, no = torch.ones(len(probs), dtype=torch.long), torch.zeros(len(probs), dtype=torch.long)

    def answer(loss: Callable[[Tensor], Tensor]) -> float:
        expected = 0.7 * loss(yes) + 0.3 * loss(no)
        return float(probs[expected.argmin()])

    def smooth(labels: Tensor) -> Tensor:
        return crossentropy.cross_entropy(logits, labels, label_smoothing=0.2, reduction="none")

    proper = (
        answer(lambda labels: crossentropy.cross_entropy(logits, labels, reduction="none")),
        answer(lambda labels: reliability.brier_score(probs, labels, reduction="none")),
        answer(lambda labels: scoring.spherical_loss(logits, labels, reduction="none")),
    )
    absolute = answer(lambda labels: crossentropy.generalized_cross_entropy(logits, labels, q=1.0, reduction="none"))
    focal = answer(lambda labels: -((1 - given(probs, labels)) ** 2) * given(probs, labels).log())  # Lin et al. 2017, γ = 2
    savage = scoring.savage_loss(lambda q: q * (1 - q), probs, yes.to(FLOAT), reduction="none") - (1 - probs) ** 2
    generator = torch.Generator().manual_seed(seed)
    said = torch.randint(1, 10, (5000,), generator=generator).to(FLOAT) / 10
    happened = (torch.rand(5000, generator=generator, dtype=FLOAT) < said**2).long()  # a forecaster who says √ of the truth
    parts = reliability.murphy_decomposition(said, happened)
    murphy = float(parts.reliability - parts.resolution + parts.uncertainty + parts.within) - float(((said - happened) ** 2).mean())
    # Focal: d/dq [.7 (1−q)² ln q + .3 q² ln(1−q)] = 0 at q = .57853, solved apart from the grid. Smoothing aims at .8 · .7 + .1.
    conditions = absolute == float(probs[-1]) and abs(focal - 0.57853) < 2e-4 and abs(answer(smooth) - 0.66) < 2e-4
    conditions = conditions and float(savage.abs().max()) < 1e-12 and abs(murphy) < 1e-12
    return measured(
        max(abs(best - 0.7) for best in proper),
        0.0,
        1e-4,
        conditions=conditions,
        absolute_error_answers=absolute,
        focal_loss_answers=focal,
        smoothed_cross_entropy_answers=answer(smooth),
        Brier_by_Savage_gap=float(savage.abs().max()),
        Murphy_gap=abs(murphy),
    )


def given(probs: Tensor, labels: Tensor) -> Tensor:
    """The probability given to what happened."""
    return torch.where(labels == 1, probs, 1 - probs)


@claim(
    "X06",
    statement="With a third action, to decline at a fixed cost c, the best rule decides only where the larger probability is at least 1 − c (Chow).",
    verdict="holds",
    corrected="With a third action, to decline at a fixed cost c, the best rule decides only where the larger probability is at least 1 − c (Chow).",
    chapter="probability",
    references=("chow1970optimum", "elkan2001foundations"),
    quantity="risk of two normals with the reject option at c = 0.1",
)
def chow(seed: int) -> Measurement:
    grid, negatives, positives = normal_grid()
    probs = torch.stack([(-2 * grid).sigmoid(), (2 * grid).sigmoid()], 1)
    joint = torch.stack([negatives, positives], 1) / 2
    shares = {}
    for cost in (0.1, 0.5):
        chosen = decisions.reject_option(probs, reject_cost=cost)
        wrong = float(joint[chosen == 0, 1].sum() + joint[chosen == 1, 0].sum())
        shares[cost] = (wrong, float(joint[chosen == decisions.REJECT].sum()))
    costs = torch.tensor([[0.0, 1.0], [9.0, 0.0]], dtype=FLOAT)
    actions = decisions.bayes_decision(probs, costs)
    paid = float(sum(joint[actions == action].sum(0) @ costs[:, action] for action in range(2)))
    edge = math.log(9) / 2  # |2x| < ln(.9/.1) is declined
    error, declined = normal_cdf(-edge - 1), normal_cdf(edge - 1) - normal_cdf(-edge - 1)
    conditions = abs(shares[0.1][0] - error) < 1e-4 and abs(shares[0.1][1] - declined) < 1e-4
    conditions = conditions and abs(shares[0.5][0] - normal_cdf(-1)) < 1e-4 and shares[0.5][1] < 1e-4
    conditions = conditions and abs(paid - cost_of_cut(-edge, 1, 9)) < 1e-4
    return measured(
        shares[0.1][0] + 0.1 * shares[0.1][1],
        error + 0.1 * declined,
        1e-4,
        conditions=conditions,
        error=shares[0.1][0],
        declined=shares[0.1][1],
        risk_without_declining=shares[0.5][0],
        cost_at_one_to_nine=paid,
    )


@claim(
    "X08",
    statement="Shifting the logits by the log of the class frequencies turns the rule that is best for plain error into the one that is best for "
    "balanced error, at an exact price in plain error.",
    verdict="holds",
    corrected="Shifting the logits by the log of the class frequencies turns the rule that is best for plain error into the one that is best for "
    "balanced error, at an exact price in plain error.",
    chapter="probability",
    references=("menon2021long",),
    quantity="balanced error after the shift, where 5 % are positive",
)
def logit_adjustment(seed: int) -> Measurement:
    grid, negatives, positives = normal_grid()
    priors = torch.tensor([0.95, 0.05], dtype=FLOAT)
    logits = torch.stack([-grid, grid], 1) + priors.log()  # Bayes' rule, up to what is the same for both classes

    def errors(logits: Tensor) -> tuple[float, float]:
        positive = logits.argmax(1) == 1
        false_alarms, misses = float(negatives[positive].sum()), float(positives[~positive].sum())
        return (false_alarms + misses) / 2, float(priors[0]) * false_alarms + float(priors[1]) * misses

    plain_rule, shifted = errors(logits), errors(crossentropy.adjust_logits(logits, priors, tau=-1.0))
    cut = math.log(19) / 2
    expected = ((normal_cdf(-cut - 1) + normal_cdf(cut - 1)) / 2, 0.95 * normal_cdf(-cut - 1) + 0.05 * normal_cdf(cut - 1))
    conditions = max(abs(a - b) for a, b in zip(plain_rule, expected, strict=True)) < 1e-4 and abs(shifted[1] - normal_cdf(-1)) < 1e-4
    return measured(
        shifted[0],
        normal_cdf(-1),
        1e-4,
        conditions=conditions,
        balanced_error_before=plain_rule[0],
        plain_error_before=plain_rule[1],
        plain_error_after=shifted[1],
        shift=math.log(19),
    )


@claim(
    "X10",
    statement="With half the squared norm for Ω, a Fenchel-Young loss is zero from a finite lead on (sparsemax); generalised cross-entropy goes from "
    "cross-entropy to absolute error.",
    verdict="holds",
    corrected="With half the squared norm for Ω, a Fenchel-Young loss is zero from a finite lead on (sparsemax); generalised cross-entropy goes from "
    "cross-entropy to absolute error.",
    chapter="probability",
    references=("martins2016softmax", "blondel2020learning", "zhang2018generalized"),
    quantity="largest difference between the sparsemax loss of two classes and max(0, 1 − lead)²/4, for leads from 0 to 3",
)
def other_entropies(seed: int) -> Measurement:
    gaps = torch.tensor([0.0, 0.5, 0.99, 1.0, 3.0], dtype=FLOAT)
    losses = scoring.sparsemax_loss(torch.stack([gaps, torch.zeros_like(gaps)], 1), torch.zeros(5, dtype=torch.long), reduction="none")
    closed = (1 - gaps).clamp(min=0).square() / 4  # Martins & Astudillo 2016, section 3.2
    logits, label = torch.tensor([0.1, 0.9], dtype=FLOAT).log(), torch.tensor(0)
    values = {q: float(crossentropy.generalized_cross_entropy(logits, label, q=q)) for q in (0.0, 0.5, 0.7, 1.0)}
    conditions = all(abs(values[q] - (1 - 0.1**q) / q) < 1e-12 for q in (0.5, 0.7, 1.0)) and abs(values[0.0] - math.log(10)) < 1e-12
    return measured(
        float((losses - closed).abs().max()),
        0.0,
        1e-12,
        conditions=conditions and float(losses[3]) == float(losses[4]) == 0,
        loss_at_lead_0=float(losses[0]),
        loss_at_lead_1=float(losses[3]),
        generalized_at_q_0=values[0.0],
        generalized_at_q_half=values[0.5],
        generalized_at_q_1=values[1.0],
    )
