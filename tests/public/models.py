"""What is fitted: lines, stumps, weights of tasks; and what the fits are made of."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from lossbook import boosting, linear, multitask, zero_one
from lossbook.book import data
from tests.public.by_element import PLAIN
from tests.public.kinds import MODERATE, REDUCTIONS, UNIT, Arguments, Bad, Spec, always, array, choice, count, floats, number, signs, tensor

Array = np.ndarray[Any, np.dtype[np.float64]]
SMOOTH = ("logistic", "squared", "hinge", "ramp")


def truth(value: Tensor) -> Any:
    """Signs: -1 and +1, one an example."""
    yield Bad("a list", value.tolist(), TypeError)
    yield Bad("an axis more", value[..., None], ValueError)
    yield Bad("one more", torch.cat([value, value.new_ones(1)]), ValueError)
    yield Bad("truth values", value > 0, TypeError)
    if value.numel():
        yield Bad("labels", torch.zeros_like(value), ValueError)
        yield Bad("NaN", torch.full(value.shape, math.nan), ValueError)


def a_loss(value: Any) -> Any:
    yield Bad("another word", "average", ValueError)
    yield Bad("a number", 3, TypeError)
    yield Bad("no slope", "zero_one", ValueError)


def in_memory(value: Tensor) -> Any:
    """A list or an array could be a stream of batches."""
    yield from (bad for bad in tensor(finite=True)(value) if bad.label not in ("a list", "an array"))
    yield Bad("a number", 3, TypeError)


FEATURES = tensor(shaped=False)
RATE = number(0, low_open=True)


def examples(fewest: int = 1, columns: int = 2, **more: Any) -> st.SearchStrategy[Arguments]:
    return st.integers(fewest, 6).flatmap(lambda n: st.fixed_dictionaries({"features": floats((n, columns), MODERATE), "signs": signs((n,)), **more}))


def lines(**more: Any) -> st.SearchStrategy[Arguments]:
    line = {"weights": floats((2,), MODERATE), "intercept": floats((), MODERATE)}
    return examples(**line, loss=st.sampled_from(SMOOTH), l2=st.sampled_from([0.0, 0.5]), l1=st.sampled_from([0.0, 0.25]), **more)


def risk_reference(*, weights: Tensor, intercept: Tensor, features: Tensor, signs: Tensor, loss: str, l2: float, l1: float) -> float:
    w = array(weights)
    m = (array(features) @ w + float(intercept)) * signs.numpy()
    return float(PLAIN[loss](m).mean() + l2 / 2 * (w**2).sum() + l1 * np.abs(w).sum())


def step_reference(*, weights: Tensor, intercept: Tensor, features: Tensor, signs: Tensor, loss: str, l2: float, l1: float, rate: float) -> Any:
    """The slope by a difference to the right; then shrink, correct, and move towards 0."""
    w, x, y = array(weights), array(features), signs.numpy()
    m = (x @ w + float(intercept)) * y
    slope = (PLAIN[loss](m + 1e-6) - PLAIN[loss](m + 1e-12)) / (1e-6 - 1e-12)
    moved = (1 - rate * l2) * w - rate * ((slope * y) @ x) / len(y)
    return np.sign(moved) * np.maximum(np.abs(moved) - rate * l1, 0), float(intercept) - rate * (slope * y).mean()


def step_check(result: Any, **arguments: Any) -> None:
    w, b = step_reference(**arguments)
    assert np.allclose(array(result.weights), w, atol=2e-3)
    assert abs(float(result.intercept) - b) < 2e-3


def fit_check(result: linear.LinearFit, *, features: Tensor, signs: Tensor, loss: str, l2: float, **_: Any) -> None:
    """No step from the line that is found lowers the objective."""

    def risk(weights: Array, intercept: float) -> float:
        return float(PLAIN[loss](signs.numpy() * (array(features) @ weights + intercept)).mean() + l2 / 2 * (weights**2).sum())

    w, b = array(result.weights), float(result.intercept)
    best = risk(w, b)
    assert result.weights.shape == features.shape[1:]
    for move in product((-0.05, 0.0, 0.05), repeat=3):
        assert best <= risk(w + np.array(move[:2]), b + move[2]) + 1e-5 * (1 + best)


def sgd_check(result: linear.LinearFit, *, features: Tensor, epochs: int, **arguments: Any) -> None:
    """All examples make one batch: a step an epoch from 0, one after the other."""
    weights, intercept = np.zeros(features.shape[1]), 0.0
    for _ in range(epochs):
        line = linear.Line(torch.from_numpy(weights), torch.tensor(intercept, dtype=torch.float64))
        weights, intercept = step_reference(weights=line.weights, intercept=line.intercept, features=features, **arguments)
    assert np.allclose(array(result.weights), weights, rtol=1e-3, atol=2e-3)
    assert np.allclose(float(result.intercept), intercept, rtol=1e-3, atol=2e-3)
    assert len(result.objective) == epochs


def best_line_check(result: zero_one.BestLine, *, features: Tensor, signs: Tensor) -> None:
    """It makes the errors that it says, and none of many lines makes fewer."""
    x, y = array(features), signs.numpy()

    def errors(weights: Array, intercept: float) -> int:
        return int((y * (x @ weights + intercept) <= 0).sum())

    assert errors(array(result.weights), float(result.intercept)) == result.errors
    generator = np.random.default_rng(0)
    for _ in range(200):
        assert errors(generator.normal(size=2), generator.normal() * 8) >= result.errors
    assert result.errors <= min((y == 1).sum(), (y == -1).sum())


def smoothed_reference(*, weights: Tensor, features: Tensor, signs: Tensor, sigma: float) -> Array:
    from scipy.stats import norm

    x, w = array(features), array(weights)
    length = np.sqrt((x**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = np.where(length == 0, 1.0, norm.cdf(-signs.numpy() * (x @ w) / (sigma * length)))
    return found


# What is scored: three columns, and a constant rule among the four.
GRID = torch.cartesian_prod(*[torch.arange(-1.0, 2.0)] * 3).double()
BOOSTED = boosting.AdaBoost(4).fit(GRID, torch.where(GRID.sum(1) > 1, 1, -1))
assert -1 in [stump.feature for stump in BOOSTED.stumps]
SCORED = st.fixed_dictionaries({"features": st.integers(0, 6).flatmap(lambda n: floats((n, 3), MODERATE))})


def table(value: Tensor) -> Any:
    """Features to be scored: an infinity lies beyond all thresholds, NaN nowhere."""
    yield from tensor(shaped=False)(value)
    yield Bad("a column less", value[:, :0], ValueError)
    if value.numel():
        yield Bad("NaN", torch.full_like(value, math.nan), ValueError)


def boosting_check(result: boosting.AdaBoost, *, features: Tensor, signs: Tensor) -> None:
    """Weights of a distribution; errors below a coin's; the exponential loss is the product of 2 √(e (1 − e))."""
    assert abs(float(result.weights.sum()) - 1) < 1e-9
    errors = array(result.errors)
    assert bool(((errors >= 0) & (errors < 0.5)).all())
    if len(errors) and errors.min() > 1e-12:
        scores = sum(float(a) * array(h(features)) for a, h in zip(result.alphas, result.stumps, strict=True))
        assert abs(np.exp(-signs.numpy() * scores).mean() - np.prod(2 * np.sqrt(errors * (1 - errors)))) < 1e-9


