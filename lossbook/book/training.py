"""The training loop, written once: a loss, its gradient, a step, and again. Any optimiser of torch's will do.

Chapters: balancing, imbalance, localization, opportunity-cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lossbook._core import checks

__all__ = ["train"]


def train(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], *, steps: int) -> Tensor:
    """Take so many steps of an optimiser on a loss: forget the old gradient, evaluate, differentiate, move.

    Args:
        optimizer: of `torch.optim`, made with the parameters that it moves; called again with the same one, training goes on where it was.
        loss: a function without arguments that gives a scalar tensor; it draws its own batch, where there are batches.
        steps: how many. A step of LBFGS may evaluate the loss many times, and is one.

    Returns:
        [steps] the loss as it was before each step.

    Raises:
        TypeError: no optimiser, no function, or a loss that is not a tensor; ValueError: steps below 1, or a loss that is not a scalar.

    Example:
        >>> weight = torch.tensor(1.0, requires_grad=True)
        >>> train(torch.optim.SGD([weight], lr=0.25), lambda: weight.square(), steps=3)
        tensor([1.0000, 0.2500, 0.0625])
        >>> weight.item()
        0.125
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        checks.wrong_type("optimizer", "be one of torch.optim", type(optimizer).__name__)
    checks.check_callable("loss", loss)
    checks.check_count("steps", steps)

    def evaluate() -> Any:
        optimizer.zero_grad()
        value = loss()
        checks.check_tensor("loss", value)
        checks.check_ndim("loss", value, 0, "()")
        value.backward()  # type: ignore[no-untyped-call]
        return value

    return torch.stack([torch.as_tensor(optimizer.step(evaluate)).detach() for _ in range(steps)])
