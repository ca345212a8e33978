"""Claims of the chapter "probability": what cross-entropy knows. C15 to C19, and the extras X01, X06, X08, X10."""

from __future__ import annotations

import math
from collections.abc import Callable

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
    verdict="conditional",
    corrected="Cross-entropy is positive at every finite margin in real arithmetic. In float32 the two-class softmax form is exactly 0 from a margin "
    "of about 17 on, and the true class gets no nudge at all; the log-sigmoid form lasts to about 100.",
    chapter="probability",
    references=("paszke2019pytorch",),
    quantity="softmax cross-entropy at margin 20 in float32",
)
def reaches_zero(seed: int) -> Measurement:
    logits = torch.tensor([20.0, 0.0], dtype=torch.float32, requires_grad=True)
    loss = crossentropy.cross_entropy(logits, torch.tensor(0))
    (gradient,) = torch.autograd.grad(loss, logits)
    binary = crossentropy.binary_cross_entropy(torch.tensor([20.0]), torch.tensor([1.0]))
    exact = crossentropy.cross_entropy(logits.detach().double(), torch.tensor(0))
    steps = torch.arange(0, 30, 0.01, dtype=torch.float32)
    losses = crossentropy.cross_entropy(torch.stack([steps, torch.zeros_like(steps)], 1), torch.zeros(len(steps), dtype=torch.long), reduction="none")
    first_zero = float(steps[losses == 0].min())
    # ln(1 + e^-m) rounds to 0 once e^-m is under half the spacing of float32 at 1, 2^-24: m > 24 ln 2 = 16.64.
    conditions = float(binary) > 0 and float(exact) > 0 and abs(first_zero - 24 * math.log(2)) < 0.05 and float(gradient[0]) == 0
    return measured(
        float(loss.detach()), 0.0, 0.0, conditions=conditions, float64_value=float(exact), binary_form_in_float32=float(binary), first_zero=first_zero
    )


@claim(
    "C17",
    statement="Minimising cross-entropy is minimising the Kullback-Leibler divergence between the predicted and the true distribution.",
    verdict="conditional",
    corrected="Cross-entropy is the entropy of the truth, which no model can change, plus KL(truth ‖ model). The direction matters: where the model "
    "cannot match the truth, KL(model ‖ truth) has another minimum.",
    chapter="probability",
    references=("cover2006elements",),
    quantity="largest |cross-entropy − entropy − KL(truth ‖ model)| over 1000 random pairs",
)
def divergence_plus_entropy(seed: int) -> Measurement:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(1000, 5, generator=generator, dtype=FLOAT).softmax(1)
    logits = torch.randn(1000, 5, generator=generator, dtype=FLOAT)
    entropy = -(truth * truth.log()).sum(1)
    gap = crossentropy.cross_entropy(logits, truth, reduction="none") - entropy - crossentropy.kl_divergence(truth, logits.softmax(1))
    # A model (a, a, 1 − 2a) that cannot be (.6, .05, .35). Setting the derivatives to zero: forward a = (.6 + .05) / 2, reverse
    # a / (1 − 2a) = √(.6 · .05) / .35.
    shares = torch.linspace(0.001, 0.499, 49_801, dtype=FLOAT)
    family = torch.stack([shares, shares, 1 - 2 * shares], 1)
    target = torch.tensor([0.6, 0.05, 0.35], dtype=FLOAT).expand_as(family)
    forward = float(shares[crossentropy.kl_divergence(target, family).argmin()])
    reverse = float(shares[crossentropy.kl_divergence(family, target).argmin()])
    root = math.sqrt(0.6 * 0.05)
    conditions = abs(forward - 0.325) < 2e-5 and abs(reverse - root / (0.35 + 2 * root)) < 2e-5
    return measured(float(gap.abs().max()), 0.0, 1e-13, conditions=conditions, forward_minimum=forward, reverse_minimum=reverse)


