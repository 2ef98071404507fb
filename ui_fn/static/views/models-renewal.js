// Turns the jobs of a loop into how far its new model is: why it is made, its progress, and what came of it.

import { html, useEffect, useRef } from "/page/preact.js";
import { api, hashOf, useData } from "/page/core.js";
import { Confirm, Failure, When, lacks, number } from "/page/parts.js";
import { shortOf } from "/page/views/models-words.js";
import { runs } from "/page/views/evaluations-words.js";

const SECONDS = 4;
const LOOKED_AT = 10;

/**
 * A new model that is being made, has been made since this was first shown, or was asked for; nothing otherwise.
 *
 * expected: how many were asked for here. onEnd: called when one has come to its end.
 */
export function Renewal({ loop, may, expected, onEnd }) {
  const seen = useRef({});
  useEffect(() => {
    seen.current.after = seen.current.newest;
  }, [expected]);
  const load = async (signal) => {
    const { value } = await api("jobs", { query: { maxpagesize: LOOKED_AT }, signal });
    seen.current.newest = value[0]?.id ?? "";
    seen.current.after ??= seen.current.newest;
    const found = value.filter((job) => job.kind === "retrain");
    const running = found.find((job) => runs(job.status));
    if (running) seen.current.running = running.id;
    const ended = found.find((job) => job.id === seen.current.running || job.id > seen.current.after);
    if (!running && ended && seen.current.ended !== ended.id) {
      seen.current.ended = ended.id;
      onEnd?.();
    }
    return running ?? ended ?? null;
  };
  const held = useData(load, [loop, expected], { every: SECONDS });
  return html`<div>
    ${held.data === undefined && html`<${Failure} error=${held.error} retry=${held.reload} />`}
    ${held.data && html`<${Told} job=${held.data} may=${may} reload=${held.reload} />`}
    ${held.data === null &&
    expected > 0 &&
    html`<section class="notice" aria-label="New model" role="status">
      <p aria-busy="true">It is applied. The new model is begun within a minute; what serves now goes on until it stands.</p>
    </section>`}
  </div>`;
}

function Told({ job, may, reload }) {
  if (!runs(job.status)) return html`<${Ended} job=${job} />`;
  const cancel = async () => {
    await api(`jobs/${encodeURIComponent(job.id)}`, { method: "DELETE" });
    await reload();
  };
  return html`<section class="notice" aria-label="New model">
    <h2>A new model is being made</h2>
    ${job.cause && html`<p>Since ${job.cause}.</p>`}
    <progress value=${job.piecesDone} max=${job.pieces} aria-label="Pieces learned" />
    <p role="status">
      ${number(job.piecesDone)} of ${number(job.pieces)} pieces are learned, ${number(job.events)} events${job.eventsEstimated ? ` of about ${number(job.eventsEstimated)}` : ""}.
      What serves now goes on until it stands. ${job.error && html`<span class="warn">The latest try failed, and is repeated: ${job.error}</span>`}
    </p>
    <${Confirm} label="Cancel it" title="Go on without the new model?" yes="Cancel it" act=${cancel} disabled=${lacks(may, "manage")}>
      <p>
        The loop goes on with the model that serves and learns now, by the settings of now but with its own policy. No other job is
        begun for these settings; changing one of them begins one.
      </p>
    <//>
  </section>`;
}

const ENDS = { Failed: "failed", Canceled: "was canceled", Timeout: "timed out" };

function Ended({ job }) {
  if (job.status === "Succeeded") {
    return html`<section class="notice" aria-label="New model" role="status">
      <p class="good">
        The new model stands${job.version ? html`: version <a href=${hashOf("models", { version: job.version })}>${shortOf(job.version)}</a>` : ""},
        since <${When} at=${job.ended} />. ${job.outcome}
      </p>
      <p>If it does worse than the one before, roll back to that one in <a href=${hashOf("models")}>Models</a>.</p>
    </section>`;
  }
  return html`<section class="notice" aria-label="New model" role="status">
    <p class="bad">The new model ${ENDS[job.status] ?? job.status}. What served before goes on. ${job.error ?? job.outcome}</p>
  </section>`;
}
