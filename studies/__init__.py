"""The book's own experiments: one module a chapter, each with one plain function `run(arm, seed, **settings)` and what is asked of it.

`make studies` runs what has not been run yet and writes `studies/results/`; pages, ledger and tests read what lies there.

>>> import studies
>>> studies.load("ramp").run("hinge", seed=0, flips=0.3, l2=0.03)["mistakes"] < 20
True
"""

from studies.effects import Effect, paired
from studies.findings import FINDINGS, Finding, above, below, show, unclear, within
from studies.runs import Runs, read
from studies.study import NAMES, Study, load

__all__ = ["FINDINGS", "NAMES", "Effect", "Finding", "Runs", "Study", "above", "below", "load", "paired", "read", "show", "unclear", "within"]
