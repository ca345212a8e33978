"""Boxes, sets of boxes and masks, and panoptic maps."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from lossbook import boxes, panoptic, sets
from tests.public.kinds import (
    MODERATE,
    REDUCTIONS,
    UNIT,
    Arguments,
    Bad,
    Spec,
    always,
    array,
    choice,
    flag,
    floats,
    labels,
    log_softmax,
    number,
    tensor,
)

Array = np.ndarray[Any, np.dtype[np.float64]]
WHOLE = (np.int64, np.int32, np.int16, np.int8, np.uint8, np.uint16, np.uint32, np.uint64)
COORDINATES = st.floats(-8, 8, width=16) | st.sampled_from([0.0, 1.0, 100.0])


def corners(shape: tuple[int, ...]) -> st.SearchStrategy[Tensor]:
    """Boxes with x1 <= x2 and y1 <= y2; points and lines among them."""
    return floats((*shape, 2, 2), COORDINATES).map(lambda ends: torch.cat([ends.amin(-2), ends.amax(-2)], -1))


def centred(shape: tuple[int, ...]) -> st.SearchStrategy[Tensor]:
    return st.tuples(floats((*shape, 2), UNIT), floats((*shape, 2), UNIT)).map(lambda parts: torch.cat(parts, -1))


LEADING = st.sampled_from([(), (0,), (3,), (2, 2)])
PAIRS = LEADING.flatmap(lambda shape: st.fixed_dictionaries({"boxes_xyxy": corners(shape), "targets_xyxy": corners(shape), "reduction": REDUCTIONS}))
ALL_PAIRS = st.tuples(st.sampled_from([(), (2,)]), st.integers(0, 3), st.integers(0, 3)).flatmap(
    lambda t: st.fixed_dictionaries({"boxes_xyxy": corners((*t[0], t[1])), "targets_xyxy": corners((*t[0], t[2]))})
)


def ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else 0.0


def one_pair(kind: str, box: list[float], target: list[float]) -> float:
    """IoU and its repairs for one pair, in Python's floats."""
    (x1, y1, x2, y2), (u1, v1, u2, v2) = box, target
    shared = max(min(x2, u2) - max(x1, u1), 0.0) * max(min(y2, v2) - max(y1, v1), 0.0)
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared
    width, height = max(x2, u2) - min(x1, u1), max(y2, v2) - min(y1, v1)
    iou = ratio(shared, union)
    if kind == "iou":
        return iou
    if kind == "giou":
        return iou - ratio(width * height - union, width * height)
    diou = iou - ratio(((x1 + x2 - u1 - u2) / 2) ** 2 + ((y1 + y2 - v1 - v2) / 2) ** 2, width**2 + height**2)
    if kind == "diou":
        return diou

    def angle(w: float, h: float) -> float:
        return math.pi / 4 if w == h == 0 else math.atan2(w, h)

    v = 4 / math.pi**2 * (angle(u2 - u1, v2 - v1) - angle(x2 - x1, y2 - y1)) ** 2
    return diou - ratio(v * v, 1 - iou + v)


def paired(kind: str) -> Any:
    def reference(*, boxes_xyxy: Tensor, targets_xyxy: Tensor) -> Array:
        rows = zip(boxes_xyxy.reshape(-1, 4).tolist(), targets_xyxy.reshape(-1, 4).tolist(), strict=True)
        return np.array([1 - one_pair(kind, box, target) for box, target in rows]).reshape(boxes_xyxy.shape[:-1])

    return reference


def crossed(kind: str) -> Any:
    def reference(*, boxes_xyxy: Tensor, targets_xyxy: Tensor) -> Array:
        q, n = boxes_xyxy.shape[-2], targets_xyxy.shape[-2]
        images = zip(boxes_xyxy.reshape(-1, q, 4).tolist(), targets_xyxy.reshape(-1, n, 4).tolist(), strict=True) if q and n else ()
        found = [one_pair(kind, box, target) for image, others in images for box in image for target in others]
        return np.array(found).reshape(*boxes_xyxy.shape[:-1], n)

    return reference


