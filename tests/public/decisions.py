"""Probabilities and what is done with them: calibration, decisions, decisions in sequence, groups."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from lossbook import consistency, decisions, fairness, reliability
from tests.public.kinds import (
    MODERATE,
    REDUCTIONS,
    UNIT,
    Arguments,
    Bad,
    Spec,
    always,
    array,
    choice,
    count,
    distributions,
    flag,
    floats,
    labels,
    number,
    tensor,
)

Array = np.ndarray[Any, np.dtype[np.float64]]
LABELS = tensor(floating=False, low=0)


def forecast_kind(value: Tensor) -> Any:
    """Probabilities, of which a row [K] sums to 1."""
    yield from tensor(low=0, high=1, shaped=False)(value)
    if value.ndim > 1 and value.numel():
        yield Bad("no distribution", torch.full_like(value, 0.9), ValueError)


def distribution_kind(value: Tensor) -> Any:
    yield from tensor(low=0, high=1, shaped=False)(value)
    if value.numel():
        yield Bad("no distribution", value * 0.5, ValueError)


def label_kind(value: Tensor) -> Any:
    """Class ids, also where one of them is ignored."""
    yield from LABELS(value)
    if value.numel():
        yield Bad("another label", torch.full_like(value, 100), ValueError)


def whole_or_none(value: Any) -> Any:
    yield Bad("a fraction", 0.5, TypeError)
    yield Bad("a truth value", True, TypeError)


# --- calibration ---------------------------------------------------------------------------------------------------------------------------------


def forecasts(fewest: int = 0, columns: bool = True, by_class: bool = False, **more: Any) -> st.SearchStrategy[Arguments]:
    """P(label 1) [N] or class probabilities [N, K], and labels, of which some are ignored and some weigh more than others."""

    def draw(t: tuple[int, int]) -> st.SearchStrategy[Arguments]:
        n, k = t
        probs = floats((n,), UNIT) if k == 1 else distributions((n, k), 1)
        classes = {"per_class": st.booleans() if k > 1 else st.just(False)} if by_class else {}
        given = st.fixed_dictionaries({"probs": probs, "labels": labels((n,), max(k, 2)), **classes, **more})
        return st.tuples(given, st.sampled_from([None, None, -100, 255, 1]), weights(n), st.integers(0, 2 ** max(n - 1, 0) - 1)).map(left_out)

    return st.tuples(st.integers(fewest, 6), st.sampled_from([1, 3] if columns else [1])).flatmap(draw)


def weights(n: int) -> st.SearchStrategy[Tensor | None]:
    """What each of n cases weighs, some nothing; or None."""
    return st.none() | floats((n,), st.floats(0, 4, width=16) | st.just(0.0))


def left_out(drawn: tuple[Arguments, int | None, Tensor | None, int]) -> Arguments:
    """The cases at the ones of a number in binary are ignored, where the labels' dtype holds `ignore_index`; the last case never is."""
    arguments, ignore_index, sample_weight, ones = drawn
    truth = arguments["labels"]
    if ignore_index is not None and torch.iinfo(truth.dtype).min <= ignore_index <= torch.iinfo(truth.dtype).max:
        chosen = torch.tensor([bool(ones >> place & 1) for place in range(len(truth))], dtype=torch.bool)
        arguments = {**arguments, "labels": truth.masked_fill(chosen, ignore_index)}
        arguments["labels"][-1:] = 0
    return {**arguments, "ignore_index": ignore_index, "sample_weight": sample_weight}


def there(values: Tensor, labels: Tensor, ignore_index: int | None, sample_weight: Tensor | None) -> tuple[Array, Array, Array]:
    """What is not ignored: values, labels and weights."""
    truth = labels.numpy().astype(np.int64)
    stays = np.ones(len(truth), dtype=bool) if ignore_index is None else truth != ignore_index
    weight = np.ones(len(truth)) if sample_weight is None else array(sample_weight)
    return array(values)[stays], truth[stays], weight[stays]


def compared(probs: Array, truth: Array, per_class: bool) -> list[tuple[Array, Array]]:
    """What is said, and whether it came: once, or for each class."""
    if probs.ndim == 1:
        return [(probs, truth.astype(float))]
    if per_class:
        return [(probs[:, k], (truth == k).astype(float)) for k in range(probs.shape[1])]
    return [(probs.max(1, initial=0), (probs.argmax(1) == truth).astype(float))]


