"""Losses of overlap: how much of a region is missed and how much is drawn beside it, whatever the size of the picture around it.

Dice, Jaccard and Tversky losses put probabilities where the measure of overlap has sets; Lovász losses join its corners by a convex function. An
image counts once, however many pixels it has. Plainly, a Lovász loss sorts the errors by `argsort` and multiplies each by the step that the Jaccard
loss takes there; long rows of float32 numbers on a CPU are sorted by NumPy instead. Chapters: sets, imbalance.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossbook._core.checks import (
    check_choice,
    check_finite,
    check_floating,
    check_hard,
    check_ignore_index,
    check_number,
    check_range,
    check_real,
    check_same_shape,
    values_readable,
    wrong_type,
    wrong_value,
)
from lossbook._core.classes import check_class_labels, kept, one_hot, per_class
from lossbook._core.door import full_precision
from lossbook._core.reduction import Reduction, check_reduction, reduce

__all__ = ["dice_loss", "jaccard_loss", "lovasz_loss", "tversky_loss"]

Kind = Literal["binary", "multiclass"]
Classes = Literal["present", "all"]

_LONG = 2**12  # pixels from which on a row is worth calls of its own


@full_precision
def dice_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    kind: Kind = "binary",
    smooth: float = 0.0,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    classes: Classes = "present",
    batch: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Dice loss of each mask, or of each class: 1 − (2 Σ min(p, t) + s) / (Σ p + Σ t + s), the sums over the pixels of an image.

    Args:
        logits: [N, ...], a mask each, with p = σ(logits); or for "multiclass" [N, K, ...], with p = softmax(logits) over the K classes.
        targets: masks t of the shape of `logits`, in [0, 1]; or for "multiclass" class ids [N, ...].
        kind: "binary" or "multiclass".
        smooth: s >= 0. With 0 a mask that should be empty costs 1, whatever little is drawn, and has no gradient.
        weight: [K], one finite weight >= 0 a class, for "multiclass" alone; None is 1 everywhere.
        ignore_index: the target of pixels that have no loss, no gradient, and are not counted, such as 255. None ignores nothing.
        classes: "present", so that a class without a pixel in an image has no loss there; or "all".
        batch: sum over the pixels of all images, as if they were one.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses [N] or [N, K], times their weights; over a batch [] or [K]. Each is in [0, 1].

    Raises:
        TypeError: logits that are not floating point, masks that are not real, class ids that are not integer, `batch` that is no bool.
        ValueError: no axis of pixels, another shape, targets out of range, s < 0, weights of another length or below 0, an unknown word.

    Example:
        >>> logits = torch.tensor([[9.0, 9.0, -9.0, -9.0]])
        >>> dice_loss(logits, torch.tensor([[1, 0, 0, 255]]), ignore_index=255)  # 1 − 2 · 1 / (2 + 1)
        tensor(0.3334)

    Reference:
        F. Milletari et al., V-Net, 2016, section 3. The minimum: Z. Wang et al., Dice semimetric losses, 2023.

    Conventions:
        Plain sums below; V-Net squares their terms. 0 / 0 is a loss of 0: nothing was to be found and exactly nothing is drawn. On masks of 0 and 1
        min(p, t) is p t; on soft ones p t, the default of MONAI and what `sets.dice_loss` and kornia have, is not least at p = t, and the minimum is
        (MONAI's soft_label=True, segmentation-models-pytorch). `sets.dice_loss` is this with smooth=1.

        The mean is over the images, of each image's mean over its classes Σ w l / Σ w. An image that has no pixel left is not counted. MONAI has
        classes="all", w l over the number of classes, smooth_nr = smooth_dr = 1e-5 for our s, and batch=False; kornia's average="macro" has
        classes="present", and its eps below the line alone; segmentation-models-pytorch has batch=True, a loss of 0 for an absent class that it
        counts, and for our s twice its smooth. Ignored pixels have p = t = 0 in all of them.
    """
    check_number("smooth", smooth, low=0)
    hits, extra, missed, weights = _areas(logits, targets, kind, weight, ignore_index, classes, batch, reduction)
    return _averaged(_share(extra + missed, 2 * hits + smooth), weights, kind, reduction)


