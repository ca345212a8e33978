"""The runs that a study has left: every one of them, and what they say together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from studies.effects import Effect, Method, paired

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Runs:
    """Rows with `arm`, `seed`, settings and numbers; and whatever else the file says of them."""

    rows: list[dict[str, Any]]
    about: dict[str, Any]

    @cached_property
    def by_arm(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of each arm: a figure of a hundred frames asks for them thousands of times."""
        arms: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows:
            arms.setdefault(row["arm"], []).append(row)
        return arms

    def where(self, **settings: Any) -> Runs:
        """The rows with these settings; there is one at least."""
        among = self.by_arm.get(settings["arm"], []) if "arm" in settings else self.rows
        rows = [row for row in among if all(row[name] == value for name, value in settings.items())]
        if not rows:
            raise ValueError(f"`settings` should be those of some run; found {settings}.")
        return Runs(rows, self.about)

    def by_seed(self, number: str, arm: str, **settings: Any) -> dict[int, float]:
        """An arm's numbers by seed."""
        rows = self.where(arm=arm, **settings).rows
        found = {row["seed"]: float(row[number]) for row in rows}
        if len(found) != len(rows):
            raise ValueError(f"`settings` should leave one run a seed; found {len(rows)} for {len(found)} seeds.")
        return found

    def mean(self, number: str, arm: str, *, method: Method = "t", **settings: Any) -> Effect:
        """The mean of an arm's number over the seeds."""
        return paired(list(self.by_seed(number, arm, **settings).values()), method=method)

    def difference(self, number: str, arm: str, other: str, *, method: Method = "t", comparisons: int = 1, **settings: Any) -> Effect:
        """An arm's number minus another arm's, seed by seed."""
        ours, theirs = (self.by_seed(number, name, **settings) for name in (arm, other))
        if ours.keys() != theirs.keys():
            raise ValueError(f"`{other}` should have the seeds of `{arm}`; found {sorted(theirs)} and {sorted(ours)}.")
        return paired([ours[seed] - theirs[seed] for seed in ours], method=method, comparisons=comparisons)

    def lead(self, number: str, arm: str, *others: str, method: Method = "t", **settings: Any) -> Effect:
        """By how much an arm's number is below those of all others: the comparison that comes nearest to no lead, corrected for their number."""
        effects = [self.difference(number, other, arm, method=method, comparisons=len(others), **settings) for other in others]
        return min(effects, key=lambda effect: effect.low)


def read(name: str, folder: Path = RESULTS) -> Runs:
    """What a study has left.

    Raises:
        FileNotFoundError: it has not been run; `make studies ONLY=name` does.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"`name` should be a study that was run; found no {path.name}: make studies ONLY={name}")
    about = json.loads(path.read_text(encoding="utf-8"))
    return Runs(about.pop("runs"), about)
