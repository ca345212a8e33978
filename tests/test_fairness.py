"""Rates and gaps against fairlearn; the frontier against linear programs and brute force; the front against its definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from scipy.stats import norm
from torch import Tensor

from lossbook import fairness

Threshold = tuple[int, float, float]  # group, selection rate, share of all people whom it misjudges in this group


@pytest.fixture
def people(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Decisions, labels and groups of 500 people in three groups."""
    groups = torch.randint(0, 3, (500,), generator=generator)
    labels = (torch.rand(500, generator=generator) < 0.3 + 0.2 * groups).long()
    return (torch.rand(500, generator=generator) < 0.2 + 0.5 * labels).long(), labels, groups


def test_gaps_are_fairlearns(people: tuple[Tensor, Tensor, Tensor], device: torch.device) -> None:
    from fairlearn import metrics

    decisions, labels, groups = people
    given = {"y_true": labels.numpy(), "y_pred": decisions.numpy(), "sensitive_features": groups.numpy()}
    here = [each.to(device) for each in people]
    ours = fairness.demographic_parity_difference(here[0], groups=here[2])
    assert float(ours) == pytest.approx(metrics.demographic_parity_difference(**given), abs=1e-12)
    assert float(fairness.equalized_odds_difference(*here[:2], groups=here[2])) == pytest.approx(
        metrics.equalized_odds_difference(**given), abs=1e-12
    )
    assert float(fairness.equal_opportunity_difference(*here[:2], groups=here[2])) == pytest.approx(
        metrics.equal_opportunity_difference(**given), abs=1e-12
    )


def test_rates_by_counting() -> None:
    decisions, labels, groups = torch.tensor([1, 0, 1, 1, 0, 1]), torch.tensor([1, 1, 0, 1, 0, 0]), torch.tensor([0, 0, 0, 2, 2, 2])
    torch.testing.assert_close(
        fairness.selection_rates(decisions, groups=groups), torch.tensor([2 / 3, math.nan, 2 / 3], dtype=torch.float64), equal_nan=True
    )
    torch.testing.assert_close(
        fairness.true_positive_rates(decisions, labels, groups=groups), torch.tensor([0.5, math.nan, 1.0], dtype=torch.float64), equal_nan=True
    )
    torch.testing.assert_close(
        fairness.false_positive_rates(decisions, labels, groups=groups), torch.tensor([1.0, math.nan, 0.5], dtype=torch.float64), equal_nan=True
    )
    assert float(fairness.demographic_parity_difference(decisions, groups=groups)) == 0.0  # the id without members does not count


def test_wilson_interval_inverts_the_score_test() -> None:
    rates, counts = torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=torch.float64), torch.tensor([10, 50, 400, 7])
    for confidence in (0.9, 0.95):
        z = norm.ppf((1 + confidence) / 2)
        for end in fairness.rate_intervals(rates, counts, confidence=confidence):
            gap, spread = (end - rates).abs(), z * (end * (1 - end) / counts).sqrt()  # |p_hat - p| = z sqrt(p (1 - p) / n) at both ends
            torch.testing.assert_close(gap, spread, rtol=0, atol=1e-7)


def thresholds(probs: Tensor, groups: Tensor, labels: Tensor | None) -> list[list[Threshold]]:
    """Every threshold of every group, by loops."""
    p = (probs if labels is None else labels).double().numpy()
    per_group = []
    for group in range(int(groups.max()) + 1):
        rows = np.flatnonzero(groups.numpy() == group)
        scores = probs.numpy()[rows]
        options = []
        for threshold in [math.inf, *sorted(set(scores))]:
            chosen = scores >= threshold
            options.append((group, float(chosen.mean()), float((1 - p[rows][chosen]).sum() + p[rows][~chosen].sum()) / len(probs)))
        per_group.append(options)
    return per_group


def mixed_optimum(options: list[list[Threshold]], gap: float) -> float:
    """The least error over mixtures of thresholds whose rates lie within a window [t, t + gap], as a linear program."""
    flat = [option for group in options for option in group]
    upper, bounds = [], []
    for group in range(len(options)):
        rate = np.array([rate if g == group else 0.0 for g, rate, _ in flat])
        upper += [np.append(rate, -1.0), np.append(-rate, 1.0)]
        bounds += [gap, 0.0]
    sums = [[float(g == group) for g, _, _ in flat] + [0.0] for group in range(len(options))]
    cost = [error for _, _, error in flat] + [0.0]
    return float(linprog(cost, A_ub=upper, b_ub=bounds, A_eq=sums, b_eq=[1.0] * len(options), bounds=(0, 1)).fun)