@full_precision
def jaccard_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    kind: Kind = "binary",
    smooth: float = 0.0,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    classes: Classes = "present",
    batch: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Jaccard loss, 1 − IoU, of each mask, or of each class: 1 − (Σ min(p, t) + s) / (Σ max(p, t) + s), the sums over the pixels of an image.

    Args:
        logits: [N, ...], a mask each, with p = σ(logits); or for "multiclass" [N, K, ...], with p = softmax(logits) over the K classes.
        targets: masks t of the shape of `logits`, in [0, 1]; or for "multiclass" class ids [N, ...].
        kind: "binary" or "multiclass".
        smooth: s >= 0. With 0 a mask that should be empty costs 1, whatever little is drawn, and has no gradient.
        weight: [K], one finite weight >= 0 a class, for "multiclass" alone; None is 1 everywhere.
        ignore_index: the target of pixels that have no loss, no gradient, and are not counted, such as 255. None ignores nothing.
        classes: "present", so that a class without a pixel in an image has no loss there; or "all".
        batch: sum over the pixels of all images, as if they were one.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses [N] or [N, K], times their weights; over a batch [] or [K]. Each is in [0, 1].

    Raises:
        TypeError: logits that are not floating point, masks that are not real, class ids that are not integer, `batch` that is no bool.
        ValueError: no axis of pixels, another shape, targets out of range, s < 0, weights of another length or below 0, an unknown word.

    Example:
        >>> logits = torch.tensor([[9.0, 9.0, -9.0, -9.0]])
        >>> jaccard_loss(logits, torch.tensor([[1, 0, 0, 255]]), ignore_index=255)  # 1 − 1 / 2
        tensor(0.5001)

    Reference:
        M. A. Rahman and Y. Wang, Optimizing intersection-over-union in deep neural networks for image segmentation, 2016. The minimum:
        Z. Wang et al., Jaccard metric losses, 2023.

    Conventions:
        Rahman and Wang's union is Σ p + Σ t − Σ p t, which on masks of 0 and 1 is Σ max(p, t). Means, the ignored and the empty are as in
        `dice_loss`. For our s MONAI's DiceLoss(jaccard=True) has half of its smooth_nr = smooth_dr, and segmentation-models-pytorch its smooth.
        With D the dice loss this is 2 D / (1 + D), at s = 0.
    """
    check_number("smooth", smooth, low=0)
    hits, extra, missed, weights = _areas(logits, targets, kind, weight, ignore_index, classes, batch, reduction)
    return _averaged(_share(extra + missed, hits + smooth), weights, kind, reduction)


@full_precision
def tversky_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    kind: Kind = "binary",
    smooth: float = 0.0,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    classes: Classes = "present",
    batch: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Tversky loss of each mask, or of each class: 1 − (TP + s) / (TP + α FP + β FN + s), with TP = Σ min(p, t), FP = Σ p − TP, FN = Σ t − TP.

    Args:
        logits: [N, ...], a mask each, with p = σ(logits); or for "multiclass" [N, K, ...], with p = softmax(logits) over the K classes.
        targets: masks t of the shape of `logits`, in [0, 1]; or for "multiclass" class ids [N, ...].
        alpha: α >= 0, what is drawn beside the mask. α = β = 1/2 is the dice loss, α = β = 1 the Jaccard loss.
        beta: β >= 0, what is missed of the mask. Salehi et al. found 0.7, with α = 0.3, good for small lesions.
        kind: "binary" or "multiclass".
        smooth: s >= 0. With 0 a mask that should be empty costs 1, whatever little is drawn, and has no gradient.
        weight: [K], one finite weight >= 0 a class, for "multiclass" alone; None is 1 everywhere.
        ignore_index: the target of pixels that have no loss, no gradient, and are not counted, such as 255. None ignores nothing.
        classes: "present", so that a class without a pixel in an image has no loss there; or "all".
        batch: sum over the pixels of all images, as if they were one.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses [N] or [N, K], times their weights; over a batch [] or [K]. Each is in [0, 1].

    Raises:
        TypeError: logits that are not floating point, masks that are not real, class ids that are not integer, `batch` that is no bool.
        ValueError: no axis of pixels, another shape, targets out of range, α, β or s < 0, weights of another length or below 0, an unknown word.

    Example:
        >>> logits = torch.tensor([[9.0, 9.0, -9.0, -9.0]])
        >>> tversky_loss(logits, torch.tensor([[1, 0, 0, 255]]), alpha=0.25, beta=0.75, ignore_index=255)  # 1 − 1 / (1 + 0.25)
        tensor(0.2001)

    Reference:
        S. S. M. Salehi et al., Tversky loss function for image segmentation using 3D fully convolutional deep networks, 2017.

    Conventions:
        α is for false positives and β for false negatives, as in the paper, MONAI, kornia and segmentation-models-pytorch; kornia has no default for
        them. Salehi et al. and MONAI have TP = Σ p t, the same on masks of 0 and 1. Means, the ignored and the empty are as in `dice_loss`. For our
        s MONAI has smooth_nr = smooth_dr, segmentation-models-pytorch its smooth; the dice loss at s is this at α = β = 1/2 and s / 2.
    """
    check_number("alpha", alpha, low=0)
    check_number("beta", beta, low=0)
    check_number("smooth", smooth, low=0)
    hits, extra, missed, weights = _areas(logits, targets, kind, weight, ignore_index, classes, batch, reduction)
    return _averaged(_share(alpha * extra + beta * missed, hits + smooth), weights, kind, reduction)


