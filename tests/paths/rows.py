"""What is special about a function, a line each: its own arguments, and the paths that it refuses, with the words in which it says so."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.public.boxes_and_sets import distinct_masks
from tests.public.kinds import Arguments

# Where drawn arguments hold ties that rounding decides: arguments without any.
OWN: dict[str, Callable[[], Arguments]] = {"sets.MaskSetLoss.forward": distinct_masks}


def overlapping() -> Arguments:
    """Examples of both signs that no line separates, so that one line is best."""
    features = torch.randn(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    signs = torch.where(features[:, 0] + features[:, 1].cos() > 0.5, 1, -1)
    return {"features": features, "signs": torch.cat([-signs[:2], signs[2:]]), "loss": "logistic", "l2": 0.5, "solver": "lbfgs"}


OWN["linear.fit_linear"] = overlapping

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

REFUSED |= {  # searches, and combinations found by numpy
    (path, name): READ
    for name in ("linear.fit_linear", "linear.fit_sgd", "boosting.AdaBoost.fit", "boosting.coordinate_descent", "multitask.pcgrad", "multitask.mgda")
    for path in ("vmap", "torch.func.vjp", "compiled, one graph")
}
REFUSED |= {("compiled, one graph", name): READ for name in ("multitask.task_gradients", "data.digit_scenes")}
REFUSED |= {(path, "multitask.task_gradients"): "should have a graph to differentiate" for path in ("no_grad", "inference mode")}
# the losses that are handed to it need a tape of their own, which torch says cannot begin there
REFUSED |= {(path, "multitask.task_gradients"): r"requires_grad_\(\)" for path in ("vmap", "torch.func.vjp")}

# (path, function): how exact it is there, and why no more.
NARROW = ("float32", "float16", "bfloat16", "autocast to float16", "autocast to bfloat16", "half under autocast")
LOOSER: dict[tuple[str, str], tuple[torch.dtype, str]] = {
    (path, "linear.fit_linear"): (torch.float16, "a solver stops where rounding hides what is left to gain") for path in NARROW
}

# How many of a result's numbers are compared: the objective by step has as many entries as steps were taken.
PARTS = {"linear.fit_linear": 2}