def small_problems() -> list[tuple[Tensor, Tensor, Tensor | None]]:
    """Sixty little populations: two or three groups, with ties and without, with labels and without."""
    source = torch.Generator().manual_seed(5)
    problems = []
    for trial in range(60):
        count, group_count = int(torch.randint(4, 22, (1,), generator=source)), 2 + trial % 2
        steps = 8 if trial % 4 < 2 else 10_000
        probs = (torch.rand(count, generator=source, dtype=torch.float64) * steps).round() / steps
        groups = torch.cat([torch.arange(group_count), torch.randint(0, group_count, (count - group_count,), generator=source)])
        labels = None if trial % 3 == 0 else (torch.rand(count, generator=source) < probs).long()
        problems.append((probs, groups, labels))
    return problems


def test_randomised_frontier_is_the_linear_programs() -> None:
    for probs, groups, labels in small_problems():
        front = fairness.parity_frontier(probs, groups=groups, labels=labels, gaps=5)
        options = thresholds(probs, groups, labels)
        for gap, error in zip(front.gaps.tolist(), front.errors.tolist(), strict=True):
            assert error == pytest.approx(mixed_optimum(options, gap), abs=1e-9)


def test_deterministic_frontier_is_brute_force() -> None:
    for probs, groups, labels in small_problems():
        front = fairness.parity_frontier(probs, groups=groups, labels=labels, gaps=5, randomize=False)
        options = thresholds(probs, groups, labels)
        combinations = [(max(r) - min(r), sum(e)) for r, e in ([*zip(*((o[1], o[2]) for o in c), strict=True)] for c in itertools.product(*options))]
        for gap, error in zip(front.gaps.tolist(), front.errors.tolist(), strict=True):
            assert error == pytest.approx(min(e for g, e in combinations if g <= gap + 1e-12), abs=1e-12)


def test_deterministic_thresholds_reach_the_error_they_promise() -> None:
    for probs, groups, labels in small_problems():
        front = fairness.parity_frontier(probs, groups=groups, labels=labels, gaps=4, randomize=False)
        p = probs if labels is None else labels.double()
        for gap, error, cuts in zip(front.gaps.tolist(), front.errors.tolist(), front.thresholds, strict=True):
            decisions = probs >= cuts[groups]
            assert float(torch.where(decisions, 1 - p, p).mean()) == pytest.approx(error, abs=1e-12)
            assert float(fairness.demographic_parity_difference(decisions, groups=groups)) <= gap + 1e-9


def test_gaussian_optimum_has_thresholds_half_plus_minus_lambda() -> None:
    """Base rates 0.7 and 0.3, x | y ~ N(±1, 1): closed forms of the two errors; at parity 1/2 ± 0.36712 (Menon & Williamson)."""
    count = 200_001
    quantiles = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)
    probs, groups = [], []
    for group, base in enumerate((0.7, 0.3)):
        for sign, share in ((1, base), (-1, 1 - base)):
            x = quantiles[torch.linspace(0, count - 1, int(100_000 * share)).long()] + sign
            probs.append(torch.sigmoid(2 * x + math.log(base / (1 - base))))
            groups.append(torch.full(x.shape, group))
    front = fairness.parity_frontier(torch.cat(probs), groups=torch.cat(groups), gaps=2)
    assert float(front.gaps[1]) == pytest.approx(0.461130, abs=2e-4)
    assert front.errors.tolist() == pytest.approx([0.238990, 0.138749], abs=2e-4)
    assert front.thresholds[0].tolist() == pytest.approx([0.8671, 0.1329], abs=1e-3)


