"""transformers' own models, tiny and random, trained with their loss and with ours in its place: the same curve, and how few lines that takes.

Nothing is downloaded, and no backbone but transformers' own is used.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    DeformableDetrConfig,
    DeformableDetrForObjectDetection,
    DetrConfig,
    DetrForObjectDetection,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    PreTrainedModel,
    ResNetConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    SwinConfig,
)

from lossbook import sets

CLASSES, SIDE, STEPS = 3, 64, 20
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "layer_type": "basic"}
FOUR = [f"stage{stage}" for stage in (1, 2, 3, 4)]
SMALL = {"encoder_layers": 1, "decoder_layers": 3, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "num_queries": 8, "dropout": 0.0}
HEADS = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
NO_FILES = {"use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None}

# --- the swaps: what stands between the lines of a function is what a user writes -----------------------------------------------------------------


def swap_detr(model: Any) -> None:
    criterion = sets.BoxSetLoss(model.config.num_labels)

    def loss_function(logits: Tensor, labels: Any, device: Any, boxes: Tensor, config: Any, all_logits: Any, all_boxes: Any) -> Any:
        loss = criterion(all_logits, all_boxes, labels)
        return loss.total, loss.parts, None

    model.loss_function = loss_function


def swap_deformable_detr(model: Any) -> None:
    criterion = sets.BoxSetLoss(model.config.num_labels, class_loss="focal")

    def loss_function(logits: Tensor, labels: Any, device: Any, boxes: Tensor, config: Any, all_logits: Any, all_boxes: Any) -> Any:
        loss = criterion(all_logits, all_boxes, labels)
        return loss.total, loss.parts, None

    model.loss_function = loss_function


def swap_rt_detr(model: Any) -> None:
    criterion = sets.BoxSetLoss(model.config.num_labels, class_loss="varifocal", class_cost=2.0)

    def loss_function(logits: Tensor, labels: Any, device: Any, boxes: Tensor, config: Any, all_logits: Any, all_boxes: Any, **more: Any) -> Any:
        noise = more["denoising_meta_values"]
        split = (values.transpose(0, 1).split(noise["dn_num_split"], 2) for values in (all_logits, all_boxes))
        (noisy_logits, all_logits), (noisy_boxes, all_boxes) = split
        first_logits, first_boxes = more["enc_topk_logits"], more["enc_topk_bboxes"]
        loss = criterion(torch.cat([all_logits, first_logits[None]]), torch.cat([all_boxes, first_boxes[None]]), labels)
        objects = [torch.arange(len(each["class_labels"])).repeat(noise["dn_num_group"]) for each in labels]
        noisy = criterion(noisy_logits, noisy_boxes, labels, matches=list(zip(noise["dn_positive_idx"], objects, strict=True)))
        return loss.total + noisy.total, loss.parts, None

    model.loss_function = loss_function


class MaskCriterion(torch.nn.Module):
    """A layer at a time, the last one first, as transformers goes: so Mask2Former's random points are the same."""

    def __init__(self, criterion: sets.MaskSetLoss) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, masks_queries_logits: Any, class_queries_logits: Any, mask_labels: Any, class_labels: Any, auxiliary_predictions: Any) -> Any:
        layers = [(class_queries_logits, masks_queries_logits)]
        layers += [(each["class_queries_logits"], each["masks_queries_logits"]) for each in auxiliary_predictions]
        targets = [{"labels": ids, "masks": masks} for ids, masks in zip(class_labels, mask_labels, strict=True)]
        return {"total": sum(self.criterion(*layer, targets).total for layer in layers)}


def swap_maskformer(model: Any) -> None:
    model.criterion = MaskCriterion(sets.MaskSetLoss(model.config.num_labels))


def swap_mask2former(model: Any) -> None:
    weights = {"class_weight": 2.0, "mask_weight": 5.0, "dice_weight": 5.0}
    model.criterion = MaskCriterion(sets.MaskSetLoss(model.config.num_labels, **weights, num_points=model.config.train_num_points))


# --- the models ----------------------------------------------------------------------------------------------------------------------------------


def detr() -> PreTrainedModel:
    backbone = ResNetConfig(**RESNET, out_features=["stage4"])
    config = DetrConfig(**NO_FILES, **SMALL, **HEADS, backbone_config=backbone, d_model=32, num_labels=CLASSES, auxiliary_loss=True)
    return DetrForObjectDetection(config)


def deformable_detr() -> PreTrainedModel:
    backbone = ResNetConfig(**RESNET, out_features=FOUR[1:])
    sizes = {"d_model": 32, "num_feature_levels": 3}
    config = DeformableDetrConfig(**NO_FILES, **SMALL, **HEADS, **sizes, backbone_config=backbone, num_labels=CLASSES, auxiliary_loss=True)
    return DeformableDetrForObjectDetection(config)