def crossed_boxes(value: Tensor) -> Any:
    """A box must have its corners in order."""
    yield from tensor(shaped=False)(value)
    if value.numel():
        yield Bad("corners the wrong way round", torch.stack([value[..., 2] + 1, value[..., 3], value[..., 0], value[..., 1]], -1), ValueError)
    yield Bad("three coordinates", value[..., :3], ValueError)
    yield Bad("a scalar", value.new_zeros(()), ValueError)


def converted(value: Tensor) -> Any:
    yield from tensor(shaped=False)(value)
    yield Bad("three coordinates", value[..., :3], ValueError)
    yield Bad("a scalar", value.new_zeros(()), ValueError)


def centre_reference(*, boxes_xyxy: Tensor) -> Array:
    b = array(boxes_xyxy)
    return np.stack([(b[..., 0] + b[..., 2]) / 2, (b[..., 1] + b[..., 3]) / 2, b[..., 2] - b[..., 0], b[..., 3] - b[..., 1]], -1)


def corner_reference(*, boxes_cxcywh: Tensor) -> Array:
    x, y, w, h = np.moveaxis(array(boxes_cxcywh), -1, 0)
    return np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)


# --- matching ------------------------------------------------------------------------------------------------------------------------------------


def cheapest(cost: Array) -> float:
    """The least sum over all assignments, by trying them all."""
    if cost.shape[0] > cost.shape[1]:
        cost = cost.T
    rows = range(cost.shape[0])
    return min(sum(cost[row, column] for row, column in zip(rows, order, strict=True)) for order in permutations(range(cost.shape[1]), len(rows)))


def match_check(result: sets.Match, *, cost: Tensor) -> None:
    assert len(result.queries) == len(result.targets) == min(cost.shape)
    assert len(set(result.queries.tolist())) == len(set(result.targets.tolist())) == min(cost.shape)
    paid = float(cost.double()[result.queries, result.targets].sum())
    assert abs(paid - cheapest(array(cost))) <= 1e-9 * (1 + abs(paid))


def match_batch_check(result: list[sets.Match], *, costs: Tensor, sizes: list[int]) -> None:
    assert len(result) == len(costs)
    for found, cost, size in zip(result, costs, sizes, strict=True):
        match_check(found, cost=cost[:, :size])


def sizes_kind(value: list[int]) -> Any:
    yield Bad("another number", [*value, 0], ValueError)
    yield Bad("a size below 0", [-1, *value[1:]], ValueError)
    yield Bad("a size too large", [99, *value[1:]], ValueError)


COSTS = st.tuples(st.integers(0, 3), st.integers(0, 3)).flatmap(lambda shape: st.fixed_dictionaries({"cost": floats(shape, MODERATE)}))
BATCHES = st.tuples(st.integers(1, 2), st.integers(0, 3), st.integers(0, 3)).flatmap(
    lambda t: st.fixed_dictionaries({"costs": floats(t, MODERATE), "sizes": st.lists(st.integers(0, t[2]), min_size=t[0], max_size=t[0])})
)


# --- set losses ----------------------------------------------------------------------------------------------------------------------------------


# Losses of two classes, and what the reference needs to know of each: weights of the classes, and γ where they are a yes or a no.
BOX_LOSSES = {
    "softmax": sets.BoxSetLoss(2),
    "weighted": sets.BoxSetLoss(2, class_weights=[0.5, 2.0], layer_weights=[3.0]),
    "focal": sets.BoxSetLoss(2, class_loss="focal", focal_gamma=1.5),
    "varifocal": sets.BoxSetLoss(2, class_loss="varifocal", class_weights=[0.5, 2.0], class_cost=2.0),
}
MASK_LOSSES = {
    "softmax": sets.MaskSetLoss(2, class_weight=1.0, mask_weight=20.0, dice_weight=1.0),
    "weighted": sets.MaskSetLoss(2, class_weights=[0.5, 2.0], layer_weights=[3.0]),
}


def box_set_loss(*, logits: Tensor, boxes_cxcywh: Tensor, targets: Any, kind: str, matches: Any = None) -> sets.SetLoss:
    return BOX_LOSSES[kind](logits, boxes_cxcywh, targets, matches=matches)


