"""From other packages: every pair of calls gives the same number, and what cannot be run here names its definition and the test that holds it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

import lossbook
from tests.book.mini import TinyBook

ROOT = Path(__file__).parent.parent.parent
PACKAGES = {entry["package"]: entry["calls"] for entry in yaml.safe_load((ROOT / "chapters/reference/elsewhere.yml").read_text(encoding="utf-8"))}
IMPORTED = {  # what the calls name, of packages that are installed with the extras
    "torch": {"F": "torch.nn.functional"},
    "transformers": {"loss_for_object_detection": "transformers.loss.loss_for_object_detection"},
    "torchmetrics": {"torchmetrics": "torchmetrics.functional.detection"},
    "scikit-learn": {"sklearn": "sklearn.metrics"},
    "optax": {"optax": "optax.losses"},
    "fairlearn": {"fairlearn": "fairlearn.metrics"},
}
ABSENT = ("torchvision", "MONAI", "kornia", "segmentation-models-pytorch")
MODULES = {name: getattr(lossbook, name) for name in lossbook.__all__ if not name.startswith("_") and name not in ("book", "explore")}


def values() -> dict[str, Tensor]:
    """Examples and their truths; probabilities; pairs of boxes; masks; maps of class and instance; people."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def unit(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    logits, p, q, corner = 2 * normal(30, 4), unit(20, 5) + 0.01, unit(20, 5) + 0.01, unit(6, 2)
    known = torch.zeros(16, 16, 2, dtype=torch.long)
    known[2:9, 2:9] = 1
    return {
        "scores": 2 * normal(40),
        "signs": torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64).repeat(10),
        "targets": torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64).repeat(10),
        "logits": logits,
        "probs": logits.softmax(1),
        "labels": torch.arange(30) % 4,
        "p": p / p.sum(1, keepdim=True),
        "q": q / q.sum(1, keepdim=True),
        "drawn": torch.cat([corner, corner + 0.1 + unit(6, 2)], 1),
        "truth": torch.cat([corner.flip(0), corner.flip(0) + 0.1 + unit(6, 2)], 1),
        "mask_logits": normal(3, 6, 5),
        "masks": (unit(3, 6, 5) < 0.4).double(),
        "known": known,
        "seen": known.roll(1, dims=0),
        "answers": (unit(60) < 0.4).long(),
        "decisions": (unit(60) < 0.5).long(),
        "groups": torch.arange(60) % 3,
    }


def number(call: str, package: str | None = None) -> Any:
    """What a call gives, with the names of lossbook or of another package."""
    if package is None:
        return np.asarray(eval(call, dict(MODULES), values()))
    names: dict[str, Any] = {"np": np}
    for name, module in IMPORTED[package].items():
        loaded = importlib.import_module(module)
        names[name] = importlib.import_module(name) if module.split(".")[0] == name else loaded
    inputs: dict[str, Any] = values()
    if package in ("scikit-learn", "fairlearn"):
        inputs = {name: value.numpy() for name, value in inputs.items()}
    if package == "optax":
        import jax.numpy as jnp

        inputs = {name: jnp.asarray(value.float().numpy() if value.dtype.is_floating_point else value.numpy()) for name, value in inputs.items()}
        names["np"] = jnp
    return np.asarray(eval(call, names, inputs))


@pytest.mark.parametrize(
    ("package", "theirs", "ours"),
    [
        pytest.param(package, call["theirs"], call["ours"], id=call["theirs"])
        for package in IMPORTED
        for call in PACKAGES[package]
        if "source" not in call
    ],
)
def test_both_calls_give_the_same_number(package: str, theirs: str, ours: str) -> None:
    for module in IMPORTED[package].values():
        pytest.importorskip(module.partition(".")[0], reason="an extra, absent where the core is tested alone")
    expected = number(theirs, package)
    found = number(ours)
    assert found.shape == expected.shape
    assert float(np.abs(found).max()) > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-5 if package in ("optax", "torchmetrics") else 1e-9, atol=1e-7)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_not_run_says_where_it_is_defined(package: str) -> None:
    for call in PACKAGES[package]:
        assert package not in ABSENT or call["source"].startswith("https://")
        assert package in ABSENT or ("held" in call) == ("source" in call), "what could be run is run, or held by a test of its own"
        if "held" in call:
            file, _, name = call["held"].partition("::")
            assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_every_package_is_here_and_every_function_of_ours_exists() -> None:
    assert set(PACKAGES) == {*IMPORTED, *ABSENT}
    for calls in PACKAGES.values():
        for call in calls:
            module, name = re.match(r"(\w+)\.(\w+)", call["ours"]).groups()  # type: ignore[union-attr]
            assert hasattr(MODULES[module], name), call["ours"]
            assert call["differs"].endswith(".")


def test_torch_and_ours_differ_as_the_page_says() -> None:
    """With class weights torch divides by the weights met."""
    v, weight = values(), torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    ours = lossbook.crossentropy.cross_entropy(v["logits"], v["labels"], weight=weight)
    assert float(F.cross_entropy(v["logits"], v["labels"], weight=weight)) == pytest.approx(float(ours * 30 / weight[v["labels"]].sum()))


def test_the_page_shows_every_pair(tmp_path: Path) -> None:
    tiny = TinyBook(tmp_path)
    tiny.page("# Title\n\n```{elsewhere}\n```\n")
    tiny.build()
    section = tiny.read().find(id="api-elsewhere")
    assert section
    assert [text.get_text() for text in section.find_all("strong")] == list(PACKAGES)
    rows = [[cell.get_text() for cell in row.find_all("td")] for row in section.find_all("tr") if row.find("td")]
    calls = [call for calls in PACKAGES.values() for call in calls]
    assert [row[:2] for row in rows] == [[call["theirs"], call["ours"]] for call in calls]
    said = [re.sub("[“”]", '"', row[2]).removesuffix(" (definition)") for row in rows]
    assert said == [call["differs"] for call in calls]
    assert [link["href"] for link in section.find_all("a", class_="external")] == [call["source"] for call in calls if "source" in call]
