"""Claims of the chapter "quantization": what survives in a few bits. C37 to C39."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook import margins, quantization
from lossbook.book import data
from lossbook.book.claims.ledger import Measurement, claim, measured

CHAPTER = "quantization"
FLOAT = torch.float64
HALF_STEP = 0.5


class Scored(NamedTuple):
    """Logits [N, 10] of held-out digits and their labels [N]."""

    logits: Tensor
    labels: Tensor


def digit_scores(seed: int, *, training: int = 1200, hidden: int = 32, steps: int = 80, noise: float = 0.0) -> Scored:
    """A network with one hidden layer, trained on scanned digits, of whose labels a share `noise` is redrawn; its logits on the digits left over."""
    generator = torch.Generator().manual_seed(seed)
    images, labels = data.digits()
    pixels, order = images.reshape(len(images), -1).float(), torch.randperm(len(images), generator=generator)
    seen, held_out = order[:training], order[training:]
    given = labels[seen].clone()
    redrawn = torch.rand(training, generator=generator) < noise
    given[redrawn] = torch.randint(10, (int(redrawn.sum()),), generator=generator)
    layers = [
        torch.randn(64, hidden, generator=generator) / 8,
        torch.zeros(hidden),
        torch.randn(hidden, 10, generator=generator) / math.sqrt(hidden),
        torch.zeros(10),
    ]
    for layer in layers:
        layer.requires_grad_()
    optimizer = torch.optim.Adam(layers, lr=0.02)

    def logits(rows: Tensor) -> Tensor:
        return torch.relu(pixels[rows] @ layers[0] + layers[1]) @ layers[2] + layers[3]

    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(logits(seen), given).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Scored(logits(held_out).detach(), labels[held_out])


@claim(
    "C37",
    statement="Once a point's margin is greater than 1, small errors from rounding often leave the hinge loss as it was: remarkably robust.",
    verdict="holds",
    corrected="Once a point's margin is greater than 1, small errors from rounding often leave the hinge loss as it was: remarkably robust.",
    chapter=CHAPTER,
    references=("jacob2018quantization", "cortes1995support"),
    quantity="smallest margin from which on no rounding error of up to 0.5 changes the hinge loss",
)
def hinge_is_spared(seed: int) -> Measurement:
    grid = torch.arange(-20_000, 20_001, dtype=FLOAT) / 1000
    worst = quantization.worst_change(margins.hinge, grid, step=2 * HALF_STEP)
    spared = float(grid[worst > 0].max()) + 0.001  # the next margin of the grid
    rounded = (margins.hinge(quantization.quantize(grid, bits=8, scale=2 * HALF_STEP)) - margins.hinge(grid)).abs()
    conditions = float(rounded[grid >= 1 + HALF_STEP].max()) == 0 and bool((rounded <= worst + 1e-12).all())
    return measured(
        spared,
        1 + HALF_STEP,  # m - δ >= 1
        1e-9,
        conditions=conditions,
        largest_change_beyond_it=float(worst[grid >= spared].max()),
        change_at_every_margin_below_half=float(worst[grid <= 1 - HALF_STEP].min()),
    )


@claim(
    "C38",
    statement="Cross-entropy is far more sensitive: a very confident prediction has a large logit, and rounding it slightly can move the loss a lot.",
    verdict="false",
    corrected="Rounding a margin by at most δ changes either loss by at most δ. The hinge can change by all of δ at margins up to 1 and not at all "
    "from 1 + δ on, where cross-entropy can change by up to about σ(−m)(e^δ − 1): more, and less and less the more confident and right a prediction "
    "is. What stays large there is that change as a share of the loss, up to about e^δ − 1; and a probability that is rounded to 0 has an infinite "
    "loss.",
    chapter=CHAPTER,
    references=("jacob2018quantization",),
    quantity="largest change of cross-entropy at probability 0.99 when the margin is rounded by up to 0.5",
)
def least_where_confident(seed: int) -> Measurement:
    confident = torch.tensor(math.log(99), dtype=FLOAT)
    change = float(quantization.worst_change(margins.logistic, confident, step=2 * HALF_STEP))
    grid = torch.linspace(-20, 20, 40_001, dtype=FLOAT)
    beyond = quantization.worst_change(margins.logistic, grid, step=2 * HALF_STEP) - quantization.worst_change(
        margins.hinge, grid, step=2 * HALF_STEP
    )
    logits, labels = digit_scores(seed)
    chosen, right = logits.softmax(1).gather(1, labels[:, None])[:, 0], logits.argmax(1) == labels
    rounded = F.cross_entropy(quantization.quantize(logits, bits=4), labels, reduction="none")
    moved = (rounded - F.cross_entropy(logits, labels, reduction="none")).abs()
    sure, wrong = float(moved[chosen > 0.99].mean()), float(moved[~right].mean())
    # a probability that rounds to 0 costs infinitely much, while a rounded logit costs at most δ more
    probs = torch.tensor([0.0, 20.0]).half().softmax(0)
    conditions = sure < 0.01 and wrong > 50 * sure and float(beyond.max()) < 0.12 and float(-probs[0].float().log()) == math.inf
    return measured(
        change,
        math.log((1 + math.exp(-math.log(99) + HALF_STEP)) / (1 + 1 / 99)),  # ln(1 + e^(δ - m)) - ln(1 + e^(-m))
        1e-12,
        conditions=conditions,
        largest_change_of_the_hinge_at_margin_0=float(quantization.worst_change(margins.hinge, torch.zeros(1, dtype=FLOAT), step=2 * HALF_STEP)),
        margin_from_which_cross_entropy_changes_more_than_the_hinge=float(grid[beyond > 1e-9].min()),
        and_by_at_most=float(beyond.max()),
        digits_in_4_bits_mean_change_where_sure=sure,
        digits_in_4_bits_mean_change_where_wrong=wrong,
    )


@claim(
    "C39",
    statement="Where the softmax probability is close to 1, the logit is very large.",
    verdict="conditional",
    corrected="What is large is the gap to the other logits: ln(q / (1 − q)) for two classes, 4.6 at 0.99 and 9.2 at 0.9999. The logit itself can be "
    "anything, because softmax does not see a shift of all logits. A network trained by cross-entropy without a ridge, such as the book's on digits, "
    "does have large logits, and on a grid that reaches them they set the step.",
    chapter=CHAPTER,
    references=("bishop2006pattern",),
    quantity="logit gap at which the softmax of two classes reaches 0.99",
)
def only_the_gap(seed: int) -> Measurement:
    gaps = torch.linspace(0, 12, 1_200_001, dtype=FLOAT)
    probs = torch.stack((gaps, torch.zeros_like(gaps)), dim=1).softmax(dim=1)[:, 0].contiguous()
    found = {level: float(gaps[torch.searchsorted(probs, torch.tensor(level, dtype=FLOAT))]) for level in (0.9, 0.99, 0.999, 0.9999)}
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(100, 5, generator=generator, dtype=FLOAT)
    shifted = (logits - 1000).softmax(1)
    conditions = float((shifted - logits.softmax(1)).abs().max()) < 1e-12 and bool((logits - 1000 < -900).all())
    largest = float(digit_scores(seed).logits.abs().max())  # of either sign
    conditions = conditions and largest > 10
    return measured(
        found[0.99],
        math.log(99),
        2e-5,
        conditions=conditions and all(abs(gap - math.log(level / (1 - level))) < 2e-5 for level, gap in found.items()),
        gap_at_90_per_cent=found[0.9],
        gap_at_9999_in_10000=found[0.9999],
        largest_logit_of_a_shifted_batch=float((logits - 1000).max()),
        largest_logit_of_either_sign_of_a_network_that_reads_digits=largest,
    )
