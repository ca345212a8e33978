"""boosting: against a search of every stump, the theorems of AdaBoost, scikit-learn, and a second code that knows only the loss."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
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


EVERYONE = [Stump(-1, math.inf, 1, 1), Stump(-1, math.inf, -1, -1)]


def every_stump(features: Tensor) -> list[Stump]:
    """All thresholds of all columns in both directions, and the two constant rules, written out."""
    rules = list(EVERYONE)
    for feature in range(features.shape[1]):
        values = sorted(set(features[:, feature].double().tolist()))
        for low, high in itertools.pairwise(values):
            rules += [Stump(feature, (low + high) / 2, -1, 1), Stump(feature, (low + high) / 2, 1, -1)]
    return rules


def test_a_stump_is_its_definition(device: torch.device) -> None:
    features = torch.tensor([[1.0, 0.0], [2.0, 0.5], [3.0, 0.50001]], device=device)
    assert Stump(1, 0.5, -1, 1)(features).tolist() == [-1, -1, 1]
    assert Stump(0, 1.5, 1, -1)(features).tolist() == [1, -1, -1]


def test_a_constant_stump_looks_at_nothing() -> None:
    for rule in (*EVERYONE, Stump(3, 0.5, -1, -1)):
        assert rule(torch.full((2, 4), math.nan)).tolist() == [rule.left] * 2
    assert EVERYONE[0](torch.zeros(3, 0)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("data", ["distinct", "ties", "nine in ten", "constant columns", "one column"])
def test_each_round_takes_a_stump_with_the_smallest_weighted_error(generator: torch.Generator, device: torch.device, data: str) -> None:
    features, signs = noisy_ring(generator, 60)
    if data == "ties":
        features = (2 * features).round()
    elif data == "nine in ten":
        features, signs = features[:, 2:], torch.where(torch.arange(60) % 10 == 3, 1, -1)
    elif data == "constant columns":
        features[:, 2:] = 0.1
    elif data == "one column":
        features = features[:, :1].round()
    rules = every_stump(features)
    w = torch.full((60,), 1 / 60, dtype=torch.float64)
    model = AdaBoost(12).fit(features.to(device), signs.to(device))
    assert len(model.stumps) == 12
    assert any(stump in EVERYONE for stump in model.stumps) == (data not in ("distinct", "ties"))
    for stump, alpha, error in zip(model.stumps, model.alphas.tolist(), model.errors.tolist(), strict=True):
        least = min(float(w[rule(features) != signs].sum()) for rule in rules)
        assert stump in rules
        assert float(w[stump(features) != signs].sum()) == pytest.approx(least, abs=1e-12)
        assert error == pytest.approx(least, abs=1e-12)
        assert alpha == pytest.approx(0.5 * math.log((1 - least) / least), abs=1e-11)
        w = w * torch.exp(-alpha * (signs * stump(features)))
        w = w / w.sum()
    torch.testing.assert_close(model.weights.cpu(), w, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("criterion", ["error", "gini"])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("shape", [(3, 1), (1, 1), (3, 0), (4, 2)])
def test_one_class_is_learnt_without_an_error(shape: tuple[int, int], sign: int, criterion: str, device: torch.device) -> None:
    """scikit-learn's accuracy there is 1, and its tree is a single leaf."""
    features, signs = torch.arange(shape[0] * shape[1], device=device).view(shape).float(), torch.full(shape[:1], sign, device=device)
    model = AdaBoost(3, criterion).fit(features, signs)
    assert model.stumps == [Stump(-1, math.inf, sign, sign)]
    assert (model.alphas.tolist(), model.errors.tolist()) == ([0.5], [0.0])
    assert model.decision_function(features).sign().tolist() == signs.tolist()
    assert model.staged_scores(features).tolist() == [[0.5 * sign] * len(signs)]


