"""reliability: against its definitions in float64, torchmetrics and scikit-learn."""

from __future__ import annotations

import math
import re
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from torch import Tensor

from lossbook import reliability
from lossbook.reliability import (
    _bins,
    brier_score,
    expected_calibration_error,
    fit_platt,
    fit_temperature,
    murphy_decomposition,
    reliability_curve,
)

NORMS = ["l1", "l2", "max"]


def forecasts(generator: torch.Generator, cases: int = 3000, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Probabilities and labels that come true with another probability, p squared, so that every bin is off."""
    probs = torch.rand(cases, generator=generator, dtype=torch.float64)
    labels = (torch.rand(cases, generator=generator, dtype=torch.float64) < probs.square()).long()
    return probs.to(dtype), labels


def by_definition(confidence: Tensor, correct: Tensor, bins: int, norm: str) -> float:
    """The formula, bin by bin in float64, with `torch.bucketize` to say which bin."""
    confidence, correct = confidence.double().cpu(), correct.double().cpu()
    index = (torch.bucketize(confidence, torch.arange(bins + 1, dtype=torch.float64) / bins) - 1).clamp(min=0)
    gaps, shares = [], []
    for b in range(bins):
        inside = index == b
        if inside.any():
            gaps.append(abs(float(correct[inside].mean() - confidence[inside].mean())))
            shares.append(float(inside.double().mean()))
    return {"l1": sum(s * g for s, g in zip(shares, gaps, strict=True)), "max": max(gaps)}.get(
        norm, math.sqrt(sum(s * g * g for s, g in zip(shares, gaps, strict=True)))
    )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bins", [1, 2, 10, 15, 97])
def test_calibration_error_is_its_definition(generator, device, dtype, norm, bins):
    probs, labels = (tensor.to(device) for tensor in forecasts(generator, dtype=dtype))
    value = expected_calibration_error(probs, labels, bins=bins, norm=norm)
    assert value.dtype == torch.float64
    assert value.device.type == device.type
    assert float(value) == pytest.approx(by_definition(probs, labels, bins, norm), abs=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_calibration_error_of_the_top_label(generator, device, norm):
    logits = torch.randn(2000, 7, generator=generator).to(device)
    probs = (3 * logits).softmax(1)
    labels = torch.multinomial(logits.softmax(1).cpu(), 1, generator=generator)[:, 0].to(device)
    confidence, top = probs.max(1)
    value = expected_calibration_error(probs, labels, norm=norm)
    assert float(value) > 0.1
    assert float(value) == pytest.approx(by_definition(confidence, top == labels, 15, norm), abs=1e-12)


def test_two_classes_as_one_column_or_two():
    # [N] asks about label 1, [N, 2] about the winning class: 0.2 said of label 1 is 0.8 said of label 0
    probs, labels = torch.tensor([0.2, 0.2, 0.2, 0.2, 0.8]), torch.tensor([0, 0, 0, 1, 1])
    # label 1: the bin of 0.2 has frequency 1/4, the bin of 0.8 frequency 1: (4 * 0.05 + 1 * 0.2) / 5
    assert float(expected_calibration_error(probs, labels, bins=2)) == pytest.approx(0.08, abs=1e-7)
    # winning class: all five at 0.8, four of them right: exactly calibrated
    assert float(expected_calibration_error(torch.stack((1 - probs, probs), 1), labels, bins=2)) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("real_type", [torch.float32, torch.float64])
@pytest.mark.parametrize("bins", [*range(1, 40), 49, 98, 103, 1000])
def test_bins_are_those_of_bucketize_on_and_around_every_edge(bins, real_type):
    edges = torch.arange(bins + 1, dtype=torch.float64) / bins
    on = edges.to(real_type)
    near = torch.cat((on, torch.nextafter(on, torch.zeros_like(on)), torch.nextafter(on, torch.ones_like(on)), torch.tensor([1e-40]).to(real_type)))
    expected = torch.bincount((torch.bucketize(near.double(), edges) - 1).clamp(min=0), minlength=bins)
    curve = reliability_curve(near, torch.zeros(len(near), dtype=torch.long), bins=bins)
    assert torch.equal(curve.edges, edges)
    assert torch.equal(curve.counts.long(), expected)
    differentiable = reliability_curve(near.clone().requires_grad_(), torch.zeros(len(near), dtype=torch.long), bins=bins)
    assert torch.equal(differentiable.counts.long(), expected)


def test_a_million_float32_samples_within_1e_9_of_float64(generator):
    # one bin holds everything and the gap is 0.01: float32 sums lose it
    probs = torch.full((1_000_000,), 0.51)
    labels = (torch.arange(1_000_000) % 2).long()
    assert float(expected_calibration_error(probs, labels)) == pytest.approx(float(probs[0].double()) - 0.5, abs=1e-9)
    probs, labels = forecasts(generator, 200_000, torch.float32)
    assert float(expected_calibration_error(probs, labels)) == pytest.approx(by_definition(probs, labels, 15, "l1"), abs=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_agrees_with_torchmetrics(generator, norm):
    from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

    probs, labels = forecasts(generator)  # torchmetrics works in float32, whatever it is given
    assert float(expected_calibration_error(probs, labels, norm=norm)) == pytest.approx(
        float(binary_calibration_error(probs, labels, n_bins=15, norm=norm)), abs=1e-6
    )
    classes = torch.randn(2000, 4, generator=generator, dtype=torch.float64).softmax(1)
    labels = torch.randint(0, 4, (2000,), generator=generator)
    assert float(expected_calibration_error(classes, labels, bins=10, norm=norm)) == pytest.approx(
        float(multiclass_calibration_error(classes, labels, num_classes=4, n_bins=10, norm=norm)), abs=1e-6
    )


def test_curve_agrees_with_scikit_learn(generator):
    from sklearn.calibration import calibration_curve

    probs, labels = forecasts(generator, 400)
    probs = probs / 2  # the upper bins are empty
    frequency, confidence = calibration_curve(labels.numpy(), probs.numpy(), n_bins=12)
    curve = reliability_curve(probs, labels, bins=12)
    full = curve.counts > 0
    assert full.tolist() == [True] * 6 + [False] * 6
    assert curve.frequency[~full].isnan().all()
    assert np.allclose(curve.frequency[full], frequency, atol=1e-12, rtol=0)
    assert np.allclose(curve.confidence[full], confidence, atol=1e-12, rtol=0)


def test_brier_score_agrees_with_scikit_learn(generator, device):
    from sklearn.metrics import brier_score_loss

    probs, labels = forecasts(generator)
    expected = brier_score_loss(labels.numpy(), probs.numpy())
    assert float(brier_score(probs.to(device), labels.to(device))) == pytest.approx(expected, abs=1e-12)
    classes = torch.randn(500, 4, generator=generator, dtype=torch.float64).softmax(1)
    labels = torch.randint(0, 4, (500,), generator=generator)
    expected = brier_score_loss(labels.numpy(), classes.numpy(), scale_by_half=False, labels=[0, 1, 2, 3])
    assert float(brier_score(classes.to(device), labels.to(device))) == pytest.approx(expected, abs=1e-12)


def test_brier_score_reductions_and_the_two_forms(generator):
    probs, labels = forecasts(generator, 50)
    each = brier_score(probs, labels, reduction="none")
    assert each.shape == (50,)
    assert float(brier_score(probs, labels, reduction="sum")) == pytest.approx(float(each.sum()), abs=1e-12)
    assert float(brier_score(probs, labels)) == pytest.approx(float(each.mean()), abs=1e-12)
    both = brier_score(torch.stack((1 - probs, probs), 1), labels, reduction="none")
    torch.testing.assert_close(both, 2 * each)


def test_brier_score_has_its_gradient(generator):
    probs, labels = forecasts(generator, 6)
    assert torch.autograd.gradcheck(lambda p: brier_score(p, labels), probs.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda p: brier_score(p, labels), probs)


def test_brier_score_is_smallest_at_the_truth():
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64)
    labels = torch.tensor([1] * 7 + [0] * 3)
    risks = torch.stack([brier_score(p.expand(10), labels) for p in grid])
    assert float(grid[risks.argmin()]) == pytest.approx(0.7)


@pytest.mark.parametrize("bins", [None, 1, 10, 15])
def test_murphy_terms_add_up_to_the_brier_score(generator, device, bins):
    probs, labels = forecasts(generator, 1000)
    probs = (probs * 40).round() / 40
    parts = murphy_decomposition(probs.to(device), labels.to(device), bins=bins)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert float(total) == pytest.approx(float(brier_score(probs, labels)), abs=1e-12)
    base = float(labels.double().mean())
    assert float(parts.uncertainty) == pytest.approx(base * (1 - base), abs=1e-12)
    if bins is None:
        assert float(parts.within) == pytest.approx(0, abs=1e-12)
    if bins == 1:
        assert float(parts.resolution) == pytest.approx(0, abs=1e-12)


def test_murphy_in_half_precision(generator, dtype):
    probs, labels = forecasts(generator, 500, dtype)
    parts, exact = (murphy_decomposition(each, labels, bins=15) for each in (probs, probs.double()))
    assert [part.dtype for part in parts] == [torch.float64] * 4
    torch.testing.assert_close(parts, exact, rtol=0, atol=1e-12)


def test_murphy_reliability_is_the_squared_l2_error(generator):
    probs, labels = forecasts(generator)
    l2 = float(expected_calibration_error(probs, labels, norm="l2"))
    assert float(murphy_decomposition(probs, labels, bins=15).reliability) == pytest.approx(l2**2, abs=1e-12)


def test_a_temperature_that_was_put_in_is_found(generator, device):
    logits = 2 * torch.randn(40_000, 5, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    found = fit_temperature((3 * logits).to(device), labels.to(device))
    assert found.dtype == torch.float64
    # the estimate's spread is 1/sqrt(N * variance of the logits under the model) * T < 0.02; five of them
    assert float(found) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0, 1e4])
def test_temperature_is_stationary_and_moves_with_the_scale(generator, scale):
    logits = torch.randn(300, 4, generator=generator, dtype=torch.float64)
    labels = torch.multinomial((0.7 * logits).softmax(1), 1, generator=generator)[:, 0]
    log_temperature = fit_temperature(scale * logits, labels).log().requires_grad_()
    loss = torch.nn.functional.cross_entropy(scale * logits / log_temperature.exp(), labels)
    (slope,) = torch.autograd.grad(loss, log_temperature)
    assert abs(float(slope)) < 1e-9
    assert float(fit_temperature(scale * logits, labels)) == pytest.approx(scale * float(fit_temperature(logits, labels)), rel=1e-9)


def test_temperature_agrees_with_scikit_learn(generator):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Ready(ClassifierMixin, BaseEstimator):
        """A fitted classifier whose features are its logits."""

        def fit(self, features, labels):
            self.classes_ = np.arange(3)
            return self

        def decision_function(self, features):
            return features

        def predict(self, features):
            return features.argmax(1)

    logits = 4 * torch.randn(500, 3, generator=generator, dtype=torch.float64)
    labels = torch.multinomial((logits / 3).softmax(1), 1, generator=generator)[:, 0]
    ready = Ready().fit(logits.numpy(), labels.numpy())
    peer = CalibratedClassifierCV(FrozenEstimator(ready), method="temperature").fit(logits.numpy(), labels.numpy())
    ours = (logits / fit_temperature(logits, labels)).softmax(1)
    # the peer's search stops at 64 float64 epsilons of its objective: 1e-6 in the temperature
    assert np.allclose(ours, peer.predict_proba(logits.numpy()), atol=1e-5)


def test_binary_temperature_is_that_of_two_classes(generator):
    logits = 3 * torch.randn(200, generator=generator, dtype=torch.float64)
    labels = torch.bernoulli(torch.sigmoid(logits / 2), generator=generator).long()
    two = torch.stack((torch.zeros_like(logits), logits), 1)
    assert float(fit_temperature(logits, labels)) == pytest.approx(float(fit_temperature(two, labels)), rel=1e-12)


def test_no_temperature_is_best():
    with pytest.raises(ValueError, match="`logits` should rank at least one label below another class"):
        fit_temperature(torch.tensor([2.0, -1.0]), torch.tensor([1, 0]))
    with pytest.raises(ValueError, match="`logits` should favour their labels on average"):
        fit_temperature(torch.tensor([2.0, -1.0]), torch.tensor([0, 1]))


def test_platt_agrees_with_scikit_learn(generator):
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.svm import LinearSVC

    features = torch.randn(600, 3, generator=generator, dtype=torch.float64)
    labels = torch.bernoulli(torch.sigmoid(2 * features[:, 0] - 1), generator=generator).long()
    machine = LinearSVC().fit(features[:200].numpy(), labels[:200].numpy())
    scores = torch.from_numpy(machine.decision_function(features[200:].numpy()))
    peer = CalibratedClassifierCV(FrozenEstimator(machine), method="sigmoid").fit(features[200:].numpy(), labels[200:].numpy())
    expected = torch.from_numpy(peer.predict_proba(features[200:].numpy())[:, 1])
    platt = fit_platt(scores, labels[200:])
    # both minimise the same convex loss; scikit-learn's L-BFGS stops where the gradient is below 1e-6
    torch.testing.assert_close(platt.probs(scores), expected, atol=1e-5, rtol=0)
    calibrator = peer.calibrated_classifiers_[0].calibrators[0]
    assert float(platt.slope) == pytest.approx(-calibrator.a_, rel=1e-4)
    assert float(platt.intercept) == pytest.approx(-calibrator.b_, rel=1e-4)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_platt_solves_its_score_equations_with_platts_targets(generator, device, scale):
    scores = scale * torch.randn(80, generator=generator, dtype=torch.float64)
    labels = torch.bernoulli(torch.sigmoid(scores / scale), generator=generator).long()
    platt = fit_platt(scores.to(device), labels.to(device))
    ones = int(labels.sum())
    targets = torch.tensor([1 / (80 - ones + 2), (ones + 1) / (ones + 2)], dtype=torch.float64)[labels]
    residual = platt.probs(scores.to(device)).cpu() - targets
    assert abs(float(residual.sum())) < 1e-9
    assert abs(float((residual * scores / scale).sum())) < 1e-9


def test_platt_stays_finite_on_separable_and_on_equal_scores():
    separable = fit_platt(torch.tensor([-2.0, -1.0, 1.0, 2.0]), torch.tensor([0, 0, 1, 1]))
    assert 0 < float(separable.slope) < 10
    constant = fit_platt(torch.full((4,), 3.0), torch.tensor([0, 1, 1, 1]))
    assert float(constant.slope) == 0
    # the mean of the targets 1/3, 4/5, 4/5, 4/5
    assert float(constant.probs(torch.tensor(3.0))) == pytest.approx((1 / 3 + 3 * 4 / 5) / 4, abs=1e-6)
    negatives = fit_platt(torch.tensor([0.0, 1.0]), torch.tensor([0, 0]))
    assert float(negatives.probs(torch.tensor(0.5))) == pytest.approx(1 / 4, abs=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_calibration_error_has_its_gradient_inside_the_bins(norm):
    probs = torch.tensor([0.11, 0.13, 0.52, 0.71, 0.77], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 1, 1, 0])
    assert torch.autograd.gradcheck(lambda p: expected_calibration_error(p, labels, bins=10, norm=norm), probs)
    perfect = torch.tensor([0.5, 0.5], requires_grad=True)
    expected_calibration_error(perfect, torch.tensor([0, 1]), norm=norm).backward()
    assert perfect.grad.isfinite().all()


@pytest.mark.parametrize("norm", NORMS)
def test_compiles_and_maps(generator, norm):
    probs, labels = forecasts(generator, 600, torch.float32)
    plain = expected_calibration_error(probs, labels, norm=norm)
    compiled = torch.compile(lambda p, y: expected_calibration_error(p, y, norm=norm), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(probs, labels), plain)
    rows = torch.func.vmap(lambda p, y: expected_calibration_error(p, y, norm=norm))(probs.view(3, 200), labels.view(3, 200))
    alone = [expected_calibration_error(p, y, norm=norm) for p, y in zip(probs.view(3, 200), labels.view(3, 200), strict=True)]
    torch.testing.assert_close(rows, torch.stack(alone))
    torch.testing.assert_close(torch.compile(brier_score, fullgraph=True, backend="aot_eager")(probs, labels), brier_score(probs, labels))


def test_an_empty_batch_has_no_error():
    nothing, none = torch.zeros(0), torch.zeros(0, dtype=torch.long)
    assert [float(expected_calibration_error(nothing, none, norm=norm)) for norm in NORMS] == [0, 0, 0]
    assert float(brier_score(nothing, none)) == 0
    assert reliability_curve(nothing, none, bins=3).counts.tolist() == [0, 0, 0]


@pytest.mark.parametrize("labels_type", [torch.uint8, torch.int32, torch.int64])
def test_any_integer_labels_and_any_layout(generator, labels_type):
    probs, labels = forecasts(generator, 100)
    expected = expected_calibration_error(probs, labels)
    strided = torch.stack((probs, probs), 1)[:, 0]
    torch.testing.assert_close(expected_calibration_error(strided, labels.to(labels_type)), expected)
    torch.testing.assert_close(brier_score(strided, labels.to(labels_type)), brier_score(probs, labels))


@pytest.mark.parametrize("norm", NORMS)
def test_pieces_change_nothing(generator, dtype, norm, monkeypatch):
    probs, labels = forecasts(generator, 1000, dtype)
    probs.requires_grad_()
    (whole,) = torch.autograd.grad(expected_calibration_error(probs, labels, norm=norm), probs)
    monkeypatch.setattr(_bins, "_PIECE", 64)
    value = expected_calibration_error(probs, labels, norm=norm)
    assert value.item() == pytest.approx(by_definition(probs.detach(), labels, 15, norm), abs=1e-12)
    torch.testing.assert_close(torch.autograd.grad(value, probs)[0], whole)


@pytest.mark.parametrize("real_type", [torch.float32, torch.float64])
def test_minus_zero_is_zero_and_one_is_one(real_type):
    probs, labels = torch.tensor([-0.0, 0.0, 1.0, 1.0], dtype=real_type), torch.tensor([0, 1, 1, 0])
    assert float(expected_calibration_error(probs, labels)) == 0.5  # half of what is said to be sure comes true, in both bins


@pytest.mark.parametrize(
    ("prob", "label", "message"),
    [
        (math.nan, 1, "`probs` should lie in [0, 1]; found NaN."),
        (-0.001, 1, "`probs` should lie in [0, 1]; found values from -0.001 to 0.75."),
        (1.001, 0, "`probs` should lie in [0, 1]; found values from 0.25 to 1.001."),
        (0.5, 2, "`labels` should lie in [0, 2); found values from 0 to 2."),
        (0.5, -1, "`labels` should lie in [0, 2); found values from -1 to 1."),
    ],
)
def test_what_is_wrong_in_a_late_case_is_found(prob, label, message):
    probs, labels = torch.tensor([0.25, 0.75] * 500), torch.tensor([0, 1] * 500)
    probs[900], labels[900] = prob, label
    for measure in (expected_calibration_error, reliability_curve):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            measure(probs, labels)


HALF, ONE = torch.tensor([0.5]), torch.tensor([1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: expected_calibration_error(HALF[None, None], ONE),
            ValueError,
            "`probs` should have shape [N] or [N, K] with K >= 1; found (1, 1, 1).",
        ),
        (lambda: murphy_decomposition(HALF[None], ONE), ValueError, "`probs` should have shape [N]; found (1, 1)."),
        (lambda: murphy_decomposition(HALF[:0], ONE[:0]), ValueError, "`labels` should hold at least one label; found none."),
        (lambda: fit_temperature(HALF[:0], ONE[:0]), ValueError, "`logits` should hold at least one case; found (0,)."),
        (lambda: fit_temperature(torch.zeros(2, 3), torch.tensor([0, 3])), ValueError, "`labels` should lie in [0, 3); found values from 0 to 3."),
        (lambda: fit_platt(torch.tensor([math.nan]), ONE), ValueError, "`scores` should be finite; found NaN."),
        (lambda: fit_platt(HALF[:0], ONE[:0]), ValueError, "`scores` should hold at least one case; found (0,)."),
    ],
)
def test_what_bad_arguments_get(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_the_public_names():
    assert sorted(reliability.__all__) == [
        "MurphyDecomposition",
        "PlattScaling",
        "ReliabilityCurve",
        "brier_score",
        "error_of_curve",
        "expected_calibration_error",
        "fit_platt",
        "fit_temperature",
        "murphy_decomposition",
        "reliability_curve",
    ]


# --- the same on every path ------------------------------------------------------------------------------------------------------------------------


class Renamed(Tensor):
    """A tensor that only has another name, as torchvision's tv_tensors do."""


@pytest.mark.parametrize("measure", [brier_score, expected_calibration_error, reliability_curve])
def test_a_row_that_is_no_distribution_is_refused_on_every_path(measure):
    probs, labels = torch.tensor([[0.5, 0.5], [0.9, 0.9]]), torch.tensor([0, 1])
    words = r"`probs` should sum to 1 along axis 1; found a sum of 1\.8"
    for given in (probs, probs.double(), probs.clone().requires_grad_(), probs.as_subclass(Renamed), torch.nn.Parameter(probs)):
        with pytest.raises(ValueError, match=words):
            measure(given, labels)
    with pytest.raises(ValueError, match=words):
        torch.vmap(lambda p: measure(p, labels))(probs.expand(3, 2, 2))
    torch.compiler.reset()
    with pytest.raises(RuntimeError, match="`probs` should sum to 1 along axis 1"):
        torch.compile(measure, backend="aot_eager")(probs, labels)
    for bad, found in (([0.995, 0.0], "0.995"), ([1.0, 0.02], "1.02"), ([0.0, 0.0], "0")):
        if bad[0] != 0.995:  # as near to 1 as half precision
            with pytest.raises(ValueError, match=f"found a sum of {re.escape(found)}"):
                measure(torch.tensor([bad]), torch.tensor([0]))
        else:
            measure(torch.tensor([bad]), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"`probs` should lie in \[0, 1\]; found values from -0\.5 to 1\.5"):
        measure(torch.tensor([[1.5, -0.5]]), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"`probs` should lie in \[0, 1\]; found NaN"):
        measure(torch.tensor([[math.nan, 0.5]]), torch.tensor([0]))


@pytest.mark.parametrize(("row", "words"), [([0.9, 0.9], "sum to 1"), ([math.nan, 1.0], "found NaN"), ([1.25, -0.25], "lie in")])
def test_a_late_row_is_looked_at(row, words):
    probs, labels = torch.tensor([[0.25, 0.75]] * 500), torch.tensor([0, 1] * 250)
    probs[450] = torch.tensor(row)
    with pytest.raises(ValueError, match=words):
        expected_calibration_error(probs, labels)


def test_of_equal_classes_the_first_is_the_top_label(generator, monkeypatch):
    """In pieces as in one; sums a little off 1 are taken."""
    monkeypatch.setattr(_bins, "_PIECE", 64)
    probs = torch.randint(0, 3, (900, 4), generator=generator).double() + 1e-3
    probs = probs / probs.sum(1, keepdim=True) * (1 - 0.009 * torch.rand(900, 1, generator=generator, dtype=torch.float64))
    probs[:3] = torch.tensor([[0.5, 0.5, 0, 0], [0, 0.502, 0.502, 0], [0.25] * 4], dtype=torch.float64)
    labels = torch.randint(0, 4, (900,), generator=generator)
    labels[:3] = torch.tensor([1, 2, 0])
    top = torch.tensor([row.index(max(row)) for row in probs.tolist()])
    expected = by_definition(probs.amax(1), top == labels, 15, "l1")
    assert 0.05 < (probs.sort(1).values[:, -1] == probs.sort(1).values[:, -2]).double().mean() < 0.95
    for given in (probs, probs.mT.contiguous().mT, probs.clone().requires_grad_()):
        assert expected_calibration_error(given, labels).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int64])
