"""Set losses as detectors use them today: Deformable DETR's and RT-DETR's, weights of classes and layers, matches handed in, targets by other names.

The oracles are transformers' losses, in value and gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DeformableDetrConfig, Mask2FormerConfig, RTDetrConfig
from transformers.loss.loss_deformable_detr import DeformableDetrForObjectDetectionLoss, DeformableDetrHungarianMatcher
from transformers.loss.loss_for_object_detection import ImageLoss, sigmoid_focal_loss
from transformers.loss.loss_rt_detr import RTDetrForObjectDetectionLoss, RTDetrHungarianMatcher
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss
from transformers.models.maskformer.modeling_maskformer import MaskFormerHungarianMatcher, MaskFormerLoss

from lossbook import sets
from lossbook.sets._mask_matching import matching_costs
from lossbook.sets._sigmoid_loss import focal_gains
from tests.test_sets import CLASSES, gradients, mask_scene
from tests.tolerances import assert_near

Scene = tuple[Tensor, Tensor, list[dict[str, Tensor]]]
CPU = torch.device("cpu")
SIZES = pytest.mark.parametrize("sizes", [(3, 1, 5), (0, 4), (0, 0), (9, 2)], ids=str)


def scene(sizes: Sequence[int], generator: torch.Generator, *, layers: int | None = None, queries: int = 7, columns: int = CLASSES) -> Scene:
    """Targets as transformers names them; images without objects, and with more (9) than queries (7)."""
    leading = (len(sizes), queries) if layers is None else (layers, len(sizes), queries)
    logits = 2 * torch.randn(*leading, columns, generator=generator, dtype=torch.float64)
    boxes = 0.1 + 0.6 * torch.rand(*leading, 4, generator=generator, dtype=torch.float64)
    targets = [
        {
            "class_labels": torch.randint(CLASSES, (size,), generator=generator),
            "boxes": 0.1 + 0.6 * torch.rand(size, 4, generator=generator, dtype=torch.float64),
        }
        for size in sizes
    ]
    return logits, boxes, targets


def same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert_near(ours, theirs)


# ------------------------------------------------------------------------------------------------------------------- Deformable DETR, RT-DETR


@pytest.mark.parametrize("layers", [None, 3])
@SIZES
def test_focal_is_deformable_detrs(
    sizes: tuple[int, ...], layers: int | None, device: torch.device, real_dtype: torch.dtype, generator: torch.Generator
) -> None:
    logits, boxes, targets = scene(sizes, generator, layers=layers)
    for alpha in (0.25, 0.6):
        config = DeformableDetrConfig(
            num_labels=CLASSES, focal_alpha=alpha, auxiliary_loss=layers is not None, decoder_layers=layers or 1, class_cost=2
        )

        def theirs(a: Tensor, b: Tensor) -> Tensor:
            last = (a, b) if layers is None else (a[-1], b[-1])
            return DeformableDetrForObjectDetectionLoss(last[0], targets, CPU, last[1], config, a, b)[0]  # noqa: B023

        criterion = sets.BoxSetLoss(CLASSES, class_loss="focal", focal_alpha=alpha, class_cost=2.0)
        here = [{name: value.to(device) for name, value in target.items()} for target in targets]
        found = gradients(lambda a, b: criterion(a, b, here).total, logits.to(device, real_dtype), boxes.to(device, real_dtype))  # noqa: B023
        assert found[0].dtype == real_dtype
        same(found, gradients(theirs, logits, boxes))


def rt_detr_loss(config: Any, logits: Tensor, boxes: Tensor, targets: Any, noisy: tuple[Tensor, Tensor, Any] | None = None) -> Tensor:
    """Of decoder layers [L, B, Q, ...] whose last-but-one row is the encoder's choice, and of as many layers of denoising queries less that one."""
    first, decoder, drawn = (logits[0], boxes[0]), logits[1:], boxes[1:]
    settings: dict[str, Any] = {}
    if noisy is not None:
        decoder, drawn = torch.cat([noisy[0], decoder], 2), torch.cat([noisy[1], drawn], 2)
        settings["denoising_meta_values"] = noisy[2]
    return RTDetrForObjectDetectionLoss(
        decoder[-1], targets, CPU, drawn[-1], config, decoder.transpose(0, 1), drawn.transpose(0, 1), *first, **settings
    )[0]


