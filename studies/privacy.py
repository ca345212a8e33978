"""What undoes the noise of private labels: a correction of the loss, or not learning it by heart?

A small network learns digits whose labels went through randomised response, under plain cross-entropy and under the two corrections. Each is left
after some steps, or trained to the end with a ridge. What decides is the mistakes on the true labels of other digits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook import crossentropy
from lossbook.book import data
from lossbook.privacy import RandomizedResponse
from studies import Effect, Finding, Runs, Study, above, paired, unclear

LEARNED, HIDDEN = 1200, 32
LATE, RATE = 240, 0.01  # the path along which one may stop, at a constant rate
STEPS, FIRST_RATE = 160, 0.03  # with a ridge: to the end, the rate falling to 0
MOVED = 0.005  # nats


def run(arm: str, seed: int, *, epsilon: float, steps: int, l2: float) -> dict[str, float]:
    """Learn from the private labels of 1200 digits, and name the 597 others.

    Args:
        arm: The loss, "plain", "backward" or "forward", and what keeps it from learning the noise by heart, "stopped" or "ridge".
        seed: Of which digits are learned from, of the noise in their labels, and of the network's start.
        epsilon: The privacy loss of a label.
        steps: Of Adam on all digits at once, for the arms that stop.
        l2: The ridge on the weights, for the others.

    Returns:
        `mistakes`: on the true labels of the others, in percent. `late`: the same after 240 steps, for an arm that stops. `moved`: by how much the
        loss of an arm with a ridge moved in the last twentieth of its steps. `score`: the mistakes, or 100 where that is more than 0.005 nats, so
        that a training without an end is not chosen.
    """
    loss, _, hold = arm.partition(", ")
    if hold == "stopped":
        mistakes = along(loss, seed, epsilon)
        return {"mistakes": mistakes[steps], "late": mistakes[LATE], "moved": 0.0, "score": mistakes[steps]}
    mistakes_at_end, moved = to_the_end(loss, seed, epsilon, l2)
    return {"mistakes": mistakes_at_end, "late": mistakes_at_end, "moved": moved, "score": mistakes_at_end if moved < MOVED else 100.0}


class Sample(NamedTuple):
    """Pixels and private labels to learn from; others with their true labels."""

    pixels: Tensor
    reports: Tensor
    others: Tensor
    labels: Tensor


@cache
def drawn(seed: int, epsilon: float) -> Sample:
    """Digits, and reports of their labels."""
    images, labels = data.digits()
    pixels, generator = images.flatten(1).float(), torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    learn, rest = order[:LEARNED], order[LEARNED:]
    reports = RandomizedResponse(epsilon, 10).privatize(labels[learn], generator=generator)
    return Sample(pixels[learn], reports, pixels[rest], labels[rest])


class Network:
    """One hidden layer, started from a seed."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(10_000 + seed)
        self.weights = [torch.randn(64, HIDDEN, generator=generator) * (2 / 64) ** 0.5, torch.randn(HIDDEN, 10, generator=generator) / HIDDEN**0.5]
        self.shifts = [torch.zeros(HIDDEN), torch.zeros(10)]
        self.parameters = [part.requires_grad_() for part in (*self.weights, *self.shifts)]

    def logits(self, pixels: Tensor) -> Tensor:
        return torch.relu(pixels @ self.weights[0] + self.shifts[0]) @ self.weights[1] + self.shifts[1]  # type: ignore[no-any-return]

    def mistakes(self, sample: Sample) -> float:
        with torch.no_grad():
            return 100 * float((self.logits(sample.others).argmax(1) != sample.labels).float().mean())