def test_a_constant_rule_is_taken_where_it_errs_least() -> None:
    """One in ten is +1, and lies in the middle: every stump that splits errs on two."""
    features, signs = torch.arange(10.0)[:, None], torch.where(torch.arange(10) == 5, 1, -1)
    model = AdaBoost(1).fit(features, signs)
    assert model.stumps == [EVERYONE[1]]
    assert model.errors.tolist() == pytest.approx([0.1], abs=1e-15)
    # where a stump errs as seldom, to rounding, the stump is taken: signs of weights a, b and a + b cancel over and over, here behind the first two
    for a in range(3, 40):
        weight = torch.tensor([a / 10, 1.1, a / 10 + 1.1] * 20 + [a / 10 + 1.1], dtype=torch.float64)
        model = AdaBoost(1).fit(torch.arange(61.0)[:, None], torch.tensor([-1, -1, 1] * 20 + [-1]), weight=weight)
        assert model.stumps == [Stump(0, 1.5, -1, 1)]


@pytest.mark.parametrize("criterion", ["error", "gini"])
def test_where_nothing_can_be_split_the_leaf_is_scikit_learns(criterion: str) -> None:
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.tree import DecisionTreeClassifier

    features, signs = torch.full((5, 2), 0.1), torch.tensor([-1, 1, 1, -1, 1])
    model = AdaBoost(5, criterion).fit(features, signs)
    peer = AdaBoostClassifier(DecisionTreeClassifier(max_depth=1), n_estimators=5, random_state=0).fit(features.numpy(), signs.numpy())
    assert model.stumps == [EVERYONE[0]]
    assert peer.estimators_[0].tree_.feature.tolist() == [-2]
    assert model.errors.tolist() == pytest.approx([peer.estimator_errors_[0]], abs=1e-15)
    assert (2 * model.alphas).tolist() == pytest.approx([peer.estimator_weights_[0]], abs=1e-15)
    assert len(peer.estimators_) == 1
    assert model.decision_function(features).sign().tolist() == peer.predict(features.numpy()).tolist()


def test_gini_splits_where_no_split_helps_as_scikit_learn_does() -> None:
    from sklearn.tree import DecisionTreeClassifier

    features, signs = torch.tensor([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]]), torch.tensor([-1, 1, 1, -1, 1, 1])
    tree = DecisionTreeClassifier(max_depth=1).fit(features.numpy(), signs.numpy()).tree_
    (stump,) = AdaBoost(1, "gini").fit(features, signs).stumps
    assert stump == Stump(0, 0.5, 1, 1)
    assert (tree.feature[0], tree.threshold[0]) == (0, 0.5)


def test_each_round_of_gini_takes_the_purest_split(generator: torch.Generator, device: torch.device) -> None:
    features, signs = noisy_ring(generator, 60)
    w = torch.full((60,), 1 / 60, dtype=torch.float64)

    def impurity(threshold: float, feature: int) -> float:
        total = 0.0
        for half in (features[:, feature] <= threshold, features[:, feature] > threshold):
            positive, weight = float(w[half & (signs > 0)].sum()), float(w[half].sum())
            total += 2 * positive * (weight - positive) / weight
        return total

    places = {(rule.threshold, rule.feature) for rule in every_stump(features) if rule not in EVERYONE}
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
@pytest.mark.parametrize("data", ["ring", "integers", "few"])
def test_two_codes_one_algorithm(seed: int, data: str) -> None:
    features, signs = noisy_ring(torch.Generator().manual_seed(seed), 150)
    if data == "integers":
        features = (3 * features).round()
    elif data == "few":
        features, signs = features[:, 2:].round(), torch.where(torch.arange(150) % 10 == 3, 1, -1)
    model = AdaBoost(40).fit(features, signs)
    assert any(stump in EVERYONE for stump in model.stumps) == (data == "few")
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


def test_a_step_longer_than_the_first_bracket_and_plain_numbers() -> None:
    """One mistake in twenty: α = ½ ln 19 = 1.47, which the search finds beyond 1; what it hands out are Python's numbers."""
    features, signs = torch.arange(20.0)[:, None], torch.where(torch.arange(20) < 10, -1, 1)
    signs[-1] = -1
    (stump,), (step,), *_ = coordinate_descent(features, signs, rounds=1)
    assert float(step) == pytest.approx(0.5 * math.log(19), rel=1e-14)
    assert [type(part) for part in stump] == [int, float, int, int]
    assert stump == (0, 9.5, -1, 1)


