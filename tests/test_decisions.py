"""Decisions under costs against brute force and closed forms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossbook.decisions import REJECT, average_cost, bayes_decision, cost_threshold, expected_costs, reject_option
from tests.tolerances import assert_near

MATRIX = torch.tensor([[0.0, 1.0], [10.0, 0.0]], dtype=torch.float64)


def draw_probs(generator: torch.Generator, *shape: int) -> Tensor:
    waits = -torch.rand(*shape, generator=generator, dtype=torch.float64).log()  # exponential waits over their sum are uniform on the simplex
    return waits / waits.sum(-1, keepdim=True)


# --- thresholds ----------------------------------------------------------------------------------------------------------------------------------


def test_threshold_is_where_the_cheaper_decision_changes() -> None:
    etas = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    for false_positive, false_negative in ((1.0, 9.0), (1.0, 1.0), (7.0, 2.0), (0.0, 3.0), (3.0, 0.0)):
        cheaper = (1 - etas) * false_positive < etas * false_negative  # "positive" costs less
        first = float(etas[cheaper].min()) if bool(cheaper.any()) else 1.0
        assert cost_threshold(false_positive, false_negative) == pytest.approx(first, abs=2e-5)


def test_threshold_in_figures() -> None:
    assert cost_threshold(1, 9) == 0.1
    assert cost_threshold(1, 10) == pytest.approx(1 / 11, abs=1e-15)
    assert cost_threshold(5, 5) == 0.5
    assert cost_threshold(10, 90) == pytest.approx(cost_threshold(1, 9), abs=1e-15)


def test_thresholds_for_costs_that_vary(device: torch.device) -> None:
    false_positive, false_negative = torch.tensor([1.0, 2.0, 0.0], device=device), torch.tensor([9.0, 2.0, 1.0], device=device)
    assert_near(cost_threshold(false_positive, false_negative), torch.tensor([0.1, 0.5, 0.0]))


# --- Bayes decisions -----------------------------------------------------------------------------------------------------------------------------


def test_the_most_likely_state_is_not_the_cheapest_action() -> None:
    probs = torch.tensor([0.8, 0.2], dtype=torch.float64)
    assert expected_costs(probs, MATRIX).tolist() == pytest.approx([2.0, 0.8], abs=1e-15)
    assert int(bayes_decision(probs, MATRIX)) == 1


def test_costs_by_loops(device: torch.device, generator: torch.Generator) -> None:
    probs, costs = draw_probs(generator, 3, 4, 5), torch.rand(5, 7, generator=generator, dtype=torch.float64)
    risks = expected_costs(probs.to(device), costs.to(device))
    assert risks.shape == (3, 4, 7)
    for i, j, action in itertools.product(range(3), range(4), range(7)):
        assert float(risks[i, j, action]) == pytest.approx(sum(float(probs[i, j, k]) * float(costs[k, action]) for k in range(5)), abs=1e-12)


def test_no_rule_is_cheaper() -> None:
    # Three observations, two truths, three actions: all 27 rules, their costs from the joint distribution.
    joint = torch.tensor([[0.30, 0.02], [0.10, 0.18], [0.05, 0.35]], dtype=torch.float64)
    costs = torch.tensor([[0.0, 1.0, 0.3], [4.0, 0.0, 0.5]], dtype=torch.float64)
    cheapest = min(
        sum(float(joint[x, y] * costs[y, action]) for x, action in enumerate(rule) for y in range(2))
        for rule in itertools.product(range(3), repeat=3)
    )
    rule = bayes_decision(joint / joint.sum(1, keepdim=True), costs)
    assert sum(float(joint[x, y] * costs[y, rule[x]]) for x in range(3) for y in range(2)) == pytest.approx(cheapest, abs=1e-15)


def test_threshold_and_bayes_decision_agree(generator: torch.Generator) -> None:
    etas = torch.rand(1000, generator=generator, dtype=torch.float64)
    for false_positive, false_negative in ((1.0, 9.0), (3.0, 2.0)):
        costs = torch.tensor([[0.0, false_positive], [false_negative, 0.0]], dtype=torch.float64)
        decisions = bayes_decision(torch.stack([1 - etas, etas], 1), costs)
        assert torch.equal(decisions == 1, etas > cost_threshold(false_positive, false_negative))


def test_costs_may_differ_from_case_to_case(generator: torch.Generator) -> None:
    probs, costs = draw_probs(generator, 6, 3), torch.rand(6, 3, 4, generator=generator, dtype=torch.float64)
    assert torch.equal(bayes_decision(probs, costs), torch.stack([bayes_decision(row, matrix) for row, matrix in zip(probs, costs, strict=True)]))


def test_equal_costs_decide_for_the_first_action() -> None:
    assert int(bayes_decision(torch.tensor([0.5, 0.5]), torch.tensor([[0, 1], [1, 0]]))) == 0


# --- the reject option ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [0.0, 0.1, 0.3, 0.6, 1.0])
def test_reject_option_is_one_more_action(cost: float, generator: torch.Generator) -> None:
    probs = draw_probs(generator, 500, 3)
    matrix = torch.cat([1 - torch.eye(3, dtype=torch.float64), torch.full((3, 1), cost, dtype=torch.float64)], 1)
    decisions = reject_option(probs, reject_cost=cost)
    assert torch.equal(decisions, torch.where(bayes_decision(probs, matrix) == 3, REJECT, bayes_decision(probs, matrix)))


def test_reject_option_of_two_gaussians() -> None:
    # x | ±1 ~ N(±1, 1): eta = σ(2x), rejected where |2x| < ln 9. Error P(x < -ln 9 / 2 | +1) and rejection from the normal law (Chow 1970).
    x = torch.linspace(-12, 12, 480_001, dtype=torch.float64)
    density = (torch.exp(-0.5 * (x - 1) ** 2) / math.sqrt(2 * math.pi)) * 24 / 480_000  # of the positives; the negatives mirror them
    decisions = reject_option(torch.stack([(-2 * x).sigmoid(), (2 * x).sigmoid()], 1), reject_cost=0.1)
    error, rejected = float(density[decisions == 0].sum()), float(density[decisions == REJECT].sum())

    def normal(z: float) -> float:
        return 0.5 * math.erfc(-z / math.sqrt(2))

    edge = math.log(9) / 2
    assert error == pytest.approx(normal(-edge - 1), abs=1e-5)
    assert rejected == pytest.approx(normal(edge - 1) - normal(-edge - 1), abs=1e-5)


def test_a_cost_of_a_guess_never_declines(generator: torch.Generator) -> None:
    probs = torch.cat([draw_probs(generator, 200, 4), torch.full((1, 4), 0.25, dtype=torch.float64)])
    assert bool((reject_option(probs, reject_cost=0.75) >= 0).all())


# --- what was paid -------------------------------------------------------------------------------------------------------------------------------


def test_average_cost_by_a_loop(device: torch.device, generator: torch.Generator) -> None:
    labels, decisions = (torch.randint(2, (50,), generator=generator) for _ in range(2))
    paid = sum((10.0 if truth else 1.0) * (truth != action) for truth, action in zip(labels.tolist(), decisions.tolist(), strict=True)) / 50
    assert float(average_cost(decisions.to(device), labels.to(device), MATRIX.to(device))) == pytest.approx(paid, abs=1e-12)


def test_nothing_to_decide() -> None:
    none = torch.zeros(0, dtype=torch.long)
    assert float(average_cost(none, none, MATRIX)) == 0.0
    assert bayes_decision(torch.zeros(0, 2), MATRIX).shape == reject_option(torch.zeros(0, 2), reject_cost=0.1).shape == (0,)


def test_compiles_and_maps(generator: torch.Generator) -> None:
    probs = draw_probs(generator, 6, 2)
    for rule in (lambda p: bayes_decision(p, MATRIX), lambda p: reject_option(p, reject_cost=0.2)):
        assert torch.equal(torch.compile(rule, fullgraph=True, backend="aot_eager")(probs), rule(probs))
        assert torch.equal(torch.func.vmap(rule)(probs), rule(probs))


HALF, LABEL = torch.tensor([0.5, 0.5]), torch.tensor([1])
WRONG: list[tuple[str, type[Exception], str, Callable[[], Any]]] = [
    ("both free", ValueError, "`false_negative` should be positive where `false_positive` is 0; found 0", lambda: cost_threshold(0, 0)),
    ("mixed kinds", TypeError, "`false_positive` should be a real number; found Tensor", lambda: cost_threshold(HALF, 1.0)),  # type: ignore[call-overload]
    ("cost shapes", ValueError, r"`false_negative` should have shape \(2,\)", lambda: cost_threshold(HALF, HALF[:1])),
    ("negative tensor", ValueError, "`false_negative` should be at least 0; found values from -0.5", lambda: cost_threshold(HALF, -HALF)),
    ("infinite tensor", ValueError, "`false_negative` should be finite; found an infinity", lambda: cost_threshold(HALF, HALF / 0)),
    ("both free in a tensor", ValueError, "should be positive where", lambda: cost_threshold(HALF * 0, HALF * 0)),
    ("probs sum", ValueError, "`probs` should sum to 1 along axis 0", lambda: bayes_decision(HALF * 0.5, MATRIX)),
    ("scalar probs", ValueError, "`probs` should have shape", lambda: bayes_decision(torch.tensor(0.5), MATRIX)),
    ("matrix rows", ValueError, r"`cost_matrix` should have shape \(2,\) and one axis of actions", lambda: bayes_decision(HALF, torch.ones(3, 2))),
    ("reject scalar", ValueError, "`probs` should have shape", lambda: reject_option(torch.tensor(0.5), reject_cost=0.1)),
    ("unknown action", ValueError, r"`decisions` should lie in \[0, 2\)", lambda: average_cost(LABEL + 1, LABEL, MATRIX)),
    ("unknown truth", ValueError, r"`labels` should lie in \[0, 2\)", lambda: average_cost(LABEL, LABEL + 1, MATRIX)),
    ("costs no matrix", ValueError, r"`cost_matrix` should have shape \[K, A\]", lambda: average_cost(LABEL, LABEL, HALF)),
]


@pytest.mark.parametrize(("error", "message", "call"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_arguments_are_named(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=message):
        call()


# --- the same on every path ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_thresholds_of_costs_whose_sum_overflows(dtype: torch.dtype) -> None:
    """Infinity below the line made a threshold of 0: always "positive"."""
    largest = torch.full((2,), torch.finfo(dtype).max, dtype=dtype)
    assert cost_threshold(largest, largest).tolist() == [0.5, 0.5]
    least = torch.full((2,), torch.finfo(dtype).tiny, dtype=dtype)
    assert cost_threshold(least, 3 * least).tolist() == [0.25, 0.25]
    assert cost_threshold(largest, least).tolist() == [1, 1]
    assert cost_threshold(1e308, 1e308) == 0.5
    assert cost_threshold(np.float32(1), np.int64(9)) == 0.1


def test_thresholds_have_their_gradient() -> None:
    costs = torch.tensor([0.5, 2.0, 7.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: cost_threshold(c, c.flip(0) + 0.25), costs)


def test_costs_keep_their_digits_beside_narrow_probabilities() -> None:
    """1e300 is an infinity in float32, and 0 · ∞ was NaN, the first of which argmin takes; 2²⁴ + 1 is 2²⁴ there."""
    sure = torch.tensor([1.0, 0.0])
    huge = torch.tensor([[1e300, 0.0], [0.0, 1e300]], dtype=torch.float64)
    assert expected_costs(sure, huge).tolist() == [1e300, 0]
    assert int(bayes_decision(sure, huge)) == 1
    assert int(bayes_decision(sure, torch.tensor([[2**24 + 1, 2**24], [0, 0]]))) == 1
    assert expected_costs(sure.half(), MATRIX.half()).dtype == torch.float32
    assert expected_costs(sure, MATRIX).dtype == torch.float64
    assert expected_costs(sure, MATRIX.long()).dtype == torch.float32


def test_near_ties_are_decided_alike_in_every_layout(generator: torch.Generator) -> None:
    """Actions that are equally cheap but for rounding: a sum in another order would choose another."""
    probs = torch.full((4, 200), 1 / 200, dtype=torch.float64)
    base = torch.rand(200, generator=generator, dtype=torch.float64)
    costs = torch.stack([base[torch.randperm(200, generator=generator)] for _ in range(30)], 1)  # the same costs in another order
    chosen = bayes_decision(probs, costs)
    for p in (probs, probs.mT.contiguous().mT, torch.stack([probs, probs], 2)[..., 0]):
        for c in (costs, costs.mT.contiguous().mT, torch.stack([costs, costs], 2)[..., 1]):
            assert torch.equal(bayes_decision(p, c), chosen)


def test_a_rejection_hangs_on_the_probability_and_not_on_its_dtype(generator: torch.Generator) -> None:
    """Compared in float32, 1 - p above the cost by less than its rounding was no more than the cost."""
    confident = (1 - torch.tensor(0.1)).nextafter(torch.tensor(0.0)) + torch.linspace(-4e-7, 4e-7, 15)
    probs = torch.stack([confident, 1 - confident], 1)
    for cost in (0.1, float(1 - confident[7].double()) - 1e-12):
        decided = torch.tensor([0 if 1 - p <= cost else REJECT for p in confident.tolist()])
        assert torch.equal(reject_option(probs, reject_cost=cost), decided)
        assert torch.equal(reject_option(probs, reject_cost=np.float64(cost)), decided)
        assert decided.unique().tolist() == [REJECT, 0]


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int64])
def test_actions_and_truths_of_every_integer_dtype(dtype: torch.dtype) -> None:
    decisions, labels = torch.tensor([0, 1, 1, 0]), torch.tensor([1, 1, 0, 0])
    assert average_cost(decisions.to(dtype), labels.to(dtype), MATRIX) == average_cost(decisions, labels, MATRIX) == 2.75
    for extreme in {torch.iinfo(dtype).max, torch.iinfo(dtype).min} - {0}:
        with pytest.raises(ValueError, match=r"`labels` should lie in \[0, 2\)"):
            average_cost(decisions, torch.full((4,), extreme, dtype=dtype), MATRIX)
        with pytest.raises(ValueError, match=r"`decisions` should lie in \[0, 2\)"):
            average_cost(torch.full((4,), extreme, dtype=dtype), labels, MATRIX)


def test_an_average_of_large_and_of_many_costs() -> None:
    """Three times 2⁶² is below 0 in int64; ten thousand times .1 stands still in half precision."""
    none = torch.zeros(3, dtype=torch.long)
    assert float(average_cost(none, none, torch.tensor([[2**62]]))) == 2.0**62
    many = torch.zeros(10_000, dtype=torch.uint8)
    tenth = torch.tensor([[0.1]], dtype=torch.bfloat16)
    assert average_cost(many, many, tenth).dtype == torch.float32
    assert float(average_cost(many, many, tenth)) == pytest.approx(float(tenth), rel=1e-6)


def test_costs_are_real() -> None:
    strange = torch.tensor([[1j, 0], [0, 1]])
    for call in (
        lambda: expected_costs(HALF, strange),
        lambda: bayes_decision(HALF, strange),
        lambda: average_cost(LABEL, LABEL, strange),
        lambda: average_cost(LABEL, LABEL, MATRIX.to(torch.float8_e5m2)),
    ):
        with pytest.raises(TypeError, match="`cost_matrix` should have a dtype of real numbers; found torch"):
            call()
