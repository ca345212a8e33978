"""What is special about a function, a line each: its own arguments, and the paths that it refuses, with the words in which it says so."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.public.kinds import Arguments

# Where drawn arguments hold ties that rounding decides: arguments without any.
OWN: dict[str, Callable[[], Arguments]] = {}

# (path, function): the error that it gives there, as a regular expression.
REFUSED: dict[tuple[str, str], str] = {}

# (path, function): how exact it is there, and why no more.
LOOSER: dict[tuple[str, str], tuple[torch.dtype, str]] = {}
