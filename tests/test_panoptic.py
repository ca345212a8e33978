"""Panoptic quality against sets of pixels in plain Python, against torchmetrics, and the theorem that makes its matching unique."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossbook import panoptic
from lossbook.panoptic import _runs

THINGS, STUFF, VOID = [3, 11], [0, 7], 255


def blocks(generator: torch.Generator, *, size: int = 24, cell: int = 4, instances: int = 5, void: bool = True) -> Tensor:
    """A random map [size, size, 2] made of square cells; the same (class, instance) may occur in several of them."""
    shape = (-(-size // cell), -(-size // cell))
    classes = torch.tensor([*THINGS, *STUFF, *([VOID] if void else [])])
    coarse = torch.stack([classes[torch.randint(len(classes), shape, generator=generator)], torch.randint(instances, shape, generator=generator)], -1)
    return coarse.repeat_interleave(cell, 0).repeat_interleave(cell, 1)[:size, :size].contiguous()


def nearby(truth: Tensor, generator: torch.Generator) -> Tensor:
    """The truth with a quarter of its pixels redrawn: some segments still match."""
    other, changed = blocks(generator, size=len(truth), cell=1), torch.rand(truth.shape[:2], generator=generator) < 0.25
    return torch.where(changed[..., None], other, truth)


def segment_sets(pixels: Tensor) -> dict[tuple[int, int], set[int]]:
    """(class, instance) -> its pixels; stuff and void have instance 0."""
    sets: dict[tuple[int, int], set[int]] = {}
    for place, (name, instance) in enumerate(pixels.reshape(-1, 2).tolist()):
        sets.setdefault((name, instance if name in THINGS else 0), set()).add(place)
    return sets


def plain_counts(prediction: Tensor, truth: Tensor, crowd: tuple[tuple[int, int], ...] = ()) -> dict[int, list[float]]:
    """Kirillov et al.'s rules on sets: summed IoU, TP, FP and FN of each class."""
    predicted, true = segment_sets(prediction), segment_sets(truth)
    void = true.pop((VOID, 0), set())
    predicted.pop((VOID, 0), None)
    crowds = {key: true.pop(key) for key in crowd if key in true}
    counts = {name: [0.0, 0, 0, 0] for name in [*THINGS, *STUFF]}
    matched = set()
    for key, pixels in true.items():
        matches = [(len(pixels & p) / len((pixels | p) - void), k) for k, p in predicted.items() if k[0] == key[0]]
        iou, best = max(matches, default=(0.0, None))
        if iou > 0.5:
            assert sum(iou > 0.5 for iou, _ in matches) == 1
            assert best not in matched  # unique on both sides: the theorem
            matched.add(best)
            counts[key[0]][0] += iou
            counts[key[0]][1] += 1
        else:
            counts[key[0]][3] += 1
    for key, pixels in predicted.items():
        excused = void.union(*(p for k, p in crowds.items() if k[0] == key[0]))
        counts[key[0]][2] += key not in matched and len(pixels & excused) / len(pixels) <= 0.5
    return counts


