"""What an audit hands back: findings with the input that shows each, as a table, as HTML, as data, and as an assertion."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from lossbook._core.checks import wrong_value
from lossbook._core.markup import escape
from lossbook.auditor._figure import Curves, picture
from lossbook.auditor._finding import NOT_SUPPORTED, Finding, Measured, settled


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What `audit` found: `findings`, a tuple, and `properties`, a dict of the numbers that describe the loss.

    A report holds no loss, so that it can be copied and pickled whatever the loss is. Two are equal where they say the same.

    >>> import torch, lossbook
    >>> report = lossbook.audit(lambda margins: torch.relu(-margins))
    >>> report["calibrated"].passed, report.properties["breaking_eta"]
    (False, 1.0)
    >>> report.require("finite", "convex")
    >>> Report.from_dict(report.to_dict()) == report
    True
    """

    loss: str
    kind: str
    findings: tuple[Finding, ...]
    properties: dict[str, Any]
    curves: Curves | None = field(default=None)

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
    def unsupported(self) -> tuple[Finding, ...]:
        """What the loss refuses by an error, such as a dtype that torch has no kernel for."""
        return tuple(finding for finding in self.findings if finding.verdict == NOT_SUPPORTED)

    @property
    def passed(self) -> bool:
        """No check failed."""
        return not self.defects

    def require(self, *names: str) -> None:
        """Raise unless every named finding is ok or yes; with no name, unless every check is, what is not supported aside.

        Args:
            *names: Names of findings, or what they begin with: "finite" stands for all of `finite_float64`, `finite_float16` and so on. Of such a
                family what is not supported is left aside; where nothing else is left, as in `require("finite_float16")`, it is not met.

        Raises:
            AssertionError: A finding fails, with the input that shows it; or what is named is not supported, or could not be tried at all.
            ValueError: A name stands for no finding.
        """
        failing = [finding for name in names for finding in self._failing(name)] if names else list(self.defects)
        if failing:
            lines = [_failure(finding) for finding in dict.fromkeys(failing)]
            raise AssertionError(f"{self.loss} does not meet {len(lines)} of what is required.\n  " + "\n  ".join(lines))

    def _failing(self, name: str) -> list[Finding]:
        family = [finding for finding in self.findings if finding.name == name or finding.name.startswith(f"{name}_")]
        if not family:
            wrong_value("names", f"be among {', '.join(finding.name for finding in self.findings)}", repr(name))
        untried = all(finding.passed is None for finding in family)
        return family if untried else [finding for finding in family if finding.passed is False]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data that strict JSON can hold: keys are text, and "inf", "-inf" and "nan" stand for such numbers."""
        findings = [{**finding._asdict(), "measured": _to_data(finding.measured), "verdict": finding.verdict} for finding in self.findings]
        return {"loss": self.loss, "kind": self.kind, "passed": self.passed, "findings": findings, "properties": _to_data(self.properties)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """The report that `to_dict` made such data of, without its figure."""
        fields = [{key: value for key, value in found.items() if key in Finding._fields} for found in data["findings"]]
        findings = tuple(settled(Finding(**found)) for found in fields)
        return cls(data["loss"], data["kind"], findings, _from_data(data["properties"]))

    def _said(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True, allow_nan=False)

    def __eq__(self, other: object) -> bool:
        return self._said() == other._said() if isinstance(other, Report) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._said())

    @property
    def summary(self) -> str:
        """One sentence: how many checks were made, which of them failed, and what is not supported."""
        checks = sum(finding.kind == "check" and finding.passed is not None for finding in self.findings)
        failed, refused = (", ".join(finding.name for finding in some) for some in (self.defects, self.unsupported))
        outcome = f"{len(self.defects)} failed: {failed}" if failed else "none failed"
        return f"{self.loss} ({self.kind}): {checks} checks, {outcome}{f'; not supported: {refused}' if refused else ''}."

    def __repr__(self) -> str:
        widths = [max((len(text) for text in texts), default=0) for texts in zip(*((f.verdict, f.name) for f in self.findings), strict=True)]
        verdict, name = widths or (0, 0)
        lines = [f"  {f.verdict:{verdict}s}  {f.name:{name}s}  {shown(f.measured):>10s}  {f.detail}" for f in self._sorted()]
        return "\n".join([self.summary, *lines])

    def _sorted(self) -> list[Finding]:
        """Failed checks first, then the other checks, those not supported last, then the facts."""
        order = {False: 0, True: 1, None: 2}
        return sorted(self.findings, key=lambda finding: 3 if finding.kind == "fact" else order[finding.passed])

    def _repr_html_(self) -> str:
        rows = "".join(_row(finding) for finding in self._sorted())
        head = "<tr><th>found</th><th>what</th><th>measured</th><th>how</th></tr>"
        table = f'<table class="audit-table"><thead>{head}</thead><tbody>{rows}</tbody></table>'
        return f'<div class="lossbook-audit"><p class="audit-summary">{escape(self.summary)}</p>{self._picture()}{table}</div>'

    def _picture(self) -> str:
        if self.curves is None or find_spec("matplotlib") is None:
            return ""
        from lossbook.explorer import to_html

        figure, alt = picture(self.curves, self.loss, self.kind)
        return to_html(figure, alt=alt).html


def _to_data(value: Any) -> Any:
    """Text for keys and for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(key): _to_data(one) for key, one in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _from_data(value: Any) -> Any:
    """The numbers that `_to_data` made text of; no property is text."""
    if isinstance(value, dict):
        return {float(key) if key[0].isdigit() else key: _from_data(one) for key, one in value.items()}
    return float(value) if isinstance(value, str) else value


def _failure(finding: Finding) -> str:
    return f"{finding.name}{' is not supported' if finding.verdict == NOT_SUPPORTED else ''}: {finding.detail}"


def shown(value: Measured) -> str:
    """A measured value in a table: at most four significant digits; nothing where the verdict says it already."""
    return "" if value is None or value == NOT_SUPPORTED else value if isinstance(value, str) else f"{value:.4g}"


def _row(finding: Finding) -> str:
    example = f"<details><summary>show it</summary><pre>{escape(finding.example)}</pre></details>" if finding.example else ""
    state = {"ok": "ok", "FAILS": "fails", "yes": "yes", "no": "no", NOT_SUPPORTED: "unsupported"}.get(finding.verdict, "untried")
    cells = [finding.verdict, f"<code>{finding.name}</code>", escape(shown(finding.measured)), escape(finding.detail) + example]
    return f'<tr class="audit-{state}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
