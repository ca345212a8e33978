"""`python -m studies [names] [--seeds N] [--workers N] [--backend dask]`: run what has not been run yet, and say what was found."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from studies.findings import FINDINGS, show
from studies.harness import BACKENDS, SEEN, conduct, text
from studies.runs import RESULTS
from studies.study import NAMES, load


def main() -> None:
    """Conduct the named studies, all of them where none is named."""
    parser = argparse.ArgumentParser(prog="python -m studies", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seeds", type=int, help="so many of its seeds only; the results then go to _build/studies/, and no finding is looked at")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--backend", default=os.environ.get("BACKEND", "loky"), choices=BACKENDS)
    given = parser.parse_args()
    for name in given.names or NAMES:
        study = load(name)
        found = conduct(study, seeds=given.seeds, workers=given.workers, backend=given.backend)
        folder: Path = SEEN if given.seeds else RESULTS
        (folder / f"{name}.json").write_text(text(found), encoding="utf-8")
        print(f"{name}: {len(found['runs'])} runs and {len(found['tuning'])} for tuning, {found['seconds']:.0f} s of a processor.")
        for row in found["chosen"]:
            if row["at_an_end"]:
                print(f"  {row}: the best lies at an end of what was tried.")
        if not given.seeds:
            for finding in FINDINGS.values():
                if finding.study == name:
                    print(f"  {show(finding.id)!r}")


if __name__ == "__main__":
    main()