def test_labels_of_every_integer_dtype_up_to_its_ends(dtype, generator):
    probs, labels = forecasts(generator, 60)
    two = torch.stack((1 - probs, probs), 1)
    logits = 4 * (labels.double() - 0.5) + torch.randn(60, generator=generator, dtype=torch.float64)
    logits[0] = -logits[0]
    for measure in (expected_calibration_error, brier_score, murphy_decomposition, lambda p, y: reliability_curve(p, y).frequency.nan_to_num()):
        torch.testing.assert_close(measure(probs, labels.to(dtype)), measure(probs, labels), rtol=0, atol=0)
    for measure in (expected_calibration_error, brier_score):
        torch.testing.assert_close(measure(two, labels.to(dtype)), measure(two, labels), rtol=0, atol=0)
    for fit in (fit_temperature, lambda s, y: fit_platt(s, y).slope):
        assert fit(logits, labels.to(dtype)) == fit(logits, labels)
    for extreme in {torch.iinfo(dtype).max, torch.iinfo(dtype).min} - {0}:
        for measure in (expected_calibration_error, brier_score, murphy_decomposition, fit_temperature, fit_platt):
            with pytest.raises(ValueError, match=r"`labels` should lie in \[0, 2\)"):
                measure(probs, torch.full((60,), extreme, dtype=dtype))


