"""C41 to C45 and X09: each measure holds, and each number is confirmed by other means."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lossbook import margins
from lossbook.book.claims import LEDGER
from lossbook.book.claims import boosting as claims
from lossbook.boosting import AdaBoost


def test_c41_adaboost_by_loops() -> None:
    features, signs, _ = (tensor.numpy() for tensor in claims.tumours(0))
    features, signs = features[:60, :2], signs[:60]
    w, errors = np.full(60, 1 / 60), []
    for _ in range(4):
        best = min(
            (float(w[np.where(features[:, j] > t, d, -d) != signs].sum()), j, t, d)
            for j in range(2)
            for t in (np.unique(features[:, j])[1:] + np.unique(features[:, j])[:-1]) / 2
            for d in (-1, 1)
        )
        errors.append(best[0])
        rule = np.where(features[:, best[1]] > best[2], best[3], -best[3])
        w = w * np.exp(-0.5 * math.log((1 - best[0]) / best[0]) * signs * rule)
        w /= w.sum()
        assert w[rule != signs].sum() == pytest.approx(0.5, abs=1e-12)
    model = AdaBoost(4).fit(torch.from_numpy(features), torch.from_numpy(signs))
    assert model.errors.tolist() == pytest.approx(errors, abs=1e-12)
    assert model.weights.numpy() == pytest.approx(w, abs=1e-12)


def test_c42_the_first_step_by_a_grid() -> None:
    features, signs, _ = claims.tumours(0)
    model = AdaBoost(1).fit(features.float(), signs)
    agrees = signs * model.stumps[0](features.float())
    grid = torch.linspace(0, 3, 300_001, dtype=torch.float64)
    wrong = float((agrees < 0).double().mean())
    losses = (1 - wrong) * (-grid).exp() + wrong * grid.exp()
    assert LEDGER["C42"].measure(0).details["first_alpha"] == pytest.approx(float(grid[losses.argmin()]), abs=2e-5)
    # no rule of the first round is steeper than the one taken
    others = [abs(float((signs * torch.where(features[:, j] > t, 1, -1)).double().mean())) for j in range(6) for t in features[:, j].unique()[:-1]]
    assert max(others) == pytest.approx(1 - 2 * wrong, abs=1e-12)


def test_c43_the_weights_of_a_model_of_the_peer() -> None:
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.tree import DecisionTreeClassifier

    examples = claims.diagonal(0, 400, 0.2)
    x, y = examples.features.numpy(), examples.signs.numpy()
    peer = AdaBoostClassifier(DecisionTreeClassifier(max_depth=1), n_estimators=50, random_state=0).fit(x, y)
    scores = sum(0.5 * w * tree.predict(x) for w, tree in zip(peer.estimator_weights_, peer.estimators_, strict=True))
    weights = np.exp(-y * scores) / np.exp(-y * scores).sum()
    found = LEDGER["C43"].measure(0).details
    assert weights[examples.flipped.numpy()].sum() == pytest.approx(found["share_of_the_weight_on_flipped_labels"], abs=0.03)
    wrong = y * scores <= 0
    assert weights[wrong].sum() > 1.4 * wrong.mean()
    assert 400 * weights.max() == pytest.approx(found["weight_of_the_heaviest_over_the_mean"], abs=1)
    assert found["weight_at_the_same_margin_under_the_logistic_loss"] == pytest.approx(1 / (1 + math.exp(-5)), abs=1e-12)
    assert found["weight_at_margin_minus_5"] == pytest.approx(math.exp(5), abs=1e-9)


def test_c44_by_finite_differences() -> None:
    found = LEDGER["C44"].measure()
    for name in ("hinge", "logistic", "exponential", "squared"):
        loss, near = margins.LOSSES[name], torch.tensor([-1e-6, 1e-6], dtype=torch.float64)
        at_minus_2, at_0 = (float(loss(at + near).diff()) for at in (-2, 0))
        assert (found.value if name == "exponential" else found.details[name]) == pytest.approx(at_minus_2 / at_0, abs=1e-6)


def test_c45_gradient_descent_follows_the_flow() -> None:
    weights, rate, done = np.zeros(2), 0.01, 0.0
    pulls = claims.PULLS.numpy()
    while done < 200:
        weights = weights + rate * (pulls / (1 + np.exp(pulls @ weights))[:, None]).sum(0)
        done += rate
    assert claims.logistic_flow([200.0])[-1].numpy() == pytest.approx(weights, abs=2e-3)


def test_c45_and_x09_the_widest_line_by_a_machine() -> None:
    from sklearn.svm import SVC

    pulls = claims.PULLS.numpy()
    # without an intercept: every example and its mirror image
    machine = SVC(kernel="linear", C=1e8, tol=1e-8).fit(np.r_[pulls, -pulls], np.r_[np.ones(6), -np.ones(6)])
    assert machine.coef_[0] == pytest.approx(claims.WIDEST.numpy(), abs=1e-5)
    assert machine.intercept_[0] == pytest.approx(0, abs=1e-5)
    found = LEDGER["X09"].measure()
    assert found.details["angle_after_1e4"] == pytest.approx(math.degrees(math.atan2(0.5545, 2 / 3 * math.log(1e4) + 0.8742)), abs=0.02)