def votes(features: Tensor) -> Array:
    """The weighted votes after each round, by loops."""
    found = np.zeros((len(BOOSTED.stumps) + 1, len(features)))
    for t, (alpha, stump) in enumerate(zip(BOOSTED.alphas.tolist(), BOOSTED.stumps, strict=True)):
        for row, x in enumerate(features.double().tolist()):
            found[t + 1, row] = found[t, row] + alpha * (stump.left if x[stump.feature] <= stump.threshold else stump.right)
    return found


def descent_check(result: boosting.Descent, *, features: Tensor, signs: Tensor, rounds: int) -> None:
    assert bool((result.losses.diff() <= 1e-12).all())
    assert abs(float(result.losses[0]) - 1) < 1e-12
    assert abs(float(torch.exp(-result.margins).mean() - result.losses[-1])) < 1e-9


WEIGHTING = multitask.UncertaintyWeighting(["regression", "classification"])


def uncertainty(losses: Tensor) -> Tensor:
    """With ln s² = 0.5 and −1: not where the module begins."""
    found: Tensor = torch.func.functional_call(WEIGHTING, {"log_variances": torch.tensor([0.5, -1.0], dtype=torch.float64)}, (losses,))
    return found


def jacobian(weights: Tensor) -> Tensor:
    free = weights.detach().clone().requires_grad_()
    return multitask.task_gradients(torch.stack([free.square().sum(), free[0]]), [free])