def rt_detr() -> PreTrainedModel:
    sizes = {"encoder_in_channels": [8, 16, 16], "decoder_in_channels": [32, 32, 32], "encoder_hidden_dim": 32, "d_model": 32, "num_denoising": 8}
    backbone = RTDetrResNetConfig(**RESNET, out_features=FOUR[1:])
    return RTDetrForObjectDetection(RTDetrConfig(**SMALL, **HEADS, **sizes, backbone_config=backbone, num_labels=CLASSES, anchor_image_size=None))


def swin() -> SwinConfig:
    return SwinConfig(image_size=SIDE, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2, out_features=FOUR)


def maskformer() -> PreTrainedModel:
    decoder = DetrConfig(**NO_FILES, **SMALL, **HEADS, backbone_config=ResNetConfig(**RESNET), d_model=32)
    sizes = {"fpn_feature_size": 32, "mask_feature_size": 32}
    config = MaskFormerConfig(**sizes, backbone_config=swin(), decoder_config=decoder, num_labels=CLASSES, use_auxiliary_loss=True)
    return MaskFormerForInstanceSegmentation(config)


def mask2former() -> PreTrainedModel:
    sizes = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 16, "dim_feedforward": 16}
    layers = {"encoder_layers": 1, "decoder_layers": 3, "num_attention_heads": 2, "num_queries": 8, "dropout": 0.0}
    config = Mask2FormerConfig(**sizes, **layers, backbone_config=swin(), num_labels=CLASSES, train_num_points=64, common_stride=4)
    return Mask2FormerForUniversalSegmentation(config)


def scenes(kind: str) -> dict[str, Any]:
    """Two images with two rectangles and with one, whose class is how bright they are."""
    draw = torch.Generator().manual_seed(1)
    images, masks, labels = torch.rand(2, 3, SIDE, SIDE, generator=draw) / 5, [], []
    for image, count in enumerate((2, 1)):
        corner, side = torch.randint(0, 24, (count, 2), generator=draw), torch.randint(16, 40, (count, 2), generator=draw)
        classes, grid = torch.randint(CLASSES, (count,), generator=draw), torch.arange(SIDE)
        inside = (grid >= corner[..., None]) & (grid < (corner + side)[..., None])
        filled = inside[:, 1, :, None] & inside[:, 0, None, :]
        for mask, name in zip(filled, classes, strict=True):
            images[image][:, mask] = (1 + name) / CLASSES
        masks.append(filled.float())
        labels.append({"class_labels": classes, "boxes": torch.cat([corner + side / 2, side], 1) / SIDE})
    if "mask" in kind:
        names = [each["class_labels"] for each in labels]
        # MaskFormer has its decoder's layers at hand only if it is to give them back
        return {"pixel_values": images, "mask_labels": masks, "class_labels": names, "output_hidden_states": True}
    return {"pixel_values": images, "labels": labels}


def curve(model: Any, batch: dict[str, Any]) -> list[float]:
    """The loss of each step; every step draws the same random numbers."""
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=1e-3), []
    model.train()
    for _ in range(STEPS):
        torch.manual_seed(1)
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


MODELS: dict[str, tuple[Callable[[], PreTrainedModel], Callable[[Any], None], int]] = {
    "detr": (detr, swap_detr, 5),
    "deformable detr": (deformable_detr, swap_deformable_detr, 5),
    "rt-detr": (rt_detr, swap_rt_detr, 11),
    "maskformer": (maskformer, swap_maskformer, 10),
    "mask2former": (mask2former, swap_mask2former, 11),
}


def lines(*things: Any) -> int:
    """Of code: no blank line, no docstring, and not the first line, which is there to hold them together."""
    return sum(len([line for line in inspect.getsource(thing).splitlines()[1:] if line.strip() and '"""' not in line]) for thing in things)


@pytest.mark.filterwarnings("ignore")  # of models that are made to be random
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.thorough] * (name != "detr")) for name in MODELS])
def test_a_swapped_loss_trains_the_same_model(name: str) -> None:
    """Twenty steps from the same weights. What differs is the rounding of float32, which twenty steps of gradient descent carry along."""
    make, swap, most = MODELS[name]
    torch.manual_seed(0)
    theirs = make()
    ours = copy.deepcopy(theirs)
    swap(ours)
    batch = scenes(name)
    expected, found = curve(theirs, batch), curve(ours, batch)
    assert found == pytest.approx(expected, rel=1e-4)
    assert abs(expected[-1] / expected[0] - 1) > 1e-2  # or twenty steps would say no more than one
    assert lines(swap, *([MaskCriterion] if "mask" in name else [])) <= most
    assert max(abs(a - b).max() for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)) < 1e-4
