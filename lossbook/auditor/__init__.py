"""A bench for losses: what a loss is, what is wrong with it, and the five lines that show it. Chapter: audit.

>>> import torch, lossbook
>>> report = lossbook.audit(torch.nn.functional.cross_entropy, kind="multiclass")
>>> report.passed, report["proper"].passed
(True, True)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lossbook._core.checks import check_choice, wrong_type, wrong_value
from lossbook.auditor._bench import SHAPES, TARGETS, Bench, Check, LossRaised
from lossbook.auditor._report import Finding, Report

__all__ = ["Finding", "Report", "audit"]


def audit(
    loss: Callable[..., Any],
    *,
    kind: str = "margin",
    shape: tuple[int, ...] | None = None,
    targets: str | None = None,
    compile: bool | str = False,
    name: str | None = None,
    seed: int = 0,
) -> Report:
    """Put a loss on the bench.

    Args:
        loss: For "margin" a function of a tensor of margins y·s, element by element. For the others a function of (logits, targets), or of two
            sets of boxes, that returns a scalar or one loss an example. Bind further parameters with `functools.partial` or a lambda.
        kind: "margin", "binary", "multiclass" or "boxes".
        shape: Of the logits; [5], [5, 3] with the classes on axis 1, or [5, 4] where it is None. Images are (2, 1, 4, 4) or (2, 3, 4, 4).
        targets: In binary "floats" (0. and 1.), "labels" (integers) or "signs" (-1. and 1.); in multiclass "labels" or "one_hot".
        compile: Also compare with torch.compile, through its default backend or the one named; that takes seconds and a C++ compiler.
        name: What the report calls the loss.
        seed: Of the random inputs.

    Returns:
        A `Report`. Its findings are checks, whose failure is a defect, and facts, which are neither good nor bad.

    Raises:
        TypeError: `loss` cannot be called.
        ValueError: An unknown kind, form of targets or shape; or the loss raises on an ordinary input, which the message gives.

    Example:
        >>> import torch
        >>> report = audit(lambda margins: torch.exp(-margins), name="exponential")
        >>> report["convex"].passed, report["lipschitz"].passed, round(report.properties["psi"][1.0], 6)
        (True, False, 1.0)
        >>> audit(lambda logits, targets: ((1 - torch.sigmoid(logits)) ** 0.5 * targets).sum(), kind="binary").defects[0].detail
        'the gradient is nan: label 0, logit 100 in float64'

    Conventions:
        An infinity counts as a defect only where the number itself would fit into the dtype: e^10000 does not, ln(1 + e^10000) does. What no
        input shows is not found; boxes and images are checked at a few sizes, consistency for two and three classes.

    Chapter: audit.
    """
    from lossbook.auditor import _figure, _suites  # with the first audit, and not with every import

    if not callable(loss):
        wrong_type("loss", "be callable", type(loss).__name__)
    check_choice("kind", kind, tuple(TARGETS))
    form = TARGETS[kind][0] if targets is None else targets
    check_choice("targets", form, TARGETS[kind])
    bench = Bench(loss, kind, SHAPES[kind] if shape is None else _fitting(kind, shape), form, seed)
    called = name or getattr(loss, "__name__", None) or getattr(loss, "name", None) or type(loss).__name__
    try:
        bench.slope(bench.draw())
    except LossRaised as error:
        wrong_value("loss", f"take logits of shape {bench.shape} and targets that are {form}", str(error))
    properties: dict[str, Any] = {}
    findings = tuple(finding for check in _suites.suite(kind, properties, compile) for finding in _tried(check, bench))
    return Report(called, kind, findings, properties, lambda: _figure.picture(bench, called))


def _tried(check: Check, bench: Bench) -> Iterator[Finding]:
    """The findings of a check; where the loss raises halfway, that is the finding."""
    try:
        yield from check(bench)
    except LossRaised as error:
        name = getattr(check, "func", check).__name__
        yield Finding(name, None, "error", f"the loss raised {error}")


def _fitting(kind: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that this kind can have, with at least two examples."""
    shape = tuple(shape)
    axes = {"margin": 1, "binary": 1, "multiclass": 2, "boxes": 2}[kind]
    if (
        len(shape) < axes
        or min(shape, default=0) < 1
        or shape[0] < 2
        or (kind == "boxes" and shape[1:] != (4,))
        or (kind == "margin" and len(shape) > 1)
    ):
        wrong_value("shape", f"be like {SHAPES[kind]}, with two examples or more", shape)
    return shape
