"""Losses of logits over classes: [K], [N, K] or [N, K, ...], the class axis as torch has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from lossbook import crossentropy, decisions, focal, multiclass, privacy, quantization, scoring
from lossbook.privacy import RandomizedResponse
from tests.public.kinds import (
    REAL,
    REDUCTIONS,
    UNIT,
    Arguments,
    Spec,
    Weighed,
    always,
    array,
    choice,
    count,
    distributions,
    floats,
    ignoring,
    labels,
    laid,
    log_softmax,
    number,
    sample_weights,
    tensor,
    weights,
    whole,
)

Array = np.ndarray[Any, np.dtype[np.float64]]
CLASS_SHAPES = st.tuples(st.integers(0, 3), st.integers(1, 4), st.lists(st.integers(1, 2), max_size=2)).map(lambda t: (*t[:2], *t[2])) | st.tuples(
    st.integers(1, 4)
)


def axis_of(shape: tuple[int, ...]) -> int:
    return min(len(shape) - 1, 1)


def without_classes(shape: tuple[int, ...]) -> tuple[int, ...]:
    axis = axis_of(shape)
    return (*shape[:axis], *shape[axis + 1 :])


def labelled(name: str = "labels", elements: st.SearchStrategy[float] = REAL, **more: Any) -> st.SearchStrategy[Arguments]:
    """Logits and class ids, some of them ignored, and weights; the parameters in `more` are drawn beside them, and may look at the logits' shape."""

    def draw(shape: tuple[int, ...]) -> st.SearchStrategy[Arguments]:
        further = {key: value(shape) if callable(value) else value for key, value in more.items()}
        losses = without_classes(shape)
        drawn = st.fixed_dictionaries({"logits": floats(shape, elements), "sample_weight": sample_weights(losses), **further})
        truth = labels(losses, shape[axis_of(shape)]).flatmap(ignoring)
        return st.tuples(drawn, truth).map(lambda both: {**both[0], name: both[1]["labels"], "ignore_index": both[1]["ignore_index"]})

    return CLASS_SHAPES.flatmap(draw)


def heeding(reference: Callable[..., Array], name: str = "labels") -> Callable[..., Weighed]:
    """The reference, which knows nothing of what is ignored, with class 0 where it is, and the weights of its losses."""

    def weighed(*, logits: Tensor, ignore_index: int | None, sample_weight: Tensor | None, **rest: Any) -> Weighed:
        found = laid(sample_weight, without_classes(tuple(logits.shape)))
        if ignore_index is not None:
            ids = rest[name].numpy().astype(np.int64)
            found = np.where(ids == ignore_index, 0.0, found)
            rest[name] = torch.from_numpy(np.where(ids == ignore_index, 0, ids))
        return Weighed(reference(logits=logits, **rest), found)

    return weighed


def by_class_weight(reference: Callable[..., Array]) -> Callable[..., Array]:
    """The losses of a reference without weights, times the weight of their label."""

    def weighted(*, labels: Tensor, weight: Tensor | None, **rest: Any) -> Array:
        losses = reference(labels=labels, **rest)
        return losses if weight is None else array(weight)[labels.numpy().astype(np.int64)] * losses

    return weighted


def nothing_counts(arguments: Arguments) -> bool:
    """Everything is ignored, or weighs 0."""
    truth = next(arguments[name] for name in ("labels", "targets", "noisy") if name in arguments)
    found = laid(arguments["sample_weight"], without_classes(tuple(arguments["logits"].shape)))
    index = arguments["ignore_index"]
    return not bool((found if index is None else np.where(truth.numpy().astype(np.int64) == index, 0.0, found)).any())


def a_weight(shape: tuple[int, ...]) -> st.SearchStrategy[Tensor | None]:
    return st.none() | floats((shape[axis_of(shape)],), UNIT)


def chosen(values: Array, ids: Tensor) -> Array:
    """The value at each label, along the class axis."""
    axis = axis_of(values.shape)
    index = np.expand_dims(ids.numpy().astype(np.int64), axis)
    return np.take_along_axis(values, index, axis).squeeze(axis)


def log_probs(logits: Tensor) -> Array:
    return log_softmax(array(logits), axis_of(tuple(logits.shape)))


