"""Claims of the chapter "boosting": AdaBoost's weights are the slope of its loss. C41 to C45, and X09 on where the logistic loss ends up."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook import linear, margins
from lossbook.book import data
from lossbook.book.claims.ledger import Measurement, claim, measured
from lossbook.boosting import AdaBoost, coordinate_descent

CHAPTER = "boosting"
FLOAT = torch.float64


class Examples(NamedTuple):
    """Features [N, D], signs [N] and which of them were flipped [N]."""

    features: Tensor
    signs: Tensor
    flipped: Tensor


def tumours(seed: int) -> Examples:
    """250 of the tumours, drawn at random, with the first six measurements."""
    features, signs, _ = data.breast_cancer()
    chosen = torch.randperm(len(signs), generator=torch.Generator().manual_seed(seed))[:250]
    return Examples(features[chosen, :6], signs[chosen], torch.zeros(250, dtype=torch.bool))


def diagonal(seed: int, count: int, noise: float) -> Examples:
    """Points in the plane, +1 above the falling diagonal, a share `noise` of the signs flipped: no stump is good, and many together are."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 2, generator=generator, dtype=FLOAT)
    flipped = torch.rand(count, generator=generator) < noise
    return Examples(features, torch.where((features.sum(1) > 0) ^ flipped, 1, -1), flipped)


def weights_by_round(model: AdaBoost, examples: Examples) -> Tensor:
    """e^(−y F_t(x)) normalised over the examples, [T, N]: from the scores alone, without the algorithm's own weights."""
    return (-examples.signs * model.staged_scores(examples.features)).softmax(1)


@claim(
    "C41",
    statement="AdaBoost focuses on the examples that the previous learners got wrong.",
    verdict="holds",
    corrected="AdaBoost focuses on the examples that the previous learners got wrong.",
    chapter=CHAPTER,
    references=("freund1997decision", "schapire1999improved"),
    quantity="share of the weight, after a round, on the examples that its learner got wrong, mean of 50 rounds",
)
def last_learner_is_a_coin(seed: int) -> Measurement:
    examples = tumours(seed)
    model = AdaBoost(50).fit(examples.features, examples.signs)
    weights = weights_by_round(model, examples)
    wrong = torch.stack([stump(examples.features) != examples.signs for stump in model.stumps])
    errors = (weights * wrong).sum(1)
    # the weights are those of the whole sum F: an example that the last learner got right can still be heavy
    heavy = weights[-1] > 1 / len(examples.signs)
    conditions = float((weights[-1] - model.weights).abs().max()) < 1e-12 and bool((heavy & ~wrong[-1]).any())
    mended = [float((~later[before]).double().mean()) for before, later in pairwise(wrong)]
    alike = [float((~wrong[0][before]).double().mean()) for before in wrong[:-1]]  # the first learner, to whom all were equal
    conditions = conditions and float((errors - 0.5).abs().max()) < 1e-12 and sum(mended) > sum(alike)
    return measured(
        float(errors.mean()),
        0.5,  # wrong ones weigh w e^α / Z, and e e^α = √(e (1 − e)) is half of Z
        1e-12,
        conditions=conditions,
        rounds=len(model.stumps),
        share_of_the_weight_before_the_round=float(model.errors.mean()),
        share_of_them_that_the_next_learner_gets_right=sum(mended) / len(mended),
        share_of_them_that_the_first_learner_got_right=sum(alike) / len(alike),
        heavy_examples_that_the_last_learner_got_right=float((heavy & ~wrong[-1]).sum()),
    )


