// Turns an evaluation's report into dots with whiskers, a table of its policies, and the step that applies one.

import { html, useState } from "/page/preact.js";
import { LATEST, api, useData } from "/page/core.js";
import { Copy, Failure, Field, Table, When, Whiskers, number } from "/page/parts.js";
import { Apply } from "/page/views/evaluations-apply.js";
import { Renewal } from "/page/views/models-renewal.js";
import { ESTIMATES, SOURCES } from "/page/views/evaluations-words.js";

/** Which estimate of which part of the log is shown, as the address says: made sound where it does not. */
export function chosen(report, state) {
  const slots = report.policies[0].slots.map((slot) => slot.slotId);
  return {
    estimate: state.estimate in ESTIMATES ? state.estimate : "snips",
    part: state.part === "whole" || !report.judgedFrom ? "whole" : "judged",
    slot: slots.includes(state.slot) ? state.slot : slots[0],
    slots,
  };
}

/** Policies with what is known of them in a slot and a part of the log, the best first. */
export function ordered(report, { estimate, part, slot }) {
  const rows = report.policies.flatMap((policy) => {
    const found = policy.slots.find((one) => one.slotId === slot);
    return found ? [{ ...policy, known: found[part], shown: found[part][estimate] }] : [];
  });
  return rows.sort((a, b) => b.shown.value - a.shown.value);
}

/** What the policies would have earned, beside each other. */
export function Comparison(view) {
  const { loop, report, state, go } = view;
  const [applied, setApplied] = useState(0);
  const choice = chosen(report, state);
  const rows = ordered(report, choice);
  const own = useData(ownOf, [loop, applied]);
  const online = rows.find((row) => row.policySource === "Online");
  const set = (name) => (event) => go("evaluations", { ...state, [name]: event.target.value }, { replace: true });
  const apply = (row) => html`<${Apply} row=${row} online=${online} own=${own.data} onApplied=${() => setApplied(applied + 1)} ...${view} />`;
  return html`<section aria-label="Comparison">
    <${Renewal} loop=${loop} may=${view.may} expected=${applied} />
    <h2>What each policy would have earned</h2>
    <${Choice} report=${report} choice=${choice} set=${set} />
    <${Whiskers} label="Average reward of an event, with its 95 % interval" rows=${rows.map((row) => whisker(row, report))} reference=${online?.shown.value} />
    <p class="muted">
      ${ESTIMATES[choice.estimate][1]} Lines are 95 % intervals; the dashed one is what decided. A faint one cannot be trusted yet.
    </p>
    <${Failure} error=${own.error} retry=${own.reload} />
    <${Table} caption="Policies" columns=${[...COLUMNS, { label: "Apply", of: apply }]} rows=${rows} keyOf=${(row) => row.name} />
  </section>`;
}

async function ownOf(signal) {
  const [policy, service, { value }] = await Promise.all([
    api("personalizer/configurations/policy", { query: LATEST, signal }),
    api("personalizer/configurations/service", { query: LATEST, signal }),
    api("versions", { query: { maxpagesize: 20 }, signal }),
  ]);
  return { arguments: policy.arguments, service, serving: value.find((one) => one.serves) };
}

function Choice({ report, choice, set }) {
  return html`<div class="filters">
    <${Field} label="Estimate">
      <select value=${choice.estimate} onChange=${set("estimate")}>
        ${Object.entries(ESTIMATES).map(([name, [label]]) => html`<option key=${name} value=${name}>${label}</option>`)}
      </select>
    <//>
    ${report.judgedFrom &&
    html`<${Field} label="Judged by">
      <select value=${choice.part} onChange=${set("part")}>
        <option value="judged">the last part of the log</option>
        <option value="whole">all of the log</option>
      </select>
    <//>`}
    ${choice.slots.length > 1 &&
    html`<${Field} label="Slot">
      <select value=${choice.slot} onChange=${set("slot")}>
        ${choice.slots.map((slot) => html`<option key=${slot} value=${slot}>${slot || "all slots"}</option>`)}
      </select>
    <//>`}
    ${report.judgedFrom && choice.part === "judged" && html`<p class="muted">From <${When} at=${report.judgedFrom} /> on: nothing was chosen by it.</p>`}
  </div>`;
}

const REFERENCES = ["Online", "Baseline", "Random"];

function whisker({ name, policySource, known, shown }, report) {
  const tones = [REFERENCES.includes(policySource) ? "aside" : "", name === report.optimalPolicy ? "best" : "", known.trusted ? "" : "doubted"];
  return { label: `${name} · ${SOURCES[policySource]}`, ...shown, tone: tones.join(" "), note: doubt(known) };
}

/** Why an interval cannot be trusted, in a line; "" where it can. */
function doubt({ trusted, moreEvents, effectiveEvents, says }) {
  if (trusted) return "";
  if (!moreEvents) return says;
  return `Not to be trusted yet: worth ${number(Math.round(effectiveEvents))} events of its own. About ${number(moreEvents)} more events are needed.`;
}

const COLUMNS = [
  { label: "Policy", of: (row) => html`<strong>${row.name}</strong>` },
  { label: "Average reward", number: true, of: (row) => number(row.shown.value, 4) },
  { label: "95 % interval", number: true, of: (row) => `${number(row.shown.low)} … ${number(row.shown.high)}` },
  { label: "Events", number: true, of: (row) => number(row.known.events) },
  { label: "Effective", number: true, of: (row) => number(Math.round(row.known.effectiveEvents)) },
  { label: "Enough?", of: (row) => html`<${Trust} of=${row.known} />` },
  {
    label: "Arguments",
    of: (row) =>
      row.arguments
        ? html`<span class="copied"><code class="clip short" title=${row.arguments}>${row.arguments}</code><${Copy} text=${row.arguments} /></span>`
        : "–",
  },
];

function Trust({ of }) {
  if (of.trusted) return html`<span class="good">yes</span>`;
  const more = of.moreEvents ? `about ${number(of.moreEvents)} more` : "cannot tell";
  return html`<span class="warn whole" title=${of.says}>${more}</span>`;
}
