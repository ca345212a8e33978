"""Where this copy of the book lives: the one place that reads it, from the environment.

LOSSBOOK_REPOSITORY_URL   such as https://github.com/OWNER/NAME: buttons for the repository, the page's source, an edit, an issue, Binder
LOSSBOOK_REPOSITORY_BRANCH  the branch that those buttons open (default: main)
LOSSBOOK_BINDER_URL       the BinderHub (default: https://mybinder.org; empty: no launch button)
LOSSBOOK_SITE_URL         such as https://OWNER.github.io/NAME/: canonical links, the social card's picture, the way home from a 404 page
LOSSBOOK_DOWNLOADS        the book in other forms, laid beside the first page by whoever publishes it, such as the-loss-book.pdf:
                          a link to each at the foot of every page; needs LOSSBOOK_SITE_URL

Unset, the buttons and links are absent.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

CARD = "_static/social-card.png"


def read_address(app: Sphinx, config: Config) -> None:
    """Turn the variables into the theme's options."""
    repository = os.environ.get("LOSSBOOK_REPOSITORY_URL", "").rstrip("/")
    site = os.environ.get("LOSSBOOK_SITE_URL", "").rstrip("/")
    options = dict(config.html_theme_options)
    if repository:
        options |= {
            "repository_url": repository,
            "repository_branch": os.environ.get("LOSSBOOK_REPOSITORY_BRANCH", "main"),
            "path_to_docs": "",
            "use_repository_button": True,
            "use_source_button": True,
            "use_edit_page_button": True,
            "use_issues_button": urlsplit(repository).hostname in {"github.com", "gitlab.com"},
        }
        binder = os.environ.get("LOSSBOOK_BINDER_URL", "https://mybinder.org").rstrip("/")
        if binder:
            options["launch_buttons"] = {"binderhub_url": binder, "notebook_interface": "jupyterlab"}
    if site and (files := os.environ.get("LOSSBOOK_DOWNLOADS", "").split()):
        options["extra_footer"] = downloads(site, files)
    config.html_theme_options = options
    config.html_baseurl = f"{site}/" if site else ""


def downloads(site: str, files: Sequence[str]) -> str:
    """The book in other forms, each a link named by its kind."""
    links = [f'<a href="{html.escape(f"{site}/{file}")}">{html.escape(Path(file).suffix[1:].upper())}</a>' for file in files]
    return f'<p class="downloads">The whole book: {" · ".join(links)}</p>'


def summary(doctree: nodes.document, length: int = 200) -> str:
    """The page's first paragraph, cut at a word."""
    first = next((" ".join(paragraph.astext().split()) for paragraph in doctree.findall(nodes.paragraph)), "")
    return first if len(first) <= length else first[:length].rsplit(" ", 1)[0].rstrip(",.;:") + " …"


def add_card(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Describe the page to whoever shows a link to it. Addresses are absolute by the cards' rules, so they come with the site's address alone."""
    if doctree is None:
        return
    site = app.config.html_baseurl
    heading = doctree.next_node(nodes.title)
    title = heading.astext() if heading is not None else app.config.html_title
    description = doctree.settings.env.metadata[pagename].get("description") or summary(doctree)
    tags = {"og:title": title, "og:type": "article", "og:site_name": app.config.html_title, "og:description": description}
    named = {"description": description, "twitter:card": "summary_large_image" if site else "summary"}
    if site:
        tags |= {"og:url": site + app.builder.get_target_uri(pagename), "og:image": site + CARD}
        tags |= {"og:image:alt": "A step function, the cliff, with a convex curve above it"}
    lines = [f'<meta property="{name}" content="{html.escape(value)}" />' for name, value in tags.items()]
    lines += [f'<meta name="{name}" content="{html.escape(value)}" />' for name, value in named.items()]
    context["metatags"] = context.get("metatags", "") + "\n".join(lines) + "\n"


def write_lost_page(app: Sphinx, failure: Exception | None) -> None:
    """404.html, whole in one file, since a host shows it for a missing page of any depth. Its links start from the site's path, or from the root."""
    if failure is None and app.builder.format == "html":
        home = urlsplit(app.config.html_baseurl).path or "/"
        template = (Path(__file__).parent / "404.html").read_text(encoding="utf-8")
        first = app.builder.get_target_uri(app.config.master_doc)
        (Path(app.outdir) / "404.html").write_text(template.replace("{home}", home).replace("{first}", home + first), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register the steps."""
    app.connect("config-inited", read_address)
    app.connect("html-page-context", add_card)
    app.connect("build-finished", write_lost_page)
