"""What a linear classifier is given: examples in memory or in a stream of mini-batches, checked once, cut into blocks or batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossbook._core import checks
from lossbook._core.door import plain, widened

INTERCEPTS = ("free", "regularized", "none")
BLOCK_ELEMENTS = {"cpu": 200_000}  # a block that stays in a core's cache between the two products that need it
LARGE_BLOCK = 50_000_000  # elsewhere: as much as spares memory


class Block(NamedTuple):
    """Some of the examples: features [B, D], signs [B] in the same dtype, and the weight [B] of each."""

    features: Tensor
    signs: Tensor
    weight: Tensor | None = None


class Moments(NamedTuple):
    """The mean and the mean square [D] of each column, float64."""

    mean: Tensor
    square: Tensor


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


def given_start(start: Any, features: Tensor) -> Tensor:
    """Weights and intercept, checked, as one vector [D + 1], float64."""
    if not isinstance(start, tuple) or len(start) < 2:
        checks.wrong_type("start", "be a pair (weights, intercept) or a `LinearFit`", type(start).__name__)
    weights, intercept = plain(start[0]), plain(start[1])
    check_line(weights, intercept, features)
    checks.check_finite("weights", weights)
    checks.check_finite("intercept", intercept)
    return torch.cat([weights.detach().double(), intercept.detach().double()[None]])


def alike(features: Tensor, signs: Tensor, weight: Tensor | None) -> Block:
    """All in the dtype of the features, float32 at least."""
    features = widened(features)
    return Block(features, signs.to(features.dtype), None if weight is None else weight.to(features.dtype))


@contextmanager
def outside_autograd(device: torch.device) -> Iterator[None]:
    """No graph and no autocast; and what is found is fit for training, though the call was in inference mode."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def _block(features: Tensor, signs: Tensor, weight: Tensor | None = None) -> Block:
    """One dtype for all three, float32 at least, and one order in memory, in which sums are taken."""
    for parameter, value in (("features", features), ("signs", signs), ("weight", weight)):
        if value is not None:
            checks.check_concrete(parameter, value)
    features = widened(features.detach()).contiguous()
    return Block(features, signs.detach().to(features), None if weight is None else weight.detach().to(features))


class Examples:
    """What rows in memory and a stream have in common: `first` to look at, and `blocks` of all of them, as often as they are asked for."""

    first: Block

    def blocks(self) -> Iterator[Block]:
        raise NotImplementedError

    def batches(self, size: int, generator: torch.Generator | None) -> Iterator[Block]:
        """What SGD takes its steps on: all examples once."""
        raise NotImplementedError

    @cached_property
    def moments(self) -> Moments:
        """A pass over the blocks, once."""
        size, sums = 0, self.first.features.new_zeros(self.first.features.shape[1], dtype=torch.float64)
        squares = sums
        for features, _, _ in self.blocks():
            wide = features.double()
            size, sums, squares = size + len(wide), sums + wide.sum(dim=0), squares + wide.square().sum(dim=0)
        return Moments(sums / size, squares / size)


class Rows(Examples):
    """Examples in memory."""

    def __init__(self, block: Block) -> None:
        self.block = self.first = block

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
        drawn = torch.randint(len(self), (count,), generator=generator, device="cpu").sort().values
        return Rows(self._pick(drawn.to(self.block.signs.device)))

    def _pick(self, rows: Tensor) -> Block:
        features, signs, weight = self.block
        return Block(features[rows], signs[rows], None if weight is None else weight[rows])


class Stream(Examples):
    """Examples that come as mini-batches (features [B, D], signs [B]) from an iterable, which is gone through anew for every pass.

    A generator can be gone through once: enough for one epoch of SGD, whose first batch is kept aside while the number of columns is read off it.
    """

    def __init__(self, source: Iterable[Any]) -> None:
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


def given_examples(features: Any, signs: Any, weight: Any, *, passes: int) -> Rows | Stream:
    """The examples, checked: rows at once, a stream's batches as they come."""
    if isinstance(features, Tensor):
        check_examples(features, signs, weight)
        return Rows(_block(features, signs, weight))
    if not isinstance(features, Iterable):
        checks.wrong_type("features", "be a tensor, or an iterable of pairs (features, signs)", type(features).__name__)
    if signs is not None or weight is not None:
        checks.wrong_value("signs" if signs is not None else "weight", "be left out where `features` is an iterable of pairs", "a value")
    if isinstance(features, Iterator) and passes > 1:
        checks.wrong_type("features", "be an iterable that can be gone through again, for more than one pass", type(features).__name__)
    return Stream(features)
