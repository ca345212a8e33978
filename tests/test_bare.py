"""What a poor machine has to offer is enough: no extras, no node, no git, no home that can be written to, no network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.lowest import lowest

# Every connection fails, and so does every program that somebody might start.
POOR = """
import socket, subprocess
def refuse(*arguments, **keywords):
    raise OSError("no network, and no other program")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = subprocess.Popen.__init__ = refuse
import torch, lossbook
from lossbook import crossentropy, margins
assert float(margins.hinge(torch.tensor([0.5]))) == 0.5
assert float(crossentropy.cross_entropy(torch.zeros(1, 2), torch.tensor([0]))) > 0.69
assert lossbook.book.data.sms_spam().labels.sum() == 642
"""
FIGURE = """
from lossbook import explore
from lossbook.book import plots
def draw(slope=1):
    figure, axes = plots.subplots()
    axes.plot([0, 1], [0, slope])
    return figure, f"It rises by {slope}."
assert "It rises by 1." in explore(draw, slope=(0, 2), alt="A line.").html
assert lossbook.book.data.breast_cancer().features.shape == (569, 30)
assert lossbook.book.claims.LEDGER["C02"].measure().holds
"""


def run_poorly(program: str, folder: Path) -> None:
    """A program with no PATH, and with a home that not even root can write to."""
    environment = {"HOME": "/proc/nowhere", "PATH": "", "PYTHONPATH": str(ROOT), "LOSSBOOK_STATIC": "1", "LANG": os.environ.get("LANG", "C")}
    run = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_core_needs_nothing_of_the_machine(tmp_path: Path) -> None:
    run_poorly(POOR, tmp_path)


def test_figures_data_and_claims_need_nothing_of_the_machine(tmp_path: Path) -> None:
    for name in ("matplotlib", "sklearn"):
        pytest.importorskip(name, reason="an extra, absent where the core is tested alone")
    run_poorly(POOR + FIGURE, tmp_path)


def test_the_lowest_versions_are_those_of_the_ranges() -> None:
    found = lowest("sets", "explore", "rl")
    assert {line.split("==")[0] for line in found} == {"torch", "numpy", "scipy", "matplotlib", "ipywidgets", "anywidget", "gymnasium"}
    assert "gymnasium==1.3" in found, "the first with Taxi-v4"
