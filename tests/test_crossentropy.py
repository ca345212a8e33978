"""Cross-entropy and its relatives against torch, scipy and the plain formulas."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import focal, multiclass, privacy, scoring
from lossbook.crossentropy import adjust_logits, binary_cross_entropy, cross_entropy, generalized_cross_entropy, kl_divergence
from tests.tolerances import assert_near

INF = math.inf


def draw(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype)


def draw_labels(generator: torch.Generator, classes: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    return torch.randint(classes, shape, generator=generator).to(device)


# --- softmax cross-entropy -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (7, 5), (3, 5, 4), (2, 5, 3, 4)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("soft", [False, True], ids=["labels", "probs"])
def test_losses_agree_with_torch(
    shape: tuple[int, ...], smoothing: float, weighted: bool, soft: bool, device: torch.device, generator: torch.Generator
) -> None:
    axis = min(len(shape) - 1, 1)
    logits = draw(generator, *shape, device=device)
    weight = draw(generator, 5, device=device).abs() if weighted else None
    if soft:
        targets = draw(generator, *shape, device=device).softmax(axis)
    else:
        targets = draw_labels(generator, 5, *shape[:axis], *shape[axis + 1 :], device=device)
    peer = F.cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing, reduction="none")
    ours = cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing, reduction="none")
    assert ours.shape == peer.shape
    assert_near(ours, peer)


def test_class_axis_is_one_beyond_two_dimensions(generator: torch.Generator) -> None:
    logits, labels = draw(generator, 2, 4, 4), draw_labels(generator, 4, 2, 4)  # both trailing axes could hold the classes
    by_hand = torch.tensor(
        [[-math.log(math.exp(logits[n, labels[n, i], i]) / float(logits[n, :, i].exp().sum())) for i in range(4)] for n in range(2)],
        dtype=torch.float64,
    )
    assert_near(cross_entropy(logits, labels, reduction="none"), by_hand)


def test_reductions(generator: torch.Generator) -> None:
    logits, labels = draw(generator, 6, 3, 2), draw_labels(generator, 3, 6, 2)
    losses = cross_entropy(logits, labels, reduction="none")
    assert_near(cross_entropy(logits, labels, reduction="sum"), losses.sum())
    assert_near(cross_entropy(logits, labels), losses.sum() / 12)


def test_weighted_mean_divides_by_the_number_of_losses_and_torch_by_the_weights_met() -> None:
    logits, labels, weight = torch.zeros(4, 2, dtype=torch.float64), torch.tensor([0, 0, 0, 1]), torch.tensor([1.0, 9.0], dtype=torch.float64)
    # Each loss is ln 2 times its weight: ours is (1+1+1+9)/4 ln 2 = 3 ln 2, torch's (1+1+1+9)/12 ln 2 = ln 2 whatever the labels.
    assert float(cross_entropy(logits, labels, weight=weight)) == pytest.approx(3 * math.log(2), abs=1e-12)
    assert float(F.cross_entropy(logits, labels, weight=weight)) == pytest.approx(math.log(2), abs=1e-12)
    assert_near(cross_entropy(logits, labels, weight=weight, reduction="sum") / weight[labels].sum(), F.cross_entropy(logits, labels, weight=weight))


def test_smoothing_puts_a_share_on_every_class_the_true_one_included() -> None:
    logits = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    log_probs = logits.log_softmax(0)
    targets = torch.tensor([0.2 / 4, 0.8 + 0.2 / 4, 0.2 / 4, 0.2 / 4], dtype=torch.float64)
    assert_near(cross_entropy(logits, torch.tensor(1), label_smoothing=0.2), -(targets * log_probs).sum())
    other = torch.tensor([0.2 / 3, 0.8, 0.2 / 3, 0.2 / 3], dtype=torch.float64)  # the other convention, ε/(K−1) on the wrong classes
    assert abs(float(cross_entropy(logits, torch.tensor(1), label_smoothing=0.2)) + float((other * log_probs).sum())) > 0.05


def test_gradient_is_probs_minus_targets(generator: torch.Generator) -> None:
    logits, targets = draw(generator, 4, 3).requires_grad_(), draw(generator, 4, 3).softmax(1)
    cross_entropy(logits, targets, label_smoothing=0.3, reduction="sum").backward()
    assert_near(logits.grad, logits.detach().softmax(1) - (0.7 * targets + 0.1))


def test_minus_infinity_is_probability_zero() -> None:
    logits = torch.tensor([[0.0, -INF], [0.0, -INF], [-INF, 0.0]], requires_grad=True)
    labels = torch.tensor([0, 1, 1])
    losses = cross_entropy(logits, labels, reduction="none")
    assert losses.tolist() == [0.0, INF, 0.0]
    losses[[0, 2]].sum().backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    one_hot = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert cross_entropy(logits, one_hot, reduction="none").tolist() == [0.0, INF, 0.0]  # torch: NaN, from 0 · ∞
    assert F.cross_entropy(logits, one_hot, reduction="none").isnan().tolist() == [True, False, True]
    assert cross_entropy(logits, labels, label_smoothing=0.2, reduction="none").tolist() == [INF, INF, INF]
    masked = cross_entropy(logits[:1], labels[:1], weight=torch.tensor([2.0, 0.0]), label_smoothing=0.2)
    assert float(masked.detach()) == 0.0  # the class that the logits rule out weighs nothing


def test_soft_targets_have_gradients_too(generator: torch.Generator) -> None:
    logits = draw(generator, 3)
    targets = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64, requires_grad=True)
    cross_entropy(logits, targets).backward()
    assert_near(targets.grad, -logits.log_softmax(0))  # at the zero target as well


# --- binary cross-entropy ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_agrees_with_torch(smoothing: float, device: torch.device, generator: torch.Generator) -> None:
    logits, targets, weight = (3 * draw(generator, 6, 4, device=device), draw(generator, 6, 4, device=device).sigmoid(), draw(generator, 6, 4).abs())
    weight = weight.to(device)
    smoothed = (1 - smoothing) * targets + smoothing / 2
    peer = F.binary_cross_entropy_with_logits(logits, smoothed, weight=weight, reduction="none")
    assert_near(binary_cross_entropy(logits, targets, label_smoothing=smoothing, weight=weight, reduction="none"), peer)
    assert_near(binary_cross_entropy(logits, targets, label_smoothing=smoothing, weight=weight), peer.mean())


def test_binary_is_two_class_cross_entropy_and_the_logistic_loss() -> None:
    scores = torch.linspace(-30, 30, 601, dtype=torch.float64)
    for label, sign in ((0, -1), (1, 1)):
        binary = binary_cross_entropy(scores, torch.full_like(scores, label), reduction="none")
        pair = torch.stack([torch.zeros_like(scores), scores], 1)
        assert_near(binary, cross_entropy(pair, torch.full((601,), label), reduction="none"))
        assert_near(binary, torch.log1p(torch.exp(-sign * scores)))
        smooth = binary_cross_entropy(scores, torch.full_like(scores, label), label_smoothing=0.2, reduction="none")
        assert_near(smooth, cross_entropy(pair, torch.full((601,), label), label_smoothing=0.2, reduction="none"))


def test_binary_targets_may_be_integers_or_booleans() -> None:
    logits = torch.tensor([0.3, -1.2])
    expected = binary_cross_entropy(logits, torch.tensor([1.0, 0.0]))
    assert float(binary_cross_entropy(logits, torch.tensor([1, 0]))) == float(expected)
    assert float(binary_cross_entropy(logits, torch.tensor([True, False]))) == float(expected)


def test_binary_at_infinite_logits() -> None:
    logits = torch.tensor([INF, -INF, INF, -INF], requires_grad=True)
    losses = binary_cross_entropy(logits, torch.tensor([1.0, 0.0, 0.0, 1.0]), reduction="none")
    assert losses.tolist() == [0.0, 0.0, INF, INF]  # torch's own: NaN
    losses[:2].sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(), (4,), (6, 4)], ids=["a number", "by label", "by element"])
def test_binary_weights_are_torchs(shape: tuple[int, ...], smoothing: float, generator: torch.Generator) -> None:
    """Value and gradient; torch smooths nothing, so it is given the smoothed targets."""
    logits, targets = (3 * draw(generator, 6, 4)).requires_grad_(), draw(generator, 6, 4).sigmoid()
    options = {"pos_weight": 3 * draw(generator, 1, *shape)[0].abs(), "weight": draw(generator, 1, *shape)[0].abs()}
    smoothed = (1 - smoothing) * targets + smoothing / 2
    for reduction in ("mean", "sum", "none"):
        ours = binary_cross_entropy(logits, targets, label_smoothing=smoothing, reduction=reduction, **options)
        peer = F.binary_cross_entropy_with_logits(logits, smoothed, reduction=reduction, **options)
        assert_near(ours, peer)
        assert_near(*(torch.autograd.grad(value.sum(), logits)[0] for value in (ours, peer)))


def test_binary_weights_of_positives_at_extremes(dtype: torch.dtype) -> None:
    """w₊ s for a missed positive, and e^s, not 0, for a negative that is right by far: torch's own formula cancels there, in float32."""
    logits = torch.tensor([-1e4, -20.0, 20.0, 1e4], dtype=dtype).repeat(2).requires_grad_()
    targets = torch.tensor([0.0, 1.0]).repeat_interleave(4)
    losses = binary_cross_entropy(logits, targets, pos_weight=torch.tensor(3.0), reduction="none")
    far, tail = logits.detach().double()[3], math.log1p(math.exp(-20))  # bfloat16 has no 10,000
    expected = torch.tensor([0.0, tail, 20 + tail, far, 3 * far, 60 + 3 * tail, 3 * tail, 0.0], dtype=torch.float64)
    assert bool(((losses.double() - expected).abs() <= 1e-5 * expected).all())
    (slope,) = torch.autograd.grad(losses.sum(), logits)
    sure = 1 / (1 + math.exp(-20))
    assert_near(slope, torch.tensor([0.0, 1 - sure, sure, 1.0, -3.0, -3 * sure, -3 * (1 - sure), 0.0], dtype=torch.float64))
    endless = torch.tensor([INF, -INF, INF, -INF], requires_grad=True)
    found = binary_cross_entropy(endless, torch.tensor([1.0, 0.0, 0.0, 1.0]), pos_weight=torch.tensor([3.0, 3.0, 3.0, 0.0]), reduction="none")
    assert found.tolist() == [0.0, 0.0, INF, 0.0]  # what weighs nothing costs nothing
    assert torch.autograd.grad(found[[0, 1, 3]].sum(), endless)[0].tolist() == [0.0, 0.0, 0.0, 0.0]