def pcgrad_reference(*, gradients: Tensor, order: Tensor) -> Array:
    rows = array(gradients)
    total = np.zeros(rows.shape[1])
    for task, own in enumerate(rows):
        g = own.copy()
        for other in order.tolist():
            if other != task and (product_ := g @ rows[other]) < 0:
                g -= product_ / (rows[other] @ rows[other]) * rows[other]
        total += g
    return total


def mgda_check(result: Tensor, *, gradients: Tensor) -> None:
    """On the simplex, and every gradient agrees with the step at least as much as the step with itself, to the rounding of the weights."""
    w, rows = array(result), array(gradients)
    rows = rows / max(np.abs(rows).max(initial=0), 1e-9)
    step, slack = w @ rows, 10 * torch.finfo(result.dtype).eps
    assert abs(w.sum() - 1) < slack
    assert bool((w >= 0).all())
    assert bool((rows @ step >= step @ step - slack * (1 + step @ step)).all())


def standard_reference(*, features: Tensor) -> Array:
    x = array(features)
    spread = x.std(0)
    found: Array = (x - x.mean(0)) / np.where(spread > 0, spread, 1)
    return found


def scenes_check(result: data.Scenes, *, count: int, size: int, fewest: int, most: int, generator: Any) -> None:
    assert result.images.shape == (count, size, size)
    for boxes, names, masks in zip(result.boxes_xyxy, result.labels, result.masks, strict=True):
        assert len(boxes) == len(names) == len(masks) <= most
        assert not bool((masks.sum(0) > 1).any())
        for (x1, y1, x2, y2), mask in zip(boxes.long().tolist(), masks, strict=True):
            assert int(mask[y1:y2, x1:x2].sum()) == int(mask.sum())


GRADIENTS = st.tuples(st.integers(1, 3), st.integers(1, 3)).flatmap(lambda shape: floats(shape, st.integers(-4, 4).map(float)))
TASKS = tensor(finite=True, shaped=False)


def of_one_dtype(value: Tensor) -> Any:
    yield from tensor()(value)
    yield Bad("another dtype", value.float() if value.dtype == torch.float64 else value.double(), TypeError)


LINE = {
    "weights": of_one_dtype,
    "intercept": tensor(),
    "features": FEATURES,
    "signs": truth,
    "loss": a_loss,
    "l2": number(0),
    "l1": number(0),
}
BATCH = examples(columns=3)