def test_frontier_meets_fairlearns_threshold_optimizer(generator: torch.Generator) -> None:
    from fairlearn.postprocessing import ThresholdOptimizer
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        """A fitted classifier whose score is the feature itself."""

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, features: np.ndarray, labels: np.ndarray) -> Given:
            return self

        def predict(self, features: np.ndarray) -> np.ndarray:
            return features[:, 0]

    for count, within in ((2000, 1e-12), (3000, 2e-3)):  # of 1000 people in a group every rate is on the peer's grid of 1000; of 1500 not
        groups = torch.arange(count) % 2
        probs = torch.sigmoid(torch.randn(count, dtype=torch.float64, generator=generator) + groups - 0.5)
        labels = (torch.rand(count, generator=generator) < probs).long()
        peer = ThresholdOptimizer(
            estimator=Given(), constraints="demographic_parity", objective="accuracy_score", prefit=True, predict_method="predict", grid_size=1000
        ).fit(probs.numpy()[:, None], labels.numpy(), sensitive_features=groups.numpy())
        chances = peer._pmf_predict(probs.numpy()[:, None], sensitive_features=groups.numpy())[:, 1]
        their_error = float(np.where(labels.numpy() == 1, 1 - chances, chances).mean())
        ours = float(fairness.parity_frontier(probs, groups=groups, labels=labels, gaps=torch.zeros(1)).errors[0])
        assert -1e-12 <= their_error - ours <= within


def hull_one_corner_a_round() -> tuple[Tensor, Tensor]:
    """Shares of positives 1, 1/2, 1/3, ... 1/60 and then 2/5 of 4000 people: each round of pooling takes back one block of the falling ones."""
    sizes = [*range(1, 61), 4000]
    positives = [1] * 60 + [1600]
    probs = torch.cat([torch.full((size,), 1 - place / 100, dtype=torch.float64) for place, size in enumerate(sizes)])
    return probs, torch.cat([(torch.arange(size) < ones).long() for size, ones in zip(sizes, positives, strict=True)])


def large_population(source: torch.Generator) -> tuple[Tensor, Tensor]:
    probs = torch.rand(15_000, generator=source, dtype=torch.float32)  # float32: some ties
    return probs.double(), (torch.rand(15_000, generator=source) < 0.5 * probs + 0.1).long()


def test_frontier_follows_isotonic_regression(generator: torch.Generator) -> None:
    """The slopes of each curve are the shares of an isotonic regression, here scikit-learn's, and the widest gap is that of its best rates."""
    from sklearn.isotonic import isotonic_regression

    populations = [large_population(generator), large_population(generator), hull_one_corner_a_round()]
    for pair in itertools.combinations(populations, 2):
        count = sum(len(probs) for probs, _ in pair)
        groups = torch.cat([torch.full(probs.shape, group) for group, (probs, _) in enumerate(pair)])
        probs, labels = (torch.cat(parts) for parts in zip(*pair, strict=True))
        front = fairness.parity_frontier(probs, groups=groups, labels=labels, gaps=2)
        best = 0.0
        for own_probs, own_labels in pair:
            _, ids, sizes = np.unique(own_probs.numpy(), return_inverse=True, return_counts=True)
            shares = isotonic_regression(np.bincount(ids, own_labels.double().numpy()) / sizes, sample_weight=sizes)
            best += float((sizes * np.minimum(shares, 1 - shares)).sum()) / count
        assert float(front.errors[1]) == pytest.approx(best, abs=1e-12)


def test_frontier_falls_and_is_convex_when_randomised(generator: torch.Generator) -> None:
    probs, groups = torch.rand(400, generator=generator, dtype=torch.float64), torch.arange(400) % 2
    probs = torch.where(groups == 1, probs**2, probs)
    errors = fairness.parity_frontier(probs, groups=groups).errors
    assert float(errors.diff().max()) <= 1e-12
    assert float(errors.diff().diff().min()) >= -1e-12


def test_penalty_is_differentiable_and_vanishes_at_parity(generator: torch.Generator) -> None:
    groups = torch.tensor([0, 0, 1, 1, 3])
    probs = torch.rand(5, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: fairness.parity_penalty(p, groups=groups), probs)
    assert float(fairness.parity_penalty(torch.tensor([0.2, 0.4, 0.3, 0.3, 0.3]), groups=groups)) == pytest.approx(0, abs=1e-14)
    by_hand = np.var([0.5, 0.25])  # means 1/2 and 1/4
    assert float(fairness.parity_penalty(torch.tensor([0.5, 0.5, 0.0, 0.5]), groups=torch.tensor([0, 0, 1, 1]))) == pytest.approx(by_hand)


