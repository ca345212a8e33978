"""Reads the built site: its pages, parsed once, and what they link to."""

from __future__ import annotations

import gzip
import os
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

SITE = Path(__file__).parent.parent.parent / "_build/html"
OWN_SITE = os.environ.get("LOSSBOOK_SITE_URL", "").rstrip("/")


@cache
def page_names() -> list[str]:
    """Every page of the site, relative to it."""
    return sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if not {"_static", "_sources"} & set(path.parts))


def chapter_names() -> list[str]:
    """The pages written by people."""
    return [name for name in page_names() if name.startswith("chapters/")]


@cache
def read(name: str) -> BeautifulSoup:
    """A page, parsed."""
    return BeautifulSoup((SITE / name).read_text(encoding="utf-8"), "html.parser")


def article(name: str) -> Tag:
    """What the page says, without the theme's bars."""
    found = read(name).find("article")
    assert isinstance(found, Tag), f"{name} has no <article>"
    return found


@cache
def anchors(name: str) -> frozenset[str]:
    """What a link into the page may point to."""
    named = {tag["name"] for tag in read(name).find_all("a", attrs={"name": True})}
    return frozenset({tag["id"] for tag in read(name).find_all(id=True)} | named)


def is_alive(name: str, anchor: str) -> bool:
    """True for an id of the page, and for settings of its figures: id.control=setting, pairs joined by &."""
    if "=" not in anchor:
        return anchor in anchors(name)
    return all(pair.count("=") == 1 and pair.partition("=")[0].rpartition(".")[0] in anchors(name) for pair in anchor.split("&"))


def is_outside(address: str) -> bool:
    """True where `address` belongs to another host than the book's own."""
    if OWN_SITE and address.startswith(OWN_SITE):
        return False
    return urlsplit(address).scheme in {"http", "https"} or address.startswith("//")


def target(name: str, address: str) -> tuple[Path, str]:
    """The file and the anchor that `address`, on page `name`, points to."""
    parts = urlsplit(address)
    path = unquote(parts.path)
    start = SITE if path.startswith("/") else (SITE / name).parent
    place = (start / path.lstrip("/")).resolve() if path else SITE / name
    return (place / "index.html" if place.is_dir() else place), unquote(parts.fragment)


def gzipped(path: Path) -> int:
    """Bytes that a host sends for a file; pictures and fonts are compressed already."""
    content = path.read_bytes()
    return len(gzip.compress(content, 6)) if path.suffix in {".html", ".css", ".js", ".svg", ".json"} else len(content)
