"""What every benchmark shares: two calls in turn in one process, equal values first, memory in a process of its own, and a row for the book.

A script lists its jobs and ends in `main`. Times are CPU time of one thread, so that what else runs on the machine is not in them; the ratio is the
median over pairs of calls made one right after the other. The floor is the time in which the machine copies the bytes that the work has to
touch, or multiplies as many numbers, whichever is longer: nobody can be below it while the data lie outside the caches.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

RESULTS = Path(__file__).parent / "results"
Call = Callable[[], Any]


class LeftOut(Exception):
    """What this machine lacks; the job's lines are missing, and no results are written."""


class Spread(NamedTuple):
    """A median between its quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Of what was measured again and again."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return Spread(middle, low, high)


@dataclass(frozen=True)
class Comparison:
    """Lossbook and a peer at the same work; `ratio` is what the peer needs over what lossbook needs, so more is better."""

    work: str
    peer: str
    unit: str
    ours: Spread
    theirs: Spread
    ratio: Spread
    goal: float | None = None
    difference: float | None = None
    memory: tuple[float, float] | None = None
    floor: float | None = None
    note: str = ""

    def __str__(self) -> str:
        goal = "" if self.goal is None else f" (goal {self.goal:g}x)"
        memory = "" if self.memory is None else "  {:.0f} and {:.0f} MB".format(*self.memory)
        floor = "" if self.floor is None else f"  floor {self.floor:.3g}"
        ours, theirs, ratio = self.ours.median, self.theirs.median, self.ratio
        times = f"{ours:9.4g} {theirs:9.4g} {self.unit:8s} {ratio.median:7.1f}x [{ratio.low:.1f}, {ratio.high:.1f}]{goal}"
        return f"{f'{self.work} / {self.peer}':78s} {times}{memory}{floor}"


@dataclass(frozen=True)
class Slope:
    """How the time grows with a size: the slope of its logarithm, and what was expected."""

    work: str
    axis: str
    sizes: tuple[int, ...]
    times: tuple[float, ...]
    slope: float
    expected: float
    note: str = ""

    def __str__(self) -> str:
        times = ", ".join(f"{milliseconds:.3g}" for milliseconds in self.times)
        return f"{f'{self.work} with {self.axis}':78s} slope {self.slope:.2f} (expected {self.expected:g})  {times} ms"


@dataclass(frozen=True)
class Budget:
    """A quantity that has to stay below its budget; None where nothing was promised."""

    work: str
    unit: str
    measured: float
    budget: float | None = None
    note: str = ""

    def __str__(self) -> str:
        budget = "" if self.budget is None else f" (at most {self.budget:g})"
        return f"{self.work:78s} {self.measured:9.4g} {self.unit}{budget}"


Line = Comparison | Slope | Budget


class Job(Protocol):
    """What a script does one after the other."""

    work: str

    def measure(self, seconds: float) -> Iterator[Line]:
        """Lines for the page, spending about so many seconds on timing."""


def relative_difference(ours: Any, theirs: Any) -> float:
    """The largest difference of two results over the largest value of its part."""
    if isinstance(ours, (list, tuple)):
        return max(relative_difference(one, other) for one, other in zip(ours, theirs, strict=True))
    one, other = (np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value, dtype=np.float64) for value in (ours, theirs))
    if one.shape != other.shape:
        raise ValueError(f"the results have shapes {one.shape} and {other.shape}")
    return float(np.abs(one - other).max() / (np.abs(other).max() or 1.0))


class Work(NamedTuple):
    """Two calls with the same result; how far results are apart, where it is known already; bytes touched and multiply-adds needed at least."""

    ours: Call
    theirs: Call
    difference: Callable[[Any, Any], float] | float = relative_difference
    touched: int = 0
    products: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Case:
    """A workload and its goal. `warm` makes it small, for what is loaded at first use; where it is given, memory is measured, too."""

    work: str
    peer: str
    make: Callable[[], Work]
    goal: float | None = None
    within: float = 1e-5
    warm: Callable[[], Work] | None = None
    at_least: int = 5
    note: str = ""

    def measure(self, seconds: float) -> Iterator[Comparison]:
        """Compare results, then times, then memory."""
        made = self.make()
        difference = made.difference(made.ours(), made.theirs()) if callable(made.difference) else made.difference
        if not difference <= self.within:
            raise ValueError(f"the results are {difference:.1e} apart, where {self.within:.0e} is allowed")
        ours, theirs = in_turn([made.ours, made.theirs], seconds, at_least=self.at_least)
        yield Comparison(
            self.work,
            self.peer,
            "ms",
            spread(ours),
            spread(theirs),
            spread([slow / fast for fast, slow in zip(ours, theirs, strict=True)]),
            self.goal,
            difference,
            peaks(self.work, self.peer) if self.warm else None,
            floor(made.touched, made.products),
            " ".join(filter(None, (self.note, made.note))),
        )


def in_turn(calls: Sequence[Call], seconds: float, *, at_least: int = 5, at_most: int = 300) -> list[list[float]]:
    """CPU milliseconds of each call, round after round for about `seconds`; every other round goes backwards, so that a drift favours none."""
    times: list[list[float]] = [[] for _ in calls]
    gc.collect()
    began = time.process_time()
    for turn in count():
        if turn >= at_most or (turn >= at_least and time.process_time() - began > seconds):
            return times
        for index in range(len(calls))[:: 1 - 2 * (turn % 2)]:
            start = time.process_time()
            calls[index]()
            times[index].append(1e3 * (time.process_time() - start))
    raise AssertionError("count() does not end")


@cache
def copy_rate() -> float:
    """Bytes read and written a millisecond by copying 128 MB, the best of ten."""
    source = np.ones(1 << 24)
    target = np.empty_like(source)
    np.copyto(target, source)
    return 2 * source.nbytes / min(in_turn([lambda: np.copyto(target, source)], 0, at_least=10)[0])


@cache
def product_rate() -> float:
    """Multiply-adds a millisecond of a float32 matrix product of order 1024, the best of ten."""
    matrix = torch.rand(1024, 1024)
    return 1024**3 / min(in_turn([lambda: matrix @ matrix], 0, at_least=10)[0])


def floor(touched: int, products: float) -> float | None:
    """Milliseconds that the machine needs at least; None where a script gives no bound."""
    return max(touched / copy_rate(), products / product_rate()) if touched or products else None


def peaks(work: str, peer: str) -> tuple[float, float] | None:
    """Peak memory of one call of ours and of theirs, each in a process of its own; None where Linux's /proc is missing."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, "-m", f"benchmarks.{Path(sys.argv[0]).stem}", "--peak", work, peer]
    ours, theirs = (subprocess.run([*command, str(w)], capture_output=True, text=True, check=True).stdout for w in (0, 1))
    return float(ours), float(theirs)


