"""The map of the chapters on the first page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.book import site as book
from tests.book.mini import TinyBook

ROOT = Path(__file__).parent.parent.parent


def test_a_stop_is_a_drawing_a_link_with_the_pages_title_and_a_question(tiny: TinyBook) -> None:
    tiny.page("# Map\n\n:::{trail} First part\nthe-cliff: Why *not* count?\n:::\n\n```{toctree}\nthe-cliff\n```\n")
    tiny.page("# The edge\n\nText.\n", "the-cliff")
    tiny.build()
    stop = tiny.read().select_one("ul.trail > li")
    assert stop.select_one("svg.sketch polyline")["points"]
    assert stop.svg["aria-hidden"] == "true"
    assert (stop.a["href"], stop.a.text) == ("the-cliff.html", "The edge")
    assert "Why *not* count?" in stop.text


@pytest.mark.parametrize(
    ("line", "said"),
    [("the-cliff", "is 'page: its question'"), ("nowhere: Why?", "No drawing for 'nowhere'"), ("the-ramp/the-cliff: Why?", "unknown document")],
)
def test_a_stop_that_leads_nowhere_fails_the_build(tiny: TinyBook, line: str, said: str) -> None:
    tiny.page(f"# Map\n\n:::{{trail}} Part\n{line}\n:::\n")
    assert said in tiny.build(check=False)


def test_the_map_has_every_chapter() -> None:
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [Path(chapter["file"]).relative_to("chapters").as_posix() for part in contents["parts"][:3] for chapter in part["chapters"]]
    text = (ROOT / "chapters/preface.md").read_text(encoding="utf-8")
    assert re.findall(r"^([\w/-]+): .*\?$", text, flags=re.MULTILINE)[: len(chapters)] == chapters


@pytest.mark.site
def test_every_stop_of_the_map_is_one_link() -> None:
    for stop in book.article("chapters/preface.html").select("ul.trail > li"):
        assert len(stop.find_all("a")) == 1
        assert len(stop.find_all("svg")) == 1
