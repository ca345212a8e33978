"""boosting: against a search of every stump, the theorems of AdaBoost, scikit-learn, and a second code that knows only the loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lossbook.boosting import AdaBoost, Stump, coordinate_descent
from lossbook.margins import exponential, logistic, squared


def noisy_ring(generator: torch.Generator, cases: int = 300, columns: int = 4) -> tuple[Tensor, Tensor]:
    """Inside or outside of a noisy circle: no stump is good, many together are."""
    features = torch.randn(cases, columns, generator=generator, dtype=torch.float64)
    radius = features[:, :2].square().sum(1) + 0.5 * torch.randn(cases, generator=generator, dtype=torch.float64)
    return features, torch.where(radius > 1.4, 1, -1)


def every_stump(features: Tensor) -> list[Stump]:
    """All thresholds of all columns in both directions, written out."""
    rules = []
    for feature in range(features.shape[1]):
        values = sorted(set(features[:, feature].double().tolist()))
        for low, high in itertools.pairwise(values):
            rules += [Stump(feature, (low + high) / 2, -1, 1), Stump(feature, (low + high) / 2, 1, -1)]
    return rules


def test_a_stump_is_its_definition(device: torch.device) -> None:
    features = torch.tensor([[1.0, 0.0], [2.0, 0.5], [3.0, 0.50001]], device=device)
    assert Stump(1, 0.5, -1, 1)(features).tolist() == [-1, -1, 1]
    assert Stump(0, 1.5, 1, -1)(features).tolist() == [1, -1, -1]


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_each_round_takes_a_stump_with_the_smallest_weighted_error(generator: torch.Generator, device: torch.device, ties: bool) -> None:
    features, signs = noisy_ring(generator, 60)
    if ties:
        features = (2 * features).round()
    rules = every_stump(features)
    w = torch.full((60,), 1 / 60, dtype=torch.float64)
    model = AdaBoost(12).fit(features.to(device), signs.to(device))
    assert len(model.stumps) == 12
    for stump, alpha, error in zip(model.stumps, model.alphas.tolist(), model.errors.tolist(), strict=True):
        least = min(float(w[rule(features) != signs].sum()) for rule in rules)
        assert stump in rules
        assert float(w[stump(features) != signs].sum()) == pytest.approx(least, abs=1e-12)
        assert error == pytest.approx(least, abs=1e-12)
        assert alpha == pytest.approx(0.5 * math.log((1 - least) / least), abs=1e-11)
        w = w * torch.exp(-alpha * (signs * stump(features)))
        w = w / w.sum()
    torch.testing.assert_close(model.weights.cpu(), w, rtol=1e-10, atol=1e-15)


def test_each_round_of_gini_takes_the_purest_split(generator: torch.Generator, device: torch.device) -> None:
    features, signs = noisy_ring(generator, 60)
    w = torch.full((60,), 1 / 60, dtype=torch.float64)

    def impurity(threshold: float, feature: int) -> float:
        total = 0.0
        for half in (features[:, feature] <= threshold, features[:, feature] > threshold):
            positive, weight = float(w[half & (signs > 0)].sum()), float(w[half].sum())
            total += 2 * positive * (weight - positive) / weight
        return total

    places = {(rule.threshold, rule.feature) for rule in every_stump(features)}
    model = AdaBoost(6, criterion="gini").fit(features.to(device), signs.to(device))
    for stump, alpha in zip(model.stumps, model.alphas.tolist(), strict=True):
        assert impurity(stump.threshold, stump.feature) == pytest.approx(min(impurity(*place) for place in places), abs=1e-12)
        for sign, half in ((stump.left, features[:, stump.feature] <= stump.threshold), (stump.right, features[:, stump.feature] > stump.threshold)):
            assert sign * float((w * signs)[half].sum()) > 0
        w = w * torch.exp(-alpha * (signs * stump(features)))
        w = w / w.sum()


@pytest.mark.parametrize("criterion", ["error", "gini"])
def test_the_theorems_of_adaboost(generator: torch.Generator, criterion: str) -> None:
    features, signs = noisy_ring(generator)
    model = AdaBoost(60, criterion).fit(features, signs)
    margins = signs * model.decision_function(features)
    falls = 2 * (model.errors * (1 - model.errors)).sqrt()
    # the exponential loss is the product of the rounds' normalisers 2 √(e (1 − e)), and bounds the training error
    assert float(exponential(margins).mean()) == pytest.approx(float(falls.prod()), rel=1e-11)
    assert float((margins <= 0).double().mean()) <= float(falls.prod())
    # the weights are the loss's slope at the margins: e^(−m), to sum 1
    torch.testing.assert_close(model.weights, (-margins).softmax(0), rtol=1e-10, atol=1e-14)
    # under the new weights the last rule is a coin
    last = model.stumps[-1](features)
    assert float(model.weights[last != signs].sum()) == pytest.approx(0.5, abs=1e-12)
    torch.testing.assert_close(model.staged_scores(features)[-1], model.decision_function(features), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("data", ["ring", "integers"])
def test_two_codes_one_algorithm(seed: int, data: str) -> None:
    features, signs = noisy_ring(torch.Generator().manual_seed(seed), 150)
    if data == "integers":
        features = (3 * features).round()
    model = AdaBoost(40).fit(features, signs)
    descent = coordinate_descent(features, signs, rounds=40)
    assert descent.stumps == model.stumps
    assert float((descent.steps - model.alphas).abs().max()) < 1e-12
    torch.testing.assert_close(descent.margins, signs * model.decision_function(features), rtol=0, atol=1e-11)
    falls = 2 * (model.errors * (1 - model.errors)).sqrt()
    torch.testing.assert_close(descent.losses[1:] / descent.losses[:-1], falls, rtol=1e-11, atol=0)


@pytest.mark.parametrize("loss", [exponential, logistic, squared], ids=lambda loss: loss.name)
def test_descent_is_steepest_and_each_line_search_ends_at_the_bottom(generator: torch.Generator, loss: object) -> None:
    features, signs = noisy_ring(generator, 80)
    descent = coordinate_descent(features, signs, rounds=8, loss=loss)
    assert bool((descent.losses[1:] < descent.losses[:-1]).all())
    coefficients = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    votes = torch.stack([signs * stump(features) for stump in descent.stumps])
    for t, step in enumerate(descent.steps.tolist()):
        before = (loss(coefficients.detach() @ votes).mean()).item()
        assert before == pytest.approx(float(descent.losses[t]), rel=1e-12)
        slopes = [abs(float((loss.derivative(coefficients.detach() @ votes) * signs * rule(features)).mean())) for rule in every_stump(features)]
        (slope,) = torch.autograd.grad(loss(coefficients @ votes).mean(), coefficients)
        assert abs(float(slope[t])) == pytest.approx(max(slopes), abs=1e-12)
        with torch.no_grad():
            coefficients[t] = step
        (slope,) = torch.autograd.grad(loss(coefficients @ votes).mean(), coefficients)
        assert abs(float(slope[t])) < 1e-12


def test_a_fixed_step_is_another_algorithm(generator: torch.Generator) -> None:
    features, signs = noisy_ring(generator, 150)
    exact, fixed = coordinate_descent(features, signs, rounds=30), coordinate_descent(features, signs, rounds=30, step=0.02)
    assert fixed.steps.tolist() == [0.02] * 30
    assert float(exact.losses[-1]) < float(fixed.losses[-1])
    assert exact.stumps != fixed.stumps


@pytest.mark.parametrize("seed", range(4))
def test_gini_gives_scikit_learns_stumps_and_error_curve(seed: int) -> None:
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.tree import DecisionTreeClassifier

    # scikit-learn's trees see float32, so that is what both get
    features, signs = noisy_ring(torch.Generator().manual_seed(seed), 400, 6)
    features = features.float()
    model = AdaBoost(40, criterion="gini").fit(features, signs)
    peer = AdaBoostClassifier(DecisionTreeClassifier(max_depth=1), n_estimators=40, random_state=0).fit(features.numpy(), signs.numpy())
    assert [stump.feature for stump in model.stumps] == [tree.tree_.feature[0] for tree in peer.estimators_]
    assert [stump.threshold for stump in model.stumps] == [tree.tree_.threshold[0] for tree in peer.estimators_]
    assert np.allclose(model.errors, peer.estimator_errors_, rtol=0, atol=1e-13)
    assert np.allclose(2 * model.alphas, peer.estimator_weights_, rtol=0, atol=1e-12)
    curve = [float((torch.from_numpy(signs_) != signs).double().mean()) for signs_ in peer.staged_predict(features.numpy())]
    ours = [float((scores.sign() != signs).double().mean()) for scores in model.staged_scores(features)]
    assert ours == curve
    assert min(curve) < curve[0]


@pytest.mark.parametrize("criterion", ["error", "gini"])
def test_real_data_against_scikit_learn_and_in_blocks(criterion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from lossbook import _stumps, data

    tumours = data.breast_cancer()
    features = tumours.features.float()
    whole = AdaBoost(25, criterion).fit(features, tumours.signs)
    monkeypatch.setattr(_stumps, "BLOCK", 4 * len(features))  # 30 columns, 4 at a time
    parts = AdaBoost(25, criterion).fit(features, tumours.signs)
    assert parts.stumps == whole.stumps
    torch.testing.assert_close(parts.alphas, whole.alphas)
    assert float((whole.decision_function(features).sign() != tumours.signs).double().mean()) < 0.02


def test_starting_weights_and_units_of_features(generator: torch.Generator) -> None:
    features, signs = noisy_ring(generator, 100)
    weight = torch.ones(100, dtype=torch.float64)
    weight[:30] = 2
    doubled = AdaBoost(10).fit(torch.cat((features, features[:30])), torch.cat((signs, signs[:30])))
    weighted = AdaBoost(10).fit(features, signs, weight=weight)
    assert weighted.stumps == doubled.stumps
    torch.testing.assert_close(weighted.alphas, doubled.alphas, rtol=1e-11, atol=0)
    # a stump reads only the order of a column's values
    moved = AdaBoost(10).fit(features.exp(), signs)
    torch.testing.assert_close(moved.alphas, AdaBoost(10).fit(features, signs).alphas, rtol=1e-11, atol=0)


@pytest.mark.parametrize("criterion", ["error", "gini"])
def test_it_stops_where_nothing_is_left_to_learn(criterion: str) -> None:
    line = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    perfect = AdaBoost(10, criterion).fit(line, torch.tensor([-1, -1, 1, 1]))
    assert (perfect.stumps, perfect.alphas.tolist(), perfect.errors.tolist()) == ([Stump(0, 1.5, -1, 1)], [0.5], [0.0])
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    exclusive_or = AdaBoost(10, criterion).fit(corners, torch.tensor([-1, 1, 1, -1]))
    assert exclusive_or.stumps == []
    assert exclusive_or.decision_function(corners).tolist() == [0, 0, 0, 0]
    assert exclusive_or.staged_scores(corners).shape == (0, 4)
    constant = AdaBoost(10, criterion).fit(torch.ones(3, 2), torch.tensor([-1, 1, 1]))
    assert constant.stumps == []
    assert coordinate_descent(torch.ones(3, 2), torch.tensor([-1, 1, 1]), rounds=3).stumps == []
    assert coordinate_descent(line, torch.tensor([-1, -1, 1, 1]), rounds=3).stumps == []  # the loss falls for ever along the first


@pytest.mark.parametrize("criterion", ["error", "gini"])
def test_a_thousand_rounds_on_separable_data_stay_finite(generator: torch.Generator, criterion: str) -> None:
    features = torch.randn(40, 3, generator=generator)
    signs = torch.where(features[:, 0] + features[:, 1] > 0, 1, -1)
    model = AdaBoost(1000, criterion).fit(features, signs)
    assert model.alphas.isfinite().all()
    assert model.weights.isfinite().all()
    assert bool((signs * model.decision_function(features) > 0).all())


def test_neighbours_without_a_float_between_them() -> None:
    low = torch.tensor(1.0, dtype=torch.float64)
    high = torch.nextafter(low, torch.tensor(2.0, dtype=torch.float64))
    model = AdaBoost(1).fit(torch.stack((low, high))[:, None], torch.tensor([-1, 1]))
    assert model.stumps == [Stump(0, 1.0, -1, 1)]
    assert model.errors.tolist() == [0]


X, Y = torch.zeros(2, 1), torch.tensor([-1, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: AdaBoost(0), ValueError, "`rounds` should be at least 1; found 0."),
        (lambda: AdaBoost(2.0), TypeError, "`rounds` should be an integer; found float."),
        (lambda: AdaBoost(2, criterion="entropy"), ValueError, "`criterion` should be one of 'error', 'gini'; found 'entropy'."),
        (lambda: AdaBoost(2).fit(X[:, 0], Y), ValueError, "`features` should have shape [N, D] with D >= 0; found (2,)."),
        (lambda: AdaBoost(2).fit(X.long(), Y), TypeError, "`features` should have a floating-point dtype; found torch.int64."),
        (lambda: AdaBoost(2).fit(X, Y[:1]), ValueError, "`signs` should have shape (2,) to match `features`; found (1,)."),
        (lambda: AdaBoost(2).fit(X, Y[:, None]), ValueError, "`signs` should have shape (2,) to match `features`; found (2, 1)."),
        (lambda: AdaBoost(2).fit(X, torch.tensor([0, 1])), ValueError, "`signs` should hold only -1 and +1; found [0, 1]."),
        (lambda: AdaBoost(2).fit(X[:0], Y[:0]), ValueError, "`features` should hold at least one example; found (0, 1)."),
        (lambda: AdaBoost(2).fit(X / 0, Y), ValueError, "`features` should be finite; found NaN."),
        (lambda: AdaBoost(2).fit(X, Y, weight=torch.ones(3)), ValueError, "`weight` should have shape (2,) to match `signs`; found (3,)."),
        (
            lambda: AdaBoost(2).fit(X, Y, weight=torch.zeros(2)),
            ValueError,
            "`weight` should be positive and finite; found values from 0 to 0.",
        ),
        (lambda: AdaBoost(2).fit(X, Y, weight=Y), TypeError, "`weight` should have a floating-point dtype; found torch.int64."),
        (
            lambda: AdaBoost(2).fit(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), Y).decision_function(X),
            ValueError,
            "`features` should have shape [N, D] with D >= 2; found (2, 1).",
        ),
        (lambda: AdaBoost(2).staged_scores(Y), TypeError, "`features` should have a floating-point dtype; found torch.int64."),
        (lambda: coordinate_descent(X, Y, rounds=0), ValueError, "`rounds` should be at least 1; found 0."),
        (lambda: coordinate_descent(X, 2 * Y, rounds=1), ValueError, "`signs` should hold only -1 and +1; found [-2, 2]."),
        (lambda: coordinate_descent(X, Y, rounds=1, step=0.0), ValueError, "`step` should lie in (0, inf]; found 0.0."),
    ],
)
def test_what_bad_arguments_get(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
