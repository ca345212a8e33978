"""Does the loss stay finite, in value and gradient, where a model is very sure; and is float32 enough for it?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook.auditor._bench import DTYPES, Bench, Case, LossRaised, call, shows
from lossbook.auditor._finding import Finding, not_supported

FAR = (20.0, 100.0, 1e4)
NEAR = (0.1, 1.0, 5.0, 10.0, 15.0, 20.0, 50.0)
HUGE = math.log(torch.finfo(torch.float64).max)
TOLERANCE = 1e-3  # of float32 against float64, relative to the larger of the value and 1


class Ray(NamedTuple):
    """Cases that go out along a line: `at(t)` is the one at distance t, `words` what it is."""

    at: Callable[[float], Case]
    words: str


def rays(bench: Bench) -> Iterator[Ray]:
    """From 0 to where the model is sure and right, and to where it is sure and wrong."""
    if bench.kind == "multiclass":
        for place, sign, words in ((0, 1, "the label's logit at {}"), (0, -1, "the label's logit at -{}"), (-1, 1, "a rival's logit at {}")):
            yield Ray(lambda t, place=place, sign=sign: bench.single(_unit(bench.classes, place) * (sign * t), 0), words)  # type: ignore[misc]
        return
    for sign in (1, -1):
        for label in (1,) if bench.kind == "margin" else (0, 1):
            words = f"{'margin' if bench.kind == 'margin' else f'label {label}, logit'} {'' if sign > 0 else '-'}{{}}"
            yield Ray(lambda t, sign=sign, label=label: bench.single(torch.tensor(sign * t, dtype=torch.float64), label), words)  # type: ignore[misc]


def _unit(classes: int, place: int) -> Tensor:
    return torch.zeros(classes, dtype=torch.float64).index_fill(0, torch.tensor([place % classes]), 1.0)


def finite(bench: Bench) -> Iterator[Finding]:
    """One finding a dtype: the first case, from near to far, whose value or gradient is not finite although the number would fit."""
    for name, dtype in DTYPES.items():
        refusal = bench.refusal(dtype)
        if refusal:
            yield not_supported(f"finite_{name}", refusal)
            continue
        try:
            fault = next((found for t in FAR for ray in rays(bench) if (found := _fault(bench, ray, t, dtype))), None)
        except LossRaised as error:
            yield Finding(f"finite_{name}", None, None, f"the loss raised {error} in {name}")
            continue
        yield fault or Finding(f"finite_{name}", True, None, f"value and gradient in {name} where a score is ±20, ±100, ±10000")


def _fault(bench: Bench, ray: Ray, t: float, dtype: torch.dtype) -> Finding | None:
    case = ray.at(t).to(dtype)
    value, gradient = bench.slope(case)
    limit = torch.finfo(dtype).max
    name = str(dtype).removeprefix("torch.")
    words = f"{ray.words.format(f'{t:g}')} in {name}"
    if _too_large(value, lambda: _truth(bench, ray, t), limit):
        word = "nan" if bool(value.isnan().any()) else "inf"
        return Finding(f"finite_{name}", False, word, f"the value is {word}: {words}", example=shows(case, call(case)))
    if not bool(value.isfinite().all()) and not bool(gradient.isnan().any()):
        return None
    if _too_large(gradient, lambda: float(bench.slope(ray.at(t))[1].abs().max()), limit):
        word = "nan" if bool(gradient.isnan().any()) else "inf"
        example = shows(case, f"{call(case)}.sum().backward()", "logits.grad", gradient=True)
        return Finding(f"finite_{name}", False, word, f"the gradient is {word}: {words}", example=example)
    return None


def _too_large(numbers: Tensor, truth: Callable[[], float], limit: float) -> bool:
    """NaN, or an infinity although the true number would fit into the dtype."""
    if bool(numbers.isnan().any()):
        return True
    return not bool(numbers.isfinite().all()) and truth() <= limit


def _truth(bench: Bench, ray: Ray, t: float) -> float:
    """How large the loss should be at t: in float64, or, where that overflows too, carried on as a power law from the last finite value."""
    value = float(bench.value(ray.at(t)).detach().abs().max())
    if math.isfinite(value):
        return value
    grid = [t * 2 ** (-k / 8) for k in range(120)]
    for here in grid:
        near, half = (float(bench.value(ray.at(x)).detach().abs().max()) for x in (here, here / 2))
        if math.isfinite(near) and math.isfinite(half):
            power = math.log2(near / half) if near > 0 < half else 0.0
            grown = math.log(max(near, 1e-300)) + power * math.log(t / here)
            return math.exp(grown) if grown < HUGE else math.inf
    return math.inf


def precise(bench: Bench) -> Iterator[Finding]:
    """Float32 against float64, in value and gradient, up to scores of 50."""
    worst, where = 0.0, None
    for t in NEAR:
        for ray in rays(bench):
            case = ray.at(float(torch.tensor(t, dtype=torch.float32)))  # a number that float32 has exactly
            error = _difference(bench, case)
            if error > worst:
                worst, where = error, (case, ray.words.format(f"{t:g}"))
    if where is None or worst <= TOLERANCE:
        yield Finding("precise", True, worst, "float32 against float64, value and gradient, up to scores of ±50")
        return
    case, words = where
    example = shows(case.to(torch.float32), f"{call(case)}, loss(logits.double(){'' if case.targets is None else ', targets'})")
    yield Finding("precise", False, worst, f"float32 differs from float64 by {worst:.2g}: {words}", example=example)


def _difference(bench: Bench, case: Case) -> float:
    """The largest difference, relative to the larger of the number and 1; what is not finite is another check's business."""
    worst = 0.0
    for exact, single in zip(bench.slope(case), bench.slope(case.to(torch.float32)), strict=True):
        error = (single.double() - exact.double()).abs() / exact.double().abs().clamp(min=1)
        worst = max(worst, float(error[error.isfinite()].max()) if bool(error.isfinite().any()) else 0.0)
    return worst
