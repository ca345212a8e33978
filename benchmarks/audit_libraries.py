"""Audit losses of other libraries at their released versions, run every reproduction, and write what failed as data for the page "audit".

Each finding becomes five lines: the set-up below, and the example of the report. They are run in an empty namespace, and what the last expression
evaluates to is written down with the versions and the date. Libraries that are not installed are named. Packages whose own
`__init__` needs torchvision are entered by the door of their `losses` folder, which does not.

Losses of JAX and numpy come over a bridge (`bridges.py`), and their rows are code of their own language. What the file says of libraries that are
not audited this time stays.

python -m benchmarks.audit_libraries [--write chapters/workshop/audited.json] [--only monai]
"""

from __future__ import annotations

import argparse
import ast
import datetime
import importlib.util
import json
import re
import sys
import types
import warnings
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch

import lossbook
from benchmarks import bridges

SIDE_DOORS = ("segmentation_models_pytorch", "timm")  # their `losses` need no torchvision, their `__init__` does


class Entry(NamedTuple):
    """A loss as its library gives it: the set-up ends in a name `loss`."""

    library: str
    name: str
    setup: str
    kind: str = "binary"
    shape: tuple[int, ...] | None = None
    targets: str | None = None
    language: str = "torch"


def optax(name: str, call: str = "", kind: str = "binary", targets: str | None = None, shape: tuple[int, ...] | None = None) -> Entry:
    """A loss of optax; `call`, where the bench's arguments are not its own, is what comes after `loss = `.

    The shapes are those for which the bench doesn't look for the best scores, which takes thousands of calls of JAX.
    """
    function = name.partition("(")[0]
    imports = "import jax\n" * ("jax." in call) + "import jax.numpy as jnp\n"
    setup = f"{imports}from optax.losses import {function}\nloss = {call or function}"
    return Entry("optax", name, setup, kind, shape or ((5, 4) if kind == M else (5, 1)), targets, "jax")


def sklearn(name: str, call: str, kind: str = "binary", imports: str = "") -> Entry:
    """A metric of scikit-learn."""
    function = name.partition(" ")[0]
    setup = f"import numpy as np\n{imports}from sklearn.metrics import {function}\nloss = lambda s, y: {call}"
    return Entry("scikit_learn", name, setup, kind, (5, 4) if kind == M else (5, 1), "labels", "numpy")