def reference_edges(confidence: Array, weight: Array, bins: int, binning: str) -> Array:
    """Of numpy; of equal mass, the least probability below or at which there is as large a share as it should be."""
    if binning == "width":
        return np.arange(bins + 1) / bins
    order = np.argsort(confidence)
    sums, total = np.cumsum(weight[order]), weight.sum()
    inner = [min((confidence[order][i] for i in range(len(order)) if sums[i] * bins >= b * total), default=0.0) for b in range(1, bins)]
    return np.array([0.0, *(inner if total else [0.0] * (bins - 1)), 1.0])


def binned(
    probs: Tensor, labels: Tensor, bins: int, binning: str, per_class: bool, ignore_index: int | None, sample_weight: Tensor | None
) -> list[tuple[Array, Array, Array, Array]]:
    """Edges, and bin by bin what is in it, its mean probability and its frequency; once, or for each class."""
    values, truth, weight = there(probs, labels, ignore_index, sample_weight)
    found = []
    for confidence, hits in compared(values, truth, per_class):
        edges = reference_edges(confidence, weight, bins, binning)
        inside = [(1 + (confidence[:, None] > edges[1:-1]).sum(1)) == b for b in range(1, bins + 1)]
        sums = np.array([[weight[i].sum(), (weight * confidence)[i].sum(), (weight * hits)[i].sum()] for i in inside])
        with np.errstate(invalid="ignore"):
            found.append((edges, sums[:, 0], sums[:, 1] / sums[:, 0], sums[:, 2] / sums[:, 0]))
    return found


def error_reference(counts: Array, confidence: Array, frequency: Array, norm: str) -> float:
    gaps = np.where(counts > 0, np.abs(confidence - frequency), 0.0)
    shares = counts / (counts.sum() or 1)
    return {"max": gaps.max(), "l1": (shares * gaps).sum()}.get(norm, math.sqrt((shares * gaps**2).sum()))


def calibration_reference(*, norm: str, **arguments: Any) -> float:
    return float(np.mean([error_reference(*curve[1:], norm) for curve in binned(**arguments)]))


def curve_reference(**arguments: Any) -> list[Array]:
    curves = binned(**arguments)
    return [np.stack(parts) if arguments["per_class"] else parts[0] for parts in zip(*curves, strict=True)]


def curves() -> st.SearchStrategy[Arguments]:
    """Of one kind of case or of two, with empty bins."""
    return st.sampled_from([(3,), (2, 3)]).flatmap(
        lambda shape: st.fixed_dictionaries(
            {
                "counts": floats(shape, st.sampled_from([0.0, 1.0, 2.5, 7.0])),
                "confidence": floats(shape, UNIT),
                "frequency": floats(shape, UNIT),
                "norm": st.sampled_from(["l1", "l2", "max"]),
            }
        )
    )


def brier_reference(*, probs: Tensor, labels: Tensor, ignore_index: int | None, sample_weight: Tensor | None, reduction: str) -> Any:
    truth, weight = labels.numpy().astype(np.int64), np.ones(len(labels)) if sample_weight is None else array(sample_weight)
    if ignore_index is not None:
        weight = np.where(truth == ignore_index, 0.0, weight)
        truth = np.where(truth == ignore_index, 0, truth)
    each = (array(probs) - truth) ** 2 if probs.ndim == 1 else ((array(probs) - np.eye(probs.shape[1])[truth]) ** 2).sum(1)
    return {"none": weight * each, "sum": (weight * each).sum(), "mean": (weight * each).sum() / (weight.sum() or 1)}[reduction]


def murphy_check(result: reliability.MurphyDecomposition, *, bins: int | None, **arguments: Any) -> None:
    score = float(brier_reference(**arguments, reduction="mean"))
    parts = [float(part) for part in result]
    assert abs(parts[0] - parts[1] + parts[2] + parts[3] - score) < 1e-9
    assert min(parts[:3]) >= -1e-15
    assert bins is not None or abs(parts[3]) < 1e-12


