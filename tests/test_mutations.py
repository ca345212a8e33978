"""Break a formula, and something must go red: a test, a measured claim, a chapter's assert. With nothing broken, all of them are green.

Each mutation is one line of the package, changed in a copy of it; who should notice runs on the copy, in a process of its own: `tests/mutant.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT

SURROGATES, PROBABILITY = "chapters/principles/surrogates.md:1", "chapters/principles/probability.md:4"


class Mutation(NamedTuple):
    """A line that stands in a module once, what becomes of it, and who should notice."""

    module: str
    line: str
    broken: str
    noticed_by: tuple[str, ...]


MUTATIONS = {
    "the hinge at margin 2": Mutation(
        "margins.py",
        "value=lambda m: torch.relu(1 - m),",
        "value=lambda m: torch.relu(2 - m),",
        ("test_margins.py::test_values_by_hand", "C02", SURROGATES),
    ),
    "a hinge that pulls half as hard": Mutation(
        "margins.py",
        "slope=lambda m: _minus_one(m < 1, m),",
        "slope=lambda m: 0.5 * _minus_one(m < 1, m),",
        ("test_margins.py::test_slopes_are_those_of_finite_differences",),
    ),
    "smoothing over the wrong classes only": Mutation(
        "crossentropy.py",
        "probs + label_smoothing / logits.shape[axis]",
        "probs + label_smoothing / max(logits.shape[axis] - 1, 1)",
        ("test_crossentropy.py::test_smoothing_puts_a_share_on_every_class_the_true_one_included",),
    ),
    "a divergence weighted by the model": Mutation(
        "crossentropy.py",
        "return reduce((p * ratios).sum(axis), reduction)",
        "return reduce((q * ratios).sum(axis), reduction)",
        ("test_crossentropy.py::test_divergence_agrees_with_scipy_and_torch", "C17"),
    ),
    "a mean over twice the elements": Mutation(
        "_core/reduction.py",
        "losses.sum() / max(losses.numel(), 1)",
        "losses.sum() / max(2 * losses.numel(), 1)",
        ("test_crossentropy.py::test_reductions",),
    ),
    "focal loss without its exponent": Mutation(
        "focal.py",
        "power(-torch.expm1(near), gamma) * near",
        "near",
        ("test_focal.py::test_softmax_focal",),
    ),
    "a union that counts the overlap twice": Mutation(
        "boxes.py",
        "(target_right - target_left) * (target_bottom - target_top) - intersection",
        "(target_right - target_left) * (target_bottom - target_top)",
        ("test_boxes.py::test_iou_counts_pixels",),
    ),
    "the dearest matching": Mutation(
        "sets/matching.py",
        "linear_sum_assignment(cost)",
        "linear_sum_assignment(-cost)",
        ("test_sets.py::test_match_is_the_cheapest_of_all_assignments", "C59"),
    ),
    "AdaBoost's step doubled": Mutation("boosting.py", "alphas.append(0.5 * math.log(", "alphas.append(1.0 * math.log(", ("C42",)),
    "bins closed on the left": Mutation(
        "_bins.py",
        "edges(bins, confidence.device)[low]) - 1)",
        "edges(bins, confidence.device)[low]))",
        ("test_reliability.py::test_bins_are_those_of_bucketize_on_and_around_every_edge",),
    ),
    "the threshold of the other cost": Mutation(
        "decisions.py",
        "return false_positive / total",
        "return false_negative / total",
        ("test_decisions.py::test_threshold_in_figures", PROBABILITY),
    ),
    "a lie as likely as the truth should be": Mutation(
        "privacy.py",
        "(self.num_classes - 1) * math.exp(-self.epsilon)  #",
        "(self.num_classes - 1) * math.exp(self.epsilon)  #",
        ("test_privacy.py::test_flip_probability_of_two_classes_is_warners", "C66"),
    ),
    "surgery where there is no conflict": Mutation(
        "multitask.py",
        "if product < 0 and other != task:",
        "if product > 0 and other != task:",
        ("test_multitask.py::test_two_tasks_are_never_hurt_to_first_order",),
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the package, of its tests and of the chapters, without what was built."""
    for name in ("lossbook", "tests", "chapters"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "browser", "book", "*.png"))
    for image in (ROOT / "lossbook/data").glob("*.png"):
        shutil.copy(image, tmp_path / "lossbook/data")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def verdicts(folder: Path, witnesses: tuple[str, ...]) -> dict[str, str]:
    """What the copy's own tests, claims and chapters say about it."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "MPLBACKEND": "agg", "LOSSBOOK_STATIC": "0", "OMP_NUM_THREADS": "1", "CI": ""}
    command = [sys.executable, "-m", "tests.mutant", str(folder), *witnesses]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    found: dict[str, str] = json.loads(run.stdout.splitlines()[-1])
    return found


def test_nothing_broken_is_green(folder: Path) -> None:
    everyone = tuple(dict.fromkeys(who for mutation in MUTATIONS.values() for who in mutation.noticed_by))
    assert verdicts(folder, everyone) == dict.fromkeys(everyone, "green")


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_formula_is_noticed(name: str, folder: Path) -> None:
    mutation = MUTATIONS[name]
    module = folder / "lossbook" / mutation.module
    text = module.read_text()
    assert text.count(mutation.line) == 1, f"{mutation.module} has another line now: mutate that"
    module.write_text(text.replace(mutation.line, mutation.broken))
    assert verdicts(folder, mutation.noticed_by) == dict.fromkeys(mutation.noticed_by, "red")
