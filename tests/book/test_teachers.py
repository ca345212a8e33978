"""The page for teachers: its table says what the chapters say, and its routes lead where their rows name."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from lossbook._core.markup import MIME
from tests.book import site as book
from tests.book.mini import TinyBook
from tests.book.test_chooser import assert_state
from tests.book.test_sources import ROOT

PAGE = "chapters/workshop/teachers.html"
ROUTES: list[dict[str, Any]] = yaml.safe_load((ROOT / "chapters/workshop/routes.yml").read_text(encoding="utf-8"))

EXPLORER = {"text/html": "<svg/>", MIME: {"figure": "draw-1a2b3c", "settings": {"a b": ["0", "1 &"]}}}
CHAPTER = """# A chapter

```{{code-cell}} ipython3
---
mystnb:
  figure:
    name: fig-one
    caption: One.
---
display({explorer!r}, raw=True)
```

*What moves first?*

```{{admonition}} In this chapter
:class: slim
You will move a point, twice. Before: {{doc}}`index`. About {{sub-ref}}`wordcount-minutes` minutes.
```

```{{exercise}} Predict
:label: ex-one
One.
```

```{{exercise}} Prove
:label: ex-two
Two.
```
"""
ROUTE = {
    "name": "A < B",
    "for": "Some.",
    "steps": [{"when": "Now", "chapter": "chapter", "figure": "fig-one", "state": {"a b": "1 &"}, "ask": "Why?"}],
}


def tiny_page(tiny: TinyBook, route: dict[str, Any]) -> str:
    """What building a chapter and a page for its teachers printed."""
    (tiny.folder / "conf.py").write_text(
        (tiny.folder / "conf.py").read_text().replace('"myst_nb", ', '"myst_nb", "sphinx_exercise", "sphinx_design", ')
    )
    tiny.page("# Title\n\n```{teachers} chapters\n```\n\n```{teachers} routes\n```\n\n```{toctree}\nchapter\n```\n")
    tiny.page(CHAPTER.format(explorer=EXPLORER), "chapter")
    (tiny.folder / "routes.yml").write_text(yaml.safe_dump([route]))
    return tiny.build(check=False)


def test_a_row_says_what_its_chapter_says(tiny: TinyBook) -> None:
    assert "WARNING" not in tiny_page(tiny, ROUTE)
    chapters, routes = tiny.read().select(".teachers table")
    head, gives, exercises, show = chapters.select("tbody tr > *")
    assert re.fullmatch(r"A chapter\d+ minutes", head.text)
    assert gives.text == "Move a point, twice.Before: Title."
    assert exercises.text == "predict, prove25 minutes"
    assert show.text == "The figure: What moves first?"
    assert show.a["href"] == "chapter.html#fig-one"
    assert routes.select_one("td:last-child a")["href"] == "chapter.html#draw-1a2b3c.a%20b=1%20%26"
    assert tiny.read().select_one("main h3, .body h3").text == "A < B"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"chapter": "elsewhere"}, "the route's elsewhere is in no page of this book"),
        ({"figure": "fig-two"}, "no figure 'fig-two' with controls; there are fig-one"),
        ({"state": {"a b": "2"}}, "a b of 'fig-one' is one of ['0', '1 &']; found '2'"),
    ],
)
def test_what_does_not_exist_is_a_warning(tiny: TinyBook, changes: dict[str, Any], complaint: str) -> None:
    assert complaint in tiny_page(tiny, {**ROUTE, "steps": [{**ROUTE["steps"][0], **changes}]})


@pytest.mark.site
def test_every_chapter_has_a_row_and_every_step_its_figure() -> None:
    page = book.article(PAGE)
    rows = page.select(".teachers-chapters tbody tr")
    pages = [path for path in sorted(ROOT.glob("chapters/*/*.md")) if "{exercise-start}" in path.read_text(encoding="utf-8")]
    assert len(rows) == len(pages) > 20
    for row in rows:
        path, _ = book.target(PAGE, row.th.a["href"])
        text = (ROOT / path.relative_to(book.SITE)).with_suffix(".md").read_text(encoding="utf-8")
        kinds = re.findall(r"(?:^|, )(\d*)", row.select("td")[1].text)
        assert sum(int(number or 1) for number in kinds) == text.count("{exercise-start}")
        assert row.select("td")[2].text.partition(": ")[2][:20].replace("’", "'").split(" ")[0] in text
    steps = [step for route in ROUTES for step in route["steps"]]
    links = page.select(".teachers-routes tbody td:last-child a")
    assert len(links) == len(steps)
    for link, step in zip(links, steps, strict=True):
        assert_state(link["href"], step)
