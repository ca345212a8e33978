"""Which elements are equal, without a result whose shape hangs on the answer: so it traces and maps."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_ranks(values: Tensor) -> Tensor:
    """For each element [N] how many different smaller values there are: equal elements share a rank, and ranks are counted from 0."""
    ordered, order = values.sort()
    steps = (ordered[1:] != ordered[:-1]).cumsum(0)
    return torch.zeros_like(order).scatter(0, order, torch.cat([torch.zeros_like(order[:1]), steps]))
