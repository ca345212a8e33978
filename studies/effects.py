"""An effect with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

Method = Literal["t", "bootstrap"]
METHODS = {"t": "paired t", "bootstrap": "bootstrap (BCa)"}


class Effect(NamedTuple):
    """A mean over seeds with its interval.

    `comparisons` is the number of intervals that are to hold at once: each has the confidence 1 − (1 − `confidence`) / `comparisons` (Bonferroni).
    """

    mean: float
    low: float
    high: float
    each: tuple[float, ...]
    confidence: float
    comparisons: int
    method: Method

    @property
    def size(self) -> int:
        """How many runs, or pairs of them, it is a mean of."""
        return len(self.each)

    @property
    def positive(self) -> int:
        """In how many of them it is above 0; what rounding has left doesn't count."""
        return sum(value > self._rounding for value in self.each)

    @property
    def negative(self) -> int:
        """In how many of them it is below 0."""
        return sum(value < -self._rounding for value in self.each)

    @property
    def _rounding(self) -> float:
        return 1e-9 * max(map(abs, self.each))


def paired(differences: Sequence[float], *, method: Method = "t", confidence: float = 0.95, comparisons: int = 1) -> Effect:
    """The mean of differences, one a seed, and the interval that has it.

    Args:
        differences: At least two finite numbers; an arm's number minus another's at the same seed, or one arm's numbers themselves.
        method: "t" for Student's interval, "bootstrap" for `scipy.stats.bootstrap`'s BCa with 9999 resamples, for differences far from normal.
        confidence: Of all intervals together.
        comparisons: How many intervals there are.

    Example:
        >>> effect = paired([1.0, 2.0, 3.0])
        >>> effect.mean, round(effect.low, 3), round(effect.high, 3)
        (2.0, -0.484, 4.484)
    """
    from scipy import stats

    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"`differences` should be two finite numbers at least; found {list(differences)}.")
    each = 1 - (1 - confidence) / comparisons
    if values.min() == values.max():
        low = high = float(values[0])
    elif method == "t":
        half = stats.t.ppf((1 + each) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
        low, high = values.mean() - half, values.mean() + half
    else:
        found = stats.bootstrap((values,), np.mean, confidence_level=each, method="BCa", rng=np.random.default_rng(0))
        low, high = found.confidence_interval
    return Effect(float(values.mean()), float(low), float(high), tuple(values.tolist()), confidence, comparisons, method)
