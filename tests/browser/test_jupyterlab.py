"""A student's way in: JupyterLab opens a chapter as a notebook, runs all of it, and its figures are live."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import new_context
from tests.patience import PATIENCE, wait_until

ROOT = Path(__file__).parent.parent.parent
CHAPTER = "chapters/principles/the-cliff.md"
LEFTMOST = "-1.0"  # the first setting of the margin, in the chapter's first figure
TOKEN = "the-loss-book"
# JupyterLab keeps only the cells near the screen in the page, so what was run is read off its model.
PANEL = "Array.from(window.jupyterapp.shell.widgets('main')).find(one => one.sessionContext && one.content && one.content.model)"
CODE = f"{PANEL}.content.model.toJSON().cells.filter(cell => cell.cell_type === 'code' && [].concat(cell.source).join('').trim())"
IDLE = f"() => {PANEL}.sessionContext.session?.kernel?.status === 'idle'"
DONE = f"() => ({IDLE})() && {CODE}.every(cell => cell.execution_count)"
FAILED = f"() => {CODE}.some(cell => cell.outputs.some(output => output.output_type === 'error'))"


def address(home: Path) -> str:
    """Where the server listens, which took a free port itself, so that nobody else can take it in between; nothing until it has written that down."""
    for written in (home / "runtime").glob("jpserver-*.json"):
        try:
            return f"http://127.0.0.1:{json.loads(written.read_text())['port']}"
        except json.JSONDecodeError:  # half written
            continue
    return ""


def answers(home: Path) -> bool:
    """True once the server is up."""
    try:
        with urllib.request.urlopen(f"{address(home)}/api/status?token={TOKEN}", timeout=PATIENCE) as reply:
            return bool(reply.status == 200)
    except (ValueError, urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab over a copy of the chapters, set up as .binder/postBuild sets it up."""
    home = tmp_path_factory.mktemp("home")
    work = tmp_path_factory.mktemp("work")
    shutil.copytree(ROOT / "chapters", work / "chapters")
    tools = Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "LOSSBOOK", "IPYTHON", "MPLBACKEND"))}
    environment |= {
        "HOME": str(home),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "PATH": f"{tools}{os.pathsep}{environment['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    commands = [line for line in (ROOT / ".binder/postBuild").read_text().splitlines() if line.startswith("jupytext-config")]
    for command in commands:
        subprocess.run(command.split(), env=environment, check=True, capture_output=True)
    log = home / "lab.log"
    options = [
        f"--ServerApp.root_dir={work}",
        "--port=0",
        f"--MappingKernelManager.kernel_info_timeout={PATIENCE}",
        f"--IdentityProvider.token={TOKEN}",
        "--ServerApp.allow_root=True",
    ]
    options += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.expose_app_in_browser=True"]
    with log.open("wb") as output:
        command = [str(tools / "jupyter-lab"), "--no-browser", "--ip=127.0.0.1", *options]
        process = subprocess.Popen(command, env=environment, cwd=work, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: answers(home) or process.poll() is not None, log.read_text)
        assert process.poll() is None, log.read_text()
        yield address(home)
    finally:
        process.terminate()
        process.wait()


def run_all_cells(page: Page) -> list[dict[str, Any]]:
    """By the menu, as a student does; the code cells once all have run, or one has raised."""
    page.wait_for_function(IDLE, polling=500)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(f"() => ({DONE})() || ({FAILED})()", polling=500)
    found: list[dict[str, Any]] = page.evaluate(f"() => {CODE}")
    return found


@pytest.mark.thorough
def test_a_chapter_opens_as_a_notebook_runs_and_its_figures_are_live(browser: Browser, lab: str) -> None:
    context = new_context(browser, viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.goto(f"{lab}/lab/tree/{CHAPTER}?token={TOKEN}")
    expect(page.locator(".jp-NotebookPanel")).to_be_visible()
    expect(page.locator(".jp-NotebookPanel .jp-CodeCell").first).to_be_visible()
    outputs = [(output, cell) for cell in run_all_cells(page) for output in cell["outputs"]]
    assert not [(cell["source"], output["evalue"]) for output, cell in outputs if output["output_type"] == "error"]
    live = [output for output, _ in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]
    assert live, "a figure of `explore` should be a widget in a live kernel"

    slider = page.locator(".jp-NotebookPanel .widget-slider [role=slider], .jp-NotebookPanel .widget-slider .noUi-handle").first
    slider.scroll_into_view_if_needed()
    figure = page.locator(".jp-OutputArea-output:has(.widget-slider)").first
    drawing = figure.locator(".lossbook-figure").first
    before = drawing.inner_text()

    def moves() -> bool:
        """Focused anew each time: once the grid for the saved notebook is drawn, the figure is shown anew, and what had the focus is gone."""
        slider.press("ArrowRight")
        return drawing.inner_text() != before

    wait_until(moves, lambda: f"the figure still says {before!r}")
    drag_it(page, figure)
    context.close()


def drag_it(page: Page, figure: Locator) -> None:
    """By the mouse, to the left as far as the figure goes: the control follows, and the kernel draws the sentence of the first setting."""
    drawing, readout = figure.locator(".lossbook-figure").first, figure.locator(".widget-readout").first
    said = {drawing.inner_text()}

    def pulled() -> bool:
        """Anew each time: the first settings between which a drag can choose may not be drawn yet."""
        box = figure.locator(".lossbook-handle").first.bounding_box()
        assert box, "the figure should have a handle"
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] - 2000, box["y"], steps=4)
        page.mouse.up()
        said.add(drawing.inner_text())
        return readout.inner_text().replace("\u2212", "-").startswith(LEFTMOST) and len(said) > 1

    wait_until(pulled, lambda: f"the control still says {readout.inner_text()!r}, the figure {said}")
    expect(drawing).to_contain_text(f"At margin {LEFTMOST} the 0-1 loss")