M, IMAGE = "multiclass", (2, 1, 4, 4)
LAST = "lambda s, y: {}(jnp.moveaxis(s, 1, -1), jnp.moveaxis(y, 1, -1))"  # JAX has the classes on the last axis
EXPIT, SOFTMAX = (f"from scipy.special import {name}\n" for name in ("expit", "softmax"))
F = "import torch.nn.functional as F\nloss = "
CATALOGUE = [
    Entry("torch", "soft_margin_loss", F + "F.soft_margin_loss", targets="signs"),
    Entry("torch", "hinge_embedding_loss", F + "F.hinge_embedding_loss", targets="signs"),
    Entry("torch", "multilabel_soft_margin_loss", F + "F.multilabel_soft_margin_loss", M, targets="one_hot"),
    Entry("torch", "binary_cross_entropy_with_logits", F + "F.binary_cross_entropy_with_logits"),
    Entry("torch", "cross_entropy", F + "F.cross_entropy", M),
    Entry("torch", "cross_entropy, images", F + "F.cross_entropy", M, (2, 3, 4, 4)),
    Entry("torch", "multi_margin_loss", F + "F.multi_margin_loss", M),
    Entry(
        "kornia",
        "binary_focal_loss_with_logits",
        "from kornia.losses import BinaryFocalLossWithLogits\nloss = BinaryFocalLossWithLogits(alpha=0.25, reduction='mean')",
        shape=IMAGE,
    ),
    Entry("kornia", "FocalLoss", "from kornia.losses import FocalLoss\nloss = FocalLoss(alpha=None, reduction='mean')", M),
    Entry("kornia", "FocalLoss(gamma=0)", "from kornia.losses import FocalLoss\nloss = FocalLoss(alpha=None, gamma=0.0, reduction='mean')", M),
    Entry("kornia", "FocalLoss(gamma=0.5)", "from kornia.losses import FocalLoss\nloss = FocalLoss(alpha=None, gamma=0.5, reduction='mean')", M),
    Entry(
        "kornia",
        "binary focal (gamma=0.5)",
        "from kornia.losses import BinaryFocalLossWithLogits\nloss = BinaryFocalLossWithLogits(alpha=0.25, gamma=0.5, reduction='mean')",
        shape=IMAGE,
    ),
    Entry("kornia", "DiceLoss", "from kornia.losses import DiceLoss\nloss = DiceLoss()", M, (2, 3, 4, 4)),
    Entry("kornia", "TverskyLoss", "from kornia.losses import TverskyLoss\nloss = TverskyLoss(alpha=0.5, beta=0.5)", M, (2, 3, 4, 4)),
    Entry("kornia", "LovaszSoftmaxLoss", "from kornia.losses import LovaszSoftmaxLoss\nloss = LovaszSoftmaxLoss()", M, (2, 3, 4, 4)),
    Entry(
        "kornia",
        "LovaszHingeLoss",
        "from kornia.losses import LovaszHingeLoss\nhinge = LovaszHingeLoss()\nloss = lambda s, y: hinge(s, y[:, 0])",
        "binary",
        IMAGE,
        "labels",
    ),
    Entry("monai", "FocalLoss", "from monai.losses import FocalLoss\nloss = FocalLoss()", shape=IMAGE),
    Entry("monai", "FocalLoss(gamma=0.5)", "from monai.losses import FocalLoss\nloss = FocalLoss(gamma=0.5)", shape=IMAGE),
    Entry("monai", "FocalLoss(softmax)", "from monai.losses import FocalLoss\nloss = FocalLoss(use_softmax=True)", M, targets="one_hot"),
    Entry(
        "monai",
        "FocalLoss(softmax, gamma=0)",
        "from monai.losses import FocalLoss\nloss = FocalLoss(use_softmax=True, gamma=0.0)",
        M,
        targets="one_hot",
    ),
    Entry("monai", "DiceLoss", "from monai.losses import DiceLoss\nloss = DiceLoss(sigmoid=True)", shape=IMAGE),
    Entry("monai", "TverskyLoss", "from monai.losses import TverskyLoss\nloss = TverskyLoss(sigmoid=True)", shape=IMAGE),
    Entry("monai", "GeneralizedDiceLoss", "from monai.losses import GeneralizedDiceLoss\nloss = GeneralizedDiceLoss(sigmoid=True)", shape=IMAGE),
    Entry("monai", "DiceCELoss", "from monai.losses import DiceCELoss\nloss = DiceCELoss(sigmoid=True)", shape=IMAGE),
    Entry("monai", "MCC", "from monai.losses import MCCLoss\nloss = MCCLoss(sigmoid=True)", shape=IMAGE),
    Entry("monai", "BoxGIoULoss", "from monai.losses import BoxGIoULoss\nloss = BoxGIoULoss()", "boxes"),
    Entry(
        "transformers",
        "sigmoid_focal_loss",
        "from transformers.loss.loss_for_object_detection import sigmoid_focal_loss\nloss = lambda s, y: sigmoid_focal_loss(s, y, num_boxes=1)",
        shape=(5, 3),
    ),
    Entry(
        "transformers",
        "dice_loss",
        "from transformers.loss.loss_for_object_detection import dice_loss\nloss = lambda s, y: dice_loss(s, y, num_boxes=1)",
        shape=(5, 3),
    ),
    Entry(
        "transformers",
        "generalized_box_iou",
        "from transformers.loss.loss_for_object_detection import generalized_box_iou\nloss = lambda b, t: 1 - generalized_box_iou(b, t).diagonal()",
        "boxes",
    ),
    Entry("transformers", "fixed_cross_entropy", "from transformers.loss.loss_utils import fixed_cross_entropy\nloss = fixed_cross_entropy", M),
    Entry(
        "torchmetrics",
        "hinge_loss (binary)",
        "from torchmetrics.functional.classification import binary_hinge_loss\nloss = binary_hinge_loss",
        targets="labels",
    ),
    Entry(
        "torchmetrics",
        "hinge_loss (multiclass)",
        "from torchmetrics.functional.classification import multiclass_hinge_loss\nloss = lambda s, y: multiclass_hinge_loss(s, y, num_classes=3)",
        M,
    ),
    Entry(
        "segmentation_models_pytorch",
        "FocalLoss",
        "from segmentation_models_pytorch.losses import FocalLoss\nloss = FocalLoss('binary')",
        shape=IMAGE,
    ),
    Entry(
        "segmentation_models_pytorch",
        "FocalLoss(gamma=0.5)",
        "from segmentation_models_pytorch.losses import FocalLoss\nloss = FocalLoss('binary', gamma=0.5)",
        shape=IMAGE,
    ),
    Entry(
        "segmentation_models_pytorch",
        "FocalLoss(multiclass)",
        "from segmentation_models_pytorch.losses import FocalLoss\nloss = FocalLoss('multiclass')",
        M,
    ),
    Entry(
        "segmentation_models_pytorch",
        "FocalLoss(multiclass, gamma=0)",
        "from segmentation_models_pytorch.losses import FocalLoss\nloss = FocalLoss('multiclass', gamma=0.0)",
        M,
    ),
    Entry(
        "segmentation_models_pytorch",
        "SoftCrossEntropyLoss",
        "from segmentation_models_pytorch.losses import SoftCrossEntropyLoss\nloss = SoftCrossEntropyLoss(smooth_factor=0.1)",
        M,
    ),
    Entry(
        "segmentation_models_pytorch",
        "SoftBCEWithLogitsLoss",
        "from segmentation_models_pytorch.losses import SoftBCEWithLogitsLoss\nloss = SoftBCEWithLogitsLoss()",
        shape=IMAGE,
    ),
    Entry(
        "segmentation_models_pytorch", "DiceLoss", "from segmentation_models_pytorch.losses import DiceLoss\nloss = DiceLoss('binary')", shape=IMAGE
    ),
    Entry(
        "segmentation_models_pytorch",
        "DiceLoss(multiclass)",
        "from segmentation_models_pytorch.losses import DiceLoss\nloss = DiceLoss('multiclass')",
        M,
        (2, 3, 4, 4),
    ),
    Entry(
        "segmentation_models_pytorch",
        "JaccardLoss",
        "from segmentation_models_pytorch.losses import JaccardLoss\nloss = JaccardLoss('binary')",
        shape=IMAGE,
    ),
    Entry(
        "segmentation_models_pytorch",
        "TverskyLoss",
        "from segmentation_models_pytorch.losses import TverskyLoss\nloss = TverskyLoss('binary')",
        shape=IMAGE,
    ),
    Entry(
        "segmentation_models_pytorch",
        "MCCLoss",
        "from segmentation_models_pytorch.losses import MCCLoss\nmcc = MCCLoss()\nloss = lambda s, y: mcc(s.sigmoid(), y)",
        shape=IMAGE,
    ),
    Entry("timm", "AsymmetricLossMultiLabel", "from timm.loss import AsymmetricLossMultiLabel\nloss = AsymmetricLossMultiLabel()", shape=(5, 3)),
    Entry("timm", "AsymmetricLossSingleLabel", "from timm.loss import AsymmetricLossSingleLabel\nloss = AsymmetricLossSingleLabel()", M),
    Entry("timm", "LabelSmoothingCrossEntropy", "from timm.loss import LabelSmoothingCrossEntropy\nloss = LabelSmoothingCrossEntropy()", M),
    Entry("timm", "SoftTargetCrossEntropy", "from timm.loss import SoftTargetCrossEntropy\nloss = SoftTargetCrossEntropy()", M, targets="one_hot"),
    Entry("timm", "BinaryCrossEntropy", "from timm.loss import BinaryCrossEntropy\nloss = BinaryCrossEntropy(smoothing=0.0)", M),
    Entry("timm", "PolyCrossEntropy", "from timm.loss import PolyCrossEntropy\nloss = PolyCrossEntropy()", M),
    Entry("timm", "ZlprLoss", "from timm.loss import ZlprLoss\nloss = ZlprLoss()", shape=(5, 3)),
    Entry("timm", "TwoWayLoss", "from timm.loss import TwoWayLoss\nloss = TwoWayLoss()", shape=(6, 3)),
    Entry("fastai", "FocalLossFlat", "from fastai.losses import FocalLossFlat\nloss = FocalLossFlat()", M),
    Entry("fastai", "FocalLossFlat(gamma=0.5)", "from fastai.losses import FocalLossFlat\nloss = FocalLossFlat(gamma=0.5)", M),
    Entry("fastai", "LabelSmoothingCrossEntropy", "from fastai.losses import LabelSmoothingCrossEntropy\nloss = LabelSmoothingCrossEntropy()", M),
    Entry("fastai", "CrossEntropyLossFlat", "from fastai.losses import CrossEntropyLossFlat\nloss = CrossEntropyLossFlat()", M),
    Entry("fastai", "BCEWithLogitsLossFlat", "from fastai.losses import BCEWithLogitsLossFlat\nloss = BCEWithLogitsLossFlat()"),
    Entry("fastai", "DiceLoss", "from fastai.losses import DiceLoss\nloss = DiceLoss()", M, (2, 3, 4, 4)),
    Entry("catalyst", "FocalLossBinary", "from catalyst.contrib.losses import FocalLossBinary\nloss = FocalLossBinary()"),
    Entry("catalyst", "FocalLossMultiClass", "from catalyst.contrib.losses import FocalLossMultiClass\nloss = FocalLossMultiClass()", M),
    Entry(
        "catalyst",
        "SymmetricCrossEntropyLoss",
        "from catalyst.contrib.losses import SymmetricCrossEntropyLoss\nloss = SymmetricCrossEntropyLoss()",
        M,
    ),
    Entry(
        "catalyst",
        "NaiveCrossEntropyLoss",
        "from catalyst.contrib.losses import NaiveCrossEntropyLoss\nloss = NaiveCrossEntropyLoss()",
        M,
        targets="one_hot",
    ),
    Entry("balanced_loss", "Loss(focal_loss)", "from balanced_loss import Loss\nloss = Loss('focal_loss')", M),
    Entry("balanced_loss", "focal_loss", "from balanced_loss.losses import focal_loss\nloss = focal_loss", shape=(5, 3)),
    Entry("balanced_loss", "Loss(cross_entropy)", "from balanced_loss import Loss\nloss = Loss('cross_entropy')", M),
    Entry(
        "focal_loss_torch",
        "FocalLoss",
        "import torch\nfrom focal_loss.focal_loss import FocalLoss\nfocal = FocalLoss(gamma=2)\nloss = lambda s, y: focal(torch.softmax(s, 1), y)",
        M,
    ),
    Entry(
        "focal_loss_torch",
        "FocalLoss(gamma=0.5)",
        "import torch\nfrom focal_loss.focal_loss import FocalLoss\nfocal = FocalLoss(gamma=0.5)\nloss = lambda s, y: focal(torch.softmax(s, 1), y)",
        M,
    ),
    Entry("coral_pytorch", "coral_loss", "from coral_pytorch.losses import coral_loss\nloss = coral_loss", shape=(5, 3)),
    Entry("dlordinal", "CDWCELoss", "from dlordinal.losses import CDWCELoss\nloss = CDWCELoss(num_classes=3)", M),
    Entry("dlordinal", "EMDLoss", "from dlordinal.losses import EMDLoss\nloss = EMDLoss(num_classes=3)", M),
    Entry("dlordinal", "MCELoss", "from dlordinal.losses import MCELoss\nloss = MCELoss(num_classes=3)", M),
    Entry("dlordinal", "SORDLoss", "from dlordinal.losses import TriangularCrossEntropyLoss\nloss = TriangularCrossEntropyLoss(num_classes=3)", M),
    Entry("entmax", "entmax15_loss", "from entmax import entmax15_loss\nloss = lambda s, y: entmax15_loss(s, y).mean()", M),
    Entry("entmax", "sparsemax_loss", "from entmax import sparsemax_loss\nloss = lambda s, y: sparsemax_loss(s, y).mean()", M),
    optax("sigmoid_binary_cross_entropy"),
    optax("sigmoid_focal_loss"),
    optax("sigmoid_focal_loss(gamma=0.5)", "lambda s, y: sigmoid_focal_loss(s, y, gamma=0.5)"),
    optax("squared_error", "lambda s, y: squared_error(jax.nn.sigmoid(s), y)"),
    optax("hinge_loss", targets="signs"),
    optax("perceptron_loss", targets="signs"),
    optax("sparsemax_loss", targets="labels"),
    optax("softmax_cross_entropy", kind=M, targets="one_hot"),
    optax("safe_softmax_cross_entropy", kind=M, targets="one_hot"),
    optax("poly_loss_cross_entropy", kind=M, targets="one_hot"),
    optax("kl_divergence", "lambda s, y: kl_divergence(jax.nn.log_softmax(s), y)", M, "one_hot"),
    optax("kl_divergence_with_log_targets", "lambda s, y: kl_divergence_with_log_targets(jax.nn.log_softmax(s), jnp.log(y))", M, "one_hot"),
    optax("generalized_kl_divergence", "lambda s, y: generalized_kl_divergence(jax.nn.log_softmax(s), y)", M, "one_hot"),
    optax("make_fenchel_young_loss", "make_fenchel_young_loss(jax.nn.logsumexp)", M, "one_hot"),
    optax("softmax_cross_entropy_with_integer_labels", kind=M),
    optax("multiclass_hinge_loss", kind=M),
    optax("multiclass_perceptron_loss", kind=M),
    optax("multiclass_sparsemax_loss", kind=M),
    optax("binary_dice_loss", "lambda s, y: binary_dice_loss(s[:, 0, :, :, None], y[:, 0, :, :, None])", shape=IMAGE),
    optax("dice_loss", LAST.format("dice_loss"), M, "one_hot", shape=(2, 3, 2, 2)),
    optax("multiclass_generalized_dice_loss", LAST.format("multiclass_generalized_dice_loss"), M, "one_hot", shape=(2, 3, 2, 2)),
    sklearn("log_loss (binary)", "log_loss(y[:, 0], expit(s[:, 0]), labels=[0, 1])", imports=EXPIT),
    sklearn("log_loss (multiclass)", "log_loss(y, softmax(s, 1), labels=range(4))", M, SOFTMAX),
    sklearn("brier_score_loss (binary)", "brier_score_loss(y[:, 0], expit(s[:, 0]))", imports=EXPIT),
    sklearn("brier_score_loss (multiclass)", "brier_score_loss(y, softmax(s, 1), labels=range(4))", M, SOFTMAX),
    sklearn("hinge_loss (binary)", "hinge_loss(y[:, 0], s[:, 0])"),
    sklearn("hinge_loss (multiclass)", "hinge_loss(y, s, labels=range(4))", M),
    sklearn("zero_one_loss (binary)", "zero_one_loss(y[:, 0], s[:, 0] > 0)"),
    sklearn("zero_one_loss (multiclass)", "zero_one_loss(y, s.argmax(1))", M),
]

