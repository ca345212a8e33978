"""What a set loss returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lossbook.sets.matching import Assignment, Match, matches


@dataclass(frozen=True)
class SetLoss:
    """The weighted `total`, its `parts` by name before the weights (differentiable too), and the `matches` of each image.

    With a layers axis, `total` and `parts` are sums over the layers, `matches` are those of the last layer, and `by_layer` has each layer's own.
    """

    total: Tensor
    parts: dict[str, Tensor]
    _layer_parts: dict[str, Tensor] = field(repr=False)
    _weights: dict[str, float] = field(repr=False)
    _assignments: Assignment = field(repr=False)

    @property
    def matches(self) -> list[Match]:
        """One `Match` an image, on the device of the loss."""
        return matches(self._assignments[-1], self.total.device)

    @property
    def by_layer(self) -> list[SetLoss]:
        """The loss of each decoder layer alone, in order."""
        by_layer = []
        for layer, assignments in enumerate(self._assignments):
            parts = {name: values[layer, None] for name, values in self._layer_parts.items()}
            by_layer.append(set_loss(parts, self._weights, assignments[None]))
        return by_layer


def set_loss(layer_parts: dict[str, Tensor], weights: dict[str, float], assignments: Assignment) -> SetLoss:
    """From each part by layer, [L], and the assignments [L, B, N]."""
    parts = {name: values.sum() for name, values in layer_parts.items()}
    total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
    return SetLoss(total, parts, layer_parts, weights, assignments)
