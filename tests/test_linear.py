"""`lossbook.linear`: the step beside autograd's, the solvers beside scikit-learn and the optimality conditions, streams beside memory."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossbook import margins
from lossbook.book import data
from lossbook.linear import LinearFit, _curve, fit_linear, fit_sgd, regularized_risk, sgd_step
from lossbook.linear._examples import given_examples
from lossbook.linear._newton import newton
from lossbook.linear._objective import Problem, Stop
from lossbook.margins import LOSSES, MarginLoss, ramp_loss
from tests.tolerances import assert_near

SLOPED = [loss for loss in LOSSES.values() if loss.name != "zero_one"]
CONVEX = [loss for loss in SLOPED if loss.is_convex and loss.name != "unhinged"]
NAMES = [loss.name for loss in SLOPED]


@pytest.fixture(scope="module")
def tumours() -> tuple[Tensor, Tensor]:
    """All 569 tumours: 30 correlated columns, almost separable."""
    table = data.breast_cancer()
    return table.features, table.signs


def clouds(generator: torch.Generator, count: int = 200, dim: int = 3, shift: float = 1.0) -> tuple[Tensor, Tensor]:
    """Two overlapping normal clouds whose means differ in the first column."""
    signs = torch.where(torch.arange(count) < count // 2, -1, 1)
    features = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    features[:, 0] += shift * signs
    return features, signs


def risk(fit: LinearFit, features: Tensor, signs: Tensor, loss: str | MarginLoss, l2: float, intercept: str = "free", l1: float = 0.0) -> float:
    """The objective, written out in plain sums, whatever the solver says of it."""
    phi = LOSSES[loss] if isinstance(loss, str) else loss
    penalty = l2 / 2 * fit.weights.square().sum() + l1 * fit.weights.abs().sum()
    if intercept == "regularized":
        penalty = penalty + l2 / 2 * fit.intercept**2 + l1 * fit.intercept.abs()
    return float(phi((features @ fit.weights + fit.intercept) * signs).mean() + penalty)


# --- one step ---------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", SLOPED, ids=NAMES)
def test_the_step_is_autograds(loss: MarginLoss, generator: torch.Generator, device: torch.device, real_dtype: torch.dtype) -> None:
    features, signs = clouds(generator, 8)
    features, signs = features.to(device, real_dtype), signs.to(device)
    weights = torch.randn(3, generator=generator).to(device, real_dtype).requires_grad_()
    intercept = torch.tensor(0.3, device=device, dtype=real_dtype, requires_grad=True)
    weight = torch.rand(8, generator=generator).to(device, real_dtype)
    settings = {"loss": loss, "l2": 0.2, "weight": weight}
    slopes = torch.autograd.grad(regularized_risk(weights, intercept, features, signs, **settings), (weights, intercept))
    line = sgd_step(weights, intercept, features, signs, rate=0.1, **settings)
    assert_near(line.weights, weights - 0.1 * slopes[0])
    assert_near(line.intercept, intercept - 0.1 * slopes[1])


def test_the_l1_step_solves_its_proximal_problem(generator: torch.Generator) -> None:
    """u = argmin |u - v|²/2 + c |u|₁ iff (v - u)/c is a subgradient of |u|₁: sign(u) where u is not 0, else in [-1, 1] (Duchi & Singer, 2009)."""
    features, signs = clouds(generator, 8, dim=40)
    weights, intercept = 0.1 * torch.randn(40, generator=generator, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    plain = sgd_step(weights, intercept, features, signs, loss="logistic", rate=0.1, l2=0.1).weights
    short = sgd_step(weights, intercept, features, signs, loss="logistic", rate=0.1, l2=0.1, l1=0.5).weights
    subgradient = (plain - short) / (0.1 * 0.5)
    assert 5 < int((short == 0).sum()) < 35
    assert_near(subgradient[short != 0], torch.sign(short[short != 0]))
    assert float(subgradient[short == 0].abs().max()) <= 1


def test_the_step_traces_and_maps(generator: torch.Generator) -> None:
    features, signs = clouds(generator, 8)
    weights, intercept = torch.randn(5, 3, generator=generator, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)

    def step(weights: Tensor, intercept: Tensor) -> Tensor:
        return sgd_step(weights, intercept, features, signs, loss="hinge", rate=0.1, l2=0.1, l1=0.1).weights

    one_by_one = torch.stack([step(w, b) for w, b in zip(weights, intercept, strict=True)])
    assert_near(torch.vmap(step)(weights, intercept), one_by_one)
    assert_near(torch.compile(step, fullgraph=True, backend="aot_eager")(weights[0], intercept[0]), one_by_one[0])


# --- the solvers, beside scikit-learn ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("l2", [1e-1, 1e-3, 1e-5])
def test_logistic_regression_is_scikit_learns(solver: str, l2: float, tumours: tuple[Tensor, Tensor]) -> None:
    from sklearn.linear_model import LogisticRegression

    features, signs = tumours
    fit = fit_linear(features, signs, loss="logistic", l2=l2, solver=solver, steps=5000)
    peer = LogisticRegression(C=1 / (l2 * len(signs)), solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(features.numpy(), signs.numpy())
    theirs = LinearFit(torch.tensor(peer.coef_[0]), torch.tensor(peer.intercept_[0]), fit.objective)
    assert risk(fit, features, signs, "logistic", l2) == pytest.approx(risk(theirs, features, signs, "logistic", l2), rel=1e-6)
    assert float(fit.objective[-1]) == pytest.approx(risk(fit, features, signs, "logistic", l2), rel=1e-12)
    if solver == "newton":
        assert_near(fit.scores(features), theirs.scores(features), torch.float32)


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("l2", [1e-1, 1e-3])
def test_the_squared_hinge_is_linear_svcs(solver: str, l2: float, tumours: tuple[Tensor, Tensor]) -> None:
    from sklearn.svm import LinearSVC

    features, signs = tumours
    fit = fit_linear(features, signs, loss="squared_hinge", l2=l2, solver=solver, intercept="regularized", steps=5000)
    peer = LinearSVC(C=1 / (l2 * len(signs)), dual=False, tol=1e-10, max_iter=10_000).fit(features.numpy(), signs.numpy())
    theirs = LinearFit(torch.tensor(peer.coef_[0]), torch.tensor(peer.intercept_[0]), fit.objective)
    values = [risk(line, features, signs, "squared_hinge", l2, "regularized") for line in (fit, theirs)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("l2", [1e-1, 1e-2])
def test_the_hinge_is_linear_svcs_and_libsvms(solver: str, l2: float, tumours: tuple[Tensor, Tensor]) -> None:
    from sklearn.svm import SVC, LinearSVC

    features, signs = tumours
    scale = 1 / (l2 * len(signs))
    peers = {
        "regularized": LinearSVC(C=scale, loss="hinge", dual=True, tol=1e-8, max_iter=1_000_000, random_state=0),
        "free": SVC(C=scale, kernel="linear", tol=1e-8),
    }
    for intercept, peer in peers.items():
        fit = fit_linear(features, signs, loss="hinge", l2=l2, solver=solver, intercept=intercept, steps=5000)
        peer.fit(features.numpy(), signs.numpy())
        theirs = LinearFit(torch.tensor(peer.coef_[0].copy()), torch.tensor(peer.intercept_[0]), fit.objective)
        values = [risk(line, features, signs, "hinge", l2, intercept) for line in (fit, theirs)]
        assert values[0] == pytest.approx(values[1], rel=1e-6)


@pytest.mark.parametrize(("loss", "l1"), [("logistic", 1e-2), ("logistic", 1e-3), ("squared_hinge", 1e-2)])
def test_l1_is_scikit_learns(loss: str, l1: float, tumours: tuple[Tensor, Tensor]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    features, signs = tumours
    scale = 1 / (l1 * len(signs))
    fit = fit_linear(features, signs, loss=loss, l1=l1, intercept="regularized", steps=5000)
    if loss == "logistic":
        peer = LogisticRegression(C=scale, l1_ratio=1.0, solver="liblinear", tol=1e-10, max_iter=100_000, random_state=0)
    else:
        peer = LinearSVC(C=scale, penalty="l1", dual=False, tol=1e-10, max_iter=100_000, random_state=0)
    peer.fit(features.numpy(), signs.numpy())
    theirs = LinearFit(torch.tensor(peer.coef_[0]), torch.tensor(peer.intercept_[0]), fit.objective)
    values = [risk(line, features, signs, loss, 0.0, "regularized", l1) for line in (fit, theirs)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert abs(int((fit.weights == 0).sum()) - int((theirs.weights == 0).sum())) <= 1


def test_the_squared_loss_is_least_squares(tumours: tuple[Tensor, Tensor]) -> None:
    """Normal equations with a column of ones: the ridge solution in closed form."""
    features, signs = tumours
    wide = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    ridge = 0.05 / 2 * len(signs) * torch.eye(31, dtype=torch.float64)  # (1/N)|y - Xw|² + l2/2 |w|²
    ridge[-1, -1] = 0
    theta = torch.linalg.solve(wide.T @ wide + ridge, wide.T @ signs.double())
    fit = fit_linear(features, signs, loss="squared", l2=0.05, solver="newton")
    torch.testing.assert_close(torch.cat([fit.weights, fit.intercept[None]]), theta, rtol=1e-8, atol=1e-10)


def test_unhinged_without_intercept_is_the_mean(generator: torch.Generator) -> None:
    """The gradient of mean(1 - y w·x) + l2/2 |w|² is -mean(y x) + l2 w."""
    features, signs = clouds(generator)
    for solver in ("newton", "lbfgs"):
        fit = fit_linear(features, signs, loss="unhinged", l2=0.5, solver=solver, intercept="none")
        torch.testing.assert_close(fit.weights, (signs[:, None] * features).mean(dim=0) / 0.5, rtol=1e-6, atol=1e-8)


# --- optimality conditions --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("intercept", ["free", "regularized", "none"])
@pytest.mark.parametrize("loss", CONVEX, ids=[loss.name for loss in CONVEX])
def test_both_solvers_reach_the_least_risk(loss: MarginLoss, intercept: str, generator: torch.Generator, device: torch.device) -> None:
    """No nearby line is better, and the two solvers, which share no step, agree."""
    features, signs = (part.to(device) for part in clouds(generator))
    fits = [fit_linear(features, signs, loss=loss, l2=0.1, solver=solver, intercept=intercept) for solver in ("newton", "lbfgs")]
    values = [risk(fit, features, signs, loss, 0.1, intercept) for fit in fits]
    assert values[0] == pytest.approx(values[1], rel=1e-6, abs=1e-7)
    weights, b = fits[0].weights, fits[0].intercept
    for scale in (1e-1, 1e-2, 1e-3):
        for _ in range(10):
            aside = scale * torch.randn(4, generator=generator, dtype=torch.float64).to(device)
            moved = fits[0]._replace(weights=weights + aside[:3], intercept=b if intercept == "none" else b + aside[3])
            assert risk(moved, features, signs, loss, 0.1, intercept) >= values[0] - 1e-9


def test_the_intercept_is_free_regularized_or_none(generator: torch.Generator) -> None:
    """Derivative of the objective by the intercept: mean φ'(m) y = 0 where it is free, = -l2 b where it is regularised."""
    features, signs = clouds(generator)
    features, signs = features[40:], signs[40:]  # 60 against 100
    for intercept, charge in (("free", 0.0), ("regularized", 0.1)):
        fit = fit_linear(features, signs, loss="logistic", l2=0.1, solver="newton", intercept=intercept)
        slope = (margins.logistic.derivative(fit.scores(features) * signs) * signs).mean()
        assert float(slope) == pytest.approx(-charge * float(fit.intercept), abs=1e-7)
        assert abs(float(fit.intercept)) > 0.05
    none = fit_linear(features, signs, loss="logistic", l2=0.1, solver="newton", intercept="none")
    assert float(none.intercept) == 0.0


