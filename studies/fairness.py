"""What does parity cost, and whom? Incomes of the 1994 census, as many women as men to learn from, at three shares of high incomes among women.

What is counted, is counted on people that were not learned from, weighted as if as many of the women had high incomes as among those learned from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import fairness, linear
from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired, within

EACH, MEN = 700, 0.3  # people of each sex to learn from, and the share of high incomes among men
STRENGTH = 100.0  # of the penalty on the gap of mean probabilities
TOLERANCE, FLAT, ROUNDS = 1e-8, 1e-5, 30


def run(arm: str, seed: int, *, women: float, hidden: float, l2: float) -> dict[str, float]:
    """Learn who has a high income, decide, and count by sex.

    Args:
        arm: "one cut", logistic regression and a cut at one half; "a cut for each sex", the same probabilities, cut where those learned from are
            selected equally often for the fewest mistakes; "penalty", a multiple of the variance between the sexes' mean probabilities is added
            to the loss, and the cut stays at one half. All may look at a person's sex, but where the arm says "unseen".
        seed: Of who is learned from, and whose incomes are hidden.
        women: The share of high incomes among women.
        hidden: The share of women's high incomes that the records one learns from have as low.
        l2: The ridge.

    Returns:
        On people not learned from: `error`, mistakes in percent, as many women as men; `gap`, men's selection rate minus women's, `found_women` and
        `found_men`, true positive rates, in percent. `seen_gap`: the gap among those learned from, and `cut_error`, `cut_gap`: error and gap of
        a cut for each sex that has this gap among those. `slope`: of the objective at its end; `warned`: whether a solver missed its tolerance.
    """
    people = drawn(seed, women, hidden)
    seen, unseen = people.features, people.others
    if "unseen" in arm:
        seen, unseen = seen[:, 1:], unseen[:, 1:]
    plain, warned = learned(seen, people.recorded, l2)
    line, slope = plain, 0.0
    if arm.startswith("penalty"):
        line, slope = penalised(seen, people, l2, plain)
    probs = torch.sigmoid(seen @ line[1:] + line[0])
    cuts = torch.full((2,), 0.5, dtype=torch.float64)
    if arm == "a cut for each sex":
        cuts = fairness.parity_frontier(probs, groups=people.sex, gaps=torch.zeros(1, dtype=torch.float64)).thresholds[0]
    found = counted(torch.sigmoid(unseen @ line[1:] + line[0]), cuts, people, women)
    rates = fairness.selection_rates(probs > cuts[people.sex], groups=people.sex)
    gap = rates[1] - rates[0]
    free = torch.sigmoid(seen @ plain[1:] + plain[0])
    front = fairness.parity_frontier(free, groups=people.sex, gaps=gap.abs()[None])
    same = counted(torch.sigmoid(unseen @ plain[1:] + plain[0]), front.thresholds[0], people, women)
    return found | {"seen_gap": 100 * float(gap), "cut_error": same["error"], "cut_gap": same["gap"], "slope": slope, "warned": float(warned)}


def learned(features: Tensor, recorded: Tensor, l2: float) -> tuple[Tensor, bool]:
    """Intercept and weights, [1 + D], of logistic regression."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fit = linear.fit_linear(features, 2 * recorded - 1, loss="logistic", l2=l2, solver="newton", tolerance=TOLERANCE)
    return torch.cat([fit.intercept.reshape(1), fit.weights]), bool(warned)


def penalised(features: Tensor, people: People, l2: float, start: Tensor) -> tuple[Tensor, float]:
    """Intercept and weights where the sexes' mean probabilities may hardly differ, and how steep the objective still is; from the fit without."""
    table = torch.cat([torch.ones_like(people.recorded)[:, None], features], dim=1)

    def objective(line: Tensor) -> Tensor:
        logits = table @ line
        penalty = fairness.parity_penalty(torch.sigmoid(logits), groups=people.sex)
        return F.binary_cross_entropy_with_logits(logits, people.recorded) + STRENGTH * penalty + l2 / 2 * line[1:].square().sum()

    line, slope = start, float("inf")
    for _ in range(ROUNDS):
        if slope < FLAT:
            break
        line = descended(objective, line, scales(table, people.sex, line, l2))
        moving = line.clone().requires_grad_()
        slope = float(torch.autograd.grad(objective(moving), moving)[0].abs().max())
    return line, slope


def scales(table: Tensor, sex: Tensor, line: Tensor, l2: float) -> Tensor:
    """A change of coordinates, [1 + D, 1 + D], after which the objective curves by about 1 in every direction."""
    probs = torch.sigmoid(table @ line)
    bends = (probs * (1 - probs))[:, None] * table
    apart = bends[sex == 1].mean(dim=0) - bends[sex == 0].mean(dim=0)
    curvature = table.T @ bends / len(table) + STRENGTH / 2 * torch.outer(apart, apart) + l2 * torch.eye(len(line), dtype=line.dtype)
    return torch.linalg.inv(torch.linalg.cholesky(curvature)).T  # type: ignore[no-any-return]


