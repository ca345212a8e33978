"""A student's copy has every cell of its chapter and no answer; the booklet has every answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jupytext
import nbclient
import pytest

from _ext import student
from tests.book.test_sources import ROOT

PAGE = """# A title

Text.

````{exercise-start} Prove
:label: ex-one
````
Show it.

```{dropdown} Hint
Look.
```
````{exercise-end}
````

````{solution-start} ex-one
:class: dropdown
````
So it is.

```{code-cell} ipython3
:tags: [hide-input]
assert True
```
````{solution-end}
````

:::{quiz} Which?
- [ ] This one.
  - No.
- [x] That one.
  - Yes.
:::
"""


def test_the_answers_go_and_the_questions_stay() -> None:
    page, answers = student.parted(PAGE)
    assert "### Exercise 1: Prove\n\nShow it." in page
    assert "Look." in page
    assert "**Which?**\n\n- This one.\n- That one.\n" in page
    assert not re.search(r"So it is|assert|Yes|No\.|\[x\]|exercise-|solution-", page)
    assert "## Exercise 1: Prove\n\nShow it." in answers
    assert "**Answer.** So it is.\n\n```python\nassert True\n```" in answers
    assert "- *wrong*: This one.\n  - No.\n- *right*: That one.\n  - Yes." in answers


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    assert student.write(folder) == len(student.chapters()) > 20
    return folder


def test_every_chapter_has_a_copy_without_answers(copies: Path) -> None:
    booklet = (copies / "answers.md").read_text(encoding="utf-8")
    for chapter in student.chapters():
        text = chapter.read_text(encoding="utf-8")
        notebook: dict[str, Any] = json.loads((copies / "notebooks" / f"{chapter.stem}.ipynb").read_text(encoding="utf-8"))
        words = "".join("".join(cell["source"]) for cell in notebook["cells"])
        assert "solution-" not in words
        assert "- [x]" not in words
        questions = re.findall(r"^:::\{quiz\} (.*)$", text, re.M)
        assert questions
        assert all(f"**{question}**" in words and f"## {question}" in booklet for question in questions)
        assert words.count("### Exercise ") == text.count("{exercise-start}") == text.count("{solution-start}")
        cells = len([cell for cell in notebook["cells"] if cell["cell_type"] == "code"])
        assert cells == text.count("```{code-cell}") - sum(each["text"].count("```{code-cell}") for each in student.SOLUTION.finditer(text))
    assert "{code-cell}" not in booklet


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["principles/probability", "applications/learning"])
def test_a_copy_runs_without_its_answers(copies: Path, name: str) -> None:
    """No cell of the page stands on a name of a solution."""
    notebook = jupytext.read(copies / "notebooks" / f"{Path(name).name}.ipynb")
    nbclient.NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str((ROOT / "chapters" / name).parent)}}).execute()