def assert_counts(prediction: Tensor, truth: Tensor, crowd: tuple[tuple[int, int], ...] = ()) -> None:
    found = panoptic.panoptic_counts(prediction, truth, things=THINGS, stuff=STUFF, void=VOID, crowd=crowd)
    expected = plain_counts(prediction, truth, crowd)
    torch.testing.assert_close(found, torch.tensor([expected[name] for name in [*THINGS, *STUFF]], dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", [1, 2, 5])
def test_counts_are_those_of_pixel_sets(cell: int, device: torch.device, generator: torch.Generator) -> None:
    """2 x 30 scenes a cell size: noise (cell 1) takes the path over all pixels, larger cells the path over runs."""
    matches = 0.0
    for _ in range(30):
        truth = blocks(generator, cell=cell)
        for prediction in (nearby(truth, generator), blocks(generator, cell=cell)):
            assert_counts(prediction.to(device), truth.to(device))
            matches += float(panoptic.panoptic_counts(prediction, truth, things=THINGS, stuff=STUFF, void=VOID)[:, 1].sum())
    assert matches > 100


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64], ids=str)
def test_pieces_tables_and_dtypes_change_nothing(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    """Maps larger than a piece, odd in size; then without tables, so that ids are sorted instead."""
    for size in (7, 61):
        monkeypatch.setattr(_runs, "_PIECE", 64)
        truth = blocks(generator, size=size, cell=9)
        prediction = torch.roll(truth, 2, dims=1)
        truth, prediction = truth.to(dtype), prediction.to(dtype)
        assert_counts(prediction, truth)
        assert_counts(prediction, truth.to(torch.int64))
        monkeypatch.setattr(_runs, "_TABLE", 0)
        assert_counts(prediction, truth)
        assert_counts(nearby(truth.to(torch.int64), generator), truth)
        monkeypatch.undo()


@pytest.mark.parametrize("narrow", [torch.uint8, torch.int16, torch.int32, torch.int64], ids=str)
def test_a_run_starts_where_either_map_changes(narrow: torch.dtype, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    """Against `itertools.groupby` over the pairs of pixels; the maps end inside a piece."""
    monkeypatch.setattr(_runs, "_PIECE", 64)
    for dtype in (narrow, torch.int64):
        first, second = blocks(generator, size=37, cell=12).to(narrow), blocks(generator, size=37, cell=9).to(dtype)
        pixels = zip(first.reshape(-1, 2).tolist(), second.reshape(-1, 2).tolist(), strict=True)
        expected = [(*pair, len(list(run))) for pair, run in itertools.groupby(pixels)]
        found = _runs._runs(first, second)
        assert [(*pair, length) for *pair, length in zip(*(column.tolist() for column in found), strict=True)] == expected


def test_large_instance_ids(generator: torch.Generator) -> None:
    truth = blocks(generator)
    truth[..., 1] *= 2**30 + 7
    assert_counts(nearby(truth, generator), truth)


def test_crowds_need_no_match_and_excuse_predictions(generator: torch.Generator) -> None:
    """At most one crowd a class, as in COCO, where panopticapi and the paper's words agree."""
    crowd = ((3, 0), (11, 2))
    for _ in range(60):
        truth = blocks(generator, cell=3, instances=3)
        assert_counts(nearby(truth, generator), truth, crowd)
        assert_counts(blocks(generator, cell=3), truth, crowd)


def test_torchmetrics_agrees_where_the_prediction_has_no_void(generator: torch.Generator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchmetrics.functional.detection import panoptic_quality

    for _ in range(6):
        truth = blocks(generator, cell=3)
        prediction = torch.where(truth[..., :1] == VOID, blocks(generator, void=False), nearby(truth, generator))
        prediction = torch.where(prediction[..., :1] == VOID, torch.tensor([0, 0]), prediction)
        ours = panoptic.panoptic_quality(prediction, truth, things=THINGS, stuff=STUFF, void=VOID)
        theirs = panoptic_quality(
            prediction[None],
            truth[None],
            things=THINGS,
            stuffs=STUFF,
            return_sq_and_rq=True,
            return_per_class=True,
            allow_unknown_preds_category=True,
        )
        for name, per_class in zip([3, 11, 0, 7], theirs.tolist(), strict=True):
            assert ours.by_class[name][:3] == pytest.approx(tuple(per_class), abs=1e-6)  # it divides in float32


def test_void_in_the_prediction_is_a_miss_here_and_forgiven_by_torchmetrics() -> None:
    truth = torch.tensor([[[0, 0]] * 10])
    prediction = torch.tensor([[[0, 0]] * 4 + [[VOID, 0]] * 6])
    found = panoptic.panoptic_quality(prediction, truth, things=THINGS, stuff=STUFF, void=VOID)
    assert found.by_class[0] == (0.0, 0.0, 0.0, 0.0, 0, 1, 1)  # IoU 4/10, so both segments stand alone
    assert found.pq == 0


def test_void_in_the_truth_leaves_the_union() -> None:
    truth = torch.tensor([[[0, 0]] * 4 + [[VOID, 0]] * 3 + [[3, 1]] * 3])
    prediction = torch.tensor([[[0, 0]] * 7 + [[VOID, 0]] * 3])
    found = panoptic.panoptic_quality(prediction, truth, things=THINGS, stuff=STUFF, void=VOID)
    assert found.by_class[0][:3] == (1.0, 1.0, 1.0)
    assert found.by_class[3].fn == 1
    assert found.pq == 0.5  # the mean over the two classes that occur


@pytest.mark.parametrize("iou_times_40", [20, 21])
def test_a_match_needs_more_than_one_half(iou_times_40: int) -> None:
    truth = torch.tensor([[[3, 1]] * 40])
    prediction = torch.tensor([[[3, 9]] * iou_times_40 + [[7, 0]] * (40 - iou_times_40)])
    assert panoptic.panoptic_quality(prediction, truth, things=THINGS, stuff=STUFF, void=VOID).by_class[3].tp == (iou_times_40 > 20)


def test_quality_factors_and_averages(generator: torch.Generator) -> None:
    for _ in range(20):
        truth = blocks(generator)
        found = panoptic.panoptic_quality(nearby(truth, generator), truth, things=THINGS, stuff=STUFF, void=VOID)
        for quality in found.by_class.values():
            assert quality.pq == pytest.approx(quality.sq * quality.rq, abs=1e-15)
            assert quality.pq == quality.iou / max(quality.tp + (quality.fp + quality.fn) / 2, 0.5)
        present = [quality.pq for quality in found.by_class.values() if quality.tp + quality.fp + quality.fn]
        assert found.pq == pytest.approx(sum(present) / len(present), abs=1e-15)


def test_batches_add_up_and_equal_maps_are_perfect(generator: torch.Generator) -> None:
    truths = torch.stack([blocks(generator) for _ in range(3)])
    predictions = torch.stack([nearby(truth, generator) for truth in truths])
    settings = {"things": THINGS, "stuff": STUFF, "void": VOID}
    total = sum(panoptic.panoptic_counts(p, t, **settings) for p, t in zip(predictions, truths, strict=True))
    assert torch.equal(panoptic.panoptic_counts(predictions, truths, **settings), total)
    assert panoptic.quality_of_counts(total, classes=[*THINGS, *STUFF]) == panoptic.panoptic_quality(predictions, truths, **settings)
    assert panoptic.panoptic_quality(truths, truths, **settings)[:3] == (1.0, 1.0, 1.0)


def test_empty_and_all_void_maps() -> None:
    settings = {"things": THINGS, "stuff": STUFF, "void": VOID}
    for shape in ((0, 0, 2), (0, 4, 4, 2)):
        empty = torch.zeros(shape, dtype=torch.int64)
        assert panoptic.panoptic_quality(empty, empty, **settings)[:3] == (0.0, 0.0, 0.0)
    void, thing = torch.tensor([[[VOID, 0]] * 6]), torch.tensor([[[3, 1]] * 6])
    assert panoptic.panoptic_quality(void, void, **settings).pq == 0.0
    assert panoptic.panoptic_quality(thing, void, **settings).by_class[3].fp == 0  # it lies on void
    assert panoptic.panoptic_quality(void, thing, **settings).by_class[3].fn == 1


def plain_panoptic_map(logits: Tensor, mask_logits: Tensor, things: list[int], void: int, min_score: float, min_overlap: float) -> Tensor:
    """MaskFormer's panoptic inference, query after query."""
    scores, labels = logits.softmax(-1).max(-1)
    masks = mask_logits.sigmoid()
    keep = [q for q in range(len(labels)) if labels[q] != logits.shape[1] - 1 and scores[q] > min_score]
    result = torch.zeros(*masks.shape[1:], 2, dtype=torch.int64)
    result[..., 0] = void
    if not keep:
        return result
    winner = torch.stack([scores[q] * masks[q] for q in keep]).argmax(0)
    instances = 0
    for k, q in enumerate(keep):
        area, original = int((winner == k).sum()), int((masks[q] >= 0.5).sum())
        mask = (winner == k) & (masks[q] >= 0.5)
        if area == 0 or original == 0 or not mask.any() or area / original < min_overlap:
            continue
        thing = int(labels[q]) in things
        instances += thing
        result[mask] = torch.tensor([int(labels[q]), instances if thing else 0])
    return result


def test_panoptic_map_is_maskformers(device: torch.device, generator: torch.Generator) -> None:
    seen = set()
    for _ in range(40):
        logits, mask_logits = 4 * torch.randn(9, 6, generator=generator), 3 * torch.randn(9, 5, 7, generator=generator)
        mask_logits = mask_logits.repeat_interleave(2, -1)
        found = panoptic.panoptic_map(logits.to(device), mask_logits.to(device), things=[1, 4], void=9, min_score=0.6, min_overlap=0.4)
        assert torch.equal(found.cpu(), plain_panoptic_map(logits, mask_logits, [1, 4], 9, 0.6, 0.4))
        seen |= set(found[..., 0].flatten().tolist())
    assert seen == {0, 1, 2, 3, 4, 9}
    assert bool((panoptic.panoptic_map(torch.zeros(3, 5), torch.zeros(3, 2, 2), things=[0], void=-1)[..., 0] == -1).all())


def test_bad_arguments_are_named() -> None:
    good = torch.zeros(2, 3, 2, dtype=torch.int64)
    settings = {"things": THINGS, "stuff": STUFF, "void": VOID}
    with pytest.raises(ValueError, match=r"`truth` should have shape \[H, W, 2\] or \[B, H, W, 2\]; found \(2, 3\)"):
        panoptic.panoptic_quality(good, good[..., 0], **settings)
    with pytest.raises(ValueError, match=r"`truth` should have shape \(2, 3, 2\) to match `prediction`; found \(1, 3, 2\)"):
        panoptic.panoptic_quality(good, good[:1], **settings)
    with pytest.raises(ValueError, match="`crowd` should hold only classes"):
        panoptic.panoptic_quality(good, good, **settings, crowd=[(5, 1)])
    logits, masks = torch.zeros(3, 5), torch.zeros(3, 2, 2)
    with pytest.raises(ValueError, match=r"`void` should lie outside \[0, 4\); found 3"):
        panoptic.panoptic_map(logits, masks, things=[0], void=3)
    with pytest.raises(ValueError, match=r"`logits` should have shape \[Q, K\+1\]"):
        panoptic.panoptic_map(logits[0], masks, things=[0], void=9)


# --- one number on every path --------------------------------------------------------------------------------------------------------------------

INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64]
SMALL = {"things": [3, 11], "stuff": [0, 7], "void": 100}  # ids that every dtype holds

ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "mT": lambda x: x.mT.contiguous().mT,
    "planes first": lambda x: x.movedim(-1, 0).contiguous().movedim(0, -1),
    "rot90": lambda x: torch.rot90(torch.rot90(x, -1, (-3, -2)).contiguous(), 1, (-3, -2)),
    "flip": lambda x: x.flip(-1).contiguous().flip(-1),
    "crop": lambda x: torch.nn.functional.pad(x, (1, 2, 3, 1), value=9)[..., 3:-1, 1:-2],
    "every other": lambda x: torch.stack([x, x + 1], -1)[..., 0],
}


class Renamed(Tensor):
    """A subclass that only renames, as torchvision's tv_tensors are."""


def pair(generator: torch.Generator, cell: int = 3) -> tuple[Tensor, Tensor]:
    """A prediction and a truth whose ids every dtype holds."""
    truth = blocks(generator, cell=cell)
    prediction = nearby(truth, generator)
    return tuple(torch.where(maps == VOID, SMALL["void"], maps) for maps in (prediction, truth))  # type: ignore[return-value]


def right(prediction: Tensor, truth: Tensor, crowd: tuple[tuple[int, int], ...] = ()) -> Tensor:
    counts = plain_counts(*(torch.where(maps[..., :1] == SMALL["void"], VOID, maps) for maps in (prediction, truth)), crowd)
    return torch.tensor([counts[name] for name in [*THINGS, *STUFF]], dtype=torch.float64)


def near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_maps_of_any_integer_dtype_and_order(dtype: torch.dtype, generator: torch.Generator) -> None:
    """The other map has another dtype and another order."""
    others = itertools.cycle(INTEGERS)
    for cell in (1, 3):
        prediction, truth = pair(generator, cell)
        expected = right(prediction, truth)
        for order in ORDERS.values():
            other = next(others)
            near(panoptic.panoptic_counts(order(prediction).to(dtype), truth.to(other), **SMALL), expected)
            near(panoptic.panoptic_counts(prediction.to(other), order(truth).as_subclass(Renamed).to(dtype), **SMALL), expected)


def test_what_is_stored_once_and_seen_many_times() -> None:
    row = torch.tensor([[3, 1], [3, 1], [7, 0]])
    prediction, truth = row.expand(4, 3, 2), torch.tensor([3, 1]).expand(4, 3, 2)
    near(panoptic.panoptic_counts(prediction, truth, **SMALL), right(prediction.contiguous(), truth.contiguous()))


LEAST, MOST = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max


@pytest.mark.parametrize(
    "ids",
    [
        [0, 1, MOST],
        [LEAST, -1, 0],
        [LEAST, LEAST + 1, MOST],
        [5, 2**62 - 1, 0],  # times the class, 4 · 2⁶² is 0 in 64 bits: 3 and 7 were one class
        [5, 2**61 - 1, 0],
        [-(2**62), 2**62, 7],
        [MOST, MOST - 1, MOST - 2],
        [-1, -2, -3],
    ],
    ids=str,
)
@pytest.mark.parametrize("cell", [1, 4])
def test_instance_ids_of_any_int64(ids: list[int], cell: int, generator: torch.Generator) -> None:
    for _ in range(4):
        coarse = blocks(generator, cell=cell, instances=3)
        truth = torch.stack([coarse[..., 0], torch.tensor(ids)[coarse[..., 1]]], -1)
        prediction = nearby(coarse, generator) % torch.tensor([256, 3])
        prediction = torch.stack([prediction[..., 0], torch.tensor(ids)[prediction[..., 1]]], -1)
        assert_counts(prediction, truth)
        assert_counts(prediction, truth, ((3, ids[2]),))


def test_ids_beyond_int64_stay_apart() -> None:
    """uint64 ids, of which int64 has no half; as classes, as instances, and in a crowd."""
    high = 2**64 - 1
    truth = torch.from_numpy(np.array([[[high, 1], [high, 2**63], [7, high], [7, high - 1]]], dtype=np.uint64))
    prediction = torch.from_numpy(np.array([[[high, 1], [high, 2**63], [7, high], [7, high]]], dtype=np.uint64))
    settings: dict[str, Any] = {"things": [high, 7], "stuff": [], "void": 0}
    # of 7: the predicted segment has both pixels, and one half of it is no match with either
    assert panoptic.panoptic_counts(prediction, truth, **settings).tolist() == [[2, 2, 0, 0], [0, 0, 1, 2]]
    assert panoptic.panoptic_quality(prediction, truth, **settings).by_class[high].tp == 2
    # a crowd has no need to be found; one half of the prediction lies on it, which is not more than one half
    assert panoptic.panoptic_counts(prediction, truth, **settings, crowd=[(7, high)]).tolist() == [[2, 2, 0, 0], [0, 0, 1, 1]]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_ids_at_both_ends_of_a_dtype(dtype: torch.dtype) -> None:
    low, high = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    rows = np.array([[low, high], [high, low], [low, high], [high, high]], dtype=str(dtype).removeprefix("torch."))
    truth = torch.from_numpy(rows)[None]
    found = panoptic.panoptic_counts(truth, truth, things=[high], stuff=[low], void=1)
    assert found.tolist() == [[2, 2, 0, 0], [1, 1, 0, 0]]


def test_classes_in_any_collection(generator: torch.Generator) -> None:
    prediction, truth = pair(generator)
    crowd = ((3, 0), (11, 2))
    expected = right(prediction, truth, crowd)
    for things, stuff, void, regions in (
        (np.array([3, 11]), torch.tensor([0, 7]), np.int64(100), np.array(crowd)),
        ((np.uint8(3), np.int32(11)), {0: "sky", 7: "road"}, np.uint64(100), [torch.tensor(pair) for pair in crowd]),
        ([3, 11], range(0, 8, 7), 100, {*crowd}),
    ):
        near(panoptic.panoptic_counts(prediction, truth, things=things, stuff=stuff, void=void, crowd=regions), expected)  # type: ignore[arg-type]
        found = panoptic.panoptic_quality(prediction, truth, things=things, stuff=stuff, void=void, crowd=regions)  # type: ignore[arg-type]
        assert list(found.by_class) == [3, 11, 0, 7]
        assert all(type(name) is int for name in found.by_class)


def test_ids_that_are_none_are_named(generator: torch.Generator) -> None:
    prediction, truth = pair(generator)
    for name, value in (("things", [3.5, 11]), ("things", 3), ("stuff", torch.tensor([0.0, 7.0])), ("void", 0.5), ("things", [True, 11])):
        with pytest.raises(TypeError, match=f"^`{name}` should hold integers; found"):
            panoptic.panoptic_quality(prediction, truth, **{**SMALL, name: value})
    with pytest.raises(ValueError, match=r"^`stuff` should hold integers of at most 64 bits; found"):
        panoptic.panoptic_quality(prediction, truth, **{**SMALL, "stuff": [2**64, 7]})
    with pytest.raises(ValueError, match=r"^`things` should share no class"):
        panoptic.panoptic_quality(prediction, truth, **{**SMALL, "things": torch.tensor([3, 3])})
    with pytest.raises(TypeError, match=r"^`crowd` should hold pairs of \(class, instance\); found \[3\]"):
        panoptic.panoptic_quality(prediction, truth, **SMALL, crowd=[3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"^`crowd` should hold pairs of \(class, instance\); found"):
        panoptic.panoptic_quality(prediction, truth, **SMALL, crowd=[(3, 1, 2)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"^`classes` should hold each class once"):
        panoptic.quality_of_counts(torch.zeros(2, 4), classes=[7, 7])
    with pytest.raises(TypeError, match=r"^`truth` should have an integer dtype"):
        panoptic.panoptic_counts(prediction, truth.to(torch.complex64), **SMALL)
    with pytest.raises(TypeError, match=r"^`truth` should be a dense tensor"):
        panoptic.panoptic_counts(prediction, truth.to_sparse(), **SMALL)
    with pytest.raises(ValueError, match=r"^`truth` should be on the device cpu to match `prediction`; found meta"):
        panoptic.panoptic_counts(prediction, truth.to("meta"), **SMALL)


def test_segments_are_counted_outside_of_graphs_and_nowhere_else(generator: torch.Generator) -> None:
    """Compiled code breaks its graph; where there may be one graph alone, no values, or many maps at once, one line says so."""
    prediction, truth = pair(generator)
    expected = right(prediction, truth)
    torch.compiler.reset()
    compiled = torch.compile(lambda a, b: panoptic.panoptic_counts(a, b, **SMALL) * 2, backend="eager")
    near(compiled(prediction, truth), 2 * expected)
    with torch.inference_mode():
        near(panoptic.panoptic_counts(prediction.clone(), truth, **SMALL), expected)
    words = "should have values to be read, outside of vmap, torch.func and whole graphs"
    with pytest.raises(TypeError, match=f"^`prediction` {words}; found a tensor inside of one"):
        torch.func.vmap(lambda a, b: panoptic.panoptic_counts(a, b, **SMALL))(prediction[None], truth[None])
    with pytest.raises(TypeError, match=f"^`prediction` {words}; found a Tensor on the device meta"):
        panoptic.panoptic_counts(prediction.to("meta"), truth.to("meta"), **SMALL)
    with torch._subclasses.FakeTensorMode() as mode, pytest.raises(TypeError, match=f"^`prediction` {words}; found a FakeTensor"):
        panoptic.panoptic_counts(mode.from_tensor(prediction), mode.from_tensor(truth), **SMALL)
    with pytest.raises(RuntimeError, match=words):
        torch.compile(lambda a, b: panoptic.panoptic_counts(a, b, **SMALL), backend="eager", fullgraph=True)(prediction, truth)


SETTINGS: dict[str, Any] = {"things": [1, 4], "void": 9, "min_score": 0.6, "min_overlap": 0.4}


def queries(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Of one image, with pixels at which several queries are as sure, rounded so that every dtype holds the logits."""
    logits, masks = 4 * torch.randn(9, 6, generator=generator), 30 * torch.randn(9, 5, 7, generator=generator)
    return logits.bfloat16().float(), masks.bfloat16().float()


def test_a_panoptic_map_is_the_same_on_every_path(generator: torch.Generator) -> None:
    """Orders in memory, half precision, autocast, subclasses; compiled whole, mapped, exported."""
    scenes = [queries(generator) for _ in range(6)]
    torch.compiler.reset()
    call = lambda a, b: panoptic.panoptic_map(a, b, **SETTINGS)  # noqa: E731
    compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
    for logits, masks in scenes:
        expected = plain_panoptic_map(logits, masks, [1, 4], 9, 0.6, 0.4)
        for order in ORDERS.values():
            assert torch.equal(call(logits.mT.contiguous().mT, order(masks)), expected)
        for narrow in (torch.float16, torch.bfloat16):
            assert torch.equal(call(logits.to(narrow), masks.to(narrow)), expected)
            with torch.autocast("cpu", narrow):
                assert torch.equal(call(logits, masks), expected)
        assert torch.equal(call(logits.as_subclass(Renamed), masks.as_subclass(Renamed).requires_grad_()), expected)
        assert torch.equal(compiled(logits, masks), expected)
        with torch.device("meta"):
            assert torch.equal(call(logits, masks), expected)
    stacked = [torch.stack(each, 1) for each in zip(*scenes, strict=True)]
    mapped = torch.func.vmap(call, in_dims=1)(*stacked)
    for found, (logits, masks) in zip(mapped, scenes, strict=True):
        assert torch.equal(found, plain_panoptic_map(logits, masks, [1, 4], 9, 0.6, 0.4))
    meta = call(*(side.to("meta") for side in scenes[0]))
    assert (meta.shape, meta.dtype, meta.device.type) == ((5, 7, 2), torch.int64, "meta")


@pytest.mark.parametrize("shape", [(0, 5, 7), (3, 0, 7), (0, 0, 0)], ids=str)
def test_maps_of_no_queries_and_no_pixels(shape: tuple[int, ...]) -> None:
    logits, masks = torch.zeros(shape[0], 6), torch.zeros(shape)
    for call in (panoptic.panoptic_map, torch.compile(panoptic.panoptic_map, backend="eager", fullgraph=True)):
        found = call(logits, masks, things=[1], void=9)
        assert found.shape == (*shape[1:], 2)
        assert bool((found == torch.tensor([9, 0])).all())
    with pytest.raises(ValueError, match=r'^`logits` should have a column for "no object"'):
        panoptic.panoptic_map(torch.zeros(2, 0), torch.zeros(2, 1, 1), things=[], void=9)
    with pytest.raises(TypeError, match=r"^`things` should hold integers"):
        panoptic.panoptic_map(logits, masks, things=[1.5], void=9)  # type: ignore[list-item]


@pytest.mark.parametrize("shape", [(7, 9, 2), (2, 5, 4, 2), (1, 1, 2)])
def test_runs_are_the_same_on_every_device(shape: tuple[int, ...], generator: torch.Generator) -> None:
    """A device compares all pixels at once, the host piece by piece, and each finds what a loop over the pixels finds."""
    first, second = (torch.randint(0, 2, shape, generator=generator).cummax(-2).values for _ in range(2))
    pixels = [(*a, *b) for a, b in zip(first.reshape(-1, 2).tolist(), second.reshape(-1, 2).tolist(), strict=True)]
    starts = [place for place, pixel in enumerate(pixels) if place == 0 or pixel != pixels[place - 1]]
    rows, others, lengths = _runs._runs_at_once(first, second)
    assert [(*a, *b) for a, b in zip(rows.tolist(), others.tolist(), strict=True)] == [pixels[start] for start in starts]
    assert lengths.tolist() == [end - start for start, end in zip(starts, [*starts[1:], len(pixels)], strict=True)]
    assert {type(part) for part in (rows, others, lengths)} == {np.ndarray}
    inside = _runs._runs_in_cache(first.reshape(-1, 2).numpy(), second.reshape(-1, 2).numpy())
    if inside[2] is not None:
        for one, other in zip(inside, (rows, others, lengths), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_thing_beside_nothing_stays_a_thing() -> None:
    """The first thing of all, and pixels that nobody claims: three of four pixels are found."""
    prediction, truth = (torch.tensor([[list(pixel) for pixel in row]]) for row in ([(0, 1)] * 3 + [(9, 0)], [(0, 1)] * 4))
    assert float(panoptic.panoptic_quality(prediction, truth, things={0}, stuff=set(), void=9).pq) == 0.75


def test_a_map_of_nothing_is_the_callers_own() -> None:
    found = panoptic.panoptic_map(torch.zeros(0, 3), torch.zeros(0, 2, 2), things={0}, void=2)
    found[0, 0] = 5
    assert found[1, 1].tolist() == [2, 0]


# --- volumes, and ids of every size ----------------------------------------------------------------------------------------------------------------


def by_dictionary(prediction: Tensor, truth: Tensor, things: list[int], stuff: list[int], void: int) -> list[list[float]]:
    """Areas in dictionaries, pixel by pixel, with Python's integers, which do not overflow."""
    areas: dict[Any, int] = {}
    for pixels in zip(prediction.reshape(-1, 2).tolist(), truth.reshape(-1, 2).tolist(), strict=True):
        one, other = ((name, instance if name in things else None) for name, instance in pixels)
        for key in ((one, other), ("prediction", one), ("truth", other)):
            areas[key] = areas.get(key, 0) + 1
    table = {name: [0.0, 0, 0, 0] for name in (*things, *stuff)}
    nothing, matched = (void, None), set()
    for (one, other), area in ((key, area) for key, area in areas.items() if key[0] not in ("prediction", "truth")):
        union = areas["prediction", one] + areas["truth", other] - area - areas.get((one, nothing), 0)
        if one[0] == other[0] != void and area / union > 0.5:
            matched |= {("prediction", one), ("truth", other)}
            table[one[0]][0] += area / union
            table[one[0]][1] += 1
    for (side, segment), area in ((key, area) for key, area in areas.items() if key[0] in ("prediction", "truth")):
        excused = side == "prediction" and areas.get((segment, nothing), 0) / area > 0.5
        if segment[0] != void and (side, segment) not in matched and not excused:
            table[segment[0]][2 if side == "prediction" else 3] += 1
    return list(table.values())


NAMES = [
    {"things": [3, 11], "stuff": [0, 7], "void": 255},
    {"things": [MOST, LEAST], "stuff": [MOST - 1, -1], "void": 0},
    {"things": [-5, 2**62], "stuff": [LEAST, 2**32], "void": -(2**61)},
]


@pytest.mark.parametrize("names", NAMES, ids=str)
@pytest.mark.parametrize("cell", [1, 3])
def test_volumes_of_any_ids_are_counted_by_dictionary(names: dict[str, Any], cell: int, generator: torch.Generator) -> None:
    """A segment goes through all slices: what no slice matches may match whole, and the volume flattened to one image is the same."""
    classes = torch.tensor([*names["things"], *names["stuff"], names["void"]])
    ids = torch.tensor([LEAST, -1, 0, 7, 2**32, 2**62 - 1, MOST])
    matches = 0.0
    for _ in range(6):
        shape = (2, 5, 4)
        coarse = [torch.stack([classes[torch.randint(5, shape, generator=generator)], ids[torch.randint(7, shape, generator=generator)]], -1)] * 2
        coarse[1] = coarse[0].clone()
        wide = [each.repeat_interleave(cell, 1).repeat_interleave(cell, 2).repeat_interleave(2, 0) for each in coarse]
        changed = torch.rand(wide[0].shape[:3], generator=generator) < 0.15
        other = torch.stack(
            [classes[torch.randint(5, changed.shape, generator=generator)], ids[torch.randint(7, changed.shape, generator=generator)]], -1
        )
        truth, prediction = wide[0], torch.where(changed[..., None], other, wide[1])
        found = panoptic.panoptic_counts(prediction, truth, **names, volumes=True)
        near(found, torch.tensor(by_dictionary(prediction, truth, **names), dtype=torch.float64))
        flat = [each.reshape(-1, each.shape[2], 2) for each in (prediction, truth)]
        assert torch.equal(found, panoptic.panoptic_counts(*flat, **names))
        assert panoptic.panoptic_quality(prediction, truth, **names, volumes=True) == panoptic.panoptic_quality(*flat, **names)
        pair_of = [torch.stack([each, each.flip(0)]) for each in (prediction, truth)]
        near(panoptic.panoptic_counts(*pair_of, **names, volumes=True), 2 * found)
        slices = panoptic.panoptic_counts(prediction, truth, **names)
        matches += float(found[:, 1].sum())
        assert not torch.equal(slices, found)
    assert matches > 10


def test_what_volumes_may_be() -> None:
    flat = torch.zeros(2, 3, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"`prediction` should have shape \[D, H, W, 2\] or \[B, D, H, W, 2\]; found \(2, 3, 2\)"):
        panoptic.panoptic_counts(flat, flat, things=THINGS, stuff=STUFF, void=VOID, volumes=True)
    with pytest.raises(ValueError, match=r"`prediction` should have shape \[H, W, 2\] or \[B, H, W, 2\]; found \(1, 1, 2, 3, 2\)"):
        panoptic.panoptic_counts(flat[None, None], flat[None, None], things=THINGS, stuff=STUFF, void=VOID)
    empty = torch.zeros(0, 4, 4, 2, dtype=torch.int64)
    assert panoptic.panoptic_quality(empty, empty, things=THINGS, stuff=STUFF, void=VOID, volumes=True).pq == 0
