"""The chooser: every line of code runs after the page's set-up, every link leads to what its row names, every choice has an answer."""

from __future__ import annotations

import json
from itertools import product
from typing import Any
from urllib.parse import unquote

import pytest
import torch
import yaml

from lossbook._core.markup import MIME
from tests.book import site as book
from tests.book.mini import TinyBook
from tests.book.test_sources import ROOT, cells

PAGE = "chapters/workshop/chooser.html"
DATA: dict[str, Any] = yaml.safe_load((ROOT / "chapters/workshop/chooser.yml").read_text(encoding="utf-8"))
ROWS: list[dict[str, Any]] = DATA["answers"] + DATA["symptoms"]
OPTIONS = {name: list(question["options"]) for name, question in DATA["questions"].items()}
SETUP = "\n".join(code for tags, code in cells("chapters/workshop/chooser.md") if "chooser-setup" in tags)


@pytest.mark.parametrize("code", sorted({row["code"] for row in ROWS}))
def test_every_line_of_code_runs_after_the_setup(code: str) -> None:
    names: dict[str, Any] = {}
    exec(SETUP, names)
    result = eval(code, names)
    parts = result if isinstance(result, tuple) else (result,)
    numbers = [torch.as_tensor(part).double() for part in parts if isinstance(part, (float, torch.Tensor))]
    assert numbers, f"{code} gives no number"
    assert all(bool(number.isfinite().all()) for number in numbers)


def test_a_line_is_short_enough_to_read() -> None:
    assert max(len(row["code"]) for row in ROWS) <= 92
    assert not [row["code"] for row in ROWS if "\n" in row["code"] or "lossbook" in row["code"]]


def test_the_questions_and_the_answers_know_each_other() -> None:
    for name, options in OPTIONS.items():
        assert {option for row in DATA["answers"] for option in row[name]} == set(options)


@pytest.mark.parametrize("need", OPTIONS["need"])
def test_without_a_trouble_every_need_has_an_answer(need: str) -> None:
    assert [row["take"] for row in DATA["answers"] if need in row["need"] and "none" in row["trouble"]]


def test_most_pairs_have_an_answer_of_their_own() -> None:
    """Where none has, the page shows the answers for the trouble alone and says so; that must be the exception for a decision and a probability."""
    answered = {pair for row in DATA["answers"] for pair in product(row["need"], row["trouble"])}
    assert {("decision", trouble) for trouble in OPTIONS["trouble"]} - answered == {("decision", "few"), ("decision", "units")}
    assert {("probability", trouble) for trouble in OPTIONS["trouble"]} - answered == {("probability", "prices"), ("probability", "units")}


@pytest.mark.site
def test_every_row_is_on_the_page_with_its_links() -> None:
    found = book.article(PAGE).select(".chooser-table tbody tr")
    assert len(found) == len(ROWS)
    for tag, row in zip(found, ROWS, strict=True):
        assert tag.select_one(".chooser-code").text == row["code"]
        assert tag.th.text == row.get("when", row.get("see")).replace("'", "’")
        proof = tag.select_one(".chooser-proof a")["href"]
        path, section = book.target(PAGE, proof)
        assert (path.relative_to(book.SITE).as_posix(), section) == (f"chapters/{row['proof'].split('#')[0]}.html", row["proof"].split("#")[1])
        assert tag.select_one(".chooser-proof a").text in book.article(path.relative_to(book.SITE).as_posix()).find(id=section).text
        if "figure" in row:
            assert_state(tag.select_one(".chooser-figure a")["href"], row)
        named = [link["href"] for link in tag.select(".chooser-boxes a, .chooser-audited a")]
        assert len(named) == len(row.get("boxes", ())) + len(row.get("audited", ()))
        for address in named:
            path, place = book.target(PAGE, address)
            assert book.article(path.relative_to(book.SITE).as_posix()).find(id=place)


def assert_state(address: str, row: dict[str, Any]) -> None:
    """The address names the figure of the row, a control each, and a setting that the control has."""
    path, _ = book.target(PAGE, address)
    figure = book.article(path.relative_to(book.SITE).as_posix()).find(id=row["figure"])
    explorer = figure.select_one(".lossbook-explorer")
    texts = {control["name"]: control["texts"] for control in json.loads(explorer.find("script", type="application/json").string)["controls"]}
    pairs = dict(pair.split("=") for pair in address.partition("#")[2].split("&"))
    assert {unquote(name): unquote(text) for name, text in pairs.items()} == {f"{explorer['id']}.{name}": text for name, text in row["state"].items()}
    assert all(text in texts[name] for name, text in row["state"].items())