def mask_set_loss(*, logits: Tensor, mask_logits: Tensor, targets: Any, kind: str = "softmax", matches: Any = None) -> sets.SetLoss:
    return MASK_LOSSES[kind](logits, mask_logits, targets, matches=matches)


@st.composite
def set_matches(draw: st.DrawFn, queries: int, sizes: list[int]) -> list[sets.Match] | None:
    """None, or for each image some queries, each with any target."""
    if draw(st.booleans()):
        return None
    found = []
    for size in sizes:
        chosen = draw(st.lists(st.integers(0, queries - 1), unique=True)) if size else []
        found.append(sets.Match(torch.tensor(chosen, dtype=torch.int64), draw(labels((len(chosen),), max(size, 1), WHOLE))))
    return found


@st.composite
def box_sets(draw: st.DrawFn) -> Arguments:
    """Predictions of a few queries and the objects of a few images: none, some, or more than queries."""
    batch, queries, kind = draw(st.integers(0, 2)), draw(st.integers(1, 3)), draw(st.sampled_from(list(BOX_LOSSES)))
    sizes = [draw(st.integers(0, 3)) for _ in range(batch)]
    return {
        "logits": draw(floats((batch, queries, 2 if "focal" in kind else 3), MODERATE)),
        "boxes_cxcywh": draw(centred((batch, queries))),
        "targets": [sets.BoxTargets(draw(labels((n,), 2, WHOLE)), draw(centred((n,)))) for n in sizes],
        "matches": draw(set_matches(queries, sizes)),
        "kind": kind,
    }


@st.composite
def mask_sets(draw: st.DrawFn) -> Arguments:
    batch, queries = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    sizes = [draw(st.integers(0, 3)) for _ in range(batch)]
    return {
        "logits": draw(floats((batch, queries, 3), MODERATE)),
        "mask_logits": draw(floats((batch, queries, 2, 3), MODERATE)),
        "targets": [sets.MaskTargets(draw(labels((n,), 2, WHOLE)), draw(labels((n, 2, 3), 2, WHOLE))) for n in sizes],
        "matches": draw(set_matches(queries, sizes)),
        "kind": draw(st.sampled_from(list(MASK_LOSSES))),
    }


def distinct_masks() -> Arguments:
    """No two objects alike, and no query as near to two of them: rounding decides no matching."""
    generator = torch.Generator().manual_seed(0)
    masks = [torch.rand(n, 2, 3, generator=generator) > 0.5 for n in (2, 3, 0)]
    return {
        "logits": torch.randn(3, 2, 3, generator=generator, dtype=torch.float64),
        "mask_logits": 2 * torch.randn(3, 2, 2, 3, generator=generator, dtype=torch.float64),
        "targets": [sets.MaskTargets(torch.arange(len(mask)) % 2, mask.long()) for mask in masks],
    }


