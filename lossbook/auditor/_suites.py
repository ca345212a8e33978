"""Which checks a loss of each kind is put through."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from lossbook.auditor import _batches, _boxes, _finite, _gradient, _labels, _margin, _paths, _reductions, _risks, _transforms
from lossbook.auditor._bench import Check

_SHARED: tuple[Check, ...] = (_gradient.gradient, _gradient.pure, _batches.order, _batches.broadcasting)
_PATHS: tuple[Check, ...] = (_paths.memory_order, _paths.subclass, _paths.modes, _transforms.autocast, _transforms.vmap)
_REDUCED: tuple[Check, ...] = (_batches.batch_scale, _reductions.reduction, _paths.half_sums)
_LOGITS: tuple[Check, ...] = (
    *(_finite.finite, _finite.precise, *_SHARED, *_REDUCED, _batches.one_sided, _labels.bad_labels, _paths.label_dtypes, *_PATHS),
    *(_batches.denominator, _batches.empty, _labels.ignored, _labels.shift, _labels.classes_alike),
    *(_labels.cross_entropy, _labels.pulls, _risks.aims, _gradient.keeps_dtype),
)
_SUITES: dict[str, tuple[Check, ...]] = {
    "margin": (_finite.finite, _finite.precise, *_SHARED, *_PATHS, _gradient.keeps_dtype),
    "binary": _LOGITS,
    "multiclass": _LOGITS,
    "boxes": (_boxes.finite, *_SHARED, *_REDUCED, *_PATHS, _batches.denominator, _batches.empty, _boxes.facts, _gradient.keeps_dtype),
}


def suite(kind: str, properties: dict[str, Any], backend: str | None) -> Iterator[Check]:
    """The checks of a kind, one after the other; the facts about a function of the margin go into `properties` as well."""
    yield from _SUITES[kind]
    if kind == "margin":
        yield partial(_margin.facts, properties=properties)
    if backend is not None:
        yield partial(_transforms.compiled, backend=backend)