@SIZES
def test_varifocal_is_rt_detrs(sizes: tuple[int, ...], device: torch.device, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    """With auxiliary layers and the encoder's; the matching there weighs the class twice as much as the loss."""
    logits, boxes, targets = scene(sizes, generator, layers=4)
    for alpha, gamma in ((0.75, 2.0), (0.5, 1.5)):
        config = RTDetrConfig(num_labels=CLASSES, focal_loss_alpha=alpha, focal_loss_gamma=gamma)
        criterion = sets.BoxSetLoss(CLASSES, class_loss="varifocal", focal_alpha=alpha, focal_gamma=gamma, class_cost=config.matcher_class_cost)
        here = [{name: value.to(device) for name, value in target.items()} for target in targets]
        found = gradients(lambda a, b: criterion(a, b, here).total, logits.to(device, real_dtype), boxes.to(device, real_dtype))  # noqa: B023
        same(found, gradients(lambda a, b: rt_detr_loss(config, a, b, targets), logits, boxes))  # noqa: B023


@pytest.mark.parametrize("sizes", [(3, 1, 5), (2, 0, 4)], ids=str)
def test_matches_of_denoising_queries_are_rt_detrs(sizes: tuple[int, ...], generator: torch.Generator) -> None:
    """Two groups of noisy queries: each group has the objects of an image once, as positives, and as many negatives without a partner."""
    groups, most = 2, max(sizes)
    logits, boxes, targets = scene(sizes, generator, layers=4)
    noisy_logits, noisy_boxes, _ = scene(sizes, generator, layers=3, queries=2 * groups * most)
    positive = [torch.cat([torch.arange(n) + 2 * group * most for group in range(groups)]) for n in sizes]
    meta = {"dn_positive_idx": positive, "dn_num_group": groups, "dn_num_split": [2 * groups * most, logits.shape[2]]}
    config = RTDetrConfig(num_labels=CLASSES)
    criterion = sets.BoxSetLoss(CLASSES, class_loss="varifocal", class_cost=2.0)
    matches = [sets.Match(queries, torch.arange(n).repeat(groups)) for queries, n in zip(positive, sizes, strict=True)]

    def ours(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return criterion(a, b, targets).total + criterion(c, d, targets, matches=matches).total

    def theirs(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return rt_detr_loss(config, a, b, targets, (c, d, meta))

    same(gradients(ours, logits, boxes, noisy_logits, noisy_boxes), gradients(theirs, logits, boxes, noisy_logits, noisy_boxes))


def test_the_focal_cost_is_theirs_at_moderate_logits_and_goes_on_beyond(generator: torch.Generator) -> None:
    """Theirs adds 1e-8 within the logarithm, which is read off a matcher that looks at the class alone."""
    logits, boxes, targets = scene([2], generator, queries=1)
    seen: list[Any] = []

    class Table:
        """In place of the costs that scipy is handed."""

        def __call__(self, costs: Tensor) -> tuple[list[int], list[int]]:
            seen.append(costs)
            return [], []

    for module, matcher in (
        ("loss_deformable_detr", DeformableDetrHungarianMatcher(1, 0, 0)),
        ("loss_rt_detr", RTDetrHungarianMatcher(RTDetrConfig(matcher_class_cost=1.0, matcher_bbox_cost=0.0, matcher_giou_cost=0.0))),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"transformers.loss.{module}.linear_sum_assignment", Table())
            for scale in (0.5, 1.0, 3.0):
                matcher({"logits": scale * logits, "pred_boxes": boxes}, targets)
                said = scale * logits[0, :, targets[0]["class_labels"]]
                within = 0.75e-8 * (1 + math.exp(float(said.abs().max())))  # ln(p + 1e-8) − ln p < 1e-8 / p, and 1 / p = 1 + e^−s
                torch.testing.assert_close(-focal_gains(said), seen.pop(), rtol=0, atol=within)
    far = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4])
    assert_near(focal_gains(far), torch.tensor([-2500.0, -25.0, 0.5 * math.log(2) / 4, 75.0, 7500.0]))  # α · −ln p, and (1 − α) · −ln(1 − p)


def test_a_pair_without_overlap_teaches_rt_detr_no_class() -> None:
    """As in RT-DETR: its quality is 0, and so is what its class weighs; `focal.varifocal_loss` would teach it to say no."""
    logits = torch.zeros(1, 1, 1, requires_grad=True)
    apart = [{"labels": torch.tensor([0]), "boxes": torch.tensor([[0.8, 0.8, 0.1, 0.1]])}]
    loss = sets.BoxSetLoss(1, class_loss="varifocal")(logits, torch.tensor([[[0.2, 0.2, 0.1, 0.1]]]), apart)
    loss.parts["class"].backward()
    assert loss.parts["class"] == 0
    assert logits.grad.count_nonzero() == 0


@pytest.mark.parametrize("kind", ["focal", "varifocal"])
def test_one_query_of_one_class_by_hand(kind: Any) -> None:
    """p = 1/2 and a box that is met exactly; one other query says 1/2 as well. α of the pair is 1/4, of the other 3/4, and (1/2)² of both counts."""
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]]])
    loss = sets.BoxSetLoss(1, class_loss=kind)(torch.zeros(1, 2, 1), boxes, [{"labels": torch.tensor([0]), "boxes": boxes[0, :1]}])
    expected = {"focal": (0.25 / 4 + 0.75 / 4) * math.log(2), "varifocal": (1 + 0.75 / 4) * math.log(2)}[kind]
    assert loss.matches[0].queries.tolist() == [0]
    assert float(loss.total) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_derivatives(gamma: float, generator: torch.Generator) -> None:
    """Finite differences, to second order; "varifocal" has weights without a gradient, so that its own are no derivative of its value."""
    logits, boxes, targets = scene([3, 0, 2], generator, layers=2, queries=4)
    leaves = logits.requires_grad_(), boxes.requires_grad_()
    criterion = sets.BoxSetLoss(CLASSES, class_loss="focal", focal_gamma=gamma)
    assert torch.autograd.gradcheck(lambda a, b: criterion(a, b, targets).total, leaves)
    assert torch.autograd.gradgradcheck(lambda a, b: criterion(a, b, targets).total, leaves, fast_mode=True)


