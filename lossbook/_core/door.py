"""The door of every public function: what comes in is made plain, so that behind it one path is left.

Behind the door there are plain tensors and Python numbers, integers of a dtype that torch computes with, and, for a loss, float32 at least with
autocast off. What cannot be made plain, such as fake tensors, goes through as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

_PLAIN = (Tensor, torch.nn.Parameter)
_BARE_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # torch stores them, and computes next to nothing with them
_HALF = (torch.float16, torch.bfloat16)


def plain(value: Any) -> Any:
    """A tensor of torch's own class and of a dtype that torch computes with; a numpy scalar as a Python number; anything else as it is.

    A subclass that only renames (torchvision's tv_tensors are such) is seen as what it is, in the same graph; one with a dispatch of its own
    stays. uint64 goes to int64 modulo 2⁶⁴, so that different ids stay different.
    """
    if isinstance(value, Tensor):
        if type(value) not in _PLAIN and type(value).__torch_dispatch__ is Tensor.__torch_dispatch__:
            value = value.as_subclass(Tensor)
        return value.to(torch.int64) if value.dtype in _BARE_UNSIGNED else value
    return value.item() if isinstance(value, np.number) else value


def widened(value: Any) -> Any:
    """A tensor of half precision as float32; anything else as it is."""
    return value.float() if isinstance(value, Tensor) and value.dtype in _HALF else value


def plain_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """The door of what keeps its arguments' dtype, under autocast too."""

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        return _as_it_is(function, [plain(value) for value in arguments], {name: plain(value) for name, value in options.items()})

    return call


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """The door of a loss or a metric: it is computed and returned in float32 at least, autocast or not."""

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        plainly = [widened(plain(value)) for value in arguments]
        return _as_it_is(function, plainly, {name: widened(plain(value)) for name, value in options.items()})

    return call


def outside_graphs(function: Callable[P, R]) -> Callable[P, R]:
    """The door of what decides by values what to do next, or computes with numpy: compiled code breaks its graph here and runs it as it is."""
    reason = "its arguments should have values to be read, outside of vmap, torch.func and whole graphs"

    uncompiled: list[Callable[P, R]] = []  # once it is asked for: it imports the compiler, for a second and more, also where nothing will be compiled

    @wraps(function)
    def apart(*arguments: P.args, **options: P.kwargs) -> R:
        if "torch._dynamo" not in sys.modules:
            return function(*arguments, **options)
        if torch.compiler.is_compiling():  # by itself
            from torch._dynamo import graph_break

            graph_break(msg=reason)
        if not uncompiled:
            uncompiled.append(torch.compiler.disable(function))  # type: ignore[no-untyped-call]
        return uncompiled[0](*arguments, **options)

    # as `torch.compiler.disable` marks it
    apart._torchdynamo_disable = True  # type: ignore[attr-defined]
    apart._torchdynamo_disable_msg = reason  # type: ignore[attr-defined]
    return apart


def _as_it_is(function: Callable[..., R], arguments: list[Any], options: dict[str, Any]) -> R:
    """The call with autocast off."""
    if not torch._C._is_any_autocast_enabled():
        return function(*arguments, **options)
    with torch.autocast(_device([*arguments, *options.values()]), enabled=False):
        return function(*arguments, **options)


def _device(values: Iterable[Any]) -> str:
    """The kind of device that the first tensor lies on, where autocast knows it."""
    kinds = (value.device.type for value in values if isinstance(value, Tensor))
    return next((kind for kind in kinds if torch.amp.is_autocast_available(kind)), "cpu")
