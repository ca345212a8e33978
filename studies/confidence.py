"""Too sure of itself: a true logistic regression with few examples for each feature, and a network that learns its labels by heart.

How long its weights are and where they point, how far its probabilities are off, and what a ridge, stopping early, and a temperature do about it.
"""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import linear, reliability
from lossbook.book import data
from studies import Effect, Finding, Runs, Study, above, paired

EXAMPLES, IMAGES, HIDDEN, STEPS = 1000, 400, 32, 200
SLACK = 1e-7  # a ridge that changes nothing but what has no minimum without it
TOLERANCE = 1e-9
STOPS = (1, 2, 4, 8, 16, 32, 64, 96, 128)
LINES = {f"{each} a feature, length {name}": (each, length) for each in (20, 5) for name, length in (("1", 1.0), ("√5", 5**0.5))}
NETWORKS = {"network": 0.0, "network, a fifth redrawn": 0.2}
FLOAT = torch.float64


def run(arm: str, seed: int, *, problem: str, strength: float) -> dict[str, float]:
    """Fit, hold back, and judge on fresh cases.

    Args:
        arm: What makes it modest: "ridge", l2/2 |w|² added to the mean log loss; "early stopping", descent left after some steps; "temperature", one
            that was chosen on other samples; "temperature, held out", one fitted on a share of the sample, from which the model doesn't learn.
        seed: Of the sample.
        problem: Of `LINES`, a logistic regression with an intercept whose model is true, by the number of examples for each feature and the length
            of the true weights; or of `NETWORKS`, scanned digits, with true labels or with a fifth of all redrawn, fresh ones too.
        strength: l2, the number of steps, the temperature, or the share.

    Returns:
        `log_loss` and `error`, the calibration error, on fresh cases; `mistakes` in percent; and `plain_...`, the same with none of these. A line's
        are exact over all fresh cases, its log loss above that of the true probabilities; its `plain_projection` and `plain_length` are those of the
        fitted weights over the true ones, `plain_angle` is between the two, in degrees, `plain_slope` its calibration slope; all 0 for
        a network, whose other numbers are those of the images left over. `plain_learned` is the log loss on what was learned from. `unfinished`: how
        many trainings are not at their end.
    """
    return on_a_line(arm, seed, *LINES[problem], strength) if problem in LINES else by_a_network(arm, seed, NETWORKS[problem], strength)


class Line(NamedTuple):
    """Weights [D], intercept, and whether the solver missed its tolerance."""

    weights: Tensor
    intercept: float
    unfinished: int


class Sample(NamedTuple):
    """x ~ N(0, I) [N, D], signs [N], and the true weights [D]."""

    features: Tensor
    signs: Tensor
    beta: Tensor


@cache
def drawn(seed: int, each: int, length: float) -> Sample:
    """P(+1) = σ(β·x), without an intercept; the fit doesn't know that it has none."""
    generator = torch.Generator().manual_seed(seed)
    dimension = EXAMPLES // each
    beta = torch.full((dimension,), length / math.sqrt(dimension), dtype=FLOAT)
    features = torch.randn(EXAMPLES, dimension, generator=generator, dtype=FLOAT)
    chance = torch.sigmoid(features @ beta)
    return Sample(features, torch.where(torch.rand(EXAMPLES, generator=generator, dtype=FLOAT) < chance, 1.0, -1.0).double(), beta)


