"""The chapters as notebooks without their answers, and the answers by themselves: for a course that hands them out later.

python _ext/student.py [folder]     into _build/student/: one notebook a chapter in `notebooks/`, and `answers.md`

A solution is what stands between `solution-start` and `solution-end`; of a quiz the options stay, and which of them is right goes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

import jupytext

ROOT = Path(__file__).resolve().parent.parent
FENCES = r"^````\{%s\}[^\n]*\n(?::[^\n]*\n)*````\n"
SOLUTION = re.compile(r"^````\{solution-start\} (?P<label>\S+)\n(?::[^\n]*\n)*````\n(?P<text>.*?)" + FENCES % "solution-end", re.M | re.S)
EXERCISE = re.compile(r"^````\{exercise-start\} (?P<kind>[^\n]*)\n:label: (?P<label>\S+)\n````\n(?P<text>.*?)" + FENCES % "exercise-end", re.M | re.S)
QUIZ = re.compile(r"^:::\{quiz\} (?P<question>[^\n]*)\n(?P<options>.*?)^:::\n", re.M | re.S)
CELL = r"```\{code-cell\} ipython3\n(?::[^\n]*\n)*"
OPTION = re.compile(r"^- \[(?P<mark>[x ])\] (?P<text>[^\n]*)\n(?P<reason>(?:  [^\n]*\n)*)", re.M)


class Copies(NamedTuple):
    """A chapter without its answers, and the answers."""

    page: str
    answers: str


def parted(text: str) -> Copies:
    """Take the answers out of a chapter's text."""
    title = re.search(r"^# (.*)$", text, re.M)
    exercises = {each["label"]: each for each in EXERCISE.finditer(text)}
    heads = {label: f"Exercise {number}: {each['kind']}\n\n{each['text'].strip()}" for number, (label, each) in enumerate(exercises.items(), 1)}
    answers = [f"# {title[1] if title else 'Answers'}"]
    answers += [f"## {heads[each['label']]}\n\n**Answer.** {each['text'].strip()}" for each in SOLUTION.finditer(text)]
    answers += [answered(each) for each in QUIZ.finditer(text)]
    page = EXERCISE.sub(lambda each: f"### {heads[each['label']]}\n\n", SOLUTION.sub("", text))
    return Copies(QUIZ.sub(asked, page), re.sub(CELL, "```python\n", "\n\n".join(answers) + "\n"))


def asked(quiz: re.Match[str]) -> str:
    """A question with its options, unmarked."""
    options = "\n".join(f"- {each['text']}" for each in OPTION.finditer(quiz["options"]))
    return f"**{quiz['question']}**\n\n{options}\n"


def answered(quiz: re.Match[str]) -> str:
    """A question with what is right, and the reason of each option."""
    marks = {"x": "right", " ": "wrong"}
    options = "\n".join(f"- *{marks[each['mark']]}*: {each['text']}\n{each['reason'].rstrip()}" for each in OPTION.finditer(quiz["options"]))
    return f"## {quiz['question']}\n\n{options}"


def chapters() -> list[Path]:
    """The pages that have exercises, in the order of the contents."""
    listed = re.findall(r"file: (chapters/\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [ROOT / f"{name}.md" for name in listed]
    return [page for page in pages if "{exercise-start}" in page.read_text(encoding="utf-8")]


def write(folder: Path) -> int:
    """Both copies of every chapter; the number of chapters."""
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    booklet = []
    for chapter in chapters():
        copies = parted(chapter.read_text(encoding="utf-8"))
        notebook = jupytext.reads(copies.page, fmt="md:myst")
        jupytext.write(notebook, folder / "notebooks" / f"{chapter.stem}.ipynb")
        booklet.append(copies.answers)
    (folder / "answers.md").write_text("\n\n".join(booklet), encoding="utf-8")
    return len(booklet)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build/student"
    print(f"{write(target)} notebooks without solutions in {target / 'notebooks'}, the answers in {target / 'answers.md'}")
