"""Losses built from an entropy: propriety by brute force, sparsemax against an independent solver, gradients against theory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lossbook.crossentropy import cross_entropy
from lossbook.scoring import savage_loss, sparsemax, sparsemax_loss, spherical_loss
from tests.tolerances import assert_near

ENTROPIES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "log": (lambda q: -q * q.log() - (1 - q) * (1 - q).log(), lambda q, t: -t * q.log() - (1 - t) * (1 - q).log()),
    "Brier": (lambda q: q * (1 - q), lambda q, t: t * (1 - q) ** 2 + (1 - t) * q**2),
    "exponential": (lambda q: 2 * (q * (1 - q)).sqrt(), lambda q, t: t * ((1 - q) / q).sqrt() + (1 - t) * (q / (1 - q)).sqrt()),
}


def draw(generator: torch.Generator, *shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def nearest_on_simplex(point: np.ndarray) -> np.ndarray:
    """The projection by bisection on the threshold: no sorting, so independent of the code under test."""
    low, high = point.max() - 1, point.max()
    for _ in range(200):
        middle = (low + high) / 2
        if np.maximum(point - middle, 0).sum() > 1:
            low = middle
        else:
            high = middle
    return np.maximum(point - low, 0)


@pytest.mark.parametrize("name", ENTROPIES)
def test_savage_gives_the_known_losses(name: str) -> None:
    entropy, plain = ENTROPIES[name]
    probs = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    for target in (0.0, 0.3, 1.0):
        targets = torch.full_like(probs, target)
        assert_near(savage_loss(entropy, probs, targets, reduction="none"), plain(probs, targets))


@pytest.mark.parametrize("name", ENTROPIES)
def test_no_forecast_beats_the_truth(name: str) -> None:
    entropy, _ = ENTROPIES[name]
    probs = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    for truth in (0.1, 0.5, 0.7):
        expected = savage_loss(entropy, probs, torch.full_like(probs, truth), reduction="none")  # linear in the target, so this is the mean loss
        assert float(probs[expected.argmin()]) == pytest.approx(truth, abs=1e-9)
        assert float(expected.min()) == pytest.approx(float(entropy(torch.tensor(truth, dtype=torch.float64))), abs=1e-12)


def test_spherical_is_the_plain_formula_and_proper(generator: torch.Generator) -> None:
    logits, labels = draw(generator, 5, 4, 3, scale=3.0), torch.randint(4, (5, 3), generator=generator)
    probs = logits.softmax(1)
    plain = 1 - probs.gather(1, labels.unsqueeze(1)).squeeze(1) / probs.square().sum(1).sqrt()
    assert_near(spherical_loss(logits, labels, reduction="none"), plain)
    assert_near(spherical_loss(logits, labels), plain.mean())
    grid = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    both = torch.stack([grid, 1 - grid], 1).log()
    risk = 0.7 * spherical_loss(both, torch.zeros(999, dtype=torch.long), reduction="none") + 0.3 * spherical_loss(
        both, torch.ones(999, dtype=torch.long), reduction="none"
    )
    assert float(grid[risk.argmin()]) == pytest.approx(0.7, abs=1e-9)


@pytest.mark.parametrize("loss", [spherical_loss, sparsemax_loss], ids=lambda loss: loss.__name__)
def test_weights_of_classes_and_of_examples(loss: Callable[..., Tensor], generator: torch.Generator) -> None:
    """w_y l; over the number of losses that are not ignored, or over their weights. The losses themselves are held above and below."""
    logits, labels, weight = draw(generator, 8, 3), torch.tensor([0, 1, 2, 9, 1, 0, 9, 2]), torch.tensor([1.0, 0.25, 3.0], dtype=torch.float64)
    keep, by_example = labels != 9, torch.arange(8)
    losses = loss(logits[keep], labels[keep], reduction="none")
    weighted = weight[labels[keep]] * losses
    assert_near(loss(logits, labels, weight=weight, ignore_index=9), weighted.sum() / 6)
    found = loss(logits, labels, weight=weight, ignore_index=9, sample_weight=by_example)
    assert_near(found, (by_example[keep] * weighted).sum() / by_example[keep].sum())
    mean = loss(logits[keep], labels[keep], sample_weight=weight[labels[keep]])
    assert_near(mean, np.average(losses.numpy(), weights=weight[labels[keep]].numpy()) * torch.ones((), dtype=torch.float64))


def test_sparsemax_is_the_nearest_point_of_the_simplex(generator: torch.Generator) -> None:
    logits = draw(generator, 200, 6, scale=2.0)
    nearest = torch.as_tensor(np.stack([nearest_on_simplex(row) for row in logits.numpy()]))
    assert_near(sparsemax(logits), nearest)
    assert bool((sparsemax(logits) == 0).any())
    assert_near(sparsemax(logits + 100.0), nearest)
    assert_near(sparsemax(logits.reshape(20, 10, 6).movedim(-1, 1)), nearest.reshape(20, 10, 6).movedim(-1, 1))


@pytest.mark.parametrize(("gap", "loss"), [(0.0, 0.25), (0.5, 0.0625), (0.99, 0.000025), (1.0, 0.0), (3.0, 0.0), (-1.0, 1.0), (-3.0, 3.0)])
def test_sparsemax_loss_of_two_classes(gap: float, loss: float) -> None:
    # (1 − gap)²/4 on [−1, 1], 0 above and −gap below: Martins & Astudillo, section 3.2.
    assert float(sparsemax_loss(torch.tensor([gap, 0.0], dtype=torch.float64), torch.tensor(0))) == pytest.approx(loss, abs=1e-12)


def test_sparsemax_loss_is_the_fenchel_young_gap(generator: torch.Generator) -> None:
    logits, labels = draw(generator, 100, 5, scale=2.0).requires_grad_(), torch.randint(5, (100,), generator=generator)
    losses = sparsemax_loss(logits, labels, reduction="none")
    nearest = torch.as_tensor(np.stack([nearest_on_simplex(row) for row in logits.detach().numpy()]))
    truth = torch.eye(5, dtype=torch.float64)[labels]
    # Ω*(z) + Ω(e) − ⟨e, z⟩ with Ω = ½‖·‖², the maximum of ⟨p, z⟩ − ½‖p‖² taken at the projection.
    gap = (nearest * logits.detach()).sum(1) - 0.5 * nearest.square().sum(1) + 0.5 - (truth * logits.detach()).sum(1)
    assert_near(losses, gap)
    assert bool((losses >= -1e-12).all())
    losses.sum().backward()
    assert_near(logits.grad, nearest - truth)


def test_the_same_recipe_with_the_negative_entropy_is_cross_entropy(generator: torch.Generator) -> None:
    logits, labels = draw(generator, 9, 4), torch.randint(4, (9,), generator=generator)
    # Ω = Σ p ln p: Ω(e_y) = 0 and Ω*(z) = ln Σ e^z.
    assert_near(cross_entropy(logits, labels, reduction="none"), logits.logsumexp(1) - logits.gather(1, labels.unsqueeze(1)).squeeze(1))


LABELS = torch.tensor([0, 2, 1, 1])
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "spherical": lambda logits: spherical_loss(logits, LABELS.to(logits.device), reduction="none"),
    "sparsemax": lambda logits: sparsemax_loss(logits, LABELS.to(logits.device), reduction="none"),
    "projection": sparsemax,
    "savage": lambda logits: savage_loss(lambda q: q * (1 - q), logits.sigmoid(), torch.ones_like(logits), reduction="none"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives_match_finite_differences(name: str, generator: torch.Generator) -> None:
    logits = draw(generator, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(LOSSES[name], (logits,))
    assert torch.autograd.gradgradcheck(LOSSES[name], (logits,))


@pytest.mark.parametrize("name", LOSSES)
def test_no_nan_at_extreme_logits(name: str, dtype: torch.dtype, device: torch.device) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [-1e4, -1e4, -1e4], [20.0, -20.0, 0.0]], dtype=dtype, device=device)
    logits.requires_grad_()
    losses = LOSSES[name](logits)
    (gradient,) = torch.autograd.grad(losses.sum(), logits, create_graph=True)
    assert bool(losses.isfinite().all())
    assert bool(gradient.isfinite().all())
    if gradient.requires_grad:
        (second,) = torch.autograd.grad(gradient.sum(), logits)
        assert not bool(second.isnan().any())


def test_minus_infinity_is_probability_zero() -> None:
    logits = torch.tensor([[0.0, -torch.inf], [0.0, -torch.inf]])
    assert spherical_loss(logits, torch.tensor([0, 1]), reduction="none").tolist() == [0.0, 1.0]
    assert sparsemax(logits).tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert sparsemax_loss(logits, torch.tensor([0, 1]), reduction="none").tolist() == [0.0, torch.inf]


@pytest.mark.parametrize("name", LOSSES)
def test_compiles_whole_and_maps(name: str, generator: torch.Generator) -> None:
    logits, stack = draw(generator, 4, 3), draw(generator, 5, 4, 3)
    assert_near(torch.compile(LOSSES[name], fullgraph=True, backend="aot_eager")(logits), LOSSES[name](logits))
    assert_near(torch.func.vmap(LOSSES[name])(stack), torch.stack([LOSSES[name](logits) for logits in stack]))
    for narrow in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=narrow):
            found = LOSSES[name](logits.float())
        assert torch.equal(found, LOSSES[name](logits.float()))


def test_empty_batch() -> None:
    none = torch.zeros(0, dtype=torch.long)
    assert float(spherical_loss(torch.zeros(0, 3), none)) == float(sparsemax_loss(torch.zeros(0, 3), none)) == 0.0


def test_spherical_loss_at_the_ends_of_the_dtype(dtype: torch.dtype) -> None:
    """Twice the largest logit is no number of the dtype; the loss is 0 at the top class, 1 far below it, and has no slope."""
    most = torch.finfo(dtype).max
    logits = torch.tensor([[most, -most], [-most, -most], [most / 2, most]], dtype=dtype, requires_grad=True)
    losses = spherical_loss(logits, torch.tensor([0, 1, 0]), reduction="none")
    assert_near(losses.detach(), torch.tensor([0.0, 1 - 0.5**0.5, 1.0], dtype=torch.float64))
    losses[[0, 2]].sum().backward()
    assert not bool(logits.grad.any())


def test_targets_of_savages_loss_may_be_integers_or_booleans() -> None:
    probs, expected = torch.tensor([0.2, 0.7]), torch.tensor([0.04, 0.49])
    for targets in (torch.tensor([0.0, 0.0]), torch.tensor([0, 0]), torch.tensor([False, False]), torch.tensor([0, 0], dtype=torch.uint16)):
        assert_near(savage_loss(lambda q: q * (1 - q), probs, targets, reduction="none"), expected)


def test_a_sure_forecast_that_comes_true_costs_nothing_however_steep_the_entropy() -> None:
    """Shannon's entropy has the slope ±∞ at 0 and 1: there (t − q) H' is 0 · ∞."""
    shannon = lambda q: torch.special.entr(q) + torch.special.entr(1 - q)  # noqa: E731
    losses = savage_loss(shannon, torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 1.0, 0.0]), reduction="none")
    assert losses.tolist() == [0.0, 0.0, torch.inf, torch.inf]


def test_an_entropy_of_another_shape_is_named() -> None:
    probs = torch.full((3,), 0.5)
    with pytest.raises(ValueError, match=r"`entropy\(probs\)` should have shape \(3,\) to match `probs`; found \(\)"):
        savage_loss(lambda q: (q * (1 - q)).sum(), probs, probs)
    with pytest.raises(TypeError, match=r"`entropy\(probs\)` should be a torch.Tensor; found list"):
        savage_loss(lambda q: [q], probs, probs)


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16], ids=str)
def test_sparsemax_of_many_classes_in_half_precision(narrow: torch.dtype, generator: torch.Generator) -> None:
    """Rounded once, at the end: running sums over a thousand classes are none of half precision's."""
    logits = (0.01 * draw(generator, 3, 1000)).to(narrow)
    found = sparsemax(logits)
    assert found.dtype == narrow
    assert torch.equal(found, sparsemax(logits.double()).float().to(narrow))
    labels = torch.tensor([0, 1, 2])
    assert_near(sparsemax_loss(logits, labels), sparsemax_loss(logits.double(), labels))
    assert_near(spherical_loss(logits, labels), spherical_loss(logits.double(), labels))
    assert sparsemax_loss(logits, labels).dtype == spherical_loss(logits, labels).dtype == torch.float32


HALF = torch.full((2,), 0.5)
WRONG: list[tuple[str, type[Exception], str, Callable[[], Tensor]]] = [
    ("shape", ValueError, "to match `probs`", lambda: savage_loss(torch.sin, HALF, HALF[:1])),
    ("spherical labels", ValueError, "found values from 2 to 2", lambda: spherical_loss(HALF, torch.tensor(2))),
    ("sparsemax scalar", ValueError, "`logits` should have shape", lambda: sparsemax(torch.tensor(1.0))),
]


@pytest.mark.parametrize(("error", "message", "call"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_arguments_are_named(error: type[Exception], message: str, call: Callable[[], Tensor]) -> None:
    with pytest.raises(error, match=message):
        call()
