"""A question that checks itself on the static page.

```{quiz} Which loss is *not* convex, $\\phi(m)$?
- [ ] the hinge
  - A maximum of two lines is convex.
- [x] the ramp
  - It is flat, falls, and is flat again.
```

Native radio buttons in a fieldset; the explanation of the chosen answer is shown by CSS alone, in a live region that screen readers announce. In
print, and in builders other than HTML, every explanation stands under its answer.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

MARKS = {"[ ]": False, "[x]": True, "[X]": True}


class quiz(nodes.General, nodes.Element):
    """The whole question: a `question`, then its `answer`s."""


class question(nodes.Part, nodes.Element):
    """What is asked."""


class answer(nodes.Part, nodes.Element):
    """One answer: a `choice`, then the `reason` why it is right or wrong."""


class choice(nodes.Part, nodes.Element):
    """The text of an answer."""


class reason(nodes.Part, nodes.Element):
    """Why an answer is right or wrong, shown once it is chosen."""


class QuizDirective(SphinxDirective):
    """Reads the question from the argument and any text before the list, the answers from the list."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The quiz's node, or an error where the list is not one of marked and explained answers."""
        asked, messages = self.state.inline_text(self.arguments[0], self.lineno)
        content = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, content)
        *before, listing = content.children or [None]
        if not isinstance(listing, nodes.bullet_list):
            raise self.error("A quiz ends in a list of answers: '- [ ] wrong' or '- [x] right', each with '  - why' under it.")
        answers = [self.read_answer(item) for item in listing.children]
        right = sum(node["right"] for node in answers)
        if len(answers) < 2 or right != 1:
            raise self.error(f"A quiz has two answers or more, one of them marked [x]; found {len(answers)}, {right} marked.")
        node = quiz("", question("", nodes.paragraph("", "", *asked), *before), *answers)
        node["ids"] = [f"quiz-{self.env.new_serialno('quiz') + 1}"]
        for position, entry in enumerate(answers):
            entry["group"], entry["key"] = node["ids"][0], f"{node['ids'][0]}-{chr(ord('a') + position)}"
        self.set_source_info(node)
        return [node, *messages]

    def read_answer(self, item: nodes.Node) -> answer:
        """`- [x] text` with a nested list, one item long, that explains."""
        paragraph, *rest = item.children or [None]
        mark = paragraph.astext()[:3] if isinstance(paragraph, nodes.paragraph) else ""
        if mark not in MARKS:
            raise self.error(f"An answer of a quiz begins with [ ] or [x]; found {item.astext()[:40]!r}.")
        if len(rest) != 1 or not isinstance(rest[0], nodes.bullet_list) or len(rest[0]) != 1:
            raise self.error(f"An answer of a quiz has one nested item that says why; {paragraph.astext()!r} has not.")
        first = paragraph.children[0]
        paragraph.replace(first, nodes.Text(first.astext()[3:].lstrip()))
        verdict = nodes.strong("", "Right." if MARKS[mark] else "Not quite.", classes=["quiz-verdict"])
        explanation = rest[0].children[0].children
        if explanation and isinstance(explanation[0], nodes.paragraph):
            explanation[0].insert(0, [verdict, nodes.Text(" ")])
        else:
            explanation = [nodes.paragraph("", "", verdict), *explanation]
        return answer("", choice("", *paragraph.children), reason("", *explanation, right=MARKS[mark]), right=MARKS[mark])


def visit_quiz(self: HTML5Translator, node: quiz) -> None:
    self.body.append(self.starttag(node, "fieldset", CLASS="quiz"))


def depart_quiz(self: HTML5Translator, node: quiz) -> None:
    self.body.append("</fieldset>\n")


def visit_question(self: HTML5Translator, node: question) -> None:
    self.body.append('<legend class="quiz-question">')


def depart_question(self: HTML5Translator, node: question) -> None:
    self.body.append("</legend>\n")


def visit_answer(self: HTML5Translator, node: answer) -> None:
    key, verdict = node["key"], "right" if node["right"] else "wrong"
    self.body.append(f'<div class="quiz-answer"><input type="radio" name="{node["group"]}" id="{key}" class="quiz-{verdict}" autocomplete="off">')


def depart_answer(self: HTML5Translator, node: answer) -> None:
    self.body.append("</div>\n")


def visit_choice(self: HTML5Translator, node: choice) -> None:
    self.body.append(f'<label for="{node.parent["key"]}">')


def depart_choice(self: HTML5Translator, node: choice) -> None:
    self.body.append("</label>\n")


def visit_reason(self: HTML5Translator, node: reason) -> None:
    self.body.append(f'<div aria-live="polite"><div class="quiz-reason quiz-{"right" if node["right"] else "wrong"}">')


def depart_reason(self: HTML5Translator, node: reason) -> None:
    self.body.append("</div></div>\n")


def visit_choice_elsewhere(self: nodes.NodeVisitor, node: choice) -> None:
    """In LaTeX and text an answer is a paragraph of its own."""
    node.parent.replace(node, paragraph := nodes.paragraph("", "", *node.children))
    paragraph.walkabout(self)
    raise nodes.SkipNode


def nothing(self: nodes.NodeVisitor, node: nodes.Element) -> None:
    """A part that leaves no mark of its own."""


def setup(app: Sphinx) -> None:
    """Register the directive and how its parts are written."""
    plain = (nothing, nothing)
    for kind, html in {
        quiz: (visit_quiz, depart_quiz),
        question: (visit_question, depart_question),
        answer: (visit_answer, depart_answer),
        choice: (visit_choice, depart_choice),
        reason: (visit_reason, depart_reason),
    }.items():
        other = (visit_choice_elsewhere, nothing) if kind is choice else plain
        app.add_node(kind, html=html, latex=other, text=other, man=other, texinfo=other)
    app.add_directive("quiz", QuizDirective)
