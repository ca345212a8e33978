"""From probabilities to actions: what a mistake costs decides what to do. Chapters: probability, opportunity-cost.

A cost matrix has a row for each truth and a column for each action: `cost_matrix[truth, action]`. More actions than classes are legal; one
more column of a constant cost is the option to ask somebody else.
"""

from __future__ import annotations

import math
from typing import overload

import torch
from torch import Tensor

from lossbook._core.checks import (
    check_distribution,
    check_finite,
    check_floating,
    check_labels,
    check_ndim,
    check_number,
    check_range,
    check_real,
    check_same_device,
    check_same_shape,
    check_tensor,
    check_values,
    wrong_value,
)
from lossbook._core.door import full_precision
from lossbook.decisions._episodes import Estimate, episode_returns, mean_interval, rollout_q_values
from lossbook.decisions._tabular import (
    Table,
    Values,
    occupancy,
    opportunity_cost,
    opportunity_cost_loss,
    policy_regret,
    policy_values,
    read_table,
    value_iteration,
)

__all__ = [
    "REJECT",
    "Estimate",
    "Table",
    "Values",
    "average_cost",
    "bayes_decision",
    "cost_threshold",
    "episode_returns",
    "expected_costs",
    "mean_interval",
    "occupancy",
    "opportunity_cost",
    "opportunity_cost_loss",
    "policy_regret",
    "policy_values",
    "read_table",
    "reject_option",
    "rollout_q_values",
    "value_iteration",
]

REJECT = -1  # the decision of `reject_option` where it declines to decide


# --- one decision at a time: costs, thresholds, Bayes decisions, the reject option ---------------------------------------------------------------


@overload
def cost_threshold(false_positive: float, false_negative: float) -> float: ...
@overload
def cost_threshold(false_positive: Tensor, false_negative: Tensor) -> Tensor: ...
@full_precision
def cost_threshold(false_positive: float | Tensor, false_negative: float | Tensor) -> float | Tensor:
    r"""The probability above which "positive" is the cheaper decision: c_FP / (c_FP + c_FN).

    Saying "positive" costs (1 − η) c_FP on average, saying "negative" η c_FN; they are equal at the threshold.

    Args:
        false_positive: c_FP ≥ 0, the cost of a false alarm; a number, or a tensor with one cost for each case.
        false_negative: c_FN ≥ 0, the cost of a miss, of the same kind and shape.

    Returns:
        The threshold, in [0, 1]: a float for numbers, a tensor for tensors. Decide "positive" where η exceeds it.

    Raises:
        TypeError: a cost that is not a real number or a tensor, or one of each.
        ValueError: a negative or infinite cost, both costs 0, other shapes.

    Example:
        >>> cost_threshold(1, 9)
        0.1

    Reference:
        C. Elkan, The foundations of cost-sensitive learning, 2001, equation 2, with both correct decisions free.

    Conventions:
        Only the ratio of the costs matters. A right decision costs nothing; take `bayes_decision` where it does.
    """
    if isinstance(false_positive, Tensor) and isinstance(false_negative, Tensor):
        _check_costs("false_positive", false_positive)
        _check_costs("false_negative", false_negative)
        check_same_shape("false_negative", false_negative, "false_positive", false_positive)
        large = torch.maximum(false_positive, false_negative) > 1
        positive, negative = (torch.where(large, cost / 2, cost) for cost in (false_positive, false_negative))  # a sum of halves does not overflow
        costs = positive + negative
        check_values("false_negative", costs, lambda costs: costs > 0, "be positive where `false_positive` is 0", lambda _: 0)
        return positive / costs
    check_number("false_positive", false_positive, low=0)
    check_number("false_negative", false_negative, low=0)
    total = false_positive + false_negative
    if total == 0:
        wrong_value("false_negative", "be positive where `false_positive` is 0", false_negative)
    return false_positive / 2 / (false_positive / 2 + false_negative / 2) if total == math.inf else false_positive / total


@full_precision
def expected_costs(probs: Tensor, cost_matrix: Tensor) -> Tensor:
    r"""The expected cost of each action: R(a) = Σₖ pₖ L(k, a).

    Args:
        probs: P(class), [..., K].
        cost_matrix: L(truth, action), [K, A], or one for each case, [..., K, A].

    Returns:
        Expected costs of shape [..., A], in the units of the costs; float64 where either argument is, else float32. Summed in float64.

    Raises:
        TypeError: probabilities that are not floating point, costs that are no tensor.
        ValueError: probabilities that are no distribution, a matrix of another shape, costs that are NaN or infinite.

    Example:
        >>> expected_costs(torch.tensor([0.8, 0.2]), torch.tensor([[0.0, 1.0], [10.0, 0.0]]))
        tensor([2.0000, 0.8000])

    Reference:
        J. O. Berger, Statistical Decision Theory and Bayesian Analysis, 1985, section 1.3.

    Conventions:
        Rows are truths and columns actions. Elkan (2001) writes C(i, j) with the prediction first.
    """
    costs = _expected_costs(probs, cost_matrix)
    return costs.to(torch.promote_types(probs.dtype, cost_matrix.dtype) if cost_matrix.is_floating_point() else probs.dtype)


