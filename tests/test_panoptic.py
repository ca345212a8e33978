"""Panoptic quality against sets of pixels in plain Python, against torchmetrics, and the theorem that makes its matching unique."""

from __future__ import annotations

import itertools
import warnings

import pytest
import torch
from torch import Tensor

from lossbook import _runs, panoptic

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
        monkeypatch.setattr(_runs, "_SCAN", 64)
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
    """Against `itertools.groupby` over the pairs of pixels; the maps end inside a piece and inside eight pixels."""
    monkeypatch.setattr(_runs, "_SCAN", 64)
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
    with pytest.raises(TypeError, match="`prediction` should have an integer dtype"):
        panoptic.panoptic_quality(good.float(), good, **settings)
    with pytest.raises(ValueError, match=r"`truth` should have shape \[H, W, 2\] or \[B, H, W, 2\]; found \(2, 3\)"):
        panoptic.panoptic_quality(good, good[..., 0], **settings)
    with pytest.raises(ValueError, match=r"`truth` should have shape \(2, 3, 2\) to match `prediction`; found \(1, 3, 2\)"):
        panoptic.panoptic_quality(good, good[:1], **settings)
    with pytest.raises(ValueError, match=r"`prediction` should hold only classes of `things`, `stuff` and `void`; found \[5\]"):
        panoptic.panoptic_quality(good + torch.tensor([5, 0]), good, **settings)
    with pytest.raises(ValueError, match="`crowd` should hold only classes"):
        panoptic.panoptic_quality(good, good, **settings, crowd=[(5, 1)])
    with pytest.raises(ValueError, match="`truth` should have instance ids of at least 0; found -1"):
        panoptic.panoptic_quality(good, good - torch.tensor([0, 1]), **settings)
    with pytest.raises(ValueError, match="`things` should share no class"):
        panoptic.panoptic_quality(good, good, things=[0], stuff=[0], void=VOID)
    logits, masks = torch.zeros(3, 5), torch.zeros(3, 2, 2)
    with pytest.raises(ValueError, match=r"`mask_logits` should have shape \[3, H, W\] to match `logits`; found \(2, 2, 2\)"):
        panoptic.panoptic_map(logits, masks[:2], things=[0], void=9)
    with pytest.raises(ValueError, match=r"`void` should lie outside \[0, 4\); found 3"):
        panoptic.panoptic_map(logits, masks, things=[0], void=3)
    with pytest.raises(ValueError, match="`min_overlap` should lie in"):
        panoptic.panoptic_map(logits, masks, things=[0], void=9, min_overlap=1.5)
    with pytest.raises(ValueError, match="`min_score` should lie in"):
        panoptic.panoptic_map(logits, masks, things=[0], void=9, min_score=-0.5)
    with pytest.raises(ValueError, match=r"`logits` should have shape \[Q, K\+1\]"):
        panoptic.panoptic_map(logits[0], masks, things=[0], void=9)
    with pytest.raises(TypeError, match="`mask_logits` should have a floating-point dtype"):
        panoptic.panoptic_map(logits, masks.long(), things=[0], void=9)
