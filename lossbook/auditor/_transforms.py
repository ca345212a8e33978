"""Is the loss the same under vmap, under autocast, and under torch.compile?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from lossbook.auditor._bench import Bench, Case, call
from lossbook.auditor._compare import Path, Slope, along
from lossbook.auditor._finding import Finding

LOSSY, LOSSY_GRADIENT = 0.02, 0.1  # how far half precision may be off where nothing is wrong: a value, which averages, and one number of a gradient
EXACT = 1e-5  # how far float32 may be off in another order


def autocast(bench: Bench) -> Iterator[Finding]:
    """In a region of autocast value and gradient may lose digits, not more, for float32 logits and for those in half precision that it makes."""
    paths = [_mixed(bench, half, handed) for half in (torch.bfloat16, torch.float16) for handed in (torch.float32, half)]
    yield along(
        "autocast", paths[:: 2 if bench.kind == "boxes" else 1], LOSSY, "the same but for rounding", gradient_tolerance=LOSSY_GRADIENT
    )  # half precision cannot place a box


def _mixed(bench: Bench, half: torch.dtype, handed: torch.dtype) -> Path:
    case = bench.draw().to(half).to(torch.float32)

    def logits_as_handed(case: Case) -> Case:
        return Case(case.logits.to(handed), case.targets)

    def slope() -> Slope:
        with torch.autocast("cpu", dtype=half):
            value, gradient = bench.slope(case, logits_as_handed)
        return value.float(), gradient

    names = [str(dtype).removeprefix("torch.") for dtype in (handed, half)]
    there = call(case, loss=f'torch.autocast("cpu", dtype={half})(loss)', logits="logits" if handed == torch.float32 else f"logits.to({half})")
    return Path("{} logits under autocast to {}".format(*names), case, there, call(case), slope, bench.slope(case))


def vmap(bench: Bench) -> Iterator[Finding]:
    """Mapped over a stack of batches, against one batch after the other."""
    cases = [bench.draw(salt).to(torch.float32) for salt in range(3)]
    values, gradients = zip(*map(bench.slope, cases), strict=True)
    stacked = Case(*(None if column[0] is None else torch.stack(column) for column in zip(*cases, strict=True)))  # type: ignore[arg-type]
    there = call(stacked, loss="torch.vmap(loss)")
    slope = _silenced(replace(bench, loss=lambda *arguments: torch.vmap(bench.loss)(*arguments)), stacked)
    plain = torch.stack(values), torch.stack(gradients)
    one_by_one = f"[{call(stacked, logits='logits[i]', targets='targets[i]')} for i in range({len(cases)})]"
    yield along("vmap", [Path("torch.vmap over three batches", stacked, there, one_by_one, slope, plain)], EXACT, "the same as one after the other")


def compiled(bench: Bench, backend: str) -> Iterator[Finding]:
    """Through torch.compile, value and gradient, against plain calls."""
    case = bench.draw().to(torch.float32)
    twin = replace(bench, loss=torch.compile(bench.loss, backend=backend))
    there = call(case, loss=f'torch.compile(loss, backend="{backend}")')
    path = Path(f"torch.compile with the backend {backend}", case, there, call(case), _silenced(twin, case), bench.slope(case))
    yield along("compile", [path], EXACT, "the same as plain calls")


def _silenced(bench: Bench, case: Case) -> Callable[[], Slope]:
    """Without torch's own warnings: about functions that it maps slowly, or the machine that it compiles on."""

    def slope() -> Slope:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bench.slope(case)

    return slope
