"""The claim of the chapter "learning": what a step of gradient descent does, and what it does not. C40."""

from __future__ import annotations

import torch

from lossbook import linear, margins
from lossbook.book.claims.ledger import Measurement, claim, measured

CHAPTER = "learning"
FLOAT = torch.float64


@claim(
    "C40",
    statement="The gradient of the loss nudges the weights so that the error falls; some updates shrink the weights, others correct a mistake.",
    verdict="conditional",
    corrected="Without a penalty a small enough step on an example that isn't silent lowers that example's surrogate loss; the count of mistakes "
    "may rise meanwhile. With an L2 term every step multiplies the weights by a factor and may correct as well; with an L1 term it shrinks each by a "
    "constant.",
    chapter=CHAPTER,
    references=("shalevshwartz2011pegasos", "bottou2018optimization"),
    quantity="share of mistakes after one step that lowers the hinge loss of four points",
)
def nudges(seed: int) -> Measurement:
    generator = torch.Generator().manual_seed(seed)
    features, signs = torch.randn(16, 5, generator=generator, dtype=FLOAT), (2 * torch.randint(2, (16,), generator=generator) - 1).to(FLOAT)
    weights = torch.randn(5, generator=generator, dtype=FLOAT).requires_grad_()
    bias = torch.randn((), generator=generator, dtype=FLOAT).requires_grad_()
    risk = torch.relu(1 - signs * (features @ weights + bias)).mean() + 0.2 / 2 * weights.square().sum()  # no code of `linear` in here
    slopes = torch.autograd.grad(risk, (weights, bias))
    weights, bias = weights.detach(), bias.detach()
    line = linear.sgd_step(weights, bias, features, signs, loss="hinge", rate=0.1, l2=0.2)
    gap = max(float((line.weights - (weights - 0.1 * slopes[0])).abs().max()), abs(float(line.intercept - (bias - 0.1 * slopes[1]))))

    big = torch.tensor([[40.0, -4.0]], dtype=FLOAT)  # an example that is right by far: the loss is silent, only the penalty moves the weights
    w, zero = torch.tensor([3.0, -0.5], dtype=FLOAT), torch.zeros((), dtype=FLOAT)
    shrunk = linear.sgd_step(w, zero, big, torch.ones(1), loss="hinge", rate=0.1, l2=0.2).weights / w
    cut = w.abs() - linear.sgd_step(w, zero, big, torch.ones(1), loss="hinge", rate=0.1, l1=0.2).weights.abs()

    points = torch.tensor([[-1.0, 0.0], [-1.0, 0.2], [-1.0, -0.2], [-4.0, 1.0]], dtype=FLOAT)
    sides = torch.tensor([-1.0, -1.0, -1.0, 1.0], dtype=FLOAT)
    before = torch.tensor([1.0, 0.0], dtype=FLOAT)
    after = linear.sgd_step(before, zero, points[3:], sides[3:], loss="hinge", rate=0.25)
    reached = [sides * (points @ w + b) for w, b in ((before, zero), (after.weights, after.intercept))]
    losses, mistakes = [float(margins.hinge(m).mean()) for m in reached], [float(margins.zero_one(m).mean()) for m in reached]
    # By hand: w + 0.25 (-4, 1) = (0, 0.25), b = 0.25, margins -0.25, -0.3, -0.2 and 0.5: hinge (1.25 + 1.3 + 1.2 + 0.5)/4 = 4.25/4, from 5/4.
    conditions = gap < 1e-14 and abs(losses[0] - 1.25) < 1e-12 and abs(losses[1] - 4.25 / 4) < 1e-12 and mistakes[0] == 0.25
    conditions = conditions and float((shrunk - (1 - 0.1 * 0.2)).abs().max()) < 1e-12 and float((cut - 0.1 * 0.2).abs().max()) < 1e-12
    return measured(
        mistakes[1],
        3 / 4,
        0,
        conditions=conditions,
        share_of_mistakes_before=mistakes[0],
        hinge_before=losses[0],
        hinge_after=losses[1],
        gap_of_the_written_out_step_to_autograd=gap,
        factor_of_an_l2_step_on_a_silent_example=float(shrunk[0]),
    )
