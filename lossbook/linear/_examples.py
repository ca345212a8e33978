"""What a linear classifier is given: examples in memory or in a stream of mini-batches, checked once, cut into blocks or batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import plain, widened
from lossbook.linear._objective import Block as Block
from lossbook.linear._objective import kinks
from lossbook.margins import MarginLoss

SOLVERS = ("lbfgs", "newton", "sgd", "cccp")

BLOCK_ELEMENTS = {"cpu": 200_000}  # a block that stays in a core's cache between the two products that need it
LARGE_BLOCK = 50_000_000  # elsewhere: as much as spares memory


def check_examples(features: Any, signs: Any, weight: Any = None) -> None:
    """features [N, D] floating, signs [N] in {-1, +1}, weight None or [N] and not negative; N and D at least 1."""
    checks.check_floating("features", features)
    checks.check_ndim("features", features, 2, "[N, D]")
    if 0 in features.shape:
        checks.wrong_value("features", "hold at least one example and one column", tuple(features.shape))
    checks.check_tensor("signs", signs)
    if signs.dtype == torch.bool or signs.dtype.is_complex:
        checks.wrong_type("signs", "have a floating-point or integer dtype", str(signs.dtype))
    if signs.shape != features.shape[:1]:
        checks.wrong_value("signs", f"have shape {tuple(features.shape[:1])} to match `features`", tuple(signs.shape))
    checks.check_same_device("signs", signs, "features", features)
    checks.check_signs("signs", signs)
    if weight is not None:
        checks.check_floating("weight", weight)
        checks.check_same_shape("weight", weight, "signs", signs)
        checks.check_range("weight", weight, 0, torch.finfo(weight.dtype).max)


def check_line(weights: Any, intercept: Any, features: Tensor) -> None:
    """weights [D] and intercept [], floating, for features [N, D]."""
    checks.check_floating("weights", weights)
    checks.check_floating("intercept", intercept)
    if weights.shape != features.shape[1:]:
        checks.wrong_value("weights", f"have shape {tuple(features.shape[1:])} to match the columns of `features`", tuple(weights.shape))
    checks.check_ndim("intercept", intercept, 0, "[]")
    checks.check_same_device("weights", weights, "features", features)
    checks.check_same_device("intercept", intercept, "features", features)


def check_penalties(l2: float, l1: float) -> None:
    """Neither is negative."""
    checks.check_number("l2", l2, low=0)
    checks.check_number("l1", l1, low=0)


def check_solver(solver: str, loss: MarginLoss, l2: float, l1: float) -> None:
    """The solver is one, and can do the problem."""
    checks.check_choice("solver", solver, SOLVERS)
    if solver == "newton" and not loss.is_convex:
        checks.wrong_value("solver", "be 'lbfgs', 'sgd' or, for a ramp, 'cccp' where the loss is not convex", f"'newton' with {loss.name}")
    if solver == "cccp" and not any(jump < 0 for _, jump in kinks(loss)):
        checks.wrong_value("loss", "be a ramp for the solver 'cccp'", loss.name)
    if solver in ("newton", "cccp") and l1 > 0:
        checks.wrong_value("solver", "be 'lbfgs' or 'sgd' where l1 > 0", repr(solver))


def _block(features: Tensor, signs: Tensor, weight: Tensor | None = None) -> Block:
    """One dtype for all three, float32 at least, and one order in memory, in which sums are taken."""
    for parameter, value in (("features", features), ("signs", signs), ("weight", weight)):
        if value is not None:
            checks.check_concrete(parameter, value)
    features = widened(features.detach()).contiguous()
    return Block(features, signs.detach().to(features), None if weight is None else weight.detach().to(features))


class Rows:
    """Examples in memory."""

    def __init__(self, features: Tensor, signs: Any, weight: Any) -> None:
        check_examples(features, signs, weight)
        self.block = _block(features, signs, weight)
        self.first = self.block

    def __len__(self) -> int:
        return len(self.block.signs)

    def blocks(self) -> Iterator[Block]:
        """All rows, in order, cut to the size of a cache."""
        features, signs, weight = self.block
        elements = BLOCK_ELEMENTS.get(features.device.type, LARGE_BLOCK)
        size = max(1, elements // features.shape[1])
        for start in range(0, len(signs), size):
            rows = slice(start, start + size)
            yield Block(features[rows], signs[rows], None if weight is None else weight[rows])

    def batches(self, size: int, generator: torch.Generator | None) -> Iterator[Block]:
        """All rows once, in an order drawn anew, `size` at a time; the last batch may be smaller."""
        order = torch.randperm(len(self), generator=generator, device="cpu").to(self.block.signs.device)
        for start in range(0, len(self), size):
            yield self._pick(order[start : start + size])

    def sample(self, count: int, generator: torch.Generator | None) -> Rows:
        """`count` rows drawn with replacement, in their order in memory."""
        picked = object.__new__(Rows)
        drawn = torch.randint(len(self), (count,), generator=generator, device="cpu").sort().values
        picked.block = picked.first = self._pick(drawn.to(self.block.signs.device))
        return picked

    def _pick(self, rows: Tensor) -> Block:
        features, signs, weight = self.block
        return Block(features[rows], signs[rows], None if weight is None else weight[rows])


class Stream:
    """Examples that come as mini-batches (features [B, D], signs [B]) from an iterable, which is gone through anew for every pass.

    A generator can be gone through once: enough for one epoch of SGD, whose first batch is kept aside while the number of columns is read off it.
    """

    def __init__(self, source: Any, signs: Any, weight: Any, passes: int) -> None:
        if not isinstance(source, Iterable):
            checks.wrong_type("features", "be a tensor, or an iterable of pairs (features, signs)", type(source).__name__)
        if signs is not None or weight is not None:
            checks.wrong_value("signs" if signs is not None else "weight", "be left out where `features` is an iterable of pairs", "a value")
        if isinstance(source, Iterator) and passes > 1:
            checks.wrong_type("features", "be an iterable that can be gone through again, for more than one pass", type(source).__name__)
        self._source = source
        self._pending: Iterator[Block] | None = self._read()
        self.first = next(self._pending, None) or checks.wrong_value("features", "yield at least one batch", "none")

    def blocks(self) -> Iterator[Block]:
        """The batches as they come."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            yield self.first
            yield from pending
        else:
            yield from self._read()

    def batches(self, size: int, generator: torch.Generator | None) -> Iterator[Block]:
        """The batches as they come: a stream has its own size and order."""
        return self.blocks()

    def _read(self) -> Iterator[Block]:
        for item in self._source:
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                checks.wrong_type("features", "yield pairs (features, signs)", type(item).__name__)
            features, signs = map(plain, item)
            check_examples(features, signs)
            block = _block(features, signs)
            if hasattr(self, "first") and block.features.shape[1] != self.first.features.shape[1]:
                checks.wrong_value("features", f"keep its {self.first.features.shape[1]} columns from batch to batch", block.features.shape[1])
            yield block
