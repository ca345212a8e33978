"""What `explore` accepts as a control, turned into a finite list of settings by the rules of `ipywidgets.interact`.

A pair or triple of numbers is a slider, a bool a checkbox, a list, dict or list of `(label, value)` pairs a choice, a single number a slider around
it, a text a text; a widget stands for itself. The default of `draw`'s parameter is the initial value, where it has one.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from inspect import Parameter
from math import isfinite
from numbers import Integral, Real
from typing import Any, NamedTuple

from lossbook._core.arguments import wrong_type, wrong_value

_ACCEPTED = "be a tuple of two or three numbers, a bool, a number, a text, a list, a dict or an ipywidgets control"


State = tuple[int, ...]  # the number of the setting of each control, in their order


class Control(NamedTuple):
    """One control: a name, its settings and how they read."""

    name: str
    label: str
    kind: str  # "range", "select", "radio", "checkbox", "text" or "fixed"
    values: tuple[Any, ...]
    texts: tuple[str, ...]
    initial: int

    def __len__(self) -> int:
        return len(self.values)


def read_controls(draw: Callable[..., Any], abbreviations: Mapping[str, Any]) -> list[Control]:
    """The controls in the order given, after a look at whether `draw` can take them."""
    if not callable(draw):
        wrong_type("draw", "be a function", type(draw).__name__)
    parameters = inspect.signature(draw).parameters
    try:
        inspect.signature(draw).bind(**dict.fromkeys(abbreviations))
    except TypeError as error:
        raise TypeError(f"`draw` should take the controls {', '.join(abbreviations) or 'given'} and need no other argument; {error}.") from None
    return [
        read_control(name, abbreviation, parameters[name].default if name in parameters else Parameter.empty)
        for name, abbreviation in abbreviations.items()
    ]


def read_control(name: str, abbreviation: Any, default: Any = Parameter.empty) -> Control:
    """One abbreviation as a control; `default` is that of `draw`'s parameter."""
    label = name.replace("_", " ")
    if is_widget(abbreviation):
        return _from_widget(name, label, abbreviation)
    if isinstance(abbreviation, str):
        return Control(name, label, "text", (abbreviation,), (abbreviation,), 0)
    if isinstance(abbreviation, bool):
        return _checkbox(name, label, abbreviation if default is Parameter.empty else bool(default))
    if isinstance(abbreviation, Real):
        return _around(name, label, _plain(abbreviation))
    if isinstance(abbreviation, tuple):
        return _from_tuple(name, label, abbreviation, default)
    if not isinstance(abbreviation, Iterable):
        wrong_type(name, _ACCEPTED, type(abbreviation).__name__)
    return _choice(name, label, "select", *_options(abbreviation), default)


def setting_of(control: Control, value: Any) -> int:
    """The number of the setting that a value is, or of the nearest one to it."""
    exact = next((index for index, one in enumerate(control.values) if one is value or _equal(one, value)), None)
    if exact is not None:
        return exact
    return _nearest(control.values, float(value)) if control.kind == "range" else control.initial


def is_widget(value: Any) -> bool:
    """True for a widget or `ipywidgets.fixed`; nothing is imported, because a widget's package already is."""
    widgets = sys.modules.get("ipywidgets")
    return widgets is not None and isinstance(value, (widgets.Widget, widgets.fixed))


def _plain(number: Any) -> int | float:
    return int(number) if isinstance(number, Integral) else float(number)


def _around(name: str, label: str, number: int | float) -> Control:
    """A single number n stands for the range from -n to 3n, as in `interact`."""
    low, high = (0, number + 1) if number == 0 else (min(-number, 3 * number), max(-number, 3 * number))
    step = 1 if isinstance(number, int) else 0.1
    return _slider(name, label, low, high, step, number)


def _from_tuple(name: str, label: str, numbers: tuple[Any, ...], default: Any) -> Control:
    if len(numbers) not in (2, 3) or not all(isinstance(number, Real) for number in numbers):
        wrong_value(name, _ACCEPTED, repr(numbers))
    whole = all(isinstance(number, Integral) for number in numbers)
    low, high, *rest = (_plain(number) for number in numbers)
    if not all(map(isfinite, numbers)):
        wrong_value(name, "be finite", repr(numbers))
    step = rest[0] if rest else (1 if whole else 0.1)
    if not high >= low:
        wrong_value(name, "have its minimum first", repr(numbers))
    if not 0 < step < float("inf"):
        wrong_value(name, "have a positive step", repr(step))
    middle = low + (high - low) // 2 if whole else low + (high - low) / 2
    initial = low + int((middle - low) / step) * step if rest else middle
    if isinstance(default, Real) and low <= float(default) <= high:
        initial = _plain(default)
    return _slider(name, label, low, high, step, initial)


