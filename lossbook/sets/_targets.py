"""Targets as a set loss takes them, one an image, and the numbers that it divides by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lossbook._checks import check_labels, check_number, check_tensor, wrong_type, wrong_value


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
    sizes = []
    for image, (ids, value) in enumerate(zip(labels, values, strict=True)):
        if ids.ndim != 1 or value.ndim != layout.count(",") + 1 or value.shape[0] != ids.shape[0]:
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


def class_loss(log_probs: Tensor, labels: Tensor, queries: Tensor, no_object_weight: float, total_weight: float) -> Tensor:
    """Weighted cross-entropy of every query by layer, [L]: towards its target's class, or "no object" (the last) for a query without one.

    `log_probs` [L, B, Q, K+1], `labels` [B, N], and the `queries` [L, B, N] of the targets, −1 for none.
    """
    layers, batch, count, classes = log_probs.shape
    wanted = torch.full((layers, batch, count + 1), classes - 1, dtype=torch.int64, device=log_probs.device)
    wanted.scatter_(2, queries.where(queries >= 0, count), labels.expand(layers, batch, -1))  # column Q takes what has no query
    weight = log_probs.new_ones(classes)
    weight[-1] = no_object_weight
    losses = torch.nn.functional.nll_loss(log_probs.reshape(-1, classes), wanted[:, :, :count].reshape(-1), weight, reduction="none")
    return losses.view(layers, -1).sum(1) / (total_weight or 1.0)
