"""How close two numbers should be, by dtype: the one table that every comparison reads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Tolerance(NamedTuple):
    """Relative and absolute tolerance, named as `torch.testing.assert_close` names them: `assert_close(a, b, **tolerance._asdict())`."""

    rtol: float
    atol: float


# About a hundred roundings of the dtype's own: eps is 2.2e-16, 1.2e-7, 9.8e-4 and 7.8e-3.
TOLERANCES = {
    torch.float64: Tolerance(1e-12, 1e-12),
    torch.float32: Tolerance(1e-5, 1e-6),
    torch.float16: Tolerance(1e-2, 1e-3),
    torch.bfloat16: Tolerance(4e-2, 1e-2),
}


def assert_near(actual: Tensor, expected: Tensor, dtype: torch.dtype | None = None) -> None:
    """`actual` has `expected`'s values within the tolerance of `dtype` (default: of `actual`), whatever the device or dtype of `expected`."""
    tolerance = TOLERANCES[dtype or actual.dtype]
    torch.testing.assert_close(actual.double().cpu(), expected.double().cpu(), rtol=tolerance.rtol, atol=tolerance.atol)
