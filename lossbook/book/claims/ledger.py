"""What a claim is, and the ledger that holds them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal, NamedTuple

import torch

from lossbook._core.checks import check_count
from lossbook._core.door import plain_arguments
from lossbook._core.markup import MIME, escape

Verdict = Literal["holds", "conditional", "false"]
VERDICTS: dict[str, str] = {"holds": "Holds", "conditional": "Holds under conditions", "false": "False as stated"}


class Measurement(NamedTuple):
    """What a claim's function measured.

    `value` is the headline number and `expected` the number that theory, or an independent computation, gives for it. `holds` is True where they
    agree within `tolerance` and every other condition that the function checks came out as the verdict says. `details` has the further numbers.
    """

    value: float
    expected: float
    tolerance: float
    holds: bool
    details: dict[str, float]


def measured(value: float, expected: float, tolerance: float, *, conditions: bool = True, **details: float) -> Measurement:
    """A `Measurement` whose `holds` is computed: |value - expected| <= tolerance, and `conditions`.

    Args:
        value: the headline number.
        expected: what theory, or an independent computation, gives for it.
        tolerance: how far apart they may be.
        conditions: whatever else has to come out as the verdict says.
        **details: further numbers for the box.

    Returns:
        The `Measurement`.

    Example:
        >>> measured(0.69, math.log(2), 0.01, samples=1000).holds
        True
    """
    value, expected, tolerance = float(value), float(expected), float(tolerance)
    agrees = value == expected or abs(value - expected) <= tolerance  # of NaN neither is true
    return Measurement(value, expected, tolerance, bool(agrees and conditions), {name: float(number) for name, number in details.items()})


@dataclass(frozen=True)
class Claim:
    """One checkable sentence of the article.

    `statement` says in our words what the article says, `corrected` is the sentence that is right (the statement itself where it holds), `quantity`
    names the number that `measure` returns. An `id` with an X is a result beyond the article.
    """

    id: str
    statement: str
    verdict: Verdict
    corrected: str
    chapter: str
    references: tuple[str, ...]
    quantity: str
    function: Callable[[int], Measurement] = field(repr=False)

    @plain_arguments
    def measure(self, seed: int = 0) -> Measurement:
        """Run the claim's experiment.

        Args:
            seed: where its random numbers start, at least 0. The same seed gives the same numbers, whatever default dtype, device or mode torch is
                in, and is measured once a process.

        Returns:
            The `Measurement`.

        Raises:
            TypeError or ValueError for another seed.
        """
        check_count("seed", seed, low=0)
        return _measure(self.function, seed)


@cache
def _measure(function: Callable[[int], Measurement], seed: int) -> Measurement:
    with _torch_as_it_starts():
        return function(seed)


@contextmanager
def _torch_as_it_starts() -> Iterator[None]:
    """float32 on the CPU, with gradients and without autocast, wherever somebody asks."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False), torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


class Ledger(Mapping[str, Claim]):
    """The claims by id, in the order of the article, extras last. The claims' modules are imported at the first look-up."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._loaded = False

    def add(self, claim: Claim) -> None:
        if claim.id in self._claims and self._claims[claim.id].function.__qualname__ != claim.function.__qualname__:
            raise ValueError(f"Claim {claim.id} is registered twice.")
        self._claims[claim.id] = claim

    def _load(self) -> dict[str, Claim]:
        if not self._loaded:
            package = import_module("lossbook.book.claims")
            with _torch_as_it_starts():  # the modules keep tensors
                for module in iter_modules(package.__path__):
                    if not module.name.startswith("_"):
                        import_module(f"lossbook.book.claims.{module.name}")
            self._claims = dict(sorted(self._claims.items()))
            self._loaded = True
        return self._claims

    def __getitem__(self, claim_id: str) -> Claim:
        claims = self._load()
        if claim_id not in claims:
            raise KeyError(f"No claim {claim_id!r}; the ledger has {', '.join(claims)}.")
        return claims[claim_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())


LEDGER = Ledger()


def claim(
    claim_id: str,
    *,
    statement: str,
    verdict: Verdict,
    corrected: str,
    chapter: str,
    references: tuple[str, ...],
    quantity: str,
) -> Callable[[Callable[[int], Measurement]], Callable[[int], Measurement]]:
    """Register the decorated function, seed -> Measurement, as a claim of the ledger.

    Args:
        claim_id: "C07", or "X07" for a result beyond the article.
        statement: what the article says, in our words.
        verdict: "holds", "conditional" or "false".
        corrected: the sentence that is right; the statement itself where it holds.
        chapter: the file of the chapter that shows it, without its ending.
        references: keys of the bibliography.
        quantity: what the number is that the function measures.

    Returns:
        The decorator; it hands the function back.

    Raises:
        ValueError where the id is taken.
    """

    def register(function: Callable[[int], Measurement]) -> Callable[[int], Measurement]:
        LEDGER.add(Claim(claim_id, statement, verdict, corrected, chapter, references, quantity, function))
        return function

    return register


def number(value: float) -> str:
    """Four significant digits, plain where that is short: 0.6931, 27.9, 1.3e-15, 709044; and what is no number: NaN, ∞, -∞."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if value == int(value) and abs(value) < 1e7:
        return str(int(value))
    return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e+")


