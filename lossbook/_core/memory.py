"""Memory for large tensors. To touch a fresh page costs more than all that is computed with the numbers on it."""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

_HUGE = 2**21  # bytes of a huge page
_KEPT = 2**23  # bytes that a thread keeps
_own = threading.local()


def fresh(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Anything, in memory of torch's own, which can be resized as any tensor's. On Linux a large one has pages of 2 MB, as numpy's arrays have."""
    room = torch.empty(*shape, dtype=dtype, device=device)
    if sys.platform == "linux" and device.type == "cpu" and room.nbytes >= 2 * _HUGE:
        start = -(-room.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        size = room.data_ptr() + room.nbytes - start
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_HUGEPAGE)  # advice: where it is not taken, nothing is lost
    return room


def fresh_zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros. On Linux large ones ask the kernel for pages of 2 MB: it is called once for each, and not once for every 4 KB that is touched."""
    count = math.prod(shape)
    size = count * dtype.itemsize
    if sys.platform != "linux" or device.type != "cpu" or size < _HUGE:
        return torch.zeros(*shape, dtype=dtype, device=device)
    memory = mmap.mmap(-1, -(-size // _HUGE) * _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel built without huge pages gives small ones, of zeros too
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype, count=count).view(*shape)


def workspace(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Room for temporaries, with anything in it, until the same thread asks again: what is touched already is given out once more."""
    size = math.prod(shape) * dtype.itemsize
    if device.type != "cpu" or not 0 < size <= _KEPT:
        return torch.empty(*shape, dtype=dtype, device=device)
    if len(getattr(_own, "bytes", ())) < size:
        with torch.inference_mode(False):  # it outlives the mode that asks first
            _own.bytes = fresh_zeros((-(-size // _HUGE) * _HUGE,), torch.uint8, device)
    room: Tensor = _own.bytes[:size].view(dtype).view(*shape)
    return room
