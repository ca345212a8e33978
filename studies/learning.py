"""What does a penalty buy? Spam learned from few text messages and from more: to the end, with a penalty, or stopped on the way.

Logistic regression on which words a message has. What decides is the log loss of messages that were not learned from.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lossbook import linear, margins
from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired, within

WORDS, HELD_OUT = 300, 2000
SLACK = 1e-7  # a ridge that keeps what can be separated from running away, and no more
TOLERANCE = 1e-7


def run(arm: str, seed: int, *, messages: int, strength: float) -> dict[str, float]:
    """Learn from some messages, held back and let go, and look at others.

    Args:
        arm: What holds the weights back: "ridge", l2/2 |w|², added to the loss; "ridge, intercept too", for which the intercept is one more weight;
            "lasso", l1 |w|₁; "early stopping", gradient descent from 0 on the whole sample, with a rate of one over the greatest curvature, left
            after some steps; or "temperature", by which the scores of a line with next to no ridge are divided.
        seed: Of which messages are learned from.
        messages: How many these are.
        strength: l2, l1, the number of steps, or the temperature.

    Returns:
        `training` and `held_out`: the mean log loss, in nats, of the messages that were learned from and of 2000 others; `mistakes`, in percent of
        these others; `words`: how many have a weight; `warned`: whether a solver missed its tolerance. `slack_training` and so on: the same with a
        ridge of 1e-7 only, and `slacker_...` with a tenth of that.
    """
    sample = drawn(seed, messages)
    if arm == "early stopping":
        line = descend(sample, round(strength))
    elif arm == "temperature":
        slack = least(sample, l2=SLACK)
        line = Line(slack.weights / strength, slack.intercept / strength, slack.warned)
    elif arm == "lasso":
        line = least(sample, l1=strength)
    else:
        line = least(sample, l2=strength, intercept="regularized" if arm == "ridge, intercept too" else "free")
    return judged(sample, line) | let_go(seed, messages)


@cache
def let_go(seed: int, messages: int) -> dict[str, float]:
    """What next to no ridge gives; some line gets all of few messages right, so none at all would have no minimum."""
    sample = drawn(seed, messages)
    both = {"slack": judged(sample, least(sample, l2=SLACK)), "slacker": judged(sample, least(sample, l2=SLACK / 10))}
    return {f"{name}_{number}": value for name, numbers in both.items() for number, value in numbers.items()}


def least(sample: Sample, *, l1: float = 0.0, l2: float = 0.0, intercept: Literal["free", "regularized"] = "free") -> Line:
    """The minimum of the penalised loss."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fit = linear.fit_linear(sample.features, sample.signs, loss="logistic", l1=l1, l2=l2, intercept=intercept, tolerance=TOLERANCE, steps=20_000)
    return Line(fit.weights, fit.intercept, bool(warned))


def judged(sample: Sample, line: Line) -> dict[str, float]:
    """What a line does on its own messages and on others."""
    seen = sample.signs * (sample.features @ line.weights + line.intercept)
    unseen = sample.other_signs * (sample.others @ line.weights + line.intercept)
    return {
        "training": float(margins.logistic(seen).mean()),
        "held_out": float(margins.logistic(unseen).mean()),
        "mistakes": 100 * float(margins.zero_one(unseen).mean()),
        "words": int((line.weights != 0).sum()),
        "warned": line.warned,
    }


class Line(NamedTuple):
    """Weights [D], intercept, and whether the solver missed its tolerance."""

    weights: Tensor
    intercept: Tensor
    warned: bool


class Sample(NamedTuple):
    """Which words messages have, [N, D], and signs [N], +1 for spam; those to learn from, and others."""

    features: Tensor
    signs: Tensor
    others: Tensor
    other_signs: Tensor


def descend(sample: Sample, steps: int) -> Line:
    """Gradient descent on the mean log loss, weights and intercept alike."""
    table = torch.cat([sample.features, torch.ones_like(sample.signs)[:, None]], dim=1) * sample.signs[:, None]
    rate = 4 * len(table) / torch.linalg.matrix_norm(table, 2) ** 2  # the logistic loss curves by a quarter at most
    weights = table.new_zeros(table.shape[1])
    for _ in range(steps):
        weights = weights + rate * torch.sigmoid(-(table @ weights)) @ table / len(table)
    return Line(weights[:-1], weights[-1], warned=False)


@cache
def drawn(seed: int, messages: int) -> Sample:
    """A sample; its words are the commonest of those that two of its messages have."""
    words, signs = corpus()
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(seed)).tolist()
    train, rest = order[:messages], order[messages : messages + HELD_OUT]
    counted = Counter(word for row in train for word in words[row])
    column = {word: place for place, (word, count) in enumerate(sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:WORDS]) if count > 1}

    def table(rows: list[int]) -> Tensor:
        found = torch.zeros(len(rows), len(column), dtype=torch.float64)
        for line, row in enumerate(rows):
            found[line, [column[word] for word in words[row] if word in column]] = 1
        return found

    return Sample(table(train), signs[train], table(rest), signs[rest])