@dataclass(frozen=True)
class ClaimBox:
    """What `show` returns: the box in HTML, and a line of text where there is no HTML."""

    claim: Claim
    measurement: Measurement

    def __repr__(self) -> str:
        claim, found = self.claim, self.measurement
        surprise = "" if found.holds else ". This is not what was expected"
        verdict, expected = VERDICTS[claim.verdict].lower(), f"expected {number(found.expected)}{surprise}"
        return f"{claim.id} ({verdict}): {claim.quantity} = {number(found.value)}, {expected}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        found = self.measurement
        data = {"claim": self.claim.id, "value": number(found.value), "expected": self._expected(), "holds": found.holds}
        return {"text/html": self._repr_html_(), "text/plain": repr(self), MIME: data}

    def _expected(self) -> str:
        found = self.measurement
        return f"{number(found.expected)} ± {number(found.tolerance)}" if found.tolerance else f"exactly {number(found.expected)}"

    def _repr_html_(self) -> str:
        claim, found = self.claim, self.measurement
        details = "".join(f"<li>{escape(name.replace('_', ' '))}: <b>{number(value)}</b></li>" for name, value in found.details.items())
        corrected = "" if claim.verdict == "holds" else f'<p class="claim-corrected"><b>Better:</b> {escape(claim.corrected)}</p>'
        surprise = "" if found.holds else " <b>This is not what was expected.</b>"
        source = "Beyond the article" if claim.id.startswith("X") else "The article says"
        return (
            f'<div class="claim claim-{claim.verdict}" data-claim="{claim.id}" id="claim-{claim.id}">'
            f'<p class="claim-head">{head(claim.id)} <span class="claim-verdict">{VERDICTS[claim.verdict]}</span></p>'
            f'<p class="claim-statement"><b>{source}:</b> {escape(claim.statement)}</p>{corrected}'
            f'<p class="claim-measured"><b>We measured:</b> {escape(claim.quantity)} = '
            f'<b class="claim-value" data-holds="{str(found.holds).lower()}">{number(found.value)}</b>'
            f" (expected {self._expected()}).{surprise}</p>"
            f"{'<ul class=claim-details>' + details + '</ul>' if details else ''}</div>"
        )


def head(claim_id: str) -> str:
    """The id in a box, which a book with a ledger makes a link."""
    return f'<span class="claim-id">{claim_id}</span>'


def show(claim_id: str, seed: int = 0) -> ClaimBox:
    """Measure a claim and return its box for a chapter: what the article says, what holds, and the number measured now.

    Args:
        claim_id: a key of `LEDGER`.
        seed: as for `Claim.measure`.

    Returns:
        A `ClaimBox`; Jupyter shows it as HTML.

    Raises:
        KeyError for an unknown id.

    Example:
        >>> show("C08")
        C08 (holds under conditions): hinge loss of w = 2 and of w = 3 on the points 1 and 2, both +1, added up = 0, expected 0
    """
    found = LEDGER[claim_id]
    return ClaimBox(found, found.measure(seed))