def test_numbers_of_numpy_are_numbers(generator):
    probs, labels = forecasts(generator, 60)
    assert expected_calibration_error(probs, labels, bins=np.int64(7)) == expected_calibration_error(probs, labels, bins=7)
    assert torch.equal(reliability_curve(probs, labels, bins=np.uint8(7)).counts, reliability_curve(probs, labels, bins=7).counts)
    assert murphy_decomposition(probs, labels, bins=np.int32(7)) == murphy_decomposition(probs, labels, bins=7)


@pytest.mark.parametrize("bins", [None, 5])
def test_murphy_maps_compiles_and_has_its_gradient(bins, generator):
    probs, labels = forecasts(generator, 40)
    probs = ((probs * 10).round() / 10 + 0.003).clamp(max=1)  # ties, and away from the edges of five bins
    probs[:2] = torch.tensor([0.0, -0.0])
    rows, truths = probs.view(2, 20), labels.view(2, 20)
    one_by_one = [torch.stack(murphy_decomposition(p, y, bins=bins)) for p, y in zip(rows, truths, strict=True)]
    mapped = torch.vmap(lambda p, y: torch.stack(murphy_decomposition(p, y, bins=bins)))(rows, truths)
    torch.testing.assert_close(mapped, torch.stack(one_by_one))
    torch.compiler.reset()
    compiled = torch.compile(lambda p, y: torch.stack(murphy_decomposition(p, y, bins=bins)), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(rows[0], truths[0]), one_by_one[0])
    leaf = rows[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(murphy_decomposition(leaf, truths[0], bins=bins).reliability, leaf)
    # d/dp_i of sum_b n_b/N (conf_b - freq_b)^2 is 2/N (conf_b - freq_b)
    keys = rows[0] + 0.0 if bins is None else (rows[0] * bins).ceil().clamp(min=1)
    gaps = [float((rows[0] - truths[0])[keys == key].mean()) for key in keys]
    torch.testing.assert_close(slope, torch.tensor(gaps, dtype=torch.float64) / 10)


def test_a_brier_score_near_0_keeps_its_digits():
    """p² - 2 p + 1 is 0 for 0.99999 in float32, and was."""
    probs = torch.tensor([[0.99999, 1e-5, 0.0], [1e-6, 0.999999, 0.0]])
    labels = torch.tensor([0, 1])
    torch.testing.assert_close(brier_score(probs, labels, reduction="none").double(), brier_score(probs.double(), labels, reduction="none"))
    assert float(brier_score(probs, labels)) > 1e-12


def test_more_bins_than_float32_can_count():
    """p * bins is rounded past the last bin in float32."""
    probs = torch.tensor([1.0, 0.5]).requires_grad_()
    error = expected_calibration_error(probs, torch.tensor([1, 0]), bins=2**24 + 3)
    assert error.item() == 0.25
    assert murphy_decomposition(probs.detach(), torch.tensor([1, 0]), bins=2**24 + 3).within.item() == 0


# --- fits at every scale ---------------------------------------------------------------------------------------------------------------------------


def exact_temperature(logits, labels):
    """By bisection on the slope of the loss in 1/T, in decimals of 60 digits."""
    rows = [[Decimal(z) - Decimal(row[y]) for z in row] for row, y in zip(logits.double().tolist(), labels.tolist(), strict=True)]

    def slope(inverse):
        total = Decimal(0)
        for row in rows:
            weights = [(inverse * (z - max(row))).exp() for z in row]
            total += sum(w * z for w, z in zip(weights, row, strict=True)) / sum(weights)
        return total

    low, high = Decimal("1e-330"), Decimal("1e330")
    while high / low > Decimal("1.00000000000001"):
        middle = (low * high).sqrt()
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / low


UNEVEN = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 0.25], [3.0, 1.0, 2.0], [0.1, 0.2, 0.3], [2.0, 0.0, 0.0]], dtype=torch.float64)
UNEVEN_LABELS = torch.tensor([1, 2, 0, 1, 0])


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-38, 1.0, 1e30, 1e100, 1e200, 1e300, 5e307])
def test_a_temperature_at_every_scale(scale):
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**9), 10**9
        expected = exact_temperature(scale * UNEVEN, UNEVEN_LABELS)
        found = Decimal(fit_temperature(scale * UNEVEN, UNEVEN_LABELS).item())
        assert abs(found / expected - 1) < Decimal("1e-12")


