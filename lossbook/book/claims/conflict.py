"""When tasks hurt each other: claim C53."""

from __future__ import annotations

import torch

from lossbook.book.claims.ledger import Measurement, claim, measured
from lossbook.multitask import pcgrad, task_gradients


@claim(
    "C53",
    statement="Learning one task can harm another, because their gradients point in opposite directions.",
    verdict="conditional",
    corrected="Opposite isn't enough. To first order a step along the sum hurts task 2 exactly where g₁·g₂ < 0 and |g₁| |cos| is more than |g₂|. "
    "Equal lengths never hurt. It says nothing about the error on new data.",
    chapter="conflict",
    references=("yu2020gradient", "sener2018multi"),
    quantity="share of 2000 random pairs of slopes, three normal numbers each times a length spread over powers of ten, where the rule says which "
    "way the second loss goes",
)
def a_conflict_hurts_only_the_shorter_gradient(seed: int) -> Measurement:
    source, rate = torch.Generator().manual_seed(seed), 1e-7
    pairs = torch.randn(2000, 2, 3, generator=source, dtype=torch.float64) * 10 ** torch.randn(2000, 2, 1, generator=source, dtype=torch.float64)
    first, second = pairs[:, 0], pairs[:, 1]
    cosine = torch.cosine_similarity(first, second)
    rule = (cosine < 0) & (first.norm(dim=1) * cosine.abs() > second.norm(dim=1))
    at = torch.randn(
        2000, 3, generator=source, dtype=torch.float64
    )  # the second loss g₂·x + ½|x - at|² - ½|at|², whose slope at 0 is g₂ - at + at = g₂

    def second_loss(x: torch.Tensor) -> torch.Tensor:
        return ((second + at) * x).sum(dim=1) + ((x - at).square() - at.square()).sum(dim=1) / 2

    raised = second_loss(-rate * (first + second)) > second_loss(torch.zeros_like(first))
    clear = ((first + second) * second).sum(dim=1).abs() > 1e-4 * (first + second).norm(dim=1) * second.norm(dim=1)  # else the curve decides
    agreement = float((rule == raised)[clear].double().mean())
    hurt = sum(bool((pair @ pcgrad(pair) < -1e-9 * pair.norm(dim=1) * pcgrad(pair).norm()).any()) for pair in pairs[cosine < 0][:300])
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    steep, flat = task_gradients([10 * (x - 1).square().sum(), (x + 1).square().sum()], [x])
    # The sum's curvature is 20 + 2 = 22, so its minimum is one Newton step away.
    after = float((0 - 0.01 * (steep + flat) + 1).square())
    return measured(
        agreement,
        1.0,
        0.0,
        conditions=hurt == 0 and int(clear.sum()) > 1950 and abs(after - 1.18**2) < 1e-12,
        pairs_where_the_sum_hurts=int(rule.sum()),
        conflicts_where_PCGrad_hurts=hurt,
        loss_of_1_after_a_shared_step=after,
        the_same_at_the_joint_optimum=float((1 - (steep + flat) / 22).square()),
    )
