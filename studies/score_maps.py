"""From the score of a support vector machine to the chance of spam: which map, and which decisions does it change?

A machine learns from 2000 text messages, a map from its scores on others, and the rest are judged.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import reliability
from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired, within

LEARNED, JUDGED = 2000, 1462
WEAK = 0.01  # a C at which the machine calls next to nothing spam


def run(arm: str, seed: int, *, held: int, C: float) -> dict[str, float]:
    """Learn, map, and judge.

    Args:
        arm: "sigmoid" of the score as it is; "temperature", fitted on the held-out messages, "Platt" or "isotonic", too; "Platt, scores seen", fitted
            on the messages that the machine learned from; or, with no map, "logistic regression" on the same 2000 messages, or "logistic
            regression, all" on these and the held-out ones.
        seed: Of which messages are which.
        held: How many are held out for the map.
        C: Of scikit-learn's `LinearSVC` and `LogisticRegression`, which adds |w|²/2 and |b|²/2 (of the machine's intercept only) to C times the sum
            of the losses.

    Returns:
        On 1462 other messages: `brier`; `log_loss`, chances kept 1/1000 away from 0 and 1; `error`, the calibration error; `mistakes`, with a cut at
        a half, and `changed`, decisions other than by the sign of the score, in percent; `impossible`: how many messages came though their chance was
        0, or didn't though it was 1. `weak_...`: the same at C = 0.01, and `weak_caught` and `weak_caught_before`, the share of spam found with the
        map and by the score's sign, in percent. `warned`: whether a solver missed its tolerance.
    """
    found, weak = judged(arm, seed, held, C), judged(arm, seed, held, WEAK)
    return (
        {name: value for name, value in found.items() if not name.startswith("caught")}
        | {f"weak_{name}": value for name, value in weak.items() if name != "warned"}
        | {"warned": found["warned"] + weak["warned"]}
    )


@cache
def judged(arm: str, seed: int, held: int, C: float) -> dict[str, float]:
    """One map at one C."""
    spam = messages(seed, LEARNED).spam
    fresh = slice(len(spam) - JUDGED, None)
    logistic = arm.startswith("logistic")
    scored = scores(seed, LEARNED + held if arm.endswith("all") else LEARNED, C, logistic)
    rows = slice(0, LEARNED) if arm.endswith("seen") else slice(LEARNED, LEARNED + held)
    bare, labels = scored.scores[fresh], spam[fresh]
    probs = mapped(arm.partition(",")[0], scored.scores[rows], spam[rows], bare)
    called, before, is_spam = probs > 0.5, bare > 0, labels == 1
    return {
        "brier": float(reliability.brier_score(probs, labels)),
        "log_loss": float(F.binary_cross_entropy(probs.clamp(1e-3, 1 - 1e-3), labels.double())),
        "error": float(reliability.expected_calibration_error(probs, labels)),
        "mistakes": percent(called != is_spam),
        "changed": percent(called != before),
        "impossible": float(((probs == 0) & is_spam | (probs == 1) & ~is_spam).sum()),
        "caught": percent(called[is_spam]),
        "caught_before": percent(before[is_spam]),
        "warned": scored.warned,
    }


def mapped(how: str, scores: Tensor, labels: Tensor, fresh: Tensor) -> Tensor:
    """Chances of fresh scores, by a map fitted to others."""
    from sklearn.isotonic import IsotonicRegression

    if how == "temperature":
        with suppress(ValueError):  # none is best where all held-out messages are right: the score stays as it is
            return torch.sigmoid(fresh / reliability.fit_temperature(scores, labels))
    if how == "Platt":
        return reliability.fit_platt(scores, labels).probs(fresh)
    if how == "isotonic":
        stairs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores.numpy(), labels.numpy())
        return torch.from_numpy(stairs.predict(fresh.numpy())).double()
    return torch.sigmoid(fresh)


def percent(found: Tensor) -> float:
    """How many are."""
    return 100 * float(found.double().mean())


class Messages(NamedTuple):
    """Weighted counts of words [N, D], a sparse matrix, and whether each is spam [N]; those to learn from come first."""

    words: object
    spam: Tensor


class Scored(NamedTuple):
    """The scores of all messages, and whether the solver missed its tolerance."""

    scores: Tensor
    warned: int


@cache
def messages(seed: int, learned: int) -> Messages:
    """In an order of the seed; words are those that two of the messages to learn from have, and a rare word weighs more."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, spam = data.sms_spam()
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))
    ordered = [texts[i] for i in order.tolist()]
    words = TfidfVectorizer(min_df=2, sublinear_tf=True).fit(ordered[:learned])
    return Messages(words.transform(ordered), spam[order])


