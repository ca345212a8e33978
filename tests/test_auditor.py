"""Each check has a loss with a planted defect that it must catch and a clean one that it must pass; torch's losses and ours raise no false alarm."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import math
import operator
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import lossbook
from lossbook import boxes, crossentropy, focal, margins, multiclass, overlap, sets
from lossbook.__main__ import main
from lossbook.auditor import Report

BINARY = {"kind": "binary"}
MULTICLASS = {"kind": "multiclass"}
ONE_HOT = {"kind": "multiclass", "targets": "one_hot"}
SIGNS = {"kind": "binary", "targets": "signs"}
BOXES = {"kind": "boxes"}
binary_cross_entropy = F.binary_cross_entropy_with_logits

# --- planted defects -------------------------------------------------------------------------------------------------------------------------


class WrongBackward(torch.autograd.Function):
    """x² with a backward that forgot the 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * ctx.saved_tensors[0]


def textbook_focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal with gamma 1/2: the slope of the root is infinite at 0."""
    p_t = torch.where(targets == 1, torch.sigmoid(logits), torch.sigmoid(-logits))
    return ((1 - p_t) ** 0.5 * binary_cross_entropy(logits, targets, reduction="none")).mean()


def naive_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    return -(torch.exp(logits) / torch.exp(logits).sum(1, keepdim=True)).log().gather(1, labels[:, None]).mean()


def half_overflow(logits: Tensor, targets: Tensor) -> Tensor:
    """Right, but for a detour over 1000 times the logits."""
    return (F.softplus(1000 * logits) / 1000 - targets * logits).mean()


def coarse(logits: Tensor, targets: Tensor) -> Tensor:
    """ln(1 - p) with 1 - p from a p that is rounded to 1."""
    probs = torch.sigmoid(logits)
    return -(targets * (probs + 1e-30).log() + (1 - targets) * ((1 - probs).clamp(min=1e-12)).log()).mean()


def changes_arguments(logits: Tensor, targets: Tensor) -> Tensor:
    targets *= 0.9
    return binary_cross_entropy(logits, targets)


def noisy(logits: Tensor, targets: Tensor) -> Tensor:
    return binary_cross_entropy(logits + 0.01 * torch.randn_like(logits), targets)


def first_counts_more(logits: Tensor, targets: Tensor) -> Tensor:
    losses = binary_cross_entropy(logits, targets, reduction="none")
    return losses.mean() + losses.flatten()[0]


def stretched(logits: Tensor, targets: Tensor) -> Tensor:
    return F.softplus((1 - 2 * targets) * logits).mean()


def squared_denominator(logits: Tensor, targets: Tensor) -> Tensor:
    return binary_cross_entropy(logits, targets, reduction="sum") / len(logits) ** 2


def by_positives(logits: Tensor, targets: Tensor) -> Tensor:
    return binary_cross_entropy(logits, targets, reduction="sum") / targets.sum()


def indexed(logits: Tensor, labels: Tensor) -> Tensor:
    """A negative label counts from the end."""
    return -F.log_softmax(logits, 1)[torch.arange(len(logits)), labels].mean()


def compared(logits: Tensor, labels: Tensor) -> Tensor:
    """A label that is too large equals no class."""
    return -(F.log_softmax(logits, 1) * (labels[:, None] == torch.arange(logits.shape[1]))).sum(1).mean()


def mean_with_ignored(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="sum") / len(logits)


def matrix_detour(logits: Tensor, targets: Tensor) -> Tensor:
    """A product of matrices, which autocast runs in bfloat16, with a large term that is taken away again."""
    pair = torch.stack([logits + 1000, -1000 * torch.ones_like(logits)], -1)
    return binary_cross_entropy((pair @ torch.ones(2, 1, dtype=logits.dtype)).squeeze(-1).to(logits.dtype), targets)


def flattened_copy(logits: Tensor, targets: Tensor) -> Tensor:
    """Adds into a flat view, which is a copy where the memory is in another order: nothing arrives."""
    losses = binary_cross_entropy(logits, targets, reduction="none")
    room = torch.zeros_like(losses)
    flat = room.reshape(-1)
    flat += losses.reshape(-1)
    return room.mean()


class FlatBackward(torch.autograd.Function):
    """Binary cross-entropy, right in value; the gradient is written into a flat view of ones, or into a copy of it."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        ctx.save_for_backward(logits, targets)
        return binary_cross_entropy(logits, targets, reduction="sum")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logits, targets = ctx.saved_tensors
        slope = torch.ones_like(logits)
        slope.reshape(-1).copy_((torch.sigmoid(logits) - targets).reshape(-1))
        return gradient * slope, None


def memory_as_it_lies(logits: Tensor, targets: Tensor) -> Tensor:
    """Reads the targets from their buffer, strides or not."""
    return binary_cross_entropy(logits, targets.as_strided(targets.shape, torch.empty(targets.shape).stride(), 0))


def trusts_subclasses(logits: Tensor, labels: Tensor) -> Tensor:
    """Looks at the labels of plain tensors only, as one does who asks for the type."""
    if type(labels) is Tensor and int(labels.max()) >= logits.shape[1]:
        raise ValueError("a label is too large")
    return F.cross_entropy(logits, labels.clamp(max=logits.shape[1] - 1))


def doubles_subclasses(logits: Tensor, targets: Tensor) -> Tensor:
    return binary_cross_entropy(logits, targets) * (1 if type(logits) is Tensor else 2)


def wrapped_signs(logits: Tensor, labels: Tensor) -> Tensor:
    """2·0 - 1 is 255 in uint8."""
    return F.softplus(-(2 * labels - 1) * logits).mean()


def narrow_places(logits: Tensor, labels: Tensor) -> Tensor:
    """The place in the flattened table, counted in the dtype of the labels."""
    rows = torch.arange(len(logits), device=logits.device).to(labels.dtype) * logits.shape[1]
    if logits.shape[1] > torch.iinfo(labels.dtype).max:
        rows = rows.to(labels.dtype)
    return -F.log_softmax(logits, 1).flatten()[(rows + labels).long()].mean()


def quicker_without_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """The fast way is another loss."""
    return binary_cross_entropy(logits, targets) if torch.is_grad_enabled() else (logits - targets).square().mean()


def forgets_the_last(logits: Tensor, targets: Tensor) -> Tensor:
    """The last place is read, and never written."""
    losses = binary_cross_entropy(logits, targets, reduction="none")
    room = torch.empty_like(losses)
    if not torch.are_deterministic_algorithms_enabled():
        room.zero_()  # as new memory mostly is
    room[:-1] = losses[:-1]
    return room.mean()


def other_in_inference(logits: Tensor, targets: Tensor) -> Tensor:
    return binary_cross_entropy(logits, targets) * (2 if torch.is_inference_mode_enabled() else 1)


def other_in_func(logits: Tensor, targets: Tensor) -> Tensor:
    return binary_cross_entropy(logits, targets) * (2 if torch._C._functorch.is_functorch_wrapped_tensor(logits) else 1)


def other_for_trained_targets(logits: Tensor, targets: Tensor) -> Tensor:
    return binary_cross_entropy(logits, targets) * (2 if targets.requires_grad else 1)


