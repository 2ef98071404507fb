// Turns series into charts over time, and estimates into rows of dots with whiskers.

import { html, useEffect, useMemo, useRef, useState } from "/page/preact.js";
import { number, pannable, tick } from "/page/parts.js";

/* global uPlot -- it stands before this in the same module: see shared/edge/page.py. */

/** The colours of series, in order: they are told apart in both themes, and by those who do not see red and green. */
const PALETTE = ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5", "--series-6"];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const NO_MARKS = [];

/** How the time axis is written, by the distance of its ticks in seconds: the year, the day or the hour where it is new. */
const TICKS = [
  [31536000, "{YYYY}", null, null, null, null, null, null, 1],
  [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
];

/** How often the theme was changed: what is drawn with its colours is drawn anew. */
function useTheme() {
  const [turns, setTurns] = useState(0);
  useEffect(() => {
    const turn = () => setTurns((n) => n + 1);
    const query = matchMedia("(prefers-color-scheme: dark)");
    addEventListener("rankloop:theme", turn);
    query.addEventListener("change", turn);
    return () => {
      removeEventListener("rankloop:theme", turn);
      query.removeEventListener("change", turn);
    };
  }, []);
  return turns;
}

/**
 * A chart over time.
 *
 * label: what it shows, for those who do not see it. times: seconds since the epoch, rising.
 * series: [{label, values, low, high, dash, stepped, ink}], where `low` and `high` are the ends of intervals, and what is not
 * known is null; `ink` is the number of a colour. stacked: one upon the other, each with its area; they are shares or counts then.
 * marks: [{time, label}], drawn as vertical lines. ranges: [{low, high}], drawn as horizontal bands.
 * min, max: of the value axis, where they are given. format: (value) => text; ticks: (value, step) => text, the same along
 * the axis, whose ticks are a step apart. height: in pixels. note: below the title. titled: whether the label is shown, too.
 * Drag pans, Ctrl with the wheel and + and - zoom, a double click and 0 show all, arrows pan. New data leave the span as it is.
 */
export function TimeChart(props) {
  const { label, times, series, marks = NO_MARKS, ranges = NO_MARKS, stacked = false, format = number, height = 260, note, titled = true } = props;
  const place = useRef(null);
  const drawn = useRef(null);
  const latest = useRef(null);
  latest.current = { ...props, marks, ranges, format };
  const theme = useTheme();
  const columns = useMemo(() => columnsOf(times, series, stacked), [times, series, stacked]);
  const shape = series.map((one) => [one.label, Boolean(one.low), one.dash, one.stepped].join()).join("\n");
  useEffect(() => {
    const plot = new uPlot(optionsOf(latest, { stacked, height, width: place.current.clientWidth }), columns, place.current);
    const pan = pannable(plot);
    drawn.current = { plot, pan, columns };
    const sized = new ResizeObserver(() => plot.setSize({ width: place.current.clientWidth, height }));
    sized.observe(place.current);
    return () => {
      sized.disconnect();
      pan.undo();
      plot.destroy();
    };
  }, [shape, stacked, height, theme]);
  useEffect(() => {
    const { plot, pan, columns: old } = drawn.current;
    if (old === columns) plot.redraw(false);
    else pan.keeping(() => plot.setData(columns, false));
    drawn.current.columns = columns;
  }, [columns, marks, ranges]);
  return html`<figure class="chart">
    ${titled && html`<figcaption>${label}</figcaption>`}
    ${note && html`<p class="note">${note}</p>`}
    <div ref=${place} class="plot" role="img" aria-label=${told(label, times, series, format)} tabindex="0"></div>
  </figure>`;
}

function told(label, times, series, format) {
  const latest = series.map((one) => {
    const at = lastOf(one.values);
    return `${one.label}: ${at < 0 ? "nothing yet" : `${withInterval(one, at, format)} at the end`}`;
  });
  return `${label}. ${times.length ? latest.join("; ") : "Nothing yet"}.`;
}

const lastOf = (values) => values.findLastIndex((value) => value !== null && value !== undefined);

/** What uPlot draws: the times, then the values of each series, behind them the ends of its intervals. */
function columnsOf(times, series, stacked) {
  const columns = [times];
  let below = null;
  for (const one of series) {
    const under = below;
    const values = under ? one.values.map((value, at) => (value === null ? null : value + (under[at] ?? 0))) : one.values;
    columns.push(values);
    if (one.low) columns.push(one.high, one.low);
    if (stacked) below = values;
  }
  return columns;
}

/** What uPlot is told. latest: a reference to the chart's properties, so that new ones are drawn by the same plot. */
function optionsOf(latest, { stacked, height, width }) {
  const { series, min, max } = latest.current;
  const axis = { stroke: colour("--pico-muted-color"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
  const colours = { range: colour("--range"), mark: colour("--mark") };
  const spelled = uPlot.fmtDate("{D} {MMM} {HH}:{mm}");
  const lines = [{ label: "Time", value: (_, time) => (time === null || time === undefined ? "latest" : spelled(new Date(time * 1000))) }];
  const bands = [];
  series.forEach((one, index) => {
    const stroke = colour(PALETTE[(one.ink ?? index + 1) - 1] ?? PALETTE[index % PALETTE.length]);
    const at = lines.length;
    lines.push(lineOf(latest, index, stroke, stacked && index === 0));
    if (stacked && index) bands.push({ series: [at, at - 1], fill: `${stroke}66` });
    if (!one.low) return;
    for (const end of ["high", "low"]) {
      const label = `${one.label}, ${end}`;
      lines.push({ label, class: "interval", stroke: "transparent", width: 0, points: { show: false }, spanGaps: true, paths: pathsOf(one) });
    }
    bands.push({ series: [at + 1, at + 2], fill: `${stroke}2b` });
  });
  return {
    width,
    height,
    series: lines,
    bands,
    cursor: { drag: { x: false, y: false, setScale: false } },
    scales: { x: { time: true }, y: { range: (_, low, high) => rangeOf(low, high, min, max) } },
    axes: [
      { ...axis, values: TICKS, space: 70 },
      { ...axis, size: 60, values: (_, values, __, ___, step) => values.map((value) => (latest.current.ticks ?? tick)(value, step)) },
    ],
    hooks: {
      drawClear: [(plot) => drawRanges(plot, latest.current.ranges, colours.range)],
      draw: [(plot) => drawMarks(plot, latest.current.marks, colours.mark)],
    },
  };
}

const pathsOf = (one) => (one.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined);

/** A line; its legend says the value under the cursor, and else the last one. */
function lineOf(latest, index, stroke, filled) {
  const one = latest.current.series[index];
  return {
    label: one.label,
    stroke,
    width: 2,
    dash: one.dash,
    fill: filled ? `${stroke}66` : undefined,
    spanGaps: true,
    points: { show: !one.stepped && one.values.filter((value) => value !== null).length < 3 },
    paths: pathsOf(one),
    value: (plot, _, __, at) => {
      const { series, format } = latest.current;
      const now = series[index] ?? one;
      return withInterval(now, at ?? lastOf(now.values), format);
    },
  };
}

function withInterval(one, at, format) {
  const has = one.low?.[at] !== null && one.low?.[at] !== undefined;
  return has ? `${format(one.values[at])} (${format(one.low[at])} … ${format(one.high[at])})` : format(one.values[at]);
}

function rangeOf(low, high, min, max) {
  const from = min ?? (low === null ? 0 : low);
  const to = Math.max(max ?? (high === null ? 1 : high), from);
  const room = (to - from || Math.abs(to) || 1) * 0.06;
  return [min ?? from - room, max ?? to + room];
}

function drawRanges(plot, ranges, fill) {
  const { ctx, bbox } = plot;
  ctx.fillStyle = fill;
  for (const { low, high } of ranges) {
    const top = Math.max(plot.valToPos(high, "y", true), bbox.top);
    const bottom = Math.min(plot.valToPos(low, "y", true), bbox.top + bbox.height);
    if (bottom > top) ctx.fillRect(bbox.left, top, bbox.width, bottom - top);
  }
}

/** Lines where there is room for them, and ticks along the top where they would hide what lies behind. */
function drawMarks(plot, marks, ink) {
  const { ctx, bbox } = plot;
  const places = marks
    .map(({ time, label }) => ({ label, x: Math.round(plot.valToPos(time, "x", true)) }))
    .filter(({ x }) => x >= bbox.left && x <= bbox.left + bbox.width);
  const crowded = places.length * 24 * devicePixelRatio > bbox.width;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = ink;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash(crowded ? [] : [4, 4]);
  ctx.textAlign = "left";
  ctx.font = `${11 * devicePixelRatio}px sans-serif`;
  for (const [n, { x, label }] of places.entries()) {
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + (crowded ? 7 * devicePixelRatio : bbox.height));
    ctx.stroke();
    const room = (places[n + 1]?.x ?? bbox.left + bbox.width) - x;
    if (crowded || !label || ctx.measureText(label).width + 8 > room) continue;
    ctx.fillText(label, x + 4, bbox.top + 12 * devicePixelRatio);
  }
  ctx.restore();
}

/**
 * Dots with whiskers, one to a row, or bars.
 *
 * rows: [{label, value, low, high, note, tone}], in the order in which they are shown. format: (value) => text.
 * zero: whether the axis begins at 0 and a bar goes from there to the value. reference: a value to draw a line at.
 */
export function Whiskers({ label, rows, format = number, zero = false, reference }) {
  const known = rows.filter((row) => row.value !== null && row.value !== undefined);
  const ends = known.flatMap((row) => [row.low ?? row.value, row.high ?? row.value]);
  if (reference !== undefined && reference !== null) ends.push(reference);
  if (zero) ends.push(0);
  const [from, to] = [Math.min(...ends), Math.max(...ends)];
  const span = to - from || 1;
  const x = (value) => 2 + (96 * (value - from)) / span;
  return html`<div class="whiskers" role="table" aria-label=${label}>
    ${rows.map(
      (row) => html`<div class=${`row ${row.tone ?? ""}`} role="row" key=${row.label}>
        <span class="name" role="rowheader">${row.label}</span>
        <span class="dots" role="presentation">
          <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
            ${reference !== undefined && reference !== null && html`<line class="reference" x1=${x(reference)} x2=${x(reference)} y1="0" y2="10" />`}
            ${row.value !== null && row.value !== undefined && html`
              ${zero && html`<rect class="bar" x=${Math.min(x(0), x(row.value))} width=${Math.abs(x(row.value) - x(0))} y="2" height="6" />`}
              ${row.low !== undefined && row.low !== null && html`<line class="whisker" x1=${x(row.low)} x2=${x(row.high)} y1="5" y2="5" />`}
              ${!zero && html`<line class="dot" x1=${x(row.value)} x2=${x(row.value)} y1="1.5" y2="8.5" />`}
            `}
          </svg>
        </span>
        <span class="number" role="cell">
          ${format(row.value)}${row.low !== undefined && row.low !== null ? html` <small>${format(row.low)} … ${format(row.high)}</small>` : ""}
        </span>
        ${row.note && html`<span class="note" role="cell">${row.note}</span>`}
      </div>`,
    )}
  </div>`;
}
