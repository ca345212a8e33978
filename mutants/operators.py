"""What is done to a line: the operators of cosmic-ray that can go unnoticed, and four of our own for faults that it does not know.

An operator that fails at the first call (`>>` between floats, `is` between tensors) says nothing about the tests, so it is not here.
"""

from __future__ import annotations

from collections.abc import Iterator

from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator
from parso.python import tree
from parso.tree import BaseNode, NodeOrLeaf

Span = tuple[tuple[int, int], tuple[int, int]]

SWAPPED = ["Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Div", "FloorDiv_Mul", "Mod_Mul", "Pow_Mul", "BitAnd_BitOr", "BitOr_BitAnd"]
COSMIC_RAY = [
    *(f"ReplaceBinaryOperator_{pair}" for pair in SWAPPED),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt")),
    *(f"ReplaceUnaryOperator_Delete_{name}" for name in ("USub", "Not", "Invert")),
    *("AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop", "NumberReplacer", "ExceptionReplacer", "RemoveDecorator"),
]
# No argument can stand for the result, or the first one is not what the call is about.
NEVER_SKIPPED = {"range", "len", "zip", "enumerate", "cast", "super", "iter", "next", "print"}


def span(*nodes: NodeOrLeaf) -> Span:
    return nodes[0].start_pos, nodes[-1].end_pos


def is_call(node: NodeOrLeaf) -> bool:
    """Is it the `(...)` behind a name?"""
    return node.type == "trailer" and node.children[0].value == "("


class DropStatement(Operator):  # type: ignore[misc]
    """A statement that is only a call, or that changes a variable in place, is not executed."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Span]:
        if node.type == "simple_stmt":
            first = node.children[0]
            in_place = first.type == "expr_stmt" and first.children[1].type == "operator" and first.children[1].value != "="
            if in_place or (first.type in ("atom_expr", "power") and is_call(first.children[-1])):
                yield span(first)

    def mutate(self, node: BaseNode, index: int) -> BaseNode:
        first = node.children[0]
        node.children[0] = tree.Name("pass", first.start_pos, first.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (
            Example("check_range('p', p)\n", "pass\n"),
            Example("x.clamp_(0)\n", "pass\n"),
            Example("x += f(y)\n", "pass\n"),
        )


class SkipCall(Operator):  # type: ignore[misc]
    """A call gives back what it was given: a method its object, a function its first argument."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Span]:
        for _, _, where in self._calls(node):
            yield where

    def mutate(self, node: BaseNode, index: int) -> BaseNode:
        at, kept, _ = list(self._calls(node))[index]
        if kept is None:
            del node.children[at - 1 : at + 1]
        else:
            text = kept.get_code().strip()
            text = text if kept.type in ("name", "number", "atom", "atom_expr") else f"({text})"
            node.children[: at + 1] = [tree.Name(text, node.start_pos, node.get_first_leaf().prefix)]
        return node

    def _calls(self, node: NodeOrLeaf) -> Iterator[tuple[int, NodeOrLeaf | None, Span]]:
        """Each call that can be left out: its place, the argument that stands for it (None where its object does), and where it is written."""
        if node.type not in ("atom_expr", "power") or node.parent.type in ("simple_stmt", "raise_stmt"):
            return
        first, foreign = node.children[0], imported(node)
        for at, child in enumerate(node.children):
            if not is_call(child):
                continue
            is_method = at > 1 and node.children[at - 1].type == "trailer" and node.children[at - 1].children[0].value == "."
            of_module = first.type == "name" and (first.value in foreign or first.value in ("self", "cls")) and at == 2
            name = node.children[at - 1].children[-1] if is_method else first
            if is_method and not of_module:
                yield at, None, span(node.children[at - 1], child)
            elif at <= 2 and name.type == "name" and name.value not in NEVER_SKIPPED and not name.value.strip("_")[:1].isupper():
                arguments = child.children[1]
                argument = arguments.children[0] if arguments.type == "arglist" else arguments
                if argument.type not in ("operator", "argument"):
                    yield at, argument, span(first, child)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (
            Example("y = x.detach()", "y = x"),
            Example("y = x.detach().sum(0)", "y = x.sum(0)"),
            Example("y = x.detach().sum(0)", "y = x.detach()", occurrence=1),
            Example("import torch\ny = torch.relu(1 - x)", "import torch\ny = (1 - x)"),
            Example("y = max(a, b)", "y = a"),
        )


class DropKeyword(Operator):  # type: ignore[misc]
    """A keyword argument is not passed on."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Span]:
        for argument in self._keywords(node):
            yield span(argument)

    def mutate(self, node: BaseNode, index: int) -> BaseNode:
        at = node.children.index(self._keywords(node)[index])
        if node.type == "trailer":
            del node.children[at]
        else:
            del node.children[slice(at - 1, at + 1) if at else slice(0, 2)]  # with the comma before it; the first with the one behind
        return node

    def _keywords(self, node: NodeOrLeaf) -> list[NodeOrLeaf]:
        arguments = [child for child in node.children if child.type == "argument"] if node.type in ("arglist", "trailer") else []
        return [argument for argument in arguments if argument.children[1].get_code().strip() == "="]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (
            Example("f(a, b=1, c=2)", "f(a, c=2)"),
            Example("f(a, b=1, c=2)", "f(a, b=1)", occurrence=1),
            Example("f(b=1)", "f()"),
        )


class ScaleSmallNumber(Operator):  # type: ignore[misc]
    """A tolerance a million times as large, or as small: adding one to 1e-11 is something else."""

    def mutation_positions(self, node: NodeOrLeaf) -> Iterator[Span]:
        if node.type == "number" and isinstance(value := eval(node.value), float) and 0 < value < 0.01:
            yield span(node)
            yield span(node)

    def mutate(self, node: NodeOrLeaf, index: int) -> NodeOrLeaf:
        return tree.Number(f"{eval(node.value) * (1e6, 1e-6)[index]:.6g}", node.start_pos, node.prefix)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("x < 1e-11", "x < 1e-05"), Example("x < 1e-11", "x < 1e-17", occurrence=1))


def imported(node: NodeOrLeaf) -> set[str]:
    """The names that a module imports: `torch.relu(x)` is a function of a module, `x.relu()` a method of a tensor."""
    return {name.value for found in node.get_root_node().iter_imports() for name in found.get_defined_names()}


OPERATORS: dict[str, Operator] = {name: get_operator(f"core/{name}")() for name in COSMIC_RAY}
OPERATORS |= {operator.__name__: operator() for operator in (DropStatement, SkipCall, DropKeyword, ScaleSmallNumber)}
