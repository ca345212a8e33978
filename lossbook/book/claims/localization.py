"""Should a score know its box: claim C57."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lossbook.book.claims.ledger import Measurement, claim, measured
from lossbook.crossentropy import binary_cross_entropy
from lossbook.focal import quality_focal_loss, varifocal_loss


def _best_score(loss: Callable[..., Tensor], quality: Tensor, chances: Tensor) -> float:
    """The score in (0, 1) with the least expected loss, on a grid of step 1e-5."""
    scores = torch.linspace(1e-5, 1 - 1e-5, 99_999, dtype=torch.float64)
    expected = torch.zeros_like(scores)
    for value, chance in zip(quality, chances, strict=True):
        expected = expected + chance * loss(torch.logit(scores), value.expand_as(scores), reduction="none")
    return float(scores[expected.argmin()])


def _top_is_good(quality: Tensor, scores: Tensor, threshold: float = 0.75) -> float:
    """Share of images [N, boxes] whose highest-scored box is better than the threshold."""
    return float((quality.gather(1, scores.argmax(dim=1, keepdim=True)) > threshold).double().mean())


def _expected_good(error: float, boxes: int = 20, threshold: float = 0.75) -> float:
    """The chance that `_top_is_good` estimates, for IoUs from Beta(4, 2) and scores that are these plus a normal error, by sums over a grid."""
    quality = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    density = 20 * quality**3 * (1 - quality) / 1000
    wobble = torch.linspace(-6, 6, 241, dtype=torch.float64)
    chances = (-(wobble**2) / 2).softmax(dim=0)
    scores = torch.linspace(-6 * error, 1 + 6 * error, 2001, dtype=torch.float64)
    below = (density * torch.special.ndtr((scores[:, None] - quality) / error)).sum(dim=1)  # a box's score is below that
    place = (quality[:, None] + error * wobble - scores[0]) / (scores[1] - scores[0])
    first = boxes * below[place.round().long()] ** (boxes - 1)  # none of the others is above, for any of the boxes
    return float((density[:, None] * chances * first)[quality > threshold].sum())


@claim(
    "C57",
    statement="IoU-aware losses encourage high classification scores only for well-localised objects, which directly improves detection.",
    verdict="holds",
    corrected="IoU-aware losses encourage high classification scores only for well-localised objects, which directly improves detection.",
    chapter="localization",
    references=("li2020generalized", "zhang2021varifocalnet", "jiang2018acquisition"),
    quantity="share of images whose first of 20 boxes has an IoU above 0.75, the score being the IoU with an error of 0.3",
)
def a_score_that_guesses_the_overlap_sorts_better(seed: int) -> Measurement:
    source, shape = torch.Generator().manual_seed(seed), (2000, 20)
    # Beta(4, 2) is the fourth smallest of five uniform numbers; P(IoU > 0.75) = 1 − (5 · 0.75⁴ − 4 · 0.75⁵) = 0.367
    iou = torch.rand(*shape, 5, generator=source, dtype=torch.float64).sort(dim=-1).values[..., 3]
    noise = torch.randn(shape, generator=source, dtype=torch.float64)
    blind, rough, sharp, oracle = (_top_is_good(iou, scores) for scores in (noise, iou + 0.3 * noise, iou + 0.1 * noise, iou))
    # five standard deviations of a share of 2000 images, 5 · sqrt(0.367 · 0.633 / 2000) = 0.054
    ranking = abs(blind - 0.367) < 0.054 and abs(sharp - _expected_good(0.1)) < 0.022 and oracle > 0.998
    quality, chances = torch.tensor([0.1, 0.9], dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64)
    losses = (binary_cross_entropy, partial(quality_focal_loss, beta=2.0), varifocal_loss)
    soft, focal, varifocal = (_best_score(loss, quality, chances) for loss in losses)
    by_hand = (0.3 * 0.1**2 + 0.7 * 0.9**2) / (0.3 * 0.1 + 0.7 * 0.9)  # E[q²] / E[q]
    return measured(
        rough,
        _expected_good(0.3),
        0.051,
        conditions=ranking and abs(soft - 0.66) < 2e-5 and abs(focal - 0.574) < 1e-3 and abs(varifocal - by_hand) < 2e-5,
        with_a_blind_score=blind,
        with_an_error_of_one_tenth=sharp,
        with_no_error=oracle,
        score_learned_by_cross_entropy_where_the_iou_is_luck=soft,
        score_learned_by_quality_focal_loss=focal,
        score_learned_by_varifocal_loss=varifocal,
    )
