"""Losses of the margin, of a logit and its target, and what is computed element by element."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from lossbook import boxes, consistency, crossentropy, focal, quantization, scoring
from lossbook.margins import LOSSES, MarginLoss, ramp_loss
from tests.public.kinds import (
    MODERATE,
    REAL,
    REDUCTIONS,
    SHAPES,
    UNIT,
    Arguments,
    Bad,
    Kind,
    Spec,
    Weighed,
    array,
    booleans,
    callable_,
    choice,
    count,
    floats,
    laid,
    mask,
    number,
    sample_weights,
    tensor,
    weights,
)

Array = np.ndarray[Any, np.dtype[np.float64]]

PLAIN: dict[str, Callable[[Array], Array]] = {  # of the catalogue of margin losses
    "zero_one": lambda m: 1.0 * (m <= 0),
    "hinge": lambda m: np.maximum(0, 1 - m),
    "squared_hinge": lambda m: np.maximum(0, 1 - m) ** 2,
    "logistic": lambda m: np.logaddexp(0, -m),
    "logistic2": lambda m: np.logaddexp(0, -m) / math.log(2),
    "exponential": lambda m: np.exp(-m),
    "squared": lambda m: (1 - m) ** 2,
    "ramp": lambda m: np.clip(1 - m, 0, 1),
    "ramp_minus_one": lambda m: np.clip(1 - m, 0, 2),
    "sigmoid": lambda m: np.exp(-np.logaddexp(0, m)),
    "savage": lambda m: np.exp(-2 * np.logaddexp(0, 2 * m)),
    "unhinged": lambda m: 1 - m,
    "perceptron": lambda m: np.maximum(0, -m),
}
GRID = torch.linspace(-6, 6, 49, dtype=torch.float64)


def pairs(name: str, elements: st.SearchStrategy[float] = REAL, truths: st.SearchStrategy[float] = UNIT, **more: Any) -> st.SearchStrategy[Arguments]:
    """Logits of any shape, and a truth of the same; the parameters in `more` are drawn beside them."""
    shaped = SHAPES.flatmap(lambda shape: st.fixed_dictionaries({"logits": floats(shape, elements), name: floats(shape, truths)}))
    return st.tuples(shaped, st.fixed_dictionaries(more)).map(lambda both: both[0] | both[1])


def present(name: str, **more: Any) -> st.SearchStrategy[Arguments]:
    """Logits and a truth in [0, 1] of their shape, what of them is ignored, and weights; those in `more` may look at the shape."""

    def draw(shape: tuple[int, ...]) -> st.SearchStrategy[Arguments]:
        further = {key: value(shape) if callable(value) else value for key, value in more.items()}
        ignored = {"ignore": st.none() | booleans(shape).map(last_is_there), "sample_weight": sample_weights(shape)}
        return st.fixed_dictionaries({"logits": floats(shape), name: floats(shape, UNIT), **ignored, **further, "reduction": REDUCTIONS})

    return SHAPES.flatmap(draw)


def last_is_there(ignore: Tensor) -> Tensor:
    """A truth that is wrong in the last place, where the kinds put it, is noticed."""
    ignore.view(-1)[-1:] = False
    return ignore


def heeding(reference: Callable[..., Array]) -> Callable[..., Weighed]:
    """The reference, which knows nothing of what is ignored, and the weights of its losses."""

    def weighed(*, logits: Tensor, ignore: Tensor | None, sample_weight: Tensor | None, **rest: Any) -> Weighed:
        found = laid(sample_weight, tuple(logits.shape))
        return Weighed(reference(logits=logits, **rest), found if ignore is None else np.where(ignore.numpy(), 0.0, found))

    return weighed


def nothing_counts(arguments: Arguments) -> bool:
    """Everything is ignored, or weighs 0."""
    found = laid(arguments["sample_weight"], tuple(arguments["logits"].shape))
    return not bool((found if arguments["ignore"] is None else np.where(arguments["ignore"].numpy(), 0.0, found)).any())


def by_label(shape: tuple[int, ...]) -> st.SearchStrategy[Tensor | None]:
    """None, one number, one a label, or one an element."""
    return st.none() | floats((), UNIT) | floats(shape[-1:], UNIT) | floats(shape, UNIT)


def by_label_kind(least: float, finite: bool) -> Kind:
    """What `by_label` draws. An axis more could make one of the others."""

    def bad(value: Tensor | None) -> Iterator[Bad]:
        yield Bad("a text", "one", TypeError)
        yield from tensor(floating=None, low=least, finite=finite, shaped=False)(value)
        if value is not None:
            yield Bad("five axes", value.new_ones(1, 1, 1, 1, 1), ValueError)
            yield Bad("one element more", value.new_ones(value.numel() + 100), ValueError)

    return bad


def bce(logits: Array, targets: Array) -> Array:
    return targets * np.logaddexp(0, -logits) + (1 - targets) * np.logaddexp(0, logits)


def sigmoid(logits: Array) -> Array:
    return np.exp(-np.logaddexp(0, -logits))


def binary_reference(*, logits: Tensor, targets: Tensor, label_smoothing: float, pos_weight: Tensor | None, weight: Tensor | None) -> Array:
    t, s = (1 - label_smoothing) * array(targets) + label_smoothing / 2, array(logits)
    positive = 1.0 if pos_weight is None else array(pos_weight)
    return (positive * t * np.logaddexp(0, -s) + (1 - t) * np.logaddexp(0, s)) * (1 if weight is None else array(weight))


def focal_reference(*, logits: Tensor, targets: Tensor, gamma: float, alpha: float | None) -> Array:
    s, t = array(logits), array(targets)
    unlikely = sigmoid(s) * (1 - t) + sigmoid(-s) * t
    return unlikely**gamma * bce(s, t) * (1 if alpha is None else alpha * t + (1 - alpha) * (1 - t))


def varifocal_reference(*, logits: Tensor, quality: Tensor, alpha: float, gamma: float) -> Array:
    s, y = array(logits), array(quality)
    return np.where(y > 0, y, alpha * sigmoid(s) ** gamma) * bce(s, y)


def asymmetric_reference(*, logits: Tensor, targets: Tensor, gamma_negative: float, gamma_positive: float, clip: float) -> Array:
    s, t = array(logits), array(targets)
    shifted = np.maximum(sigmoid(s) - clip, 0)
    # 1 − p_m = min(1 − p + m, 1), with 1 − p = σ(−s): no digits are lost near p = 1, and σ itself does not end at 0
    with np.errstate(divide="ignore", invalid="ignore"):
        absent = np.logaddexp(0, s) if clip == 0 else -np.log(np.minimum(sigmoid(-s) + clip, 1.0))
    return t * sigmoid(-s) ** gamma_positive * np.logaddexp(0, -s) + (1 - t) * shifted**gamma_negative * absent


def smooth_reference(*, offsets: Tensor, targets: Tensor, beta: float) -> Array:
    error = np.abs(array(offsets) - array(targets))
    return np.where(error < beta, error**2 / (2 * max(beta, 1e-300)), error - beta / 2)


def recover_check(result: Tensor, *, probs: Tensor, gamma: float) -> None:
    """The focal risk of η has no slope at q: with φ(q) = −(1 − q)^γ ln q, η φ'(q) = (1 − η) φ'(1 − q)."""
    assert result.shape == probs.shape
    assert bool(((result >= 0) & (result <= 1)).all())
    inside = (probs > 0.05) & (probs < 0.95)
    q, eta = probs[inside].double().clone().requires_grad_(), result[inside].double()
    risk = (eta * -((1 - q) ** gamma) * q.log() + (1 - eta) * -(q**gamma) * (1 - q).log()).sum()
    (slope,) = torch.autograd.grad(risk, q)
    assert bool((slope.abs() < 200 * torch.finfo(probs.dtype).eps * (1 + gamma)).all())


def savage_reference(*, entropy: Callable[[Any], Any], probs: Tensor, targets: Tensor) -> Array:
    """Of the entropy q (1 − q): the squared error (t − q)², where t is 0 or 1; linear in t between."""
    q, t = array(probs), array(targets)
    found: Array = t * (1 - q) ** 2 + (1 - t) * q**2
    return found


def risk_arguments(losses: list[MarginLoss], **more: Any) -> st.SearchStrategy[Arguments]:
    scores = SHAPES.flatmap(lambda shape: st.tuples(floats(shape, MODERATE), floats(shape, UNIT) | st.floats(0, 1)))
    drawn = st.tuples(st.sampled_from(losses), scores).map(lambda both: {"phi": both[0], "eta": both[1][1], "scores": both[1][0]})
    return st.tuples(drawn, st.fixed_dictionaries(more)).map(lambda both: both[0] | both[1])


def risk_reference(*, phi: MarginLoss, eta: Tensor | float, scores: Tensor) -> Array:
    probs = array(eta) if isinstance(eta, Tensor) else eta
    value = PLAIN[phi.name]
    return np.where(probs == 0, 0, probs * value(array(scores))) + np.where(probs == 1, 0, (1 - probs) * value(-array(scores)))


def slope_check(result: Tensor, *, loss: MarginLoss, margins: Tensor) -> None:
    """The slope to the right, by a difference."""
    value, m = PLAIN[loss.name], array(margins)
    slope = (value(m + 1e-5) - value(m + 1e-9)) / (1e-5 - 1e-9)
    assert result.shape == margins.shape
    assert bool((np.abs(array(result) - slope) <= 1e-4 * (1 + np.abs(slope))).all())


def least_check(result: Tensor, *, phi: MarginLoss, eta: Tensor) -> None:
    """No score on a grid has a lower risk, and one comes close."""
    probs, value = array(eta), PLAIN[phi.name]
    grid = array(GRID).reshape(-1, *[1] * probs.ndim)
    risks = probs * value(grid) + (1 - probs) * value(-grid)
    assert result.shape == eta.shape
    slack = 50 * torch.finfo(result.dtype).eps
    assert bool((array(result) <= risks.min(0) + slack).all())
    far = 1e4 * np.sign(2 * probs - 1) if phi.name == "unhinged" else np.zeros_like(probs)
    lowest = np.minimum(risks.min(0), probs * value(far) + (1 - probs) * value(-far))
    assert bool((lowest <= array(result) + 0.15).all() if phi.name != "unhinged" else (np.isneginf(array(result)) | (probs == 0.5)).all())


def minimizer_check(result: Tensor, *, phi: MarginLoss, eta: Tensor) -> None:
    """Its risk is that of the best score on a grid, or lower."""
    probs, value, score = array(eta), PLAIN[phi.name], np.clip(array(result), -1e3, 1e3)
    grid = array(GRID).reshape(-1, *[1] * probs.ndim)

    def risk(s: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.where(probs == 0, 0, probs * value(s)) + np.where(probs == 1, 0, (1 - probs) * value(-s))

    assert result.shape == eta.shape
    assert bool((risk(score) <= risk(grid).min(0) + 1e-2 + 200 * torch.finfo(result.dtype).eps).all())


def psi_check(result: Tensor, *, phi: MarginLoss, theta: Tensor) -> None:
    """ψ(θ) is at most the extra risk that the best score of the wrong sign has at η = (1 + θ)/2, and 0 at 0."""
    eta = (1 + array(theta)) / 2
    value, wrong = PLAIN[phi.name], -np.logspace(-6, 3, 200).reshape(-1, *[1] * theta.ndim)
    with np.errstate(over="ignore", invalid="ignore"):
        risks = np.concatenate([eta * value(wrong) + np.where(eta == 1, 0, (1 - eta) * value(-wrong)), (0 * eta + value(np.array(0.0)))[None]])
        right = np.concatenate([eta * value(-wrong) + np.where(eta == 1, 0, (1 - eta) * value(wrong)), risks[-1:]])
    assert result.shape == theta.shape
    if phi.name != "unhinged":
        gap = risks.min(0) - np.minimum(right, risks.min(0)).min(0)
        assert bool((array(result) <= gap + 1e-2 + 200 * torch.finfo(result.dtype).eps).all())
    assert bool((result[theta == 0] == 0).all())
    assert bool((result >= 0).all())


def quantize_reference(*, values: Tensor, bits: int, scale: float | None) -> Array:
    most = 2 ** (bits - 1) - 1
    largest = np.abs(array(values)).max()
    step = scale if scale is not None else (largest / most if largest > 0 else 1.0)
    nearest: Array = np.clip(np.round(array(values) / step), -most, most) * step
    return nearest


def quantize_check(result: Tensor, **arguments: Any) -> None:
    """The nearest level; where float32 and float64 disagree on a tie, the level on its other side."""
    values, bits, scale = arguments["values"], arguments["bits"], arguments["scale"]
    step = scale or (float(values.double().abs().max()) / (2 ** (bits - 1) - 1) or 1.0)
    plain = quantize_reference(values=values, bits=bits, scale=scale)
    off = np.abs(array(result) - plain)
    rounding = 4 * torch.finfo(result.dtype).eps * np.abs(plain) + 1e-5 * step * 2**bits * 1e-2
    tie = np.abs(np.abs(array(values) / step % 1) - 0.5) < 1e-4 * 2**bits
    assert bool(((off <= rounding) | (tie & (off <= step * 1.01))).all())


def worst_reference(*, loss: MarginLoss, margins: Tensor, step: float) -> Array:
    value, m = PLAIN[loss.name], array(margins)
    found: Array = np.maximum(np.abs(value(m + step / 2) - value(m)), np.abs(value(m - step / 2) - value(m)))
    return found


def bound_check(result: Tensor, *, phi: MarginLoss, excess: Tensor) -> None:
    """ψ of the bound is the excess, by the closed form."""
    assert bool(((result >= 0) & (result <= 1)).all())
    assert bool((phi.psi(result) <= excess.double() + 1e-6).all())
    assert bool((phi.psi((result + 1e-5).clamp(max=1)) >= excess.double().clamp(max=float(phi.psi(1.0))) - 1e-6).all())


def transform_reference(*, phi: MarginLoss, theta: Tensor) -> Array:
    return array({"hinge": lambda t: t, "squared": torch.square, "exponential": lambda t: 1 - (1 - t * t).sqrt()}[phi.name](theta.double()))


def calibration_verdict(result: consistency.CalibrationCheck, *, phi: MarginLoss) -> None:
    assert result.is_calibrated is (phi.name != "perceptron")
    assert (result.eta is None) is result.is_calibrated


CLOSED = [LOSSES[name] for name in ("hinge", "squared", "exponential")]
EVERY = list(LOSSES.values())
ETA = tensor(low=0, high=1, shaped=False)
MARGINS = {"margins": tensor(shaped=False)}
GAMMA, REDUCTION = number(0), choice
ELEMENTS = {"logits": tensor(shaped=False), "ignore": mask, "sample_weight": weights, "reduction": choice}
HIDES = {"logits": nothing_counts, "targets": nothing_counts, "quality": nothing_counts}


def etas(name: str = "eta") -> st.SearchStrategy[Arguments]:
    return st.fixed_dictionaries({"phi": st.sampled_from(EVERY), name: floats(SHAPES, UNIT)})


SPECS = [
    *(
        Spec(
            f"margins.{name}",
            loss,
            st.fixed_dictionaries({"margins": floats(SHAPES)}),
            MARGINS,
            reference=lambda margins, name=name: PLAIN[name](array(margins)),
        )
        for name, loss in LOSSES.items()
    ),
    Spec(
        "margins.MarginLoss.__call__",
        lambda loss, margins: loss(margins),
        st.fixed_dictionaries({"loss": st.sampled_from(EVERY), "margins": floats(SHAPES)}),
        MARGINS,
        reference=lambda loss, margins: PLAIN[loss.name](array(margins)),
    ),
    Spec(
        "margins.ramp_loss",
        lambda s, margins: ramp_loss(s)(margins),
        st.fixed_dictionaries({"s": st.floats(-5, 0.9), "margins": floats(SHAPES)}),
        {"s": number(high=1, high_open=True), **MARGINS},
        reference=lambda s, margins: np.clip(1 - array(margins), 0, 1 - s),
    ),
    Spec(
        "margins.MarginLoss.derivative",
        lambda loss, margins: loss.derivative(margins),
        st.fixed_dictionaries({"loss": st.sampled_from(EVERY), "margins": floats(SHAPES, MODERATE)}),
        MARGINS,
        check=slope_check,
        narrow=False,
    ),
    Spec(
        "margins.MarginLoss.scaled",
        lambda loss, factor, margins: loss.scaled(factor)(margins),
        st.fixed_dictionaries({"loss": st.sampled_from(EVERY), "factor": st.floats(0.125, 8), "margins": floats(SHAPES, MODERATE)}),
        {"factor": number(0, low_open=True)},
        reference=lambda loss, factor, margins: factor * PLAIN[loss.name](array(margins)),
    ),
    Spec(
        "margins.MarginLoss.conditional_risk",
        lambda phi, eta, scores: phi.conditional_risk(eta, scores),
        risk_arguments(EVERY),
        {"scores": tensor(shaped=False)},
        reference=risk_reference,
    ),
    Spec("margins.MarginLoss.minimal_risk", lambda phi, eta: phi.minimal_risk(eta), etas(), {"eta": ETA}, check=least_check),
    Spec("margins.MarginLoss.minimizer", lambda phi, eta: phi.minimizer(eta), etas(), {"eta": ETA}, check=minimizer_check, narrow=False),
    Spec("margins.MarginLoss.psi", lambda phi, theta: phi.psi(theta), etas("theta"), {"theta": ETA}, check=psi_check, narrow=False),
    Spec(
        "crossentropy.binary_cross_entropy",
        crossentropy.binary_cross_entropy,
        present("targets", label_smoothing=st.sampled_from([0.0, 0.25]), pos_weight=by_label, weight=by_label),
        {
            **ELEMENTS,
            "targets": tensor(floating=None, low=0, high=1),
            "label_smoothing": number(0, 1, high_open=True),
            "pos_weight": by_label_kind(0.0, True),
            "weight": by_label_kind(-math.inf, False),
        },
        reference=heeding(binary_reference),
        reduces=True,
        hides_nan=HIDES | {"weight": nothing_counts},
    ),
    Spec(
        "focal.sigmoid_focal_loss",
        focal.sigmoid_focal_loss,
        present("targets", gamma=st.sampled_from([0.0, 0.5, 2.0, 5.0]), alpha=st.none() | st.sampled_from([0.0, 0.25, 1.0])),
        {**ELEMENTS, "targets": tensor(floating=None, low=0, high=1), "gamma": GAMMA, "alpha": number(0, 1)},
        reference=heeding(focal_reference),
        reduces=True,
        hides_nan=HIDES,
    ),
    Spec(
        "focal.quality_focal_loss",
        focal.quality_focal_loss,
        present("quality", beta=st.sampled_from([0.0, 0.5, 2.0])),
        {**ELEMENTS, "quality": tensor(floating=None, low=0, high=1), "beta": GAMMA},
        reference=heeding(lambda logits, quality, beta: np.abs(sigmoid(array(logits)) - array(quality)) ** beta * bce(array(logits), array(quality))),
        reduces=True,
        hides_nan=HIDES,
    ),
    Spec(
        "focal.varifocal_loss",
        focal.varifocal_loss,
        present("quality", alpha=st.sampled_from([0.0, 0.75, 2.0]), gamma=st.sampled_from([0.0, 0.5, 2.0])),
        {**ELEMENTS, "quality": tensor(floating=None, low=0, high=1), "alpha": number(0), "gamma": GAMMA},
        reference=heeding(varifocal_reference),
        reduces=True,
        hides_nan=HIDES,
    ),
    Spec(
        "focal.asymmetric_loss",
        focal.asymmetric_loss,
        present(
            "targets",
            gamma_negative=st.sampled_from([0.0, 0.5, 4.0]),
            gamma_positive=st.sampled_from([0.0, 0.5, 1.0]),
            clip=st.sampled_from([0.0, 0.05, 1.0]),
        ),
        {
            **ELEMENTS,
            "targets": tensor(floating=None, low=0, high=1),
            "gamma_negative": GAMMA,
            "gamma_positive": GAMMA,
            "clip": number(0, 1),
        },
        reference=heeding(asymmetric_reference),
        reduces=True,
        hides_nan=HIDES,
    ),
    Spec(
        "focal.recover_eta",
        focal.recover_eta,
        st.fixed_dictionaries({"probs": floats(SHAPES, UNIT), "gamma": st.sampled_from([0.0, 1.0, 2.0])}),
        {"probs": tensor(low=0, high=1, shaped=False), "gamma": GAMMA},
        check=recover_check,
    ),
    Spec(
        "boxes.smooth_l1",
        boxes.smooth_l1,
        pairs("targets", truths=REAL, beta=st.sampled_from([0.0, 0.5, 1.0]), reduction=REDUCTIONS).map(
            lambda drawn: {"offsets": drawn.pop("logits"), **drawn}
        ),
        {"offsets": tensor(shaped=False), "targets": tensor(), "beta": number(0), "reduction": REDUCTION},
        reference=smooth_reference,
        reduces=True,
    ),
    Spec(
        "scoring.savage_loss",
        scoring.savage_loss,
        pairs("targets", UNIT, entropy=st.just(lambda q: q * (1 - q)), reduction=REDUCTIONS).map(
            lambda drawn: {"probs": drawn.pop("logits"), **drawn}
        ),
        {
            "entropy": callable_,
            "probs": tensor(low=0, high=1, shaped=False),
            "targets": tensor(floating=None, low=0, high=1),
            "reduction": REDUCTION,
        },
        reference=savage_reference,
        reduces=True,
    ),
    Spec(
        "quantization.grid_scale",
        quantization.grid_scale,
        st.fixed_dictionaries({"values": floats(SHAPES).filter(lambda x: x.numel() > 0), "bits": st.integers(2, 24)}),
        {"values": tensor(shaped=False), "bits": count(2)},
        reference=lambda values, bits: np.abs(array(values)).max() / (2 ** (bits - 1) - 1) or 1.0,
    ),
    Spec(
        "quantization.quantize",
        quantization.quantize,
        st.fixed_dictionaries(
            {
                "values": floats(SHAPES, MODERATE).filter(lambda x: x.numel() > 0),
                "bits": st.integers(2, 8),
                "scale": st.none() | st.sampled_from([0.25, 1.0, 3.0]),
            }
        ),
        {"values": tensor(shaped=False), "bits": count(2)},
        check=quantize_check,
    ),
    Spec(
        "quantization.quantize_probs",
        quantization.quantize_probs,
        st.fixed_dictionaries({"probs": floats(SHAPES, UNIT), "bits": st.sampled_from([1, 2, 4])}),
        {"probs": tensor(low=0, high=1, shaped=False), "bits": count(1)},
        reference=lambda probs, bits: np.round(array(probs) * (2**bits - 1)) / (2**bits - 1),
    ),
    Spec(
        "quantization.worst_change",
        quantization.worst_change,
        st.fixed_dictionaries(
            {
                "loss": st.sampled_from([LOSSES[name] for name in ("hinge", "logistic", "ramp")]),
                "margins": floats(SHAPES, MODERATE),
                "step": st.just(0.5),
            }
        ),
        {"margins": tensor(shaped=False), "step": number(0, low_open=True), "loss": callable_},
        reference=worst_reference,
    ),
    Spec(
        "consistency.conditional_risk",
        consistency.conditional_risk,
        risk_arguments(EVERY),
        {"scores": tensor(shaped=False), "phi": callable_},
        reference=risk_reference,
    ),
    Spec(
        "consistency.minimal_risk",
        consistency.minimal_risk,
        st.fixed_dictionaries({"phi": st.sampled_from(CLOSED), "eta": floats((3,), UNIT)}),
        {"eta": tensor(floating=None, low=0, high=1, shaped=False), "phi": callable_},
        check=lambda result, phi, eta: torch.testing.assert_close(result, phi.minimal_risk(eta.double()), atol=1e-6, rtol=0),
    ),
    Spec(
        "consistency.minimizer",
        consistency.minimizer,
        st.fixed_dictionaries({"phi": st.sampled_from(CLOSED), "eta": floats((3,), UNIT)}),
        {"eta": tensor(floating=None, low=0, high=1, shaped=False), "phi": callable_},
        check=minimizer_check,
    ),
    Spec(
        "consistency.psi_transform",
        consistency.psi_transform,
        st.fixed_dictionaries({"phi": st.sampled_from(CLOSED), "theta": floats((3,), UNIT)}),
        {"theta": tensor(floating=None, low=0, high=1, shaped=False), "phi": callable_},
        reference=transform_reference,
    ),
    Spec(
        "consistency.excess_risk_bound",
        consistency.excess_risk_bound,
        st.fixed_dictionaries({"phi": st.sampled_from(CLOSED[:2]), "excess": floats((2,), UNIT)}),
        {"excess": tensor(floating=None, low=0, shaped=False), "phi": callable_},
        check=bound_check,
    ),
    Spec(
        "consistency.calibration_check",
        consistency.calibration_check,
        st.fixed_dictionaries({"phi": st.sampled_from([LOSSES[name] for name in ("hinge", "perceptron", "sigmoid")])}),
        {"phi": callable_},
        check=calibration_verdict,
    ),
]