@pytest.mark.parametrize("mask", [-1e4, -1e9, torch.finfo(torch.float32).min, torch.finfo(torch.float64).min])
def test_a_temperature_beside_a_class_that_is_masked_out(mask):
    logits = torch.cat([UNEVEN, UNEVEN.new_tensor([mask]).expand(5, 1)], 1)
    assert float(fit_temperature(logits, UNEVEN_LABELS)) == pytest.approx(float(fit_temperature(UNEVEN, UNEVEN_LABELS)), rel=1e-12)


def test_a_temperature_of_leads_of_every_size():
    """Nine digits between the leads, and a best 1/T far from 1 in both directions."""
    for leads in ([1.0, 1.0, -1e-9], [1e-9, 1e-9, -1e-9], [1e9, 1e-3, -1.0], [1.0, 1.0, 1.0, -2.999]):
        logits = torch.tensor(leads, dtype=torch.float64)
        with localcontext() as context:
            context.prec, context.Emin, context.Emax = 60, -(10**9), 10**9
            expected = exact_temperature(torch.stack([torch.zeros_like(logits), logits], 1), torch.ones(len(logits), dtype=torch.long))
            found = Decimal(fit_temperature(logits, torch.ones(len(logits), dtype=torch.uint8)).item())
            assert abs(found / expected - 1) < Decimal("1e-11")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_temperatures_in_every_dtype_at_its_ends(dtype):
    largest = torch.finfo(dtype).max / 4
    logits = (largest * UNEVEN).to(dtype)
    found = fit_temperature(logits, UNEVEN_LABELS)
    assert found.dtype == torch.float64
    assert found == fit_temperature(logits.double(), UNEVEN_LABELS)
    scores = logits[:, 0]
    assert fit_platt(scores, UNEVEN_LABELS.clamp(max=1)) == fit_platt(scores.double(), UNEVEN_LABELS.clamp(max=1))


