"""The one place that words errors: parameter, expectation, finding; and the checks of what is no tensor, for which torch need not be there."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NoReturn


def wrong_value(parameter: str, expected: str, found: object) -> NoReturn:
    """Raise a `ValueError` that names parameter, expectation and finding."""
    raise ValueError(f"`{parameter}` should {expected}; found {found}.")


def wrong_type(parameter: str, expected: str, found: object) -> NoReturn:
    """Raise a `TypeError` that names parameter, expectation and finding."""
    raise TypeError(f"`{parameter}` should {expected}; found {found}.")


def check_choice(parameter: str, value: object, choices: Collection[str]) -> None:
    """`value` is one of `choices`."""
    if value not in choices:
        wrong_value(parameter, "be one of " + ", ".join(repr(choice) for choice in choices), repr(value))


def check_number(
    parameter: str,
    value: Any,
    *,
    low: float = float("-inf"),
    high: float = float("inf"),
    low_open: bool = False,
    high_open: bool = False,
) -> None:
    """`value` is a finite real number inside the interval from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        wrong_type(parameter, "be a real number", type(value).__name__)
    inside = (value > low if low_open else value >= low) and (value < high if high_open else value <= high)
    if not inside or value in (float("inf"), float("-inf")):
        wrong_value(parameter, _interval(low, high, low_open, high_open), value)


def _interval(low: float, high: float, low_open: bool, high_open: bool) -> str:
    """What a finite number inside an interval should be, in words where an end is infinite."""
    above, below = f"{'above' if low_open else 'at least'} {low:g}", f"{'below' if high_open else 'at most'} {high:g}"
    if low == float("-inf"):
        return "be finite" if high == float("inf") else f"be finite and {below}"
    if high == float("inf"):
        return f"be finite and {above}"
    return f"lie in {'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"


def check_count(parameter: str, value: Any, *, low: int = 1) -> None:
    """`value` is an integer of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, int):
        wrong_type(parameter, "be an integer", type(value).__name__)
    if value < low:
        wrong_value(parameter, f"be at least {low}", value)


def check_ignore_index(value: Any) -> None:
    """`value` is None, or an integer."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        wrong_type("ignore_index", "be an integer or None", type(value).__name__)


def check_flag(parameter: str, value: Any) -> None:
    """`value` is True or False."""
    if not isinstance(value, bool):
        wrong_type(parameter, "be True or False", repr(value))


def check_callable(parameter: str, value: Any) -> None:
    """`value` can be called."""
    if not callable(value):
        wrong_type(parameter, "be callable", type(value).__name__)
