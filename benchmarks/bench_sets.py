"""Set losses, forward and backward, against transformers: values within 1e-5 and gradients within 1e-4 of their largest first.

The peers are `ImageLoss` with `HungarianMatcher` (DETR), `DeformableDetrImageLoss` with its own matcher, `MaskFormerLoss` and `Mask2FormerLoss`.

python -m benchmarks.bench_sets
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Case, Work, main, relative_difference
from lossbook.sets import BoxSetLoss, MaskSetLoss

CLASSES, QUERIES = 91, 100
Step = Callable[[], tuple[Tensor, list[Tensor]]]


def sizes_of(batch: int, objects: int) -> list[int]:
    return np.bincount(np.random.default_rng(0).integers(0, batch, objects), minlength=batch).tolist()


def step(loss: Callable[[], Tensor], leaves: list[Tensor]) -> Step:
    def run() -> tuple[Tensor, list[Tensor]]:
        for leaf in leaves:
            leaf.grad = None
        value = loss()
        value.backward()
        return value.detach(), [leaf.grad for leaf in leaves]

    return run


def close(ours: tuple[Tensor, list[Tensor]], theirs: tuple[Tensor, list[Tensor]]) -> float:
    """How far the gradients are apart, once the values are within 1e-5."""
    if relative_difference(ours[0], theirs[0]) > 1e-5:
        raise ValueError(f"the losses are {float(ours[0])} and {float(theirs[0])}")
    return relative_difference(ours[1], theirs[1])


def touched(leaves: list[Tensor], *truth: Tensor) -> int:
    """Predictions are read and a gradient of their size is written; true masks are read, a byte a pixel."""
    return sum(2 * leaf.nbytes for leaf in leaves) + sum(mask.numel() for mask in truth)


def boxes(layers: int, batch: int, objects: int) -> Work:
    from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(layers, batch, QUERIES, CLASSES + 1, generator=generator).requires_grad_()
    predicted = (0.2 + 0.5 * torch.rand(layers, batch, QUERIES, 4, generator=generator)).requires_grad_()
    targets = [
        {"labels": torch.randint(CLASSES, (size,), generator=generator), "boxes_cxcywh": 0.2 + 0.4 * torch.rand(size, 4, generator=generator)}
        for size in sizes_of(batch, objects)
    ]
    criterion = BoxSetLoss(CLASSES)
    peer = ImageLoss(HungarianMatcher(1, 5, 2), CLASSES, 0.1, ["labels", "boxes"])
    their_targets = [{"class_labels": target["labels"], "boxes": target["boxes_cxcywh"]} for target in targets]

    def their_loss() -> Tensor:
        outputs = {"logits": logits[-1], "pred_boxes": predicted[-1]}
        if layers > 1:
            outputs["auxiliary_outputs"] = [{"logits": a, "pred_boxes": b} for a, b in zip(logits[:-1], predicted[:-1], strict=True)]
        weights = {"loss_ce": 1, "loss_bbox": 5, "loss_giou": 2}
        return sum(weights[name.rstrip("_0123456789")] * value for name, value in peer(outputs, their_targets).items())

    leaves = [logits, predicted]
    return Work(step(lambda: criterion(logits, predicted, targets).total, leaves), step(their_loss, leaves), close, touched(leaves))


def focal_boxes(batch: int, queries: int, objects: int) -> Work:
    """Deformable DETR's: as many classes and queries as it has, no "no object"."""
    from transformers.loss.loss_deformable_detr import DeformableDetrHungarianMatcher, DeformableDetrImageLoss

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, queries, CLASSES, generator=generator).requires_grad_()
    predicted = (0.2 + 0.5 * torch.rand(batch, queries, 4, generator=generator)).requires_grad_()
    targets = [
        {"class_labels": torch.randint(CLASSES, (size,), generator=generator), "boxes": 0.2 + 0.4 * torch.rand(size, 4, generator=generator)}
        for size in sizes_of(batch, objects)
    ]
    criterion = BoxSetLoss(CLASSES, class_loss="focal")
    peer = DeformableDetrImageLoss(DeformableDetrHungarianMatcher(1, 5, 2), CLASSES, 0.25, ["labels", "boxes"])

    def their_loss() -> Tensor:
        parts = peer({"logits": logits, "pred_boxes": predicted}, targets)
        return parts["loss_ce"] + 5 * parts["loss_bbox"] + 2 * parts["loss_giou"]

    leaves = [logits, predicted]
    return Work(step(lambda: criterion(logits, predicted, targets).total, leaves), step(their_loss, leaves), close, touched(leaves))


