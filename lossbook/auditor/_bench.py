"""The bench that a loss is put on: how it is called, what is handed to it, and how an input is written down so that anyone can repeat it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossbook.auditor._finding import Finding

DTYPES = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
TARGETS = {"margin": ("none",), "binary": ("floats", "labels", "signs"), "multiclass": ("labels", "one_hot"), "boxes": ("boxes",)}
SHAPES = {"margin": (5,), "binary": (5,), "multiclass": (5, 3), "boxes": (5, 4)}
AXES = {kind: len(shape) for kind, shape in SHAPES.items()}


class LossRaised(Exception):
    """The loss raised; the message says what and on which input."""


class Case(NamedTuple):
    """One input: logits (or margins, or boxes) and the truth; a function of the margin has no truth beside it."""

    logits: Tensor
    targets: Tensor | None

    def to(self, dtype: torch.dtype) -> Case:
        """In another dtype; labels stay integers."""
        targets = self.targets
        return Case(self.logits.to(dtype), targets.to(dtype) if targets is not None and targets.is_floating_point() else targets)


Check = Callable[["Bench"], Iterator[Finding]]


@dataclass(frozen=True)
class Bench:
    """A loss and the form of its input."""

    loss: Callable[..., Any]
    kind: str
    shape: tuple[int, ...]
    targets: str
    seed: int

    @property
    def classes(self) -> int:
        """K, where there are classes."""
        return self.shape[1] if self.kind == "multiclass" else 2

    def draw(self, salt: int = 0, *, size: int | None = None) -> Case:
        """A random case in float64, in numbers of two decimals so that it can be written down; every label occurs where there is room."""
        generator = torch.Generator().manual_seed(self.seed + 1000 * salt)
        shape = self.shape if size is None else (size, *self.shape[1:])
        logits = (2 * torch.randn(shape, generator=generator, dtype=torch.float64)).round(decimals=2)
        if self.kind == "boxes":
            return Case(_boxes(shape, generator), _boxes(shape, generator))
        if self.kind == "margin":
            return Case(logits, None)
        places = shape[:1] + shape[2:] if self.kind == "multiclass" else shape
        labels = torch.arange(int(torch.tensor(places).prod())).reshape(places) % self.classes
        labels = labels[torch.randperm(shape[0], generator=generator)]
        return Case(logits, self.truth(labels))

    def bad(self) -> Case:
        """A case that a careful loss refuses: a class that there is not, a target of 2, a box with its corners swapped."""
        case = self.draw()
        if self.kind == "boxes":
            return Case(case.logits[:, [2, 3, 0, 1]], case.targets)
        if case.targets is None:
            return case
        targets = case.targets.clone()
        targets[0] = self.classes if self.targets == "labels" else 2
        return Case(case.logits, targets)

    def truth(self, labels: Tensor) -> Tensor:
        """Class ids in the form that the loss takes, in float64 where that is a form of numbers."""
        if self.targets == "labels":
            return labels
        if self.targets == "one_hot":
            return torch.nn.functional.one_hot(labels, self.classes).movedim(-1, 1).double()
        return (2 * labels - 1).double() if self.targets == "signs" else labels.double()

    def single(self, scores: Tensor, label: int) -> Case:
        """One example of that label, whose logits are `scores`: a number, or [K]."""
        extra = self.shape[2:] if self.kind == "multiclass" else self.shape[1:]
        if self.kind == "multiclass":
            logits = scores.reshape(1, -1, *[1] * len(extra)).expand(1, -1, *extra).clone()
            return Case(logits, self.truth(torch.full((1, *extra), label)))
        logits = scores.reshape([1] * len(self.shape)).expand(1, *extra).clone()
        return Case(logits, None if self.kind == "margin" else self.truth(torch.full((1, *extra), label)))

    def value(self, case: Case) -> Tensor:
        """What the loss returns for a copy of the case: some losses write into what they get, which is another check's business."""
        return self.outcome(Case(*(None if tensor is None else tensor.clone() for tensor in case)))  # type: ignore[arg-type]

    def outcome(self, case: Case) -> Tensor:
        """What the loss returns. Raises LossRaised with what the loss raised."""
        arguments = [case.logits] if case.targets is None else [case.logits, case.targets]
        with quoted():
            result = self.loss(*arguments)
        if not isinstance(result, Tensor) or not result.is_floating_point():
            raise LossRaised(f"it returned {type(result).__name__} instead of a floating-point tensor")
        if self.kind == "margin" and result.shape != case.logits.shape:
            raise LossRaised(f"it returned shape {tuple(result.shape)} for margins of shape {tuple(case.logits.shape)}")
        return result

    def refusal(self, dtype: torch.dtype) -> str:
        """What the loss raises on an ordinary input of that dtype; empty where it takes it."""
        try:
            self.slope(self.draw().to(dtype))
        except LossRaised as error:
            return str(error)
        return ""

    @cached_property
    def is_blunt(self) -> bool:
        """It computes in float32 (or less), at least in part: a step in the tenth digit shows another slope than one in the fourth."""
        case = self.draw()
        way = torch.randn(case.logits.shape, generator=torch.Generator().manual_seed(self.seed + 7), dtype=torch.float64)
        here = self.total(case).detach()
        near, far = ((self.total(Case(case.logits + step * way, case.targets)).detach() - here) / step for step in (1e-10, 1e-4))
        return bool((near - far).abs() > 0.01 * torch.maximum(far.abs(), 1e-3 * here.abs()) + 1e-4 * here.abs())

    @cached_property
    def has_graph(self) -> bool:
        """The value hangs on a graph; where it does not, `backward` raises, and no gradient is there to be asked about."""
        case = self.draw()
        return self.value(case._replace(logits=case.logits.requires_grad_())).requires_grad

    @property
    def rounding(self) -> float:
        """How far two numbers that should be equal may lie apart, relative to the larger of the number and 1."""
        return 1e-4 if self.is_blunt else 1e-9

    def total(self, case: Case) -> Tensor:
        """The sum of what the loss returns, in float64, so that adding up overflows nothing."""
        return self.value(case).double().sum()

    def slope(self, case: Case, handed: Callable[[Case], Case] = lambda case: case) -> tuple[Tensor, Tensor]:
        """The value and the gradient in the logits; no gradient at all reads as 0. `handed` is the case as the loss gets it."""
        logits = case.logits.detach().clone().requires_grad_()
        value = self.outcome(handed(Case(logits, None if case.targets is None else case.targets.clone())))
        if not value.requires_grad:
            return value, torch.zeros_like(logits)
        with quoted():
            (gradient,) = torch.autograd.grad(value.sum(), logits, allow_unused=True)
        return value.detach(), torch.zeros_like(logits) if gradient is None else gradient