BRIDGES = {"jax": ("jnp", bridges.from_jax), "numpy": ("np", bridges.from_numpy)}  # what it calls its arrays' module, and the way to it


class Note(NamedTuple):
    """What a finding means to a user of the loss: a defect, or a convention that may surprise; and where it is known already."""

    library: str
    name: str
    finding: str
    kind: str
    words: str
    thread: str = ""


OPTAX = "https://github.com/google-deepmind/optax/"
SKLEARN = "https://github.com/scikit-learn/scikit-learn/"
PYTORCH = "https://github.com/pytorch/pytorch/issues/"
NOTES = [
    Note(
        "torch",
        "soft_margin_loss",
        "finite_float16",
        "defect",
        "The exponential is taken before the logarithm. In half precision a wrong score of 20 is infinitely wrong, in single precision one of 100.",
        PYTORCH + "77529",
    ),
    Note(
        "torch",
        "hinge_embedding_loss",
        "broadcasting",
        "defect",
        "Scores [5] against targets [5, 1] become 25 losses, and their mean is returned. Several of its neighbours refuse or warn.",
        "",
    ),
    Note("torch", "multilabel_soft_margin_loss", "broadcasting", "defect", "One row of targets is stretched over all rows of scores.", ""),
    Note(
        "torch",
        "cross_entropy, images",
        "finite_float16",
        "defect",
        "On a CPU the pixels are added up in half precision before they are averaged, so a mean of 10000 comes out infinite.",
        PYTORCH + "61523",
    ),
    Note(
        "kornia",
        "FocalLoss(gamma=0)",
        "reduction",
        "convention",
        "The mean divides by the classes too, as its documentation says: with gamma 0 and three classes it is a third of torch's cross-entropy.",
        "",
    ),
    Note(
        "monai",
        "FocalLoss(softmax)",
        "reduction",
        "defect",
        "For scores [N, K] without pixels, the mean over 'all pixels' runs over everything: the sum that is asked for is the mean.",
        "",
    ),
    Note(
        "kornia",
        "FocalLoss",
        "ignored",
        "convention",
        "A pixel with the ignored label has no loss, but the mean still divides by it. torch's cross-entropy divides by the others.",
        "",
    ),
    Note(
        "segmentation_models_pytorch",
        "FocalLoss(gamma=0.5)",
        "finite_float32",
        "defect",
        "The slope of (1 - p) to the power 1/2 is infinite at p = 1, and infinity times 0 is NaN: so at a logit of 20.",
        "",
    ),
    Note(
        "segmentation_models_pytorch",
        "FocalLoss(multiclass)",
        "labels_too_large",
        "convention",
        "A label beyond the classes is read as 'none of them'. That can be meant; a file with wrong labels goes unnoticed.",
        "",
    ),
    Note(
        "segmentation_models_pytorch",
        "SoftCrossEntropyLoss",
        "broadcasting",
        "defect",
        "One label for five rows: only the first row is compared with it, without an error.",
        "",
    ),
    Note("segmentation_models_pytorch", "SoftCrossEntropyLoss", "ignored", "convention", "Ignored pixels stay in the denominator of the mean.", ""),
    Note(
        "monai",
        "DiceLoss",
        "finite_float16",
        "defect",
        "On an empty image that is called empty, the constant that keeps the denominator from 0 is too small in half precision.",
        "",
    ),
    Note(
        "timm",
        "LabelSmoothingCrossEntropy",
        "broadcasting",
        "defect",
        "One label for five rows: only the first row is compared with it, without an error.",
        "",
    ),
    Note(
        "timm",
        "PolyCrossEntropy",
        "broadcasting",
        "defect",
        "Labels of shape [5, 1] become one-hot with an axis too many, and each row is charged for the labels of all.",
        "",
    ),
    Note(
        "timm",
        "AsymmetricLossMultiLabel",
        "pulls",
        "convention",
        "An absent label that the model is sure to see has no gradient: the loss is bounded there. That is the published formula.",
        "",
    ),
    Note(
        "fastai",
        "FocalLossFlat(gamma=0.5)",
        "finite_float32",
        "defect",
        "The same root as above: a row that is right at a logit of 20 has a NaN gradient.",
        "",
    ),
    Note("fastai", "FocalLossFlat", "ignored", "convention", "Ignored rows stay in the denominator of the mean.", ""),
    Note(
        "catalyst",
        "FocalLossMultiClass",
        "labels_negative",
        "defect",
        "The docstring says that label -1 is ignored. By default it is counted, as 'none of the classes'.",
        "",
    ),
    Note(
        "balanced_loss",
        "Loss(focal_loss)",
        "finite_float32",
        "defect",
        "The weight takes an exponential that overflows: an example that is wrong at a logit of -100 has a NaN gradient.",
        "",
    ),
    Note("balanced_loss", "focal_loss", "one_sided", "defect", "The sum is divided by the number of positives, and a batch may have none.", ""),
    Note(
        "focal_loss_torch",
        "FocalLoss",
        "finite_float16",
        "defect",
        "The 1e-16 that keeps the logarithm away from 0 is itself 0 in half precision.",
        "",
    ),
    Note(
        "torchmetrics",
        "hinge_loss (binary)",
        "denominator",
        "convention",
        "Scores are put through a sigmoid if any of them lies outside [0, 1], so that a score's loss depends on its neighbours in the batch.",
        "",
    ),
    Note(
        "transformers",
        "generalized_box_iou",
        "finite_float32",
        "defect",
        "The guard against degenerate boxes lets boxes without an area pass, and two equal ones are 0 over 0.",
        "",
    ),
    Note(
        "transformers",
        "generalized_box_iou",
        "finite_float16",
        "defect",
        "In half precision the hull of two boxes far apart has an infinite area, and infinity over infinity is NaN.",
        "",
    ),
    Note("dlordinal", "CDWCELoss", "finite_float32", "defect", "The exponentials of the scores are taken as they are: NaN at a logit of 100.", ""),
    Note(
        "dlordinal",
        "CDWCELoss",
        "broadcasting",
        "defect",
        "Labels of shape [5, 1] are taken for one-hot rows, whose largest entry is always the first: every label is read as class 0.",
        "",
    ),
    Note(
        "optax",
        "hinge_loss",
        "broadcasting",
        "defect",
        "An axis too many on the targets makes 25 losses of five scores. Its neighbours perceptron_loss and squared_error refuse.",
        OPTAX + "pull/409",
    ),
    Note(
        "optax",
        "sigmoid_focal_loss",
        "broadcasting",
        "defect",
        "An axis too many on the targets makes 25 losses of five scores, where the documentation promises losses of the logits' shape.",
        OPTAX + "issues/1408",
    ),
    Note(
        "optax",
        "sigmoid_binary_cross_entropy",
        "broadcasting",
        "convention",
        "An axis too many on the labels makes 25 losses of five scores. Its documentation warns of it.",
        OPTAX + "issues/1408",
    ),
    Note(
        "optax",
        "multiclass_hinge_loss",
        "broadcasting",
        "defect",
        "Labels of shape [5, 1] become one-hot with an axis too many, and each row is charged for the labels of all.",
    ),
    Note(
        "optax",
        "softmax_cross_entropy_with_integer_labels",
        "labels_too_large",
        "convention",
        "Code that JAX compiles can't raise on what an array holds: a label beyond the classes costs NaN.",
        OPTAX + "issues/1185",
    ),
    Note(
        "optax",
        "softmax_cross_entropy_with_integer_labels",
        "labels_negative",
        "convention",
        "The documentation asks for labels from 0 on. A label of -1, by which others mark what is to be ignored, counts from the end.",
        OPTAX + "issues/1185",
    ),
    Note(
        "optax",
        "multiclass_hinge_loss",
        "labels_too_large",
        "convention",
        "A label beyond the classes is read as 'none of them', and costs a number that looks like any other.",
    ),
    Note(
        "optax",
        "multiclass_sparsemax_loss",
        "labels_too_large",
        "convention",
        "An index that is out of range is clamped, as JAX does it: a label beyond the classes is the last class.",
    ),
    Note(
        "optax",
        "kl_divergence_with_log_targets",
        "finite_float32",
        "convention",
        "A class of probability 0 has the logarithm -inf, and 0 times infinity is NaN."
        " kl_divergence, which takes the probabilities, allows for zeros.",
    ),
    Note(
        "optax",
        "multiclass_generalized_dice_loss",
        "finite_float16",
        "defect",
        "The weight of a class that is absent is 1 / 1e-7, which half precision can't hold."
        " In single precision it leaves the other classes no weight.",
    ),
    Note(
        "scikit_learn",
        "hinge_loss (binary)",
        "denominator",
        "convention",
        "The documentation asks for both labels. A batch with one of them, as here each example alone, is read as all negative, without an error.",
    ),
    Note(
        "scikit_learn",
        "log_loss (multiclass)",
        "precise",
        "convention",
        "As documented, probabilities are clipped at the rounding of their dtype: no example costs more than 15.95 in float32, or 36.05 in float64.",
        SKLEARN + "pull/24354",
    ),
]


