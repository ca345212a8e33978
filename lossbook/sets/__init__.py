"""How to score a set of objects against the true set: match first, then pay for every pair, and for every query that found nothing.

`match` and `match_batch` find the cheapest one-to-one assignment, `BoxSetLoss` is the loss of DETR, Deformable DETR and RT-DETR, `MaskSetLoss` that
of MaskFormer and Mask2Former.
Chapter: sets.
"""

from lossbook.sets._box_loss import BoxSetLoss
from lossbook.sets._mask_costs import MaskCosts, dice_loss, pairwise_mask_costs
from lossbook.sets._mask_loss import MaskSetLoss
from lossbook.sets._matching import Match, match, match_batch
from lossbook.sets._result import SetLoss
from lossbook.sets._targets import BoxTargets, MaskTargets

__all__ = [
    "BoxSetLoss",
    "BoxTargets",
    "MaskCosts",
    "MaskSetLoss",
    "MaskTargets",
    "Match",
    "SetLoss",
    "dice_loss",
    "match",
    "match_batch",
    "pairwise_mask_costs",
]
