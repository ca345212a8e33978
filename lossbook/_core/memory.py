"""Memory for large tensors. To touch a fresh page costs more than all that is computed with the numbers on it."""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

_HUGE = 2**21  # bytes of a huge page
_KEPT = 2**23  # bytes that a thread keeps
_own = threading.local()


def fresh(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Anything, in memory of torch's own, which can be resized as any tensor's. On Linux a large one has pages of 2 MB, as numpy's arrays have."""
    room = torch.empty(*shape, dtype=dtype, device=device)
    if _is_large(room):
        start, stop = _whole_pages(room)
        _advise(start, stop, mmap.MADV_HUGEPAGE)  # where it is not taken, nothing is lost
    return room


def fresh_zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros in such memory. On Linux the pages of a large one are handed back to the kernel, which gives zeros for those that are touched."""
    room = fresh(shape, dtype, device)
    if not _is_large(room):
        return room.zero_()
    start, stop = _whole_pages(room)
    data, before = room.view(-1).view(torch.uint8), start - room.data_ptr()
    data[:before], data[stop - room.data_ptr() :] = 0, 0
    data[before] = 1
    handed_back = _advise(start, stop, mmap.MADV_DONTNEED) and int(data[before]) == 0  # memory that is shared, or locked, keeps its numbers
    return room if handed_back else room.zero_()


def _is_large(room: Tensor) -> bool:
    return sys.platform == "linux" and room.device.type == "cpu" and room.nbytes >= 2 * _HUGE


def _whole_pages(room: Tensor) -> tuple[int, int]:
    """Where the first page begins that no other data lies on, and where the last one ends."""
    start, stop = room.data_ptr(), room.data_ptr() + room.nbytes
    return -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, stop // mmap.PAGESIZE * mmap.PAGESIZE


def _advise(start: int, stop: int, advice: int) -> bool:
    """True where the kernel takes the advice."""
    return bool(ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), advice) == 0)


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
