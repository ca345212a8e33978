"""What a loss does with labels that should not be there, with those to be ignored, and with shifted scores and renamed classes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lossbook.auditor._batches import take
from lossbook.auditor._bench import Bench, Case, LossRaised, call, shows
from lossbook.auditor._finding import Finding, not_supported


def bad_labels(bench: Bench) -> Iterator[Finding]:
    """Class ids K and -1: an error is right; being dropped or taken for the last class, in silence, is not."""
    if bench.kind != "multiclass" or bench.targets != "labels":
        yield from _bad_numbers(bench)
        return
    for name, label in (("labels_too_large", bench.classes), ("labels_negative", -1)):
        case = _with_label(bench, label)
        try:
            value, gradient = bench.slope(case)
        except LossRaised as error:
            yield Finding(name, True, "error", f"label {label} is refused: {str(error)[:80]}")
            continue
        wrapped = bool((bench.value(_with_label(bench, bench.classes - 1)).detach() == value).all())
        dropped = not bool(gradient[0].any())
        outcome = "taken for the last class" if wrapped else "dropped" if dropped else "counted as something"
        passed = label < 0 and dropped and not wrapped  # ids below 0 mark what is to be ignored in several libraries
        yield Finding(
            name, passed, outcome, f"label {label} of {bench.classes} classes is {outcome}, without a word", example=shows(case, call(case))
        )


def _with_label(bench: Bench, label: int) -> Case:
    case = bench.draw()
    assert case.targets is not None
    labels = case.targets.clone()
    labels[0] = label
    return Case(case.logits, labels)


def _bad_numbers(bench: Bench) -> Iterator[Finding]:
    """A target of 2, or a one-hot row that sums to 2. torch takes these too, so it is a fact."""
    case = bench.draw()
    assert case.targets is not None
    targets = case.targets.clone()
    targets[0] = 2
    try:
        value = bench.total(Case(case.logits, targets)).detach()
    except LossRaised as error:
        yield Finding("refuses_bad_targets", True, "error", f"a target of 2 is refused: {str(error)[:80]}", "fact")
        return
    yield Finding("refuses_bad_targets", False, float(value), f"a target of 2 is taken, and costs {float(value):.4g}", "fact")


def ignored(bench: Bench) -> Iterator[Finding]:
    """Label -100: where it is left out, is it left out of the denominator too?"""
    if bench.kind != "multiclass" or bench.targets != "labels":
        return
    case = _with_label(bench, -100)
    try:
        value, gradient = bench.slope(case)
    except LossRaised as error:
        yield Finding("ignored", None, "error", f"label -100 is refused: {str(error)[:80]}", "fact")
        return
    if value.ndim or bool(gradient[0].any()):
        yield Finding("ignored", None, "kept", "label -100 is not left out, or the loss is not reduced", "fact")
        return
    rest = bench.value(take(case, torch.arange(1, len(case.logits)))).detach()
    ratio = float(rest / value)
    example = "" if abs(ratio - 1) < 1e2 * bench.rounding else shows(case, f"{call(case)}, loss(logits[1:], targets[1:])")
    detail = (
        "label -100 is left out, as if its row were not there"
        if not example
        else f"a row with label -100 has no gradient but counts: without it the loss is {ratio:.4g} times as much"
    )
    yield Finding("ignored", not example, ratio, detail, "fact", example)


def shift(bench: Bench) -> Iterator[Finding]:
    """The same number added to all logits of an example."""
    if bench.kind != "multiclass":
        return
    case = bench.draw()
    moved = _moved(bench, Case(case.logits + 3, case.targets), case)
    yield Finding("shift", moved < bench.rounding, moved, "how far the loss moves when 3 is added to every logit", "fact")


def classes_alike(bench: Bench) -> Iterator[Finding]:
    """Classes renamed, in the logits' columns and in the labels; in binary, all signs turned."""
    case = bench.draw()
    assert case.targets is not None
    if bench.kind == "multiclass":
        targets = (case.targets + 1) % bench.classes if bench.targets == "labels" else case.targets.roll(1, 1)
        moved, words = _moved(bench, Case(case.logits.roll(1, 1), targets), case), "when the classes are renamed"
    else:
        moved = _moved(bench, Case(-case.logits, -case.targets if bench.targets == "signs" else 1 - case.targets), case)
        words = "when labels and logits change their sign"
    yield Finding("classes_alike", moved < bench.rounding, moved, f"how far the loss moves {words}", "fact")


def _moved(bench: Bench, one: Case, other: Case) -> float:
    return float((bench.value(one).detach() - bench.value(other).detach()).abs().max())


def cross_entropy(bench: Bench) -> Iterator[Finding]:
    """Is it cross-entropy, or a multiple of it?"""
    ratios = torch.stack([bench.total(case).detach() / _plain(bench, case) for case in (bench.draw(salt) for salt in range(3))])
    factor, spread = float(ratios.mean()), float((ratios - ratios.mean()).abs().max())
    is_multiple = spread < 1e3 * bench.rounding * abs(factor)
    detail = f"{factor:.4g} times the mean cross-entropy" if is_multiple else "no multiple of the mean cross-entropy"
    yield Finding("cross_entropy", is_multiple, factor if is_multiple else None, detail, "fact")


def _plain(bench: Bench, case: Case) -> Tensor:
    logits, targets = case
    assert targets is not None
    if bench.kind == "multiclass":
        labels = targets if bench.targets == "labels" else targets.argmax(1)
        return torch.nn.functional.cross_entropy(logits, labels)
    signs = targets if bench.targets == "signs" else 2 * targets - 1
    return torch.nn.functional.softplus(-signs * logits).mean()


def pulls(bench: Bench) -> Iterator[Finding]:
    """Is there a gradient where the model is sure and wrong? And what is left to pay where it is sure and right?"""
    sure = torch.zeros(bench.classes, dtype=torch.float64)
    sure[0] = 100.0
    wrong, right = (
        bench.single(sure if bench.kind == "multiclass" else sure[0], label) for label in ((1, 0) if bench.kind == "multiclass" else (0, 1))
    )
    yield _pull(bench, wrong)
    left = float(bench.total(right).detach())
    yield Finding("free_when_right", abs(left) < 1e-6, left, f"{left:.3g} is what one example costs that is right at a logit of 100", "fact")


def _pull(bench: Bench, wrong: Case) -> Finding:
    if not bench.has_graph:
        return not_supported("pulls", "the value hangs on no graph, so that `backward` raises")
    strength = float(bench.slope(wrong)[1].abs().sum())
    example = shows(wrong, f"{call(wrong)}.sum().backward()", "logits.grad", gradient=True) if not strength > 1e-6 else ""  # NaN pulls nowhere
    detail = f"{strength:.3g} is the gradient, in all, of one example that is wrong at a logit of 100"
    return Finding("pulls", not example, strength, detail, "fact", example)