def fitted(sample: Sample, l2: float, count: int = EXAMPLES) -> Line:
    """The minimum of the mean log loss of the first examples, with a ridge on the weights."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fit = linear.fit_linear(sample.features[:count], sample.signs[:count], loss="logistic", l2=l2, solver="newton", tolerance=TOLERANCE)
    return Line(fit.weights, float(fit.intercept), len(warned))


@cache
def plain_line(seed: int, each: int, length: float) -> Line:
    """Without a penalty worth the name."""
    return fitted(drawn(seed, each, length), SLACK)


@cache
def descended(seed: int, each: int, length: float) -> dict[int, Line]:
    """Gradient descent from 0, with a rate of one over the greatest curvature, after each of `STOPS` steps."""
    sample, found = drawn(seed, each, length), {}
    table = torch.cat([sample.features, torch.ones_like(sample.signs)[:, None]], dim=1) * sample.signs[:, None]
    rate = 4 / torch.linalg.matrix_norm(table, 2) ** 2
    weights = table.new_zeros(table.shape[1])
    for step in range(1, STOPS[-1] + 1):
        weights = weights + rate * torch.sigmoid(-(table @ weights)) @ table
        if step in STOPS:
            found[step] = Line(weights[:-1], float(weights[-1]), 0)
    return found


def on_a_line(arm: str, seed: int, each: int, length: float, strength: float) -> dict[str, float]:
    """One logistic regression held back, and let go."""
    sample, plain = drawn(seed, each, length), plain_line(seed, each, length)
    if arm == "ridge":
        line = fitted(sample, strength)
    elif arm == "early stopping":
        line = descended(seed, each, length)[int(strength)]
    else:
        line, temperature = plain, strength
        if arm == "temperature, held out":
            count = EXAMPLES - round(strength * EXAMPLES)
            line = fitted(sample, SLACK, count)
            scores = sample.features[count:] @ line.weights + line.intercept
            temperature = cooled_by(scores, (sample.signs[count:] > 0).long())
        line = Line(line.weights / temperature, line.intercept / temperature, line.unfinished)
    found, let_go = judged(line, sample.beta), judged(plain, sample.beta)
    learned = F.softplus(-sample.signs * (sample.features @ plain.weights + plain.intercept)).mean()
    return (
        {name: found[name] for name in ("log_loss", "error", "mistakes")}
        | {f"plain_{name}": value for name, value in let_go.items()}
        | {"plain_learned": float(learned), "unfinished": line.unfinished + plain.unfinished}
    )


def cooled_by(logits: Tensor, labels: Tensor) -> float:
    """The temperature of held-out cases; 1 where none is best, since all are right or their logits are worth nothing."""
    try:
        return float(reliability.fit_temperature(logits, labels))
    except ValueError:
        return 1.0


def judged(line: Line, beta: Tensor) -> dict[str, float]:
    """A line over all fresh cases: its logit and the true one are jointly normal, and a Gauss-Hermite sum over the two takes the mean."""
    along, across, mass = grid()
    length = float(beta.norm())
    projected = float(line.weights @ beta) / length
    beside = math.sqrt(max(float(line.weights.square().sum()) - projected**2, 1e-24))
    truth = torch.sigmoid(length * along)
    logits = projected * along + beside * across + line.intercept
    loss = (mass * (F.softplus(logits) - truth * logits)).sum()
    least = (mass * (F.softplus(length * along) - truth * length * along)).sum()
    # given its logit, the true one is normal again
    spread = math.hypot(projected, beside)
    said = spread * across + line.intercept  # [1, M]
    true = torch.sigmoid(length * (projected / spread * across + beside / spread * along))  # [M, M]: along is what is left
    weight, share = mass.sum(0), mass.sum(1)
    kept = (share[:, None] * true).sum(0)  # how often it comes true, by what was said
    right = torch.where(logits > 0, truth, 1 - truth)
    return {
        "log_loss": float(loss - least),
        "error": float((weight * (torch.sigmoid(said[0]) - kept).abs()).sum()),
        "mistakes": 100 * float((mass * (1 - right)).sum()),
        "projection": projected / length,
        "length": spread / length,
        "angle": math.degrees(math.atan2(beside, projected)),
        "slope": slope(said[0], kept, weight),
    }


def slope(logits: Tensor, frequency: Tensor, weight: Tensor) -> float:
    """Of a logistic regression of what comes true on the logits: Newton's method."""
    design, found = torch.stack([logits, torch.ones_like(logits)], dim=1), torch.zeros(2, dtype=FLOAT)
    for _ in range(12):
        probs = torch.sigmoid(design @ found)
        found = found + torch.linalg.solve(design.T @ (design * (weight * probs * (1 - probs))[:, None]), design.T @ (weight * (frequency - probs)))
    return float(found[0])