@claim(
    "C18",
    statement="Minimising cross-entropy, you are trying to learn the true probability.",
    verdict="conditional",
    corrected="Cross-entropy is strictly proper: its expected value is smallest at the true probability. A model gets there if it can express that "
    "probability and has enough data; a straight-line score on a U-shaped truth cannot.",
    chapter="probability",
    references=("savage1971elicitation", "gneiting2007strictly"),
    quantity="probability that a free logit learns from seven positives in ten",
)
def learns_the_probability(seed: int) -> Measurement:
    labels = torch.tensor([1.0] * 7 + [0.0] * 3, dtype=FLOAT)
    logit = minimise_scalar(lambda s: crossentropy.binary_cross_entropy(s.expand(10), labels))
    # x = −1, 0, 1 with P(1) = .9, .1, .9: by symmetry the best line is flat at the mean, 19/30, and misses the middle by 8/15.
    places, truth = torch.tensor([[-1.0], [0.0], [1.0]], dtype=FLOAT), torch.tensor([0.9, 0.1, 0.9], dtype=FLOAT)
    doubled = linear.fit_linear(
        places.repeat(2, 1), torch.tensor([1.0] * 3 + [-1.0] * 3, dtype=FLOAT), loss="logistic", weight=torch.cat([truth, 1 - truth])
    )
    worst = float((doubled.scores(places).sigmoid() - truth).abs().max())
    return measured(float(logit.sigmoid()), 0.7, 1e-9, conditions=abs(worst - 8 / 15) < 1e-6, largest_error_of_a_line_on_a_U=worst)


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
    statement="Calibrated probabilities are essential when errors have different costs and the decision threshold must be set accordingly.",
    verdict="conditional",
    corrected="With probabilities the best threshold is c_FP / (c_FP + c_FN), for any costs, also ones that change later. They are sufficient and "
    "convenient, not essential: with costs known before training, a hinge weighted by them does as well without any probability.",
    chapter="probability",
    references=("elkan2001foundations",),
    quantity="expected cost of a fitted logistic regression at the threshold 1 : 9",
)
def threshold_for_costs(seed: int) -> Measurement:
    features, signs = two_normals(4000, seed)
    threshold = decisions.cost_threshold(1, 9)
    logistic = linear.fit_linear(features, signs, loss="logistic", solver="newton")
    hinge = linear.fit_linear(features, signs, loss="hinge", l2=1 / 4000, solver="newton")
    costs = torch.where(signs > 0, 9.0, 1.0).to(FLOAT)
    weighted = linear.fit_linear(features, signs, loss="hinge", l2=1 / 4000, weight=costs, solver="newton")

    def paid(fit: linear.LinearFit, score: float) -> float:
        return cost_of_cut((score - float(fit.intercept)) / float(fit.weights[0]), 1, 9)

    logit = math.log(threshold / (1 - threshold))
    best, half = cost_of_cut(logit / 2, 1, 9), cost_of_cut(0, 1, 9)
    found = {
        "logistic_at_one_half": paid(logistic, 0),
        "hinge_score_read_as_logit": paid(hinge, logit),
        "weighted_hinge_at_zero": paid(weighted, 0),
        "best_possible": best,
        "truth_cut_at_one_half": half,
    }
    conditions = (
        found["logistic_at_one_half"] > 0.7
        and found["hinge_score_read_as_logit"] > best + 0.008
        and found["weighted_hinge_at_zero"] < best + 0.02
        and abs(half - 0.79328) < 1e-5  # Φ(−1) · (1 + 9) / 2
    )
    # The cost has slope 0 at the best cut, so a fit from 4000 points loses a few thousandths at most.
    return measured(paid(logistic, logit), best, 0.006, conditions=conditions, **found)


@claim(
    "X01",
    statement="A loss that is smallest on average at the true probability is called proper; cross-entropy is one of many.",
    verdict="holds",
    corrected="A loss that is smallest on average at the true probability is called proper; cross-entropy is one of many.",
    chapter="probability",
    references=("savage1971elicitation", "murphy1973new", "gneiting2007strictly"),
    quantity="largest |best answer − 0.7| of the log, Brier and spherical loss where the truth is 0.7",
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
    statement="The squared norm in place of the entropy makes a loss that is zero from a finite margin on (sparsemax); generalised cross-entropy "
    "goes from cross-entropy to absolute error.",
    verdict="holds",
    corrected="The squared norm in place of the entropy makes a loss that is zero from a finite margin on (sparsemax); generalised cross-entropy "
    "goes from cross-entropy to absolute error.",
    chapter="probability",
    references=("martins2016softmax", "blondel2020learning", "zhang2018generalized"),
    quantity="largest gap between the sparsemax loss and (1 − gap)²/4, cut off at gap 1",
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
        loss_at_gap_0=float(losses[0]),
        loss_at_gap_1=float(losses[3]),
        generalized_at_q_0=values[0.0],
        generalized_at_q_half=values[0.5],
        generalized_at_q_1=values[1.0],
    )
