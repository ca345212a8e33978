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


@claim(
    "C57",
    statement="IoU-aware losses bring high scores only for well-localised objects, which directly improves detection.",
    verdict="conditional",
    corrected="The target is the IoU that the predicted box has in training, so ranking improves exactly as far as IoU can be predicted from the "
    "image. Where it cannot, cross-entropy learns its mean, varifocal loss E[q²]/E[q], and quality focal loss something below the mean here.",
    chapter="localization",
    references=("li2020generalized", "zhang2021varifocalnet", "jiang2018acquisition"),
    quantity="score that varifocal loss learns where the IoU is 0.1 or 0.9 with chances 0.3 and 0.7",
)
def each_loss_learns_another_score(seed: int) -> Measurement:
    quality, chances = torch.tensor([0.1, 0.9], dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64)
    losses = (binary_cross_entropy, partial(quality_focal_loss, beta=2.0), varifocal_loss)
    soft, focal, varifocal = (_best_score(loss, quality, chances) for loss in losses)
    source, shape = torch.Generator().manual_seed(seed), (2000, 20)
    # Beta(4, 2) is the fourth smallest of five uniform numbers; P(IoU > 0.75) = 1 − (5 · 0.75⁴ − 4 · 0.75⁵) = 0.367
    iou = torch.rand(*shape, 5, generator=source, dtype=torch.float64).sort(dim=-1).values[..., 3]
    noise = torch.randn(shape, generator=source, dtype=torch.float64)
    blind, rough, sharp, oracle = (_top_is_good(iou, scores) for scores in (noise, iou + 0.3 * noise, iou + 0.1 * noise, iou))
    # five standard deviations of a share of 2000 images, 5 · sqrt(0.367 · 0.633 / 2000) = 0.054
    ranking = abs(blind - 0.367) < 0.054 and abs(rough - 0.722) < 0.051 and abs(sharp - 0.961) < 0.022 and oracle > 0.998
    return measured(
        varifocal,
        (0.3 * 0.1**2 + 0.7 * 0.9**2) / (0.3 * 0.1 + 0.7 * 0.9),  # E[q²] / E[q]
        2e-5,
        conditions=ranking and abs(soft - 0.66) < 2e-5 and abs(focal - 0.574) < 1e-3,
        score_learned_by_cross_entropy=soft,
        score_learned_by_quality_focal_loss=focal,
        best_of_twenty_is_good_with_blind_scores=blind,
        with_iou_known_to_three_tenths=rough,
        with_iou_known_to_one_tenth=sharp,
        with_iou_known=oracle,
    )
