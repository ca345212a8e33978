"""One lock, and every other list agrees with it; the wheel works where the checkout is not; importing lossbook is light."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lossbook

ROOT = Path(__file__).parent.parent
HEAVY = ("matplotlib", "ipywidgets", "anywidget", "IPython", "scipy", "sklearn", "gymnasium", "pandas", "torchvision", "torchmetrics")


def read_lines(path: str) -> list[str]:
    """A file's lines without comments and blanks."""
    lines = (line.split(" #")[0].strip() for line in (ROOT / path).read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    """The lock's versions by canonical name; each line is one exact pin."""
    lines = read_lines("requirements.txt")
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", line) for line in lines), "every line of requirements.txt should be name==version"
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(pins) == len(lines), "a package is pinned twice"
    return pins


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    """The [project] table."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def declared(project: dict[str, object]) -> list[Requirement]:
    """Every requirement of the core and of the extras, but for lossbook's own extras."""
    texts = [*project["dependencies"], *(text for texts in project["optional-dependencies"].values() for text in texts)]
    return [requirement for requirement in map(Requirement, texts) if requirement.name != "lossbook"]


def test_the_lock_has_no_local_or_cuda_build(lock: dict[str, str]) -> None:
    assert lock["torch"] == "2.13.0"
    assert not [name for name in lock if name.startswith(("nvidia", "triton")) or name == "torchvision"]


def test_every_range_admits_the_locked_version(project: dict[str, object], lock: dict[str, str]) -> None:
    for requirement in declared(project):
        assert canonicalize_name(requirement.name) in lock, f"{requirement} is not in requirements.txt"
        assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)]), f"requirements.txt pins another {requirement.name}"


def test_pyproject_has_ranges_and_no_pins(project: dict[str, object]) -> None:
    assert not [str(requirement) for requirement in declared(project) if "==" in str(requirement.specifier)]
    assert {"sets", "explore", "rl", "metrics", "book", "dev"} == set(project["optional-dependencies"])
    assert {requirement.split(">")[0] for requirement in project["dependencies"]} == {"torch", "numpy"}


def test_the_lock_is_whole(project: dict[str, object], lock: dict[str, str]) -> None:
    """Whatever an extra needs, directly or through another package, is pinned."""
    waiting, seen = declared(project), set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        wanted = [(name, extra) for extra in ("", *requirement.extras)]
        for key in wanted:
            if key in seen:
                continue
            seen.add(key)
            assert name in lock, f"{requirement} is needed and not in requirements.txt"
            for text in metadata.requires(name) or ():
                further = Requirement(text)
                if further.marker is None or further.marker.evaluate({"extra": key[1]}):
                    waiting.append(further)


def test_binder_takes_its_versions_from_the_lock(lock: dict[str, str], project: dict[str, object]) -> None:
    lines = read_lines(".binder/requirements.txt")
    assert "-c ../requirements.txt" in lines
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in lines
    names = [line for line in lines if not line.startswith("-")]
    assert all(re.fullmatch(r"[\w-]+", name) and canonicalize_name(name) in lock for name in names), "Binder's list names packages, without versions"
    assert read_lines(".binder/runtime.txt") == ["python-" + project["requires-python"].removeprefix(">=")]


def test_the_workflows_install_the_lock() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        text = path.read_text()
        assert not re.findall(r"pip install (?!-r requirements\.txt)[\w\[]+[^\n]*==", text), f"{path.name} has a pin of its own"
        assert yaml.safe_load(text)["jobs"]


def test_pre_commit_runs_the_locked_tools() -> None:
    """Its hooks are local: they run what the lock installed."""
    settings = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert {repository["repo"] for repository in settings["repos"]} == {"local"}