@st.composite
def mixed_up(draw: st.DrawFn) -> Arguments:
    """Logits that favour their labels on average, and are wrong at least once; with cases that are ignored, whatever stands there, and weights."""
    truth = draw(labels((8,), 2, (np.int64,)))
    noise = draw(floats((8,), st.floats(-0.5, 0.5, width=16)))
    logits = (2.0 * truth - 1) * 2 + noise
    logits[0] = -logits[0]
    ignore_index, sample_weight = draw(st.sampled_from([None, 2])), draw(st.none() | floats((8,), st.sampled_from([0.5, 1.0, 1.25])))
    if ignore_index is not None:
        truth[1], logits[1] = 2, 50.0
    return {"logits": logits, "labels": truth, "ignore_index": ignore_index, "sample_weight": sample_weight}


def temperature_check(result: Tensor, *, logits: Tensor, **arguments: Any) -> None:
    values, truth, weight = there(logits, **arguments)

    def risk(temperature: float) -> float:
        return float((weight * np.logaddexp(0, -(2 * truth - 1) * values / temperature)).sum() / weight.sum())

    best = float(result)
    assert best > 0
    assert all(risk(best) <= risk(best * factor) + 1e-12 for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0))


def platt_check(result: reliability.PlattScaling, *, scores: Tensor, **arguments: Any) -> None:
    values, y, weight = there(scores, **arguments)
    ones, zeros = (weight * y).sum(), (weight * (1 - y)).sum()
    targets = np.where(y == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))

    def risk(slope: float, intercept: float) -> float:
        fitted = slope * values + intercept
        return float((weight * (np.logaddexp(0, fitted) - targets * fitted)).sum())

    a, b = float(result.slope), float(result.intercept)
    assert all(risk(a, b) <= risk(a + da, b + db) + 1e-9 for da in (-0.1, -1e-4, 0, 1e-4, 0.1) for db in (-0.1, -1e-4, 0, 1e-4, 0.1))


def report_reference(*, estimates: Tensor, eta: Tensor) -> tuple[Array, ...]:
    e, truth = array(estimates), array(eta)
    bias, variance = (e.mean(0) - truth) ** 2, e.var(0)
    wrong = ((e > 0.5) != (truth > 0.5)).mean(0)
    return bias, variance, bias + variance, np.minimum(truth, 1 - truth) + np.abs(2 * truth - 1) * wrong


ESTIMATES = st.integers(0, 3).flatmap(
    lambda n: st.fixed_dictionaries({"estimates": st.integers(1, 3).flatmap(lambda r: floats((r, n), UNIT)), "eta": floats((n,), UNIT)})
)


# --- one decision --------------------------------------------------------------------------------------------------------------------------------

COSTS = st.floats(0, 8, width=16)
MATRICES = st.tuples(st.sampled_from([(), (0,), (3,)]), st.integers(1, 3), st.integers(1, 3)).flatmap(
    lambda t: st.fixed_dictionaries({"probs": distributions((*t[0], t[1]), len(t[0])), "cost_matrix": floats((t[1], t[2]), COSTS)})
)


def matrix_kind(value: Tensor) -> Any:
    yield from tensor(floating=None, finite=True, shaped=False)(value)
    yield Bad("a vector", value[0], ValueError)
    yield Bad("a class more", torch.cat([value, value[:1]]), ValueError)
    yield Bad("no actions", value[:, :0], ValueError)


def expected_reference(*, probs: Tensor, cost_matrix: Tensor) -> Array:
    found: Array = array(probs) @ array(cost_matrix)
    return found


def decision_check(result: Tensor, *, probs: Tensor, cost_matrix: Tensor) -> None:
    costs = expected_reference(probs=probs, cost_matrix=cost_matrix)
    paid = np.take_along_axis(costs, result.numpy()[..., None], -1)[..., 0]
    assert bool((paid <= costs.min(-1) + 50 * torch.finfo(probs.dtype).eps * (1 + np.abs(costs).max(initial=0))).all())


def average_reference(*, decisions: Tensor, labels: Tensor, cost_matrix: Tensor) -> float:
    paid = [float(cost_matrix[y, a]) for y, a in zip(labels.tolist(), decisions.tolist(), strict=True)]
    return sum(paid) / max(len(paid), 1)


AVERAGES = st.integers(0, 4).flatmap(
    lambda n: st.fixed_dictionaries({"decisions": labels((n,), 3), "labels": labels((n,), 2), "cost_matrix": floats((2, 3), COSTS)})
)


