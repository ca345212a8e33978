"""Losses of overlap: masks of the shape of the logits, or class ids of it without the class axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from lossbook import overlap
from tests.public.kinds import REDUCTIONS, UNIT, Arguments, Bad, Spec, array, choice, floats, labels, number, tensor

Array = np.ndarray[Any, np.dtype[np.float64]]
PIXELS = st.sampled_from([(1,), (4,), (2, 3)])
OPTIONS: dict[str, st.SearchStrategy[Any]] = {"classes": st.sampled_from(["present", "all"]), "batch": st.booleans(), "reduction": REDUCTIONS}


def in_general_position(shape: tuple[int, ...]) -> st.SearchStrategy[Tensor]:
    """No two errors that rounding could put in another order, and no soft mask met but for rounding: that would choose another subgradient.

    Some logits are ±1e4, where σ is 0 or 1 in every dtype, so that ties are the same ties.
    """

    def build(seed: int, scale: float) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        drawn = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        return torch.where(torch.rand(shape, generator=generator) < 0.2, 1e4 * drawn.sign(), drawn)

    return st.builds(build, st.integers(0, 999), st.sampled_from([1.0, 4.0]))


def ignoring(targets: Tensor, where: Tensor, index: int | None) -> Tensor:
    """Some targets replaced by the index that says so."""
    if index is None:
        return targets
    wide = targets if targets.dtype.is_floating_point else targets.long() if index < 0 or targets.dtype == torch.bool else targets
    return torch.where(where, torch.tensor(index, dtype=wide.dtype), wide)


def calls(*, hard: bool, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Arguments]:
    """Masks or class ids, some of them ignored."""

    def draw(size: tuple[int, int, tuple[int, ...], str]) -> st.SearchStrategy[Arguments]:
        images, count, pixels, kind = size
        shape = (images, count, *pixels) if kind == "multiclass" else (images, *pixels)
        bits = hnp.arrays(np.int64, shape, elements=st.integers(0, 1)).map(torch.from_numpy)
        masks = st.sampled_from([torch.int64, torch.uint8, torch.bool, torch.float64]).flatmap(lambda dtype: bits.map(lambda t: t.to(dtype)))
        truth = labels((images, *pixels), count) if kind == "multiclass" else masks if hard else masks | floats(shape, UNIT)
        ignored = hnp.arrays(np.bool_, (images, *pixels)).map(torch.from_numpy)

        def whole(drawn: Arguments) -> Arguments:
            where = drawn.pop("where")
            return {**drawn, "targets": ignoring(drawn["targets"], where, drawn["ignore_index"]), "kind": kind}

        weight = st.none() | floats((count,), UNIT) if kind == "multiclass" else st.none()
        parts = {
            "logits": in_general_position(shape),
            "targets": truth,
            "where": ignored,
            "weight": weight,
            "ignore_index": st.sampled_from([None, 255, -1]),
        }
        return st.fixed_dictionaries({**parts, **OPTIONS, **more}).map(whole)

    return st.tuples(st.integers(0, 3), st.integers(1, 4), PIXELS, st.sampled_from(["binary", "multiclass"])).flatmap(draw)


def targets_kind(value: Tensor) -> Iterator[Bad]:
    """Masks or class ids; 7 is neither."""
    yield Bad("a list", value.tolist(), TypeError)
    yield Bad("an array", value.double().numpy(), TypeError)
    yield Bad("complex numbers", value.to(torch.complex64), TypeError)
    yield Bad("an axis more", value[..., None], ValueError)
    yield Bad("one element more", torch.cat([value, value.new_ones(1, *value.shape[1:])]), ValueError)
    for label, element in (("too high a value", 7), ("too low a value", -3)):
        if value.numel():
            changed = (value if value.dtype.is_floating_point else value.long()).clone()
            changed.view(-1)[-1] = element
            yield Bad(label, changed, ValueError)


def index_kind(value: int | None) -> Iterator[Bad]:
    yield Bad("a fraction", 0.5, TypeError)
    yield Bad("a truth value", True, TypeError)


def flag_kind(value: bool) -> Iterator[Bad]:
    yield Bad("a number", 1, TypeError)


def images_of(logits: Tensor, targets: Tensor, kind: str, ignore_index: int | None, batch: bool) -> list[list[tuple[Array, Array]]]:
    """Of each image, or of the whole batch, the scores and the truth of each mask or class at the pixels that are not ignored."""
    scores, truth = array(logits), array(targets)
    if kind == "binary":
        scores, truth_by_region = scores[:, None], truth[:, None]
    else:
        truth_by_region = np.stack([truth == k for k in range(scores.shape[1])], 1).astype(np.float64)
        shifted = np.exp(scores - scores.max(1, keepdims=True))
        scores = shifted / shifted.sum(1, keepdims=True)
    kept = np.ones(truth.shape, dtype=bool) if ignore_index is None else truth != ignore_index
    groups = [slice(None)] if batch else [slice(n, n + 1) for n in range(len(truth))]
    regions = range(scores.shape[1])
    return [[(scores[group, k][kept[group]], truth_by_region[group, k][kept[group]]) for k in regions] for group in groups]


def reduced(
    losses: list[list[float]], images: list[list[tuple[Array, Array]]], weight: Tensor | None, kind: str, classes: str, reduction: str
) -> Any:
    """Weights in words: nothing for an image that has no pixel left, nor for a class that is not there."""
    weights = [
        [
            float(truth.size > 0 and (kind == "binary" or classes == "all" or truth.any())) * (1.0 if weight is None else float(weight[k]))
            for k, (_, truth) in enumerate(regions)
        ]
        for regions in images
    ]
    pairs = list(zip(losses, weights, strict=True))
    terms = [[loss * w for loss, w in zip(*pair, strict=True)] for pair in pairs]
    if reduction == "sum":
        return sum(map(sum, terms))
    if reduction == "mean" and kind == "multiclass":
        means = [sum(row) / sum(w) for row, (_, w) in zip(terms, pairs, strict=True) if sum(w) > 0]
        return sum(means) / len(means) if means else 0.0
    if reduction == "mean":
        return sum(map(sum, terms)) / max(sum(map(sum, weights)), 1)
    return terms


def overlap_reference(right: Any, wrong: Any, binary_score: Any = None) -> Any:
    """1 − right / (right + wrong), from functions of probabilities and truth; or a loss of scores and truth."""

    def reference(
        *, logits: Tensor, targets: Tensor, kind: str, weight: Any, ignore_index: Any, classes: str, batch: bool, reduction: str, **own: Any
    ) -> Any:
        images = images_of(logits, targets, kind, ignore_index, batch)

        def one(scores: Array, truth: Array) -> float:
            probs = np.exp(-np.logaddexp(0, -scores)) if kind == "binary" else scores
            over, under = right(probs, truth, **own), wrong(probs, truth, **own)
            return 1 - over / (over + under) if over + under > 0 else 0.0

        loss = one if binary_score is None else lambda scores, truth: binary_score(scores, truth, kind)
        found = reduced([[loss(*region) for region in regions] for regions in images], images, weight, kind, classes, reduction)
        if reduction != "none":
            return found
        result = np.array(found, dtype=np.float64).reshape(len(images), logits.shape[1] if kind == "multiclass" else 1)
        result = result if kind == "multiclass" else result[:, 0]
        return result[0] if batch else result

    return reference


def shared(p: Array, t: Array) -> float:
    return float(np.minimum(p, t).sum())


def tversky_wrong(p: Array, t: Array, *, alpha: float, beta: float, smooth: float) -> float:
    return alpha * (float(p.sum()) - shared(p, t)) + beta * (float(t.sum()) - shared(p, t))


def lovasz_plain(scores: Array, truth: Array, kind: str) -> float:
    """Berman's algorithm 1: the differences of the Jaccard loss down the sorted errors."""
    if not truth.size:
        return 0.0
    errors = np.maximum(0, 1 - scores * (2 * truth - 1)) if kind == "binary" else np.abs(truth - scores)
    order = np.argsort(-errors, kind="stable")
    found = truth[order]
    intersection = truth.sum() - found.cumsum()
    union = truth.sum() + (1 - found).cumsum()
    return float(errors[order] @ np.diff(1 - intersection / union, prepend=0.0))


