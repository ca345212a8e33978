"""Panoptic quality against panopticapi's method and torchmetrics: the counts equal to 1e-12 first.

panopticapi's method is written out here: two `np.unique` over the pixels (ids of the prediction, pairs of ids), then dictionaries. Its own
evaluator also reads PNG files and decodes colours; that is left out.

python -m benchmarks.bench_panoptic
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Case, Comparison, Spread, Work, main
from lossbook.panoptic import panoptic_counts

HEIGHT, WIDTH, THINGS, STUFF, VOID = 1024, 2048, list(range(8)), list(range(8, 19)), 255


def scene(segments: int, seed: int, *, noise: float = 0.0) -> Tensor:
    """A Voronoi map of `segments` cells on a 4-pixel grid, 5 % of them void; `noise` of the pixels are drawn from all cells."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:HEIGHT:4, 0:WIDTH:4]
    y, x = rng.integers(0, HEIGHT, segments), rng.integers(0, WIDTH, segments)
    cells = ((rows[..., None] - y) ** 2 + (columns[..., None] - x) ** 2).argmin(-1)
    cells = np.kron(cells, np.ones((4, 4), dtype=np.int64))
    noisy = rng.random(cells.shape) < noise
    cells[noisy] = rng.integers(0, segments, int(noisy.sum()))
    classes = np.where(rng.random(segments) < 0.05, VOID, rng.integers(0, 19, segments))
    instances = np.where(classes < 8, np.arange(segments), 0)
    return torch.from_numpy(np.stack([classes[cells], instances[cells]], -1))


def relabel(truth: Tensor, seed: int) -> Tensor:
    """A prediction near the truth: shifted by 9 pixels, with another scene in one quarter."""
    prediction = torch.roll(truth, 9, dims=1)
    prediction[: HEIGHT // 2, : WIDTH // 2] = scene(20, seed)[: HEIGHT // 2, : WIDTH // 2]
    return prediction.contiguous()


def panopticapi_method(prediction: Tensor, truth: Tensor) -> np.ndarray:
    """[K, 4] summed IoU, TP, FP, FN, from ids class * 2^16 + instance; no crowds here."""
    offset = 2**24
    predicted, true = ((values[..., 0] * 2**16 + values[..., 1]).numpy() for values in (prediction, truth))
    void = VOID * 2**16
    areas = {label: count for label, count in zip(*(a.tolist() for a in np.unique(predicted, return_counts=True)), strict=True) if label != void}
    pairs = np.unique(true.astype(np.uint64) * offset + predicted.astype(np.uint64), return_counts=True)
    overlap = {divmod(label, offset): count for label, count in zip(*(a.tolist() for a in pairs), strict=True)}
    true_areas: dict[int, int] = {}
    for (t, _), count in overlap.items():
        if t != void:
            true_areas[t] = true_areas.get(t, 0) + count
    counts, found, used = np.zeros((19, 4)), set(), set()
    for (t, p), count in overlap.items():
        if t not in true_areas or p not in areas or t >> 16 != p >> 16:
            continue
        iou = count / (areas[p] + true_areas[t] - count - overlap.get((void, p), 0))
        if iou > 0.5:
            counts[t >> 16, :2] += iou, 1
            found.add(t)
            used.add(p)
    for t in true_areas.keys() - found:
        counts[t >> 16, 3] += 1
    for p in areas.keys() - used:
        counts[p >> 16, 2] += overlap.get((void, p), 0) / areas[p] <= 0.5
    return counts


def torchmetrics_method(prediction: Tensor, truth: Tensor) -> np.ndarray:
    """Its union also leaves out the true pixels that are predicted void, so both agree where nothing is."""
    from torchmetrics.functional.detection._panoptic_quality_common import (
        _get_category_id_to_continuous_id,
        _get_void_color,
        _panoptic_quality_update,
        _prepocess_inputs,
    )

    things, stuff = set(THINGS), set(STUFF)
    color = _get_void_color(things, stuff)
    flat = [_prepocess_inputs(things, stuff, values[None], color, True) for values in (prediction, truth)]
    parts = _panoptic_quality_update(*flat, _get_category_id_to_continuous_id(things, stuff), color)
    return torch.stack([part.double() for part in parts], -1).numpy()


def ours(prediction: Tensor, truth: Tensor) -> np.ndarray:
    return panoptic_counts(prediction, truth, things=THINGS, stuff=STUFF, void=VOID).numpy()


Method = Callable[[Tensor, Tensor], np.ndarray]


def work(method: Method, segments: int, *, noise: float = 0.0, dtype: torch.dtype = torch.int64) -> Work:
    truth = scene(segments, 0, noise=noise)
    prediction, truth = relabel(truth, 1).to(dtype), truth.to(dtype)
    if method is torchmetrics_method:
        prediction[prediction[..., 0] == VOID] = torch.tensor([STUFF[-1], 0])
    return Work(partial(ours, prediction, truth), partial(method, prediction, truth), touched=prediction.nbytes + truth.nbytes)


def case(name: str, segments: int, goal: float | None = None, **settings: object) -> Case:
    make = partial(work, panopticapi_method, segments, **settings)
    return Case(f"panoptic quality, 1024 x 2048, {name}", "panopticapi's method", make, goal, 1e-12)


def torchmetrics_case(segments: int) -> Case:
    make, note = partial(work, torchmetrics_method, segments), "torchmetrics adds the IoUs in float32"
    return Case(f"panoptic quality, 1024 x 2048, {segments} segments", "torchmetrics", make, 1000, 1e-7, at_least=3, note=note)


@dataclass(frozen=True)
class WithoutAvx512:
    """A case in a process of its own, in which numpy leaves AVX-512 alone. Two sorts are most of panopticapi's time, and AVX-512 may slow them."""

    case: Case

    @property
    def work(self) -> str:
        return f"{self.case.work}, numpy without AVX-512"

    def measure(self, seconds: float) -> Iterator[Comparison]:
        command = [sys.executable, "-m", "benchmarks.bench_panoptic", "--line", self.case.work, str(seconds)]
        environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"}
        printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        values = {name: Spread(*value) if name in ("ours", "theirs", "ratio") else value for name, value in json.loads(printed).items()}
        yield replace(Comparison(**values), work=self.work, goal=None)


def print_line(work: str, seconds: str) -> None:
    """The line of one case, for a process that waits for it."""
    torch.set_num_threads(1)
    (found,) = next(job for job in JOBS if job.work == work).measure(float(seconds))
    print(json.dumps(asdict(found)))


JOBS: list[Case | WithoutAvx512] = [
    case("20 segments", 20, 30),
    case("100 segments", 100, 30),
    case("100 segments, int32", 100, 30, dtype=torch.int32),
    WithoutAvx512(case("100 segments", 100)),
    case("100 segments, half the pixels noise", 100, noise=0.5),
    case("100 segments, all noise", 100, noise=1.0),
    torchmetrics_case(20),
    torchmetrics_case(100),
]

if __name__ == "__main__":
    if sys.argv[1:2] == ["--line"]:
        print_line(*sys.argv[2:])
    else:
        main(__doc__, JOBS, peers=["torchmetrics"])
