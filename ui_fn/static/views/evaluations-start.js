// Turns a name, a span of the log and what is to be compared into an evaluation that is begun.

import { html, useState } from "/page/preact.js";
import { LATEST, api, hashOf, useData } from "/page/core.js";
import { Failure, Field, Shown, When, dateOf, lacks } from "/page/parts.js";
import { evaluationAt } from "/page/views/evaluations-words.js";

const MOST_POLICIES = 10;
const DAY = 86_400_000;
const SPANS = [["Last 24 hours", 1], ["Last 7 days", 7], ["Last 14 days", 14], ["Last 30 days", 30], ["All of the log", Infinity]];
const USUAL_DAYS = 30;

/** The form that starts an evaluation, once it is known what the log holds. */
export function Start(view) {
  const held = useData(load, [view.loop]);
  return html`<div>
    <p><a href=${hashOf("evaluations")}>← All evaluations</a></p>
    <h1>New evaluation</h1>
    <${Shown} of=${held} empty=${({ log }) => !log && nothing}>
      ${({ log, policy }) => html`<${Form} log=${log} own=${policy.arguments} ...${view} />`}
    <//>
  </div>`;
}

const nothing = html`<p><strong>The log holds nothing yet.</strong></p>
  <p>
    Events get there once their reward wait is over. Send some Rank and Reward calls, from <a href=${hashOf("try")}>Try it</a> for
    example, and come back then.
  </p>`;

async function load(signal) {
  const [{ dateRange }, policy] = await Promise.all([
    api("personalizer/logs/properties", { query: LATEST, signal }),
    api("personalizer/configurations/policy", { query: LATEST, signal }),
  ]);
  if (!dateRange) return { log: null, policy };
  // What is told are the days of the first and the last event, each by its beginning.
  const to = Math.min(dateOf(dateRange.to).getTime() + DAY, Date.now() + 1000);
  return { log: { from: dateOf(dateRange.from), to: new Date(to) }, policy };
}

function Form({ log, own, may, go }) {
  const slots = own.includes("--ccb_explore_adf");
  const [given, setGiven] = useState(() => ({
    name: `Evaluation of ${new Date().toLocaleDateString("en-GB", { dateStyle: "medium" })}`,
    ...spanOf(log, log.to - log.from > USUAL_DAYS * DAY ? USUAL_DAYS : Infinity),
    optimize: true,
    weigh: false,
    policies: [],
  }));
  const [state, setState] = useState({});
  const set = (changed) => setGiven((was) => ({ ...was, ...changed }));
  const start = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      const { id, notWeighed } = await begin(given);
      if (notWeighed) setState({ id, notWeighed });
      else go("evaluations", { id });
    } catch (failure) {
      setState({ failure });
    }
  };
  const { failure } = state;
  const wrong = (target) => failure?.target === target && failure.message;
  const placed = /^(name|startTime|policies\[.*)$/.test(failure?.target);
  if (state.id) return html`<${Half} ...${state} />`;
  return html`<form onSubmit=${start} class="narrow">
    <${Field} label="Name" wrong=${wrong("name")}>
      <input value=${given.name} maxlength="256" required onInput=${(event) => set({ name: event.target.value })} />
    <//>
    <fieldset>
      <legend>Part of the log</legend>
      <p class="muted">It holds events from <${When} at=${log.from / 1000} /> on. What is not joined yet is not looked at.</p>
      <div class="buttons">
        ${SPANS.map(([label, days]) => html`<button key=${label} type="button" class="quiet" onClick=${() => set(spanOf(log, days))}>${label}</button>`)}
      </div>
      <div class="columns">
        <${Field} label="From" wrong=${wrong("startTime")}>
          <input type="datetime-local" step="1" required value=${given.from} onInput=${(event) => set({ from: event.target.value })} />
        <//>
        <${Field} label="To" help="In local time; this moment itself is left out.">
          <input type="datetime-local" step="1" required value=${given.to} onInput=${(event) => set({ to: event.target.value })} />
        <//>
      </div>
      <p class="muted">Ask for 5,000 events or more before you choose between policies: on short logs good ones look worse than they will be.</p>
    </fieldset>
    <fieldset>
      <legend>Compare</legend>
      <p class="muted">What decided, the first action, and all actions alike are compared in any case.</p>
      <label><input type="checkbox" role="switch" checked=${given.optimize} onChange=${(event) => set({ optimize: event.target.checked })} />
        Look for better policies: some 120 are tried, and the best five are told of</label>
      <label title=${slots ? "Features of multi-slot loops cannot be weighed." : undefined}>
        <input type="checkbox" role="switch" checked=${given.weigh} disabled=${slots} onChange=${(event) => set({ weigh: event.target.checked })} />
        Weigh how much each feature matters${slots ? ": not for multi-slot loops" : ""}</label>
    </fieldset>
    <${Policies} given=${given.policies} own=${own} failure=${failure} set=${(policies) => set({ policies })} />
    ${!placed && html`<${Failure} error=${failure} />`}
    <div class="buttons">
      <button type="submit" aria-busy=${state.busy} disabled=${state.busy || !may.manage} title=${lacks(may, "manage") || undefined}>Start</button>
      <a href=${hashOf("evaluations")}>Cancel</a>
    </div>
  </form>`;
}