@full_precision
def lovasz_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    kind: Kind = "binary",
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    classes: Classes = "present",
    batch: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Lovász hinge of each mask, or Lovász softmax of each class: the Jaccard loss of a set of wrong pixels, made a convex function of their errors.

    $$ \overline{\Delta}(e) = \sum_i e_{(i)} \bigl(\Delta\{(1), \dots, (i)\} - \Delta\{(1), \dots, (i-1)\}\bigr),
       \qquad e_{(1)} \ge e_{(2)} \ge \dots $$

    Δ(S) is 1 − IoU of a prediction that is wrong in the pixels S alone. A mask's errors are the hinges (1 − s)₊ where it is 1 and (1 + s)₊ where it
    is 0; a class's are 1 − p where it is and p where it is not.

    Args:
        logits: [N, ...], scores s, a mask each; or for "multiclass" [N, K, ...], with p = softmax(logits) over the K classes.
        targets: masks of the shape of `logits`, 0 or 1; or for "multiclass" class ids [N, ...].
        kind: "binary" or "multiclass".
        weight: [K], one finite weight >= 0 a class, for "multiclass" alone; None is 1 everywhere.
        ignore_index: the target of pixels that have no loss, no gradient, and are not counted, such as 255. None ignores nothing.
        classes: "present", so that a class without a pixel in an image has no loss there; or "all".
        batch: take the pixels of all images as those of one.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or with "none" the losses [N] or [N, K], times their weights; over a batch [] or [K]. A class's is in [0, 1].

    Raises:
        TypeError: logits that are not floating point, masks that are not real, class ids that are not integer, `batch` that is no bool.
        ValueError: no axis of pixels, another shape, targets out of range, weights of another length or below 0, an unknown word.

    Example:
        >>> logits = torch.tensor([[2.0, 0.5, -2.0, -2.0]])
        >>> lovasz_loss(logits, torch.tensor([[1, 0, 0, 255]]), ignore_index=255)  # one error, of 1.5; alone it would make the IoU 1 / 2
        tensor(0.7500)

    Reference:
        M. Berman, A. Rannen Triki, M. B. Blaschko, The Lovász-softmax loss, 2018, definition 2 and algorithm 1. The hinge: J. Yu and
        M. B. Blaschko, The Lovász hinge, 2015.

    Conventions:
        Where nothing of a mask or class should be, the worst error is the loss. Equal errors keep the order of their pixels; any order gives the same
        loss, and another subgradient. The hinge asks for margins of 1: a wrong pixel at its own threshold costs as much as one of error 1, and one
        at margin −1 twice as much.

        Means are as in `dice_loss`. Berman's code has batch=True for the softmax (per_image=False), and batch=False for the hinge, where an image
        without a pixel left counts as 0; segmentation-models-pytorch has batch=True for both; kornia batch=False, classes="all" and, with weights,
        w l over the number of classes.
    """
    regions = _regions(logits, targets, kind, weight, ignore_index, classes, batch, reduction)
    truth = regions.truth
    if kind == "binary":
        check_hard("targets", truth)
        errors = torch.relu(1 - (2 * truth - 1) * _hidden(regions.scores, regions.ignored, -1.0))
    else:
        errors = (truth - regions.scores).abs()
    steps = _steps(errors.detach(), truth, regions.weights)
    return _averaged((errors * steps).sum(-1), regions.weights, kind, reduction)


class _Regions(NamedTuple):
    """Pixels along the last axis, after [N] or [N, K]; over a batch after [] or [K]. Ignored ones belong to no truth."""

    scores: Tensor  # logits of masks, or probabilities of classes, which are 0 where ignored
    truth: Tensor  # in [0, 1], of the dtype of `scores`
    ignored: Tensor | None  # of masks
    weights: Tensor  # of the losses; 0 where there is nothing to be counted


def _regions(
    logits: Tensor, targets: Tensor, kind: str, weight: Tensor | None, ignore_index: int | None, classes: str, batch: bool, reduction: str
) -> _Regions:
    check_choice("kind", kind, ("binary", "multiclass"))
    check_choice("classes", classes, ("present", "all"))
    check_reduction(reduction)
    check_ignore_index(ignore_index)
    if not isinstance(batch, (bool, np.bool_)):
        wrong_type("batch", "be True or False", type(batch).__name__)
    check_floating("logits", logits)
    if kind == "multiclass":
        return _class_regions(logits, targets, weight, ignore_index, classes, batch)
    if weight is not None:
        wrong_value("weight", 'be None, for kind="binary" has no classes', type(weight).__name__)
    return _mask_regions(logits, targets, ignore_index, batch)


def _mask_regions(logits: Tensor, masks: Tensor, ignore_index: int | None, batch: bool) -> _Regions:
    check_real("targets", masks)
    check_same_shape("targets", masks, "logits", logits)
    if logits.ndim < 2:
        wrong_value("logits", "have shape [N, ...], an image each, with at least one axis of pixels", tuple(logits.shape))
    axis = 0 if batch else 1
    truth = masks.to(logits.dtype)
    ignored = None if ignore_index is None else truth == ignore_index
    truth = _hidden(truth, ignored)
    check_range("targets", truth, 0.0, 1.0)
    flat = None if ignored is None else ignored.flatten(axis)
    scores, truth = logits.flatten(axis), truth.flatten(axis)
    counted = torch.ones_like(truth, dtype=torch.bool) if flat is None else ~flat
    return _Regions(scores, truth, flat, counted.any(-1).to(logits.dtype))


def _class_regions(logits: Tensor, labels: Tensor, weight: Tensor | None, ignore_index: int | None, classes: str, batch: bool) -> _Regions:
    if logits.ndim < 3:
        wrong_value("logits", "have shape [N, K, ...], an image each, with at least one axis of pixels", tuple(logits.shape))
    check_class_labels("targets", labels, logits, ignore_index=ignore_index)
    logits, labels, counted = kept(logits, labels, ignore_index, None)
    truth, probs = one_hot(labels, logits), logits.softmax(1)
    if counted is not None:
        truth = truth * counted.unsqueeze(1)
        probs = probs.masked_fill(counted.unsqueeze(1) == 0, 0.0)
    if batch:
        truth, probs = truth.transpose(0, 1).flatten(1), probs.transpose(0, 1).flatten(1)
    else:
        truth, probs = truth.flatten(2), probs.flatten(2)
    present = truth.sum(-1) > 0
    weights = (present if classes == "present" else present.any(-1, keepdim=True).expand_as(present)).to(logits.dtype)
    if weight is not None:
        weights = weights * per_class("weight", weight, logits).flatten()
        check_range("weight", weight, 0.0, float("inf"))
        check_finite("weight", weight)
    return _Regions(probs, truth, None, weights)


def _hidden(values: Tensor, ignored: Tensor | None, value: float = 0.0) -> Tensor:
    return values if ignored is None else values.masked_fill(ignored, value)


class _Areas(NamedTuple):
    """Soft numbers of pixels of each region, [N] or [N, K]: drawn rightly, drawn beside, not drawn; and the weights of the losses."""

    hits: Tensor
    extra: Tensor
    missed: Tensor
    weights: Tensor


def _areas(
    logits: Tensor, targets: Tensor, kind: str, weight: Tensor | None, ignore_index: int | None, classes: str, batch: bool, reduction: str
) -> _Areas:
    scores, truth, ignored, weights = _regions(logits, targets, kind, weight, ignore_index, classes, batch, reduction)
    probs = _hidden(scores, ignored, -torch.inf).sigmoid() if kind == "binary" else scores
    drawn, true = probs.sum(-1), truth.sum(-1)
    if kind == "binary":
        hits = (drawn + true - (probs - truth).abs().sum(-1)) / 2  # Σ min(p, t)
    else:
        hits = (probs * truth).sum(-1)
    return _Areas(hits, (drawn - hits).clamp(min=0.0), (true - hits).clamp(min=0.0), weights)  # rounding may leave less than nothing


def _share(wrong: Tensor, right: Tensor) -> Tensor:
    """1 − right / (wrong + right), never below 0; and 0 where there is neither."""
    whole = wrong + right
    return wrong / whole.masked_fill(whole == 0, 1.0)


def _averaged(losses: Tensor, weights: Tensor, kind: str, reduction: str) -> Tensor:
    """The mean is one of images, of each image's mean over its classes, in which the weights of the classes sum to 1."""
    if kind == "multiclass" and reduction == "mean":
        total = weights.sum(-1, keepdim=True)
        weights = weights / total.masked_fill(total == 0, 1.0)
    return reduce(losses, reduction, weight=weights)


