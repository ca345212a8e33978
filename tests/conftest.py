"""Fixtures that every test may use: a device, a dtype, a seed."""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "agg")

import numpy as np
import pytest
import torch

torch.set_num_threads(1)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """The CPU and, where there is one, a CUDA device."""
    return torch.device(request.param)


@pytest.fixture(params=DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Every floating-point dtype that a loss should survive."""
    return request.param


@pytest.fixture(params=DTYPES[:2], ids=lambda dtype: str(dtype).removeprefix("torch."))
def real_dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """float64 and float32: the dtypes in which closed forms are compared."""
    return request.param


@pytest.fixture
def generator() -> torch.Generator:
    """A torch generator on the CPU, seeded anew for each test; draw there and move to `device`."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A numpy generator, seeded anew for each test."""
    return np.random.default_rng(0)
