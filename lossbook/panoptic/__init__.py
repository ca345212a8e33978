"""Panoptic quality, and the way from a model's queries to a panoptic map.

A panoptic map is [H, W, 2], or of a volume [D, H, W, 2]: the class and the instance of every pixel. Things are counted (each instance is a
segment), stuff is not (a class is one segment, whatever its instance ids), and void is what nobody labelled. Chapter: sets.
"""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossbook._core.checks import (
    check_concrete,
    check_flag,
    check_floating,
    check_integer,
    check_ndim,
    check_number,
    check_range,
    check_real,
    check_same_device,
    check_same_shape,
    values_readable,
    wrong_type,
    wrong_value,
)
from lossbook._core.door import full_precision, outside_graphs
from lossbook.panoptic._runs import Array, overlap

__all__ = ["ClassQuality", "PanopticQuality", "panoptic_counts", "panoptic_map", "panoptic_quality", "quality_of_counts"]


class ClassQuality(NamedTuple):
    """One class: its quality, the summed IoU of its matches, and its matched, spurious and missed segments."""

    pq: float
    sq: float
    rq: float
    iou: float
    tp: int
    fp: int
    fn: int


class PanopticQuality(NamedTuple):
    """PQ, SQ and RQ, averaged over the classes that occur in truth or prediction, and every class by its id."""

    pq: float
    sq: float
    rq: float
    by_class: dict[int, ClassQuality]


@outside_graphs
@full_precision
def panoptic_quality(
    prediction: Tensor,
    truth: Tensor,
    *,
    things: Collection[int],
    stuff: Collection[int],
    void: int,
    crowd: Collection[tuple[int, int]] = (),
    volumes: bool = False,
) -> PanopticQuality:
    r"""Panoptic quality, by class: PQ = Σ IoU / (TP + FP/2 + FN/2) = SQ · RQ, over matches of the same class with IoU > 1/2.

    SQ = Σ IoU / TP is how well the matched segments fit, RQ = TP / (TP + FP/2 + FN/2) how many are matched. Segments do not overlap, so at most
    one segment of either side has IoU > 1/2 with a given one of the other: the matching needs no Hungarian.

    Args:
        prediction: [H, W, 2] integer, class and instance (any 64-bit number) of each pixel; or [B, H, W, 2], whose counts are summed over the images.
        truth: of the same shape.
        things: class ids whose instances count.
        stuff: class ids that are one segment each.
        void: class id of unlabelled pixels, in either map.
        crowd: (class, instance) pairs of the truth that are regions of many objects: they need no match and excuse what falls on them.
        volumes: an image is a volume, [D, H, W, 2], and a batch of them is [B, D, H, W, 2]; a segment goes through all of its slices.

    Returns:
        `PanopticQuality(pq, sq, rq, by_class)`; 0 where no class occurs at all.

    Raises:
        TypeError: maps that are not integer, or have no values to be read; ids that are not.
        ValueError: another shape, a class that is neither thing, stuff nor void, a class that is two of these.

    Example:
        >>> truth = torch.tensor([[[1, 0], [1, 0], [7, 1], [7, 1], [7, 1]]])
        >>> prediction = torch.tensor([[[1, 0], [1, 0], [1, 0], [7, 4], [7, 4]]])
        >>> panoptic_quality(prediction, truth, things=[7], stuff=[1], void=255)[:3]
        (0.6666666666666666, 0.6666666666666666, 1.0)

    Reference:
        A. Kirillov et al., Panoptic segmentation, 2019, equations 1 and 2, and section 4.2 for void and crowds.

    Conventions:
        The void rule is the original panopticapi's: void pixels of the truth leave the union, a prediction more than half void (or crowd of its
        class) is no false positive; void in the prediction is an ordinary miss. torchmetrics also forgives void in the prediction.
    """
    classes = _Classes(things, stuff, void)
    return _quality(_counts(prediction, truth, classes, crowd, volumes), classes.names[:-1])