# --- what is ignored, and what weighs how much ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [-100, 255, 1], ids=["torch's", "a map's", "a class"])
@pytest.mark.parametrize("shape", [(7, 5), (3, 5, 4, 2)], ids=["labels", "maps"])
def test_what_is_ignored_is_torchs(index: int, shape: tuple[int, ...], device: torch.device, generator: torch.Generator) -> None:
    """Value and gradient; where classes weigh, torch's mean is another one."""
    logits = draw(generator, *shape, device=device).requires_grad_()
    labels = draw_labels(generator, 5, shape[0], *shape[2:], device=device)
    labels.view(-1)[::3] = index
    weight = draw(generator, 5, device=device).abs()
    for smoothing, weights in ((0.0, None), (0.1, None), (0.0, weight), (0.1, weight)):
        for reduction in ("mean", "sum", "none"):
            ours = cross_entropy(logits, labels, ignore_index=index, label_smoothing=smoothing, weight=weights, reduction=reduction)
            peer = F.cross_entropy(
                logits,
                labels,
                ignore_index=index,
                label_smoothing=smoothing,
                weight=weights,
                reduction="sum" if reduction == "mean" and weights is not None else reduction,
            )
            if reduction == "mean" and weights is not None:
                peer = peer / (labels != index).sum()
            assert_near(ours, peer)
            assert_near(*(torch.autograd.grad(value.sum(), logits)[0] for value in (ours, peer)))


