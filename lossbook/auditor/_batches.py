"""A batch is a set of examples: what the loss divides by, whether order matters, and what becomes of shapes that do not fit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from lossbook.auditor._bench import Bench, Case, LossRaised, call, filled_memory, same, shows
from lossbook.auditor._finding import Finding


def _is_reduced(bench: Bench) -> bool:
    return bench.value(bench.draw()).ndim == 0


def take(case: Case, rows: Tensor) -> Case:
    """Some of the examples, in that order."""
    return Case(case.logits[rows], None if case.targets is None else case.targets[rows])


def order(bench: Bench) -> Iterator[Finding]:
    """The examples in another order cost the same, each and together."""
    case = bench.draw()
    rows = torch.arange(len(case.logits)).flip(0)
    value, turned = bench.value(case).detach(), bench.value(take(case, rows)).detach()
    expected = value.flip(0) if value.ndim and len(value) == len(rows) else value
    agree = same(expected, turned, bench.rounding)
    example = "" if agree else shows(case, f"{call(case)}, loss(logits.flip(0){'' if case.targets is None else ', targets.flip(0)'})")
    yield Finding("order", agree, None, "the examples in reverse order cost " + ("the same" if agree else "something else"), example=example)


def batch_scale(bench: Bench) -> Iterator[Finding]:
    """Every example twice leaves a mean as it is and doubles a sum; anything else divides by something odd."""
    if not _is_reduced(bench):
        yield Finding("batch_scale", True, "none", "one loss an example, not reduced")
        return
    case = bench.draw()
    count = len(case.logits)
    once, twice = bench.total(case).detach(), bench.total(take(case, torch.arange(count).repeat(2))).detach()
    ratio = float(twice / once) if float(once) else 1.0
    known = {"mean": 1.0, "sum": 2.0}
    word = next((word for word, value in known.items() if abs(ratio - value) < 1e3 * bench.rounding), None)
    twice_lines = (
        "logits = torch.cat([logits, logits])" if case.targets is None else "twice = torch.cat([logits, logits]), torch.cat([targets, targets])"
    )
    example = "" if word or case.targets is None else shows(case, twice_lines, f"{call(case)}, loss(*twice)")
    detail = f"a {word}: every example twice gives {ratio:g} times the loss" if word else f"every example twice gives {ratio:.4g} times the loss"
    yield Finding("batch_scale", word is not None, ratio, detail, example=example)


def denominator(bench: Bench) -> Iterator[Finding]:
    """The loss of a batch, against those of its examples alone."""
    if not _is_reduced(bench):
        return
    ratios = []
    for salt in range(3):
        case = bench.draw(salt)
        alone = torch.stack([bench.total(take(case, torch.tensor([row]))).detach() for row in range(len(case.logits))])
        together = float(bench.total(case).detach())
        ratios.append(float(alone.sum()) / together if together else float("nan"))
    count = float(len(case.logits))
    if all(abs(ratio - count) < 1e3 * bench.rounding * count for ratio in ratios):
        yield Finding("denominator", True, count, f"the mean: the sum of {count:g} examples alone over {count:g}", "fact")
    elif all(abs(ratio - 1) < 1e3 * bench.rounding for ratio in ratios):
        yield Finding("denominator", True, 1.0, "the sum of its examples", "fact")
    else:
        few = ", ".join(f"{ratio:.3g}" for ratio in ratios)
        detail = f"not their sum or mean: the examples alone, over the batch of {count:g}, are {few}"
        alone_line = f"sum({call(case).replace(')', '[i : i + 1])').replace(', ', '[i : i + 1], ')} for i in range({count:g}))"
        yield Finding("denominator", False, ratios[0], detail, "fact", shows(case, f"{call(case)}, {alone_line} / {count:g}"))


def one_sided(bench: Bench) -> Iterator[Finding]:
    """A batch in which only one label occurs."""
    case = bench.draw()
    places = case.logits[:, 0] if bench.kind == "multiclass" else case.logits
    for label in range(bench.classes):
        only = Case(case.logits, bench.truth(torch.full(places.shape, label)))
        value, gradient = bench.slope(only)
        if not (bool(value.isfinite().all()) and bool(gradient.isfinite().all())):
            example = shows(only, f"{call(only)}.sum().backward()", "logits.grad", gradient=True)
            yield Finding(
                "one_sided", False, "nan" if bool(value.isnan().any()) else "inf", f"not finite where every label is {label}", example=example
            )
            return
    yield Finding("one_sided", True, None, "finite, value and gradient, where only one label occurs")


def empty(bench: Bench) -> Iterator[Finding]:
    """A batch of no examples: 0, NaN as in torch's means, an error, or what lies in memory that nobody wrote."""
    case = take(bench.draw(), torch.arange(0))
    try:
        value = bench.total(case).detach()
        with filled_memory():
            filled = bench.total(case).detach()
    except LossRaised as error:
        yield Finding("empty", None, "error", f"an empty batch is refused: {error}", "fact")
        return
    if bool(filled.isnan() & ~value.isnan()):
        words = "the loss of an empty batch is whatever lay in memory that it never wrote"
        yield Finding("empty", False, "undefined", words, "fact", shows(case, f"{call(case)}, {call(case)}"))
        return
    yield Finding("empty", bool(value.isfinite()), float(value), f"the loss of an empty batch is {float(value):g}", "fact")


def broadcasting(bench: Bench) -> Iterator[Finding]:
    """Shapes that do not fit should be refused, warned about, or come to the same; never be stretched over each other in silence."""
    case = bench.draw()
    if case.targets is None:
        yield from _elementwise(bench, case)
        return
    right = bench.value(case).detach()
    for odd in _misfits(bench, case):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                value = bench.value(odd).detach()
            except LossRaised:
                continue
        shapes = f"{tuple(odd.logits.shape)} against {tuple(odd.targets.shape)}" if odd.targets is not None else ""
        agree = value.numel() == right.numel() and same(right, value.reshape(right.shape), bench.rounding)
        if not agree and not caught:
            outcome = f"shape {tuple(value.shape)}" if value.ndim else f"{float(value):.4g} instead of {float(right):.4g}"
            example = shows(odd, call(odd))
            yield Finding("broadcasting", False, str(tuple(value.shape)), f"shapes {shapes} are accepted without a word: {outcome}", example=example)
            return
    yield Finding("broadcasting", True, None, "shapes that do not fit are refused, warned about, or come to the same")


def _misfits(bench: Bench, case: Case) -> Iterator[Case]:
    logits, targets = case
    assert targets is not None
    if bench.kind == "binary":
        yield Case(logits, targets.unsqueeze(-1))
        yield Case(logits.unsqueeze(-1), targets)
    elif bench.kind == "boxes" or bench.targets == "one_hot":
        yield Case(logits, targets[:1])
        yield Case(logits[:1], targets)
    else:
        yield Case(logits, targets.unsqueeze(-1))
        yield Case(logits, targets[:1])


def _elementwise(bench: Bench, case: Case) -> Iterator[Finding]:
    """A function of the margin: shape [5, 1] in, the same five numbers out."""
    flat, column = bench.value(case).detach(), bench.value(Case(case.logits[:, None], None)).detach()
    agree = flat.shape == case.logits.shape and column.shape == (*case.logits.shape, 1) and same(flat, column[:, 0], bench.rounding)
    example = "" if agree else shows(case, "loss(logits), loss(logits[:, None])")
    yield Finding(
        "elementwise", agree, None, "one number a margin, whatever the shape" if agree else "shape or values change with the shape", example=example
    )
