"""The same numbers in another memory order, as a tensor subclass, in other integers, in another mode, and many of them in half precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lossbook.auditor._bench import Bench, Case, LossRaised, call, filled_memory, quoted, shows
from lossbook.auditor._compare import Path, Slope, along, relative_difference
from lossbook.auditor._finding import Finding, not_supported

Handed = Callable[[Case], Case]  # a case as the loss gets it

Named = type("Named", (Tensor,), {})  # a subclass that only renames, as the images and boxes of some libraries are
NAMED = 'Named = type("Named", (torch.Tensor,), {})'
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64)
MANY_CLASSES = 256  # as many as uint8 can tell apart
MANY, LOST = 4096, 0.05  # examples, and the share of their loss that bfloat16 may lose


def _strided(tensor: Tensor) -> Tensor:
    return torch.stack([-tensor, tensor], -1)[..., 1]


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.transpose(0, -1).contiguous().transpose(0, -1)


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.movedim(1, -1).contiguous().movedim(-1, 1)


def _expanded(tensor: Tensor) -> Tensor:
    return tensor[:1].expand(tensor.shape)


ORDERS = (  # what it is called, from how many axes on, and as code
    ("strided", 1, _strided, "torch.stack([-{0}, {0}], -1)[..., 1]"),
    ("transposed", 2, _transposed, "{0}.transpose(0, -1).contiguous().transpose(0, -1)"),
    ("channels-last", 3, _channels_last, "{0}.movedim(1, -1).contiguous().movedim(-1, 1)"),
    ("expanded", 1, _expanded, "{0}[:1].expand({0}.shape)"),
)


def memory_order(bench: Bench) -> Iterator[Finding]:
    """Each argument as a stride, a transpose or an expansion leaves it."""
    paths = (path for one in _shapes(bench) for path in _orders(one))
    yield along("memory_order", paths, bench.rounding, "the same as contiguous")


def _shapes(bench: Bench) -> Iterator[Bench]:
    """The shape asked for; beside one axis also two, which can be transposed, where the loss takes them."""
    yield bench
    wide = replace(bench, shape=(4, 3))
    if len(bench.shape) == 1 and _takes(wide, wide.draw()):
        yield wide


def _takes(bench: Bench, case: Case) -> bool:
    try:
        bench.slope(case)
    except LossRaised:
        return False
    return True


def _orders(bench: Bench) -> Iterator[Path]:
    case = bench.draw()
    for place, tensor in zip(Case._fields, case, strict=True):
        for words, axes, change, code in ORDERS:
            if tensor is not None and tensor.ndim >= axes:
                yield _ordered(bench, case, place, words, change, code.format(place))


def _ordered(bench: Bench, case: Case, place: str, words: str, change: Callable[[Tensor], Tensor], code: str) -> Path:
    def there(case: Case) -> Case:
        return case._replace(**{place: change(getattr(case, place))})

    def plainly(case: Case) -> Case:
        return case._replace(**{place: change(getattr(case, place)).contiguous()})

    calls = call(case, **{place: code}), call(case, **{place: f"{code}.contiguous()"})
    return Path(f"{words} {place}", case, *calls, lambda: bench.slope(case, there), bench.slope(case, plainly))


def subclass(bench: Bench) -> Iterator[Finding]:
    """As a subclass of torch.Tensor that only renames; what is refused plainly is to be refused there too."""
    case, bad = bench.draw(), bench.bad()
    found = along("subclass", [_renamed(bench, case)], bench.rounding, "the same as a plain tensor")
    if found.passed and not _takes(bench, bad) and _takes(bench, _named(bad)):
        words = "a truth that is refused as a plain tensor is taken as a subclass"
        found = Finding("subclass", False, "taken", words, example=shows(bad, NAMED, _named_call(bad)))
    yield found


def _named_call(case: Case) -> str:
    return call(case, logits="logits.as_subclass(Named)", targets="targets.as_subclass(Named)")


def _renamed(bench: Bench, case: Case) -> Path:
    def slope() -> Slope:
        value, gradient = bench.slope(case, _named)
        return value.as_subclass(Tensor), gradient

    return Path("a subclass of torch.Tensor", case, _named_call(case), call(case), slope, bench.slope(case), NAMED)


def _named(case: Case) -> Case:
    return Case(*(None if tensor is None else tensor.as_subclass(Named) for tensor in case))  # type: ignore[arg-type]


def label_dtypes(bench: Bench) -> Iterator[Finding]:
    """Labels in every integer dtype against int64; where the loss takes as many classes, up to the largest label of the dtype."""
    if bench.targets == "labels":
        yield along("label_dtypes", (path for one in (bench, *_many(bench)) for path in _dtypes(one)), bench.rounding, "the same as int64")


def _many(bench: Bench) -> Iterator[Bench]:
    wide = replace(bench, shape=(bench.shape[0], MANY_CLASSES, *bench.shape[2:]))
    if bench.kind == "multiclass" and _takes(wide, wide.draw()):
        yield wide


def _dtypes(bench: Bench) -> Iterator[Path]:
    case = bench.draw()
    for dtype in (*INTEGERS, torch.bool) if bench.kind == "binary" else INTEGERS:
        assert case.targets is not None
        top = min(bench.classes - 1, torch.iinfo(dtype).max if dtype != torch.bool else 1)
        labels = (top - case.targets).clamp(min=0)
        yield _labelled(bench, Case(case.logits, labels), dtype)


def _labelled(bench: Bench, case: Case, dtype: torch.dtype) -> Path:
    def there(case: Case) -> Case:
        assert case.targets is not None
        return Case(case.logits, case.targets.to(dtype))

    name = str(dtype).removeprefix("torch.")
    return Path(name, case, call(case, targets=f"targets.to({dtype})"), call(case), lambda: bench.slope(case, there), bench.slope(case))


def modes(bench: Bench) -> Iterator[Finding]:
    """With new memory that holds NaN, under inference_mode and no_grad, by torch.func.grad, and with a truth that asks for a gradient of its own."""
    yield along("modes", _modes(bench, bench.draw()), bench.rounding, "the same in every mode")


def _modes(bench: Bench, case: Case) -> Iterator[Path]:
    value, gradient = bench.slope(case)
    none = torch.zeros_like(gradient)

    def filled() -> Slope:
        with filled_memory():
            return bench.slope(case)

    asked = f"torch.use_deterministic_algorithms(True) or {call(case)}, torch.use_deterministic_algorithms(False) or {call(case)}"
    yield Path("new memory that holds NaN", case, call(case), call(case), filled, (value, gradient), asked=asked)

    def quietly(mode: Callable[[], AbstractContextManager[Any]]) -> Slope:
        with mode():
            return bench.value(case), none

    for name, mode in (("torch.inference_mode", torch.inference_mode), ("torch.no_grad", torch.no_grad)):
        yield Path(name, case, call(case, loss=f"{name}()(loss)"), call(case), partial(quietly, mode), (value, none))

    def functional() -> Slope:
        with quoted():
            slope, total = torch.func.grad_and_value(lambda logits: bench.total(Case(logits, case.targets)))(case.logits)
        return total, slope

    asked = f"torch.func.grad(lambda x: {call(case, logits='x')}.sum())(logits), torch.autograd.grad({call(case)}.sum(), logits)"
    yield Path("torch.func.grad", case, call(case), call(case), functional, (value.double().sum(), gradient), asked=asked)
    if case.targets is not None and case.targets.is_floating_point():
        there = call(case, targets="targets.clone().requires_grad_()")
        yield Path("targets that require a gradient", case, there, call(case), lambda: bench.slope(case, _trained), (value, gradient))


def _trained(case: Case) -> Case:
    assert case.targets is not None
    return Case(case.logits, case.targets.clone().requires_grad_())


def half_sums(bench: Bench) -> Iterator[Finding]:
    """Thousands of examples in bfloat16, whose sum a running total in half precision would lose."""
    few = bench.draw()
    times = MANY // len(few.logits)
    half = Case(*(None if tensor is None else torch.cat([tensor] * times) for tensor in few)).to(torch.bfloat16)  # type: ignore[arg-type]
    try:
        values = [bench.value(case).detach() for case in (half.to(torch.float32), half)]
    except LossRaised as error:
        yield not_supported("half_sums", f"{len(half.logits)} examples in bfloat16: {error}")
        return
    lost = relative_difference(*values)
    words = f"the loss of {len(half.logits)} examples in bfloat16 is that of float32 but for rounding"
    if lost <= LOST or values[0].ndim:
        yield Finding("half_sums", True, lost, words if values[0].ndim == 0 else "nothing is summed")
        return
    truth = f"torch.cat([targets] * {times})" + (".bfloat16()" if half.targets is not None and half.targets.is_floating_point() else "")
    exact = call(half, logits="many.float()", targets=truth.replace("bfloat16", "float"))
    example = shows(few, f"many = torch.cat([logits] * {times}).bfloat16()", f"{call(half, logits='many', targets=truth)}, {exact}")
    words = f"the loss of {len(half.logits)} examples in bfloat16 is {float(values[1]):.4g}, and {float(values[0]):.4g} in float32"
    yield Finding("half_sums", False, lost, words, example=example)
