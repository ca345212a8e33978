"""metrics: streamed over batches and ranks, each gives what its function gives of everything at once."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lossbook import fairness, panoptic, reliability
from lossbook.metrics import CalibrationError, GroupRates, PanopticQuality, RatesByGroup
from tests.conftest import ROOT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torchmetrics import Metric, MetricCollection

CLASSES = {"things": [3, 11], "stuff": [0, 7], "void": 255}
Batch = tuple[tuple[Tensor, ...], dict[str, Any]]


def forecast_batches(generator: torch.Generator, sizes: tuple[int, ...] = (40, 1, 0, 25)) -> Iterator[Batch]:
    """Distributions over four classes; every seventh label is ignored."""
    for size in sizes:
        labels = torch.randint(0, 4, (size,), generator=generator)
        labels[::7] = 255
        yield (torch.randn(size, 4, generator=generator).softmax(1), labels), {"sample_weight": torch.rand(size, generator=generator)}


def binary_batches(generator: torch.Generator, sizes: tuple[int, ...] = (40, 1, 0, 25)) -> Iterator[Batch]:
    for size in sizes:
        yield (torch.rand(size, generator=generator), torch.randint(0, 2, (size,), generator=generator)), {}


def map_batches(generator: torch.Generator, sizes: tuple[int, ...] = (2, 1, 0, 3)) -> Iterator[Batch]:
    for size in sizes:
        classes = torch.tensor([3, 11, 0, 7, 255])
        coarse = [torch.stack([classes[torch.randint(5, (size, 6, 5), generator=generator)], torch.zeros(size, 6, 5).long()], -1) for _ in range(2)]
        truth = coarse[0].repeat_interleave(3, 1)
        changed = torch.rand(size, 18, 5, 1, generator=generator) < 0.2
        yield (torch.where(changed, coarse[1].repeat_interleave(3, 1), truth), truth), {}


def people_batches(generator: torch.Generator, sizes: tuple[int, ...] = (40, 1, 25)) -> Iterator[Batch]:
    """Decisions that may be probabilities, weights, three groups of which not every batch has a member."""
    for size in sizes:
        people = torch.rand(size, generator=generator), torch.randint(0, 2, (size,), generator=generator)
        yield people, {"groups": torch.randint(0, 3, (size,), generator=generator), "sample_weight": torch.rand(size, generator=generator)}


def joined(batches: list[Batch]) -> Batch:
    """All batches as one."""
    arguments = tuple(torch.cat(parts) for parts in zip(*(batch[0] for batch in batches), strict=True))
    return arguments, {name: torch.cat([batch[1][name] for batch in batches]) for name in batches[0][1]}


def rates_at_once(decisions: Tensor, labels: Tensor, method: str = "between_groups", **given: Any) -> RatesByGroup:
    """By the seven functions."""
    return RatesByGroup(
        fairness.selection_rates(decisions, **given),
        fairness.true_positive_rates(decisions, labels, **given),
        fairness.false_positive_rates(decisions, labels, **given),
        fairness.demographic_parity_difference(decisions, method=method, **given),
        fairness.demographic_parity_ratio(decisions, method=method, **given),
        fairness.equalized_odds_difference(decisions, labels, method=method, **given),
        fairness.equalized_odds_ratio(decisions, labels, method=method, **given),
    )


def calibration(**settings: Any) -> tuple[Callable[[], Metric], Callable[..., Any]]:
    counted = {key: value for key, value in settings.items() if key != "num_classes"}
    return lambda: CalibrationError(**settings), lambda *given, **more: reliability.expected_calibration_error(*given, **more, **counted)


def quality_at_once(prediction: Tensor, truth: Tensor) -> Tensor:
    return torch.tensor(panoptic.panoptic_quality(prediction, truth, **CLASSES).pq, dtype=torch.float64)


CASES: dict[str, tuple[tuple[Callable[[], Metric], Callable[..., Any]], Callable[..., Iterator[Batch]]]] = {
    **{f"binary, {norm}": (calibration(norm=norm, bins=5), binary_batches) for norm in ("l1", "l2", "max")},
    "top label": (calibration(ignore_index=255), forecast_batches),
    "each class": (calibration(ignore_index=255, per_class=True, num_classes=4, norm="l2"), forecast_batches),
    "panoptic": ((lambda: PanopticQuality(**CLASSES), quality_at_once), map_batches),
    "groups": ((lambda: GroupRates(3), rates_at_once), people_batches),
    "groups, to all": (
        (lambda: GroupRates(3, method="to_overall"), lambda *given, **more: rates_at_once(*given, method="to_overall", **more)),
        people_batches,
    ),
}
every = pytest.mark.parametrize("case", CASES)


def near(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12, equal_nan=True)


def setup(case: str) -> tuple[Callable[[], Metric], list[Batch], Any]:
    (make, function), batches = CASES[case]
    drawn = list(batches(torch.Generator().manual_seed(5)))
    arguments, options = joined(drawn)
    return make, drawn, function(*arguments, **options)


def streamed(metric: Metric, batches: list[Batch]) -> Metric:
    for arguments, options in batches:
        metric.update(*arguments, **options)
    return metric


@every
def test_a_stream_gives_what_the_function_gives_at_once(case: str) -> None:
    make, batches, expected = setup(case)
    metric = streamed(make(), batches)
    near(metric.compute(), expected)
    near(metric.compute(), expected)  # from the cache
    shape = metric.counts.shape
    streamed(metric, batches)
    assert metric.counts.shape == shape  # whatever was seen
    metric.reset()
    assert float(metric.counts.abs().sum()) == 0
    near(streamed(metric, batches).compute(), expected)


@every
def test_a_call_gives_the_number_of_its_batch_and_counts_it(case: str) -> None:
    (make, function), _ = CASES[case]
    _, batches, expected = setup(case)
    metric = make()
    for arguments, options in batches:
        if len(arguments[0]) > 5 or case == "panoptic":
            near(metric(*arguments, **options), function(*arguments, **options))
        else:
            metric.update(*arguments, **options)
    near(metric.compute(), expected)


@every
def test_halves_merge_to_the_whole(case: str) -> None:
    """Also where a number was asked for before, and into a metric that has seen nothing."""
    make, batches, expected = setup(case)
    first, second, empty = streamed(make(), batches[:1]), streamed(make(), batches[1:]), make()
    first.compute()
    first.merge_state(second)
    near(first.compute(), expected)
    empty.merge_state({"counts": first.counts})
    near(empty.compute(), expected)


@every
def test_pickled_and_copied_it_goes_on(case: str) -> None:
    make, batches, expected = setup(case)
    metric = pickle.loads(pickle.dumps(streamed(make(), batches[:1])))
    near(streamed(metric, batches[1:]).clone().compute(), expected)
    kept = make()
    kept.persistent(True)
    kept.load_state_dict({"counts": metric.counts})
    kept.update(*batches[0][0], **batches[0][1])
    near(kept.counts, metric.counts + streamed(make(), batches[:1]).counts)


MOVES: dict[str, Callable[[torch.nn.Module], Any]] = {
    "to bfloat16": lambda model: model.to(torch.bfloat16),
    "half": lambda model: model.half(),
    "set_dtype": lambda model: model.metric.set_dtype(torch.float16),
}


@every
@pytest.mark.parametrize("move", MOVES)
def test_counts_stay_float64_wherever_they_go(case: str, move: str, device: torch.device) -> None:
    """In a model that goes to half precision; bfloat16 would not tell 257 of a kind from 256."""
    make, batches, expected = setup(case)
    model = torch.nn.Linear(1, 1)
    model.metric = streamed(make(), batches[:1])
    MOVES[move](model)
    model.to(device)
    assert move == "set_dtype" or model.weight.dtype != torch.float32
    assert (model.metric.counts.dtype, model.metric.counts.device.type) == (torch.float64, device.type)
    for arguments, options in batches[1:]:
        model.metric.update(*(one.to(device) for one in arguments), **{name: one.to(device) for name, one in options.items()})
    found = model.metric.compute()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12, equal_nan=True, check_device=False)
    model.metric.reset()
    assert (model.metric.counts.dtype, model.metric.counts.device.type) == (torch.float64, device.type)


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_half_precision_comes_in(narrow: torch.dtype) -> None:
    """Three hundred of a kind are 300; the probabilities are those that the dtype holds."""
    probs, labels = torch.full((300,), 0.3).to(narrow), torch.zeros(300, dtype=torch.int64)
    error = CalibrationError()
    for piece in probs.split(100):
        error.update(piece, labels[:100])
    assert float(error.compute()) == pytest.approx(float(probs[0]), abs=1e-12)
    assert float(error.curve().counts.max()) == 300
    rates = GroupRates(1)
    with torch.autocast("cpu", dtype=narrow):
        rates.update(probs, labels, groups=labels)
    assert float(rates.compute().selection_rates) == pytest.approx(float(probs[0]), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8, torch.uint16, torch.uint32, torch.uint64])
def test_labels_groups_and_maps_of_any_integer_dtype(dtype: torch.dtype) -> None:
    for case in ("binary, l1", "groups"):
        make, batches, expected = setup(case)
        changed = []
        for (first, labels), options in batches:
            changed.append(((first, labels.to(dtype)), {name: each if is_real(each) else each.to(dtype) for name, each in options.items()}))
        near(streamed(make(), changed).compute(), expected)
    small = {"things": [3, 11], "stuff": [0, 7], "void": 100}
    maps = [torch.where(each == 255, 100, each) for each in joined(list(map_batches(torch.Generator().manual_seed(5))))[0]]
    quality = PanopticQuality(**small)
    quality.update(*(each.to(dtype) for each in maps))
    assert quality.quality() == panoptic.panoptic_quality(*maps, **small)


def is_real(value: Tensor) -> bool:
    return value.dtype.is_floating_point


@pytest.mark.parametrize("per_class", [False, True])
def test_a_curve_of_the_same_counts(per_class: bool) -> None:
    batches = list(forecast_batches(torch.Generator().manual_seed(1)))
    error = CalibrationError(bins=6, per_class=per_class, num_classes=4, ignore_index=255)
    streamed(error, batches)
    (probs, labels), options = joined(batches)
    expected = reliability.reliability_curve(probs, labels, bins=6, per_class=per_class, ignore_index=255, **options)
    near(list(error.curve()), list(expected))
    near(reliability.error_of_curve(error.curve()), error.compute())


def test_panoptic_quality_by_class_and_crowds() -> None:
    """One image at a time, exactly what the function gives of them in this order."""
    batches = list(map_batches(torch.Generator().manual_seed(2)))
    (prediction, truth), _ = joined(batches)
    quality = PanopticQuality(**CLASSES)
    for image, true in zip(prediction, truth, strict=True):
        quality.update(image, true)
    assert quality.quality() == panoptic.panoptic_quality(prediction, truth, **CLASSES)
    crowd = [(3, 0)]
    other = PanopticQuality(**CLASSES)
    for image, true in zip(prediction, truth, strict=True):
        other.update(image, true, crowd=crowd)
    assert other.quality() == panoptic.panoptic_quality(prediction, truth, **CLASSES, crowd=crowd)
    assert other.quality() != quality.quality()


def test_panoptic_quality_of_volumes() -> None:
    (prediction, truth), _ = joined(list(map_batches(torch.Generator().manual_seed(2))))
    quality = PanopticQuality(**CLASSES, volumes=True)
    quality.update(prediction, truth)
    assert quality.quality() == panoptic.panoptic_quality(prediction, truth, **CLASSES, volumes=True)
    assert quality.quality().by_class[3].tp == 1  # of one volume


def test_rates_of_several_features() -> None:
    generator = torch.Generator().manual_seed(3)
    decisions, labels = torch.rand(60, generator=generator), torch.randint(0, 2, (60,), generator=generator)
    sex, age = torch.randint(0, 2, (60,), generator=generator), torch.randint(0, 3, (60,), generator=generator)
    rates = GroupRates((2, 4))
    for rows in torch.arange(60).split(25):
        rates.update(decisions[rows], labels[rows], groups=torch.stack([sex, age], 1)[rows])
    found, expected = rates.compute(), rates_at_once(decisions, labels, groups=[sex, age])
    near(list(found[3:]), list(expected[3:]))
    assert found.selection_rates.shape == (2, 4)
    for one, other in zip(found[:3], expected[:3], strict=True):
        near(one[:, :3], other)
        assert bool(one[:, 3].isnan().all())  # no one is of that age


# --- ranks -----------------------------------------------------------------------------------------------------------------------------------------


def rank_numbers(rank: int, folder: str) -> None:
    """Each rank has every other batch, and the second of them none at all of one metric."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    results = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics': `compute` before `update`
        for case in CASES:
            make, batches, _ = setup(case)
            metric = streamed(make(), batches[rank::2])
            results[case] = metric.compute()
            details = metric.curve() if isinstance(metric, CalibrationError) else metric.quality() if isinstance(metric, PanopticQuality) else ()
            results[case, "details"] = tuple(details)
            streamed(metric, batches[rank::2])  # its own go on
            results[case, "own"] = metric.counts
            idle = make() if rank else streamed(make(), batches)
            results[case, "idle"] = idle.compute()
    torch.save(results, f"{folder}/rank{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_ranks_give_the_number_of_one_process(tmp_path: Path) -> None:
    context = torch.multiprocessing.start_processes(rank_numbers, (str(tmp_path),), nprocs=2, start_method="spawn", join=False)
    while not context.join():
        pass
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=False) for rank in range(2)]
    for case in CASES:
        make, batches, expected = setup(case)
        whole = streamed(make(), batches)
        for rank, found in enumerate(ranks):
            near(found[case], expected)
            near(found[case, "idle"], expected)
            near(found[case, "own"], 2 * streamed(make(), batches[rank::2]).counts)
            if isinstance(whole, CalibrationError):
                near(found[case, "details"], tuple(whole.curve()))
            if isinstance(whole, PanopticQuality):
                assert found[case, "details"][:3] == pytest.approx(tuple(whole.quality())[:3], abs=1e-12)
                assert {name: each[4:] for name, each in found[case, "details"][3].items()} == {
                    name: each[4:] for name, each in whole.quality().by_class.items()
                }


