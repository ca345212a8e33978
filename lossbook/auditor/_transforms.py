"""Is the loss the same under vmap, under autocast, and under torch.compile?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from lossbook.auditor._bench import Bench, Case, LossRaised, call, shows
from lossbook.auditor._report import Finding


def autocast(bench: Bench) -> Iterator[Finding]:
    """In a bfloat16 region of autocast the value may lose digits, not more."""
    case = bench.draw().to(torch.float32)
    plain = bench.value(case).detach().double()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = bench.value(case).detach().double()
    error = _apart(plain, mixed)
    example = (
        "" if error <= 0.02 else shows(case, 'with torch.autocast("cpu", dtype=torch.bfloat16):', f"    mixed = {call(case)}", f"mixed, {call(case)}")
    )
    yield Finding("autocast", error <= 0.02, error, "a bfloat16 region of autocast against float32, relative to the value or 1", example=example)


def vmap(bench: Bench) -> Iterator[Finding]:
    """Mapped over a stack of batches, against one batch after the other."""
    cases = [bench.draw(salt).to(torch.float32) for salt in range(3)]
    plain = torch.stack([bench.value(case).detach() for case in cases])
    columns = [torch.stack([case.logits for case in cases])]
    if cases[0].targets is not None:
        columns.append(torch.stack([case.targets for case in cases if case.targets is not None]))
    mapped_bench = Bench(lambda *arguments: torch.vmap(bench.loss)(*arguments), bench.kind, bench.shape, bench.targets, bench.seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about functions that it maps slowly
            mapped = mapped_bench.value(Case(columns[0], columns[1] if len(columns) > 1 else None)).detach()
    except LossRaised as error:
        yield Finding("vmap", None, None, f"torch.vmap cannot map it: {error}")
        return
    error_ = _apart(plain, mapped)
    yield Finding("vmap", error_ <= 1e-5, error_, "torch.vmap over three batches against one after the other")


def compiled(bench: Bench, backend: str) -> Iterator[Finding]:
    """Through torch.compile, value and gradient, against plain calls."""
    case = bench.draw().to(torch.float32)
    twin = Bench(torch.compile(bench.loss, backend=backend), bench.kind, bench.shape, bench.targets, bench.seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own, about the machine it runs on
            pairs = list(zip(bench.slope(case), twin.slope(case), strict=True))
    except LossRaised as error:
        yield Finding("compile", None, None, f"torch.compile cannot compile it: {error}")
        return
    worst = max(_apart(plain, there) for plain, there in pairs)
    yield Finding("compile", worst <= 1e-5, worst, f"torch.compile with the backend {backend} against plain calls, value and gradient")


def _apart(one: Tensor, other: Tensor) -> float:
    """The largest difference relative to the larger of the number and 1; inf where the shapes differ or one is not finite."""
    if one.shape != other.shape or not bool(other.isfinite().all()):
        return float("inf")
    return float(((one - other).abs() / one.abs().clamp(min=1)).max())
