"""The way of JAX's and numpy's losses to the bench: what crosses it is the same on both sides, and what can't is refused in its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import lossbook

jax = pytest.importorskip("jax", reason="it comes with optax, a peer that the package does without")

from benchmarks import bridges  # noqa: E402
from benchmarks.audit_libraries import merged, native  # noqa: E402

WIDE = (5, 1)  # a shape at which the bench looks for no best scores, which takes thousands of calls


def softplus(logits: Any, targets: Any) -> Any:
    return jax.numpy.logaddexp(0.0, logits) - targets * logits


def absolute(logits: np.ndarray, targets: np.ndarray) -> float:
    return float(np.abs(logits - targets).mean())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_value_gradient_and_dtype_cross_from_jax(dtype: torch.dtype) -> None:
    logits = torch.tensor([-3.0, 0.5, 2.0], dtype=dtype, requires_grad=True)
    targets = torch.tensor([0.0, 1.0, 0.0], dtype=dtype)
    value = bridges.from_jax(softplus)(logits, targets)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.dtype == gradient.dtype == dtype
    exact = logits.detach().double().requires_grad_()
    expected = F.binary_cross_entropy_with_logits(exact, targets.double(), reduction="none")
    (slope,) = torch.autograd.grad(expected.sum(), exact)
    accuracy = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(value.double(), expected, rtol=accuracy, atol=accuracy)
    torch.testing.assert_close(gradient.double(), slope, rtol=accuracy, atol=accuracy)


def test_jax_computes_in_64_bits_only_where_it_is_handed_them() -> None:
    seen = []

    def told(logits: Any, labels: Any) -> Any:
        seen.append((str(logits.dtype), str(labels.dtype)))
        return logits[labels]

    for dtype in (torch.float64, torch.float32):
        bridges.from_jax(told)(torch.zeros(3, dtype=dtype), torch.tensor([1]))
    assert seen == [("float64", "int64"), ("float32", "int32")]
    assert jax.numpy.zeros(1).dtype == "float32"


def test_a_numpy_loss_has_a_value_and_no_graph() -> None:
    logits, targets = torch.tensor([1.0, 3.0], requires_grad=True), torch.zeros(2)
    value = bridges.from_numpy(absolute)(logits, targets)
    assert value == 2
    assert not value.requires_grad


WAYS = [(bridges.from_jax, softplus), (bridges.from_numpy, absolute)]


@pytest.mark.parametrize(("bridge", "loss"), WAYS, ids=["jax", "numpy"])
def test_what_a_bridge_cannot_carry_is_not_supported_and_no_defect(bridge: Callable[..., Any], loss: Callable[..., Any]) -> None:
    report = lossbook.audit(bridge(loss), kind="binary", shape=WIDE)
    for name in ("subclass", "autocast", "vmap"):
        assert report[name].verdict == "not supported"
        assert "the bridge carries no" in report[name].detail
    assert {finding.name for finding in report.defects} <= {"broadcasting"}
    assert report["finite_float16"].passed


def test_of_a_numpy_loss_no_gradient_is_asked() -> None:
    report = lossbook.audit(bridges.from_numpy(absolute), kind="binary", shape=WIDE)
    for name in ("gradient", "pulls", "finite_bfloat16"):
        assert report[name].verdict == "not supported"
    assert "numpy does not have" in report["finite_bfloat16"].detail
    assert report["denominator"].passed


def test_a_bridge_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises(NotImplementedError, match=r"the bridge carries no torch\.compile"):
        bridges.from_jax(softplus)(torch.zeros(2), torch.zeros(2))


def test_an_example_is_told_in_the_losss_own_language() -> None:
    finding = lossbook.auditor.Finding(
        "broadcasting", False, None, "", example="logits = torch.tensor([1.0], dtype=torch.float64)\nloss(logits, targets)"
    )
    assert native("jax", finding) == "logits = jnp.array([1.0])\nloss(logits, targets).shape"
    assert native("torch", finding) == finding.example
    assert native("jax", finding._replace(name="labels_negative")).endswith("loss(logits, targets).round(3)")
    single = finding._replace(name="precise", example="logits = torch.tensor([1.0])\ntargets = torch.tensor([0])\nloss(logits.double(), targets)")
    assert native("numpy", single).splitlines() == [
        "logits = np.array([1.0], dtype=np.float32)",
        "targets = np.array([0])",
        "loss(logits.astype(float), targets)",
    ]
    with pytest.raises(ValueError, match="only torch can run"):
        native("numpy", finding._replace(example="logits.grad"))


def test_what_was_not_audited_again_stays_in_the_file() -> None:
    before = {"date": "a", "versions": {"x": "1", "y": "1"}, "audited": {"x": 2, "y": 3}, "clean": ["x one", "y one"], "rows": [{"library": "x"}]}
    now = {"date": "b", "versions": {"y": "2"}, "audited": {"y": 4}, "clean": [], "rows": [{"library": "y"}]}
    found = merged(before, now)
    assert found == {
        "date": "b",
        "versions": {"x": "1", "y": "2"},
        "audited": {"x": 2, "y": 4},
        "clean": ["x one"],
        "rows": [{"library": "x"}, {"library": "y"}],
    }


def test_the_tensor_that_is_handed_over_stays_as_it_is() -> None:
    logits = torch.tensor([1.0, 2.0])
    value: Tensor = bridges.from_jax(lambda scores, _: scores)(logits, torch.zeros(2))
    value += 1
    assert logits.tolist() == [1.0, 2.0]
