"""How many processes this machine has room for: `python _ext/workers.py [gigabytes for each]` prints the number."""

from __future__ import annotations

import os
import sys
from pathlib import Path

GIGABYTE = 2**30
EACH = 2.0  # gigabytes of a chapter's kernel, or of a process of tests with torch in it


def cores() -> float:
    """Those that this process may use, and of which a container may have a part."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    return min(allowed, int(quota) / int(period)) if quota.isdigit() else allowed


def memory() -> float:
    """Bytes that there are for us; infinitely many where nobody says."""
    limits = [int(line.split()[1]) * 1024 for line in _read("/proc/meminfo").splitlines() if line.startswith("MemAvailable:")]
    limits += [int(text) for text in [_read("/sys/fs/cgroup/memory.max")] if text.isdigit()]
    return min(limits, default=float("inf"))


def workers(each: float = EACH) -> int:
    """As many as there are cores, and as memory allows with so many gigabytes for each; at least one."""
    return max(1, int(min(round(cores()), memory() // (each * GIGABYTE))))


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    print(workers(*map(float, sys.argv[1:2])))
