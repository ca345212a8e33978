"""`make serve`: pages as a host gives them; and where a source changes, a build and a word to every page that is open."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "_ext"))
from serve import SOURCES, live


def build(changed_paths: Sequence[Path]) -> None:
    """In another process: the page says what was changed."""
    source = changed_paths[0]
    (source.parent.parent / "site/index.html").write_text(f"<p>{source.read_text()}</p>")


def test_a_change_is_built_and_told(tmp_path: Path) -> None:
    for name, text in {"site/index.html": "<p>old</p>", "site/404.html": "<p>lost</p>", "sources/page.md": "old"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with TestClient(live(tmp_path / "site", [tmp_path / "sources"], build, "testserver")) as client:
        page = client.get("/")
        assert page.text.startswith("<p>old</p>")
        assert "ws://testserver/websocket-reload" in page.text
        missing = client.get("/no/such/page")
        assert (missing.status_code, missing.text.startswith("<p>lost</p>")) == (404, True)
        with client.websocket_connect("/websocket-reload") as open_page, ThreadPoolExecutor() as pool:
            told = pool.submit(open_page.receive_text)
            while not told.done():  # the first changes may come before anybody watches
                (tmp_path / "sources/page.md").write_text("new")
                wait([told], timeout=0.2)
            assert told.result() == "refresh"
        assert client.get("/").text.startswith("<p>new</p>")


def test_what_is_watched_is_there() -> None:
    assert [path.name for path in SOURCES if not path.exists()] == []