def loss_named(name: str, epsilon: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Of logits and reports."""
    mechanism = RandomizedResponse(epsilon, 10)
    return {"plain": crossentropy.cross_entropy, "backward": mechanism.backward_loss, "forward": mechanism.forward_loss}[name]  # type: ignore[return-value]


@cache
def along(name: str, seed: int, epsilon: float) -> dict[int, float]:
    """The mistakes after each number of steps that one may stop at."""
    sample, network, loss = drawn(seed, epsilon), Network(seed), loss_named(name, epsilon)
    optimizer, found = torch.optim.Adam(network.parameters, lr=RATE), {}
    for step in range(1, LATE + 1):
        optimizer.zero_grad()
        loss(network.logits(sample.pixels), sample.reports).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step in (*STOPS, LATE):
            found[step] = network.mistakes(sample)
    return found


def to_the_end(name: str, seed: int, epsilon: float, l2: float) -> tuple[float, float]:
    """The mistakes with a ridge, and by how much the loss still moved."""
    sample, network, loss = drawn(seed, epsilon), Network(seed), loss_named(name, epsilon)
    optimizer = torch.optim.Adam(network.parameters, lr=FIRST_RATE)
    path = []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = FIRST_RATE * (1 - step / STEPS)
        optimizer.zero_grad()
        risk = loss(network.logits(sample.pixels), sample.reports) + l2 / 2 * sum(part.square().sum() for part in network.weights)
        risk.backward()
        optimizer.step()
        path.append(float(risk.detach()))
    return network.mistakes(sample), abs(path[-1] - path[-STEPS // 20])


STOPS = (15, 22, 32, 45, 64, 90, 130)
STOPPED = {"steps": STOPS, "l2": (0.0,)}
RIDGES = {  # each around where its best lie; with less the backward loss does not come to rest (biases are free: at ε = 1 in some samples with none)
    "plain": (2e-3, 3e-3, 5e-3, 8e-3, 1.2e-2, 1.6e-2, 3e-2),
    "backward": (1.2e-2, 2e-2, 3e-2, 8e-2, 0.12, 0.25, 0.35),
    "forward": (1.4e-3, 2e-3, 3e-3, 4e-3, 5e-3, 8e-3, 1.2e-2),
}

STUDY = Study(
    run=run,
    chapter="privacy",
    question="Labels are private, and a network may learn their noise by heart: what does a correction of the loss buy once each loss stops in time, "
    "or has a ridge?",
    arms=tuple(f"{loss}, {hold}" for hold in ("stopped", "ridge") for loss in ("plain", "backward", "forward")),
    conditions={"epsilon": (1.0, 2.0, 4.0)},
    tuned={f"{loss}, stopped": STOPPED for loss in RIDGES} | {f"{loss}, ridge": {"steps": (STEPS,), "l2": l2} for loss, l2 in RIDGES.items()},
    least="score",
    tuning_seeds=range(100, 108),
    seeds=range(20),
    end=f"With a ridge the rate fell to 0 over {STEPS} steps, in the last twentieth of which the loss moved by less than {MOVED:g} nats; early "
    "stopping has no end by design.",
    ended=lambda numbers: numbers["moved"] < MOVED,
)


def least_lead(runs: Runs) -> Effect:
    """By how much the forward correction leads where that is least, of two rivals at three ε, each stopped in time."""
    rivals = [(rival, epsilon) for rival in ("plain, stopped", "backward, stopped") for epsilon in STUDY.conditions["epsilon"]]
    effects = [runs.difference("mistakes", rival, "forward, stopped", comparisons=len(rivals), epsilon=epsilon) for rival, epsilon in rivals]
    return min(effects, key=lambda effect: effect.low)


def stopping_beyond_correction(runs: Runs) -> Effect:
    """What stopping in time saves plain cross-entropy, minus what the correction saves once both have stopped."""
    late, plain, forward = (
        runs.by_seed(number, arm, epsilon=2.0)
        for number, arm in (("late", "plain, stopped"), ("mistakes", "plain, stopped"), ("mistakes", "forward, stopped"))
    )
    return paired([late[seed] - plain[seed] - (plain[seed] - forward[seed]) for seed in late])


FINDINGS = (
    Finding(
        "B170",
        "On private digits, each loss stopped at its own best step, the forward correction makes fewer mistakes than plain cross-entropy and than "
        "the backward correction at ε = 1, 2 and 4; where its lead is least, by {mean:.1f} in a hundred.",
        "mistakes of the rival minus those of the forward correction, where that is least of six comparisons, in percent",
        least_lead,
        above(0),
    ),
    Finding(
        "B171",
        "Unbiased isn't better: at ε = 2, each stopped at its own best step, the backward correction makes {mean:.1f} mistakes in a hundred more "
        "than no correction.",
        "mistakes of the backward correction minus those of plain cross-entropy, in percent",
        lambda runs: runs.difference("mistakes", "backward, stopped", "plain, stopped", epsilon=2.0),
        above(0),
    ),
    Finding(
        "B172",
        f"At ε = 2, to stop plain cross-entropy in time and not after {LATE} steps is worth more than what the forward correction then adds: by "
        "{mean:.0f} mistakes in a hundred.",
        f"mistakes after {LATE} steps minus those at the best step, minus the lead of the forward correction at its best step, in percent",
        stopping_beyond_correction,
        above(0),
    ),
    Finding(
        "B173",
        f"Who doesn't stop finds another order: after {LATE} steps at ε = 2 the backward correction makes {{mean:.0f}} mistakes in a hundred "
        "fewer than no correction.",
        f"mistakes of plain cross-entropy after {LATE} steps minus those of the backward correction, in percent",
        lambda runs: runs.difference("late", "plain, stopped", "backward, stopped", epsilon=2.0),
        above(0),
    ),
    Finding(
        "B174",
        "With a ridge, and 160 steps of a rate that falls to 0, the forward correction keeps a lead over plain cross-entropy at ε = 2: {mean:.1f} "
        "mistakes in a hundred.",
        "mistakes of plain cross-entropy minus those of the forward correction, each at its own best ridge, in percent",
        lambda runs: runs.difference("mistakes", "plain, ridge", "forward, ridge", epsilon=2.0),
        above(0),
    ),
    Finding(
        "B175",
        "Under stronger privacy, ε = 1, it is not clear that the correction leads with a ridge and those 160 steps: the difference is {low:.1f} to "
        "{high:.1f} mistakes in a hundred.",
        "mistakes of plain cross-entropy minus those of the forward correction, each at its own best ridge, in percent",
        lambda runs: runs.difference("mistakes", "plain, ridge", "forward, ridge", epsilon=1.0),
        unclear(),
    ),
)
