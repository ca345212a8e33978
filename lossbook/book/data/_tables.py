"""The tables, texts and images, each read at the first call."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from importlib.resources import files
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from lossbook._core.checks import check_floating, check_ndim
from lossbook._core.door import plain_arguments

LICENCES = {
    "adult": "UCI Adult (B. Becker, R. Kohavi, 1996), doi 10.24432/C5XW20; CC BY 4.0. 12,000 rows drawn from the 45,222 complete ones.",
    "german": "UCI Statlog German Credit (H. Hofmann, 1994), doi 10.24432/C5NC77; CC BY 4.0. 1,000 rows, 10 columns.",
    "sms_spam": "UCI SMS Spam Collection (T. Almeida, J. Hidalgo, 2011), doi 10.24432/C5CC84; CC BY 4.0. 4,862 messages.",
    "nuclei": "2018 Data Science Bowl, BBBC038, Broad Bioimage Benchmark Collection; CC0. One 512 x 512 image with 125 nuclei.",
    "breast_cancer": "UCI Breast Cancer Wisconsin (Diagnostic) (W. Wolberg, O. Mangasarian, W. Street, 1995), doi 10.24432/C5DW2B; CC BY 4.0.",
    "digits": "UCI Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak, 1998), doi 10.24432/C50P49; CC BY 4.0.",
}


R = TypeVar("R")
_READ: dict[str, Any] = {}


def _once(load: Callable[[], R]) -> Callable[[], R]:
    """Read at the first call; every caller gets tensors of his own, on the CPU and fit for training, in whatever mode the first one was."""

    @wraps(load)
    def call() -> R:
        with torch.inference_mode(False), torch.device("cpu"):
            if load.__name__ not in _READ:
                _READ[load.__name__] = load()
            own: R = deepcopy(_READ[load.__name__])
        return own

    return call


class Tabular(NamedTuple):
    """Standardised features [N, D] float64, signs [N] int64 in {-1, +1}, and the names of the columns."""

    features: Tensor
    signs: Tensor
    names: tuple[str, ...]


class Grouped(NamedTuple):
    """As `Tabular`, with the sensitive attributes: each a tensor [N] of group ids, and the groups' names in the order of the ids."""

    features: Tensor
    signs: Tensor
    names: tuple[str, ...]
    groups: dict[str, Tensor]
    group_names: dict[str, tuple[str, ...]]


class Images(NamedTuple):
    """Images [N, H, W] float64 in [0, 1] and labels [N] int64."""

    images: Tensor
    labels: Tensor


class Texts(NamedTuple):
    """Texts, and labels [N] int64: 1 is spam."""

    texts: tuple[str, ...]
    labels: Tensor


class Instances(NamedTuple):
    """One image [H, W] float64 in [0, 1] and the instance of each pixel [H, W] int64, 0 the background."""

    image: Tensor
    instances: Tensor


@plain_arguments
def standardize(features: Tensor) -> Tensor:
    """Each column at mean 0 and standard deviation 1 (denominator N); a constant column becomes 0.

    Args:
        features: [N, D], floating.

    Returns:
        The same shape and dtype, computed in float64. NaN or an infinity in a column makes all of it NaN.

    Raises:
        TypeError or ValueError for another dtype or shape.

    Example:
        >>> standardize(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        tensor([[-1.,  0.],
                [ 1.,  0.]])
    """
    check_floating("features", features)
    check_ndim("features", features, 2, "[N, D]")
    if 0 in features.shape:
        return features.clone()
    columns = features.double()
    # by its values, since the mean of 0.1, 0.1 and 0.1 is not 0.1; and before the root, whose slope at 0 is infinite
    constant = (columns - columns[:1] == 0).all(dim=0)
    centred = columns - columns.mean(dim=0)
    reach = torch.where(constant, 1.0, centred.detach().abs().amax(dim=0))  # so that no square overflows
    unit = torch.where(constant, 0.0, centred / reach)
    variance = torch.where(constant, 1.0, unit.square().mean(dim=0))
    return (unit / variance.sqrt()).to(features.dtype)


@_once
def breast_cancer() -> Tabular:
    """569 tumours, 30 measurements; sign +1 is malignant (212 of them), so that the positive class is the one worth finding.

    Needs scikit-learn, which ships the table (its own target says 1 for benign).

    Example:
        >>> table = breast_cancer()
        >>> tuple(table.features.shape), int((table.signs == 1).sum())
        ((569, 30), 212)
    """
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    signs = 1 - 2 * torch.as_tensor(bunch.target, dtype=torch.int64)
    return Tabular(standardize(torch.as_tensor(bunch.data)), signs, tuple(str(name) for name in bunch.feature_names))