def open_side_doors() -> None:
    """Let `import package.losses` work without running the package's own `__init__`."""
    for name in SIDE_DOORS:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None and importlib.util.find_spec("torchvision") is None:
            package = types.ModuleType(name)
            package.__path__ = list(spec.submodule_search_locations)
            sys.modules[name] = package


def native(language: str, finding: lossbook.auditor.Finding) -> str:
    """The example in the loss's own language, in JAX's default precision; of shapes that were stretched, the shape tells."""
    if language == "torch":
        return finding.example
    short, _ = BRIDGES[language]
    code = finding.example.replace(".double()", ".astype(float)")
    if language == "numpy":  # whose floats are float64 where nothing is said
        code = re.sub(r"torch\.tensor\((\[.*\..*\])\)", r"torch.tensor(\1, dtype=torch.float32)", code)
    code = code.replace("torch.tensor(", f"{short}.array(").replace(", dtype=torch.float64", "").replace("torch.", f"{short}.")
    if "grad" in code or "torch" in code:
        raise ValueError(f"an example that only torch can run: {code}")
    if finding.name == "broadcasting":
        return f"{code}.shape"
    return f"{code}.round(3)" if language == "jax" else code  # later digits of float32 are those of the machine


def evaluated(code: str) -> str:
    """Run the code in an empty namespace; what its last expression is, or the exception that it raises."""
    tree = ast.parse(code)
    names: dict[str, Any] = {"torch": torch}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(compile(ast.Module(tree.body[:-1], []), "reproduction", "exec"), names)
            last = tree.body[-1]
            return repr(eval(compile(ast.Expression(last.value), "reproduction", "eval"), names)) if isinstance(last, ast.Expr) else ""
        except Exception as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"