def test_pareto_front_is_its_definition(generator: torch.Generator) -> None:
    for axes in (1, 2, 3):
        points = torch.randint(0, 6, (80, axes), generator=generator).double()
        beaten = [any(bool((q <= p).all()) and bool((q < p).any()) for q in points) for p in points]
        assert fairness.pareto_front(points).tolist() == [not b for b in beaten]
    assert fairness.pareto_front(torch.zeros(0, 2)).shape == (0,)


G = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("error", "call", "words"),
    [
        (ValueError, lambda: fairness.selection_rates(torch.ones(0), groups=torch.ones(0).long()), "`groups` should have at least one"),
        (ValueError, lambda: fairness.pareto_front(torch.zeros(3)), r"`points` should have shape \[N, D\]"),
        (ValueError, lambda: fairness.pareto_front(torch.full((1, 2), math.nan)), "`points` should be free of NaN"),
        (
            ValueError,
            lambda: fairness.parity_frontier(torch.rand(2), groups=2 * G),
            "`groups` should give every id.* no member of 1",
        ),
        (ValueError, lambda: fairness.parity_frontier(torch.rand(2), groups=G, gaps=1), "`gaps` should be at least 2"),
        (ValueError, lambda: fairness.parity_frontier(torch.rand(2), groups=G, gaps=torch.tensor([2.0])), "`gaps` should lie in"),
        (ValueError, lambda: fairness.parity_frontier(torch.rand(2), groups=G, labels=torch.tensor([1])), "`labels` should have shape"),
    ],
)
def test_bad_calls_say_what_was_expected(error: type[Exception], call, words: str) -> None:
    with pytest.raises(error, match=words):
        call()


# --- the same on every path ------------------------------------------------------------------------------------------------------------------------

RATES = [fairness.selection_rates, fairness.true_positive_rates, fairness.false_positive_rates]
GAPS = [fairness.demographic_parity_difference, fairness.equal_opportunity_difference, fairness.equalized_odds_difference]


def called(measure, decisions: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    with_labels = measure not in (fairness.selection_rates, fairness.demographic_parity_difference)
    found: Tensor = measure(decisions, *((labels,) if with_labels else ()), groups=groups)
    return found


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_a_penalty_of_many_in_half_precision(narrow: torch.dtype) -> None:
    """In bfloat16 sums of .9 stand still at 256. Two groups of 1000, means .9 and .1: a variance of .16."""
    probs, groups = torch.tensor([0.9, 0.1]).repeat(1000).to(narrow), torch.tensor([0, 1]).repeat(1000)
    high, low = (float(value) for value in probs[:2])
    found = fairness.parity_penalty(probs, groups=groups)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx((high - low) ** 2 / 4, rel=1e-6)
    assert abs(float(found) - 0.16) < 1e-3
    with torch.autocast("cpu", dtype=narrow):
        assert fairness.parity_penalty(probs, groups=groups) == found


def test_a_penalty_of_millions_in_float32() -> None:
    """Added one by one in float32, four million times .9 make an eighth too little."""
    probs, groups = torch.tensor([0.9, 0.1]).repeat(4_000_000), torch.tensor([0, 1]).repeat(4_000_000)
    assert float(fairness.parity_penalty(probs, groups=groups)) == pytest.approx(0.16, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8, torch.uint16, torch.uint32, torch.uint64])
def test_decisions_labels_and_groups_of_every_integer_dtype(dtype: torch.dtype, people: tuple[Tensor, Tensor, Tensor]) -> None:
    decisions, labels, groups = people
    for measure in RATES + GAPS:
        expected = called(measure, decisions, labels, groups)
        assert torch.equal(called(measure, *(each.to(dtype) for each in people)), expected)
        assert torch.equal(called(measure, decisions.bool(), labels.double(), groups.to(dtype)), expected)
        assert torch.equal(called(measure, decisions.half(), labels.to(torch.bfloat16), groups.to(dtype)), expected)
    probs = torch.linspace(0, 1, 500)
    assert fairness.parity_penalty(probs, groups=groups.to(dtype)) == fairness.parity_penalty(probs, groups=groups)
    ours, whole = (
        fairness.parity_frontier(probs, groups=g, labels=y, gaps=np.int64(3)) for g, y in ((groups.to(dtype), labels.to(dtype)), (groups, labels))
    )
    assert all(torch.equal(one, other) for one, other in zip(ours, whole, strict=True))