def test_no_temperature_that_float64_holds():
    with pytest.raises(ValueError, match=r"`logits` should have a temperature that float64 holds; found logits up to 1\.7e\+308"):
        fit_temperature(torch.tensor([1.7e308, 1.7e308, -1.69e308], dtype=torch.float64), torch.ones(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"`logits` should lead for a label by at most 1e\+300 times what they lead against one"):
        fit_temperature(torch.tensor([1e-5, -1.7e308], dtype=torch.float64), torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match="`logits` should favour their labels on average"):  # by 1e-17 of them: rounding, not evidence
        fit_temperature(torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64), torch.ones(3, dtype=torch.long))
    with pytest.raises(ValueError, match="`logits` should favour their labels on average"):  # by 5e-18, again rounding
        fit_temperature(torch.tensor([[0.0, 0.3], [0.2, 0.0], [0.1, 0.0]], dtype=torch.float64), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="`logits` should rank at least one label below another class"):
        fit_temperature(torch.zeros(3, 1), torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-38, 1e38, 1e200, 1e300])
def test_platt_at_every_scale(scale):
    scores, labels = torch.tensor([-2.0, -1.0, 0.5, 1.0, 2.0], dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])
    expected, found = fit_platt(scores, labels), fit_platt(scale * scores, labels)
    torch.testing.assert_close(found.slope * scale, expected.slope, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.intercept, expected.intercept, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.probs(scale * scores), expected.probs(scores), rtol=1e-12, atol=0)


def test_no_slope_that_float64_holds():
    with pytest.raises(ValueError, match="`scores` should have a slope that float64 holds; found scores up to 1e-310"):
        fit_platt(torch.tensor([1e-310, -1e-310], dtype=torch.float64), torch.tensor([1, 0]))