def peak(case: Case, which: int) -> float:
    """Megabytes by which the resident set grew during one call."""
    assert case.warm is not None
    case.warm()[which]()
    call = case.make()[which]
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    call()
    return (resident("VmHWM") - before) / 1024


def resident(field: str) -> int:
    """A line of /proc/self/status, in KB."""
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)).split()[1])


def machine() -> str:
    """The processor's model, the instructions that torch uses of it, its cores; no name that would tell one machine from another of its kind."""
    listed = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", listed.read_text() if listed.exists() else "", flags=re.MULTILINE)
    model, instructions = names[0] if names else platform.processor(), torch.backends.cpu.get_cpu_capability()
    return f"{model}, {instructions}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def write(name: str, peers: Sequence[str], lines: Sequence[Line]) -> None:
    """results/<name>.json: when, on what, with which versions, and the lines."""
    versions = {package: metadata.version(package).split("+")[0] for package in ("lossbook", "torch", "numpy", *peers)}
    content = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **versions},
        "copy_gb_per_s": round(copy_rate() / 1e6, 1),
        "lines": [{"kind": type(line).__name__.lower(), **rounded(asdict(line))} for line in lines],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    if path.exists():
        keep(path, json.loads(path.read_text())["machine"])
    path.write_text(json.dumps(content, indent=1) + "\n")


def keep(path: Path, where: str) -> None:
    """What another kind of machine has written stays, in a folder by the kind's name; what this kind wrote before goes."""
    kept, ours = (path.parent / folder(kind) / path.name for kind in (where, machine()))
    if kept == ours:
        return
    kept.parent.mkdir(exist_ok=True)
    path.replace(kept)
    ours.unlink(missing_ok=True)


def folder(kind: str) -> str:
    """A machine's name as that of a folder: amd-epyc-2-cores-linux-x86-64."""
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)|processor", "", kind.lower())).strip("-")


def rounded(value: Any) -> Any:
    """Four digits are more than any of this is worth."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(about: str, jobs: Sequence[Job], *, peers: Sequence[str] = ()) -> None:
    """Do the jobs and write their lines. One that fails says so and the rest go on; then the exit code is 1 and the old results stay."""
    name = Path(sys.argv[0]).stem.removeprefix("bench_")
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="CPU time for each job's repetitions (default: 4)")
    parser.add_argument("--only", default="", help="do the jobs whose name has this text, and write no results")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        work, peer, which = options.peak
        (case,) = (job for job in jobs if isinstance(job, Case) and (job.work, job.peer) == (work, peer))
        print(peak(case, int(which)))
        return
    lines, whole, failed = [], not options.only, 0
    for job in jobs:
        if options.only not in job.work:
            continue
        try:
            for line in job.measure(options.seconds):
                print(line, flush=True)
                lines.append(line)
        except (LeftOut, ModuleNotFoundError) as error:
            print(f"{job.work}: left out, {error}", flush=True)
            whole = False
        except Exception:
            print(f"{job.work}: FAILED\n{traceback.format_exc()}", flush=True)
            failed += 1
    if whole and not failed:
        write(name, peers, lines)
    sys.exit(failed > 0)