SPECS = [
    Spec("linear.regularized_risk", linear.regularized_risk, lines(), LINE, reference=risk_reference),
    Spec(
        "linear.sgd_step",
        linear.sgd_step,
        lines(rate=st.just(0.25)),
        {**LINE, "rate": RATE},
        check=step_check,
        narrow=False,
        hides_nan=dict.fromkeys(LINE, always),
    ),
    Spec(
        "linear.fit_linear",
        linear.fit_linear,
        examples(2, loss=st.sampled_from(["logistic", "squared", "hinge"]), l2=st.just(0.5), solver=st.sampled_from(["lbfgs", "newton"])),
        {
            "features": in_memory,
            "signs": truth,
            "loss": a_loss,
            "l2": number(0),
            "l1": number(0),
            "solver": choice,
            "intercept": choice,
            "starts": count(),
            "steps": count(),
            "tolerance": RATE,
        },
        check=fit_check,
        narrow=False,
    ),
    Spec(
        "linear.fit_sgd",
        linear.fit_sgd,
        examples(loss=st.sampled_from(["logistic", "squared"]), l2=st.just(0.5), l1=st.just(0.25), rate=st.just(2**-6), epochs=st.just(2)),
        {
            "features": in_memory,
            "signs": truth,
            "loss": a_loss,
            "l2": number(0),
            "l1": number(0),
            "intercept": choice,
            "schedule": choice,
            "average": choice,
            "batch_size": count(),
            "epochs": count(),
            "rate": RATE,
        },
        check=sgd_check,
        narrow=False,
    ),
    Spec(
        "linear.LinearFit.scores",
        lambda features, weights: linear.LinearFit(weights, torch.tensor(0.5, dtype=torch.float64).to(weights), torch.zeros(1)).scores(features),
        st.fixed_dictionaries({"features": floats((3, 2), MODERATE), "weights": floats((2,), MODERATE)}),
        {},
        reference=lambda features, weights: array(features) @ array(weights) + 0.5,
    ),
    Spec(
        "zero_one.best_line", zero_one.best_line, examples(), {"features": tensor(finite=True), "signs": truth}, check=best_line_check, narrow=False
    ),
    Spec(
        "zero_one.count_dichotomies",
        zero_one.count_dichotomies,
        st.fixed_dictionaries({"count": st.integers(1, 9), "dimension": st.integers(1, 4)}),
        {"count": count(), "dimension": count()},
        reference=lambda count, dimension: 2 * sum(math.comb(count - 1, k) for k in range(dimension + 1)),
    ),
    Spec(
        "zero_one.smoothed_risk",
        zero_one.smoothed_risk,
        examples(0, weights=floats((2,), MODERATE), sigma=st.sampled_from([0.5, 2.0]), reduction=REDUCTIONS),
        {"weights": of_one_dtype, "features": tensor(), "signs": truth, "sigma": RATE, "reduction": choice},
        reference=smoothed_reference,
        reduces=True,
        narrow=False,
        hides_nan={"weights": lambda arguments: not bool((arguments["features"] != 0).any())},  # an empty row is an error whatever the weights
    ),
    Spec(
        "boosting.AdaBoost.fit",
        lambda features, signs: boosting.AdaBoost(4).fit(features, signs),
        BATCH,
        {"features": tensor(finite=True, shaped=False), "signs": truth},
        check=boosting_check,
    ),
    Spec("boosting.AdaBoost.staged_scores", BOOSTED.staged_scores, SCORED, {"features": table}, reference=lambda features: votes(features)[1:]),
    Spec(
        "boosting.AdaBoost.decision_function", BOOSTED.decision_function, SCORED, {"features": table}, reference=lambda features: votes(features)[-1]
    ),
    Spec(
        "boosting.Stump.__call__",
        lambda features: boosting.Stump(1, 0.5, -1, 1)(features),
        st.fixed_dictionaries({"features": floats((4, 2), MODERATE)}),
        {"features": FEATURES},
        reference=lambda features: np.where(array(features)[:, 1] <= 0.5, -1.0, 1.0),
    ),
    Spec(
        "boosting.coordinate_descent",
        boosting.coordinate_descent,
        examples(columns=2, rounds=st.just(3)),
        {"features": tensor(finite=True, shaped=False), "signs": truth, "rounds": count(), "step": RATE},
        check=descent_check,
    ),
    Spec(
        "multitask.UncertaintyWeighting.forward",
        uncertainty,
        st.fixed_dictionaries({"losses": floats((2,), UNIT)}),
        {"losses": tensor(low=0)},
        reference=lambda losses: 0.5 * math.exp(-0.5) * array(losses)[0] + math.exp(1) * array(losses)[1] + (0.5 - 1.0) / 2,
    ),
    Spec(
        "multitask.task_gradients",
        jacobian,
        st.fixed_dictionaries({"weights": floats((3,), MODERATE)}),
        {},
        reference=lambda weights: np.stack([2 * array(weights), np.eye(3)[0]]),
        hides_nan={"weights": always},
    ),
    Spec(
        "multitask.pcgrad",
        multitask.pcgrad,
        GRADIENTS.flatmap(lambda g: st.fixed_dictionaries({"gradients": st.just(g), "order": st.permutations(range(len(g))).map(torch.tensor)})),
        {"gradients": TASKS, "order": lambda value: iter([Bad("no permutation", value + 1, ValueError), Bad("floats", value.double(), TypeError)])},
        reference=pcgrad_reference,
    ),
    Spec("multitask.mgda", multitask.mgda, st.fixed_dictionaries({"gradients": GRADIENTS}), {"gradients": TASKS}, check=mgda_check),
    Spec(
        "data.standardize",
        data.standardize,
        st.tuples(st.integers(1, 4), st.integers(0, 3)).flatmap(lambda shape: st.fixed_dictionaries({"features": floats(shape, MODERATE)})),
        {"features": tensor(shaped=False)},
        reference=standard_reference,
        narrow=False,
    ),
    Spec(
        "data.digit_scenes",
        data.digit_scenes,
        st.fixed_dictionaries(
            {
                "count": st.integers(0, 2),
                "size": st.sampled_from([16, 24]),
                "fewest": st.just(1),
                "most": st.integers(1, 3),
                "generator": st.builds(lambda seed: torch.Generator().manual_seed(seed), st.integers(0, 9)),
            }
        ),
        {
            "count": count(0),
            "size": count(16),
            "fewest": count(0),
            "most": count(1),
            "pool": lambda _: tensor(floating=False, low=0, high=1796, sized=False)(torch.arange(3)),
        },
        check=scenes_check,
    ),
]
