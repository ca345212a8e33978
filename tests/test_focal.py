"""Focal losses against torchvision's and mmdetection's formulas written out, in value and gradient, and against minimisers found by search."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import crossentropy, focal
from lossbook._core.onepass import PIECE
from tests.tolerances import assert_near

GAMMAS = [0.0, 0.5, 1.0, 2.0, 3.5]


def torchvision_focal(logits: Tensor, targets: Tensor, gamma: float, alpha: float | None) -> Tensor:
    """torchvision.ops.sigmoid_focal_loss without its reduction."""
    probs = torch.sigmoid(logits)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = probs * targets + (1 - probs) * (1 - targets)
    losses = cross_entropy * ((1 - p_t) ** gamma)
    return losses if alpha is None else (alpha * targets + (1 - alpha) * (1 - targets)) * losses


def mmdetection_quality_focal(logits: Tensor, quality: Tensor, beta: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, quality, reduction="none") * (quality - logits.sigmoid()).abs().pow(beta)


def mmdetection_varifocal(logits: Tensor, quality: Tensor, alpha: float, gamma: float) -> Tensor:
    probs = logits.sigmoid()
    weight = quality * (quality > 0.0).to(logits) + alpha * (probs - quality).abs().pow(gamma) * (quality <= 0.0).to(logits)
    return F.binary_cross_entropy_with_logits(logits, quality, reduction="none") * weight


def draw(count: int, generator: torch.Generator, *, soft: bool = False) -> tuple[Tensor, Tensor]:
    logits = 3 * torch.randn(count, generator=generator, dtype=torch.float64)
    targets = torch.rand(count, generator=generator, dtype=torch.float64)
    return logits, targets if soft else (targets < 0.3).double()


def with_gradient(function: Callable[[Tensor], Tensor], logits: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    value = function(leaf)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_sigmoid_focal_is_torchvisions(
    gamma: float, alpha: float | None, soft: bool, device: torch.device, real_dtype: torch.dtype, generator: torch.Generator
) -> None:
    logits, targets = (values.to(device, real_dtype) for values in draw(500, generator, soft=soft))
    for reduction, reduce in (("none", lambda losses: losses), ("sum", torch.sum), ("mean", torch.mean)):
        found = with_gradient(lambda x: focal.sigmoid_focal_loss(x, targets, gamma=gamma, alpha=alpha, reduction=reduction), logits)  # noqa: B023
        plain = with_gradient(lambda x: reduce(torchvision_focal(x, targets.double(), gamma, alpha)), logits.double())  # noqa: B023
        for ours, theirs in zip(found, plain, strict=True):
            assert_near(ours, theirs)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_many_pieces_are_one_loss(reduction: str, generator: torch.Generator) -> None:
    """More than two pieces, with a soft target in the last one alone."""
    logits, targets = draw(2 * PIECE + 77, generator)
    targets[-5] = 0.4
    upstream = torch.rand(() if reduction != "none" else logits.shape, generator=generator, dtype=torch.float64)
    found = with_gradient(lambda x: upstream * focal.sigmoid_focal_loss(x, targets, alpha=0.25, reduction=reduction), logits)
    losses = {"none": lambda x: x, "sum": torch.sum, "mean": torch.mean}[reduction]
    plain = with_gradient(lambda x: upstream * losses(torchvision_focal(x, targets, 2.0, 0.25)), logits)
    for ours, theirs in zip(found, plain, strict=True):
        assert_near(ours, theirs)


def test_backward_twice_and_through_strides(generator: torch.Generator) -> None:
    logits, targets = draw(24, generator)
    leaf = logits.view(4, 6).t().requires_grad_()
    loss = focal.sigmoid_focal_loss(leaf, targets.view(6, 4))
    first, second = (torch.autograd.grad(3 * loss, leaf, retain_graph=True)[0].clone() for _ in range(2))
    assert torch.equal(first, second)
    (expected,) = torch.autograd.grad(3 * torchvision_focal(leaf, targets.view(6, 4), 2.0, None).mean(), leaf)
    assert_near(first, expected)
    row = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    focal.sigmoid_focal_loss(row.expand(5), torch.ones(5), gamma=0.0, reduction="sum").backward()
    assert float(row.grad) == pytest.approx(-2.5)  # five times σ(0) − 1


@pytest.mark.parametrize("gamma", GAMMAS)
def test_first_and_second_derivatives(gamma: float, generator: torch.Generator) -> None:
    logits, targets = draw(6, generator)
    logits = logits.requires_grad_()
    quality = targets * 0.7
    labels = torch.tensor([1, 0])
    for function in (
        lambda x: focal.sigmoid_focal_loss(x, targets, gamma=gamma, alpha=0.3, reduction="none"),
        lambda x: focal.sigmoid_focal_loss(x, quality, gamma=gamma),
        lambda x: focal.quality_focal_loss(x, quality, beta=gamma, reduction="none"),
        lambda x: focal.varifocal_loss(x, quality, gamma=gamma, reduction="none"),
        lambda x: focal.softmax_focal_loss(x.view(2, 3), labels, gamma=gamma, reduction="none"),
    ):
        assert torch.autograd.gradcheck(function, logits)
        assert torch.autograd.gradgradcheck(function, logits)


def test_gamma_zero_is_cross_entropy(generator: torch.Generator) -> None:
    logits, targets = draw(60, generator)
    assert_near(focal.sigmoid_focal_loss(logits, targets, gamma=0.0), F.binary_cross_entropy_with_logits(logits, targets))
    assert_near(focal.quality_focal_loss(logits, targets * 0.3, beta=0.0), F.binary_cross_entropy_with_logits(logits, targets * 0.3))
    labels, weight = torch.arange(20) % 3, torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    scores = logits.view(20, 3)
    assert_near(focal.softmax_focal_loss(scores, labels, gamma=0.0), F.cross_entropy(scores, labels))
    weighted = crossentropy.cross_entropy(scores, labels, weight=weight)
    assert_near(focal.softmax_focal_loss(scores, labels, gamma=0.0, weight=weight), weighted)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_softmax_focal(gamma: float, device: torch.device, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    """The plain formula over [N, K, d]; and for two classes the sigmoid focal loss of the logits' difference."""
    logits = 2 * torch.randn(5, 4, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (5, 3), generator=generator)
    probs = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    found = focal.softmax_focal_loss(logits.to(device, real_dtype), labels.to(device), gamma=gamma, reduction="none")
    assert_near(found, -((1 - probs) ** gamma) * probs.log())
    pair = focal.softmax_focal_loss(torch.stack([torch.zeros(5, 3), logits[:, 0]], 1).double(), (labels > 1).long(), gamma=gamma)
    assert_near(pair, focal.sigmoid_focal_loss(logits[:, 0], (labels > 1).double(), gamma=gamma))