@outside_graphs
@full_precision
def quality_of_counts(counts: Tensor, *, classes: Collection[int]) -> PanopticQuality:
    """PQ, SQ and RQ from the counts of `panoptic_counts`, which add up over the images of a data set.

    Args:
        counts: [K, 4], summed IoU, TP, FP and FN of each class.
        classes: the K class ids, in the order of the rows.

    Returns:
        `PanopticQuality(pq, sq, rq, by_class)`.

    Raises:
        TypeError, ValueError: counts of another shape, or negative.

    Example:
        >>> quality_of_counts(torch.tensor([[1.6, 2, 1, 1]]), classes=[7]).by_class[7]
        ClassQuality(pq=0.533..., sq=0.800..., rq=0.666..., iou=1.60..., tp=2, fp=1, fn=1)
    """
    check_real("counts", counts)
    names = _whole_numbers("classes", classes)
    if len(set(names)) != len(names):
        wrong_value("classes", "hold each class once", names)
    if counts.shape != (len(names), 4):
        wrong_value("counts", f"have shape ({len(names)}, 4), a row for each of `classes`", tuple(counts.shape))
    check_concrete("counts", counts)
    check_range("counts", counts, 0, torch.finfo(torch.float64).max)
    return _quality(counts.tolist(), names)


def _quality(counts: list[list[float]], names: list[int]) -> PanopticQuality:
    by_class = {}
    for name, (iou, tp, fp, fn) in zip(names, counts, strict=True):
        weight = tp + fp / 2 + fn / 2
        sq, rq = iou / max(tp, 1), tp / max(weight, 0.5)
        by_class[name] = ClassQuality(iou / max(weight, 0.5), sq, rq, iou, int(tp), int(fp), int(fn))
    present = [quality for quality in by_class.values() if quality.tp + quality.fp + quality.fn > 0]
    pq, sq, rq = (sum(quality[part] for quality in present) / max(len(present), 1) for part in range(3))
    return PanopticQuality(float(pq), float(sq), float(rq), by_class)


@outside_graphs
@full_precision
def panoptic_counts(
    prediction: Tensor,
    truth: Tensor,
    *,
    things: Collection[int],
    stuff: Collection[int],
    void: int,
    crowd: Collection[tuple[int, int]] = (),
    volumes: bool = False,
) -> Tensor:
    """Summed IoU, TP, FP and FN of each class: what to add up over a data set before `quality_of_counts`.

    Args:
        prediction, truth: [H, W, 2] or [B, H, W, 2] integer, class and instance of each pixel; of volumes with D in front of H.
        things, stuff: class ids whose instances count, and class ids that are one segment each.
        void: class id of unlabelled pixels, in either map.
        crowd: (class, instance) pairs of the truth that are regions of many objects.
        volumes: an image is [D, H, W, 2], and a batch [B, D, H, W, 2].

    Returns:
        [K, 4] float64, in the order of things, then stuff.

    Raises:
        TypeError, ValueError: as `panoptic_quality`.

    Example:
        >>> road = torch.tensor([[[1, 0], [1, 0]]])
        >>> panoptic_counts(road, road, things=[7], stuff=[1], void=0)
        tensor([[0., 0., 0., 0.],
                [1., 1., 0., 0.]], dtype=torch.float64)
    """
    counts = _counts(prediction, truth, _Classes(things, stuff, void), crowd, volumes)
    return torch.tensor(counts, dtype=torch.float64, device="cpu").view(-1, 4)


def _counts(prediction: Tensor, truth: Tensor, classes: _Classes, crowd: Collection[tuple[int, int]], volumes: bool) -> list[list[float]]:
    check_flag("volumes", volumes)
    single, image = (4, "D, H, W, 2]") if volumes else (3, "H, W, 2]")
    for parameter, value in (("prediction", prediction), ("truth", truth)):
        check_integer(parameter, value)
        if value.ndim not in (single, single + 1) or value.shape[-1] != 2:
            wrong_value(parameter, f"have shape [{image} or [B, {image}", tuple(value.shape))
    check_same_shape("truth", truth, "prediction", prediction)
    check_concrete("prediction", prediction)
    check_concrete("truth", truth)
    total, regions = np.zeros((classes.count, 4)), _pairs("crowd", crowd)
    batch = [maps if maps.ndim > single else maps[None] for maps in (prediction, truth)]
    for image, true_image in zip(*batch, strict=True):
        total += _image_counts(image, true_image, classes, regions)
    found: list[list[float]] = total.tolist()
    return found


