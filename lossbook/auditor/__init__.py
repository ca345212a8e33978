"""A bench for losses: what a loss is, what is wrong with it, and the five lines that show it. Chapter: audit.

>>> import torch, lossbook
>>> report = lossbook.audit(torch.nn.functional.cross_entropy, kind="multiclass")
>>> report.passed, report["proper"].passed
(True, True)
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from lossbook._core.checks import check_callable, check_choice, check_count, wrong_type, wrong_value
from lossbook._core.door import plain_arguments
from lossbook.auditor._bench import AXES, SHAPES, Bench, Check, LossRaised
from lossbook.auditor._bench import TARGETS as TARGETS
from lossbook.auditor._finding import Finding, settled
from lossbook.auditor._kinds import guess
from lossbook.auditor._report import Report

__all__ = ["Finding", "Report", "audit"]


@plain_arguments
def audit(
    loss: Callable[..., Any],
    *,
    kind: str | None = None,
    shape: Sequence[int] | None = None,
    targets: str | None = None,
    compile: bool | str = False,
    name: str | None = None,
    seed: int = 0,
) -> Report:
    """Put a loss on the bench.

    Args:
        loss: For "margin" a function of a tensor of margins y·s, element by element. For the others a function of (logits, targets), or of two
            sets of boxes, that returns a scalar or one loss an example. Bind further parameters with `functools.partial` or a lambda.
        kind: "margin", "binary", "multiclass" or "boxes". Where it is None the signature is read: one required argument is a margin; of two, one
            whose name has "box" in it means boxes, "label" or "class" many classes.
        shape: Of the logits; [5], [5, 3] with the classes on axis 1, or [5, 4] where it is None. Images are (2, 1, 4, 4) or (2, 3, 4, 4).
        targets: In binary "floats" (0. and 1.), "labels" (integers) or "signs" (-1. and 1.); in multiclass "labels" or "one_hot".
        compile: Also compare with torch.compile, through its default backend or the one named; that takes seconds and a C++ compiler.
        name: What the report calls the loss.
        seed: Of the random inputs.

    Returns:
        A `Report`. Its findings are checks, whose failure is a defect, and facts, which are neither good nor bad. What the loss refuses by an error,
        such as half precision where torch has no kernel for it, is "not supported": loud, and so no defect.

    Raises:
        TypeError: `loss` cannot be called, or is a class; a shape, seed or name of another type.
        ValueError: An unknown kind, form of targets, shape or backend, or a kind that the signature doesn't tell; or the loss raises on an ordinary
            input, which the message gives.

    Example:
        >>> import torch
        >>> report = audit(lambda margins: torch.exp(-margins), name="exponential")
        >>> report["convex"].passed, report["lipschitz"].passed, round(report.properties["psi"][1.0], 6)
        (True, False, 1.0)
        >>> audit(lambda logits, targets: ((1 - torch.sigmoid(logits)) ** 0.5 * targets).sum(), kind="binary").defects[0].detail
        'the gradient is nan: label 0, logit 100 in float64'

    Conventions:
        A wrong number in silence is a defect, an error is not. An infinity counts as a defect only where the number itself would fit into the
        dtype: e^10000 does not, ln(1 + e^10000) does. What no input shows is not found; boxes and images are checked at a few sizes, consistency
        for two and three classes.

    Chapter: audit.
    """
    _check_loss(loss)
    kind = guess(loss) if kind is None else kind
    check_choice("kind", kind, tuple(TARGETS))
    form = TARGETS[kind][0] if targets is None else targets
    check_choice("targets", form, TARGETS[kind])
    check_count("seed", seed, low=0)
    if seed >= 2**32:
        wrong_value("seed", "be below 2^32", seed)
    if name is not None and not isinstance(name, str):
        wrong_type("name", "be text", type(name).__name__)
    backend = _backend(compile)
    bench = Bench(loss, kind, SHAPES[kind] if shape is None else _fitting(kind, shape), form, seed)
    with _alone():
        from lossbook.auditor import _curves, _suites  # with the first audit, and not with every import

        try:
            bench.slope(bench.draw())
        except LossRaised as error:
            wrong_value("loss", f"take logits of shape {bench.shape} and targets that are {form}", str(error))
        properties: dict[str, Any] = {}
        checks = _suites.suite(kind, properties, backend)
        findings = tuple(settled(finding) for check in checks for finding in _tried(check, bench))
        return Report(name or _called(loss), kind, findings, properties, _curves.curves(bench))


@contextmanager
def _alone() -> Iterator[None]:
    """The caller's modes of torch, default device and random numbers have no part in an audit.

    Autocast is off behind the door already, and outside inference mode gradients are on.
    """
    with torch.inference_mode(False), torch.device("cpu"), torch.random.fork_rng(devices=[]):
        yield


def _tried(check: Check, bench: Bench) -> Iterator[Finding]:
    """The findings of a check; where the loss raises halfway, that is the finding."""
    try:
        yield from check(bench)
    except LossRaised as error:
        name = getattr(check, "func", check).__name__
        yield Finding(name, None, "error", f"the loss raised {error}")


def _called(loss: Any) -> str:
    """What a loss is called: by its own name, or by that of what `partial` binds."""
    inner = loss.func if isinstance(loss, partial) else loss
    return str(getattr(inner, "__name__", None) or getattr(inner, "name", None) or type(inner).__name__)


def _check_loss(loss: Any) -> None:
    """`loss` can be called with tensors; a class would make an object of them."""
    if isinstance(loss, type):
        wrong_type("loss", "be a function, or an object that can be called", f"the class {loss.__name__}")
    check_callable("loss", loss)


def _backend(compile: Any) -> str | None:
    """The backend of torch.compile that is asked for."""
    if isinstance(compile, bool):
        return "inductor" if compile else None
    if not isinstance(compile, str):
        wrong_type("compile", "be True, False or the name of a backend", type(compile).__name__)
    check_choice("compile", compile, torch.compiler.list_backends(exclude_tags=()))
    return compile


def _fitting(kind: str, shape: Any) -> tuple[int, ...]:
    """A shape that this kind can have, with at least two examples, and two classes where there are classes."""
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        wrong_type("shape", "be a sequence of integers", repr(shape))
    fits = len(sizes) >= AXES[kind] and min(sizes) >= 1 and sizes[0] >= 2
    fits &= {"margin": len(sizes) == 1, "binary": True, "multiclass": sizes[1:2] >= (2,), "boxes": sizes[1:] == (4,)}[kind]
    if not fits:
        wrong_value("shape", f"be like {SHAPES[kind]}, with two examples or more{' and two classes' * (kind == 'multiclass')}", sizes)
    return sizes
