"""The built site, page by page: links, pictures, weight, claims, and nothing that a build leaves behind when it goes wrong."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from bs4 import Tag
from jupyter_cache import get_cache

from lossbook.book.claims import LEDGER
from tests.book import site as book

pytestmark = pytest.mark.site
PAGES = book.page_names() or ["index.html"]
CHAPTERS = book.chapter_names() or ["index.html"]
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "embed": "src", "object": "data"}
LINKS_THAT_LOAD = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "manifest", "apple-touch-icon"}
THEME = [
    "mathjax/",
    "scripts/",
    "vendor/",
    "styles/",
    "sphinx",
    "doctools",
    "searchtools",
    "documentation_options",
    "language_data",
    "clipboard",
    "copybutton",
    "togglebutton",
    "design-tabs",
    "pygments",
    "mystnb",
    "basic",
    "exercise",
]
TRACES = ("```", ":::", "{quiz}", "{glue", "{numref", "{ref}", "{eq}", "{doc}", "{cite", "[x] ", "[ ] ", "var(--", "undefined", "NOT as expected")
MEMORY = 1e9  # bytes of a chapter's kernel, of which Binder gives it 2 GB; its seconds are for `make bench` and the page of the build
PAGE_BUDGET = 500_000  # bytes gzipped: the page, its pictures and our own assets; the theme's and MathJax aside


def loads(page: str) -> list[str]:
    """Every address that the page fetches by itself."""
    soup = book.read(page)
    found = [tag[name] for kind, name in LOADING.items() for tag in soup.find_all(kind) if tag.has_attr(name)]
    found += [tag["href"] for tag in soup.find_all("link") if LINKS_THAT_LOAD & set(tag.get("rel", ()))]
    found += [part.split()[0] for tag in soup.find_all(srcset=True) for part in tag["srcset"].split(",")]
    styles = "".join(tag.text for tag in soup.find_all("style")) + "".join(tag["style"] for tag in soup.find_all(style=True))
    found += re.findall(r"""url\(\s*['"]?([^'")]+)""", styles) + re.findall(r"""@import\s+['"]([^'"]+)""", styles)
    return [address for address in found if not address.startswith(("data:", "#"))]


def test_the_site_is_there(site: Path) -> None:
    assert (site / "index.html").exists(), "run `make book` first"
    assert len(CHAPTERS) >= 3


@pytest.mark.parametrize("page", PAGES)
def test_every_internal_link_and_anchor_is_alive(page: str) -> None:
    links = [tag["href"] for tag in book.read(page).find_all(["a", "link", "area"], href=True)]
    dead = []
    for address in [*links, *loads(page)]:
        if book.is_outside(address) or address.startswith(("mailto:", "data:", "javascript:")):
            continue
        path, anchor = book.target(page, address)
        whole = path.is_file() and (not anchor or path.suffix != ".html" or book.is_alive(path.relative_to(book.SITE).as_posix(), anchor))
        if not whole:
            dead.append(address)
    assert not dead


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_loaded_from_another_host(page: str) -> None:
    assert not [address for address in loads(page) if book.is_outside(address)]


def test_no_stylesheet_loads_from_another_host(site: Path) -> None:
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8", errors="replace")
        found = re.findall(r"""url\(\s*['"]?([^'")]+)""", text) + re.findall(r"""@import\s+['"]([^'"]+)""", text)
        assert not [address for address in found if book.is_outside(address)], path.relative_to(site)


def accessible_name(picture: Tag) -> str:
    """What a screen reader says for a picture."""
    if picture.name == "img":
        return str(picture.get("alt", ""))
    labelling = [picture.find_parent("html").find(id=key) for key in str(picture.get("aria-labelledby", "")).split()]
    title = picture.find("title", recursive=False)
    return str(picture.get("aria-label") or " ".join(tag.text for tag in labelling if tag) or (title.text if title else ""))


@pytest.mark.parametrize("page", CHAPTERS)
def test_every_picture_says_its_finding_in_a_sentence(page: str) -> None:
    content = book.article(page)
    pictures = [tag for tag in content.find_all(["img", "svg"]) if tag.get("aria-hidden") != "true" and not tag.find_parent("svg")]
    pictures = [tag for tag in pictures if not {"sd-octicon", "tb-icon"} & set(tag.get("class", ()))]
    for picture in pictures:
        name = " ".join(accessible_name(picture).split())
        assert picture.name == "img" or picture.get("role") == "img", f"an svg without a role: {str(picture)[:200]}"
        assert len(name.split()) >= 4, f"{name!r} should be a sentence"
        assert name[0].isupper() or name[0].isdigit(), name
        assert name[-1] in ".?!", f"{name!r} should be a sentence"


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_page_is_light(page: str) -> None:
    theirs = tuple(f"_static/{name}" for name in THEME)
    files = {book.target(page, address)[0] for address in loads(page)}
    ours = [path for path in files if not path.relative_to(book.SITE).as_posix().startswith(theirs)]
    weight = sum(map(book.gzipped, [book.SITE / page, *(path for path in ours if path.name != "searchindex.js")]))
    assert weight < PAGE_BUDGET


def executed() -> dict[str, dict[str, float]]:
    """What the cache of the last build recorded, by page: `execution_seconds`, `cpu_seconds` and `peak_bytes`."""
    folders = list((book.SITE.parent / "work/executed").iterdir())
    assert len(folders) == 1, "the build keeps one cache"
    records = get_cache(str(folders[0])).list_cache_records()
    root = book.SITE.parent.parent
    return {Path(record.uri).relative_to(root).with_suffix(".html").as_posix(): record.data for record in records}


def test_every_chapter_runs_in_a_small_kernel() -> None:
    found = executed()
    assert {page for page in CHAPTERS if book.article(page).find(class_="cell")} <= set(found)
    for page in CHAPTERS:
        if page in found:
            assert 0 < found[page]["peak_bytes"] < MEMORY, f"{page} held {found[page]['peak_bytes'] / 1e6:.0f} MB"


@pytest.mark.parametrize("page", CHAPTERS)
def test_every_claim_of_the_chapter_is_shown_and_holds(page: str) -> None:
    boxes = {tag["data-claim"]: tag for tag in book.article(page).find_all(attrs={"data-claim": True})}
    chapter = Path(page).stem
    due = {claim.id for claim in LEDGER.values() if claim.chapter == chapter and claim.id.startswith("C")}
    assert due <= set(boxes), f"not shown: {sorted(due - set(boxes))}"
    for key, box in boxes.items():
        claim = LEDGER[key]
        value = box.find(class_="claim-value")
        assert value["data-holds"] == "true", f"{key} was measured and did not hold"
        assert re.search(r"\d", value.text), f"{key} has no number"
        assert f"claim-{claim.verdict}" in box["class"]
        assert claim.statement in box.text


@pytest.mark.parametrize("page", CHAPTERS)
def test_every_exhibit_has_a_number_and_a_caption(page: str) -> None:
    for figure in book.article(page).find_all("figure"):
        caption = figure.find("figcaption")
        assert caption is not None, f"a figure without a caption: {str(figure)[:200]}"
        assert re.match(r"Fig\. [\d.]+", caption.text.strip()), caption.text
    for explorer in book.article(page).find_all(class_="lossbook-explorer"):
        assert explorer.find_parent("figure") is not None, f"explorer {explorer.get('id')} stands in no numbered figure"


@pytest.mark.thorough
@pytest.mark.parametrize("page", CHAPTERS)
def test_nothing_of_a_failed_build_is_left(page: str) -> None:
    content = book.article(page)
    assert not content.select(".output.traceback, .output.stderr, .system-message, .problematic")
    assert "Traceback (most recent call last)" not in content.text
    copy = book.read(page).find("article").__copy__()
    for code in copy.find_all(["pre", "code", "script", "style"]):
        code.decompose()
    text = copy.text
    for trace in TRACES:
        assert trace not in text, f"{trace!r} is in the text: {text[max(0, text.find(trace) - 80) : text.find(trace) + 80]!r}"


@pytest.mark.parametrize("page", CHAPTERS)
def test_headings_are_in_order(page: str) -> None:
    levels = [int(tag.name[1]) for tag in book.article(page).find_all(re.compile("^h[1-6]$"))]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels


@pytest.mark.parametrize("page", CHAPTERS)
def test_the_page_describes_itself(page: str) -> None:
    soup = book.read(page)
    assert soup.html["lang"] == "en"
    assert soup.title.text.strip()
    assert len(soup.find("meta", attrs={"name": "description"})["content"]) > 20
    assert soup.find("link", rel="icon") or soup.find("link", rel="shortcut")


def test_ids_are_unique() -> None:
    for page in PAGES:
        ids = [tag["id"] for tag in book.read(page).find_all(id=True) if not tag.find_parent("svg")]
        twice = {key for key in ids if ids.count(key) > 1}
        assert not twice, f"{page}: {sorted(twice)}"


def test_a_missing_page_leads_home(site: Path) -> None:
    links = [tag["href"] for tag in book.read("404.html").find_all("a")]
    assert links
    for address in links:
        assert address.startswith("/"), "a host shows this page at any depth"
        assert (site / address.lstrip("/")).is_file()


def test_the_icon_script_has_only_what_is_used(site: Path) -> None:
    """Whole, it is 540 KB gzipped."""
    assert book.gzipped(site / "_static/scripts/fontawesome.js") < 40_000