@claim(
    "C42",
    statement="AdaBoost is, in essence, gradient descent on the exponential loss.",
    verdict="holds",  # "in essence": among functions, in the directions that are weak learners, and each step to the bottom
    corrected="AdaBoost is, in essence, gradient descent on the exponential loss.",
    chapter=CHAPTER,
    references=("breiman1999prediction", "friedman2000additive", "friedman2001greedy", "mason2000boosting", "schapire1999improved"),
    quantity="largest difference between AdaBoost's α and the step of gradient descent among functions with an exact line search, over 50 rounds",
)
def gradient_descent_on_the_exponential_loss(seed: int) -> Measurement:
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.tree import DecisionTreeClassifier

    examples = tumours(seed)
    features, signs = examples.features.float(), examples.signs  # float32, as scikit-learn's trees read them
    model, descent = AdaBoost(50).fit(features, signs), coordinate_descent(features, signs, rounds=50)
    fixed = coordinate_descent(features, signs, rounds=50, step=0.1)
    factors = 2 * (model.errors * (1 - model.errors)).sqrt()
    # no stump lies more nearly along minus the gradient of the mean loss in the n scores, here by autograd, than the one that AdaBoost takes
    scores = torch.cat([torch.zeros(1, len(signs), dtype=FLOAT), model.staged_scores(features)[:-1]]).requires_grad_()
    (slopes,) = torch.autograd.grad(margins.exponential(signs * scores).mean(dim=1).sum(), scores)
    along = torch.stack([-slope @ stump(features).to(FLOAT) for slope, stump in zip(slopes, model.stumps, strict=True)])
    rules = torch.cat([torch.where(column[None] > column.unique()[:-1, None], 1.0, -1.0).to(FLOAT) for column in features.T])
    nearest = float((along / (rules @ slopes.T).abs().amax(dim=0) - 1).abs().max())
    falls = float((descent.losses[1:] / descent.losses[:-1] - factors).abs().max())
    peer = AdaBoostClassifier(DecisionTreeClassifier(max_depth=1), n_estimators=10, random_state=0).fit(features.numpy(), signs.numpy())
    twice = torch.from_numpy(peer.estimator_weights_) / AdaBoost(10, "gini").fit(features, signs).alphas
    same = sum(one == other for one, other in zip(model.stumps, descent.stumps, strict=True))
    mistakes = float((signs * model.decision_function(features) <= 0).double().mean())
    conditions = same == 50 and nearest < 1e-9 and falls < 1e-12 and float((twice - 2).abs().max()) < 1e-9
    conditions = conditions and mistakes <= float(factors.prod()) and float(fixed.losses[-1]) > 1.2 * float(descent.losses[-1])
    return measured(
        float((model.alphas - descent.steps).abs().max()),
        0.0,
        1e-12,
        conditions=conditions,
        same_learners_of_50=same,
        largest_gap_to_the_direction_nearest_to_minus_the_gradient=nearest,
        first_alpha=float(model.alphas[0]),
        loss_after_50_rounds=float(descent.losses[-1]),
        loss_after_50_steps_of_a_tenth=float(fixed.losses[-1]),
        same_learners_with_steps_of_a_tenth=sum(one == other for one, other in zip(model.stumps, fixed.stumps, strict=True)),
        weight_in_scikit_learn_over_ours=float(twice.mean()),
    )


