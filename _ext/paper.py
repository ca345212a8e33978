"""The book on paper: the built pages as one PDF with an outline, page numbers and links that work: `make pdf`.

python _ext/paper.py     _build/html -> _build/paper/the-loss-book.html and the-loss-book.pdf

A figure with controls is printed as its first frame, with its sentence and the address at which it moves: under the address that LOSSBOOK_SITE_URL
names, and without one as a path in the book. Code that only draws is left out. Hints, solutions and the reasons of the quizzes stand at the end.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader, PdfWriter
from pypdf.generic import NameObject, TextStringObject

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build/html"
NAME = "the-loss-book"
NAMING = ("id", "for", "name", "aria-labelledby", "aria-describedby", "aria-controls")
LOCAL_URL = re.compile(r"url\(#([^)]+)\)")
DROPPED = "script, form, button, .headerlink, details.above-input, .toctree-wrapper, input[type=search], .quiz-answer > input"


class Part(NamedTuple):
    """A part of the book: its title, and the names of its pages."""

    title: str
    pages: list[str]


def parts(toc: Path = ROOT / "_toc.yml") -> list[Part]:
    """The table of contents; the first page is a part without a title."""
    contents = yaml.safe_load(toc.read_text(encoding="utf-8"))
    listed = [Part(part["caption"], [chapter["file"] for chapter in part["chapters"]]) for part in contents.get("parts", [])]
    return [Part("", [contents["root"]]), *listed]


def built(page: str) -> str:
    """A page of the site as it was built."""
    return (SITE / f"{page}.html").read_text(encoding="utf-8")


def key(page: str, anchor: str = "") -> str:
    """The one name that a place has in the whole book."""
    return f"{page.replace('/', '-')}--{unquote(anchor)}" if anchor else page.replace("/", "-")


class Sheet:
    """A page of the book, made ready for print."""

    def __init__(self, page: str, html: str, pages: Sequence[str], site: str = "") -> None:
        article = BeautifulSoup(html, "html.parser").find("article")
        if not isinstance(article, Tag):
            raise ValueError(f"{page} has no <article>: build the book first")
        self.page, self.pages, self.site, self.article = page, pages, site, article
        for figure in article.select(".lossbook-explorer"):
            figure.append(self.whereabouts(str(figure["id"])))
        self.answers = [*map(self.taken, article.select(".exercise")), *map(self.answered, article.select("fieldset.quiz"))]
        for tag in article.select(DROPPED):
            tag.decompose()
        for folded in article.select("details"):
            folded["open"] = ""
        for tag in self.everything():
            self.place(tag)

    @property
    def title(self) -> str:
        """The page's heading."""
        heading = self.article.find(["h1", "h2"])
        assert heading is not None, self.page
        return heading.get_text().strip()

    def everything(self) -> Iterator[Tag]:
        """Every element of the page and of its answers."""
        for tree in (self.article, *self.answers):
            yield from tree.find_all(True)

    def whereabouts(self, figure: str) -> Tag:
        """Where a figure moves."""
        path = f"{self.page}.html#{figure}"
        address = f'<a href="{urljoin(self.site, path)}">{urljoin(self.site, path)}</a>' if self.site else f"<code>{path}</code>"
        return fragment(f'<p class="paper-live">It moves at {address}</p>')

    def taken(self, exercise: Tag) -> Tag:
        """The hint and the solution of an exercise, under its name, taken out of the page."""
        label = str(exercise["id"])
        answer = answer_to(label, exercise.select_one(".admonition-title"))
        for hint in exercise.select("details"):
            answer.append(fragment('<p class="paper-kind">Hint</p>'))
            answer.extend(hint.extract().select(".sd-card-body > *"))
        for named in self.article.select(f'.solution > .admonition-title > a[href="#{label}"]'):
            answer.append(fragment('<p class="paper-kind">Solution</p>'))
            answer.extend(named.find_parent(class_="solution").extract().select(":scope > section > *"))
        return answer

    def answered(self, quiz: Tag) -> Tag:
        """What a quiz says of each of its answers, under its question, taken out of the page."""
        answer = answer_to(str(quiz["id"]), quiz.select_one(".quiz-question"))
        for label, reason in zip(quiz.select("label"), quiz.select(".quiz-reason"), strict=True):
            option = fragment(f'<div class="paper-option"><p><i>{label.decode_contents()}</i></p></div>')
            option.extend(reason.extract().contents)
            answer.append(option)
        return answer

    def place(self, tag: Tag) -> None:
        """Give what the element is called, and what it points to, names that are the only ones in the book."""
        for name in NAMING:
            if name in tag.attrs:
                tag[name] = " ".join(key(self.page, each) for each in str(tag[name]).split())
        for name, value in list(tag.attrs.items()):
            if isinstance(value, str) and "url(#" in value:
                tag[name] = LOCAL_URL.sub(lambda found: f"url(#{key(self.page, found[1])})", value)
        for name in ("href", "xlink:href", "src"):
            if name in tag.attrs:
                self.point(tag, name)

    def point(self, tag: Tag, name: str) -> None:
        """Turn an address on the site into one in the book, or, of a file, into one from where the book is printed."""
        address = urlsplit(str(tag[name]))
        if address.scheme or address.netloc:
            return
        path = os.path.normpath(os.path.join(os.path.dirname(self.page), address.path)) if address.path else f"{self.page}.html"
        anchor = address.fragment.partition("=")[0].rpartition(".")[0] if "=" in address.fragment else address.fragment
        if path.removesuffix(".html") in self.pages:
            tag[name] = f"#{key(path.removesuffix('.html'), anchor)}"
        elif name == "src":
            tag[name] = f"../html/{path}"
        else:
            del tag[name]


