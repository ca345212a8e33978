"""The paths. Each gives, for plain arguments, variants of them (`arrive`), or runs the call in another way (`run`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.paths.values import Call, Seen, bare, gradient, is_real, leaves, observe, on_tensors, values_only, walk, weights_for
from tests.public.kinds import Arguments

INTEGERS = (torch.int8, torch.int16, torch.int32, torch.uint8, torch.uint16, torch.uint32, torch.uint64)


def unchanged(arguments: Arguments) -> Iterator[Arguments]:
    yield arguments


@dataclass(frozen=True)
class Route:
    """A path: how arguments arrive, how the call is run, and how exact the result is."""

    arrive: Callable[[Arguments], Iterator[Arguments]] = unchanged
    run: Callable[[Call, Arguments], Seen] = observe
    precision: torch.dtype = torch.float64
    slow: bool = False  # along it a function goes with one example


# --- how arguments arrive ------------------------------------------------------------------------------------------------------------------------


def stored_backwards(arguments: Arguments) -> Iterator[Arguments]:
    """All axes stored in the reverse order: what `.mT` and `permute(2, 0, 1)` leave behind."""
    yield on_tensors(lambda t: t.permute(list(range(t.ndim)[::-1])).contiguous().permute(list(range(t.ndim)[::-1])), arguments)


def stored_last_two_swapped(arguments: Arguments) -> Iterator[Arguments]:
    yield on_tensors(lambda t: t.mT.contiguous().mT if t.ndim > 1 else t, arguments)


def cropped(arguments: Arguments) -> Iterator[Arguments]:
    """The inside of a larger tensor whose margin holds something else."""

    def one(t: Tensor) -> Tensor:
        room = torch.full([size + 2 for size in t.shape], 77).to(t.dtype)
        inside = room[tuple(slice(1, -1) for _ in t.shape)]
        return inside.copy_(t)

    yield on_tensors(one, arguments)


def every_other(arguments: Arguments) -> Iterator[Arguments]:
    """Every other element of a larger tensor."""

    def one(t: Tensor) -> Tensor:
        room = torch.full((*t.shape, 2), 77).to(t.dtype)
        room[..., 0] = t
        return room[..., 0]

    yield on_tensors(one, arguments)


def expanded(arguments: Arguments) -> Iterator[Arguments]:
    """What is the same along an axis, stored once."""

    def one(t: Tensor) -> Tensor:
        for axis, size in enumerate(t.shape):
            first = t.narrow(axis, 0, 1) if size else t
            if size > 1 and torch.equal(first.expand_as(t), t):
                return first.clone().expand_as(t)
        return t

    yield on_tensors(one, arguments)


def channels_last(arguments: Arguments) -> Iterator[Arguments]:
    yield on_tensors(lambda t: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t, arguments)


def integer_dtypes(arguments: Arguments) -> Iterator[Arguments]:
    """Every dtype that holds the values, and over several tensors a mixture."""
    count = 0

    def fits(t: Tensor, dtype: torch.dtype) -> bool:
        low, high = torch.iinfo(dtype).min, torch.iinfo(dtype).max
        return t.numel() == 0 or (low <= int(t.min()) and int(t.max()) <= high)

    def mixed(t: Tensor) -> Tensor:
        nonlocal count
        if t.dtype != torch.int64:
            return t
        count += 1
        chosen = [dtype for dtype in INTEGERS if fits(t, dtype)]
        return t.to(chosen[count % len(chosen)])

    for dtype in INTEGERS:
        yield on_tensors(lambda t, dtype=dtype: t.to(dtype) if t.dtype == torch.int64 and fits(t, dtype) else t, arguments)  # type: ignore[misc]
    yield on_tensors(mixed, arguments)


class Renamed(Tensor):
    """A tensor that only has another name, as torchvision's tv_tensors do."""


def subclassed(arguments: Arguments) -> Iterator[Arguments]:
    yield on_tensors(lambda t: t.as_subclass(Renamed), arguments)


def parameters(arguments: Arguments) -> Iterator[Arguments]:
    """Floating tensors are parameters of a module."""
    yield on_tensors(lambda t: torch.nn.Parameter(t) if is_real(t) else t, arguments)


def numpy_scalars(arguments: Arguments) -> Iterator[Arguments]:
    def one(leaf: Any, real: type, whole: type) -> Any:
        if isinstance(leaf, bool) or not isinstance(leaf, (int, float)):
            return leaf
        return whole(leaf) if isinstance(leaf, int) else real(leaf) if float(real(leaf)) == leaf else np.float64(leaf)

    for real, whole in ((np.float32, np.int64), (np.float64, np.int32)):
        yield walk(arguments, lambda leaf, real=real, whole=whole: one(leaf, real, whole))


def of_dtype(dtype: torch.dtype) -> Callable[[Arguments], Iterator[Arguments]]:
    """Rounded to a dtype: what is expected is the float64 result of the rounded numbers."""

    def arrive(arguments: Arguments) -> Iterator[Arguments]:
        yield on_tensors(lambda t: t.to(dtype) if is_real(t) else t, arguments)

    return arrive


