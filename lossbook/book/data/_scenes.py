"""Digit scenes: real scanned digits as things, on ground of two textures as stuff. Made from `digits` by a seeded generator, so nothing is stored.

Chapters: localization, sets.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook._core.checks import check_concrete, check_count, check_generator, check_labels, check_ndim, wrong_type, wrong_value
from lossbook._core.door import outside_graphs, plain_arguments

_INK = 0.3  # a pixel belongs to a digit from this much ink on
_TRIES = 20


class Scenes(NamedTuple):
    """S scenes: images [S, H, W] float64 in [0, 1], stuff [S, H, W] int64 (0 stripes, 1 speckle), and per scene its N objects.

    `boxes_xyxy` [N, 4] float64 in pixels, tight around the masks; `labels` [N] int64, the digits; `masks` [N, H, W] bool, no two of them overlapping.
    """

    images: Tensor
    stuff: Tensor
    boxes_xyxy: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]


@outside_graphs
@plain_arguments
def digit_scenes(
    count: int,
    *,
    generator: torch.Generator,
    size: int = 32,
    fewest: int = 1,
    most: int = 4,
    pool: Tensor | None = None,
) -> Scenes:
    """Scenes of `size` by `size` pixels with `fewest` to `most` digits, each 8 to 16 pixels high, whose frames don't overlap.

    Args:
        count: how many scenes.
        generator: where all chance comes from, on the CPU.
        size: height and width in pixels, at least 16.
        fewest: least number of digits in a scene, 0 or more.
        most: largest number of digits; a scene in which no place is left for one more has fewer, but never less than one when `fewest` is 1 or more.
        pool: indices [P] of the digits to draw from, so that training and test scenes share no digit; None is all 1797.

    Returns:
        `Scenes`.

    Raises:
        TypeError: counts that are not whole numbers, no generator, a pool that is not of integers.
        ValueError: a size below 16, most < fewest, an empty pool.

    Example:
        >>> scenes = digit_scenes(2, generator=torch.Generator().manual_seed(0))
        >>> scenes.images.shape, scenes.masks[0].shape[1:]
        (torch.Size([2, 32, 32]), torch.Size([32, 32]))

    Reference:
        E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, 1998, for the digits.

    Conventions:
        A box ends after its last pixel, so x2 − x1 is the width of its mask.
    """
    from lossbook.book.data._tables import digits

    check_count("count", count, low=0)
    check_count("size", size, low=16)
    check_count("fewest", fewest, low=0)
    check_count("most", most, low=fewest)
    check_generator("generator", generator)
    if generator is None:
        wrong_type("generator", "be a torch.Generator", "None")
    scans, digit_of = digits()
    with torch.device("cpu"):  # where the generator draws, whatever the default is
        pool = torch.arange(len(scans)) if pool is None else _checked_pool(pool, len(scans))
        stuff, images = _grounds(count, size, generator)
        found = []
        for image in images:
            chosen = pool[torch.randint(len(pool), (_whole(fewest, most, generator),), generator=generator)]
            masks = _place(image, scans[chosen], generator)
            found.append((masks, digit_of[chosen[: len(masks)]]))
    boxes = tuple(_tight(masks) for masks, _ in found)
    return Scenes(images, stuff, boxes, tuple(labels for _, labels in found), tuple(masks for masks, _ in found))


def _checked_pool(pool: Tensor, scans: int) -> Tensor:
    """Indices int64 on the CPU: narrower ones are none to torch, and uint8 is a mask."""
    check_labels("pool", pool, scans)
    check_ndim("pool", pool, 1, "[P]")
    check_concrete("pool", pool)
    if not len(pool):
        wrong_value("pool", "name at least one digit", tuple(pool.shape))
    return pool.to("cpu", torch.int64)


def _whole(low: int, high: int, generator: torch.Generator) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _grounds(count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The map of stuff and its picture: stripes on one side of a random line, speckle on the other."""
    angle, offset, tilt, phase = (torch.rand(count, 1, 1, generator=generator, dtype=torch.float64) for _ in range(4))
    y, x = torch.meshgrid(torch.arange(size).double() - size / 2, torch.arange(size).double() - size / 2, indexing="ij")
    angle, tilt = 2 * math.pi * angle, math.pi * tilt
    stuff = (x * angle.cos() + y * angle.sin() > size * (offset - 0.5) / 2).long()
    stripes = 0.2 + 0.15 * torch.sin(1.6 * (x * tilt.cos() + y * tilt.sin()) + 2 * math.pi * phase)
    speckle = 0.4 * torch.rand(count, size, size, generator=generator, dtype=torch.float64)
    return stuff, torch.where(stuff == 0, stripes, speckle)


def _place(image: Tensor, scans: Tensor, generator: torch.Generator) -> Tensor:
    """Paint scans into the image, each where its frame is free, until one finds no place; the masks [N, H, W] of those painted."""
    size = len(image)
    taken, masks = torch.zeros(size, size, dtype=torch.bool), []
    for scan in scans:
        spot = _free_spot(taken, generator)
        if spot is None:
            break
        y, x, side = spot
        ink = F.interpolate(scan[None, None], size=(side, side), mode="bilinear", align_corners=False)[0, 0]
        frame = (slice(y, y + side), slice(x, x + side))
        taken[frame] = True
        image[frame] = image[frame] * (1 - ink) + ink
        mask = torch.zeros_like(taken)
        mask[frame] = ink > _INK
        masks.append(mask)
    return torch.stack(masks) if masks else torch.zeros(0, size, size, dtype=torch.bool)


def _free_spot(taken: Tensor, generator: torch.Generator) -> tuple[int, int, int] | None:
    """Top, left and side of a random free square, or None where none was found."""
    for _ in range(_TRIES):
        side = _whole(8, 16, generator)
        y, x = (_whole(0, len(taken) - side, generator) for _ in range(2))
        if not bool(taken[y : y + side, x : x + side].any()):
            return y, x, side
    return None


def _tight(masks: Tensor) -> Tensor:
    """The least boxes [N, 4] around masks [N, H, W] that are not empty."""
    rows, columns = masks.any(dim=2), masks.any(dim=1)
    first = [line.long().argmax(dim=1) for line in (columns, rows)]
    last = [line.shape[1] - line.flip(1).long().argmax(dim=1) for line in (columns, rows)]
    return torch.stack([*first, *last], dim=1).double()
