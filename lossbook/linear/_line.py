"""A line w·x + b: its scores, and its regularised risk."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import full_precision, plain, widened
from lossbook.linear._examples import Block, alike, check_examples, check_line, check_penalties
from lossbook.margins import MarginLoss, check_loss


class Line(NamedTuple):
    """Weights w [D] and intercept b [] of the score w·x + b."""

    weights: Tensor
    intercept: Tensor


class LinearFit(NamedTuple):
    """What `fit_linear` found: weights [D], intercept [], and the objective by step [T], float64 on the CPU."""

    weights: Tensor
    intercept: Tensor
    objective: Tensor

    @full_precision
    def scores(self, features: Tensor) -> Tensor:
        """w·x + b.

        Args:
            features: [..., D], in the dtype of the weights, or of half precision where these are float32.

        Returns:
            [...], float32 at least.

        Raises:
            TypeError or ValueError for another dtype or number of columns.
        """
        weights, intercept = widened(plain(self.weights)), widened(plain(self.intercept))
        checks.check_floating("features", features)
        if features.shape[-1:] != weights.shape:
            checks.wrong_value("features", f"have shape [..., {len(weights)}], a column a weight", tuple(features.shape))
        checks.check_same_dtype("features", features, "weights", weights)
        checks.check_same_device("features", features, "weights", weights)
        scores: Tensor = torch.matmul(features, weights) + intercept
        return scores


class Price(NamedTuple):
    """What an example costs by its margin, and what the weights cost."""

    loss: MarginLoss
    l2: float
    l1: float


@full_precision
def regularized_risk(
    weights: Tensor,
    intercept: Tensor,
    features: Tensor,
    signs: Tensor,
    *,
    loss: str | MarginLoss,
    l2: float = 0.0,
    l1: float = 0.0,
    weight: Tensor | None = None,
) -> Tensor:
    """The mean loss of the margins, and the price of the weights: (1/N) Σ φ(y (w·x + b)) + l2/2 |w|² + l1 |w|₁.

    Args:
        weights, intercept: [D] and []; the intercept is not regularised.
        features, signs: [N, D] and [N] in {-1, +1}.
        loss: a name in `margins.LOSSES`, or a `MarginLoss`.
        l2, l1: at least 0.
        weight: [N], multiplies each example's loss; the mean still divides by N.

    Returns:
        A tensor [] in the dtype of the features, float32 at least, differentiable by autograd.

    Raises:
        TypeError or ValueError for a wrong dtype, shape or sign, an unknown loss, a negative l2 or l1.

    Example:
        >>> features, signs = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, -1])
        >>> regularized_risk(torch.tensor([2.0, 0.0]), torch.tensor(0.0), features, signs, loss="hinge", l2=0.1)
        tensor(0.7000)

    Conventions:
        A mean, and a half before l2, so that scikit-learn's C is 1 / (N l2).

    Chapter: learning.
    """
    price = Price(check_loss(loss), l2, l1)
    check_penalties(l2, l1)
    check_examples(features, signs, weight)
    check_line(weights, intercept, features)
    checks.check_same_dtype("weights", weights, "features", features)
    return risk(Line(weights, intercept.to(weights.dtype)), alike(features, signs, weight), price)


def risk(line: Line, block: Block, price: Price) -> Tensor:
    """`regularized_risk` of arguments that are checked and of one dtype."""
    weights, intercept = line
    losses = price.loss((block.features @ weights + intercept) * block.signs)
    mean = (losses if block.weight is None else block.weight * losses).mean()
    return mean + price.l2 / 2 * weights.square().sum() + price.l1 * weights.abs().sum()
