// Turns a loop's jobs into a list of what is being done, why, and how far it is.

import { html, useEffect, useState } from "/page/preact.js";
import { api, hashOf, useData } from "/page/core.js";
import { Confirm, Shown, Table, When, lacks, number } from "/page/parts.js";

const KINDS = { retrain: "New model", evaluate: "Evaluation", importance: "Feature importance" };
const SHOWN = 50;
/** Seconds from one look to the next, while nothing is being done, and while something is. */
const [IDLE, BUSY] = [20, 3];
const ended = (job) => !["Running", "NotSubmitted"].includes(job.status);

export default function Jobs({ may, held, state }) {
  const [every, setEvery] = useState(IDLE);
  const of = useData((signal) => api("jobs", { query: { top: SHOWN }, signal }), [held.loop], { every });
  useEffect(() => setEvery(of.data?.value.every(ended) ? IDLE : BUSY), [of.data]);
  const cancel = (job) => async () => {
    await api(`jobs/${encodeURIComponent(job.id)}`, { method: "DELETE" });
    await of.reload();
  };
  const columns = [
    { label: "What", of: (job) => html`<strong>${KINDS[job.kind] ?? job.kind}</strong>${job.id === state.job ? html` <span class="badge">linked</span>` : ""}<br /><small>${job.cause}</small>` },
    { label: "Status", of: (job) => html`${job.status}<br /><small>${job.error ?? job.outcome ?? progress(job)}</small>` },
    { label: "Begun", of: (job) => html`<${When} at=${job.started ?? job.created} />` },
    { label: "Came of it", of: (job) => (job.version ? html`<a class="mono" href=${hashOf("models", { version: job.version })}>${job.version}</a>` : "–") },
    { label: "", of: (job) => (ended(job) ? "" : html`<${Cancel} job=${job} act=${cancel(job)} may=${may} />`) },
  ];
  return html`<${Shown} of=${of} empty=${({ value }) => (value.length ? null : html`<p>Nothing was done for this loop yet. A change of a setting that shapes the model makes a new one: that is a job, and so are evaluations.</p>`)}>
    ${({ value }) => html`<${Table} caption="Jobs, the newest first" rows=${value} keyOf=${(job) => job.id} columns=${columns} />`}
  <//>`;
}

function progress(job) {
  const events = job.eventsEstimated ? `${number(job.events)} of about ${number(job.eventsEstimated)} events` : `${number(job.events)} events`;
  return job.pieces > 1 ? `${job.piecesDone} of ${job.pieces} pieces, ${events}` : events;
}

function Cancel({ job, act, may }) {
  return html`<${Confirm} label="Cancel it" title="Cancel this job?" yes="Cancel the job" act=${act} disabled=${lacks(may, "manage")}>
    <p>${job.kind === "retrain" ? "The old model goes on serving and learning, by its own policy; no new one is made until a setting changes again." : "What it has computed so far is thrown away."}</p>
  <//>`;
}
