"""Break the package, one place at a time, and count what its tests notice: `make mutants ONLY="boxes sets"`.

python -m mutants [--sample 60] [--seed 0] [--line "text"] [--floor 90] boxes sets ...

The tests run on a copy of the tree, so that what is here is never changed. The survivors are in _build/mutants/, as diffs.
"""

from __future__ import annotations

import argparse
import os
import sys

if __name__ == "__main__":  # and not where a test looks in
    os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="agg", LOSSBOOK_STATIC="0", PYTHONHASHSEED="0")
    os.environ.pop("CI", None)  # there is neither a built book nor a browser: their tests are left out, as on any machine without

import json
import random
import shutil
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

from mutants.find import Mutant, Place, mutants, places
from mutants.forks import import_ahead, run_tests
from mutants.modules import concerns, files, witnesses

ROOT = Path(__file__).parent.parent
TOLERATED = Path(__file__).with_name("tolerated.toml")
LEFT_OUT = shutil.ignore_patterns(".*", "_build", "build", "dist", "__pycache__", "node_modules")
KILLED, SURVIVED, TIMED_OUT, TOLERATED_ = "killed", "survived", "timed out", "tolerated"


class Fate(NamedTuple):
    """A mutant and what became of it: the verdict, who noticed it first, and the seconds by the clock."""

    mutant: Mutant
    verdict: str
    noticed_by: str
    seconds: float


class Court:
    """The tests of one module, on a copy of the tree in the current folder."""

    def __init__(self, folder: Path, module: str, patience: float) -> None:
        self.folder, self.module, self.patience = folder, module, patience
        self.paths = files(folder)[module]
        self.stages = [(stage, self._calm(stage)) for stage in witnesses(folder, module, self.paths) if stage]
        for path in self.paths:
            for compiled in (folder / path).parent.glob(f"__pycache__/{Path(path).stem}.*"):
                compiled.unlink()

    def _calm(self, stage: list[str]) -> tuple[dict[str, float], float]:
        """What each test costs with nothing broken, and all of them; then whatever they imported is imported for good."""
        first = run_tests(stage, lambda node: concerns(self.module, node), {}, None)
        if first.code not in (0, 5):  # 5: no test here concerns the module
            sys.exit(f"{self.module}: red with nothing broken\n{first.told['output'][-4000:]}")
        import_ahead(first.told["imported"], self.folder)
        return first.told["seconds"], first.seconds

    def judge(self, mutant: Mutant) -> Fate:
        began, verdict, noticed_by = time.monotonic(), SURVIVED, ""
        (self.folder / mutant.path).write_text(mutant.source)
        for stage, (known, whole) in self.stages:
            if not known:
                continue
            end = run_tests(stage, lambda node: concerns(self.module, node), known, self.patience + 5 * whole)
            if end.code:
                verdict, noticed_by = TIMED_OUT if end.timed_out else KILLED, (end.told.get("failed") or [f"exit {end.code}"])[0]
                break
        (self.folder / mutant.path).write_text(mutant.original)
        return Fate(mutant, verdict, noticed_by, time.monotonic() - began)


def tolerated() -> dict[tuple[str, str, str], str]:
    """The survivors that may be, by file and change, and why."""
    return {(path, row["line"], row["becomes"]): row["why"] for path, rows in tomllib.loads(TOLERATED.read_text()).items() for row in rows}


def sample(found: list[Place], size: int | None, seed: str) -> list[Place]:
    """All places in order, or in an order drawn by the seed, of which as many will be taken as give `size` mutants."""
    return found if size is None else random.Random(seed).sample(found, len(found))


def measure(tree: Path, module: str, size: int | None, seed: int, line: str, patience: float) -> tuple[int, list[Fate]]:
    """How many places there are, and what became of the mutants, all of them or a sample."""
    excused, fates = tolerated(), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "tree").resolve()
        shutil.copytree(tree, folder, ignore=LEFT_OUT)
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        sys.dont_write_bytecode = False
        court = Court(folder, module, patience)
        sys.dont_write_bytecode = True  # else a mutant of the same length, written in the same second, would not be compiled
        found = [place for path in court.paths for place in places(folder, path, line)]
        for mutant in mutants(folder, sample(found, size, f"{seed} {module}")):
            fate = court.judge(mutant)
            if fate.verdict == SURVIVED and (mutant.path, *mutant.change) in excused:
                fate = fate._replace(verdict=TOLERATED_)
            fates.append(fate)
            print(f"{module} {len(fates):4d} {fate.verdict:9s} {fate.seconds:6.1f} s  {mutant.path}:{mutant.line} {mutant.operator}", flush=True)
            if len(fates) == size:
                break
        sys.path.remove(str(folder))
        os.chdir(ROOT)
    return len(found), fates


def write(report: Path, module: str, fates: list[Fate]) -> None:
    """The survivors as diffs, and every mutant with who noticed it."""
    report.mkdir(parents=True, exist_ok=True)
    (report / f"{module}.diff").write_text("\n\n".join(fate.mutant.diff for fate in fates if fate.verdict == SURVIVED) + "\n")
    keys = ("verdict", "file", "line", "becomes", "noticed_by")
    rows = [dict(zip(keys, (fate.verdict, fate.mutant.path, *fate.mutant.change, fate.noticed_by), strict=True)) for fate in fates]
    (report / f"{module}.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def score(fates: list[Fate]) -> float:
    """The percentage noticed, of those that nobody has excused."""
    verdicts = [fate.verdict for fate in fates if fate.verdict != TOLERATED_]
    return 100 * sum(verdict != SURVIVED for verdict in verdicts) / max(len(verdicts), 1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="+", metavar="MODULE")
    parser.add_argument("--sample", type=int, help="so many mutants of each module, drawn by the seed (default: all of them)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--line", default="", metavar="TEXT", help="only mutants of lines that have this text")
    parser.add_argument("--patience", type=float, default=20, metavar="SECONDS", help="of the processor, beyond five times the unbroken run's")
    parser.add_argument("--floor", type=float, default=0, metavar="PERCENT", help="fail where a module's score is lower")
    parser.add_argument("--tree", type=Path, default=ROOT, metavar="FOLDER", help="another checkout (default: this one)")
    parser.add_argument(
        "--report", type=Path, default=ROOT / "_build/mutants", metavar="FOLDER", help="where the survivors go (default: %(default)s)"
    )
    options = parser.parse_args()
    tree = options.tree.resolve()
    if unknown := set(options.modules) - set(files(tree)):
        parser.error(f"no such module: {', '.join(sorted(unknown))}; there are {', '.join(files(tree))}")
    heads, table, low = ("module", "places", "mutants", "killed", "survived", "tolerated", "timed out", "score"), [], False
    for module in options.modules:
        count, fates = measure(tree, module, options.sample, options.seed, options.line, options.patience)
        write(options.report, module, fates)
        verdicts = [fate.verdict for fate in fates]
        counts = (verdicts.count(verdict) for verdict in (KILLED, SURVIVED, TOLERATED_, TIMED_OUT))
        table.append((module, count, len(fates), *counts, f"{score(fates):.0f} %"))
        low |= score(fates) < options.floor
    print()
    for row in (heads, *table):
        print(f"{row[0]:12s}" + "".join(f"{cell!s:>11s}" for cell in row[1:]))
    print(f"\nThe survivors, as diffs: {options.report}")
    sys.exit(low)


if __name__ == "__main__":
    main()
