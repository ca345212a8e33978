"""Every public function against its specification in `tests/public`: good calls agree with float64, bad ones are named, and nothing else happens."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lossbook import crossentropy
from tests.conftest import ROOT
from tests.public import ELSEWHERE, SPECS, public_names
from tests.public.kinds import Arguments, Spec, Weighed
from tests.tolerances import TOLERANCES

# The same examples in every run: what CI finds can be found again at home.
SETTINGS = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "phases": (Phase.generate,),
    "suppress_health_check": list(HealthCheck),
    "print_blob": False,
}
HOUSE = re.compile(r"^`[^`]+` should .+; found .+\.$", re.DOTALL)
WIDE, NARROW = [torch.float64, torch.float32], [torch.float16, torch.bfloat16]

every = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def test_every_public_name_has_a_specification() -> None:
    names = set(public_names())
    assert names - set(SPECS) - set(ELSEWHERE) == set(), "new in lossbook: write its specification in tests/public"
    assert (set(SPECS) | set(ELSEWHERE)) - names == set(), "no longer in lossbook"


def test_what_is_tested_elsewhere_is_named_there() -> None:
    for name, file in ELSEWHERE.items():
        assert re.search(rf"\b{name.split('.')[-1]}\b", Path(ROOT / file).read_text()), f"{file} never speaks of {name}"


# --- good calls ----------------------------------------------------------------------------------------------------------------------------------


def laid_out(value: Tensor, layout: str) -> Tensor:
    """The same values, elsewhere in memory: whole, every other element of a larger tensor, or with its axes stored in another order."""
    if layout == "strided" and value.ndim:
        room = torch.full((*value.shape[:-1], 2 * value.shape[-1]), 77.0).to(value.dtype)
        room[..., ::2] = value
        return room[..., ::2]
    if layout == "transposed" and value.ndim > 1:
        return value.transpose(0, -1).contiguous().transpose(0, -1)
    return value


def prepared(arguments: Arguments, dtype: torch.dtype, layout: str, grad: bool) -> Arguments:
    """The floating tensors in a dtype and a layout."""

    def one(value: Any) -> Any:
        if isinstance(value, Tensor):
            floating = value.dtype.is_floating_point
            moved = laid_out(value.to(dtype) if floating else value, layout)
            return moved.requires_grad_() if grad and floating else moved
        if isinstance(value, list) and value and isinstance(value[0], tuple):
            return [type(each)(*map(one, each)) for each in value]
        return value

    return {name: one(value) for name, value in arguments.items()}


def as_array(value: Any) -> Any:
    return np.asarray(value.detach().double() if isinstance(value, Tensor) else value, dtype=np.float64)


def largest(arguments: Arguments) -> float:
    """The largest finite magnitude among the arguments: sums and differences of them are rounded at that scale."""
    tensors = [value.detach().double() for value in arguments.values() if isinstance(value, Tensor) and value.dtype.is_floating_point]
    return max((float(value[value.isfinite()].abs().max()) for value in tensors if bool(value.isfinite().any())), default=0.0)


def assert_agrees(found: Any, expected: Any, dtype: torch.dtype, scale: float, total: float) -> None:
    """Equal within the rounding of the dtype found, float32 at least for what came in half; what is too large for it is an infinity there, too."""
    if isinstance(found, Tensor) and found.dtype in TOLERANCES:
        dtype = found.dtype if dtype in NARROW else dtype
    found_array, plain = as_array(found), np.asarray(expected, dtype=np.float64)
    assert found_array.shape == plain.shape
    held = torch.from_numpy(np.array(plain)).to(found.dtype if isinstance(found, Tensor) and found.dtype.is_floating_point else torch.float64)
    held_array = held.double().numpy()
    tolerance = TOLERANCES[dtype]
    with np.errstate(invalid="ignore"):
        allowed = tolerance.atol * max(scale, 1) + tolerance.rtol * np.maximum(np.abs(plain), total)
        near = np.abs(found_array - plain) <= allowed
    same = (found_array == held_array) | (np.isnan(found_array) & np.isnan(plain))
    assert bool((near | same).all()), f"{found_array} should be {plain}"


@every
@settings(max_examples=20, **SETTINGS)
@given(data=st.data())
def test_a_good_call_agrees_with_float64(spec: Spec, data: st.DataObject) -> None:
    arguments = data.draw(spec.arguments)
    dtype = data.draw(st.sampled_from(WIDE + NARROW * spec.narrow))
    layout, grad = data.draw(st.sampled_from(["whole", "strided", "transposed"])), data.draw(st.booleans())
    given_ = prepared(arguments, dtype, layout, grad)
    before = {name: value.detach().clone() for name, value in given_.items() if isinstance(value, Tensor)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`fit_linear` has not reached a minimum")
        result = spec.call(**given_)
    for name, value in before.items():
        assert torch.equal(value.nan_to_num(), given_[name].detach().nan_to_num()), f"`{name}` was written to"
    seen = prepared(before | {key: value for key, value in given_.items() if key not in before}, dtype, "whole", False)
    if spec.check is not None:
        spec.check(detached(result), **seen)
        return
    assert spec.reference is not None
    reduction = seen.pop("reduction", None) if spec.reduces else None
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        expected = spec.reference(**seen)
        total = 0.0
        if spec.reduces:
            weighed = expected if isinstance(expected, Weighed) else Weighed(np.asarray(expected), np.ones(np.shape(expected)))
            expected = weighed.reduced(str(reduction))
            total = float(Weighed(np.abs(weighed.losses), weighed.weights).reduced(str(reduction))) if reduction != "none" else 0.0
    parts = zip(result, expected, strict=True) if isinstance(result, tuple) else [(result, expected)]
    for one, other in parts:
        assert_agrees(one, other, dtype, largest(seen), total)


def detached(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.detach()
    if isinstance(result, tuple) and all(isinstance(part, Tensor) for part in result):
        return type(result)(*(part.detach() for part in result)) if hasattr(result, "_fields") else tuple(part.detach() for part in result)
    return result


def outcome(spec: Spec, arguments: Arguments) -> Any:
    """What a call gives: its result, or its TypeError or ValueError. Any other exception goes on its way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return spec.call(**arguments)
        except (TypeError, ValueError) as error:
            return error