def _slider(name: str, label: str, low: float, high: float, step: float, initial: float, texts: Callable[[float], str] | None = None) -> Control:
    """All multiples of `step` from `low` up to `high`; the setting nearest to `initial` comes first on the page."""
    exact = [Decimal(str(number)) for number in (low, step)]
    count = int((Decimal(str(high)) - exact[0]) / exact[1] + Decimal("1e-9")) + 1
    kind = int if isinstance(low, int) and isinstance(step, int) else float
    values = tuple(kind(exact[0] + index * exact[1]) for index in range(count))
    decimals = min(6, max(0, *(-int(number.normalize().as_tuple().exponent) for number in exact)))
    write = texts or (lambda value: f"{value:.{decimals}f}")
    return Control(name, label, "range", values, tuple(write(value) for value in values), _nearest(values, initial))


def _nearest(values: tuple[Any, ...], wanted: float) -> int:
    return min(range(len(values)), key=lambda index: abs(values[index] - wanted))


def _checkbox(name: str, label: str, initial: bool) -> Control:
    return Control(name, label, "checkbox", (False, True), ("off", "on"), int(initial))


def _options(options: Iterable[Any]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Labels and values of a list, a dict, or a list of pairs."""
    pairs = list(options.items()) if isinstance(options, Mapping) else list(options)
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        pairs = [(str(value), value) for value in pairs]
    return tuple(str(label) for label, _ in pairs), tuple(value for _, value in pairs)


def _choice(name: str, label: str, kind: str, texts: tuple[str, ...], values: tuple[Any, ...], wanted: Any) -> Control:
    if not values:
        wrong_value(name, "offer at least one setting", "none")
    initial = next((index for index, value in enumerate(values) if value is wanted or _equal(value, wanted)), 0)
    return Control(name, label, kind, values, texts, initial)


def _equal(value: Any, wanted: Any) -> bool:
    try:
        return bool(value == wanted)
    except ValueError:  # arrays have no single answer
        return False


def _from_widget(name: str, label: str, widget: Any) -> Control:
    """The settings that a widget can take, in the order in which it shows them."""
    import ipywidgets

    label = getattr(widget, "description", "") or label
    if isinstance(widget, ipywidgets.fixed):
        return Control(name, label, "fixed", (widget.value,), ("",), 0)
    if isinstance(widget, (ipywidgets.Checkbox, ipywidgets.ToggleButton)):
        return _checkbox(name, label, bool(widget.value))
    if isinstance(widget, (ipywidgets.Text, ipywidgets.Textarea)):
        return Control(name, label, "text", (widget.value,), (widget.value,), 0)
    if isinstance(widget, ipywidgets.FloatLogSlider):
        return _log_slider(name, label, widget)
    options = getattr(widget, "_options_labels", None)
    if options is not None and hasattr(widget, "index") and not isinstance(widget.index, tuple):
        kind = {"RadioButtons": "radio", "ToggleButtons": "radio", "SelectionSlider": "range"}.get(type(widget).__name__, "select")
        return _choice(name, label, kind, tuple(options), tuple(widget._options_values), widget.value)
    if not (all(hasattr(widget, trait) for trait in ("min", "max", "step", "value")) and isinstance(widget.value, Real) and widget.step):
        wrong_type(name, "be a control with finitely many settings", type(widget).__name__)
    written = getattr(widget, "readout_format", None)
    return _slider(name, label, widget.min, widget.max, widget.step, _plain(widget.value), _formatter(written) if written else None)


def _log_slider(name: str, label: str, widget: Any) -> Control:
    exponents = _slider(name, label, widget.min, widget.max, widget.step, 0.0).values
    values = tuple(float(widget.base**exponent) for exponent in exponents)
    return Control(name, label, "range", values, tuple(f"{value:.3g}" for value in values), _nearest(values, widget.value))


def _formatter(specification: str) -> Callable[[float], str]:
    def write(value: float) -> str:
        try:
            return format(value, specification)
        except ValueError:  # a format of d3 that Python does not have, such as "$,.2r"
            return f"{value:g}"

    return write