@claim(
    "C43",
    statement="The loss of a misclassified point grows exponentially, which makes the algorithm pay extraordinary attention to its mistakes.",
    verdict="holds",
    corrected="The loss of a misclassified point grows exponentially, which makes the algorithm pay extraordinary attention to its mistakes.",
    chapter=CHAPTER,
    references=("dietterich2000experimental", "freund1997decision"),
    quantity="slope of the logarithm of AdaBoost's own weights in the margin, after 50 rounds, a fifth of the labels flipped",
)
def extraordinary_attention(seed: int) -> Measurement:
    at = torch.tensor(-5.0, dtype=FLOAT)
    examples = diagonal(seed, 400, 0.2)
    model = AdaBoost(50).fit(examples.features, examples.signs)
    reached, logs = examples.signs * model.decision_function(examples.features), model.weights.log()
    centred = reached - reached.mean()
    wrong = reached <= 0
    number, weight = float(wrong.double().mean()), float(model.weights[wrong].sum())
    bounded = coordinate_descent(examples.features, examples.signs, rounds=50, loss=margins.logistic)
    pulls = -margins.logistic.derivative(bounded.margins)
    flips, share = float(examples.flipped.double().mean()), float(model.weights[examples.flipped].sum())
    logistic_share = float(pulls[examples.flipped].sum() / pulls.sum())
    heaviest, under_logistic = float(model.weights.max() / model.weights.mean()), float(pulls.max() / pulls.mean())
    return measured(
        float(centred @ logs / (centred @ centred)),
        -1.0,  # the weights were multiplied round by round; that they come to e^(−margin) is the claim
        1e-9,
        # the first two by five of their standard deviations over seeds; what no bounded loss does is the third, attention to a single mistake
        conditions=weight > 1.4 * number and share > 1.2 * flips and heaviest > under_logistic,
        share_of_mistakes_in_training=number,
        their_share_of_the_weight=weight,
        weight_at_margin_minus_5=float(-margins.exponential.derivative(at)),
        weight_at_the_same_margin_under_the_logistic_loss=float(-margins.logistic.derivative(at)),
        share_of_flipped_labels=flips,
        share_of_the_weight_on_flipped_labels=share,
        the_same_under_the_logistic_loss=logistic_share,
        weight_of_the_heaviest_over_the_mean=heaviest,
        that_under_the_logistic_loss=under_logistic,
    )


@claim(
    "C44",
    statement="The loss is not just measuring error: it tells the algorithm which errors to care about.",
    verdict="holds",
    corrected="The loss is not just measuring error: it tells the algorithm which errors to care about.",
    chapter=CHAPTER,
    references=("friedman2000additive", "bartlett2006convexity"),
    quantity="how many times as much as a mistake at margin 0 one at margin −2 counts under the exponential loss",
)
def what_to_care_about(seed: int) -> Measurement:
    at = torch.tensor([-2.0, 0.0], dtype=FLOAT, requires_grad=True)
    # φ'(−2) / φ'(0) by autograd, against what it is by hand
    expected = {"hinge": 1.0, "logistic": 2 / (1 + math.exp(-2)), "exponential": math.exp(2), "squared": 3.0}
    found, worst, right = {}, {}, {}
    examples = diagonal(seed, 300, 0.2)
    for name in expected:
        (slope,) = torch.autograd.grad(margins.LOSSES[name](at).sum(), at)
        found[name] = float(slope[0] / slope[1])
        # and in the same descent: who has the pull after 20 rounds, the thirty with the smallest margins, or those beyond 1?
        reached = coordinate_descent(examples.features, examples.signs, rounds=20, loss=name).margins
        pulls = -margins.LOSSES[name].derivative(reached)
        worst[name] = float(pulls[reached.argsort()[:30]].sum() / pulls.abs().sum())
        right[name] = float(pulls[reached > 1].sum() / pulls.abs().sum())
    conditions = all(abs(found[name] - times) < 1e-12 for name, times in expected.items())
    conditions = conditions and worst["exponential"] > worst["hinge"] + 0.1 and right["hinge"] == 0 and right["squared"] < 0 < right["logistic"]
    return measured(
        found["exponential"],
        math.exp(2),
        1e-12,
        conditions=conditions,
        **{name: times for name, times in found.items() if name != "exponential"},
        share_of_the_pull_on_the_worst_tenth_exponential=worst["exponential"],
        share_of_the_pull_on_the_worst_tenth_logistic=worst["logistic"],
        share_of_the_pull_on_the_worst_tenth_hinge=worst["hinge"],
        share_of_the_pull_beyond_margin_1_logistic=right["logistic"],
        share_of_the_pull_beyond_margin_1_squared=right["squared"],
    )


# y x of six examples that a line through 0 separates. The nearest point to 0 of their convex hull is (3/2, 0), between the first two, so the
# line with the largest margin has w = (2/3, 0).
PULLS = torch.tensor([[1.5, 2.0], [1.5, -0.5], [3.0, 1.0], [4.0, -2.0], [2.5, 3.0], [5.0, 0.5]], dtype=FLOAT)
WIDEST = torch.tensor([2 / 3, 0.0], dtype=FLOAT)


