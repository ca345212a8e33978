"""Which query is paired with which target, flat over layers and images: as the matching found it, or as it was handed in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossbook._core.checks import check_integer, check_labels, check_values, wrong_type, wrong_value
from lossbook._core.door import plain
from lossbook.sets._matching import Match
from lossbook.sets._targets import Objects
from lossbook.sets._traced import traced


class Pairs(NamedTuple):
    """The matched pairs of all layers: flat indices [M] into the queries [L, B, Q] and into the padded targets [B, N], ordered by layer."""

    queries: Tensor
    targets: Tensor
    labels: Tensor  # [M], of the targets


def read_pairs(assignments: Tensor, objects: Objects, queries: int) -> Pairs:
    """From the query of each target [L, B, N], −1 for none."""
    rows, columns = (_plain_places if objects.plain else _places)(assignments, objects, queries)
    return Pairs(rows, columns, objects.labels.reshape(-1).index_select(0, columns))


def wanted_classes(pairs: Pairs, shape: Sequence[int], no_object: int, *, plain: bool) -> Tensor:
    """The class that each query should say, of `shape` [L, B, Q]."""
    classes = torch.full(tuple(shape), no_object, dtype=torch.int64, device=pairs.labels.device).flatten()
    classes = classes.scatter(0, pairs.queries, pairs.labels) if plain else classes.index_copy_(0, pairs.queries, pairs.labels)
    return classes.view(tuple(shape))


def _places(assignments: Tensor, objects: Objects, queries: int) -> tuple[Tensor, Tensor]:
    """Where matched queries and targets are: each image's in the order of its targets."""
    table, (_, batch, size) = assignments.numpy(), assignments.shape
    place = np.flatnonzero(table >= 0)
    rows, columns = table.reshape(-1)[place] + place // max(size, 1) * queries, place % max(batch * size, 1)
    flat = torch.from_numpy(np.stack([rows, columns])).to(objects.labels.device, non_blocking=True)
    return flat[0], flat[1]


def _plain_places(assignments: Tensor, objects: Objects, queries: int) -> tuple[Tensor, Tensor]:
    """The same in the order of the queries: sorted by them, the targets without one come first, and how many these are is known beforehand."""
    layers, batch, size = assignments.shape
    order = assignments.argsort(dim=-1, stable=True)  # [L, B, N]
    chosen = assignments.gather(-1, order) + queries * torch.arange(layers * batch, device=order.device).view(layers, batch, 1)
    order = order + size * torch.arange(batch, device=order.device)[:, None]
    found = [[table[:, :0].flatten(1)] for table in (chosen, order)]  # an empty batch has no image to begin with
    for image, number in enumerate(objects.sizes):
        for table, kept in zip((chosen, order), found, strict=True):
            kept.append(table[:, image, size - min(number, queries) :])
    rows, columns = (torch.cat(kept, 1).flatten() for kept in found)
    return rows, columns


# --- handed in -----------------------------------------------------------------------------------------------------------------------------------


def read_matches(matches: Any, objects: Objects, queries: int) -> tuple[list[Match], Objects]:
    """`matches` of every image, checked, int64 and on the device of the labels; a target may be in several pairs, a query in one."""
    if not isinstance(matches, Sequence):
        wrong_type("matches", "be a sequence with the pairs of each image", type(matches).__name__)
    if len(matches) != len(objects.sizes):
        wrong_value("matches", f"hold {len(objects.sizes)} images to match `logits`", len(matches))
    found = []
    for image, (pairs, size) in enumerate(zip(matches, objects.sizes, strict=True)):
        if not isinstance(pairs, (tuple, list)) or len(pairs) != 2:
            wrong_type(f"matches[{image}]", "be a `Match`, or queries and targets", type(pairs).__name__)
        read = Match(*(_read_side(f"matches[{image}].{name}", side, objects) for name, side in zip(Match._fields, pairs, strict=True)))
        if read.queries.ndim != 1 or read.queries.shape != read.targets.shape:
            shapes = " and ".join(str(tuple(side.shape)) for side in read)
            wrong_value(f"matches[{image}]", "have queries and targets of one shape [M]", shapes)
        check_labels(f"matches[{image}].queries", read.queries, queries)
        check_labels(f"matches[{image}].targets", read.targets, size)
        found.append(read)
    if found:
        rows = torch.cat([pairs.queries + image * queries for image, pairs in enumerate(found)])
        answers = torch.zeros(len(found) * queries, dtype=torch.int64, device=rows.device).scatter_add(0, rows, torch.ones_like(rows))
        check_values("matches", answers, lambda answers: answers <= 1, "have each query of an image in one pair", lambda answers: int(answers.max()))
    return found, objects._replace(plain=objects.plain or traced(side for pairs in found for side in pairs))


def _read_side(parameter: str, side: Any, objects: Objects) -> Tensor:
    check_integer(parameter, side)
    device = objects.labels.device
    if side.device != device and (side.device.type != "cpu" or device.type == "meta"):
        wrong_value(parameter, f"be on the device {device} to match `logits`", str(side.device))
    read: Tensor = plain(side).to(device, torch.int64)
    return read


def given_pairs(matches: Sequence[Match], objects: Objects, layers: int, queries: int) -> Pairs:
    """The same pairs in every layer."""
    batch, size = len(matches), objects.labels.shape[1]
    none = [torch.zeros(0, dtype=torch.int64, device=objects.labels.device)]
    rows = torch.cat(none + [pairs.queries + image * queries for image, pairs in enumerate(matches)])
    columns = torch.cat(none + [pairs.targets + image * size for image, pairs in enumerate(matches)])
    first = batch * queries * torch.arange(layers, device=rows.device)
    every = columns.expand(layers, -1).flatten()
    return Pairs((first[:, None] + rows).flatten(), every, objects.labels.reshape(-1).index_select(0, every))
