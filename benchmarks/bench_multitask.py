"""PCGrad and MGDA against torchjd: one process, one thread, interleaved, CPU time, medians; the same values first.

python benchmarks/bench_multitask.py [--repeats 21]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor
from torchjd.aggregation import MGDA, PCGrad

from lossbook.multitask import mgda, pcgrad


def check(gradients: Tensor) -> None:
    """Stops the program unless both PCGrads agree for one order, and our shortest vector is as the peer's at its tightest, or shorter."""
    tasks, original = len(gradients), torch.randperm
    order = torch.stack([original(tasks, generator=torch.Generator().manual_seed(task)) for task in range(tasks)])
    rows = iter(order)
    torch.randperm = lambda size: next(rows)
    try:
        theirs = PCGrad()(gradients)
    finally:
        torch.randperm = original
    torch.testing.assert_close(pcgrad(gradients, order=order), theirs, rtol=1e-4, atol=1e-4)
    ours, peers = mgda(gradients) @ gradients, MGDA(epsilon=1e-6, max_iters=2000)(gradients)
    if float(ours.norm()) > float(peers.norm()) * (1 + 1e-5):
        raise SystemExit("our vector is not the shortest")
    torch.testing.assert_close(ours, peers, rtol=0, atol=0.02 * float(peers.norm()) + 0.02)


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=21)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"{'tasks x parameters':20s} {'method':8s} {'torchjd':>11s} {'lossbook':>11s} {'ratio':>7s}")
    for tasks, size in ((2, 10_000), (10, 10_000), (10, 100_000), (10, 1_000_000)):
        gradients = torch.randn(tasks, size, generator=torch.Generator().manual_seed(0))
        check(gradients[:, :10_000])
        peers: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
            "PCGrad": (PCGrad(), pcgrad),
            "MGDA": (MGDA(), lambda rows: mgda(rows) @ rows),
        }
        for name, (theirs, ours) in peers.items():
            times = []
            for _ in range(repeats):
                peer, own = seconds(lambda: theirs(gradients)), seconds(lambda: ours(gradients))  # noqa: B023
                times.append((peer, own, peer / own))
            peer, own, ratio = (median(column) for column in zip(*times, strict=True))
            print(f"{f'{tasks} x {size}':20s} {name:8s} {1e6 * peer:8.0f} us {1e6 * own:8.0f} us {ratio:6.1f}x")


if __name__ == "__main__":
    main()