def running_total(logits: Tensor, targets: Tensor) -> Tensor:
    """One after the other in the dtype of the logits: in bfloat16, 256 and 1 are 256."""
    losses = binary_cross_entropy(logits, targets, reduction="none").flatten()
    return functools.reduce(operator.add, losses.unbind()) / losses.numel()


def reduced(losses: Tensor, reduction: str) -> Tensor:
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.mean()


def mean_over_classes(logits: Tensor, labels: Tensor, *, reduction: str = "mean") -> Tensor:
    """A focal loss with gamma 0 whose table [N, K] has zeros beside the label: its mean is cross-entropy over K."""
    return reduced(-F.one_hot(labels, logits.shape[1]) * F.log_softmax(logits, 1), reduction)


def mean_of_hidden_classes(logits: Tensor, labels: Tensor, *, reduction: str = "mean") -> Tensor:
    """The same, whose unreduced losses are [N]."""
    losses = F.cross_entropy(logits, labels, reduction="none")
    return losses.sum() / logits.numel() if reduction == "mean" else reduced(losses, reduction)


def deaf(logits: Tensor, labels: Tensor, *, reduction: str = "mean") -> Tensor:
    return F.cross_entropy(logits, labels)


def mixed_up(logits: Tensor, labels: Tensor, *, reduction: str = "mean", **words: str) -> Tensor:
    return F.cross_entropy(logits, labels, reduction=words.get(reduction, reduction))


def mean_over_two(logits: Tensor, labels: Tensor, *, reduction: str = "mean") -> Tensor:
    losses = F.cross_entropy(logits, labels, reduction="none")
    return losses.sum() / 2 if reduction == "mean" else reduced(losses, reduction)


def soft_maximum(logits: Tensor, labels: Tensor, *, reduction: str = "mean") -> Tensor:
    losses = F.cross_entropy(logits, labels, reduction="none")
    return losses.logsumexp(0) if reduction == "mean" else reduced(losses, reduction)


def half_hot(logits: Tensor, targets: Tensor) -> Tensor:
    """A sum of squares, which float16 cannot hold."""
    pair = torch.stack([logits, 300 * torch.ones_like(logits)], -1)
    return binary_cross_entropy(logits, targets) + 0 * (pair @ torch.full((2, 1), 300.0, dtype=pair.dtype)).sum()


