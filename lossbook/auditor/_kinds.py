"""Which kind of loss it is, as far as its signature tells."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NoReturn

import torch

from lossbook._core.arguments import wrong_value

WORDS = {"boxes": ("box",), "multiclass": ("label", "class")}  # in the names of the two arguments, asked in this order


def guess(loss: Callable[..., Any]) -> str:
    """The kind: one argument is a margin, two are boxes or classes where their names say so.

    >>> guess(lambda margins: torch.exp(-margins)), guess(lambda logits, labels: logits[labels]), guess(lambda drawn_boxes, true_boxes: drawn_boxes)
    ('margin', 'multiclass', 'boxes')
    """
    try:
        signature = inspect.signature(loss.forward if isinstance(loss, torch.nn.Module) else loss)
    except ValueError:  # a function written in C may have none
        unknown("a function without a signature")
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [name for name, each in signature.parameters.items() if each.kind in places and each.default is each.empty]
    named = [kind for kind, words in WORDS.items() if any(word in name.lower() for name in needed for word in words)]
    if len(needed) == 2 and named:
        return named[0]
    if len(needed) != 1:
        unknown(str(signature))
    return "margin"


def unknown(found: str) -> NoReturn:
    """Say what is missing: two tensors called input and target may be scores of two classes or of many."""
    wrong_value("kind", "be given where the signature doesn't tell it: 'margin', 'binary', 'multiclass' or 'boxes'", found)
