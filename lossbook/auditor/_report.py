"""What an audit hands back: findings with the input that shows each, as a table, as HTML, as data, and as an assertion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, NamedTuple

from lossbook._core.checks import wrong_value
from lossbook._svg import escape

Measured = float | str | None
VERDICTS = {("check", True): "ok", ("check", False): "FAILS", ("fact", True): "yes", ("fact", False): "no"}


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: What was looked at, such as `finite_float16`. `require("finite")` takes all whose names begin so.
        passed: For a check, is it in order; for a fact, does the loss have the property; None where it could not be tried.
        measured: The number behind it, or a word.
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
        """ok, FAILS, yes, no, or a dash where it could not be tried."""
        return "–" if self.passed is None else VERDICTS[self.kind, self.passed]


@dataclass(frozen=True)
class Report:
    """What `audit` found: `findings`, a tuple, and `properties`, a dict of the numbers that describe the loss.

    >>> import torch, lossbook
    >>> report = lossbook.audit(lambda margins: torch.relu(-margins))
    >>> report["calibrated"].passed, report.properties["breaking_eta"]
    (False, 1.0)
    >>> report.require("finite", "convex")
    """

    loss: str
    kind: str
    findings: tuple[Finding, ...]
    properties: dict[str, Any]
    draw: Callable[[], tuple[Any, str]] | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, name: str) -> Finding:
        """The finding of that name. Raises KeyError where there is none."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"no finding {name!r}; there are {', '.join(finding.name for finding in self.findings)}")

    @property
    def defects(self) -> tuple[Finding, ...]:
        """The checks that failed."""
        return tuple(finding for finding in self.findings if finding.kind == "check" and finding.passed is False)

    @property
    def passed(self) -> bool:
        """No check failed."""
        return not self.defects

    def require(self, *names: str) -> None:
        """Raise unless every named finding is ok or yes; with no name, unless every check is.

        Args:
            *names: Names of findings, or what they begin with: "finite" stands for all of `finite_float64`, `finite_float16` and so on.

        Raises:
            AssertionError: A finding fails, with the input that shows it; or what is named could not be tried at all.
            ValueError: A name stands for no finding.
        """
        failing = [finding for name in names for finding in self._failing(name)] if names else list(self.defects)
        if failing:
            lines = [f"{finding.name}: {finding.detail}" for finding in dict.fromkeys(failing)]
            raise AssertionError(f"{self.loss} does not meet {len(lines)} of what is required.\n  " + "\n  ".join(lines))

    def _failing(self, name: str) -> list[Finding]:
        family = [finding for finding in self.findings if finding.name == name or finding.name.startswith(f"{name}_")]
        if not family:
            wrong_value("names", f"be among {', '.join(finding.name for finding in self.findings)}", repr(name))
        untried = all(finding.passed is None for finding in family)
        return family if untried else [finding for finding in family if finding.passed is False]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, ready for `json.dumps`."""
        findings = [{**finding._asdict(), "verdict": finding.verdict} for finding in self.findings]
        return {"loss": self.loss, "kind": self.kind, "passed": self.passed, "findings": findings, "properties": self.properties}

    @property
    def summary(self) -> str:
        """One sentence: how many checks failed, and which."""
        checks = sum(finding.kind == "check" and finding.passed is not None for finding in self.findings)
        failed = ", ".join(finding.name for finding in self.defects)
        return f"{self.loss} ({self.kind}): {checks} checks, {f'{len(self.defects)} failed: {failed}' if failed else 'none failed'}."

    def __repr__(self) -> str:
        width = max(len(finding.name) for finding in self.findings)
        lines = [f"  {f.verdict:5s}  {f.name:{width}s}  {shown(f.measured):>10s}  {f.detail}" for f in self._sorted()]
        return "\n".join([self.summary, *lines])

    def _sorted(self) -> list[Finding]:
        """Failed checks first, then the other checks, then the facts."""
        return sorted(self.findings, key=lambda finding: (finding.kind == "fact", finding.passed is not False if finding.kind == "check" else 0))

    def _repr_html_(self) -> str:
        rows = "".join(_row(finding) for finding in self._sorted())
        head = "<tr><th>found</th><th>what</th><th>measured</th><th>how</th></tr>"
        table = f'<table class="audit-table"><thead>{head}</thead><tbody>{rows}</tbody></table>'
        return f'<div class="lossbook-audit"><p class="audit-summary">{escape(self.summary)}</p>{self._picture()}{table}</div>'

    def _picture(self) -> str:
        if self.draw is None or find_spec("matplotlib") is None:
            return ""
        from lossbook import plots

        figure, alt = self.draw()
        return plots.to_html(figure, alt=alt).html


def shown(value: Measured) -> str:
    """A measured value in a table: at most four significant digits."""
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def _row(finding: Finding) -> str:
    example = f"<details><summary>show it</summary><pre>{escape(finding.example)}</pre></details>" if finding.example else ""
    state = {"ok": "ok", "FAILS": "fails", "yes": "yes", "no": "no"}.get(finding.verdict, "untried")
    cells = [finding.verdict, f"<code>{finding.name}</code>", escape(shown(finding.measured)), escape(finding.detail) + example]
    return f'<tr class="audit-{state}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
