"""A car too weak for its hill: does it help to price the moves that it learns from a teacher, when there is no table to read them from?

States are drawn at random. In each, every move is tried once and a teacher drives on: what the move then forgoes against the best one is its price.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import decisions
from studies import Finding, Study, above, paired, unclear

STATES, HORIZON, DISCOUNT = 150, 150, 0.99
EPISODES, LONGEST = 20, 300
TOLERANCE = 1e-3  # of a gradient, where that of an untrained network is of the order of 1

Policy = Callable[[Any], int]


def run(arm: str, seed: int, *, l2: float) -> dict[str, float]:
    """Train a network of eight tanh units on 150 priced states, and let it drive.

    Args:
        arm: "plain", cross-entropy to the best move (the teacher's, where it is among the best); "prices", the same weighted by the worst move's
            price; "expected cost"; or "teacher's moves", cross-entropy to what the teacher does, with no price at all.
        seed: Of the states and of the network's start.
        l2: The ridge.

    Returns:
        `forgone`, the mean price of the network's moves on 150 other states; `steps` to the flag, the mean of 20 episodes cut off at 300;
        `taught`, the teacher's in the same episodes; `free`, the share of states in which no move costs anything; `left`, of the last gradient.
    """
    places, costs = priced(seed)
    others, fresh = priced(seed + 500)
    network, left = learned(arm, places, costs, l2, seed)
    moves = network(scaled(others)).argmax(dim=1)
    return {
        "forgone": float(fresh.gather(1, moves[:, None]).mean()),
        "steps": driven(partial(drive, network), seed),
        "taught": driven(teacher, seed),
        "free": float((costs.amax(dim=1) < 1e-6).double().mean()),
        "left": left,
    }


def teacher(seen: Any) -> int:
    """Push the way the car rolls: 2 is right, 0 left."""
    return 2 if seen[1] >= 0 else 0


def drive(network: torch.nn.Module, seen: Any) -> int:
    """The network's move."""
    with torch.no_grad():
        return int(network(scaled([seen])).argmax())


def driven(policy: Policy, seed: int) -> float:
    """Mean steps to the flag."""
    returns = decisions.episode_returns(the_car(), policy, episodes=EPISODES, max_steps=LONGEST, seed=10_000 + EPISODES * seed)
    return -float(returns.mean())


def scaled(states: Any) -> Tensor:
    """Place and speed, both about −2 to 2."""
    table = torch.as_tensor(np.asarray(states), dtype=torch.float64).reshape(-1, 2)
    return (table + torch.tensor([0.35, 0.0], dtype=torch.float64)) / torch.tensor([0.5, 0.04], dtype=torch.float64)


def learned(arm: str, places: Any, costs: Tensor, l2: float, seed: int) -> tuple[torch.nn.Module, float]:
    """The network and the largest entry of the gradient where the descent has ended."""
    taught = torch.tensor([teacher(state) for state in places])
    among_the_best = costs.gather(1, taught[:, None])[:, 0] < 1e-6
    moves = taught if arm == "teacher's moves" else torch.where(among_the_best, taught, costs.argmin(dim=1))
    weight = costs.amax(dim=1) if arm == "prices" else torch.ones(len(costs), dtype=torch.float64)
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    inputs, parameters = scaled(places), list(network.parameters())

    def objective() -> Tensor:
        logits = network(inputs)
        if arm == "expected cost":
            risk = decisions.opportunity_cost_loss(logits, costs)
        else:
            risk = (weight * F.cross_entropy(logits, moves, reduction="none")).sum() / weight.sum()
        return risk + l2 * torch.stack([parameter.square().sum() for parameter in parameters]).sum()

    optimizer = torch.optim.LBFGS(parameters, max_iter=5000, tolerance_grad=TOLERANCE / 10, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = objective()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    slopes = torch.autograd.grad(objective(), parameters)
    return network, max(float(slope.abs().max()) for slope in slopes)


@cache
def the_car() -> Any:
    """MountainCar, with no limit of its own to an episode."""
    import gymnasium

    return gymnasium.make("MountainCar-v0").unwrapped


@cache
def priced(seed: int) -> tuple[list[list[float]], Tensor]:
    """Places and speeds of 150 states, and what each of the three moves forgoes in each, if the teacher drives on."""
    source, car = np.random.default_rng(seed), the_car()
    car.reset(seed=0)
    states = np.stack([source.uniform(-1.2, 0.5, STATES), source.uniform(-0.07, 0.07, STATES)], axis=1)
    found = []
    for state in states:
        car.state = state.copy()
        found.append(decisions.rollout_q_values(car, teacher, horizon=HORIZON, discount=DISCOUNT))
    return states.tolist(), decisions.opportunity_cost(torch.stack(found)).double()


ARMS = ("plain", "prices", "expected cost", "teacher's moves")

STUDY = Study(
    run=run,
    chapter="opportunity-cost",
    question="Where prices come from rollouts, does a network that is taught them forgo less than one that is taught the best moves alone?",
    arms=ARMS,
    conditions={},
    tuned={arm: {"l2": (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)} for arm in ARMS},
    least="forgone",
    tuning_seeds=range(100, 120),
    seeds=range(20),
    end=f"No entry of the last gradient was above {TOLERANCE:g}.",
    ended=lambda numbers: numbers["left"] <= TOLERANCE,
)

FINDINGS = (
    Finding(
        "B20",
        "Prices from rollouts do not help this car, they hurt: a network that weighs its mistakes by price needs {mean:.0f} steps more to the flag "
        "than one that is taught the best moves alone.",
        "steps to the flag (prices minus plain)",
        lambda runs: runs.difference("steps", "prices", "plain"),
        above(0),
    ),
    Finding(
        "B21",
        "The expected cost, too, needs more steps than plain cross-entropy: {mean:.0f} more.",
        "steps to the flag (expected cost minus plain)",
        lambda runs: runs.difference("steps", "expected cost", "plain"),
        above(0),
    ),
    Finding(
        "B22",
        "At the ridges that were chosen, a network taught the best first moves needs {mean:.0f} steps fewer than one taught the teacher's own moves.",
        "steps to the flag (teacher's moves minus plain)",
        lambda runs: runs.difference("steps", "teacher's moves", "plain"),
        above(0),
    ),
    Finding(
        "B23",
        "Whether a pupil beats its teacher is not clear: it needs between {low:.0f} and {high:.0f} steps fewer, on average over draws and starts.",
        "steps to the flag (teacher minus plain)",
        lambda runs: paired([row["taught"] - row["steps"] for row in runs.where(arm="plain").rows]),
        unclear(),
    ),
)
