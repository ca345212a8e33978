"""What does a penalty buy? Spam learned from few text messages and from more: to the end, with a penalty, or stopped on the way.

Logistic regression on which words a message has. What decides is the log loss of messages that were not learned from.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook import linear, margins
from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired

WORDS, HELD_OUT = 300, 2000
LITTLE = 1e-7  # a ridge that keeps what can be separated from running away, and no more
TOLERANCE = 1e-7


def run(arm: str, seed: int, *, messages: int, strength: float) -> dict[str, float]:
    """Learn from some messages, held back and to the end, and look at others.

    Args:
        arm: What holds the weights back: "ridge", l2/2 |w|², or "lasso", l1 |w|₁, added to the loss; or "early stopping", gradient descent from 0
            on the whole sample, with a rate of one over the greatest curvature, left after some steps.
        seed: Of which messages are learned from.
        messages: How many these are.
        strength: l2, l1, or the number of steps.

    Returns:
        `training` and `held_out`: the mean log loss, in nats, of the messages that were learned from and of 2000 others; `mistakes`, in percent of
        these others; `words`: how many have a weight; `warned`: whether a solver missed its tolerance. `end_training` and so on: the same with
        next to nothing that holds the weights back.
    """
    sample = drawn(seed, messages)
    if arm == "early stopping":
        line = descend(sample, round(strength))
    else:
        line = least(sample, l1=strength if arm == "lasso" else 0.0, l2=strength if arm == "ridge" else 0.0)
    return judged(sample, line) | {f"end_{name}": value for name, value in to_the_end(seed, messages).items()}


@cache
def to_the_end(seed: int, messages: int) -> dict[str, float]:
    """What the minimum of the loss alone gives; a sample may be separable, so a ridge keeps it from running away."""
    sample = drawn(seed, messages)
    return judged(sample, least(sample, l1=0.0, l2=LITTLE))


def least(sample: Sample, l1: float, l2: float) -> Line:
    """The minimum of the penalised loss."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fit = linear.fit_linear(sample.features, sample.signs, loss="logistic", l1=l1, l2=l2, tolerance=TOLERANCE, steps=20_000)
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


STUDY = Study(
    run=run,
    chapter="learning",
    question="Learning from few messages, what does a penalty buy on others, compared with going to the end, and would stopping early have done?",
    arms=("ridge", "lasso", "early stopping"),
    conditions={"messages": (100, 1000)},
    tuned={
        "ridge": {"strength": (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1)},
        "lasso": {"strength": (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1)},
        "early stopping": {"strength": (16, 32, 64, 128, 256, 512, 1024, 2048)},
    },
    least="held_out",
    tuning_seeds=range(100, 108),
    seeds=range(20),
    end=f"Every objective is convex, and the solver stopped when it could gain no more than {TOLERANCE:g} of it; early stopping has no end "
    "by design.",
    ended=lambda numbers: numbers["warned"] + numbers["end_warned"] == 0,
)


def price_of_the_end(runs: Runs, number: str, messages: int) -> dict[int, float]:
    """By how much a number is above the ridge's where one goes to the end, by seed."""
    ridge, end = (runs.by_seed(name, "ridge", messages=messages) for name in (number, f"end_{number}"))
    return {seed: end[seed] - ridge[seed] for seed in ridge}


def less_with_more(runs: Runs) -> Effect:
    """By how much less the end costs with a thousand messages than with a hundred."""
    few, many = (price_of_the_end(runs, "held_out", messages) for messages in (100, 1000))
    return paired([few[seed] - many[seed] for seed in few])


FINDINGS = (
    Finding(
        "B50",
        "Learned to the end from a hundred messages, a line's log loss on others is {mean:.2f} nats above that with the best ridge.",
        f"held-out log loss with next to no ridge ({LITTLE:g}) minus that with the best, a hundred messages, in nats",
        lambda runs: paired(list(price_of_the_end(runs, "held_out", 100).values())),
        above(0),
    ),
    Finding(
        "B51",
        "The more there is to learn from, the less a penalty buys: with a thousand messages the best ridge saves {mean:.2f} nats less than with a "
        "hundred.",
        "what the best ridge saves of the held-out log loss, a hundred messages minus a thousand, in nats",
        less_with_more,
        above(0),
    ),
    Finding(
        "B52",
        "It buys no decisions here: with a hundred messages the ridge that is best for the log loss makes {mean:.1f} mistakes in a hundred more than "
        "going to the end.",
        "held-out mistakes with the best ridge minus those with next to none, a hundred messages, in percent",
        lambda runs: paired([-cost for cost in price_of_the_end(runs, "mistakes", 100).values()]),
        above(0),
    ),
    Finding(
        "B53",
        "Stopping gradient descent in time does at least as well: with a hundred messages its log loss on others is {mean:.3f} nats below the "
        "ridge's, each at its own best strength.",
        "held-out log loss of the ridge minus that of early stopping, a hundred messages, in nats",
        lambda runs: runs.difference("held_out", "ridge", "early stopping", messages=100),
        above(0),
    ),
    Finding(
        "B54",
        "A lasso reads fewer words and pays for it: with a hundred messages its log loss on others is {mean:.3f} nats above that of the ridge, each "
        "at its own best strength.",
        "held-out log loss of the lasso minus that of the ridge, a hundred messages, in nats",
        lambda runs: runs.difference("held_out", "lasso", "ridge", messages=100),
        above(0),
    ),
)
