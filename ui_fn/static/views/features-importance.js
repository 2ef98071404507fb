// Turns feature importances, and the wish for one, into a form, a progress and bars.

import { html, useState } from "/page/preact.js";
import { LATEST, api, useData } from "/page/core.js";
import { Failure, Field, Shown, When, Whiskers, lacks, number } from "/page/parts.js";
import { importanceRows } from "/page/views/features.js";

const OF = [["1", "the last day"], ["7", "the last 7 days"], ["30", "the last 30 days"]];
const RUNNING = new Set(["Running", "NotSubmitted"]);

/** What matters: of the importance that `state.importance` names, or of the latest. */
export function Importances({ loop, may, state, go }) {
  const listed = useData(
    async (signal) => (await api("personalizer/featureImportances", { query: { ...LATEST, top: 20 }, signal })).value,
    [loop],
    { every: 10 },
  );
  const choose = (importance) => go("features", { ...state, importance });
  return html`<section aria-labelledby="matters">
    <h2 id="matters">Which features matter</h2>
    <p class="muted">A model learns one half of the events; on the other half each feature is shuffled in turn. What the policy would
      lose without the feature is how much it matters.</p>
    <${Start} may=${may} started=${(id) => (listed.reload(), choose(id))} />
    <${Shown} of=${listed} empty=${(all) => (all.length || state.importance ? null : html`<p>None was computed yet. Some thousand events give a first answer: start one.</p>`)}>
      ${(all) => html`<${Chosen} all=${all} asked=${state.importance} may=${may} choose=${choose} reload=${listed.reload} />`}
    <//>
  </section>`;
}

function Start({ may, started }) {
  const [days, setDays] = useState("7");
  const [sent, setSent] = useState({});
  const begin = async (event) => {
    event.preventDefault();
    setSent({ busy: true });
    const now = new Date();
    const id = `page-${now.toISOString().replace(/\D/g, "").slice(0, 14)}`;
    const startTime = new Date(now - 86_400_000 * Number(days)).toISOString();
    const name = `Features, ${OF.find(([key]) => key === days)[1]}`;
    try {
      const body = { name, startTime, endTime: now.toISOString() };
      await api(`personalizer/featureImportances/${id}`, { method: "PUT", query: LATEST, body });
      setSent({});
      started(id);
    } catch (error) {
      setSent({ error });
    }
  };
  return html`<form class="start" onSubmit=${begin}>
    <${Field} label="Weigh the features of">
      <select value=${days} onChange=${(event) => setDays(event.target.value)}>
        ${OF.map(([key, label]) => html`<option key=${key} value=${key}>${label}</option>`)}
      </select>
    <//>
    <button type="submit" aria-busy=${sent.busy} disabled=${!may.manage || sent.busy} title=${lacks(may, "manage") || undefined}>Start</button>
    <${Failure} error=${sent.error} />
  </form>`;
}

function Chosen({ all, asked, may, choose, reload }) {
  const listed = asked ? all.find((one) => one.id === asked) : (all.find((one) => one.status === "Succeeded") ?? all[0]);
  const shown = listed?.id ?? asked;
  return html`
    ${(all.length > 1 || !listed) &&
    html`<${Field} label="Shown">
      <select value=${shown} onChange=${(event) => choose(event.target.value)}>
        ${!listed && html`<option key=${shown} value=${shown}>${shown} · not among the latest</option>`}
        ${all.map((one) => html`<option key=${one.id} value=${one.id}>${one.name} · ${new Date(one.creationTime).toLocaleString("en-GB")} · ${one.status}</option>`)}
      </select>
    <//>`}
    ${listed ? html`<${One} of=${listed} may=${may} reload=${reload} />` : html`<${Older} key=${shown} id=${shown} may=${may} reload=${reload} />`}
  `;
}

/** One that the list does not reach back to, or that was never there. */
function Older({ id, may, reload }) {
  const found = useData((signal) => api(`personalizer/featureImportances/${encodeURIComponent(id)}`, { query: LATEST, signal }), [id]);
  return html`<${Shown} of=${found}>${(one) => html`<${One} of=${one} may=${may} reload=${reload} />`}<//>`;
}

function One({ of, may, reload }) {
  return RUNNING.has(of.status)
    ? html`<${Running} key=${of.id} of=${of} may=${may} reload=${reload} />`
    : html`<${Report} key=${of.id + of.status} of=${of} />`;
}

function Running({ of, may, reload }) {
  const job = useData(
    async (signal) => (await api("jobs", { query: { top: 20 }, signal })).value.find((one) => one.cause === `feature importance ${of.id}`) ?? {},
    [of.id],
    { every: 3 },
  );
  const [failed, setFailed] = useState(null);
  const cancel = async () => {
    try {
      await api(`personalizer/featureImportances/${encodeURIComponent(of.id)}`, { method: "DELETE", query: LATEST });
      reload();
    } catch (error) {
      setFailed(error);
    }
  };
  const told = job.data ?? {};
  const since = told.started ? html`at work since <${When} at=${told.started} short />` : "it waits for its turn";
  return html`<div class="empty" role="status">
    <p aria-busy="true">${of.name}: ${since}${told.pieces ? `; ${told.piecesDone} of ${told.pieces} pieces are done` : ""}.
      It takes a minute or so. ${told.error && html`<span class="warn">Tried again after: ${told.error}</span>`}</p>
    <progress value=${told.pieces ? told.piecesDone : undefined} max=${told.pieces || 1} aria-label="Progress"></progress>
    <button type="button" class="quiet" onClick=${cancel} disabled=${!may.manage} title=${lacks(may, "manage") || undefined}>Cancel</button>
    <${Failure} error=${failed} />
  </div>`;
}

function Report({ of }) {
  const report = useData((signal) => api(`featureImportances/${encodeURIComponent(of.id)}`, { signal }), [of.id]);
  return html`<${Shown} of=${report} empty=${nothing}>
    ${(told) => html`
      <p class="muted">
        Of ${number(told.events)} events from <${When} at=${of.startTime} /> to <${When} at=${of.endTime} />, worth ${number(Math.round(told.effective))} of the policy's own.
        With all features it earns ${number(told.value)}. Bars: what is lost, in units of the reward, with 95 % intervals. Pale ones may be chance.
        Features that say the same hide each other.
      </p>
      ${told.description && html`<p class="warn">${told.description}</p>`}
      <${Whiskers} label="What is lost without a feature" rows=${importanceRows(told.features)} zero />
    `}
  <//>`;
}

function nothing(told) {
  if (told.features.length) return null;
  return html`<p>It ended as ${told.status}. ${told.description ?? "No feature was weighed: more events are needed."}</p>`;
}