def square_kind(value: Tensor) -> Any:
    yield Bad("a list", value.tolist(), TypeError)
    yield Bad("a vector", value[0], ValueError)
    yield Bad("an axis more", value[..., None], ValueError)


# --- decisions in sequence -----------------------------------------------------------------------------------------------------------------------


@cache
def lake() -> Any:
    import gymnasium

    return gymnasium.make("FrozenLake-v1")


def environment_kind(value: Any) -> Any:
    import gymnasium

    yield Bad("a text", "FrozenLake-v1", TypeError)
    yield Bad("none", None, TypeError)
    yield Bad("no table", gymnasium.make("CartPole-v1"), TypeError)
    yield Bad("half of the probability", spoilt([(0.5, 0, 0.0, False)]), ValueError)
    yield Bad("too much of it", spoilt([(0.6, 0, 0.0, False)] * 2), ValueError)
    yield Bad("a state that there is not", spoilt([(1.0, 16, 0.0, False)]), ValueError)
    yield Bad("a reward that is no number", spoilt([(1.0, 0, math.nan, False)]), ValueError)
    yield Bad("three of four", spoilt([(1.0, 0, 0.0)]), ValueError)


def spoilt(outcomes: Any) -> Any:
    """A frozen lake with other outcomes of one action in one state."""
    import gymnasium

    env = gymnasium.make("FrozenLake-v1")
    env.unwrapped.P[3][2] = outcomes  # type: ignore[attr-defined]
    return env


DISCOUNT = number(0, 1, high_open=True)
POLICIES = st.fixed_dictionaries(
    {"env": st.builds(lake), "policy": labels((16,), 4) | distributions((16, 4), 1), "discount": st.sampled_from([0.0, 0.5, 0.9])}
)


def policy_kind(value: Tensor) -> Any:
    yield Bad("a list", value.tolist(), TypeError)
    yield Bad("a state more", torch.cat([value, value[:1]]), ValueError)
    yield Bad("an axis more", value[..., None], ValueError)
    if value.dtype.is_floating_point:
        yield Bad("no distributions", torch.ones_like(value), ValueError)
        yield Bad("NaN", torch.full_like(value, math.nan), ValueError)
    else:
        yield Bad("an action too many", torch.full_like(value, 4), ValueError)


def start_kind(value: Tensor) -> Any:
    yield Bad("a list", value.tolist(), TypeError)
    yield Bad("a state more", torch.cat([value, value[:1]]), ValueError)
    yield Bad("a text", "start", TypeError)
    yield Bad("no distribution", value + 0.5, ValueError)


def rollout(policy: Tensor, discount: float) -> tuple[Array, Array, Array]:
    """Values, action values and visits of a policy, by loops over the table until nothing moves."""
    table = lake().unwrapped.P
    probs = np.eye(4)[policy.numpy().astype(int)] if policy.ndim == 1 else array(policy)
    values, q = np.zeros(16), np.zeros((16, 4))
    for _ in range(400):
        for s in range(16):
            for a in range(4):
                q[s, a] = sum(p * (r + discount * (0 if done else values[t])) for p, t, r, done in table[s][a])
        values = (probs * q).sum(1)
    visits = np.zeros(16)
    for _ in range(400):
        following = np.eye(16)[0]
        for s in range(16):
            for a in range(4):
                for p, t, _, done in table[s][a]:
                    following[t] += 0 if done else discount * visits[s] * probs[s, a] * p
        visits = following
    return values, q, visits


@cache
def optimum(discount: float) -> tuple[Array, Array]:
    table = lake().unwrapped.P
    values = np.zeros(16)
    for _ in range(600):
        q = np.array([[sum(p * (r + discount * (0 if done else values[t])) for p, t, r, done in table[s][a]) for a in range(4)] for s in range(16)])
        values = q.max(1)
    return values, q


def cost_reference(*, q_values: Tensor) -> Array:
    q = array(q_values)
    found: Array = q.max(-1, keepdims=True) - q
    return found


def policy_cost(*, logits: Tensor, costs: Tensor, weight: Tensor | None) -> Array:
    z = array(logits) - array(logits).max(1, keepdims=True)
    probs = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    found: Array = (probs * array(costs)).sum(1) * (1 if weight is None else array(weight))
    return found


