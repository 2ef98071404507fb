// Turns files of past decisions into what a loop learns before its own log, and shows what it has of these.

import { html, useState } from "/page/preact.js";
import { api, useData } from "/page/core.js";
import { Confirm, Failure, Field, Shown, Table, When, lacks, number } from "/page/parts.js";

const FORMATS = { dsjson: "dsjson, Personalizer's", csv: "CSV", parquet: "Parquet" };

/** The imports of past decisions. */
export function Imports({ loop, may }) {
  const held = useData((signal) => api("imports", { signal }), [loop]);
  return html`<section aria-label="Past decisions">
    <h2>Past decisions</h2>
    <p class="muted">A loop learns them before its own log, so that it does not begin with nothing. A new model is made whenever they change.</p>
    <${Shown} of=${held}>
      ${({ value }) =>
        value.length > 0 && html`<${Table} caption="Imported" columns=${columnsOf(may, held.reload)} rows=${value} keyOf=${(row) => row.id} />`}
    <//>
    <${Upload} may=${may} reload=${held.reload} />
  </section>`;
}

const columnsOf = (may, reload) => [
  { label: "Read from", of: (row) => row.source },
  { label: "Imported", of: (row) => html`<${When} at=${row.createdAt} />` },
  { label: "Decided from", of: (row) => html`<${When} at=${row.from} />` },
  { label: "to", of: (row) => html`<${When} at=${row.to} />` },
  { label: "Learned", number: true, of: (row) => number(row.events) },
  { label: "Refused", number: true, of: (row) => html`<span title=${row.problems.join("\n") || undefined}>${number(row.refused)}</span>` },
  { label: "Delete", of: (row) => html`<${Remove} row=${row} may=${may} reload=${reload} />` },
];

function Remove({ row, may, reload }) {
  const act = async () => {
    await api(`imports/${encodeURIComponent(row.id)}`, { method: "DELETE" });
    await reload();
  };
  return html`<${Confirm} label="Delete" danger title="Delete these past decisions?" yes="Delete" act=${act} disabled=${lacks(may, "manage")}>
    <p>A new model is made without them, of the loop's own log and what else is imported. Until it stands, what serves now goes on.</p>
  <//>`;
}

function Upload({ may, reload }) {
  const [given, setGiven] = useState({ format: "dsjson", file: null });
  const [state, setState] = useState({});
  const refused = lacks(may, "manage");
  const send = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      const made = await api("imports", { method: "POST", query: { format: given.format }, body: given.file });
      setState({ made });
      await reload();
    } catch (error) {
      setState({ error });
    }
  };
  return html`<form onSubmit=${send} class="filters">
    <${Field} label="Format">
      <select value=${given.format} onChange=${(event) => setGiven({ ...given, format: event.target.value })}>
        ${Object.entries(FORMATS).map(([name, label]) => html`<option key=${name} value=${name}>${label}</option>`)}
      </select>
    <//>
    <${Field} label="File of past decisions">
      <input type="file" required onChange=${(event) => setGiven({ ...given, file: event.target.files[0] ?? null })} />
    <//>
    <button type="submit" class="quiet" aria-busy=${state.busy} disabled=${Boolean(refused) || state.busy} title=${refused || undefined}>Import decisions</button>
    <${Failure} error=${state.error} />
    ${state.made && html`<p role="status" class="good">${number(state.made.events)} decisions are imported, ${number(state.made.refused)} lines were refused. A new model is made of them.</p>`}
  </form>`;
}
