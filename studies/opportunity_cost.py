"""What should a classifier of moves pay for a mistake, if it may not be right everywhere? A linear model on random lakes, CliffWalking and Taxi.

The regret of what it learns is exact. Every state in which a walk can be is an example, and its label the moves that are best there, any of which
will do. What differs is the weight of an example.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook import decisions
from studies import Finding, Study, above, unclear, within

DISCOUNT = 0.99
ROUNDS = 25  # of learning, walking, and learning from where one has walked
TOLERANCE = 1e-4  # of a gradient, where that of the untrained model is of the order of 1
EXPECTED = ("expected cost", "mean price")  # arms that charge what the softmax policy is expected to forgo


class World(NamedTuple):
    """A table, and what is known of it."""

    table: decisions.Table
    features: Tensor  # [S, D]
    seen: Tensor  # the states in which a walk can be
    best: Tensor  # [S, A] with the probability of each move under the best policy: all best moves alike
    costs: Tensor  # [S, A] opportunity costs


def run(arm: str, seed: int, *, world: str, l2: float) -> dict[str, float]:
    """Learn the moves of a world, and compute what the learned policy forgoes.

    Args:
        arm: The weight of a state in the cross-entropy: "plain" 1; "visits", how often the best policy comes by; "prices", the mean price of a move
            that is not best; "both", their product; "own visits", as "both" with the visits of what was learned, in rounds, as DAgger does.
            Or what the softmax policy is expected to forgo: "expected cost", and times visits, "expected cost, visits"; with every wrong move of a
            state at their mean price, "mean price, visits". These are not convex, and start where the cross-entropy has ended, "plain" or "both".
        seed: Of the lake; in the other worlds, of the features.
        world: "lake", a random 8 x 8 one; "cliff"; or "taxi".
        l2: The ridge.

    Returns:
        `regret` at the start, as a share of that of a policy that moves at random; `wrong`, the share of states with a move that is not best; `left`,
        the largest entry of the last gradient.
    """
    place = the_world(world, seed)
    visits = decisions.occupancy(place.table, place.best, discount=DISCOUNT)[place.seen]
    if arm.startswith(EXPECTED):
        weights, _ = learned("both" if arm.endswith("visits") else "plain", place, visits, l2)
    else:
        weights = torch.zeros(place.features.shape[1], place.costs.shape[1], dtype=torch.float64)
    for _ in range(ROUNDS if arm == "own visits" else 1):
        weights, left = learned(arm, place, visits, l2, weights)
        chosen = (place.features @ weights).argmax(dim=1)
        visits = visits + decisions.occupancy(place.table, chosen, discount=DISCOUNT)[place.seen]
    lost, random = (float(decisions.policy_regret(place.table, policy, discount=DISCOUNT)) for policy in (chosen, uniform(place.best)))
    wrong = place.costs.gather(1, chosen[:, None])[place.seen] > 1e-9
    return {"regret": max(lost, 0.0) / random, "wrong": float(wrong.double().mean()), "left": left}


def learned(arm: str, place: World, visits: Tensor, l2: float, start: Tensor | None = None) -> tuple[Tensor, float]:
    """Weights [D, A], and the largest entry of the gradient where the descent has ended. A tie between moves asks for any of them."""
    features, costs, best = place.features[place.seen], place.costs[place.seen], place.best[place.seen]
    prices = costs.sum(dim=1) / (costs > 1e-9).sum(dim=1).clamp(min=1)
    weight = {"plain": torch.ones_like(visits), "visits": visits, "prices": prices, "both": prices * visits, "own visits": prices * visits}
    weights = torch.zeros(features.shape[1], costs.shape[1], dtype=torch.float64) if start is None else start.clone()
    weights.requires_grad_()

    def objective() -> Tensor:
        logits = features @ weights
        if arm.startswith(EXPECTED):
            stake = visits if arm.endswith("visits") else torch.ones_like(visits)
            forgone = prices[:, None] * (best == 0) if arm.startswith("mean price") else costs
            risk = (stake * decisions.opportunity_cost_loss(logits, forgone, reduction="none")).sum() / (stake * prices).sum()
        else:
            surprise = -logits.log_softmax(dim=1).masked_fill(best == 0, -torch.inf).logsumexp(dim=1)
            risk = (weight[arm] * surprise).sum() / weight[arm].sum()
        return risk + l2 * weights.square().sum()

    optimizer = torch.optim.LBFGS([weights], max_iter=5000, tolerance_grad=TOLERANCE / 10, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = objective()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weights.detach(), float(torch.autograd.grad(objective(), weights)[0].abs().max())


def uniform(policy: Tensor) -> Tensor:
    """Every move alike."""
    return torch.full_like(policy, 1 / policy.shape[1])


@cache
def the_world(name: str, seed: int) -> World:
    """A world with its features: of a lake row and column, their squares and their product; random ones, 4 beside the cliff and 61 in the taxi."""
    import gymnasium
    from gymnasium.envs.toy_text.frozen_lake import generate_random_map

    if name == "lake":
        table = decisions.read_table(gymnasium.make("FrozenLake-v1", desc=generate_random_map(size=8, seed=seed)))
        row, column = torch.arange(64).double() // 8 / 3.5 - 1, torch.arange(64).double() % 8 / 3.5 - 1
        features = torch.stack([torch.ones_like(row), row, column, row * column, row**2, column**2], dim=1)
    elif name == "cliff":
        table = decisions.read_table(gymnasium.make("CliffWalking-v1"))
        features = random_features(torch.cartesian_prod(torch.arange(4), torch.arange(12)), seed, 3, 1.5)
    else:
        table = decisions.read_table(gymnasium.make("Taxi-v4"))
        features = random_features(torch.cartesian_prod(torch.arange(5), torch.arange(5), torch.arange(5), torch.arange(4)), seed, 60, 2.25)
    q_values = decisions.value_iteration(table, discount=DISCOUNT).q_values
    costs = decisions.opportunity_cost(q_values)
    best = (costs <= 1e-9).double()
    best = best / best.sum(dim=1, keepdim=True)
    reached = decisions.occupancy(table, uniform(best), discount=DISCOUNT) > 0
    return World(table, features, reached & (table.going_on.sum(dim=2) > 0).any(dim=1), best, costs)


def random_features(places: Tensor, seed: int, count: int, pace: float) -> Tensor:
    """1 and so many sinusoids of what a state is made of, one number a column, [S, 1 + count]; the larger the pace, the more waves."""
    scaled = 2 * places.double() / places.amax(dim=0) - 1
    generator = torch.Generator().manual_seed(seed)
    directions = pace * torch.randn(places.shape[1], count, generator=generator).double()
    phases = 6.283185 * torch.rand(count, generator=generator).double()
    return torch.cat([torch.ones(len(places), 1, dtype=torch.float64), (scaled @ directions + phases).sin()], dim=1)


ARMS = ("plain", "visits", "prices", "both", "own visits", "expected cost", "expected cost, visits", "mean price, visits")

STUDY = Study(
    run=run,
    chapter="opportunity-cost",
    question="A linear model may not get all best moves right: is less forgone if a mistake is weighed by visits, by its price, or by both?",
    arms=ARMS,
    conditions={"world": ("lake", "cliff", "taxi")},
    tuned={arm: {"l2": (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)} for arm in ARMS},
    least="regret",
    tuning_seeds=range(1000, 1008),
    seeds=range(40),
    end=f"No entry of the last gradient was above {TOLERANCE:g}.",
    ended=lambda numbers: numbers["left"] <= TOLERANCE,
)

SHARE = "regret of one minus regret of the other, as a share of a random policy's"

FINDINGS = (
    Finding(
        "B10",
        "On random lakes a linear model forgoes less if a state's mistakes are weighed by how often the best policy comes by: {mean:.2f} of "
        "a random policy's regret less than with all states alike.",
        f"{SHARE} (plain, visits)",
        lambda runs: runs.difference("regret", "plain", "visits", world="lake"),
        above(0),
    ),
    Finding(
        "B11",
        "On lakes prices without visits change little: weighing a mistake by what it costs, and not by how often its state is met, changes the "
        "regret by less than a tenth of a random policy's.",
        f"{SHARE} (plain, prices)",
        lambda runs: runs.difference("regret", "plain", "prices", world="lake"),
        within(-0.1, 0.1),
    ),
    Finding(
        "B12",
        "As weights of a cross-entropy on lakes prices don't add to visits either, by as much as a tenth of a random policy's regret.",
        f"{SHARE} (visits, both)",
        lambda runs: runs.difference("regret", "visits", "both", world="lake"),
        within(-0.1, 0.1),
    ),
    Finding(
        "B13",
        "The expected cost on lakes, times visits and started where the cross-entropy ended, forgoes {mean:.2f} less than visits in a cross-entropy.",
        f"{SHARE} (visits; expected cost, visits)",
        lambda runs: runs.difference("regret", "visits", "expected cost, visits", world="lake"),
        above(0),
    ),
    Finding(
        "B24",
        "In the expected cost on lakes it is the prices of the single moves that help: with every wrong move of a state at their mean price, it "
        "forgoes {mean:.2f} more, times visits.",
        f"{SHARE} (mean price, visits; expected cost, visits)",
        lambda runs: runs.difference("regret", "mean price, visits", "expected cost, visits", world="lake"),
        above(0),
    ),
    Finding(
        "B14",
        "Visits of the policies that were learned, added to those of the best one, serve the cross-entropy on lakes better than those of the best "
        "one alone: 25 rounds of learning and walking, as DAgger has them, take {mean:.2f} off what price times visits leaves.",
        f"{SHARE} (both, own visits)",
        lambda runs: runs.difference("regret", "both", "own visits", world="lake"),
        above(0),
    ),
    Finding(
        "B15",
        "In Taxi, too, weighing by the best policy's visits saves regret: {mean:.3f} of a random policy's.",
        f"{SHARE} (plain, visits)",
        lambda runs: runs.difference("regret", "plain", "visits", world="taxi"),
        above(0),
    ),
    Finding(
        "B16",
        "Whether visits of one's own serve better in Taxi is not clear: they take between {low:.3f} and {high:.3f} off.",
        f"{SHARE} (both, own visits)",
        lambda runs: runs.difference("regret", "both", "own visits", world="taxi"),
        unclear(),
    ),
    Finding(
        "B17",
        "Whether in Taxi the expected cost times visits is better than a cross-entropy weighed by price times visits is not clear: the difference "
        "is between {low:.3f} and {high:.3f}.",
        f"{SHARE} (expected cost, visits; both)",
        lambda runs: runs.difference("regret", "expected cost, visits", "both", world="taxi"),
        unclear(),
    ),
    Finding(
        "B18",
        "Beside the cliff the model that is trained by visits makes a wrong move in more of the states than the plain one, by {low:.2f} to "
        "{high:.2f} of them.",
        "share of states with a wrong move (visits minus plain)",
        lambda runs: runs.difference("wrong", "visits", "plain", world="cliff"),
        above(0),
    ),
    Finding(
        "B19",
        "Beside the cliff the model that is trained by visits forgoes nothing, in any of the worlds that were drawn.",
        "regret, as a share of a random policy's (visits)",
        lambda runs: runs.mean("regret", "visits", world="cliff"),
        within(-1e-9, 1e-9),
    ),
)
