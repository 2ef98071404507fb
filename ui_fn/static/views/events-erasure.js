// Turns the wish that an event be gone into a question that says what goes and what stays, and then into how far it is.

import { html } from "/page/preact.js";
import { api, eventAt, useData } from "/page/core.js";
import { Confirm, Figure, Shown, When, lacks, number } from "/page/parts.js";

const LOOKED_SECONDS = 3;

/** A button that erases an event, once it was said what that means. erased: (id of the erasure) => void. */
export function Erase({ id, may, erased }) {
  const act = async () => erased((await api(eventAt(id), { method: "DELETE" })).id);
  return html`<${Confirm} label="Erase this event" title="Erase this event for ever?" yes="Erase it" danger
    disabled=${lacks(may, "manage")} act=${act}>
    <p>The event <code class="mono">${id}</code> is hidden at once from all that reads the log, and then removed:</p>
    <ul>
      <li>its Rank calls with their context, and its rewards and activations,</li>
      <li>from the journal, the joined log, Parquet and the indexes.</li>
    </ul>
    <p>
      What stays: models that have learned it, results of evaluations that ran before, and what was mirrored or backed up
      elsewhere. The record of the erasure names no event. Nobody can take this back.
    </p>
  <//>`;
}

/** How far an erasure is. */
export function Erasing({ id }) {
  const record = useData((signal) => api(`erasures/${encodeURIComponent(id)}`, { signal }), [id], { every: LOOKED_SECONDS });
  return html`<section class="boxed" aria-label="Erasure">
    <h2>Erasure</h2>
    <${Shown} of=${record}>${(found) => html`<${Progress} record=${found} />`}<//>
  </section>`;
}

function Progress({ record }) {
  const { events, observations, windows, rows, hours } = record.removed;
  const done = record.status === "done";
  return html`
    <p role="status">
      ${done
        ? html`<strong class="good">Done</strong> <${When} at=${record.doneAt} />: nothing of it is stored any more.`
        : html`<strong>Running</strong>: the event is hidden from everything that reads the log. It is removed within
            minutes; a pass fifteen minutes later sees that it has stayed so, and then the erasure is done.`}
    </p>
    <div class="figures">
      <${Figure} label="Asked for" value=${html`<${When} at=${record.at} short />`} note="what arrived before is erased" />
      <${Figure} label="Events removed" value=${number(events)} />
      <${Figure} label="Rewards and activations" value=${number(observations)} />
      <${Figure} label="Stored pieces rewritten" value=${number(windows + rows + hours)}
        note=${`${windows} windows, ${rows} journal rows, ${hours} hours`} />
    </div>
    <p class="muted">Its id is <code class="mono">${record.id}</code>: keep it with your own notes.</p>
  `;
}
