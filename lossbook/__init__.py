"""Classification losses, one module an idea: the code behind The Loss Book.

Importing lossbook imports torch and nothing heavier; every module comes in when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` brings in, in the words that a type checker and an editor read
    from lossbook import (
        book,
        boosting,
        boxes,
        consistency,
        crossentropy,
        decisions,
        fairness,
        focal,
        linear,
        margins,
        metrics,
        multiclass,
        multitask,
        overlap,
        panoptic,
        privacy,
        quantization,
        reliability,
        scoring,
        sets,
        zero_one,
    )
    from lossbook.auditor import audit
    from lossbook.explorer import explore

try:
    __version__ = version("lossbook")
except PackageNotFoundError:  # a checkout on the path that was never installed
    __version__ = "0+unknown"

__all__ = [
    "__version__",
    "audit",
    "book",
    "boosting",
    "boxes",
    "consistency",
    "crossentropy",
    "decisions",
    "explore",
    "fairness",
    "focal",
    "linear",
    "margins",
    "metrics",
    "multiclass",
    "multitask",
    "overlap",
    "panoptic",
    "privacy",
    "quantization",
    "reliability",
    "scoring",
    "sets",
    "zero_one",
]
_FUNCTIONS = {"audit": "lossbook.auditor", "explore": "lossbook.explorer"}
_BOOK = ("book.atlas", "book.benchmarks", "book.claims", "book.data", "book.plots", "book.training")
_MODULES = (*(name for name in __all__ if name != "__version__" and name not in _FUNCTIONS), "auditor", "explorer", *_BOOK)

if not TYPE_CHECKING:  # a checker would take every name for one of these

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'lossbook' has no attribute {name!r}")
        if name == "explore":  # figures need no torch
            return import_module("lossbook.explorer").explore
        import torch

        # what a module computes once belongs to all who use it, wherever the first of them is
        with torch.inference_mode(False), torch.device("cpu"):
            module = import_module(_FUNCTIONS.get(name, f"lossbook.{name}"))
        return getattr(module, name) if name in _FUNCTIONS else module


def __dir__() -> list[str]:
    return sorted(__all__)