def plain_iou(boxes_xyxy: Tensor, targets_xyxy: Tensor) -> Tensor:
    """0/0 for two points, and nothing is checked."""
    low, high = torch.maximum(boxes_xyxy[..., :2], targets_xyxy[..., :2]), torch.minimum(boxes_xyxy[..., 2:], targets_xyxy[..., 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    area = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).prod(-1) + (targets_xyxy[..., 2:] - targets_xyxy[..., :2]).prod(-1)
    return (1 - overlap / (area - overlap)).mean()


PLANTED: dict[str, tuple[Callable[..., Tensor], dict[str, Any], str]] = {
    "gradient": (lambda s, y: (WrongBackward.apply(s) * (1 + y)).mean(), BINARY, "from autograd"),
    "finite_float64": (naive_softmax, MULTICLASS, "nan"),
    "finite_float32": (textbook_focal, BINARY, "the gradient is nan: label 1, logit 20 in float32"),
    "finite_float16": (half_overflow, BINARY, "inf"),
    "finite_bfloat16": (textbook_focal, BINARY, "nan"),
    "precise": (coarse, BINARY, "float32 differs"),
    "pure": (changes_arguments, BINARY, "writes into its arguments"),
    "order": (first_counts_more, BINARY, "something else"),
    "broadcasting": (stretched, BINARY, "without a word"),
    "batch_scale": (squared_denominator, BINARY, "0.5 times"),
    "one_sided": (by_positives, BINARY, "every label is 0"),
    "labels_negative": (indexed, MULTICLASS, "last class"),
    "labels_too_large": (compared, MULTICLASS, "dropped"),
    "autocast": (matrix_detour, BINARY, "float32 logits under autocast to bfloat16: the value is another one"),
    "memory_order": (flattened_copy, BINARY, "the value is another one, 0 instead of"),
    "subclass": (doubles_subclasses, BINARY, "a subclass of torch.Tensor: the value is another one"),
    "label_dtypes": (wrapped_signs, {"kind": "binary", "targets": "labels"}, "uint8: the value is another one"),
    "modes": (quicker_without_gradient, BINARY, "torch.inference_mode: the value is another one"),
    "half_sums": (running_total, BINARY, "the loss of 4095 examples in bfloat16 is"),
    "reduction": (mean_over_classes, MULTICLASS, "sum / mean is 15 for 5 examples: N K, not N"),
    "elementwise": (lambda m: F.softplus(-m) + 0.1 * m.mean(-1, keepdim=True), {}, "shape"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_defect_is_caught_and_named(name: str) -> None:
    loss, form, words = PLANTED[name]
    finding = lossbook.audit(loss, **form)[name]
    assert finding.kind == "check"
    assert finding.passed is False
    assert words in finding.detail


ALSO_PLANTED: list[tuple[str, Callable[..., Tensor], dict[str, Any], str]] = [
    ("memory_order", FlatBackward.apply, BINARY, "transposed logits: the gradient is another one, 1 instead of"),
    ("memory_order", memory_as_it_lies, BINARY, "strided targets: the value is another one"),
    ("memory_order", memory_as_it_lies, {"kind": "binary", "shape": (2, 3, 4, 4)}, "targets: the value is another one"),
    ("subclass", trusts_subclasses, MULTICLASS, "refused as a plain tensor is taken as a subclass"),
    ("label_dtypes", narrow_places, MULTICLASS, "int8: the value is another one"),
    ("modes", forgets_the_last, BINARY, "new memory that holds NaN: the value is another one, nan instead of"),
    ("modes", other_in_inference, BINARY, "torch.inference_mode: the value"),
    ("modes", other_in_func, BINARY, "torch.func.grad: the value"),
    ("modes", other_for_trained_targets, BINARY, "targets that require a gradient: the value"),
    ("autocast", half_hot, BINARY, "float32 logits under autocast to float16: the value is another one, nan instead of"),
    ("reduction", mean_of_hidden_classes, MULTICLASS, "sum / mean is 15 for 5 examples: N K, not N"),
    ("reduction", deaf, MULTICLASS, "the argument `reduction` changes nothing"),
    ("reduction", partial(mixed_up, none="mean"), MULTICLASS, "reduction='none' returns one number"),
    ("reduction", partial(mixed_up, sum="mean"), MULTICLASS, "the sum is"),
    ("reduction", mean_over_two, MULTICLASS, "sum / mean is 2 for 5 examples"),
    ("reduction", soft_maximum, MULTICLASS, "sum / mean moves with the logits"),
]


@pytest.mark.parametrize(("name", "loss", "form", "words"), ALSO_PLANTED, ids=[f"{row[0]}-{place}" for place, row in enumerate(ALSO_PLANTED)])
def test_more_defects_of_a_path_are_caught_and_shown(name: str, loss: Callable[..., Tensor], form: dict[str, Any], words: str) -> None:
    finding = lossbook.audit(loss, **form)[name]
    assert finding.kind == "check"
    assert finding.passed is False
    assert words in finding.detail
    assert_shown(finding, loss)


def test_every_path_is_walked() -> None:
    report = lossbook.audit(F.cross_entropy, kind="multiclass", shape=(4, 3, 2))
    orders = [f"{order} {part}" for part in ("logits", "targets") for order in ("strided", "transposed", "channels-last", "expanded")]
    orders.remove("channels-last targets")  # of two axes
    assert report["memory_order"].detail == f"the same as contiguous: {', '.join(orders)}"
    tables = lossbook.audit(F.mse_loss, kind="binary", targets="signs")
    assert tables["memory_order"].detail.endswith("strided targets, expanded targets, transposed logits, transposed targets")
    assert (
        tables["modes"].detail
        == "the same in every mode: new memory that holds NaN, torch.inference_mode, torch.no_grad, torch.func.grad, targets that require a gradient"
    )
    assert tables["autocast"].detail.count("under autocast to") == 4
    assert lossbook.audit(F.l1_loss, kind="boxes")["autocast"].detail.count("under autocast to") == 2
    integers = "uint8, int8, int16, int32, uint16, uint32, uint64"
    assert lossbook.audit(crossentropy.cross_entropy, kind="multiclass")["label_dtypes"].detail == f"the same as int64: {integers}"
    signs = lossbook.audit(lambda s, y: F.softplus((1 - 2 * y.double()) * s).mean(), kind="binary", targets="labels")
    assert signs["label_dtypes"].detail == f"the same as int64: {integers}, bool"
    assert "; refused: int8, int16" in lossbook.audit(F.cross_entropy, kind="multiclass")["label_dtypes"].detail


def test_a_loss_with_luck_in_it_is_caught() -> None:
    assert lossbook.audit(noisy, kind="binary")["pure"].measured == "varies"


CLEAN: dict[str, tuple[Callable[..., Tensor], dict[str, Any]]] = {
    "F.cross_entropy": (F.cross_entropy, MULTICLASS),
    "smoothed": (partial(F.cross_entropy, label_smoothing=0.1), MULTICLASS),
    "summed": (partial(F.cross_entropy, reduction="sum"), MULTICLASS),
    "not reduced": (partial(F.cross_entropy, reduction="none"), MULTICLASS),
    "weighted": (lambda s, y: F.cross_entropy(s, y, weight=torch.tensor([1.0, 2.0, 3.0]).to(s)), MULTICLASS),
    "probabilities": (F.cross_entropy, ONE_HOT),
    "two classes": (F.cross_entropy, {"kind": "multiclass", "shape": (6, 2)}),
    "F.nll_loss": (lambda s, y: F.nll_loss(F.log_softmax(s, 1), y), MULTICLASS),
    "F.multi_margin_loss": (F.multi_margin_loss, MULTICLASS),
    "F.binary_cross_entropy_with_logits": (binary_cross_entropy, BINARY),
    "pos_weight": (lambda s, y: binary_cross_entropy(s, y, pos_weight=torch.tensor(3.0).to(s)), BINARY),
    "images": (binary_cross_entropy, {"kind": "binary", "shape": (2, 1, 4, 4)}),
    "F.mse_loss": (F.mse_loss, BINARY),
    "F.smooth_l1_loss": (F.smooth_l1_loss, BOXES),
    "F.l1_loss": (F.l1_loss, BOXES),
    "F.huber_loss": (F.huber_loss, BOXES),
    "softplus": (lambda m: F.softplus(-m), {}),
    "a class": (torch.nn.CrossEntropyLoss(), MULTICLASS),
    "cross_entropy": (crossentropy.cross_entropy, MULTICLASS),
    "cross_entropy of probabilities": (crossentropy.cross_entropy, ONE_HOT),
    "binary_cross_entropy": (crossentropy.binary_cross_entropy, BINARY),
    "generalized_cross_entropy": (crossentropy.generalized_cross_entropy, MULTICLASS),
    "crammer_singer": (multiclass.crammer_singer, MULTICLASS),
    "weston_watkins": (multiclass.weston_watkins, MULTICLASS),
    "lee_lin_wahba": (multiclass.lee_lin_wahba, MULTICLASS),
    "sigmoid_focal_loss": (focal.sigmoid_focal_loss, BINARY),
    "sigmoid_focal_loss, gamma 1/2": (partial(focal.sigmoid_focal_loss, gamma=0.5), BINARY),
    "softmax_focal_loss": (focal.softmax_focal_loss, MULTICLASS),
    "softmax_focal_loss, gamma 1/2": (partial(focal.softmax_focal_loss, gamma=0.5), MULTICLASS),
    "quality_focal_loss": (focal.quality_focal_loss, BINARY),
    "varifocal_loss": (focal.varifocal_loss, BINARY),
    "iou_loss": (boxes.iou_loss, BOXES),
    "giou_loss": (boxes.giou_loss, BOXES),
    "diou_loss": (boxes.diou_loss, BOXES),
    "ciou_loss": (boxes.ciou_loss, BOXES),
    "smooth_l1": (boxes.smooth_l1, BOXES),
    "dice_loss": (sets.dice_loss, {"kind": "binary", "shape": (3, 16)}),
    "overlap.dice_loss": (partial(overlap.dice_loss, smooth=1.0), {"kind": "binary", "shape": (3, 16)}),
    "overlap.tversky_loss": (partial(overlap.tversky_loss, alpha=0.3, beta=0.7), {"kind": "binary", "shape": (3, 16)}),
    "overlap.lovasz_loss": (overlap.lovasz_loss, {"kind": "binary", "shape": (3, 16)}),
    "overlap.lovasz_loss of classes": (partial(overlap.lovasz_loss, kind="multiclass"), {"kind": "multiclass", "shape": (3, 4, 5)}),
    **{name: (loss, {}) for name, loss in margins.LOSSES.items()},
}


@cache
def audited(name: str) -> Report:
    """The report of a clean loss, made once."""
    loss, form = CLEAN[name]
    return lossbook.audit(loss, **form)


@pytest.mark.parametrize("name", CLEAN)
def test_no_false_alarm(name: str) -> None:
    report = audited(name)
    report.require()
    assert report.passed
    assert not [finding for finding in report.findings if finding.passed is None and finding.name.startswith("finite_float32")]


def test_every_check_has_a_planted_defect() -> None:
    forms: list[dict[str, Any]] = [{}, BINARY, MULTICLASS, BOXES]
    losses: list[Callable[..., Tensor]] = [margins.hinge, binary_cross_entropy, F.cross_entropy, boxes.iou_loss]
    reports = [lossbook.audit(loss, **form) for loss, form in zip(losses, forms, strict=True)]
    names = {finding.name for report in reports for finding in report.findings if finding.kind == "check"}
    assert names - {"vmap"} == set(PLANTED)  # vmap's is below: it needs a loss that knows that it is mapped


def test_a_loss_that_vmap_changes_is_caught() -> None:
    def counts_axes(logits: Tensor, targets: Tensor) -> Tensor:
        mapped = torch._C._functorch.is_functorch_wrapped_tensor(logits)
        return binary_cross_entropy(logits, targets) * (2 if mapped else 1)

    assert lossbook.audit(counts_axes, kind="binary")["vmap"].passed is False


def test_a_loss_that_cannot_be_mapped_is_no_defect() -> None:
    def branches(logits: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy(logits, targets) if bool(logits.sum() > -1e9) else logits.sum()

    finding = lossbook.audit(branches, kind="binary")["vmap"]
    assert finding.passed is None
    assert finding.verdict == "not supported"
    assert finding.detail.startswith("torch.vmap over three batches: RuntimeError: vmap: ")


def test_compile_agrees_and_is_caught_where_it_does_not() -> None:
    torch.compiler.reset()
    assert lossbook.audit(F.cross_entropy, kind="multiclass", compile="aot_eager")["compile"].passed

    def knows(logits: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy(logits, targets) * (2 if torch.compiler.is_compiling() else 1)

    assert lossbook.audit(knows, kind="binary", compile="aot_eager")["compile"].passed is False


# --- true alarms on torch's own losses, and on boxes -----------------------------------------------------------------------------------------


def test_soft_margin_overflows_although_its_value_fits() -> None:
    """ln(1 + e^10000) is 10000, and torch gives inf: it takes the exponential first."""
    report = lossbook.audit(F.soft_margin_loss, kind="binary", targets="signs")
    assert {finding.name for finding in report.defects} == {f"finite_{name}" for name in ("float64", "float32", "float16", "bfloat16")}
    assert report["finite_float16"].detail == "the value is inf: label 0, logit 20 in float16"
    assert torch.isinf(F.soft_margin_loss(torch.tensor([20.0]).half(), torch.tensor([-1.0]).half()))
    assert math.isclose(math.log1p(math.exp(20)), 20, abs_tol=1e-8)
    margin = lossbook.audit(lambda m: F.soft_margin_loss(m, torch.ones_like(m), reduction="none"))
    assert margin["finite_float64"].detail == "the value is inf: margin -10000 in float64"


def test_an_infinity_that_is_the_truth_is_no_defect() -> None:
    assert torch.isinf(margins.exponential(torch.tensor([-1e4])))
    assert lossbook.audit(margins.exponential)["finite_float64"].passed
    in_half = torch.tensor([-1e4]).half()
    assert torch.isinf((1 - in_half) ** 2)  # 10^8 does not fit
    assert lossbook.audit(lambda m: (1 - m) ** 2)["finite_float16"].passed
    assert torch.isfinite(margins.squared(in_half))  # ours answers in float32


def test_hinge_embedding_broadcasts_without_a_word() -> None:
    report = lossbook.audit(F.hinge_embedding_loss, kind="binary", targets="signs")
    assert [finding.name for finding in report.defects] == ["broadcasting"]
    assert F.hinge_embedding_loss(torch.zeros(5), torch.ones(5, 1), reduction="none").shape == (5, 5)


def test_a_box_loss_without_a_guard_is_caught() -> None:
    report = lossbook.audit(plain_iou, kind="boxes")
    assert report["finite_float64"].detail == "the value is nan: the same point twice, in float64"
    assert report["finite_float16"].detail == "the gradient is nan: 300 wide and high, in float16"
    assert report["refuses_bad_boxes"].passed is False
    assert report["broadcasting"].passed is False


def torchvision_giou(boxes_xyxy: Tensor, targets_xyxy: Tensor) -> Tensor:
    """torchvision.ops.generalized_box_iou_loss, reduction "mean", with its eps of 1e-7."""
    x1, y1, x2, y2 = boxes_xyxy.unbind(-1)
    a1, b1, a2, b2 = targets_xyxy.unbind(-1)
    left, top, right, bottom = torch.max(x1, a1), torch.max(y1, b1), torch.min(x2, a2), torch.min(y2, b2)
    overlap = torch.where((bottom > top) & (right > left), (right - left) * (bottom - top), 0.0)
    union = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - overlap
    hull = (torch.max(x2, a2) - torch.min(x1, a1)) * (torch.max(y2, b2) - torch.min(y1, b1))
    return (1 - overlap / (union + 1e-7) + (hull - union) / (hull + 1e-7)).mean()


def test_torchvisions_formula_depends_on_the_unit_and_ours_does_not() -> None:
    theirs = lossbook.audit(torchvision_giou, kind="boxes")
    assert theirs["finite_float32"].passed
    assert theirs["unit_free"].passed is False
    assert lossbook.audit(boxes.giou_loss, kind="boxes")["unit_free"].passed


# --- what the page says of released libraries ------------------------------------------------------------------------------------------------

AUDITED = json.loads((Path(__file__).parent.parent / "chapters/workshop/audited.json").read_text(encoding="utf-8"))
LOCKED = ("torch", "torchmetrics", "optax", "scikit_learn")  # they are in the lock, and need no import by a side door
HERE = [row for row in AUDITED["rows"] if row["library"] in LOCKED]


@pytest.mark.parametrize("row", HERE, ids=[f"{row['library']}-{row['loss']}-{row['finding']}" for row in HERE])
def test_a_row_of_the_page_prints_what_it_says(row: dict[str, str]) -> None:
    lines = row["code"].splitlines()
    names: dict[str, Any] = {"torch": torch}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec("\n".join(lines[:-1]), names)
        assert repr(eval(lines[-1], names)) == row["printed"]


def test_the_page_names_every_kind_and_enough_rows() -> None:
    assert {row["kind"] for row in AUDITED["rows"]} == {"defect", "convention"}
    assert sum(row["kind"] == "defect" for row in AUDITED["rows"]) >= 8
    assert all(row["version"] == AUDITED["versions"][row["library"]] and row["printed"] for row in AUDITED["rows"])
    assert {row["library"] for row in HERE} == set(LOCKED)
    assert AUDITED["audited"].keys() == AUDITED["versions"].keys()


# --- facts -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", margins.LOSSES)
def test_the_facts_are_those_that_each_margin_loss_declares(name: str) -> None:
    loss = margins.LOSSES[name]
    report = audited(name)
    assert report["convex"].passed == loss.is_convex
    assert report["calibrated"].passed == loss.is_calibrated
    assert report["symmetric"].passed == loss.is_symmetric
    assert report["upper_bound"].passed == (loss.scale <= 1 + 1e-12)
    assert report["lipschitz"].passed == math.isfinite(loss.lipschitz)
    assert report["bounded"].passed == math.isfinite(loss.bound)
    for key in ("lipschitz", "bound", "scale"):
        assert report.properties[key] == pytest.approx(getattr(loss, key), abs=1e-4)
    at_zero = torch.zeros(1, dtype=torch.float64)
    assert report.properties["value_at_0"] == float(loss(at_zero))
    if 0.0 not in loss.kinks:
        assert report.properties["slope_at_0"] == pytest.approx(float(loss.derivative(at_zero)), abs=1e-6)
    assert report["falls_at_0"].passed == (0.0 not in loss.kinks and float(loss.derivative(at_zero)) < 0)
    for theta, psi in report.properties["psi"].items():
        assert psi == pytest.approx(float(loss.psi(theta)), abs=1e-6)


def test_the_link_tells_which_scores_can_be_read_as_probabilities() -> None:
    estimating = {name for name in margins.LOSSES if audited(name)["estimates"].passed}
    assert estimating == {"squared_hinge", "logistic", "logistic2", "exponential", "squared", "savage"}
    link = audited("logistic").properties["link"]
    assert link[0.75] == pytest.approx(math.log(3), abs=1e-6)


def test_calibration_names_the_eta_that_breaks_it() -> None:
    """Slope -1 to the left of 0 and -1/2 to the right: 0 stays best up to eta = 2/3, as the chapter on calibration works out."""
    report = lossbook.audit(lambda m: torch.maximum(-m, -m / 2))
    assert report["calibrated"].passed is False
    assert report.properties["breaking_eta"] == pytest.approx(2 / 3, abs=1e-6)
    assert report["falls_at_0"].measured == "kink"


FACTS: list[tuple[str, Callable[..., Tensor], dict[str, Any], bool]] = [
    ("proper", F.cross_entropy, MULTICLASS, True),
    ("proper", focal.softmax_focal_loss, MULTICLASS, False),
    ("proper", partial(F.cross_entropy, label_smoothing=0.2), MULTICLASS, False),
    ("proper", binary_cross_entropy, BINARY, True),
    ("proper", focal.sigmoid_focal_loss, BINARY, False),
    ("calibrated", focal.softmax_focal_loss, MULTICLASS, True),
    ("calibrated", multiclass.crammer_singer, MULTICLASS, False),
    ("calibrated", multiclass.weston_watkins, MULTICLASS, False),
    ("calibrated", lambda s, y: multiclass.lee_lin_wahba(s - s.mean(1, keepdim=True), y), MULTICLASS, True),
    ("calibrated", F.cross_entropy, MULTICLASS, True),
    ("calibrated", binary_cross_entropy, BINARY, True),
    ("calibrated", lambda s, y: F.relu((1 - 2 * y) * s).mean(), BINARY, False),
    ("calibrated", partial(focal.sigmoid_focal_loss, alpha=0.25), BINARY, False),
    ("shift", F.cross_entropy, MULTICLASS, True),
    ("shift", multiclass.lee_lin_wahba, MULTICLASS, False),
    ("classes_alike", F.cross_entropy, MULTICLASS, True),
    ("classes_alike", lambda s, y: F.cross_entropy(s, y, weight=torch.tensor([1.0, 2.0, 3.0]).to(s)), MULTICLASS, False),
    ("classes_alike", partial(focal.sigmoid_focal_loss, alpha=0.25), BINARY, False),
    ("cross_entropy", lambda s, y: F.cross_entropy(s, y) / 3, MULTICLASS, True),
    ("cross_entropy", focal.softmax_focal_loss, MULTICLASS, False),
    ("cross_entropy", binary_cross_entropy, BINARY, True),
    ("denominator", F.cross_entropy, MULTICLASS, True),
    ("denominator", lambda s, y: F.cross_entropy(s, y, weight=torch.tensor([1.0, 2.0, 3.0]).to(s)), MULTICLASS, False),
    ("ignored", F.cross_entropy, MULTICLASS, True),
    ("ignored", mean_with_ignored, MULTICLASS, False),
    ("empty", F.cross_entropy, MULTICLASS, False),
    ("empty", crossentropy.cross_entropy, MULTICLASS, True),
    ("empty", F.multi_margin_loss, MULTICLASS, False),  # torch returns memory that it never wrote
    ("pulls", F.cross_entropy, MULTICLASS, True),
    ("pulls", lambda s, y: -(torch.softmax(s, 1) + 1e-8).log().gather(1, y[:, None]).mean(), MULTICLASS, False),
    ("free_when_right", binary_cross_entropy, BINARY, True),
    ("free_when_right", partial(F.cross_entropy, label_smoothing=0.1), MULTICLASS, False),
    ("refuses_bad_targets", binary_cross_entropy, BINARY, False),
    ("refuses_bad_targets", crossentropy.binary_cross_entropy, BINARY, True),
    ("refuses_bad_boxes", boxes.giou_loss, BOXES, True),
    ("free_when_equal", boxes.giou_loss, BOXES, True),
    ("pulls", boxes.giou_loss, BOXES, True),
    ("pulls", boxes.iou_loss, BOXES, False),
    ("symmetric", boxes.giou_loss, BOXES, True),
    ("unit_free", F.l1_loss, BOXES, False),
    ("keeps_dtype", F.cross_entropy, MULTICLASS, True),
    ("keeps_dtype", lambda s, y: F.cross_entropy(s.float(), y), MULTICLASS, False),
    ("keeps_dtype", lambda s, y: F.cross_entropy(s.float(), y).double(), MULTICLASS, False),
]


@pytest.mark.parametrize(("name", "loss", "form", "expected"), FACTS, ids=[f"{fact[0]}-{place}" for place, fact in enumerate(FACTS)])
def test_a_fact_is_found(name: str, loss: Callable[..., Tensor], form: dict[str, Any], expected: bool) -> None:
    finding = lossbook.audit(loss, **form)[name]
    assert finding.kind == "fact"
    assert finding.passed is expected


def test_the_threshold_of_a_weighted_loss_is_named() -> None:
    """alpha = 1/4 on label 1 and 3/4 on label 0: the best score turns at P(label 1) = 3/4."""
    weighted = lossbook.audit(lambda s, y: (binary_cross_entropy(s, y, reduction="none") * torch.where(y == 1, 0.25, 0.75)).mean(), kind="binary")
    assert "it turns near 0.775" in weighted["calibrated"].detail  # the first of the 37 probabilities above 3/4


def test_a_value_without_a_graph_has_no_gradient_to_be_wrong() -> None:
    """`backward` raises on it, which is loud."""
    report = lossbook.audit(lambda s, y: binary_cross_entropy(s.detach(), y), **BINARY)
    assert report.passed
    assert report["gradient"].verdict == report["pulls"].verdict == "not supported"


def test_a_shape_of_one_axis_can_be_named() -> None:
    assert lossbook.audit(binary_cross_entropy, kind="binary", shape=(4,)).passed
    with pytest.raises(ValueError, match="two classes"):
        lossbook.audit(F.cross_entropy, kind="multiclass", shape=(4, 1))


def test_a_detached_part_is_a_fact_and_not_a_defect() -> None:
    finding = lossbook.audit(boxes.ciou_loss, kind="boxes")["gradient"]
    assert (finding.kind, finding.passed) == ("fact", False)
    assert "on purpose" in finding.detail


def test_the_factor_of_a_multiple_of_cross_entropy() -> None:
    assert lossbook.audit(lambda s, y: F.cross_entropy(s, y) / 3, kind="multiclass")["cross_entropy"].measured == pytest.approx(1 / 3)


# --- the report ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PLANTED if name != "pure"])
def test_the_example_shows_the_defect(name: str) -> None:
    """Run as it stands, its last line shows what the finding says."""
    loss, form, _ = PLANTED[name]
    finding = lossbook.audit(loss, **form)[name]
    shown = assert_shown(finding, loss)
    if name.startswith("finite") or name == "one_sided":
        assert isinstance(shown, Tensor)
        assert not shown.isfinite().all()
        assert str(finding.measured) in repr(shown)


def assert_shown(finding: lossbook.auditor.Finding, loss: Callable[..., Tensor]) -> Any:
    """The lines run; where the last makes two results, they differ."""
    lines = finding.example.splitlines()
    assert 2 <= len(lines) <= 4
    names: dict[str, Any] = {"torch": torch, "loss": loss}
    exec("\n".join(lines[:-1]), names)
    shown = eval(lines[-1], names)
    assert isinstance(shown, (Tensor, tuple))
    if finding.name in ("memory_order", "subclass", "label_dtypes", "modes", "half_sums", "autocast") and isinstance(shown, tuple):
        one, other = (part[0] if isinstance(part, tuple) else part for part in shown)
        assert not torch.allclose(one.double(), other.double(), rtol=1e-3)
    return shown


def test_the_table_puts_defects_first() -> None:
    lines = repr(lossbook.audit(textbook_focal, kind="binary")).splitlines()
    assert lines[0].startswith("textbook_focal (binary): 17 checks, ")
    assert lines[1].split()[:2] == ["FAILS", "finite_float64"]
    assert sum(line.startswith("  FAILS") for line in lines) == len(lossbook.audit(textbook_focal, kind="binary").defects)


def test_require_raises_with_the_input() -> None:
    report = lossbook.audit(textbook_focal, kind="binary")
    with pytest.raises(AssertionError, match=r"finite_float32: the gradient is nan: label 1, logit 20"):
        report.require("finite")
    with pytest.raises(AssertionError, match="finite_bfloat16"):
        report.require()
    report.require("order", "calibrated")
    with pytest.raises(ValueError, match=r"`names` should be among .*; found 'fast'"):
        report.require("fast")
    with pytest.raises(AssertionError, match="calibrated: at η = 1"):
        lossbook.audit(margins.perceptron).require("finite", "calibrated")


def test_what_could_not_be_tried_meets_no_requirement() -> None:
    report = lossbook.audit(binary_cross_entropy, kind="binary", shape=(2, 1, 4, 4))
    assert report["calibrated"].passed is None
    with pytest.raises(AssertionError, match="looked at for single examples"):
        report.require("calibrated")
    lossbook.audit(F.multi_margin_loss, kind="multiclass").require("finite")  # torch has no half precision for it; what could be tried passed


def test_html_has_a_table_a_figure_and_escapes() -> None:
    html = lossbook.audit(textbook_focal, kind="binary", name="<script>")._repr_html_()
    assert "<script>" not in html.replace("<script>window", "")
    assert '<tr class="audit-fails"><td>FAILS</td><td><code>finite_float64</code>' in html
    assert "<svg" in html
    assert 'role="img"' in html


@pytest.mark.parametrize("form", [{}, BINARY, MULTICLASS, BOXES], ids=["margin", "binary", "multiclass", "boxes"])
def test_every_kind_has_a_figure(form: dict[str, Any]) -> None:
    loss = {"margin": margins.hinge, "binary": binary_cross_entropy, "multiclass": F.cross_entropy, "boxes": boxes.giou_loss}[
        form.get("kind", "margin")
    ]
    assert "<svg" in lossbook.audit(loss, **form)._repr_html_()


def test_without_matplotlib_there_is_still_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossbook.auditor._report.find_spec", lambda name: None)
    html = lossbook.audit(margins.hinge)._repr_html_()
    assert "<svg" not in html
    assert "<table" in html


def test_the_data_are_plain() -> None:
    report = lossbook.audit(margins.logistic, name="logistic")
    data = json.loads(json.dumps(report.to_dict()))
    assert data["loss"] == "logistic"
    assert data["passed"] is True
    assert {finding["verdict"] for finding in data["findings"]} <= {"ok", "yes", "no", "FAILS", "–"}


def test_two_audits_agree() -> None:
    first, second = (lossbook.audit(crossentropy.cross_entropy, kind="multiclass") for _ in range(2))
    assert isinstance(first, Report)
    assert first.findings == second.findings


def test_an_audit_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    lossbook.audit(F.cross_entropy, kind="multiclass")
    assert torch.equal(before, torch.get_rng_state())


# --- a mean and its convention ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "form"),
    [
        (F.cross_entropy, MULTICLASS),
        (F.cross_entropy, {"kind": "multiclass", "shape": (2, 3, 4, 4)}),
        (partial(F.cross_entropy, reduction="none"), MULTICLASS),
        (torch.nn.CrossEntropyLoss(), MULTICLASS),
        (binary_cross_entropy, BINARY),
        (binary_cross_entropy, ONE_HOT),  # one loss a class, all of which cost something: a mean over N K
        (F.l1_loss, BOXES),
        (boxes.giou_loss, BOXES),
        (focal.softmax_focal_loss, MULTICLASS),
    ],
)
def test_a_mean_over_as_many_as_there_are_is_in_order(loss: Callable[..., Tensor], form: dict[str, Any]) -> None:
    finding = lossbook.audit(loss, **form)["reduction"]
    assert (finding.kind, finding.passed) == ("check", True)


def by_examples(logits: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
    losses = binary_cross_entropy(logits, targets, reduction="none")
    return losses.sum() / len(losses) if reduction == "mean" else reduced(losses, reduction)


def weighted_cross_entropy(logits: Tensor, labels: Tensor, *, reduction: str = "mean") -> Tensor:
    return F.cross_entropy(logits, labels, weight=torch.tensor([1.0, 2.0, 3.0]).to(logits), reduction=reduction)


def by_positives_if_any(logits: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
    losses = binary_cross_entropy(logits, targets, reduction="none")
    return losses.sum() / targets.sum().clamp(min=1) if reduction == "mean" else reduced(losses, reduction)


@pytest.mark.parametrize(
    ("loss", "form", "words"),
    [
        (
            torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)),
            MULTICLASS,
            "by weights that hang on the targets, here 9,",
        ),
        (by_positives_if_any, BINARY, "by weights that hang on the targets, here 2, 1, 5"),
        (by_examples, {"kind": "binary", "shape": (5, 3)}, "divides 15 losses by the 5 examples"),
    ],
)
def test_a_mean_by_weights_is_a_convention_and_no_defect(loss: Callable[..., Tensor], form: dict[str, Any], words: str) -> None:
    report = lossbook.audit(loss, **form)
    assert (report["reduction"].kind, report["reduction"].passed) == ("fact", False)
    assert "a convention" in report["reduction"].detail
    assert words in report["reduction"].detail
    assert report.passed


def test_a_loss_without_reduction_is_not_asked_for_it() -> None:
    def reads_once(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)

    class ReadsOnce(torch.nn.Module):
        """Binds the reduction when it is made."""

        def __init__(self) -> None:
            super().__init__()
            self.reduction = "mean"
            self.loss = partial(F.cross_entropy, reduction=self.reduction)

        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            return self.loss(logits, labels)

    for loss in (reads_once, ReadsOnce()):
        with pytest.raises(KeyError, match="no finding 'reduction'"):
            lossbook.audit(loss, kind="multiclass")["reduction"]


def test_a_module_keeps_its_reduction() -> None:
    loss = torch.nn.CrossEntropyLoss(reduction="sum")
    lossbook.audit(loss, kind="multiclass")
    assert loss.reduction == "sum"


def test_a_reduction_that_is_not_taken_is_not_supported() -> None:
    def one_word(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
        if reduction != "mean":
            raise ValueError(f"no {reduction}")
        return F.cross_entropy(logits, labels)

    assert lossbook.audit(one_word, kind="multiclass")["reduction"].verdict == "not supported"


# --- what a loss refuses ---------------------------------------------------------------------------------------------------------------------


def without_half(logits: Tensor, targets: Tensor) -> Tensor:
    """As torch words it where there is no kernel."""
    if logits.dtype == torch.float16:
        raise NotImplementedError("\"some_kernel\" not implemented for 'Half'")
    return binary_cross_entropy(logits, targets)


def test_a_missing_kernel_is_not_supported_and_neither_ok_nor_a_defect() -> None:
    report = lossbook.audit(without_half, kind="binary", name="without_half")
    finding = report["finite_float16"]
    assert (finding.passed, finding.measured, finding.verdict) == (None, "not supported", "not supported")
    assert finding.detail == "NotImplementedError: \"some_kernel\" not implemented for 'Half'"
    assert report.unsupported == (finding,)
    assert report.passed
    assert report.summary == "without_half (binary): 16 checks, none failed; not supported: finite_float16."
    (line,) = (line for line in repr(report).splitlines() if " finite_float16 " in line)
    assert line.split("  ")[1] == "not supported"
    assert '<tr class="audit-unsupported"><td>not supported</td><td><code>finite_float16</code></td><td></td>' in report._repr_html_()
    report.require()
    report.require("finite")
    with pytest.raises(AssertionError, match="finite_float16 is not supported: NotImplementedError"):
        report.require("finite_float16")


def test_torchs_own_missing_kernel_is_seen_as_such() -> None:
    report = lossbook.audit(F.multi_margin_loss, kind="multiclass")
    assert {"finite_float16", "finite_bfloat16"} <= {finding.name for finding in report.unsupported}
    assert "not implemented for 'Half'" in report["finite_float16"].detail


def test_a_box_loss_without_half_precision_is_not_supported_there() -> None:
    def checked(boxes_xyxy: Tensor, targets_xyxy: Tensor) -> Tensor:
        if boxes_xyxy.dtype in (torch.float16, torch.bfloat16):
            raise TypeError("float32, please")
        return F.l1_loss(boxes_xyxy, targets_xyxy)

    report = lossbook.audit(checked, kind="boxes")
    assert [finding.name for finding in report.unsupported] == ["finite_float16", "finite_bfloat16", "half_sums"]


def test_a_defect_in_half_precision_is_none_that_is_not_supported() -> None:
    report = lossbook.audit(half_overflow, kind="binary")
    assert report["finite_float16"].verdict == "FAILS"
    with pytest.raises(AssertionError, match="finite_float16: the value is inf"):
        report.require("finite_float16")


def test_a_backward_that_raises_is_words_and_no_traceback() -> None:
    class Raises(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * x

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            raise RuntimeError("not written yet")

    with pytest.raises(ValueError, match=r"`loss` should take logits .*; found RuntimeError: not written yet"):
        lossbook.audit(lambda s, y: Raises.apply(s).sum(), kind="binary")


def test_an_error_on_one_path_leaves_the_others() -> None:
    """`view` refuses what is not contiguous, aloud."""

    def viewed(logits: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy(logits.view(-1), targets.reshape(-1))

    finding = lossbook.audit(viewed, kind="binary")["memory_order"]
    assert finding.passed
    assert "; refused: transposed logits" in finding.detail
    assert "strided targets" in finding.detail


# --- whatever the caller does ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, torch.inference_mode, partial(torch.autocast, "cpu", dtype=torch.bfloat16), partial(torch.autocast, "cpu", dtype=torch.float16)],
    ids=["no_grad", "inference_mode", "bfloat16", "float16"],
)
def test_a_mode_of_the_callers_changes_nothing(mode: Callable[[], Any]) -> None:
    losses: list[tuple[Callable[..., Tensor], dict[str, Any]]] = [(naive_softmax, MULTICLASS), (matrix_detour, BINARY), (margins.hinge, {})]
    plain = [lossbook.audit(loss, **form) for loss, form in losses]
    with mode():
        assert [lossbook.audit(loss, **form) for loss, form in losses] == plain


def test_the_first_audit_may_be_made_under_another_default_device() -> None:
    """The bench has constants of its own, which come in with it."""
    code = "import lossbook, torch\nwith torch.device('meta'):\n    lossbook.audit(lossbook.margins.hinge).require()"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_loss_that_writes_is_blamed_for_that_alone() -> None:
    report = lossbook.audit(changes_arguments, kind="binary")
    assert [finding.name for finding in report.defects] == ["pure"]


def test_a_loss_with_luck_in_it_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    lossbook.audit(noisy, kind="binary")
    assert torch.equal(before, torch.get_rng_state())


def test_numpy_scalars_are_numbers() -> None:
    shape, seed = (np.int64(6), np.int32(2)), np.int64(3)
    assert lossbook.audit(F.cross_entropy, kind="multiclass", shape=shape, seed=seed) == lossbook.audit(
        F.cross_entropy, kind="multiclass", shape=[6, 2], seed=3
    )


def test_a_loss_is_called_by_its_name() -> None:
    assert lossbook.audit(partial(F.cross_entropy, label_smoothing=0.1), kind="multiclass").loss == "cross_entropy"
    assert lossbook.audit(torch.nn.CrossEntropyLoss(), kind="multiclass").loss == "CrossEntropyLoss"


# --- a report goes elsewhere -----------------------------------------------------------------------------------------------------------------

TRAVELLERS: dict[str, tuple[Callable[..., Tensor], dict[str, Any]]] = {
    "of a lambda": (lambda s, y: F.cross_entropy(s, y), MULTICLASS),  # with NaN: an empty batch
    "of margins": (margins.exponential, {}),  # with infinities
    "of boxes": (plain_iou, BOXES),
    "with defects": (textbook_focal, BINARY),
    "with what is not supported": (F.multi_margin_loss, MULTICLASS),
}


@pytest.mark.parametrize("name", TRAVELLERS)
def test_a_report_can_be_pickled_copied_compared_and_written_down(name: str) -> None:
    loss, form = TRAVELLERS[name]
    report = lossbook.audit(loss, **form)
    text = json.dumps(report.to_dict(), allow_nan=False)
    for twin in (
        pickle.loads(pickle.dumps(report)),
        copy.copy(report),
        copy.deepcopy(report),
        lossbook.audit(loss, **form),
        Report.from_dict(report.to_dict()),
        Report.from_dict(json.loads(text)),
    ):
        assert twin == report
        assert hash(twin) == hash(report)
        assert twin.findings == report.findings  # one by one, NaN included
        assert repr(twin) == repr(report)
        assert [type(finding) for finding in twin.findings] == [type(finding) for finding in report.findings]
        assert repr(twin.properties) == repr(report.properties)
    assert pickle.loads(pickle.dumps(report))._repr_html_().count("<path") == report._repr_html_().count("<path")
    assert "<svg" in pickle.loads(pickle.dumps(report))._repr_html_()


def test_reports_that_say_something_else_are_not_equal() -> None:
    report = lossbook.audit(F.cross_entropy, kind="multiclass")
    assert report != lossbook.audit(F.cross_entropy, kind="multiclass", name="another")
    assert report != lossbook.audit(partial(F.cross_entropy, reduction="sum"), kind="multiclass")
    assert report != report.to_dict()
    changed = dataclasses.replace(report, properties={"lipschitz": 2.0})
    assert report != changed
    assert len({report, changed, copy.deepcopy(report)}) == 2


def test_a_report_goes_through_torch_save(tmp_path: Path) -> None:
    report = lossbook.audit(margins.logistic)
    torch.save(report, tmp_path / "report.pt")
    assert torch.load(tmp_path / "report.pt", weights_only=False) == report


def test_a_loss_that_raises_along_the_line_has_no_figure() -> None:
    def few(logits: Tensor, targets: Tensor) -> Tensor:
        if len(logits) < 2:
            raise ValueError("one example alone")
        return binary_cross_entropy(logits, targets)

    report = lossbook.audit(few, kind="binary")
    assert report.curves is None
    assert "<table" in report._repr_html_()
    assert "<svg" not in report._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"loss": 3}, TypeError, "`loss` should be callable; found int"),
        (
            {"loss": torch.nn.CrossEntropyLoss},
            TypeError,
            "`loss` should be a function, or an object that can be called; found the class CrossEntropyLoss",
        ),
        ({"seed": "0"}, TypeError, "`seed` should be an integer; found str"),
        ({"seed": -1}, ValueError, "`seed` should be at least 0; found -1"),
        ({"seed": 2**64}, ValueError, "`seed` should be below 2^32; found 18446744073709551616"),
        ({"name": 3}, TypeError, "`name` should be text; found int"),
        ({"compile": 1.5}, TypeError, "`compile` should be True, False or the name of a backend; found float"),
        ({"compile": "quickly"}, ValueError, "`compile` should be one of 'aot_eager'"),
        ({"shape": 5}, TypeError, "`shape` should be a sequence of integers; found 5"),
        ({"shape": (5.0,)}, TypeError, "`shape` should be a sequence of integers; found (5.0,)"),
        ({"shape": "5"}, TypeError, "`shape` should be a sequence of integers; found '5'"),
        ({"shape": ()}, ValueError, "`shape` should be like (5,), with two examples or more; found ()"),
        ({"shape": (-5,)}, ValueError, "found (-5,)"),
        (
            {"kind": "multiclass", "shape": (5, 1)},
            ValueError,
            "(5, 3), with two examples or more and two classes; found (5, 1)",
        ),
        ({"kind": "ordinal"}, ValueError, "`kind` should be one of 'margin', 'binary', 'multiclass', 'boxes'; found 'ordinal'"),
        ({"kind": "binary", "targets": "one_hot"}, ValueError, "`targets` should be one of 'floats', 'labels', 'signs'; found 'one_hot'"),
        ({"shape": (5, 2)}, ValueError, "`shape` should be like"),
        ({"kind": "boxes", "shape": (5, 3)}, ValueError, "`shape` should be like"),
        ({"kind": "multiclass", "shape": (1, 3)}, ValueError, "two examples or more"),
        ({"kind": "multiclass", "loss": margins.hinge}, ValueError, "`loss` should take logits of shape"),
        ({"loss": lambda m: F.softplus(-m).mean()}, ValueError, "it returned shape () for margins of shape (5,)"),
        ({"loss": lambda m: 3.0}, ValueError, "it returned float instead of a floating-point tensor"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        lossbook.audit(**{"loss": margins.hinge, **arguments})
    assert words in str(caught.value)


class Scored(torch.nn.Module):
    """A loss as a module has it."""

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores, labels)


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (margins.hinge, "margin"),
        (lambda m, sharpness=2.0: F.softplus(-sharpness * m), "margin"),
        (multiclass.crammer_singer, "multiclass"),
        (partial(crossentropy.generalized_cross_entropy, q=0.5), "multiclass"),
        (Scored(), "multiclass"),
        (boxes.giou_loss, "boxes"),
    ],
)
def test_the_signature_tells_the_kind(loss: Callable[..., Any], kind: str) -> None:
    assert lossbook.audit(loss).kind == kind


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (F.binary_cross_entropy_with_logits, "(input: torch.Tensor, target: torch.Tensor"),
        (lambda *tensors: tensors[0], "(*tensors)"),
        (F.softplus, "a function without a signature"),
    ],
)
def test_a_signature_that_does_not_tell_it(loss: Callable[..., Any], found: str) -> None:
    with pytest.raises(ValueError, match="`kind` should be given where the signature doesn't tell it") as caught:
        lossbook.audit(loss)
    assert found in str(caught.value)


