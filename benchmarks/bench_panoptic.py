"""Panoptic quality against panopticapi's method and torchmetrics: one process, one thread, interleaved, CPU time, medians; values equal first.

panopticapi's method is written out here: two `np.unique` over the pixels (ids of the prediction, pairs of ids), then dictionaries. Its own
evaluator also reads PNG files and decodes colours; that is left out.

python benchmarks/bench_panoptic.py [--repeats 9] [--torchmetrics]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch import Tensor

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


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def ours(prediction: Tensor, truth: Tensor) -> np.ndarray:
    return panoptic_counts(prediction, truth, things=THINGS, stuff=STUFF, void=VOID).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--torchmetrics", action="store_true", help="time torchmetrics too, once a scene (minutes)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'1024 x 2048, ms':34s} {'lossbook':>10s} {'panopticapi':>12s} {'ratio':>7s} {'torchmetrics':>14s} {'ratio':>7s}")
    for name, segments, noise, dtype in (
        ("20 segments", 20, 0.0, torch.int64),
        ("100 segments", 100, 0.0, torch.int64),
        ("100 segments, int32", 100, 0.0, torch.int32),
        ("100 segments, half the pixels noise", 100, 0.5, torch.int64),
        ("100 segments, all noise", 100, 1.0, torch.int64),
    ):
        truth = scene(segments, 0, noise=noise)
        prediction = relabel(truth, 1).to(dtype)
        truth = truth.to(dtype)
        error = np.abs(ours(prediction, truth) - panopticapi_method(prediction, truth)).max()
        if error > 1e-12:
            raise SystemExit(f"{name}: counts differ by {error}")
        times = [(seconds(lambda: ours(prediction, truth)), seconds(lambda: panopticapi_method(prediction, truth))) for _ in range(arguments.repeats)]  # noqa: B023
        mine, theirs = (1e3 * median(column) for column in zip(*times, strict=True))
        line = f"{name:34s} {mine:10.2f} {theirs:12.1f} {median(b / a for a, b in times):6.1f}x"
        if arguments.torchmetrics and noise == 0 and dtype == torch.int64:
            slow = 1e3 * seconds(lambda: torchmetrics_method(prediction, truth))  # noqa: B023
            line += f" {slow:14.0f} {slow / mine:6.0f}x"
        print(line)


if __name__ == "__main__":
    main()
