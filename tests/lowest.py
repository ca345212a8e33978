"""The lowest versions that pyproject.toml allows, one a line, as pip takes them: what a job of the workflow installs to see that they work.

python -m tests.lowest sets explore rl > lowest.txt
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement


def lowest(*extras: str) -> list[str]:
    """The core's requirements and those of the extras, each at its lower bound."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    requirements = [requirement for requirement in map(Requirement, texts) if requirement.name != "lossbook"]
    return [f"{each.name}=={bound.version}" for each in requirements for bound in each.specifier if bound.operator == ">="]


if __name__ == "__main__":
    print("\n".join(lowest(*sys.argv[1:])))
