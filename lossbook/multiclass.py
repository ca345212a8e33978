"""Three hinges for K classes, and what each of them aims at.

The binary hinge can be carried over to K scores in more than one way. All three below sum or take the worst over the K - 1 wrong classes, and none
divides by K. They differ in what they converge to: only Lee-Lin-Wahba always leads to the likeliest class. Chapter: restricted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from lossbook._core.checks import check_choice, check_concrete, check_distribution, check_floating, check_ndim, wrong_value
from lossbook._core.classes import Kept, check_class_labels, class_axis, kept, weighted_by_class
from lossbook._core.door import full_precision
from lossbook._core.reduction import Reduction, check_reduction, reduce

__all__ = ["OptimalScores", "crammer_singer", "lee_lin_wahba", "optimal_scores", "weston_watkins"]

if TYPE_CHECKING:
    import numpy as np

Rule = Literal["crammer_singer", "weston_watkins", "lee_lin_wahba", "cross_entropy"]
RULES = ("crammer_singer", "weston_watkins", "lee_lin_wahba", "cross_entropy")


@full_precision
def crammer_singer(
    logits: Tensor,
    labels: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""The hinge of the gap to the strongest rival.

    $$ \ell(s, y) = \max_{j \ne y} (1 + s_j - s_y)_+ $$

    Args:
        logits: scores s, shape [K], [N, K] or [N, K, ...]; real, they need not be logits of anything.
        labels: class ids in [0, K), the shape of `logits` without its class axis.
        weight: [K], one weight w_y a class; None is 1 everywhere.
        ignore_index: the label of what has no loss, no gradient, and is not counted; it may lie outside [0, K). None ignores nothing.
        sample_weight: [N] or of the shape of the losses, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum", or "none".

    Returns:
        A scalar, or one loss an example for "none".

    Raises:
        TypeError: `logits` has no floating-point dtype or `labels` no integer one, weights are not real, `ignore_index` is no integer.
        ValueError: the shapes differ, a label lies outside [0, K), sample weights are negative or infinite, or `reduction` is unknown.

    Example:
        >>> crammer_singer(torch.tensor([[2.0, 1.5, 1.8]]), torch.tensor([0])).item()    # the rival at 1.8 is 0.2 behind, 0.8 short of the margin
        0.79999...

    Reference:
        K. Crammer, Y. Singer, "On the algorithmic implementation of multiclass kernel-based vector machines", 2001.

    Conventions:
        The margin is 1; scikit-learn's `hinge_loss` is the same. Not consistent: where no class has probability above 1/2, all scores equal is best.
        The mean divides by the number of losses that are not ignored, also under `weight`, and with `sample_weight` by their sum, Σ w l / Σ w;
        `sample_weight=weight[labels]` gives the mean over the class weights met. Where all is ignored it is 0.

    Chapter: restricted.
    """
    seen = _seen(logits, labels, ignore_index, sample_weight, reduction)
    losses = _gaps(seen).amax(dim=class_axis("logits", logits))
    return reduce(weighted_by_class(losses, weight, seen), reduction, weight=seen.weight)


