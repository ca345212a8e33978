"""Is it the smoothing, or would any doubt have done? Soft labels beside a ridge, an early stop and a temperature, each tuned alike.

A line and two networks. What decides is the squared distance of the probabilities from the truth, on people and digits that were not trained on.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import linear, reliability
from lossbook.book import data
from lossbook.book.claims.label_smoothing import logistic_sample
from studies import Effect, Finding, Runs, Study, above, paired, unclear, within

DIMENSION, LITTLE = 10, 1e-6  # of the line; and a ridge that only keeps separable samples from running away
HIDDEN, STEPS, RATE = 32, 300, 0.03  # of the networks
DESCENT = 0.1  # the rate of a line that stops early
MOVED = 0.005  # nats


class Case(NamedTuple):
    """What is learned from, and what is judged: features, labels, and for these the truth, [N, K]; one-hot where only labels are known."""

    features: Tensor
    labels: Tensor
    others: Tensor
    outcomes: Tensor
    truth: Tensor


def run(arm: str, seed: int, *, case: str, epsilon: float, l2: float, steps: int, temperature: float) -> dict[str, float]:
    """Fit once with doubt and once without, and compare probabilities with the truth.

    Args:
        arm: "smoothing", "ridge", "early stop", "temperature" or "smoothing and ridge"; what it may not use is 0, or 1 for the temperature.
        seed: Of the sample, and of a network's start.
        case: "line, 40": logistic regression on 40 people whose true probabilities are known, judged on 20 000 others. "digits, 200": a network with
            one hidden layer on 200 scanned digits, judged on the rest. "incomes, 1000": the same network on 1000 people of a census, judged on 4000.
        epsilon: The share of each target that is spread over all classes.
        l2: The ridge, on the weights of a line or of a network.
        steps: After how many training stops: of gradient descent from 0 for a line, of the same training as ever for a network. 0 is at its end.
        temperature: What the scores are divided by after training.

    Returns:
        `squared`: half the squared distance of the probabilities from the truth, or from the labels where no truth is known; `calibration`: the
        calibration error of the largest probability; `mistakes` in percent; the same of the plain fit as `plain_squared` and so on. `moved`: by how
        much a network's training loss moved in the last twentieth of its steps; where it was stopped, that of the training that goes on.
    """
    plain, end = fitted(case, seed, 0.0, 0.0, 0)
    logits, moved = fitted(case, seed, epsilon, l2, steps)
    before = {f"plain_{name}": value for name, value in judged(plain, drawn(case, seed)).items()}
    return judged(logits / temperature, drawn(case, seed)) | before | {"moved": end if steps else moved}


def judged(logits: Tensor, case: Case) -> dict[str, float]:
    """Three numbers of some logits."""
    probs = logits.softmax(1)
    return {
        "squared": float((probs - case.truth).square().sum(1).mean()) / 2,
        "calibration": float(reliability.expected_calibration_error(probs, case.outcomes)),
        "mistakes": 100 * float((probs.argmax(1) != case.outcomes).double().mean()),
    }


@cache
def fitted(case: str, seed: int, epsilon: float, l2: float, steps: int) -> tuple[Tensor, float]:
    """The logits of those who are judged, and by how much training still moved."""
    sample = drawn(case, seed)
    if case == "line, 40":
        scores = descended(sample, steps) if steps else line(sample, epsilon, l2)
        return torch.stack([torch.zeros_like(scores), scores], 1), 0.0
    return network(sample, seed, epsilon, l2, steps or STEPS)


def line(sample: Case, epsilon: float, l2: float) -> Tensor:
    """Everybody counts (1 − ε) y + ε/2 times as a one, and as a zero for the rest; twice as many rows have half the ridge each."""
    target = (1 - epsilon) * sample.labels + epsilon / 2
    signs, weight = torch.cat([torch.ones_like(target), -torch.ones_like(target)]), torch.cat([target, 1 - target])
    fit = linear.fit_linear(sample.features.repeat(2, 1), signs, loss="logistic", weight=weight, l2=max(l2, LITTLE) / 2, solver="newton")
    return fit.scores(sample.others)


def descended(sample: Case, steps: int) -> Tensor:
    """So many steps of gradient descent on hard labels, from weights of 0."""
    weights, intercept = torch.zeros_like(sample.features[0]), torch.zeros_like(sample.labels[0])
    for _ in range(steps):
        push = sample.labels - torch.sigmoid(sample.features @ weights + intercept)
        weights, intercept = weights + DESCENT * push @ sample.features / len(push), intercept + DESCENT * push.mean()
    return sample.others @ weights + intercept


def network(sample: Case, seed: int, epsilon: float, l2: float, steps: int) -> tuple[Tensor, float]:
    """One hidden layer, Adam on all examples at once, its rate falling to 0 over `STEPS`, of which so many are made."""
    generator = torch.Generator().manual_seed(seed)
    inputs, classes = sample.features.shape[1], sample.truth.shape[1]
    first = (torch.randn(inputs, HIDDEN, generator=generator) * (2 / inputs) ** 0.5).requires_grad_()
    last = (torch.randn(HIDDEN, classes, generator=generator) / HIDDEN**0.5).requires_grad_()
    shifts = [torch.zeros(HIDDEN, requires_grad=True), torch.zeros(classes, requires_grad=True)]
    layers = [first, last, *shifts]

    def logits(features: Tensor) -> Tensor:
        return torch.addmm(shifts[1], torch.relu(torch.addmm(shifts[0], features, first)), last)

    path = []
    optimizer = torch.optim.Adam(layers, lr=RATE, fused=True)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        fit = F.cross_entropy(logits(sample.features), sample.labels, label_smoothing=epsilon)
        penalty = l2 / 2 * (first.square().sum() + last.square().sum())
        for layer, slope in zip(layers, torch.autograd.grad(fit + penalty, layers), strict=True):
            layer.grad = slope
        optimizer.step()
        path.append(float(fit.detach()))
    return logits(sample.others).detach(), abs(path[-1] - path[max(-STEPS // 20, -steps)])


@cache
def drawn(case: str, seed: int) -> Case:
    """A sample, and those who are judged."""
    if case == "line, 40":
        features, _, labels = logistic_sample(40, DIMENSION, seed)
        others, truth, outcomes = logistic_sample(20_000, DIMENSION, 10_000 + seed)
        return Case(features, labels, others, outcomes.long(), torch.stack([1 - truth, truth], 1))
    features, labels = digits() if case == "digits, 200" else incomes()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    amount = 200 if case == "digits, 200" else 1000
    train, rest = order[:amount], order[amount : amount + 4000]
    truth = torch.nn.functional.one_hot(labels[rest]).float()
    return Case(features[train], labels[train], features[rest], labels[rest], truth)


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Pixels [N, 64] and what was written."""
    images, labels = data.digits()
    return images.reshape(len(images), -1).float(), labels