def set_reference(arguments: Arguments, pair: Any, criterion: Any) -> float:
    """Every image's assignments tried out; `pair(image, query, target)` gives the two costs beside the class, the two losses, and the overlap."""
    logits, targets, given = array(arguments["logits"]), arguments["targets"], arguments.get("matches")
    weights, class_cost = np.array(list(criterion.weights.values())), getattr(criterion, "costs", criterion.weights)["class"]
    kind, by_class = getattr(criterion, "class_loss", "softmax"), [1.0, 1.0] if criterion.class_weights is None else criterion.class_weights
    batch, queries, columns = logits.shape
    gains = np.exp(log_softmax(logits, 2)) if kind == "softmax" else _focal(logits, 0.75, 2.0, 0) - _focal(logits, 0.25, 2.0, 1)
    number = max(sum(len(target.labels) for target in targets) if given is None else sum(len(each.queries) for each in given), 1)
    truth, quality, extra = np.full((batch, queries), 2), np.zeros((batch, queries)), 0.0
    for image, target in enumerate(targets):
        ids = target.labels.tolist()
        cost = np.array(
            [[-class_cost * gains[image, q, ids[n]] + weights[1:] @ pair(image, q, n)[0] for n in range(len(ids))] for q in range(queries)]
        )
        best = _best(cost.reshape(queries, len(ids))) if given is None else list(zip(*(side.tolist() for side in given[image]), strict=True))
        for q, n in best:
            truth[image, q], quality[image, q] = ids[n], pair(image, q, n)[2]
            extra += weights[1:] @ pair(image, q, n)[1] / number
    if kind == "softmax":
        weight = np.array([*by_class, 0.1])[truth]
        paid = -(weight * np.take_along_axis(log_softmax(logits, 2), truth[..., None], 2)[..., 0]).sum() / (weight.sum() or 1.0)
    else:
        yes, q, gamma, alpha = truth[..., None] == np.arange(columns), quality[..., None], criterion.focal_gamma, criterion.focal_alpha
        if kind == "focal":
            losses = np.where(yes, _focal(logits, alpha, gamma, 1), _focal(logits, 1 - alpha, gamma, 0))
        else:
            losses = np.where(yes, q * (q * _focal(logits, 1.0, 0.0, 1) + (1 - q) * _focal(logits, 1.0, 0.0, 0)), _focal(logits, alpha, gamma, 0))
        paid = (losses * by_class).sum() / number
    return (criterion.layer_weights or [1.0])[0] * float(weights[0] * paid + extra)


def _focal(logits: Array, alpha: float, gamma: float, answer: int) -> Array:
    """α (1 − p_t)^γ · −ln p_t, where p_t = p for the answer 1."""
    signed: Array = np.where(answer, logits, -logits)
    found: Array = alpha * np.exp(-gamma * np.logaddexp(0, signed)) * np.logaddexp(0, -signed)
    return found


def _best(cost: Array) -> list[tuple[int, int]]:
    rows, columns = cost.shape
    if rows <= columns:
        options = [list(zip(range(rows), order, strict=True)) for order in permutations(range(columns), rows)]
    else:
        options = [list(zip(order, range(columns), strict=True)) for order in permutations(range(rows), columns)]
    return min(options, key=lambda pairs: sum(cost[pair] for pair in pairs))


def box_set_check(result: sets.SetLoss, **arguments: Any) -> None:
    predicted, targets = array(arguments["boxes_cxcywh"]), arguments["targets"]

    def pair(image: int, q: int, n: int) -> tuple[tuple[float, float], tuple[float, float], float]:
        box, target = predicted[image, q], array(targets[image].boxes_cxcywh)[n]
        corners = [corner_reference(boxes_cxcywh=torch.from_numpy(side.copy())).tolist() for side in (box, target)]
        giou, distance = one_pair("giou", *corners), float(np.abs(box - target).sum())
        return (distance, -giou), (distance, 1 - giou), one_pair("iou", *corners)

    expected = set_reference(arguments, pair, BOX_LOSSES[arguments["kind"]])
    assert abs(float(result.total.detach()) - expected) <= 1e-5 * (1 + abs(expected))
    assert set(result.parts) == {"class", "l1", "giou"}


def mask_set_check(result: sets.SetLoss, **arguments: Any) -> None:
    predicted, targets = array(arguments["mask_logits"]), arguments["targets"]

    def pair(image: int, q: int, n: int) -> tuple[tuple[float, float], tuple[float, float], float]:
        x, t = predicted[image, q], array(targets[image].masks)[n]
        p = np.exp(-np.logaddexp(0, -x))
        focal = 0.25 * (1 - p) ** 2 * t * np.logaddexp(0, -x) + 0.75 * p**2 * (1 - t) * np.logaddexp(0, x)
        dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        both = float(focal.mean()), float(dice)
        return both, both, 0.0

    expected = set_reference(arguments, pair, MASK_LOSSES[arguments["kind"]])
    assert abs(float(result.total.detach()) - expected) <= 1e-4 * (1 + abs(expected))
    assert set(result.parts) == {"class", "mask", "dice"}


