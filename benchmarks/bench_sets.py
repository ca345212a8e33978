"""Set losses against transformers: one process, one thread, interleaved, CPU time of forward and backward, medians; values and gradients equal first.

The peers are `ImageLoss` with `HungarianMatcher` (DETR), `MaskFormerLoss` and `Mask2FormerLoss`. Memory is the peak of the resident set during one
step over that before it, in a process of its own for each loss.

python benchmarks/bench_sets.py [--repeats 9] [--only boxes|masks|points] [--memory]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from lossbook.sets import BoxSetLoss, MaskSetLoss

CLASSES, QUERIES = 91, 100
Step = Callable[[], tuple[Tensor, list[Tensor]]]


def sizes_of(batch: int, objects: int) -> list[int]:
    return np.bincount(np.random.default_rng(0).integers(0, batch, objects), minlength=batch).tolist()


def step(loss: Callable[[], Tensor], leaves: list[Tensor]) -> Step:
    def run() -> tuple[Tensor, list[Tensor]]:
        for leaf in leaves:
            leaf.grad = None
        value = loss()
        value.backward()
        return value.detach(), [leaf.grad for leaf in leaves]

    return run


def boxes(layers: int, batch: int, objects: int) -> tuple[Step, Step]:
    from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(layers, batch, QUERIES, CLASSES + 1, generator=generator).requires_grad_()
    predicted = (0.2 + 0.5 * torch.rand(layers, batch, QUERIES, 4, generator=generator)).requires_grad_()
    targets = [
        {"labels": torch.randint(CLASSES, (size,), generator=generator), "boxes_cxcywh": 0.2 + 0.4 * torch.rand(size, 4, generator=generator)}
        for size in sizes_of(batch, objects)
    ]
    criterion = BoxSetLoss(CLASSES)
    peer = ImageLoss(HungarianMatcher(1, 5, 2), CLASSES, 0.1, ["labels", "boxes"])
    their_targets = [{"class_labels": target["labels"], "boxes": target["boxes_cxcywh"]} for target in targets]

    def their_loss() -> Tensor:
        outputs = {"logits": logits[-1], "pred_boxes": predicted[-1]}
        if layers > 1:
            outputs["auxiliary_outputs"] = [{"logits": a, "pred_boxes": b} for a, b in zip(logits[:-1], predicted[:-1], strict=True)]
        weights = {"loss_ce": 1, "loss_bbox": 5, "loss_giou": 2}
        return sum(weights[name.rstrip("_0123456789")] * value for name, value in peer(outputs, their_targets).items())

    leaves = [logits, predicted]
    return step(lambda: criterion(logits, predicted, targets).total, leaves), step(their_loss, leaves)


def masks(batch: int, size: int, target_size: int, *, points: int | None) -> tuple[Step, Step]:
    from transformers import Mask2FormerConfig
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss
    from transformers.models.maskformer.modeling_maskformer import MaskFormerHungarianMatcher, MaskFormerLoss

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, QUERIES, CLASSES + 1, generator=generator).requires_grad_()
    mask_logits = (3 * torch.randn(batch, QUERIES, size, size, generator=generator)).requires_grad_()
    labels, truth = [], []
    for objects in sizes_of(batch, 20 * batch):
        labels.append(torch.randint(CLASSES, (objects,), generator=generator))
        corner = torch.randint(0, target_size // 2, (objects, 2), generator=generator)
        grid = torch.arange(target_size)
        inside = (grid >= corner[..., None]) & (grid < corner[..., None] + target_size // 3)
        truth.append((inside[:, 0, :, None] & inside[:, 1, None, :]).float())
    targets = [{"labels": ids, "masks": true.bool()} for ids, true in zip(labels, truth, strict=True)]
    leaves = [logits, mask_logits]
    if points is None:
        weights = {"loss_cross_entropy": 1.0, "loss_mask": 20.0, "loss_dice": 1.0}
        criterion = MaskSetLoss(CLASSES)
        peer = MaskFormerLoss(CLASSES, MaskFormerHungarianMatcher(1.0, 20.0, 1.0), weights, 0.1)
    else:
        weights = {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
        criterion = MaskSetLoss(CLASSES, class_weight=2.0, mask_weight=5.0, dice_weight=5.0, num_points=points)
        peer = Mask2FormerLoss(Mask2FormerConfig(num_labels=CLASSES, train_num_points=points), weights)

    def their_loss() -> Tensor:
        torch.manual_seed(0)
        return sum(weights[name] * value for name, value in peer(mask_logits, logits, truth, labels).items())

    def our_loss() -> Tensor:
        torch.manual_seed(0)  # the same random points, drawn in the same order
        return criterion(logits, mask_logits, targets).total

    return step(our_loss, leaves), step(their_loss, leaves)


CASES: dict[str, tuple[str, Callable[[], tuple[Step, Step]]]] = {
    "boxes 16, 1 layer": ("boxes", lambda: boxes(1, 16, 320)),
    "boxes 16, 6 layers": ("boxes", lambda: boxes(6, 16, 320)),
    "boxes 8, 1 layer": ("boxes", lambda: boxes(1, 8, 160)),
    "boxes 2, 1 layer": ("boxes", lambda: boxes(1, 2, 40)),
    "masks 2x100x64x64": ("masks", lambda: masks(2, 64, 64, points=None)),
    "masks 8x100x128x128": ("masks", lambda: masks(8, 128, 128, points=None)),
    "masks 2x100x128x128, targets 512": ("masks", lambda: masks(2, 128, 512, points=None)),
    "points 12544, 2x100x64x64": ("points", lambda: masks(2, 64, 64, points=12544)),
    "points 12544, 2x100x128x128, 512": ("points", lambda: masks(2, 128, 512, points=12544)),
}


def seconds(run: Step) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def compare(name: str, ours: Step, theirs: Step, repeats: int) -> None:
    (value, gradients), (their_value, their_gradients) = [(value, [g.clone() for g in gs]) for value, gs in (ours(), theirs())]
    error = abs(float(value) / float(their_value) - 1)
    slopes = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(gradients, their_gradients, strict=True))
    if error > 1e-5 or slopes > 1e-4:
        raise SystemExit(f"{name}: value off by {error:.1e}, gradient by {slopes:.1e} of its largest")
    del gradients, their_gradients
    times = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    mine, other = (1e3 * median(column) for column in zip(*times, strict=True))
    print(f"{name:36s} {mine:10.2f} {other:12.2f} {median(b / a for a, b in times):7.1f}x   {error:.0e} {slopes:.0e}", flush=True)


def peak_memory(name: str, which: int) -> None:
    run = CASES[name][1]()[which]
    masks(1, 16, 16, points=50)[which]()  # what torch loads at first use is not counted
    masks(1, 16, 32, points=None)[which]()
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    run()
    print(f"{(_status('VmHWM') - before) / 1024:.0f}")


def _status(field: str) -> int:
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", choices=["boxes", "masks", "points"])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        return peak_memory(arguments.peak[0], int(arguments.peak[1]))
    print(f"{'ms a step':36s} {'lossbook':>10s} {'transformers':>12s} {'ratio':>8s}   value and gradient off by")
    for name, (kind, case) in CASES.items():
        if arguments.only in (None, kind):
            compare(name, *case(), arguments.repeats)
            if arguments.memory:
                peaks = [
                    subprocess.run([sys.executable, __file__, "--peak", name, str(w)], capture_output=True, text=True, check=True).stdout
                    for w in (0, 1)
                ]
                print(f"{'':36s} {peaks[0].strip():>7s} MB {peaks[1].strip():>9s} MB")
    return None


if __name__ == "__main__":
    main()
