"""Focal losses against torchvision's and mmdetection's formulas written out, in value and gradient, and against minimisers found by search."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
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
        lambda x: focal.asymmetric_loss(x, quality, gamma_negative=gamma, gamma_positive=1.5 * gamma, reduction="none"),
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


# --- many labels: the asymmetric loss ------------------------------------------------------------------------------------------------------------


def ridnik(logits: np.ndarray, targets: np.ndarray, gamma_negative: float, gamma_positive: float, clip: float) -> np.ndarray:
    """The paper's formula, as it stands there."""
    p = 1 / (1 + np.exp(-logits))
    shifted = np.maximum(p - clip, 0)
    positive, negative = (1 - p) ** gamma_positive * np.log(p), shifted**gamma_negative * np.log(1 - shifted)
    return -targets * positive - (1 - targets) * negative


def authors(logits: Tensor, targets: Tensor, gamma_negative: float, gamma_positive: float, clip: float) -> Tensor:
    """What their code computes for hard targets, with its floor under the logarithms."""
    p, q = logits.sigmoid(), (1 - logits.sigmoid() + clip).clamp(max=1)
    chosen = torch.where(targets > 0, p, q)
    return -chosen.clamp(min=1e-8).log() * (1 - chosen) ** torch.where(targets > 0, gamma_positive, gamma_negative)


ASYMMETRIES = [(4.0, 1.0, 0.05), (4.0, 0.0, 0.2), (2.0, 2.0, 0.0), (0.0, 0.0, 0.05), (1.0, 0.5, 0.6), (0.0, 0.0, 0.0)]


@pytest.mark.parametrize(("gamma_negative", "gamma_positive", "clip"), ASYMMETRIES)
def test_asymmetric_is_the_papers_formula_and_the_authors_code(
    gamma_negative: float, gamma_positive: float, clip: float, device: torch.device, real_dtype: torch.dtype, generator: torch.Generator
) -> None:
    logits, soft = draw(400, generator, soft=True)
    options = {"gamma_negative": gamma_negative, "gamma_positive": gamma_positive, "clip": clip}
    hard = (soft > 0.7).double()
    for targets in (hard, soft):
        found = focal.asymmetric_loss(logits.to(device, real_dtype), targets.to(device, real_dtype), reduction="none", **options)
        expected = ridnik(logits.numpy(), targets.numpy(), gamma_negative, gamma_positive, clip)
        assert found.dtype == real_dtype
        assert_near(found, torch.from_numpy(expected))
    ours = with_gradient(lambda x: focal.asymmetric_loss(x, hard, reduction="sum", **options), logits)
    theirs = with_gradient(lambda x: authors(x, hard, **options).sum(), logits)
    for mine, other in zip(ours, theirs, strict=True):
        assert_near(mine, other)


@pytest.mark.parametrize(("gamma_negative", "gamma_positive", "clip"), [*ASYMMETRIES, (0.5, 0.25, 1e-50), (4.0, 1.0, 1.0)])
def test_asymmetric_in_one_pass_is_the_plain_formula(
    gamma_negative: float, gamma_positive: float, clip: float, real_dtype: torch.dtype, generator: torch.Generator
) -> None:
    """Value and slope, far out too; a truth that wants a gradient is computed with plainly. Infinite logits go there by themselves."""
    logits, targets = draw(2 * PIECE + 77, generator, soft=True)
    logits[:8], logits[-3:] = torch.tensor([1e4, -1e4, 3e38, -3e38, 95.0, -95.0, 20.0, -20.0]), torch.tensor([math.inf, -math.inf, math.inf])
    targets[-3:] = torch.tensor([1.0, 0.0, 1.0])
    logits, targets = logits.to(real_dtype), targets.to(real_dtype)
    options = {"gamma_negative": gamma_negative, "gamma_positive": gamma_positive, "clip": clip}
    for size in (slice(None), slice(-3), slice(2000)):
        found = with_gradient(lambda x: focal.asymmetric_loss(x, targets[size], reduction="none", **options), logits[size])  # noqa: B023
        plain = with_gradient(lambda x: focal.asymmetric_loss(x, targets[size].clone().requires_grad_(), reduction="none", **options), logits[size])  # noqa: B023
        assert not bool(found[1].isnan().any())
        for mine, other in zip(found, plain, strict=True):
            torch.testing.assert_close(
                mine, other, rtol=1e-11 if real_dtype == torch.float64 else 3e-5, atol=1e-13 if real_dtype == torch.float64 else 1e-6
            )