@cache
def scores(seed: int, learned: int, C: float, logistic: bool) -> Scored:
    """Of the machine, or of a logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    words, spam = messages(seed, learned)
    model = LogisticRegression(C=C, max_iter=2000) if logistic else LinearSVC(loss="hinge", C=C, max_iter=100_000, random_state=0)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model.fit(words[:learned], spam[:learned].numpy())  # type: ignore[index]
    return Scored(torch.from_numpy(model.decision_function(words)).double(), len(warned))


ARMS = ("sigmoid", "temperature", "Platt", "Platt, scores seen", "isotonic", "logistic regression", "logistic regression, all")
MACHINE, LOGISTIC = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0), (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)

STUDY = Study(
    run=run,
    chapter="confidence",
    question="Which map makes chances of spam of a support vector machine's scores, what does it cost or gain against logistic regression, and which "
    "decisions does it change?",
    arms=ARMS,
    conditions={"held": (300, 1400)},
    tuned={arm: {"C": LOGISTIC if arm.startswith("logistic") else MACHINE} for arm in ARMS},
    least="brier",
    tuning_seeds=range(100, 104),
    seeds=range(20),
    end="Every objective is convex, and the solver reached its tolerance.",
    ended=lambda numbers: numbers["warned"] == 0,
)


def found_more(runs: Runs) -> Effect:
    """How much more spam is found at C = 0.01 with Platt's sigmoid than by the score's sign."""
    before, after = (runs.by_seed(f"weak_{number}", "Platt", held=1400) for number in ("caught_before", "caught"))
    return paired([after[seed] - before[seed] for seed in after])


FINDINGS = (
    Finding(
        "B115",
        "A map can change which messages are found at all: at C = 0.01, where the score's sign calls nothing spam, Platt's sigmoid from 1400 "
        "held-out messages, cut at one half, finds {mean:.0f} % of it.",
        "spam found at C = 0.01 with Platt's sigmoid minus that found by the score's sign, in percent of spam",
        found_more,
        above(0),
    ),
    Finding(
        "B116",
        "An intercept is worth something at the best C, too: with 1400 messages held out, the Brier score of a temperature is {mean:.4f} above "
        "that of Platt's sigmoid.",
        "Brier score of a temperature minus that of Platt's sigmoid, 1400 messages held out",
        lambda runs: runs.difference("brier", "temperature", "Platt", held=1400),
        above(0),
    ),
    Finding(
        "B117",
        "From 300 held-out messages, isotonic regression's Brier score is {mean:.4f} above that of Platt's sigmoid, each at its own best C.",
        "Brier score of isotonic regression minus that of Platt's sigmoid, 300 messages held out",
        lambda runs: runs.difference("brier", "isotonic", "Platt", held=300),
        above(0),
    ),
    Finding(
        "B118",
        "Fitted to the scores of the messages that the machine learned from, Platt's sigmoid has a Brier score {mean:.4f} above "
        "the one from 1400 others, each at its own best C; from 300 others the difference is not clear.",
        "Brier score of Platt's sigmoid from scores seen minus that from 1400 held-out messages",
        lambda runs: runs.difference("brier", "Platt, scores seen", "Platt", held=1400),
        above(0),
    ),
    Finding(
        "B119",
        "With the same 3400 messages, a machine with Platt's sigmoid and logistic regression with a ridge have Brier scores within a thousandth "
        "of each other, each at its own best C.",
        "Brier score of logistic regression on 3400 messages minus that of a machine on 2000 of them with Platt's sigmoid on the rest",
        lambda runs: runs.difference("brier", "logistic regression, all", "Platt", held=1400),
        within(-0.001, 0.001),
    ),
)
