"""Classification losses, one module an idea: the code behind The Loss Book.

Importing lossbook imports torch and nothing heavier; every module comes in when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("lossbook")
except PackageNotFoundError:  # a checkout on the path that was never installed
    __version__ = "0+unknown"

_MODULES = (
    "atlas",
    "boosting",
    "boxes",
    "claims",
    "consistency",
    "crossentropy",
    "data",
    "decisions",
    "fairness",
    "focal",
    "linear",
    "margins",
    "multiclass",
    "multitask",
    "panoptic",
    "plots",
    "privacy",
    "quantization",
    "reliability",
    "scoring",
    "sets",
    "zero_one",
)
_FUNCTIONS = {"audit": "lossbook.auditor", "explore": "lossbook.explorer"}

__all__ = ["__version__", *_MODULES, *_FUNCTIONS]


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name]), name)
    if name in _MODULES:
        return import_module(f"lossbook.{name}")
    raise AttributeError(f"module 'lossbook' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
