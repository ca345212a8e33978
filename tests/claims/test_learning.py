"""C40: confirmed by hand, not through the claim's code."""

from __future__ import annotations

import numpy as np
import pytest

from lossbook.book import claims


def test_c40_the_step_by_hand() -> None:
    """w + 0.25 (-4, 1) = (0, 0.25), b = 0.25: three right answers turn wrong, the wrong one turns right, and the hinge falls."""
    x, y = np.array([[-1, 0], [-1, 0.2], [-1, -0.2], [-4, 1]]), np.array([-1, -1, -1, 1])
    before, after = y * (x @ [1.0, 0.0]), y * (x @ (np.array([1.0, 0.0]) + 0.25 * x[3]) + 0.25)
    found = claims.LEDGER["C40"].measure()
    assert found.value == np.mean(after <= 0) == 0.75
    assert found.details["share_of_mistakes_before"] == np.mean(before <= 0) == 0.25
    assert found.details["hinge_after"] == pytest.approx(np.maximum(0, 1 - after).mean())
    assert found.details["hinge_before"] == pytest.approx(1.25)
