"""What a set loss returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from lossbook.sets.matching import Assignment, Match, matches


@dataclass(frozen=True)
class SetLoss:
    """The weighted `total`, its `parts` by name before the weights (differentiable too), and the `matches` of each image.

    With a layers axis, `total` and `parts` are sums over the layers, `matches` are those of the last layer, and `by_layer` has each layer's own.
    """

    total: Tensor
    _table: Tensor = field(repr=False)  # [parts, L]
    _weights: dict[str, float] = field(repr=False)
    _assignments: Assignment = field(repr=False)  # [L, B, N]

    @cached_property
    def parts(self) -> dict[str, Tensor]:
        """The parts by name, before the weights."""
        return dict(zip(self._weights, self._table.sum(1).unbind(), strict=True))

    @cached_property
    def matches(self) -> list[Match]:
        """One `Match` an image, on the device of the loss."""
        return matches(self._assignments[-1], self.total.device)

    @cached_property
    def by_layer(self) -> list[SetLoss]:
        """The loss of each decoder layer alone, in order."""
        layers = zip(self._table.unbind(1), self._assignments, strict=True)
        return [set_loss(table[:, None], self._weights, assignments[None]) for table, assignments in layers]


def set_loss(table: Tensor, weights: dict[str, float], assignments: Assignment, total: Tensor | None = None) -> SetLoss:
    """From the parts by layer [parts, L], in the order of `weights`, and the assignments [L, B, N]; `total` where its own gradient is cheaper."""
    if total is None:
        total = (table.sum(1) * table.new_tensor(list(weights.values()))).sum()
    return SetLoss(total, table, weights, assignments)
