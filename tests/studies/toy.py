"""A study that takes no time: two arms with a knob, and a number that is known."""

from __future__ import annotations

from collections.abc import Callable

import torch

from studies import Study

BEST = {"plain": 1.0, "better": 2.0}


def run(arm: str, seed: int, *, noise: float, knob: float) -> dict[str, float]:
    """A parabola in the knob, lower by 0.5 for the better arm, with noise of its seed and noise of torch's own generator."""
    own = noise * float(torch.randn((), generator=torch.Generator().manual_seed(seed)))
    luck = noise * float(torch.randn(()))
    return {"loss": (knob - BEST[arm]) ** 2 + own + 0.01 * luck - 0.5 * (arm == "better"), "left": 0.0, "threads": torch.get_num_threads()}


def study(run: Callable[..., dict[str, float]] = run, **changed: object) -> Study:
    """The study, with something of it changed."""
    settings = {
        "run": run,
        "chapter": "ramp",
        "question": "Is the better arm better?",
        "arms": ("plain", "better"),
        "conditions": {"noise": (0.1, 1.0)},
        "tuned": {arm: {"knob": (0.0, 1.0, 2.0)} for arm in BEST},
        "least": "loss",
        "tuning_seeds": range(100, 103),
        "seeds": range(4),
        "end": "Nothing is trained.",
        "ended": lambda numbers: numbers["left"] == 0,
    }
    return Study(**(settings | changed))  # type: ignore[arg-type]
