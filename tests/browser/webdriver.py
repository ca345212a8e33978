"""Firefox and WebKit through the protocol that both speak, W3C WebDriver: as much of it as the tests need, and no package for it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests import browsers
from tests.patience import PATIENCE, wait_until

Point = tuple[float, float]
KEYS = {"ArrowRight": "\ue014", "ArrowLeft": "\ue012", "Home": "\ue011", "End": "\ue010", "Space": " ", "Escape": "\ue00c"}
MIDDLE = "const box = arguments[0].getBoundingClientRect(); return [box.left + arguments[1] * box.width, box.top + box.height / 2];"


class Driver:
    """One window of a browser."""

    def __init__(self, address: str, capabilities: dict[str, Any]) -> None:
        self.address = address
        wait_until(self.is_up, lambda: f"nothing answers at {address}")
        session = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]
        self.address = f"{address}/session/{session}"

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the driver answers; its refusal is an error with its own words."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as refusal:
            raise RuntimeError(refusal.read().decode()) from None

    def is_up(self) -> bool:
        """True once the driver takes sessions."""
        try:
            return bool(self.ask("GET", "/status")["ready"])
        except (urllib.error.URLError, ConnectionError):
            return False

    def open(self, address: str) -> None:
        """Load a page anew, also where only the part after # differs."""
        self.ask("POST", "/url", {"url": "about:blank"})
        self.ask("POST", "/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a function returns in the page."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector: str) -> Any:
        """The first element, in the middle of the window."""
        element = self.ask("POST", "/element", {"using": "css selector", "value": selector})
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        return element

    def text(self, selector: str) -> str:
        """What the first element says."""
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        strokes = [{"type": kind, "value": KEYS[key]} for key in keys for kind in ("keyDown", "keyUp")]
        self.act({"type": "key", "id": "keyboard", "actions": strokes})

    def click(self, selector: str, part: float = 0.5) -> None:
        """With the mouse, at this part of the element's width."""
        self.drag([self.place(selector, part)])

    def place(self, selector: str, part: float = 0.5) -> Point:
        """A point of an element, in the window."""
        x, y = self.run(MIDDLE, self.find(selector), part)
        return float(x), float(y)

    def drag(self, way: list[Point]) -> None:
        """The mouse goes down at the first point, along the others, and up at the last."""
        moves = [{"type": "pointerMove", "duration": 0, "origin": "viewport", "x": round(x), "y": round(y)} for x, y in way]
        actions = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        self.act({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions})

    def act(self, source: dict[str, Any]) -> None:
        """What a hand does."""
        self.ask("POST", "/actions", {"actions": [source]})
        self.ask("DELETE", "/actions")


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program, ended with the block."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def drive(name: str) -> Iterator[Driver]:
    """A window of "firefox", without a screen, or of "webkit", on a screen that nobody sees."""
    found, port = browsers.find(), free_port()
    with ExitStack() as stack:
        if name == "firefox":
            command, environment = [found["geckodriver"], "--port", str(port)], {}
            capabilities: dict[str, Any] = {"browserName": "firefox", "moz:firefoxOptions": {"binary": found["firefox"], "args": ["-headless"]}}
        else:
            screen = [found["Xvfb"], "-displayfd", "1", "-screen", "0", "1280x1000x24", "-nolisten", "tcp"]
            display = stack.enter_context(running(screen, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
            assert display.stdout is not None
            environment = {"DISPLAY": f":{display.stdout.readline().strip()}"}
            command = [found["WebKitWebDriver"], f"--port={port}"]
            capabilities = {"webkitgtk:browserOptions": {"binary": found["MiniBrowser"], "args": ["--automation"]}}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        stack.enter_context(running(command, env={**os.environ, **environment}, **quiet))
        driver = Driver(f"http://127.0.0.1:{port}", capabilities)
        stack.callback(driver.ask, "DELETE", "")
        yield driver
