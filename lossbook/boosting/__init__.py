"""AdaBoost: a weak rule a round, and more weight on the examples that it gets wrong: coordinate descent on the exponential loss.

Two independent codes: `AdaBoost`, the algorithm as it was published, and `coordinate_descent`, which knows no algorithm, only a loss, its gradient
and a line search. On the exponential loss they agree to the last digits. Chapter: boosting.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn

import torch
from torch import Tensor

from lossbook._core.checks import (
    check_choice,
    check_concrete,
    check_count,
    check_finite,
    check_floating,
    check_number,
    check_same_device,
    check_signs,
    check_values,
    wrong_value,
)
from lossbook._core.door import outside_graphs, plain_arguments
from lossbook.boosting._stumps import LEAST, TIE, Stump, StumpSearch, check_columns, constant
from lossbook.margins import MarginLoss, check_loss, exponential

__all__ = ["AdaBoost", "Descent", "Stump", "coordinate_descent"]


class NotFitted(ValueError, AttributeError):
    """What a fit leaves behind was asked for before there was one; `hasattr` says no."""


class AdaBoost:
    r"""AdaBoost with stumps: F = Σ_t α_t h_t, α_t = ½ ln((1 − e_t)/e_t), and weights w ← w · exp(−α_t y h_t(x)), summing to 1.

    Args:
        rounds: T, how many stumps at most.
        criterion: "error" takes the stump with the smallest weighted error e_t, as the paper has it; "gini" the one that leaves the purest halves, as
            scikit-learn's trees of depth 1 do, each half predicting its heavier sign.

    Attributes:
        stumps: the rules h_t. One that says the same of everyone has feature −1 and the threshold ∞.
        alphas, errors: α_t and the weighted error e_t of each round, [T] float64.
        weights: the examples' weights after the last round, [N] float64, summing to 1.

    Example:
        >>> features, signs = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([-1, 1, -1, 1])
        >>> model = AdaBoost(rounds=3).fit(features, signs)
        >>> model.stumps[0], model.errors[0].item()
        (Stump(feature=0, threshold=0.5, left=-1, right=1), 0.25)
        >>> model.decision_function(features).sign().tolist()
        [-1.0, 1.0, -1.0, 1.0]

    Reference:
        Y. Freund and R. Schapire, A decision-theoretic generalization of on-line learning and an application to boosting, 1997, figure 2.

    Conventions:
        scikit-learn's `estimator_weights_` are ln((1 − e)/e) = 2 α: twice these, and the same decisions. Thresholds are midpoints between neighbours,
        taken and compared in float64. A constant rule is a rule like any other, taken where it errs less than every stump that splits, and by "gini"
        where there is one class or nothing to split. Fitting stops early at a rule without an error (kept, with α = ½) and where none beats a coin
        (left out). No weight falls below 2.2e-16, as in scikit-learn. What is fitted is there after `fit` alone, and a fit begins anew.
    """

    stumps: list[Stump]
    alphas: Tensor
    errors: Tensor
    weights: Tensor

    @plain_arguments
    def __init__(self, rounds: int, criterion: Literal["error", "gini"] = "error") -> None:
        check_count("rounds", rounds)
        check_choice("criterion", criterion, ("error", "gini"))
        self.rounds, self.criterion = rounds, criterion

    def __repr__(self) -> str:
        return f"AdaBoost(rounds={self.rounds}, criterion={self.criterion!r})"

    if not TYPE_CHECKING:  # a name that is misspelt stays an error to mypy

        def __getattr__(self, name: str) -> NoReturn:
            if name in AdaBoost.__annotations__:
                raise NotFitted(f"`{name}` should be read after `fit`; found no fit.")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @outside_graphs
    @plain_arguments
    @torch.inference_mode(False)
    @torch.no_grad()
    def fit(self, features: Tensor, signs: Tensor, *, weight: Tensor | None = None) -> AdaBoost:
        """Run the rounds.

        Args:
            features: [N, D], floating, finite.
            signs: [N] in {−1, +1}.
            weight: [N], positive, the weights of the first round; equal ones where it is None.

        Returns:
            The model itself.

        Raises:
            TypeError: features that are not floating point.
            ValueError: wrong shapes, no example, features not finite, signs other than −1 and +1, weights that are not positive.
        """
        y = _checked(features, signs)
        w = torch.full_like(y, 1 / len(y)) if weight is None else _checked_weight(weight, y)
        search, positive = StumpSearch(features, y, self.criterion), y > 0
        stumps, alphas, errors = [], [], []
        for _ in range(self.rounds):
            stump = search.best(w)
            missed = w * (search.positive(stump) ^ positive)
            error = float(missed.sum())
            if 1 - 2 * error <= TIE:
                break
            stumps.append(stump)
            errors.append(error)
            alphas.append(0.5 * math.log((1 - error) / error) if error > 0 else 0.5)
            if error <= 0:
                break
            # times e^±α over their sum 2 √(e (1 − e)): right ones over 2 (1 − e), wrong ones over 2 e, half the weight each
            right = 0.5 / (1 - error)
            w = torch.add(right * w, missed, alpha=0.5 / error - right).clamp_(min=LEAST)
        self.stumps, self.alphas, self.errors, self.weights = stumps, y.new_tensor(alphas), y.new_tensor(errors), w
        return self

    @plain_arguments
    def staged_scores(self, features: Tensor) -> Tensor:
        """The scores after each round: Σ_{t ≤ T'} α_t h_t(x) for T' = 1 .. T.

        Args:
            features: [N, D], floating, without NaN, with the columns of the fit.

        Returns:
            [T, N] float64.

        Raises:
            TypeError or ValueError for another dtype or shape, NaN, or before `fit`.
        """
        votes = list(self._votes(features))
        return torch.stack(votes).cumsum(0) if votes else features.new_zeros(0, len(features), dtype=torch.float64)

    @plain_arguments
    def decision_function(self, features: Tensor) -> Tensor:
        """F(x) = Σ_t α_t h_t(x). The decision is its sign; P(y = +1) = σ(2 F) if the fit were the population's.

        Args:
            features: [N, D], floating, without NaN, with the columns of the fit.

        Returns:
            [N] float64.

        Raises:
            TypeError or ValueError for another dtype or shape, NaN, or before `fit`.
        """
        votes = self._votes(features)
        return sum(votes, features.new_zeros(len(features), dtype=torch.float64))

    def _votes(self, features: Tensor) -> Iterator[Tensor]:
        """α_t h_t(x) [N], one round after the other."""
        check_columns(features, 0)  # and each stump looks for its own
        check_values("features", features, lambda features: ~features.isnan(), "hold no NaN", lambda _: "NaN")
        return (alpha * stump(features) for alpha, stump in zip(self.alphas.to(features.device), self.stumps, strict=True))


class Descent(NamedTuple):
    """What `coordinate_descent` found: T rules, their steps [T], the mean losses [T + 1] from before the first step on, and the last margins [N]."""

    stumps: list[Stump]
    steps: Tensor
    losses: Tensor
    margins: Tensor


@outside_graphs
@plain_arguments
@torch.inference_mode(False)
@torch.no_grad()
def coordinate_descent(features: Tensor, signs: Tensor, *, rounds: int, loss: str | MarginLoss = exponential, step: float | None = None) -> Descent:
    r"""Descent on (1/N) Σ_i φ(y_i F(x_i)) over the coefficients of all stumps, one a round: the steepest, moved to where the loss is least.

    j = argmax |∂L/∂c_j| with ∂L/∂c_j = (1/N) Σ_i φ'(m_i) y_i h_j(x_i),     c_j ← c_j + argmin_a (1/N) Σ_i φ(m_i + a y_i h_j(x_i))

    It writes every stump out and looks at each gradient, so it is for small data; the line search halves a bracket until no float lies inside.

    Args:
        features: [N, D]. signs: [N], −1 or +1.
        rounds: how many steps at most.
        loss: φ, a convex loss of the margin or its name in `margins.LOSSES`: `exponential` makes this AdaBoost, `logistic` a LogitBoost without its
            Newton steps.
        step: a fixed step instead of the line search: plain gradient descent in function space.

    Returns:
        A `Descent`. It ends early where no stump has a slope, and where the loss falls for ever along the steepest one.

    Raises:
        TypeError: features that are not floating point, a loss that is no `MarginLoss`.
        ValueError: wrong shapes, no example, features not finite, signs other than −1 and +1, fewer than one round, an unknown loss or one without a
            slope, a step that is not positive.

    Example:
        >>> features, signs = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([-1, 1, -1, 1])
        >>> descent = coordinate_descent(features, signs, rounds=3)
        >>> bool((descent.steps - AdaBoost(rounds=3).fit(features, signs).alphas).abs().max() < 1e-15)
        True

    Reference:
        L. Breiman, Prediction games and arcing algorithms, 1999; J. Friedman, T. Hastie and R. Tibshirani, Additive logistic regression: a
        statistical view of boosting, 2000, section 4.

    Conventions:
        A rule and its opposite are one coordinate; the stump is returned with the sign that makes its step positive. The constant rule is the last
        coordinate. No slope means less than 1e-12 of the mean |φ'|, the rest being rounding.
    """
    y = _checked(features, signs)
    phi = check_loss(loss)
    check_count("rounds", rounds)
    if step is not None:
        check_number("step", step, low=0.0, low_open=True)
    rules = _all_stumps(features)
    toward = torch.stack([y * rule(features) for rule in rules])  # [M, N]: +1 where rule and sign agree
    margins, stumps, steps = torch.zeros_like(y), [], []
    losses = [float(phi(margins).mean())]
    for _ in range(rounds):
        pulls = phi.derivative(margins)
        slopes = toward @ pulls / len(y)
        if float(slopes.abs().max()) <= TIE * float(pulls.abs().mean()):
            break
        steepest = int((slopes.abs() >= slopes.abs().max() * (1 - TIE)).nonzero()[0])
        rule, direction = rules[steepest], toward[steepest]
        if slopes[steepest] > 0:
            rule, direction = Stump(rule.feature, rule.threshold, -rule.left, -rule.right), -direction
        length = _line_search(phi, margins, direction) if step is None else step
        if length is None:
            break
        margins = margins + length * direction
        stumps.append(rule)
        steps.append(length)
        losses.append(float(phi(margins).mean()))
    return Descent(stumps, y.new_tensor(steps), y.new_tensor(losses), margins)


def _all_stumps(features: Tensor) -> list[Stump]:
    """Every stump that splits the data, by feature and then threshold, predicting −1 on the left, and the constant rule."""
    rules = []
    for feature, column in enumerate(features.detach().double().T):
        values = column.unique()
        for low, high in zip(values[:-1].tolist(), values[1:].tolist(), strict=True):
            middle = low / 2 + high / 2
            rules.append(Stump(feature, low if middle >= high else middle, -1, 1))
    return [*rules, constant(1)]


def _line_search(loss: MarginLoss, margins: Tensor, direction: Tensor) -> float | None:
    """Where the loss is least along the direction: the root of its slope, by doubling and halving; None where the slope stays negative."""

    def slope(length: float) -> float:
        return float((direction * loss.derivative(margins + length * direction)).sum())

    low, high = 0.0, 1.0
    while slope(high) < 0:
        low, high = high, 2 * high
        if high > 512:  # e^-745 is the last that is not 0: beyond, no slope could be told from none
            return None
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return high


def _checked(features: Tensor, signs: Tensor) -> Tensor:
    """The signs as float64, once features [N, D] and signs [N] are known to fit."""
    check_columns(features, 0)
    check_signs("signs", signs)
    check_concrete("features", features)
    check_concrete("signs", signs)
    check_same_device("signs", signs, "features", features)
    if signs.shape != features.shape[:1]:
        wrong_value("signs", f"have shape {tuple(features.shape[:1])} to match `features`", tuple(signs.shape))
    if not len(signs):
        wrong_value("features", "hold at least one example", tuple(features.shape))
    check_finite("features", features)
    return signs.detach().double()


def _checked_weight(weight: Tensor, y: Tensor) -> Tensor:
    """The weights as float64 that sum to 1."""
    check_floating("weight", weight)
    check_concrete("weight", weight)
    check_same_device("weight", weight, "signs", y)
    if weight.shape != y.shape:
        wrong_value("weight", f"have shape {tuple(y.shape)} to match `signs`", tuple(weight.shape))
    found = lambda weight: f"values from {float(weight.min()):g} to {float(weight.max()):g}"  # noqa: E731
    check_values("weight", weight, lambda weight: (weight > 0) & weight.isfinite(), "be positive and finite", found)
    weight = weight.detach().double()
    weight = weight / weight.max()  # so that their sum does not overflow
    return (weight / weight.sum()).clamp_(min=LEAST)