def test_scores_of_no_rule_are_float64() -> None:
    """Nothing beats a coin here, so that no stump has a vote."""
    model = AdaBoost(3).fit(torch.zeros(2, 1), torch.tensor([-1, 1]))
    assert model.stumps == []
    assert model.staged_scores(torch.zeros(4, 1)).dtype == model.decision_function(torch.zeros(4, 1)).dtype == torch.float64


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
    from lossbook.book import data
    from lossbook.boosting import _stumps

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
    assert (constant.stumps, constant.errors.tolist()) == ([EVERYONE[0]], pytest.approx([1 / 3]))
    descent = coordinate_descent(torch.ones(3, 2), torch.tensor([-1, 1, 1]), rounds=3)
    assert (descent.stumps, descent.steps.tolist()) == ([EVERYONE[0]], pytest.approx([0.5 * math.log(2)], abs=1e-15))
    assert coordinate_descent(line, torch.tensor([-1, -1, 1, 1]), rounds=3).stumps == []  # the loss falls for ever along the first


@pytest.mark.parametrize("times", range(1, 30))
def test_a_chessboard_of_any_size_stays_out_of_reach(times: int) -> None:
    """Every rule is a coin, to rounding: with 24 examples the sums once fell a bit short of one half, and ten rounds voted by 1e-16."""
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).repeat(times, 1)
    signs = torch.tensor([-1, 1, 1, -1]).repeat(times)
    assert AdaBoost(10).fit(corners, signs).stumps == []
    assert AdaBoost(10, "gini").fit(corners, signs).stumps == []
    for unit in (1e-6, 1.0, 1e6):
        assert coordinate_descent(corners, signs, rounds=10, loss=exponential.scaled(unit)).stumps == []
        assert len(coordinate_descent(corners[2:], signs[2:], rounds=1, step=0.1, loss=exponential.scaled(unit)).stumps) == 1
    column = torch.ones(2 * times + 1, 1)
    assert len(AdaBoost(10).fit(column, torch.where(torch.arange(2 * times + 1) < times, -1, 1)).stumps) == 1
    assert len(coordinate_descent(column, torch.where(torch.arange(2 * times + 1) < times, -1, 1), rounds=10).stumps) == 1


@pytest.mark.parametrize("criterion", ["error", "gini"])
def test_no_weight_falls_below_the_floor(criterion: str) -> None:
    """After 400 rounds on separable data the surest examples would weigh 1e-57; scikit-learn's floor keeps them at 2.2e-16."""
    features = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    signs = torch.where(features.sum(1) > 0, 1, -1)
    model = AdaBoost(400, criterion).fit(features, signs)
    assert float(model.weights.min()) == torch.finfo(torch.float64).eps
    assert float((-signs * model.decision_function(features)).softmax(0).min()) < 1e-50
    assert float(model.weights.sum()) == pytest.approx(1, abs=1e-12)


def test_starting_weights_of_any_size_are_scikit_learns() -> None:
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.tree import DecisionTreeClassifier

    features, signs = torch.arange(6.0)[:, None], torch.tensor([-1, -1, 1, -1, 1, 1])
    weight = torch.tensor([1.0, 1, 1e-30, 1, 1, 1], dtype=torch.float64)
    model = AdaBoost(3, "gini").fit(features, signs, weight=weight)
    tree = DecisionTreeClassifier(max_depth=1)
    peer = AdaBoostClassifier(tree, n_estimators=3, random_state=0).fit(features.numpy(), signs.numpy(), sample_weight=weight.numpy())
    assert [stump.threshold for stump in model.stumps] == [each.tree_.threshold[0] for each in peer.estimators_]
    assert (2 * model.alphas).tolist() == pytest.approx(peer.estimator_weights_.tolist(), abs=1e-12)
    # what all weigh is no matter, even where their sum is no number
    for scale in (1e308, 1e-308):
        scaled = AdaBoost(3).fit(features, signs, weight=torch.full((6,), scale, dtype=torch.float64))
        assert scaled.stumps == AdaBoost(3).fit(features, signs).stumps
        assert scaled.errors.tolist() == pytest.approx(AdaBoost(3).fit(features, signs).errors.tolist(), abs=1e-15)


ATTRIBUTES = ("stumps", "alphas", "errors", "weights")


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_nothing_is_there_before_a_fit(name: str) -> None:
    for model in (AdaBoost(3), copy.deepcopy(AdaBoost(3)), pickle.loads(pickle.dumps(AdaBoost(3)))):
        assert not hasattr(model, name)
        with pytest.raises(ValueError, match=f"^`{name}` should be read after `fit`; found no fit.$"):
            getattr(model, name)
        for call in (model.decision_function, model.staged_scores):
            with pytest.raises(ValueError, match="should be read after `fit`"):
                call(torch.zeros(2, 1))
    with pytest.raises(AttributeError, match="has no attribute 'stump'"):
        AdaBoost(3).stump


