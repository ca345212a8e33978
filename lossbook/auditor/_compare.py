"""A path is another way to hand the same numbers to a loss. Either the loss says the same along it, or it refuses by an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook.auditor._bench import Case, LossRaised, shows
from lossbook.auditor._finding import Finding, not_supported

Slope = tuple[Tensor, Tensor]  # a value and the gradient in the logits


class Path(NamedTuple):
    """One way, what it is called, the call along it and the plain one, as code and as what they return."""

    words: str
    case: Case
    call: str
    plain_call: str
    slope: Callable[[], Slope]
    plain: Slope
    before: str = ""  # a line of set-up
    asked: str = ""  # the last line, where it is not the two calls

    def example(self, part: str) -> str:
        """Python that shows the difference."""
        calls = (self.call, self.plain_call)
        asked = self.asked or ", ".join(calls if part == "value" else (f"torch.autograd.grad({one}.sum(), logits)" for one in calls))
        return shows(self.case, *([self.before] if self.before else []), asked, gradient=bool(self.asked) or part == "gradient")


def along(name: str, paths: Iterable[Path], tolerance: float, same: str, *, gradient_tolerance: float | None = None) -> Finding:
    """The first path on which value or gradient is another one; else what agrees, and what is refused; where all is refused, that."""
    tolerances = (tolerance, gradient_tolerance or tolerance)
    taken, refused, worst = list[str](), dict[str, str](), 0.0
    for path in paths:
        try:
            found = path.slope()
        except LossRaised as error:
            refused.setdefault(path.words, str(error))
            continue
        for part, plain, there, within in zip(("value", "gradient"), path.plain, found, tolerances, strict=True):
            error_ = relative_difference(plain, there)
            if error_ > within:
                return Finding(name, False, error_, f"{path.words}: the {part} is another one, {_beside(plain, there)}", example=path.example(part))
            worst = max(worst, error_)
        taken.append(path.words)
    if not taken:
        return not_supported(name, f"{', '.join(refused)}: {next(iter(refused.values()), '')}")
    words = f"{same}: {', '.join(dict.fromkeys(taken))}"
    return Finding(name, True, worst, words + (f"; refused: {', '.join(refused)}" if refused else ""))


def relative_difference(plain: Tensor, there: Tensor) -> float:
    """The largest difference, relative to the largest of the plain numbers or 1e-3; inf where shapes differ or one alone is NaN or infinite."""
    if plain.shape != there.shape:
        return float("inf")
    one, other = plain.detach().double().flatten(), there.detach().double().flatten()
    equal = (one == other) | (one.isnan() & other.isnan())
    if bool(equal.all()):
        return 0.0
    size = one[one.isfinite()].abs().max().clamp(min=1e-3) if bool(one.isfinite().any()) else torch.tensor(1.0)
    return float(torch.where(equal, 0.0, (one - other).abs() / size).nan_to_num(nan=torch.inf).max())


def _beside(plain: Tensor, there: Tensor) -> str:
    """Where two results differ most, in numbers."""
    if plain.shape != there.shape:
        return f"of shape {tuple(there.shape)} instead of {tuple(plain.shape)}"
    place = int((plain.double() - there.double()).abs().nan_to_num(nan=torch.inf).argmax())
    return f"{float(there.flatten()[place]):.4g} instead of {float(plain.flatten()[place]):.4g}"