@pytest.mark.parametrize("kind", ["focal", "varifocal"])
def test_sure_logits_and_boxes_without_area(kind: Any, dtype: torch.dtype) -> None:
    boxes = torch.tensor([[[0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.2, 0.2], [0.2, 0.2, 0.0, 0.3]]], dtype=dtype)
    targets = [{"labels": torch.tensor([0, 1, 2]), "boxes_cxcywh": boxes[0].flip(0)}]
    for high in (1e4, 40.0, 90.0):
        logits = torch.tensor([high, -high, 0.0], dtype=dtype).repeat(1, 3, 1)
        for gamma in (0.5, 2.0):
            criterion = sets.BoxSetLoss(3, class_loss=kind, focal_gamma=gamma)
            loss, *slopes = gradients(lambda a, b: criterion(a, b, targets).total, logits, boxes)  # noqa: B023
            assert all(bool(values.isfinite().all()) for values in (loss, slopes[0]))
            assert dtype == torch.float16 or bool(slopes[1].isfinite().all())  # the slope of an area near 0 is beyond float16


def test_focal_is_the_same_in_many_pieces(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    """More logits than are computed at once, with and without weights of the classes."""
    for kind in ("focal", "varifocal"):
        logits, boxes, targets = scene([3, 2], generator, layers=2)
        for weights in (None, [0.5, 1.0, 2.0, 0.0, 1.5]):
            criterion = sets.BoxSetLoss(CLASSES, class_loss=kind, class_weights=weights)
            whole = gradients(lambda a, b: criterion(a, b, targets).total, logits, boxes)  # noqa: B023
            with monkeypatch.context() as patch:
                patch.setattr("lossbook._core.onepass.WHOLE", 10)
                patch.setattr("lossbook._core.onepass.PIECE", 13)
                same(gradients(lambda a, b: criterion(a, b, targets).total, logits, boxes), whole)  # noqa: B023


# -------------------------------------------------------------------------------------------------------------------------------- weights

BY_CLASS = [0.5, 1.0, 2.0, 0.0, 1.5]


def detr_parts(weights: Sequence[float], logits: Tensor, boxes: Tensor, targets: Any, matcher: Any = None) -> dict[str, Tensor]:
    """transformers' `ImageLoss` of one layer with other weights in its cross-entropy."""
    from transformers.loss.loss_for_object_detection import HungarianMatcher

    criterion = ImageLoss(matcher or HungarianMatcher(1, 5, 2), CLASSES, 0.1, ["labels", "boxes"]).double()
    criterion.empty_weight[:] = torch.tensor([*weights, 0.1], dtype=torch.float64)
    return criterion({"logits": logits, "pred_boxes": boxes}, targets)


def in_all(parts: dict[str, Tensor]) -> Tensor:
    return parts["loss_ce"] + 5 * parts["loss_bbox"] + 2 * parts["loss_giou"]


@SIZES
def test_weights_of_classes_and_layers_are_those_of_torchs_cross_entropy(sizes: tuple[int, ...], generator: torch.Generator) -> None:
    logits, boxes, targets = scene(sizes, generator, layers=3, columns=CLASSES + 1)
    by_layer = [0.25, 0.0, 2.0]
    criterion = sets.BoxSetLoss(CLASSES, class_weights=torch.tensor(BY_CLASS), layer_weights=by_layer)

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        return sum(w * in_all(detr_parts(BY_CLASS, x, y, targets)) for w, x, y in zip(by_layer, a, b, strict=True))

    same(gradients(lambda a, b: criterion(a, b, targets).total, logits, boxes), gradients(theirs, logits, boxes))
    loss = criterion(logits, boxes, targets)
    assert_near(loss.total, loss.parts["class"] + 5 * loss.parts["l1"] + 2 * loss.parts["giou"])
    for layer, a, b in zip(loss.by_layer, logits, boxes, strict=True):
        assert_near(layer.total, in_all(detr_parts(BY_CLASS, a, b, targets)))


def test_a_sigmoid_loss_weighs_the_columns(generator: torch.Generator) -> None:
    """Column by column: transformers' focal loss of a class alone, times its weight."""
    logits, boxes, targets = scene([3, 0, 4], generator)
    criterion = sets.BoxSetLoss(CLASSES, class_loss="focal", class_weights=BY_CLASS)
    loss = criterion(logits, boxes, targets)
    truth = torch.zeros_like(logits)
    for image, (pairs, target) in enumerate(zip(loss.matches, targets, strict=True)):
        truth[image, pairs.queries, target["class_labels"][pairs.targets]] = 1.0

    def theirs(a: Tensor) -> Tensor:
        return sum(w * sigmoid_focal_loss(a[..., k, None], truth[..., k, None], 7) * a.shape[1] for k, w in enumerate(BY_CLASS))

    same(gradients(lambda a: criterion(a, boxes, targets).parts["class"], logits), gradients(theirs, logits))


def test_weights_of_masks_are_maskformers(generator: torch.Generator) -> None:
    logits, mask_logits, targets = mask_scene([3, 0, 8], generator, layers=2)
    criterion = sets.MaskSetLoss(CLASSES, class_weights=BY_CLASS, layer_weights=[0.5, 2.0])
    peer = MaskFormerLoss(CLASSES, MaskFormerHungarianMatcher(1.0, 20.0, 1.0), {}, 0.1).double()
    peer.empty_weight[:] = torch.tensor([*BY_CLASS, 0.1], dtype=torch.float64)
    labels, masks = [target["labels"] for target in targets], [target["masks"].double() for target in targets]

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for share, x, y in zip((0.5, 2.0), a, b, strict=True):
            parts = peer(y, x, masks, labels)
            total = total + share * (parts["loss_cross_entropy"] + 20 * parts["loss_mask"] + parts["loss_dice"])
        return total

    same(gradients(lambda a, b: criterion(a, b, targets).total, logits, mask_logits), gradients(theirs, logits, mask_logits))


# -------------------------------------------------------------------------------------------------------------------------------- matches


def drawn_matches(sizes: Sequence[int], queries: int, generator: torch.Generator) -> list[sets.Match]:
    """For each image some queries, in no order, with targets that may come again."""
    found = []
    for size in sizes:
        count = min(queries - 2, 2 * size)
        found.append(sets.Match(torch.randperm(queries, generator=generator)[:count], torch.randint(max(size, 1), (count,), generator=generator)))
    return found


@pytest.mark.parametrize("sizes", [(3, 1, 5), (0, 4)], ids=str)
def test_matches_handed_in_take_the_place_of_a_matching(sizes: tuple[int, ...], generator: torch.Generator) -> None:
    """Of boxes: transformers' losses with a matcher that says the same, brought to the number of pairs."""
    logits, boxes, targets = scene(sizes, generator, columns=CLASSES + 1)
    matches = drawn_matches(sizes, 7, generator)
    share = sum(sizes) / sum(len(pairs.queries) for pairs in matches)
    for criterion in (sets.BoxSetLoss(CLASSES), sets.BoxSetLoss(CLASSES, class_weights=BY_CLASS)):
        weights = criterion.class_weights or [1.0] * CLASSES

        def theirs(a: Tensor, b: Tensor) -> Tensor:
            parts = detr_parts(weights, a, b, targets, Said(matches))  # noqa: B023
            return parts["loss_ce"] + share * (5 * parts["loss_bbox"] + 2 * parts["loss_giou"])

        for given in (matches, [tuple(pairs) for pairs in matches], [[side.int() for side in pairs] for pairs in matches]):
            found = gradients(lambda a, b: criterion(a, b, targets, matches=given).total, logits, boxes)  # noqa: B023
            same(found, gradients(theirs, logits, boxes))
        back = criterion(logits, boxes, targets, matches=matches)
        assert all(torch.equal(a, b) for pair in zip(back.matches, matches, strict=True) for a, b in zip(*pair, strict=True))


class Said(torch.nn.Module):
    """A matcher that finds what it was told."""

    def __init__(self, matches: list[sets.Match]) -> None:
        super().__init__()
        self.matches = matches

    def forward(self, *arguments: Any) -> list[sets.Match]:
        return self.matches


@pytest.mark.parametrize("points", [None, 40])
def test_matches_of_masks_handed_in(points: int | None, generator: torch.Generator) -> None:
    """MaskFormer's and Mask2Former's losses with a matcher that says the same."""
    sizes = (3, 0, 4)
    logits, mask_logits, targets = mask_scene(sizes, generator, target=13)
    matches = drawn_matches(sizes, 6, generator)
    share = sum(sizes) / sum(len(pairs.queries) for pairs in matches)
    labels, masks = [target["labels"] for target in targets], [target["masks"].double() for target in targets]
    if points is None:
        peer = MaskFormerLoss(CLASSES, MaskFormerHungarianMatcher(1.0, 20.0, 1.0), {}, 0.1).double()
    else:
        peer = Mask2FormerLoss(Mask2FormerConfig(num_labels=CLASSES, train_num_points=points), {}).double()
    peer.empty_weight[-1] = 0.1  # it was rounded to float32
    peer.matcher = Said(matches)
    criterion = sets.MaskSetLoss(CLASSES, class_weight=2.0, mask_weight=5.0, dice_weight=3.0, num_points=points)

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)  # of the points that it draws
        try:
            parts = peer(b, a, masks, labels)
        finally:
            torch.set_default_dtype(torch.float32)
        return 2 * parts["loss_cross_entropy"] + share * (5 * parts["loss_mask"] + 3 * parts["loss_dice"])

    def ours(a: Tensor, b: Tensor) -> Tensor:
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)
        try:
            return criterion(a, b, targets, matches=matches).total
        finally:
            torch.set_default_dtype(torch.float32)

    same(gradients(ours, logits, mask_logits), gradients(theirs, logits, mask_logits))