@cache
def grid(points: int = 121) -> tuple[Tensor, Tensor, Tensor]:
    """Two standard normals [M, 1], [1, M] and their mass [M, M], on an even grid: what is smooth and vanishes at both ends wants no better rule."""
    places = torch.linspace(-6, 6, points, dtype=FLOAT)
    mass = torch.exp(-places.square() / 2)
    mass = mass / mass.sum()
    return places[:, None], places[None, :], mass[:, None] * mass


class Trained(NamedTuple):
    """Logits on all images after each of the steps asked for, the log loss on those learned from, and by what share it still fell at the end."""

    logits: dict[int, Tensor]
    learned: float
    falling: float


@cache
def scans(seed: int, redrawn: float) -> tuple[Tensor, Tensor]:
    """Pixels [N, 64] and labels [N] in the order of the sample; of the labels a share is any digit."""
    images = data.digits()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images.labels), generator=generator)
    labels = images.labels[order].clone()
    other = torch.rand(len(labels), generator=generator) < redrawn
    labels[other] = torch.randint(10, (int(other.sum()),), generator=generator)
    return images.images.flatten(1).float()[order], labels


@cache
def trained(seed: int, redrawn: float, count: int, l2: float) -> Trained:
    """One hidden layer of ReLUs, by Adam with all of the first images in each step."""
    pixels, labels = scans(seed, redrawn)
    generator = torch.Generator().manual_seed(seed)
    layers = [torch.randn(64, HIDDEN, generator=generator) / 8, torch.zeros(HIDDEN), torch.randn(HIDDEN, 10, generator=generator) / HIDDEN**0.5]
    layers = [layer.requires_grad_() for layer in (*layers, torch.zeros(10))]
    adam = torch.optim.Adam(layers, lr=0.03)

    def logits(rows: Tensor) -> Tensor:
        return torch.relu(rows @ layers[0] + layers[1]) @ layers[2] + layers[3]  # type: ignore[no-any-return]

    found, objective = {}, []
    for step in range(1, STEPS + 1):
        adam.zero_grad()
        loss = F.cross_entropy(logits(pixels[:count]), labels[:count])
        total = loss + l2 / 2 * (layers[0].square().sum() + layers[2].square().sum())
        total.backward()
        adam.step()
        objective.append(float(total.detach()))
        if step in STOPS or step == STEPS:
            found[step] = logits(pixels).detach().double()
    return Trained(found, float(loss.detach()), 1 - objective[-1] / objective[-STEPS // 10])


def by_a_network(arm: str, seed: int, redrawn: float, strength: float) -> dict[str, float]:
    """One network held back, and let go."""
    _, labels = scans(seed, redrawn)
    plain = trained(seed, redrawn, IMAGES, 0.0)
    unfinished = int(plain.learned > 0.05)
    logits = plain.logits[STEPS]
    if arm == "ridge":
        penalised = trained(seed, redrawn, IMAGES, strength)
        logits, unfinished = penalised.logits[STEPS], unfinished + int(penalised.falling > 0.05)
    elif arm == "early stopping":
        logits = plain.logits[int(strength)]
    elif arm == "temperature":
        logits = logits / strength
    else:
        count = IMAGES - round(strength * IMAGES)
        fewer = trained(seed, redrawn, count, 0.0)
        logits, unfinished = fewer.logits[STEPS], unfinished + int(fewer.learned > 0.05)
        logits = logits / cooled_by(logits[count:IMAGES], labels[count:IMAGES])
    fresh, let_go = of_digits(logits[IMAGES:], labels[IMAGES:]), of_digits(plain.logits[STEPS][IMAGES:], labels[IMAGES:])
    geometry = dict.fromkeys(("plain_projection", "plain_length", "plain_angle", "plain_slope"), 0.0)
    return fresh | {f"plain_{name}": value for name, value in let_go.items()} | geometry | {"plain_learned": plain.learned, "unfinished": unfinished}


def of_digits(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Log loss, calibration error of the winning class, mistakes."""
    return {
        "log_loss": float(F.cross_entropy(logits, labels)),
        "error": float(reliability.expected_calibration_error(logits.softmax(1), labels)),
        "mistakes": 100 * float((logits.argmax(1) != labels).double().mean()),
    }


STUDY = Study(
    run=run,
    chapter="confidence",
    question="How long are the weights of a true logistic regression, and how far off its probabilities, by examples for each feature and the length "
    "of the true weights; and what makes it, or a network that has learned its labels by heart, modest at the least log loss on fresh cases?",
    arms=("ridge", "early stopping", "temperature", "temperature, held out"),
    conditions={"problem": (*LINES, *NETWORKS)},
    tuned={
        "ridge": {"strength": (3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 3e-2, 0.1, 0.2, 0.5)},
        "early stopping": {"strength": STOPS},
        "temperature": {"strength": (1.0, 1.2, 1.4, 1.7, 2.0, 2.7, 4.0, 7.0, 12.0)},
        "temperature, held out": {"strength": (0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)},
    },
    least="log_loss",
    tuning_seeds=range(100, 110),
    seeds=range(20),
    end=f"A line's objective is convex, and the solver stopped when it could gain no more than {TOLERANCE:g} of it. A network without a penalty has "
    f"no minimum: after {STEPS} steps its log loss on what it learned from is below 0.05 nats; with one, its objective fell by less than 5 % in the "
    "last tenth.",
    ended=lambda numbers: numbers["unfinished"] == 0,
)

HARD = "5 a feature, length √5"


def won_back(runs: Runs) -> Effect:
    """How much of a line's log loss above the truth's a temperature takes away, in percent."""
    plain, cooled = (runs.by_seed(number, "temperature", problem=HARD) for number in ("plain_log_loss", "log_loss"))
    return paired([100 * (plain[seed] - cooled[seed]) / plain[seed] for seed in plain])


FINDINGS = (
    Finding(
        "B110",
        "With 1000 examples of 200 features and true weights of length √5, logistic regression without a penalty has weights {mean:.2f} times as "
        "long as the true ones.",
        "length of the fitted weights over that of the true ones",
        lambda runs: runs.mean("plain_length", "ridge", problem=HARD),
        above(1),
    ),
    Finding(
        "B111",
        "With 5 examples a feature and true weights of length √5, one temperature, the same for all samples, takes away {mean:.0f} % of the line's "
        "log loss above the truth's.",
        "what a temperature takes away of the log loss above the truth's, 5 examples for each feature, true weights of length √5, in percent",
        won_back,
        above(50),
    ),
    Finding(
        "B112",
        "Of a network with true labels, a ridge while it learns leaves at least {mean:.3f} nats less log loss than any of the three others, each at "
        "its own best strength.",
        "log loss of the nearest of stopping early and the two temperatures minus that with a ridge, a network with true labels, in nats",
        lambda runs: runs.lead("log_loss", "ridge", "early stopping", "temperature", "temperature, held out", problem="network"),
        above(0),
    ),
    Finding(
        "B113",
        "Of a network that has learned redrawn labels by heart, stopping early leaves {mean:.2f} nats less log loss than a temperature, each at its "
        "own best strength.",
        "log loss with a temperature minus that of stopping early, a fifth of the labels redrawn, in nats",
        lambda runs: runs.difference("log_loss", "temperature", "early stopping", problem="network, a fifth redrawn"),
        above(0),
    ),
    Finding(
        "B114",
        "With true labels one temperature for all samples leaves {mean:.3f} nats less log loss than stopping early, each at its own best strength.",
        "log loss with early stopping minus that with a temperature, a network with true labels, in nats",
        lambda runs: runs.difference("log_loss", "early stopping", "temperature", problem="network"),
        above(0),
    ),
)