def test_where_all_is_ignored_the_mean_is_zero(generator: torch.Generator) -> None:
    logits, labels = draw(generator, 4, 3).requires_grad_(), torch.full((4,), 255, dtype=torch.uint8)
    assert bool(F.cross_entropy(logits, labels.long(), ignore_index=255).isnan())
    for options in ({}, {"label_smoothing": 0.1}, {"weight": torch.ones(3)}, {"sample_weight": torch.ones(4)}):
        loss = cross_entropy(logits, labels, ignore_index=255, **options)
        assert float(loss.detach()) == 0
        assert not bool(torch.autograd.grad(loss, logits)[0].any())
    everything = torch.ones(4, 3, dtype=torch.bool)
    loss = binary_cross_entropy(logits, torch.full((4, 3), 255), ignore=everything, pos_weight=torch.ones(3))
    assert float(loss.detach()) == 0
    assert not bool(torch.autograd.grad(loss, logits)[0].any())


def test_an_index_that_the_labels_dtype_does_not_hold_ignores_nothing(generator: torch.Generator) -> None:
    """-100 is 156 in uint8, where it may be a class."""
    logits, labels = draw(generator, 2, 200), torch.tensor([156, 3], dtype=torch.uint8)
    assert_near(cross_entropy(logits, labels, ignore_index=-100, reduction="none"), F.cross_entropy(logits, labels.long(), reduction="none"))


def test_torchs_mean_over_the_weights_met(generator: torch.Generator) -> None:
    """The recipe of the docstring, in value and gradient, with some labels ignored and without; and under smoothing the sum over the weights."""
    logits, labels, weight = draw(generator, 9, 4).requires_grad_(), draw_labels(generator, 4, 9), draw(generator, 4).abs()
    some = labels.clone()
    some[::4] = 255
    for ours, peer in (
        (cross_entropy(logits, labels, sample_weight=weight[labels]), F.cross_entropy(logits, labels, weight=weight)),
        (
            cross_entropy(logits, some, ignore_index=255, sample_weight=weight[labels]),
            F.cross_entropy(logits, some, ignore_index=255, weight=weight),
        ),
        (
            cross_entropy(logits, labels, weight=weight, label_smoothing=0.2, reduction="sum") / weight[labels].sum(),
            F.cross_entropy(logits, labels, weight=weight, label_smoothing=0.2),
        ),
    ):
        assert_near(ours, peer)
        assert_near(*(torch.autograd.grad(value, logits)[0] for value in (ours, peer)))


def test_weights_of_examples_are_scikit_learns(generator: torch.Generator) -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="an extra, absent where the core is tested alone")
    logits, labels, weight = draw(generator, 12, 3), draw_labels(generator, 3, 12), draw(generator, 12).abs()
    weight[3] = 0.0
    expected = sklearn.log_loss(labels.numpy(), logits.softmax(1).numpy(), sample_weight=weight.numpy(), labels=[0, 1, 2])
    assert float(cross_entropy(logits, labels, sample_weight=weight)) == pytest.approx(expected, rel=1e-12)
    assert float(cross_entropy(logits, F.one_hot(labels, 3).double(), sample_weight=weight)) == pytest.approx(expected, rel=1e-12)
    scores, targets = logits[:, 0], labels % 2
    expected = sklearn.log_loss(targets.numpy(), scores.sigmoid().numpy(), sample_weight=weight.numpy())
    assert float(binary_cross_entropy(scores, targets, sample_weight=weight)) == pytest.approx(expected, rel=1e-12)


def test_a_weight_of_zero_takes_an_example_out_nan_and_all(generator: torch.Generator) -> None:
    """Also where targets are probabilities, which can't be ignored in another way."""
    logits, targets = draw(generator, 3, 4), draw(generator, 3, 4).softmax(1)
    expected = F.cross_entropy(logits[:2], targets[:2])
    logits[2] = math.nan
    logits.requires_grad_()
    for loss, right in (
        (cross_entropy(logits, targets, sample_weight=torch.tensor([1.0, 1.0, 0.0])), expected),
        (
            binary_cross_entropy(logits, targets, sample_weight=torch.tensor([1.0, 1.0, 0.0])),
            F.binary_cross_entropy_with_logits(logits.detach()[:2], targets[:2]),
        ),
    ):
        assert_near(loss, right)
        (slope,) = torch.autograd.grad(loss, logits)
        assert bool(slope.isfinite().all())
        assert not bool(slope[2].any())


# --- divergence ----------------------------------------------------------------------------------------------------------------------------------


