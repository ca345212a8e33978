"""Serve the built book on this machine, as a host would: missing pages get 404.html. python _ext/serve.py [port]

When a source changes, the pages that hang on it are built anew, and those that are open in a browser are loaded again.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build/html"
SOURCES = [ROOT / name for name in ("chapters", "lossbook", "_ext", "_static", "benchmarks/results", "_config.yml", "_toc.yml")]


def rebuild(changed_paths: Sequence[Path]) -> None:
    """Build the book again; what is wrong is said, and the pages stay as they are."""
    print("Changed:", ", ".join(sorted(path.name for path in changed_paths)), flush=True)
    subprocess.run([sys.executable, str(ROOT / "_ext/build.py")], cwd=ROOT, check=False)


def live(site: Path, sources: Sequence[Path], build: Callable[[Sequence[Path]], None], host: str) -> Any:
    """The web application: the files of `site`; where a source changes, `build` and then a word to every page that is open."""
    from sphinx_autobuild.filter import IgnoreFilter
    from sphinx_autobuild.middleware import JavascriptInjectorMiddleware
    from sphinx_autobuild.server import RebuildServer
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Mount, WebSocketRoute
    from starlette.staticfiles import StaticFiles

    watcher = RebuildServer(list(sources), IgnoreFilter([], [r"__pycache__", r"\.ipynb_checkpoints", r"~$"]), build)
    routes = [WebSocketRoute("/websocket-reload", watcher), Mount("/", app=StaticFiles(directory=site, html=True))]
    return Starlette(routes=routes, middleware=[Middleware(JavascriptInjectorMiddleware, ws_url=host)], lifespan=watcher.lifespan)


def main(port: int) -> None:
    """Serve until Ctrl+C."""
    import uvicorn

    host = f"127.0.0.1:{port}"
    print(f"The book is at http://{host}/  (Ctrl+C ends it)", flush=True)
    uvicorn.run(live(SITE, SOURCES, rebuild, host), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