def masks(batch: int, size: int, target_size: int, *, points: int | None) -> Work:
    from transformers import Mask2FormerConfig
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss
    from transformers.models.maskformer.modeling_maskformer import MaskFormerHungarianMatcher, MaskFormerLoss

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, QUERIES, CLASSES + 1, generator=generator).requires_grad_()
    mask_logits = (3 * torch.randn(batch, QUERIES, size, size, generator=generator)).requires_grad_()
    labels, truth = [], []
    for objects in sizes_of(batch, 20 * batch):
        labels.append(torch.randint(CLASSES, (objects,), generator=generator))
        corner = torch.randint(0, target_size // 2, (objects, 2), generator=generator)
        grid = torch.arange(target_size)
        inside = (grid >= corner[..., None]) & (grid < corner[..., None] + target_size // 3)
        truth.append((inside[:, 0, :, None] & inside[:, 1, None, :]).float())
    targets = [{"labels": ids, "masks": true.bool()} for ids, true in zip(labels, truth, strict=True)]
    leaves = [logits, mask_logits]
    if points is None:
        weights = {"loss_cross_entropy": 1.0, "loss_mask": 20.0, "loss_dice": 1.0}
        criterion = MaskSetLoss(CLASSES)
        peer = MaskFormerLoss(CLASSES, MaskFormerHungarianMatcher(1.0, 20.0, 1.0), weights, 0.1)
    else:
        weights = {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
        criterion = MaskSetLoss(CLASSES, class_weight=2.0, mask_weight=5.0, dice_weight=5.0, num_points=points)
        peer = Mask2FormerLoss(Mask2FormerConfig(num_labels=CLASSES, train_num_points=points), weights)

    def their_loss() -> Tensor:
        torch.default_generator.manual_seed(0)  # `torch.manual_seed` would seed every device, and write down who asked
        return sum(weights[name] * value for name, value in peer(mask_logits, logits, truth, labels).items())

    def our_loss() -> Tensor:
        torch.default_generator.manual_seed(0)  # the same random points, drawn in the same order
        return criterion(logits, mask_logits, targets).total

    return Work(step(our_loss, leaves), step(their_loss, leaves), close, touched(leaves, *truth))


def box_case(batch: int, layers: int, goal: float) -> Case:
    name = f"box set loss, batch {batch}, {QUERIES} queries, {20 * batch} objects, {layers} layer{'s' * (layers > 1)}"
    return Case(name, "transformers ImageLoss", partial(boxes, layers, batch, 20 * batch), goal, 1e-4)


def focal_case(batch: int, queries: int, goal: float) -> Case:
    name = f"focal box set loss, batch {batch}, {queries} queries, {20 * batch} objects"
    return Case(name, "transformers DeformableDetrImageLoss", partial(focal_boxes, batch, queries, 20 * batch), goal, 1e-4)


def mask_case(batch: int, size: int, target_size: int, goal: float, *, points: int | None = None, memory: bool = False) -> Case:
    kind, peer = ("whole masks", "MaskFormerLoss") if points is None else (f"{points} points", "Mask2FormerLoss")
    name = f"mask set loss, {kind}, {batch}x{QUERIES}x{size}x{size}" + (f", targets {target_size}" if target_size != size else "")
    warm = partial(masks, 1, 16, 32, points=points and 50) if memory else None
    return Case(name, f"transformers {peer}", partial(masks, batch, size, target_size, points=points), goal, 1e-4, warm)


JOBS = [
    box_case(16, 1, 10),
    box_case(16, 6, 10),
    box_case(8, 1, 5),
    box_case(2, 1, 1.5),
    focal_case(8, 300, 5),
    mask_case(2, 64, 64, 4, memory=True),
    mask_case(8, 128, 128, 3, memory=True),
    mask_case(2, 128, 512, 6, memory=True),
    mask_case(2, 64, 64, 2, points=12544),
    mask_case(2, 128, 512, 2, points=12544),
]

if __name__ == "__main__":
    main(__doc__, JOBS, peers=["transformers", "scipy"])