@full_precision
def weston_watkins(
    logits: Tensor,
    labels: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""The hinge of the gap to each rival, summed.

    $$ \ell(s, y) = \sum_{j \ne y} (1 + s_j - s_y)_+ $$

    Args:
        logits: scores s, shape [K], [N, K] or [N, K, ...].
        labels: class ids in [0, K), the shape of `logits` without its class axis.
        weight: [K], one weight w_y a class; None is 1 everywhere.
        ignore_index: the label of what has no loss, no gradient, and is not counted; it may lie outside [0, K). None ignores nothing.
        sample_weight: [N] or of the shape of the losses, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum", or "none".

    Returns:
        A scalar, or one loss an example for "none".

    Raises:
        TypeError: `logits` has no floating-point dtype or `labels` no integer one, weights are not real, `ignore_index` is no integer.
        ValueError: the shapes differ, a label lies outside [0, K), sample weights are negative or infinite, or `reduction` is unknown.

    Example:
        >>> weston_watkins(torch.tensor([[2.0, 1.5, 1.8]]), torch.tensor([0])).item()    # 0.5 + 0.8
        1.29999...

    Reference:
        J. Weston, C. Watkins, "Support vector machines for multi-class pattern recognition", 1999.

    Conventions:
        The margin is 1 and the sum is not divided; torch's `multi_margin_loss` is this over K, the original has margin 2. Not consistent: the two
        likeliest classes can tie.
        The mean divides by the number of losses that are not ignored, also under `weight`, and with `sample_weight` by their sum, Σ w l / Σ w;
        `sample_weight=weight[labels]` gives the mean over the class weights met. Where all is ignored it is 0.

    Chapter: restricted.
    """
    seen = _seen(logits, labels, ignore_index, sample_weight, reduction)
    losses = _gaps(seen).sum(dim=class_axis("logits", logits))
    return reduce(weighted_by_class(losses, weight, seen), reduction, weight=seen.weight)


@full_precision
def lee_lin_wahba(
    logits: Tensor,
    labels: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Every wrong class should score at most -1; the scores of an example sum to 0.

    $$ \ell(s, y) = \sum_{j \ne y} (1 + s_j)_+ \qquad \text{where } \textstyle\sum_j s_j = 0 $$

    The constraint belongs to the model: give it `logits - logits.mean(dim=-1, keepdim=True)`. Without it all scores at -1 cost nothing.

    Args:
        logits: scores s that sum to 0 over the classes, shape [K], [N, K] or [N, K, ...].
        labels: class ids in [0, K), the shape of `logits` without its class axis.
        weight: [K], one weight w_y a class; None is 1 everywhere.
        ignore_index: the label of what has no loss, no gradient, and is not counted; it may lie outside [0, K). None ignores nothing.
        sample_weight: [N] or of the shape of the losses, finite and >= 0; None is 1 everywhere.
        reduction: "mean", "sum", or "none".

    Returns:
        A scalar, or one loss an example for "none".

    Raises:
        TypeError: `logits` has no floating-point dtype or `labels` no integer one, weights are not real, `ignore_index` is no integer.
        ValueError: the shapes differ, a label lies outside [0, K), sample weights are negative or infinite, or `reduction` is unknown.

    Example:
        >>> scores = torch.tensor([[2.0, -1.0, -1.0], [0.0, 0.0, 0.0]])
        >>> lee_lin_wahba(scores, torch.tensor([0, 0]), reduction="none").tolist()
        [0.0, 2.0]

    Reference:
        Y. Lee, Y. Lin, G. Wahba, "Multicategory support vector machines", 2004.

    Conventions:
        Margin 1, so that the best scores are K - 1 and -1; the original has margin 1/(K-1), which divides all scores by K - 1. Consistent.
        The mean divides by the number of losses that are not ignored, also under `weight`, and with `sample_weight` by their sum, Σ w l / Σ w;
        `sample_weight=weight[labels]` gives the mean over the class weights met. Where all is ignored it is 0.

    Chapter: restricted.
    """
    seen = _seen(logits, labels, ignore_index, sample_weight, reduction)
    axis = class_axis("logits", logits)
    losses = torch.relu(1 + seen.logits).scatter(axis, seen.labels.unsqueeze(axis), 0.0).sum(dim=axis)
    return reduce(weighted_by_class(losses, weight, seen), reduction, weight=seen.weight)


class OptimalScores(NamedTuple):
    """Scores [K] of least risk that sum to 0, that risk, and whether every such scores have the likeliest class alone on top.

    `lead` is the smallest lead of the likeliest class over any other, over all the scores of least risk.
    """

    scores: Tensor
    risk: float
    lead: float
    is_consistent: bool


@full_precision
def optimal_scores(probs: Tensor, *, rule: Rule) -> OptimalScores:
    r"""What training on `rule` aims at where the classes have probabilities `probs`.

    $$ \min_{s:\, \sum_j s_j = 0} \; \sum_y p_y\, \ell(s, y) $$

    For the hinges a linear program; a second one for each rival asks how small the lead of the likeliest class can be among the optima.

    Args:
        probs: probabilities p of the K classes, shape [K], summing to 1, with one largest.
        rule: "crammer_singer", "weston_watkins", "lee_lin_wahba" or "cross_entropy".

    Returns:
        An `OptimalScores`. For "cross_entropy" a class that never happens is pushed down without end: the scores are then the limit, −∞ for
        such classes and ∞ for the others, whose leads over each other stay finite.

    Raises:
        TypeError: `probs` has no floating-point dtype.
        ValueError: `probs` is no distribution over two or more classes, its values can't be read (under vmap), or `rule` is unknown.

    Example:
        >>> optimal_scores(torch.tensor([0.4, 0.3, 0.3]), rule="lee_lin_wahba").scores.round(decimals=6).tolist()
        [2.0, -1.0, -1.0]
        >>> optimal_scores(torch.tensor([0.4, 0.3, 0.3]), rule="crammer_singer").is_consistent
        False

    Reference:
        A. Tewari, P. Bartlett, "On the consistency of multiclass classification methods", 2007. Needs scipy.

    Chapter: restricted.
    """
    check_floating("probs", probs)
    check_ndim("probs", probs, 1, "[K]")
    check_choice("rule", rule, RULES)
    check_concrete("probs", probs)
    check_distribution("probs", probs, 0)
    if len(probs) < 2:
        wrong_value("probs", "have at least two classes", tuple(probs.shape))
    probs = probs.detach().double().cpu()
    return _optimal_logits(probs) if rule == "cross_entropy" else _optimal_hinge(probs, rule)


def _seen(logits: Tensor, labels: Tensor, ignore_index: int | None, sample_weight: Tensor | None, reduction: str) -> Kept:
    """What is not ignored, once everything fits."""
    check_reduction(reduction)
    check_class_labels("labels", labels, logits, ignore_index=ignore_index)
    return kept(logits, labels, ignore_index, sample_weight)


def _gaps(seen: Kept) -> Tensor:
    """(1 + s_j - s_y)_+ for each wrong class j, 0 for the right one."""
    axis = class_axis("logits", seen.logits)
    index = seen.labels.unsqueeze(axis)
    return torch.relu(1 + (seen.logits - seen.logits.gather(axis, index))).scatter(axis, index, 0.0)


def _optimal_logits(probs: Tensor) -> OptimalScores:
    logs = probs.log()
    scores = logs - logs.mean() if bool(logs.isfinite().all()) else torch.where(probs > 0, torch.inf, -torch.inf)
    first, second = logs.topk(2).values.tolist()
    return OptimalScores(scores, float(torch.special.entr(probs).sum()), first - second, first > second)


def _optimal_hinge(probs: Tensor, rule: Rule) -> OptimalScores:
    """Variables: K scores, then the slacks; each row of `above` says that 1 + (a combination of scores) is at most its slack."""
    import numpy as np
    from scipy.optimize import linprog

    above, cost = _program(probs.numpy(), rule)
    classes, top = len(probs), int(probs.argmax())
    total = np.concatenate([np.ones(classes), np.zeros(len(cost) - classes)])[None]
    bounds = [(-2.0 * classes, 2.0 * classes)] * classes + [(0.0, None)] * (len(cost) - classes)
    shared = {"A_eq": total, "b_eq": [0.0], "bounds": bounds}
    best = linprog(cost, A_ub=above, b_ub=-np.ones(len(above)), **shared)
    leads = []
    for rival in (j for j in range(classes) if j != top):
        lead = np.zeros(len(cost))
        lead[top], lead[rival] = 1.0, -1.0
        face = linprog(lead, A_ub=np.vstack([above, cost]), b_ub=[*-np.ones(len(above)), best.fun + 1e-9], **shared)
        leads.append(float(face.fun))
    return OptimalScores(torch.from_numpy(best.x[:classes]), float(best.fun), min(leads), min(leads) > 1e-4)


def _program(probs: np.ndarray, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    classes = len(probs)
    pairs = [(y, j) for y in range(classes) for j in range(classes) if j != y]
    slacks = len(pairs) if rule == "weston_watkins" else classes
    above, cost = np.zeros((len(pairs), classes + slacks)), np.zeros(classes + slacks)
    for row, (y, j) in enumerate(pairs):
        slack = classes + {"crammer_singer": y, "weston_watkins": row, "lee_lin_wahba": j}[rule]
        above[row, j], above[row, y] = 1.0, 0.0 if rule == "lee_lin_wahba" else -1.0
        above[row, slack] = -1.0
        cost[slack] = 1 - probs[j] if rule == "lee_lin_wahba" else probs[y]
    return above, cost
