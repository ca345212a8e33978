"""Runs a study: every arm chooses its settings on the tuning seeds, then runs with them on the seeds that are reported.

Runs go through joblib: processes of this machine by loky, or `BACKEND=dask` or `BACKEND=ray` for a cluster. Each run that ends is written down at
once, so that a study that was stopped goes on where it was. The same seeds give the same numbers, in any order and on any number of workers.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import torch
from tqdm import tqdm

from studies.study import HERE, Numbers, Settings, Study, combinations

SEEN = HERE.parent / "_build" / "studies"
BACKENDS = ("loky", "dask", "ray")
PACKAGES = ("lossbook", "torch", "numpy", "scipy", "scikit-learn", "gymnasium", "joblib")


class Job(NamedTuple):
    """One run to be made."""

    arm: str
    seed: int
    settings: Settings

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return json.dumps([self.arm, self.seed, self.settings], sort_keys=True)

    def row(self, numbers: dict[str, float]) -> dict[str, Any]:
        """The run as it is kept."""
        return {"arm": self.arm, "seed": self.seed, **self.settings, **numbers}


def perform(run: Callable[..., Numbers], job: Job) -> tuple[Job, dict[str, float]]:
    """One run: on one thread, with torch's own random numbers begun at the seed, whatever this process did before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.seed)
            begun = time.process_time()
            numbers = {key: float(f"{float(value):.8g}") for key, value in run(job.arm, job.seed, **job.settings).items()}
    finally:
        torch.set_num_threads(threads)
    return job, numbers | {"seconds": round(time.process_time() - begun, 3)}


class Notebook:
    """The runs that were made, one a line, for the code of a study."""

    def __init__(self, study: Study, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{study.name}-{study.code}.jsonl"
        self.known: dict[str, dict[str, float]] = {}
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]  # the last one may have been cut off
            self.known = dict(map(json.loads, whole))
            if whole != lines:
                self.path.write_text("".join(whole), encoding="utf-8")

    def note(self, job: Job, numbers: dict[str, float]) -> None:
        """A run that ended."""
        self.known[job.key] = numbers
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([job.key, numbers]) + "\n")


def complete(study: Study, jobs: Iterable[Job], notebook: Notebook, workers: int, what: str) -> list[dict[str, Any]]:
    """All jobs as rows, in their order; those that the notebook has not got are run."""
    jobs = list(jobs)
    missing = {job.key: job for job in jobs if job.key not in notebook.known}
    found = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(joblib.delayed(perform)(study.run, job) for job in missing.values())
    for job, numbers in tqdm(found, total=len(missing), desc=f"{study.name}, {what}", unit="run", disable=not missing):
        notebook.note(job, numbers)
    return [job.row(notebook.known[job.key]) for job in jobs]


def tuning_jobs(study: Study) -> Iterator[Job]:
    """Every arm, under every condition, with everything that it may choose from."""
    for arm in study.arms:
        choices = study.choices(arm)
        for condition in combinations(study.conditions):
            for choice in choices if len(choices) > 1 else []:
                yield from (Job(arm, seed, condition | choice) for seed in study.tuning_seeds)


def chosen(study: Study, tried: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By arm and condition, what has the least mean; among equals the first. With it, what of that lies at an end of what was tried."""
    found = []
    for arm in study.arms:
        for condition in combinations(study.conditions):
            means = [_mean(study.least, tried, arm, condition | choice) for choice in study.choices(arm)]
            best = study.choices(arm)[means.index(min(means))]
            at_end = [name for name, value in best.items() if len(study.tuned[arm][name]) > 1 and value in _ends(study.tuned[arm][name])]
            found.append({"arm": arm, **condition, **best, "mean": min(means), "at_an_end": at_end})
    return found


def _ends(values: Any) -> tuple[Any, Any]:
    return values[0], values[-1]


def _mean(number: str, rows: list[dict[str, Any]], arm: str, settings: Settings) -> float:
    values = [row[number] for row in rows if row["arm"] == arm and all(row[name] == value for name, value in settings.items())]
    return sum(values) / len(values) if values else 0.0  # an arm without a choice was not tried


def reported_jobs(study: Study, choices: list[dict[str, Any]], seeds: Iterable[int]) -> Iterator[Job]:
    """Every arm with what it has chosen."""
    for choice in choices:
        settings = {name: choice[name] for name in (*study.conditions, *study.tuned[choice["arm"]])}
        yield from (Job(choice["arm"], seed, settings) for seed in seeds)


def conduct(study: Study, *, seeds: int | None = None, workers: int = 1, backend: str = "loky", seen: Path = SEEN) -> dict[str, Any]:
    """The whole study, as it is written to its file.

    Args:
        study: What is asked.
        seeds: So many of its seeds only.
        workers: Processes.
        backend: "loky", "dask" for a client that is there or a local cluster, or "ray".
        seen: Where the runs are written down as they end.
    """
    notebook = Notebook(study, seen)
    with _cluster(backend), joblib.parallel_config(backend=backend):
        tried = complete(study, tuning_jobs(study), notebook, workers, "tuning")
        choices = chosen(study, tried)
        runs = complete(study, reported_jobs(study, choices, list(study.seeds)[:seeds]), notebook, workers, "runs")
    unfinished = [row for row in runs if not study.ended(row)]
    if unfinished:
        rows = "; ".join(f"{arm}: {len(list(rows))}" for arm, rows in groupby(unfinished, lambda row: row["arm"]))
        raise ValueError(f"`run` should go on until a training is at its end; found runs that are not, {rows}. {study.end}")
    return {
        "study": study.name,
        "question": study.question,
        "code": study.code,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {package: version(package) for package in PACKAGES},
        "seconds": round(sum(row["seconds"] for row in tried + runs), 1),
        "end": study.end,
        "least": study.least,
        "chosen": choices,
        "tuning": tried,
        "runs": runs,
    }


def _cluster(backend: str) -> AbstractContextManager[Any]:
    """A cluster for the backends that have one: the one that is there, or one on this machine."""
    if backend not in BACKENDS:
        raise ValueError(f"`BACKEND` should be one of {', '.join(BACKENDS)}; found {backend!r}.")
    if backend == "dask":
        from dask.distributed import Client, default_client

        try:
            default_client()  # type: ignore[no-untyped-call]
        except ValueError:
            client: AbstractContextManager[Any] = Client(threads_per_worker=1)  # type: ignore[no-untyped-call]
            return client
    if backend == "ray":
        from ray.util.joblib import register_ray

        register_ray()
    return nullcontext()


def machine() -> str:
    """Processor and system, and which instructions torch uses."""
    return f"{platform.machine()}, {platform.system()}, {torch.backends.cpu.get_cpu_capability()}"


def text(found: dict[str, Any]) -> str:
    """The file of a study: a line a run, so that a change can be read."""
    head = {key: value for key, value in found.items() if key not in ("chosen", "tuning", "runs")}
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in head.items()]
    for key in ("chosen", "tuning", "runs"):
        rows = ",\n".join(f"    {json.dumps(row)}" for row in found[key])
        lines.append(f"  {json.dumps(key)}: [\n{rows}\n  ]" + ("," if key != "runs" else ""))
    return "{\n" + "\n".join(lines) + "\n}\n"
