"""Claims of the chapter "label-smoothing": how sure a model should be. C32 to C36."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lossbook import crossentropy, linear, reliability
from lossbook.book.claims.ledger import Measurement, claim, measured

FLOAT = torch.float64
STRENGTH = 2.0  # |beta| of the logistic truth in C35


def fit_logits(targets: Tensor, smoothing: float) -> Tensor:
    """The logits [K] that minimise the smoothed cross-entropy on targets [N, K], by L-BFGS from zero."""
    logits = torch.zeros(targets.shape[1], dtype=FLOAT, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = crossentropy.cross_entropy(logits.expand(len(targets), -1), targets, label_smoothing=smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return logits.detach()


def fit_smoothed(features: Tensor, labels: Tensor, smoothing: float, *, l2: float = 1e-6) -> linear.LinearFit:
    """Logistic regression on targets t = (1 − ε) y + ε/2: every example counts t times as a 1 and 1 − t times as a 0."""
    targets = (1 - smoothing) * labels + smoothing / 2
    signs = torch.cat([torch.ones_like(labels), -torch.ones_like(labels)])
    return linear.fit_linear(features.repeat(2, 1), signs, loss="logistic", weight=torch.cat([targets, 1 - targets]), l2=l2, solver="newton")


def logistic_sample(n: int, dimension: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features N(0, I), the true probability σ(β·x) with |β| = 2, and labels drawn from it."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, dimension, generator=generator, dtype=FLOAT)
    truth = (features.sum(1) * STRENGTH / math.sqrt(dimension)).sigmoid()
    return features, truth, (torch.rand(n, generator=generator, dtype=FLOAT) < truth).to(FLOAT)


def smoothed_limit(smoothing: float) -> float:
    """The calibration error of the smoothed fit for n → ∞, without any sample: one quadrature and one root.

    β·x is N(0, |β|²), and by symmetry the limit has logits a β·x. Its slope a solves E[(σ(a z) − t̃(z)) z] = 0 with t̃ = (1 − ε) σ(z) + ε/2.
    """
    from scipy.optimize import brentq

    z = torch.linspace(-16, 16, 64_001, dtype=FLOAT)
    mass = torch.exp(-0.5 * (z / STRENGTH) ** 2)
    mass = mass / mass.sum()
    targets = (1 - smoothing) * z.sigmoid() + smoothing / 2
    slope = brentq(lambda a: float((mass * ((a * z).sigmoid() - targets) * z).sum()), 0, 1)
    return float((mass * ((slope * z).sigmoid() - z.sigmoid()).abs()).sum())


@claim(
    "C32",
    statement="Cross-entropy pushes a model's probabilities towards 0 and 1.",
    verdict="holds",
    corrected="Cross-entropy pushes a model's probabilities towards 0 and 1.",
    chapter="label-smoothing",
    references=("soudry2018implicit", "szegedy2016rethinking"),
    quantity="probability of its label after 1000 steps on two points that can be told apart",
)
def pushes_to_the_ends(seed: int) -> Measurement:
    scores = torch.linspace(-30, 30, 601, dtype=FLOAT, requires_grad=True)
    (slopes,) = torch.autograd.grad(crossentropy.binary_cross_entropy(scores, torch.ones_like(scores), reduction="sum"), scores)
    weight = torch.zeros((), dtype=FLOAT)  # two separable points x = ±1, y = ±1: the loss ln(1 + e^-w) has no minimum
    path = []
    for _ in range(1000):
        weight.requires_grad_()
        loss = crossentropy.binary_cross_entropy(torch.stack([weight, -weight]), torch.tensor([1.0, 0.0], dtype=FLOAT))
        weight = (weight - torch.autograd.grad(loss, weight)[0]).detach()
        path.append(float(weight))
    grows = path[-1] > path[332] + 0.9 * math.log(3)  # gradient descent follows w ≈ ln t, so three times the steps add ln 3
    mixed = fit_logits(torch.tensor([[0.0, 1.0]] * 7 + [[1.0, 0.0]] * 3, dtype=FLOAT), 0.0).softmax(0)
    conditions = grows and bool((slopes < 0).all()) and abs(float(mixed[1]) - 0.7) < 1e-6
    return measured(
        float(weight.sigmoid()),
        _followed_flow(1000),
        1e-4,
        conditions=conditions,
        weight=path[-1],
        weakest_push_at_scores_up_to_30=float(slopes.abs().min()),
        probability_at_which_the_pushes_of_seven_ones_and_three_zeros_balance=float(mixed[1]),
    )


def _followed_flow(time: float) -> float:
    """σ(w) where gradient flow w' = 1 / (1 + e^w), from 0, has come by a time: w + e^w = time + 1."""
    from scipy.optimize import brentq

    return 1 / (1 + math.exp(-brentq(lambda w: w + math.exp(w) - time - 1, 0, 20)))