@cache
def incomes() -> tuple[Tensor, Tensor]:
    """Columns of the census, and 1 for those who earn more than 50 000 dollars."""
    people = data.adult()
    return people.features.float(), (people.signs > 0).long()


NOTHING = {"epsilon": (0.0,), "l2": (0.0,), "steps": (0,), "temperature": (1.0,)}
DOUBTS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7)
RIDGES = (1e-5, 3e-5, 1e-4, 2e-4, 3e-4, 5e-4, 7e-4, 1e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2, 2e-2, 3e-2, 5e-2, 7e-2, 0.1, 0.3, 1.0)
STOPS = (2, 5, 8, 12, 16, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100, 120, 150, 200, 250, 300)
TEMPERATURES = (0.7, 0.85, 1.0, 1.2, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 10.0, 20.0)

STUDY = Study(
    run=run,
    chapter="label-smoothing",
    question="Few examples make a model too sure: are soft labels a better remedy than a ridge, an early stop or a temperature, each at its own best "
    "strength?",
    arms=("smoothing", "ridge", "early stop", "temperature", "smoothing and ridge"),
    conditions={"case": ("line, 40", "digits, 200", "incomes, 1000")},
    tuned={
        "smoothing": NOTHING | {"epsilon": DOUBTS},
        "ridge": NOTHING | {"l2": RIDGES},
        "early stop": NOTHING | {"steps": STOPS},
        "temperature": NOTHING | {"temperature": TEMPERATURES},
        "smoothing and ridge": NOTHING | {"epsilon": (0.0, 0.005, 0.02, 0.2, 0.4), "l2": (3e-4, 1e-3, 2e-2, 0.1)},
    },
    least="squared",
    tuning_seeds=range(100, 108),
    seeds=range(20),
    end=f"A line's solver stopped at its minimum; a network's rate fell to 0 over {STEPS} steps, in the last twentieth of which its loss moved by "
    f"less than {MOVED:g} nats. An early stop cuts that short, by its own choice.",
    ended=lambda numbers: numbers["moved"] < MOVED,
)


