"""Targets as a set loss takes them, one an image, and the numbers that it divides by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import (
    check_integer,
    check_labels,
    check_number,
    check_real,
    check_tensor,
    check_values,
    values_readable,
    wrong_type,
    wrong_value,
)
from lossbook._core.door import plain, widened
from lossbook.sets._traced import padded, traced

_FAR = 2.0  # a box around the whole image ends at 1

# What nothing needs to be done to, which is almost everything.
_LABELS = (torch.int64,)
_VALUES = (torch.float32, torch.bool, torch.float64)

# How others call the fields: transformers has `class_labels` and `boxes`, torchvision `labels` and `boxes`. Our own name goes first.
_NAMES = {"labels": ("labels", "class_labels"), "boxes_cxcywh": ("boxes_cxcywh", "boxes"), "masks": ("masks",), "ignore": ("ignore",)}


class BoxTargets(NamedTuple):
    """The objects of one image: class ids [N] and boxes [N, 4] (centre x, centre y, width, height), relative to the image's size."""

    labels: Tensor
    boxes_cxcywh: Tensor


class MaskTargets(NamedTuple):
    """The objects of one image: class ids [N] and masks [N, H, W] of 0 and 1 (any dtype). With pixels to ignore a target is a mapping."""

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

    Either may have one of the names that others give it.

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
            found, called = f"{tuple(ids.shape)} and {tuple(value.shape)}", [called_in(targets[image], field) for field in ("labels", name)]
            wrong_value(f"targets[{image}]", f"have `{called[0]}` of shape [N] and `{called[1]}` of shape {layout}", found)
        sizes.append(ids.shape[0])
    bare = traced([*predictions, *labels, *values])
    ids = padded(labels, plain=bare) if labels else torch.zeros(0, 0, dtype=torch.int64, device=device)
    check_labels("labels", ids, num_classes)
    return Objects(ids, values, sizes, bare)


def _field(target: Any, image: int, name: str, device: torch.device, check: Callable[[str, Any], None]) -> Tensor:
    """A tensor with a plain dtype: labels are int64, since images with labels of different dtypes go side by side."""
    value = read_field(target, name)
    accepted = _LABELS if check is check_integer else _VALUES
    if type(value) is Tensor and value.dtype in accepted and value.device == device and value.layout == torch.strided:
        return value
    if value is None:
        wrong_type(f"targets[{image}]", f"be a mapping or a record with `{name}`", type(target).__name__)
    field = f"targets[{image}].{called_in(target, name)}"
    check(field, value)
    if value.device != device and (value.device.type != "cpu" or device.type == "meta"):
        wrong_value(field, f"be on the device {device} to match `logits`", str(value.device))
    tensor: Tensor = widened(plain(value))
    return tensor.to(device, torch.int64) if check is check_integer else tensor


def read_ignored(targets: Sequence[Any], objects: Objects) -> Tensor | None:
    """Which pixels of each image are ignored, bool [B, H, W], on the device of the labels; None where no target has `ignore`.

    For the objects of a batch whose masks have one size; where there are none, there is nothing to ignore.
    """
    given = [read_field(target, "ignore") for target in targets]
    if all(value is None for value in given):
        return None
    device, read = objects.labels.device, []
    for image, (value, masks, size) in enumerate(zip(given, objects.values, objects.sizes, strict=True)):
        found, field = masks.new_zeros(masks.shape[1:], dtype=torch.bool) if value is None else value, f"targets[{image}].ignore"
        check_tensor(field, found)
        if found.dtype != torch.bool:
            wrong_type(field, "have the dtype torch.bool", str(found.dtype))
        if found.device != device and (found.device.type != "cpu" or device.type == "meta") and value is not None:
            wrong_value(field, f"be on the device {device} to match `logits`", str(found.device))
        if found.shape != masks.shape[1:] and size:
            wrong_value(field, f"have shape {tuple(masks.shape[1:])} to match the masks", tuple(found.shape))
        read.append(plain(found).to(device) if size else torch.zeros(masks.shape[1:], dtype=torch.bool, device=device))
    return torch.stack(read)


def read_field(target: Any, name: str) -> Any:
    """What a mapping or a record has by the first of the names for it; None where it has none of them."""
    for called in _NAMES[name]:
        value = target.get(called) if isinstance(target, Mapping) else getattr(target, called, None)
        if value is not None:
            return value
    return None