@claim(
    "C33",
    statement="Instead of a hard target of 1 we ask for a soft one such as 0.9.",
    verdict="holds",
    corrected="Instead of a hard target of 1 we ask for a soft one such as 0.9.",
    chapter="label-smoothing",
    references=("szegedy2016rethinking", "lukasik2020does"),
    quantity="best logit gap for two classes and ε = 0.2",
)
def soft_target(seed: int) -> Measurement:
    gaps = {}
    for classes, smoothing in ((2, 0.2), (10, 0.1), (1000, 0.1)):
        logits = fit_logits(torch.eye(classes, dtype=FLOAT)[:1], smoothing)
        gaps[classes] = (float(logits[0] - logits[1:].mean()), math.log((1 - smoothing + smoothing / classes) / (smoothing / classes)))
    smallest = float(crossentropy.binary_cross_entropy(torch.tensor(math.log(9), dtype=FLOAT), torch.tensor(1.0, dtype=FLOAT), label_smoothing=0.2))
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    generator = torch.Generator().manual_seed(seed)
    logits, labels = torch.randn(100, 4, generator=generator, dtype=FLOAT), torch.randint(4, (100,), generator=generator)
    # With probability ε the label is redrawn among all four: the mean loss over the draw is the smoothed loss.
    redrawn = torch.stack([crossentropy.cross_entropy(logits, torch.full_like(labels, k), reduction="none") for k in range(4)]).mean(0)
    noisy = 0.8 * crossentropy.cross_entropy(logits, labels, reduction="none") + 0.2 * redrawn
    flips = float((crossentropy.cross_entropy(logits, labels, label_smoothing=0.2, reduction="none") - noisy).abs().max())
    conditions = all(abs(found - closed) < 1e-4 for found, closed in gaps.values()) and abs(smallest - entropy) < 1e-9 and flips < 1e-12
    return measured(
        gaps[2][0],
        math.log(9),
        1e-5,
        conditions=conditions,
        gap_for_ten_classes=gaps[10][0],
        gap_for_a_thousand_classes=gaps[1000][0],
        smallest_loss=smallest,
        gap_to_the_mean_loss_under_random_labels=flips,
    )


@claim(
    "C34",
    statement="A smoothed model aims not at the true probability p but at a slightly shrunken version of it.",
    verdict="holds",
    corrected="A smoothed model aims not at the true probability p but at a slightly shrunken version of it.",
    chapter="label-smoothing",
    references=("szegedy2016rethinking", "muller2019label"),
    quantity="probability fitted to the first of three classes where the truth is (0.6, 0.3, 0.1) and ε = 0.3",
)
def shrunken_target(seed: int) -> Measurement:
    truth = torch.tensor([0.6, 0.3, 0.1], dtype=FLOAT)
    fitted = fit_logits(truth.unsqueeze(0), 0.3).softmax(0)
    closed = torch.tensor([0.52, 0.31, 0.17], dtype=FLOAT)  # .7 p + .1
    recovered = (fitted - 0.1) / 0.7
    conditions = float((fitted - closed).abs().max()) < 1e-6 and float((recovered - truth).abs().max()) < 1e-6
    return measured(
        float(fitted[0]),
        0.52,
        1e-6,
        conditions=conditions,
        second_class=float(fitted[1]),
        third_class=float(fitted[2]),
        recovered=float(recovered[0]),
    )