@pytest.mark.parametrize("least", [0, 5, 2**24, 2**31, 2**63 - 3])
def test_gaps_and_penalty_know_groups_by_any_id(least: int, people: tuple[Tensor, Tensor, Tensor]) -> None:
    """Numbers of customers are ids, too: what is compared is who is alike, and no place is kept for ids that no one has."""
    decisions, labels, groups = people
    for measure in GAPS:
        assert called(measure, decisions, labels, groups + least) == pytest.approx(float(called(measure, decisions, labels, groups)), abs=1e-15)
    probs = torch.linspace(0, 1, 500, dtype=torch.float64)
    found = fairness.parity_penalty(probs, groups=groups + least)
    torch.testing.assert_close(found, fairness.parity_penalty(probs, groups=groups), rtol=1e-12, atol=0)


@pytest.mark.parametrize("most", [2**24, 2**31, 2**63 - 1])
def test_rates_have_a_place_for_each_id_up_to_a_size(most: int) -> None:
    groups = torch.tensor([0, most])
    for measure in RATES:
        with pytest.raises(ValueError, match=f"`groups` should be below 16777216, since the result has a place for each id; found {most}"):
            called(measure, torch.tensor([1, 0]), torch.tensor([1, 0]), groups)
    for measure in RATES + GAPS:
        with pytest.raises(ValueError, match="`groups` should be at least 0; found -9223372036854775808"):
            called(measure, torch.tensor([1, 0]), torch.tensor([1, 0]), torch.tensor([0, -(2**63)]))
    with pytest.raises(ValueError, match="`groups` should give every id up to the largest a member; found no member of 1"):
        fairness.parity_frontier(torch.tensor([0.5, 0.2]), groups=groups)


@pytest.mark.parametrize("measure", RATES[1:] + GAPS[1:])
def test_a_label_is_0_or_1(measure) -> None:
    """Who had a label of .5 was left out of both rates."""
    with pytest.raises(ValueError, match=r"`labels` should hold only 0 and 1; found 0\.5"):
        measure(torch.tensor([1, 0, 1]), torch.tensor([1.0, 0.5, 1.0]), groups=torch.tensor([0, 0, 1]))


def test_a_frontier_takes_labels_of_0_and_1() -> None:
    probs, groups = torch.tensor([0.9, 0.2, 0.7]), torch.tensor([0, 0, 1])
    with pytest.raises(ValueError, match=r"`labels` should hold only 0 and 1; found 0\.5"):
        fairness.parity_frontier(probs, groups=groups, labels=torch.tensor([1.0, 0.5, 1.0]))


@pytest.mark.parametrize("strange", [torch.complex64, torch.float8_e5m2])
def test_what_is_no_real_number_is_refused(strange: torch.dtype) -> None:
    """The real part of 1 + i used to be a decision."""
    ones = torch.ones(2).to(strange)
    for call in (
        lambda: fairness.selection_rates(ones, groups=G),
        lambda: fairness.true_positive_rates(torch.ones(2), ones, groups=G),
        lambda: fairness.parity_frontier(torch.ones(2), groups=G, labels=ones),
        lambda: fairness.parity_frontier(torch.ones(2), groups=G, gaps=ones),
        lambda: fairness.rate_intervals(torch.ones(2), ones),
    ):
        with pytest.raises(TypeError, match="should have a dtype of real numbers; found torch"):
            call()


def test_a_group_that_has_no_rate_has_no_gradient() -> None:
    """A group without positives: its rate is NaN, and was NaN in the gradient of the gap between the others."""
    decisions = torch.tensor([0.5, 0.75, 0.25], requires_grad=True)
    fairness.equal_opportunity_difference(decisions, torch.tensor([1, 1, 0]), groups=torch.tensor([0, 1, 2])).backward()
    assert decisions.grad is not None
    assert decisions.grad.tolist() == [-1, 1, 0]