class _Classes:
    """Class ids as positions: things first, then stuff, void last."""

    def __init__(self, things: Collection[int], stuff: Collection[int], void: int) -> None:
        counted = _whole_numbers("things", things)
        ids = [*counted, *_whole_numbers("stuff", stuff), *_whole_numbers("void", [void])]
        if len(set(ids)) != len(ids):
            wrong_value("things", "share no class with `stuff` or `void`, and hold each once", ids)
        self.names, self.things, self.count = ids, len(counted), len(ids) - 1
        self.ids = np.array([_signed(name) for name in ids], dtype=np.int64)
        self.order = np.argsort(self.ids)

    def positions(self, parameter: str, ids: Array) -> Array:
        place: Array = self.order[np.searchsorted(self.ids, ids, sorter=self.order).clip(max=self.count)]
        if not np.array_equal(self.ids[place], ids):
            wrong_value(parameter, "hold only classes of `things`, `stuff` and `void`", np.setdiff1d(ids, self.ids).tolist()[:5])
        return place


def _whole_numbers(parameter: str, values: Any) -> list[int]:
    """Integers of up to 64 bits, with a sign or without, also as numpy has them or in a tensor."""
    try:
        numbers = [operator.index(value) for value in values]
    except TypeError:
        wrong_type(parameter, "hold integers", repr(values))
    if any(isinstance(value, bool) for value in values):
        wrong_type(parameter, "hold integers", repr(values))
    if not all(-(2**63) <= number < 2**64 for number in numbers):
        wrong_value(parameter, "hold integers of at most 64 bits", numbers)
    return numbers


def _signed(number: int) -> int:
    """As the door reads uint64: modulo 2⁶⁴."""
    return number - 2**64 if number >= 2**63 else number


def _pairs(parameter: str, values: Any) -> list[tuple[int, int]]:
    """Pairs of (class, instance)."""
    try:
        pairs = [tuple(pair) for pair in values]
    except TypeError:
        wrong_type(parameter, "hold pairs of (class, instance)", repr(values))
    if any(len(pair) != 2 for pair in pairs):
        wrong_value(parameter, "hold pairs of (class, instance)", repr(values))
    numbers = [_signed(number) for number in _whole_numbers(parameter, [number for pair in pairs for number in pair])]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _segments(parameter: str, rows: Array, classes: _Classes) -> tuple[Array, Array, Array]:
    """Class position and instance of each segment [S], and which segment each row (class, instance) [R, 2] is: stuff and void have no instances."""
    position = classes.positions(parameter, rows[:, 0])
    instance = np.where(position < classes.things, rows[:, 1], 0)
    own = np.where(position < classes.things, classes.count + 1 + np.arange(len(rows)), position)  # rows are distinct: each thing is a segment
    _, first, of_row = np.unique(own, return_index=True, return_inverse=True)
    return position[first], instance[first], of_row


def _image_counts(prediction: Tensor, truth: Tensor, classes: _Classes, crowd: Collection[tuple[int, int]]) -> Array:
    shared = overlap(prediction, truth)
    predicted_class, _, of_predicted = _segments("prediction", shared.first_segments, classes)
    true_class, true_instance, of_true = _segments("truth", shared.second_segments, classes)
    predicted_count, true_count, void = len(predicted_class), len(true_class), classes.count
    pairs, of_pair = np.unique(of_true[shared.second] * max(predicted_count, 1) + of_predicted[shared.first], return_inverse=True)
    area = np.bincount(of_pair, shared.pixels)
    t, p = pairs // max(predicted_count, 1), pairs % max(predicted_count, 1)  # the pairs of segments that share `area` > 0 pixels

    is_crowd = np.zeros(true_count, dtype=bool)
    for name, instance in crowd:
        position = classes.positions("crowd", np.array([name]))[0]
        is_crowd |= (true_class == position) & ((true_instance == instance) | (position >= classes.things))
    same = true_class[t] == predicted_class[p]
    true_area, predicted_area = np.bincount(t, area, true_count), np.bincount(p, area, predicted_count)
    on_void = np.bincount(p, area * (true_class[t] == void), predicted_count)
    on_crowd = np.bincount(p, area * (is_crowd[t] & same), predicted_count)

    iou = area / np.maximum(predicted_area[p] + true_area[t] - area - on_void[p], 1)
    matched = same & (true_class[t] != void) & ~is_crowd[t] & (iou > 0.5)
    missed = (true_class != void) & ~is_crowd
    missed[t[matched]] = False
    spurious = (predicted_class != void) & ((on_void + on_crowd) / predicted_area <= 0.5)
    spurious[p[matched]] = False
    found = true_class[t[matched]]
    columns = [np.bincount(found, iou[matched], void), np.bincount(found, minlength=void)]
    columns += [np.bincount(chosen, minlength=void) for chosen in (predicted_class[spurious], true_class[missed])]
    return np.stack(columns, -1).astype(np.float64)


