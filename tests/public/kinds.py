"""What a specification is made of: kinds of parameters, with the ways in which each can be wrong, and strategies that draw good ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

Arguments = dict[str, Any]


class Bad(NamedTuple):
    """A value that a parameter should refuse, and the error that it should get."""

    label: str
    value: Any
    error: type[Exception]


class Weighed(NamedTuple):
    """Losses, and what each of them weighs: 0 where it is ignored."""

    losses: np.ndarray[Any, Any]
    weights: np.ndarray[Any, Any]

    def reduced(self, reduction: str) -> np.ndarray[Any, Any]:
        """w l, Σ w l, or Σ w l / Σ w, which is 0 where nothing counts."""
        parts: np.ndarray[Any, Any] = np.where(self.weights > 0, self.losses, 0.0) * self.weights
        if reduction == "none":
            return parts
        total = self.weights.sum() if reduction == "mean" else 1.0
        return np.asarray(parts.sum() / (total if total > 0 else 1.0))


Kind = Callable[[Any], Iterator[Bad]]


@dataclass(frozen=True)
class Spec:
    """One public function.

    `arguments` draws good ones, by parameter name, all floating tensors in float64. `reference` computes the result from the same arguments in
    float64, by a plain formula of its own, or where there is no formula `check` looks at the result. `bad` has the parameters that can be wrong.
    With `reduces` the function has a reduction, and `reference` gives the losses before it, or with their weights as `Weighed`.
    """

    name: str
    call: Callable[..., Any]
    arguments: st.SearchStrategy[Arguments]
    bad: dict[str, Kind]
    reference: Callable[..., Any] | None = None
    check: Callable[..., None] | None = None
    reduces: bool = False
    narrow: bool = True  # half precision is worth trying
    hides_nan: Mapping[str, Callable[[Arguments], bool]] = field(default_factory=dict)  # parameters whose NaN may leave the result a number, and when


def always(arguments: Arguments) -> bool:
    return True


# --- kinds ---------------------------------------------------------------------------------------------------------------------------------------


def tensor(
    *, floating: bool | None = True, low: float = -math.inf, high: float = math.inf, finite: bool = False, shaped: bool = True, sized: bool = True
) -> Kind:
    """A tensor: of a floating dtype, an integer one, or (None) any; its values in [low, high]; with `shaped` of no other shape, but for the length
    of the first axis where it is not `sized`."""

    def bad(value: Tensor | None) -> Iterator[Bad]:
        if value is None:
            return
        yield Bad("a list", value.tolist() if value.ndim else [value.item()], TypeError)
        yield Bad("an array", value.detach().double().numpy(), TypeError)
        if floating is True:
            yield Bad("integers", torch.zeros(value.shape, dtype=torch.int64), TypeError)
            yield Bad("complex numbers", value.to(torch.complex64), TypeError)
        if floating is None:
            yield Bad("complex numbers", value.to(torch.complex64), TypeError)
        if floating is False:
            yield Bad("floats", value.double(), TypeError)
            yield Bad("booleans", torch.zeros(value.shape, dtype=torch.bool), TypeError)
        if shaped:
            yield Bad("an axis more", value[..., None], ValueError)
        if shaped and sized:
            more = torch.cat([value, value.new_ones(1, *value.shape[1:])]) if value.ndim else value.expand(2)
            yield Bad("one element more", more, ValueError)
        if value.numel():
            if finite:
                yield Bad("an infinity", _with(value, math.inf), ValueError)
            if (finite or low > -math.inf or high < math.inf) and value.dtype.is_floating_point:
                yield Bad("NaN", _with(value, math.nan), ValueError)
            if low > -math.inf:
                yield Bad("too low a value", _with(value, low - 1), ValueError)
            if high < math.inf:
                yield Bad("too high a value", _with(value, high + 1), ValueError)

    return bad


def _with(value: Tensor, element: float) -> Tensor:
    wide = value.detach() if value.dtype.is_floating_point else value.long()
    changed = wide.clone(memory_format=torch.contiguous_format)
    changed.view(-1)[-1] = element
    return changed


def number(low: float = -math.inf, high: float = math.inf, *, low_open: bool = False, high_open: bool = False) -> Kind:
    """A real number in an interval."""

    def bad(value: float | None) -> Iterator[Bad]:
        yield Bad("a text", "one", TypeError)
        yield Bad("a truth value", True, TypeError)
        yield Bad("NaN", math.nan, ValueError)
        yield Bad("an infinity", math.inf, ValueError)
        if low > -math.inf:
            yield Bad("too low", low if low_open else low - 0.5, ValueError)
        if high < math.inf:
            yield Bad("too high", high if high_open else high + 0.5, ValueError)

    return bad


def count(low: int = 1) -> Kind:
    """A whole number."""

    def bad(value: int) -> Iterator[Bad]:
        yield Bad("a fraction", low + 0.5, TypeError)
        yield Bad("a truth value", True, TypeError)
        yield Bad("too few", low - 1, ValueError)

    return bad


def whole(value: int | None) -> Iterator[Bad]:
    """An integer or None."""
    yield Bad("a fraction", 0.5, TypeError)
    yield Bad("a truth value", True, TypeError)
    yield Bad("a text", "one", TypeError)


def mask(value: Tensor | None) -> Iterator[Bad]:
    """Booleans of the shape of the logits, or None."""
    yield Bad("a text", "one", TypeError)
    if value is not None:
        yield Bad("integers", value.long(), TypeError)
        yield Bad("floats", value.double(), TypeError)
        yield Bad("an axis more", value[..., None], ValueError)


def weights(value: Tensor | None) -> Iterator[Bad]:
    """Weights of examples or of losses, finite and >= 0, or None. An axis more could make one of the other."""
    yield Bad("a text", "one", TypeError)
    yield from tensor(floating=None, low=0, finite=True, shaped=False)(value)
    if value is not None:
        yield Bad("five axes", value.new_ones(1, 1, 1, 1, 1), ValueError)
        yield Bad("one element more", torch.cat([value.flatten()[:1], value.flatten(), value.new_ones(100)]), ValueError)


def choice(value: str) -> Iterator[Bad]:
    """One of a few words."""
    yield Bad("another word", "average", ValueError)


def flag(value: bool) -> Iterator[Bad]:
    """True or False."""
    yield Bad("a text", "yes", TypeError)
    yield Bad("a number", 1, TypeError)


def callable_(value: Any) -> Iterator[Bad]:
    """A function."""
    yield Bad("a number", 3, TypeError)


# --- strategies ----------------------------------------------------------------------------------------------------------------------------------

# Half precision holds these exactly, so that a reference sees what the function sees.
MODERATE = st.floats(-8, 8, width=16)
REAL = MODERATE | st.sampled_from([0.0, -0.0, 20.0, -20.0, 1e4, -1e4])
UNIT = st.floats(0, 1, width=16) | st.sampled_from([0.0, 0.5, 1.0])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


def floats(shape: Any, elements: st.SearchStrategy[float] = REAL) -> st.SearchStrategy[Tensor]:
    """A float64 tensor of a shape, or of a drawn one."""
    return hnp.arrays(np.float64, shape, elements=elements).map(torch.from_numpy)


def labels(shape: Any, classes: int, dtypes: tuple[type, ...] = (np.int64, np.int32, np.uint8)) -> st.SearchStrategy[Tensor]:
    """Class ids in [0, classes), of any integer dtype."""
    return st.sampled_from(dtypes).flatmap(lambda dtype: hnp.arrays(dtype, shape, elements=st.integers(0, classes - 1))).map(torch.from_numpy)


def booleans(shape: Any) -> st.SearchStrategy[Tensor]:
    return hnp.arrays(np.bool_, shape).map(torch.from_numpy)


def sample_weights(shape: tuple[int, ...]) -> st.SearchStrategy[Tensor | None]:
    """None, one weight an example, or one a loss."""
    return st.none() | floats(shape[:1], UNIT) | floats(shape, UNIT)


def ignoring(ids: Tensor) -> st.SearchStrategy[Arguments]:
    """Labels, some of them overwritten with an `ignore_index` that their dtype may hold or not; or None, and the labels as they are."""

    def overwritten(index: int, places: Tensor) -> Arguments:
        held = torch.iinfo(ids.dtype).min <= index <= torch.iinfo(ids.dtype).max
        return {"labels": torch.where(places, index, ids).to(ids.dtype) if held else ids, "ignore_index": index}

    return st.just({"labels": ids, "ignore_index": None}) | st.builds(overwritten, st.sampled_from([-100, 1, 255]), booleans(tuple(ids.shape)))


def signs(shape: Any) -> st.SearchStrategy[Tensor]:
    """-1 and +1."""
    return hnp.arrays(np.int64, shape, elements=st.sampled_from([-1, 1])).map(torch.from_numpy)


def distributions(shape: tuple[int, ...], axis: int) -> st.SearchStrategy[Tensor]:
    """Probabilities along an axis, some of them 0."""

    def normalised(weights: Tensor) -> Tensor:
        weights = torch.where(weights.sum(axis, keepdim=True) > 0.01, weights, 1.0)
        return weights / weights.sum(axis, keepdim=True)

    return floats(shape, UNIT).map(normalised)


# --- references ----------------------------------------------------------------------------------------------------------------------------------


def array(value: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A tensor's values in float64."""
    found: np.ndarray[Any, np.dtype[np.float64]] = value.detach().double().numpy()
    return found


def laid(weight: Tensor | None, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Weights of examples or of losses as weights of losses of a shape; None is 1 everywhere."""
    found = np.ones(shape) if weight is None else array(weight)
    return np.broadcast_to(found.reshape((*found.shape, *[1] * (len(shape) - found.ndim))), shape)


def log_softmax(logits: np.ndarray[Any, Any], axis: int) -> np.ndarray[Any, Any]:
    """Shifted by the largest logit, so that nothing overflows."""
    shifted = logits - logits.max(axis, keepdims=True)
    found: np.ndarray[Any, Any] = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
    return found