def test_l1_meets_its_optimality_conditions(tumours: tuple[Tensor, Tensor]) -> None:
    """A weight of 0 feels a slope of at most l1; another feels exactly l1 against its sign."""
    features, signs = tumours
    fit = fit_linear(features, signs, loss="logistic", l1=0.01, l2=0.001, steps=5000, tolerance=1e-13)
    slopes = margins.logistic.derivative(fit.scores(features) * signs) * signs @ features / len(signs) + 0.001 * fit.weights
    zero = fit.weights == 0
    assert 10 < int(zero.sum()) < 28
    assert float(slopes[zero].abs().max()) <= 0.01 + 1e-6
    torch.testing.assert_close(slopes[~zero], -0.01 * torch.sign(fit.weights[~zero]), rtol=0, atol=1e-5)


def test_weights_count_as_repeated_examples(generator: torch.Generator) -> None:
    features, signs = clouds(generator, 60)
    counts = torch.randint(0, 4, (60,), generator=generator)
    repeated = fit_linear(features.repeat_interleave(counts, 0), signs.repeat_interleave(counts), loss="hinge", l2=0.1, solver="newton")
    weighted = fit_linear(features, signs, loss="hinge", l2=0.1, solver="newton", weight=counts * 60 / counts.sum())
    torch.testing.assert_close(weighted.weights, repeated.weights, rtol=0, atol=1e-6)


