// Turns the evaluations of a loop into a list of them that can be narrowed down.

import { html } from "/page/preact.js";
import { LATEST, all, hashOf, useData } from "/page/core.js";
import { Field, Shown, Table, When } from "/page/parts.js";
import { STATUSES, Status } from "/page/views/evaluations-words.js";

const MOST = 500;

/** All evaluations, the newest first, narrowed down by what the address says. */
export function List({ loop, state, go }) {
  const held = useData(() => all("personalizer/evaluations", { query: LATEST, most: MOST }), [loop], { every: 10 });
  return html`<div>
    <${Shown} of=${held} empty=${(found) => found.length === 0 && nothing}>
      ${(found) => html`<${Narrowed} found=${found} state=${state} go=${go} />`}
    <//>
  </div>`;
}

const nothing = html`<p><strong>There is no evaluation yet.</strong></p>
  <p>
    Start one once the log holds some thousand events: it tells what other policies would have earned, and looks for better
    ones. A policy that wins can be applied from here.
  </p>`;

function Narrowed({ found, state, go }) {
  const set = (name) => (event) => go("evaluations", { ...state, [name]: event.target.value }, { replace: true });
  const wanted = (state.find ?? "").toLowerCase();
  const rows = found.filter(
    (one) =>
      (!state.status || one.status === state.status) &&
      (!state.type || one.evaluationType === state.type) &&
      one.name.toLowerCase().includes(wanted),
  );
  const there = Object.keys(STATUSES).filter((status) => status === state.status || found.some((one) => one.status === status));
  return html`
    <div class="filters">
      <${Field} label="Name contains"><input type="search" value=${state.find ?? ""} onInput=${set("find")} /><//>
      <${Field} label="Status">
        <select value=${state.status ?? ""} onChange=${set("status")}>
          <option value="">any</option>
          ${there.map((status) => html`<option key=${status} value=${status}>${STATUSES[status]}</option>`)}
        </select>
      <//>
      <${Field} label="Started">
        <select value=${state.type ?? ""} onChange=${set("type")}>
          <option value="">by anybody</option>
          <option value="Manual">by hand</option>
          <option value="Auto">by auto-optimisation</option>
        </select>
      <//>
    </div>
    ${rows.length === 0
      ? html`<div class="empty"><p>None of the ${found.length} evaluations is like that. <a href=${hashOf("evaluations")}>Show all</a></p></div>`
      : html`<${Table} caption=${told(rows.length, found.length)} columns=${COLUMNS} rows=${rows} keyOf=${(row) => row.id} />`}
  `;
}

const told = (shown, held) => (shown === held ? `${held} ${held === 1 ? "evaluation" : "evaluations"}` : `${shown} of ${held} evaluations`);

const COLUMNS = [
  { label: "Name", of: (row) => html`<a href=${hashOf("evaluations", { id: row.id })}>${row.name || row.id}</a>` },
  { label: "Status", of: (row) => html`<${Status} of=${row.status} />` },
  { label: "Started", of: (row) => (row.evaluationType === "Auto" ? "by auto-optimisation" : "by hand") },
  { label: "On", of: (row) => html`<${When} at=${row.creationTime} />` },
  { label: "Log from", of: (row) => html`<${When} at=${row.startTime} />` },
  { label: "to", of: (row) => html`<${When} at=${row.endTime} />` },
];