def called_in(target: Any, name: str) -> str:
    """The first of the names for a field that a target has."""
    has = target.__contains__ if isinstance(target, Mapping) else lambda called: hasattr(target, called)
    return next((called for called in _NAMES[name] if has(called)), name)


def check_relative(targets: Any, boxes_cxcywh: Tensor) -> None:
    """Padded boxes [B, N, 4] of `targets` are in units of the image's size: a coordinate above 2 is one in pixels."""
    if not boxes_cxcywh.numel():
        return
    most = boxes_cxcywh.detach().amax((1, 2))
    expected = "(centre x, centre y, width, height) relative to the image's size"
    if not values_readable(most):
        check_values("targets", most, lambda most: ~(most > _FAR), f"have boxes {expected}", lambda most: f"values up to {most.max():g}")
        return
    for image, value in enumerate(most.tolist()):
        if value > _FAR:
            called = called_in(targets[image], "boxes_cxcywh")
            wrong_value(f"targets[{image}].{called}", f"be {expected}", f"values up to {value:g}")


def check_weights(**weights: float) -> dict[str, float]:
    """Weights of a loss: finite and not negative."""
    for name, weight in weights.items():
        check_number(name, weight, low=0)
    return {name.rpartition("_")[0]: float(weight) for name, weight in weights.items()}


def read_weights(parameter: str, weights: Any, count: int | None = None) -> list[float] | None:
    """One weight for each of `count`, from a tensor or numbers, finite and not negative; None for none."""
    if weights is None:
        return None
    if isinstance(weights, Tensor) and weights.ndim == 1:
        check_real(parameter, weights)
        weights = weights.tolist()
    if not isinstance(weights, (list, tuple)):
        wrong_type(parameter, "be a tensor of shape [N] or a sequence of numbers", _shown(weights))
    numbers = [plain(weight) for weight in weights]
    for place, weight in enumerate(numbers):
        check_number(f"{parameter}[{place}]", weight, low=0)
    if not numbers or (count is not None and len(numbers) != count):
        wrong_value(parameter, "hold at least one number" if count is None else f"hold {count} numbers, one a class", len(numbers))
    return [float(weight) for weight in numbers]


def check_layers(parameter: str, predictions: Tensor, layer_weights: list[float] | None) -> None:
    """Predictions [L, B, Q, K], or [B, Q, K] for one layer, have as many layers as there are weights for."""
    layers = predictions.shape[0] if predictions.ndim == 4 else 1
    if layer_weights is not None and layers != len(layer_weights):
        wrong_value(parameter, f"have {len(layer_weights)} layers, as `layer_weights` has", layers)


def settings_in_words(settings: dict[str, Any]) -> str:
    """For a criterion's `repr`: what is None is left out, and numbers are short."""
    return ", ".join(f"{name}={_in_words(value)}" for name, value in settings.items() if value is not None)


def _in_words(value: Any) -> str:
    if isinstance(value, (str, int)):
        return repr(value)
    return "[" + ", ".join(f"{number:g}" for number in value) + "]" if isinstance(value, list) else f"{value:g}"


def _shown(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def averaged_over_ranks(counts: Sequence[float], device: torch.device) -> list[Any]:
    """The counts themselves; under `torch.distributed` their means over the ranks, so that averaged gradients are those of one process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return list(counts)
    shared = torch.tensor(counts, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(shared)
    return list((shared / torch.distributed.get_world_size()).unbind())


def averaged(sums: Tensor) -> Tensor:
    """The same for numbers that are a tensor already."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return sums
    shared = sums.detach().double()
    torch.distributed.all_reduce(shared)
    return (shared / torch.distributed.get_world_size()).to(sums.dtype)


def at_least_one(count: Any) -> Any:
    """A count, or 1 where it is less; of a mean over ranks, what each of them has of 1."""
    return count.clamp_min(1.0 / torch.distributed.get_world_size()) if isinstance(count, Tensor) else max(count, 1.0)


def or_one(count: Any) -> Any:
    """A count, or 1 where it is 0."""
    return torch.where(count > 0, count, 1.0) if isinstance(count, Tensor) else count or 1.0