EXPLORER = {"text/html": "<svg/>", MIME: {"figure": "draw-1a2b3c", "settings": {"a b": ["0", "1 &"]}}}
CHAPTER = (
    "# Chapter\n\n## A proof\n\nText.\n\n```{{code-cell}} ipython3\n---\nmystnb:\n  figure:\n    name: fig-one\n    caption: One.\n---\n"
    "display({explorer!r}, raw=True)\n```\n\n```{{code-cell}} ipython3\ndisplay({box!r}, raw=True)\n```\n"
)
BOX = {"text/html": "<div>B01</div>", MIME: {"finding": "B01"}}
ROW = {"code": "1 < 2", "proof": "chapter#a-proof", "figure": "fig-one", "state": {"a b": "1 &"}}
AUDITED = {"rows": [{"id": "audited-1", "library": "torch", "loss": "hinge", "finding": "broadcasting"}]}


def tiny_page(tiny: TinyBook, **changes: Any) -> str:
    """What building a chapter and a chooser of one symptom printed."""
    row = {name: value for name, value in {"see": "A < B", "cause": "C & D", **ROW, **changes}.items() if value is not None}
    tiny.page("# Title\n\n```{chooser} symptoms\n```\n\n```{toctree}\nchapter\n```\n")
    tiny.page(CHAPTER.format(explorer=EXPLORER, box=BOX), "chapter")
    (tiny.folder / "audited.json").write_text(json.dumps(AUDITED))
    (tiny.folder / "chooser.yml").write_text(yaml.safe_dump({"symptoms": [row]}))
    return tiny.build(check=False)


def test_a_row_links_its_proof_and_its_figure(tiny: TinyBook) -> None:
    assert "WARNING" not in tiny_page(tiny)
    row = tiny.read().select_one(".chooser-table tbody tr")
    assert row.th.text == "A < B"
    assert row.select_one(".chooser-code").text == "1 < 2"
    assert row.select_one(".chooser-proof a")["href"] == "chapter.html#a-proof"
    assert row.select_one(".chooser-figure a")["href"] == "chapter.html#draw-1a2b3c.a%20b=1%20%26"


def test_a_row_may_show_boxes_and_libraries_in_place_of_a_figure(tiny: TinyBook) -> None:
    assert "WARNING" not in tiny_page(tiny, figure=None, state=None, boxes=["B01"], audited=["torch hinge broadcasting"])
    row = tiny.read().select_one(".chooser-table tbody tr")
    assert row.select_one(".chooser-figure") is None
    assert row.select_one(".chooser-boxes a")["href"] == "chapter.html#finding-B01"
    assert row.select_one(".chooser-audited a")["href"] == "audit.html#audited-1"
    assert "names boxes" in tiny_page(tiny, figure=None, state=None)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"proof": "chapter#no-proof"}, "no section 'no-proof'; there are"),
        ({"proof": "elsewhere#a-proof"}, "elsewhere#a-proof is in no page of this book"),
        ({"figure": "fig-two"}, "no figure 'fig-two' with controls; there are fig-one"),
        ({"state": {"a b": "2"}}, "a b of 'fig-one' is one of ['0', '1 &']; found '2'"),
        ({"state": {}}, "figure 'fig-one' has the controls a b; found"),
        ({"boxes": ["C07"]}, "no box 'C07'; there are"),
        ({"audited": ["torch hinge kind"]}, "the audit has no row 'torch hinge kind'; there are torch hinge broadcasting"),
    ],
)
def test_what_does_not_exist_is_a_warning(tiny: TinyBook, changes: dict[str, Any], complaint: str) -> None:
    assert complaint in tiny_page(tiny, **changes)


def test_a_changed_chapter_changes_the_links(tiny: TinyBook) -> None:
    tiny_page(tiny)
    tiny.page(CHAPTER.format(explorer={**EXPLORER, MIME: {**EXPLORER[MIME], "figure": "draw-ffffff"}}, box=BOX), "chapter")
    tiny.build(check=False)
    assert "draw-ffffff.a%20b" in tiny.read().select_one(".chooser-figure a")["href"]


def test_two_figures_of_one_page_have_two_addresses(tiny: TinyBook) -> None:
    cell = f"```{{code-cell}} ipython3\ndisplay({EXPLORER!r}, raw=True)\n```\n"
    tiny.page(f"# Title\n\n{cell}\n{cell}")
    assert "2 figures have the address 'draw-1a2b3c'" in tiny.build(check=False)
