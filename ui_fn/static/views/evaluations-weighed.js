// Turns the feature importance that was started with an evaluation into bars, where there is one.

import { html, useState } from "/page/preact.js";
import { LATEST, all, api, useData } from "/page/core.js";
import { Shown, Whiskers, number } from "/page/parts.js";
import { runs } from "/page/views/evaluations-words.js";

const MOST = 15;
const SECONDS = 5;

/** How much the features of an evaluation's span matter; nothing where that was not asked for. */
export function Weighed({ loop, id }) {
  const [running, setRunning] = useState(false);
  const load = async (signal) => {
    const listed = await all("personalizer/featureImportances", { query: LATEST });
    if (!listed.some((one) => one.id === id)) return null;
    const report = await api(`featureImportances/${encodeURIComponent(id)}`, { signal });
    setRunning(runs(report.status));
    return report;
  };
  const held = useData(load, [loop, id], { every: running ? SECONDS : 0 });
  if (held.data === null || (held.data === undefined && !held.error)) return null;
  return html`<section aria-label="Features">
    <h2>How much each feature matters</h2>
    <${Shown} of=${held} empty=${emptyOf}>${(report) => html`<${Bars} of=${report} />`}<//>
  </section>`;
}

function emptyOf({ status, features, description }) {
  if (runs(status)) return html`<p role="status" aria-busy="true">Features are being weighed.</p>`;
  if (features.length === 0) return html`<p>${description ?? "Nothing came of it."}</p>`;
  return null;
}

function Bars({ of }) {
  const rows = of.features.slice(0, MOST).map(({ namespace, featureName, loss, error }) => ({
    label: `${featureName} (${namespace === "FromUrl" ? "context" : namespace === "j" ? "action" : namespace === "i" ? "action id" : namespace})`,
    value: loss,
    low: loss - 1.96 * error,
    high: loss + 1.96 * error,
  }));
  return html`
    <${Whiskers} label="Reward lost an event without the feature, with its 95 % interval" rows=${rows} zero=${true} />
    <p class="muted">
      What is lost of ${number(of.value)} an event when a feature is permuted, on ${number(of.events)} events after ${number(of.learned)} were
      learned. ${of.features.length > MOST ? `The first ${MOST} of ${number(of.featuresFound)}. ` : ""}An interval that holds 0 may be chance.
    </p>
    ${of.description && html`<p>${of.description}</p>`}
  `;
}
