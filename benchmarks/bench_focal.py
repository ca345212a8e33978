"""Sigmoid focal loss against torchvision's formula: one process, one thread, interleaved, CPU time of forward and backward, medians.

Values and gradients are compared first. torchvision itself is not imported: its function is ten lines of torch, written out below. Memory is the
peak of the resident set during one step over that before it, in a process of its own for each loss.

python benchmarks/bench_focal.py [--repeats 15] [--memory]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbook.focal import sigmoid_focal_loss

COUNTS = (8_400_000, 1_000_000, 100_000, 2_000)


def torchvision_focal(logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """torchvision.ops.sigmoid_focal_loss(..., reduction="mean")."""
    probs = torch.sigmoid(logits)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = probs * targets + (1 - probs) * (1 - targets)
    loss = cross_entropy * ((1 - p_t) ** gamma)
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return loss.mean()


def ours(logits: Tensor, targets: Tensor) -> Tensor:
    return sigmoid_focal_loss(logits, targets, alpha=0.25)


def draw(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, generator=generator)
    return logits.requires_grad_(), (torch.rand(count, generator=generator) < 0.02).float()


def step(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, targets: Tensor) -> Tensor:
    logits.grad = None
    value = loss(logits, targets)
    value.backward()
    return value.detach()


def seconds(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, targets: Tensor) -> float:
    start = time.process_time()
    step(loss, logits, targets)
    return time.process_time() - start


def peak_memory(count: int, which: int) -> None:
    step((ours, torchvision_focal)[which], *draw(300_000))  # what torch loads at first use is not counted
    logits, targets = draw(count)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    step((ours, torchvision_focal)[which], logits, targets)
    print(f"{(_status('VmHWM') - before) / 1024:.0f}")


def _status(field: str) -> int:
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        return peak_memory(*arguments.peak)
    print(f"{'logits, gamma 2, alpha 0.25':28s} {'lossbook':>12s} {'torchvision':>12s}   ratio of the pairs, median")
    for count in COUNTS:
        logits, targets = draw(count)
        values, gradients = zip(*((step(loss, logits, targets), logits.grad.clone()) for loss in (ours, torchvision_focal)), strict=True)
        error, slopes = abs(float(values[0] / values[1]) - 1), float((gradients[0] - gradients[1]).abs().max() / gradients[1].abs().max())
        if error > 1e-5 or slopes > 1e-5:
            raise SystemExit(f"{count}: value off by {error:.1e}, gradient by {slopes:.1e} of its largest")
        repeats = arguments.repeats * (1 if count > 2_000_000 else 4 if count > 50_000 else 60)
        times = [(seconds(ours, logits, targets), seconds(torchvision_focal, logits, targets)) for _ in range(repeats)]
        mine, theirs = (1e3 * median(column) for column in zip(*times, strict=True))
        print(f"{count:28,d} {mine:9.3f} ms {theirs:9.3f} ms {median(b / a for a, b in times):7.1f}x", flush=True)
        if arguments.memory and count >= 1_000_000:
            run = [sys.executable, __file__, "--peak", str(count)]
            peaks = [subprocess.run([*run, str(which)], capture_output=True, text=True, check=True).stdout.strip() for which in (0, 1)]
            print(f"{'':28s} {peaks[0]:>9s} MB {peaks[1]:>9s} MB")
    return None


if __name__ == "__main__":
    main()