def test_gaps_and_penalty_map_over_groups_and_compile_whole(generator: torch.Generator) -> None:
    probs, labels = torch.rand(3, 12, generator=generator, dtype=torch.float64), torch.randint(0, 2, (3, 12), generator=generator)
    groups = torch.randint(0, 4, (3, 12), generator=generator)
    groups[:, -1] = torch.tensor([3, 3, 3])
    for measure in [*RATES, *GAPS, lambda p, y, *, groups: fairness.parity_penalty(p, groups=groups)]:

        def one(p: Tensor, y: Tensor, g: Tensor, measure=measure) -> Tensor:
            return called(measure, p, y, g)

        alone = torch.stack([one(*each) for each in zip(probs, labels, groups, strict=True)])
        torch.testing.assert_close(torch.vmap(one)(probs, labels, groups), alone, equal_nan=True)
        if measure not in RATES:
            torch.compiler.reset()
            compiled = torch.compile(one, fullgraph=True, backend="aot_eager")
            torch.testing.assert_close(compiled(probs[0], labels[0], groups[0]), alone[0])


def test_a_frontier_is_the_same_under_compile(generator: torch.Generator) -> None:
    """Its sorting by bits is numpy's, which a compiled graph would trace as torch, and did."""
    probs, groups = torch.rand(40, generator=generator), torch.arange(40) % 3
    for options in ({}, {"randomize": False}, {"labels": (probs > 0.4).long()}):
        torch.compiler.reset()
        compiled = torch.compile(lambda p, options=options: fairness.parity_frontier(p, groups=groups, gaps=4, **options), backend="aot_eager")
        for one, other in zip(compiled(probs), fairness.parity_frontier(probs, groups=groups, gaps=4, **options), strict=True):
            assert torch.equal(one, other)


def test_fronts_map(generator: torch.Generator) -> None:
    points = torch.randint(0, 4, (5, 9, 2), generator=generator).double()
    assert torch.equal(torch.vmap(fairness.pareto_front)(points), torch.stack([fairness.pareto_front(each) for each in points]))
    points[2, 3, 1] = math.nan
    with pytest.raises(ValueError, match="`points` should be free of NaN"):
        torch.vmap(fairness.pareto_front)(points)


# --- weights, several features, ratios, to overall -------------------------------------------------------------------------------------------------

METHODS = ["between_groups", "to_overall"]
RATIOS = [fairness.demographic_parity_ratio, fairness.equalized_odds_ratio]
COMPARED = [*GAPS, *RATIOS]


def comparison(measure, decisions: Tensor, labels: Tensor, **given) -> Tensor:
    with_labels = not measure.__name__.startswith("demographic")
    found: Tensor = measure(decisions, *((labels,) if with_labels else ()), **given)
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("measure", COMPARED, ids=lambda measure: measure.__name__)
def test_comparisons_are_fairlearns(measure, weighted: bool, method: str, people: tuple[Tensor, Tensor, Tensor], generator: torch.Generator) -> None:
    """Value for value, of one feature and of the intersections of two, of which one has no one in it."""
    from fairlearn import metrics

    _, labels, groups = people
    decisions = (torch.rand(500, generator=generator) < 0.4 + 0.3 * labels).long()
    age = torch.randint(0, 3, (500,), generator=generator)
    age = torch.where((groups == 1) & (age == 2), 0, age)
    weight = torch.rand(500, generator=generator, dtype=torch.float64) if weighted else None
    peer = getattr(metrics, measure.__name__)
    for ours, theirs in ((groups, groups.numpy()), ([groups, age], {"group": groups.numpy(), "age": age.numpy()})):
        expected = peer(
            y_true=labels.numpy(),
            y_pred=decisions.numpy(),
            sensitive_features=theirs,
            method=method,
            sample_weight=None if weight is None else weight.numpy(),
        )
        assert 0 < expected < 1
        assert float(comparison(measure, decisions, labels, groups=ours, method=method, sample_weight=weight)) == pytest.approx(expected, abs=1e-12)