def test_newton_from_a_subsample_ends_at_the_same_minimum(generator: torch.Generator) -> None:
    features, signs = clouds(generator, 20_000)
    features *= torch.tensor([1e-2, 1.0, 1e2])  # in raw units
    quick = fit_linear(features, signs, loss="logistic", l2=1e-6, solver="newton", generator=generator)
    plain = fit_linear(features, signs, loss="logistic", l2=1e-6, solver="newton", start=(torch.zeros(3), torch.tensor(0.0)))
    assert float(quick.objective[0]) < 1.1 * float(plain.objective[-1])  # it began almost there
    assert float(plain.objective[0]) == pytest.approx(np.log(2))
    assert float(quick.objective[-1]) == pytest.approx(float(plain.objective[-1]), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_borrowed_hessian_that_is_no_good_is_given_back(scale: float, generator: torch.Generator) -> None:
    """Steps along it overshoot or creep: Newton's own Hessian takes over, and the path goes on downwards."""
    features, signs = clouds(generator)
    ones = torch.ones(4, dtype=torch.float64)
    problem = Problem(given_examples(features, signs, None, passes=2), _curve.Curve(margins.logistic), 0.1, 0.0, ones, ones, 2.0**-52)
    own = newton(problem, torch.zeros_like(ones), Stop(1e-12, 100))
    lent = newton(problem, torch.zeros_like(ones), Stop(1e-12, 100), borrowed=scale * torch.eye(4, dtype=torch.float64))
    assert own.converged
    assert lent.converged
    assert lent.objective == sorted(lent.objective, reverse=True)
    assert len(lent.objective) < len(own.objective) + 20
    assert lent.objective[-1] == pytest.approx(own.objective[-1], rel=1e-11)  # each stops within 1e-12, by its estimate


def test_float32_and_half_precision(generator: torch.Generator, device: torch.device, dtype: torch.dtype) -> None:
    features, signs = clouds(generator)
    features, signs = features.to(device, dtype), signs.to(device)
    exact = fit_linear(features.double(), signs, loss="logistic", l2=0.01, solver="newton")
    for solver in ("newton", "lbfgs"):
        fit = fit_linear(features, signs, loss="logistic", l2=0.01, solver=solver)
        assert fit.weights.dtype == (dtype if dtype.itemsize >= 4 else torch.float32)
        assert fit.weights.device.type == device.type
        torch.testing.assert_close(fit.weights.double(), exact.weights, rtol=2e-3, atol=2e-3)


# --- the ramp ---------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("s", [0.0, -1.0, 0.5])
def test_cccp_never_raises_the_objective(s: float, generator: torch.Generator) -> None:
    features, signs = clouds(generator)
    signs[:20] = 1
    ramp = ramp_loss(s)
    for _ in range(3):
        weights, intercept = torch.randn(3, generator=generator, dtype=torch.float64), torch.randn((), generator=generator, dtype=torch.float64)
        fit = fit_linear(features, signs, loss=ramp, l2=0.01, solver="cccp", start=(weights, intercept))
        assert bool((fit.objective.diff() <= 0).all())
        first = LinearFit(weights, intercept, fit.objective)
        assert float(fit.objective[0]) == pytest.approx(risk(first, features, signs, ramp, 0.01))
        assert float(fit.objective[-1]) == pytest.approx(risk(fit, features, signs, ramp, 0.01), abs=1e-12)


def test_cccp_ends_where_its_own_convex_problem_is_least(generator: torch.Generator) -> None:
    """At the end w also minimises the hinge with the far-wrong examples let go (Collobert et al., 2006): scikit-learn solves that one here."""
    from sklearn.svm import SVC

    features, signs = clouds(generator, shift=2.0)
    features[:10] -= torch.tensor([20.0, 0.0, 0.0])
    signs[:10] = 1  # far on the wrong side
    fit = fit_linear(features, signs, loss="ramp", l2=0.05, solver="cccp", starts=4, generator=generator)
    kept = fit.scores(features) * signs >= 0
    assert int((~kept[:10]).sum()) == 10
    peer = SVC(C=1 / (0.05 * len(signs)), kernel="linear", tol=1e-8).fit(features[kept].numpy(), signs[kept].numpy())
    torch.testing.assert_close(fit.weights, torch.tensor(peer.coef_[0].copy()), rtol=0, atol=2e-3)


def test_more_starts_are_never_worse(generator: torch.Generator) -> None:
    features, signs = clouds(generator)
    features[:20] -= torch.tensor([15.0, 0.0, 0.0])
    signs[:20] = 1
    one = fit_linear(features, signs, loss="ramp", l2=0.01, solver="cccp")
    many = fit_linear(features, signs, loss="ramp", l2=0.01, solver="cccp", starts=4, generator=generator)
    assert float(many.objective[-1]) < 0.9 * float(one.objective[-1])


def test_lbfgs_descends_on_losses_that_are_not_convex(generator: torch.Generator) -> None:
    features, signs = clouds(generator)
    start = (torch.tensor([0.1, 0.0, 0.0]), torch.tensor(0.0))
    for loss in ("sigmoid", "savage", "ramp", "ramp_minus_one"):
        fit = fit_linear(features, signs, loss=loss, l2=0.01, start=start)
        first = LinearFit(start[0].double(), start[1].double(), fit.objective)
        assert risk(fit, features, signs, loss, 0.01) < 0.9 * risk(first, features, signs, loss, 0.01)


# --- streams and SGD --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("solver", "loss"), [("newton", "logistic"), ("newton", "hinge"), ("lbfgs", "logistic"), ("cccp", "ramp")])
def test_a_stream_gives_what_memory_gives(solver: str, loss: str, generator: torch.Generator) -> None:
    features, signs = clouds(generator)
    stream = list(zip(features.split(37), signs.split(37), strict=True))
    for intercept in ("free", "regularized"):
        whole = fit_linear(features, signs, loss=loss, l2=0.1, solver=solver, intercept=intercept)
        streamed = fit_linear(stream, loss=loss, l2=0.1, solver=solver, intercept=intercept)
        torch.testing.assert_close(streamed.weights, whole.weights, rtol=1e-6, atol=1e-8)


def test_sgd_streams_the_same_batches(generator: torch.Generator) -> None:
    features, signs = clouds(generator)
    order = torch.Generator().manual_seed(7)
    batches = [(features[rows], signs[rows]) for _ in range(3) for rows in torch.randperm(200, generator=order).split(32)]
    settings = {"loss": "hinge", "l2": 0.1, "schedule": "inverse", "average": "polynomial"}
    whole = fit_sgd(features, signs, epochs=3, generator=torch.Generator().manual_seed(7), **settings)
    streamed = fit_sgd(iter(batches), epochs=1, **settings)
    assert torch.equal(whole.weights, streamed.weights)
    assert torch.equal(whole.objective, streamed.objective)


def test_the_solver_sgd_is_fit_sgd(generator: torch.Generator) -> None:
    features, signs = clouds(generator)
    settings = {"loss": "hinge", "l2": 0.1, "l1": 0.01, "intercept": "none", "weight": torch.rand(200, generator=generator, dtype=torch.float64)}
    start = (torch.ones(3, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64))
    solved = fit_linear(features, signs, solver="sgd", start=start, generator=torch.Generator().manual_seed(1), **settings)
    assert_same_fit(solved, fit_sgd(features, signs, start=start, generator=torch.Generator().manual_seed(1), **settings))
    assert len(solved.objective) == 70  # ten epochs of batches of 32


def test_a_data_loader_is_a_stream(generator: torch.Generator) -> None:
    from torch.utils.data import DataLoader, TensorDataset

    features, signs = clouds(generator)
    loader = DataLoader(TensorDataset(features, signs), batch_size=50)
    assert_near(fit_linear(loader, loss="logistic", l2=0.1).weights, fit_linear(features, signs, loss="logistic", l2=0.1).weights, torch.float32)


@pytest.mark.parametrize("average", ["none", "uniform", "polynomial"])
@pytest.mark.parametrize("schedule", ["constant", "inverse", "inverse_sqrt"])
def test_sgd_is_its_steps_one_after_the_other(schedule: str, average: str, generator: torch.Generator) -> None:
    features, signs = clouds(generator, 40)
    stream = list(zip(features.split(8), signs.split(8), strict=True))
    fit = fit_sgd(stream, loss="logistic", l2=0.3, l1=0.01, rate=0.5, schedule=schedule, average=average, epochs=2)
    weights, intercept, seen, risks = torch.zeros(3, dtype=torch.float64), torch.zeros((), dtype=torch.float64), [], []
    for t, (x, y) in enumerate(stream * 2, start=1):
        risks.append(regularized_risk(weights, intercept, x, y, loss="logistic", l2=0.3, l1=0.01))
        rate = {"constant": 0.5, "inverse": 0.5 / (1 + 0.5 * 0.3 * t), "inverse_sqrt": 0.5 / t**0.5}[schedule]
        weights, intercept = sgd_step(weights, intercept, x, y, loss="logistic", rate=rate, l2=0.3, l1=0.01)
        seen.append(torch.cat([weights, intercept[None]]))
    iterates = torch.stack(seen)
    # Shamir & Zhang (2013): the weights of the polynomial mean are proportional to (t)(t+1)(t+2), those of η = 3
    t = torch.arange(1, len(seen) + 1, dtype=torch.float64)
    shares = {"none": (t == len(seen)).double(), "uniform": torch.ones_like(t), "polynomial": t * (t + 1) * (t + 2)}[average]
    expected = shares @ iterates / shares.sum()
    assert_near(fit.weights, expected[:3])
    assert_near(fit.intercept, expected[3])
    assert_near(fit.objective, torch.stack(risks))


def test_pegasos_keeps_its_promise(tumours: tuple[Tensor, Tensor]) -> None:
    """With all examples in each step: the best objective of T steps is within G² (1 + ln T) / (2 l2 T) of the least, G = √l2 + max|x| (theorem 1)."""
    features, signs = tumours
    features = features[:, :5]
    wide = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    l2, length = 0.05, 400
    least = float(fit_linear(features, signs, loss="hinge", l2=l2, solver="newton", intercept="regularized").objective[-1])
    bound = (l2**0.5 + float(wide.norm(dim=1).max())) ** 2 * (1 + np.log(length)) / (2 * l2 * length)
    settings = {"loss": "hinge", "l2": l2, "schedule": "pegasos", "intercept": "regularized"}
    batch = fit_sgd([(features, signs)] * length, average="uniform", epochs=1, **settings)
    assert least < risk(batch, features, signs, "hinge", l2, "regularized") <= least + bound
    assert float(batch.weights.square().sum() + batch.intercept**2) <= 1 / l2
    drawn = fit_sgd(features, signs, average="polynomial", epochs=20, generator=torch.Generator().manual_seed(0), **settings)
    assert risk(drawn, features, signs, "hinge", l2, "regularized") < 1.05 * least


def test_regularized_sgd_moves_the_intercept_as_a_weight(generator: torch.Generator) -> None:
    features, signs = clouds(generator, 40)
    wide = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    settings = {"loss": "logistic", "l2": 0.3, "epochs": 2}
    fit = fit_sgd(features, signs, intercept="regularized", generator=torch.Generator().manual_seed(1), **settings)
    same = fit_sgd(wide, signs, intercept="none", generator=torch.Generator().manual_seed(1), **settings)
    assert_near(torch.cat([fit.weights, fit.intercept[None]]), same.weights)


# --- paths ------------------------------------------------------------------------------------------------------------------------------------------

SOLVERS: dict[str, dict[str, Any]] = {
    "newton": {"solver": "newton", "loss": "logistic"},
    "newton on kinks": {"solver": "newton", "loss": "hinge"},
    "lbfgs": {"solver": "lbfgs", "loss": "logistic"},
    "l1": {"solver": "lbfgs", "loss": "logistic", "l1": 0.05},
    "cccp": {"solver": "cccp", "loss": "ramp", "starts": 2},
    "sgd": {"fit": fit_sgd, "loss": "logistic", "batch_size": 7, "average": "uniform"},
}
every_solver = pytest.mark.parametrize("settings", SOLVERS.values(), ids=SOLVERS.keys())


def fitted(features: Any, signs: Any, settings: dict[str, Any], **more: Any) -> LinearFit:
    options = {"fit": fit_linear, "l2": 0.1, "generator": torch.Generator("cpu").manual_seed(3)} | settings | more
    fit: LinearFit = options.pop("fit")(features, signs, **options)
    return fit


def assert_same_fit(found: LinearFit, expected: LinearFit) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


class Named(Tensor):
    """A tensor that only has another name."""


@pytest.mark.thorough
@every_solver
def test_a_fit_lies_in_no_memory_order(settings: dict[str, Any], generator: torch.Generator, real_dtype: torch.dtype) -> None:
    """To the last bit: features are put into one order first."""
    features, signs = clouds(generator, 30)
    features = features.to(real_dtype)
    expected = fitted(features, signs, settings)
    stored = {
        "columns first": features.mT.contiguous().mT,
        "every other": torch.stack([features, features + 9], dim=2)[..., 0],
        "flipped": features.flip(0, 1).contiguous().flip(0, 1),
        "a crop": torch.nn.functional.pad(features, (1, 2, 3, 4), value=77.0)[3:-4, 1:-2],
        "a negative bit": torch._neg_view(-features),
        "a parameter": torch.nn.Parameter(features.clone()),
        "a subclass": features.as_subclass(Named),
    }
    for moved in stored.values():
        assert_same_fit(fitted(moved, signs.flip(0).contiguous().flip(0), settings), expected)
    assert_same_fit(fitted(features[:1].expand(30, -1), signs, settings), fitted(features[:1].repeat(30, 1), signs, settings))


@every_solver
def test_signs_and_numbers_of_any_dtype_give_the_same_fit(settings: dict[str, Any], generator: torch.Generator) -> None:
    features, signs = clouds(generator, 30)
    expected = fitted(features, signs, settings)
    for dtype in (torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert_same_fit(fitted(features, signs.to(dtype), settings), expected)
    numbers: dict[str, Any] = {"l2": np.float64(0.1), "steps": np.int64(1000), "tolerance": np.float64(1e-10)}
    halves, wholes = {"l2": np.float32(0.25), "tolerance": np.float16(0.5)}, {"l2": 0.25, "tolerance": 0.5}
    if "fit" in settings:
        numbers = {"l2": np.float64(0.1), "rate": np.float64(0.1), "epochs": np.uint8(10), "batch_size": np.int16(settings["batch_size"])}
        halves, wholes = {"l2": np.float32(0.25), "rate": np.float16(0.5)}, {"l2": 0.25, "rate": 0.5}
    assert_same_fit(fitted(features, signs, settings, **numbers), expected)
    assert_same_fit(fitted(features, signs, settings, **halves), fitted(features, signs, settings, **wholes))
    ones = torch.ones(30, dtype=torch.uint8)
    assert_same_fit(fitted(features, ones, settings, intercept="none"), fitted(features, ones.long(), settings, intercept="none"))


@every_solver
@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_autocast_changes_no_fit(settings: dict[str, Any], narrow: torch.dtype, generator: torch.Generator, device: torch.device) -> None:
    features, signs = clouds(generator, 30)
    features, signs = features.float().to(device), signs.to(device)
    stream = list(zip(features.split(10), signs.split(10), strict=True))
    expected, streamed = fitted(features, signs, settings), fitted(stream, None, settings)
    with torch.autocast(device.type, dtype=narrow):
        assert_same_fit(fitted(features, signs, settings), expected)
        assert_same_fit(fitted(stream, None, settings), streamed)


@every_solver
def test_a_fit_in_inference_mode_is_a_fit(settings: dict[str, Any], generator: torch.Generator) -> None:
    """There autograd gave Newton's method a curvature of 0; and what is found can be trained on afterwards."""
    features, signs = clouds(generator, 30)
    expected = fitted(features, signs, settings)
    with torch.inference_mode():
        found = fitted(features.clone(), signs.clone(), settings)
    assert_same_fit(found, expected)
    leaf = features.clone().requires_grad_()
    found.scores(leaf).sum().backward()
    assert_near(leaf.grad, expected.weights.expand(30, -1))
    assert not fitted(leaf, signs, settings).weights.requires_grad


@every_solver
def test_the_default_device_is_no_matter(settings: dict[str, Any], generator: torch.Generator) -> None:
    features, signs = clouds(generator, 30)
    expected = fitted(features, signs, settings)
    _curve.kinks.cache_clear()
    with torch.device("meta"):
        assert_same_fit(fitted(features, signs, settings), expected)


@every_solver
def test_half_precision_is_fitted_in_float32(settings: dict[str, Any], generator: torch.Generator) -> None:
    features, signs = clouds(generator, 30)
    for dtype in (torch.float16, torch.bfloat16):
        half = features.to(dtype)
        fit = fitted(half, signs, settings)
        assert_same_fit(fit, fitted(half.float(), signs, settings))
        # and the same features can be scored, also by what was rounded to half precision
        for line in (fit, LinearFit(fit.weights.to(dtype), fit.intercept.to(dtype), fit.objective)):
            assert torch.equal(line.scores(half), line.scores(half.float()))
            assert line.scores(half).dtype == torch.float32


def test_a_stream_of_subclasses_half_precision_and_narrow_signs(generator: torch.Generator) -> None:
    features, signs = clouds(generator, 30)
    half = features.half()
    narrow = [part.to(dtype) for part, dtype in zip(signs.split(10), (torch.int8, torch.float16, torch.uint16), strict=True)]  # +1 alone at the end
    stream = list(zip([part.as_subclass(Named) for part in half.split(10)], narrow, strict=True))
    plain = list(zip(half.float().split(10), signs.split(10), strict=True))
    assert_same_fit(fitted(stream, None, SOLVERS["newton"]), fitted(plain, None, SOLVERS["newton"]))


def test_a_step_in_half_precision_is_rounded_once(generator: torch.Generator) -> None:
    """Of 4096 examples: a sum in float16 stops growing at 2048, in bfloat16 at 256."""
    for dtype in (torch.float16, torch.bfloat16):
        features, signs = torch.ones(4096, 2, dtype=dtype), torch.ones(4096, dtype=torch.int8)
        weights, intercept = torch.tensor([0.5, -2.0], dtype=dtype), torch.tensor(0.25, dtype=dtype)
        for autocast in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                line = sgd_step(weights, intercept, features, signs, loss="hinge", rate=0.5, l2=0.25)
            assert (line.weights.dtype, line.intercept.dtype) == (dtype, dtype)
            assert line.weights.tolist() == [0.5 * 0.875 + 0.5, -2 * 0.875 + 0.5]  # exact in either dtype
            assert line.intercept.item() == 0.75


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_risk_step_and_scores_are_float32_under_autocast(narrow: torch.dtype, generator: torch.Generator) -> None:
    features, signs = clouds(generator, 60)
    features, weights, intercept = features.float(), torch.randn(3, generator=generator), torch.tensor(0.3)
    calls: list[Callable[[], Tensor]] = [
        lambda: regularized_risk(weights, intercept, features, signs, loss="logistic", l2=0.1),
        lambda: sgd_step(weights, intercept, features, signs, loss="logistic", rate=0.1).weights,
        lambda: LinearFit(weights, intercept, torch.zeros(1)).scores(features),
    ]
    for call in calls:
        expected = call()
        with torch.autocast("cpu", dtype=narrow):
            assert torch.equal(call(), expected)


def test_the_risk_has_the_dtype_of_its_features_whatever_else_comes(generator: torch.Generator) -> None:
    features, signs = clouds(generator, 20)
    weights, intercept = torch.randn(3, generator=generator), torch.tensor(0.25)
    expected = regularized_risk(weights, intercept, features.float(), signs, loss="logistic", weight=torch.full((20,), 0.5))
    others = [torch.float64, torch.float32, torch.float16]
    for other in others:
        found = regularized_risk(
            weights, intercept.to(other), features.float(), signs.to(other), loss="logistic", weight=torch.full((20,), 0.5).to(other)
        )
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)
    half = regularized_risk(weights.half(), intercept.half(), features.half(), signs, loss="logistic")
    assert half.dtype == torch.float32
    assert_near(half, regularized_risk(weights.half().double(), intercept.double(), features.half().double(), signs, loss="logistic"), torch.float32)


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("loss", ["logistic", "squared_hinge", "squared", "hinge"])
def test_raw_units_are_no_matter_in_float32_either(loss: str, solver: str) -> None:
    """The tumours as they were measured: from 1e-3 to 1e3. L-BFGS in raw units stopped in float32 up to a fifth above the minimum, without a word."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    features, signs = torch.as_tensor(bunch.data), torch.as_tensor(2 * bunch.target - 1)
    best = fit_linear(features, signs, loss=loss, l2=0.1, solver="newton")
    narrow = fit_linear(features.float(), signs, loss=loss, l2=0.1, solver=solver)
    assert risk(narrow._replace(weights=narrow.weights.double()), features, signs, loss, 0.1) <= float(best.objective[-1]) * (1 + 1e-4)
    wide = fit_linear(features, signs, loss=loss, l2=0.1, solver=solver)
    assert float(wide.objective[-1]) <= float(best.objective[-1]) * (1 + 1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_narrow_kinks_are_no_failure_of_float32(solver: str) -> None:
    """Parabolas narrower than the rounding of a margin once made a third of such fits warn that they had not arrived, where they had."""
    draw, warned = torch.Generator().manual_seed(5), 0
    for _ in range(20):
        features, signs = torch.randn(4, 3, generator=draw).half().float(), torch.tensor([1, -1, 1, -1])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            narrow = fit_linear(features, signs, loss="hinge", l2=0.01, solver=solver)
        warned += len(caught)
        wide = fit_linear(features.double(), signs, loss="hinge", l2=0.01, solver="newton")
        assert float(narrow.objective[-1]) == pytest.approx(float(wide.objective[-1]), rel=1e-4)
    assert warned <= 1


def test_a_fit_is_kept_on_disk_and_copied(generator: torch.Generator) -> None:
    features, signs = clouds(generator, 60)
    fit = fitted(features, signs, SOLVERS["newton"])
    file = io.BytesIO()
    torch.save(fit, file)
    file.seek(0)
    for other in (pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit), torch.load(file, weights_only=False)):
        assert type(other) is LinearFit
        assert_same_fit(other, fit)
        assert torch.equal(other.scores(features), fit.scores(features))


def test_the_warning_points_at_the_call() -> None:
    with pytest.warns(RuntimeWarning, match="has not reached") as caught:
        fit_linear(FEATURES, SIGNS, loss="logistic", steps=3)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "squared", "logistic"])
def test_one_class_one_example_and_contradictions(loss: str) -> None:
    """By hand: of one class the intercept does it alone; of one example and its contradiction, or of features of 0, the best score is that of η."""
    for solver in ("newton", "lbfgs"):
        if loss != "logistic":  # which has no minimum there
            for features in (torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), torch.ones(1, 2)):
                fit = fit_linear(features, torch.ones(len(features)), loss=loss, l2=0.1, solver=solver)
                assert float(fit.objective[-1]) == pytest.approx(0, abs=1e-6)
        zeros = fit_linear(torch.zeros(4, 2), torch.tensor([1, -1, 1, 1]), loss=loss, l2=0.1, solver=solver)
        assert zeros.weights.tolist() == [0, 0]
        assert float(zeros.objective[-1]) == pytest.approx(float(LOSSES[loss].minimal_risk(0.75)), abs=1e-5)
        both = fit_linear(torch.tensor([[1.0, 2.0]]).repeat(4, 1), torch.tensor([1, -1, 1, 1]), loss=loss, l2=0.1, solver=solver)
        assert float(both.objective[-1]) == pytest.approx(float(LOSSES[loss].minimal_risk(0.75)), abs=1e-5)


# --- errors -----------------------------------------------------------------------------------------------------------------------------------------

FEATURES, SIGNS = torch.eye(4), torch.tensor([1, -1, 1, -1])
BAD = {
    "`features` should have a floating-point dtype; found torch.int64": {"features": torch.ones(4, 4, dtype=torch.int64)},
    r"`features` should have shape \[N, D\]; found \(4,\)": {"features": torch.ones(4)},
    r"`features` should hold at least one example and one column; found \(0, 4\)": {"features": torch.ones(0, 4), "signs": torch.ones(0)},
    "`features` should be a tensor, or an iterable of pairs": {"features": 3.0, "signs": None},
    "`features` should be finite, and small enough for the loss": {"features": torch.full((4, 4), torch.nan)},
    "`signs` should hold only -1 and .1; found .1, 255.": {"signs": torch.tensor([1, 255, 1, 255], dtype=torch.uint8)},
    "`features` should have values to be read, outside of vmap": {"features": torch.ones(4, 4, device="meta"), "signs": torch.ones(4, device="meta")},
    "`signs` should be on the device cpu to match `features`; found meta": {"signs": torch.ones(4, device="meta")},
    "`features` should be finite, and small enough for the loss to be so; found an objective": {
        "features": torch.eye(4).masked_fill(torch.eye(4) > 0, torch.inf),
        "signs": torch.ones(4),
        "start": (torch.ones(4), torch.tensor(1.0)),
        "loss": "logistic",
    },
    "`weights` should be finite; found NaN": {"start": (torch.full((4,), torch.nan), torch.tensor(0.0))},
    "`generator` should be a torch.Generator; found int": {"generator": 3},
    "`features` should be a dense tensor": {"features": torch.eye(4).to_sparse()},
    r"`signs` should hold only -1 and \+1; found": {"signs": torch.tensor([0, 1, 1, 0])},
    "`signs` should be a torch.Tensor; found NoneType": {"signs": None},
    "`signs` should have a floating-point or integer dtype; found torch.bool": {"signs": SIGNS > 0},
    "`signs` should be left out where `features` is an iterable": {"features": [(FEATURES, SIGNS)]},
    "`weight` should be left out where `features` is an iterable": {"features": [(FEATURES, SIGNS)], "signs": None, "weight": torch.ones(4)},
    "`features` should yield pairs": {"features": [FEATURES], "signs": None},
    "`features` should yield at least one batch": {"features": [], "signs": None},
    "`features` should keep its 4 columns": {"features": [(FEATURES, SIGNS), (torch.ones(4, 3), SIGNS)], "signs": None},
    "`features` should be an iterable that can be gone through again": {"features": iter([(FEATURES, SIGNS)]), "signs": None},
    "`loss` should be a name in `margins.LOSSES` or a `MarginLoss`; found builtin_function_or_method": {"loss": torch.relu},
    "`loss` should have a slope to follow; found zero_one": {"loss": "zero_one"},
    "`loss` should be a ramp for the solver 'cccp'; found hinge": {"solver": "cccp"},
    "`solver` should be 'lbfgs', 'sgd' or, for a ramp, 'cccp' where the loss is not convex": {"loss": "ramp", "solver": "newton"},
    "`solver` should be 'lbfgs' or 'sgd' where l1 > 0": {"l1": 1.0, "solver": "newton"},
    "`intercept` should be one of 'free', 'regularized', 'none'": {"intercept": True},
    "`weight` should have shape": {"weight": torch.ones(3)},
    r"`weight` should lie in \[0, ": {"weight": -torch.ones(4)},
    r"`weights` should have shape \(4,\) to match the columns": {"start": (torch.ones(3), torch.tensor(0.0))},
    r"`start` should be a pair \(weights, intercept\) or a `LinearFit`; found int": {"start": 3},
    r"`intercept` should have shape \[\]; found \(1,\)": {"start": (torch.ones(4), torch.zeros(1))},
    "`loss` should have a minimum on these examples": {"loss": "unhinged", "l2": 0.1, "signs": torch.ones(4)},
}
BAD_SGD: dict[str, dict[str, Any]] = {
    "`features` should be finite, and `rate` small enough for SGD to settle": {
        "features": torch.zeros(4, 1),
        "signs": torch.ones(4),
        "loss": "squared",
        "rate": 1e30,
        "epochs": 2,
    },
    "`features` should be finite, and `rate` small enough for SGD": {"loss": "squared", "rate": 1e30},
    "`features` should be an iterable that can be gone through again": {"features": iter([(FEATURES, SIGNS)]), "signs": None},
    "`loss` should have a slope to follow; found zero_one": {"loss": "zero_one"},
    "`intercept` should be one of 'free', 'regularized', 'none'": {"intercept": True},
    "`weight` should have shape": {"weight": torch.ones(3)},
    r"`weights` should have shape \(4,\) to match the columns": {"start": (torch.ones(3), torch.tensor(0.0))},
    "`schedule` should be 'pegasos' only with the hinge, .* found loss hinge, l2 0, intercept 'none'": {"schedule": "pegasos", "intercept": "none"},
    "`schedule` should be 'pegasos' only with the hinge, .* found loss hinge, l2 0.1, intercept 'free'": {"schedule": "pegasos", "l2": 0.1},
    "`schedule` should be 'pegasos' only with the hinge, .* found loss logistic": {"loss": "logistic", "schedule": "pegasos"},
    "`generator` should be a torch.Generator; found int": {"generator": 3},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_get_a_clear_error(message: str) -> None:
    arguments = {"features": FEATURES, "signs": SIGNS, "loss": "hinge"} | BAD[message]
    with pytest.raises((TypeError, ValueError), match=message):
        fit_linear(arguments.pop("features"), arguments.pop("signs"), **arguments)


@pytest.mark.parametrize("message", BAD_SGD)
def test_bad_arguments_of_sgd_get_a_clear_error(message: str) -> None:
    arguments = {"features": FEATURES, "signs": SIGNS, "loss": "hinge"} | BAD_SGD[message]
    with pytest.raises((TypeError, ValueError), match=message):
        fit_sgd(arguments.pop("features"), arguments.pop("signs"), **arguments)


def test_a_step_checks_its_arguments() -> None:
    weights, intercept = torch.zeros(4), torch.tensor(0.0)
    with pytest.raises(ValueError, match="`rate` should be finite and above 0"):
        sgd_step(weights, intercept, FEATURES, SIGNS, loss="hinge", rate=-1.0)
    with pytest.raises(ValueError, match=r"`weights` should have shape \(4,\)"):
        sgd_step(weights[:3], intercept, FEATURES, SIGNS, loss="hinge", rate=1.0)
    with pytest.raises(TypeError, match=r"`intercept` should be a torch\.Tensor"):
        regularized_risk(weights, 0.0, FEATURES, SIGNS, loss="hinge")
    with pytest.raises(TypeError, match="`weights` should have a floating-point dtype"):
        regularized_risk(weights.long(), intercept, FEATURES, SIGNS, loss="hinge")


def test_a_fit_is_not_mapped() -> None:
    with pytest.raises(TypeError, match="`features` should have values to be read, outside of vmap"):
        torch.vmap(lambda x: fit_linear(x, SIGNS, loss="hinge", l2=0.1).weights)(torch.stack([FEATURES, FEATURES]))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.ones(2, 3), r"`features` should have shape \[\.\.\., 4\], a column a weight; found \(2, 3\)"),
        (torch.ones(()), r"`features` should have shape \[\.\.\., 4\]"),
        (torch.ones(2, 4, dtype=torch.float64), "`features` should have the dtype torch.float32 to match `weights`; found torch.float64"),
        (torch.ones(2, 4, dtype=torch.long), "`features` should have a floating-point dtype"),
    ],
)
def test_scores_check_their_features(features: Tensor, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        LinearFit(torch.ones(4), torch.zeros(()), torch.zeros(1)).scores(features)


def test_separable_examples_without_l2_warn() -> None:
    """The logistic loss has no minimum there: the objective goes on falling."""
    with pytest.warns(RuntimeWarning, match="has not reached a minimum in 5 steps"):
        fit_linear(FEATURES, SIGNS, loss="logistic", steps=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_linear(FEATURES, SIGNS, loss="logistic", l2=0.1)


def test_a_generator_of_batches_lasts_one_epoch() -> None:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(3):
            yield FEATURES, SIGNS

    assert len(fit_sgd(batches(), loss="hinge", epochs=1).objective) == 3


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(3))
def test_steps_back_and_forth_across_a_kink_end(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, rounding lets a step across a kink pass as one that does not go up; a thousand of those, in each convex problem, took minutes."""
    draw = torch.Generator().manual_seed(seed)
    signs = 2 * (torch.arange(60) % 3 > 0).long() - 1
    features = torch.randn(60, 4, generator=draw) + signs[:, None]
    sweeps = 0

    def counted(*arguments: Any, sweep: Any = Problem.sweep, **options: Any) -> Any:
        nonlocal sweeps
        sweeps += 1
        assert sweeps < 5_000
        return sweep(*arguments, **options)

    monkeypatch.setattr(Problem, "sweep", counted)
    narrow = fit_linear(features, signs, loss="ramp", solver="cccp", starts=4, l2=0.01, generator=torch.Generator().manual_seed(0))
    monkeypatch.undo()
    wide = fit_linear(features.double(), signs, loss="ramp", solver="cccp", starts=4, l2=0.01, generator=torch.Generator().manual_seed(0))
    assert float(narrow.objective[-1]) <= float(wide.objective[-1]) + 1e-3
