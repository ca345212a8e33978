"""The picture of a report: the loss along one line through its inputs. matplotlib comes in when it is drawn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lossbook.auditor._bench import Bench, Case

SCORES = torch.linspace(-6, 6, 241, dtype=torch.float64)


def picture(bench: Bench, name: str) -> tuple[Any, str]:
    """A figure, and the sentence that says what it shows."""
    from lossbook import plots

    figure, axes = plots.subplots(height=2.9)
    curves, label, words = _curves(bench)
    for (title, values), color, dash in zip(curves.items(), ("blue", "orange"), ("-", "--"), strict=False):
        axes.plot(SCORES, values, dash, color=plots.COLORS[color], label=title)
    if bench.kind == "margin":
        axes.plot(SCORES, (SCORES <= 0).double(), ":", color=plots.COLORS["ink"], label="0-1 loss")
    low, high = (float(edge(torch.cat(list(curves.values())))) for edge in (_least, _most))
    axes.set(xlim=(-6, 6), ylim=(min(0.0, low), 1.05 * min(high, 12.0) + 0.05), xlabel=label, ylabel="loss")
    axes.legend(loc="upper right")
    return figure, f"The curve of {name} along {words}, from {low:.3g} to {high:.3g}."


def _least(values: Tensor) -> Tensor:
    return values[values.isfinite()].amin() if bool(values.isfinite().any()) else torch.tensor(0.0)


def _most(values: Tensor) -> Tensor:
    return values[values.isfinite()].amax() if bool(values.isfinite().any()) else torch.tensor(1.0)


def _curves(bench: Bench) -> tuple[dict[str, Tensor], str, str]:
    """Curves by name, the axis' label, and what the line is."""
    if bench.kind == "boxes":
        cases = [_pushed(float(shift)) for shift in SCORES]
        return {"two boxes of side 2": _losses(bench, cases)}, "how far one is pushed sideways", "a push of one box past another"
    if bench.kind == "multiclass":
        first = torch.zeros(bench.classes, dtype=torch.float64).index_fill(0, torch.tensor([0]), 1.0)
        lines = {title: _losses(bench, [bench.single(score * first, label) for score in SCORES]) for title, label in (("label 0", 0), ("label 1", 1))}
        return lines, "logit of class 0, the others at 0", "the logit of one class"
    labels = (("the loss", 1),) if bench.kind == "margin" else (("label 1", 1), ("label 0", 0))
    lines = {title: _losses(bench, [bench.single(score, label) for score in SCORES]) for title, label in labels}
    return lines, "margin" if bench.kind == "margin" else "logit", "the margin" if bench.kind == "margin" else "the logit"


def _losses(bench: Bench, cases: list[Case]) -> Tensor:
    return torch.stack([bench.value(case).detach().double().mean() for case in cases])


def _pushed(shift: float) -> Case:
    box = torch.tensor([[shift, 0.0, shift + 2, 2.0]], dtype=torch.float64)
    return Case(box, torch.tensor([[0.0, 0.0, 2.0, 2.0]], dtype=torch.float64))
