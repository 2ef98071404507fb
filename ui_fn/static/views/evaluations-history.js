// Turns the latest runs of auto-optimisation into what each has found, beside what decided and the baseline.

import { html } from "/page/preact.js";
import { LATEST, api, hashOf, useData } from "/page/core.js";
import { Figure, Shown, Table, When, dateOf, duration, number, percent, secondsOf } from "/page/parts.js";
import { Status, reportAt } from "/page/views/evaluations-words.js";

const KEPT = 24;
const AUTO = { ...LATEST, filter: "metadata=evaluationType eq 'Auto'", maxpagesize: KEPT };

/** The settings of auto-optimisation, and what came of its runs. */
export function History({ loop }) {
  const settings = useData((signal) => api("personalizer/configurations/service", { query: LATEST, signal }), [loop]);
  const held = useData(runsOf, [loop], { every: 30 });
  return html`<div>
    <${Shown} of=${settings}>${(found) => html`<${Settings} of=${found} />`}<//>
    <${Shown} of=${held} empty=${(found) => found.length === 0 && nothing}>
      ${(found) =>
        html`<${Table} caption=${`The latest ${found.length === 1 ? "run" : `${found.length} runs`}; ${KEPT} are kept`} columns=${COLUMNS} rows=${found} keyOf=${(row) => row.id} />
          <p class="muted">
            Estimates are by SNIPS, with 95 % intervals, on the part of the log by which nothing was chosen. Shares are of what
            the baseline, the first action of each request, would have earned.
          </p>`}
    <//>
  </div>`;
}

const nothing = html`<p><strong>Auto-optimisation has not run yet.</strong> What it compares, and what it decides, will stand here.</p>`;

async function runsOf(signal) {
  const { value } = await api("personalizer/evaluations", { query: AUTO, signal });
  return Promise.all(value.slice(0, KEPT).map(async (run) => ({ ...run, ...standing(await api(reportAt(run.id), { signal })) })));
}

/** What a run's report says of what decided, the baseline, and the best of those that were found. */
function standing({ policies, optimalPolicy, description }) {
  const judged = (one) => one?.slots[0].judged;
  const from = (source) => policies.filter((one) => one.policySource === source);
  const found = from("OfflineExperimentation").sort((a, b) => judged(b).snips.value - judged(a).snips.value);
  const best = found.find((one) => one.name === optimalPolicy) ?? found[0];
  return { online: judged(from("Online")[0]), baseline: judged(from("Baseline")[0]), best: judged(best), bestName: best?.name, description };
}

function Settings({ of }) {
  const on = of.isAutoOptimizationEnabled;
  const [start, every] = [dateOf(of.autoOptimizationStartDate), secondsOf(of.autoOptimizationFrequency)];
  return html`
    <div class="figures">
      <${Figure} label="Auto-optimisation" value=${on ? "on" : "off"} />
      <${Figure} label="Every" value=${every ? duration(every) : "–"} />
      <${Figure} label=${start && start > new Date() ? "First run" : "Runs since"} value=${html`<${When} at=${of.autoOptimizationStartDate} />`} />
    </div>
    <p>
      ${on ? "It looks" : "If it were on, it would look"} for better policies by itself, and apply one that would have earned more than
      what decided, if the lower end of its interval is above that of what decided, and there are enough events to believe it. It
      is never on for multi-slot loops. <a href=${hashOf("setup")}>Change this in Setup</a>
    </p>
  `;
}

const figures = (one) =>
  one && one.events
    ? html`${number(one.snips.value)} <small class="muted">${number(one.snips.low)} … ${number(one.snips.high)}</small>`
    : "–";
const share = (one, baseline) => (one?.events && baseline?.snips.value > 0 ? percent(one.snips.value / baseline.snips.value, 0) : "–");

const COLUMNS = [
  { label: "Run", of: (row) => html`<a href=${hashOf("evaluations", { id: row.id })}><${When} at=${row.creationTime} /></a>` },
  { label: "Came of it", of: (row) => html`<${Status} of=${row.status} />` },
  { label: "What decided", number: true, of: (row) => figures(row.online) },
  { label: "of baseline", number: true, of: (row) => share(row.online, row.baseline) },
  { label: "Best found", number: true, of: (row) => figures(row.best) },
  { label: "of baseline", number: true, of: (row) => share(row.best, row.baseline) },
  { label: "Policy", of: (row) => row.bestName ?? "–" },
  { label: "Events", number: true, of: (row) => number(row.online?.events) },
];
