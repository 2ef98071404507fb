"""How the page writes numbers: each can be told from its neighbours, however small the rewards of a loop are."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.ui.conftest import OpenPage

NONE = "\N{EN DASH}"
CALL = """async ([name, values]) => {
  const parts = await import("/page/parts.js");
  return values.map((one) => parts[name](...one));
}"""
DRAW = """async ([values, share]) => {
  const { html, render } = await import("/page/preact.js");
  const { TimeChart, percent, percentTick } = await import("/page/parts.js");
  const times = values.map((_, n) => 1.7e9 + 60 * n);
  const drawn = [];
  const write = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
    drawn.push(text);
    return write.call(this, text, ...place);
  };
  const series = [{ label: "mean", values }];
  const forms = share ? { format: percent, ticks: percentTick } : {};
  const place = document.body.appendChild(document.createElement("div"));
  render(html`<${TimeChart} label="small" times=${times} series=${series} ...${forms} />`, place);
  while (!drawn.length) await new Promise(requestAnimationFrame);
  CanvasRenderingContext2D.prototype.fillText = write;
  return drawn.filter((text) => !/[:a-z]/i.test(text));
}"""


def called(page: Page, name: str, *values: list[Any]) -> list[str]:
    found: list[str] = page.evaluate(CALL, [name, list(values)])
    return found


def test_a_number_can_be_told_from_its_neighbours(open_page: OpenPage) -> None:
    page = open_page()

    small = called(page, "number", [0.0031], [0.0032], [0.0004], [-0.0003], [0.01234], [0.8125], [2e-9])
    large = called(page, "number", [1234567], [12345.678], [10.04], [1.2345], [1.23456, 4], [0.123456, 6], [None])

    assert small == ["0.0031", "0.0032", "0.0004", "-0.0003", "0.0123", "0.813", "2E-9"]
    assert large == ["1,234,567", "12,345.7", "10", "1.235", "1.2346", "0.123456", NONE]
    assert page.evaluate("async () => (await import('/page/parts.js')).number(-0)") == "0"


def test_a_small_share_is_not_none(open_page: OpenPage) -> None:
    page = open_page()

    shares = called(page, "percent", [0.0002], [0.00123], [0.005, 0], [0], [0.025], [0.5], [0.5, 0], [1], [None])

    assert shares == ["0.02 %", "0.12 %", "0.5 %", "0.0 %", "2.5 %", "50.0 %", "50 %", "100.0 %", NONE]


def test_an_axis_tells_its_ticks_apart(open_page: OpenPage) -> None:
    page = open_page()

    ticks = page.evaluate(DRAW, [[0.0031, 0.0033, 0.0036, 0.0038], False])
    shares = page.evaluate(DRAW, [[0.0011, 0.0013, 0.0016, 0.0018], True])

    assert len(ticks) > 2 and len(set(ticks)) == len(ticks)
    assert {"0.0032", "0.0034", "0.0036"} <= set(ticks)
    assert len(shares) > 2 and len(set(shares)) == len(shares)
    assert all(text.endswith(" %") for text in shares)
