"""Every public function along every path, value and gradient."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from tests.paths.routes import INTEGERS, ROUTES, mapped, one_by_one
from tests.paths.rows import LOOSER, OWN, PARTS, REFUSED
from tests.paths.values import Seen, assert_agrees, largest, leaves, observe, on_tensors, plain, walk
from tests.public import SPECS
from tests.public.kinds import Arguments
from tests.test_inputs import SETTINGS


@cache
def examples(name: str) -> list[Arguments]:
    """Arguments as the specification draws them, the largest first; the same in every run."""
    if name in OWN:
        return [OWN[name]()]
    drawn: list[Arguments] = []

    @settings(max_examples=40, **SETTINGS)
    @given(SPECS[name].arguments)
    def draw(arguments: Arguments) -> None:
        drawn.append(arguments)

    draw()
    return sorted(drawn, key=size, reverse=True)


def size(arguments: Arguments) -> int:
    """How many different numbers there are in the tensors."""
    sizes: list[int] = []
    on_tensors(lambda t: sizes.append(len(t.unique())) or t, arguments)  # type: ignore[func-returns-value]
    return sum(sizes)


def twins(name: str) -> tuple[Arguments, Arguments]:
    """Two examples that differ in their tensors' values alone; one of them twice where none were drawn."""

    def kind(arguments: Arguments) -> str:
        return str(walk(arguments, lambda leaf: (leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else leaf))

    drawn = [plain(arguments) for arguments in examples(name)]
    pairs = ((one, other) for place, one in enumerate(drawn) for other in drawn[place + 1 :] if kind(one) == kind(other))
    return next(pairs, (drawn[0], drawn[0]))


def stacked(one: Any, other: Any) -> Any:
    others: list[Tensor] = []
    on_tensors(lambda t: others.append(t) or t, other)  # type: ignore[func-returns-value]
    given_ = iter(others)
    return on_tensors(lambda t: torch.stack([t, next(given_)]), one)


def first(seen: Seen, count: int | None) -> Seen:
    """The first so many numbers of a result, with their gradients."""
    return Seen(seen.values[:count], None if seen.gradients is None else seen.gradients[:count])


pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own look where a graph breaks


@contextmanager
def going(path: str, name: str) -> Iterator[None]:
    """A path that works, or one that is refused in the words that `REFUSED` holds."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`fit_linear` has not reached a minimum")
        if (path, name) not in REFUSED:
            yield
            return
        with pytest.raises((TypeError, ValueError, RuntimeError), match=REFUSED[path, name]):
            yield


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("path", [pytest.param(path, marks=[pytest.mark.thorough] * route.slow) for path, route in ROUTES.items()])
def test_the_same_number(path: str, name: str) -> None:
    route, call = ROUTES[path], SPECS[name].call
    precision, _ = LOOSER.get((path, name), (route.precision, ""))
    drawn = examples(name)
    for arguments in drawn[:1] if route.slow else [*drawn[:5], *drawn[-2:]]:
        for given_ in route.arrive(plain(arguments)):
            with going("", name):
                expected = observe(call, plain(given_))
            with going(path, name):
                found = route.run(call, given_)
                assert_agrees(first(found, PARTS.get(name)), first(expected, PARTS.get(name)), precision, largest(given_))


@pytest.mark.parametrize("name", SPECS)
def test_mapped(name: str) -> None:
    """`vmap` over predictions and truths, and the gradient of that; what takes no tensor has nothing to map."""
    if not any(isinstance(leaf, Tensor) for leaf in leaves(examples(name)[0])):
        return
    call, given_ = SPECS[name].call, stacked(*twins(name))
    with going("vmap", name):
        found = observe(mapped(call), given_)
    if ("vmap", name) not in REFUSED:
        assert_agrees(found, observe(one_by_one(call), given_), torch.float64, largest(given_))


BY_CLASS = [name for name, spec in SPECS.items() if spec.reduces and spec.bad.keys() >= {"logits", "labels"}] + ["crossentropy.cross_entropy"]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", BY_CLASS)
def test_many_classes_in_a_narrow_dtype(name: str, dtype: torch.dtype) -> None:
    """The largest label that a dtype holds, where twice as large a one would overflow."""
    classes, truth = 300, "labels" if "labels" in SPECS[name].bad else "targets"
    largest_label = min(torch.iinfo(dtype).max, classes - 1)
    logits = torch.randn(3, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([0, largest_label // 2 + 1, largest_label])
    rest = {key: value for key, value in examples(name)[0].items() if key not in ("logits", truth, "weight", "sample_weight", "reduction")}
    expected = observe(SPECS[name].call, {"logits": logits, truth: labels, **rest})
    assert_agrees(observe(SPECS[name].call, {"logits": logits, truth: labels.to(dtype), **rest}), expected, torch.float64, 1.0)


def test_what_is_said_of_a_function_is_said_of_one_that_is_there() -> None:
    for path, name in (*REFUSED, *LOOSER):
        assert name in SPECS
        assert path in {*ROUTES, "vmap"}
    assert set(OWN) <= set(SPECS)