def test_rates_of_intersections_are_fairlearns(people: tuple[Tensor, Tensor, Tensor], generator: torch.Generator) -> None:
    """A place for each combination of ids, NaN where no one is, as in a MetricFrame."""
    from fairlearn import metrics

    decisions, labels, groups = people
    age, weight = torch.randint(0, 4, (500,), generator=generator), torch.rand(500, generator=generator, dtype=torch.float64)
    age = torch.where((groups == 1) & (age == 2), 0, age)
    peers = [metrics.selection_rate, metrics.true_positive_rate, metrics.false_positive_rate]
    for measure, peer in zip(RATES, peers, strict=True):
        frame = metrics.MetricFrame(
            metrics=peer,
            y_true=labels.numpy(),
            y_pred=decisions.numpy(),
            sensitive_features={"group": groups.numpy(), "age": age.numpy()},
            sample_params={"sample_weight": weight.numpy()},
        )
        expected = torch.from_numpy(frame.by_group.to_numpy().astype(float).reshape(3, 4).copy())
        assert int(expected.isnan().sum()) == 1
        for given in ([groups, age], (groups.to(torch.uint8), age.int()), torch.stack([groups, age], 1)):
            truth = () if measure is RATES[0] else (labels,)
            found = measure(decisions, *truth, groups=given, sample_weight=weight)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12, equal_nan=True)


def test_one_feature_in_a_list_is_one_feature(people: tuple[Tensor, Tensor, Tensor]) -> None:
    decisions, labels, groups = people
    for measure in RATES + GAPS:
        for given in ([groups], groups[:, None]):
            assert torch.equal(called(measure, decisions, labels, given), called(measure, decisions, labels, groups))