def calibrated(runs: Runs) -> Effect:
    """By how much smoothing lowers the calibration error of the network on incomes."""
    return paired([row["plain_calibration"] - row["calibration"] for row in runs.where(arm="smoothing", case="incomes, 1000").rows])


SQUARED = "squared distance of the probabilities from the truth, smoothing minus ridge"
LABELS = SQUARED.replace("truth", "labels")

FINDINGS = (
    Finding(
        "B45",
        "Stopped early, the small network on a thousand incomes comes closer to the labels than trained to the end with smoothing, each at its own "
        "best strength, by {mean:.3f}.",
        "squared distance of the probabilities from the labels, smoothing minus early stop",
        lambda runs: runs.difference("squared", "smoothing", "early stop", case="incomes, 1000"),
        above(0),
    ),
    Finding(
        "B46",
        "On the same incomes smoothing adds next to nothing to a ridge: both together come as close to the labels as the ridge alone, to within a "
        "thousandth.",
        "squared distance of the probabilities from the labels, smoothing and ridge minus ridge",
        lambda runs: runs.difference("squared", "smoothing and ridge", "ridge", case="incomes, 1000"),
        within(-0.001, 0.001),
    ),
    Finding(
        "B60",
        "On forty people of a logistic law it is not clear which comes closer to the true probabilities, a line with smoothed labels or one with a "
        "ridge, each at its own best strength: the difference is {low:.3f} to {high:.3f}.",
        SQUARED,
        lambda runs: runs.difference("squared", "smoothing", "ridge", case="line, 40"),
        unclear(),
    ),
    Finding(
        "B61",
        "In a small network, trained for 300 steps on a thousand incomes, the ridge comes closer to the labels than smoothing, each at its own best "
        "strength, by {mean:.3f}.",
        LABELS,
        lambda runs: runs.difference("squared", "smoothing", "ridge", case="incomes, 1000"),
        above(0),
    ),
    Finding(
        "B62",
        "In the same network on two hundred digits the ridge comes closer, too, by {mean:.4f}.",
        LABELS,
        lambda runs: runs.difference("squared", "smoothing", "ridge", case="digits, 200"),
        above(0),
    ),
    Finding(
        "B63",
        "A network trained for 300 steps on a thousand incomes, with nothing else to hold it back, is too sure, and smoothing calibrates it: the "
        "error falls by {mean:.3f}.",
        "calibration error without smoothing minus that with it",
        calibrated,
        above(0),
    ),
    Finding(
        "B64",
        "Better calibration need not mean fewer mistakes: after 300 steps this network makes {mean:.1f} in a hundred more with smoothing than "
        "without, or with a temperature, which changes none of its decisions.",
        "mistakes with smoothing minus those with a temperature, in percent",
        lambda runs: runs.difference("mistakes", "smoothing", "temperature", case="incomes, 1000"),
        above(0),
    ),
)
