"""The built book as a host would serve it: quietly, in threads of the test's own process, with 404.html for what is missing."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class BookHandler(SimpleHTTPRequestHandler):
    """Files of the site, quietly, with the book's own page for what is missing."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        lost = Path(self.directory) / "404.html"
        if code != 404 or not lost.exists():
            super().send_error(code, message, explain)
            return
        body = lost.read_bytes()
        self.send_response(404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing about each request."""


def server(site: Path) -> ThreadingHTTPServer:
    """A server of `site` on a free port of 127.0.0.1."""
    return ThreadingHTTPServer(("127.0.0.1", 0), partial(BookHandler, directory=str(site)))
