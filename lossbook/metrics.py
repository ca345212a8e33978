"""Calibration error, panoptic quality and rates by group as torchmetrics has metrics: `update` over a loader, merge over ranks, `compute`.

Each keeps counts of a fixed size in float64, whatever the number of examples and their dtype, and sums them over ranks; what it computes is what the
function of the same idea gives of all examples at once. Needs torchmetrics: `pip install "lossbook[metrics]"`. Chapters: confidence, sets, fairness.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from lossbook import fairness, panoptic, reliability
from lossbook._core import checks
from lossbook._core.door import full_precision, plain
from lossbook._core.people import METHODS, People, group_sums, intersections

if TYPE_CHECKING:
    from torchmetrics import Metric
else:
    try:
        from torchmetrics import Metric
    except ModuleNotFoundError:

        class Metric:
            """In place of torchmetrics' where that is not installed: the module can be imported, and its classes say what they need."""

            def __init__(self, **options: Any) -> None:
                raise ModuleNotFoundError('lossbook.metrics needs torchmetrics: pip install "lossbook[metrics]"', name="torchmetrics")


__all__ = ["CalibrationError", "GroupRates", "PanopticQuality", "RatesByGroup"]


class _Counts(Metric):
    """One state, `counts`, that batches and ranks add up to, and the settings under which they were counted."""

    is_differentiable = False
    full_state_update = False
    counts: Tensor

    def __init__(self, shape: tuple[int, ...], settings: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.settings = settings
        self.add_state("counts", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def _add(self, counts: Tensor) -> None:
        self.counts = self.counts + counts.to(self.counts.device)

    def _counts_of_all_ranks(self) -> Tensor:
        """Outside of `compute`, which torchmetrics synchronises by itself."""
        if self._is_synced:
            return self.counts
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, process_group=self.process_group, should_sync=self._to_sync):
            return self.counts.clone()

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the counts of another metric of this kind, or those in a dict, and forget what was computed before.

        Args:
            incoming_state: a metric with the same settings, or {"counts": ...}.

        Raises:
            ValueError: other settings, or another shape.
        """
        if isinstance(incoming_state, type(self)) and incoming_state.settings != self.settings:
            checks.wrong_value("incoming_state", f"be counted under {self.settings}", incoming_state.settings)
        if isinstance(incoming_state, Mapping) and "counts" in incoming_state and incoming_state["counts"].shape != self.counts.shape:
            checks.wrong_value("incoming_state", f"have counts of shape {tuple(self.counts.shape)}", tuple(incoming_state["counts"].shape))
        super().merge_state(incoming_state)
        self._computed = None
        self._update_count += incoming_state.update_count if isinstance(incoming_state, Metric) else 1

    def _apply(self, fn: Callable[[Tensor], Tensor], *arguments: Any, **options: Any) -> torch.nn.Module:
        """Counts go to another device, and stay float64 in a model that goes to half precision."""
        moved: torch.nn.Module = super()._apply(lambda value: value.to(fn(value).device), *arguments, **options)
        return moved


class CalibrationError(_Counts):
    r"""`reliability.expected_calibration_error` over a loader: sums by bin, [3, bins], whatever the number of cases.

    Args:
        bins: number of equally wide bins on [0, 1].
        norm: "l1", "l2" or "max".
        per_class: each class of probabilities [N, K] against the rest, in place of each row's largest; `num_classes` says how many.
        num_classes: K, where `per_class` is True.
        ignore_index: the label of what is not there. None ignores nothing.
        binning: "width". Which bins hold equally much is known when all cases are: collect them, and call the function.
        options: of `torchmetrics.Metric`, such as `sync_on_compute`.

    Raises:
        ValueError, TypeError: as the function, for "mass", and for `per_class` without `num_classes`.

    Example:
        >>> error = CalibrationError(bins=2)
        >>> error.update(torch.tensor([0.25, 0.25]), torch.tensor([0, 1]))
        >>> error.update(torch.tensor([0.75, 0.75]), torch.tensor([1, 1]))
        >>> error.compute()
        tensor(0.2500, dtype=torch.float64)

    Conventions:
        The function's number on all cases at once, to the rounding of another order of the same sums. The function's conventions hold, of which
        torchmetrics' `CalibrationError` has others: it keeps every case, and closes bins on the left.

    Chapter: confidence.
    """

    higher_is_better = False

    def __init__(
        self,
        *,
        bins: int = 15,
        norm: reliability.Norm = "l1",
        per_class: bool = False,
        num_classes: int | None = None,
        ignore_index: int | None = None,
        binning: reliability.Binning = "width",
        **options: Any,
    ) -> None:
        bins, num_classes, ignore_index = plain(bins), plain(num_classes), plain(ignore_index)
        checks.check_count("bins", bins)
        checks.check_choice("norm", norm, reliability.NORMS)
        checks.check_flag("per_class", per_class)
        checks.check_ignore_index(ignore_index)
        if binning != "width":
            checks.wrong_value(
                "binning", 'be "width" in a stream: collect all cases and call expected_calibration_error for other bins', repr(binning)
            )
        if per_class:
            checks.check_count("num_classes", num_classes)
        self.norm: reliability.Norm = norm
        self.counted: dict[str, Any] = {"bins": bins, "per_class": per_class, "ignore_index": ignore_index}
        shape = (3, num_classes, bins) if per_class else (3, bins)
        super().__init__(shape, {**self.counted, "num_classes": num_classes}, **options)

    def update(self, probs: Tensor, labels: Tensor, sample_weight: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            probs: [N], P(label 1), or [N, K], distributions, of any floating dtype.
            labels: [N] class ids of any integer dtype.
            sample_weight: [N], finite and >= 0; None is 1 everywhere.

        Raises:
            ValueError, TypeError: as `reliability.reliability_curve`, and another number of classes than `num_classes`.
        """
        _, counts, *means = reliability.reliability_curve(probs, labels, sample_weight=sample_weight, **self.counted)
        if counts.shape != self.counts.shape[1:]:
            checks.wrong_value("probs", f"have {self.settings['num_classes']} classes, as `num_classes` says", tuple(probs.shape))
        self._add(torch.stack([counts, *(torch.where(counts > 0, counts * mean, 0.0) for mean in means)]))

    def compute(self) -> Tensor:
        """The error of all that was counted.

        Returns:
            A scalar, float64; 0 where nothing was counted.
        """
        return reliability.error_of_curve(self._curve(self.counts), norm=self.norm)

    def curve(self) -> reliability.ReliabilityCurve:
        """The reliability curve of all that was counted, on all ranks: call it on each of them.

        Returns:
            As `reliability.reliability_curve`: edges [bins + 1], counts, confidence and frequency [bins], or with [K] in front.
        """
        return self._curve(self._counts_of_all_ranks())

    def _curve(self, sums: Tensor) -> reliability.ReliabilityCurve:
        counts, *totals = sums
        confidence, frequency = (torch.where(counts > 0, total / torch.where(counts > 0, counts, 1.0), torch.nan) for total in totals)
        bins = counts.shape[-1]
        edges = torch.arange(bins + 1, dtype=torch.float64, device=counts.device) / bins
        return reliability.ReliabilityCurve(edges.expand(*counts.shape[:-1], -1), counts, confidence, frequency)


class PanopticQuality(_Counts):
    """`panoptic.panoptic_quality` over a loader: summed IoU, TP, FP and FN of each class.

    Args:
        things: class ids whose instances count.
        stuff: class ids that are one segment each.
        void: class id of unlabelled pixels, in either map.
        volumes: an image is a volume, [D, H, W, 2].
        options: of `torchmetrics.Metric`, such as `sync_on_compute`.

    Raises:
        ValueError, TypeError: as the function.

    Example:
        >>> quality = PanopticQuality(things=[7], stuff=[1], void=255)
        >>> truth = torch.tensor([[[1, 0], [1, 0], [7, 1], [7, 1], [7, 1]]])
        >>> quality.update(torch.tensor([[[1, 0], [1, 0], [1, 0], [7, 4], [7, 4]]]), truth)
        >>> quality.compute()
        tensor(0.6667, dtype=torch.float64)
        >>> quality.quality().by_class[7].tp
        1

    Conventions:
        The function's number on all images, exactly where they come one by one in the same order, else to rounding. The rule for void is the original
        panopticapi's; torchmetrics' `PanopticQuality` forgives void in the prediction, too.

    Chapter: sets.
    """

    higher_is_better = True

    def __init__(self, *, things: Collection[int], stuff: Collection[int], void: int, volumes: bool = False, **options: Any) -> None:
        checks.check_flag("volumes", volumes)
        nothing = torch.zeros(0, 1, 2, dtype=torch.int64, device="cpu")
        shape = panoptic.panoptic_counts(nothing, nothing, things=things, stuff=stuff, void=void).shape  # which looks at the ids
        self.classes: dict[str, Any] = {"things": [int(name) for name in things], "stuff": [int(name) for name in stuff], "void": int(void)}
        self.volumes = volumes
        super().__init__(tuple(shape), self.classes, **options)

    def update(self, prediction: Tensor, truth: Tensor, crowd: Collection[tuple[int, int]] = ()) -> None:
        """Count an image, a volume, or a batch of images.

        Args:
            prediction: [H, W, 2] or [B, H, W, 2] integer, class and instance of each pixel; of volumes with D in front of H.
            truth: of the same shape.
            crowd: (class, instance) pairs of the truth that are regions of many objects.

        Raises:
            ValueError, TypeError: as `panoptic.panoptic_counts`.
        """
        self._add(panoptic.panoptic_counts(prediction, truth, crowd=crowd, volumes=self.volumes, **self.classes))

    def compute(self) -> Tensor:
        """The quality of all that was counted, averaged over the classes that occur.

        Returns:
            A scalar, float64.
        """
        return torch.tensor(self._quality(self.counts).pq, dtype=torch.float64, device=self.counts.device)

    def quality(self) -> panoptic.PanopticQuality:
        """All of it: PQ, SQ, RQ, and every class by its id, on all ranks: call it on each of them.

        Returns:
            As `panoptic.panoptic_quality`.
        """
        return self._quality(self._counts_of_all_ranks())

    def _quality(self, counts: Tensor) -> panoptic.PanopticQuality:
        return panoptic.quality_of_counts(counts, classes=[*self.classes["things"], *self.classes["stuff"]])


class RatesByGroup(NamedTuple):
    """Rates of each group [G], or [G₁, ..., G_F]; NaN where no one is. And what they differ by, scalars. All float64."""

    selection_rates: Tensor
    true_positive_rates: Tensor
    false_positive_rates: Tensor
    demographic_parity_difference: Tensor
    demographic_parity_ratio: Tensor
    equalized_odds_difference: Tensor
    equalized_odds_ratio: Tensor


class GroupRates(_Counts):
    """The rates of `fairness` by group over a loader, and what they differ by: people and decisions, by group and label.

    Args:
        num_groups: G, ids are below it; or one number a feature, and the groups are the intersections.
        method: "between_groups" or "to_overall", as in `fairness.demographic_parity_difference`.
        options: of `torchmetrics.Metric`, such as `sync_on_compute`.

    Raises:
        ValueError, TypeError: fewer than one group, another method.

    Example:
        >>> rates = GroupRates(2)
        >>> rates.update(torch.tensor([1, 0]), torch.tensor([1, 1]), groups=torch.tensor([0, 0]))
        >>> rates.update(torch.tensor([1, 1]), torch.tensor([1, 0]), groups=torch.tensor([1, 1]))
        >>> rates.compute().selection_rates
        tensor([0.5000, 1.0000], dtype=torch.float64)
        >>> rates.compute().demographic_parity_difference
        tensor(0.5000, dtype=torch.float64)

    Conventions:
        The functions' numbers on all people at once, to rounding; of one group, torchmetrics makes its rates scalars.

    Chapter: fairness.
    """

    def __init__(self, num_groups: int | Collection[int], *, method: fairness.Method = "between_groups", **options: Any) -> None:
        sizes = [plain(size) for size in (num_groups if isinstance(num_groups, Collection) else [num_groups])]
        for size in sizes or [num_groups]:
            checks.check_count("num_groups", size)
        checks.check_choice("method", method, METHODS)
        self.sizes, self.method = tuple(sizes), method
        super().__init__((*sizes, 2, 2), {"num_groups": self.sizes}, **options)

    def update(self, decisions: Tensor, labels: Tensor, *, groups: fairness.Groups, sample_weight: Tensor | None = None) -> None:
        """Count a batch of people.

        Args:
            decisions: [N], bool, 0/1, or probabilities of selection.
            labels: [N], 0 or 1.
            groups: [N], ids from 0, below `num_groups`; or several features, [N, F] or a list of F of [N].
            sample_weight: [N], finite and >= 0; None is 1 everywhere.

        Raises:
            ValueError, TypeError: as `fairness.true_positive_rates`, and ids of more groups or of other features than there are.
        """
        self._add(_people_counts(decisions, labels, groups, sample_weight, self.sizes))

    def compute(self) -> RatesByGroup:
        """The rates of all who were counted.

        Returns:
            A `RatesByGroup`: three rates [G], or [G₁, ..., G_F], and four scalars.
        """
        selected, people = self.counts.unbind(-1)
        shares = torch.where(people > 0, selected / torch.where(people > 0, people, 1.0), 0.0).clamp(max=1)
        # each kind of person is one row, which weighs as many as there are
        places = [torch.arange(size, device=people.device) for size in people.shape]
        *groups, labels = (axis.flatten() for axis in torch.meshgrid(*places, indexing="ij"))
        decided: dict[str, Any] = {"groups": groups, "sample_weight": people.flatten()}
        both, compared = (shares.flatten(), labels), {**decided, "method": self.method}
        return RatesByGroup(
            fairness.selection_rates(both[0], **decided),
            fairness.true_positive_rates(*both, **decided),
            fairness.false_positive_rates(*both, **decided),
            fairness.demographic_parity_difference(both[0], **compared),
            fairness.demographic_parity_ratio(both[0], **compared),
            fairness.equalized_odds_difference(*both, **compared),
            fairness.equalized_odds_ratio(*both, **compared),
        )


@full_precision
def _people_counts(decisions: Tensor, labels: Tensor, groups: fairness.Groups, sample_weight: Tensor | None, sizes: tuple[int, ...]) -> Tensor:
    """By group and label, how many are selected and how many there are, [*sizes, 2, 2]."""
    people = People(decisions, groups, labels, sample_weight)
    if len(people.columns) != len(sizes):
        checks.wrong_value("groups", f"have {len(sizes)} features, as `num_groups` says", len(people.columns))
    for column, size in zip(people.columns, sizes, strict=True):
        _check_below(column, size)
    places = intersections([*people.columns, labels], [*sizes, 2])
    weight = torch.ones_like(decisions, dtype=torch.float64) if people.weight is None else people.weight
    return torch.stack(group_sums(decisions, places, 2 * math.prod(sizes), weight), -1).view(*sizes, 2, 2)


def _check_below(ids: Tensor, size: int) -> None:
    checks.check_values("groups", ids, lambda ids: ids < size, f"be below {size}, as `num_groups` says", lambda ids: int(ids.max()))