@pytest.mark.parametrize("kind", ["softmax", "focal", "varifocal"])
def test_a_matching_handed_in_again_changes_nothing(kind: Any, generator: torch.Generator) -> None:
    logits, boxes, targets = scene((3, 0, 5), generator, layers=1, columns=CLASSES + (kind == "softmax"))
    criterion = sets.BoxSetLoss(CLASSES, class_loss=kind)
    matches = criterion(logits, boxes, targets).matches
    again = gradients(lambda a, b: criterion(a, b, targets, matches=matches).total, logits, boxes)
    same(again, gradients(lambda a, b: criterion(a, b, targets).total, logits, boxes))


def test_nothing_to_match_is_handed_in() -> None:
    """No image; images with no pairs, whose queries are all to say "no object", or no class at all."""
    none = sets.Match(*torch.zeros(2, 0, dtype=torch.int64))
    for kind in ("softmax", "focal", "varifocal"):
        criterion = sets.BoxSetLoss(2, class_loss=kind)
        columns = 2 + (kind == "softmax")
        assert criterion(torch.zeros(0, 3, columns), torch.zeros(0, 3, 4), [], matches=[]).total == 0
        target = {"labels": torch.tensor([1]), "boxes": torch.full((1, 4), 0.5)}
        for truth in (target, {name: value[:0] for name, value in target.items()}):
            loss = criterion(torch.zeros(1, 3, columns), torch.full((1, 3, 4), 0.5), [truth], matches=[none])
            expected = {"softmax": math.log(3), "focal": 6 * 0.75 / 4 * math.log(2), "varifocal": 6 * 0.75 / 4 * math.log(2)}[kind]
            assert float(loss.total) == pytest.approx(expected, rel=1e-6)
            assert len(loss.matches[0].queries) == 0