def same(one: Tensor, other: Tensor, rounding: float) -> bool:
    """The same shape, and the same numbers up to rounding; NaN is the same as NaN."""
    if one.shape != other.shape:
        return False
    return bool((((one - other).abs() <= rounding * one.abs().clamp(min=1)) | (one == other) | (one.isnan() & other.isnan())).all())


def _boxes(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Boxes of sides 1 to 4 with corners from 0 to 5: most of the pairs overlap."""
    low, side = (torch.rand(*shape[:-1], 2, generator=generator, dtype=torch.float64) for _ in range(2))
    return torch.cat([5 * low, 5 * low + 1 + 3 * side], -1).round(decimals=2)


@contextmanager
def quoted() -> Iterator[None]:
    """Whatever is raised, as LossRaised in one line."""
    try:
        yield
    except LossRaised:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise LossRaised(f"{type(error).__name__}: {lines[0][:120] if lines else 'without a message'}") from error


@contextmanager
def filled_memory() -> Iterator[None]:
    """New memory holds NaN in place of what was there before, so that a loss shows what it reads and never wrote."""
    enabled, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about functions that have no deterministic way
            yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]


def written(tensor: Tensor) -> str:
    """A tensor as the Python that makes it."""
    suffix = "" if tensor.dtype in (torch.float32, torch.int64) else f", dtype={tensor.dtype}"
    return f"torch.tensor({tensor.detach().tolist()}{suffix})"


def shows(case: Case, *lines: str, gradient: bool = False) -> str:
    """Python that builds the case and runs `lines`; the loss is called `loss`."""
    ask = ".requires_grad_()" if gradient else ""
    if case.targets is None:
        return "\n".join([f"margins = {written(case.logits)}{ask}", *(line.replace("logits", "margins") for line in lines)])
    return "\n".join([f"logits = {written(case.logits)}{ask}", f"targets = {written(case.targets)}", *lines])


def call(case: Case, *, loss: str = "loss", logits: str = "logits", targets: str = "targets") -> str:
    """The call of the loss on that case, with what is written for its parts."""
    return f"{loss}({logits})" if case.targets is None else f"{loss}({logits}, {targets})"