def test_asymmetric_by_hand() -> None:
    """p = 0.5: (1 − p) ln 2 for what is there, 0.45⁴ · −ln 0.55 for what is not; p = 0.05 and less is not there for nothing."""
    edge = math.log(0.05 / 0.95)
    logits = torch.tensor([0.0, 0.0, edge - 1e-9, -3.0, 40.0], dtype=torch.float64)
    found = focal.asymmetric_loss(logits, torch.tensor([1, 0, 0, 0, 0]), reduction="none")
    assert found.tolist() == pytest.approx([0.5 * math.log(2), 0.45**4 * -math.log(0.55), 0.0, 0.0, 0.95**4 * -math.log(0.05)], abs=1e-15)
    assert found[2:4].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("clip", [0.0, 1e-30, 0.05])
@pytest.mark.parametrize("target", [0, 1])
def test_asymmetric_at_extremes_is_the_formula_in_many_digits(target: int, clip: float, real_dtype: torch.dtype) -> None:
    """Value and slope, relative to themselves; in float64 and float32 the plain formula is 0, ∞ or NaN at half of these logits."""
    mpmath = pytest.importorskip("mpmath", reason="an extra, absent where the core is tested alone")
    scores = [-1e4, -700.0, -90.0, -30.0, -2.75, 0.0, 5.0, 18.0, 40.0, 100.0, 1e4]
    if real_dtype == torch.float32:  # powers of what is below 1e-38 end there
        scores = [score for score in scores if clip or target or not -100 < score < -20]
        scores = [score for score in scores if clip != 1e-30 or score != 100]
    logits, targets = torch.tensor(scores, dtype=real_dtype), torch.full((len(scores),), float(target), dtype=real_dtype)

    def exact(score: object) -> object:
        miss = 1 / (1 + mpmath.exp(score))  # 1 − p
        if target:
            return -miss * mpmath.log(1 / (1 + mpmath.exp(-score)))
        shifted = max(1 - miss - mpmath.mpf(clip), mpmath.mpf(0))
        return -(shifted**4) * mpmath.log(1 - shifted)

    values, steep = [], []
    for score in map(mpmath.mpf, logits.tolist()):
        with mpmath.workdps(150 + int(abs(score) / 2)):  # e^-10,000 beside 1
            step = mpmath.mpf(10) ** -50
            values.append(float(exact(score)))
            steep.append(float((exact(score + step) - exact(score - step)) / (2 * step)))
    tiny, close = torch.finfo(real_dtype).tiny, 1e-12 if real_dtype == torch.float64 else 2e-5
    for wanting in (False, True):  # in one pass; by the plain formula
        found, slopes = with_gradient(
            lambda x: focal.asymmetric_loss(x, targets.clone().requires_grad_(wanting), clip=clip, reduction="none"),  # noqa: B023
            logits,
        )
        for loss, slope, value, steepness in zip(found.tolist(), slopes.tolist(), values, steep, strict=True):
            assert loss == pytest.approx(value, rel=close, abs=tiny)
            assert slope == pytest.approx(steepness, rel=10 * close, abs=1e4 * tiny)


def test_asymmetric_becomes_its_kin(generator: torch.Generator) -> None:
    """Without clipping and of one gamma it is the focal loss; of gamma 0 binary cross-entropy, of soft targets too."""
    logits, targets = draw(200, generator)
    for gamma in GAMMAS:
        same = focal.asymmetric_loss(logits, targets, gamma_negative=gamma, gamma_positive=gamma, clip=0.0, reduction="none")
        assert_near(same, focal.sigmoid_focal_loss(logits, targets, gamma=gamma, reduction="none"))
    soft = 0.2 + 0.6 * targets
    plain = focal.asymmetric_loss(logits, soft, gamma_negative=0.0, gamma_positive=0.0, clip=0.0, reduction="none")
    assert_near(plain, crossentropy.binary_cross_entropy(logits, soft, reduction="none"))