@cache
def corpus() -> tuple[list[set[str]], Tensor]:
    """The words of each message, numbers of the same length being one word; and signs."""
    messages, is_spam = data.sms_spam()
    found = [re.findall(r"[a-z']+|[£!?]|\d+", message.lower()) for message in messages]
    return [{f"<{len(word)} digits>" if word.isdigit() else word for word in words} for words in found], torch.where(is_spam == 1, 1.0, -1.0).double()


PENALTIES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)

STUDY = Study(
    run=run,
    chapter="learning",
    question="Learning from few messages, what does a penalty buy on others, compared with next to none, and would stopping early, or less sure "
    "scores, have done?",
    arms=("ridge", "ridge, intercept too", "lasso", "early stopping", "temperature"),
    conditions={"messages": (100, 1000)},
    tuned={
        "ridge": {"strength": PENALTIES},
        "ridge, intercept too": {"strength": PENALTIES},
        "lasso": {"strength": PENALTIES},
        "early stopping": {"strength": (16, 32, 64, 128, 256, 512, 1024, 2048)},
        "temperature": {"strength": (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)},
    },
    least="held_out",
    tuning_seeds=range(100, 108),
    seeds=range(20),
    end=f"Every objective is convex, and the solver stopped when it could gain no more than {TOLERANCE:g} of it; early stopping has no end by "
    "design.",
    ended=lambda numbers: numbers["warned"] + numbers["slack_warned"] + numbers["slacker_warned"] == 0,
)


def above_the_ridge(runs: Runs, number: str) -> Effect:
    """By how much a number is above the ridge's with next to none, a hundred messages."""
    ridge, slack = (runs.by_seed(name, "ridge", messages=100) for name in (number, f"slack_{number}"))
    return paired([slack[seed] - ridge[seed] for seed in ridge])


def below_with_more(runs: Runs) -> Effect:
    """By how much lower the best ridge's loss on others is with ten times as many messages."""
    few, many = (runs.by_seed("held_out", "ridge", messages=messages) for messages in (100, 1000))
    return paired([few[seed] - many[seed] for seed in few])


FINDINGS = (
    Finding(
        "B50",
        f"Learned from a hundred messages with a ridge of {SLACK:g} only, a line's log loss on others is {{mean:.2f}} nats above that with the "
        f"best ridge.",
        "held-out log loss with next to no ridge minus that with the best, a hundred messages, in nats",
        lambda runs: above_the_ridge(runs, "held_out"),
        above(0),
    ),
    Finding(
        "B51",
        "What a ridge can't buy, messages can: with a thousand in place of a hundred, the best ridge's log loss on others is {mean:.2f} nats lower.",
        "held-out log loss with the best ridge, a hundred messages minus a thousand, in nats",
        below_with_more,
        above(0),
    ),
    Finding(
        "B52",
        "With a hundred messages it isn't decisions that a ridge buys: the one that is best for the log loss, and leaves the intercept free, makes "
        "{mean:.1f} mistakes in a hundred more than next to none.",
        "held-out mistakes with the best ridge minus those with next to none, a hundred messages, in percent",
        lambda runs: paired([-each for each in above_the_ridge(runs, "mistakes").each]),
        above(0),
    ),
    Finding(
        "B53",
        "Stopping gradient descent in time does what a ridge does that holds the intercept back, too: with a hundred messages, each at its own "
        "best strength, "
        "their log losses on others differ by less than a hundredth of a nat.",
        "held-out log loss of the ridge on weights and intercept minus that of early stopping, a hundred messages, in nats",
        lambda runs: runs.difference("held_out", "ridge, intercept too", "early stopping", messages=100),
        within(-0.01, 0.01),
    ),
    Finding(
        "B54",
        "A lasso leaves fewer words a weight, and with a hundred messages its log loss on others is {mean:.3f} nats above that of the ridge, each "
        "at its own "
        "best strength.",
        "held-out log loss of the lasso minus that of the ridge, a hundred messages, in nats",
        lambda runs: runs.difference("held_out", "lasso", "ridge", messages=100),
        above(0),
    ),
    Finding(
        "B55",
        "Modesty can be had without a penalty: with a hundred messages, dividing the scores of the line with next to no ridge by one number brings "
        "its log loss "
        "on others {mean:.3f} nats below that of the best ridge that leaves the intercept free, and changes no decision.",
        "held-out log loss of the ridge minus that of next to no ridge with a temperature, a hundred messages, in nats",
        lambda runs: runs.difference("held_out", "ridge", "temperature", messages=100),
        above(0),
    ),
)
