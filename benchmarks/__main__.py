"""Every benchmark, one after the other: `make bench`. A script that fails says so and the rest go on; then the exit code is 1.

python -m benchmarks [--seconds 4] [sets panoptic ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ASKED_FOR = {"build"}  # builds the whole book, so it runs where it is named
LIMIT = 4 * 3600  # seconds for one script, which ends what hangs


def run(name: str, seconds: float) -> str:
    """What became of a script, in a few words."""
    print(f"\n== {name}", flush=True)
    began = time.monotonic()
    try:
        command = [sys.executable, "-m", f"benchmarks.bench_{name}", "--seconds", str(seconds)]
        code = subprocess.run(command, cwd=HERE.parent, timeout=LIMIT).returncode
    except subprocess.TimeoutExpired:
        return f"FAILED after {LIMIT} s"
    return f"{'done' if code == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s"


def main() -> None:
    names = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *names], metavar="NAME", help=f"some of: {', '.join(names)} (default: all but build)")
    parser.add_argument("--seconds", type=float, default=4.0, help="CPU time for the repetitions of each row (default: 4)")
    options = parser.parse_args()
    ends = {name: run(name, options.seconds) for name in options.names or [name for name in names if name not in ASKED_FOR]}
    print("\n" + "\n".join(f"{name:14s} {end}" for name, end in ends.items()))
    sys.exit(any(end.startswith("FAILED") for end in ends.values()))


if __name__ == "__main__":
    main()
