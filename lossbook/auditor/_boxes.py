"""Losses of pairs of boxes (x1, y1, x2, y2): the pairs that break them, and what they say of equal, distant and tiny boxes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lossbook.auditor._bench import DTYPES, Bench, Case, LossRaised, call, shows
from lossbook.auditor._finding import Finding, not_supported

PAIRS = {  # box, target
    "equal": ((0, 0, 2, 2), (0, 0, 2, 2)),
    "one inside the other": ((1, 1, 2, 2), (0, 0, 4, 4)),
    "touching": ((0, 0, 2, 2), (2, 0, 4, 2)),
    "far apart": ((0, 0, 2, 2), (9996, 9996, 10000, 10000)),
    "300 wide and high": ((0, 0, 300, 300), (100, 100, 400, 400)),
    "a point and a box": ((1, 1, 1, 1), (0, 0, 4, 4)),
    "a line and a box": ((0, 1, 4, 1), (0, 0, 4, 4)),
    "the same point twice": ((1, 1, 1, 1), (1, 1, 1, 1)),
    "two points": ((1, 1, 1, 1), (3, 3, 3, 3)),
    "the same line twice": ((0, 1, 4, 1), (0, 1, 4, 1)),
}


def _pair(box: tuple[float, ...], target: tuple[float, ...]) -> Case:
    return Case(*(torch.tensor([corners], dtype=torch.float64) for corners in (box, target)))


def finite(bench: Bench) -> Iterator[Finding]:
    """One finding a dtype: the first pair whose value or gradient is not finite although it is in float64, or not even there."""
    for name, dtype in DTYPES.items():
        refusal = bench.refusal(dtype)
        if refusal:
            yield not_supported(f"finite_{name}", refusal)
            continue
        try:
            yield next((found for words, pair in PAIRS.items() if (found := _fault(bench, words, _pair(*pair), dtype))), _fine(name))
        except LossRaised as error:
            yield Finding(f"finite_{name}", None, None, f"the loss raised {error} in {name}")


def _fine(name: str) -> Finding:
    return Finding(f"finite_{name}", True, None, f"value and gradient in {name}, for equal, distant, touching and empty boxes")


def _fault(bench: Bench, words: str, case: Case, dtype: torch.dtype) -> Finding | None:
    name, case = str(dtype).removeprefix("torch."), case.to(dtype)
    value, gradient = bench.slope(case)
    exact = bench.slope(case.to(torch.float64))
    example = shows(case, f"{call(case)}.sum().backward()", "logits.grad", gradient=True)
    for part, numbers, truth in zip(("value", "gradient"), (value, gradient), exact, strict=True):
        fits = bool((truth.abs() <= torch.finfo(dtype).max).all()) or not bool(truth.isfinite().all())
        if bool(numbers.isnan().any()) or (fits and not bool(numbers.isfinite().all())):
            word = "nan" if bool(numbers.isnan().any()) else "inf"
            return Finding(f"finite_{name}", False, word, f"the {part} is {word}: {words}, in {name}", example=example)
    return None


def facts(bench: Bench) -> Iterator[Finding]:
    """Equal boxes, boxes apart, another unit of length, arguments swapped, a corner on the wrong side."""
    equal = _first(bench, _pair(*PAIRS["equal"]))
    yield Finding("free_when_equal", abs(equal) < 1e-6, equal, "what two equal boxes of side 2 cost", "fact")
    strength = float(bench.slope(_pair(*PAIRS["far apart"]))[1].abs().sum())
    yield Finding("pulls", strength > 1e-9, strength, "the gradient, in all, of two boxes far apart", "fact")
    yield from _unit_free(bench)
    case = bench.draw()
    assert case.targets is not None
    moved = float((bench.value(case) - bench.value(Case(case.targets, case.logits))).detach().abs().max())
    yield Finding("symmetric", moved < 1e-6, moved, "how far the loss moves when boxes and targets are swapped", "fact")
    yield from _reversed(bench)


def _first(bench: Bench, case: Case) -> float:
    return float(bench.total(case).detach())


def _unit_free(bench: Bench) -> Iterator[Finding]:
    """Pixels, or shares of an image 1000 wide: does the unit matter?"""
    case = Case(*(torch.tensor([corners], dtype=torch.float64) for corners in ((0, 0, 2, 2), (1, 0, 3, 2))))
    small = Case(case.logits / 1000, _scaled(case.targets))
    moved = abs(_first(bench, case) - _first(bench, small))
    example = "" if moved < 1e-6 else shows(small, call(small), "loss(1000 * logits, 1000 * targets)")
    yield Finding("unit_free", moved < 1e-6, moved, "how far the loss moves when all lengths are divided by 1000", "fact", example)


def _scaled(targets: Tensor | None) -> Tensor:
    assert targets is not None
    return targets / 1000


def _reversed(bench: Bench) -> Iterator[Finding]:
    case = _pair((2, 2, 0, 0), (0, 0, 2, 2))
    try:
        value = _first(bench, case)
    except LossRaised as error:
        yield Finding("refuses_bad_boxes", True, "error", f"a box with x2 < x1 is refused: {str(error)[:80]}", "fact")
        return
    yield Finding("refuses_bad_boxes", False, value, f"a box with its corners swapped is taken, and costs {value:.4g}", "fact")
