"""From probabilities to actions: what a mistake costs decides what to do. Chapters: probability, opportunity-cost.

A cost matrix has a row for each truth and a column for each action: `cost_matrix[truth, action]`. More actions than classes are legal; one
more column of a constant cost is the option to ask somebody else.
"""

from __future__ import annotations

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
    check_same_shape,
    check_tensor,
    values_readable,
    wrong_value,
)
from lossbook._episodes import Estimate, episode_returns, mean_interval, rollout_q_values
from lossbook._tabular import (
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
        costs = false_positive + false_negative
        if values_readable(costs) and bool((costs == 0).any()):
            wrong_value("false_negative", "be positive where `false_positive` is 0", 0)
        return false_positive / costs
    check_number("false_positive", false_positive, low=0)
    check_number("false_negative", false_negative, low=0)
    total = false_positive + false_negative
    if total == 0:
        wrong_value("false_negative", "be positive where `false_positive` is 0", false_negative)
    return false_positive / total


def expected_costs(probs: Tensor, cost_matrix: Tensor) -> Tensor:
    r"""The expected cost of each action: R(a) = Σₖ pₖ L(k, a).

    Args:
        probs: P(class), [..., K].
        cost_matrix: L(truth, action), [K, A], or one for each case, [..., K, A].

    Returns:
        Expected costs of shape [..., A], in the units of the costs.

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
    check_floating("probs", probs)
    check_tensor("cost_matrix", cost_matrix)
    if probs.ndim == 0 or probs.shape[-1] == 0:
        wrong_value("probs", "have shape [..., K]", tuple(probs.shape))
    check_distribution("probs", probs, probs.ndim - 1)
    batched = cost_matrix.ndim > 2
    leading = tuple(probs.shape[:-1]) if batched else ()
    if cost_matrix.ndim < 2 or tuple(cost_matrix.shape[:-1]) != (*leading, probs.shape[-1]) or cost_matrix.shape[-1] == 0:
        wrong_value("cost_matrix", f"have shape {(*leading, probs.shape[-1])} and one axis of actions", tuple(cost_matrix.shape))
    check_finite("cost_matrix", cost_matrix)
    return torch.einsum("...k,...ka->...a", probs, cost_matrix.to(probs.dtype))


def bayes_decision(probs: Tensor, cost_matrix: Tensor) -> Tensor:
    r"""The action with the smallest expected cost: argmin over a of Σₖ pₖ L(k, a).

    Args:
        probs: P(class), [..., K].
        cost_matrix: L(truth, action), [K, A], or one for each case, [..., K, A].

    Returns:
        Actions of shape [...], integers in [0, A); the first where several are equally cheap.

    Raises:
        TypeError: probabilities that are not floating point, costs that are no tensor.
        ValueError: probabilities that are no distribution, a matrix of another shape, costs that are NaN or infinite.

    Example:
        >>> bayes_decision(torch.tensor([0.8, 0.2]), torch.tensor([[0.0, 1.0], [10.0, 0.0]]))
        tensor(1)

    Reference:
        J. O. Berger, Statistical Decision Theory and Bayesian Analysis, 1985, section 1.5.
    """
    return expected_costs(probs, cost_matrix).argmin(-1)


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
    check_floating("probs", probs)
    if probs.ndim == 0 or probs.shape[-1] == 0:
        wrong_value("probs", "have shape [..., K]", tuple(probs.shape))
    check_distribution("probs", probs, probs.ndim - 1)
    confidence, classes = probs.max(-1)
    return torch.where(1 - confidence > reject_cost, REJECT, classes)


def average_cost(decisions: Tensor, labels: Tensor, cost_matrix: Tensor) -> Tensor:
    r"""What decisions cost on average: (1/n) Σᵢ L(yᵢ, aᵢ).

    Args:
        decisions: actions [N], integers in [0, A).
        labels: true classes [N], integers in [0, K).
        cost_matrix: L(truth, action), [K, A].

    Returns:
        The mean cost, a scalar; 0 where there is nothing to decide.

    Raises:
        TypeError: decisions or labels that are not integer, costs that are no tensor.
        ValueError: decisions of another shape than the labels, ids out of range, costs that are no matrix.

    Example:
        >>> average_cost(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), torch.tensor([[0.0, 1.0], [9.0, 0.0]]))
        tensor(0.3333)
    """
    check_tensor("cost_matrix", cost_matrix)
    check_ndim("cost_matrix", cost_matrix, 2, "[K, A]")
    check_tensor("labels", labels)
    check_ndim("labels", labels, 1, "[N]")
    check_labels("labels", labels, cost_matrix.shape[0])
    check_tensor("decisions", decisions)
    check_same_shape("decisions", decisions, "labels", labels)
    check_labels("decisions", decisions, cost_matrix.shape[1])
    return cost_matrix[labels.long(), decisions.long()].sum() / max(labels.numel(), 1)


def _check_costs(parameter: str, costs: Tensor) -> None:
    check_floating(parameter, costs)
    check_finite(parameter, costs)
    check_range(parameter, costs, 0.0, float("inf"))
