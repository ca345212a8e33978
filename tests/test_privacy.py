"""Randomised response: its exact privacy, its corrections against the inverse of the transition matrix, and the one-atom law against binomials."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from lossbook.privacy import RandomizedResponse, majority_excess_risk, sample_inflation
from tests.tolerances import assert_near

RR = RandomizedResponse

EPSILONS = (0.1, 0.5, 1.0, 2.0, 4.0)
CLASSES = (2, 3, 10)


@pytest.fixture(params=itertools.product(EPSILONS, CLASSES), ids=lambda pair: f"eps{pair[0]}-K{pair[1]}")
def mechanism(request: pytest.FixtureRequest) -> RandomizedResponse:
    return RandomizedResponse(*request.param)


def test_the_worst_likelihood_ratio_is_exactly_e_to_the_epsilon(mechanism: RandomizedResponse) -> None:
    matrix = mechanism.transition
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(mechanism.num_classes, dtype=torch.float64))
    ratios = matrix[:, None, :] / matrix[None, :, :]
    assert float(ratios.max()) == pytest.approx(math.exp(mechanism.epsilon), rel=1e-12)


def test_flip_probability_of_two_classes_is_warners() -> None:
    for epsilon in EPSILONS:
        assert RandomizedResponse(epsilon).flip_probability == pytest.approx(1 / (1 + math.exp(epsilon)), rel=1e-14)
        assert 1 - 2 * RandomizedResponse(epsilon).flip_probability == pytest.approx(math.tanh(epsilon / 2), rel=1e-12)


def test_reports_have_the_transition_matrix(mechanism: RandomizedResponse, device: torch.device) -> None:
    count, k = 40_000, mechanism.num_classes
    source = torch.Generator(device).manual_seed(0)
    for label in range(k):
        reported = mechanism.privatize(torch.full((count,), label, device=device), generator=source)
        shares = reported.bincount(minlength=k).double().cpu() / count
        spread = (mechanism.transition[label] * (1 - mechanism.transition[label]) / count).sqrt()
        assert bool(((shares - mechanism.transition[label]).abs() < 5 * spread).all())


def test_privatize_is_reproducible_and_keeps_shape_and_dtype() -> None:
    labels = torch.arange(12, dtype=torch.int32).reshape(3, 4) % 3
    first, second = (RandomizedResponse(0.5, 3).privatize(labels, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert (first.shape, first.dtype) == (labels.shape, labels.dtype)


def test_backward_loss_is_the_inverse_matrix_and_unbiased(mechanism: RandomizedResponse, device: torch.device, generator: torch.Generator) -> None:
    k = mechanism.num_classes
    logits = torch.randn(k, k, dtype=torch.float64, generator=generator)
    losses = -logits.log_softmax(dim=1)  # [N, K]: the loss of each label
    inverse = torch.linalg.inv(mechanism.transition)
    corrected = torch.stack(
        [mechanism.backward_loss(logits.to(device), torch.full((k,), label, device=device), reduction="none") for label in range(k)], dim=1
    )
    torch.testing.assert_close(corrected.cpu(), losses @ inverse.T, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(corrected.cpu() @ mechanism.transition.T, losses, rtol=1e-10, atol=1e-10)  # its mean over reports


def test_backward_loss_has_the_number_of_the_literature() -> None:
    logits = torch.tensor([[0.0, 5.0]], dtype=torch.float64)  # margin 5, reported honestly, epsilon 1
    keep, flip = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))
    by_natarajan = (keep * math.log1p(math.exp(-5)) - flip * math.log1p(math.exp(5))) / (keep - flip)  # lemma 1
    assert float(RandomizedResponse(1.0).backward_loss(logits, torch.tensor([1]))) == pytest.approx(by_natarajan, rel=1e-12)
    assert by_natarajan == pytest.approx(-2.903, abs=5e-4)


def test_forward_loss_is_the_cross_entropy_of_the_report(mechanism: RandomizedResponse, generator: torch.Generator, real_dtype: torch.dtype) -> None:
    k = mechanism.num_classes
    logits = torch.randn(20, k, dtype=real_dtype, generator=generator)
    noisy = torch.randint(0, k, (20,), generator=generator)
    reported = logits.double().softmax(dim=1) @ mechanism.transition
    assert_near(mechanism.forward_loss(logits, noisy, reduction="none"), -reported[torch.arange(20), noisy].log(), real_dtype)


def test_who_does_not_report_is_left_out(mechanism: RandomizedResponse, generator: torch.Generator) -> None:
    """The losses of the transition matrix, over the weights of those who reported."""
    k = mechanism.num_classes
    logits = torch.randn(20, k, dtype=torch.float64, generator=generator)
    noisy, weight = torch.randint(0, k, (20,), generator=generator), torch.rand(20, dtype=torch.float64, generator=generator)
    noisy[::3] = -1
    there = noisy >= 0
    losses = -logits.log_softmax(dim=1)[there] @ torch.linalg.inv(mechanism.transition).T
    forward = -(logits.softmax(dim=1)[there] @ mechanism.transition).log()
    rows = torch.arange(int(there.sum()))
    for found, each in (
        (mechanism.forward_loss(logits, noisy, ignore_index=-1, sample_weight=weight), forward[rows, noisy[there]]),
        (mechanism.backward_loss(logits, noisy, ignore_index=-1, sample_weight=weight), losses[rows, noisy[there]]),
    ):
        torch.testing.assert_close(found, (weight[there] * each).sum() / weight[there].sum(), rtol=1e-10, atol=1e-10)


def test_forward_loss_is_bounded_where_cross_entropy_is_not(mechanism: RandomizedResponse) -> None:
    logits = torch.zeros(1, mechanism.num_classes, dtype=torch.float64)
    logits[0, 0] = 1e4
    worst = float(mechanism.forward_loss(logits, torch.tensor([1])))
    assert worst == pytest.approx(math.log(math.exp(mechanism.epsilon) + mechanism.num_classes - 1), rel=1e-12)


def test_forward_loss_is_minimised_by_the_truth(generator: torch.Generator) -> None:
    mechanism, truth = RandomizedResponse(1.0, 3), torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    reported = truth @ mechanism.transition
    logits = truth.log().requires_grad_()
    risk = sum(reported[y] * mechanism.forward_loss(logits[None], torch.tensor([y])) for y in range(3))
    (gradient,) = torch.autograd.grad(risk, logits)
    assert float(gradient.abs().max()) < 1e-12


def test_corrections_vanish_as_the_noise_does() -> None:
    logits, labels = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 3, 0, 1])
    plain = F.cross_entropy(logits, labels)
    for epsilon in (60.0, 800.0, 1e4):
        mechanism = RandomizedResponse(epsilon, 4)
        assert_near(mechanism.forward_loss(logits, labels), plain)
        assert_near(mechanism.backward_loss(logits, labels), plain)


@pytest.mark.parametrize("name", ["forward_loss", "backward_loss"])
def test_gradients(name: str, generator: torch.Generator) -> None:
    loss = getattr(RandomizedResponse(0.7, 3), name)
    logits = torch.randn(4, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    noisy = torch.tensor([0, 1, 2, 1])
    assert torch.autograd.gradcheck(lambda z: loss(z, noisy), logits)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, noisy), logits)


@pytest.mark.parametrize("name", ["forward_loss", "backward_loss"])
def test_no_nan_at_extremes(name: str, dtype: torch.dtype, device: torch.device) -> None:
    for epsilon in (1e-3, 1.0, 50.0):
        logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0]], dtype=dtype, device=device, requires_grad=True)
        value = getattr(RandomizedResponse(epsilon), name)(logits, torch.tensor([1, 1, 0], device=device), reduction="none")
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        assert not bool(value.isnan().any())
        assert not bool(gradient.isnan().any())


@pytest.mark.parametrize("name", ["forward_loss", "backward_loss"])
def test_reductions_agree(name: str, generator: torch.Generator) -> None:
    loss, logits, noisy = getattr(RandomizedResponse(1.0, 3), name), torch.randn(5, 3, generator=generator), torch.tensor([0, 1, 2, 0, 1])
    each = loss(logits, noisy, reduction="none")
    assert each.shape == (5,)
    torch.testing.assert_close(loss(logits, noisy, reduction="sum"), each.sum())
    torch.testing.assert_close(loss(logits, noisy), each.sum() / 5)


@pytest.mark.parametrize("name", ["forward_loss", "backward_loss"])
def test_compiles_and_vmaps(name: str, generator: torch.Generator) -> None:
    loss, logits, noisy = (
        getattr(RandomizedResponse(1.0, 3), name),
        torch.randn(4, 5, 3, generator=generator),
        torch.randint(0, 3, (4, 5), generator=generator),
    )
    one_by_one = torch.stack([loss(z, y) for z, y in zip(logits, noisy, strict=True)])
    torch.testing.assert_close(torch.vmap(loss)(logits, noisy), one_by_one)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits[0], noisy[0]), one_by_one[0])


@pytest.mark.parametrize("name", ["forward_loss", "backward_loss"])
def test_second_derivatives_far_out(name: str, real_dtype: torch.dtype) -> None:
    """At ±1e4 the forward correction is flat, where e^20000 in torch's own logaddexp makes NaN; elsewhere they are finite differences."""
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [30.0, -30.0], [0.4, -0.3]], dtype=real_dtype, requires_grad=True)
    loss = getattr(RR(1.0), name)(logits, torch.tensor([1, 1, 1, 0]), reduction="sum")
    (slope,) = torch.autograd.grad(loss, logits, create_graph=True)
    (curvature,) = torch.autograd.grad(slope[:, 0].sum(), logits)
    assert bool(curvature.isfinite().all())
    assert not bool(curvature[:2].any())
    step = 1e-4
    either = [
        torch.autograd.grad(getattr(RR(1.0), name)(moved, torch.tensor([0]), reduction="sum"), moved)[0][0, 0]
        for moved in (torch.tensor([[0.4 + side * step, -0.3]], dtype=torch.float64, requires_grad=True) for side in (-1, 1))
    ]
    assert float(curvature[3, 0]) == pytest.approx(float(either[1] - either[0]) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("name", ["forward_loss", "backward_loss"])
def test_corrections_of_any_strength(name: str, real_dtype: torch.dtype) -> None:
    """ε beyond what float32 holds is no noise at all; a gap that overflows, times the 0 that is left of the correction, is 0."""
    most = torch.finfo(real_dtype).max
    labels = torch.tensor([0, 1])
    for logits in (torch.tensor([[2.0, -1.0], [0.5, 3.0]], dtype=real_dtype), torch.tensor([[most, -most], [0.0, most]], dtype=real_dtype)):
        for epsilon in (800.0, 1e39, 1e300):
            assert_near(getattr(RR(epsilon), name)(logits, labels), F.cross_entropy(logits, labels))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64], ids=str)