# --- how the call is run -------------------------------------------------------------------------------------------------------------------------


def compiled(backend: str, fullgraph: bool = False) -> Callable[[Call, Arguments], Seen]:
    def run(call: Call, arguments: Arguments) -> Seen:
        torch.compiler.reset()
        return observe(torch.compile(call, backend=backend, fullgraph=fullgraph, dynamic=False), arguments)

    return run


def autocast(narrow: torch.dtype) -> Callable[[Call, Arguments], Seen]:
    def run(call: Call, arguments: Arguments) -> Seen:
        def under(**inner: Any) -> Any:
            with torch.autocast("cpu", dtype=narrow):
                return call(**inner)

        return observe(under, arguments)

    return run


def without_grad(call: Call, arguments: Arguments) -> Seen:
    with torch.no_grad():
        return values_only(call, arguments)


def inference(call: Call, arguments: Arguments) -> Seen:
    """Of tensors that were born without a history."""
    with torch.inference_mode():
        return values_only(call, on_tensors(torch.clone, arguments))


def by_torch_func(call: Call, arguments: Arguments) -> Seen:
    """The gradient by `torch.func.vjp` in place of autograd's tape."""
    wanted: list[Tensor] = []
    on_tensors(lambda t: wanted.append(t) or t if is_real(t) else t, arguments)  # type: ignore[func-returns-value]

    def of(*inner: Tensor) -> list[Tensor]:
        given = iter(inner)
        result = call(**on_tensors(lambda t: next(given) if is_real(t) else t, arguments))
        return [value for value in leaves(result) if is_real(value)]

    if not wanted or not of(*wanted):
        return values_only(call, arguments)
    found, pull = torch.func.vjp(of, *wanted)
    slopes = []
    for place, value in enumerate(found):
        upstream = [torch.zeros_like(other) for other in found]
        upstream[place] = weights_for(value.detach())
        slopes.append(list(pull(upstream)))
    return Seen(values_only(call, arguments).values, slopes)


def first_alone(call: Call, arguments: Arguments) -> Seen:
    """As in training: a truth that wants no gradient may be computed with in another way than one that does."""
    wanted: list[Tensor] = []

    def one(t: Tensor) -> Tensor:
        if wanted or not is_real(t):
            return t
        wanted.append(t.detach().requires_grad_())
        return wanted[0]

    values = list(leaves(call(**on_tensors(one, arguments))))
    return Seen([bare(value) for value in values], [gradient(value, wanted) for value in values if is_real(value)])


def mapped(call: Call) -> Call:
    """The call over the first axis of every tensor, by `vmap`."""

    def many(**stacked: Any) -> Any:
        tensors: list[Tensor] = []
        on_tensors(lambda t: tensors.append(t) or t, stacked)  # type: ignore[func-returns-value]

        def one(*each: Tensor) -> list[Tensor]:
            given = iter(each)
            return [value for value in leaves(call(**on_tensors(lambda _: next(given), stacked))) if isinstance(value, Tensor)]

        return torch.func.vmap(one)(*tensors)

    return many


def one_by_one(call: Call) -> Call:
    """The same in a loop."""

    def many(**stacked: Any) -> Any:
        each = [leaves(call(**on_tensors(lambda t, row=row: t[row], stacked))) for row in range(2)]  # type: ignore[misc]
        return [torch.stack(pair) for pair in zip(*each, strict=True) if isinstance(pair[0], Tensor)]

    return many


ROUTES: dict[str, Route] = {
    "stored backwards": Route(stored_backwards),
    "last two axes swapped": Route(stored_last_two_swapped),
    "cropped": Route(cropped),
    "every other element": Route(every_other),
    "expanded": Route(expanded),
    "channels last": Route(channels_last),
    "integer dtypes": Route(integer_dtypes),
    "a subclass": Route(subclassed),
    "parameters": Route(parameters),
    "numpy scalars": Route(numpy_scalars),
    "float32": Route(of_dtype(torch.float32), precision=torch.float32),
    "float16": Route(of_dtype(torch.float16), precision=torch.float32),
    "bfloat16": Route(of_dtype(torch.bfloat16), precision=torch.float32),
    "autocast to bfloat16": Route(of_dtype(torch.float32), autocast(torch.bfloat16), torch.float32),
    "autocast to float16": Route(of_dtype(torch.float32), autocast(torch.float16), torch.float32),
    "half under autocast": Route(of_dtype(torch.bfloat16), autocast(torch.bfloat16), torch.float32),
    "no_grad": Route(run=without_grad),
    "inference mode": Route(run=inference),
    "torch.func.vjp": Route(run=by_torch_func),
    "compiled, eager": Route(run=compiled("eager"), slow=True),
    "compiled, aot_eager": Route(run=compiled("aot_eager"), slow=True),
    "compiled, one graph": Route(run=compiled("aot_eager", fullgraph=True), slow=True),
    "only the first wants a gradient": Route(run=first_alone),
}