OPPORTUNITIES = st.tuples(st.integers(0, 3), st.integers(1, 4)).flatmap(
    lambda t: st.fixed_dictionaries(
        {"logits": floats(t), "costs": floats(t, MODERATE), "weight": st.none() | floats((t[0],), UNIT), "reduction": REDUCTIONS}
    )
)

# --- groups --------------------------------------------------------------------------------------------------------------------------------------


def grouped(n: int) -> st.SearchStrategy[Any]:
    """Groups of n people: one feature, or two, in one tensor or in a list. The last one has the highest ids, so that all rates have one shape."""

    def ids(shape: tuple[int, ...], most: int) -> st.SearchStrategy[Tensor]:
        return labels(shape, most + 1).map(lambda drawn: torch.cat([drawn[:-1], torch.full_like(drawn[-1:], most)]))

    return ids((n,), 2) | ids((n, 2), 2) | st.tuples(ids((n,), 2), ids((n,), 1)).map(list)


def people(with_labels: bool, gap: bool = True) -> st.SearchStrategy[Arguments]:
    def draw(n: int) -> st.SearchStrategy[Arguments]:
        drawn = {"decisions": labels((n,), 2) | floats((n,), UNIT), "groups": grouped(n), "sample_weight": weights(n)}
        drawn |= {"method": st.sampled_from(["between_groups", "to_overall"])} if gap else {}
        return st.fixed_dictionaries({**drawn, **({"labels": labels((n,), 2)} if with_labels else {})})

    return st.integers(1, 8).flatmap(draw)


def rates(decisions: Tensor, groups: Any, labels: Tensor | None, sample_weight: Tensor | None, label: int = 1) -> tuple[Array, float]:
    """By counting, a place for each combination of ids, and of all together; NaN where there is nobody."""
    columns = groups if isinstance(groups, list) else groups.reshape(len(groups), -1).unbind(1)
    found = np.full([int(column.max()) + 1 for column in columns], math.nan)
    weight = [1.0] * len(decisions) if sample_weight is None else sample_weight.tolist()
    among = [True] * len(decisions) if labels is None else [y == label for y in labels.tolist()]
    people = [(w, d, *ids) for w, d, y, *ids in zip(weight, decisions.tolist(), among, *(c.tolist() for c in columns), strict=True) if y]

    def rate(chosen: list[Any]) -> float:
        total = sum(w for w, *_ in chosen)
        return sum(w * d for w, d, *_ in chosen) / total if total else math.nan

    for place in np.ndindex(*found.shape):
        found[place] = rate([person for person in people if tuple(person[2:]) == place])
    return found, rate(people)


def gap_reference(kind: str, wanted: tuple[int | None, ...], decisions: Tensor, groups: Any, method: str, **given: Any) -> float:
    """The worst over the rates among all, or among those with a label."""
    truth, found = given.pop("labels", None), []
    for label in wanted:
        by_group, overall = rates(decisions, groups, None if label is None else truth, label=label or 0, **given)
        known = by_group[~np.isnan(by_group)].tolist()
        pairs = [(one, overall if method == "to_overall" else other) for one in known for other in known]
        if kind == "difference":
            found.append(max((abs(one - other) for one, other in pairs), default=0.0))
        else:
            found.append(min((min(pair) / max(pair) if max(pair) else 1.0 for pair in pairs), default=1.0))
    return max(found) if kind == "difference" else min(found)


def wilson_check(result: fairness.Interval, *, rates: Tensor, counts: Tensor, confidence: float) -> None:
    """At both ends p, the observed rate lies z standard errors √(p (1 − p) / n) away."""
    from scipy.stats import norm

    z = norm.ppf((1 + confidence) / 2)
    for end in result:
        error = np.sqrt(np.clip(array(end) * (1 - array(end)), 0, 1) / counts.numpy())
        assert np.allclose(np.abs(array(end) - array(rates)), z * error, atol=1e-6)


def penalty_reference(*, probs: Tensor, groups: Any, sample_weight: Tensor | None) -> float:
    means = rates(probs, groups, None, sample_weight)[0]
    means = means[~np.isnan(means)]
    return float(((means - means.mean()) ** 2).mean()) if len(means) else 0.0


