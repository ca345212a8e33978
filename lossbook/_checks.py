"""The one place that words errors: parameter, expectation, finding.

Shape and dtype are read for free and always checked. Values are looked at only where that costs no synchronisation and breaks no trace:
see `values_readable`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NoReturn

import torch
from torch import Tensor


def wrong_value(parameter: str, expected: str, found: object) -> NoReturn:
    """Raise a `ValueError` that names parameter, expectation and finding."""
    raise ValueError(f"`{parameter}` should {expected}; found {found}.")


def wrong_type(parameter: str, expected: str, found: object) -> NoReturn:
    """Raise a `TypeError` that names parameter, expectation and finding."""
    raise TypeError(f"`{parameter}` should {expected}; found {found}.")


def values_readable(tensor: Tensor) -> bool:
    """True where reading values neither synchronises a device nor breaks a trace (`torch.compile`, `vmap`, fake tensors)."""
    if torch.compiler.is_compiling() or tensor.device.type != "cpu":
        return False
    if type(tensor) is not Tensor and type(tensor) is not torch.nn.Parameter:
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def check_tensor(parameter: str, value: Any) -> None:
    """`value` is a torch tensor."""
    if not isinstance(value, Tensor):
        wrong_type(parameter, "be a torch.Tensor", type(value).__name__)


def check_floating(parameter: str, value: Any) -> None:
    """`value` is a tensor of a real floating-point dtype."""
    check_tensor(parameter, value)
    if not value.dtype.is_floating_point:
        wrong_type(parameter, "have a floating-point dtype", str(value.dtype))


def check_integer(parameter: str, value: Any) -> None:
    """`value` is a tensor of an integer dtype (bool is none)."""
    check_tensor(parameter, value)
    if value.dtype.is_floating_point or value.dtype.is_complex or value.dtype == torch.bool:
        wrong_type(parameter, "have an integer dtype", str(value.dtype))


def check_ndim(parameter: str, value: Tensor, ndim: int, layout: str) -> None:
    """`value` has `ndim` axes, described by `layout`, such as "[N, K]"."""
    if value.ndim != ndim:
        wrong_value(parameter, f"have shape {layout}", tuple(value.shape))


def check_same_shape(parameter: str, value: Any, reference_name: str, reference: Tensor) -> None:
    """`value` is a tensor of the shape of `reference`; nothing is broadcast between prediction and truth."""
    check_tensor(parameter, value)
    if value.shape != reference.shape:
        wrong_value(parameter, f"have shape {tuple(reference.shape)} to match `{reference_name}`", tuple(value.shape))


def check_same_dtype(parameter: str, value: Tensor, reference_name: str, reference: Tensor) -> None:
    """`value` has the dtype of `reference`: a matrix product takes one."""
    if value.dtype != reference.dtype:
        wrong_type(parameter, f"have the dtype {reference.dtype} to match `{reference_name}`", str(value.dtype))


def check_choice(parameter: str, value: object, choices: Collection[str]) -> None:
    """`value` is one of `choices`."""
    if value not in choices:
        wrong_value(parameter, "be one of " + ", ".join(repr(choice) for choice in choices), repr(value))


def check_number(
    parameter: str,
    value: Any,
    *,
    low: float = float("-inf"),
    high: float = float("inf"),
    low_open: bool = False,
    high_open: bool = False,
) -> None:
    """`value` is a finite real number inside the interval from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        wrong_type(parameter, "be a real number", type(value).__name__)
    inside = (value > low if low_open else value >= low) and (value < high if high_open else value <= high)
    if not inside or value in (float("inf"), float("-inf")):
        interval = f"{'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
        wrong_value(parameter, f"lie in {interval}", value)


def check_count(parameter: str, value: Any, *, low: int = 1) -> None:
    """`value` is an integer of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, int):
        wrong_type(parameter, "be an integer", type(value).__name__)
    if value < low:
        wrong_value(parameter, f"be at least {low}", value)


def check_callable(parameter: str, value: Any) -> None:
    """`value` can be called."""
    if not callable(value):
        wrong_type(parameter, "be callable", type(value).__name__)


def check_labels(parameter: str, labels: Tensor, num_classes: int, *, ignore_index: int | None = None) -> None:
    """Class ids lie in [0, num_classes). Looked at only where `values_readable`."""
    check_integer(parameter, labels)
    if labels.numel() == 0 or not values_readable(labels):
        return
    values = labels if ignore_index is None else labels[labels != ignore_index]
    if values.numel():
        least, most = (int(value) for value in torch.aminmax(values))
        if least < 0 or most >= num_classes:
            wrong_value(parameter, f"lie in [0, {num_classes})", f"values from {least} to {most}")


def check_range(parameter: str, value: Tensor, low: float, high: float) -> None:
    """Every element lies in [low, high]; NaN does not. Looked at only where `values_readable`."""
    if value.numel() == 0 or not values_readable(value):
        return
    least, most = (float(extreme) for extreme in torch.aminmax(value.detach()))  # one pass; NaN where any element is
    check_extremes(parameter, least, most, low, high)


def check_extremes(parameter: str, least: float, most: float, low: float, high: float) -> None:
    """The least and the largest element lie in [low, high]; NaN does not."""
    if not (least >= low and most <= high):
        found = "NaN" if least != least else f"values from {least:g} to {most:g}"
        wrong_value(parameter, f"lie in [{low:g}, {high:g}]", found)


def check_distribution(parameter: str, value: Tensor, axis: int) -> None:
    """Along `axis` the elements lie in [0, 1] and sum to 1, to within the rounding of half precision. Looked at only where `values_readable`."""
    check_range(parameter, value, 0.0, 1.0)
    if value.numel() == 0 or not values_readable(value):
        return
    sums = value.detach().double().sum(axis)
    worst = float(sums.flatten()[(sums - 1).abs().argmax()])
    if abs(worst - 1) > 1e-2:
        wrong_value(parameter, f"sum to 1 along axis {axis}", f"a sum of {worst:g}")


def check_signs(parameter: str, signs: Any) -> None:
    """Every element is -1 or +1, of a real dtype that has both. Looked at only where `values_readable`."""
    check_tensor(parameter, signs)
    if signs.dtype == torch.bool or signs.dtype.is_complex:
        wrong_type(parameter, "have a floating-point or integer dtype", str(signs.dtype))
    if signs.numel() and values_readable(signs) and not bool((signs.abs() == 1).all()):
        wrong_value(parameter, "hold only -1 and +1", f"{sorted(set(signs.flatten().tolist()))[:5]}")


def check_finite(parameter: str, value: Tensor) -> None:
    """No NaN and no infinity. Looked at only where `values_readable`."""
    if value.numel() and values_readable(value) and not bool(value.isfinite().all()):
        wrong_value(parameter, "be finite", "NaN" if bool(value.isnan().any()) else "an infinity")