def test_bad_matches_are_named(generator: torch.Generator) -> None:
    logits, boxes, targets = scene((3, 2), generator, columns=CLASSES + 1)
    good = [sets.Match(torch.tensor([0, 4]), torch.tensor([2, 2])), sets.Match(torch.tensor([6]), torch.tensor([1]))]

    def wrong(error: type[Exception], words: str, matches: Any) -> None:
        with pytest.raises(error, match=words):
            sets.BoxSetLoss(CLASSES)(logits, boxes, targets, matches=matches)

    wrong(TypeError, r"^`matches` should be a sequence with the pairs of each image; found dict\.$", {})
    wrong(ValueError, r"^`matches` should hold 2 images to match `logits`; found 1\.$", good[:1])
    wrong(TypeError, r"^`matches\[0\]` should be a `Match`, or queries and targets; found Tensor\.$", good[0])
    wrong(TypeError, r"^`matches\[1\]\.queries` should be a torch.Tensor; found list\.$", [good[0], ([6], [1])])
    wrong(TypeError, r"^`matches\[1\]\.targets` should have an integer dtype; found torch.float32\.$", [good[0], (good[1][0], torch.ones(1))])
    wrong(
        ValueError,
        r"^`matches\[0\]` should have queries and targets of one shape \[M\]; found \(2,\) and \(1,\)\.$",
        [(good[0][0], good[1][1]), good[1]],
    )
    wrong(ValueError, r"^`matches\[0\]` should have .* found \(\) and \(\)\.$", [tuple(torch.tensor([0, 0])), good[1]])
    wrong(ValueError, r"^`matches\[1\]\.queries` should lie in \[0, 7\); found values from 7 to 7\.$", [good[0], (torch.tensor([7]), good[1][1])])
    wrong(ValueError, r"^`matches\[1\]\.targets` should lie in \[0, 2\); found values from -1 to -1\.$", [good[0], (good[1][0], torch.tensor([-1]))])
    wrong(ValueError, r"^`matches` should have each query of an image in one pair; found 2\.$", [(torch.tensor([4, 4]), good[0][1]), good[1]])
    wrong(
        ValueError,
        r"^`matches\[1\]\.queries` should be on the device cpu to match `logits`; found meta",
        [good[0], (good[1][0].to("meta"), good[1][1])],
    )
    masks = [{"labels": torch.tensor([0]), "masks": torch.full((1, 4, 4), 2.0)}]
    with pytest.raises(ValueError, match=r"^`targets` should lie in \[0, 1\]"):  # also of a mask that is in no pair
        sets.MaskSetLoss(CLASSES)(torch.zeros(1, 3, 6), torch.zeros(1, 3, 4, 4), masks, matches=[tuple(torch.zeros(2, 0, dtype=torch.int64))])


# ---------------------------------------------------------------------------------------------------------------------------- other names


def test_targets_have_the_names_that_others_give_them(generator: torch.Generator) -> None:
    """transformers' and torchvision's, in mappings and records, a different one in each image; where there are two, our own is read."""
    logits, boxes, targets = scene((3, 0, 2), generator, columns=CLASSES + 1)
    ids, truth = [target["class_labels"] for target in targets], [target["boxes"] for target in targets]
    expected = sets.BoxSetLoss(CLASSES)(logits, boxes, [sets.BoxTargets(*pair) for pair in zip(ids, truth, strict=True)]).total
    mixed = [
        {"labels": ids[0], "boxes": truth[0]},
        SimpleNamespace(class_labels=ids[1], boxes=truth[1]),
        {"class_labels": ids[2], "boxes_cxcywh": truth[2]},
    ]
    both = [{"labels": a, "class_labels": a + 99, "boxes": 640 * b, "boxes_cxcywh": b} for a, b in zip(ids, truth, strict=True)]
    for given in (targets, mixed, both, [SimpleNamespace(**target) for target in both]):
        assert sets.BoxSetLoss(CLASSES)(logits, boxes, given).total == expected
    scores, mask_logits, masks = mask_scene((3, 2), generator)
    named = [{"class_labels": target["labels"], "masks": target["masks"]} for target in masks]
    assert sets.MaskSetLoss(CLASSES)(scores, mask_logits, named).total == sets.MaskSetLoss(CLASSES)(scores, mask_logits, masks).total


