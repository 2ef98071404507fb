// Turns the bins of an evaluation into how each policy would have gone over time.

import { html, useMemo } from "/page/preact.js";
import { LATEST, api, useData } from "/page/core.js";
import { Field, Shown, TimeChart, dateOf } from "/page/parts.js";
import { chosen, ordered } from "/page/views/evaluations-comparison.js";
import { evaluationAt } from "/page/views/evaluations-words.js";

const BINS = { 5: "all so far", 60: "by the hour", 360: "by 6 hours", 720: "by 12 hours", 1440: "by the day" };
const AT_FIRST = 4;
const MOST = 6;

/** The course of some policies, by IPS: what the five minute bins hold. */
export function Course({ loop, report, state, go }) {
  const minutes = state.bins in BINS ? Number(state.bins) : 5;
  const choice = chosen(report, state);
  const shown = namesOf(report, choice, state.shown);
  const held = useData((signal) => load(report, minutes, signal), [loop, report.id, report.status, minutes]);
  const set = (changed) => go("evaluations", { ...state, ...changed }, { replace: true });
  const turn = (name) => (event) =>
    set({ shown: JSON.stringify(event.target.checked ? [...shown, name] : shown.filter((one) => one !== name)) });
  return html`<section aria-label="Over time">
    <h2>Over time</h2>
    <div class="filters">
      <${Field} label="Average reward">
        <select value=${minutes} onChange=${(event) => set({ bins: event.target.value })}>
          ${Object.entries(BINS).map(([size, label]) => html`<option key=${size} value=${size}>${label}</option>`)}
        </select>
      <//>
    </div>
    <fieldset class="checks">
      <legend>Policies</legend>
      ${report.policies.map(
        ({ name }) => html`<label key=${name}>
          <input type="checkbox" checked=${shown.includes(name)} disabled=${!shown.includes(name) && shown.length >= MOST} onChange=${turn(name)} />
          ${name}
        </label>`,
      )}
    </fieldset>
    <${Shown} of=${held} empty=${(found) => found.length === 0 && html`<p>There are no events to show.</p>`}>
      ${(found) => html`<${Chart} found=${found.filter((one) => one.slotId === choice.slot)} names=${shown} />`}
    <//>
    <p class="muted">By IPS, with 95 % intervals, over all events of the span. Replayed policies begin with nothing, and learn as they go.</p>
  </section>`;
}

/** The names that the address asks for, or what decided, the baseline and the best. */
function namesOf(report, choice, asked) {
  const names = report.policies.map((one) => one.name);
  try {
    if (asked) return JSON.parse(asked).filter((name) => names.includes(name)).slice(0, MOST);
  } catch {
    // Not of this page's making: shown as if nothing was asked.
  }
  const best = ordered(report, choice).map((one) => one.name);
  const first = report.policies.filter((one) => ["Online", "Baseline"].includes(one.policySource)).map((one) => one.name);
  return [...new Set([...first, ...best])].slice(0, Math.min(AT_FIRST, names.length));
}

function Chart({ found, names }) {
  const { times, series } = useMemo(() => columnsOf(found, names), [found.map((one) => one.name).join(), names.join(), found[0]?.data]);
  if (times.length === 1) return html`<div class="empty"><p>All of its events lie in one such span: there is no course to show.</p></div>`;
  return html`<${TimeChart} label="Average reward of an event" times=${times} series=${series} />`;
}

/** Series over the times of all of them. */
function columnsOf(found, names) {
  const kept = names.flatMap((name) => found.filter((one) => one.name === name));
  const times = [...new Set(kept.flatMap((one) => one.data.map((point) => point.time)))].sort((a, b) => a - b);
  const series = kept.map((one) => {
    const at = new Map(one.data.map((point) => [point.time, point]));
    const column = (of) => times.map((time) => (at.has(time) ? (of(at.get(time)) ?? null) : null));
    return { label: one.name, values: column((p) => p.value), low: column((p) => p.low), high: column((p) => p.high) };
  });
  return { times, series };
}

/** The bins as [{name, slotId, data: [{time, value, low, high}]}]. */
async function load(report, minutes, signal) {
  const window = minutes === 5 ? "Expanding" : "Rolling";
  const query = { ...LATEST, startTime: report.startTime, endTime: report.endTime, intervalInMinutes: minutes, window };
  try {
    const { content } = await api(evaluationAt(report.id), { query, signal });
    return content.value.map(({ name, slotId, timeseries }) => ({
      name,
      slotId,
      data: timeseries.data.map((point) => ({
        time: dateOf(point.timeStamp).getTime() / 1000,
        value: point.expectedReward,
        low: point.confidenceInterval[0],
        high: point.confidenceInterval[1],
      })),
    }));
  } catch (error) {
    if (error.code !== "IncompatibleEvaluationVersion") throw error;
    return flatOf(await api(`personalizer/v1.0/evaluations/${encodeURIComponent(report.id)}`, { signal }), minutes);
  }
}

/** The same of an evaluation that an older version of the API made: sums of five minutes, without intervals. */
function flatOf({ policyResults }, minutes) {
  return policyResults.map(({ name, summary }) => {
    const held = new Map();
    let all = { reward: 0, events: 0 };
    for (const bin of summary ?? []) {
      if (!bin.ipsEstimatorDenominator) continue;
      const time = dateOf(bin.timeStamp).getTime() / 1000;
      const at = minutes === 5 ? time : Math.floor(time / (60 * minutes)) * 60 * minutes;
      const before = minutes === 5 ? all : (held.get(at) ?? { reward: 0, events: 0 });
      all = { reward: before.reward + bin.ipsEstimatorNumerator, events: before.events + bin.ipsEstimatorDenominator };
      held.set(at, all);
    }
    return { name, slotId: "", data: [...held].map(([time, { reward, events }]) => ({ time, value: reward / events })) };
  });
}