# --- the command line ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["torch.nn.functional:cross_entropy", "--kind", "multiclass", "--require", "finite,calibrated"], 0, "none failed"),
        (["torch.nn:CrossEntropyLoss", "--kind=multiclass", "--shape=2,2", "--require"], 0, "none failed"),
        (["torch.nn.functional:soft_margin_loss", "--kind=binary", "--targets=signs"], 0, "4 failed"),
        (["torch.nn.functional:soft_margin_loss", "--kind=binary", "--targets=signs", "--require"], 1, "finite_float16: the value is inf"),
        (["lossbook.margins:perceptron", "--require", "finite,calibrated"], 1, "calibrated: at η = 1"),
        (["lossbook.margins:hinge", "--require", "fast"], 2, "found 'fast'"),
        (["lossbook.marginz:hinge"], 2, "cannot import 'lossbook.marginz': ModuleNotFoundError"),
        (["lossbook.margins:hing"], 2, "'lossbook.margins' has no 'hing'"),
        (["lossbook.margins"], 2, "should be package.module:function"),
        (["lossbook.margins:hinge", "--kind", "binary"], 2, "`loss` should take logits"),
        (["lossbook.multiclass:crammer_singer"], 0, "crammer_singer (multiclass): "),
        (["torch.nn.functional:binary_cross_entropy_with_logits"], 2, "`kind` should be given where"),
        (["math:pi"], 2, "`loss` should be callable"),
        (["lossbook.margins:hinge", "--seed=-1"], 2, "`seed` should be at least 0"),
        (["lossbook.margins:hinge", "--shape=5,x"], 2, "argument --shape: invalid"),
        (["torch.nn.functional:multi_margin_loss", "--kind=multiclass", "--require=finite_float16"], 1, "finite_float16 is not supported"),
        (["torch.nn.functional:multi_margin_loss", "--kind=multiclass", "--require"], 0, "not supported: finite_float16"),
        (["lossbook.margins:hinge", "--kind", "ordinal"], 2, "invalid choice"),
    ],
)
def test_the_command_line(arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(arguments) == code
    printed = capsys.readouterr()
    assert words in printed.out + printed.err


def exit_code(arguments: list[str]) -> int:
    """What the command ends with; argparse leaves by SystemExit."""
    try:
        return main(["audit", *arguments])
    except SystemExit as error:
        return int(error.code or 0)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("text", "arguments", "code", "words"),
    [
        ("def loss(margins):\n    return (1 - margins).clamp(min=0)\n", ["--json"], 0, '"passed": true'),
        ("def loss(margins):\n    return (-margins).clamp(min=0)\n", ["--require", "calibrated"], 1, "calibrated: at η = 1"),
        ("raise RuntimeError('half written')\n", [], 2, "cannot import 'mine': RuntimeError: half written"),
    ],
    ids=["data", "requirement", "broken"],
)
def test_the_shell_audits_a_file_in_the_folder(tmp_path: Path, text: str, arguments: list[str], code: int, words: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    command = [sys.executable, "-m", "lossbook", "audit", "mine:loss", *arguments]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    assert run.returncode == code, run.stderr
    assert words in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
