"""Does a better estimate decide worse on real data? Neighbours and naive Bayes, each with its knob chosen for estimates, or for decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook.book import data
from lossbook.consistency import estimate_report
from studies import Effect, Finding, Runs, Study, above, paired, unclear, within

SIZES = {"tumours, 40": 40, "tumours, 100": 100, "nines, 100": 100, "spam, 200": 200, "incomes, 400": 400}
SETS, JUDGED, COMMON, MOST = 10, 1000, 25, 31
NEIGHBOURS = tuple(range(1, MOST + 1, 2))
FLOORS = (1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)


class Split(NamedTuple):
    """Those who are judged, features and labels (0 or 1), and ten training sets."""

    features: Tensor
    labels: Tensor
    sets: list[tuple[Tensor, Tensor]]


def run(arm: str, seed: int, *, case: str, knob: float, cut: float, temperature: float) -> dict[str, float]:
    """Learn from ten small training sets out of one half of the data, and judge estimates and decisions on the other half.

    Args:
        arm: "neighbours, for estimates" or "neighbours, for decisions": the share of ones among the nearest k. "naive Bayes, for estimates" or "naive
            Bayes, for decisions": a normal law for each feature and class, as if features were independent. The two arms of a method differ in what
            chooses the knob. "neighbours, another cut" may also choose where it decides, "naive Bayes, tempered" how bold it is.
        seed: Of the halves and of the training sets.
        case: What is told apart, and from how many examples: "tumours, 40" or "tumours, 100", malignant or not; "nines, 100", scanned digits, a nine
            or not; "spam, 200", messages by which common words they hold; "incomes, 400", people of a census, above 50 000 dollars or not.
        knob: k; or what is added to every variance, in units of the largest.
        cut: From which estimate on the decision is "one".
        temperature: What the log odds are divided by.

    Returns:
        `squared`: the mean squared distance of the estimates from the labels; `bias_squared` and `variance`: its two parts over the ten sets;
        `mistakes` in percent, and of these `misses` (ones called zeros) and `alarms` (zeros called ones), in percent of all;
        `cost`: what chooses the settings.
    """
    split = drawn(case, seed)
    if arm.startswith("neighbours"):
        estimates = nearest(case, seed)[:, :, : int(knob)].mean(2)
    else:
        estimates = torch.stack([torch.sigmoid(log_odds(*each, split.features, knob) / temperature) for each in split.sets])
    report, ones = estimate_report(estimates, split.labels), split.labels > 0.5
    squared, wrong = float(report.squared_error.mean()), 100 * ((estimates > cut) != ones).double().mean(0)
    return {
        "squared": squared,
        "bias_squared": float(report.bias_squared.mean()),
        "variance": float(report.variance.mean()),
        "mistakes": float(wrong.mean()),
        "misses": float((wrong * ones).mean()),
        "alarms": float((wrong * ~ones).mean()),
        "cost": squared if arm in FOR_ESTIMATES else float(wrong.mean()),
    }


def log_odds(features: Tensor, labels: Tensor, others: Tensor, floor: float) -> Tensor:
    """Naive Bayes: of a one against a zero, by a normal law for each feature in each class; each variance has a share of the largest added to it."""
    least = floor * features.var(0, correction=0).max()
    logs = []
    for label in (0, 1):
        rows = features[labels == label]
        variance = rows.var(0, correction=0) + least
        surprise = (others - rows.mean(0)).square() / variance + variance.log()
        logs.append(torch.tensor(len(rows) / len(labels)).log() - surprise.sum(1) / 2)
    return logs[1] - logs[0]


@lru_cache(maxsize=8)
def drawn(case: str, seed: int) -> Split:
    """One half to draw training sets from, with two of each label at least, and up to 1000 of the other half to be judged."""
    features, labels = table(case)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    middle = len(order) // 2
    sets: list[tuple[Tensor, Tensor]] = []
    rest = order[middle : middle + JUDGED]
    while len(sets) < SETS:
        train = order[torch.randperm(middle, generator=generator)[: SIZES[case]]]
        if 2 <= int(labels[train].sum()) <= len(train) - 2:
            sets.append((features[train], labels[train]))
    return Split(features[rest], labels[rest], sets)


@lru_cache(maxsize=8)
def nearest(case: str, seed: int) -> Tensor:
    """The labels of the 31 training examples nearest to each who is judged, [10, N, 31]; of equally near ones the first."""
    split = drawn(case, seed)
    orders = [(labels, torch.cdist(split.features, features).argsort(dim=1, stable=True)) for features, labels in split.sets]
    return torch.stack([labels[order[:, :MOST]] for labels, order in orders])


@cache
def table(case: str) -> tuple[Tensor, Tensor]:
    """Features [N, D], and labels [N] of 0 and 1."""
    if case.startswith("nines"):
        scans = data.digits()
        return scans.images.flatten(1).double(), (scans.labels == 9).double()
    if case.startswith("spam"):
        from sklearn.feature_extraction.text import CountVectorizer

        messages = data.sms_spam()
        words = CountVectorizer(binary=True, min_df=COMMON).fit_transform(messages.texts)
        return torch.as_tensor(words.toarray()).double(), messages.labels.double()
    rows = data.breast_cancer() if case.startswith("tumours") else data.adult()
    return rows.features.double(), (rows.signs > 0).double()


FOR_ESTIMATES = ("neighbours, for estimates", "naive Bayes, for estimates", "naive Bayes, tempered")
PLAIN: Mapping[str, Sequence[float]] = {"cut": (0.5,), "temperature": (1.0,)}
TUNED: Mapping[str, Mapping[str, Sequence[float]]] = {
    "neighbours, for estimates": {**PLAIN, "knob": NEIGHBOURS},
    "neighbours, for decisions": {**PLAIN, "knob": NEIGHBOURS},
    "neighbours, another cut": {**PLAIN, "knob": (3, 5, 7, 11), "cut": (0.1, 0.3, 0.5, 0.7)},
    "naive Bayes, for estimates": {**PLAIN, "knob": FLOORS},
    "naive Bayes, for decisions": {**PLAIN, "knob": FLOORS},
    "naive Bayes, tempered": {**PLAIN, "knob": (0.003, 0.03, 0.3, 3.0), "temperature": (1.0, 3.0, 9.0, 27.0)},
}

STUDY = Study(
    run=run,
    chapter="mismatch",
    question="Of two methods on real data, is the better estimate ever the worse decision? And is the setting that estimates best another one than "
    "the setting that decides best?",
    arms=tuple(TUNED),
    conditions={"case": tuple(SIZES)},
    tuned=TUNED,
    least="cost",
    tuning_seeds=range(100, 108),
    seeds=range(200, 240),
    end="Nothing is trained in steps: neighbours vote, and naive Bayes takes means and variances.",
    ended=lambda numbers: True,
)
NEAR, BAYES = "neighbours, for estimates", "naive Bayes, for estimates"


def opposed(runs: Runs) -> Effect:
    """In which halves the neighbours estimate better than naive Bayes and decide worse: 1 for each of these, 0 for the others."""
    squared, mistakes = (runs.difference(number, NEAR, BAYES, case="tumours, 40") for number in ("squared", "mistakes"))
    return paired([float(near < 0 < worse) for near, worse in zip(squared.each, mistakes.each, strict=True)], comparisons=len(SIZES))


FINDINGS = (
    Finding(
        "B85",
        "With 40 tumours to learn from, neighbours estimate better than naive Bayes, each with the knob best for that on other halves: the squared "
        "error is lower by {low:.4f} to {high:.4f}.",
        "squared error of naive Bayes minus that of the neighbours",
        lambda runs: runs.difference("squared", BAYES, NEAR, comparisons=len(SIZES), case="tumours, 40"),
        above(0),
    ),
    Finding(
        "B86",
        "The same neighbours decide worse than naive Bayes: in a hundred tumours they make {low:.1f} to {high:.1f} mistakes more.",
        "mistakes of the neighbours minus those of naive Bayes, in percent of the tumours",
        lambda runs: runs.difference("mistakes", NEAR, BAYES, comparisons=len(SIZES), case="tumours, 40"),
        above(0),
    ),
    Finding(
        "B87",
        "Both at once, the smaller squared error and more mistakes, happen in a share of {mean:.2f} of the halves: more than one in ten, fewer than "
        "seven in ten.",
        "share of the halves in which the neighbours estimate better and decide worse than naive Bayes",
        opposed,
        within(0.1, 0.7),
    ),
    Finding(
        "B88",
        "Whether a number and a cut of their own undo it is not clear: neighbours with the pair that decides best in other halves make "
        "{low:.2f} to {high:.2f} mistakes in a hundred more than naive Bayes.",
        "mistakes of neighbours with another cut minus those of naive Bayes, in percent of the tumours",
        lambda runs: runs.difference("mistakes", "neighbours, another cut", BAYES, comparisons=len(SIZES), case="tumours, 40"),
        unclear(),
    ),
    Finding(
        "B89",
        "Is a scanned digit a nine? As many neighbours as estimate best on other halves make {low:.2f} to {high:.2f} mistakes in a hundred "
        "more than as many as decide best there.",
        "mistakes of neighbours chosen for estimates minus those of neighbours chosen for decisions, in percent of the digits",
        lambda runs: runs.difference("mistakes", NEAR, "neighbours, for decisions", comparisons=2 * len(SIZES), case="nines, 100"),
        above(0),
    ),
)
