"""Where the book lives comes from the environment alone, and what needs it is absent without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.book.mini import TinyBook

REPOSITORY = "https://github.com/OWNER/NAME"
SITE = "https://OWNER.github.io/NAME/"
PAGE = '# Title of <the> page\n\nA first paragraph with *words* & "marks".\n'


def card(book: TinyBook) -> dict[str, str]:
    """The page's <meta> tags by property or name."""
    tags = book.read().find_all("meta")
    return {tag.get("property") or tag.get("name"): tag.get("content", "") for tag in tags}


def test_without_an_address_nothing_points_out(tiny: TinyBook) -> None:
    tiny.page(PAGE)
    tiny.build()
    own = ("https://www.sphinx-doc.org", "https://alabaster", "https://github.com/sphinx")  # the basic theme's own footer
    targets = [tag.get("href") or tag.get("content") or "" for tag in tiny.read().find_all(["a", "link", "meta"])]
    assert not [target for target in targets if target.startswith("http") and not target.startswith(own)]
    found = card(tiny)
    assert found["og:title"] == "Title of <the> page"
    assert found["og:description"] == found["description"]
    assert found["description"].startswith("A first paragraph with words & ")
    assert "og:image" not in found
    assert 'href="/index.html"' in (tiny.out() / "404.html").read_text()


def test_with_a_site_address_the_card_is_whole(tiny: TinyBook) -> None:
    tiny.page(PAGE)
    tiny.build(LOSSBOOK_SITE_URL=SITE)
    found = card(tiny)
    assert found["og:url"] == SITE + "index.html"
    assert found["og:image"] == SITE + "_static/social-card.png"
    assert found["twitter:card"] == "summary_large_image"
    assert tiny.read().find("link", rel="canonical")["href"] == SITE + "index.html"
    assert 'href="/NAME/index.html"' in (tiny.out() / "404.html").read_text()


def options(**environment: str) -> dict[str, Any]:
    """The theme's options as the theme reads them, after the configuration."""
    program = """
import sys
sys.path.insert(0, "_ext")
from types import SimpleNamespace
from lossbook_sphinx.address import read_address
config = SimpleNamespace(html_theme_options={"home_page_in_toc": True}, html_baseurl="")
read_address(None, config)
print(config.html_theme_options)
"""
    root = Path(__file__).parent.parent.parent
    surroundings = {"PATH": "/usr/bin", **environment}
    found: dict[str, Any] = eval(
        subprocess.run([sys.executable, "-c", program], cwd=root, env=surroundings, capture_output=True, text=True, check=True).stdout
    )
    return found


@pytest.mark.thorough
@pytest.mark.parametrize(("repository", "binder"), [("", None), (REPOSITORY, None), (REPOSITORY, "")])
def test_the_themes_buttons_follow_the_repository(repository: str, binder: str | None) -> None:
    found = options(LOSSBOOK_REPOSITORY_URL=repository, **({} if binder is None else {"LOSSBOOK_BINDER_URL": binder}))
    assert found["home_page_in_toc"] is True
    assert ("repository_url" in found) == bool(repository)
    assert found.get("use_source_button", False) == bool(repository)
    assert ("launch_buttons" in found) == bool(repository and binder is None)


@pytest.mark.thorough
@pytest.mark.parametrize(("site", "expected"), [("", ""), (SITE, 'href="https://OWNER.github.io/NAME/the-book.pdf">PDF</a> · ')])
def test_downloads_are_offered_where_a_site_is(site: str, expected: str) -> None:
    found = options(LOSSBOOK_SITE_URL=site, LOSSBOOK_DOWNLOADS="the-book.pdf the-book.epub")
    assert ("extra_footer" in found) == bool(site)
    assert expected in found.get("extra_footer", "")