def test_quality_and_varifocal_are_mmdetections(device: torch.device, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    logits, quality = draw(300, generator, soft=True)
    quality[::2] = 0.0
    here = logits.to(device, real_dtype), quality.to(device, real_dtype)
    for beta in (1.0, 2.0):
        assert_near(focal.quality_focal_loss(*here, beta=beta, reduction="none"), mmdetection_quality_focal(logits, quality, beta))
        assert_near(focal.varifocal_loss(*here, gamma=beta, reduction="none"), mmdetection_varifocal(logits, quality, 0.75, beta))
        for ours, theirs in (
            (lambda x: focal.quality_focal_loss(x, here[1], beta=beta), lambda x: mmdetection_quality_focal(x, quality, beta).mean()),  # noqa: B023
            (lambda x: focal.varifocal_loss(x, here[1], gamma=beta), lambda x: mmdetection_varifocal(x, quality, 0.75, beta).mean()),  # noqa: B023
        ):
            for mine, plain in zip(with_gradient(ours, here[0]), with_gradient(theirs, logits), strict=True):
                assert_near(mine, plain)
    assert_near(focal.quality_focal_loss(*here), mmdetection_quality_focal(logits, quality, 2.0).mean())
    assert_near(focal.varifocal_loss(*here, reduction="sum"), mmdetection_varifocal(logits, quality, 0.75, 2.0).sum())


def test_quality_focal_is_zero_at_the_quality_and_nowhere_else() -> None:
    quality = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    logits = (quality / (1 - quality)).log()
    assert float(focal.quality_focal_loss(logits, quality, reduction="sum")) < 1e-30
    assert bool((focal.quality_focal_loss(logits + 0.1, quality, reduction="none") > 1e-6).all())


@pytest.mark.parametrize("eta", [0.1, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_recover_eta_inverts_the_minimiser(eta: float, gamma: float) -> None:
    """The minimiser of eta loss(1) + (1 − eta) loss(0), found by ternary search in the logit, is taken back to eta."""

    def risk(score: float) -> float:
        prob = 1 / (1 + math.exp(-score))
        return -eta * (1 - prob) ** gamma * math.log(prob) - (1 - eta) * prob**gamma * math.log1p(-prob)

    low, high = -8.0, 8.0
    for _ in range(200):
        third = (high - low) / 3
        low, high = (low, high - third) if risk(low + third) < risk(high - third) else (low + third, high)
    prob = torch.tensor(1 / (1 + math.exp(-(low + high) / 2)), dtype=torch.float64)
    assert float(focal.recover_eta(prob, gamma=gamma)) == pytest.approx(eta, abs=1e-6)
    assert 0.5 <= max(float(prob), 1 - float(prob)) < max(eta, 1 - eta)  # under-confident, on the right side


def test_recover_eta_at_the_ends() -> None:
    probs = torch.tensor([0.0, 1e-30, 0.5, 1.0])
    for gamma in (0.5, 2.0, 8.0):
        assert_near(focal.recover_eta(probs, gamma=gamma), torch.tensor([0.0, 0.0, 0.5, 1.0]))
    assert_near(focal.recover_eta(torch.linspace(0, 1, 11), gamma=0.0), torch.linspace(0, 1, 11))


@pytest.mark.parametrize("gamma", [0.25, 0.5, 2.0])
def test_extremes_are_finite(gamma: float, device: torch.device, dtype: torch.dtype) -> None:
    scores = torch.tensor([-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4]).to(device, dtype)
    if dtype == torch.float16:
        scores = scores.clamp(-1e4, 1e4)
    logits = scores.repeat(3).requires_grad_()
    targets = torch.tensor([0.0, 1.0, 0.5]).repeat_interleave(7).to(device, dtype)
    pairs, labels = torch.stack([logits, -logits], 1), torch.arange(21, device=device) % 2
    for losses in (
        focal.sigmoid_focal_loss(logits, targets, gamma=gamma, alpha=0.25, reduction="none"),
        focal.quality_focal_loss(logits, targets, beta=gamma, reduction="none"),
        focal.varifocal_loss(logits, targets, gamma=gamma, reduction="none"),
        focal.softmax_focal_loss(pairs, labels, gamma=gamma, reduction="none"),
    ):
        (gradient,) = torch.autograd.grad(losses.float().sum(), logits, create_graph=True)
        (curvature,) = torch.autograd.grad(gradient.float().sum(), logits)
        assert losses.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        for values in (losses, gradient, curvature):
            assert bool(values.isfinite().all())
        assert bool((losses >= 0).all())


def test_wrong_by_far_costs_the_logit_and_right_by_far_costs_nothing(real_dtype: torch.dtype) -> None:
    logits = torch.tensor([1e4, -1e4], dtype=real_dtype)
    assert_near(focal.sigmoid_focal_loss(logits, torch.tensor([0, 1]), gamma=0.5, reduction="none"), torch.tensor([1e4, 1e4]))
    assert not focal.sigmoid_focal_loss(logits, torch.tensor([1, 0]), gamma=0.5, reduction="none").any()


def test_integer_and_boolean_targets_and_empty_batches(generator: torch.Generator) -> None:
    logits, targets = draw(10, generator)
    expected = focal.sigmoid_focal_loss(logits, targets)
    assert focal.sigmoid_focal_loss(logits, targets.long()) == focal.sigmoid_focal_loss(logits, targets.bool()) == expected
    empty = torch.zeros(0, requires_grad=True)
    for loss in (focal.sigmoid_focal_loss, focal.quality_focal_loss, focal.varifocal_loss):
        value = loss(empty, torch.zeros(0))
        value.backward()
        assert value == 0
        assert empty.grad.shape == (0,)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch's own forward mode scripts its decompositions
def test_torchs_transforms_follow_the_plain_formula(generator: torch.Generator) -> None:
    logits, targets = draw(12, generator)
    expected = with_gradient(lambda x: focal.sigmoid_focal_loss(x, targets, alpha=0.25), logits)
    compiled = torch.compile(lambda x: focal.sigmoid_focal_loss(x, targets, alpha=0.25), fullgraph=True, backend="aot_eager")
    for found, value in zip(with_gradient(compiled, logits), expected, strict=True):
        assert_near(found, value)
    mapped = torch.func.vmap(torch.func.grad(lambda x, t: focal.sigmoid_focal_loss(x, t, alpha=0.25)))(logits, targets)
    assert_near(mapped / 12, expected[1])
    assert_near(torch.func.jacfwd(lambda x: focal.sigmoid_focal_loss(x, targets, alpha=0.25))(logits), expected[1])
    with torch.autograd.forward_ad.dual_level():
        for reduction, slope in (("mean", expected[1].sum()), ("none", 12 * expected[1])):
            dual = torch.autograd.forward_ad.make_dual(logits, torch.ones_like(logits))
            loss = focal.sigmoid_focal_loss(dual, targets, alpha=0.25, reduction=reduction)
            assert_near(torch.autograd.forward_ad.unpack_dual(loss).tangent, slope)


def test_targets_may_want_a_gradient_too(generator: torch.Generator) -> None:
    logits, targets = draw(5, generator, soft=True)
    targets = targets.requires_grad_()
    found = torch.autograd.grad(focal.sigmoid_focal_loss(logits, targets), targets)[0]
    assert_near(found, torch.autograd.grad(torchvision_focal(logits, targets, 2.0, None).mean(), targets)[0])


def test_bad_arguments_are_named() -> None:
    logits = torch.zeros(4)
    with pytest.raises(ValueError, match=r"`targets` should have shape \(4,\) to match `logits`; found \(4, 1\)"):
        focal.sigmoid_focal_loss(logits, torch.zeros(4, 1))
    for targets in (torch.tensor([0.0, 1.0, -1.0, 0.0]), torch.tensor([0.0, 1.0, 2.0, 0.0]), torch.tensor([0.0, 1.0, math.nan, math.inf])):
        with pytest.raises(ValueError, match=r"`targets` should lie in \[0, 1\]"):
            focal.sigmoid_focal_loss(logits, targets)
        with pytest.raises(ValueError, match=r"`quality` should lie in \[0, 1\]"):
            focal.quality_focal_loss(logits, targets)
        with pytest.raises(ValueError, match=r"`quality` should lie in \[0, 1\]"):
            focal.varifocal_loss(logits, targets)
        with pytest.raises(ValueError, match=r"`probs` should lie in \[0, 1\]"):
            focal.recover_eta(targets)
    with pytest.raises(TypeError, match="`logits` should have a floating-point dtype"):
        focal.sigmoid_focal_loss(torch.zeros(4, dtype=torch.long), logits)
    with pytest.raises(ValueError, match="`gamma` should be finite and at least 0"):
        focal.sigmoid_focal_loss(logits, logits, gamma=-1.0)
    with pytest.raises(ValueError, match="`gamma` should be finite and at least 0"):
        focal.softmax_focal_loss(logits, torch.tensor(0), gamma=-1.0)
    with pytest.raises(ValueError, match="`gamma` should be finite and at least 0"):
        focal.varifocal_loss(logits, logits, gamma=-0.1)
    with pytest.raises(ValueError, match="`gamma` should be finite and at least 0"):
        focal.recover_eta(logits, gamma=-0.1)
    with pytest.raises(ValueError, match="`beta` should be finite and at least 0"):
        focal.quality_focal_loss(logits, logits, beta=-0.1)
    with pytest.raises(ValueError, match=r"`alpha` should lie in \[0, 1\]; found -1"):
        focal.sigmoid_focal_loss(logits, logits, alpha=-1)
    with pytest.raises(ValueError, match="`alpha` should be finite and at least 0"):
        focal.varifocal_loss(logits, logits, alpha=-1)
    with pytest.raises(ValueError, match=r"`labels` should lie in \[0, 4\)"):
        focal.softmax_focal_loss(logits, torch.tensor(4))
    for loss in (focal.sigmoid_focal_loss, focal.quality_focal_loss, focal.varifocal_loss):
        with pytest.raises(ValueError, match="`reduction` should be one of"):
            loss(logits, logits, reduction="average")
