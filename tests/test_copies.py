"""Whatever the package hands out can be copied, pickled, saved and sent to another process, and is the same there."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lossbook
from lossbook import (
    boosting,
    consistency,
    decisions,
    fairness,
    linear,
    margins,
    metrics,
    multiclass,
    multitask,
    panoptic,
    privacy,
    reliability,
    sets,
    zero_one,
)
from lossbook.book import claims, data
from lossbook.margins import LOSSES, ramp_loss
from tests.conftest import ROOT

FEATURES = torch.tensor([[0.0, 1.0], [1.0, 0.5], [2.0, 0.0], [3.0, 1.5]])
SIGNS, LABELS, GROUPS = torch.tensor([-1, 1, -1, 1]), torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
PROBS = torch.tensor([0.2, 0.6, 0.4, 0.9])
MAP = torch.tensor([[[1, 1], [1, 1]], [[0, 0], [2, 1]]])
BOX = torch.tensor([[0.5, 0.5, 0.2, 0.2]])


def box_loss() -> sets.SetLoss:
    return sets.BoxSetLoss(2)(torch.zeros(1, 3, 3), BOX.expand(1, 3, 4), [sets.BoxTargets(torch.tensor([1]), BOX)])


def line(slope: float = 1.0) -> Any:
    figure, axes = lossbook.book.plots.subplots()
    axes.plot([0, 1], [0, slope])
    return figure, f"It rises by {slope}."


def table() -> decisions.Table:
    """One state and two actions, of which one goes on for ever."""
    going_on = torch.tensor([[[1.0], [0.0]]])
    return decisions.Table(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2, 1, dtype=torch.int64), going_on, torch.ones(1))


def scenes() -> data.Scenes:
    return data.digit_scenes(1, size=24, generator=torch.Generator().manual_seed(0))


def updated(metric: Any, *arguments: Tensor, **options: Tensor) -> Any:
    metric.update(*arguments, **options)
    return metric


# What makes one of each public class, by module and name.
MAKERS: dict[str, Callable[[], Any]] = {
    "atlas.Peer": lambda: lossbook.book.atlas.PEERS["hinge"][0],
    "boosting.AdaBoost": lambda: boosting.AdaBoost(2).fit(FEATURES, SIGNS),
    "boosting.Descent": lambda: boosting.coordinate_descent(FEATURES, SIGNS, rounds=2),
    "boosting.Stump": lambda: boosting.AdaBoost(1).fit(FEATURES, SIGNS).stumps[0],
    "claims.Claim": lambda: claims.LEDGER["C07"],
    "claims.ClaimBox": lambda: claims.show("C07"),
    "claims.Measurement": lambda: claims.LEDGER["C07"].measure(),
    "consistency.CalibrationCheck": lambda: consistency.calibration_check(margins.perceptron),
    "consistency.EstimateReport": lambda: consistency.estimate_report(PROBS, 0.6),
    "data.Grouped": lambda: data.Grouped(*data.german()),
    "data.Images": lambda: data.Images(*data.digits()),
    "data.Instances": data.nuclei,
    "data.Scenes": scenes,
    "data.Tabular": data.breast_cancer,
    "data.Texts": data.sms_spam,
    "decisions.Estimate": lambda: decisions.Estimate(1.0, 0.5, 1.5),
    "decisions.Table": table,
    "decisions.Values": lambda: decisions.value_iteration(table(), discount=0.5),
    "explorer.Caps": lambda: lossbook.explorer.Caps(1, 2, 3.0),
    "explorer.Explorer": lambda: lossbook.explore(line, slope=[1.0, 2.0]),
    "explorer.Frame": lambda: lossbook.explorer.Frame(ET.Element("svg"), "A line."),
    "fairness.Interval": lambda: fairness.Interval(torch.zeros(2), torch.ones(2)),
    "fairness.ParityFrontier": lambda: fairness.parity_frontier(PROBS, groups=GROUPS),
    "linear.Line": lambda: linear.Line(torch.ones(2), torch.tensor(0.5)),
    "linear.LinearFit": lambda: linear.fit_linear(FEATURES, SIGNS, loss="logistic", l2=0.5),
    "metrics.CalibrationError": lambda: updated(metrics.CalibrationError(), PROBS, LABELS),
    "metrics.GroupRates": lambda: updated(metrics.GroupRates(2), LABELS, LABELS, groups=GROUPS),
    "metrics.PanopticQuality": lambda: updated(metrics.PanopticQuality(things={1}, stuff={2}, void=0), MAP, MAP),
    "metrics.RatesByGroup": lambda: updated(metrics.GroupRates(2), LABELS, LABELS, groups=GROUPS).compute(),
    "multiclass.OptimalScores": lambda: multiclass.optimal_scores(torch.tensor([0.5, 0.3, 0.2]), rule="crammer_singer"),
    "multitask.UncertaintyWeighting": lambda: multitask.UncertaintyWeighting(["regression", "classification"]),
    "panoptic.ClassQuality": lambda: panoptic.panoptic_quality(MAP, MAP, things={1}, stuff={2}, void=0).by_class[1],
    "panoptic.PanopticQuality": lambda: panoptic.panoptic_quality(MAP, MAP, things={1}, stuff={2}, void=0),
    "benchmarks.Results": lambda: lossbook.book.benchmarks.read("benchmarks/results"),
    "explorer.StaticFigure": lambda: lossbook.book.plots.StaticFigure("<svg/>", "A line."),
    "privacy.RandomizedResponse": lambda: privacy.RandomizedResponse(1.0),
    "reliability.MurphyDecomposition": lambda: reliability.murphy_decomposition(PROBS, LABELS),
    "reliability.PlattScaling": lambda: reliability.fit_platt(PROBS - 0.5, LABELS),
    "reliability.ReliabilityCurve": lambda: reliability.reliability_curve(PROBS, LABELS),
    "sets.BoxSetLoss": lambda: sets.BoxSetLoss(2),
    "sets.BoxTargets": lambda: sets.BoxTargets(torch.tensor([1]), BOX),
    "sets.MaskCosts": lambda: sets.pairwise_mask_costs(torch.zeros(2, 3, 3), torch.ones(1, 3, 3)),
    "sets.MaskSetLoss": lambda: sets.MaskSetLoss(2),
    "sets.MaskTargets": lambda: sets.MaskTargets(torch.tensor([1]), torch.ones(1, 3, 3)),
    "sets.Match": lambda: box_loss().matches[0],
    "sets.SetLoss": box_loss,
    "zero_one.BestLine": lambda: zero_one.best_line(FEATURES, SIGNS),
    "auditor.Report": lambda: lossbook.audit(margins.perceptron),
    "auditor.Finding": lambda: lossbook.audit(margins.perceptron).findings[0],
    "margins.MarginLoss": lambda: LOSSES["hinge"],
}
HANDED_OUT: dict[str, Callable[[], Any]] = {
    **MAKERS,
    **{f"margins.{name}": lambda loss=loss: loss for name, loss in LOSSES.items()},
    "margins.ramp_loss": lambda: ramp_loss(-0.5),
    **{f"margins.{name}.scaled": lambda loss=loss: loss.scaled(3.0) for name, loss in LOSSES.items()},
    "margins.ramp_loss.scaled.scaled": lambda: ramp_loss(0.25).scaled(2).scaled(0.5),
}
every = pytest.mark.parametrize("name", HANDED_OUT)


def public_classes() -> Iterator[str]:
    for module in lossbook._MODULES:
        module_ = import_module(f"lossbook.{module}")
        yield from (f"{module.removeprefix('book.')}.{name}" for name in module_.__all__ if inspect.isclass(getattr(module_, name)))


def test_every_public_class_is_tried() -> None:
    assert set(MAKERS) == set(public_classes())
    for name, maker in MAKERS.items():
        assert type(maker()).__name__ == name.split(".")[1]


def same(one: Any, other: Any) -> bool:
    """The same class, and the same in every part; functions are the same objects."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        with torch.no_grad():
            return one.dtype == other.dtype and torch.equal(one.nan_to_num(77), other.nan_to_num(77)) and one.requires_grad == other.requires_grad
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, ET.Element):
        return ET.tostring(one) == ET.tostring(other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if is_dataclass(one) and type(one).__eq__ is object.__eq__:
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    if type(one).__eq__ is object.__eq__ and hasattr(one, "__dict__") and not inspect.isroutine(one):
        return same(one.__getstate__(), other.__getstate__())  # a metric's has no wrapped methods in it
    return bool(one == other)


def saved(thing: Any) -> Any:
    """Through `torch.save`, which a checkpoint goes through."""
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "pickle, protocol 2": lambda thing: pickle.loads(pickle.dumps(thing, 2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "torch.save": saved,
}


@every
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_is_the_same(way: str, name: str) -> None:
    thing = HANDED_OUT[name]()
    assert same(WAYS[way](thing), thing)


def test_a_copied_loss_is_equal_and_computes_the_same() -> None:
    m, share = torch.linspace(-2, 2, 9), torch.linspace(0, 1, 5)
    for loss in (*LOSSES.values(), ramp_loss(-0.5), LOSSES["ramp"].scaled(2).scaled(3)):
        for way in WAYS.values():
            twin = way(loss)
            assert twin == loss
            assert hash(twin) == hash(loss)
            assert torch.equal(twin(m), loss(m))
            assert torch.equal(twin.derivative(m), loss.derivative(m))
            for method in ("minimizer", "minimal_risk", "psi"):
                assert torch.equal(getattr(twin, method)(share), getattr(loss, method)(share))
    assert ramp_loss(-0.5) != ramp_loss(-0.25)
    assert LOSSES["hinge"].scaled(2) != LOSSES["hinge"].scaled(3)


def test_another_process_computes_the_same() -> None:
    """It starts from nothing, as a spawned worker does."""
    losses = [*LOSSES.values(), ramp_loss(-0.5), LOSSES["ramp"].scaled(2).scaled(3)]
    m = torch.linspace(-2, 2, 9)
    program = "import pickle, sys; losses, m = pickle.load(sys.stdin.buffer); sys.stdout.buffer.write(pickle.dumps([loss(m) for loss in losses]))"
    run = subprocess.run([sys.executable, "-c", program], input=pickle.dumps((losses, m)), capture_output=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr.decode()
    for loss, found in zip(losses, pickle.loads(run.stdout), strict=True):
        assert torch.equal(found, loss(m))


def test_a_module_that_holds_a_loss_can_be_saved() -> None:
    model = torch.nn.Linear(2, 1)
    model.loss = LOSSES["logistic"].scaled(2)
    for twin in (saved(model), copy.deepcopy(model)):
        assert twin.loss == model.loss
        assert torch.equal(twin.weight, model.weight)
