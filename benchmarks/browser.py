"""Chromium, and how long a slider takes in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.harness import LeftOut
from tests import chromium

MOVES = """async (slider, turns) => {
    const steps = Math.round((slider.max - slider.min) / slider.step), script = [], painted = [];
    const channel = new MessageChannel();
    const afterPaint = () => new Promise(resolve => requestAnimationFrame(() => {
        channel.port1.onmessage = resolve;
        channel.port2.postMessage(0);
    }));
    slider.scrollIntoView({block: 'end'});
    for (let turn = 0; turn < turns; turn++) {
        await new Promise(resolve => setTimeout(resolve, 3 + turn % 17));
        const start = performance.now();
        slider.value = Number(slider.min) + (turn * 7) % (steps + 1) * slider.step;
        slider.dispatchEvent(new Event('input', {bubbles: true}));
        script.push(performance.now() - start);
        await afterPaint();
        painted.push(performance.now() - start);
    }
    return [script, painted];
}"""


@contextmanager
def opened() -> Iterator[Any]:
    """A page of a headless Chromium."""
    from playwright.sync_api import sync_playwright

    path = chromium.find()
    if path is None:
        raise LeftOut(f"no Chromium: {chromium.HOW_TO_GET_IT}")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def moved(slider: Any, turns: int = 200) -> tuple[list[float], list[float]]:
    """Milliseconds of script, and from the event to the painted frame with its wait for the screen's next refresh, a move of the slider each."""
    script, painted = slider.evaluate(MOVES, turns)
    return script, painted
