"""Value iteration on gymnasium's tables against plain loops over `env.unwrapped.P`, both exact to 1e-10.

The loops stop once γ / (1 - γ) times the last change is below 1e-10. Each table is solved twice: as `read_table` has read it before, as where
several discounts or policies are looked at, and read anew.

python -m benchmarks.bench_decisions
"""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import torch

from benchmarks.harness import Case, Work, main
from lossbook.decisions import read_table, value_iteration

DISCOUNT = 0.99
TABLES: dict[str, tuple[str, dict[str, Any], float]] = {
    "FrozenLake 8x8": ("FrozenLake-v1", {"map_name": "8x8"}, 204),
    "Taxi": ("Taxi-v4", {}, 143),
    "CliffWalking": ("CliffWalking-v1", {}, 25),
}


def loops(table: Any) -> list[list[float]]:
    """Q* as textbooks write it."""

    def ahead(outcomes: Any) -> float:
        return sum(prob * (reward + DISCOUNT * values[following] * (not over)) for prob, following, reward, over in outcomes)

    values, change = [0.0] * len(table), 1.0
    while change * DISCOUNT > 1e-10 * (1 - DISCOUNT):
        best = [max(ahead(outcomes) for outcomes in row.values()) for row in table.values()]
        change = max(abs(new - old) for new, old in zip(best, values, strict=True))
        values = best
    return [[ahead(outcomes) for outcomes in row.values()] for row in table.values()]


def difference(ours: torch.Tensor, theirs: list[list[float]]) -> float:
    return float((ours - torch.tensor(theirs, dtype=torch.float64)).abs().max())


def work(env_id: str, settings: dict[str, Any], anew: bool) -> Work:
    env = gymnasium.make(env_id, **settings)
    given = env if anew else read_table(env)
    return Work(lambda: value_iteration(given, discount=DISCOUNT).q_values, lambda: loops(env.unwrapped.P), difference=difference)


JOBS = [
    Case(f"values of {name}{how}", "loops over the table", partial(work, env_id, settings, anew), None if anew else goal, 1e-9)
    for name, (env_id, settings, goal) in TABLES.items()
    for anew, how in ((False, ""), (True, ", table read anew"))
]

if __name__ == "__main__":
    main(__doc__, JOBS, peers=["gymnasium"])
