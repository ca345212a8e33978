"""Serve the built book on this machine, as a host would: missing pages get 404.html. python _ext/serve.py [port]"""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SITE = Path(__file__).resolve().parent.parent / "_build/html"


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


def server(site: Path = SITE, port: int = 0) -> ThreadingHTTPServer:
    """A server of `site` on 127.0.0.1; port 0 takes a free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(BookHandler, directory=str(site)))


if __name__ == "__main__":
    with server(port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000) as running:
        print(f"The book is at http://127.0.0.1:{running.server_port}/  (Ctrl+C ends it)", flush=True)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print()