def test_asymmetric_where_the_authors_code_has_no_gradient_left() -> None:
    """A positive held to be impossible: a slope of −1 here; there the logarithm's floor of 1e-8 has none."""
    logit, target = torch.tensor([-30.0], dtype=torch.float64), torch.ones(1)
    value, slope = with_gradient(lambda x: focal.asymmetric_loss(x, target, gamma_positive=0.0), logit)
    assert (float(value), float(slope)) == (pytest.approx(30.0, abs=1e-9), pytest.approx(-1.0, abs=1e-9))
    value, slope = with_gradient(lambda x: authors(x, target, 4.0, 0.0, 0.05), logit)
    assert (float(value), float(slope)) == (pytest.approx(8 * math.log(10), abs=1e-6), 0.0)


def test_an_infinite_logit_of_what_is_not_there_costs_at_most_the_clips_logarithm() -> None:
    logits, targets = torch.tensor([math.inf, -math.inf, math.inf, -math.inf]), torch.tensor([1.0, 0.0, 0.0, 1.0])
    for call in (lambda: focal.asymmetric_loss(logits, targets, reduction="none"), lambda: torch.func.vmap(focal.asymmetric_loss)(logits, targets)):
        assert call().tolist() == [0.0, 0.0, pytest.approx(0.95**4 * -math.log(0.05), rel=1e-6), math.inf]
    leaf = logits[:3].clone().requires_grad_()
    focal.asymmetric_loss(leaf, targets[:3]).backward()
    assert leaf.grad.tolist() == [0.0, 0.0, 0.0]


def test_asymmetric_losses_are_never_negative(dtype: torch.dtype) -> None:
    """Also right above the clip, where ln(1 − p + m) is the logarithm of almost 1."""
    logits = (math.log(0.05 / 0.95) + torch.linspace(-1e-3, 1e-3, 4001)).to(dtype)
    for gamma in (0.0, 0.5, 4.0):
        assert bool((focal.asymmetric_loss(logits, torch.zeros(4001), gamma_negative=gamma, reduction="none") >= 0).all())


# --- what is ignored, and what weighs how much ---------------------------------------------------------------------------------------------------