@_once
def digits() -> Images:
    """1797 scanned digits of 8 x 8 pixels. Needs scikit-learn, which ships them.

    Example:
        >>> tuple(digits().images.shape)
        (1797, 8, 8)
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return Images(torch.as_tensor(bunch.images) / 16.0, torch.as_tensor(bunch.target, dtype=torch.int64))


@_once
def sms_spam() -> Texts:
    """4862 text messages, 642 of them spam.

    Example:
        >>> messages = sms_spam()
        >>> len(messages.texts), int(messages.labels.sum())
        (4862, 642)
    """
    lines = gzip.decompress(files(__package__).joinpath("sms_spam_4862.tsv.gz").read_bytes()).decode("utf-8").splitlines()
    pairs = [line.split("\t", 1) for line in lines]
    return Texts(tuple(text for _, text in pairs), torch.tensor([int(label == "spam") for label, _ in pairs]))


def _rows(name: str) -> list[dict[str, str]]:
    text = gzip.decompress(files(__package__).joinpath(name).read_bytes()).decode("utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def _one_hot(rows: list[dict[str, str]], numeric: tuple[str, ...], categorical: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
    """Numeric columns as they are, a 0/1 column for each value of the categorical ones (values in alphabetical order)."""
    names, columns = list(numeric), [[float(row[name]) for row in rows] for name in numeric]
    for name in categorical:
        for value in sorted({row[name] for row in rows}):
            names.append(f"{name}={value}")
            columns.append([float(row[name] == value) for row in rows])
    return torch.tensor(columns, dtype=torch.float64).T.contiguous(), tuple(names)


def _group_ids(rows: list[dict[str, str]], name: str) -> tuple[Tensor, tuple[str, ...]]:
    values = sorted({row[name] for row in rows})
    return torch.tensor([values.index(row[name]) for row in rows]), tuple(values)


def _grouped(rows: list[dict[str, str]], target: str, numeric: tuple[str, ...], categorical: tuple[str, ...], sensitive: tuple[str, ...]) -> Grouped:
    features, names = _one_hot(rows, numeric, categorical)
    signs = torch.tensor([2 * int(row[target]) - 1 for row in rows])
    ids = {name: _group_ids(rows, name) for name in sensitive}
    return Grouped(standardize(features), signs, names, {k: v[0] for k, v in ids.items()}, {k: v[1] for k, v in ids.items()})


@_once
def adult() -> Grouped:
    """12,000 people of the 1994 census; sign +1 earns over 50,000 dollars a year. Groups: sex and race, neither of them among the features.

    Example:
        >>> people = adult()
        >>> tuple(people.features.shape), list(people.groups)
        ((12000, 33), ['sex', 'race'])
    """
    numeric = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
    return _grouped(_rows("adult_12000.csv.gz"), "income_gt_50k", numeric, ("workclass", "marital_status", "occupation"), ("sex", "race"))


@_once
def german() -> Grouped:
    """1,000 loans of a German bank; sign +1 is a GOOD risk. Groups: sex, and age at most 25 or above.

    Example:
        >>> loans = german()
        >>> tuple(loans.features.shape), list(loans.groups)
        ((1000, 26), ['sex', 'age_group'])
    """
    rows = [row | {"age_group": "25 or younger" if int(row["age"]) <= 25 else "older than 25"} for row in _rows("german.csv.gz")]
    categorical = ("job", "housing", "saving_accounts", "checking_account", "purpose")
    return _grouped(rows, "risk", ("credit_amount", "duration"), categorical, ("sex", "age_group"))


@_once
def nuclei() -> Instances:
    """A fluorescence microscopy image of 512 x 512 pixels with 125 labelled nuclei. Needs Pillow (matplotlib brings it).

    Example:
        >>> scan = nuclei()
        >>> tuple(scan.image.shape), len(scan.instances.unique()) - 1  # 0 is what lies between them
        ((512, 512), 125)
    """
    import numpy as np
    from PIL import Image

    def read(name: str) -> Tensor:
        with files(__package__).joinpath(name).open("rb") as file:
            return torch.as_tensor(np.asarray(Image.open(file)).astype("int64"))

    image = read("nuclei_2d.png").double()
    return Instances((image - image.min()) / (image.max() - image.min()), read("nuclei_2d_instances.png"))
