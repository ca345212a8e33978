"""The command line: `python -m lossbook audit package.module:function`.

Exit codes: 0, 1 where a requirement fails, 2 where there is nothing to audit. Chapter: audit.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from lossbook.auditor import TARGETS, audit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        loss = find_loss(options.loss)
        report = audit(
            loss, kind=options.kind, shape=options.shape, targets=options.targets, compile=options.compile, seed=options.seed, name=options.loss
        )
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        print(f"lossbook audit: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report.to_dict(), indent=2) if options.json else report)
    if options.require is None:
        return 0
    try:
        report.require(*(name for name in options.require.split(",") if name))
    except ValueError as error:
        print(f"lossbook audit: {error}", file=sys.stderr)
        return 2
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def find_loss(place: str) -> Callable[..., Any]:
    """What `package.module:name` names; a class is called without arguments, to make a loss.

    >>> find_loss("torch.nn:CrossEntropyLoss")
    CrossEntropyLoss()
    """
    module, colon, path = place.partition(":")
    if not (module and colon and path):
        raise ValueError(f"`{place}` should be package.module:function")
    try:
        found: Any = import_module(module)
    except Exception as error:  # a module of the user's may raise anything while it is imported
        raise ImportError(f"cannot import {module!r}: {type(error).__name__}: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise AttributeError(f"{module!r} has no {path!r}")
        found = getattr(found, part)
    loss: Callable[..., Any] = found() if isinstance(found, type) else found
    return loss


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lossbook", description="Losses on the bench.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("audit", help="say what a loss is and what is wrong with it")
    command.add_argument("loss", help="package.module:function, or a class that is made without arguments")
    command.add_argument("--kind", choices=tuple(TARGETS), help="read off the signature where it tells")
    command.add_argument("--shape", type=_numbers, help="of the logits, such as 5,3")
    command.add_argument("--targets", help="floats, labels or signs; in multiclass labels or one_hot")
    command.add_argument(
        "--require", nargs="?", const="", metavar="NAMES", help="exit with 1 unless these hold, such as finite,calibrated; alone: every check"
    )
    command.add_argument("--compile", action="store_true", help="compare with torch.compile as well")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