ELEMENTWISE: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]] = {  # a loss, and its plain formula
    "sigmoid": (focal.sigmoid_focal_loss, lambda x, t: torchvision_focal(x, t, 2.0, None)),
    "quality": (focal.quality_focal_loss, lambda x, t: mmdetection_quality_focal(x, t, 2.0)),
    "varifocal": (focal.varifocal_loss, lambda x, t: mmdetection_varifocal(x, t, 0.75, 2.0)),
    "asymmetric": (focal.asymmetric_loss, lambda x, t: authors(x, t, 4.0, 1.0, 0.05)),
    "binary cross-entropy": (crossentropy.binary_cross_entropy, lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none")),
}
elementwise = pytest.mark.parametrize("name", ELEMENTWISE)


@elementwise
@pytest.mark.parametrize("shape", [(60,), (60, 4)], ids=["examples", "examples and labels"])
def test_ignored_and_weighted_elements_are_the_plain_formula(name: str, shape: tuple[int, ...], generator: torch.Generator) -> None:
    """Value and gradient of Σ w l / Σ w over what is there; targets that are ignored may be 255, and logits NaN."""
    loss, plain = ELEMENTWISE[name]
    logits, targets = (values.view(shape) for values in draw(math.prod(shape), generator))
    ignore, weight = torch.rand(shape, generator=generator) < 0.3, torch.rand(60, generator=generator, dtype=torch.float64)
    marked, leaf = targets.masked_fill(ignore, 255), logits.masked_fill(ignore, math.nan).requires_grad_()
    laid = weight.view(60, *[1] * (len(shape) - 1)).expand(shape).masked_fill(ignore, 0.0)
    there = logits.clone().requires_grad_()
    losses = plain(there, targets)
    for found, expected in (
        (loss(leaf, marked, ignore=ignore), losses[~ignore].mean()),
        (loss(leaf, marked.to(torch.uint8), ignore=ignore, reduction="sum"), losses[~ignore].sum()),
        (loss(leaf, marked, ignore=ignore, sample_weight=weight), (laid * losses).sum() / laid.sum()),
        (loss(leaf, marked, ignore=ignore, sample_weight=laid, reduction="none"), laid * losses),
    ):
        assert_near(found, expected)
        slope = torch.autograd.grad(found.sum(), leaf, retain_graph=True)[0]
        assert_near(slope, torch.autograd.grad(expected.sum(), there, retain_graph=True)[0])
    found, expected = loss(there, targets, sample_weight=weight), (weight @ losses).sum() / (weight.sum() * losses[0].numel())
    for value, other in zip((found, *torch.autograd.grad(found, there)), (expected, *torch.autograd.grad(expected, there)), strict=True):
        assert_near(value, other)


@elementwise
def test_where_every_element_is_ignored_there_is_no_loss(name: str) -> None:
    leaf = torch.full((3, 2), math.nan, requires_grad=True)
    for options in ({}, {"sample_weight": torch.ones(3)}):
        for reduction in ("mean", "sum"):
            loss = ELEMENTWISE[name][0](leaf, torch.full((3, 2), 255), ignore=torch.ones(3, 2, dtype=torch.bool), reduction=reduction, **options)
            assert float(loss.detach()) == 0
            assert not bool(torch.autograd.grad(loss, leaf)[0].any())
    with pytest.raises(ValueError, match=r"should lie in \[0, 1\]"):
        ELEMENTWISE[name][0](leaf, torch.full((3, 2), 255), ignore=torch.tensor([[True, True], [True, True], [True, False]]))


@elementwise
def test_ignored_elements_of_many_pieces_compiled_and_mapped(name: str, generator: torch.Generator) -> None:
    loss = ELEMENTWISE[name][0]
    logits, targets = draw(3 * PIECE + 5, generator)
    ignore, weight = torch.rand(logits.shape, generator=generator) < 0.5, torch.rand(logits.shape, generator=generator, dtype=torch.float64)
    expected = with_gradient(lambda x: (weight * ELEMENTWISE[name][1](x, targets))[~ignore].sum() / weight[~ignore].sum(), logits)
    call = lambda x, t, i, w: loss(x, t, ignore=i, sample_weight=w)  # noqa: E731
    torch.compiler.reset()
    for run in (call, torch.compile(call, backend="aot_eager", fullgraph=True)):
        for mine, other in zip(with_gradient(lambda x: run(x, targets, ignore, weight), logits), expected, strict=True):  # noqa: B023
            assert_near(mine, other)
    parts = [values[:20].view(4, 5) for values in (logits, targets, ignore, weight)]
    assert_near(torch.func.vmap(call)(*parts), torch.stack([call(*(part[i] for part in parts)) for i in range(4)]))


def test_softmax_focal_over_what_is_there(generator: torch.Generator) -> None:
    logits, labels = torch.randn(5, 4, 3, generator=generator, dtype=torch.float64), torch.randint(0, 4, (5, 3), generator=generator)
    labels[1:3] = 255
    weight, keep = torch.rand(4, generator=generator, dtype=torch.float64), labels != 255
    probs = logits.movedim(1, -1)[keep].softmax(1).gather(1, labels[keep][:, None])[:, 0]
    losses = -((1 - probs) ** 2) * probs.log()
    assert_near(focal.softmax_focal_loss(logits, labels, ignore_index=255), losses.mean())
    assert_near(focal.softmax_focal_loss(logits, labels, ignore_index=255, weight=weight), (weight[labels[keep]] * losses).mean())
    found = focal.softmax_focal_loss(logits, labels, ignore_index=255, sample_weight=weight[labels.clamp(max=3)])
    assert_near(found, (weight[labels[keep]] * losses).sum() / weight[labels[keep]].sum())


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
        *(
            focal.asymmetric_loss(logits, targets, gamma_negative=gamma, gamma_positive=gamma / 2, clip=clip, reduction="none")
            for clip in (0.0, 1e-50, 0.05, 1.0)
        ),
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


# --- the gradient that is computed beforehand ----------------------------------------------------------------------------------------------------

SIZES = pytest.mark.parametrize("count", [50, 4 * PIECE + 77], ids=["one piece", "many pieces"])


@SIZES
def test_a_gradient_is_its_owners(count: int, generator: torch.Generator) -> None:
    """Whoever keeps it, writes to it, resizes it or asks again: the next one is right, and nobody else's is changed."""
    logits, targets = draw(count, generator)
    expected = with_gradient(lambda x: torchvision_focal(x, targets, 2.0, None).mean(), logits)[1]
    leaf, kept = logits.clone().requires_grad_(), []
    leaf.register_hook(kept.append)
    loss = focal.sigmoid_focal_loss(leaf, targets)
    (first,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    first.zero_().resize_(2 * count)
    (second,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    second.mul_(7)
    loss.backward(retain_graph=True)
    assert_near(leaf.grad, expected)
    leaf.grad.zero_()
    (-3 * loss).backward()
    assert_near(leaf.grad, -3 * expected)
    assert_near(kept[2], expected)
    assert_near(second, 7 * expected)


@SIZES
def test_a_gradient_asked_for_in_any_mode(count: int, generator: torch.Generator) -> None:
    logits, targets = draw(count, generator)
    expected = with_gradient(lambda x: torchvision_focal(x, targets, 2.0, None).mean(), logits)[1]
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        leaf = logits.clone().requires_grad_()
        loss = focal.sigmoid_focal_loss(leaf, targets)
        with mode():
            loss.backward(retain_graph=True)
            loss.backward()
        assert_near(leaf.grad, 2 * expected)
    with torch.autograd.graph.save_on_cpu():
        loss = focal.sigmoid_focal_loss(leaf, targets)
    assert_near(torch.autograd.grad(loss, leaf)[0], expected)
    again = torch.utils.checkpoint.checkpoint(lambda x: focal.sigmoid_focal_loss(x, targets), leaf, use_reentrant=False)
    assert_near(torch.autograd.grad(again, leaf)[0], expected)


@SIZES
def test_a_penalty_on_the_gradient(count: int, generator: torch.Generator) -> None:
    logits, targets = draw(count, generator)

    def penalty(loss: Callable[[Tensor], Tensor], first: bool) -> Tensor:
        leaf = logits.clone().requires_grad_()
        value = loss(leaf)
        if first:  # what is computed beforehand is gone
            torch.autograd.grad(value, leaf, retain_graph=True)
        (slope,) = torch.autograd.grad(value, leaf, create_graph=True)
        return torch.autograd.grad((count * slope.square()).sum() + value, leaf)[0]

    expected = penalty(lambda x: torchvision_focal(x, targets, 2.0, None).mean(), False)
    for first in (False, True):
        assert_near(penalty(lambda x: focal.sigmoid_focal_loss(x, targets), first), expected)


@SIZES
def test_an_upstream_gradient_is_read_and_not_written(count: int, generator: torch.Generator) -> None:
    """Stored whole, or one number for all."""
    logits, targets = draw(count, generator)
    expected = with_gradient(lambda x: torchvision_focal(x, targets, 2.0, None).sum(), logits)[1]
    one = torch.tensor(0.5, dtype=torch.float64)
    for upstream in (one.expand(count), one.repeat(count)):
        leaf = logits.clone().requires_grad_()
        focal.sigmoid_focal_loss(leaf, targets, reduction="none").backward(upstream)
        assert_near(leaf.grad, expected / 2)
        assert bool((upstream == 0.5).all())


ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "mT": lambda x: x[: 2**18].view(4, 8, -1).mT,
    "permuted": lambda x: x[: 2**18].view(4, 8, -1, 16).permute(3, 0, 2, 1),
    "backwards": lambda x: x.flip(0),
    "every other": lambda x: torch.stack([x, x + 77], 1)[:, 0],
    "cropped": lambda x: x[: 2**18].view(512, 512)[3:-3, 5:-5],
    "channels last": lambda x: x[: 2**18].view(4, 8, -1, 16).contiguous(memory_format=torch.channels_last),
    "expanded rows": lambda x: x[:512].expand(400, 512),
    "expanded columns": lambda x: x[:512, None].expand(512, 400),
}


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("order", ORDERS)
def test_many_pieces_in_any_memory_order(order: str, reduction: str, generator: torch.Generator) -> None:
    """Of the logits, of the targets, and of both."""
    logits, targets = draw(4 * PIECE + 77, generator)
    stored, plainly = ORDERS[order], lambda x: ORDERS[order](x).clone(memory_format=torch.contiguous_format)
    weights = torch.randn(() if reduction == "mean" else plainly(logits).shape, generator=generator, dtype=torch.float64)
    losses = torchvision_focal(plainly(leaf := logits.clone().requires_grad_()), plainly(targets), 2.0, None)
    (expected,) = torch.autograd.grad((weights * (losses.mean() if reduction == "mean" else losses)).sum(), leaf)
    for one, other in ((stored, plainly), (plainly, stored), (stored, stored)):
        found = focal.sigmoid_focal_loss(one(leaf), other(targets), reduction=reduction)
        assert_near(found, losses.mean() if reduction == "mean" else losses)
        assert_near(torch.autograd.grad((weights * found).sum(), leaf)[0], expected)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_many_gradients_at_once(reduction: str, generator: torch.Generator) -> None:
    logits, targets = draw(9, generator)
    for soft in (targets, 0.7 * targets):
        function = lambda x, soft=soft: focal.sigmoid_focal_loss(x, soft, alpha=0.25, reduction=reduction)  # noqa: E731
        each = {"check_batched_grad": True, "check_forward_ad": True, "check_batched_forward_grad": True}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)  # torch's own forward mode scripts
            assert torch.autograd.gradcheck(function, logits.clone().requires_grad_(), **each)
        found = torch.autograd.functional.jacobian(function, logits, vectorize=True)
        plain = torchvision_focal(leaf := logits.clone().requires_grad_(), soft, 2.0, 0.25)
        (slope,) = torch.autograd.grad(plain.sum(), leaf)
        assert_near(found, slope / 9 if reduction == "mean" else slope.diag())


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_tangent_of_the_targets_is_followed(generator: torch.Generator) -> None:
    """In forward mode targets can move without asking for a gradient."""
    logits, targets = draw(7, generator, soft=True)
    (expected,) = torch.autograd.grad(torchvision_focal(logits, leaf := targets.clone().requires_grad_(), 2.0, None).mean(), leaf)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(targets, torch.ones_like(targets))
        loss = focal.sigmoid_focal_loss(logits, dual)
        assert_near(torch.autograd.forward_ad.unpack_dual(loss).tangent, expected.sum())


# --- one number on every path --------------------------------------------------------------------------------------------------------------------

PAIRED: dict[str, Callable[..., Tensor]] = {
    "sigmoid": focal.sigmoid_focal_loss,
    "weighted": lambda logits, targets, **options: focal.sigmoid_focal_loss(logits, targets, gamma=5.0, alpha=0.25, **options),
    "quality": lambda logits, quality, **options: focal.quality_focal_loss(logits, quality, beta=3.0, **options),
    "varifocal": lambda logits, quality, **options: focal.varifocal_loss(logits, quality, alpha=2.0, gamma=3.0, **options),
    "asymmetric": lambda logits, targets, **options: focal.asymmetric_loss(
        logits, targets, gamma_negative=3.0, gamma_positive=0.5, clip=0.0, **options
    ),
    "binary cross-entropy": crossentropy.binary_cross_entropy,
    "binary cross-entropy, positives weighted": lambda logits, targets, **options: crossentropy.binary_cross_entropy(
        logits, targets, pos_weight=torch.tensor(2.0), **options
    ),
}
paired = pytest.mark.parametrize("loss", PAIRED.values(), ids=PAIRED.keys())


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch's own forward mode scripts its decompositions
@paired
def test_logits_at_the_ends_of_their_dtype(loss: Callable[..., Tensor], dtype: torch.dtype) -> None:
    """Values, gradients and second derivatives are finite where γ times the loss overflows, and the same on every path."""
    most = torch.finfo(dtype).max
    scores = torch.tensor([most, 0.9 * most, 2e4, 1001, 1000, 999, 120, 90, 20, 1, 0], dtype=dtype)
    logits = torch.cat([scores, -scores]).repeat(5)
    for targets in (torch.tensor([0.0, 1.0, 0.5, 0.25, 1e-7]).to(dtype).repeat_interleave(22), torch.arange(110).div(22).floor().remainder(2)):
        leaf = logits.clone().requires_grad_()
        losses = loss(leaf, targets, reduction="none")
        (slope,) = torch.autograd.grad(losses.sum(), leaf, retain_graph=True)
        (again,) = torch.autograd.grad(losses.sum(), leaf, create_graph=True)
        (curvature,) = torch.autograd.grad(again.sum(), leaf)
        for values in (slope, again, curvature):
            assert bool(values.isfinite().all())
        assert bool((losses >= 0).all())  # infinite where 2 · (the largest number) is
        assert_near(again.detach(), slope, dtype)
        mapped = torch.func.vmap(torch.func.grad(loss))(logits, targets)
        assert_near(mapped, slope, dtype)
        change = torch.func.jvp(lambda x, targets=targets: loss(x, targets, reduction="none"), (logits,), (torch.ones_like(logits),))[1]
        assert_near(change, slope, dtype)


@paired
def test_an_infinite_logit_costs_nothing_or_without_end_on_every_path(loss: Callable[..., Tensor]) -> None:
    logits, targets = torch.tensor([math.inf, -math.inf, math.inf, -math.inf]), torch.tensor([1.0, 0.0, 0.0, 1.0])
    torch.compiler.reset()
    for call in (
        lambda: loss(logits, targets, reduction="none"),
        lambda: torch.func.vmap(loss)(logits, targets),
        lambda: torch.compile(loss, backend="aot_eager", fullgraph=True)(logits, targets, reduction="none"),
    ):
        assert call().tolist() == [0.0, 0.0, math.inf, math.inf]
    leaf = logits[:2].clone().requires_grad_()
    loss(leaf, targets[:2]).backward()
    assert leaf.grad.tolist() == [0.0, 0.0]


def test_a_class_that_weighs_nothing_costs_nothing_however_improbable() -> None:
    """As in cross-entropy: 0 · ∞ is 0."""
    logits, labels = torch.tensor([[0.0, -math.inf], [0.0, 0.0]], requires_grad=True), torch.tensor([1, 0])
    losses = focal.softmax_focal_loss(logits, labels, weight=torch.tensor([1.0, 0.0]), reduction="none")
    assert losses[0] == 0
    assert_near(losses[1].detach(), torch.tensor(0.25 * math.log(2)))
    losses.sum().backward()
    assert bool(logits.grad.isfinite().all())


@paired
def test_mapped_over_either_side_alone(loss: Callable[..., Tensor], generator: torch.Generator) -> None:
    """One prediction and many truths, or the other way round; and the gradient in the truth."""
    logits, targets = (values.view(4, 5) for values in draw(20, generator, soft=True))
    for over, one in (((0, None), lambda i: (logits[i], targets[0])), ((None, 0), lambda i: (logits[0], targets[i]))):
        given = [values if axis == 0 else values[0] for values, axis in zip((logits, targets), over, strict=True)]
        assert_near(torch.func.vmap(loss, in_dims=over)(*given), torch.stack([loss(*one(i)) for i in range(4)]))
        slopes = torch.func.vmap(torch.func.grad(loss, argnums=1), in_dims=over)(*given)
        assert_near(slopes, torch.stack([torch.func.grad(loss, argnums=1)(*one(i)) for i in range(4)]))


@paired
@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_and_returned_in_float32(loss: Callable[..., Tensor], narrow: torch.dtype, generator: torch.Generator) -> None:
    logits, targets = (values.to(narrow) for values in draw(60, generator, soft=True))
    expected, slope = with_gradient(lambda x: loss(x, targets.double()), logits.double())
    found, found_slope = with_gradient(lambda x: loss(x, targets), logits)
    assert (found.dtype, found_slope.dtype) == (torch.float32, narrow)
    assert_near(found, expected)
    assert_near(found_slope, slope)
    with torch.autocast("cpu", dtype=narrow):
        assert torch.equal(loss(logits, targets), found)
        assert torch.equal(loss(logits.float(), targets.float()), found)


@pytest.mark.parametrize("real", [np.float32, np.float64, np.int64], ids=lambda kind: kind.__name__)
def test_numpy_scalars_are_numbers(real: type, generator: torch.Generator) -> None:
    logits, targets = draw(20, generator, soft=True)
    for with_numpy, plain in (
        (focal.sigmoid_focal_loss(logits, targets, gamma=real(1), alpha=real(1)), focal.sigmoid_focal_loss(logits, targets, gamma=1, alpha=1)),
        (focal.quality_focal_loss(logits, targets, beta=real(1)), focal.quality_focal_loss(logits, targets, beta=1)),
        (focal.varifocal_loss(logits, targets, alpha=real(1), gamma=real(1)), focal.varifocal_loss(logits, targets, alpha=1, gamma=1)),
        (focal.softmax_focal_loss(logits, torch.tensor(1), gamma=real(1)), focal.softmax_focal_loss(logits, torch.tensor(1), gamma=1)),
        (focal.recover_eta(targets, gamma=real(1)), focal.recover_eta(targets, gamma=1)),
    ):
        assert torch.equal(with_numpy, plain)


@paired
def test_a_graph_for_every_size(loss: Callable[..., Tensor], generator: torch.Generator) -> None:
    """Where sizes and numbers are symbols."""
    torch.compiler.reset()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=True)
    for count in (5, 8):
        logits, targets = draw(count, generator, soft=True)
        assert_near(compiled(logits, targets), loss(logits, targets))