# --- bad calls -----------------------------------------------------------------------------------------------------------------------------------


@every
@settings(max_examples=4, **SETTINGS)
@given(data=st.data())
def test_a_bad_call_is_named(spec: Spec, data: st.DataObject) -> None:
    arguments = data.draw(spec.arguments)
    for name, kind in spec.bad.items():
        for bad in kind(arguments.get(name)):
            found = outcome(spec, {**arguments, name: bad.value})
            assert type(found) is bad.error, f"{bad.label} for `{name}`: {found!r}"
            message = str(found)
            assert HOUSE.match(message), f"{bad.label} for `{name}`: {message}"
            if bad.label not in ("one element more", "an axis more", "another dtype"):  # there the other side may be named
                assert name in message or name == "targets", f"{bad.label} for `{name}`: {message}"


def anything() -> st.SearchStrategy[Any]:
    """Tensors of any dtype and many shapes, and things that are no tensors."""
    shapes = st.sampled_from([(), (0,), (1,), (2,), (3,), (2, 3), (2, 4), (0, 4), (3, 1), (2, 3, 2), (1, 2, 2, 2)])
    dtypes = st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64])
    fills = st.sampled_from([0.0, 1.0, 2.0, -3.0, 0.25, math.nan, math.inf, -math.inf])

    def build(shape: tuple[int, ...], dtype: torch.dtype, fill: float) -> Tensor:
        exact = dtype.is_floating_point or dtype.is_complex or (math.isfinite(fill) and fill >= 0)
        return torch.full(shape, fill if exact else 1).to(dtype)

    return st.builds(build, shapes, dtypes, fills) | st.sampled_from([1, 0.5, "text", [1.0], np.ones(2)])


@every
@settings(max_examples=25, **SETTINGS)
@given(data=st.data())
def test_any_tensor_is_taken_or_named(spec: Spec, data: st.DataObject) -> None:
    """Whatever is handed in, there is a result or an error of the house: never one from deep inside torch."""
    arguments = data.draw(spec.arguments)
    tensors = [name for name, value in arguments.items() if isinstance(value, Tensor)]
    if not tensors or not spec.bad:
        return
    changed = {name: data.draw(anything()) for name in data.draw(st.lists(st.sampled_from(tensors), min_size=1, max_size=2, unique=True))}
    found = outcome(spec, {**arguments, **changed})
    assert not isinstance(found, Exception) or HOUSE.match(str(found)), repr(found)


def never(arguments: Arguments) -> bool:
    return False


@every
@settings(max_examples=6, **SETTINGS)
@given(data=st.data())
def test_nan_is_never_hidden(spec: Spec, data: st.DataObject) -> None:
    """A NaN among the arguments is refused, or the result is NaN: never a plausible number."""
    arguments = data.draw(spec.arguments)
    arguments["reduction"] = "sum"
    if not spec.reduces:
        del arguments["reduction"]
    for name, value in arguments.items():
        if not isinstance(value, Tensor) or not value.dtype.is_floating_point or not value.numel() or spec.hides_nan.get(name, never)(arguments):
            continue
        result = outcome(spec, {**arguments, name: torch.full_like(value, math.nan)})
        if isinstance(result, Exception):
            assert HOUSE.match(str(result)), repr(result)
            continue
        values = [result.total] if hasattr(result, "total") else result if isinstance(result, tuple) else [result]
        assert any(bool(np.isnan(as_array(part)).any()) or not np.size(as_array(part)) for part in values), f"NaN in `{name}` gave {result}"


def test_a_mean_of_many_losses_in_half_precision_is_no_infinity() -> None:
    """Their sum is 138,629, and float16 ends at 65,504."""
    logits = torch.zeros(200_000, dtype=torch.float16)
    found = crossentropy.binary_cross_entropy(logits, torch.ones_like(logits))
    assert found.dtype == torch.float32
    assert abs(float(found) - math.log(2)) < 1e-6