@pytest.mark.parametrize("equal", [0.0, 0.1, 0.3, -1e300, 1e-300])
def test_equal_scores_have_no_slope(equal):
    assert float(fit_platt(torch.full((10,), equal, dtype=torch.float64), torch.tensor([0, 1] * 5)).slope) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_platt_probabilities_far_from_0_are_those_of_float64(dtype):
    """Slope times score and intercept are both near 1000, and cancel."""
    scores, labels = (torch.tensor([-2.0, -1.0, 1.0, 2.0]) / 4 + 256).to(dtype), torch.tensor([0, 1, 0, 1])
    platt = fit_platt(scores, labels)
    found = platt.probs(scores)
    assert found.dtype == dtype
    assert torch.equal(found, platt.probs(scores.double()).to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(platt.probs(scores), found)


def test_platt_with_one_far_score_and_with_one_class(generator):
    """Platt's score equations, also where one score in a thousand is a million times the others'."""
    scores = torch.randn(1000, generator=generator, dtype=torch.float64)
    scores[0] = 1e6
    labels = torch.bernoulli(torch.sigmoid(scores), generator=generator).long()
    for truth in (labels, 1 - labels, torch.ones_like(labels), torch.zeros_like(labels)):
        platt, ones = fit_platt(scores, truth), int(truth.sum())
        targets = torch.tensor([1 / (1000 - ones + 2), (ones + 1) / (ones + 2)], dtype=torch.float64)[truth]
        residual = platt.probs(scores) - targets
        assert abs(float(residual.sum())) < 1e-8
        assert abs(float((residual * scores / 1e6).sum())) < 1e-8


# --- what is ignored, what weighs more, other bins -----------------------------------------------------------------------------------------------

MEASURES = {
    "error": expected_calibration_error,
    "l2 error": lambda *a, **k: expected_calibration_error(*a, **k, norm="l2"),
    "largest error": lambda *a, **k: expected_calibration_error(*a, **k, norm="max"),
    "error of full bins": lambda *a, **k: expected_calibration_error(*a, **k, bins=7, binning="mass"),
    "curve": lambda *a, **k: torch.cat(reliability_curve(*a, **k)[:4]).nan_to_num(7),
    "curve of full bins": lambda *a, **k: torch.cat(reliability_curve(*a, **k, bins=7, binning="mass")).nan_to_num(7),
    "brier": brier_score,
    "brier sum": lambda *a, **k: brier_score(*a, **k, reduction="sum"),
}
BINARY = {
    "murphy": lambda *a, **k: torch.stack(murphy_decomposition(*a, **k, bins=5)),
    "murphy by value": lambda *a, **k: torch.stack(murphy_decomposition(*a, **k)),
    "temperature": lambda p, y, **k: fit_temperature(p.logit(), y, **k),
    "platt": lambda p, y, **k: torch.stack(fit_platt(p.logit(), y, **k)),
}


def by_kind(generator: torch.Generator, kind: str, cases: int = 200) -> tuple[Tensor, Tensor]:
    if kind == "binary":
        return forecasts(generator, cases)
    return torch.randn(cases, 3, generator=generator, dtype=torch.float64).softmax(1), torch.randint(0, 3, (cases,), generator=generator)


EVERY = [(name, measure, kind) for kind in ("binary", "classes") for name, measure in MEASURES.items()]
EVERY += [(name, measure, "binary") for name, measure in BINARY.items()]
every_measure = pytest.mark.parametrize(("measure", "kind"), [pytest.param(m, kind, id=f"{name}, {kind}") for name, m, kind in EVERY])


@every_measure
@pytest.mark.parametrize("ignore_index", [-100, 255, 1])
def test_what_is_ignored_is_not_there(measure, kind, ignore_index, generator):
    """The number of the others alone, whatever stands at the ignored: NaN, too."""
    probs, labels = by_kind(generator, kind)
    if ignore_index == 1 and measure is BINARY["platt"]:
        return  # of one class alone
    ignored = torch.rand(200, generator=generator) < 0.3
    labels = torch.where(ignored, ignore_index, labels)
    ignored = labels == ignore_index
    assert 30 < int(ignored.sum()) < 170
    spoilt = probs.clone()
    spoilt[ignored] = math.nan
    try:
        expected = measure(probs[~ignored], labels[~ignored])
    except ValueError as error:  # no temperature is best for label 0 alone
        with pytest.raises(ValueError, match=re.escape(str(error)[:40])):
            measure(spoilt, labels, ignore_index=ignore_index)
        return
    torch.testing.assert_close(measure(spoilt, labels, ignore_index=ignore_index), expected, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="`labels` should lie in"):
        measure(probs, torch.where(ignored, 77, labels), ignore_index=ignore_index)


@every_measure
def test_an_integer_weight_is_so_many_cases(measure, kind, generator):
    probs, labels = by_kind(generator, kind)
    times = torch.randint(0, 4, (200,), generator=generator)
    expected = measure(probs.repeat_interleave(times, 0), labels.repeat_interleave(times))
    for weight in (times, times.double(), times.half(), times.to(torch.uint8)):
        torch.testing.assert_close(measure(probs, labels, sample_weight=weight), expected, rtol=1e-9, atol=1e-12)


@every_measure
def test_equal_weights_change_no_mean(measure, kind, generator):
    if measure in (MEASURES["curve"], MEASURES["curve of full bins"], MEASURES["brier sum"], BINARY["platt"]):
        return  # these count
    probs, labels = by_kind(generator, kind)
    for weight in (1e-3, 0.1, 3e8):
        found = measure(probs, labels, sample_weight=torch.full((200,), weight, dtype=torch.float64))
        torch.testing.assert_close(found, measure(probs, labels), rtol=1e-9, atol=1e-12)


@every_measure
def test_where_all_is_ignored(measure, kind, generator):
    """0 with a gradient of 0; there is nothing to fit."""
    probs, labels = by_kind(generator, kind, 5)
    given = [{"ignore_index": -100}, {"ignore_index": -100, "sample_weight": torch.ones(5)}]
    for options in given:
        gone, leaf = torch.full_like(labels, -100), probs.clone().requires_grad_()
        if measure in (BINARY["temperature"], BINARY["platt"]):
            with pytest.raises(ValueError, match="should hold at least one case that is not ignored and has a weight; found none"):
                measure(leaf, gone, **options)
            continue
        found = measure(leaf, gone, **options)
        assert found.ndim or float(found.detach()) == 0
        (slope,) = torch.autograd.grad(found.sum(), leaf)
        assert float(slope.abs().max()) == 0
    if measure not in (BINARY["temperature"], BINARY["platt"]):
        nothing = measure(probs, labels, sample_weight=torch.zeros(5))
        torch.testing.assert_close(nothing, measure(probs, torch.full_like(labels, -100), ignore_index=-100))


@every_measure
def test_what_is_ignored_has_no_gradient(measure, kind, generator):
    if measure in (BINARY["temperature"], BINARY["platt"]):
        return
    probs, labels = by_kind(generator, kind, 40)
    labels[::3] = -100
    leaf = probs.clone().requires_grad_()
    (slope,) = torch.autograd.grad(measure(leaf, labels, ignore_index=-100).square().sum(), leaf)
    assert float(slope[::3].abs().max()) == 0
    assert float(slope.abs().max()) > 0


def test_a_label_that_a_dtype_cannot_hold_matches_nothing():
    """156 is -100 in eight bits."""
    probs, labels = torch.tensor([0.9, 0.2]), torch.tensor([1, 0], dtype=torch.uint8)
    assert brier_score(probs, labels, ignore_index=-100) == brier_score(probs, labels)
    with pytest.raises(ValueError, match=r"`labels` should lie in \[0, 2\); found values from 1 to 156"):
        brier_score(probs, torch.tensor([1, 156], dtype=torch.uint8), ignore_index=-100)
    assert float(brier_score(probs, torch.tensor([1, 255], dtype=torch.uint8), ignore_index=255)) == pytest.approx(0.01)


@pytest.mark.parametrize("norm", NORMS)
def test_weights_are_scikit_learns_and_torchmetrics_ignores_alike(norm, generator):
    from sklearn.metrics import brier_score_loss
    from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

    probs, labels = forecasts(generator)
    weight = torch.rand(3000, generator=generator, dtype=torch.float64)
    expected = brier_score_loss(labels.numpy(), probs.numpy(), sample_weight=weight.numpy())
    assert float(brier_score(probs, labels, sample_weight=weight)) == pytest.approx(expected, abs=1e-12)
    ignored = torch.where(weight < 0.2, -1, labels)
    assert float(expected_calibration_error(probs, ignored, norm=norm, ignore_index=-1)) == pytest.approx(
        float(binary_calibration_error(probs, ignored, n_bins=15, norm=norm, ignore_index=-1)), abs=1e-6
    )
    classes, truth = by_kind(generator, "classes", 2000)
    truth[::5] = -1
    assert float(expected_calibration_error(classes, truth, norm=norm, ignore_index=-1)) == pytest.approx(
        float(multiclass_calibration_error(classes, truth, num_classes=3, n_bins=15, norm=norm, ignore_index=-1)), abs=1e-6
    )


def test_fits_under_weights_are_scikit_learns(generator):
    from sklearn.calibration import _sigmoid_calibration
    from sklearn.linear_model import LogisticRegression

    scores = torch.randn(400, generator=generator, dtype=torch.float64)
    labels = torch.bernoulli(torch.sigmoid(2 * scores - 1), generator=generator).long()
    weight = 3 * torch.rand(400, generator=generator, dtype=torch.float64)
    a, b = _sigmoid_calibration(scores.numpy(), labels.numpy(), sample_weight=weight.numpy())
    platt = fit_platt(scores, labels, sample_weight=weight)
    assert [float(part) for part in platt] == pytest.approx([-a, -b], rel=1e-4)
    # 1/T is the one coefficient of a logistic regression without an intercept
    peer = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000)
    peer.fit(scores.numpy()[:, None], labels.numpy(), sample_weight=weight.numpy())
    assert float(fit_temperature(scores, labels, sample_weight=weight)) == pytest.approx(1 / float(peer.coef_[0, 0]), rel=1e-5)


