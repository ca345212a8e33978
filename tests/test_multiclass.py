"""multiclass: the three hinges against loops and peers, and their optimal scores against each other and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import hinge_loss
from torch import Tensor

from lossbook.multiclass import RULES, crammer_singer, lee_lin_wahba, optimal_scores, weston_watkins
from tests.tolerances import assert_near

HINGES = [crammer_singer, weston_watkins, lee_lin_wahba]
EACH = pytest.mark.parametrize("loss", HINGES, ids=lambda loss: loss.__name__)


def by_loops(name: str, scores: list[float], label: int) -> float:
    wrong = [s for j, s in enumerate(scores) if j != label]
    if name == "crammer_singer":
        return max([max(0.0, 1 + s - scores[label]) for s in wrong], default=0.0)
    if name == "weston_watkins":
        return sum(max(0.0, 1 + s - scores[label]) for s in wrong)
    return sum(max(0.0, 1 + s) for s in wrong)


def draw(generator: torch.Generator, n: int = 40, classes: int = 5, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    logits = 2 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    return (logits - logits.mean(dim=1, keepdim=True)).to(dtype), torch.randint(classes, (n,), generator=generator)


@EACH
@pytest.mark.parametrize("classes", [1, 2, 3, 7])
def test_loops(loss, classes: int, generator: torch.Generator, device: torch.device, real_dtype: torch.dtype) -> None:
    logits, labels = draw(generator, classes=classes)
    expected = torch.tensor([by_loops(loss.__name__, s, y) for s, y in zip(logits.tolist(), labels.tolist(), strict=True)], dtype=torch.float64)
    found = loss(logits.to(device, real_dtype), labels.to(device), reduction="none")
    assert found.dtype == real_dtype
    assert_near(found, expected)
    assert_near(loss(logits, labels, reduction="sum"), loss(logits, labels, reduction="none").sum())
    assert_near(loss(logits, labels), loss(logits, labels, reduction="none").mean())


def test_weston_watkins_is_torchs_multi_margin_times_classes(generator: torch.Generator) -> None:
    logits, labels = draw(generator)
    assert_near(weston_watkins(logits, labels, reduction="none"), 5 * F.multi_margin_loss(logits, labels, reduction="none"))


def test_crammer_singer_is_scikit_learns_hinge(generator: torch.Generator) -> None:
    logits, labels = draw(generator)
    assert float(crammer_singer(logits, labels)) == pytest.approx(hinge_loss(labels.numpy(), logits.numpy(), labels=range(5)), abs=1e-12)


def test_weights_are_torchs_and_scikit_learns(generator: torch.Generator) -> None:
    """Of classes in value and gradient, with torch's mean; of examples with scikit-learn's, which is the mean over the class weights met, too."""
    logits, labels = draw(generator)
    logits.requires_grad_()
    by_class, by_example = torch.rand(5, generator=generator, dtype=torch.float64), torch.rand(40, generator=generator, dtype=torch.float64)
    for reduction in ("mean", "sum", "none"):
        ours = weston_watkins(logits, labels, weight=by_class, reduction=reduction)
        peer = 5 * F.multi_margin_loss(logits, labels, weight=by_class, reduction=reduction)
        assert_near(ours, peer)
        assert_near(*(torch.autograd.grad(value.sum(), logits)[0] for value in (ours, peer)))
    for weight in (by_example, by_class[labels]):
        expected = hinge_loss(labels.numpy(), logits.detach().numpy(), labels=range(5), sample_weight=weight.numpy())
        assert float(crammer_singer(logits, labels, sample_weight=weight).detach()) == pytest.approx(expected, abs=1e-12)


@EACH
def test_ignored_pixels_and_weights_by_loops(loss, generator: torch.Generator) -> None:
    """Maps with labels that are left out, NaN and all, a weight for each class, and one for each pixel or image."""
    maps = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    labels, by_class = torch.randint(3, (2, 4, 5), generator=generator), torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    labels[0, :2] = 255
    maps[0, :, 0] = math.nan
    maps.requires_grad_()
    for shape in ((2,), (2, 4, 5)):
        weight = torch.rand(shape, generator=generator, dtype=torch.float64)
        total = count = 0.0
        for n, i, j in np.ndindex(2, 4, 5):
            if labels[n, i, j] != 255:
                own = float(weight[n] if weight.ndim == 1 else weight[n, i, j])
                label = int(labels[n, i, j])
                total += own * float(by_class[label]) * by_loops(loss.__name__, maps[n, :, i, j].tolist(), label)
                count += own
        found = loss(maps, labels, weight=by_class, ignore_index=255, sample_weight=weight)
        assert float(found.detach()) == pytest.approx(total / count, abs=1e-12)
        (slope,) = torch.autograd.grad(found, maps)
        assert not bool(slope[0, :, :2].any())
        assert bool(slope.isfinite().all())


@EACH
def test_a_class_that_weighs_nothing_costs_nothing_however_far(loss) -> None:
    logits = torch.tensor([[0.0, math.inf]], requires_grad=True)
    value = loss(logits, torch.tensor([0]), weight=torch.tensor([0.0, 1.0]))
    value.backward()
    assert float(value.detach()) == 0
    assert not bool(logits.grad.nan_to_num(0.0, 1.0, 1.0).any())


@EACH
def test_two_classes_are_the_binary_hinge(loss, generator: torch.Generator) -> None:
    """With scores (-s, s): the gap is 2s; Lee-Lin-Wahba sees s itself."""
    s = torch.randn(30, generator=generator, dtype=torch.float64)
    labels = torch.randint(2, (30,), generator=generator)
    margins = (2 * labels - 1) * s * (1 if loss is lee_lin_wahba else 2)
    assert_near(loss(torch.stack([-s, s], dim=1), labels, reduction="none"), (1 - margins).clamp(min=0))


def test_order_of_the_three(generator: torch.Generator) -> None:
    """The worst rival costs no more than all of them, and mistakes cost Crammer-Singer at least 1."""
    logits, labels = draw(generator, n=500)
    worst, all_rivals = (loss(logits, labels, reduction="none") for loss in (crammer_singer, weston_watkins))
    assert (worst <= all_rivals).all()
    assert (worst >= (logits.argmax(dim=1) != labels)).all()
    assert (worst < all_rivals).any()


@pytest.mark.parametrize("loss", [crammer_singer, weston_watkins])
def test_shift_of_all_scores_changes_nothing(loss, generator: torch.Generator) -> None:
    logits, labels = draw(generator)
    assert_near(loss(logits + 3, labels), loss(logits, labels))


def test_lee_lin_wahba_needs_its_constraint() -> None:
    """All scores at -1 would cost nothing, whatever the labels."""
    assert float(lee_lin_wahba(-torch.ones(4, 3), torch.tensor([0, 1, 2, 0]))) == 0


@EACH
def test_gradients(loss, generator: torch.Generator) -> None:
    logits, labels = draw(generator, n=6)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, labels), logits)
    assert torch.autograd.gradgradcheck(lambda s: loss(s, labels), logits)


@EACH
def test_extremes_are_never_nan(loss, dtype: torch.dtype, device: torch.device) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, 0.0]], dtype=dtype, device=device, requires_grad=True)
    value = loss(logits, torch.tensor([0, 0, 1], device=device), reduction="none")
    value.sum().backward()
    assert not value.isnan().any()
    assert not logits.grad.isnan().any()


@EACH
def test_axes_beyond_the_classes(loss, generator: torch.Generator) -> None:
    maps = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (2, 4, 5), generator=generator)
    flat = loss(maps.movedim(1, -1).reshape(-1, 3), labels.flatten(), reduction="none")
    assert_near(loss(maps, labels, reduction="none").flatten(), flat)
    assert_near(loss(maps[0, :, 0, 0], labels[0, 0, 0]), flat[0])


@EACH
def test_compile_vmap_autocast(loss, generator: torch.Generator) -> None:
    logits, labels = draw(generator, dtype=torch.float32)
    assert_near(torch.compile(loss, fullgraph=True, backend="aot_eager")(logits, labels), loss(logits, labels))
    assert_near(torch.vmap(lambda s, y: loss(s, y))(logits, labels), loss(logits, labels, reduction="none"))
    for narrow in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=narrow):
            found = loss(logits, labels)
        assert torch.equal(found, loss(logits, labels))
        half = loss(logits.to(narrow), labels)
        assert half.dtype == torch.float32
        assert_near(half, loss(logits.to(narrow).double(), labels))


@EACH
def test_empty_batch(loss) -> None:
    logits = torch.zeros(0, 3, requires_grad=True)
    value = loss(logits, torch.zeros(0, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert logits.grad.shape == (0, 3)


@EACH
@pytest.mark.parametrize(
    ("logits", "labels", "options", "error", "message"),
    [
        (torch.zeros(4, 3), torch.zeros(3, dtype=torch.int64), {}, ValueError, r"`labels` should have shape \(4,\) to match `logits`"),
        (torch.zeros(4, 3), torch.full((4,), 3), {}, ValueError, r"`labels` should lie in \[0, 3\)"),
        (torch.zeros(4, 0), torch.zeros(4, dtype=torch.int64), {}, ValueError, "at least one class"),
    ],
)
def test_errors(loss, logits: Tensor, labels: Tensor, options: dict[str, str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        loss(logits, labels, **options)


def risk(rule: str, probs: Tensor, scores: Tensor) -> float:
    """The expected loss by the loss functions themselves, which the linear program never calls."""
    losses = {"crammer_singer": crammer_singer, "weston_watkins": weston_watkins, "lee_lin_wahba": lee_lin_wahba, "cross_entropy": F.cross_entropy}
    classes = torch.arange(len(probs))
    return float(probs @ losses[rule](scores.expand(len(probs), -1), classes, reduction="none"))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(4))
def test_optimal_scores_are_optimal(rule: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probs = torch.from_numpy(rng.dirichlet([3.0] * (3 + seed % 2)))
    best = optimal_scores(probs, rule=rule)
    assert float(best.scores.sum()) == pytest.approx(0, abs=1e-9)
    assert best.risk == pytest.approx(risk(rule, probs, best.scores), abs=1e-9)
    nearby = best.scores + torch.from_numpy(rng.normal(scale=0.3, size=(200, len(probs))))
    nearby = nearby - nearby.mean(dim=1, keepdim=True)
    assert min(risk(rule, probs, scores) for scores in nearby) >= best.risk - 1e-9


def test_the_three_answers_at_one_distribution() -> None:
    """Crammer-Singer: with no class above 1/2, all scores equal cost 1 and (2, -1, -1)/3 costs 1.2. Lee-Lin-Wahba: K - 1 and -1."""
    probs = torch.tensor([0.4, 0.3, 0.3], dtype=torch.float64)
    equal = optimal_scores(probs, rule="crammer_singer")
    assert equal.risk == pytest.approx(1.0)
    assert_near(equal.scores, torch.zeros(3, dtype=torch.float64))
    assert risk("crammer_singer", probs, torch.tensor([2.0, -1.0, -1.0], dtype=torch.float64) / 3) == pytest.approx(1.2)
    assert optimal_scores(probs, rule="lee_lin_wahba").scores.tolist() == pytest.approx([2, -1, -1])
    tie = optimal_scores(torch.tensor([0.4, 0.35, 0.25], dtype=torch.float64), rule="weston_watkins")
    assert tie.scores.tolist() == pytest.approx([1 / 3, 1 / 3, -2 / 3])
    assert not tie.is_consistent


def test_cross_entropy_aims_at_the_log_probabilities() -> None:
    probs = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    best = optimal_scores(probs, rule="cross_entropy")
    assert_near(best.scores.softmax(dim=0), probs)
    assert best.risk == pytest.approx(-sum(p * math.log(p) for p in (0.5, 0.3, 0.2)))
    assert best.lead == pytest.approx(math.log(0.5 / 0.3))


@pytest.mark.parametrize(
    ("probs", "scores", "lead"),
    [
        ([1.0, 0.0], [math.inf, -math.inf], math.inf),
        ([0.0, 0.0, 1.0], [-math.inf, -math.inf, math.inf], math.inf),
        ([0.6, 0.4, 0.0], [math.inf, math.inf, -math.inf], math.log(1.5)),
        ([0.5, 0.5, 0.0], [math.inf, math.inf, -math.inf], 0.0),
    ],
)
def test_cross_entropy_drives_what_never_happens_down_without_end(probs: list[float], scores: list[float], lead: float) -> None:
    """The limit of distributions that come near: s_k = ln p_k - mean ln p, whose mean falls without end."""
    found = optimal_scores(torch.tensor(probs, dtype=torch.float64), rule="cross_entropy")
    assert found.scores.tolist() == scores
    assert found.lead == pytest.approx(lead)
    assert found.is_consistent is (lead > 0)
    assert found.risk == pytest.approx(-sum(p * math.log(p) for p in probs if p > 0))
    near = torch.tensor([(p + 1e-200) for p in probs], dtype=torch.float64)
    close = optimal_scores(near, rule="cross_entropy")
    assert (close.scores.sign() == torch.tensor(scores).sign()).all()
    assert min(close.lead, 400) == pytest.approx(min(lead, 400), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_every_corner_and_edge_of_the_simplex(rule: str, dtype: torch.dtype) -> None:
    """No NaN; a sure class alone on top, at a lead of at least 1 and a risk of 0; and no risk below that of any scores tried."""
    for probs in ([1, 0], [0, 1], [0.5, 0.5], [0, 0, 1], [0.5, 0.5, 0], [0.75, 0.25, 0], [0, 0.25, 0.75, 0], [0.25] * 4, [1 - 2**-10, 2**-10]):
        given = torch.tensor(probs, dtype=dtype)
        best = optimal_scores(given, rule=rule)
        assert not best.scores.isnan().any()
        assert not math.isnan(best.lead)
        top, second = given.topk(2).values.tolist()
        if top == 1:
            assert best.is_consistent
            assert best.lead >= 1 - 1e-6
            assert best.risk == pytest.approx(0, abs=1e-6)
        assert not (best.is_consistent and top == second)
        tried = 2 * torch.randn(100, len(probs), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        tried = tried - tried.mean(dim=1, keepdim=True)
        assert min(risk(rule, given.double(), scores) for scores in tried) >= best.risk - 1e-6
        if best.scores.isfinite().all():
            assert risk(rule, given.double(), best.scores) == pytest.approx(best.risk, abs=1e-6)


def test_optimal_scores_read_their_probabilities() -> None:
    """A linear program of scipy's is no operation of torch's: under vmap the answer is a line that says so; a gradient is not asked for."""
    pytest.importorskip("scipy")
    probs = torch.tensor([[0.6, 0.4], [0.3, 0.7]], requires_grad=True)
    assert optimal_scores(probs[0], rule="weston_watkins").is_consistent
    with pytest.raises(TypeError, match="`probs` should have values to be read"):
        torch.func.vmap(lambda row: optimal_scores(row, rule="weston_watkins").scores)(probs)


@pytest.mark.parametrize("rule", RULES)
def test_a_majority_class_is_found_by_all(rule: str) -> None:
    assert optimal_scores(torch.tensor([0.55, 0.4, 0.05], dtype=torch.float64), rule=rule).is_consistent


@pytest.mark.parametrize(
    ("probs", "rule", "error", "message"),
    [
        (torch.tensor([0.5, 0.4]), "weston_watkins", ValueError, "`probs` should sum to 1"),
        (torch.tensor([1.0]), "weston_watkins", ValueError, "`probs` should have at least two classes"),
    ],
)
def test_optimal_scores_errors(probs: Tensor, rule: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        optimal_scores(probs, rule=rule)
