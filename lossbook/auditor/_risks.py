"""What minimising the loss leads to: the likeliest class, the true probabilities, or neither."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lossbook.auditor._bench import Bench, Case, LossRaised
from lossbook.auditor._finding import Finding

Each = Callable[[Tensor], Tensor]  # scores [M] or [M, K] -> losses [M, K], one column a label

ETAS = torch.linspace(0.05, 0.95, 37, dtype=torch.float64)
DISTRIBUTIONS = ((0.4, 0.3, 0.3), (0.45, 0.4, 0.15), (0.6, 0.3, 0.1), (0.2, 0.5, 0.3), (0.3, 0.25, 0.45), (0.05, 0.15, 0.8))
GAP = 1e-5  # a wrong answer that costs no more than this share of the risk is free
SURE = 0.02  # how far a probability may be off


class Best(NamedTuple):
    """The least risk over some scores, and where it was found."""

    risk: float
    scores: Tensor


def each_loss(bench: Bench) -> Each:
    """The loss of single examples, mapped where the loss can be mapped, one after the other where it cannot."""

    truths = torch.stack([bench.truth(torch.tensor([label])) for label in range(bench.classes)])

    def one(scores: Tensor, truth: Tensor) -> Tensor:
        return bench.value(Case(scores[None], truth)).detach().double().sum()

    def slow(scores: Tensor) -> Tensor:
        return torch.stack([torch.stack([one(row, truth) for truth in truths]) for row in scores])

    def fast(scores: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about functions that it maps slowly
            losses = torch.vmap(one)(scores.repeat_interleave(len(truths), 0), truths.repeat(len(scores), *[1] * (truths.ndim - 1)))
        return losses.reshape(len(scores), len(truths))

    sample = torch.randn(3, *bench.shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(bench.seed))
    expected = slow(sample)
    try:
        agrees = torch.allclose(fast(sample), expected, equal_nan=True)
    except LossRaised:  # data-dependent control flow, or a function without a batching rule
        agrees = False
    return fast if agrees else slow


def aims(bench: Bench) -> Iterator[Finding]:
    """`calibrated`: the best scores decide for the likeliest class; `proper`: sigmoid or softmax of them are the probabilities."""
    if bench.shape[1:] not in ((), (2,), (3,)):
        for name in ("calibrated", "proper"):
            yield Finding(name, None, None, "looked at for single examples of two or three classes only", "fact")
        return
    table = each_loss(bench)
    yield from _binary(table) if bench.kind == "binary" else _multiclass(table, bench.classes)


def _binary(each: Each) -> Iterator[Finding]:
    scores = torch.arange(-2000, 2001, dtype=torch.float64) / 80  # has 0
    losses = each(scores).nan_to_num(nan=torch.inf)
    risks = torch.stack([1 - ETAS, ETAS], -1) @ losses.T  # [eta, score]
    best = scores[risks.argmin(-1)]
    likelier = ETAS > 0.5
    wrong_side = torch.where((scores <= 0) == likelier[:, None], risks, torch.inf).amin(-1)
    wrong_side = torch.where(likelier, wrong_side, torch.where(scores >= 0, risks, torch.inf).amin(-1))
    free = (wrong_side - risks.amin(-1) <= GAP * losses.abs().mean()) & ((ETAS - 0.5).abs() > 1e-9)
    turns = ETAS[best > 1e-6]
    threshold = float(turns[0]) if len(turns) else float("nan")
    if bool(free.any()):
        eta = float(ETAS[free][(ETAS[free] - 0.5).abs().argmin()])
        yield Finding("calibrated", False, eta, f"at P(label 1) = {eta:.3f} a score of the wrong sign is best; it turns near {threshold:.3f}", "fact")
    else:
        yield Finding("calibrated", True, None, "the best score has the sign of the likelier label, at 36 probabilities from 0.05 to 0.95", "fact")
    off = (torch.sigmoid(best) - ETAS).abs()
    eta, found = float(ETAS[off.argmax()]), float(torch.sigmoid(best)[off.argmax()])
    yield Finding(
        "proper", float(off.max()) < SURE, float(off.max()), f"at P(label 1) = {eta:.3f} the sigmoid of the best score is {found:.3f}", "fact"
    )


def _multiclass(each: Each, classes: int) -> Iterator[Finding]:
    axis = torch.linspace(-4, 4, 17 if classes == 3 else 33, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * classes)
    losses = each(grid).nan_to_num(nan=torch.inf)
    breaking: tuple[float, ...] | None = None
    worst, where, found = 0.0, tuple[float, ...](), tuple[float, ...]()
    for numbers in DISTRIBUTIONS if classes == 3 else [(eta, 1 - eta) for eta in (0.1, 0.3, 0.45, 0.6, 0.8)]:
        probs = torch.tensor(numbers, dtype=torch.float64)
        likeliest = int(probs.argmax())
        start = Best(float((losses @ probs).min()), grid[(losses @ probs).argmin()])
        best = _refine(each, probs, start, lambda scores: torch.ones(len(scores), dtype=torch.bool))
        wrong = min((_wrong(each, probs, grid, losses, likeliest, rival) for rival in range(classes) if rival != likeliest), key=lambda one: one.risk)
        if breaking is None and wrong.risk - best.risk <= GAP * float(losses.abs().mean()):
            breaking = numbers
        off = float((torch.softmax(best.scores, 0) - probs).abs().max())
        if off > worst:
            worst, where, found = off, numbers, tuple(torch.softmax(best.scores, 0).tolist())
    if breaking is None:
        yield Finding("calibrated", True, None, "the best scores are highest for the likeliest class, at every distribution tried", "fact")
    else:
        yield Finding("calibrated", False, str(breaking), f"at probabilities {breaking} the likeliest class need not have the highest score", "fact")
    words = f"at probabilities {where} the softmax of the best scores is ({', '.join(f'{p:.2f}' for p in found)})"
    yield Finding(
        "proper", worst < SURE, worst, words if worst >= SURE else "the softmax of the best scores is the truth, at every distribution tried", "fact"
    )


def _wrong(each: Each, probs: Tensor, grid: Tensor, losses: Tensor, likeliest: int, rival: int) -> Best:
    """The least risk where the rival scores at least as high as the likeliest class."""
    risks = torch.where(grid[:, rival] >= grid[:, likeliest], losses @ probs, torch.inf)
    start = Best(float(risks.min()), grid[risks.argmin()])
    return _refine(each, probs, start, lambda scores: scores[:, rival] >= scores[:, likeliest])


def _refine(each: Each, probs: Tensor, best: Best, allowed: Callable[[Tensor], Tensor]) -> Best:
    """A compass search with all diagonals, whose steps shrink from 1/4 to 1/1000."""
    moves = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=len(probs))), dtype=torch.float64)
    size, stays = 0.25, 0
    while size > 1e-3 and stays < 60:
        around = best.scores + size * moves
        risks = torch.where(allowed(around), each(around).nan_to_num(nan=torch.inf) @ probs, torch.inf)
        if float(risks.min()) < best.risk - 1e-12:
            best, stays = Best(float(risks.min()), around[risks.argmin()]), stays + 1
        else:
            size /= 2
    return best
