"""How many processes there is room for: the smaller of what cores and memory allow, and never none."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SPEC = spec_from_file_location("workers", ROOT / "_ext/workers.py")
assert SPEC is not None
assert SPEC.loader is not None
workers = module_from_spec(SPEC)
SPEC.loader.exec_module(workers)

MEMINFO = "MemTotal: 16000000 kB\nMemAvailable: 8388608 kB"


@pytest.mark.parametrize(
    ("quota", "limit", "each", "expected"),
    [
        ("max 100000", "max", 2.0, 4),  # 8 gigabytes, of which each takes two
        ("max 100000", "max", 0.5, 6),  # as many as there are cores
        ("200000 100000", "max", 0.5, 2),  # a container with two of them
        ("", "", 0.5, 6),  # no container
        ("max 100000", str(3 * 2**30), 2.0, 1),  # one with three gigabytes
        ("max 100000", "max", 20.0, 1),  # not enough for one, which is tried all the same
    ],
)
def test_cores_and_memory_decide(quota: str, limit: str, each: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/sys/fs/cgroup/cpu.max": quota, "/sys/fs/cgroup/memory.max": limit, "/proc/meminfo": MEMINFO}
    monkeypatch.setattr(workers, "_read", files.__getitem__)
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert workers.workers(each) == expected


def test_a_file_that_is_not_there_says_nothing() -> None:
    assert workers._read("/no/such/file") == ""


def test_the_command_prints_the_number() -> None:
    run = subprocess.run([sys.executable, str(ROOT / "_ext/workers.py"), "1e9"], capture_output=True, text=True, check=True)
    assert run.stdout == "1\n"