def targets_kind(name: str) -> Any:
    def bad(value: list[Any]) -> Any:
        yield Bad("an image more", [*value, value[0] if value else None], ValueError)
        if value:
            first = value[0]
            yield Bad("no labels", [{name: getattr(first, name)}, *value[1:]], TypeError)
            yield Bad("a number", [3, *value[1:]], TypeError)
            yield Bad("lists", [{"labels": [0], name: getattr(first, name)}, *value[1:]], TypeError)
            yield Bad("a label more", [first._replace(labels=torch.zeros(len(first.labels) + 1, dtype=torch.int64)), *value[1:]], ValueError)
            if len(first.labels):
                yield Bad("a class too high", [first._replace(labels=torch.full_like(first.labels, 2)), *value[1:]], ValueError)

    return bad


def pairwise_mask_reference(*, mask_logits: Tensor, masks: Tensor, kind: str) -> tuple[Array, Array]:
    x, t = array(mask_logits)[:, None], array(masks)[None]
    x, t = (part.reshape(*part.shape[:2], math.prod(part.shape[2:])) for part in (x, t))
    p = np.exp(-np.logaddexp(0, -x))
    one, zero = np.logaddexp(0, -x), np.logaddexp(0, x)
    if kind == "focal":
        one, zero = 0.25 * (1 - p) ** 2 * one, 0.75 * p**2 * zero
    dice = 1 - (2 * (p * t).sum(-1) + 1) / (p.sum(-1) + t.sum(-1) + 1)
    return (t * one + (1 - t) * zero).mean(-1), dice


def dice_reference(*, mask_logits: Tensor, masks: Tensor) -> Array:
    x, t = (array(value).reshape(len(value), math.prod(value.shape[1:])) for value in (mask_logits, masks))
    p = np.exp(-np.logaddexp(0, -x))
    found: Array = 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
    return found


MASKS = st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from([(4,), (2, 3)])).flatmap(
    lambda t: st.fixed_dictionaries(
        {"mask_logits": floats((t[0], *t[2])), "masks": floats((t[1], *t[2]), UNIT), "kind": st.sampled_from(["focal", "cross_entropy"])}
    )
)
DICE = st.tuples(st.integers(0, 3), st.sampled_from([(4,), (2, 3)])).flatmap(
    lambda t: st.fixed_dictionaries({"mask_logits": floats((t[0], *t[1])), "masks": floats((t[0], *t[1]), UNIT), "reduction": REDUCTIONS})
)


# --- panoptic ------------------------------------------------------------------------------------------------------------------------------------


@st.composite
def maps(draw: st.DrawFn) -> Arguments:
    """Two small maps of things 7 and 8, stuff 1 and 2, and void 0; or two volumes."""
    volumes = draw(st.booleans())
    shape = (draw(st.integers(0, 3)), draw(st.integers(1, 4)), *([2] if volumes else []))

    def one() -> Tensor:
        ids = torch.tensor([0, 1, 2, 7, 8])[draw(labels(shape, 5, (np.int64,)))]
        return torch.stack([ids, draw(labels(shape, 3, (np.int64,)))], -1)

    return {"prediction": one(), "truth": one(), "things": [7, 8], "stuff": [1, 2], "void": 0, "volumes": volumes}


def segments(panoptic_map: Tensor) -> dict[tuple[int, int], set[int]]:
    found: dict[tuple[int, int], set[int]] = {}
    for place, (name, instance) in enumerate(panoptic_map.reshape(-1, 2).tolist()):
        found.setdefault((name, instance if name >= 7 else 0), set()).add(place)
    return found


def counts_reference(*, prediction: Tensor, truth: Tensor, things: list[int], stuff: list[int], void: int, volumes: bool) -> Array:
    """With sets of pixels: void leaves the union, and excuses a prediction that is more than half void."""
    predicted, true = segments(prediction), segments(truth)
    nothing = true.get((void, 0), set())
    table = {name: [0.0, 0, 0, 0] for name in (*things, *stuff)}
    matched: set[Any] = set()
    for (name, _), pixels in true.items():
        hits = [
            (key, len(pixels & others) / len((pixels | others) - (nothing & others)))
            for key, others in predicted.items()
            if key[0] == name != void and pixels & others
        ]
        hits = [(key, iou) for key, iou in hits if iou > 0.5]
        for key, iou in hits:
            table[name][0] += iou
            table[name][1] += 1
            matched.add(key)
        if not hits and name != void:
            table[name][3] += 1
    for (name, instance), pixels in predicted.items():
        if name != void and (name, instance) not in matched and len(pixels & nothing) <= len(pixels) / 2:
            table[name][2] += 1
    return np.array(list(table.values()))


