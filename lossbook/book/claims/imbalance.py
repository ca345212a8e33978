"""A hundred thousand easy examples: claims C54 to C56."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lossbook.book.claims.ledger import Measurement, claim, measured
from lossbook.boxes import pairwise_iou, to_xyxy
from lossbook.crossentropy import binary_cross_entropy
from lossbook.focal import recover_eta, sigmoid_focal_loss


def _logits(*probs: float) -> Tensor:
    return torch.logit(torch.tensor(probs, dtype=torch.float64))


def _pull(logits: Tensor, *, gamma: float) -> Tensor:
    """How strongly the focal loss of targets 1 pulls each logit up."""
    leaf = logits.detach().requires_grad_()
    (slope,) = torch.autograd.grad(sigmoid_focal_loss(leaf, torch.ones_like(leaf), gamma=gamma, reduction="sum"), leaf)
    return -slope


def _minimizer(eta: float, *, gamma: float) -> float:
    """The probability at which the expected focal loss has slope 0 in the logit."""
    from scipy.optimize import brentq

    def slope(logit: float) -> float:
        leaf = torch.tensor([logit, logit], dtype=torch.float64, requires_grad=True)
        losses = sigmoid_focal_loss(leaf, torch.tensor([1.0, 0.0]), gamma=gamma, reduction="none")
        (slopes,) = torch.autograd.grad(eta * losses[0] + (1 - eta) * losses[1], leaf)
        return float(slopes.sum())

    return 1 / (1 + math.exp(-brentq(slope, -30, 30)))


@claim(
    "C54",
    statement="Standard cross-entropy treats all examples equally.",
    verdict="conditional",
    corrected="It weighs their losses equally, and their gradients not: where the truth has the probability qₜ, the pull on the logit is "
    "1 − qₜ, so cross-entropy already prefers hard examples. The trouble is the sum over very many easy ones.",
    chapter="imbalance",
    references=("lin2017focal",),
    quantity="pull of an example at qₜ = 0.1 over that of one at qₜ = 0.99",
)
def cross_entropy_already_prefers_the_hard(seed: int) -> Measurement:
    logits = 4 * torch.randn(500, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    leaf = torch.cat([_logits(0.1, 0.99), logits]).requires_grad_()
    (slopes,) = torch.autograd.grad(binary_cross_entropy(leaf, torch.ones_like(leaf), reduction="sum"), leaf)
    hard, easy = (-slopes[:2]).tolist()
    gap = float((-slopes - torch.sigmoid(-leaf.detach())).abs().max())  # 1 − q_t = σ(−s)
    summed = 100 * hard / (100 * hard + 100_000 * easy)
    # 0.9 / 0.01 = 90; and 100 · 0.9 / (100 · 0.9 + 100 000 · 0.01) = 90 / 1090
    conditions = gap < 1e-12 and math.isclose(summed, 90 / 1090, rel_tol=1e-9)
    return measured(hard / easy, 90.0, 1e-9, conditions=conditions, share_of_a_hundred_hard_among_a_hundred_thousand_easy=summed)


def _anchors(size: int = 800) -> Tensor:
    """RetinaNet's anchors for a square image: strides 8 to 128, three scales and three shapes at each place, as boxes [A, 4] in pixels."""
    levels = []
    for stride in (8, 16, 32, 64, 128):
        centers = (torch.arange(math.ceil(size / stride), dtype=torch.float64) + 0.5) * stride
        scales = 4 * stride * 2 ** (torch.arange(3, dtype=torch.float64) / 3)
        shapes = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64).sqrt()  # width over height, square-rooted
        y, x, scale, shape = torch.meshgrid(centers, centers, scales, shapes, indexing="ij")
        levels.append(torch.stack([x, y, scale * shape, scale / shape], dim=-1).reshape(-1, 4))
    return to_xyxy(torch.cat(levels))