def test_a_field_is_named_as_the_target_names_it(generator: torch.Generator) -> None:
    logits, boxes, targets = scene((3, 2), generator, columns=CLASSES + 1)
    criterion = sets.BoxSetLoss(CLASSES)
    with pytest.raises(TypeError, match=r"^`targets\[1\]\.class_labels` should have an integer dtype; found torch.float64\.$"):
        criterion(logits, boxes, [targets[0], {**targets[1], "class_labels": targets[1]["class_labels"].double()}])
    with pytest.raises(
        ValueError, match=r"^`targets\[0\]` should have `class_labels` of shape \[N\] and `boxes` of shape \[N, 4\]; found \(1,\) and \(3, 4\)"
    ):
        criterion(logits, boxes, [{**targets[0], "class_labels": torch.tensor([1])}, targets[1]])
    with pytest.raises(TypeError, match=r"^`targets\[0\]` should be a mapping or a record with `labels`; found dict\.$"):
        criterion(logits, boxes, [{"boxes": targets[0]["boxes"]}, targets[1]])


def test_boxes_in_pixels_are_named(generator: torch.Generator) -> None:
    """Of a target alone: a prediction may wander. A little outside of the image is no error; NaN is another one."""
    logits, boxes, targets = scene((3, 2), generator, columns=CLASSES + 1)
    criterion = sets.BoxSetLoss(CLASSES)
    words = r"should be \(centre x, centre y, width, height\) relative to the image's size; found values up to 640\.$"
    for name in ("boxes", "boxes_cxcywh"):
        pixels = [targets[0], {"labels": targets[1]["class_labels"], name: torch.tensor([[0.0, 0.0, 640.0, 480.0], [10.0, 10.0, 20.0, 20.0]])}]
        with pytest.raises(ValueError, match=rf"^`targets\[1\]\.{name}` {words}"):
            criterion(logits, boxes, pixels)
    one = [{**target, "boxes": target["boxes"][:1]} | {"class_labels": target["class_labels"][:1]} for target in targets]
    far = [{**target, "boxes": torch.tensor([[2.1, 0.5, 0.1, 0.1]])} for target in one]
    near = [{**target, "boxes": torch.tensor([[2.0, 0.5, 0.1, 0.1]])} for target in one]
    assert criterion(logits, 100 * boxes, near).total > 0
    call: Callable[..., Tensor] = lambda a, b: criterion(a, b, far).total  # noqa: E731
    expected = "relative to the image's size"
    for path, given in (
        (call, (logits, boxes)),
        (torch.func.grad(call), (logits, boxes)),
        (torch.func.vmap(call), (logits[None], boxes[None])),
    ):
        with pytest.raises(ValueError, match=expected):
            path(*given)
    torch.compiler.reset()
    with pytest.raises(RuntimeError, match=expected):
        torch.compile(call, backend="eager", fullgraph=True)(logits, boxes)
    with pytest.raises(ValueError, match="should have boxes with width and height >= 0; found nan"):
        criterion(logits, boxes, [{**targets[0], "boxes": torch.full((3, 4), math.nan)}, targets[1]])


# --------------------------------------------------------------------------------------------------------------------------------- settings


def test_a_criterion_shows_what_was_chosen() -> None:
    plain = "num_classes=3, class_weight=1, l1_weight=5, giou_weight=2"
    assert repr(sets.BoxSetLoss(3, class_loss="focal")) == f"BoxSetLoss({plain}, class_loss='focal', focal_alpha=0.25, focal_gamma=2)"
    rt_detr = sets.BoxSetLoss(3, class_loss="varifocal", class_cost=2, layer_weights=[1, 0.5])
    assert repr(rt_detr) == f"BoxSetLoss({plain}, class_loss='varifocal', focal_alpha=0.75, focal_gamma=2, class_cost=2, layer_weights=[1, 0.5])"
    assert (
        repr(sets.BoxSetLoss(3, class_weights=torch.tensor([1, 2, 0.5]))) == f"BoxSetLoss({plain}, no_object_weight=0.1, class_weights=[1, 2, 0.5])"
    )
    assert repr(sets.MaskSetLoss(2, class_weights=(1, 2), layer_weights=(3,))).endswith(
        "no_object_weight=0.1, class_weights=[1, 2], layer_weights=[3])"
    )
    assert "class_cost" not in repr(sets.BoxSetLoss(3, class_weight=2, class_cost=2))


