"""Where Chromium is, and how to get it.

    python -m tests.chromium

finds one, or installs one where that can be done unasked: with the system's packages as root, with Playwright's own download elsewhere. It prints
what it did, and exits with 1 where there is still none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW_TO_GET_IT = "install Chromium with your system's packages, or run `.venv/bin/python -m playwright install chromium`; then run `make test` again"


def find() -> str | None:
    """The path of a Chromium: the one LOSSBOOK_CHROMIUM names, the system's, or Playwright's own; None without any."""
    for name in (os.environ.get("LOSSBOOK_CHROMIUM", ""), *NAMES):
        if name and (path := shutil.which(name)):
            return path
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or playwright_folder())
    patterns = ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/*.app/Contents/MacOS/*", "chromium-*/chrome-win*/chrome.exe")
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return str(found[-1]) if found else None


def playwright_folder() -> Path:
    """Where Playwright keeps its downloads."""
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/ms-playwright"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "ms-playwright"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ms-playwright"


def install() -> None:
    """Try the one way that fits this machine; a failure shows in `find` afterwards, and its output on the screen."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}
        subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)
        subprocess.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", "chromium"], check=False, **quiet)
    if find() is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)


if __name__ == "__main__":
    if find() is None:
        print("No Chromium found: trying to install one for the browser tests.", flush=True)
        install()
    print(f"Chromium: {find()}" if find() else f"No Chromium. The browser tests will be left out: {HOW_TO_GET_IT}.")
    sys.exit(find() is None)