@claim(
    "C35",
    statement="Smoothing costs a little bias and often brings a significant reduction in variance; the model generalises better and is often better "
    "calibrated.",
    verdict="conditional",
    corrected="Smoothing lowers the variance of a fit that is too sure, such as a line with next to no ridge on 40 examples, and can calibrate it "
    "better; the error rate need not follow. A fit that is calibrated without it, such as the same line on 20 000, it makes too timid for good.",
    chapter="label-smoothing",
    references=("muller2019label", "guo2017calibration"),
    quantity="calibration error of the smoothed fit (ε = 0.2) to 20 000 examples",
)
def variance_and_calibration(seed: int) -> Measurement:
    test, truth, drawn = logistic_sample(100_000, 10, 10_000 + seed)
    labels = drawn.long()

    def repeated(n: int, smoothing: float, repeats: int) -> tuple[float, float, float, float]:
        probs, errors = [], []
        for repeat in range(repeats):
            features, _, sample = logistic_sample(n, 10, 1000 * seed + repeat)
            probs.append(fit_smoothed(features, sample, smoothing).scores(test).sigmoid())
            errors.append(float(((probs[-1] > 0.5) != (labels == 1)).double().mean()))
        stack = torch.stack(probs)
        calibration = sum(float(reliability.expected_calibration_error(each, labels)) for each in probs) / repeats
        variance = float(stack.var(0, correction=1).mean()) if repeats > 1 else 0.0
        bias = float((stack.mean(0) - truth).square().mean()) - variance / repeats  # the mean of a few fits is off by its own noise
        return calibration, bias, variance, sum(errors) / repeats

    hard, soft = repeated(40, 0.0, 24), repeated(40, 0.2, 24)
    many_hard, many_soft = repeated(20_000, 0.0, 1), repeated(20_000, 0.2, 1)
    conditions = hard[0] > 1.8 * soft[0] and many_soft[0] > 5 * many_hard[0]
    conditions = conditions and hard[2] > 1.6 * soft[2] and hard[1] < soft[1] and abs(hard[3] - soft[3]) < 0.03
    return measured(
        many_soft[0],
        smoothed_limit(0.2),
        0.01,
        conditions=conditions,
        calibration_error_without_20000=many_hard[0],
        calibration_error_without_40=hard[0],
        calibration_error_with_40=soft[0],
        variance_without_40=hard[2],
        variance_with_40=soft[2],
        squared_bias_without_40=hard[1],
        squared_bias_with_40=soft[1],
        error_rate_without_40=hard[3],
        error_rate_with_40=soft[3],
    )


@claim(
    "C36",
    statement="With smoothed labels cross-entropy no longer explodes to infinity when the true class gets probability zero.",
    verdict="false",
    corrected="Smoothing moves the optimum to a finite logit gap, ln((1 − ε + ε/K) / (ε/K)). The loss is still infinite where the true class gets "
    "probability 0, with slope 1 − ε + ε/K instead of 1, and becomes infinite where any other class does. To bound it, mix the prediction, not the "
    "label.",
    chapter="label-smoothing",
    references=("szegedy2016rethinking", "muller2019label"),
    quantity="smoothed loss (ε = 0.2) at margin +1000, where the hard loss is 0",
)
def second_explosion(seed: int) -> Measurement:
    margins = torch.tensor([-1000.0, 1000.0], dtype=FLOAT, requires_grad=True)
    ones = torch.ones(2, dtype=FLOAT)
    hard = crossentropy.binary_cross_entropy(margins, ones, reduction="none")
    soft = crossentropy.binary_cross_entropy(margins, ones, label_smoothing=0.2, reduction="none")
    (slopes,) = torch.autograd.grad(soft.sum(), margins)
    hard, soft = hard.detach(), soft.detach()
    ruled_out = torch.tensor([[-math.inf, 0.0], [0.0, -math.inf]], dtype=FLOAT)  # the true class 0, then the other
    labels = torch.tensor([0, 0])
    infinite = crossentropy.cross_entropy(ruled_out, labels, label_smoothing=0.2, reduction="none")
    finite = crossentropy.cross_entropy(ruled_out, labels, reduction="none")
    mixed = -(0.8 * ruled_out.softmax(1) + 0.1).log()[:, 0]
    # Far out ln(1 + e^-m) is -m or 0, so the smoothed loss is .9 · 1000 on the left and .1 · 1000 on the right.
    conditions = bool(infinite.isinf().all()) and finite.tolist() == [math.inf, 0.0] and abs(float(mixed.max()) - math.log(10)) < 1e-12
    conditions = conditions and abs(float(soft[0]) - 900) < 1e-6 and float(hard[1]) == 0 and abs(float(slopes[0]) + 0.9) < 1e-9
    return measured(
        float(soft[1]),
        100.0,
        1e-6,
        conditions=conditions,
        hard_loss_at_minus_1000=float(hard[0]),
        smoothed_loss_at_minus_1000=float(soft[0]),
        hard_loss_at_plus_1000=float(hard[1]),
        slope_far_left=float(slopes[0]),
        slope_far_right=float(slopes[1]),
        largest_loss_with_a_mixed_prediction=float(mixed.max()),
    )