# --- in a loop -------------------------------------------------------------------------------------------------------------------------------------


class Watched(torch.nn.Module):
    """As a LightningModule is written: metrics are submodules, steps update them, the end of an epoch computes, logs and resets."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 4)
        self.error = CalibrationError(bins=5)
        self.rates = GroupRates(2)
        self.logged: list[dict[str, float]] = []

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        features, labels, groups = batch
        probs = self.layer(features).softmax(1)
        self.error.update(probs, labels)
        self.rates.update(probs.argmax(1) == 0, labels == 0, groups=groups)

    def on_validation_epoch_end(self) -> None:
        gaps = {name: value for name, value in self.rates.compute()._asdict().items() if value.ndim == 0}
        self.logged.append({name: float(value) for name, value in {"error": self.error.compute(), **gaps}.items()})
        self.error.reset()
        self.rates.reset()


def test_a_loop_of_epochs() -> None:
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(50, 3, generator=generator), torch.randint(0, 4, (50,), generator=generator)
    groups = torch.randint(0, 2, (50,), generator=generator)
    torch.manual_seed(0)
    model = Watched()
    for _ in range(2):
        for rows in torch.arange(50).split(16):
            model.validation_step((features[rows], labels[rows], groups[rows]))
        model.on_validation_epoch_end()
    probs = model.layer(features).softmax(1).detach()
    expected = {"error": float(reliability.expected_calibration_error(probs, labels, bins=5))}
    expected |= {
        name: float(value)
        for name, value in rates_at_once(probs.argmax(1) == 0, (labels == 0).long(), groups=groups)._asdict().items()
        if value.ndim == 0
    }
    assert model.logged == [pytest.approx(expected, abs=1e-6)] * 2  # a batch of 16 and one of 50 are multiplied in another order
    assert "error.counts" not in model.state_dict()


def test_a_graph_does_not_grow_with_the_batches() -> None:
    """A call keeps no history in the state, though what comes in has one."""
    probs = torch.tensor([0.2, 0.7], requires_grad=True)
    for metric, more in ((CalibrationError(), {}), (GroupRates(1), {"groups": torch.zeros(2).long()})):
        metric(probs, torch.tensor([0, 1]), **more)
        assert not metric.counts.requires_grad


def test_metrics_in_a_collection() -> None:
    (probs, labels), _ = joined(list(binary_batches(torch.Generator().manual_seed(0))))
    both = MetricCollection({"mean": CalibrationError(), "largest": CalibrationError(norm="max")})
    both.update(probs, labels)
    expected = {name: reliability.expected_calibration_error(probs, labels, norm=norm) for name, norm in (("mean", "l1"), ("largest", "max"))}
    near(both.compute(), expected)


# --- what bad arguments get ------------------------------------------------------------------------------------------------------------------------

HALF, ONE = torch.tensor([0.5]), torch.tensor([1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: CalibrationError(bins=0), ValueError, "`bins` should be at least 1; found 0."),
        (lambda: CalibrationError(norm="l3"), ValueError, "`norm` should be one of 'l1', 'l2', 'max'; found 'l3'."),
        (lambda: CalibrationError(per_class=1), TypeError, "`per_class` should be True or False; found 1."),
        (lambda: CalibrationError(ignore_index=0.5), TypeError, "`ignore_index` should be an integer or None; found float."),
        (lambda: CalibrationError(per_class=True), TypeError, "`num_classes` should be an integer; found NoneType."),
        (
            lambda: CalibrationError(binning="mass"),
            ValueError,
            "`binning` should be \"width\" in a stream: collect all cases and call expected_calibration_error for other bins; found 'mass'.",
        ),
        (
            lambda: CalibrationError(per_class=True, num_classes=3).update(torch.eye(2), torch.tensor([0, 1])),
            ValueError,
            "`probs` should have 3 classes, as `num_classes` says; found (2, 2).",
        ),
        (lambda: CalibrationError().update(2 * HALF + 1, ONE), ValueError, "`probs` should lie in [0, 1]; found values from 2 to 2."),
        (
            lambda: PanopticQuality(things=[1], stuff=[1], void=0),
            ValueError,
            "`things` should share no class with `stuff` or `void`, and hold each once; found [1, 1, 0].",
        ),
        (lambda: PanopticQuality(things=[0.5], stuff=[1], void=0), TypeError, "`things` should hold integers; found [0.5]."),
        (lambda: GroupRates(0), ValueError, "`num_groups` should be at least 1; found 0."),
        (lambda: GroupRates([]), TypeError, "`num_groups` should be an integer; found list."),
        (lambda: GroupRates((2, 0.5)), TypeError, "`num_groups` should be an integer; found float."),
        (lambda: GroupRates(2, method="all"), ValueError, "`method` should be one of 'between_groups', 'to_overall'; found 'all'."),
        (lambda: GroupRates(2).update(HALF, ONE, groups=2 * ONE), ValueError, "`groups` should be below 2, as `num_groups` says; found 2."),
        (
            lambda: GroupRates(2).update(HALF, ONE, groups=[ONE, ONE]),
            ValueError,
            "`groups` should have 1 features, as `num_groups` says; found 2.",
        ),
        (lambda: GroupRates(2).update(HALF, 2 * ONE, groups=ONE), ValueError, "`labels` should lie in [0, 1]; found values from 2 to 2."),
        (lambda: GroupRates(2).update(HALF, ONE, groups=ONE, sample_weight=-HALF), ValueError, "`sample_weight` should be at least 0; found"),
        (
            lambda: CalibrationError(bins=3).merge_state(CalibrationError(bins=4)),
            ValueError,
            "`incoming_state` should be counted under {'bins': 3,",
        ),
        (
            lambda: CalibrationError(bins=3).merge_state({"counts": torch.zeros(3, 1)}),
            ValueError,
            "`incoming_state` should have counts of shape (3, 3); found (3, 1).",
        ),
    ],
)
def test_what_bad_arguments_get(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_a_bad_batch_is_not_counted() -> None:
    error = CalibrationError()
    error.update(HALF, ONE)
    before = error.counts.clone()
    with pytest.raises(ValueError, match="`probs` should lie in"):
        error.update(torch.tensor([0.5, math.nan]), torch.tensor([1, 1]))
    assert torch.equal(error.counts, before)


def test_without_torchmetrics_one_line_says_what_to_install() -> None:
    """`import lossbook` brings no torchmetrics in; where there is none, the module comes, and its classes name the extra."""
    code = """
import sys
import lossbook
assert "torchmetrics" not in sys.modules
sys.modules["torchmetrics"] = None
from lossbook import metrics
for make in (metrics.CalibrationError, lambda: metrics.PanopticQuality(things=[1], stuff=[2], void=0), lambda: metrics.GroupRates(2)):
    try:
        make()
    except ModuleNotFoundError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stderr == ""
    assert run.stdout == 'lossbook.metrics needs torchmetrics: pip install "lossbook[metrics]"\n' * 3