def test_divergence_agrees_with_scipy_and_torch(generator: torch.Generator) -> None:
    from scipy.stats import entropy

    p, q = draw(generator, 50, 6).softmax(1), draw(generator, 50, 6).softmax(1)
    assert_near(kl_divergence(p, q), torch.as_tensor(entropy(p.numpy(), q.numpy(), axis=1)))
    assert_near(kl_divergence(p, q, reduction="mean"), F.kl_div(q.log(), p, reduction="batchmean"))
    assert_near(kl_divergence(p, q, reduction="sum"), F.kl_div(q.log(), p, reduction="sum"))


def test_divergence_is_cross_entropy_minus_entropy(generator: torch.Generator) -> None:
    p, logits = draw(generator, 3, 5, 4).softmax(1), draw(generator, 3, 5, 4)
    entropy = -(p * p.log()).sum(1)
    assert_near(kl_divergence(p, logits.softmax(1)) + entropy, cross_entropy(logits, p, reduction="none"))


def test_divergence_of_impossible_outcomes() -> None:
    p = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    q = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    assert float(kl_divergence(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0]))) == INF
    divergence = kl_divergence(p, q)
    assert divergence.tolist() == [pytest.approx(math.log(2)), 0.0, 0.0]
    divergence.sum().backward()
    assert p.grad is not None
    assert q.grad is not None
    assert not bool(p.grad.isnan().any())
    assert not bool(q.grad.isnan().any())


# --- generalised cross-entropy -------------------------------------------------------------------------------------------------------------------


def test_generalized_closed_form_points() -> None:
    logits = torch.tensor([0.1, 0.9], dtype=torch.float64).log()
    for q, expected in ((0.5, (1 - 0.1**0.5) / 0.5), (0.7, (1 - 0.1**0.7) / 0.7), (1.0, 0.9)):
        assert float(generalized_cross_entropy(logits, torch.tensor(0), q=q)) == pytest.approx(expected, abs=1e-12)


def test_generalized_goes_from_cross_entropy_to_absolute_error(generator: torch.Generator) -> None:
    logits, labels = draw(generator, 8, 5, 3), draw_labels(generator, 5, 8, 3)
    assert_near(generalized_cross_entropy(logits, labels, q=0.0), F.cross_entropy(logits, labels))
    assert float((generalized_cross_entropy(logits, labels, q=1e-9) - F.cross_entropy(logits, labels)).abs()) < 1e-7
    absolute = 1 - logits.softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    assert_near(generalized_cross_entropy(logits, labels, q=1.0, reduction="none"), absolute)
    one_hot = F.one_hot(labels, 5).movedim(-1, 1)
    assert_near(generalized_cross_entropy(logits, labels, q=1.0, reduction="none"), 0.5 * (logits.softmax(1) - one_hot).abs().sum(1))


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_generalized_is_bounded_by_one_over_q(q: float) -> None:
    logits = torch.tensor([[1e4, -1e4], [-INF, 0.0]], dtype=torch.float64)
    losses = generalized_cross_entropy(logits, torch.tensor([1, 0]), q=q, reduction="none")
    assert losses.tolist() == pytest.approx([1 / q, 1 / q])


# --- logit adjustment ----------------------------------------------------------------------------------------------------------------------------


def test_adjustment_is_bayes_rule(generator: torch.Generator) -> None:
    likelihood, priors = draw(generator, 6, 4), draw(generator, 4).softmax(0)
    posterior = likelihood.exp() * priors / (likelihood.exp() * priors).sum(1, keepdim=True)
    assert_near(adjust_logits(likelihood, priors).softmax(1), posterior)
    assert_near(adjust_logits(adjust_logits(likelihood, priors), priors, tau=-1.0), likelihood)
    image = draw(generator, 2, 4, 3, 3)
    assert_near(adjust_logits(image, priors, tau=0.5)[:, 2], image[:, 2] + 0.5 * priors[2].log())


# --- what holds for all of them ------------------------------------------------------------------------------------------------------------------

COUNTS, POSITIVES = torch.arange(4), torch.tensor([3.0, 0.0, 1.0])
IGNORE = torch.tensor([[True, False, False], [False, True, False], [False, False, False], [True, True, True]])
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "ignored": lambda logits: cross_entropy(
        logits,
        torch.tensor([0, 255, 1, 255], dtype=torch.uint8, device=logits.device),
        ignore_index=255,
        sample_weight=COUNTS.to(logits.device),
        reduction="none",
    ),
    "binary weighted": lambda logits: binary_cross_entropy(
        logits,
        torch.full_like(logits, 0.25),
        pos_weight=POSITIVES.to(logits.device),
        ignore=IGNORE.to(logits.device),
        sample_weight=COUNTS.to(logits.device),
        reduction="none",
    ),
    "labels": lambda logits: cross_entropy(logits, torch.tensor([0, 2, 1, 1], device=logits.device), reduction="none"),
    "smoothed": lambda logits: cross_entropy(logits, torch.tensor([0, 2, 1, 1], device=logits.device), label_smoothing=0.2, reduction="none"),
    "probs": lambda logits: cross_entropy(logits, torch.full_like(logits, 1 / 3), weight=torch.tensor([1.0, 2.0, 0.5]), reduction="none"),
    "binary": lambda logits: binary_cross_entropy(logits, torch.full_like(logits, 0.25), reduction="none"),
    "binary hard": lambda logits: binary_cross_entropy(logits, torch.ones_like(logits), label_smoothing=0.1, reduction="none"),
    "generalized": lambda logits: generalized_cross_entropy(logits, torch.tensor([0, 2, 1, 1], device=logits.device), reduction="none"),
    "divergence": lambda logits: kl_divergence(torch.full_like(logits, 1 / 3), logits.softmax(1)),
    "adjusted": lambda logits: adjust_logits(logits, torch.tensor([0.5, 0.25, 0.25])),
}


