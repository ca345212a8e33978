"""What tensors are checked for at the door of a public function; errors are worded in `arguments`.

Shape and dtype are read for free and always checked. Values are checked wherever they are at hand:

- Eager, on a CPU, also under `vmap` and `torch.func`, and for tensor subclasses: a `ValueError` that says what was found.
- In a graph of `torch.compile` or `torch.export` on a CPU: the check goes into the graph, and running it with wrong values is a `RuntimeError` with
  the same words, but for the finding.
- On another device, for fake tensors, and inside a `vmap` or `grad` that is itself compiled, values are not looked at: that would synchronise or
  break the trace. The result is then that of the formula; a label that no class has is an error of torch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lossbook._core.arguments import check_callable as check_callable
from lossbook._core.arguments import check_choice as check_choice
from lossbook._core.arguments import check_count as check_count
from lossbook._core.arguments import check_flag as check_flag
from lossbook._core.arguments import check_ignore_index as check_ignore_index
from lossbook._core.arguments import check_number as check_number
from lossbook._core.arguments import wrong_type as wrong_type
from lossbook._core.arguments import wrong_value as wrong_value

FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def readable(tensor: Tensor) -> Tensor | None:
    """A tensor whose values can be read without synchronising a device or breaking a trace; under `vmap` and `torch.func` all of them at once."""
    if torch.compiler.is_compiling():
        return None
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    if tensor.device.type != "cpu" or type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return None
    return tensor.detach()


def values_readable(tensor: Tensor) -> bool:
    """True where `tensor` itself has values to be read: eager, on a CPU, and in no transformation."""
    if torch.compiler.is_compiling() or tensor.device.type != "cpu" or type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def check_values(
    parameter: str, value: Tensor, right: Callable[[Tensor], Tensor], expected: str, found: Callable[[Tensor], object] = lambda value: value
) -> None:
    """`right` is true of every element of `value`, which should do what `expected` says; `found` words what was found."""
    if value.numel() == 0:
        return
    if torch.compiler.is_compiling():
        # `vmap` has no rule for an assertion
        if value.device.type == "cpu" and torch._C._functorch.get_dynamic_layer_stack_depth() == 0:
            torch._assert_async(right(value).all(), f"`{parameter}` should {expected}.")
        return
    seen = readable(value)
    if seen is not None and not bool(right(seen).all()):
        wrong_value(parameter, expected, found(seen))


def check_concrete(parameter: str, value: Tensor) -> None:
    """`value` has values of its own to be read, as a function needs that decides by them what to do next.

    Under `torch.compile` the graph breaks here and the function runs as it is; where there may be only one graph, torch says that it broke, and why.
    """
    expected = "have values to be read, outside of vmap, torch.func and whole graphs"
    if torch.compiler.is_compiling():
        from torch._dynamo import graph_break

        graph_break(msg=f"`{parameter}` should {expected}.")
        return
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(value)
    if wrapped or value.device.type == "meta" or type(value).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        wrong_type(parameter, expected, "a tensor inside of one" if wrapped else f"a {type(value).__name__} on the device {value.device}")


def check_tensor(parameter: str, value: Any) -> None:
    """`value` is a torch tensor."""
    if not isinstance(value, Tensor):
        wrong_type(parameter, "be a torch.Tensor", type(value).__name__)
    if value.layout != torch.strided or value.is_nested:
        wrong_type(parameter, "be a dense tensor", "a nested one" if value.is_nested else str(value.layout))


def check_floating(parameter: str, value: Any) -> None:
    """`value` is a tensor of a real floating-point dtype."""
    check_tensor(parameter, value)
    if value.dtype not in FLOATING:
        wrong_type(parameter, "have a floating-point dtype", str(value.dtype))


def check_real(parameter: str, value: Any) -> None:
    """`value` is a tensor of real numbers, of a floating-point dtype, an integer one, or bool."""
    check_tensor(parameter, value)
    if value.dtype.is_complex or (value.dtype.is_floating_point and value.dtype not in FLOATING):
        wrong_type(parameter, "have a dtype of real numbers", str(value.dtype))


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
    check_same_device(parameter, value, reference_name, reference)


def check_same_device(parameter: str, value: Tensor, reference_name: str, reference: Tensor) -> None:
    """`value` lies on the device of `reference`."""
    if value.device != reference.device:
        wrong_value(parameter, f"be on the device {reference.device} to match `{reference_name}`", str(value.device))


def check_same_dtype(parameter: str, value: Tensor, reference_name: str, reference: Tensor) -> None:
    """`value` has the dtype of `reference`: a matrix product takes one."""
    if value.dtype != reference.dtype:
        wrong_type(parameter, f"have the dtype {reference.dtype} to match `{reference_name}`", str(value.dtype))


def check_generator(parameter: str, value: Any) -> None:
    """`value` is a generator on the CPU, where the same numbers are drawn whatever computes with them; or None."""
    if value is None:
        return
    if not isinstance(value, torch.Generator):
        wrong_type(parameter, "be a torch.Generator", type(value).__name__)
    if value.device.type != "cpu":
        wrong_value(parameter, "be on the CPU", str(value.device))


def check_labels(parameter: str, labels: Tensor, num_classes: int, *, ignore_index: int | None = None) -> None:
    """Class ids lie in [0, num_classes), or are `ignore_index`."""
    check_integer(parameter, labels)

    def right(values: Tensor) -> Tensor:
        values = values.long()  # uint8 holds neither 300 nor -100, and would be compared with 44 and 156
        inside = (values >= 0) & (values < num_classes)
        return inside if ignore_index is None else inside | (values == ignore_index)

    least, most = _extremes(labels) or (-1, -1)
    if not 0 <= least <= most < num_classes:  # or unknown, or some are ignored
        check_values(parameter, labels, right, f"lie in [0, {num_classes})", lambda values: f"values from {least} to {most}")


def check_range(parameter: str, value: Tensor, low: float, high: float) -> None:
    """Every element is real and lies in [low, high]; NaN does not."""
    check_real(parameter, value)
    extremes = _extremes(value)
    if extremes is not None:
        check_extremes(parameter, *extremes, low, high)
    else:
        check_values(parameter, value, lambda value: (value >= low) & (value <= high), _between(low, high))


def check_extremes(parameter: str, least: float, most: float, low: float, high: float) -> None:
    """The least and the largest element lie in [low, high]; NaN does not."""
    if not (least >= low and most <= high):
        found = "NaN" if least != least else f"values from {least:g} to {most:g}"
        wrong_value(parameter, _between(low, high), found)


def _between(low: float, high: float) -> str:
    return f"be at least {low:g}" if high == math.inf else f"lie in [{low:g}, {high:g}]"


def check_hard(parameter: str, value: Tensor) -> None:
    """Every element is 0 or 1."""
    check_values(parameter, value, lambda value: (value == 0) | (value == 1), "hold only 0 and 1", _few)


def check_distribution(parameter: str, value: Tensor, axis: int) -> None:
    """Along `axis` the elements lie in [0, 1] and sum to 1, to within the rounding of half precision."""
    check_range(parameter, value, 0.0, 1.0)
    sums = value.detach().sum(axis, dtype=torch.promote_types(value.dtype, torch.float32))
    check_values(parameter, sums, lambda sums: (sums - 1).abs() <= 1e-2, f"sum to 1 along axis {axis}", _worst_sum)


def check_signs(parameter: str, signs: Any) -> None:
    """Every element is -1 or +1, of a real dtype that has both."""
    check_tensor(parameter, signs)
    if signs.dtype == torch.bool or signs.dtype.is_complex:
        wrong_type(parameter, "have a floating-point or integer dtype", str(signs.dtype))
    # -1 is 255 in uint8
    check_values(parameter, signs, lambda signs: (signs == 1) | (signs == -1) & (signs < 0), "hold only -1 and +1", _few)


def check_finite(parameter: str, value: Tensor) -> None:
    """No NaN and no infinity."""
    extremes = _extremes(value)
    if extremes is None or not all(map(math.isfinite, extremes)):
        check_values(parameter, value, torch.isfinite, "be finite", lambda value: "NaN" if bool(value.isnan().any()) else "an infinity")


def _extremes(value: Tensor) -> tuple[float, float] | None:
    """The least and the largest element in one pass, NaN where any is NaN; None where there are none, or none that can be read."""
    seen = readable(value)
    if seen is None or seen.numel() == 0:
        return None
    least, most = torch.aminmax(seen)
    return least.item(), most.item()


def _worst_sum(sums: Tensor) -> str:
    return f"a sum of {float(sums.flatten()[(sums - 1).abs().argmax()]):g}"


def _few(values: Tensor) -> str:
    return f"{sorted(set(values.flatten().tolist()))[:5]}"
