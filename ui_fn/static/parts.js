// Turns data into what all views are made of: states, forms, tables, figures and charts.

import { html, useEffect, useMemo, useRef, useState } from "/page/preact.js";
import uPlot from "/page/uplot.js";

// -- numbers and times ------------------------------------------------------------------------------------------------

const NONE = "–";

/** A number with so many digits that it can be told from its neighbours. */
export function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en");
  return value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 10 ? digits : 1 });
}

export const percent = (value, digits = 1) =>
  value === null || value === undefined || Number.isNaN(value) ? NONE : `${(100 * value).toFixed(digits)} %`;

/** Seconds since the epoch, or an instant as the API spells it, into a Date; null for none, and for the year 1. */
export function dateOf(value) {
  if (value === null || value === undefined) return null;
  const date = typeof value === "number" ? new Date(value * 1000) : new Date(value);
  return Number.isNaN(date.getTime()) || date.getUTCFullYear() < 1971 ? null : date;
}

/** An instant: in local time, with UTC beside it for whoever asks. */
export function When({ at, short }) {
  const date = dateOf(at);
  if (!date) return NONE;
  const told = short
    ? date.toLocaleTimeString("en-GB")
    : date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
  return html`<time datetime=${date.toISOString()} title=${date.toISOString()}>${told}</time>`;
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** Seconds in words, such as "2 h 5 min". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  let rest = Math.round(seconds);
  const parts = [];
  for (const [unit, size] of UNITS) {
    if (rest >= size && parts.length < 2) parts.push(`${Math.floor(rest / size)} ${unit}`);
    rest %= size;
  }
  return parts.join(" ") || "0 s";
}

/** What the API calls PT10M, in seconds. */
export function secondsOf(text) {
  const found = /^P(?:([\d.]+)D)?(?:T(?:([\d.]+)H)?(?:([\d.]+)M)?(?:([\d.]+)S)?)?$/.exec(text ?? "");
  if (!found) return null;
  return [86400, 3600, 60, 1].reduce((sum, size, index) => sum + size * Number(found[index + 1] ?? 0), 0);
}

// -- states -----------------------------------------------------------------------------------------------------------

/** A refusal or a fault, and what to do next. */
export function Failure({ error, retry }) {
  if (!error) return null;
  const next =
    error.status === 401
      ? "The key may have been replaced: sign out, and in again with the new one."
      : error.status === 403
        ? "Ask somebody who holds that role, or sign in with another key."
        : error.status === 0 || error.status >= 500
          ? "Nothing was lost. Try again; if it goes on, look at the deployment's log."
          : "";
  return html`<div class="failure" role="alert">
    <p><strong>${error.message}</strong> ${error.target ? html`<span>(${error.target})</span>` : ""} ${next}</p>
    ${retry && html`<button type="button" class="quiet" onClick=${retry}>Try again</button>`}
  </div>`;
}

/**
 * What was loaded, or what stands for it meanwhile.
 *
 * of: what `useData` returned. empty: (data) => a message with the next step where there is nothing to show, else null.
 * children: a function of the data.
 */
export function Shown({ of, empty = () => null, children }) {
  const { data, error, at, reload } = of;
  if (data === undefined) {
    if (error) return html`<${Failure} error=${error} retry=${reload} />`;
    return html`<p class="loading" aria-busy="true">Loading</p>`;
  }
  const nothing = empty(data);
  return html`
    ${of.stale &&
    html`<div class="stale" role="status">
      This is of ${at.toLocaleTimeString("en-GB")}: ${error.message}
      <button type="button" class="quiet" onClick=${reload}>Try again</button>
    </div>`}
    ${nothing ? html`<div class="empty">${nothing}</div>` : children(data)}
  `;
}

/** One number of its own, with what it is. */
export function Figure({ label, value, note, tone }) {
  return html`<div class=${`figure ${tone ?? ""}`}>
    <span class="label">${label}</span><span class="value">${value}</span>
    ${note && html`<span class="note">${note}</span>`}
  </div>`;
}