def quality_check(result: panoptic.PanopticQuality, **arguments: Any) -> None:
    counts = counts_reference(**arguments)
    present = counts[counts[:, 1:].sum(1) > 0]
    quality = (present[:, 0] / (present[:, 1] + present[:, 2] / 2 + present[:, 3] / 2)).mean() if len(present) else 0.0
    assert abs(result.pq - quality) < 1e-12


def map_check(result: Tensor, *, logits: Tensor, mask_logits: Tensor, things: list[int], void: int) -> None:
    """Pixel by pixel: where a query shows, it is sure, wins there, and holds the pixel."""
    probs = torch.softmax(logits.double(), -1)
    scores, names = probs.max(-1)
    assert result.shape == (*mask_logits.shape[1:], 2)
    assert set(result[..., 0].unique().tolist()) <= {void, *range(logits.shape[1] - 1)}
    assert bool((result[..., 1][result[..., 0] == void] == 0).all())
    shown = {name for name in result[..., 0].unique().tolist() if name != void}
    sure = {int(name) for name, score in zip(names, scores, strict=True) if float(score) > 0.8 - 1e-2}
    assert shown <= sure
    assert bool((result[..., 1][torch.isin(result[..., 0], torch.tensor(things))] > 0).all())


def nothing_paired(arguments: Arguments) -> bool:
    given = arguments["matches"]
    return not any(len(target.labels) for target in arguments["targets"]) if given is None else not any(len(each.queries) for each in given)


def matches_kind(value: list[sets.Match] | None) -> Any:
    yield Bad("a number", 3, TypeError)
    yield Bad("an image more", [*(value or []), sets.Match(torch.tensor([0]), torch.tensor([0]))] * 5, ValueError)
    if value:
        yield Bad("a matching alone", [value[0].queries, *value[1:]], TypeError)
        yield Bad("lists", [([0], [0]), *value[1:]], TypeError)
        yield Bad("floats", [(value[0].queries.double(), value[0].targets), *value[1:]], TypeError)
        yield Bad("a query more", [(torch.cat([value[0].queries, torch.tensor([0])]), value[0].targets), *value[1:]], ValueError)
        yield Bad("no such query", [sets.Match(torch.tensor([3]), torch.tensor([0])), *value[1:]], ValueError)
        yield Bad("no such target", [sets.Match(torch.tensor([0]), torch.tensor([3])), *value[1:]], ValueError)


def in_pixels(value: list[Any]) -> Any:
    yield from targets_kind("boxes_cxcywh")(value)
    if value and len(value[0].labels):
        yield Bad("boxes in pixels", [value[0]._replace(boxes_cxcywh=value[0].boxes_cxcywh + 600), *value[1:]], ValueError)


CLASSES = {"volumes": flag, "things": lambda value: iter([Bad("a class twice", [*value, 1], ValueError)])}
MAP = tensor(floating=False, shaped=False)


def panoptic_kind(value: Tensor) -> Any:
    yield from MAP(value)
    yield Bad("no instances", value[..., 0], ValueError)
    yield Bad("another size", value[:, :-1] if value.shape[1] > 1 else torch.cat([value, value], 1), ValueError)
    if value.numel():
        yield Bad("a class of nobody", torch.full_like(value, 99), ValueError)


QUERIES = st.tuples(st.integers(0, 3), st.integers(1, 3)).flatmap(
    lambda t: st.fixed_dictionaries(
        {"logits": floats((t[0], 3), MODERATE), "mask_logits": floats((t[0], t[1], 2), MODERATE), "things": st.just([1]), "void": st.just(255)}
    )
)

LOSSES = {kind: getattr(boxes, f"{kind}_loss") for kind in ("iou", "giou", "diou", "ciou")}

