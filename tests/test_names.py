"""What is public: every module says it in `__all__`, every such name is documented, and nothing else is offered by a star import."""

from __future__ import annotations

from importlib import import_module

import pytest

import lossbook

MODULES = [name for name in lossbook.__all__ if name not in {"__version__", "explore", "audit"}] + ["explorer"]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_is_public(name: str) -> None:
    module = import_module(f"lossbook.{name}")
    assert module.__doc__
    for public in module.__all__:
        thing = getattr(module, public)
        assert not public.startswith(("_", "check_"))
        assert not callable(thing) or thing.__doc__, f"{name}.{public} has no docstring"