def _steps(errors: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """By how much each pixel raises the Jaccard loss when the pixels turn wrong one by one, the worst first; rows that weigh 0 may be left out."""
    if errors.shape[-1] >= _LONG and errors.dtype == torch.float32 and values_readable(errors):
        return _long_steps(errors, truth, weights)
    order = errors.argsort(dim=-1, descending=True, stable=True)
    return torch.zeros_like(errors).scatter(-1, order, _sorted_steps(truth.gather(-1, order)))


def _long_steps(errors: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Row by row, so that a row stays in the cache; and the same order from a sort of whole numbers, for which NumPy has vector instructions."""
    pixels = errors.shape[-1]
    rows, truths = errors.reshape(-1, pixels), truth.reshape(-1, pixels)
    steps, places = torch.zeros_like(rows), torch.arange(pixels, device=errors.device)
    for row in weights.flatten().nonzero().flatten().tolist():
        # as whole numbers the bits of floats >= 0 are in the floats' order; with the place below them no two are equal
        keys = (-rows[row].view(torch.int32)).long() << 32 | places
        keys.numpy().sort()
        order = keys & 0xFFFFFFFF
        steps[row].index_copy_(0, order, _sorted_steps(truths[row].index_select(0, order)))
    return steps.view(errors.shape)


def _sorted_steps(truth: Tensor) -> Tensor:
    """Δ_i − Δ_{i−1} for truths t of 0 and 1 along the last axis, where Δ_i = 1 − (G − c_i) / (G + n_i) = i / (G + n_i).

    G is the number of ones, c_i and n_i those of ones and zeros among the first i. A one raises i alone, so the step is 1 / (G + n_i); a zero raises
    i and n_i, so it is (G − c_i) / ((G + n_i − 1) (G + n_i)). Where there is no one, Δ is 1 from the first wrong pixel on.
    """
    zeros = (1 - truth).cumsum(-1)
    ones = truth.sum(-1, keepdim=True)
    union = ones + zeros
    steps = torch.where(truth > 0, 1.0, (ones - truth.cumsum(-1)) / (union - 1).clamp(min=1.0)) / union
    return torch.where(ones > 0, steps, (zeros == 1).to(truth.dtype))
