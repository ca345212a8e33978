"""What a set loss returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lossbook.sets._matching import Match, matches


@dataclass(frozen=True, eq=False)
class SetLoss:
    """The weighted `total`, its `parts` by name before the weights (differentiable too), and the `matches` of each image.

    With a layers axis, `total` and `parts` are sums over the layers, `matches` are those of the last layer, and `by_layer` has each layer's own.
    It equals itself alone. A copy by `copy` or `pickle` has the numbers without their history, since torch copies no history.
    """

    total: Tensor
    _table: Tensor = field(repr=False)  # [parts, L]
    _weights: dict[str, float] = field(repr=False)
    _assignments: Tensor = field(repr=False)  # [L, B, N]
    _pairs: list[int] = field(repr=False)  # of each image

    @property
    def parts(self) -> dict[str, Tensor]:
        """The parts by name, before the weights."""
        return dict(zip(self._weights, self._table.sum(1).unbind(), strict=True))

    @property
    def matches(self) -> list[Match]:
        """One `Match` an image, on the device of the loss."""
        return matches(self._assignments[-1], self._pairs, self.total.device)

    @property
    def by_layer(self) -> list[SetLoss]:
        """The loss of each decoder layer alone, in order."""
        layers = zip(self._table.unbind(1), self._assignments.unbind(), strict=True)
        return [set_loss(table[:, None], self._weights, assignments[None], self._pairs) for table, assignments in layers]

    def __reduce__(self) -> tuple[Any, ...]:
        return SetLoss, (self.total.detach(), self._table.detach(), self._weights, self._assignments, self._pairs)


def set_loss(table: Tensor, weights: dict[str, float], assignments: Tensor, pairs: list[int], total: Tensor | None = None) -> SetLoss:
    """From the parts by layer [parts, L], in the order of `weights`, and the assignments [L, B, N]; `total` where its own gradient is cheaper."""
    if total is None:
        total = (table.sum(1) * table.new_tensor(list(weights.values()))).sum()
    return SetLoss(total, table, weights, assignments, pairs)
