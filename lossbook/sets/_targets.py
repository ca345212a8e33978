"""Targets as a set loss takes them, one an image, and the numbers that it divides by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lossbook._core.checks import check_integer, check_labels, check_number, check_real, wrong_type, wrong_value
from lossbook._core.door import plain, widened
from lossbook.sets._traced import padded, traced

# What nothing needs to be done to, which is almost everything.
_LABELS = (torch.int64,)
_VALUES = (torch.float32, torch.bool, torch.float64)


class BoxTargets(NamedTuple):
    """The objects of one image: class ids [N] and boxes [N, 4] (centre x, centre y, width, height), relative to the image's size."""

    labels: Tensor
    boxes_cxcywh: Tensor


class MaskTargets(NamedTuple):
    """The objects of one image: class ids [N] and masks [N, H, W] of 0 and 1 (any dtype)."""

    labels: Tensor
    masks: Tensor


class Objects(NamedTuple):
    """The targets of a batch: padded labels [B, N], what is to be found in each image [N_b, ...], and the numbers N_b.

    With `plain` predictions or targets are traced, and torch's own operations are to be used.
    """

    labels: Tensor
    values: list[Tensor]
    sizes: list[int]
    plain: bool


def read_targets(targets: Any, predictions: Sequence[Tensor], num_classes: int, name: str, layout: str) -> Objects:
    """Each target's `labels` and `name`, from a mapping or an object with attributes; `layout` is the shape of `name`, such as "[N, 4]".

    Labels come to the device of the predictions [L, B, ...]; what else there is stays where it is.
    """
    device, batch = predictions[0].device, predictions[0].shape[1]
    if not isinstance(targets, Sequence):
        wrong_type("targets", "be a sequence with the targets of each image", type(targets).__name__)
    if len(targets) != batch:
        wrong_value("targets", f"hold {batch} images to match `logits`", len(targets))
    labels = [_field(target, image, "labels", device, check_integer) for image, target in enumerate(targets)]
    values = [_field(target, image, name, device, check_real) for image, target in enumerate(targets)]
    sizes, axes = [], layout.count(",") + 1
    for image, (ids, value) in enumerate(zip(labels, values, strict=True)):
        if ids.ndim != 1 or value.ndim != axes or value.shape[0] != ids.shape[0]:
            found = f"{tuple(ids.shape)} and {tuple(value.shape)}"
            wrong_value(f"targets[{image}]", f"have `labels` of shape [N] and `{name}` of shape {layout}", found)
        sizes.append(ids.shape[0])
    bare = traced([*predictions, *labels, *values])
    ids = padded(labels, plain=bare) if labels else torch.zeros(0, 0, dtype=torch.int64, device=device)
    check_labels("labels", ids, num_classes)
    return Objects(ids, values, sizes, bare)


def _field(target: Any, image: int, name: str, device: torch.device, check: Callable[[str, Any], None]) -> Tensor:
    """A tensor with a plain dtype: labels are int64, since images with labels of different dtypes go side by side."""
    value = target.get(name) if isinstance(target, Mapping) else getattr(target, name, None)
    accepted = _LABELS if check is check_integer else _VALUES
    if type(value) is Tensor and value.dtype in accepted and value.device == device and value.layout == torch.strided:
        return value
    if value is None:
        wrong_type(f"targets[{image}]", f"be a mapping or a record with `{name}`", type(target).__name__)
    check(f"targets[{image}].{name}", value)
    if value.device != device and (value.device.type != "cpu" or device.type == "meta"):
        wrong_value(f"targets[{image}].{name}", f"be on the device {device} to match `logits`", str(value.device))
    tensor: Tensor = widened(plain(value))
    return tensor.to(device, torch.int64) if check is check_integer else tensor


def check_weights(**weights: float) -> dict[str, float]:
    """Weights of a loss: finite and not negative."""
    for name, weight in weights.items():
        check_number(name, weight, low=0)
    return {name.removesuffix("_weight"): float(weight) for name, weight in weights.items()}


def averaged_over_ranks(counts: Sequence[float], device: torch.device) -> list[Any]:
    """The counts themselves; under `torch.distributed` their means over the ranks, so that averaged gradients are those of one process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return list(counts)
    shared = torch.tensor(counts, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(shared)
    return list((shared / torch.distributed.get_world_size()).unbind())


def at_least_one(count: Any) -> Any:
    """A count, or 1 where it is less."""
    return count.clamp_min(1.0) if isinstance(count, Tensor) else max(count, 1.0)


def or_one(count: Any) -> Any:
    """A count, or 1 where it is 0."""
    return torch.where(count > 0, count, 1.0) if isinstance(count, Tensor) else count or 1.0


class Pairs(NamedTuple):
    """The matched pairs of all layers: flat indices [M] into the queries [L, B, Q] and into the padded targets [B, N], ordered by layer."""

    queries: Tensor
    targets: Tensor
    classes: Tensor  # [L, B, Q]: the class that each query should say


def read_pairs(assignments: Tensor, objects: Objects, queries: int, no_object: int) -> Pairs:
    """From the query of each target [L, B, N], −1 for none."""
    layers, batch = assignments.shape[:2]
    rows, columns = (_plain_places if objects.plain else _places)(assignments, objects, queries)
    labels = objects.labels.reshape(-1).index_select(0, columns)
    classes = torch.full((layers * batch * queries,), no_object, dtype=torch.int64, device=labels.device)
    classes = classes.scatter(0, rows, labels) if objects.plain else classes.index_copy_(0, rows, labels)
    return Pairs(rows, columns, classes.view(layers, batch, queries))


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
