"""The sums that the costs of all pairs of masks are made of, computed a few queries at a time, so that the temporaries stay in the cache.

A table of them is [1 + N, 2, Q]. With pos and neg the losses of a pixel towards 1 and 0 (of the focal loss, over 1 − α), it has (pos − neg) · Tᵀ and
p · Tᵀ in the row of each target, and the sums of neg and of p over all pixels in the row before them.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss in MaskFormer
_RATIO = ALPHA / (1 - ALPHA)
_PIECE = 2**18  # elements that are computed together
_WIDTH = 2**13  # pixels of these in a row
_PAD = 16  # rows that lie a power of two apart compete for the same lines of the cache


def plain_sums(mask_logits: Tensor, masks: Tensor, *, focal: bool) -> Tensor:
    """The table from torch's own operations, for predictions [..., Q, P] and masks [..., N, P]."""
    probs, miss = mask_logits.sigmoid(), F.softplus(mask_logits, threshold=40.0)
    negative = probs.square() * miss if focal else miss
    positive = _RATIO * (1 - probs).square() * (miss - mask_logits) if focal else miss - mask_logits
    rows = torch.stack([negative.sum(-1), probs.sum(-1)], -2)[..., None, :, :]
    return torch.cat([rows, torch.stack([masks @ (positive - negative).mT, masks @ probs.mT], -2)], -3)


def cost_sums(mask_logits: Tensor, truth: Tensor, *, focal: bool) -> Tensor:
    """The same on a CPU, without a gradient; `truth` [1 + N, P] are the masks after a row of ones, so that one product gives the sums of p, too."""
    count, pixels = mask_logits.shape
    width = max(min(pixels, _WIDTH), 1)
    step = max(-(-count // max(-(-count * width // _PIECE), 1)), 1)
    room = mask_logits.new_empty(4 * step, width + _PAD)
    table, offset = mask_logits.new_zeros(truth.shape[0], 2, count), mask_logits.new_zeros(count)
    for left in range(0, pixels, width):
        right = truth[:, left : left + width]
        for low in range(0, count, step):
            x = mask_logits[low : low + step, left : left + width]
            queries, pixels_here = x.shape
            rows = room[: 4 * queries, :pixels_here]
            signal, probs, negative, rest = rows.chunk(4)
            (_fill_focal if focal else _fill_entropy)(x, signal, probs, negative, rest, offset[low : low + step])
            table[:, :, low : low + step] += (right @ rows[: 2 * queries].t()).view(-1, 2, queries)
    table[0, 0] = offset
    return table if bool(offset.isfinite().all()) else plain_sums(mask_logits, truth[1:], focal=focal)


def _fill_focal(x: Tensor, signal: Tensor, probs: Tensor, negative: Tensor, rest: Tensor, offset: Tensor) -> None:
    """pos − neg and p, and the sum of neg, from one sigmoid and one logarithm: ln(1 − p) = ln p − x.

    Where p is near 1 the digits of ln p are lost, but there it is weighed by (1 − p)², and as a part of x it is small.
    """
    _sigmoid_and_log(x, probs, signal)
    torch.sub(signal, x, out=negative).mul_(probs).mul_(probs)
    offset -= negative.sum(1)
    torch.sub(probs.new_ones(()), probs, out=rest).mul_(rest)  # subtracting from a number has no `out`
    torch.addcmul(negative, rest, signal, value=-_RATIO, out=signal)


def _fill_entropy(x: Tensor, signal: Tensor, probs: Tensor, negative: Tensor, rest: Tensor, offset: Tensor) -> None:
    """The same for cross-entropy, whose pos − neg is −x. Sampled logits come point by point, and are read in that order once."""
    rest.copy_(x)
    _sigmoid_and_log(rest, probs, negative)
    offset -= negative.sub_(rest).sum(1)
    torch.neg(rest, out=signal)


def _sigmoid_and_log(x: Tensor, probs: Tensor, logs: Tensor) -> None:
    """p and ln p; numpy's logarithm takes half the time of torch's. Far out p is 0, ln p is not finite, and nor is the sum that it goes into."""
    torch.sigmoid(x, out=probs)
    with np.errstate(divide="ignore"):
        np.log(probs.numpy(), out=logs.numpy())