@pytest.mark.parametrize("name", LOSSES)
def test_first_and_second_derivatives_match_finite_differences(name: str, generator: torch.Generator) -> None:
    logits = draw(generator, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(LOSSES[name], (logits,))
    assert torch.autograd.gradgradcheck(LOSSES[name], (logits,))


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "divergence"])
def test_no_nan_at_extreme_logits(name: str, dtype: torch.dtype, device: torch.device) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [-1e4, -1e4, -1e4], [20.0, -20.0, 0.0]], dtype=dtype, device=device)
    logits.requires_grad_()
    losses = LOSSES[name](logits)
    (gradient,) = torch.autograd.grad(losses.sum(), logits, create_graph=True)
    assert not bool(losses.isnan().any())
    assert bool(gradient.isfinite().all())
    if gradient.requires_grad:  # the adjustment is linear
        (second,) = torch.autograd.grad(gradient.sum(), logits)
        assert not bool(second.isnan().any())
    assert bool((losses[3] - LOSSES[name](logits.double())[3]).abs().max() < 0.1 * 20)


@pytest.mark.parametrize("name", LOSSES)
def test_compiles_whole_and_maps(name: str, generator: torch.Generator) -> None:
    logits = draw(generator, 4, 3)
    compiled = torch.compile(LOSSES[name], fullgraph=True, backend="aot_eager")
    assert_near(compiled(logits), LOSSES[name](logits))
    stack = draw(generator, 5, 4, 3)
    assert_near(torch.func.vmap(LOSSES[name])(stack), torch.stack([LOSSES[name](logits) for logits in stack]))


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_under_autocast(name: str, narrow: torch.dtype, generator: torch.Generator) -> None:
    """The very numbers of the call without it."""
    logits = draw(generator, 4, 3, dtype=torch.float32)
    with torch.autocast("cpu", dtype=narrow):
        losses = LOSSES[name](logits)
    assert losses.dtype == torch.float32
    assert torch.equal(losses, LOSSES[name](logits))


def test_labels_map_over_a_batch(generator: torch.Generator) -> None:
    logits, labels = draw(generator, 6, 3), draw_labels(generator, 3, 6)
    for smoothing in (0.0, 0.1):
        mapped = torch.func.vmap(lambda row, label, smoothing=smoothing: cross_entropy(row, label, label_smoothing=smoothing))(logits, labels)
        assert_near(mapped, F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none"))


def test_empty_batch_costs_nothing_and_has_a_gradient() -> None:
    logits = torch.zeros(0, 3, requires_grad=True)
    for loss in (
        cross_entropy(logits, torch.zeros(0, dtype=torch.long)),
        cross_entropy(logits, torch.zeros(0, 3)),
        binary_cross_entropy(logits, torch.zeros(0, 3)),
        generalized_cross_entropy(logits, torch.zeros(0, dtype=torch.long)),
        kl_divergence(logits, torch.zeros(0, 3), reduction="mean"),
    ):
        assert float(loss.detach()) == 0.0
        loss.backward()


def test_one_class_is_certain() -> None:
    assert float(cross_entropy(torch.tensor([[5.0]]), torch.tensor([0]), label_smoothing=0.3)) == 0.0


HALVES = torch.full((4, 2), 0.5)
WRONG: list[tuple[str, type[Exception], str, Callable[[], Tensor]]] = [
    ("scalar logits", ValueError, r"`logits` should have shape \[K\]", lambda: cross_entropy(torch.tensor(1.0), torch.tensor(0))),
    ("no classes", ValueError, "at least one class", lambda: cross_entropy(torch.zeros(2, 0), torch.tensor([0, 0]))),
    ("probs of another shape", ValueError, r"`targets` should have shape \(4, 2\)", lambda: cross_entropy(HALVES, torch.full((4,), 0.5))),
    (
        "label out of range",
        ValueError,
        r"`targets` should lie in \[0, 2\); found values from 0 to 2",
        lambda: cross_entropy(HALVES, torch.tensor([0, 1, 2, 0])),
    ),
    ("negative label", ValueError, "found values from -100 to 1", lambda: cross_entropy(HALVES, torch.tensor([0, 1, -100, 0]))),
    ("boolean labels", TypeError, "`targets` should have an integer dtype", lambda: cross_entropy(HALVES, torch.ones(4, dtype=torch.bool))),
    ("no distribution", ValueError, "`targets` should sum to 1 along axis 1; found a sum of 2", lambda: cross_entropy(HALVES, torch.ones(4, 2))),
    ("negative probs", ValueError, r"`targets` should lie in \[0, 1\]", lambda: cross_entropy(HALVES, torch.tensor([[-0.5, 1.5]]).expand(4, 2))),
    ("NaN targets", ValueError, "found NaN", lambda: cross_entropy(HALVES, torch.full((4, 2), math.nan))),
    (
        "binary shape",
        ValueError,
        r"`targets` should have shape \(4, 2\) to match `logits`; found \(4,\)",
        lambda: binary_cross_entropy(HALVES, torch.ones(4)),
    ),
    (
        "binary weight",
        ValueError,
        r"`weight` should have shape \(\) or \(2,\) or \(4, 2\); found \(4,\)",
        lambda: binary_cross_entropy(HALVES, HALVES, weight=torch.ones(4)),
    ),
    ("mask shape", ValueError, "`ignore` should have shape", lambda: binary_cross_entropy(HALVES, HALVES, ignore=torch.ones(4, dtype=torch.bool))),
    ("sample weights", ValueError, "`sample_weight` should have shape", lambda: binary_cross_entropy(HALVES, HALVES, sample_weight=torch.ones(2))),
    (
        "ignored probabilities",
        ValueError,
        "`ignore_index` should be None where `targets` are probabilities, whose `sample_weight` may be 0; found 255",
        lambda: cross_entropy(HALVES, HALVES, ignore_index=255),
    ),
    (
        "a label that is neither a class nor ignored",
        ValueError,
        r"`targets` should lie in \[0, 2\); found values from 0 to 255",
        lambda: cross_entropy(HALVES, torch.tensor([0, 1, 255, 254]), ignore_index=254),
    ),
    ("divergence of logits", ValueError, r"`p` should lie in \[0, 1\]", lambda: kl_divergence(torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.5]))),
    ("q no distribution", ValueError, "`q` should sum to 1 along axis 0", lambda: kl_divergence(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.1]))),
    ("priors length", ValueError, r"`priors` should have shape \(2,\)", lambda: adjust_logits(HALVES, torch.full((3,), 1 / 3))),
    ("priors sum", ValueError, "`priors` should sum to 1", lambda: adjust_logits(HALVES, torch.ones(2))),
    ("zero prior", ValueError, "`priors` should be positive; found a zero", lambda: adjust_logits(HALVES, torch.tensor([0.0, 1.0]))),
]


