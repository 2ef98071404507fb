// Turns one evaluation into how far it is, and then into what it found and what can be done with that.

import { html, useState } from "/page/preact.js";
import { LATEST, api, hashOf, useData } from "/page/core.js";
import { Confirm, Figure, Shown, When, lacks, number, save } from "/page/parts.js";
import { Comparison } from "/page/views/evaluations-comparison.js";
import { Course } from "/page/views/evaluations-course.js";
import { Weighed } from "/page/views/evaluations-weighed.js";
import { Status, evaluationAt, reportAt, runs } from "/page/views/evaluations-words.js";

const SECONDS = 3;

/** An evaluation, looked at again while it runs. */
export function Report(view) {
  const { loop, state } = view;
  const [running, setRunning] = useState(true);
  const load = async (signal) => {
    const report = await api(reportAt(state.id), { signal });
    setRunning(runs(report.status));
    return { report, job: runs(report.status) ? await jobOf(report.jobId, signal) : null };
  };
  const held = useData(load, [loop, state.id], { every: running ? SECONDS : 0 });
  return html`<div>
    <p><a href=${hashOf("evaluations")}>← All evaluations</a></p>
    <${Shown} of=${held}>
      ${({ report, job }) => html`
        <${Head} report=${report} ...${view} />
        ${runs(report.status)
          ? html`<${Progress} job=${job} ...${view} reload=${held.reload} />`
          : html`<${Found} report=${report} ...${view} />`}
        <${Weighed} loop=${loop} id=${report.id} />
      `}
    <//>
  </div>`;
}

/** The job of an evaluation; null once its record is gone. */
async function jobOf(id, signal) {
  try {
    return await api(`jobs/${encodeURIComponent(id)}`, { signal });
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

function Head({ report, may, go }) {
  const remove = async () => {
    await api(evaluationAt(report.id), { method: "DELETE", query: LATEST });
    go("evaluations", {}, { replace: true });
  };
  const file = () => save(new Blob([JSON.stringify(report, null, 2)], { type: "application/json" }), "evaluation.json");
  const events = report.policies[0]?.slots[0]?.whole.events;
  return html`
    <div class="head">
      <h1>${report.name || report.id} <${Status} of=${report.status} /></h1>
      <div class="buttons">
        ${!runs(report.status) && html`<button type="button" class="quiet" onClick=${file}>Download</button>`}
        <${Confirm} label="Delete" danger title=${`Delete ${report.name || report.id}?`} yes="Delete" act=${remove} disabled=${lacks(may, "manage")}>
          <p>
            ${runs(report.status) ? "It is canceled, and what it has found so far is gone." : "Its results are gone."} Neither the log nor
            any model changes; a policy that was applied from it stays applied.
          </p>
        <//>
      </div>
    </div>
    <div class="figures">
      <${Figure} label="Log from" value=${html`<${When} at=${report.startTime} />`} />
      <${Figure} label="to" value=${html`<${When} at=${report.endTime} />`} />
      <${Figure} label="Started" value=${html`<${When} at=${report.creationTime} />`} note=${report.evaluationType === "Auto" ? "by auto-optimisation" : "by hand"} />
      ${events !== undefined && html`<${Figure} label="Events looked at" value=${number(events)} />`}
    </div>
  `;
}

function Progress({ job, may, reload }) {
  if (!job) return html`<p role="status">It is about to begin.</p>`;
  const cancel = async () => {
    await api(`jobs/${encodeURIComponent(job.id)}`, { method: "DELETE" });
    await reload();
  };
  return html`<section aria-label="Progress">
    <progress value=${job.piecesDone} max=${job.pieces} aria-label="Pieces done" />
    <p role="status">
      ${number(job.piecesDone)} of ${number(job.pieces)} pieces are done${job.eventsEstimated ? `; ${number(job.events)} of about ${number(job.eventsEstimated)} events are looked at` : ""}.
      ${job.started ? html` Begun <${When} at=${job.started} />.` : " It waits for an instance that has time."}
      ${job.error && html` <span class="warn">The latest try of a piece failed, and is repeated: ${job.error}</span>`}
    </p>
    <div class="buttons">
      <${Confirm} label="Cancel it" title="Cancel this evaluation?" yes="Cancel it" act=${cancel} disabled=${lacks(may, "manage")}>
        <p>It ends without results. The log and the model stay as they are.</p>
      <//>
    </div>
  </section>`;
}

function Found(view) {
  const { report } = view;
  return html`
    ${report.description && html`<p class="lead">${report.description}</p>`}
    ${report.policies.length === 0
      ? html`<div class="empty">
          <p><strong>There are no results.</strong> <a href=${hashOf("evaluations", { show: "new" })}>Start another evaluation</a>.</p>
        </div>`
      : html`<${Comparison} ...${view} /><${Course} ...${view} />`}
  `;
}