@full_precision
def panoptic_map(
    logits: Tensor, mask_logits: Tensor, *, things: Collection[int], void: int, min_score: float = 0.8, min_overlap: float = 0.8
) -> Tensor:
    r"""From the queries of one image to its panoptic map: every pixel goes to the sure query with the largest p_q(class) · σ(mask_q(pixel)).

    Queries that say "no object", or are less sure than `min_score`, are dropped; so are those that keep less than `min_overlap` of their own mask
    (σ >= 1/2) after the others took their pixels. Their pixels, and those where the winner's mask is below 1/2, are void.

    Args:
        logits: [Q, K+1], the last column is "no object".
        mask_logits: [Q, H, W].
        things: class ids in [0, K) whose queries are instances; queries of one stuff class are merged.
        void: class id for pixels of no segment, outside [0, K).
        min_score, min_overlap: thresholds in [0, 1].

    Returns:
        [H, W, 2] int64: class and instance of each pixel. Instances are numbered from 1 through the image; stuff and void have instance 0.

    Raises:
        TypeError: logits or mask_logits that are not floating point.
        ValueError: another shape, void inside [0, K), thresholds outside [0, 1].

    Example:
        >>> panoptic_map(torch.tensor([[9.0, 0, 0], [0, 9.0, 0]]), torch.tensor([[[5.0, -5]], [[-5.0, 5]]]), things=[1], void=255).tolist()
        [[[0, 0], [1, 1]]]

    Reference:
        B. Cheng et al., Per-pixel classification is not all you need, 2021, section 3.4, with the two thresholds of its code (0.8 and 0.8).
    """
    check_floating("logits", logits)
    check_floating("mask_logits", mask_logits)
    check_ndim("logits", logits, 2, "[Q, K+1]")
    check_ndim("mask_logits", mask_logits, 3, f"[{logits.shape[0]}, H, W]")
    if mask_logits.shape[0] != logits.shape[0]:
        wrong_value("mask_logits", f"have shape [{logits.shape[0]}, H, W] to match `logits`", tuple(mask_logits.shape))
    if not logits.shape[1]:
        wrong_value("logits", 'have a column for "no object"', tuple(logits.shape))
    check_same_device("mask_logits", mask_logits, "logits", logits)
    counted, (nobody,) = _whole_numbers("things", things), _whole_numbers("void", [void])
    if 0 <= nobody < logits.shape[1] - 1:
        wrong_value("void", f"lie outside [0, {logits.shape[1] - 1})", nobody)
    check_number("min_score", min_score, low=0, high=1)
    check_number("min_overlap", min_overlap, low=0, high=1)
    scores, labels = logits.softmax(-1).max(-1) if len(logits) else (logits[:, 0], logits[:, 0].long())
    sure = (labels < logits.shape[1] - 1) & (scores > min_score)
    readable = values_readable(logits) and values_readable(mask_logits)
    if readable:
        scores, labels, mask_logits = scores[sure], labels[sure], mask_logits[sure]
    nothing = torch.tensor([_signed(nobody), 0], device=logits.device)
    if not len(scores):
        return nothing.expand(*mask_logits.shape[1:], 2).clone()
    masks = mask_logits.sigmoid()
    strength, each = scores[:, None, None] * masks, torch.arange(len(scores), device=logits.device)[:, None, None]
    if readable:
        winner = strength.argmax(0)
        own = winner == each
        taken = torch.bincount(winner.flatten(), minlength=len(scores))
    else:  # how many are sure is not known, and none may win that is not
        winner = torch.where(sure[:, None, None], strength, -1.0).argmax(0)
        own = (winner == each) & sure[:, None, None]
        taken = own.sum((-1, -2))
    covered = masks >= 0.5
    whole = (taken >= min_overlap * covered.sum((-1, -2))) & (own & covered).flatten(1).any(1)
    is_thing = (labels[:, None] == torch.tensor([_signed(name) for name in counted], dtype=torch.int64, device=logits.device)).any(1)
    segments = torch.stack([labels, (whole & is_thing).cumsum(0) * (whole & is_thing)], -1)
    shown = (own & covered & whole[:, None, None]).any(0)
    return torch.where(shown[..., None], segments[winner], nothing)