@pytest.mark.parametrize(("error", "message", "call"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_arguments_are_named(error: type[Exception], message: str, call: Callable[[], Tensor]) -> None:
    with pytest.raises(error, match=message):
        call()


def test_binary_at_infinite_logits_where_values_cannot_be_read() -> None:
    logits, targets = torch.tensor([INF, -INF, INF, -INF, 0.0]), torch.tensor([1.0, 0.0, 0.0, 1.0, 0.5])
    compiled = torch.compile(lambda s, t: binary_cross_entropy(s, t, reduction="none"), fullgraph=True, backend="aot_eager")
    assert compiled(logits, targets).tolist() == binary_cross_entropy(logits, targets, reduction="none").tolist()
    mapped = torch.func.vmap(lambda s, t: binary_cross_entropy(s, t))(logits, targets)
    assert mapped.tolist() == [0.0, 0.0, INF, INF, pytest.approx(math.log(2))]


# --- one number on every path --------------------------------------------------------------------------------------------------------------------

BY_LABEL: dict[str, Callable[..., Tensor]] = {
    "cross-entropy": cross_entropy,
    "smoothed": lambda logits, labels, **options: cross_entropy(logits, labels, label_smoothing=0.1, **options),
    "weighted": lambda logits, labels, **options: focal.softmax_focal_loss(
        logits, labels, weight=torch.linspace(1, 2, logits.shape[min(logits.ndim - 1, 1)], dtype=torch.float64), **options
    ),
    "generalized": generalized_cross_entropy,
    "focal": focal.softmax_focal_loss,
    "Crammer-Singer": multiclass.crammer_singer,
    "Weston-Watkins": multiclass.weston_watkins,
    "Lee-Lin-Wahba": multiclass.lee_lin_wahba,
    "spherical": scoring.spherical_loss,
    "sparsemax": scoring.sparsemax_loss,
    "forward": privacy.RandomizedResponse(1.0, 3).forward_loss,
    "backward": privacy.RandomizedResponse(1.0, 3).backward_loss,
}
by_label = pytest.mark.parametrize("loss", BY_LABEL.values(), ids=BY_LABEL.keys())


@by_label
def test_ignored_is_left_out_of_every_loss_over_labels(loss: Callable[..., Tensor], generator: torch.Generator) -> None:
    """As if it had not been there, whatever its logits: NaN, and infinite ones."""
    logits, labels = draw(generator, 6, 3), draw_labels(generator, 3, 6)
    keep = torch.tensor([True, False, True, True, False, True])
    there = logits[keep].requires_grad_()
    logits[1], logits[4] = math.nan, INF
    marked, leaf = torch.where(keep, labels, 255), logits.requires_grad_()
    for dtype in (torch.int64, torch.uint8):
        for reduction in ("mean", "sum"):
            found = loss(leaf, marked.to(dtype), ignore_index=255, reduction=reduction)
            expected = loss(there, labels[keep], reduction=reduction)
            assert_near(found, expected)
            (slope,) = torch.autograd.grad(found, leaf)
            assert_near(slope[keep], torch.autograd.grad(expected, there)[0])
            assert not bool(slope[~keep].any())  # nor NaN
    assert not bool(loss(leaf, marked, ignore_index=255, reduction="none")[~keep].any())


@by_label
def test_a_whole_weight_is_as_many_copies(loss: Callable[..., Tensor], generator: torch.Generator) -> None:
    logits, labels, counts = draw(generator, 6, 3).requires_grad_(), draw_labels(generator, 3, 6), torch.tensor([1, 0, 3, 2, 1, 4])
    for reduction in ("mean", "sum"):
        found = loss(logits, labels, sample_weight=counts, reduction=reduction)
        copied = loss(logits.repeat_interleave(counts, 0), labels.repeat_interleave(counts, 0), reduction=reduction)
        assert_near(found, copied)
        assert_near(*(torch.autograd.grad(value, logits)[0] for value in (found, copied)))
    assert_near(loss(logits, labels, sample_weight=counts, reduction="none"), counts * loss(logits, labels, reduction="none"))


@by_label
def test_ignored_compiled_and_mapped(loss: Callable[..., Tensor], generator: torch.Generator) -> None:
    logits, labels = draw(generator, 6, 3), draw_labels(generator, 3, 6)
    labels[2:4] = -100
    weight = draw(generator, 6).abs()
    heeding = lambda logits, labels, weight: loss(logits, labels, ignore_index=-100, sample_weight=weight)  # noqa: E731
    expected = heeding(logits, labels, weight)
    torch.compiler.reset()
    assert_near(torch.compile(heeding, backend="aot_eager", fullgraph=True)(logits, labels, weight), expected)
    stack = [torch.stack([one, one.flip(0)]) for one in (logits, labels, weight)]
    assert_near(torch.func.vmap(heeding)(*stack), expected.expand(2))
    with pytest.raises(ValueError, match=r"should lie in \[0, 3\); found values from -100 to"):
        loss(logits, labels)
    with pytest.raises(ValueError, match=r"should lie in \[0, 3\); found values from -100 to"):
        loss(logits, labels, ignore_index=255)
    with pytest.raises(RuntimeError, match=r"should lie in \[0, 3\)"):
        torch.compile(lambda s, y: loss(s, y, ignore_index=255), backend="aot_eager", fullgraph=True)(logits, labels)


class Renamed(Tensor):
    """A subclass that changes nothing, as torchvision's tv_tensors are."""


@by_label
def test_a_label_that_no_class_has_is_an_error_on_every_path(loss: Callable[..., Tensor]) -> None:
    """torch ignores -100, and divides by what is left."""
    logits = torch.zeros(2, 3)
    for label in (-100, -1, 3, 2**40, torch.iinfo(torch.int64).min):
        labels = torch.tensor([0, label])
        for call in (
            lambda labels=labels: loss(logits, labels),
            lambda labels=labels: loss(logits, labels.as_subclass(Renamed)),
            lambda labels=labels: torch.func.vmap(loss)(logits[None], labels[None]),
            lambda labels=labels: torch.func.grad(loss)(logits, labels),
        ):
            with pytest.raises(ValueError, match=r"should lie in \[0, 3\); found values from"):
                call()
    torch.compiler.reset()
    with pytest.raises(RuntimeError, match=r"should lie in \[0, 3\)"):
        torch.compile(loss, backend="aot_eager", fullgraph=True)(logits, torch.tensor([0, -100]))


@pytest.mark.parametrize("loss", [cross_entropy, generalized_cross_entropy])
def test_where_labels_are_not_looked_at_none_is_ignored(loss: Callable[..., Tensor]) -> None:
    """Inside a compiled vmap nothing is checked: torch then says what is wrong with the label, and ignores none."""
    torch.compiler.reset()
    mapped = torch.compile(torch.func.vmap(loss), backend="aot_eager", fullgraph=True)
    assert_near(mapped(HALVES[None], torch.tensor([[0, 1, 1, 0]])), loss(HALVES, torch.tensor([0, 1, 1, 0]))[None])
    with pytest.raises((IndexError, RuntimeError), match="-100"):
        mapped(HALVES[None], torch.tensor([[0, 1, -100, 0]]))


@by_label
def test_labels_in_a_dtype_that_ends_before_the_classes_do(loss: Callable[..., Tensor], generator: torch.Generator) -> None:
    """uint8 holds no 300, and the check in a compiled graph would compare with 44."""
    if isinstance(getattr(loss, "__self__", None), privacy.RandomizedResponse):
        loss = getattr(privacy.RandomizedResponse(1.0, 300), loss.__name__)
    logits, labels = draw(generator, 3, 300), torch.tensor([5, 60, 200], dtype=torch.uint8)
    torch.compiler.reset()
    assert_near(torch.compile(loss, backend="aot_eager", fullgraph=True)(logits, labels), loss(logits, labels.long()))


@by_label
def test_labels_lie_on_the_device_of_the_logits(loss: Callable[..., Tensor]) -> None:
    """What `gather` reads at places that lie on no device is any number."""
    with pytest.raises(ValueError, match="should be on the device cpu to match `logits`; found meta"):
        loss(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64, device="meta"))


@by_label
def test_a_graph_for_every_size(loss: Callable[..., Tensor], generator: torch.Generator) -> None:
    torch.compiler.reset()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=True)
    for count in (4, 7):
        logits, labels = draw(generator, count, 3), draw_labels(generator, 3, count)
        assert_near(compiled(logits, labels), loss(logits, labels))