def answer_to(label: str, heading: Tag | None) -> Tag:
    """An empty answer under the name of what it answers."""
    if heading is None:
        raise ValueError(f"{label} has no heading")
    return fragment(f'<div class="paper-answer"><p class="paper-name"><a href="#{label}">{heading.get_text()}</a></p></div>')


def fragment(html: str) -> Tag:
    """An element out of its text."""
    found = BeautifulSoup(html, "html.parser").find(True)
    assert isinstance(found, Tag)
    return found


def lowered(article: Tag) -> Tag:
    """The page with each heading one level down, since the parts stand above the pages."""
    for heading in article.find_all(re.compile("^h[1-5]$")):
        heading.name = f"h{int(heading.name[1]) + 1}"
    return article


def assembled(book: Sequence[Part], read: Callable[[str], str], site: str = "") -> str:
    """The whole book as one page of HTML."""
    pages = [page for part in book for page in part.pages]
    sheets = {page: Sheet(page, read(page), pages, site) for page in pages}
    title = sheets[pages[0]].title
    style = (Path(__file__).parent / "paper.css").read_text(encoding="utf-8") + "\n".join(map(running_head, sheets.values()))
    head = [f"<title>{title}</title>", *linked(BeautifulSoup(read(page), "html.parser") for page in pages), f"<style>{style}</style>"]
    body = [cover(title), contents(book, sheets), *(section(part, sheets) for part in book), answers(sheets.values())]
    return TEMPLATE.format(head="\n".join(head), body="\n".join(body))


TEMPLATE = """<!doctype html>
<html lang="en" data-theme="light" data-mode="light">
<head><meta charset="utf-8">{head}</head>
<body><main class="bd-content"><div class="bd-article">{body}</div></main></body>
</html>"""


def running_head(sheet: Sheet) -> str:
    """The style that puts a page's title at the head of its sheets."""
    name, title = key(sheet.page), sheet.title.replace("\\", "\\\\").replace('"', '\\"')
    return f'@page {name} {{ @top-right {{ content: "{title}"; }} }} .{name} {{ page: {name}; }}'


def linked(pages: Iterable[BeautifulSoup]) -> list[str]:
    """The style sheets of all pages, and what typesets their formulas, as seen from where the book is printed; each once."""
    found = [tag for page in pages for tag in page.select("head > link[rel=stylesheet], head > script")]
    styles = [f'<link rel="stylesheet" href="{static(tag["href"])}">' for tag in found if tag.name == "link"]
    settings = [str(tag) for tag in found if "window.MathJax" in tag.get_text()]
    formulas = [f'<script src="{static(tag["src"])}"></script>' for tag in found if "mathjax" in str(tag.get("src"))]
    return list(dict.fromkeys(styles + settings + formulas))


def static(address: Any) -> str:
    """A file of the site's look, from where the book is printed."""
    return f"../html/_static/{str(address).partition('_static/')[2]}"


def cover(title: str) -> str:
    """The first sheet."""
    return f'<section class="paper-cover"><p class="paper-title">{title}</p></section>'


