// Turns data into what all views are made of: numbers, states, forms, tables and figures.

import { html, useEffect, useMemo, useRef, useState } from "/page/preact.js";

// -- numbers and times ------------------------------------------------------------------------------------------------

const NONE = "–";

const isNone = (value) => value === null || value === undefined || Number.isNaN(value);

/** A number with so many digits that it can be told from its neighbours: below 1 they count from the first that is not 0. */
export function number(value, digits = 3) {
  if (isNone(value)) return NONE;
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return (value || 0).toLocaleString("en"); // never "-0"
  if (size < 1) return value.toLocaleString("en", { maximumSignificantDigits: digits, notation: size < 1e-6 ? "scientific" : "standard" });
  return value.toLocaleString("en", { maximumFractionDigits: size < 10 ? digits : 1 });
}

/** A share in percent; below 1 % with two digits from the first that is not 0. */
export function percent(value, digits = 1) {
  if (isNone(value)) return NONE;
  const size = Math.abs(100 * value);
  return `${size > 0 && size < 1 ? number(100 * value, 2) : (100 * value).toFixed(digits)} %`;
}

/** A value along an axis whose ticks are a step apart: with the digits that tell them apart. */
export function tick(value, step) {
  const isWhole = (found) => Math.abs(found - Math.round(found)) < 1e-6;
  let digits = 0;
  while (digits < 15 && !isWhole(step * 10 ** digits)) digits += 1;
  // What adding up steps has left of 0 is 0.
  return (Math.abs(value) < step / 2 ? 0 : value).toLocaleString("en", { maximumFractionDigits: digits });
}

/** The same of a share, in percent. */
export const percentTick = (value, step) => `${tick(100 * value, 100 * step)} %`;

/** Seconds since the epoch, or an instant as the API spells it, into a Date; null for none, and for the year 1. */
export function dateOf(value) {
  if (value === null || value === undefined) return null;
  const date = typeof value === "number" ? new Date(value * 1000) : new Date(value);
  return Number.isNaN(date.getTime()) || date.getUTCFullYear() < 1971 ? null : date;
}

const isToday = (date) => date.toDateString() === new Date().toDateString();

/** An instant: in local time, with UTC beside it for whoever asks; `short` leaves the date out where it is today's. */
export function When({ at, short }) {
  const date = dateOf(at);
  if (!date) return NONE;
  const told = short && isToday(date)
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

/** What to do next after a refusal or a fault, or "" where its message says so. */
function nextAfter({ status }) {
  if (status === 401) return "The key may have been replaced: sign out, and in again with the new one.";
  if (status === 403) return "Ask somebody who holds that role, or sign in with another key.";
  if (status === 0 || status >= 500) return "Nothing was lost. Try again; if it goes on, look at the deployment's log.";
  return "";
}

/** A refusal or a fault, and what to do next. */
export function Failure({ error, retry }) {
  if (!error) return null;
  return html`<div class="failure" role="alert">
    <p><strong>${error.message}</strong> ${error.target ? html`<span>(${error.target})</span>` : ""} ${nextAfter(error)}</p>
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
      This is of <${When} at=${at} short />: ${error.message} ${nextAfter(error)}
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

/** Text that can be copied with one press; with one more where the page has no clipboard, as without https, or may not. */
export function Copy({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  const [byHand, setByHand] = useState(false);
  const copied = () => {
    setByHand(false);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      copied();
    } catch {
      setByHand(true);
    }
  };
  return html`<button type="button" class="quiet copy" onClick=${copy} aria-live="polite">${done ? "Copied" : label}</button>
    ${byHand && html`<${Selected} text=${text} copied=${copied} left=${() => setByHand(false)} />`}`;
}

/** Text that stands selected, for the keyboard to copy. */
function Selected({ text, copied, left }) {
  const field = useRef(null);
  useEffect(() => field.current.select(), []);
  // Not before it is copied, which the field would be gone for.
  const later = () => setTimeout(copied);
  return html`<label class="selected">
    Press Ctrl+C, or ⌘C on a Mac
    <textarea ref=${field} class="mono" rows="1" readonly onCopy=${later} onBlur=${left}>${text}</textarea>
  </label>`;
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

/** One of a few, as links: options [{key, label, href}]. What is chosen lies in the address. */
export function Choices({ label, options, chosen }) {
  return html`<div class="segments" role="group" aria-label=${label}>
    ${options.map(
      ({ key, label: text, href }) => html`<a key=${key} href=${href} aria-current=${key === chosen ? "true" : undefined}>${text}</a>`,
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

const SEVERITIES = { error: "Broken", warning: "Costs learning", info: "Worth a look" };

/** What there is to know and to do: found [{severity, what, todo, view}], where `view` names the view to do it in. */
export function Notices({ label, found }) {
  return html`<ul class="notices" aria-label=${label}>
    ${found.map(
      (one) => html`<li key=${one.what} class=${one.severity}>
        <span class="severity">${SEVERITIES[one.severity]}</span>
        <span><strong>${one.what}</strong> ${one.todo} ${one.view && html`<a href=${`#/${one.view}`}>Open ${one.view}</a>`}</span>
      </li>`,
    )}
  </ul>`;
}
