"""A set loss inside of a LightningModule: moved, under mixed precision, on two processes, saved and read again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lossbook import sets
from tests.tolerances import assert_near

lightning = pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of how many workers load two images
    pytest.mark.thorough,
]
CLASSES, QUERIES, FEATURES = 3, 5, 6


class Detector(lightning.LightningModule):
    """A linear map from features to the logits and boxes of every query."""

    def __init__(self, class_loss: str = "softmax") -> None:
        super().__init__()
        self.save_hyperparameters()
        self.columns = CLASSES + (class_loss == "softmax")
        self.head = torch.nn.Linear(FEATURES, QUERIES * (self.columns + 4))
        self.criterion = sets.BoxSetLoss(CLASSES, class_loss=class_loss, class_weights=[0.5, 1.0, 2.0])
        self.seen: list[Tensor] = []

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.head(features).view(len(features), QUERIES, -1)
        return scores[..., : self.columns], scores[..., self.columns :].sigmoid()

    def training_step(self, batch: Any, index: int) -> Tensor:
        loss = self.criterion(*self(batch[0]), batch[1])
        self.log_dict({name: part.detach() for name, part in loss.parts.items()}, sync_dist=True)
        self.seen.append(loss.total.detach())
        return loss.total

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.05)


class Images(torch.utils.data.Dataset[Any]):
    def __init__(self, count: int) -> None:
        draw = torch.Generator().manual_seed(0)
        self.features = torch.randn(count, FEATURES, generator=draw)
        sizes = [image % 4 for image in range(count)]
        self.targets = [
            {"class_labels": torch.randint(CLASSES, (n,), generator=draw), "boxes": 0.1 + 0.4 * torch.rand(n, 4, generator=draw)} for n in sizes
        ]

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, image: int) -> Any:
        return self.features[image], self.targets[image]


def together(images: list[Any]) -> Any:
    return torch.stack([features for features, _ in images]), [target for _, target in images]


def trained(detector: Any, folder: Path, *, batch: int = 4, **settings: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": folder}
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=2, **quiet, **{"devices": 1, "enable_checkpointing": False} | settings)
    trainer.fit(detector, DataLoader(Images(8), batch_size=batch, collate_fn=together))
    return trainer


def by_hand(detector: Detector, *, batch: int = 4) -> list[Tensor]:
    """The same steps without Lightning."""
    optimizer, losses = torch.optim.SGD(detector.parameters(), lr=0.05), []
    for _ in range(2):
        for features, targets in DataLoader(Images(8), batch_size=batch, collate_fn=together):
            loss = detector.criterion(*detector(features), targets).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return losses


def new(class_loss: str) -> Detector:
    torch.manual_seed(0)
    return Detector(class_loss)


@pytest.mark.parametrize("class_loss", ["softmax", "focal", "varifocal"])
def test_trained_by_lightning_and_by_hand(class_loss: str, tmp_path: Path) -> None:
    found, expected = new(class_loss), new(class_loss)
    trainer = trained(found, tmp_path)
    assert torch.equal(torch.stack(found.seen), torch.stack(by_hand(expected)))
    assert torch.equal(found.head.weight, expected.head.weight)
    assert set(trainer.callback_metrics) == {"class", "l1", "giou"}


def test_moved_and_made_double(tmp_path: Path) -> None:
    """The settings are no parameters, so that nothing of a criterion is left behind or rounded; `meta` stands for a device."""
    moved = new("softmax")
    assert not list(moved.criterion.state_dict())
    assert repr(moved.double().half().float().criterion) == repr(new("softmax").criterion)
    total = moved.double().criterion(*moved(Images(2).features.double()), Images(2).targets).total
    assert total.dtype == torch.float64
    away = moved.to("meta")
    targets = [{name: value.to("meta") for name, value in target.items()} for target in Images(2).targets]
    assert away.criterion(*away(torch.zeros(2, FEATURES, dtype=torch.float64, device="meta")), targets).total.device.type == "meta"
    trained(new("softmax"), tmp_path, precision="64-true")


@pytest.mark.parametrize("class_loss", ["softmax", "focal"])
def test_mixed_precision(class_loss: str, tmp_path: Path) -> None:
    """The model computes in bfloat16 and the loss in float32: what it says is within what bfloat16 does to the model."""
    found, expected = new(class_loss), new(class_loss)
    trained(found, tmp_path, precision="bf16-mixed")
    by_hand(expected)
    assert {loss.dtype for loss in found.seen} == {torch.float32}
    assert not torch.equal(found.head.weight, expected.head.weight)
    assert_near(found.head.weight, expected.head.weight, torch.bfloat16)


def test_saved_and_read_again(tmp_path: Path) -> None:
    """Weights, settings, and where the training stood."""
    detector = new("focal")
    trainer = trained(detector, tmp_path)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    read = Detector.load_from_checkpoint(tmp_path / "model.ckpt")
    assert repr(read.criterion) == repr(detector.criterion)
    batch = together([Images(4)[image] for image in range(4)])
    assert torch.equal(read.criterion(*read(batch[0]), batch[1]).total, detector.criterion(*detector(batch[0]), batch[1]).total)


@pytest.mark.parametrize("class_loss", ["softmax", "focal"])
def test_two_processes_train_as_one(class_loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two gloo processes, each with half of the images and other numbers of objects, whichever they are, end at the weights of one process."""
    for name in ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE"):
        monkeypatch.setitem(os.environ, name, "")  # what Lightning writes there is gone afterwards
        monkeypatch.delitem(os.environ, name)
    found, expected = new(class_loss), new(class_loss)
    strategy = lightning.strategies.DDPStrategy(process_group_backend="gloo", start_method="fork")
    trained(found, tmp_path, batch=4, devices=2, strategy=strategy)
    by_hand(expected, batch=8)
    assert not torch.equal(expected.head.weight, new(class_loss).head.weight)
    assert_near(found.head.weight, expected.head.weight)