def cross_entropy_reference(*, logits: Tensor, targets: Tensor, label_smoothing: float, weight: Tensor | None) -> Array:
    axis = axis_of(tuple(logits.shape))
    classes = logits.shape[axis]
    if targets.dtype.is_floating_point:
        truth = array(targets)
    else:
        truth = np.moveaxis(np.eye(classes)[targets.numpy().astype(np.int64)], -1, axis)
    smoothed = (1 - label_smoothing) * truth + label_smoothing / classes
    scale = np.ones(classes) if weight is None else array(weight)
    scale = scale.reshape(-1, *[1] * (logits.ndim - axis - 1))
    found: Array = -(scale * smoothed * log_probs(logits)).sum(axis)
    return found


def soft_or_hard() -> st.SearchStrategy[Arguments]:
    options: dict[str, Any] = {"label_smoothing": st.sampled_from([0.0, 0.25]), "weight": a_weight, "reduction": REDUCTIONS}

    def soft(shape: tuple[int, ...]) -> st.SearchStrategy[Arguments]:
        further = {key: value(shape) if callable(value) else value for key, value in options.items()}
        drawn = {"logits": floats(shape), "targets": distributions(shape, axis_of(shape)), "sample_weight": sample_weights(without_classes(shape))}
        return st.fixed_dictionaries({**drawn, "ignore_index": st.none(), **further})

    return labelled("targets", **options) | CLASS_SHAPES.flatmap(soft)


def generalized_reference(*, logits: Tensor, labels: Tensor, q: float) -> Array:
    own = chosen(log_probs(logits), labels)
    return -own if q == 0 else -np.expm1(q * own) / q


def softmax_focal_reference(*, logits: Tensor, labels: Tensor, gamma: float) -> Array:
    own = chosen(log_probs(logits), labels)
    found: Array = (-np.expm1(own)) ** gamma * -own
    return found


def gaps(logits: Tensor, labels: Tensor) -> tuple[Array, int]:
    """(1 + s_j − s_y)₊ over the wrong classes."""
    scores, axis = array(logits), axis_of(tuple(logits.shape))
    right = np.expand_dims(labels.numpy().astype(np.int64), axis)
    found = np.maximum(0, 1 + scores - np.take_along_axis(scores, right, axis))
    np.put_along_axis(found, right, 0.0, axis)
    return found, axis


def crammer_singer_reference(*, logits: Tensor, labels: Tensor) -> Array:
    found, axis = gaps(logits, labels)
    return found.max(axis)


def weston_watkins_reference(*, logits: Tensor, labels: Tensor) -> Array:
    found, axis = gaps(logits, labels)
    return found.sum(axis)


def lee_lin_wahba_reference(*, logits: Tensor, labels: Tensor) -> Array:
    wrong = np.maximum(0, 1 + array(logits))
    np.put_along_axis(wrong, np.expand_dims(labels.numpy().astype(np.int64), axis_of(wrong.shape)), 0.0, axis_of(wrong.shape))
    return wrong.sum(axis_of(wrong.shape))


def spherical_reference(*, logits: Tensor, labels: Tensor) -> Array:
    probs = np.exp(log_probs(logits))
    return 1 - chosen(probs, labels) / np.sqrt((probs**2).sum(axis_of(probs.shape)))


def project(logits: Array, axis: int) -> Array:
    """The nearest point of the simplex, by bisection on the threshold τ of max(z − τ, 0)."""
    low, high = logits.max(axis, keepdims=True) - 1, logits.max(axis, keepdims=True)
    for _ in range(80):
        middle = (low + high) / 2
        over = np.maximum(logits - middle, 0).sum(axis, keepdims=True) > 1
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    found: Array = np.maximum(logits - low, 0)
    return found


def sparsemax_reference(*, logits: Tensor) -> Array:
    return project(array(logits), axis_of(tuple(logits.shape)))


def sparsemax_loss_reference(*, logits: Tensor, labels: Tensor) -> Array:
    z = array(logits) - array(logits).max(axis_of(tuple(logits.shape)), keepdims=True)
    p = project(z, axis_of(z.shape))
    value = (np.where(p > 0, p * z, 0) - p**2 / 2).sum(axis_of(z.shape)) + 0.5 - chosen(z, labels)
    found: Array = value
    return found


