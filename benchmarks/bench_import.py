"""What `import lossbook` costs beside `import torch`, which it needs: CPU time and modules, each in a fresh interpreter.

Both are imported once before, so that both are compiled: an installed package is, and a checkout is from its second import on. `metrics` is left out
of "every module": it is the one that needs an extra, and nearly all that its import takes is torchmetrics'.

python -m benchmarks.bench_import
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.harness import Comparison, main, spread

PROGRAM = "import sys, time; import {}; print(time.process_time(), len(sys.modules), *sorted({{name.split('.')[0] for name in sys.modules}}))"
EVERYTHING = "lossbook; from importlib import import_module; [import_module(f'lossbook.{name}') for name in lossbook._MODULES if name != 'metrics']"


def imported(package: str) -> tuple[float, int, set[str]]:
    """CPU milliseconds of an interpreter that imports the package, how many modules it then has, and of which packages."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = subprocess.run([sys.executable, "-c", PROGRAM.format(package)], env=environment, capture_output=True, text=True, check=True)
    seconds, modules, *packages = run.stdout.split()
    return 1e3 * float(seconds), int(modules), set(packages)


@dataclass(frozen=True)
class Import:
    """An import and torch's in turn; the modules are the same each time."""

    work: str
    what: str
    goal: float

    def measure(self, seconds: float) -> Iterator[Comparison]:
        imported(self.what)
        imported("torch")
        runs = [(imported(self.what), imported("torch")) for _ in range(max(5, round(2 * seconds)))]
        ours, theirs = ([run[which][0] for run in runs] for which in (0, 1))
        ratio = spread([slow / fast for fast, slow in zip(ours, theirs, strict=True)])
        (_, modules, packages), (_, before, needed) = runs[0]
        beside = ", ".join(sorted(packages - needed - {"lossbook"})) or "nothing"
        note = f"both compiled before; {modules} modules, where torch alone brings {before}; packages beside torch's: {beside}"
        yield Comparison(self.work, "import torch", "ms", spread(ours), spread(theirs), ratio, self.goal, note=note)


JOBS = [Import("import lossbook", "lossbook", 10), Import("import every module of lossbook but metrics", EVERYTHING, 0.9)]

if __name__ == "__main__":
    main(__doc__, JOBS)