def full_bins(confidence: Tensor, weight: Tensor, bins: int) -> Tensor:
    """Bin by bin from below: all cases of a probability go together, into the bin in which the first of them begins."""
    values = sorted(set(confidence.tolist()))
    index, before = torch.zeros(len(confidence), dtype=torch.long), 0.0
    for value in values:
        inside = confidence == value
        index[inside] = min(int(before / float(weight.sum()) * bins + 1e-9), bins - 1)
        before += float(weight[inside].sum())
    return index


def error_by_index(index: Tensor, confidence: Tensor, hits: Tensor, weight: Tensor, norm: str) -> float:
    shares, gaps = [], []
    for b in index.unique():
        inside = index == b
        shares.append(float(weight[inside].sum() / weight.sum()))
        gaps.append(abs(float((weight * (confidence - hits))[inside].sum() / weight[inside].sum())))
    pairs = list(zip(shares, gaps, strict=True))
    return {"l1": sum(s * g for s, g in pairs), "l2": math.sqrt(sum(s * g * g for s, g in pairs)), "max": max(gaps)}[norm]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("cases", "bins", "steps"), [(60, 15, 0), (61, 15, 0), (10, 15, 0), (200, 7, 9), (200, 3, 2), (300, 1, 0)])
def test_bins_of_equal_mass_are_their_definition(cases, bins, steps, norm, generator):
    """With ties and without, fewer cases than bins, and sizes that are no multiple."""
    for weighted in (False, True):
        probs, labels = forecasts(generator, cases)
        probs = (probs * steps).round() / steps if steps else probs
        weight = torch.rand(cases, generator=generator, dtype=torch.float64) + 0.1 if weighted else torch.ones(cases, dtype=torch.float64)
        index = full_bins(probs, weight, bins)
        expected = error_by_index(index, probs, labels.double(), weight, norm)
        options = {"sample_weight": weight} if weighted else {}
        found = expected_calibration_error(probs, labels, bins=bins, norm=norm, binning="mass", **options)
        assert float(found) == pytest.approx(expected, abs=1e-12)
        curve = reliability_curve(probs, labels, bins=bins, binning="mass", **options)
        torch.testing.assert_close(curve.counts, torch.zeros(bins, dtype=torch.float64).scatter_add(0, index, weight))
        within = torch.bucketize(probs, curve.edges[1:-1])  # right-closed, as the others
        assert torch.equal(within, index) or not curve.counts.all()
        assert [float(curve.edges[0]), float(curve.edges[-1])] == ([0, 1])
        order = torch.randperm(cases, generator=generator)  # ties are not cut, so no order matters
        options = {name: value[order] for name, value in options.items()}
        again = expected_calibration_error(probs[order], labels[order], bins=bins, norm=norm, binning="mass", **options)
        assert float(again) == pytest.approx(expected, abs=1e-12)


def test_sizes_of_full_bins():
    """Ten cases in three bins; a tie across a border; a weight of five cases."""
    probs, labels = torch.arange(1, 11).double() / 20, torch.zeros(10, dtype=torch.long)
    assert reliability_curve(probs, labels, bins=3, binning="mass").counts.tolist() == [4, 3, 3]
    tied = torch.tensor([0.1, 0.2, 0.2, 0.2, 0.2, 0.3, 0.4, 0.5])
    curve = reliability_curve(tied, labels[:8], bins=4, binning="mass")
    assert curve.counts.tolist() == [5, 0, 1, 2]
    torch.testing.assert_close(curve.edges, torch.tensor([0, 0.2, 0.2, 0.3, 1]).float().double())
    heavy = torch.tensor([5.0, 1, 1, 1, 1, 1])
    assert reliability_curve(probs[:6], labels[:6], bins=2, binning="mass", sample_weight=heavy).counts.tolist() == [5, 5]
    assert reliability_curve(probs[:0], labels[:0], bins=3, binning="mass").edges.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("bins", [1, 5, 12])
