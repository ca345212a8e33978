"""What is special about a function, a line each: its own arguments, and the paths that it refuses, with the words in which it says so."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.public.boxes_and_sets import distinct_masks
from tests.public.kinds import Arguments

# Where drawn arguments hold ties that rounding decides: arguments without any.
OWN: dict[str, Callable[[], Arguments]] = {"sets.MaskSetLoss.forward": distinct_masks}

# (path, function): the error that it gives there, as a regular expression.
READ = "should have values to be read, outside of vmap, torch.func and whole graphs"
REFUSED: dict[tuple[str, str], str] = {
    **{(path, "multiclass.optimal_scores"): READ for path in ("vmap", "torch.func.vjp", "compiled, one graph")},  # a linear program of scipy's
    **{  # a search that goes where the numbers are
        (path, f"consistency.{name}"): READ
        for name in ("minimal_risk", "minimizer", "psi_transform", "excess_risk_bound")
        for path in ("vmap", "torch.func.vjp", "compiled, one graph")
    },
    ("compiled, one graph", "consistency.calibration_check"): READ,
    **{  # searches
        (path, name): READ
        for name in ("reliability.fit_temperature", "reliability.fit_platt", "fairness.parity_frontier")
        for path in ("vmap", "torch.func.vjp", "compiled, one graph")
    },
    ("vmap", "decisions.mean_interval"): READ,
    ("compiled, one graph", "decisions.mean_interval"): READ,
    **{  # an environment is no tensor
        ("compiled, one graph", f"decisions.{name}"): READ
        for name in ("read_table", "value_iteration", "policy_values", "occupancy", "policy_regret")
    },
    # as many rates as there are groups
    **{("compiled, one graph", f"fairness.{name}_rates"): READ for name in ("selection", "true_positive", "false_positive")},
    **{(path, "zero_one.best_line"): READ for path in ("vmap", "torch.func.vjp", "compiled, one graph")},
    ("vmap", "privacy.RandomizedResponse.privatize"): "vmap: called random operation",  # torch's: the same for all, or not?
    **{  # segments are found by numpy
        (path, f"panoptic.{name}"): READ
        for name in ("panoptic_counts", "panoptic_quality", "quality_of_counts")
        for path in ("vmap", "compiled, one graph")
    },
    ("compiled, one graph", "privacy.RandomizedResponse.privatize"): "Generator",  # which no graph of torch's holds
}

# (path, function): how exact it is there, and why no more.
LOOSER: dict[tuple[str, str], tuple[torch.dtype, str]] = {}