@pytest.mark.thorough
def test_binder_finds_its_files() -> None:
    """repo2docker's dry run prints the Dockerfile that Binder would build."""
    command = [
        str(Path(sys.executable).parent / "jupyter-repo2docker"),
        "--no-build",
        "--debug",
        "--user-id",
        "1000",
        "--user-name",
        "reader",
        str(ROOT),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    dockerfile = run.stdout + run.stderr
    assert '-r ".binder/requirements.txt"' in dockerfile
    assert "RUN ./.binder/postBuild" in dockerfile
    assert "py-2d3-2e11" in dockerfile, "Binder should use the Python of runtime.txt"
    assert dockerfile.index("COPY --chown=1000:1000 src/ ") < dockerfile.index("pip install"), "the lock should be there before pip reads it"


def test_binder_opens_chapters_as_notebooks() -> None:
    script = (ROOT / ".binder/postBuild").read_text()
    assert os.access(ROOT / ".binder/postBuild", os.X_OK)
    assert "jupytext-config set-default-viewer" in script
    for chapter in (ROOT / "chapters").rglob("*.md"):
        if "{code-cell}" in chapter.read_text():
            assert re.match(r"---\njupytext:\n", chapter.read_text()), f"{chapter} has cells and no jupytext header"


PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built in a copy of what of the checkout could go into it."""
    checkout = tmp_path_factory.mktemp("sources") / "checkout"
    for folder in ("lossbook", "tests", "benchmarks", "chapters"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (path for path in ROOT.iterdir() if path.is_file()):
        shutil.copy(path, checkout)
    program = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    subprocess.run([sys.executable, "-c", program], cwd=checkout, check=True, capture_output=True)
    (found,) = (checkout / "dist").iterdir()
    return found


def test_the_sdist_is_the_package_alone(sdist: Path) -> None:
    """No test is in it without what it needs: none is in it. What a wheel is built from is, with its licence and history."""
    with tarfile.open(sdist) as archive:
        there = {name.partition("/")[2] for name in (member.name for member in archive if member.isfile())}
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lossbook").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    beside = {"pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"}
    assert {name for name in there if not name.startswith("lossbook.egg-info/")} == package | beside | {"PKG-INFO", "setup.cfg"}


def test_the_wheel_works_outside_the_checkout(sdist: Path, tmp_path: Path) -> None:
    """Built from the sdist, unpacked and imported with no trace of the checkout: modules, data, scripts and type marker are all in it."""
    wheels, installed = tmp_path / "wheels", tmp_path / "installed"
    build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(sdist)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", str(installed), str(wheel)], check=True, capture_output=True)
    assert {path.name for path in installed.iterdir()} == {"lossbook", f"lossbook-{lossbook.__version__}.dist-info"}
    there = {path.relative_to(installed).as_posix() for path in (installed / "lossbook").rglob("*") if "__pycache__" not in path.parts}
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lossbook").rglob("*") if "__pycache__" not in path.parts}
    assert there == here
    program = f"""
import sys
sys.path[:0] = [{str(installed)!r}, {sysconfig.get_path("purelib")!r}]
import torch
import lossbook
assert lossbook.__file__.startswith({str(installed)!r}), lossbook.__file__
assert lossbook.__version__ == {lossbook.__version__!r}
assert float(lossbook.margins.hinge(torch.tensor([0.5]))) == 0.5
assert lossbook.book.data.breast_cancer().features.shape == (569, 30)
assert len(lossbook.book.claims.LEDGER) > 0
"""
    run = subprocess.run([sys.executable, "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_importing_lossbook_is_light() -> None:
    program = f"import sys, lossbook; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_module_imports_with_the_core_alone() -> None:
    """torch and numpy suffice to import any module; the extras come in where they are used."""
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import lossbook
from importlib import import_module
for name in lossbook._MODULES:
    import_module(f"lossbook.{{name}}")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_version_is_said_once(project: dict[str, object]) -> None:
    assert lossbook.__version__ == project["version"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {project['version']}" in (ROOT / "CITATION.cff").read_text()


def test_the_readme_runs() -> None:
    """Its Python, with the values that its comments promise."""
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    names: dict[str, object] = {}
    for line in program.splitlines():
        expression, _, promised = (part.strip() for part in line.partition("#"))
        if promised:
            found = repr(eval(expression, names))
            assert promised.startswith(found), f"{expression} gives {found}"
        else:
            exec(expression, names)
