"""One thing that was looked at, and how it came out."""

from __future__ import annotations

import math
from typing import NamedTuple

Measured = float | str | None
NOT_SUPPORTED = "not supported"
VERDICTS = {("check", True): "ok", ("check", False): "FAILS", ("fact", True): "yes", ("fact", False): "no"}
INFINITIES = {"inf": math.inf, "-inf": -math.inf}


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: What was looked at, such as `finite_float16`. `require("finite")` takes all whose names begin so.
        passed: For a check, is it in order; for a fact, does the loss have the property; None where it could not be tried.
        measured: The number behind it, or a word: "not supported" where the loss says by an error that it does not take such an input.
        detail: A sentence that names the input.
        kind: "check", whose failure is a defect, or "fact", which is neither good nor bad.
        example: Python that shows it, for a loss that is called `loss`; empty where there is nothing to show.
    """

    name: str
    passed: bool | None
    measured: Measured
    detail: str
    kind: str = "check"
    example: str = ""

    @property
    def verdict(self) -> str:
        """ok, FAILS, yes, no, not supported, or a dash where it could not be tried."""
        if self.passed is None:
            return NOT_SUPPORTED if self.measured == NOT_SUPPORTED else "–"
        return VERDICTS[self.kind, self.passed]


def not_supported(name: str, detail: str) -> Finding:
    """The loss refuses such an input aloud: neither a defect nor in order."""
    return Finding(name, None, NOT_SUPPORTED, detail)


def settled(finding: Finding) -> Finding:
    """NaN as a word, since it equals nothing; infinity as a number."""
    measured = finding.measured
    if isinstance(measured, str):
        return finding._replace(measured=INFINITIES.get(measured, measured))
    return finding._replace(measured="nan") if measured is not None and math.isnan(measured) else finding
