// Turns what actions earn and what features are like into a view: what is shown, and what the loop sees.

import { html, useMemo } from "/page/preact.js";
import { api, hashOf, useData } from "/page/core.js";
import { Choices, LEAST, Notices, Shown, Table, TimeChart, number, percent, percentTick } from "/page/parts.js";
import { Importances, SPANS, actionRows, rewardLines, shareLines, sinceFirst } from "/page/views/features.js";

const FLAGS = {
  valuesAreIds: "looks like an id",
  featureConstant: "never changes",
  numbersLarge: "too large",
};
/** Findings of health that are about features and actions. */
const ABOUT = new Set([...Object.keys(FLAGS), "namesAreValues", "oneAction", "actionsApart"]);

export default function Features({ loop, may, state, go }) {
  return html`
    <${Actions} loop=${loop} state=${state} />
    <${Importances} loop=${loop} may=${may} state=${state} go=${go} />
    <${Seen} loop=${loop} />
  `;
}

function Actions({ loop, state }) {
  const chosen = state.span in SPANS ? state.span : "24h";
  const { seconds, step, every } = SPANS[chosen];
  const actions = useData(
    async (signal) => sinceFirst(await api("metrics/actions", { query: { from: new Date(Date.now() - 1000 * seconds).toISOString(), step }, signal })),
    [loop, chosen],
    { every },
  );
  const spans = Object.entries(SPANS).map(([key, { label }]) => ({ key, label, href: hashOf("features", { ...state, span: key }) }));
  return html`
    <div class="heading">
      <h1>Features and actions</h1>
      <${Choices} label="Span" options=${spans} chosen=${chosen} />
    </div>
    <${Shown} of=${actions} empty=${(told) => noActions(told, SPANS[chosen].label)}>
      ${(told) => html`<${ActionCharts} told=${told} state=${state} span=${SPANS[chosen]} />`}
    <//>
  `;
}

function noActions({ actions }, span) {
  if (actions.length) return null;
  return html`<p>No action was shown in the last ${span}, or its reward wait is not over yet. Choose a longer span, or <a href=${hashOf("try")}>play an example</a>.</p>`;
}

function ActionCharts({ told, state, span }) {
  const shares = useMemo(() => shareLines(told), [told]);
  const rewards = useMemo(() => rewardLines(told, state.action), [told, state.action]);
  const rows = useMemo(() => actionRows(told), [told]);
  const every = told.step === 3600 ? "hour" : "day";
  return html`
    <div class="pair">
      <${TimeChart} label=${`Share of the decisions of each ${every}`} times=${told.times} series=${shares} stacked min=${0} max=${1} format=${percent} ticks=${percentTick} />
      <${TimeChart} label=${`Average reward of each ${every}${state.action ? "" : ", most shown actions"}`}
        note=${`Drawn from ${LEAST} decisions on. Choose an action in the table for its interval.`} times=${told.times} series=${rewards} />
    </div>
    <p class="caution"><strong>Do not read this as which action is best.</strong> Each action is shown to other people: the loop shows it where it
      expects it to do well. Its average says how well it was placed. To compare, <a href=${hashOf("evaluations")}>evaluate policies</a>.</p>
    <${Table} caption=${`Actions of the last ${span.label}: ${number(told.distinct)}`} columns=${columns(state)} rows=${rows} keyOf=${(row) => row.id} />
  `;
}

const columns = (state) => [
  { label: "Action", of: (row) => html`<${Named} id=${row.id} state=${state} />` },
  { label: "Decisions", number: true, of: (row) => number(row.events) },
  { label: "Share", number: true, of: (row) => percent(row.share) },
  { label: "Average reward", number: true, of: (row) => number(row.value) },
  { label: "95 % interval", number: true, of: (row) => (row.low === null ? "too few" : `${number(row.low)} … ${number(row.high)}`) },
];

/** An action's name; chosen it is shown alone, and chosen again with the others. */
function Named({ id, state }) {
  const on = state.action === id;
  if (id === "all others") return id;
  return html`<a class="mono" href=${hashOf("features", { ...state, action: on ? "" : id })} aria-current=${on ? "true" : undefined}>${id}</a>`;
}

function Seen({ loop }) {
  const features = useData((signal) => api("features", { signal }), [loop], { every: 60 });
  const health = useData((signal) => api("health", { signal }), [loop], { every: 60 });
  const found = (health.data?.findings ?? []).filter((one) => ABOUT.has(one.code));
  return html`<section aria-labelledby="seen">
    <h2 id="seen">What the loop sees</h2>
    ${found.length > 0 && html`<${Notices} label="Findings about features and actions" found=${found} />`}
    <${Shown} of=${features} empty=${unseen}>
      ${(told) => html`<${Table} caption=${`Features of ${number(told.events)} examined events`} columns=${SEEN} rows=${told.features} keyOf=${(row) => row.path} />
        <p class="muted">Different values are counted of texts, and beyond 64 estimated. Values themselves are kept nowhere but in the log.</p>`}
    <//>
  </section>`;
}

function unseen({ events, features }) {
  if (features.length) return null;
  return html`<p>${number(events)} events are examined so far. From 500 on their features stand here, with what looks like an id and what never changes.</p>`;
}

const SEEN = [
  { label: "Feature", of: (row) => html`<span class="mono">${row.path}</span>` },
  { label: "Has it", number: true, of: (row) => percent(row.of ? row.seen / row.of : null) },
  { label: "Values", number: true, of: (row) => number(row.seen) },
  { label: "Different", number: true, of: different },
  { label: "Empty or 0", number: true, of: (row) => percent(row.seen ? row.empty / row.seen : null) },
  { label: "Found", of: (row) => row.findings.map((code) => html`<span class="badge warn" key=${code}>${FLAGS[code] ?? code}</span>`) },
];

function different(row) {
  if (row.constant) return "1";
  if (!row.texts) return "numbers";
  return `${row.distinct >= 64 ? "about " : ""}${number(row.distinct)}`;
}