def worst_reference(*, logits: Tensor, labels: Tensor, step: float) -> Array:
    own = chosen(log_probs(logits), labels)
    return np.log(np.exp(own) + (-np.expm1(own)) * np.exp(step))


def kl_reference(*, p: Tensor, q: Tensor) -> Array:
    truth, model = array(p), array(q)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(truth > 0, truth * (np.log(truth) - np.log(model)), 0.0)
    return terms.sum(axis_of(truth.shape))


def adjust_reference(*, logits: Tensor, priors: Tensor, tau: float) -> Array:
    axis = axis_of(tuple(logits.shape))
    return array(logits) + tau * np.log(array(priors)).reshape(-1, *[1] * (logits.ndim - axis - 1))


def priors_of(shape: tuple[int, ...]) -> st.SearchStrategy[Tensor]:
    return floats((shape[axis_of(shape)],), st.floats(0.25, 1, width=16)).map(lambda weights: weights / weights.sum())


def optimal_check(result: multiclass.OptimalScores, *, probs: Tensor, rule: multiclass.Rule) -> None:
    """The risk of the scores is the risk that is promised, by the plain losses, and no other scores tried have less."""
    losses = {
        "crammer_singer": crammer_singer_reference,
        "weston_watkins": weston_watkins_reference,
        "lee_lin_wahba": lee_lin_wahba_reference,
        "cross_entropy": lambda logits, labels: -chosen(log_probs(logits), labels),
    }

    def risk(scores: Tensor) -> float:
        each = losses[rule](logits=scores.expand(len(probs), -1), labels=torch.arange(len(probs)))
        return float((array(probs) * each).sum())

    assert abs(float(result.scores.sum())) < 1e-6
    assert abs(risk(result.scores) - result.risk) < 1e-5
    others = torch.randn(50, len(probs), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert all(risk(other - other.mean()) >= result.risk - 1e-6 for other in others)


def reports(**more: Any) -> st.SearchStrategy[Arguments]:
    """A mechanism, logits [N, K] and reported labels, some of them ignored, and weights."""

    def draw(mechanism: RandomizedResponse) -> st.SearchStrategy[Arguments]:
        size = st.integers(0, 4)
        shaped = size.flatmap(
            lambda n: st.fixed_dictionaries(
                {
                    "logits": floats((n, mechanism.num_classes)),
                    "truth": labels((n,), mechanism.num_classes).flatmap(ignoring),
                    "sample_weight": sample_weights((n,)),
                    **more,
                }
            )
        )
        return shaped.map(
            lambda drawn: {
                "mechanism": mechanism,
                **{key: value for key, value in drawn.items() if key != "truth"},
                "noisy": drawn["truth"]["labels"],
                "ignore_index": drawn["truth"]["ignore_index"],
            }
        )

    return st.builds(RandomizedResponse, st.floats(0.1, 5), st.integers(2, 4)).flatmap(draw)


def forward_reference(*, mechanism: RandomizedResponse, logits: Tensor, noisy: Tensor) -> Array:
    """−ln of what the transition matrix makes of the softmax."""
    k, epsilon = mechanism.num_classes, mechanism.epsilon
    matrix = (np.eye(k) * (np.exp(epsilon) - 1) + 1) / (np.exp(epsilon) + k - 1)
    return -np.log(chosen(np.exp(log_probs(logits)) @ matrix, noisy))


def backward_reference(*, mechanism: RandomizedResponse, logits: Tensor, noisy: Tensor) -> Array:
    """The inverse of the transition matrix, applied to the losses of all labels."""
    k, epsilon = mechanism.num_classes, mechanism.epsilon
    matrix = (np.eye(k) * (np.exp(epsilon) - 1) + 1) / (np.exp(epsilon) + k - 1)
    return chosen(-log_probs(logits) @ np.linalg.inv(matrix).T, noisy)


def variance_ratio(epsilon: float, eta: float) -> float:
    """Of a private share, turned back, over a plain one."""
    flip = 1 / (1 + np.exp(epsilon))
    reported = flip + (1 - 2 * flip) * eta
    return float(reported * (1 - reported) / (1 - 2 * flip) ** 2 / (eta * (1 - eta)))


def privatize_check(result: Tensor, *, mechanism: RandomizedResponse, labels: Tensor, generator: torch.Generator) -> None:
    assert result.shape == labels.shape
    assert result.dtype == labels.dtype
    assert bool(((result >= 0) & (result < mechanism.num_classes)).all())


def rejected(*, probs: Tensor, reject_cost: float) -> Array:
    """The cheapest of all classes and of declining, a tie decided."""
    doubt = 1 - array(probs).max(-1)
    return np.where(doubt > reject_cost, -1.0, array(probs).argmax(-1))


def one_class(arguments: Arguments) -> bool:
    """There is no rival, so the loss is 0 whatever the score; or nothing counts."""
    shape = tuple(arguments["logits"].shape)
    return shape[axis_of(shape)] == 1 or nothing_counts(arguments)


LABELS = tensor(floating=False, low=0)
LOGITS = tensor(shaped=False)
HEEDED = {"ignore_index": whole, "sample_weight": weights, "reduction": choice}
FIRST = {"logits": LOGITS, "labels": LABELS, **HEEDED}
CLASS_WEIGHT = {"weight": tensor(floating=None)}
HIDES = {"logits": nothing_counts, "weight": nothing_counts}
WHOLE = st.tuples(st.integers(0, 3), st.integers(1, 4))


SPECS = [
    Spec(
        "crossentropy.cross_entropy",
        crossentropy.cross_entropy,
        soft_or_hard(),
        {
            "logits": LOGITS,
            "label_smoothing": number(0, 1, high_open=True),
            **CLASS_WEIGHT,
            **HEEDED,
            "targets": tensor(floating=None, low=0),
        },
        reference=heeding(cross_entropy_reference, "targets"),
        reduces=True,
        hides_nan=HIDES | {"targets": nothing_counts},
    ),
    Spec(
        "crossentropy.generalized_cross_entropy",
        crossentropy.generalized_cross_entropy,
        labelled(q=st.sampled_from([0.0, 0.5, 1.0]), reduction=REDUCTIONS),
        {**FIRST, "q": number(0, 1)},
        reference=heeding(generalized_reference),
        reduces=True,
        hides_nan=HIDES,
    ),
    Spec(
        "crossentropy.kl_divergence",
        crossentropy.kl_divergence,
        CLASS_SHAPES.flatmap(
            lambda shape: st.fixed_dictionaries(
                {"p": distributions(shape, axis_of(shape)), "q": distributions(shape, axis_of(shape)), "reduction": REDUCTIONS}
            )
        ),
        {"p": tensor(low=0, high=1), "q": tensor(low=0, high=1), "reduction": choice},
        reference=kl_reference,
        reduces=True,
    ),
    Spec(
        "crossentropy.adjust_logits",
        crossentropy.adjust_logits,
        CLASS_SHAPES.flatmap(
            lambda shape: st.fixed_dictionaries({"logits": floats(shape), "priors": priors_of(shape), "tau": st.sampled_from([-1.0, 0.0, 0.5])})
        ),
        {"logits": LOGITS, "priors": tensor(low=0, high=1), "tau": number()},
        reference=adjust_reference,
    ),
    Spec(
        "focal.softmax_focal_loss",
        focal.softmax_focal_loss,
        labelled(gamma=st.sampled_from([0.0, 0.5, 2.0]), weight=a_weight, reduction=REDUCTIONS),
        {**FIRST, **CLASS_WEIGHT, "gamma": number(0)},
        reference=heeding(by_class_weight(softmax_focal_reference)),
        reduces=True,
        hides_nan=HIDES,
    ),
    *(
        Spec(
            f"multiclass.{loss.__name__}",
            loss,
            labelled(weight=a_weight, reduction=REDUCTIONS),
            {**FIRST, **CLASS_WEIGHT},
            reference=heeding(by_class_weight(reference)),
            reduces=True,
            hides_nan=HIDES | {"logits": one_class},
        )
        for loss, reference in (
            (multiclass.crammer_singer, crammer_singer_reference),
            (multiclass.weston_watkins, weston_watkins_reference),
            (multiclass.lee_lin_wahba, lee_lin_wahba_reference),
        )
    ),
    Spec(
        "multiclass.optimal_scores",
        multiclass.optimal_scores,
        st.fixed_dictionaries({"probs": st.just((4,)).flatmap(priors_of), "rule": st.sampled_from(multiclass.RULES)}),
        {"probs": tensor(low=0, high=1), "rule": choice},
        check=optimal_check,
        narrow=False,
    ),
    *(
        Spec(
            f"scoring.{loss.__name__}",
            loss,
            labelled(weight=a_weight, reduction=REDUCTIONS),
            {**FIRST, **CLASS_WEIGHT},
            reference=heeding(by_class_weight(reference)),
            reduces=True,
            hides_nan=HIDES,
        )
        for loss, reference in ((scoring.spherical_loss, spherical_reference), (scoring.sparsemax_loss, sparsemax_loss_reference))
    ),
    Spec(
        "scoring.sparsemax",
        scoring.sparsemax,
        CLASS_SHAPES.flatmap(lambda shape: st.fixed_dictionaries({"logits": floats(shape)})),
        {"logits": LOGITS},
        reference=sparsemax_reference,
    ),
    Spec(
        "quantization.worst_cross_entropy_change",
        quantization.worst_cross_entropy_change,
        labelled(step=st.sampled_from([0.125, 1.0]), reduction=REDUCTIONS),
        {**FIRST, "step": number(0, low_open=True)},
        reference=heeding(worst_reference),
        reduces=True,
        hides_nan=HIDES,
    ),
    Spec(
        "privacy.RandomizedResponse.forward_loss",
        lambda mechanism, **arguments: mechanism.forward_loss(**arguments),
        reports(reduction=REDUCTIONS),
        {"logits": tensor(), "noisy": LABELS, **HEEDED},
        reference=heeding(forward_reference, "noisy"),
        reduces=True,
        hides_nan=HIDES,
    ),
    Spec(
        "privacy.RandomizedResponse.backward_loss",
        lambda mechanism, **arguments: mechanism.backward_loss(**arguments),
        reports(reduction=REDUCTIONS),
        {"logits": tensor(), "noisy": LABELS, **HEEDED},
        reference=heeding(backward_reference, "noisy"),
        reduces=True,
        hides_nan=HIDES,
    ),
    Spec(
        "privacy.RandomizedResponse.privatize",
        lambda mechanism, labels, generator: mechanism.privatize(labels, generator=generator),
        st.fixed_dictionaries(
            {
                "mechanism": st.builds(RandomizedResponse, st.floats(0.1, 5), st.just(3)),
                "labels": hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3).flatmap(lambda shape: labels(shape, 3)),
                "generator": st.builds(lambda seed: torch.Generator().manual_seed(seed), st.integers(0, 9)),
            }
        ),
        {"labels": tensor(floating=False, low=0, shaped=False)},
        check=privatize_check,
    ),
    Spec(
        "privacy.sample_inflation",
        privacy.sample_inflation,
        st.fixed_dictionaries({"epsilon": st.floats(0.01, 20), "eta": st.floats(0.05, 0.95)}),
        {"epsilon": number(0, low_open=True), "eta": number(0, 1, low_open=True, high_open=True)},
        reference=variance_ratio,
    ),
    Spec(
        "privacy.majority_excess_risk",
        privacy.majority_excess_risk,
        st.fixed_dictionaries({"eta": st.floats(0.5, 1), "count": st.sampled_from([1, 3, 11]), "epsilon": st.floats(0.1, 5)}),
        {"eta": number(0.5, 1), "count": count(1)},
        reference=lambda eta, count, epsilon: (2 * eta - 1) * _binomial(count, (1 + (2 * eta - 1) * np.tanh(epsilon / 2)) / 2),
    ),
    Spec(
        "decisions.reject_option",
        decisions.reject_option,
        WHOLE.flatmap(lambda shape: st.fixed_dictionaries({"probs": distributions(shape, 1), "reject_cost": st.sampled_from([0.0, 0.3, 1.0])})),
        {"probs": tensor(low=0, high=1, shaped=False), "reject_cost": number(0, 1)},
        reference=rejected,
        narrow=False,  # 1 − p is rounded there, and a tie may fall the other way
        hides_nan={"probs": always},
    ),
]


def _binomial(count: int, heads: float) -> float:
    from scipy.stats import binom

    return float(binom.cdf((count - 1) // 2, count, heads))
