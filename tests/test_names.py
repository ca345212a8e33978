"""What is public: every module says it in `__all__`, every such name is documented with each of its parameters, and nothing else is offered."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

import lossbook
from tests.public import found, public_names

MODULES = lossbook._MODULES
LISTS = re.compile(r"^ *(?:Args|Call with):(.*?)(?=^ *(?:Returns|Raises|Example|Reference|Attributes|Conventions?):|\Z)", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_is_public(name: str) -> None:
    module = import_module(f"lossbook.{name}")
    assert module.__doc__
    for public in module.__all__:
        thing = getattr(module, public)
        assert not public.startswith(("_", "check_"))
        assert not callable(thing) or thing.__doc__, f"{name}.{public} has no docstring"


def documented() -> Iterator[tuple[str, Any, str]]:
    """Public functions, methods and classes that compute: the name, what is called, and where it may be documented."""
    for name in public_names():
        owner, thing = found(name)
        if inspect.isfunction(thing):
            of_class = inspect.getdoc(owner) if name.endswith(".forward") else None  # a module's `forward` is documented with its class
            yield name, thing, f"{inspect.getdoc(thing)}\n{of_class or ''}"
    classes = ("boosting.AdaBoost", "multitask.UncertaintyWeighting", "privacy.RandomizedResponse", "sets.BoxSetLoss", "sets.MaskSetLoss")
    for name in (*classes, "metrics.CalibrationError", "metrics.PanopticQuality", "metrics.GroupRates"):
        module, class_name = name.split(".")
        owner = getattr(getattr(lossbook, module), class_name)
        yield name, owner, inspect.getdoc(owner) or ""


CALLS = {name: (thing, text) for name, thing, text in documented()}


FIGURES = ("content_security_policy", "display", "show", "style", "stylesheet", "to_html", "use")
WITHOUT_EXAMPLE = {"claims.claim", *(f"explorer.{name}" for name in FIGURES)}  # something is only shown or registered


@pytest.mark.parametrize("name", CALLS)
def test_a_docstring_is_whole(name: str) -> None:
    """Each parameter, an example, which the doctests run, and one form of sections, which editors and the book's page of the package read alike."""
    thing, text = CALLS[name]
    said = "\n".join(listed[1] for listed in LISTS.finditer(text))
    parameters = [key for key in inspect.signature(thing).parameters if key != "self"]
    assert [key for key in parameters if not re.search(rf"\b{key}\b[^\n]*: ", said)] == []
    assert ">>> " in text or name.count(".") > 1 or name in WITHOUT_EXAMPLE
    assert not re.findall(r"^ *(?:Args|Returns|Raises|Example|Reference|Conventions?): +\S.*", text, re.MULTILINE)


SECTIONS = ("Args", "Attributes", "Call with", "Returns", "Raises", "Example", "Reference", "Conventions", "Chapter", "Chapters")
HEAD = re.compile(r"^([A-Z][\w ]*):(?: .*)?$")


def docstrings() -> Iterator[tuple[str, str]]:
    """Of every public module, name, method and property: what it says."""
    for module_name in MODULES:
        module = import_module(f"lossbook.{module_name}")
        yield module_name, module.__doc__ or ""
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing) and hasattr(thing, "__name__"):
                yield f"{module_name}.{name}", inspect.getdoc(thing) or ""
            for key, member in vars(thing).items() if inspect.isclass(thing) else ():
                if isinstance(member, property) or inspect.isroutine(member):
                    yield f"{module_name}.{name}.{key}", inspect.cleandoc(member.__doc__ or "")


def sections(text: str) -> list[str]:
    """The heads of a docstring's sections; below the first, whatever stands at the margin should be one."""
    lines = text.splitlines()
    first = next((place for place, line in enumerate(lines) if line.rstrip(":") in SECTIONS), len(lines))
    marginal = [line for line in lines[first:] if line and not line[0].isspace()]
    return [found[1] if (found := HEAD.match(line)) else line for line in marginal]


DOCSTRINGS = {name: text for name, text in docstrings() if sections(text)}


def test_sections_are_read_off_the_margin() -> None:
    assert sections("Adds.\n\nNot one: this.\n\nArgs:\n    a: one.\n\nCall: it.\nmore\n\nChapter: a.") == ["Args", "Call", "more", "Chapter"]
    assert len(DOCSTRINGS) > 120


@pytest.mark.parametrize("name", DOCSTRINGS)
def test_sections_have_one_order(name: str) -> None:
    """Over all modules, so that a reader knows where to look; a head that none knows would be stranded on the book's page."""
    found = sections(DOCSTRINGS[name])
    assert [head for head in found if head not in SECTIONS] == []
    assert found == sorted(set(found), key=SECTIONS.index)