def descended(objective: Callable[[Tensor], Tensor], start: Tensor, scale: Tensor) -> Tensor:
    """Where L-BFGS, a method that learns curvature from slopes, comes to from there."""
    step = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.LBFGS([step], max_iter=200, tolerance_grad=1e-8, tolerance_change=1e-15, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = objective(start + scale @ step)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return (start + scale @ step).detach()


def counted(probs: Tensor, cuts: Tensor, people: People, women: float) -> dict[str, float]:
    """Mistakes, gap and true positive rates of those not learned from, in percent: rates by sex and income, put together by the shares wanted."""
    chosen = probs > cuts[people.other_sex]
    hits = fairness.true_positive_rates(chosen, people.other_rich, groups=people.other_sex)
    alarms = fairness.false_positive_rates(chosen, people.other_rich, groups=people.other_sex)
    share = torch.tensor([women, MEN], dtype=torch.float64)
    selected = share * hits + (1 - share) * alarms
    wrong = share * (1 - hits) + (1 - share) * alarms
    return {
        "error": 100 * float(wrong.mean()),
        "gap": 100 * float(selected[1] - selected[0]),
        "found_women": 100 * float(hits[0]),
        "found_men": 100 * float(hits[1]),
    }


class People(NamedTuple):
    """Those learned from: features [N, 1 + D], sex first, sex (1 for men), and whether the records have a high income; and others, with the truth."""

    features: Tensor
    sex: Tensor
    recorded: Tensor
    others: Tensor
    other_sex: Tensor
    other_rich: Tensor


@cache
def drawn(seed: int, women: float, hidden: float) -> People:
    """As many women as men, with the shares of high incomes wanted; everyone else is left to count on."""
    census = data.adult()
    sex, rich = census.groups["sex"], (census.signs == 1).long()
    features = torch.cat([sex[:, None] - 0.5, census.features], dim=1)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(sex), generator=generator)
    places = []
    for group, share in enumerate((women, MEN)):
        for income, count in ((1, round(share * EACH)), (0, EACH - round(share * EACH))):
            places.append(order[(sex[order] == group) & (rich[order] == income)][:count])
    learnt = torch.cat(places)
    lost = (sex[learnt] == 0) & (torch.rand(len(learnt), generator=generator) < hidden)
    recorded = torch.where(lost, 0, rich[learnt]).double()
    rest = torch.ones(len(sex), dtype=torch.bool)
    rest[learnt] = False
    return People(features[learnt], sex[learnt], recorded, features[rest], sex[rest], rich[rest])


ARMS = ("one cut", "one cut, sex unseen", "a cut for each sex", "penalty", "penalty, sex unseen")

STUDY = Study(
    run=run,
    chapter="fairness",
    question="What does it cost to select women as often as men, by how many of the women have high incomes, where the records are right and where "
    "they hide half of these; whom does it find; and does a penalty in training buy the same as a cut for each sex?",
    arms=ARMS,
    conditions={"women": (0.1, 0.2, 0.3), "hidden": (0.0, 0.5)},
    tuned={arm: {"l2": (1e-5, 1e-4, 1e-3, 1e-2)} for arm in ARMS},
    least="error",
    tuning_seeds=range(100, 108),
    seeds=range(20),
    end=f"Logistic regression stopped when it could gain no more than {TOLERANCE:g} of its loss; under the penalty no slope was above {FLAT:g}.",
    ended=lambda numbers: numbers["warned"] == 0 and numbers["slope"] < FLAT,
)


def price(runs: Runs, women: float, hidden: float = 0.0) -> Effect:
    """Mistakes with a cut for each sex minus those with one cut."""
    return runs.difference("error", "a cut for each sex", "one cut", women=women, hidden=hidden)


def less(effect: Effect) -> Effect:
    """The other way round."""
    return effect._replace(mean=-effect.mean, low=-effect.high, high=-effect.low, each=tuple(-each for each in effect.each))


def against_cuts(runs: Runs, arm: str, number: str, women: float) -> Effect:
    """An arm's number minus that of a cut for each sex with the same gap among those learned from."""
    return paired([row[number] - row[f"cut_{number}"] for row in runs.where(arm=arm, women=women, hidden=0.0).rows])


FINDINGS = (
    Finding(
        "B160",
        "Where one woman in ten has a high income and three men in ten, selecting both equally often by a cut for each sex costs {mean:.1f} mistakes "
        "in a hundred.",
        "mistakes with a cut for each sex minus those with one cut, in percent",
        lambda runs: price(runs, 0.1),
        above(0),
    ),
    Finding(
        "B161",
        "Where it is two women in ten, it costs {mean:.1f}.",
        "mistakes with a cut for each sex minus those with one cut, in percent",
        lambda runs: price(runs, 0.2),
        above(0),
    ),
    Finding(
        "B162",
        "Where it is three in ten of both, it costs less than a quarter of a mistake in a hundred.",
        "mistakes with a cut for each sex minus those with one cut, in percent",
        lambda runs: price(runs, 0.3),
        within(-0.25, 0.25),
    ),
    Finding(
        "B163",
        "Equal selection isn't equal opportunity: with one woman in ten and three men, it finds {mean:.0f} in a hundred more of the women with high "
        "incomes than of the men.",
        "true positive rate of women minus that of men, with a cut for each sex, in percent",
        lambda runs: paired([row["found_women"] - row["found_men"] for row in runs.where(arm="a cut for each sex", women=0.1, hidden=0.0).rows]),
        above(0),
    ),
    Finding(
        "B164",
        "Where the records hide a random half of the women's high incomes, and as many women as men have one, selecting both equally often saves "
        "{mean:.1f} "
        "mistakes in a hundred.",
        "mistakes, counted by the truth, with one cut minus those with a cut for each sex, in percent",
        lambda runs: less(price(runs, 0.3, hidden=0.5)),
        above(0),
    ),
    Finding(
        "B165",
        "A penalty in training that may not look at anyone's sex makes {mean:.1f} in a hundred more mistakes than a cut for each sex with the same "
        "gap among those learned from; one woman in ten has a high income.",
        "mistakes with the penalty, sex unseen, minus those with such cuts, in percent",
        lambda runs: against_cuts(runs, "penalty, sex unseen", "error", 0.1),
        above(0),
    ),
)
