"""Audit losses of other libraries at their released versions, run every reproduction, and write what failed as data for the page "audit".

Each finding becomes five lines: the set-up below, and the example of the report. They are run in an empty namespace, and what the last expression
evaluates to is written down with the versions and the date. Libraries that are not installed are left out and named. Packages whose own
`__init__` needs torchvision are entered by the door of their `losses` folder, which does not.

python benchmarks/audit_libraries.py [--write chapters/workshop/audited.json] [--only monai]
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
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch

import lossbook

SIDE_DOORS = ("segmentation_models_pytorch", "timm")  # their `losses` need no torchvision, their `__init__` does


class Entry(NamedTuple):
    """A loss as its library gives it: the set-up ends in a name `loss`."""

    library: str
    name: str
    setup: str
    kind: str = "binary"
    shape: tuple[int, ...] | None = None
    targets: str | None = None


M, IMAGE = "multiclass", (2, 1, 4, 4)
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
]


class Note(NamedTuple):
    """What a finding means to a user of the loss: a defect, or a convention that may surprise; and where it is known already."""

    library: str
    name: str
    finding: str
    kind: str
    words: str
    thread: str = ""


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
]


def open_side_doors() -> None:
    """Let `import package.losses` work without running the package's own `__init__`."""
    for name in SIDE_DOORS:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None and importlib.util.find_spec("torchvision") is None:
            package = types.ModuleType(name)
            package.__path__ = list(spec.submodule_search_locations)
            sys.modules[name] = package


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
    setups = {(entry.library, entry.name): entry.setup for entry in CATALOGUE}
    for note in NOTES:
        report = reports.get((note.library, note.name))
        if report is None:
            continue
        finding = report[note.finding]
        if finding.passed is not False:
            print(f"!! {note.library} {note.name}: {note.finding} is {finding.verdict} now")
            continue
        code = f"{setups[note.library, note.name]}\n{finding.example}"
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
        report = lossbook.audit(names["loss"], kind=entry.kind, shape=entry.shape, targets=entry.targets, name=entry.name)
        reports[entry.library, entry.name] = report
        print(f"{entry.library} {report.summary}", flush=True)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    versions = {library: metadata.version(library) for library in dict.fromkeys(library for library, _ in reports)}
    missing = sorted({entry.library for entry in CATALOGUE} - set(versions))
    clean = [f"{library} {name}" for (library, name), report in reports.items() if report.passed]
    data = {"date": today, "versions": versions, "audited": len(reports), "clean": clean, "rows": rows(reports, today)}
    print(
        f"{len(reports)} losses of {len(versions)} libraries, {len(clean)} without a failed check, {len(data['rows'])} rows; not installed: {missing}"
    )
    for row in data["rows"]:
        print(f"{row['library']} {row['version']} {row['loss']}: {row['finding']} -> {row['printed'][:110]}")
    if arguments.write:
        arguments.write.parent.mkdir(exist_ok=True)
        arguments.write.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
