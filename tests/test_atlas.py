"""The atlas: every loss has its entry, every chapter named exists, and every call of another package gives the value of the loss beside it."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lossbook
from lossbook import boxes, crossentropy, focal, margins, multiclass, reliability, scoring
from lossbook.book import atlas

PAGES = {path.stem: path for path in (Path(__file__).parent.parent / "chapters").rglob("*.md")}
CALLS = [pytest.param(name, peer, id=f"{name} {peer.call}") for name, peers in atlas.PEERS.items() for peer in peers]
MODULES = [name for name in lossbook._MODULES if name not in ("auditor", "book", "explorer")]


def values() -> dict[str, Tensor]:
    """What the calls are about: grids and random draws, none of them on a kink."""
    generator = torch.Generator().manual_seed(0)
    grid = torch.linspace(-4.03, 4.07, 60, dtype=torch.float64)
    logits = 2 * torch.randn(30, 4, generator=generator, dtype=torch.float64)
    p, q = torch.rand(2, 20, 5, generator=generator, dtype=torch.float64).add(0.01).unbind()
    return {
        "scores": grid.repeat(2),
        "signs": torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat_interleave(60),
        "targets": torch.tensor([0.0, 1.0], dtype=torch.float64).repeat_interleave(60),
        "logits": logits,
        "probs": logits.softmax(1),
        "labels": torch.arange(30) % 4,
        "p": p / p.sum(1, keepdim=True),
        "q": q / q.sum(1, keepdim=True),
        "boxes": torch.randn(20, 4, generator=generator, dtype=torch.float64),
        "truth": 2 * torch.randn(20, 4, generator=generator, dtype=torch.float64),
    }


OURS: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": lambda v: crossentropy.cross_entropy(v["logits"], v["labels"], reduction="none"),
    "binary_cross_entropy": lambda v: crossentropy.binary_cross_entropy(v["scores"], v["targets"], reduction="none"),
    "kl_divergence": lambda v: crossentropy.kl_divergence(v["p"], v["q"]),
    "sparsemax_loss": lambda v: scoring.sparsemax_loss(v["logits"], v["labels"], reduction="none"),
    "brier_score": lambda v: reliability.brier_score(v["probs"], v["labels"], reduction="none"),
    "crammer_singer": lambda v: multiclass.crammer_singer(v["logits"], v["labels"], reduction="none"),
    "weston_watkins": lambda v: multiclass.weston_watkins(v["logits"], v["labels"], reduction="none"),
    "sigmoid_focal_loss": lambda v: focal.sigmoid_focal_loss(v["scores"], v["targets"], reduction="none"),
    "smooth_l1": lambda v: boxes.smooth_l1(v["boxes"], v["truth"], reduction="none"),
}


def ours(name: str) -> Tensor:
    found = values()
    return margins.LOSSES[name](found["signs"] * found["scores"]) if name in margins.LOSSES else OURS[name](found)


def look_up(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def evaluate(peer: atlas.Peer) -> Any:
    """The call as it stands in the atlas. torch's functions are asked for each element, where the call doesn't reduce by itself."""
    function = look_up(peer.path)
    assert peer.call.startswith(f"{function.__name__}(")
    if peer.library == "torch":
        inputs: dict[str, Any] = values()
        function = function if "reduction" in peer.call else partial(function, reduction="none")
    else:
        inputs = {name: value.numpy() for name, value in values().items()}
    if peer.library == "optax":
        import jax.numpy as jnp

        inputs = {name: jnp.asarray(value.astype(np.float32) if value.dtype == np.float64 else value) for name, value in inputs.items()}
    return eval(peer.call, {"np": np, "K": 4, peer.call.partition("(")[0]: function}, inputs)


@pytest.mark.parametrize(("name", "peer"), [case for case in CALLS if "Classifier" not in case.values[1].path])
def test_a_peer_gives_the_same_value(name: str, peer: atlas.Peer) -> None:
    theirs, expected = np.asarray(evaluate(peer)), ours(name).numpy()
    if theirs.ndim == 0:
        assert float(theirs) == pytest.approx(expected.mean(), rel=1e-6)
    else:
        np.testing.assert_allclose(theirs, expected, rtol=1e-4 if peer.library == "optax" else 1e-10, atol=1e-6)


@pytest.mark.parametrize(("name", "peer"), [case for case in CALLS if "SGDClassifier" in case.values[1].call])
def test_scikit_learns_descent_takes_the_steps_of_our_slope(name: str, peer: atlas.Peer) -> None:
    """One step of size 1 from the score s on the point x = 1 moves the weight by -y φ'(y s); a second point, x = 0, moves nothing."""
    settings = {"penalty": None, "fit_intercept": False, "max_iter": 1, "tol": None, "shuffle": False, "learning_rate": "constant", "eta0": 1.0}
    for score in (-2.3, -0.4, 0.3, 0.8, 1.7):
        for sign in (-1, 1):
            model = evaluate(peer).set_params(**settings)
            model.fit([[1.0], [0.0]], [sign, -sign], coef_init=np.array([[score]]))
            slope = float(margins.LOSSES[name].derivative(torch.tensor(sign * score, dtype=torch.float64)))
            assert model.coef_[0, 0] - score == pytest.approx(-sign * slope, abs=1e-6)