def front_reference(*, points: Tensor) -> Array:
    rows = points.tolist()
    beaten = [any(all(a <= b for a, b in zip(other, row, strict=True)) and other != row for other in rows) for row in rows]
    return 1.0 - np.array(beaten, dtype=float)


@st.composite
def scored_people(draw: st.DrawFn) -> Arguments:
    """Two groups, each with a member."""
    n = draw(st.integers(2, 7))
    groups = torch.cat([torch.tensor([0, 1]), draw(labels((n - 2,), 2, (np.int64,)))])
    return {"probs": draw(floats((n,), UNIT)), "groups": groups, "gaps": 5}


def frontier_check(result: fairness.ParityFrontier, *, probs: Tensor, groups: Tensor, gaps: int) -> None:
    """Falling from the price of parity to the error of the best decisions, one threshold a group."""
    errors = array(result.errors)
    best = float(np.minimum(array(probs), 1 - array(probs)).mean())
    assert result.thresholds.shape == (len(result.gaps), 2)
    assert bool((np.diff(errors) <= 1e-9).all())
    assert abs(errors[-1] - best) < 1e-9
    assert errors[0] <= min(float(array(probs).mean()), 1 - float(array(probs).mean())) + 1e-9, "everybody or nobody is parity, too"


def group_kind(value: Any) -> Any:
    """Ids from 0, in one tensor or a list of features."""
    if isinstance(value, list):
        yield Bad("no features", [], ValueError)
        yield Bad("a feature of fewer people", [value[0], value[1][:-1]], ValueError)
        yield Bad("a feature that is no tensor", [value[0], 1], TypeError)
        yield Bad("a feature of floats", [value[0], value[1].double()], TypeError)
        yield Bad("a negative id", [value[0], value[1].long() - 9], ValueError)
    elif value is not None:
        yield from tensor(floating=False, low=0, shaped=False)(value)
        yield Bad("an axis too many", value.reshape(len(value), -1, 1), ValueError)
        yield Bad("one person more", torch.cat([value, value[:1]]), ValueError)


GROUPS = tensor(floating=False, low=0)
BINARY = tensor(floating=None, low=0, high=1)


def truth_kind(value: Tensor) -> Any:
    """0 or 1, of any dtype."""
    yield from BINARY(value)
    yield Bad("neither 0 nor 1", torch.full(value.shape, 0.5), ValueError)


def interval_reference(returns: np.ndarray) -> tuple[float, float, float]:
    half = 2.776445105197793 * float(returns.std(ddof=1)) / len(returns) ** 0.5  # Student's t, four degrees of freedom, 97.5 %
    return float(returns.mean()), float(returns.mean()) - half, float(returns.mean()) + half


BINNING = st.sampled_from(["width", "mass"])
WEIGHTS = tensor(floating=None, low=0, finite=True)
TRUTH = {"labels": label_kind, "ignore_index": whole_or_none, "sample_weight": WEIGHTS}
FORECAST = {**TRUTH, "probs": forecast_kind}


PEOPLE = {"decisions": BINARY, "groups": group_kind, "sample_weight": WEIGHTS}
GAPS: dict[str, tuple[int | None, ...]] = {
    "demographic_parity_difference": (None,),
    "demographic_parity_ratio": (None,),
    "equal_opportunity_difference": (1,),
    "equalized_odds_difference": (1, 0),
    "equalized_odds_ratio": (1, 0),
}