/** Text that can be copied with one press. */
export function Copy({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return html`<button type="button" class="quiet copy" onClick=${copy} aria-live="polite">${done ? "Copied" : label}</button>`;
}

/** A block of code or JSON, with a button that copies it. */
export function Code({ text, label }) {
  return html`<figure class="code" aria-label=${label}>
    <pre tabindex="0"><code>${text}</code></pre>
    <${Copy} text=${text} />
  </figure>`;
}

/**
 * A table. columns: [{label, of: (row) => what the cell holds, number: true for figures}]; rows; key: (row) => its key.
 */
export function Table({ caption, columns, rows, keyOf = (row, index) => index }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}>
    <table>
      <caption>${caption}</caption>
      <thead>
        <tr>${columns.map((column) => html`<th scope="col" class=${column.number ? "number" : ""}>${column.label}</th>`)}</tr>
      </thead>
      <tbody>
        ${rows.map(
          (row, index) =>
            html`<tr key=${keyOf(row, index)}>
              ${columns.map((column) => html`<td class=${column.number ? "number" : ""}>${column.of(row)}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

let ids = 0;
/** An id that no other element of the page has, for as long as the component lives. */
export const useId = () => useMemo(() => `part-${++ids}`, []);

// -- forms ------------------------------------------------------------------------------------------------------------

/** A labelled input, with its unit or range below it, and what is wrong with it. The input itself is the child. */
export function Field({ label, help, wrong, children }) {
  return html`<label class="field">
    <span class="label">${label}</span>
    ${children} ${help && html`<small>${help}</small>`}
    ${wrong && html`<small class="wrong" role="alert">${wrong}</small>`}
  </label>`;
}

/**
 * A button that asks before it acts.
 *
 * label: of the button. title, children: what will happen. word: what must be typed first, where the step cannot be
 * undone. act: async () => void; a failure is shown in the dialog, which stays. disabled: why it may not, in words.
 * primary: whether the view is there for this step.
 */
export function Confirm({ label, title, children, word, act, disabled, danger, primary, yes = "Do it" }) {
  const dialog = useRef(null);
  const [typed, setTyped] = useState("");
  const [state, setState] = useState({});
  const ask = () => {
    setTyped("");
    setState({});
    dialog.current.showModal();
  };
  const confirm = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      await act();
      dialog.current.close();
      setState({});
    } catch (error) {
      setState({ error });
    }
  };
  const id = useId();
  return html`
    <button type="button" class=${primary ? "" : danger ? "danger" : "quiet"} onClick=${ask} disabled=${Boolean(disabled)} title=${disabled || undefined}>
      ${label}
    </button>
    <dialog ref=${dialog} aria-labelledby=${id}>
      <article>
        <form onSubmit=${confirm}>
          <h3 id=${id}>${title}</h3>
          ${children}
          ${word &&
          html`<${Field} label=${html`Type <code>${word}</code> to go on`}>
            <input value=${typed} onInput=${(event) => setTyped(event.target.value)} autocomplete="off" spellcheck="false" />
          <//>`}
          <${Failure} error=${state.error} />
          <footer>
            <button type="button" class="quiet" onClick=${() => dialog.current.close()}>Cancel</button>
            <button type="submit" class=${danger ? "danger" : ""} disabled=${word && typed !== word} aria-busy=${state.busy}>${yes}</button>
          </footer>
        </form>
      </article>
    </dialog>
  `;
}

/** Why a control may not be used, or "" where it may: for `disabled` and `title`. */
export const lacks = (may, role) =>
  may[role] ? "" : `This takes the role Rankloop.${role[0].toUpperCase()}${role.slice(1)}, which you do not hold.`;

// -- charts -----------------------------------------------------------------------------------------------------------

/** The colours of series, in order: they are told apart in both themes, and by those who do not see red and green. */
const PALETTE = ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5", "--series-6"];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * A chart over time.
 *
 * label: what it shows, for those who do not see it. times: seconds since the epoch, rising.
 * series: [{label, values, low, high, dash, stepped}], where `low` and `high` are the ends of intervals.
 * marks: [{time, label}], drawn as vertical lines. ranges: [{low, high, label}], drawn as horizontal bands.
 * min, max: of the value axis, where they are given. format: (value) => text. height: in pixels.
 * Drag pans, the wheel and + and - zoom, a double click and 0 show all, arrows pan.
 */
export function TimeChart({ label, times, series, marks = [], ranges = [], min, max, format = number, height = 260 }) {
  const place = useRef(null);
  const [themed, setThemed] = useState(0);
  useEffect(() => {
    const turn = () => setThemed((n) => n + 1);
    const query = matchMedia("(prefers-color-scheme: dark)");
    addEventListener("rankloop:theme", turn);
    query.addEventListener("change", turn);
    return () => {
      removeEventListener("rankloop:theme", turn);
      query.removeEventListener("change", turn);
    };
  }, []);
  const columns = useMemo(() => {
    const found = [times];
    for (const one of series) {
      found.push(one.values);
      if (one.low) found.push(one.high, one.low);
    }
    return found;
  }, [times, series]);
  useEffect(() => {
    const plot = new uPlot(optionsOf({ series, marks, ranges, min, max, format, height, width: place.current.clientWidth }), columns, place.current);
    const undo = panning(plot, times);
    const sized = new ResizeObserver(() => plot.setSize({ width: place.current.clientWidth, height }));
    sized.observe(place.current);
    return () => {
      sized.disconnect();
      undo();
      plot.destroy();
    };
  }, [columns, marks, ranges, themed]);
  return html`<figure class="chart">
    <figcaption>${label}</figcaption>
    <div ref=${place} class="plot" role="img" aria-label=${told(label, times, series, format)} tabindex="0"></div>
  </figure>`;
}

function told(label, times, series, format) {
  const latest = series.map((one) => {
    const at = one.values.findLastIndex((value) => value !== null && value !== undefined);
    return `${one.label}: ${at < 0 ? "nothing yet" : `${format(one.values[at])} at the end`}`;
  });
  return `${label}. ${times.length ? latest.join("; ") : "Nothing yet"}.`;
}

function optionsOf({ series, marks, ranges, min, max, format, height, width }) {
  const axis = { stroke: colour("--pico-muted-color"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
  const lines = [{}];
  const bands = [];
  series.forEach((one, index) => {
    const stroke = colour(PALETTE[index % PALETTE.length]);
    lines.push({
      label: one.label,
      stroke,
      width: 2,
      dash: one.dash,
      spanGaps: true,
      points: { show: false },
      paths: one.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
      value: (_, value, __, at) => withInterval(one, value, at, format),
    });
    if (one.low) {
      const at = lines.length;
      for (const end of ["high", "low"]) {
        lines.push({ label: `${one.label}, ${end}`, class: "interval", stroke: "transparent", width: 0, points: { show: false }, spanGaps: true });
      }
      bands.push({ series: [at, at + 1], fill: `${stroke}33` });
    }
  });
  return {
    width,
    height,
    series: lines,
    bands,
    cursor: { drag: { x: false, y: false, setScale: false } },
    legend: { live: true },
    scales: { x: { time: true }, y: { range: (_, low, high) => rangeOf(low, high, min, max) } },
    axes: [{ ...axis }, { ...axis, size: 64, values: (_, values) => values.map((value) => format(value)) }],
    hooks: { drawClear: [(plot) => drawRanges(plot, ranges)], draw: [(plot) => drawMarks(plot, marks)] },
  };
}

function withInterval(one, value, at, format) {
  if (value === null || value === undefined) return NONE;
  const has = one.low?.[at] !== null && one.low?.[at] !== undefined;
  return has ? `${format(value)} (${format(one.low[at])} … ${format(one.high[at])})` : format(value);
}

function rangeOf(low, high, min, max) {
  const from = min ?? (low === null ? 0 : low);
  const to = max ?? (high === null ? 1 : high);
  const room = (to - from || Math.abs(to) || 1) * 0.06;
  return [min ?? from - room, max ?? to + room];
}

function drawRanges(plot, ranges) {
  const { ctx, bbox } = plot;
  for (const { low, high } of ranges) {
    const top = plot.valToPos(high, "y", true);
    const bottom = plot.valToPos(low, "y", true);
    ctx.fillStyle = colour("--range");
    ctx.fillRect(bbox.left, Math.max(top, bbox.top), bbox.width, Math.min(bottom, bbox.top + bbox.height) - Math.max(top, bbox.top));
  }
}

function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("--mark");
  ctx.setLineDash([4, 4]);
  ctx.font = `${11 * devicePixelRatio}px sans-serif`;
  ctx.textAlign = "left";
  let free = -Infinity;
  for (const { time, label } of marks) {
    const x = Math.round(plot.valToPos(time, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    if (label && x > free) {
      ctx.fillText(label, x + 4, bbox.top + 12 * devicePixelRatio);
      free = x + ctx.measureText(label).width + 12;
    }
  }
  ctx.restore();
}

/** Drag, wheel and keys move the span that is shown; drawing keeps to one frame, whatever the pointer does. */
function panning(plot, times) {
  if (times.length < 2) return () => {};
  const [first, last] = [times[0], times[times.length - 1]];
  const over = plot.over;
  let wanted = null;
  let frame = 0;
  const set = (from, to) => {
    const span = Math.min(Math.max(to - from, 1), last - first);
    const start = Math.min(Math.max(from, first), last - span);
    wanted = { min: start, max: start + span };
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      plot.setScale("x", wanted);
    });
  };
  const shown = () => (frame ? wanted : plot.scales.x);
  const zoom = (factor, at = 0.5) => {
    const { min, max } = shown();
    const centre = min + (max - min) * at;
    set(centre - (centre - min) * factor, centre + (max - centre) * factor);
  };
  let held = null;
  const down = (event) => {
    if (event.button) return;
    held = { x: event.clientX, ...shown() };
    over.setPointerCapture(event.pointerId);
  };
  const move = (event) => {
    if (!held) return;
    const by = ((held.x - event.clientX) / over.clientWidth) * (held.max - held.min);
    set(held.min + by, held.max + by);
  };
  const up = () => (held = null);
  const wheel = (event) => {
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, event.offsetX / over.clientWidth);
  };
  const whole = () => set(first, last);
  const key = (event) => {
    const { min, max } = shown();
    const step = (max - min) / 10;
    const acts = {
      ArrowLeft: () => set(min - step, max - step),
      ArrowRight: () => set(min + step, max + step),
      "+": () => zoom(0.8),
      "-": () => zoom(1.25),
      0: whole,
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  };
  const place = plot.root.parentElement;
  const listened = [
    [over, "pointerdown", down], [over, "pointermove", move], [over, "pointerup", up], [over, "pointercancel", up],
    [over, "wheel", wheel, { passive: false }], [over, "dblclick", whole], [place, "keydown", key],
  ];
  for (const [target, name, act, options] of listened) target.addEventListener(name, act, options);
  return () => {
    cancelAnimationFrame(frame);
    for (const [target, name, act] of listened) target.removeEventListener(name, act);
  };
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

// -- files ------------------------------------------------------------------------------------------------------------

/** Hand a file to whoever reads the page. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
