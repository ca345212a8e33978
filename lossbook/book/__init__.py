"""What The Loss Book itself needs: the article's claims, the data, the atlas of losses, what its pages draw alike, the loop that trains its networks,
and the results of its benchmarks. Every module comes in when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossbook.book import atlas, benchmarks, claims, data, plots, training

__all__ = ["atlas", "benchmarks", "claims", "data", "plots", "training"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'lossbook.book' has no attribute {name!r}")
        import torch

        with torch.inference_mode(False), torch.device("cpu"):
            return import_module(f"lossbook.book.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
