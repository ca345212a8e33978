"""Execute the chapters in parallel, in a cache that knows what they import.

jupyter-cache compares the code of a page and nothing else: after an edit of `lossbook/` it would serve the old numbers. Here the cache's folder is
named by a hash of everything that a page's outputs depend on beside its own code, so an edit there begins an empty cache and every page is read
and executed anew; the folders of earlier hashes are dropped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution
from myst_nb.core.read import create_nb_reader
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from traitlets import config as traits
from workers import workers

from . import reads
from .status import machine

# Seconds after which a kernel that has not started, or an output that has not come, never will. Not a measure of speed: nbclient's own 60 and 4 are
# reached on a busy machine, and after the 4 a page is written without its output, with nothing said.
HANG = 1800
# Explorers write only their static HTML, and each kernel computes on one core, so that as many as there are don't quarrel.
KERNEL_ENVIRONMENT = {"LOSSBOOK_STATIC": "1", "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}

# Asked of a kernel when its page is done: the most memory it held, and its processor time, which a busy machine doesn't stretch.
# Linux's ru_maxrss remembers the process that started the kernel; VmHWM is the kernel's own.
USAGE = r"""
import pathlib, re, sys, time
_status = pathlib.Path("/proc/self/status")
if _status.exists():
    _peak = 1024 * int(re.search(r"VmHWM:\s+(\d+)", _status.read_text())[1])
else:
    import resource
    _peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(_peak, time.process_time())
"""


class Usage(NamedTuple):
    """What a kernel took: bytes at most, and seconds of processor time; zeros where a cell raised."""

    peak_bytes: int
    cpu_seconds: float


def fingerprint(root: Path) -> str:
    """A hash of the names and bytes of all files in `lossbook/`, of the data beside pages, of the lock, of this module, and of the Python version."""
    package = (path for path in (root / "lossbook").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    digest = hashlib.sha256(f"python {sys.version_info.major}.{sys.version_info.minor}".encode())
    digest.update(Path(__file__).read_bytes())
    for path in sorted([*package, *(root / "chapters").rglob("*.json"), root / "requirements.txt"]):
        if path.exists():
            content = path.read_bytes()
            digest.update(f"\n{path.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


def key_the_cache(app: Sphinx, config: Config) -> None:
    """Name the cache's folder by the fingerprint. The changed setting makes Sphinx read every page again."""
    root = Path(config.lossbook_cache_root or Path(app.outdir).parent / "executed")
    config.nb_execution_cache_path = str(root / fingerprint(Path(app.srcdir)))
    os.environ.update(KERNEL_ENVIRONMENT)


def drop_old_caches(app: Sphinx, failure: Exception | None) -> None:
    """After a build that went well, the caches of earlier fingerprints are of no use."""
    current = Path(app.config.nb_execution_cache_path)
    if failure is None and current.parent.is_dir():
        for old in current.parent.iterdir():
            if old != current:
                shutil.rmtree(old)


def execute(notebook: NotebookNode, path: Path, timeout: int) -> tuple[ExecutionResult, Usage]:
    """Run a notebook in a kernel of its own, in its own folder.

    They talk through files. A port that was free when it was chosen may be taken when the kernel has started, the later the likelier.
    """
    notebook.cells.append(new_code_cell(USAGE))
    patience = {"startup_timeout": HANG, "iopub_timeout": HANG, "raise_on_iopub_timeout": True}
    with TemporaryDirectory(prefix="kernel-") as folder:
        files = traits.Config() if sys.platform == "win32" else traits.Config(KernelManager={"transport": "ipc", "ip": f"{folder}/socket"})
        result = single_nb_execution(
            notebook, str(path.parent), timeout, allow_errors=False, config=files, extra_arguments=["--log-level=ERROR"], **patience
        )
    asked = notebook.cells.pop()
    if result.err is not None:
        return result, Usage(0, 0.0)
    peak, seconds = asked.outputs[0].text.split()
    return result, Usage(int(peak), float(seconds))


def is_cached(cache: JupyterCacheAbstract, notebook: NotebookNode, data: str) -> bool:
    """The notebook's outputs are there, and came from the same `data`: else they are dropped."""
    try:
        record = cache.match_cache_notebook(notebook)
    except KeyError:
        return False
    if record.data.get("reads") != data:
        cache.remove_cache(record.pk)
        return False
    return True


def execute_in_parallel(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Fill the cache for the pages about to be read, as many at a time as there is room for.

    Pages that raise end the build, all of them named with their tracebacks.
    """
    settings = env.mystnb_config  # type: ignore[attr-defined]
    if settings.execution_mode != "cache":
        return
    cache = get_cache(settings.execution_cache_path)
    waiting: list[tuple[str, Path, NotebookNode]] = []
    for docname in docnames:
        path = Path(env.doc2path(docname))
        text = path.read_text(encoding="utf-8")
        reader = create_nb_reader(str(path), env.myst_config, settings, text)  # type: ignore[attr-defined]
        if reader is None:
            continue  # plain Markdown
        notebook = reader.read(text)
        if not is_cached(cache, notebook, reads.digest(Path(app.srcdir), notebook.metadata)):
            waiting.append((docname, path, notebook))
    raised = []
    with ThreadPoolExecutor(workers()) as pool:
        results = pool.map(lambda page: execute(page[2], page[1], settings.execution_timeout), waiting)
        for (docname, path, notebook), (result, usage) in zip(waiting, results, strict=True):
            if result.err is not None:
                raised.append(f"{docname} raised:\n\n{result.err}")
                continue
            data = {
                "execution_seconds": result.time,
                **usage._asdict(),
                "machine": machine(),
                "reads": reads.digest(Path(app.srcdir), notebook.metadata),
            }
            bundle = CacheBundleIn(notebook, str(path), data=data)
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            print(f"executed in {result.time:5.1f} s, {usage.peak_bytes / 1e6:4.0f} MB: {docname}", flush=True)
    if raised:
        raise ExtensionError("\n\n".join(raised))


def setup(app: Sphinx) -> None:
    """Register the steps."""
    app.add_config_value("lossbook_cache_root", "", "", str)
    app.connect("config-inited", key_the_cache)
    app.connect("env-before-read-docs", execute_in_parallel)
    app.connect("build-finished", drop_old_caches)