SPECS = [
    *(
        Spec(
            f"boxes.{kind}_loss",
            loss,
            PAIRS,
            {"boxes_xyxy": crossed_boxes, "targets_xyxy": crossed_boxes, "reduction": choice},
            reference=paired(kind),
            reduces=True,
        )
        for kind, loss in LOSSES.items()
    ),
    *(
        Spec(
            f"boxes.pairwise_{kind}",
            getattr(boxes, f"pairwise_{kind}"),
            ALL_PAIRS,
            {"boxes_xyxy": crossed_boxes, "targets_xyxy": crossed_boxes},
            reference=crossed(kind),
        )
        for kind in ("iou", "giou")
    ),
    Spec(
        "boxes.to_cxcywh",
        boxes.to_cxcywh,
        LEADING.flatmap(lambda shape: st.fixed_dictionaries({"boxes_xyxy": corners(shape)})),
        {"boxes_xyxy": converted},
        reference=centre_reference,
    ),
    Spec(
        "boxes.to_xyxy",
        boxes.to_xyxy,
        LEADING.flatmap(lambda shape: st.fixed_dictionaries({"boxes_cxcywh": centred(shape)})),
        {"boxes_cxcywh": converted},
        reference=corner_reference,
    ),
    Spec("sets.match", sets.match, COSTS, {"cost": tensor(finite=True, sized=False)}, check=match_check),
    Spec(
        "sets.match_batch", sets.match_batch, BATCHES, {"costs": tensor(), "sizes": sizes_kind}, check=match_batch_check, hides_nan={"costs": always}
    ),
    Spec(
        "sets.dice_loss",
        sets.dice_loss,
        DICE,
        {"mask_logits": tensor(), "masks": tensor(floating=None, low=0, high=1), "reduction": choice},
        reference=dice_reference,
        reduces=True,
    ),
    Spec(
        "sets.pairwise_mask_costs",
        lambda **arguments: tuple(sets.pairwise_mask_costs(**arguments)),
        MASKS,
        {"mask_logits": tensor(sized=False), "masks": tensor(floating=None, low=0, high=1, sized=False), "kind": choice},
        reference=pairwise_mask_reference,
    ),
    Spec(
        "sets.BoxSetLoss.forward",
        box_set_loss,
        box_sets(),
        {"logits": tensor(), "boxes_cxcywh": tensor(), "targets": in_pixels, "matches": matches_kind},
        check=box_set_check,
        hides_nan={"boxes_cxcywh": nothing_paired},  # no box is looked at
    ),
    Spec(
        "sets.MaskSetLoss.forward",
        mask_set_loss,
        mask_sets(),
        {"logits": tensor(), "mask_logits": tensor(), "targets": targets_kind("masks"), "matches": matches_kind},
        check=mask_set_check,
        hides_nan={"mask_logits": nothing_paired},
    ),
    Spec(
        "panoptic.panoptic_counts",
        panoptic.panoptic_counts,
        maps(),
        {"prediction": panoptic_kind, "truth": panoptic_kind, **CLASSES},
        reference=counts_reference,
    ),
    Spec(
        "panoptic.panoptic_quality",
        panoptic.panoptic_quality,
        maps(),
        {"prediction": panoptic_kind, "truth": panoptic_kind, **CLASSES},
        check=quality_check,
    ),
    Spec(
        "panoptic.quality_of_counts",
        lambda counts, classes: panoptic.quality_of_counts(counts, classes=classes).pq,
        st.fixed_dictionaries({"counts": floats((1, 4), st.integers(1, 9).map(float)), "classes": st.just([7])}),
        {"counts": tensor(floating=None), "classes": lambda value: iter([Bad("a class more", [*value, 8], ValueError)])},
        reference=lambda counts, classes: array(counts)[0, 0] / (array(counts)[0, 1:] @ [1, 0.5, 0.5]),
    ),
    Spec(
        "panoptic.panoptic_map",
        panoptic.panoptic_map,
        QUERIES,
        {"logits": tensor(), "mask_logits": tensor(), "min_score": number(0, 1), "min_overlap": number(0, 1)},
        check=map_check,
        hides_nan={"logits": always, "mask_logits": always},
    ),
]
