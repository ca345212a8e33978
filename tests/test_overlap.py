"""Losses of overlap against MONAI's, kornia's, segmentation-models-pytorch's and Berman's definitions, written out, in value and gradient."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import overlap, sets
from lossbook.overlap import dice_loss, jaccard_loss, lovasz_loss, tversky_loss
from tests.tolerances import assert_near

SOFT = {"dice": dice_loss, "jaccard": jaccard_loss, "tversky": partial(tversky_loss, alpha=0.3, beta=0.7)}
EVERY = {**SOFT, "lovasz": lovasz_loss}
Loss = Callable[[Tensor], Tensor]


def with_gradient(loss: Loss, logits: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().clone().requires_grad_()
    value = loss(leaf)
    return value.detach(), torch.autograd.grad(value.sum(), leaf)[0]


def assert_the_same(ours: Loss, theirs: Loss, logits: Tensor) -> None:
    """In value and gradient; theirs in float64."""
    for found, expected in zip(with_gradient(ours, logits), with_gradient(theirs, logits.double()), strict=True):
        assert_near(found, expected)


def classes(generator: torch.Generator, *, ignored: bool = False) -> tuple[Tensor, Tensor]:
    """Four images with five classes, the last of which is in no image, and the first in two of them alone."""
    logits = 2 * torch.randn(4, 5, 6, 7, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (4, 6, 7), generator=generator)
    labels[:2][labels[:2] == 0] = 1
    return logits, torch.where(torch.rand(labels.shape, generator=generator) < 0.3, 255, labels) if ignored else labels


def masks(generator: torch.Generator, *, soft: bool = False) -> tuple[Tensor, Tensor]:
    logits, targets = 2 * torch.randn(4, 1, 6, 7, generator=generator, dtype=torch.float64), torch.rand(4, 1, 6, 7, generator=generator).double()
    return logits, targets if soft else (targets < 0.3).double()


# --- other packages' definitions -----------------------------------------------------------------------------------------------------------------


def one_hot(labels: Tensor, count: int, ignored: int = 255) -> tuple[Tensor, Tensor]:
    """One-hot truth and what is not ignored, as the packages make them before they multiply."""
    kept = (labels != ignored).unsqueeze(1)
    return F.one_hot(labels.masked_fill(labels == ignored, 0), count).movedim(-1, 1).double() * kept, kept.double()


def monai_dice(probs: Tensor, truth: Tensor, *, jaccard: bool = False, soft_label: bool = False, smooth: float, batch: bool = False) -> Tensor:
    """monai.losses.DiceLoss (MONAI 1.6) before its weights and its reduction: sums over the pixels of [N, K, ...], with smooth_nr = smooth_dr."""
    axes = [0] * batch + list(range(2, probs.ndim))
    hits = (probs.sum(axes) + truth.sum(axes) - (probs - truth).abs().sum(axes)) / 2 if soft_label else (probs * truth).sum(axes)
    extra, missed = probs.sum(axes) - hits, truth.sum(axes) - hits
    share = 1.0 if jaccard else 0.5
    return 1 - (2 * hits + smooth) / (2 * (hits + share * extra + share * missed) + smooth)


def monai_tversky(probs: Tensor, truth: Tensor, *, alpha: float, beta: float, smooth: float, batch: bool = False) -> Tensor:
    """monai.losses.TverskyLoss before its reduction."""
    axes = [0] * batch + list(range(2, probs.ndim))
    hits, extra, missed = ((one * other).sum(axes) for one, other in ((probs, truth), (probs, 1 - truth), (1 - probs, truth)))
    return 1 - (hits + smooth) / (hits + alpha * extra + beta * missed + smooth)


def kornia_macro(hits: Tensor, whole: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The end of kornia.losses.dice_loss(average="macro") and tversky_loss (kornia 0.9) without eps: image by image, over the classes present."""
    present = (truth.sum((2, 3)) > 0).double() * (1.0 if weight is None else weight)
    losses = 1 - hits / whole.masked_fill(whole == 0, 1.0)
    return ((losses * present).sum(1) / present.sum(1)).mean()


