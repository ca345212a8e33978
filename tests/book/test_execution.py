"""The numbers on a page are those of the package as it is now: an edit of `lossbook/` or of the lock executes the pages again."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jupyter_cache import get_cache
from jupyter_cache.executors.utils import ExecutionResult
from nbformat import NotebookNode
from nbformat.v4 import new_notebook, new_output

from tests.book.mini import TinyBook
from tests.patience import GUARD

PAGE = "# Title\n\n```{code-cell} ipython3\nimport os\nimport lossbook\nprint('value', lossbook.VALUE, os.environ['LOSSBOOK_STATIC'])\n```\n"


def edit_package(book: TinyBook) -> None:
    (book.folder / "lossbook/__init__.py").write_text("VALUE = 2\n")


def edit_lock(book: TinyBook) -> None:
    (book.folder / "requirements.txt").write_text("torch==2.13.1\n")


def add_data(book: TinyBook) -> None:
    (book.folder / "lossbook/book/data").mkdir(parents=True)
    (book.folder / "lossbook/book/data/more.gz").write_bytes(b"\x00")


def add_module(book: TinyBook) -> None:
    (book.folder / "lossbook/other.py").write_text("A = 1\n")


def compile_module(book: TinyBook) -> None:
    (book.folder / "lossbook/__pycache__").mkdir(exist_ok=True)
    (book.folder / "lossbook/__pycache__/module.pyc").write_bytes(b"\x00")


def change_nothing(book: TinyBook) -> None:
    pass


def test_an_edit_of_the_package_shows_on_the_page(tiny: TinyBook) -> None:
    tiny.page(PAGE)
    tiny.build()
    assert "value 1 1" in tiny.read().text
    assert "executed in" not in tiny.build(), "nothing changed, so nothing should be executed"
    edit_package(tiny)
    assert "executed in" in tiny.build()
    assert "value 2 1" in tiny.read().text
    assert len(list((tiny.folder / "_build/executed").iterdir())) == 1, "the cache of the old package should be gone"


def test_an_edit_of_one_page_executes_that_page_alone(tiny: TinyBook) -> None:
    tiny.page(PAGE + "\n```{toctree}\nother\n```\n")
    tiny.page(PAGE, "other")
    assert tiny.build().count("executed in") == 2
    tiny.page(PAGE.replace("'value'", "'worth'"), "other")
    printed = tiny.build()
    assert printed.count("executed in") == 1
    assert "MB: other" in printed
    assert "worth 1 1" in tiny.read("other").text


def test_a_page_is_made_anew_when_the_files_it_names_change(tiny: TinyBook) -> None:
    cell = "```{code-cell} ipython3\nfrom pathlib import Path\nprint([path.read_text() for path in sorted(Path('rows').glob('*'))])\n```\n"
    (tiny.folder / "rows").mkdir()
    (tiny.folder / "rows/a.json").write_text("old")
    tiny.page(PAGE, "other")
    tiny.page(f"# Title\n\n{cell}\n```{{toctree}}\nother\n```\n")
    page = tiny.folder / "index.md"
    page.write_text(page.read_text().replace("---\n", "---\nreads: rows/*.json\n", 1))
    tiny.build()
    assert "['old']" in tiny.read().text
    assert "executed in" not in tiny.build()
    (tiny.folder / "rows/a.json").write_text("new")
    assert tiny.build().count("executed in") == 1
    assert "['new']" in tiny.read().text
    (tiny.folder / "rows/b.json").write_text("more")
    tiny.build()
    assert "['new', 'more']" in tiny.read().text


@pytest.mark.parametrize(
    ("edit", "changes"),
    [(edit_package, True), (edit_lock, True), (add_data, True), (add_module, True), (compile_module, False), (change_nothing, False)],
)
def test_the_cache_is_keyed_on_all_that_pages_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[TinyBook], None], changes: bool
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent.parent / "_ext"))
    from lossbook_sphinx.execution import fingerprint

    book = TinyBook(tmp_path)
    before = fingerprint(book.folder)
    edit(book)
    assert (fingerprint(book.folder) != before) is changes


def test_the_cache_knows_how_long_a_page_took_and_how_much_memory(tiny: TinyBook) -> None:
    """The kernel's own processor time: here, of a clock that stands still."""
    tiny.page("# Title\n\n```{code-cell} ipython3\nimport time\nlen(b'x' * 300_000_000)\ntime.process_time = lambda: 86400.25\n```\n")
    assert "MB: index" in tiny.build()
    (folder,) = (tiny.folder / "_build/executed").iterdir()
    (record,) = get_cache(str(folder)).list_cache_records()
    assert 300e6 < record.data["peak_bytes"] < 900e6
    assert record.data["execution_seconds"] > 0
    assert record.data["cpu_seconds"] == 86400.25
    assert "VmHWM" not in tiny.read().text, "the question to the kernel is no part of the page"
    assert len(tiny.read().find_all(class_="cell")) == 1


