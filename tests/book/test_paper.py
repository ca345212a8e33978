"""On paper the book keeps its links and its outline, figures stand still, and answers stand at the end."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

from _ext import paper
from tests import chromium

CLIFF = """<html><head><link rel="stylesheet" href="../_static/book.css?v=1"><script>window.MathJax = {}</script></head><body><article>
<h1>1. The cliff<a class="headerlink" href="#cliff">#</a></h1>
<p id="cliff">See <a href="../b/slope.html#way">the slope</a>, <a href="slope.html">this</a>,
<a href="https://doi.org/1">that</a> and <a href="#figure.k=2">two</a>.</p>
<div class="lossbook-explorer" id="figure"><svg><clipPath id="c"></clipPath><g clip-path="url(#c)"></g></svg><p>At 1.</p><form><input></form></div>
<div class="exercise" id="ex"><p class="admonition-title">Exercise 1.1</p><section><p>Show it.</p>
<details><summary>Hint</summary><div class="sd-card-body"><p>Look.</p></div></details></section></div>
<div class="solution" id="s"><p class="admonition-title">Solution to<a href="#ex">Exercise 1.1</a></p><section><p>So it is.</p></section></div>
<fieldset class="quiz" id="quiz-1"><legend class="quiz-question"><p>Why?</p></legend>
<div class="quiz-answer"><input><label>Because</label><div><div class="quiz-reason"><p>Right.</p></div></div></div></fieldset>
</article></body></html>"""
SLOPE = '<html><head></head><body><article><h1>2. The slope</h1><h2 id="way">A way</h2><img src="../_images/a.png"></article></body></html>'
PAGES = {"a/cliff": CLIFF, "b/slope": SLOPE}
BOOK = [paper.Part("", ["a/cliff"]), paper.Part("A part", ["b/slope"])]


def assembled(site: str = "") -> BeautifulSoup:
    """The book of two pages."""
    return BeautifulSoup(paper.assembled(BOOK, PAGES.__getitem__, site), "html.parser")


def text(tag: Tag | None) -> str:
    """What is read there."""
    assert tag is not None
    return " ".join(tag.get_text(" ").split())


def test_links_lead_within_the_book_or_out_of_it() -> None:
    links = {link.get_text(): link.get("href") for link in assembled().select("#a-cliff p a")}
    assert links == {"the slope": "#b-slope--way", "this": None, "that": "https://doi.org/1", "two": "#a-cliff--figure"}
    assert assembled().select_one("img")["src"] == "../html/_images/a.png"
    assert assembled().select_one("g")["clip-path"] == f"url(#{assembled().select_one('svg [id]')['id']})"


def test_a_figure_says_where_it_moves() -> None:
    figure = assembled("https://OWNER.example/book/").select_one("#a-cliff--figure")
    assert text(figure) == "At 1. It moves at https://OWNER.example/book/a/cliff.html#figure"
    assert figure.a["href"] == "https://OWNER.example/book/a/cliff.html#figure"
    assert text(assembled().select_one("#a-cliff--figure")) == "At 1. It moves at a/cliff.html#figure"


def test_answers_stand_at_the_end_alone() -> None:
    page = assembled()
    assert not re.search("Look|So it is|Right", text(page.select_one("#a-cliff")))
    assert text(page.select_one("#paper-answers section")) == "1. The cliff Exercise 1.1 Hint Look. Solution So it is. Why? Because Right."


def test_a_page_that_was_not_built_is_named() -> None:
    with pytest.raises(ValueError, match="x has no <article>"):
        paper.Sheet("x", "<html></html>", ["x"])


@pytest.mark.browser
def test_printed_it_has_an_outline_and_numbers(tmp_path: Path) -> None:
    source, printed = tmp_path / "book.html", tmp_path / "book.pdf"
    source.write_text(paper.assembled(BOOK, PAGES.__getitem__))
    found = chromium.find()
    assert found is not None
    paper.print_book(source, printed, found)
    reader = PdfReader(printed)
    outline = paper.outline_of(reader.root_object["/Outlines"])
    assert [line["/Title"] for line in outline] == [
        "Contents",
        "1. The cliff",
        "A part",
        "2. The slope",
        "A way",
        "Hints, solutions and answers",
        "1. The cliff",
    ]
    numbers = paper.page_numbers(printed)
    contents = " ".join(reader.pages[1].extract_text().split())
    assert f"The cliff {numbers['a-cliff']}" in contents
    assert f"The slope {numbers['b-slope']}" in contents
    assert "The slope" in reader.pages[numbers["b-slope"] - 1].extract_text()


@pytest.mark.site
@pytest.mark.thorough
def test_every_link_of_the_whole_book_arrives() -> None:
    whole = BeautifulSoup(paper.assembled(paper.parts(), paper.built), "html.parser")
    names = Counter(str(tag["id"]) for tag in whole.find_all(id=True))
    assert not [name for name, count in names.items() if count > 1]
    assert not {str(link["href"]) for link in whole.select('a[href^="#"]')} - {f"#{name}" for name in names}
    assert len(whole.select(".paper-answer")) == len(whole.select(".exercise, fieldset.quiz"))