def may_leave_out(arguments: Arguments) -> bool:
    return arguments["ignore_index"] is not None or arguments["weight"] is not None


SMOOTH = st.sampled_from([0.0, 0.5, 1.0])
LOGITS = tensor()
BAD = {
    "logits": LOGITS,
    "targets": targets_kind,
    "kind": choice,
    "weight": tensor(floating=None, low=0, finite=True),
    "ignore_index": index_kind,
    "classes": choice,
    "batch": flag_kind,
    "reduction": choice,
}
SPECS = [
    Spec(
        "overlap.dice_loss",
        overlap.dice_loss,
        calls(hard=False, smooth=SMOOTH),
        {**BAD, "smooth": number(0)},
        reference=overlap_reference(lambda p, t, smooth: 2 * shared(p, t) + smooth, lambda p, t, smooth: float(np.abs(p - t).sum())),
        hides_nan={"logits": may_leave_out},
    ),
    Spec(
        "overlap.jaccard_loss",
        overlap.jaccard_loss,
        calls(hard=False, smooth=SMOOTH),
        {**BAD, "smooth": number(0)},
        reference=overlap_reference(lambda p, t, smooth: shared(p, t) + smooth, lambda p, t, smooth: float(np.abs(p - t).sum())),
        hides_nan={"logits": may_leave_out},
    ),
    Spec(
        "overlap.tversky_loss",
        overlap.tversky_loss,
        calls(hard=False, smooth=SMOOTH, alpha=st.sampled_from([0.0, 0.25, 1.0]), beta=st.sampled_from([0.0, 0.75, 2.0])),
        {**BAD, "smooth": number(0), "alpha": number(0), "beta": number(0)},
        reference=overlap_reference(lambda p, t, alpha, beta, smooth: shared(p, t) + smooth, tversky_wrong),
        hides_nan={"logits": may_leave_out},
    ),
    Spec(
        "overlap.lovasz_loss",
        overlap.lovasz_loss,
        calls(hard=True),
        BAD,
        reference=overlap_reference(None, None, lovasz_plain),
        hides_nan={"logits": may_leave_out},
    ),
]