def kornia_dice(probs: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    return kornia_macro(2 * (probs * truth).sum((2, 3)), (probs + truth).sum((2, 3)), truth, weight)


def kornia_tversky(probs: Tensor, truth: Tensor, alpha: float, beta: float) -> Tensor:
    hits, extra, missed = ((one * other).sum((2, 3)) for one, other in ((probs, truth), (probs, 1 - truth), (1 - probs, truth)))
    return kornia_macro(hits, hits + alpha * extra + beta * missed, truth)


def smp_tversky(probs: Tensor, truth: Tensor, alpha: float, beta: float, smooth: float) -> Tensor:
    """segmentation_models_pytorch.losses (0.6) over a batch: of each class, where absent ones have 0."""
    axes = [0, *range(2, probs.ndim)]
    hits = (probs.sum(axes) + truth.sum(axes) - (probs - truth).abs().sum(axes)) / 2
    extra, missed = probs.sum(axes) - hits, truth.sum(axes) - hits
    losses = 1 - (hits + smooth) / (hits + alpha * extra + beta * missed + smooth)
    return losses * (truth.sum(axes) > 0)


def lovasz_grad(truth_sorted: Tensor) -> Tensor:
    """pytorch/lovasz_losses.py of github.com/bermanmaxim/LovaszSoftmax."""
    total = truth_sorted.sum()
    jaccard = 1 - (total - truth_sorted.cumsum(0)) / (total + (1 - truth_sorted).cumsum(0))
    if len(truth_sorted) > 1:
        jaccard[1:] = jaccard[1:] - jaccard[:-1].clone()
    return jaccard


def berman_flat(errors: Tensor, truth: Tensor) -> Tensor:
    if not len(truth):
        return errors.sum() * 0
    sorted_errors, order = torch.sort(errors, descending=True)
    return torch.dot(F.relu(sorted_errors), lovasz_grad(truth[order]))


def berman_hinge(logits: Tensor, truth: Tensor, *, per_image: bool, ignored: int = 255) -> Tensor:
    """lovasz_hinge, but for images without a pixel left, which we do not count."""
    groups = zip(logits, truth, strict=True) if per_image else [(logits, truth)]
    flat = [(s[t != ignored], t[t != ignored].to(s)) for s, t in groups]
    return torch.stack([berman_flat(1 - s * (2 * t - 1), t) for s, t in flat if len(t)]).mean()


def berman_softmax(logits: Tensor, labels: Tensor, *, per_image: bool, ignored: int = 255, only_present: bool = True) -> Tensor:
    """lovasz_softmax with classes="present", or "all"."""
    if per_image:
        return torch.stack([berman_softmax(s[None], y[None], per_image=False, ignored=ignored) for s, y in zip(logits, labels, strict=True)]).mean()
    probs = logits.softmax(1).movedim(1, -1)[labels != ignored]
    labels = labels[labels != ignored]
    truths = [(labels == k).to(probs) for k in range(probs.shape[1])]
    losses = [berman_flat((truth - probs[:, k]).abs(), truth) for k, truth in enumerate(truths) if truth.any() or not only_present]
    return torch.stack(losses).mean()


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("ignored", [False, True])
def test_monai(batch: bool, ignored: bool, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    """All classes, and for smooth_nr = smooth_dr = 1e-5 ours is the same for dice, and half of it for Jaccard."""
    logits, labels = classes(generator, ignored=ignored)
    truth, kept = one_hot(labels, 5)
    everything = {"kind": "multiclass", "classes": "all", "batch": batch, "ignore_index": 255}
    for ours, theirs in (
        (partial(dice_loss, smooth=1e-5), partial(monai_dice, smooth=1e-5)),
        (partial(jaccard_loss, smooth=5e-6), partial(monai_dice, smooth=1e-5, jaccard=True)),
        (partial(tversky_loss, alpha=0.3, beta=0.7, smooth=1e-5), partial(monai_tversky, alpha=0.3, beta=0.7, smooth=1e-5)),
    ):
        plain = lambda x, theirs=theirs: theirs(x.softmax(1) * kept, truth, batch=batch)  # noqa: E731
        whole = lambda x, plain=plain: plain(x).mean()  # noqa: E731
        assert_the_same(lambda x, ours=ours: ours(x, labels, **everything), whole, logits.to(real_dtype))
        assert_the_same(lambda x, ours=ours: ours(x, labels, **everything, reduction="none"), plain, logits.to(real_dtype))
    weight = torch.tensor([1.0, 0.5, 2.0, 0.0, 3.0], dtype=torch.float64)
    ours = dice_loss(logits, labels, **everything, smooth=1.0, weight=weight, reduction="none")
    assert_near(ours.mean(), (monai_dice(logits.softmax(1) * kept, truth, smooth=1.0, batch=batch) * weight).mean())


@pytest.mark.parametrize("soft", [False, True])
def test_monai_of_masks(soft: bool, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    """Soft masks are those of soft_label=True."""
    logits, truth = masks(generator, soft=soft)
    for ours, jaccard, smooth in ((dice_loss, False, 2.0), (jaccard_loss, True, 1.0)):
        plain = lambda x, jaccard=jaccard: monai_dice(x.sigmoid(), truth, jaccard=jaccard, soft_label=soft, smooth=2.0).mean()  # noqa: E731
        assert_the_same(lambda x, ours=ours, smooth=smooth: ours(x, truth, smooth=smooth), plain, logits.to(real_dtype))


@pytest.mark.parametrize("ignored", [False, True])
def test_kornia(ignored: bool, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    logits, labels = classes(generator, ignored=ignored)
    truth, kept = one_hot(labels, 5)
    weight = torch.tensor([1.0, 0.5, 2.0, 0.0, 3.0], dtype=torch.float64)
    options = {"kind": "multiclass", "ignore_index": 255}
    assert_the_same(lambda x: dice_loss(x, labels, **options), lambda x: kornia_dice(x.softmax(1) * kept, truth), logits.to(real_dtype))
    weighted = partial(dice_loss, targets=labels, weight=weight, **options)
    assert_the_same(weighted, lambda x: kornia_dice(x.softmax(1) * kept, truth, weight), logits.to(real_dtype))
    ours = partial(tversky_loss, targets=labels, alpha=0.2, beta=0.9, **options)
    assert_the_same(ours, lambda x: kornia_tversky(x.softmax(1) * kept, truth, 0.2, 0.9), logits.to(real_dtype))


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_segmentation_models_pytorch(smooth: float, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    """A batch at once; it counts the absent class with a loss of 0, which is our sum over their number. For dice its smooth is half of ours."""
    logits, labels = classes(generator, ignored=True)
    truth, kept = one_hot(labels, 5)
    options = {"kind": "multiclass", "ignore_index": 255, "batch": True, "reduction": "sum"}
    for ours, alpha, beta in (
        (partial(dice_loss, smooth=2 * smooth), 0.5, 0.5),
        (partial(jaccard_loss, smooth=smooth), 1.0, 1.0),
        (partial(tversky_loss, smooth=smooth, alpha=0.3, beta=0.7), 0.3, 0.7),
    ):
        plain = lambda x, alpha=alpha, beta=beta: smp_tversky(x.softmax(1) * kept, truth, alpha, beta, smooth).mean()  # noqa: E731
        assert_the_same(lambda x, ours=ours: ours(x, labels, **options) / 5, plain, logits.to(real_dtype))


@pytest.mark.parametrize("per_image", [False, True])
def test_bermans_lovasz_losses(per_image: bool, device: torch.device, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    logits, labels = classes(generator, ignored=True)
    here, there = logits.to(device, real_dtype), labels.to(device)
    softmax = partial(lovasz_loss, targets=there, kind="multiclass", ignore_index=255, batch=not per_image)
    assert_the_same(softmax, partial(berman_softmax, labels=there, per_image=per_image), here)
    hinge = torch.where(labels == 255, 255, (labels == 1).long()).to(device)
    assert_the_same(
        partial(lovasz_loss, targets=hinge, ignore_index=255, batch=not per_image),
        partial(berman_hinge, truth=hinge, per_image=per_image),
        here[:, 0],
    )
    if not per_image:
        whole = partial(lovasz_loss, targets=there, kind="multiclass", ignore_index=255, batch=True, classes="all")
        assert_the_same(whole, partial(berman_softmax, labels=there, per_image=False, only_present=False), here)


# --- one loss and the other ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("soft", [False, True])
def test_tversky_holds_the_other_two(soft: bool, generator: torch.Generator) -> None:
    logits, truth = masks(generator, soft=soft)
    assert_the_same(partial(dice_loss, targets=truth, smooth=3.0), partial(tversky_loss, targets=truth, smooth=1.5), logits)
    assert_the_same(partial(jaccard_loss, targets=truth, smooth=3.0), partial(tversky_loss, targets=truth, alpha=1.0, beta=1.0, smooth=3.0), logits)
    dice, jaccard = (loss(logits, truth, reduction="none") for loss in (dice_loss, jaccard_loss))
    assert_near(jaccard, 2 * dice / (1 + dice))


def test_the_set_losses_dice_is_the_same_on_hard_masks(real_dtype: torch.dtype, generator: torch.Generator) -> None:
    """On soft ones it has Σ p t, which is not least where the prediction is right."""
    logits, truth = masks(generator)
    ours = partial(dice_loss, targets=truth[:, 0], smooth=1.0)
    assert_the_same(ours, partial(sets.dice_loss, masks=truth[:, 0]), logits[:, 0].to(real_dtype))
    assert_near(ours(logits[:, 0], reduction="none"), sets.dice_loss(logits[:, 0], truth[:, 0], reduction="none"))


@pytest.mark.parametrize("name", SOFT)
def test_a_soft_mask_is_best_answered_by_itself(name: str, generator: torch.Generator) -> None:
    logits, truth = masks(generator, soft=True)
    right = truth.logit()
    assert float(SOFT[name](right, truth)) < 1e-12
    assert float(SOFT[name](logits, truth)) > 0.1
    assert float(sets.dice_loss(right[:, 0], truth[:, 0])) > float(sets.dice_loss(right[:, 0] + 1, truth[:, 0])), "Σ p t asks for more than the truth"


def test_two_classes_are_a_mask(generator: torch.Generator) -> None:
    """softmax(0, s) is σ(s) for the second of two classes; its weight alone, and the masks' loss is there."""
    logits, truth = masks(generator)
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    for loss in SOFT.values():
        found = loss(both, truth[:, 0].long(), kind="multiclass", classes="all", weight=torch.tensor([0.0, 1.0]))
        assert_near(found, loss(logits, truth))


def test_rounding_leaves_no_loss_below_zero(generator: torch.Generator) -> None:
    """Everything drawn is inside, so nothing is drawn beside, whatever three sums of 997 pixels in float32 say."""
    logits = torch.randn(200, 997, generator=generator)
    wider, narrower = (logits + 1).sigmoid(), (logits - 1).sigmoid()
    for truth, alpha, beta in ((wider, 1.0, 0.0), (narrower, 0.0, 1.0)):
        losses = tversky_loss(logits, truth, alpha=alpha, beta=beta, reduction="none")
        assert bool((losses >= 0).all())
        assert bool((losses < 1e-6).all())


# --- closed forms --------------------------------------------------------------------------------------------------------------------------------

# Hits, drawn beside, missed; then dice, Jaccard, and Tversky with α = 0.3, β = 0.7.
COUNTS = [
    ((2, 1, 1), 2 / 6, 2 / 4, 1 / 3),
    ((1, 0, 3), 3 / 5, 3 / 4, 2.1 / 3.1),
    ((1, 3, 0), 3 / 5, 3 / 4, 0.9 / 1.9),
    ((0, 2, 2), 1.0, 1.0, 1.0),
    ((3, 0, 0), 0.0, 0.0, 0.0),
    ((0, 0, 0), 0.0, 0.0, 0.0),  # 0 / 0
    ((0, 1, 0), 1.0, 1.0, 1.0),
]


def hard(hits: int, extra: int, missed: int) -> tuple[Tensor, Tensor]:
    """A mask drawn with certainty, two pixels of background beside it."""
    logits = torch.tensor([[1.0] * (hits + extra) + [-1.0] * (missed + 2)], dtype=torch.float64) * 1e4
    return logits, torch.tensor([[1] * hits + [0] * extra + [1] * missed + [0, 0]])


@pytest.mark.parametrize(("counts", "dice", "jaccard", "tversky"), COUNTS)
def test_hard_masks(counts: tuple[int, int, int], dice: float, jaccard: float, tversky: float) -> None:
    logits, truth = hard(*counts)
    assert [float(SOFT[name](logits, truth)) for name in SOFT] == pytest.approx([dice, jaccard, tversky], abs=1e-12)
    assert float(lovasz_loss(logits / 1e4, truth)) == pytest.approx(2 * jaccard, abs=1e-12), "every error is 2"


def test_smooth_is_added_above_and_below() -> None:
    """One pixel too many for an empty mask: 1 − s / (1 + s), which gets less as less is drawn."""
    logits, truth = hard(0, 1, 0)
    for loss in EVERY.values():
        if loss is not lovasz_loss:
            assert float(loss(logits, truth, smooth=3.0)) == pytest.approx(1 - 3 / (3 + (0.3 if loss is SOFT["tversky"] else 1.0)))
    assert float(with_gradient(partial(dice_loss, targets=truth), torch.zeros_like(logits))[1].abs().max()) < 1e-15
    assert bool((with_gradient(partial(dice_loss, targets=truth, smooth=1.0), torch.zeros_like(logits))[1] > 0).all())


# --- Lovász --------------------------------------------------------------------------------------------------------------------------------------


def jaccard_of_misses(wrong: Tensor, truth: Tensor) -> float:
    """1 − IoU of the prediction that differs from the truth in the wrong pixels; 0 where both are empty."""
    drawn = wrong ^ truth.bool()
    union = int((drawn | truth.bool()).sum())
    return 1 - int((drawn & truth.bool()).sum()) / union if union else 0.0


@pytest.mark.parametrize("pixels", [1, 2, 3, 4, 5, 6])
def test_the_extension_meets_the_jaccard_loss_in_every_corner(pixels: int) -> None:
    """All truths and all sets of wrong pixels: errors of 0 and 1 are the logits of margin 1 and 0."""
    corners = torch.tensor(list(itertools.product([0, 1], repeat=pixels)))
    for truth in corners:
        signs = (2 * truth - 1).double()
        found = lovasz_loss((1 - corners) * signs, truth.expand_as(corners), reduction="none")
        assert found.tolist() == pytest.approx([jaccard_of_misses(wrong.bool(), truth) for wrong in corners], abs=1e-12)


@pytest.mark.parametrize("batch", [False, True])
def test_of_a_certain_prediction_the_lovasz_softmax_is_one_minus_iou(batch: bool, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    _, labels = classes(generator)
    drawn = torch.randint(0, 5, labels.shape, generator=generator)
    logits = (1e4 * F.one_hot(drawn, 5)).movedim(-1, 1).to(real_dtype)
    found = lovasz_loss(logits, labels, kind="multiclass", classes="all", batch=batch, reduction="none")
    groups = [(drawn, labels)] if batch else list(zip(drawn, labels, strict=True))
    expected = torch.tensor([[1 - int(((d == k) & (y == k)).sum()) / int(((d == k) | (y == k)).sum()) for k in range(5)] for d, y in groups])
    assert_near(found, expected[0] if batch else expected, torch.float32)
    assert_near(found, jaccard_loss(logits, labels, kind="multiclass", classes="all", batch=batch, reduction="none"))


def test_the_hinge_is_convex_in_the_logits_and_the_greatest_of_all_orders(generator: torch.Generator) -> None:
    """The Jaccard loss is submodular, so its extension is the greatest of what all orders of the pixels give (Edmonds 1970)."""
    for trial in range(30):
        truth = torch.randint(0, 2, (1, 5), generator=generator) if trial else torch.zeros(1, 5, dtype=torch.long)
        one, other = 2 * torch.randn(2, 1, 5, generator=generator, dtype=torch.float64)
        ends, middle = (lovasz_loss(one, truth) + lovasz_loss(other, truth)) / 2, lovasz_loss((one + other) / 2, truth)
        assert float(middle) <= float(ends) + 1e-12
        errors = torch.relu(1 - one * (2 * truth - 1))[0]
        values = []
        for order in itertools.permutations(range(5)):
            sets_of_wrong = [torch.zeros(5, dtype=torch.bool).index_fill(0, torch.tensor(order[:i], dtype=torch.long), True) for i in range(6)]
            heights = [jaccard_of_misses(wrong, truth[0]) for wrong in sets_of_wrong]
            values.append(sum(float(errors[pixel]) * (heights[i + 1] - heights[i]) for i, pixel in enumerate(order)))
        assert float(lovasz_loss(one, truth)) == pytest.approx(max(values), abs=1e-12)


def test_at_ties_the_gradient_is_a_subgradient(generator: torch.Generator) -> None:
    """All errors 1, half of the pixels true: no other logits are below the plane."""
    truth = (torch.arange(8) % 2)[None]
    flat = torch.zeros(1, 8, dtype=torch.float64)
    value, slope = with_gradient(partial(lovasz_loss, targets=truth), flat)
    assert float(slope.abs().sum()) == pytest.approx(1.0), "the steps sum to the Jaccard loss of everything wrong, 1"
    others = torch.randn(200, 8, generator=generator, dtype=torch.float64)
    heights = lovasz_loss(others, truth.expand(200, 8), reduction="none")
    assert bool((heights >= value + others @ slope[0] - 1e-12).all())


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_long_rows_are_sorted_alike(kind: str, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    """NumPy's sort of whole numbers gives torch's stable order, ties and rows that weigh nothing included; a float64 row is a witness."""
    logits = (8 * torch.randn(2, 4, 70, 90, generator=generator)).round().div_(4)
    labels = torch.randint(0, 3, (2, 70, 90), generator=generator)
    truth = labels if kind == "multiclass" else (labels[:, None] == 1).expand(logits.shape).contiguous()
    loss = partial(lovasz_loss, targets=truth, kind=kind, batch=kind == "multiclass")
    assert overlap._LONG <= 70 * 90
    long = with_gradient(loss, logits.transpose(2, 3).contiguous().transpose(2, 3))
    witness = with_gradient(loss, logits.double())[0]
    monkeypatch.setattr(overlap, "_LONG", 10**9)
    plain = with_gradient(loss, logits)
    assert_near(long[0], witness)
    assert_near(long[0], plain[0])
    assert torch.equal(long[1], plain[1])
    assert bool(long[1].any())


def test_the_gradient_keeps_its_digits(generator: torch.Generator) -> None:
    """Steps of 1 / 65,536 as differences of numbers near 1 have an error of some 1e-3 in float32; as fractions they have one of 1e-6."""
    logits, truth = torch.randn(1, 256, 256, generator=generator), torch.rand(1, 256, 256, generator=generator) < 0.2
    exact = with_gradient(partial(lovasz_loss, targets=truth), logits.double())[1]
    found = with_gradient(partial(lovasz_loss, targets=truth), logits)[1]
    plain = with_gradient(partial(berman_hinge, truth=truth.long(), per_image=True), logits)[1]
    assert float((found - exact).norm() / exact.norm()) < 1e-5
    assert float((plain - exact).norm() / exact.norm()) > 1e-4


# --- what is not there ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("name", EVERY)
def test_what_is_ignored_is_not_there(name: str, kind: str, generator: torch.Generator) -> None:
    """The loss of an image is that of its other pixels, whatever stands in the ignored ones, and these get no gradient."""
    logits, labels = classes(generator, ignored=True)
    logits, labels = (logits, labels) if kind == "multiclass" else (logits[:, 0], torch.where(labels == 255, 255, (labels == 2).long()))
    loss = partial(EVERY[name], kind=kind, reduction="none")
    hole = (labels == 255).unsqueeze(1) if kind == "multiclass" else labels == 255
    value, slope = with_gradient(partial(loss, targets=labels, ignore_index=255), logits.masked_fill(hole, math.nan))
    assert not bool(slope[hole.expand_as(slope)].any())
    for n in range(4):
        kept = labels[n] != 255
        alone = with_gradient(partial(loss, targets=labels[n][kept][None]), logits[n][..., kept][None])
        assert_near(value[n], alone[0][0])
        assert_near(slope[n][..., kept], alone[1][0])


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("name", EVERY)
def test_an_image_without_a_pixel_left_is_not_counted(name: str, kind: str, generator: torch.Generator) -> None:
    logits, labels = classes(generator)
    logits, labels = (logits, labels) if kind == "multiclass" else (logits[:, 0], (labels == 2).long())
    loss = partial(EVERY[name], kind=kind, ignore_index=255)
    labels[3] = 255
    for every in ("present", "all"):
        assert_near(loss(logits, labels, classes=every), loss(logits[:3], labels[:3], classes=every))
    labels[:] = 255
    for options in ({}, {"batch": True}, {"reduction": "sum"}, {"reduction": "none"}, {"classes": "all"}):
        value, slope = with_gradient(partial(loss, targets=labels, **options), logits)
        assert not bool(value.any())
        assert not bool(slope.any())
        assert bool(slope.isfinite().all())


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float32])
def test_an_index_is_read_in_every_dtype(name: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    """255 in uint8; and −100, which uint8 cannot hold, matches nothing in it, 156 least of all."""
    logits, truth = masks(generator)
    hole = torch.rand(truth.shape, generator=generator) < 0.3
    marked = torch.where(hole, 255, truth.long()).to(dtype)
    assert_near(EVERY[name](logits, marked, ignore_index=255), EVERY[name](logits, marked.double(), ignore_index=255))
    assert_near(EVERY[name](logits, truth.to(dtype), ignore_index=-100), EVERY[name](logits, truth))
    with pytest.raises(ValueError, match="targets"):
        EVERY[name](logits, torch.where(hole, 156, truth.long()).to(torch.uint8), ignore_index=-100)


@pytest.mark.parametrize("name", EVERY)
def test_the_means(name: str, generator: torch.Generator) -> None:
    """Of images, each the mean of its classes; over a batch of classes alone."""
    logits, labels = classes(generator)
    weight = torch.tensor([1.0, 0.5, 2.0, 0.0, 3.0], dtype=torch.float64)
    loss = partial(EVERY[name], kind="multiclass", weight=weight)
    for batch in (False, True):
        every = EVERY[name](logits, labels, kind="multiclass", classes="all", batch=batch, reduction="none")
        present = torch.stack([(labels == k).sum((0, 1, 2) if batch else (1, 2)) > 0 for k in range(5)], -1)
        used = weight * present
        assert_near(loss(logits, labels, batch=batch), ((used * every).sum(-1) / used.sum(-1)).mean())
        assert_near(loss(logits, labels, batch=batch, classes="all"), ((weight * every).sum(-1) / weight.sum()).mean())
        assert_near(loss(logits, labels, batch=batch, reduction="none"), used * every)
        assert_near(loss(logits, labels, batch=batch, reduction="sum"), (used * every).sum())
    assert float(loss(logits, torch.full_like(labels, 3))) == 0, "nothing present has a weight"


@pytest.mark.parametrize("name", EVERY)
def test_nothing_and_one_of_everything(name: str) -> None:
    loss = EVERY[name]
    for shape in ((0, 4), (3, 0)):
        value, slope = with_gradient(partial(loss, targets=torch.zeros(shape)), torch.zeros(shape))
        assert float(value) == 0
        assert slope.shape == shape
    assert float(loss(torch.zeros(0, 3, 4), torch.zeros(0, 4, dtype=torch.long), kind="multiclass")) == 0
    assert loss(torch.zeros(0, 3, 4), torch.zeros(0, 4, dtype=torch.long), kind="multiclass", batch=True, reduction="none").tolist() == [0, 0, 0]
    value, slope = with_gradient(partial(loss, targets=torch.zeros(2, 4, dtype=torch.long), kind="multiclass"), torch.randn(2, 1, 4))
    assert float(value) == 0, "one class is always right"
    assert not bool(slope.any())


# --- numbers -------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_derivatives(name: str, batch: bool, generator: torch.Generator) -> None:
    logits, labels = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64), torch.randint(0, 3, (2, 5), generator=generator)
    labels[0, 0] = 255
    truth = torch.where(torch.rand(2, 3, 5, generator=generator) < 0.4, 1, 0)
    truth[1, 1, 2] = 255
    for target, kind in ((labels, "multiclass"), (truth, "binary")):
        loss = partial(EVERY[name], targets=target, kind=kind, batch=batch, ignore_index=255, reduction="none")
        assert torch.autograd.gradcheck(loss, logits.clone().requires_grad_())
        assert torch.autograd.gradgradcheck(loss, logits.clone().requires_grad_())


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("name", EVERY)
def test_extremes(name: str, kind: str, dtype: torch.dtype) -> None:
    """Sure and right, sure and wrong, and an empty mask: no NaN and no infinity in value and slope, and the value of float64."""
    signs = torch.tensor([[1.0, 1.0, -1.0, -1.0], [-1.0, -1.0, -1.0, -1.0], [1.0, -1.0, 1.0, 0.0]])
    truth = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0]])
    for scale in (0.0, 20.0, 1e4):
        logits = scale * signs
        logits = torch.stack([-logits, logits], 1) if kind == "multiclass" else logits
        loss = partial(EVERY[name], targets=truth, kind=kind, reduction="none")
        value, slope = with_gradient(loss, logits.to(dtype))
        assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert slope.dtype == dtype
        assert bool(slope.isfinite().all())
        assert_near(value, loss(logits.to(dtype).double()), max(dtype, torch.float32, key=lambda one: torch.finfo(one).eps))


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", EVERY)
def test_autocast_changes_nothing(name: str, narrow: torch.dtype, generator: torch.Generator) -> None:
    """In half precision 70,000 pixels could not even be counted."""
    logits, truth = torch.randn(1, 70_000, generator=generator), torch.ones(1, 70_000)
    truth[:, :10_000] = 0
    with torch.autocast("cpu", dtype=narrow):
        found = EVERY[name](logits, truth)
    assert found.dtype == torch.float32
    assert torch.equal(found, EVERY[name](logits, truth))
    half = logits.to(narrow)
    assert torch.equal(EVERY[name](half, truth.to(narrow)), EVERY[name](half.float(), truth))


def test_what_is_refused() -> None:
    logits, truth = torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)
    labels = torch.zeros(2, 4, dtype=torch.long)
    for loss in EVERY.values():
        with pytest.raises(ValueError, match=r"`weight` should be None, for kind=\"binary\" has no classes"):
            loss(logits, truth, weight=torch.ones(3))
        with pytest.raises(ValueError, match=r"`logits` should have shape \[N, \.\.\.\], an image each"):
            loss(logits[0, 0], truth[0, 0])
        with pytest.raises(ValueError, match=r"`logits` should have shape \[N, K, \.\.\.\], an image each"):
            loss(logits[0], labels[0], kind="multiclass")
        with pytest.raises(ValueError, match="`weight` should be at least 0; found values from -1 to 1"):
            loss(logits, labels, kind="multiclass", weight=torch.tensor([1.0, -1.0, 1.0]))
        with pytest.raises(ValueError, match=r"`targets` should have shape \(2, 3, 4\) to match `logits`"):
            loss(logits, labels)
        with pytest.raises(TypeError, match="`targets` should have an integer dtype"):
            loss(logits, labels.float(), kind="multiclass")
    with pytest.raises(ValueError, match=r"`targets` should hold only 0 and 1; found \[0\.0, 0\.5\]"):
        lovasz_loss(torch.zeros(1, 2), torch.tensor([[0.0, 0.5]]))