@by_label
def test_every_second_derivative_there_is(loss: Callable[..., Tensor], generator: torch.Generator) -> None:
    """Forward, reverse, many gradients at once, and one over the other."""
    logits, labels = draw(generator, 5, 3).requires_grad_(), draw_labels(generator, 3, 5)
    each = {"check_batched_grad": True, "check_forward_ad": True, "check_batched_forward_grad": True}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script", category=DeprecationWarning)  # torch's own forward mode calls it
        assert torch.autograd.gradcheck(lambda logits: loss(logits, labels), logits, **each)
        assert torch.autograd.gradgradcheck(lambda logits: loss(logits, labels), logits, check_batched_grad=True, check_fwd_over_rev=True)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch's own forward mode scripts its decompositions
@by_label
def test_logits_at_the_ends_of_their_dtype(loss: Callable[..., Tensor], dtype: torch.dtype) -> None:
    """No NaN, and finite gradients, where differences of logits overflow; by forward mode the same."""
    most = torch.finfo(dtype).max
    logits = torch.cartesian_prod(*[torch.tensor([most, -most, most / 2, 0.0, -20.0, 1e3], dtype=dtype)] * 3)
    for label in range(3):
        labels, leaf = torch.full((len(logits),), label), logits.clone().requires_grad_()

        def total(logits: Tensor, labels: Tensor = labels) -> Tensor:
            return torch.func.vmap(lambda row, own: loss(row[None], own[None]))(logits, labels)

        losses = total(leaf)
        (slope,) = torch.autograd.grad(losses.sum(), leaf, create_graph=True)
        assert not bool(losses.isnan().any())
        assert bool(slope.isfinite().all())
        if slope.requires_grad:  # the hinges are linear
            (curvature,) = torch.autograd.grad(slope.sum(), leaf)
            assert not bool(curvature.isnan().any())
        assert not bool(torch.func.jvp(total, (logits,), (torch.ones_like(logits),))[1].isnan().any())


