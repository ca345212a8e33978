"""The quiz directive: native controls, an explanation for each answer, and clear errors for a quiz that is not whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import Tag

from tests.book.mini import TinyBook

QUIZ = """# Title

```{quiz} Which is *not* convex, $\\phi(m)$?
- [ ] the hinge
  - A maximum of **two** lines.
- [x] the ramp, $r(m)$
  - Flat, falling, flat.

    A second paragraph.
```

:::{quiz} Which number is even?

Think first.

- [x] 2
  - It is twice 1.
- [ ] 3
  - It is not.
:::
"""

BROKEN = {
    "text": ("Just text.", "ends in a list of answers"),
    "none": ("- [ ] a\n  - why\n- [ ] b\n  - why", "one of them marked [x]; found 2, 0 marked"),
    "both": ("- [x] a\n  - why\n- [x] b\n  - why", "one of them marked [x]; found 2, 2 marked"),
    "single": ("- [x] a\n  - why", "two answers or more"),
    "unexplained": ("- [x] a\n- [ ] b\n  - why", "one nested item that says why; '[x] a' has not"),
    "unmarked": ("- a\n  - why\n- [x] b\n  - why", "begins with [ ] or [x]"),
}


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> TinyBook:
    """A page with two quizzes, built as HTML and as text."""
    book = TinyBook(tmp_path_factory.mktemp("quiz"))
    book.page(QUIZ)
    book.build()
    book.build("text")
    return book


@pytest.fixture
def quizzes(book: TinyBook) -> list[Tag]:
    """The two quizzes of the page."""
    return book.read().find_all("fieldset")


def test_a_quiz_is_a_fieldset_of_labelled_radio_buttons(quizzes: list[Tag]) -> None:
    first, second = quizzes
    assert first.legend.em.text == "not"
    assert "Think first." in second.legend.text
    buttons = first.find_all("input")
    assert [button["type"] for button in buttons] == ["radio", "radio"]
    assert len({button["name"] for button in buttons}) == 1
    assert not {button["name"] for button in buttons} & {button["name"] for button in second.find_all("input")}
    labels = {label["for"]: label.text.strip() for label in first.find_all("label")}
    assert [labels[button["id"]].split(",")[0] for button in buttons] == ["the hinge", "the ramp"]
    assert not [button for button in buttons if button.has_attr("checked")]


def test_every_answer_explains_itself_after_its_button(quizzes: list[Tag]) -> None:
    for button in [*quizzes[0].find_all("input"), *quizzes[1].find_all("input")]:
        reason = button.parent.find(class_="quiz-reason")
        assert reason.parent["aria-live"] == "polite", "what appears is announced"
        right = "quiz-right" in button["class"]
        assert reason.find(class_="quiz-verdict").text == ("Right." if right else "Not quite.")
        assert reason["class"] == ["quiz-reason", "quiz-right" if right else "quiz-wrong"]
    text = quizzes[0].find(class_="quiz-reason").p.text
    assert " ".join(text.split()) == "Not quite. A maximum of two lines."


def test_without_html_everything_is_listed(book: TinyBook) -> None:
    text = (book.out("text") / "index.txt").read_text()
    order = ["Which is", "the hinge", "Not quite.", "A maximum", "the ramp", "Right.", "Flat, falling", "A second", "Think first.", "It is twice"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


@pytest.mark.thorough
def test_a_quiz_that_is_not_whole_is_a_warning_on_its_page(tmp_path: Path) -> None:
    book = TinyBook(tmp_path)
    book.page("# Title\n\n```{toctree}\n" + "\n".join(BROKEN) + "\n```\n")
    for name, (content, _) in BROKEN.items():
        book.page(f"# Title\n\n```{{quiz}} Which?\n{content}\n```\n", name)
    warnings = book.build(check=False).splitlines()
    for name, (_, complaint) in BROKEN.items():
        assert [line for line in warnings if f"{name}.md" in line and complaint in line], f"no complaint about {name}"