SPECS = [
    Spec(
        "reliability.expected_calibration_error",
        reliability.expected_calibration_error,
        forecasts(by_class=True, bins=st.sampled_from([1, 4, 15]), norm=st.sampled_from(["l1", "l2", "max"]), binning=BINNING),
        {**FORECAST, "bins": count(), "norm": choice, "binning": choice, "per_class": flag},
        reference=calibration_reference,
    ),
    Spec(
        "reliability.reliability_curve",
        lambda **arguments: tuple(reliability.reliability_curve(**arguments)),
        forecasts(by_class=True, bins=st.sampled_from([1, 4]), binning=BINNING),
        {**FORECAST, "bins": count(), "binning": choice, "per_class": flag},
        reference=lambda **arguments: tuple(curve_reference(**arguments)),
    ),
    Spec(
        "reliability.error_of_curve",
        lambda counts, confidence, frequency, norm: reliability.error_of_curve(
            reliability.ReliabilityCurve(torch.arange(4) / 3, counts, confidence, frequency), norm=norm
        ),
        curves(),
        {"counts": tensor(low=0, finite=True), "confidence": tensor(), "frequency": tensor(), "norm": choice},
        reference=lambda counts, confidence, frequency, norm: np.mean(
            [error_reference(*curve, norm) for curve in zip(*(np.atleast_2d(array(part)) for part in (counts, confidence, frequency)), strict=True)]
        ),
        hides_nan={"confidence": always, "frequency": always},  # of an empty bin
    ),
    Spec(
        "reliability.brier_score",
        reliability.brier_score,
        forecasts(reduction=REDUCTIONS),
        {**FORECAST, "reduction": choice},
        reference=brier_reference,
    ),
    Spec(
        "reliability.murphy_decomposition",
        reliability.murphy_decomposition,
        forecasts(1, columns=False, bins=st.none() | st.sampled_from([1, 4])),
        {**TRUTH, "probs": tensor(low=0, high=1)},
        check=murphy_check,
        narrow=False,
    ),
    Spec(
        "reliability.fit_temperature",
        reliability.fit_temperature,
        mixed_up(),
        {**TRUTH, "logits": tensor(finite=True)},
        check=temperature_check,
    ),
    Spec(
        "reliability.fit_platt",
        reliability.fit_platt,
        mixed_up().map(lambda drawn: {"scores": drawn.pop("logits"), **drawn}),
        {**TRUTH, "scores": tensor(finite=True)},
        check=platt_check,
    ),
    Spec(
        "reliability.PlattScaling.probs",
        lambda slope, intercept, scores: reliability.PlattScaling(torch.tensor(slope), torch.tensor(intercept)).probs(scores),
        st.fixed_dictionaries({"slope": st.just(2.0), "intercept": st.just(-1.0), "scores": floats((3,), MODERATE)}),
        {"scores": tensor(shaped=False)},
        reference=lambda slope, intercept, scores: 1 / (1 + np.exp(-(slope * array(scores) + intercept))),
    ),
    Spec(
        "consistency.estimate_report",
        lambda **arguments: tuple(consistency.estimate_report(**arguments)),
        ESTIMATES,
        {"estimates": tensor(sized=False), "eta": tensor(floating=None, low=0, high=1)},
        reference=report_reference,
        narrow=False,
    ),
    Spec(
        "decisions.cost_threshold",
        decisions.cost_threshold,
        st.fixed_dictionaries({"false_positive": st.floats(0, 9), "false_negative": st.floats(0.1, 9)}),
        {"false_positive": number(0), "false_negative": number(0)},
        reference=lambda false_positive, false_negative: false_positive / (false_positive + false_negative),
    ),
    Spec(
        "decisions.expected_costs",
        decisions.expected_costs,
        MATRICES,
        {"probs": distribution_kind, "cost_matrix": matrix_kind},
        reference=expected_reference,
    ),
    Spec(
        "decisions.bayes_decision", decisions.bayes_decision, MATRICES, {"probs": distribution_kind, "cost_matrix": matrix_kind}, check=decision_check
    ),
    Spec(
        "decisions.average_cost",
        decisions.average_cost,
        AVERAGES,
        {"decisions": LABELS, "labels": LABELS, "cost_matrix": square_kind},
        reference=average_reference,
        hides_nan={"cost_matrix": always},  # of a pair that does not occur
    ),
    Spec(
        "decisions.read_table",
        lambda env: decisions.read_table(env).rewards,
        st.fixed_dictionaries({"env": st.builds(lake)}),
        {"env": environment_kind},
        reference=lambda env: np.array([[sum(p * r for p, _, r, _ in lake().unwrapped.P[s][a]) for a in range(4)] for s in range(16)]),
    ),
    Spec(
        "decisions.value_iteration",
        lambda **arguments: tuple(decisions.value_iteration(**arguments)),
        st.fixed_dictionaries({"env": st.builds(lake), "discount": st.sampled_from([0.0, 0.5, 0.9])}),
        {"env": environment_kind, "discount": DISCOUNT},
        reference=lambda env, discount: optimum(discount),
    ),
    Spec(
        "decisions.policy_values",
        decisions.policy_values,
        POLICIES,
        {"env": environment_kind, "policy": policy_kind, "discount": DISCOUNT},
        reference=lambda env, policy, discount: rollout(policy, discount)[0],
        narrow=False,
    ),
    Spec(
        "decisions.occupancy",
        decisions.occupancy,
        POLICIES,
        {"env": environment_kind, "policy": policy_kind, "discount": DISCOUNT},
        reference=lambda env, policy, discount: rollout(policy, discount)[2],
        narrow=False,
    ),
    Spec(
        "decisions.policy_regret",
        decisions.policy_regret,
        st.tuples(POLICIES, distributions((16,), 0)).map(lambda both: {**both[0], "start": both[1]}),
        {"env": environment_kind, "policy": policy_kind, "discount": DISCOUNT, "start": start_kind},
        reference=lambda env, policy, discount, start: array(start) @ (optimum(discount)[0] - rollout(policy, discount)[0]),
        narrow=False,
    ),
    Spec(
        "decisions.mean_interval",
        lambda returns: tuple(decisions.mean_interval(returns)),
        st.fixed_dictionaries({"returns": floats((5,), MODERATE)}),
        {"returns": tensor(shaped=False)},
        reference=lambda returns: interval_reference(array(returns)),
    ),
    Spec(
        "decisions.opportunity_cost",
        decisions.opportunity_cost,
        st.sampled_from([(3,), (0, 2), (2, 3)]).flatmap(lambda shape: st.fixed_dictionaries({"q_values": floats(shape)})),
        {"q_values": tensor(shaped=False)},
        reference=cost_reference,
    ),
    Spec(
        "decisions.opportunity_cost_loss",
        decisions.opportunity_cost_loss,
        OPPORTUNITIES,
        {"logits": tensor(), "costs": tensor(finite=True), "weight": tensor(), "reduction": choice},
        reference=policy_cost,
        reduces=True,
    ),
    Spec(
        "fairness.selection_rates",
        fairness.selection_rates,
        people(False, gap=False),
        PEOPLE,
        reference=lambda **given: rates(**given, labels=None)[0],
    ),
    *(
        Spec(
            f"fairness.{name}",
            getattr(fairness, name),
            people(True, gap=False),
            {**PEOPLE, "labels": truth_kind},
            reference=lambda label=label, **given: rates(**given, label=label)[0],
        )
        for name, label in (("true_positive_rates", 1), ("false_positive_rates", 0))
    ),
    *(
        Spec(
            f"fairness.{name}",
            getattr(fairness, name),
            people(wanted != (None,)),
            {**PEOPLE, "method": choice, **({} if wanted == (None,) else {"labels": truth_kind})},
            reference=partial(gap_reference, name.rpartition("_")[2], wanted),
        )
        for name, wanted in GAPS.items()
    ),
    Spec(
        "fairness.rate_intervals",
        fairness.rate_intervals,
        st.fixed_dictionaries(
            {"rates": floats((3,), st.floats(0.0625, 0.9375, width=16)), "counts": labels((3,), 9).map(lambda n: n + 1), "confidence": st.just(0.9)}
        ),
        {"rates": tensor(low=0, high=1), "counts": tensor(floating=None, low=1), "confidence": number(0, 1, low_open=True, high_open=True)},
        check=wilson_check,
        narrow=False,
    ),
    Spec(
        "fairness.parity_penalty",
        fairness.parity_penalty,
        st.integers(1, 6).flatmap(lambda n: st.fixed_dictionaries({"probs": floats((n,), UNIT), "groups": grouped(n), "sample_weight": weights(n)})),
        {"probs": tensor(low=0, high=1), "groups": group_kind, "sample_weight": WEIGHTS},
        reference=penalty_reference,
    ),
    Spec(
        "fairness.pareto_front",
        fairness.pareto_front,
        st.tuples(st.integers(0, 5), st.integers(1, 3)).flatmap(
            lambda shape: st.fixed_dictionaries({"points": floats(shape, st.integers(0, 3).map(float))})
        ),
        {"points": tensor(sized=False)},
        reference=front_reference,
    ),
    Spec(
        "fairness.parity_frontier",
        fairness.parity_frontier,
        scored_people(),
        {"probs": tensor(low=0, high=1), "groups": GROUPS},
        check=frontier_check,
    ),
]
