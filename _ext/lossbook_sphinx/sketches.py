"""The drawings of the map, one a page, in 120 by 72 units. Where a page is about a curve, the curve is computed by the package it explains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from lossbook import crossentropy, margins, quantization
from lossbook.consistency import psi_transform

WIDTH, HEIGHT = 120, 72
Curve = Callable[[Tensor], Tensor]


def path(points: Iterable[tuple[float, float]], look: str = "") -> str:
    """A line through points in units of the drawing, y upwards; `look` is a class: ghost, accent, warm."""
    steps = " ".join(f"{x:.1f},{HEIGHT - y:.1f}" for x, y in points)
    return f'<polyline class="{look}" points="{steps}"/>'


def curve(function: Curve, look: str = "", left: float = -2.0, right: float = 2.5, top: float = 3.0) -> str:
    """A function drawn from `left` to `right`, between 0 and `top`; what lies higher is left out."""
    x = torch.linspace(left, right, 46, dtype=torch.float64)
    y = function(x)
    kept = (y <= top) & (y >= -0.02 * top)
    return path(zip(((x - left) / (right - left) * 112 + 4)[kept].tolist(), (y / top * 58 + 7)[kept].tolist(), strict=True), look)


def dot(x: float, y: float, radius: float = 3.0, look: str = "") -> str:
    """A filled point."""
    return f'<circle class="{look}" cx="{x:.1f}" cy="{HEIGHT - y:.1f}" r="{radius:.1f}"/>'


def box(x: float, y: float, width: float, height: float, look: str = "") -> str:
    """An outlined rectangle by its lower left corner."""
    return path([(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)], look)


def step(look: str = "") -> str:
    """The 0-1 loss, in the frame of `curve`."""
    edge, one = 2 / 4.5 * 112 + 4, 58 / 3 + 7
    return path([(4, one), (edge, one), (edge, 7), (116, 7)], look)


def bell(centre: float, spread: float) -> Curve:
    """A normal density."""
    return lambda x: torch.exp(-((x - centre) ** 2) / (2 * spread**2)) / spread


def smoothed(m: Tensor) -> Tensor:
    """The logistic loss with target 0.9."""
    return crossentropy.binary_cross_entropy(m, torch.full_like(m, 0.9), reduction="none")


def rounded(m: Tensor) -> Tensor:
    """The logistic loss of a margin on a coarse grid."""
    return margins.logistic(quantization.quantize(m, bits=3))


def spiral() -> str:
    """A descent that overshoots from side to side of a valley."""
    rings = "".join(f'<ellipse class="ghost" cx="60" cy="36" rx="{rx}" ry="{rx / 2:g}"/>' for rx in (14, 30, 48))
    walk = [(60 - 46 * 0.7**k, 36 + 25 * (-0.68) ** k) for k in range(9)]
    return rings + path(walk, "accent") + dot(*walk[-1], 3)


def crowd() -> str:
    """Many easy points, one hard one."""
    return "".join(dot(10 + 11.2 * (k % 10), 12 + 12 * (k // 10), 1.6, "ghost") for k in range(50) if k != 27) + dot(88.4, 36, 6, "warm")


def boosted() -> str:
    """Points grown by the exponential weight of their margins."""
    return "".join(dot(14 + 15 * k, 22 + 28 * (k % 2), 2.2 * math.exp(-0.55 * (k % 4 - 1.6)), "warm" if k % 4 == 0 else "") for k in range(7))


def matched() -> str:
    """Slots on the left, objects on the right, each object taken by one slot."""
    pairs = {0: 1, 2: 0, 3: 2}
    lines = "".join(path([(24, 64 - 14 * slot), (96, 56 - 20 * thing)], "accent") for slot, thing in pairs.items())
    return (
        lines
        + "".join(dot(24, 64 - 14 * k, 4, "" if k in pairs else "ghost") for k in range(5))
        + "".join(box(92, 51 - 20 * k, 10, 10, "warm") for k in range(3))
    )


def gridworld() -> str:
    """A walk along a cliff, and the one step that costs everything."""
    cells = "".join(box(12 + 16 * column, 12 + 16 * row, 16, 16, "ghost") for column in range(6) for row in range(3))
    return cells + path([(20, 20), (20, 36), (100, 36), (100, 20)], "accent") + path([(36, 36), (36, 20)], "warm") + dot(36, 20, 4, "warm")


def ticks() -> str:
    """A list in which one line failed."""
    good = "".join(path([(18, 58 - 15 * k), (23, 53 - 15 * k), (32, 65 - 15 * k)], "accent") for k in (0, 1, 3))
    bad = path([(19, 24), (30, 35)], "warm") + path([(19, 35), (30, 24)], "warm")
    return good + bad + "".join(path([(44, 59 - 15 * k), (104 - 9 * (k % 3), 59 - 15 * k)], "ghost") for k in range(4))


def fork() -> str:
    """One way in, several ways out."""
    return "".join(path([(10, 36), (48, 36), (80, y), (110, y)], look) for y, look in [(60, "ghost"), (36, "accent"), (12, "ghost")]) + dot(48, 36, 4)


def rows() -> str:
    """A table with verdicts."""
    looks = ["accent", "accent", "warm", "accent"]
    return "".join(dot(20, 60 - 16 * k, 4, look) + path([(34, 60 - 16 * k), (106, 60 - 16 * k)], "ghost") for k, look in enumerate(looks))


def recipe() -> str:
    """A few lines of code."""
    lines = [(0, 44, "accent"), (0, 70, ""), (10, 52, "ghost"), (10, 66, "ghost"), (0, 30, "warm")]
    return "".join(path([(16 + indent, 62 - 13 * k), (16 + indent + length, 62 - 13 * k)], look) for k, (indent, length, look) in enumerate(lines))


def atlas() -> str:
    """Every shape at once."""
    shown = [("squared", "ghost"), ("exponential", "ghost"), ("hinge", ""), ("logistic", "accent"), ("ramp", "warm")]
    return "".join(curve(margins.LOSSES[name], look) for name, look in shown)


def scales() -> str:
    """A beam with a large weight and a small one, tilted as they are."""
    return (
        path([(12, 22), (108, 50)], "ghost")
        + path([(60, 36), (52, 10), (68, 10), (60, 36)])
        + box(14, 26, 30, 30, "warm")
        + box(92, 50, 12, 12, "accent")
    )


def arrow(x: float, y: float, look: str = "") -> str:
    """From the middle of the floor to (x, y)."""
    angle = math.atan2(y - 14, x - 60)
    head = [(x + 9 * math.cos(angle + turn), y + 9 * math.sin(angle + turn)) for turn in (2.6, -2.6)]
    return path([(60, 14), (x, y)], look) + path([head[0], (x, y), head[1]], look)


def misled() -> str:
    """The line that a far point and a puller turn, and the two penalisers on its wrong side."""
    return path([(4, 52), (116, 8)], "ghost") + path([(30, 68), (30, 4)], "accent") + dot(44, 66) + dot(112, 36) + dot(42, 26, 4, "warm")


SKETCHES: dict[str, Callable[[], str]] = {
    "the-cliff": lambda: curve(margins.logistic, "ghost") + step("accent"),
    "surrogates": lambda: step("ghost") + curve(margins.logistic, "warm") + curve(margins.hinge, "accent"),
    "probability": lambda: curve(lambda p: -torch.log(p), "accent", 0.03, 1.0, 3.4) + dot(82, 15, 4, "warm"),
    "impostor": lambda: step("ghost") + curve(margins.squared, "warm", right=2.7),
    "mismatch": lambda: path([(60, 7), (60, 66)], "ghost") + curve(bell(-0.25, 0.3), "accent", -2, 2, 4) + curve(bell(0.7, 0.6), "warm", -2, 2, 4),
    "calibration": lambda: path([(4, 7), (116, 65)], "ghost") + curve(lambda r: psi_transform(margins.logistic, r), "accent", 0.0, 1.0, 1.0),
    "restricted": misled,
    "ramp": lambda: curve(margins.hinge, "ghost") + curve(margins.ramp, "accent"),
    "label-smoothing": lambda: curve(margins.logistic, "ghost", -6, 9) + curve(smoothed, "accent", -6, 9),
    "quantization": lambda: curve(margins.logistic, "ghost") + curve(rounded, "accent"),
    "learning": spiral,
    "boosting": boosted,
    "confidence": lambda: path([(4, 7), (116, 65)], "ghost") + curve(lambda p: torch.sigmoid(2.5 * torch.logit(p, eps=1e-4)), "accent", 0, 1, 1),
    "balancing": scales,
    "conflict": lambda: arrow(14, 46, "accent") + arrow(104, 34, "warm") + arrow(58, 60, "ghost"),
    "imbalance": crowd,
    "localization": lambda: box(22, 14, 50, 40, "") + box(42, 22, 54, 40, "accent") + dot(69, 38, 3, "warm"),
    "sets": matched,
    "opportunity-cost": gridworld,
    "fairness": lambda: curve(lambda gap: 0.24 - 0.1 * (1 - (1 - gap) ** 2), "accent", 0, 1, 0.28) + dot(40, 44.4, 4, "warm"),
    "privacy": lambda: path([(4, 36), (116, 36)], "ghost") + curve(lambda epsilon: torch.sigmoid(-epsilon), "accent", 0.0, 4.0, 1.0),
    "audit": ticks,
    "chooser": fork,
    "recipes": recipe,
    "figures": lambda: box(14, 10, 92, 46, "ghost") + curve(margins.logistic, "accent") + dot(60, 34, 5, "warm"),
    "teachers": lambda: box(14, 18, 92, 50, "ghost") + curve(margins.hinge, "accent") + dot(40, 8, 5, "warm") + dot(60, 8, 5) + dot(80, 8, 5),
    "ledger": rows,
    "atlas": atlas,
}


def draw(name: str) -> str:
    """The drawing of a page as an SVG that says nothing to a screen reader: its title and question do."""
    return f'<svg class="sketch" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" focusable="false">{SKETCHES[name]()}</svg>'
