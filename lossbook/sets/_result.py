"""What a set loss returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lossbook.sets._matching import Match, matches


@dataclass(frozen=True, eq=False)
class SetLoss:
    """The weighted `total`, its `parts` by name before the weights (differentiable too), and the `matches` of each image.

    With a layers axis, `total` and `parts` are sums over the layers, by their weights if they have some; `matches` are those of the last layer, and
    `by_layer` has each layer's own, whatever it weighs.
    It equals itself alone. A copy by `copy` or `pickle` has the numbers without their history, since torch copies no history.
    """

    total: Tensor
    _table: Tensor = field(repr=False)  # [parts, L]
    _weights: dict[str, float] = field(repr=False)
    _assignments: Tensor | list[Match] = field(repr=False)  # [L, B, N], or the pairs that were handed in
    _pairs: list[int] = field(repr=False)  # of each image
    _layers: list[float] | None = field(repr=False, default=None)  # what each layer weighs

    @property
    def parts(self) -> dict[str, Tensor]:
        """The parts by name, before the weights."""
        return dict(zip(self._weights, _over_layers(self._table, self._layers).unbind(), strict=True))

    @property
    def matches(self) -> list[Match]:
        """One `Match` an image, on the device of the loss."""
        if isinstance(self._assignments, list):
            return [Match(*(side.to(self.total.device) for side in pairs)) for pairs in self._assignments]
        return matches(self._assignments[-1], self._pairs, self.total.device)

    @property
    def by_layer(self) -> list[SetLoss]:
        """The loss of each decoder layer alone, in order."""
        tables = self._table.unbind(1)
        found = [self._assignments] * len(tables) if isinstance(self._assignments, list) else [each[None] for each in self._assignments]
        return [set_loss(table[:, None], self._weights, some, self._pairs) for table, some in zip(tables, found, strict=True)]

    def __reduce__(self) -> tuple[Any, ...]:
        return SetLoss, (self.total.detach(), self._table.detach(), self._weights, self._assignments, self._pairs, self._layers)


def set_loss(
    table: Tensor,
    weights: dict[str, float],
    assignments: Tensor | list[Match],
    pairs: list[int],
    total: Tensor | None = None,
    layers: list[float] | None = None,
) -> SetLoss:
    """From the parts by layer [parts, L], in the order of `weights`, and the assignments [L, B, N]; `total` where its own gradient is cheaper."""
    if total is None:
        total = (_over_layers(table, layers) * table.new_tensor(list(weights.values()))).sum()
    return SetLoss(total, table, weights, assignments, pairs, layers)


def _over_layers(table: Tensor, layers: list[float] | None) -> Tensor:
    """The sum of [parts, L] over the layers."""
    return (table if layers is None else table * table.new_tensor(layers)).sum(1)