def test_a_fit_begins_anew_and_a_refused_one_changes_nothing(generator: torch.Generator) -> None:
    features, signs = noisy_ring(generator, 60)
    model, fresh = AdaBoost(6).fit(features[:, 1:], -signs), AdaBoost(6).fit(features, signs)
    with pytest.raises(ValueError, match="`signs` should hold"):
        model.fit(features, 2 * signs)
    assert model.stumps == AdaBoost(6).fit(features[:, 1:], -signs).stumps
    model.fit(features, signs)
    assert model.stumps == fresh.stumps
    assert all(torch.equal(getattr(model, name), getattr(fresh, name)) for name in ATTRIBUTES[1:])


def test_a_fit_is_kept_on_disk_and_copied(generator: torch.Generator) -> None:
    features, signs = noisy_ring(generator, 60)
    model = AdaBoost(np.int64(6), "gini").fit(features, signs)
    assert repr(model) == "AdaBoost(rounds=6, criterion='gini')"
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        assert (other.rounds, other.criterion, other.stumps) == (6, "gini", model.stumps)
        assert torch.equal(other.decision_function(features), model.decision_function(features))


def test_a_fit_in_inference_mode_is_a_fit(generator: torch.Generator) -> None:
    """And what it finds can be differentiated through later, as tensors born in that mode can't."""
    features, signs = noisy_ring(generator, 60)
    plain, descent = AdaBoost(6).fit(features, signs), coordinate_descent(features, signs, rounds=6)
    with torch.inference_mode():
        model, other = AdaBoost(6).fit(features.clone(), signs.clone()), coordinate_descent(features.clone(), signs.clone(), rounds=6)
    assert model.stumps == plain.stumps
    assert torch.equal(model.weights, plain.weights)
    assert torch.equal(other.margins, descent.margins)
    scale = torch.ones(60, dtype=torch.float64, requires_grad=True)
    (model.weights * scale + other.margins * scale).sum().backward()
    assert torch.equal(scale.grad, plain.weights + descent.margins)


def test_scores_compile_whole_and_map(generator: torch.Generator) -> None:
    features, signs = noisy_ring(generator, 60)
    model = AdaBoost(6).fit(features, signs)
    torch.compiler.reset()
    stack = torch.stack([features, -features])
    for call in (model.decision_function, model.staged_scores):
        assert torch.equal(torch.compile(call, fullgraph=True, backend="aot_eager")(features), call(features))
        assert torch.equal(torch.vmap(call)(stack), torch.stack([call(features), call(-features)]))


def test_an_infinite_feature_lies_beyond_every_threshold(generator: torch.Generator) -> None:
    features, signs = noisy_ring(generator, 60)
    model = AdaBoost(6).fit(features, signs)
    assert torch.equal(model.decision_function(torch.full((2, 4), math.inf)), model.decision_function(torch.full((2, 4), 1e9)))
    assert Stump(0, 0.5, -1, 1)(torch.tensor([[math.nan]])).isnan().all()


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
        (lambda: AdaBoost(2).fit(X[:0], Y[:0]), ValueError, "`features` should hold at least one example; found (0, 1)."),
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
        (lambda: AdaBoost(2).fit(X, torch.tensor([255, 1], dtype=torch.uint8)), ValueError, "`signs` should hold only -1 and +1; found [1, 255]."),
        (lambda: Stump(1, 0.0, -1, 1)(X), ValueError, "`features` should have shape [N, D] with D >= 2; found (2, 1)."),
        (
            lambda: coordinate_descent(X, Y, rounds=1, loss=torch.relu),
            TypeError,
            "`loss` should be a name in `margins.LOSSES` or a `MarginLoss`; found builtin_function_or_method.",
        ),
        (
            lambda: coordinate_descent(X, Y, rounds=1, loss="zero_one"),
            ValueError,
            "`loss` should have a slope to follow; found zero_one, which is flat.",
        ),
    ],
)
def test_what_bad_arguments_get(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