def test_half_precision_is_computed_and_returned_in_float32(generator: torch.Generator) -> None:
    for narrow in (torch.float16, torch.bfloat16):
        logits, weight = draw(generator, 6, 4, dtype=narrow), draw(generator, 4).abs().to(narrow)
        targets, unit = draw(generator, 6, 4).softmax(1).to(narrow), draw(generator, 6, 4).sigmoid().to(narrow)
        labels = draw_labels(generator, 4, 6)
        for found, plain in (
            (cross_entropy(logits, labels, weight=weight), cross_entropy(logits.double(), labels, weight=weight.double())),
            (cross_entropy(logits, targets), cross_entropy(logits.double(), targets.double())),
            (binary_cross_entropy(logits, unit, weight=unit), binary_cross_entropy(logits.double(), unit.double(), weight=unit.double())),
            (kl_divergence(targets, unit.softmax(1)), kl_divergence(targets.double(), unit.softmax(1).double())),
            (generalized_cross_entropy(logits, labels), generalized_cross_entropy(logits.double(), labels)),
        ):
            assert found.dtype == torch.float32
            assert_near(found, plain)


def test_an_adjustment_keeps_the_dtype_and_rare_classes() -> None:
    """In float16 a prior of 1e-8 would be 0, and its logarithm -∞; one of 3e-5 is there, below the least normal number."""
    priors = torch.tensor([1e-8, 1 - 1e-8])
    found = adjust_logits(torch.zeros(2, dtype=torch.float16), priors)
    assert found.dtype == torch.float16
    assert_near(found, priors.log())
    narrow = torch.tensor([3e-5, 1.0], dtype=torch.float16)
    assert_near(adjust_logits(torch.zeros(2), narrow), narrow.double().log())


def test_an_exponent_that_the_dtype_does_not_hold() -> None:
    logits, labels = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([1])
    for q in (1e-50, 1e-310):
        assert_near(generalized_cross_entropy(logits, labels, q=q), cross_entropy(logits, labels))
        assert_near(generalized_cross_entropy(logits.double(), labels, q=q), cross_entropy(logits.double(), labels))


def test_a_weight_of_zero_is_no_loss_even_where_it_is_infinite() -> None:
    logits = torch.tensor([[0.0, -INF], [INF, 0.0]], requires_grad=True)
    losses = binary_cross_entropy(logits, torch.tensor([[1.0, 1.0], [0.0, 1.0]]), weight=torch.tensor([[1.0, 0.0], [0.0, 1.0]]), reduction="none")
    assert_near(losses.detach(), torch.tensor([[math.log(2), 0.0], [0.0, math.log(2)]]))
    (slope,) = torch.autograd.grad(losses.sum(), logits)
    assert slope.tolist() == [[-0.5, 0.0], [0.0, -0.5]]


@pytest.mark.parametrize("wrong", [torch.complex64, torch.float8_e4m3fn], ids=str)
def test_targets_and_weights_are_real(wrong: torch.dtype) -> None:
    """The imaginary part was left out, with a warning."""
    ones, labels = torch.ones(2, 3), torch.tensor([0, 1])
    with pytest.raises(TypeError, match="`targets` should have a dtype of real numbers"):
        binary_cross_entropy(ones, ones.to(wrong))
    with pytest.raises(TypeError, match="`weight` should have a dtype of real numbers"):
        binary_cross_entropy(ones, ones, weight=ones.to(wrong))
    with pytest.raises(TypeError, match="`weight` should have a dtype of real numbers"):
        cross_entropy(ones, labels, weight=ones[0].to(wrong))
    with pytest.raises(ValueError, match="`weight` should be on the device cpu to match `logits`; found meta"):
        cross_entropy(ones, labels, weight=torch.ones(3, device="meta"))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_what_is_no_plain_tensor_is_named() -> None:
    whole = torch.zeros(2, 3)
    for value, found in (
        (whole.to_sparse(), "torch.sparse_coo"),
        (torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "a nested one"),
    ):
        with pytest.raises(TypeError, match=f"`targets` should be a dense tensor; found {found}"):
            binary_cross_entropy(whole, value)


def test_a_subclass_is_checked_as_a_plain_tensor_is() -> None:
    for value in (torch.full((4, 2), 1.5), torch.full((4, 2), math.nan)):
        with pytest.raises(ValueError, match="`targets` should lie in"):
            cross_entropy(HALVES, value.as_subclass(Renamed))
        with pytest.raises(ValueError, match="`targets` should lie in"):
            binary_cross_entropy(HALVES, value.as_subclass(Renamed))
        with pytest.raises(ValueError, match="`q` should lie in"):
            kl_divergence(HALVES, value.as_subclass(Renamed))
    with pytest.raises(ValueError, match="`priors` should sum to 1"):
        adjust_logits(HALVES, torch.ones(2).as_subclass(Renamed))
