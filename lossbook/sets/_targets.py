"""Targets as a set loss takes them, one an image, and the numbers that it divides by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lossbook._core.checks import check_labels, check_number, check_tensor, wrong_type, wrong_value
from lossbook.sets.matching import Assignment


class BoxTargets(NamedTuple):
    """The objects of one image: class ids [N] and boxes [N, 4] (centre x, centre y, width, height), relative to the image's size."""

    labels: Tensor
    boxes_cxcywh: Tensor


class MaskTargets(NamedTuple):
    """The objects of one image: class ids [N] and masks [N, H, W] of 0 and 1 (any dtype)."""

    labels: Tensor
    masks: Tensor


class Objects(NamedTuple):
    """The targets of a batch: padded labels [B, N], what is to be found in each image [N_b, ...], and the numbers N_b."""

    labels: Tensor
    values: list[Tensor]
    sizes: list[int]


def read_targets(targets: Sequence[Any], batch: int, num_classes: int, name: str, layout: str) -> Objects:
    """Each target's `labels` and `name`, from a mapping or an object with attributes; `layout` is the shape of `name`, such as "[N, 4]"."""
    if len(targets) != batch:
        wrong_value("targets", f"hold {batch} images to match `logits`", len(targets))
    labels = [_field(target, image, "labels") for image, target in enumerate(targets)]
    values = [_field(target, image, name) for image, target in enumerate(targets)]
    sizes, axes = [], layout.count(",") + 1
    for image, (ids, value) in enumerate(zip(labels, values, strict=True)):
        if ids.ndim != 1 or value.ndim != axes or value.shape[0] != ids.shape[0]:
            found = f"{tuple(ids.shape)} and {tuple(value.shape)}"
            wrong_value(f"targets[{image}]", f"have `labels` of shape [N] and `{name}` of shape {layout}", found)
        sizes.append(ids.shape[0])
    padded = pad_sequence(labels, batch_first=True) if labels else torch.zeros(0, 0, dtype=torch.int64)
    check_labels("labels", padded, num_classes)
    return Objects(padded.long(), values, sizes)


def _field(target: Any, image: int, name: str) -> Tensor:
    value = target.get(name) if isinstance(target, Mapping) else getattr(target, name, None)
    if value is None:
        wrong_type(f"targets[{image}]", f"be a mapping or a record with `{name}`", type(target).__name__)
    check_tensor(f"targets[{image}].{name}", value)
    tensor: Tensor = value
    return tensor


def check_weights(**weights: float) -> dict[str, float]:
    """Weights of a loss: finite and not negative."""
    for name, weight in weights.items():
        check_number(name, weight, low=0)
    return {name.removesuffix("_weight"): float(weight) for name, weight in weights.items()}


def averaged_over_ranks(counts: Sequence[float], device: torch.device) -> list[float]:
    """The counts themselves; under `torch.distributed` their means over the ranks, so that averaged gradients are those of one process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return list(counts)
    shared = torch.tensor(counts, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(shared)
    mean: list[float] = (shared / torch.distributed.get_world_size()).tolist()
    return mean


class Pairs(NamedTuple):
    """The matched pairs of all layers: flat indices [M] into the queries [L, B, Q] and into the padded targets [B, N], ordered by layer."""

    queries: Tensor
    targets: Tensor
    classes: Tensor  # [L, B, Q]: the class that each query should say


def read_pairs(assignments: Assignment, labels: Tensor, queries: int, no_object: int) -> Pairs:
    """From the query of each target [L, B, N], −1 for none."""
    layers, batch, size = assignments.shape
    place = np.flatnonzero(assignments >= 0)
    rows, columns = assignments.reshape(-1)[place] + place // max(size, 1) * queries, place % max(batch * size, 1)
    flat = torch.from_numpy(np.stack([rows, columns])).to(labels.device, non_blocking=True)
    classes = torch.full((layers * batch * queries,), no_object, dtype=torch.int64, device=labels.device)
    classes.index_copy_(0, flat[0], labels.reshape(-1).index_select(0, flat[1]))
    return Pairs(flat[0], flat[1], classes.view(layers, batch, queries))