def _expected_costs(probs: Tensor, cost_matrix: Tensor) -> Tensor:
    """In float64 and in one order of memory, so that near ties are decided alike whatever the arguments' dtype and layout."""
    _check_probs(probs)
    check_real("cost_matrix", cost_matrix)
    check_same_device("cost_matrix", cost_matrix, "probs", probs)
    batched = cost_matrix.ndim > 2
    leading = tuple(probs.shape[:-1]) if batched else ()
    if cost_matrix.ndim < 2 or tuple(cost_matrix.shape[:-1]) != (*leading, probs.shape[-1]) or cost_matrix.shape[-1] == 0:
        wrong_value("cost_matrix", f"have shape {(*leading, probs.shape[-1])} and one axis of actions", tuple(cost_matrix.shape))
    check_finite("cost_matrix", cost_matrix)
    return torch.einsum("...k,...ka->...a", probs.double().contiguous(), cost_matrix.double().contiguous())


def _check_probs(probs: Tensor) -> None:
    check_floating("probs", probs)
    if probs.ndim == 0 or probs.shape[-1] == 0:
        wrong_value("probs", "have shape [..., K]", tuple(probs.shape))
    check_distribution("probs", probs, probs.ndim - 1)


@full_precision
def bayes_decision(probs: Tensor, cost_matrix: Tensor) -> Tensor:
    r"""The action with the smallest expected cost: argmin over a of Σₖ pₖ L(k, a).

    Args:
        probs: P(class), [..., K].
        cost_matrix: L(truth, action), [K, A], or one for each case, [..., K, A].

    Returns:
        Actions of shape [...], integers in [0, A); the first where several are equally cheap in float64.

    Raises:
        TypeError: probabilities that are not floating point, costs that are no tensor.
        ValueError: probabilities that are no distribution, a matrix of another shape, costs that are NaN or infinite.

    Example:
        >>> bayes_decision(torch.tensor([0.8, 0.2]), torch.tensor([[0.0, 1.0], [10.0, 0.0]]))
        tensor(1)

    Reference:
        J. O. Berger, Statistical Decision Theory and Bayesian Analysis, 1985, section 1.5.
    """
    return _expected_costs(probs, cost_matrix).argmin(-1)


@full_precision
def reject_option(probs: Tensor, *, reject_cost: float) -> Tensor:
    r"""Chow's rule: the most probable class, or no decision where its probability is below 1 − c.

    It is the Bayes decision under the 0-1 loss with one more action of cost c.

    Args:
        probs: P(class), [..., K].
        reject_cost: c in [0, 1], the cost of not deciding; a wrong decision costs 1.

    Returns:
        Classes of shape [...], or −1 (`REJECT`) where the rule declines. From c = 1 − 1/K on it never does.

    Raises:
        TypeError: probabilities that are not floating point.
        ValueError: probabilities that are no distribution, a cost outside [0, 1].

    Example:
        >>> reject_option(torch.tensor([[0.95, 0.05], [0.7, 0.3]]), reject_cost=0.1)
        tensor([ 0, -1])

    Reference:
        C. K. Chow, On optimum recognition error and reject tradeoff, 1970, equation 1.

    Conventions:
        A tie between deciding and declining is decided.
    """
    check_number("reject_cost", reject_cost, low=0, high=1)
    _check_probs(probs)
    confidence, classes = probs.double().max(-1)
    return torch.where(1 - confidence > reject_cost, REJECT, classes)


@full_precision
def average_cost(decisions: Tensor, labels: Tensor, cost_matrix: Tensor) -> Tensor:
    r"""What decisions cost on average: (1/n) Σᵢ L(yᵢ, aᵢ).

    Args:
        decisions: actions [N], integers in [0, A).
        labels: true classes [N], integers in [0, K).
        cost_matrix: L(truth, action), [K, A].

    Returns:
        The mean cost, a scalar, summed in float64; 0 where there is nothing to decide.

    Raises:
        TypeError: decisions or labels that are not integer, costs that are no tensor.
        ValueError: decisions of another shape than the labels, ids out of range, costs that are no matrix.

    Example:
        >>> average_cost(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), torch.tensor([[0.0, 1.0], [9.0, 0.0]]))
        tensor(0.3333)
    """
    check_real("cost_matrix", cost_matrix)
    check_ndim("cost_matrix", cost_matrix, 2, "[K, A]")
    check_tensor("labels", labels)
    check_ndim("labels", labels, 1, "[N]")
    check_same_device("labels", labels, "cost_matrix", cost_matrix)
    check_labels("labels", labels, cost_matrix.shape[0])
    check_same_shape("decisions", decisions, "labels", labels)
    check_labels("decisions", decisions, cost_matrix.shape[1])
    paid = cost_matrix[labels.long(), decisions.long()]
    mean = paid.double().sum() / max(labels.numel(), 1)
    return mean.to(paid.dtype if paid.is_floating_point() else torch.get_default_dtype())


def _check_costs(parameter: str, costs: Tensor) -> None:
    check_floating(parameter, costs)
    check_finite(parameter, costs)
    check_range(parameter, costs, 0.0, float("inf"))