@pytest.mark.parametrize("measure", [*RATES, *COMPARED], ids=lambda measure: measure.__name__)
def test_an_integer_weight_is_so_many_people(measure, people: tuple[Tensor, Tensor, Tensor], generator: torch.Generator) -> None:
    times = torch.randint(0, 4, (500,), generator=generator)
    more = [each.repeat_interleave(times) for each in people]

    def found(decisions: Tensor, labels: Tensor, groups: Tensor, **given) -> Tensor:
        return (
            comparison(measure, decisions, labels, groups=groups, **given) if measure is not RATES[0] else measure(decisions, groups=groups, **given)
        )

    for weight in (times, times.double(), times.to(torch.bfloat16)):
        torch.testing.assert_close(found(*people, sample_weight=weight), found(*more), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_who_weighs_nothing_is_not_there(method: str) -> None:
    """The third group has no weight: it has no rate, and no part in a gap; without any weight there is none."""
    decisions, groups, weight = torch.tensor([1, 0, 1, 1, 0]), torch.tensor([0, 0, 1, 1, 2]), torch.tensor([1.0, 1, 1, 1, 0])
    assert fairness.selection_rates(decisions, groups=groups, sample_weight=weight).tolist()[:2] == [0.5, 1]
    assert math.isnan(float(fairness.selection_rates(decisions, groups=groups, sample_weight=weight)[2]))
    for measure, nothing in zip(COMPARED, [0, 0, 0, 1, 1], strict=True):
        labels = torch.tensor([1, 1, 1, 0, 1])
        expected = comparison(measure, decisions[:4], labels[:4], groups=groups[:4], method=method)
        assert comparison(measure, decisions, labels, groups=groups, method=method, sample_weight=weight) == expected
        assert float(comparison(measure, decisions, labels, groups=groups, method=method, sample_weight=0 * weight)) == nothing
    assert float(fairness.parity_penalty(torch.rand(5), groups=groups, sample_weight=0 * weight)) == 0


def test_ratios_where_a_rate_is_0() -> None:
    """One group of two never selected: 0. No one selected: equal, where fairlearn divides 0 by 0. Decisions that are right: no false positives."""
    from fairlearn import metrics

    groups = torch.tensor([0, 0, 1, 1])
    for method in METHODS:
        assert float(fairness.demographic_parity_ratio(torch.tensor([1, 0, 0, 0]), groups=groups, method=method)) == 0
        nobody = torch.zeros(4)
        assert float(fairness.demographic_parity_ratio(nobody, groups=groups, method=method)) == 1
        assert float(fairness.demographic_parity_difference(nobody, groups=groups, method=method)) == 0
        right = torch.tensor([1, 0, 1, 0])
        assert float(fairness.equalized_odds_ratio(right, right, groups=groups, method=method)) == 1
    with np.errstate(invalid="ignore"):
        peer = metrics.demographic_parity_ratio(y_true=np.zeros(4), y_pred=np.zeros(4), sensitive_features=groups.numpy())
    assert math.isnan(peer)


def test_a_group_without_positives_has_no_rate_here_and_the_rate_0_in_fairlearn() -> None:
    from fairlearn import metrics

    decisions, labels, groups = torch.tensor([1, 0, 1, 0]), torch.tensor([1, 1, 0, 0]), torch.tensor([0, 0, 1, 1])
    assert float(fairness.equal_opportunity_difference(decisions, labels, groups=groups)) == 0
    peer = metrics.equal_opportunity_difference(y_true=labels.numpy(), y_pred=decisions.numpy(), sensitive_features=groups.numpy())
    assert peer == 0.5


def test_to_overall_by_hand() -> None:
    """Rates 1/2 of two and 1 of six, 7/8 of all: 3/8 below and 1/8 above; (1/2) / (7/8) = 4/7 and (7/8) / 1."""
    decisions, groups = torch.tensor([1, 0, 1, 1, 1, 1, 1, 1]), torch.tensor([0] * 2 + [1] * 6)
    assert float(fairness.demographic_parity_difference(decisions, groups=groups, method="to_overall")) == 0.375
    assert float(fairness.demographic_parity_ratio(decisions, groups=groups, method="to_overall")) == pytest.approx(4 / 7)
    assert float(fairness.demographic_parity_ratio(decisions[1:], groups=groups[1:], method="to_overall")) == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("measure", COMPARED, ids=lambda measure: measure.__name__)
def test_comparisons_have_their_gradients(measure, method: str, generator: torch.Generator) -> None:
    probs = 0.2 + 0.6 * torch.rand(12, generator=generator, dtype=torch.float64)
    labels, groups = torch.tensor([0, 1] * 6), torch.tensor([0, 0, 1, 1, 3, 3] * 2)
    weight = torch.rand(12, generator=generator, dtype=torch.float64)

    def value(p: Tensor, w: Tensor) -> Tensor:
        return comparison(measure, p, labels, groups=groups, method=method, sample_weight=w)

    assert torch.autograd.gradcheck(value, (probs.requires_grad_(), weight.requires_grad_()))


def test_intersections_of_any_ids(people: tuple[Tensor, Tensor, Tensor], generator: torch.Generator) -> None:
    """Ids up to the end of int64, whose product has no integer, and more features than there are people for."""
    decisions, labels, groups = people
    more = [torch.randint(0, 3, (500,), generator=generator) for _ in range(5)]
    for measure in COMPARED:
        expected = comparison(measure, decisions, labels, groups=[groups, *more])
        far = [groups + 2**62, *(each * (2**61) for each in more)]
        assert float(comparison(measure, decisions, labels, groups=far)) == pytest.approx(float(expected), abs=1e-15)
        one_by_one = sum(each * 3**place for place, each in enumerate([groups, *more]))
        assert float(comparison(measure, decisions, labels, groups=one_by_one)) == pytest.approx(float(expected), abs=1e-15)


def test_comparisons_of_intersections_map_and_compile_whole(generator: torch.Generator) -> None:
    probs, labels = torch.rand(3, 12, generator=generator, dtype=torch.float64), torch.randint(0, 2, (3, 12), generator=generator)
    weight, groups = torch.rand(3, 12, generator=generator, dtype=torch.float64), torch.randint(0, 3, (3, 12, 2), generator=generator)
    for measure in COMPARED:
        for method in METHODS:

            def one(p: Tensor, y: Tensor, g: Tensor, w: Tensor, measure=measure, method=method) -> Tensor:
                return comparison(measure, p, y, groups=g, sample_weight=w, method=method)

            alone = torch.stack([one(*each) for each in zip(probs, labels, groups, weight, strict=True)])
            torch.testing.assert_close(torch.vmap(one)(probs, labels, groups, weight), alone)
    torch.compiler.reset()
    compiled = torch.compile(one, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(probs[0], labels[0], groups[0], weight[0]), alone[0])


@pytest.mark.parametrize(
    ("error", "call", "words"),
    [
        (ValueError, lambda: fairness.selection_rates(G, groups=[4096 * G, 4096 * G]), "`groups` should have at most 16777216 intersections"),
        (ValueError, lambda: fairness.demographic_parity_ratio(G, groups=G, sample_weight=G[:1]), r"`sample_weight` should have shape \(2,\)"),
    ],
)
def test_bad_options_say_what_was_expected(error: type[Exception], call, words: str) -> None:
    with pytest.raises(error, match=words):
        call()
