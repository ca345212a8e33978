"""A copy of the built site whose pages carry a strict Content-Security-Policy: `make strict`.

python _ext/strict.py _build/html _build/strict

A page may then load what its own host serves and run the scripts that were in it when it was built, known by their hashes; nothing else, from nowhere
else. The policy is a `<meta>` at the head of each page, since its hashes differ from page to page. `'self'` is a host, so the copy is to be served.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import shutil
import sys
from pathlib import Path

INLINE = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>(.*?)</script>", flags=re.DOTALL)
HANDLER = re.compile(r'<[a-z][^>]*?\son[a-z]+="([^"]*)"')
HEAD = re.compile(r"<head[^>]*>")


def hashes(scripts: list[str]) -> str:
    """The CSP sources of inline scripts."""
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    return " ".join(f"'sha256-{digest}'" for digest in sorted(digests))


def policy(page: str) -> str:
    """What a page may do: its own scripts and its buttons' handlers, by hash, and its host's files. Styles may be inline, as the theme's are."""
    handlers = [html.unescape(text) for text in HANDLER.findall(page)]
    scripts = ["'self'", hashes(INLINE.findall(page)), f"'unsafe-hashes' {hashes(handlers)}" if handlers else ""]
    return (
        f"default-src 'none'; script-src {' '.join(filter(None, scripts))}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'"
    )


def with_policy(page: str) -> str:
    """The page with its policy, before anything that it rules."""
    meta = f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy(page))}">'
    return HEAD.sub(lambda head: head[0] + meta, page, count=1)


def copy(site: Path, target: Path) -> int:
    """Copy the site and put its policy on each page; how many there are."""
    shutil.copytree(site, target, dirs_exist_ok=True)
    pages = [page for page in target.rglob("*.html") if "_static" not in page.relative_to(target).parts]
    for page in pages:
        page.write_text(with_policy(page.read_text(encoding="utf-8")), encoding="utf-8")
    return len(pages)


if __name__ == "__main__":
    print(f"{copy(Path(sys.argv[1]), Path(sys.argv[2]))} pages under their policies in {sys.argv[2]}")
