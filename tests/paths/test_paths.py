"""Every public function along every path, value and gradient."""

from __future__ import annotations

import warnings
from functools import cache

import pytest
from hypothesis import given, settings

from tests.paths.routes import ROUTES
from tests.paths.rows import LOOSER, OWN, REFUSED
from tests.paths.values import assert_agrees, largest, observe, on_tensors, plain
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


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("path", ROUTES)
def test_the_same_number(path: str, name: str) -> None:
    route, call = ROUTES[path], SPECS[name].call
    precision, _ = LOOSER.get((path, name), (route.precision, ""))
    drawn = examples(name)
    chosen = drawn[:1] if route.slow else [*drawn[:5], *drawn[-2:]]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`fit_linear` has not reached a minimum")
        for arguments in chosen:
            for given_ in route.arrive(plain(arguments)):
                expected = observe(call, plain(given_))
                if (path, name) in REFUSED:
                    with pytest.raises((TypeError, ValueError), match=REFUSED[path, name]):
                        route.run(call, given_)
                    continue
                assert_agrees(route.run(call, given_), expected, precision, largest(given_))
