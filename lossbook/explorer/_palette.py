"""The colours of figures, on light paper and on dark, and the dashes of lines.

The palette was chosen so that every pair of colours stays apart under protanopia, deuteranopia and tritanopia, and each colour has a contrast of
at least 3 to 1 with the paper, in both themes; series differ by dash or marker as well.
"""

from __future__ import annotations

from typing import Any

PALETTE: dict[str, tuple[str, str]] = {  # name: (on light paper, on dark paper)
    "ink": ("#1f2430", "#e6e9ef"),
    "muted": ("#5b6472", "#a3acba"),
    "grid": ("#e3e6ea", "#333a45"),
    "paper": ("#ffffff", "#121212"),
    "blue": ("#003baf", "#447dfc"),
    "orange": ("#d57f0d", "#f99b04"),
    "green": ("#00a788", "#35eeb9"),
    "red": ("#a60a41", "#ed3b44"),
    "purple": ("#9f4fff", "#b778b2"),
    "sky": ("#3982b0", "#88c0e8"),
    "yellow": ("#8a6800", "#f0d800"),
}
COLORS: dict[str, str] = {name: light for name, (light, _) in PALETTE.items()}

DASHES: dict[str, Any] = {
    "solid": "-",
    "long": (0, (7, 2)),
    "short": (0, (3.5, 1.8)),
    "dotted": (0, (1, 1.4)),
    "dash_dot": (0, (6, 1.8, 1, 1.8)),
    "dash_dot_dot": (0, (6, 1.6, 1, 1.6, 1, 1.6)),
    "long_short": (0, (8, 1.8, 3, 1.8)),
}
