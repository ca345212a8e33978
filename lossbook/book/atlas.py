"""The atlas of losses: formulas as LaTeX, the chapters that explain a thing, and what other packages call it.

Facts about other packages are data, and a test runs every call named here against the loss that it stands beside. Chapter: atlas.

>>> from lossbook import margins
>>> latex(margins.exponential.formula), CHAPTERS["exponential"]
('e^{-m}', ('boosting', 'calibration'))
>>> PEERS["perceptron"][0].path
'torch.nn.functional.margin_ranking_loss'
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import NamedTuple

__all__ = ["CHAPTERS", "FAMILIES", "LIBRARIES", "PEERS", "Peer", "chapters", "latex"]

LIBRARIES: dict[str, str] = {"torch": "torch", "sklearn": "scikit-learn", "optax": "optax"}

_REWRITES = (  # of the plain text in which `margins` writes a formula
    (r"log2\(", r"\\log_2("),
    (r"\bln\(", r"\\ln("),
    (r"\b(max|min)\(", r"\\\1("),
    (r"e\^(-?\d*m)", r"e^{\1}"),
    (r"²", r"^2"),
    (r"^1 / (\(.*\)(?:\^2)?)$", r"\\frac{1}{\1}"),
    (r"\\frac\{1\}\{\(([^()]*)\)\}", r"\\frac{1}{\1}"),
    (r"1\[m ≤ 0\]", r"\\mathbf{1}[m \\le 0]"),
)


class Peer(NamedTuple):
    """The same loss elsewhere: an object of another package, and the call that equals ours, or its mean where the package only has that.

    In a call: `scores` and `signs` of binary problems, `logits` [N, K] and `labels`, `probs` their softmax, `p` and `q` distributions,
    `targets` 0 or 1 of the shape of `scores`, `boxes` and `truth` coordinates.
    """

    path: str
    call: str

    @property
    def library(self) -> str:
        """The package's name as people write it."""
        return LIBRARIES[self.path.split(".")[0]]


def _torch(function: str, call: str) -> Peer:
    return Peer(f"torch.nn.functional.{function}", f"{function}({call})")


def _metric(function: str, call: str) -> Peer:
    return Peer(f"sklearn.metrics.{function}", f"{function}({call})")


def _sgd(loss: str) -> Peer:
    return Peer("sklearn.linear_model.SGDClassifier", f'SGDClassifier(loss="{loss}")')


def _optax(function: str, call: str) -> Peer:
    return Peer(f"optax.losses.{function}", f"{function}({call})")


CHAPTERS: dict[str, tuple[str, ...]] = {  # the chapters in which a loss of the margin plays a part
    "zero_one": ("the-cliff", "learning"),
    "hinge": ("surrogates", "confidence", "ramp"),
    "squared_hinge": ("impostor", "surrogates"),
    "logistic": ("surrogates", "probability", "quantization", "learning"),
    "logistic2": ("surrogates",),
    "exponential": ("boosting", "calibration"),
    "squared": ("impostor", "mismatch"),
    "ramp": ("ramp",),
    "ramp_minus_one": ("ramp",),
    "sigmoid": ("ramp", "calibration"),
    "savage": (),
    "unhinged": ("ramp", "restricted"),
    "perceptron": ("surrogates", "calibration", "learning"),
}

FAMILIES: dict[str, tuple[str, ...]] = {  # by module, the losses that are no function of one margin
    "crossentropy": ("cross_entropy", "binary_cross_entropy", "kl_divergence", "generalized_cross_entropy"),
    "scoring": ("savage_loss", "spherical_loss", "sparsemax_loss"),
    "reliability": ("brier_score",),
    "multiclass": ("crammer_singer", "weston_watkins", "lee_lin_wahba"),
    "focal": ("sigmoid_focal_loss", "softmax_focal_loss", "quality_focal_loss", "varifocal_loss", "asymmetric_loss"),
    "boxes": ("iou_loss", "giou_loss", "diou_loss", "ciou_loss", "smooth_l1"),
    "overlap": ("dice_loss", "jaccard_loss", "tversky_loss", "lovasz_loss"),
    "sets": ("dice_loss", "BoxSetLoss", "MaskSetLoss"),
    "multitask": ("UncertaintyWeighting",),
    "decisions": ("opportunity_cost_loss",),
    "fairness": ("parity_penalty",),
    "privacy": ("RandomizedResponse",),
}

