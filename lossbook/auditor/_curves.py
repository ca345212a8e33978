"""The loss along one line through its inputs, in numbers."""

from __future__ import annotations

import torch

from lossbook.auditor._bench import Bench, Case, LossRaised
from lossbook.auditor._figure import Curves

SCORES = torch.linspace(-6, 6, 121, dtype=torch.float64)


def curves(bench: Bench) -> Curves | None:
    """Numbers to draw, so that a report needs its loss no more; None where the loss raises along the line."""
    try:
        return _curves(bench)
    except LossRaised:
        return None


def _curves(bench: Bench) -> Curves:
    if bench.kind == "boxes":
        cases = {"two boxes of side 2": [_pushed(float(shift)) for shift in SCORES]}
        return _line(bench, cases, "how far one is pushed sideways", "a push of one box past another")
    if bench.kind == "multiclass":
        first = torch.zeros(bench.classes, dtype=torch.float64).index_fill(0, torch.tensor([0]), 1.0)
        cases = {f"label {label}": [bench.single(score * first, label) for score in SCORES] for label in range(min(2, bench.classes))}
        return _line(bench, cases, "logit of class 0, the others at 0", "the logit of one class")
    word, labels = ("margin", {"the loss": 1}) if bench.kind == "margin" else ("logit", {"label 1": 1, "label 0": 0})
    return _line(bench, {title: [bench.single(score, label) for score in SCORES] for title, label in labels.items()}, word, f"the {word}")


def _line(bench: Bench, cases: dict[str, list[Case]], label: str, words: str) -> Curves:
    lines = {title: tuple(float(bench.value(case).detach().double().mean()) for case in line) for title, line in cases.items()}
    return Curves(tuple(SCORES.tolist()), lines, label, words)


def _pushed(shift: float) -> Case:
    box = torch.tensor([[shift, 0.0, shift + 2, 2.0]], dtype=torch.float64)
    return Case(box, torch.tensor([[0.0, 0.0, 2.0, 2.0]], dtype=torch.float64))
