// Turns the loop's latest calls into a list that keeps up with them, and an event id into its story.

import { html, useState } from "/page/preact.js";
import { api, hashOf, useData } from "/page/core.js";
import { Shown, Table, When, number, percent, useId } from "/page/parts.js";
import { Erasing } from "/page/views/events-erasure.js";
import { Story } from "/page/views/events-story.js";

const KEPT_UP_SECONDS = 3;
const KINDS = { rank: "Rank", reward: "Reward", activate: "Activation" };

/** The list, or with `state.id` the story of that event; `state.erasure` is one that was asked for here. */
export default function Events({ may, state, go }) {
  return html`
    <h1>Events</h1>
    <${Find} id=${state.id} go=${go} />
    ${state.erasure && html`<${Erasing} id=${state.erasure} key=${state.erasure} />`}
    ${state.id ? html`<${Story} id=${state.id} may=${may} go=${go} erased=${Boolean(state.erasure)} key=${state.id} />` : html`<${Latest} />`}
  `;
}

function Find({ id, go }) {
  const [typed, setTyped] = useState(id ?? "");
  const [of, setOf] = useState(id);
  if (of !== id) {
    setOf(id);
    setTyped(id ?? "");
  }
  const find = (event) => {
    event.preventDefault();
    if (typed) go("events", { id: typed });
  };
  const field = useId();
  return html`<form class="find" aria-label="Find an event" onSubmit=${find}>
    <label for=${field}>Event id</label>
    <input id=${field} type="search" class="mono" value=${typed} onInput=${(event) => setTyped(event.target.value)}
      required maxlength="256" autocomplete="off" spellcheck="false" placeholder="as Rank answered it, or as you sent it" />
    <button type="submit">Find</button>
    ${id && html`<a href=${hashOf("events")}>All recent events</a>`}
  </form>`;
}

function Latest() {
  const [live, setLive] = useState(true);
  const latest = useData((signal) => api("events", { query: { limit: 50 }, signal }), [], { every: live ? KEPT_UP_SECONDS : 0 });
  return html`<section>
    <div class="head">
      <h2>The latest calls</h2>
      <label><input type="checkbox" role="switch" checked=${live} onChange=${(event) => setLive(event.target.checked)} /> Keep up</label>
    </div>
    <${Shown} of=${latest} empty=${nothing}>${({ events }) => html`<${Calls} calls=${events} />`}<//>
  </section>`;
}

function nothing({ events }) {
  if (events.length) return null;
  return html`<p>
    Nothing has been ranked here lately. Call Rank from your application, or
    <a href=${hashOf("try")}>let the page do it</a>: an event stands here as soon as it is answered.
  </p>`;
}

function Calls({ calls }) {
  const columns = [
    { label: "Time", of: (call) => html`<${When} at=${call.time} short />` },
    { label: "Call", of: (call) => `${KINDS[call.kind] ?? call.kind}${call.deferred ? ", waits for activation" : ""}` },
    { label: "Event", of: (call) => html`<a class="mono" href=${hashOf("events", { id: call.eventId })} title=${call.eventId}>${call.eventId}</a>` },
    { label: "Action", of: (call) => valueOf(call, ({ action }) => action) },
    { label: "Probability", number: true, of: (call) => valueOf(call, ({ propensity }) => propensity && percent(propensity)) },
    { label: "Reward", number: true, of: (call) => valueOf(call, ({ value }) => value !== undefined && number(value)) },
    { label: "Model version", of: (call) => (call.version === null ? "none" : html`<span class="mono">${call.version ?? ""}</span>`) },
  ];
  const counts = Object.entries(KINDS).map(([kind, label]) => [calls.filter((call) => call.kind === kind).length, label]);
  const told = counts.filter(([count]) => count).map(([count, label]) => `${count} × ${label}`);
  return html`<${Table} caption=${`The newest first: ${told.join(", ")}`} columns=${columns} rows=${calls} keyOf=${keyOf} />`;
}

/** What a call has of something, by slot where it is of several. */
function valueOf({ slots, ...call }, of) {
  if (!slots) return of(call) || "";
  return slots.map((slot) => of(slot) && `${slot.id}: ${of(slot)}`).filter(Boolean).join(", ");
}

const keyOf = (call) => `${call.time} ${call.kind} ${call.eventId}`;