def test_reports_in_every_integer_dtype(dtype: torch.dtype) -> None:
    """The same reports; where a dtype does not hold the last label, an error, for a lie could be any label."""
    labels = torch.tensor([0, 1, 2] * 40)
    expected = RR(0.5, 100).privatize(labels, generator=torch.Generator().manual_seed(3))
    found = RR(0.5, 100).privatize(labels.to(dtype), generator=torch.Generator().manual_seed(3))
    assert found.dtype == dtype
    assert torch.equal(found.long(), expected)
    if torch.iinfo(dtype).max < 299:
        with pytest.raises(TypeError, match=f"`labels` should have a dtype that holds 299, the last label; found {dtype}"):
            RR(0.5, 300).privatize(labels.to(dtype))


def test_numpy_scalars_are_numbers() -> None:
    mechanism = RandomizedResponse(np.float32(1.0), np.int64(3))
    assert mechanism == RandomizedResponse(1.0, 3)
    assert (type(mechanism.epsilon), type(mechanism.num_classes)) == (float, int)
    assert sample_inflation(np.float32(1.0)) == sample_inflation(1.0)
    assert majority_excess_risk(np.float64(0.7), np.int32(11), epsilon=np.float32(0.5)) == majority_excess_risk(0.7, 11, epsilon=0.5)