@paired
def test_bad_targets_of_any_kind_are_named(loss: Callable[..., Tensor]) -> None:
    class Renamed(Tensor):
        pass

    logits = torch.zeros(3)
    for wrong in (torch.complex64, torch.float8_e4m3fn):
        with pytest.raises(TypeError, match="should have a dtype of real numbers"):
            loss(logits, torch.zeros(3).to(wrong))
    for value in (1.5, -0.5, math.nan):
        with pytest.raises(ValueError, match=r"should lie in \[0, 1\]"):
            loss(logits, torch.full((3,), value).as_subclass(Renamed))
        with pytest.raises(ValueError, match=r"should lie in \[0, 1\]"):
            torch.func.vmap(loss)(logits, torch.full((3,), value))
        torch.compiler.reset()
        with pytest.raises(RuntimeError, match=r"should lie in \[0, 1\]"):
            torch.compile(loss, backend="aot_eager", fullgraph=True)(logits, torch.full((3,), value))
    with pytest.raises(ValueError, match="should be on the device cpu to match `logits`; found meta"):
        loss(logits, torch.zeros(3, device="meta"))


def test_recover_eta_keeps_its_dtype_and_its_digits() -> None:
    """Of small probabilities, (1 + γ) q^(1 + γ) to leading order, and where both powers are 0 in float32."""
    small = torch.tensor([1e-3, 1e-5, 1e-7])
    assert_near(focal.recover_eta(small, gamma=1.0) / (2 * small.double() ** 2), torch.ones(3), torch.float16)
    for gamma in (200.0, 1e4):
        assert focal.recover_eta(torch.tensor([0.49, 0.5, 0.51]), gamma=gamma).tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-3)
    for narrow in (torch.float16, torch.bfloat16):
        probs = torch.linspace(0, 1, 9).to(narrow)
        found = focal.recover_eta(probs)
        assert found.dtype == narrow
        assert torch.equal(found, focal.recover_eta(probs.double()).to(narrow))


def test_bad_arguments_are_named() -> None:
    logits = torch.zeros(4)
    with pytest.raises(ValueError, match=r"`labels` should lie in \[0, 4\)"):
        focal.softmax_focal_loss(logits, torch.tensor(4))
    for loss in (focal.sigmoid_focal_loss, focal.quality_focal_loss, focal.varifocal_loss, focal.asymmetric_loss):
        with pytest.raises(ValueError, match=r"`ignore` should have shape \(4,\)"):
            loss(logits, logits, ignore=torch.zeros(1, dtype=torch.bool))
