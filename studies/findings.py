"""What the book concludes from its studies: a sentence, the effect that decides, and the predicate that fails when it stops being true."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

from lossbook._core.markup import MIME, escape
from lossbook.book.claims.ledger import head, number
from studies.effects import METHODS, Effect
from studies.runs import Runs, read
from studies.study import NAMES, Study, load


class Predicate(NamedTuple):
    """What an interval has to be."""

    holds: Callable[[Effect], bool]
    verdict: str = "Found"  # at the head of the box


def above(bound: float) -> Predicate:
    """The whole interval lies above a bound."""
    return Predicate(lambda effect: effect.low > bound)


def below(bound: float) -> Predicate:
    """The whole interval lies below a bound."""
    return Predicate(lambda effect: effect.high < bound)


def within(low: float, high: float) -> Predicate:
    """The whole interval lies between two bounds: as good as nothing, where these are small."""
    return Predicate(lambda effect: low < effect.low and effect.high < high)


def unclear() -> Predicate:
    """The interval has 0 in it: whether there is an effect is not known."""
    return Predicate(lambda effect: effect.low <= 0 <= effect.high, "Not clear")


@dataclass(frozen=True)
class Finding:
    """One conclusion.

    Attributes:
        id: "B01".
        sentence: What was found; `{mean}`, `{low}` and `{high}` stand for the effect's numbers and take a format, `{mean:.1f}`.
        quantity: What the effect is a mean of, with its unit.
        effect: From the study's runs.
        predicate: What the interval has to be.
        study: The name of the study; known once it is in the ledger.
    """

    id: str
    sentence: str
    quantity: str
    effect: Callable[[Runs], Effect] = field(repr=False)
    predicate: Predicate = field(repr=False)
    study: str = ""

    @property
    def chapter(self) -> str:
        """The file of its chapter, without its ending."""
        return load(self.study).chapter

    def measure(self, runs: Runs | None = None) -> Effect:
        """The effect, from the stored runs or from others."""
        return self.effect(read(self.study) if runs is None else runs)

    def holds(self, runs: Runs | None = None) -> bool:
        """Is it true of the stored runs, or of others?"""
        return self.predicate.holds(self.measure(runs))


class Findings(Mapping[str, Finding]):
    """The findings by id, in the order of the ids. A study's module is imported when they are first looked up."""

    def __getitem__(self, finding_id: str) -> Finding:
        found = _findings()
        if finding_id not in found:
            raise KeyError(f"No finding {finding_id!r}; there are {', '.join(found)}.")
        return found[finding_id]

    def __iter__(self) -> Iterator[str]:
        return iter(_findings())

    def __len__(self) -> int:
        return len(_findings())


FINDINGS = Findings()


@cache
def _findings() -> dict[str, Finding]:
    found: dict[str, Finding] = {}
    for name in NAMES:
        for finding in import_module(f"studies.{name}").FINDINGS:
            if finding.id in found:
                raise ValueError(f"Finding {finding.id} stands in {found[finding.id].study} and in {name}.")
            found[finding.id] = Finding(finding.id, finding.sentence, finding.quantity, finding.effect, finding.predicate, name)
    return dict(sorted(found.items(), key=lambda item: int(item[0].removeprefix("B"))))


@dataclass(frozen=True)
class FindingBox:
    """What `show` returns: the box in HTML, and a line of text where there is no HTML."""

    finding: Finding
    study: Study
    effect: Effect
    chosen: list[dict[str, Any]]  # what each arm has chosen under each condition

    @property
    def holds(self) -> bool:
        """Is it true of the stored runs?"""
        return self.finding.predicate.holds(self.effect)

    @property
    def sentence(self) -> str:
        """With its numbers."""
        return self.finding.sentence.format(mean=self.effect.mean, low=self.effect.low, high=self.effect.high)

    @property
    def value(self) -> str:
        """The mean."""
        return number(self.effect.mean)

    @property
    def interval(self) -> str:
        """From where to where."""
        return f"{number(self.effect.low)} to {number(self.effect.high)}"

    @property
    def how(self) -> str:
        """Runs, interval, tuning, end."""
        effect, study = self.effect, self.study
        corrected = f", corrected for {effect.comparisons} comparisons" if effect.comparisons > 1 else ""
        knobs = " and ".join(sorted({name for arm in study.arms for name in study.tuned[arm]}))
        tried, at_end = len(study.choices(study.arms[0])), sum(bool(row["at_an_end"]) for row in self.chosen)
        ends = f"; {at_end} of {len(self.chosen)} choices lie at an end of these" if at_end else ""
        tuning = f"Each of {len(study.arms)} arms chose its {knobs} among {tried} on {len(study.tuning_seeds)} other seeds{ends}. " if knobs else ""
        interval = f"{100 * effect.confidence:g}% interval ({METHODS[effect.method]}{corrected})"
        ties = effect.size - effect.positive - effect.negative
        signs = f"above 0 in {effect.positive}, below in {effect.negative}" + (f", a tie in {ties}" if ties else "")
        return f"{effect.size} seeds, {signs}; {interval}. {tuning}{study.end}"

    def __repr__(self) -> str:
        surprise = "" if self.holds else " This no longer holds."
        return f"{self.finding.id}: {self.sentence} {self.finding.quantity} = {self.value} ({self.interval}).{surprise}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        data = {"finding": self.finding.id, "value": self.value, "interval": self.interval, "holds": self.holds}
        return {"text/html": self._repr_html_(), "text/plain": repr(self), MIME: data}

    def _repr_html_(self) -> str:
        surprise = "" if self.holds else " <b>This no longer holds.</b>"
        verdict = self.finding.predicate.verdict
        return (
            f'<div class="finding" data-finding="{self.finding.id}" id="finding-{self.finding.id}">'
            f'<p class="claim-head">{head(self.finding.id)} <span class="claim-verdict">{verdict}</span></p>'
            f"<p><b>The book finds:</b> {escape(self.sentence)}</p>"
            f'<p class="claim-measured"><b>We measured:</b> {escape(self.finding.quantity)} = '
            f'<b class="claim-value" data-holds="{str(self.holds).lower()}">{self.value}</b>'
            f' ({self.interval}).{surprise}</p><p class="ledger-expected">{escape(self.how)}</p></div>'
        )


def show(finding_id: str) -> FindingBox:
    """The box of a finding, for a chapter.

    Raises:
        KeyError: an unknown id.
    """
    finding = FINDINGS[finding_id]
    runs = read(finding.study)
    return FindingBox(finding, load(finding.study), finding.measure(runs), runs.about["chosen"])
