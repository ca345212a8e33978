"""The mutants of a file: each is the whole file with one place changed, no two are the same program, and none is the file's own."""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from parso.tree import NodeOrLeaf

from mutants.operators import OPERATORS


@dataclass(frozen=True)
class Mutant:
    """A file of the package, as it is and with one place changed."""

    path: str
    operator: str
    line: int
    original: str
    source: str

    @cached_property
    def change(self) -> tuple[str, str]:
        """The lines that go and the lines that come, each without the blanks around it."""
        lines = list(difflib.unified_diff(self.original.splitlines(), self.source.splitlines(), lineterm="", n=0))[2:]
        gone, come = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)).strip() for sign in "-+")
        return gone, come

    @property
    def diff(self) -> str:
        lines = difflib.unified_diff(self.original.splitlines(), self.source.splitlines(), self.path, self.operator, lineterm="")
        return "\n".join(lines)


class Bare(ast.NodeTransformer):
    """Leaves out what a program does not execute: annotations, docstrings, the imports for type checkers; and a `not not`."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if "TYPE_CHECKING" in ast.dump(node.test) else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "cast":
            return self.visit(node.args[1])
        return self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        inner = node.operand
        if isinstance(node.op, ast.Not) and isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.Not):
            return self.visit(inner.operand)  # as a condition
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return ast.Pass() if isinstance(node.value, ast.Constant) else self.generic_visit(node)


def program(source: str) -> str | None:
    """What tells whether two sources do the same; None if this one is not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "mutant", "exec")
            return ast.dump(Bare().visit(ast.parse(source)))
    except SyntaxError:
        return None


class Place(NamedTuple):
    """Where an operator can be applied: the how-many-th of its places in the file, and the line."""

    path: str
    operator: str
    occurrence: int
    line: int


def places(folder: Path, path: str, text: str = "") -> list[Place]:
    """Every place of a file, `path` below `folder`; with a text, those on lines that have it."""
    source = (folder / path).read_text()
    lines, nodes = source.splitlines(), list(ast_nodes(get_ast(source)))
    found = []
    for name, operator in OPERATORS.items():
        everywhere = ((node, start) for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, (node, (line, _)) in enumerate(everywhere):
            if text in lines[line - 1] and not in_signature(node):
                found.append(Place(path, name, occurrence, line))
    return found


def mutants(folder: Path, found: Iterable[Place]) -> Iterator[Mutant]:
    """A mutant for each place, but for those that do the same as the file or as one before."""
    seen: dict[str, set[str | None]] = {}
    for path, operator, occurrence, line in found:
        source = (folder / path).read_text()
        mutated = mutate_code(source, OPERATORS[operator], occurrence)
        programs, key = seen.setdefault(path, {program(source), None}), program(mutated)
        if key not in programs:
            programs.add(key)
            yield Mutant(path, operator, line, source, mutated)


def in_signature(node: NodeOrLeaf) -> bool:
    """Is it the star or the slash between parameters, which cosmic-ray takes for an operator?"""
    return node.type == "operator" and node.parent.type in ("parameters", "param", "lambdef")