def test_bad_settings_are_named(generator: torch.Generator) -> None:
    def wrong(error: type[Exception], words: str, **settings: Any) -> None:
        with pytest.raises(error, match=words):
            sets.BoxSetLoss(2, **settings)

    for kind in ("focal", "varifocal"):
        words = rf"^`no_object_weight` should be left out with class_loss='{kind}', which has no such class; found 0.2\.$"
        wrong(ValueError, words, class_loss=kind, no_object_weight=0.2)
    wrong(ValueError, r"^`class_loss` should be one of 'softmax', 'focal', 'varifocal'; found 'sigmoid'\.$", class_loss="sigmoid")
    wrong(ValueError, r"^`focal_alpha` should lie in \[0, 1\]; found 1.5\.$", focal_alpha=1.5)
    wrong(ValueError, r"^`focal_gamma` should be finite and at least 0; found -1\.$", focal_gamma=-1)
    wrong(ValueError, r"^`class_cost` should be finite and at least 0; found -1\.$", class_cost=-1)
    for kind in (sets.BoxSetLoss, sets.MaskSetLoss):
        for name, value, error, words in (
            ("class_weights", [1.0], ValueError, "hold 2 numbers, one a class; found 1"),
            ("class_weights", torch.ones(2, 1), TypeError, r"be a tensor of shape \[N\] or a sequence of numbers; found a tensor of shape \(2, 1\)"),
            ("class_weights", "ab", TypeError, r"be a tensor of shape \[N\] or a sequence of numbers; found str"),
            ("class_weights", torch.ones(2, dtype=torch.complex64), TypeError, "have a dtype of real numbers"),
            ("layer_weights", [], ValueError, "hold at least one number; found 0"),
            ("layer_weights", 1.0, TypeError, r"be a tensor of shape \[N\] or a sequence of numbers; found float"),
        ):
            with pytest.raises(error, match=f"^`{name}` should {words}"):
                kind(2, **{name: value})
        with pytest.raises(ValueError, match=r"^`class_weights\[1\]` should be finite and at least 0; found -1.0\.$"):
            kind(2, class_weights=[1.0, -1.0])
        with pytest.raises(TypeError, match=r"^`layer_weights\[0\]` should be a real number; found str\.$"):
            kind(2, layer_weights=["1"])
    for count, wanted in ((1, "3 layers"), (3, "1 layers")):
        logits, boxes, targets = scene((3, 2), generator, layers=count, columns=CLASSES + 1)
        with pytest.raises(ValueError, match=rf"^`logits` should have {wanted}, as `layer_weights` has; found {count}\.$"):
            sets.BoxSetLoss(CLASSES, layer_weights=[1.0] * (4 - count))(logits, boxes, targets)
    with pytest.raises(ValueError, match=r"^`logits` should have shape \[B, Q, 5\] or \[L, B, Q, 5\]; found"):
        sets.BoxSetLoss(CLASSES, class_loss="focal")(logits, boxes, targets)


# -------------------------------------------------------------------------------------------------------------------------- ignored pixels