@claim(
    "C55",
    statement="In object detection the vast majority of possible locations in an image are background.",
    verdict="holds",
    corrected="In object detection the vast majority of possible locations in an image are background.",
    chapter="imbalance",
    references=("lin2017focal",),
    quantity="boxes that RetinaNet scores in an image of 800 by 800 pixels",
)
def nearly_every_anchor_is_background(seed: int) -> Measurement:
    source = torch.Generator().manual_seed(seed)
    anchors = _anchors()
    sides = 32 * (400 / 32) ** torch.rand(7, 2, generator=source, dtype=torch.float64)  # seven objects, sides from 32 to 400 pixels
    corner = torch.rand(7, 2, generator=source, dtype=torch.float64) * (800 - sides)
    found = pairwise_iou(anchors, torch.cat([corner, corner + sides], dim=1)).amax(dim=1)
    objects = float((found >= 0.5).double().mean())
    # 800/8 = 100, 50, 25, then 12.5 and 6.25 rounded up; nine boxes at each place
    return measured(
        len(anchors),
        (100**2 + 50**2 + 25**2 + 13**2 + 7**2) * 9,
        0.0,
        conditions=0 < objects < 0.01,
        share_that_covers_one_of_seven_random_objects=objects,
    )


@claim(
    "C56",
    statement="Focal loss down-weights the loss of easy, well-classified examples and so focuses the training on hard ones.",
    verdict="holds",
    corrected="Focal loss down-weights the loss of easy, well-classified examples and so focuses the training on hard ones.",
    chapter="imbalance",
    references=("lin2017focal", "charoenphakdee2021focal", "komisarenko2024improving"),
    quantity="share of 100 hard examples (qₜ = 0.1) in the loss with 100,000 easy ones (qₜ = 0.99), γ = 2",
)
def the_hard_get_nearly_all_of_the_loss(seed: int) -> Measurement:
    logits = torch.cat([_logits(0.1).expand(100), _logits(0.99).expand(100_000)])

    def share(gamma: float) -> float:
        losses = sigmoid_focal_loss(logits, torch.ones_like(logits), gamma=gamma, reduction="none")
        return float(losses[:100].sum() / losses.sum())

    def pulled(gamma: float) -> float:
        pulls = _pull(logits, gamma=gamma)
        return float(pulls[:100].sum() / pulls.sum())

    hard, easy = -100 * 0.9**2 * math.log(0.1), -100_000 * 0.01**2 * math.log(0.99)  # −(1 − q_t)² ln q_t
    learned = _minimizer(0.9, gamma=2.0)
    eta = 0.02 + 0.96 * float(torch.rand((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    back = float(recover_eta(torch.tensor(_minimizer(eta, gamma=2.0), dtype=torch.float64), gamma=2.0))
    levels = torch.logit(torch.linspace(0.001, 0.999, 9981, dtype=torch.float64))
    ratio = _pull(levels, gamma=2.0) / _pull(levels, gamma=0.0)
    crossing = float(levels[ratio > 1].max().sigmoid())
    # of the pull, which is what moves a model: 90 / 1090 under cross-entropy
    focused = math.isclose(pulled(0.0), 90 / 1090, rel_tol=1e-9) and pulled(2.0) > 0.99
    conditions = (
        focused
        and abs(learned - 0.6942) < 1e-4
        and abs(back - eta) < 1e-8
        and abs(float(ratio.max()) - 1.2246) < 1e-4
        and abs(crossing - 0.2976) < 2e-4
    )
    return measured(
        share(2.0),
        hard / (hard + easy),
        1e-9,
        conditions=conditions,
        the_same_share_under_cross_entropy=share(0.0),
        share_of_the_pull=pulled(2.0),
        that_share_under_cross_entropy=pulled(0.0),
        probability_learned_where_η_is_nine_tenths=learned,
        largest_pull_relative_to_cross_entropy=float(ratio.max()),
    )
