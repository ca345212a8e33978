"""Cut the theme's icon script down to the icons that the site uses.

Font Awesome's script holds two thousand icons in 540 KB gzipped, most of what a first visit would load; the book uses a few dozen. An entry of the
script reads `name:[width,height,[aliases],"code","path"],` and goes unless a page or a script of the site names it or one of its aliases.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

ENTRY = re.compile(r'(?:"([a-z0-9-]+)"|\b([a-z0-9]+)):\[\d+,\d+,\[([^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\["[^"]*"(?:,"[^"]*")*\])\],?')
NAME = re.compile(r"fa-([a-z0-9-]+)")


def used_icons(site: Path) -> set[str]:
    """Every `fa-...` that a page or another script names (style sheets name all of them)."""
    texts = (path for pattern in ("*.html", "*.js") for path in site.rglob(pattern) if path.name != "fontawesome.js")
    return {name for path in texts if "mathjax" not in path.parts for name in NAME.findall(path.read_text(encoding="utf-8", errors="replace"))}


def cut(script: str, used: set[str]) -> str:
    """The script with the entries of unused icons left out."""

    def keep(entry: re.Match[str]) -> str:
        names = {entry[1] or entry[2], *re.findall(r'"([^"]+)"', entry[3])}
        return entry[0] if names & used else ""

    return ENTRY.sub(keep, script)


def cut_icons(app: Sphinx, failure: Exception | None) -> None:
    """Rewrite the site's copy of the script."""
    path = Path(app.outdir) / "_static/scripts/fontawesome.js"
    if failure is None and app.builder.format == "html" and path.exists():
        path.write_text(cut(path.read_text(encoding="utf-8"), used_icons(Path(app.outdir))), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register the step."""
    app.connect("build-finished", cut_icons)