def test_a_busy_machine_loses_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nbclient gives a kernel a minute to start and an output 4 seconds to come, then leaves it out and says nothing."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent.parent / "_ext"))
    from lossbook_sphinx import execution

    asked: dict[str, Any] = {}

    def ask(notebook: NotebookNode, cwd: str, timeout: int, **options: Any) -> ExecutionResult:
        asked.update(options, timeout=timeout)
        notebook.cells[-1].outputs = [new_output("stream", text="1 2.5")]
        return ExecutionResult(notebook, "", 0.0)

    monkeypatch.setattr(execution, "single_nb_execution", ask)
    assert execution.execute(new_notebook(), tmp_path / "page.md", 86_400)[1] == (1, 2.5)
    assert asked["timeout"] == 86_400
    assert min(asked["startup_timeout"], asked["iopub_timeout"]) >= GUARD
    assert asked["raise_on_iopub_timeout"] is True


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_kernel_takes_no_port(tiny: TinyBook) -> None:
    """One that was free when it was chosen may not be when the kernel has started."""
    tiny.page(
        "# Title\n\n```{code-cell} ipython3\nfrom ipykernel.kernelapp import IPKernelApp\n"
        "app = IPKernelApp.instance()\nprint('by', app.transport, app.ip)\n```\n"
    )
    tiny.build()
    transport, address = re.search(r"by (\w+) (\S+)", tiny.read().find(class_="output").text).groups()
    assert transport == "ipc"
    assert not Path(address).parent.exists(), "the folder goes with the kernel"


def test_a_cell_that_raises_fails_the_build_and_says_where(tiny: TinyBook) -> None:
    tiny.page("# Title\n\n```{code-cell} ipython3\nassert lossbook_says == 'ouch'\n```\n")
    printed = tiny.build(check=False)
    assert "index raised:" in printed
    assert "lossbook_says" in printed
    assert not (tiny.out() / "index.html").exists()


def test_a_cell_that_warns_fails_the_build(tiny: TinyBook) -> None:
    with (tiny.folder / "conf.py").open("a") as settings:
        settings.write("nb_output_stderr = 'error'\n")
    tiny.page("# Title\n\n```{code-cell} ipython3\nimport warnings\nwarnings.warn('careful')\n```\n")
    assert "stderr was found in the cell outputs" in tiny.build(check=False)


def test_a_cell_with_html_makes_a_numbered_figure(tiny: TinyBook) -> None:
    figure = "---\nmystnb:\n  figure:\n    name: fig-box\n    caption: A box.\n---\n"
    cell = f"```{{code-cell}} ipython3\n{figure}from IPython.display import HTML\nHTML('<b id=here>box</b>')\n```\n"
    tiny.page(f"# Title\n\n{cell}\nSee {{numref}}`fig-box`.\n")
    tiny.build()
    page = tiny.read()
    drawn = page.find(id="fig-box")
    assert drawn.name == "figure"
    assert drawn.find(id="here").text == "box"
    assert drawn.figcaption.text.strip().startswith("Fig. 1")
    assert page.find("a", href="#fig-box", class_="reference").text == "Fig. 1"


def test_the_code_of_a_figure_is_folded_below_it(tiny: TinyBook) -> None:
    tiny.page("# Title\n\n```{code-cell} ipython3\n:tags: [hide-input]\nprint(6 * 7)\n```\n")
    tiny.build()
    cell = tiny.read().find(class_="cell")
    output, fold = cell.find(class_="cell_output"), cell.find("details")
    assert "6" in fold.text
    assert fold in output.find_all_next("details")


def test_a_directive_that_markdown_would_not_see_is_a_warning(tiny: TinyBook) -> None:
    tiny.page("# Title\n\n```{note} Of `code`\nText\n```\n")
    assert "index.md:8: WARNING: a directive whose first line contains `code`" in tiny.build(check=False)


def test_what_is_computed_for_a_figure_is_folded_behind_it(tiny: TinyBook) -> None:
    """The reader meets the figure, then the fold that computes, then the fold that draws; text between two cells keeps them apart."""
    fold = "```{code-cell} ipython3\n:tags: [hide-input]\n"
    tiny.page(f"# Title\n\n{fold}lonely = 1\n```\n\nA sentence.\n\n{fold}a = 6\n```\n\n{fold}print(a * 7)\n```\n")
    tiny.build()
    text = tiny.read().get_text()
    places = [text.index(part) for part in ("lonely", "A sentence", "\n42", "a = 6", "print(a")]
    assert places == sorted(places)
