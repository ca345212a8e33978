"""Work where nothing is to be gained, because torch or scipy is at its limit already: lossbook calls them, and adds checks that cost next to nothing.

python -m benchmarks.bench_limits
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torchjd.aggregation import PCGrad

from benchmarks.bench_focal import step
from benchmarks.harness import Case, Work, main
from lossbook.crossentropy import binary_cross_entropy, cross_entropy
from lossbook.multitask import pcgrad, task_gradients
from lossbook.sets import match

LIMIT = "the peer is at its limit and lossbook calls it; the rest is checks of what it was given"


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def classes(rows: int, columns: int) -> Work:
    logits = torch.randn(rows, columns, generator=seeded()).requires_grad_()
    labels = torch.randint(columns, (rows,), generator=seeded())
    return Work(partial(step, cross_entropy, logits, labels), partial(step, F.cross_entropy, logits, labels), touched=2 * logits.nbytes)


def binary(count: int) -> Work:
    logits = torch.randn(count, generator=seeded()).requires_grad_()
    targets = torch.rand(count, generator=seeded()).round()
    peer = F.binary_cross_entropy_with_logits
    return Work(partial(step, binary_cross_entropy, logits, targets), partial(step, peer, logits, targets), touched=3 * logits.nbytes)


def assignment(queries: int, objects: int) -> Work:
    cost = torch.rand(queries, objects, generator=seeded())
    return Work(lambda: [pair.tolist() for pair in match(cost)], lambda: [pair.tolist() for pair in linear_sum_assignment(cost.numpy())])


def whole_step(tasks: int, width: int) -> Work:
    """Forward, a backward pass a task, and the combined gradient; the backward passes are nearly all of it."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    heads, examples = nn.Linear(width, tasks), torch.randn(256, 64)
    order = [list(range(tasks))] * tasks
    parameters = list(trunk.parameters())

    def losses() -> list[Tensor]:
        return list((heads(trunk(examples)) - 1).square().mean(0).unbind())

    def ours() -> Tensor:
        return pcgrad(task_gradients(losses(), parameters), order=order)

    def theirs() -> Tensor:
        rows = [torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters, retain_graph=True)]) for loss in losses()]
        return PCGrad()(torch.stack(rows))

    return Work(ours, theirs, difference=lambda a, b: float((a - b).norm() / b.norm()))


JOBS = [
    Case("cross-entropy, 1e5 x 10, forward and backward", "torch", partial(classes, 100_000, 10), note=LIMIT),
    Case("cross-entropy, 4096 x 1000, forward and backward", "torch", partial(classes, 4096, 1000), note=LIMIT),
    Case("binary cross-entropy, 1e6, forward and backward", "torch", partial(binary, 1_000_000), note=LIMIT),
    Case("assignment of 20 objects to 100 queries", "scipy", partial(assignment, 100, 20), note=LIMIT),
    Case("assignment of 300 objects to 300 queries", "scipy", partial(assignment, 300, 300), note=LIMIT),
    Case(
        "a whole step of 2 tasks with PCGrad, 2e5 parameters",
        "torchjd",
        partial(whole_step, 2, 400),
        note="the backward passes are nearly all of it, and they are torch's",
    ),
]

if __name__ == "__main__":
    main(__doc__, JOBS, peers=["scipy", "torchjd"])