def logistic_flow(times: list[float]) -> Tensor:
    """The weights [len(times), 2] of gradient flow w' = −∇ Σ ln(1 + e^(−w·z)) from w = 0, integrated in ln(1 + t)."""
    from scipy.integrate import solve_ivp

    def velocity(log_time: float, weights: object) -> object:
        slopes = margins.logistic.derivative(PULLS @ torch.as_tensor(weights, dtype=FLOAT))
        return (-math.exp(log_time) * (slopes @ PULLS)).numpy()

    logs = [math.log1p(time) for time in times]
    found = solve_ivp(velocity, (0.0, logs[-1]), [0.0, 0.0], method="Radau", t_eval=logs, rtol=1e-9, atol=1e-10)
    return torch.from_numpy(found.y.T.copy())


@claim(
    "C45",
    statement="The logistic loss never goes to zero: it always encourages the model to be more certain.",
    verdict="conditional",
    corrected="Each example always asks for more, but where no line separates the classes, not even with some examples on it, the requests balance "
    "at finite weights. On data that a line separates |w| grows for ever, like |w*| ln t, where w* has the largest margin.",
    chapter=CHAPTER,
    references=("soudry2018implicit",),
    quantity="growth of |w| in each tenfold of the time, on separable data",
)
def always_more_certain(seed: int) -> Measurement:
    norms = logistic_flow([1e4, 1e5, 1e6]).norm(dim=1)
    examples = diagonal(seed, 300, 0.2)
    fit = linear.fit_linear(examples.features, examples.signs, loss="logistic", solver="newton")
    pulls = -margins.logistic.derivative(examples.signs * fit.scores(examples.features)) * examples.signs
    balance = float((pulls @ examples.features).abs().max() / len(pulls))
    return measured(
        float(norms[2] - norms[1]),
        float(WIDEST.norm()) * math.log(10),
        0.01,
        conditions=balance < 1e-6 and bool((pulls != 0).all()) and float(fit.weights.norm()) < 10,
        weights_after_1e4=float(norms[0]),
        weights_after_1e6=float(norms[2]),
        overlapping_classes_sum_of_all_requests=balance,
        overlapping_classes_weights=float(fit.weights.norm()),
    )


@claim(
    "X09",
    statement="On separable data, gradient descent on the logistic loss picks the line with the largest margin, without being asked to.",
    verdict="holds",
    corrected="On separable data, gradient descent on the logistic loss picks the line with the largest margin, without being asked to.",
    chapter=CHAPTER,
    references=("soudry2018implicit",),
    quantity="angle in degrees between the weights after time 1e6 and the line with the largest margin",
)
def implicit_largest_margin(seed: int) -> Measurement:
    weights = logistic_flow([1e2, 1e4, 1e6])
    angles = torch.rad2deg(torch.atan2(weights[:, 1].abs(), weights[:, 0]))
    # w(t) = w* ln t + r, where each of the two nearest examples has e^(−r·z) = its dual weight: 4/45 and 16/45, which give w* = (2/3, 0)
    r = torch.linalg.solve(PULLS[:2], -torch.tensor([4 / 45, 16 / 45], dtype=FLOAT).log())
    predicted = WIDEST * math.log(1e6) + r
    smallest = (PULLS @ weights[-1] / weights[-1].norm()).min()
    return measured(
        float(angles[-1]),
        math.degrees(math.atan2(float(predicted[1]), float(predicted[0]))),
        0.01,
        conditions=bool((angles[1:] < angles[:-1]).all()) and float(smallest) > 0.97 * 1.5,
        angle_after_1e2=float(angles[0]),
        angle_after_1e4=float(angles[1]),
        smallest_margin_over_the_largest_possible=float(smallest) / 1.5,
    )
