"""Digit scenes: masks, boxes and pixels agree, nothing overlaps, and the seed decides everything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lossbook.book import data
from lossbook.book.data import digit_scenes


@pytest.fixture(scope="module")
def scenes() -> data.Scenes:
    return digit_scenes(60, generator=torch.Generator().manual_seed(1))


def test_shapes_and_ranges(scenes: data.Scenes) -> None:
    assert scenes.images.shape == scenes.stuff.shape == (60, 32, 32)
    assert 0 <= float(scenes.images.min()) < float(scenes.images.max()) <= 1
    assert scenes.stuff.unique().tolist() == [0, 1]
    for boxes, labels, masks in zip(scenes.boxes_xyxy, scenes.labels, scenes.masks, strict=True):
        assert 1 <= len(labels) <= 4
        assert boxes.shape == (len(labels), 4)
        assert masks.shape == (len(labels), 32, 32)
        assert int(labels.min()) >= 0
        assert int(labels.max()) <= 9
    assert {len(labels) for labels in scenes.labels} == {1, 2, 3, 4}


def test_boxes_are_tight_around_masks_that_do_not_overlap(scenes: data.Scenes) -> None:
    for boxes, masks in zip(scenes.boxes_xyxy, scenes.masks, strict=True):
        assert int(masks.sum(dim=0).max()) == 1
        for box, mask in zip(boxes.long().tolist(), masks, strict=True):
            y, x = mask.nonzero(as_tuple=True)
            assert box == [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]


def test_digits_are_brighter_than_their_ground(scenes: data.Scenes) -> None:
    things = torch.stack([masks.any(dim=0) for masks in scenes.masks])
    assert float(scenes.images[things].mean()) > float(scenes.images[~things].mean()) + 0.3
    for kind in (0, 1):
        assert float(scenes.images[~things & (scenes.stuff == kind)].std()) > 0.05  # textured, not flat


@pytest.mark.parametrize("index", [0, 5, 17, 100])
def test_the_digit_painted_is_the_digit_of_the_label(index: int) -> None:
    """With one scan to draw from, every mask cut to its box and shrunk looks like that scan's own ink."""
    scans, labels = data.digits()
    ink = (scans[index] > 0.3).double()
    rows, columns = (ink.any(dim=axis).nonzero() for axis in (1, 0))
    own = ink[None, None, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    own = F.interpolate(own, size=(12, 12), mode="bilinear", align_corners=False).flatten()
    found = digit_scenes(10, generator=torch.Generator().manual_seed(index), pool=torch.tensor([index]))
    alike = []
    for boxes, digits, masks in zip(found.boxes_xyxy, found.labels, found.masks, strict=True):
        assert bool((digits == labels[index]).all())
        for box, mask in zip(boxes.long().tolist(), masks.double(), strict=True):
            cut = mask[None, None, box[1] : box[3], box[0] : box[2]]
            painted = F.interpolate(cut, size=(12, 12), mode="bilinear", align_corners=False).flatten()
            alike.append(float(torch.corrcoef(torch.stack([own, painted]))[0, 1]))
    assert sum(alike) / len(alike) > 0.6


def test_the_seed_decides_everything() -> None:
    first, same, other = (digit_scenes(3, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.images, same.images)
    assert all(torch.equal(a, b) for a, b in zip(first.boxes_xyxy, same.boxes_xyxy, strict=True))
    assert not torch.equal(first.images, other.images)


def test_counts_are_kept_and_empty_scenes_are_scenes() -> None:
    empty = digit_scenes(2, generator=torch.Generator().manual_seed(0), fewest=0, most=0)
    assert [tuple(boxes.shape) for boxes in empty.boxes_xyxy] == [(0, 4), (0, 4)]
    assert empty.masks[0].shape == (0, 32, 32)
    crowded = digit_scenes(4, generator=torch.Generator().manual_seed(0), size=16, fewest=3, most=9)
    assert all(1 <= len(labels) <= 4 for labels in crowded.labels)  # at most four squares of 8 fit into 16
    assert digit_scenes(0, generator=torch.Generator()).images.shape == (0, 32, 32)


@pytest.mark.parametrize("integer", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64])
def test_a_pool_of_any_integers(integer: torch.dtype) -> None:
    """uint8 is a mask to torch, and int8 no index at all."""
    pool = torch.tensor([5, 17, 100])
    found, expected = (digit_scenes(3, generator=torch.Generator().manual_seed(4), pool=each) for each in (pool.to(integer), pool))
    assert torch.equal(found.images, expected.images)
    assert all(torch.equal(a, b) for a, b in zip(found.labels, expected.labels, strict=True))


def test_counts_as_numpy_scalars_and_scenes_in_any_mode() -> None:
    expected = digit_scenes(2, generator=torch.Generator().manual_seed(4), size=24, fewest=1, most=3)
    numbers = {"size": np.int64(24), "fewest": np.uint8(1), "most": np.int32(3)}
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16), torch.device("meta"):
        found = digit_scenes(np.int16(2), generator=torch.Generator().manual_seed(4), **numbers)
    assert torch.equal(found.images, expected.images)


def test_bad_arguments_are_named() -> None:
    generator = torch.Generator()
    with pytest.raises(ValueError, match="`size` should"):
        digit_scenes(1, generator=generator, size=8)
    with pytest.raises(ValueError, match="`most` should"):
        digit_scenes(1, generator=generator, fewest=3, most=2)
    with pytest.raises(ValueError, match="`pool` should name at least one digit"):
        digit_scenes(1, generator=generator, pool=torch.zeros(0, dtype=torch.long))
    with pytest.raises(TypeError, match="`pool` should"):
        digit_scenes(1, generator=generator, pool=torch.zeros(3))
    with pytest.raises((TypeError, ValueError), match="`count` should"):
        digit_scenes(-1, generator=generator)
    for wrong in (None, 3):
        with pytest.raises(TypeError, match=r"`generator` should be a torch\.Generator; found"):
            digit_scenes(1, generator=wrong)
    with pytest.raises(TypeError, match="`pool` should have values to be read"):
        digit_scenes(1, generator=generator, pool=torch.zeros(3, dtype=torch.long, device="meta"))
