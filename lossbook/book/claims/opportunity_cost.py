"""What a mistake is worth: claims C61 and C62."""

from __future__ import annotations

import torch
from torch import Tensor

from lossbook import decisions
from lossbook.book.claims.ledger import Measurement, claim, measured

DISCOUNT = 0.99


def _cheapest_mistakes(q_values: Tensor) -> tuple[Tensor, Tensor]:
    """In each state the cheapest action that isn't optimal, and what it forgoes; inf where all actions are equally good."""
    costs = decisions.opportunity_cost(q_values)
    return costs.masked_fill(costs < 1e-9, torch.inf).min(dim=1).indices, costs.masked_fill(costs < 1e-9, torch.inf).amin(dim=1)


@claim(
    "C61",
    statement="An agent classifies states into actions. The loss of a wrong one is its opportunity cost: the discounted reward that the chosen "
    "policy is expected to earn less than the optimal one.",
    verdict="holds",
    corrected="An agent classifies states into actions. The loss of a wrong one is its opportunity cost: the discounted reward that the chosen "
    "policy is expected to earn less than the optimal one.",
    chapter="opportunity-cost",
    references=("kakade2002approximately", "lagoudakis2003reinforcement", "lazaric2016analysis"),
    quantity="regret of one wrong action at the start of CliffWalking, γ = 0.99",
)
def one_mistake_can_outweigh_twenty(seed: int) -> Measurement:
    import gymnasium

    env = gymnasium.make("CliffWalking-v1")
    q_values = decisions.value_iteration(env, discount=DISCOUNT).q_values
    best = q_values.argmax(dim=1)
    visits = decisions.occupancy(env, best, discount=DISCOUNT)
    actions, _ = _cheapest_mistakes(q_values)
    unvisited = (visits < 1e-12).nonzero().flatten()[torch.randperm(int((visits < 1e-12).sum()), generator=torch.Generator().manual_seed(seed))][:20]
    many, one = best.clone(), best.clone()
    many[unvisited] = actions[unvisited]
    one[36] = 1  # right at the start: over the edge and back, for ever
    regret_many, regret_one = (float(decisions.policy_regret(env, policy, discount=DISCOUNT)) for policy in (many, one))
    costs = decisions.opportunity_cost(q_values).gather(1, one[:, None])[:, 0]
    by_visits = float(decisions.occupancy(env, one, discount=DISCOUNT) @ costs)
    expected = 100 / (1 - DISCOUNT) - (1 - DISCOUNT**13) / (1 - DISCOUNT)  # -100 a step for ever, against thirteen steps of -1
    return measured(
        regret_one,
        expected,
        1e-6,
        conditions=abs(regret_many) < 1e-9 and abs(by_visits - regret_one) < 1e-6,
        regret_of_20_mistakes_where_nobody_goes=round(regret_many, 9) + 0.0,
        sum_of_visits_times_opportunity_cost=by_visits,
        opportunity_cost_of_the_one_mistake=float(costs[36]),
    )


@claim(
    "C62",
    statement="Bayes risk ties classification to decisions: the loss matrix says what each wrong action costs in each state.",
    verdict="holds",
    corrected="The best action under an uncertain state has the least expected cost, which need not be the best action in the most likely state.",
    chapter="opportunity-cost",
    references=("berger1985statistical", "littman1995learning"),
    quantity="expected cost of the Bayes action, P = (0.8, 0.2), costs 1 and 10",
)
def the_likeliest_state_is_not_the_point(seed: int) -> Measurement:
    probs = torch.tensor([[0.8, 0.2]], dtype=torch.float64)
    costs = torch.tensor([[0.0, 1.0], [10.0, 0.0]], dtype=torch.float64)
    risks = decisions.expected_costs(probs, costs)[0]
    chosen = int(decisions.bayes_decision(probs, costs)[0])
    ratios, more_mistakes = zip(*(_blurred_lake(100 * seed + lake) for lake in range(6)), strict=True)
    return measured(
        float(risks[chosen]),
        0.8 * 1 + 0.2 * 0,
        1e-12,
        conditions=chosen == 1 and int(probs.argmax()) == 0 and max(ratios) < 1,
        cost_of_acting_on_the_likeliest_state=float(risks[0]),
        frozen_lakes_cost_of_bayes_over_likeliest=sum(ratios) / len(ratios),
        frozen_lakes_of_6_where_bayes_makes_more_mistakes=sum(more_mistakes),
    )


def _blurred_lake(seed: int) -> tuple[float, bool]:
    """A random 8 x 8 lake whose agent sees its place rightly with probability 0.3, else one of the neighbours'.

    Returns the expected opportunity cost of the Bayes action over that of the likeliest state's best action, and whether it is wrong more often.
    """
    import gymnasium
    from gymnasium.envs.toy_text.frozen_lake import generate_random_map

    lake = generate_random_map(size=8, seed=seed)
    costs = decisions.opportunity_cost(decisions.value_iteration(gymnasium.make("FrozenLake-v1", desc=lake), discount=DISCOUNT).q_values)
    ice = torch.tensor([cell in "SF" for row in lake for cell in row])
    row, column = torch.arange(64) // 8, torch.arange(64) % 8
    neighbours = ((row[:, None] - row).abs() + (column[:, None] - column).abs() == 1) & ice
    belief = 0.7 * neighbours / neighbours.sum(dim=1, keepdim=True).clamp(min=1) + 0.3 * torch.eye(64)
    belief = (belief / belief.sum(dim=1, keepdim=True))[ice].double()
    expected = decisions.expected_costs(belief, costs)
    bayes, likeliest = expected.argmin(dim=1), costs[belief.argmax(dim=1)].argmin(dim=1)
    wrong = decisions.expected_costs(belief, (costs > 1e-9).double())
    cost, mistakes = ([float(table.gather(1, acts[:, None]).mean()) for acts in (bayes, likeliest)] for table in (expected, wrong))
    return cost[0] / cost[1], mistakes[0] > mistakes[1]
