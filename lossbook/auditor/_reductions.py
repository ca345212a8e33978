"""A loss that takes `reduction`: are the sum and the mean those of the losses that it gives unreduced?"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossbook.auditor._bench import Bench, Case, LossRaised, call, shows
from lossbook.auditor._finding import Finding, not_supported

Reducing = Callable[[str], Callable[..., Any]]  # from "none", "sum" or "mean" to the loss with it


class Reduced(NamedTuple):
    """One case: its losses, their sum and their mean, as the loss gives them."""

    none: Tensor
    sum: Tensor
    mean: Tensor

    @property
    def divisor(self) -> float:
        """What the sum is divided by."""
        total, mean = float(self.sum.sum()), float(self.mean.sum())
        return total / mean if mean else float(self.none.numel()) if not total else float("inf")


def reduction(bench: Bench) -> Iterator[Finding]:
    """The sum is that of the losses. The mean divides it by their number, or by weights, which is a convention; by anything else, it is no mean."""
    reducing = _reducing(bench.loss)
    if reducing is None:
        return
    cases = [
        _drawn(bench, logits, labels) for logits, labels in ((0, 0), (1, 0), (0, 1), (0, 2))
    ]  # the second has other logits, the rest other labels
    try:
        found = [_reduced(bench, reducing, case) for case in cases]
    except LossRaised as error:
        yield not_supported("reduction", f"not every one of 'none', 'sum' and 'mean' is taken: {error}")
        return
    if _is_deaf(found[0]) and isinstance(bench.loss, torch.nn.Module):
        return  # an attribute of that name, which is read once and then no more
    yield _judged(bench, cases, found)


def _reducing(loss: Callable[..., Any]) -> Reducing | None:
    """The loss with another reduction, where it takes one: by keyword, or as torch's modules do by attribute."""
    if isinstance(loss, torch.nn.Module) and isinstance(getattr(loss, "reduction", None), str):

        def turned(word: str) -> Callable[..., Any]:
            twin = copy.copy(loss)
            twin.reduction = word  # type: ignore[assignment]
            return twin

        return turned
    try:
        parameter = inspect.signature(loss).parameters.get("reduction")
    except (TypeError, ValueError):  # written in C, without a signature
        return None
    by_keyword = parameter is not None and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    return (lambda word: partial(loss, reduction=word)) if by_keyword else None


def _reduced(bench: Bench, reducing: Reducing, case: Case) -> Reduced:
    return Reduced(*(replace(bench, loss=reducing(word)).value(case).detach().double() for word in Reduced._fields))


def _drawn(bench: Bench, logits: int, labels: int) -> Case:
    """Logits of one salt, with few, one or all of the labels in the last class."""
    case = bench.draw(logits)
    if bench.kind == "boxes":
        return Case(case.logits, bench.draw(10 + labels).targets)
    places = case.logits[:, 0] if bench.kind == "multiclass" else case.logits
    order, last = torch.arange(places.numel()), bench.classes - 1
    ids = (order % bench.classes, last * (order == places.numel() - 1), torch.full_like(order, last))[labels]
    return Case(case.logits, bench.truth(ids.reshape(places.shape)))


def _is_deaf(found: Reduced) -> bool:
    return found.none.shape == found.sum.shape == found.mean.shape and bool((found.sum == found.mean).all() & (found.sum == found.none).all())


def _judged(bench: Bench, cases: list[Case], found: list[Reduced]) -> Finding:
    case, first, slack = cases[0], found[0], 1e3 * bench.rounding
    losses, counts = first.none.numel(), [one.divisor for one in found]

    def all_are(number: float) -> bool:
        return all(abs(count - number) <= slack * abs(number) for count in counts)

    def fails(detail: str, *words: str) -> Finding:
        return Finding("reduction", False, counts[0], detail, example=_example(bench, case, *(words or ("sum", "mean"))))

    if _is_deaf(first):
        return fails("the argument `reduction` changes nothing")
    if first.none.ndim == 0:
        return fails("reduction='none' returns one number", "none", "sum")
    if any(abs(float(one.none.sum() - one.sum.sum())) > slack * max(1.0, abs(float(one.sum.sum()))) for one in found):
        return fails(f"the sum is {float(first.sum.sum()):.4g}, and the losses add up to {float(first.none.sum()):.4g}", "none", "sum")
    if all_are(losses) and not _has_idle(bench, cases, found):
        return Finding("reduction", True, counts[0], f"the sum is that of the {losses} losses, and the mean divides it by {losses}")
    if all_are(len(case.logits)):
        return Finding("reduction", False, counts[0], f"a convention: the mean divides {losses} losses by the {counts[0]:g} examples", "fact")
    if not all_are(counts[0]) and abs(counts[0] - counts[1]) <= slack * abs(counts[0]):
        words = ", ".join(f"{count:.4g}" for count in dict.fromkeys(counts))
        detail = f"a convention: the mean divides {losses} losses by weights that hang on the targets, here {words}"
        return Finding("reduction", False, counts[0], detail, "fact", _example(bench, case, "sum", "mean"))
    if not all_are(counts[0]):
        return fails(f"sum / mean moves with the logits: {counts[0]:.4g} for some, {counts[1]:.4g} for others, and {losses} losses in both")
    places = case.logits.numel() // bench.classes if bench.kind == "multiclass" else losses
    detail = f"sum / mean is {counts[0]:.4g} for {places} examples"
    if bench.kind == "multiclass" and all_are(places * bench.classes):
        detail += f": N K, not N, so that the mean is 1/{bench.classes} of the examples' mean loss"
    return fails(detail)


def _has_idle(bench: Bench, cases: list[Case], found: list[Reduced]) -> bool:
    """One loss a class, of which only the label's is ever more than 0: those of the other classes are counted and cost nothing."""
    if bench.kind != "multiclass" or found[0].none.shape != cases[0].logits.shape:
        return False
    return all(not bool(one.none[_others(bench, case)].any()) for case, one in zip(cases, found, strict=True))


def _others(bench: Bench, case: Case) -> Tensor:
    """Where the classes are that are not the label."""
    assert case.targets is not None
    one_hot = torch.nn.functional.one_hot(case.targets, bench.classes).movedim(-1, 1) if bench.targets == "labels" else case.targets
    return one_hot == 0


def _example(bench: Bench, case: Case, one: str, other: str) -> str:
    """The two calls; a module has its attribute set."""
    join = "{} / {}" if other == "mean" else "{}.sum(), {}"
    if isinstance(bench.loss, torch.nn.Module):
        first = f"loss.reduction = {one!r}; first = {call(case)}; loss.reduction = {other!r}"
        return shows(case, first, join.format("first", call(case)))
    calls = (call(case, targets=f"targets, reduction={word!r}") for word in (one, other))
    return shows(case, join.format(*calls))