def rows(reports: dict[tuple[str, str], lossbook.auditor.Report], today: str) -> list[dict[str, str]]:
    """One a note: the code, what it prints now, and the version. A note whose finding has gone is said aloud and left out."""
    found = []
    entries = {(entry.library, entry.name): entry for entry in CATALOGUE}
    for note in NOTES:
        report = reports.get((note.library, note.name))
        if report is None:
            continue
        finding = report[note.finding]
        if finding.passed is not False:
            print(f"!! {note.library} {note.name}: {note.finding} is {finding.verdict} now")
            continue
        entry = entries[note.library, note.name]
        code = f"{entry.setup}\n{native(entry.language, finding)}"
        version = metadata.version(note.library)
        key = "-".join(re.findall("[a-z0-9.]+", f"audited {note.library} {note.name} {note.finding}".lower()))
        about = {"library": note.library, "version": version, "loss": note.name, "kind": note.kind, "words": note.words, "thread": note.thread}
        found.append({"id": key, **about, "finding": finding.name, "detail": finding.detail, "code": code, "printed": evaluated(code), "date": today})
    return found


def installed(library: str) -> bool:
    """The distribution is there."""
    try:
        return bool(metadata.version(library))
    except metadata.PackageNotFoundError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only", help="one library")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    open_side_doors()
    reports = {}
    for entry in CATALOGUE:
        if arguments.only not in (None, entry.library) or not installed(entry.library):
            continue
        names: dict[str, Any] = {}
        exec(entry.setup, names)
        loss = names["loss"] if entry.language == "torch" else BRIDGES[entry.language][1](names["loss"])
        report = lossbook.audit(loss, kind=entry.kind, shape=entry.shape, targets=entry.targets, name=entry.name)
        reports[entry.library, entry.name] = report
        print(f"{entry.library} {report.summary}", flush=True)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    data = recorded(reports, today)
    missing = sorted({entry.library for entry in CATALOGUE} - set(data["versions"]))
    print(
        f"{len(reports)} losses of {len(data['versions'])} libraries, {len(data['clean'])} without a failed check, {len(data['rows'])} rows;"
        f" not installed: {missing}"
    )
    for row in data["rows"]:
        print(f"{row['library']} {row['version']} {row['loss']}: {row['finding']} -> {row['printed'][:110]}")
    if arguments.write:
        before = json.loads(arguments.write.read_text(encoding="utf-8")) if arguments.write.exists() else None
        arguments.write.write_text(json.dumps(merged(before, data) if before else data, indent=1) + "\n", encoding="utf-8")


def recorded(reports: dict[tuple[str, str], lossbook.auditor.Report], today: str) -> dict[str, Any]:
    """What the file says: the day, versions and numbers of losses by library, the losses without a failed check, and the rows."""
    audited = Counter(library for library, _ in reports)
    versions = {library: metadata.version(library) for library in audited}
    clean = [f"{library} {name}" for (library, name), report in reports.items() if report.passed]
    return {"date": today, "versions": versions, "audited": dict(audited), "clean": clean, "rows": rows(reports, today)}


def merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What is known now, and what the file said before of the libraries that were not audited this time."""
    kept = [library for library in before["versions"] if library not in now["versions"]]
    old = {
        "versions": {library: before["versions"][library] for library in kept},
        "audited": {library: before["audited"][library] for library in kept},
        "clean": [name for name in before["clean"] if name.partition(" ")[0] in kept],
        "rows": [row for row in before["rows"] if row["library"] in kept],
    }
    return {
        "date": now["date"],
        "versions": {**old["versions"], **now["versions"]},
        "audited": {**old["audited"], **now["audited"]},
        "clean": [*old["clean"], *now["clean"]],
        "rows": [*old["rows"], *now["rows"]],
    }


if __name__ == "__main__":
    main()
