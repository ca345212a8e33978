"""Arguments and results of any shape: walk through them, copy them plainly, take them apart, and compare them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tests.public.kinds import Arguments
from tests.tolerances import TOLERANCES

Array = np.ndarray[Any, np.dtype[np.float64]]
Call = Callable[..., Any]


class Seen(NamedTuple):
    """Every number of a result, and for every floating tensor in it the gradient in each floating argument; None where none was asked."""

    values: list[Any]
    gradients: list[list[Tensor]] | None


def walk(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same structure with `change` applied to every leaf."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(walk(part, change) for part in value))
    if isinstance(value, (list, tuple)):
        return type(value)(walk(part, change) for part in value)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: walk(part, change) for key, part in value.items()}
    return change(value)


def on_tensors(change: Callable[[Tensor], Tensor], arguments: Arguments) -> Arguments:
    """`change` applied to every tensor among the arguments."""
    found: Arguments = walk(arguments, lambda leaf: change(leaf) if isinstance(leaf, Tensor) else leaf)
    return found


def is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype.is_floating_point


def plain(arguments: Arguments) -> Arguments:
    """The same values in the plainest way; generators in the same state."""

    def one(leaf: Any) -> Any:
        if isinstance(leaf, torch.Generator):
            return torch.Generator().set_state(leaf.get_state())
        if isinstance(leaf, np.generic):
            return leaf.item()
        if not isinstance(leaf, Tensor):
            return leaf
        bare = leaf.detach().as_subclass(Tensor)
        dtype = torch.float64 if is_real(bare) else bare.dtype if bare.dtype == torch.bool else torch.int64
        return bare.to(dtype).clone(memory_format=torch.contiguous_format)

    found: Arguments = walk(arguments, one)
    return found


def leaves(result: Any) -> Iterator[Any]:
    """Every tensor, array and number of a result, in order."""
    if isinstance(result, (Tensor, np.ndarray, int, float, np.generic)):
        yield result
    elif isinstance(result, Mapping):
        for part in result.values():
            yield from leaves(part)
    elif isinstance(result, (list, tuple)):
        for part in result:
            yield from leaves(part)
    elif is_dataclass(result):
        for field in fields(result):
            yield from leaves(getattr(result, field.name))
    elif hasattr(result, "__dict__") and not callable(result):
        yield from leaves(vars(result))


def differentiable(arguments: Arguments) -> tuple[Arguments, list[Tensor]]:
    """The arguments with every floating tensor a leaf that wants a gradient, in the memory that it lies in; and these leaves."""
    wanted: list[Tensor] = []

    def one(leaf: Any) -> Any:
        if not is_real(leaf):
            return leaf
        wanted.append(leaf if isinstance(leaf, torch.nn.Parameter) else leaf.detach().requires_grad_())
        return wanted[-1]

    return walk(arguments, one), wanted


def observe(call: Call, arguments: Arguments) -> Seen:
    """Value and gradient of every part."""
    prepared, wanted = differentiable(arguments)
    values = list(leaves(call(**prepared)))
    return Seen([bare(value) for value in values], [gradient(value, wanted) for value in values if is_real(value)])


def values_only(call: Call, arguments: Arguments) -> Seen:
    return Seen([bare(value) for value in leaves(call(**arguments))], None)


def bare(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def weights_for(value: Tensor) -> Tensor:
    """Another weight for every element, so that no two of them can change places; none for what is infinite."""
    weights = torch.cos(torch.arange(value.numel(), dtype=torch.float64)).to(value.dtype).view(value.shape)
    return torch.where(value.isfinite(), weights, 0)


def gradient(value: Tensor, wanted: list[Tensor]) -> list[Tensor]:
    """Of the weighted sum of a value's elements; zero where it does not depend on an argument."""
    slopes: list[Tensor | None] = [None] * len(wanted)
    if value.requires_grad:
        slopes = list(torch.autograd.grad(value, wanted, weights_for(value.detach()), retain_graph=True, allow_unused=True))
    return [torch.zeros_like(leaf) if slope is None else slope for slope, leaf in zip(slopes, wanted, strict=True)]


def as_array(value: Any) -> Array:
    found: Array = np.asarray(value.double() if isinstance(value, Tensor) else value, dtype=np.float64)
    return found


def assert_same(found: Any, expected: Any, precision: torch.dtype, what: str, scale: float) -> None:
    """Equal within the rounding of `precision`, at the scale of the numbers that went in; infinite where the dtype found ends."""
    one, other = as_array(found), as_array(expected)
    assert one.shape == other.shape, f"{what}: shape {one.shape} for {other.shape}"
    if isinstance(found, Tensor) and found.dtype in TOLERANCES:
        precision = max((precision, found.dtype), key=lambda dtype: TOLERANCES[dtype].rtol)
        held = as_array(torch.from_numpy(np.array(other)).to(found.dtype))
    else:
        held = other
    rtol, atol = TOLERANCES[precision]
    with np.errstate(invalid="ignore"):
        finite = other[np.isfinite(other)]
        largest = np.abs(finite).max(initial=0)
        near = np.abs(one - other) <= atol * max(scale, 1) + rtol * np.maximum(np.abs(other), largest)
    same = (one == held) | (np.isnan(one) & np.isnan(other))
    assert bool((near | same).all()), f"{what}: {one} should be {other}"


def largest(arguments: Arguments) -> float:
    """The largest finite magnitude that went in."""
    sizes = [0.0]
    on_tensors(lambda t: sizes.append(float(t.detach().double().nan_to_num(0, 0, 0).abs().max())) or t if t.numel() else t, arguments)
    return max(sizes)


def assert_agrees(found: Seen, expected: Seen, precision: torch.dtype, scale: float) -> None:
    """The same numbers; without gradients, of a call that kept no history, the same values."""
    for number, (one, other) in enumerate(zip(found.values, expected.values, strict=True)):
        assert_same(one, other, precision, f"value {number}", scale)
    for number, (one, other) in enumerate(zip(found.gradients or [], (expected.gradients or []) if found.gradients is not None else [], strict=True)):
        for place, (slope, right) in enumerate(zip(one, other, strict=False)):  # a path may ask for the first alone
            assert_same(slope, right, precision, f"gradient of value {number} in argument {place}", scale)
