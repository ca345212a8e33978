"""What every figure carries with it: its style sheets and its one script, the same text everywhere, and a policy that allows them by their hashes."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from lossbook.explorer._palette import PALETTE


def squeeze_css(text: str) -> str:
    """CSS without comments, indentation and line ends."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"\s*([{};,>])\s*|\s+", lambda match: match[1] or " ", text).strip()


@cache
def figure_css() -> str:
    """The CSS that every figure carries: the palette in both themes, and how a figure sits on the page."""
    themes = enumerate(("light", "dark"))
    light, dark = (f"color-scheme:{name};" + ";".join(f"--lossbook-{key}:{pair[i]}" for key, pair in PALETTE.items()) for i, name in themes)
    text = Path(__file__).with_name("figure.css").read_text(encoding="utf-8")
    return squeeze_css(text.replace("/* light palette */", light + ";").replace("/* dark palette */", dark + ";"))


@cache
def explorer_css() -> str:
    """The CSS of an explorer: that of every figure, and that of the controls."""
    return figure_css() + squeeze_css(Path(__file__).with_name("explorer.css").read_text(encoding="utf-8"))


def squeeze_js(*names: str) -> str:
    """JavaScript files one after the other, without comments on lines of their own and without indentation."""
    text = "".join(Path(__file__).with_name(f"{name}.js").read_text(encoding="utf-8") for name in names)
    lines = (line.strip() for line in re.sub(r"^\s*/\*.*?\*/$", "", text, flags=re.DOTALL | re.MULTILINE).splitlines())
    return "\n".join(line for line in lines if line)


@cache
def script() -> str:
    """The script of a page: a classic one, which runs from a file, too."""
    return f'(function () {{\n"use strict";\n{squeeze_js("drag", "play", "explorer")}\n}})();'


@cache
def module() -> str:
    """The module of a figure in a live notebook, which drags by the same code."""
    return squeeze_js("drag", "live")


def content_security_policy() -> str:
    """A strict policy under which every figure of the package works: its one script and its two style sheets, by their hashes."""
    texts = (script(), explorer_css(), figure_css())
    code, *styles = (f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)
    sources = {"default": "'self'", "script": f"'self' {code}", "style": f"'self' {' '.join(styles)}", "img": "'self' data:", "object": "'none'"}
    return "; ".join(f"{kind}-src {allowed}" for kind, allowed in sources.items())