def test_inflation_without_end() -> None:
    """coth²(ε / 2) is (2 / ε)² for a small ε, and infinite where a float ends."""
    assert sample_inflation(1e-150) == pytest.approx(4e300, rel=1e-12)
    assert sample_inflation(1e-160) == sample_inflation(math.ulp(0)) == math.inf
    assert sample_inflation(1e300) == 1.0


@pytest.mark.parametrize("name", ["forward_loss", "backward_loss"])
def test_half_precision_is_computed_in_float32(name: str, generator: torch.Generator) -> None:
    loss, noisy = getattr(RR(1.0, 3), name), torch.tensor([0, 1, 2, 1])
    for narrow in (torch.float16, torch.bfloat16):
        logits = torch.randn(4, 3, generator=generator).to(narrow)
        found = loss(logits, noisy)
        assert found.dtype == torch.float32
        assert_near(found, loss(logits.double(), noisy))
        with torch.autocast("cpu", dtype=narrow):
            assert torch.equal(loss(logits.float(), noisy), found)


def test_majority_law_against_scipy_and_simulation() -> None:
    for eta, count, epsilon in itertools.product((0.55, 0.7, 0.95, 1.0), (1, 11, 101, 1001), (0.5, 2.0, math.inf)):
        flip = 0.0 if epsilon == math.inf else 1 / (1 + math.exp(epsilon))
        tail = stats.binom.cdf((count - 1) // 2, count, flip + (1 - 2 * flip) * eta)
        assert majority_excess_risk(eta, count, epsilon=epsilon) == pytest.approx((2 * eta - 1) * tail, rel=1e-8, abs=1e-13)
    mechanism, trials = RandomizedResponse(0.5), 20_000
    labels = (torch.rand(trials, 101, generator=torch.Generator().manual_seed(2)) < 0.7).long()
    lost = mechanism.privatize(labels, generator=torch.Generator().manual_seed(3)).double().mean(dim=1) < 0.5
    expected = majority_excess_risk(0.7, 101, epsilon=0.5) / 0.4
    assert float(lost.double().mean()) == pytest.approx(expected, abs=5 * math.sqrt(expected * (1 - expected) / trials))


def test_sample_inflation_predicts_how_many_labels_are_needed() -> None:
    def needed(epsilon: float) -> int:
        return next(n for n in range(1, 4001, 2) if majority_excess_risk(0.6, n, epsilon=epsilon) <= 0.01)

    plain = needed(math.inf)
    for epsilon in (0.5, 1.0, 2.0):
        assert needed(epsilon) / plain == pytest.approx(sample_inflation(epsilon), rel=0.03)  # odd n and a discrete law


def test_sample_inflation_is_the_variance_of_the_share_turned_back() -> None:
    epsilon, count, trials = 1.0, 200, 40_000
    mechanism, source = RandomizedResponse(epsilon), torch.Generator().manual_seed(1)
    for eta in (0.5, 0.7, 0.95):
        labels = (torch.rand(trials, count, generator=source) < eta).long()
        flip = mechanism.flip_probability
        shares = (mechanism.privatize(labels, generator=source).double().mean(dim=1) - flip) / (1 - 2 * flip)
        plain = eta * (1 - eta) / count
        assert float(shares.var()) / plain == pytest.approx(sample_inflation(epsilon, eta=eta), rel=5 * math.sqrt(2 / trials))
    assert sample_inflation(0.5) == pytest.approx(1 / math.tanh(0.25) ** 2, rel=1e-14)
    for eta in (0.1, 0.9):
        assert sample_inflation(0.5, eta=eta) == pytest.approx(44.53, abs=0.005)


@pytest.mark.parametrize(
    ("error", "call", "words"),
    [
        (ValueError, lambda: RandomizedResponse(0.0), "`epsilon` should be finite and above 0; found 0.0"),
        (ValueError, lambda: RandomizedResponse(-1.0), "`epsilon`"),
        (ValueError, lambda: RandomizedResponse(math.inf), "`epsilon`"),
        (TypeError, lambda: RandomizedResponse("1"), "`epsilon` should be a real number"),
        (ValueError, lambda: RandomizedResponse(1.0, 1), "`num_classes` should be at least 2; found 1"),
        (ValueError, lambda: RR(1.0).privatize(torch.tensor([2])), r"`labels` should lie in \[0, 2\)"),
        (ValueError, lambda: RR(1.0).forward_loss(torch.zeros(3, 3), torch.zeros(3, dtype=torch.long)), r"`logits` should have shape \[N, 2\]"),
        (ValueError, lambda: RR(1.0).forward_loss(torch.zeros(1, 2), torch.tensor([2])), r"`noisy` should lie in \[0, 2\)"),
        (ValueError, lambda: majority_excess_risk(0.7, 4), "`count` should be odd"),
    ],
)
def test_bad_calls_say_what_was_expected(error: type[Exception], call, words: str) -> None:
    with pytest.raises(error, match=words):
        call()
