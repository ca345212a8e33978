"""What a study is: one plain function, and how it is asked."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMES = (  # every study, by chapters
    "surrogates",
    "probability",
    "impostor",
    "mismatch",
    "calibration",
    "restricted",
    "ramp",
    "label_smoothing",
    "quantization",
    "learning",
    "boosting",
    "confidence",
    "score_maps",
    "balancing",
    "conflict",
    "imbalance",
    "localization",
    "sets",
    "opportunity_cost",
    "mountain_car",
    "fairness",
    "privacy",
)

Settings = dict[str, Any]
Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Study:
    """One experiment of the book.

    Attributes:
        run: `run(arm, seed, **settings)` gives numbers by name. Everything random in it comes from `seed`.
        chapter: The file of the chapter that it belongs to, without its ending.
        question: What it asks, as a question.
        arms: Every arm that could explain the result, the plain one among them.
        conditions: Settings by name, each with its values; every combination is reported.
        tuned: By arm the settings that are its own to choose, each with its values; every combination is tried. All arms have as many to choose from.
        least: The number that makes the choice: its mean over the tuning seeds is to be least.
        tuning_seeds: Seeds for the choice; none of them is reported.
        seeds: The seeds that are reported.
        end: How it is known that a training is at its end, as a sentence.
        ended: The same of the settings and numbers of one run.
    """

    run: Callable[..., Numbers]
    chapter: str
    question: str
    arms: tuple[str, ...]
    conditions: Mapping[str, Sequence[Any]]
    tuned: Mapping[str, Mapping[str, Sequence[Any]]]
    least: str
    tuning_seeds: Sequence[int]
    seeds: Sequence[int]
    end: str
    ended: Callable[[Mapping[str, Any]], bool]

    def __post_init__(self) -> None:
        if set(self.tuned) != set(self.arms):
            raise ValueError(f"`tuned` should have the arms {list(self.arms)}; found {list(self.tuned)}.")
        if len({len(combinations(self.tuned[arm])) for arm in self.arms}) != 1:
            raise ValueError(f"`tuned` should give all arms as many settings to choose from; found {dict(self.tuned)}.")
        if set(self.tuning_seeds) & set(self.seeds):
            raise ValueError(f"`tuning_seeds` should hold no seed that is reported; found {sorted(set(self.tuning_seeds) & set(self.seeds))}.")

    @property
    def name(self) -> str:
        """The name of its module."""
        return self.run.__module__.rpartition(".")[2]

    @property
    def code(self) -> str:
        """The fingerprint of what it runs: what other code has run is not reported."""
        return fingerprint(Path(inspect.getfile(self.run)).read_text(encoding="utf-8"))

    def choices(self, arm: str) -> list[Settings]:
        """What an arm may choose from."""
        return combinations(self.tuned[arm])


def fingerprint(source: str) -> str:
    """Of `run` in a module and of what it uses there, but for comments and docstrings: what else stands beside it asks for runs and changes none."""
    defined = {name: node for node in ast.parse(source).body for name in _names(node)}
    used, waiting = set(), ["run"]
    while waiting:
        name = waiting.pop()
        if name in defined and name not in used:
            used.add(name)
            waiting += [node.id for node in ast.walk(defined[name]) if isinstance(node, ast.Name)]
    kept = [node for name, node in defined.items() if name in used]
    for node in (inner for outer in kept for inner in ast.walk(outer)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256("\n".join(map(ast.dump, kept)).encode()).hexdigest()[:16]


def _names(node: ast.stmt) -> list[str]:
    """What a statement of a module defines, imports aside."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)]


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[Settings]:
    """Every combination of the values of some settings; of none there is one."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def load(name: str) -> Study:
    """The study of a module of this folder."""
    if name not in NAMES:
        raise ValueError(f"`name` should be one of {', '.join(NAMES)}; found {name!r}.")
    found: Study = import_module(f"studies.{name}").STUDY
    return found
