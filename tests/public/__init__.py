"""Every public function of lossbook as a specification: how good arguments are drawn, what they should give, and which calls are bad.

`tests/test_inputs.py` holds every function to its specification, and fails where a public name has none. Add a function to the package, and add
its specification to the file of its family here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import lossbook
from tests.public import boxes_and_sets, by_class, by_element, decisions, models, overlaps
from tests.public.kinds import Spec

SPECS: dict[str, Spec] = {}
for family in (by_element, by_class, boxes_and_sets, overlaps, decisions, models):
    for spec in family.SPECS:
        assert spec.name not in SPECS, f"{spec.name} has two specifications"
        SPECS[spec.name] = spec

# What takes no tensor of the caller's: the file that holds it to its arguments instead.
ELSEWHERE = {
    **dict.fromkeys(("claims.claim", "claims.measured", "claims.show", "claims.Claim.measure"), "tests/test_ledger.py"),
    **dict.fromkeys((f"data.{name}" for name in ("breast_cancer", "digits", "sms_spam", "adult", "german", "nuclei")), "tests/test_data.py"),
    **dict.fromkeys((f"explorer.{name}" for name in ("style", "use", "subplots", "to_html", "stylesheet", "show", "display")), "tests/test_plots.py"),
    **dict.fromkeys((f"plots.{name}" for name in ("arrows", "boundary", "front", "handle", "two_classes")), "tests/test_plots.py"),
    "training.train": "tests/test_training.py",
    **dict.fromkeys((f"benchmarks.{name}" for name in ("digits", "read")), "tests/test_benchmarks.py"),
    **dict.fromkeys(
        (f"benchmarks.Results.{name}" for name in ("lines", "row", "ratios", "provenance", "compared", "summary", "growth", "sizes")),
        "tests/test_benchmarks.py",
    ),
    **dict.fromkeys((f"explorer.{name}" for name in ("content_security_policy", "explore")), "tests/test_explorer.py"),
    **dict.fromkeys((f"explorer.Explorer.{name}" for name in ("frame", "render", "steps", "values")), "tests/test_explorer.py"),
    **dict.fromkeys(("decisions.episode_returns", "decisions.rollout_q_values"), "tests/test_episodes.py"),
    "explore": "tests/test_explorer.py",
    **dict.fromkeys(("audit", "auditor.audit", "auditor.Report.require", "auditor.Report.to_dict"), "tests/test_auditor.py"),
    **dict.fromkeys((f"metrics.CalibrationError.{name}" for name in ("update", "compute", "curve")), "tests/test_metrics.py"),
    **dict.fromkeys((f"metrics.PanopticQuality.{name}" for name in ("update", "compute", "quality")), "tests/test_metrics.py"),
    **dict.fromkeys((f"metrics.GroupRates.{name}" for name in ("update", "compute")), "tests/test_metrics.py"),
    **dict.fromkeys(("atlas.chapters", "atlas.latex"), "tests/test_atlas.py"),
}


def public_names() -> Iterator[str]:
    """Functions, classes that compute, their methods, and losses that are records, of every public module: "module.name" or "module.Class.method"."""
    yield from (name for name in lossbook.__all__ if callable(getattr(lossbook, name)))
    for full in lossbook._MODULES:
        module, module_name = import_module(f"lossbook.{full}"), full.removeprefix("book.")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value):
                methods = [key for key, member in vars(value).items() if inspect.isfunction(member) and _is_said(key)]
                yield from (f"{module_name}.{name}.{key}" for key in methods if not _is_record_method(value, key))
            elif callable(value) and not name.startswith("_"):
                yield f"{module_name}.{name}"


def found(name: str) -> tuple[Any, Any]:
    """What a public name stands for, and whose it is."""
    module, *parts = name.split(".")
    full = next((one for one in lossbook._MODULES if one.rpartition(".")[2] == module), None)
    owner, thing = lossbook, import_module(f"lossbook.{full}") if full else getattr(lossbook, module)
    for part in parts:
        owner, thing = thing, getattr(thing, part)
    return owner, thing


def _is_said(key: str) -> bool:
    """What a user calls: `extra_repr` is torch's to call."""
    return key in ("__call__", "forward") or not (key.startswith("_") or key == "extra_repr")


def _is_record_method(owner: type, key: str) -> bool:
    """What NamedTuple writes by itself."""
    return issubclass(owner, tuple) and key in ("count", "index")