/** That the evaluation is begun, but features are not weighed. */
const Half = ({ id, notWeighed }) => html`
  <p role="status">The evaluation is begun: <a href=${hashOf("evaluations", { id })}>see how far it is</a>. Only its features are not weighed:</p>
  <${Failure} error=${notWeighed} />
`;

/** Policies of the caller's own: each a name and VW's options. */
function Policies({ given, own, failure, set }) {
  const change = (at, changed) => set(given.map((one, n) => (n === at ? { ...one, ...changed } : one)));
  const wrong = (at, member) => failure?.target === `policies[${at}].${member}` && failure.message;
  const add = () => set([...given, { name: `mine ${given.length + 1}`, arguments: own }]);
  return html`<fieldset>
    <legend>Policies of your own</legend>
    ${given.map(
      (one, at) => html`<fieldset class="boxed" key=${at} aria-label=${`Policy ${at + 1}`}>
        <${Field} label="Name of the policy" wrong=${wrong(at, "name")}>
          <input value=${one.name} maxlength="256" required onInput=${(event) => change(at, { name: event.target.value })} />
        <//>
        <${Field} label="Arguments" help="Options of Vowpal Wabbit, as in the loop's learning settings." wrong=${wrong(at, "arguments")}>
          <textarea class="mono" rows="2" maxlength="1024" required spellcheck=${false} value=${one.arguments}
            onInput=${(event) => change(at, { arguments: event.target.value })} />
        <//>
        <button type="button" class="quiet" onClick=${() => set(given.filter((_, n) => n !== at))}>Remove ${one.name || "it"}</button>
      </fieldset>`,
    )}
    <button type="button" class="quiet" onClick=${add} disabled=${given.length >= MOST_POLICIES}>
      Add a policy${given.length ? ` (${given.length} of ${MOST_POLICIES})` : ""}
    </button>
  </fieldset>`;
}

const pad = (value) => String(value).padStart(2, "0");
/** A time as a field of local time takes it. */
const fieldOf = (date) =>
  `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}T${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;

/** The last so many days of the log, or all of it. */
const spanOf = ({ from, to }, days) => ({ from: fieldOf(new Date(Math.max(from.getTime(), to.getTime() - days * DAY))), to: fieldOf(to) });

/** An id that sorts by time and that nobody else takes. */
function newId() {
  const [chance] = crypto.getRandomValues(new Uint32Array(1));
  return `${new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-")}-${chance.toString(16).padStart(8, "0")}`;
}

async function begin({ name, from, to, optimize, weigh, policies }) {
  const id = newId();
  const span = { name, startTime: new Date(from).toISOString(), endTime: new Date(to).toISOString() };
  await api(evaluationAt(id), { method: "PUT", query: LATEST, body: { ...span, policies, enablePolicyOptimization: optimize } });
  if (!weigh) return { id };
  try {
    await api(`personalizer/featureImportances/${id}`, { method: "PUT", query: LATEST, body: span });
    return { id };
  } catch (notWeighed) {
    return { id, notWeighed };
  }
}