def contents(book: Sequence[Part], sheets: dict[str, Sheet]) -> str:
    """Every page by its part; the numbers are put in when they are known."""
    lines = []
    for part in book:
        lines += [f'<p class="paper-part">{part.title}</p>'] if part.title else []
        lines += [f'<p><a href="#{key(page)}"><span>{sheets[page].title}</span></a></p>' for page in part.pages]
    lines += ['<p><a href="#paper-answers"><span>Hints, solutions and answers</span></a></p>']
    return f'<nav class="paper-contents"><h1>Contents</h1>{"".join(lines)}</nav>'


def section(part: Part, sheets: dict[str, Sheet]) -> str:
    """A part: its title on a sheet of its own, and its pages."""
    title = f'<section class="paper-part"><h1>{part.title}</h1></section>' if part.title else ""
    pages = [f'<section class="paper-page {key(page)}" id="{key(page)}">{lowered(sheets[page].article)}</section>' for page in part.pages]
    return title + "".join(pages)


def answers(sheets: Any) -> str:
    """Hints, solutions and the quizzes' reasons, page by page."""
    found = [f"<section><h2>{sheet.title}</h2>{''.join(map(str, sheet.answers))}</section>" for sheet in sheets if sheet.answers]
    return f'<section class="paper-page paper-answers" id="paper-answers"><h1>Hints, solutions and answers</h1>{"".join(found)}</section>'


def print_book(source: Path, target: Path, chromium: str) -> None:
    """Print the assembled book twice: for the pages on which its chapters begin, and with their numbers in the contents."""
    from playwright.sync_api import sync_playwright

    from tests.patience import PATIENCE

    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=1000 * PATIENCE)
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(source.as_uri())
        page.evaluate("window.MathJax?.startup?.promise")
        page.evaluate("document.fonts.ready")
        for _ in range(2):
            page.pdf(path=target, prefer_css_page_size=True, outline=True, tagged=True)
            page.evaluate(NUMBERED, page_numbers(target))
        headings = page.eval_on_selector_all(
            "main :is(h1, h2, h3, h4, h5, h6)", "all => all.map(each => each.textContent.trim().replace(/\\s+/g, ' '))"
        )
        browser.close()
    retitle(target, headings)


NUMBERED = """numbers => document.querySelectorAll(".paper-contents a").forEach(link => {
  link.querySelector("b")?.remove();
  link.insertAdjacentHTML("beforeend", `<b>${numbers[link.hash.slice(1)]}</b>`);
})"""


def page_numbers(printed: Path) -> dict[str, int]:
    """On which page each named place of a PDF is."""
    reader = PdfReader(printed)
    numbers = {name.removeprefix("/"): reader.get_destination_page_number(place) for name, place in reader.named_destinations.items()}
    return {name: number + 1 for name, number in numbers.items() if number is not None}


def retitle(printed: Path, headings: Sequence[str]) -> None:
    """Name the lines of the outline by the headings: Chromium writes the text twice of one that a page break has moved."""
    writer = PdfWriter(clone_from=printed)
    lines = list(outline_of(writer.root_object["/Outlines"]))
    if len(lines) != len(headings):
        raise ValueError(f"the outline has {len(lines)} lines; the book has {len(headings)} headings")
    for line, heading in zip(lines, headings, strict=True):
        line[NameObject("/Title")] = TextStringObject(" ".join(heading.split()))
    writer.write(printed)


def outline_of(item: Any) -> Iterator[Any]:
    """The lines under one of an outline, in order."""
    below = item.get("/First")
    while below is not None:
        yield below.get_object()
        yield from outline_of(below.get_object())
        below = below.get_object().get("/Next")


def main() -> bool:
    """Assemble and print the built book."""
    sys.path.insert(0, str(ROOT))
    from tests import chromium

    found = chromium.find()
    if found is None:
        print(f"No Chromium: {chromium.HOW_TO_GET_IT.partition(';')[0]}; then run `make pdf` again.")
        return False
    target = ROOT / "_build/paper"
    target.mkdir(parents=True, exist_ok=True)
    source = target / f"{NAME}.html"
    site = os.environ.get("LOSSBOOK_SITE_URL", "").rstrip("/")
    source.write_text(
        assembled(parts(), lambda page: (SITE / f"{page}.html").read_text(encoding="utf-8"), f"{site}/" if site else ""), encoding="utf-8"
    )
    print_book(source, target / f"{NAME}.pdf", found)
    print(f"The book on paper: {(target / f'{NAME}.pdf').as_uri()}")
    return True


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