def test_full_bins_are_scikit_learns_where_bins_divide_n(bins, generator):
    from sklearn.calibration import calibration_curve

    probs, labels = forecasts(generator, 240)
    frequency, confidence = calibration_curve(labels.numpy(), probs.numpy(), n_bins=bins, strategy="quantile")
    curve = reliability_curve(probs, labels, bins=bins, binning="mass")
    assert curve.counts.tolist() == [240 / bins] * bins
    assert np.allclose(curve.frequency, frequency, atol=1e-12, rtol=0)
    assert np.allclose(curve.confidence, confidence, atol=1e-12, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_an_error_of_each_class_is_the_mean_of_binary_ones(norm, generator):
    from torchmetrics.functional.classification import binary_calibration_error

    probs, labels = by_kind(generator, "classes", 1500)
    expected = np.mean([float(binary_calibration_error(probs[:, k].contiguous(), (labels == k).long(), n_bins=10, norm=norm)) for k in range(3)])
    assert float(expected_calibration_error(probs, labels, bins=10, norm=norm, per_class=True)) == pytest.approx(expected, abs=1e-6)
    assert abs(float(expected_calibration_error(probs, labels, bins=10, norm=norm)) - expected) > 1e-4
    confidence, weight = probs, torch.ones(1500, dtype=torch.float64)
    full = [error_by_index(full_bins(confidence[:, k], weight, 10), confidence[:, k], (labels == k).double(), weight, norm) for k in range(3)]
    found = expected_calibration_error(probs, labels, bins=10, norm=norm, per_class=True, binning="mass")
    assert float(found) == pytest.approx(np.mean(full), abs=1e-12)
    for binning in ("width", "mass"):
        curve = reliability_curve(probs, labels, bins=10, per_class=True, binning=binning)
        assert [tuple(part.shape) for part in curve] == [(3, 11), (3, 10), (3, 10), (3, 10)]
        for k in range(3):
            alone = reliability_curve(probs[:, k].contiguous(), (labels == k).long(), bins=10, binning=binning)
            torch.testing.assert_close([part[k] for part in curve], list(alone), equal_nan=True)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("binning", ["width", "mass"])
@pytest.mark.parametrize("per_class", [False, True])
def test_a_curve_has_the_error_of_its_cases(norm, binning, per_class, generator):
    probs, labels = by_kind(generator, "classes")
    options = {"bins": 6, "binning": binning, "per_class": per_class, "sample_weight": torch.rand(200, generator=generator)}
    found = reliability.error_of_curve(reliability_curve(probs, labels, **options), norm=norm)
    torch.testing.assert_close(found, expected_calibration_error(probs, labels, norm=norm, **options), rtol=1e-12, atol=0)


def test_a_gradient_does_not_leave_a_bin_without_weight():
    """What weighs nothing was alone in its bin, whose mean is NaN; 0 times NaN is NaN."""
    probs = torch.tensor([0.1, 0.9], dtype=torch.float64, requires_grad=True)
    curve = reliability_curve(probs, torch.tensor([1, 1]), bins=2, sample_weight=torch.tensor([0.0, 1.0]))
    (slope,) = torch.autograd.grad(curve.confidence.nan_to_num().sum(), probs)
    assert slope.tolist() == [0, 1]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "options", [{"binning": "mass"}, {"per_class": True}, {"ignore_index": 2}, {"sample_weight": torch.tensor([1.0, 2, 0.5] * 4)}]
)
def test_gradients_of_errors_under_every_option(norm, options, generator):
    probs, labels = by_kind(generator, "classes", 12)
    shifted = probs.clone().requires_grad_()  # rows go off 1 by 1e-6, which is within what is taken
    assert torch.autograd.gradcheck(lambda p: expected_calibration_error(p, labels, bins=3, norm=norm, **options), shifted)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: expected_calibration_error(HALF, ONE, per_class=True),
            ValueError,
            "`probs` should have shape [N, K] where `per_class` is True; found (1,).",
        ),
        (
            lambda: brier_score(HALF, ONE, sample_weight=HALF.to("meta")),
            ValueError,
            "`sample_weight` should be on the device cpu to match `probs`; found meta.",
        ),
        (lambda: reliability.error_of_curve((HALF, HALF)), TypeError, "`curve` should be a ReliabilityCurve; found tuple."),
        (
            lambda: reliability.error_of_curve(reliability.ReliabilityCurve(HALF, HALF, 3 * HALF, HALF)),
            ValueError,
            "`curve.confidence` should lie in [0, 1]; found values from 1.5 to 1.5.",
        ),
        (
            lambda: reliability.error_of_curve(reliability.ReliabilityCurve(HALF, HALF[:0], HALF[:0], HALF[:0])),
            ValueError,
            "`curve.counts` should have shape [bins] or [K, bins]; found (0,).",
        ),
        (
            lambda: fit_temperature(HALF, ONE, ignore_index=1),
            ValueError,
            "`logits` should hold at least one case that is not ignored and has a weight; found none.",
        ),
    ],
)
def test_what_bad_options_get(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_a_temperature_where_leads_are_beyond_float64():
    """Logits of ±1e308 lead by 2e308. Nine of ten are right: sigmoid(2e308 / T) is 9/10 at T = 2e308 / ln 9."""
    logits = torch.tensor([[-1e308, 1e308]] * 10, dtype=torch.float64)
    labels = torch.tensor([1] * 9 + [0])
    assert float(fit_temperature(logits, labels)) == pytest.approx(1e308 / (math.log(9) / 2), rel=1e-12)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("scale", [1e-300, 1e200, 1e300])
def test_platt_of_scores_of_one_sign_at_every_scale(scale, sign):
    """No square of theirs is an infinity, or 0."""
    scores, labels = sign * torch.tensor([1.0, 2.0, 3.5, 4.0, 5.0], dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])
    expected, found = fit_platt(scores, labels), fit_platt(scale * scores, labels)
    assert abs(float(expected.slope)) > 0.1
    torch.testing.assert_close(found.slope * scale, expected.slope, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.intercept, expected.intercept, rtol=1e-12, atol=0)


@pytest.mark.parametrize("labels", [[0, 1, 1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1, 1, 0]])
def test_platt_goes_on_whichever_way_its_steps_go(labels):
    """Slope and intercept both rise from 0, both fall, or one of each; Platt's score equations hold at the end."""
    scores, truth = torch.arange(8, dtype=torch.float64), torch.tensor(labels)
    ones = sum(labels)
    targets = torch.tensor([1 / (8 - ones + 2), (ones + 1) / (ones + 2)], dtype=torch.float64)[truth]
    residual = fit_platt(scores, truth).probs(scores) - targets
    assert float(residual.sum().abs()) < 1e-9
    assert float((residual * scores).sum().abs()) < 1e-8


def test_a_border_between_full_bins_is_met_to_rounding_and_no_further():
    """Of equal weights that no float holds exactly each is a bin; a weight of 1 - 1e-8 leaves room for the beginning of the next."""
    for bins in range(2, 60):
        probs, labels = torch.arange(1, bins + 1).double() / 64, torch.zeros(bins, dtype=torch.long)
        for weight in (0.1, 1 / 3, 0.7):
            heavy = torch.full((bins,), weight, dtype=torch.float64)
            counts = reliability_curve(probs, labels, bins=bins, binning="mass", sample_weight=heavy).counts
            torch.testing.assert_close(counts, heavy, rtol=1e-12, atol=0)
    almost = torch.tensor([1 - 1e-8, 1 + 1e-8], dtype=torch.float64)
    assert reliability_curve(probs[:2], labels[:2], bins=2, binning="mass", sample_weight=almost).counts.tolist() == [2, 0]


def test_fits_of_the_least_there_can_be():
    """A temperature of the smallest logits that float64 holds, which have no half; and one score, which has no spread to be estimated."""
    least = 5e-324
    assert float(fit_temperature(torch.tensor([least, least, least, -least], dtype=torch.float64), torch.ones(4, dtype=torch.long))) == least
    alone = fit_platt(torch.tensor([0.5]), torch.tensor([1]))
    assert float(alone.slope) == 0
    assert float(alone.probs(torch.tensor(0.5))) == pytest.approx(2 / 3, abs=1e-6)


def test_more_classes_than_are_summed_at_a_time(generator):
    probs = torch.rand(2, 200_000, generator=generator, dtype=torch.float64).softmax(dim=1)
    labels = torch.tensor([3, 5])
    top, said = probs.max(dim=1)
    expected = float(torch.where(said == labels, 1 - top, top).mean())  # both in the first bin
    assert float(expected_calibration_error(probs, labels)) == pytest.approx(expected, rel=1e-12)


def test_a_curve_has_fifteen_bins_where_nothing_is_said(generator):
    probs, labels = torch.rand(50, generator=generator), torch.arange(50) % 2
    assert len(reliability_curve(probs, labels).counts) == 15
