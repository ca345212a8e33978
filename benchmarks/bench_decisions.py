"""Value iteration on gymnasium's tables against plain loops over `env.unwrapped.P`: one process, one thread, interleaved, CPU time, medians.

The loops stop once γ / (1 - γ) times the last change is below 1e-10, so that both are equally exact; values equal to 1e-9 first. The time is shown
with the table read anew, and for a table that `read_table` has read before, as where several discounts or policies are looked at.

python benchmarks/bench_decisions.py [--repeats 15] [--discount 0.99]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import gymnasium
import torch

from lossbook.decisions import read_table, value_iteration

TABLES = {
    "FrozenLake 8x8": ("FrozenLake-v1", {"map_name": "8x8"}),
    "Taxi": ("Taxi-v4", {}),
    "CliffWalking": ("CliffWalking-v1", {}),
}


def loops(table: Any, discount: float) -> list[list[float]]:
    """Q* as textbooks write it."""

    def ahead(outcomes: Any) -> float:
        return sum(prob * (reward + discount * values[following] * (not over)) for prob, following, reward, over in outcomes)

    values, change = [0.0] * len(table), 1.0
    while change * discount > 1e-10 * (1 - discount):
        best = [max(ahead(outcomes) for outcomes in row.values()) for row in table.values()]
        change = max(abs(new - old) for new, old in zip(best, values, strict=True))
        values = best
    return [[ahead(outcomes) for outcomes in row.values()] for row in table.values()]


def seconds(call: Callable[[], object], calls: int = 1) -> float:
    start = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - start) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--discount", type=float, default=0.99)
    arguments = parser.parse_args()
    discount = arguments.discount
    torch.set_num_threads(1)
    print(f"{'ms':16s} {'loops':>9s} {'solved':>9s} {'ratio':>7s} {'read and solved':>17s} {'ratio':>7s}")
    for name, (env_id, settings) in TABLES.items():
        env = gymnasium.make(env_id, **settings)
        table, plain = read_table(env), env.unwrapped.P
        error = float((value_iteration(env, discount=discount).q_values - torch.tensor(loops(plain, discount), dtype=torch.float64)).abs().max())
        if error > 1e-9:
            raise SystemExit(f"{name}: values differ by {error}")
        times = []
        for _ in range(arguments.repeats):
            theirs = seconds(lambda: loops(plain, discount))  # noqa: B023
            solved = seconds(lambda: value_iteration(table, discount=discount), calls=50)  # noqa: B023
            anew = seconds(lambda: value_iteration(env, discount=discount), calls=50)  # noqa: B023
            times.append((theirs, solved, anew, theirs / solved, theirs / anew))
        theirs, solved, anew, by_solved, by_anew = (median(column) for column in zip(*times, strict=True))
        print(f"{name:16s} {1e3 * theirs:9.2f} {1e3 * solved:9.3f} {by_solved:6.0f}x {1e3 * anew:17.3f} {by_anew:6.0f}x")


if __name__ == "__main__":
    main()
