"""Turns a chart of 100,000 points that is dragged into its longest task on the main thread, by that of a bare uPlot.

Both pages show a third of them, are dragged by the same steps of the mouse, and take turns. A task is measured by the
time that its thread was running, so that other processes do not count.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Route, sync_playwright

from localhost.setup import BROWSERS
from shared.edge import page as pages

POINTS: Final = 100_000
ROUNDS: Final = 5
MOST: Final = 3.0
"""How many times as long as the bare page's longest task that of ours may be."""
_ORIGIN: Final = "http://bench.invalid/"
_POINTS: Final = f"""
const times = Array.from({{ length: {POINTS} }}, (_, at) => 1.7e9 + 60 * at);
const values = times.map((_, at) => Math.sin(at / 900) + 0.4 * Math.sin(at * 1.7) + 0.3 * Math.sin(at * at));
const low = values.map((value) => value - 0.3);
const high = values.map((value) => value + 0.3);
"""
_OURS: Final = """
import { html, render } from "/page/preact.js";
import { TimeChart } from "/page/parts.js";
const marks = Array.from({ length: 30 }, (_, at) => ({ time: 1.7e9 + 200_000 * at, label: `v${at}` }));
const series = [interval ? { label: "reward", values, low, high } : { label: "reward", values }];
const ranges = [{ low: 0, high: 0.5 }];
const shown = { label: "A month", times, series, marks, ranges, height: 300 };
render(html`<${TimeChart} ...${shown} />`, document.body);
"""
_BARE: Final = """
const place = document.body.appendChild(document.createElement("div"));
const columns = interval ? [times, values, high, low] : [times, values];
const line = (stroke) => ({ stroke, width: 2, points: { show: false } });
const series = [{}, line("#0b6e99"), line("#aaccdd"), line("#aaccdd")].slice(0, columns.length);
const options = { width: place.clientWidth, height: 300, series, cursor: { drag: { x: false } } };
const plot = new uPlot(options, columns, place);
const third = (times.at(-1) - times[0]) / 3;
plot.setScale("x", { min: times[0] + third, max: times.at(-1) - third });
let held = null;
plot.over.addEventListener("mousedown", (event) => (held = { x: event.clientX, ...plot.scales.x }));
plot.over.addEventListener("mouseup", () => (held = null));
plot.over.addEventListener("mousemove", (event) => {
  if (!held) return;
  const by = ((held.x - event.clientX) / plot.over.clientWidth) * (held.max - held.min);
  plot.setScale("x", { min: held.min + by, max: held.max + by });
});
"""


def _files(script: str) -> dict[str, tuple[str, bytes]]:
    """The page that runs a script, and all that it asks for, by path."""
    vendor = Path(pages.__file__).resolve().parents[2] / "ui_fn" / "static" / "vendor" / "uplot-1.6.32.js"
    html = (
        '<!doctype html><link rel="stylesheet" href="/page/page.css"><body><script src="/uplot.js"></script>'
        '<script type="module" src="/bench.js"></script>'
    )
    return {
        "/": ("text/html", html.encode()),
        "/bench.js": ("text/javascript", script.encode()),
        "/uplot.js": ("text/javascript", vendor.read_bytes()),
    }


def _open(browser: Browser, script: str) -> Page:
    own = _files(script)

    def answer(route: Route) -> None:
        path = urlsplit(route.request.url).path
        if path in own:
            kind, data = own[path]
            route.fulfill(content_type=kind, body=data)
            return
        reply = pages.reply(path[1:], {})
        route.fulfill(content_type=reply.content_type, body=bytes(reply.body))

    page = browser.new_page(viewport={"width": 1200, "height": 500})
    page.route("**/*", answer)
    page.goto(_ORIGIN)
    page.locator(".u-over").wait_for()
    return page


def _longest(browser: Browser, script: str, folder: Path) -> float:
    """The longest task of the main thread while the chart is dragged to and fro, in milliseconds of its thread."""
    page = _open(browser, script)
    box = page.locator(".u-over").bounding_box()
    assert box is not None
    middle, y = box["x"] + box["width"] / 2, box["y"] + 100
    page.locator(".plot, .uplot").first.focus()
    for _ in range(5):
        page.keyboard.press("+")  # which a bare page does not know: it shows a third from the start
    page.mouse.move(middle, y)
    trace = folder / "trace.json"
    browser.start_tracing(page=page, path=trace, categories=["toplevel", "disabled-by-default-devtools.timeline"])
    page.mouse.down()
    for at in (*range(0, 200, 20), *range(200, -200, -20)):
        page.mouse.move(middle + at, y)
    page.mouse.up()
    told = browser.stop_tracing()
    page.close()
    return max(_tasks(json.loads(_plain(told))["traceEvents"]))


def _plain(told: bytes) -> bytes:
    return gzip.decompress(told) if told[:2] == b"\x1f\x8b" else told


def _tasks(events: list[dict[str, Any]]) -> list[float]:
    """The durations of tasks of renderers' main threads, in milliseconds."""
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return [
        event["tdur"] / 1000
        for event in events
        if event["name"] == "RunTask" and "tdur" in event and (event["pid"], event["tid"]) in mains
    ]


def main() -> None:
    """Print both, and their ratio, for a line and for a line with its interval."""
    found = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as playwright, TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        for name, interval in (("a line", "false"), ("a line with its interval", "true")):
            start = f"const interval = {interval};\n"
            scripts = [start + _POINTS + script for script in (_OURS, _BARE)]
            rounds = [[_longest(browser, script, Path(folder)) for script in scripts] for _ in range(ROUNDS)]
            ours, bare = (median(column) for column in zip(*rounds, strict=True))
            print(
                f"panning {POINTS:,} points, {name}: longest task {ours:.1f} ms, of a bare uPlot {bare:.1f} ms: "
                f"{ours / bare:.2f} times (at most {MOST:g})"
            )
        browser.close()