PEERS: dict[str, tuple[Peer, ...]] = {
    "zero_one": (_metric("zero_one_loss", "signs, np.sign(scores)"),),
    "hinge": (
        _torch("margin_ranking_loss", "scores, 0 * scores, signs, margin=1"),
        _metric("hinge_loss", "signs, scores"),
        _sgd("hinge"),
        _optax("hinge_loss", "scores, signs"),
    ),
    "squared_hinge": (_sgd("squared_hinge"),),
    "logistic": (
        _torch("soft_margin_loss", "scores, signs"),
        _metric("log_loss", "signs, 1 / (1 + np.exp(-scores))"),
        _sgd("log_loss"),
        _optax("sigmoid_binary_cross_entropy", "scores, (signs + 1) / 2"),
    ),
    "exponential": (Peer("sklearn.ensemble.GradientBoostingClassifier", 'GradientBoostingClassifier(loss="exponential")'),),
    "squared": (
        _torch("mse_loss", "scores, signs"),
        _metric("mean_squared_error", "signs, scores"),
        _optax("squared_error", "scores, signs"),
    ),
    "perceptron": (
        _torch("margin_ranking_loss", "scores, 0 * scores, signs"),
        _sgd("perceptron"),
        _optax("perceptron_loss", "scores, signs"),
    ),
    "cross_entropy": (
        _torch("cross_entropy", "logits, labels"),
        _metric("log_loss", "labels, probs"),
        _optax("softmax_cross_entropy_with_integer_labels", "logits, labels"),
    ),
    "binary_cross_entropy": (
        _torch("binary_cross_entropy_with_logits", "scores, targets"),
        _metric("log_loss", "targets, 1 / (1 + np.exp(-scores))"),
        _optax("sigmoid_binary_cross_entropy", "scores, targets"),
    ),
    "kl_divergence": (_torch("kl_div", 'q.log(), p, reduction="batchmean"'), _optax("kl_divergence", "np.log(q), p")),
    "sparsemax_loss": (_optax("multiclass_sparsemax_loss", "logits, labels"),),
    "brier_score": (_metric("brier_score_loss", "labels, probs, scale_by_half=False"),),
    "crammer_singer": (_metric("hinge_loss", "labels, logits"), _optax("multiclass_hinge_loss", "logits, labels")),
    "weston_watkins": (Peer("torch.nn.functional.multi_margin_loss", "multi_margin_loss(logits, labels) * K"),),
    "sigmoid_focal_loss": (_optax("sigmoid_focal_loss", "scores, targets, gamma=2"),),
    "smooth_l1": (_torch("smooth_l1_loss", "boxes, truth"), _optax("huber_loss", "boxes, truth")),
}


def latex(formula: str) -> str:
    """A formula of `margins`, from plain text to LaTeX.

    Args:
        formula: as in `MarginLoss.formula`.

    Returns:
        LaTeX without dollars.

    Example:
        >>> latex("1 / (1 + e^2m)²")
        '\\\\frac{1}{(1 + e^{2m})^2}'
    """
    for pattern, replacement in _REWRITES:
        formula = re.sub(pattern, replacement, formula)
    return formula


def chapters(thing: object) -> tuple[str, ...]:
    """The chapters that a docstring names after "Chapter:", or else the docstring of the module in which the thing stands.

    Args:
        thing: a module, class or function of the package.

    Returns:
        The names of the chapters' files, without folder and suffix.

    Example:
        >>> from lossbook import multitask
        >>> chapters(multitask), chapters(multitask.pcgrad)
        (('balancing', 'conflict'), ('balancing', 'conflict'))
    """
    module = thing if inspect.ismodule(thing) else inspect.getmodule(thing)
    package = sys.modules.get(module.__name__.rpartition(".")[0]) if module else None
    for owner in (thing, module, package):  # the package for what stands in a module of its own, as the set losses do
        found = re.search(r"\bChapters?: ([\w, -]+?)\.", inspect.getdoc(owner) or "")
        if found:
            return tuple(re.split(r", ", found[1]))
    return ()