def test_scikit_learns_boosting_reports_our_exponential_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(80, 3, generator=generator)
    signs = torch.where(features[:, 0] + torch.randn(80, generator=generator) > 0, 1, -1)
    (peer,) = atlas.PEERS["exponential"]
    model = evaluate(peer).set_params(n_estimators=4, random_state=0).fit(features.numpy(), signs.numpy())
    scores = torch.from_numpy(model.decision_function(features.numpy()))
    assert model.train_score_[-1] == pytest.approx(float(margins.exponential(signs * scores).mean()), rel=1e-6)


def test_every_loss_of_the_margin_has_its_entry_and_its_style() -> None:
    assert list(atlas.CHAPTERS) == list(margins.LOSSES)
    assert set(atlas.PEERS) <= set(margins.LOSSES) | {name for names in atlas.FAMILIES.values() for name in names}


@pytest.mark.parametrize("name", margins.LOSSES)
def test_a_formula_in_plain_text_gives_the_loss(name: str) -> None:
    """Read as Python, so that what is typeset from it is the loss too."""
    code = margins.LOSSES[name].formula.replace("1[m ≤ 0]", "(m <= 0)").replace("²", "**2")
    code = re.sub(r"e\^(-?)(\d*)m", lambda found: f"exp({found[1]}{found[2] or 1}*m)", code)
    scope = {"exp": math.exp, "ln": math.log, "log2": math.log2, "max": max, "min": min}
    for m in (-2.5, -0.3, 0.0, 0.4, 1.0, 3.0):
        assert float(eval(code, {**scope, "m": m})) == pytest.approx(float(margins.LOSSES[name](torch.tensor(m, dtype=torch.float64))), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("zero_one", r"\mathbf{1}[m \le 0]"),
        ("squared_hinge", r"\max(0, 1 - m)^2"),
        ("logistic2", r"\log_2(1 + e^{-m})"),
        ("logistic", r"\ln(1 + e^{-m})"),
        ("sigmoid", r"\frac{1}{1 + e^{m}}"),
        ("savage", r"\frac{1}{(1 + e^{2m})^2}"),
        ("ramp_minus_one", r"\min(\max(0, 1 - m), 2)"),
    ],
)
def test_a_formula_as_latex(name: str, latex: str) -> None:
    assert atlas.latex(margins.LOSSES[name].formula) == latex


def test_the_chapters_of_a_loss_speak_of_it() -> None:
    for name, chapters in atlas.CHAPTERS.items():
        for chapter in chapters:
            text = PAGES[chapter].read_text(encoding="utf-8")
            words = name.replace("_minus_one", "").replace("zero_one", "0-1").replace("logistic2", "log2").replace("_", " ")
            assert re.search(rf"\b({words}|{name})\b", text, flags=re.IGNORECASE), f"{chapter} says nothing of {name}"


def test_the_families_hold_every_public_loss_of_the_package() -> None:
    for module_name in set(MODULES) - {*lossbook._BOOK, "margins"}:
        module = importlib.import_module(f"lossbook.{module_name}")
        listed = set(atlas.FAMILIES.get(module_name, ()))
        assert listed <= set(module.__all__)
        assert {name for name in module.__all__ if name.endswith(("_loss", "SetLoss")) and name != "SetLoss"} <= listed, module_name


@pytest.mark.parametrize("name", MODULES)
def test_every_module_names_chapters_that_exist(name: str) -> None:
    found = atlas.chapters(importlib.import_module(f"lossbook.{name}"))
    assert found
    assert set(found) <= set(PAGES)


def test_chapters_of_a_thing_in_a_module_of_its_own_are_the_packages() -> None:
    from lossbook import sets

    assert atlas.chapters(sets.BoxSetLoss) == ("sets",)
    assert atlas.chapters(margins.ramp_loss) == ("ramp",)
    assert atlas.chapters(math) == ()