def cropped_scene(generator: torch.Generator) -> tuple[Tensor, Tensor, list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """Predictions of 8 x 10 and masks of the same size; what is ignored is all but the first 8 x 6, and the targets of that part alone."""
    logits, mask_logits, targets = mask_scene((3, 0, 8), generator, layers=2)
    ignore = torch.ones(8, 10, dtype=torch.bool)
    ignore[:, :6] = False
    part = [{**target, "masks": target["masks"][..., :6]} for target in targets]
    return logits, mask_logits, [{**target, "ignore": ignore} for target in targets], part


def test_ignored_pixels_are_not_there(generator: torch.Generator) -> None:
    """The oracle is the loss of the rest, which is a picture of its own; NaN in what is ignored gets into nothing."""
    logits, mask_logits, targets, part = cropped_scene(generator)
    criterion = sets.MaskSetLoss(CLASSES)

    def alone(a: Tensor, b: Tensor) -> Tensor:
        return criterion(a, b[..., :6], part).total

    broken = mask_logits.clone()
    broken[..., 6:] = math.nan
    for masks in (mask_logits, broken):
        same(gradients(lambda a, b: criterion(a, b, targets).total, logits, masks), gradients(alone, logits, mask_logits))
    for ours, theirs in zip(criterion(logits, mask_logits, targets).matches, criterion(logits, mask_logits[..., :6], part).matches, strict=True):
        assert torch.equal(ours.queries, theirs.queries)
    mixed = [targets[0], {name: value for name, value in targets[1].items() if name != "ignore"}, targets[2]]
    assert_near(criterion(logits, mask_logits, mixed).total, criterion(logits, mask_logits, targets).total)


def test_ignored_pixels_cost_nothing(generator: torch.Generator) -> None:
    """Every entry of the costs, whole and at points, is that of the rest alone: pixels, and points that lie on the rest."""
    _, mask_logits, targets, part = cropped_scene(generator)
    masks, rest = [target["masks"].double() for target in targets], [target["masks"].double() for target in part]
    ignored = torch.stack([target["ignore"] for target in targets])
    found = matching_costs(mask_logits, masks, None, 20.0, 3.0, ignored=ignored, plain=False)
    expected = matching_costs(mask_logits[..., :6], rest, None, 20.0, 3.0, plain=False)
    for image, mask in enumerate(masks):
        assert_near(found[:, image, :, : len(mask)], expected[:, image, :, : len(mask)])
    points = torch.rand(2, 3, 40, 2, generator=generator, dtype=torch.float64)
    points[..., 20:, 0] = 0.6 + points[..., 20:, 0] * 0.4  # of ten columns the last four
    points[..., :20, 0] *= 0.6
    found = matching_costs(mask_logits, masks, points, 20.0, 3.0, ignored=ignored, plain=False)
    expected = matching_costs(mask_logits, masks, points[..., :20, :], 20.0, 3.0, plain=False)
    for image, mask in enumerate(masks):
        assert_near(found[:, image, :, : len(mask)], expected[:, image, :, : len(mask)])


def test_larger_masks_and_points_with_ignored_pixels_pair_by_pair(generator: torch.Generator) -> None:
    """Masks of another size than the predictions, at given matches, against a mean over what is left, of whole masks and of points."""
    logits, mask_logits, targets = mask_scene((3, 2), generator, target=13)
    matches = [sets.Match(torch.tensor([4, 0, 5]), torch.tensor([0, 1, 2])), sets.Match(torch.tensor([2, 3]), torch.tensor([1, 0]))]
    ignores = [torch.rand(13, 16, generator=generator) > 0.6, torch.zeros(13, 16, dtype=torch.bool)]
    given = [{**target, "ignore": ignore} for target, ignore in zip(targets, ignores, strict=True)]
    points = torch.rand(2, 50, 2, generator=generator, dtype=torch.float64)

    def theirs(a: Tensor, b: Tensor, sampled: bool) -> Tensor:
        parts = torch.zeros(2, dtype=torch.float64)
        for image, (pairs, target, ignore) in enumerate(zip(matches, targets, ignores, strict=True)):
            for q, n in zip(*(side.tolist() for side in pairs), strict=True):
                truth = target["masks"][n].double()
                if sampled:
                    place = 2 * points[image] - 1
                    x, t = (
                        torch.nn.functional.grid_sample(m[None, None], place[None, :, None], align_corners=False)[0, 0, :, 0]
                        for m in (b[image, q], truth)
                    )
                    column, row = ((points[image] * torch.tensor([16, 13])).long()).unbind(1)
                    left = ~ignore[row, column]
                    x, t = x[left], t[left]
                    mask = torch.nn.functional.binary_cross_entropy_with_logits(x, t)
                else:
                    x = torch.nn.functional.interpolate(b[image, q][None, None], size=(13, 16), mode="bilinear")[0, 0][~ignore]
                    t = truth[~ignore]
                    mask = sigmoid_focal_loss(x[None], t[None], 1)
                p = x.sigmoid()
                dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
                parts = parts + torch.stack([mask, dice]) / 5
        return 20 * parts[0] + parts[1]

    for sampled in (False, True):
        criterion, settings = sets.MaskSetLoss(CLASSES, num_points=50 if sampled else None), {"points": points} if sampled else {}

        def ours(a: Tensor, b: Tensor) -> Tensor:
            loss = criterion(a, b, given, matches=matches, **settings)  # noqa: B023
            return 20 * loss.parts["mask"] + loss.parts["dice"]

        same(gradients(lambda b: ours(logits, b), mask_logits), gradients(lambda b: theirs(logits, b, sampled), mask_logits))  # noqa: B023


@pytest.mark.parametrize("points", [None, 9])
def test_masks_that_are_ignored_altogether_teach_nothing(points: int | None, generator: torch.Generator) -> None:
    """Nor do they decide a matching: class alone does."""
    logits, mask_logits, targets = mask_scene((3, 2), generator, target=11)
    ignored = [{**target, "ignore": torch.ones(11, 14, dtype=torch.bool)} for target in targets]
    criterion = sets.MaskSetLoss(CLASSES, num_points=points)
    settings = {} if points is None else {"points": torch.rand(2, 9, 2, generator=generator)}
    found = gradients(lambda b: criterion(logits, b, ignored, **settings).total, mask_logits)
    assert found[1].count_nonzero() == 0
    loss = criterion(logits, mask_logits, ignored, **settings)
    assert_near(loss.total, loss.parts["class"])
    for image, pairs in enumerate(loss.matches):
        best = sets.match(-logits[image].softmax(-1)[:, targets[image]["labels"]])
        assert torch.equal(pairs.queries, best.queries)
        assert torch.equal(pairs.targets, best.targets)


@pytest.mark.thorough
@pytest.mark.parametrize("points", [None, 9])
def test_ignored_pixels_compiled_and_mapped(points: int | None, generator: torch.Generator) -> None:
    logits, mask_logits, targets = mask_scene((3, 2), generator, target=11)
    criterion = sets.MaskSetLoss(CLASSES, num_points=points)
    settings = {} if points is None else {"points": torch.rand(2, 9, 2, generator=generator)}
    some = [{**target, "ignore": torch.rand(11, 14, generator=generator) > 0.5} for target in targets]
    expected = gradients(lambda b: criterion(logits, b, some, **settings).total, mask_logits)
    torch.compiler.reset()
    compiled = torch.compile(lambda b: criterion(logits, b, some, **settings).total, backend="aot_eager", fullgraph=True)
    same(gradients(compiled, mask_logits), expected)
    several = [{**target, "ignore": target["ignore"][None]} for target in some]
    alike = [{name: value if name == "ignore" else value[None] for name, value in target.items()} for target in several]
    mapped = torch.func.vmap(lambda b, truth: criterion(logits, b, truth, **settings).total)(mask_logits[None], alike)
    assert_near(mapped[0], expected[0])


def test_bad_ignored_pixels_are_named(generator: torch.Generator) -> None:
    logits, mask_logits, targets = mask_scene((3, 0), generator)
    good = torch.zeros(8, 10, dtype=torch.bool)
    for value, error, words in (
        (good[1:], ValueError, r"have shape \(8, 10\) to match the masks; found \(7, 10\)"),
        (good.int(), TypeError, "have the dtype torch.bool; found torch.int32"),
        (good.tolist(), TypeError, "be a torch.Tensor; found list"),
        (good.to("meta"), ValueError, "be on the device cpu to match `logits`; found meta"),
    ):
        with pytest.raises(error, match=rf"^`targets\[0\]\.ignore` should {words}\.$"):
            sets.MaskSetLoss(CLASSES)(logits, mask_logits, [{**targets[0], "ignore": value}, targets[1]])
    anything = [targets[0], {**targets[1], "ignore": good[:2]}]  # of an image without objects
    assert_near(sets.MaskSetLoss(CLASSES)(logits, mask_logits, anything).total, sets.MaskSetLoss(CLASSES)(logits, mask_logits, targets).total)
