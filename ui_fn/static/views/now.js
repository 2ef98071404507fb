// Turns metrics, health and versions of a loop into the first view: is it learning, and is it well?

import { html, useMemo, useRef } from "/page/preact.js";
import { api, hashOf, useData } from "/page/core.js";
import { Choices, Figure, LEAST, Notices, Shown, Table, TimeChart, When, Whiskers, duration, number, percent, percentTick } from "/page/parts.js";
import {
  SPANS, STATUSES, achievementLines, callLines, callTotals, earned, eventLines, explorationLines, joinedNote, marksOf,
  notices, rewardLines, shortName, sinceFirst, timed,
} from "/page/views/now.js";

const MODES = {
  Apprentice:
    "Apprentice mode: every answer is the application's own first action, and the loop learns to choose like it. How near it is stands below.",
  LoggingOnly:
    "LoggingOnly mode: every answer is the application's own first action, for certain. It is logged with its reward, and nothing is explored, so nobody can say what other actions would earn. Apprentice and Online let the loop learn to act.",
};

export default function Now({ loop, state }) {
  const chosen = state.span in SPANS ? state.span : "2h";
  const span = SPANS[chosen];
  const metrics = useData(async (signal) => sinceFirst(await api("metrics", { query: { from: ago(span.seconds), step: span.step }, signal })), [loop, chosen], {
    every: span.every,
  });
  const health = useData((signal) => api("health", { signal }), [loop], { every: 10 });
  const versions = useVersions(loop, health.data?.modelVersion);
  const spans = Object.entries(SPANS).map(([key, { label }]) => ({ key, label, href: hashOf("now", { ...state, span: key }) }));
  return html`
    <div class="heading">
      <h1>Now</h1>
      <${Choices} label="Span" options=${spans} chosen=${chosen} />
    </div>
    <${Shown} of=${health} empty=${(told) => first(told, metrics.data)}>
      ${(told) => html`
        ${MODES[told.learningMode] && html`<p class="mode">${MODES[told.learningMode]} <a href=${hashOf("setup")}>Change the mode</a></p>`}
        <${Findings} health=${told} metrics=${metrics.data} />
        <${Shown} of=${metrics}>
          ${(data) => html`<${Charts} health=${told} metrics=${data} versions=${versions} span=${span} state=${state} at=${metrics.at} />`}
        <//>
      `}
    <//>
  `;
}

const ago = (seconds) => new Date(Date.now() - 1000 * seconds).toISOString();

/** The latest versions; asked for anew when another one serves, and the ones before are shown meanwhile. */
function useVersions(loop, serving) {
  const held = useRef([]);
  const asked = useData(
    async (signal) => (serving ? (await api("versions", { query: { top: 100 }, signal })).value : []),
    [loop, serving],
  );
  if (asked.data) held.current = asked.data;
  return held.current;
}

/** What stands there before the first event is joined. */
function first(health, metrics) {
  if (health.joinedEvents || !health.storageAnswers) return null;
  const asked = metrics ? callTotals(metrics).find((one) => one.operation === "Rank")?.ok : 0;
  const wait = duration(health.rewardWaits.at(-1)?.seconds);
  if (asked) {
    return html`<h2>The first events wait for their rewards</h2>
      <p>${number(asked)} ranks were answered. Each is joined with its rewards when its wait of ${wait} is over, and shows here a little later.</p>`;
  }
  return html`<h2>No events yet</h2>
    <p><a href=${hashOf("try")}>Play an example</a> against this loop: that view has the code, too, that sends your first event. It shows here once its reward wait of ${wait} is over.</p>`;
}

function Findings({ health, metrics }) {
  const found = notices(health, metrics);
  const of = health.examined?.events ?? 0;
  if (!found.length) {
    return html`<p class="muted">${
      of >= 500 ? `Nothing to mend was found in ${number(of)} examined events.` : "Findings about the log come with 500 events."
    }</p>`;
  }
  return html`<${Notices} label="Findings" found=${found} />`;
}

function Charts({ health, metrics, versions, span, state, at }) {
  const mode = health.learningMode ?? "Online";
  const read = useMemo(() => timed(metrics), [metrics]);
  const steps = state.average === "all" ? Infinity : span.window;
  const marks = useMemo(() => marksOf(versions, read.times[0] ?? 0), [versions, read]);
  const lines = useMemo(() => rewardLines(read, mode, steps), [read, mode, steps]);
  const exploration = useMemo(() => explorationLines(read, span.window), [read, span]);
  const events = useMemo(() => eventLines(read, metrics.step), [read]);
  const calls = useMemo(() => callLines(read, metrics, health.time), [read]);
  const window = duration(span.window * span.step);
  const averages = [
    { key: "window", label: `Last ${window}`, href: hashOf("now", { ...state, average: "" }) },
    { key: "all", label: "Since the span began", href: hashOf("now", { ...state, average: "all" }) },
  ];
  return html`
    <${Figures} health=${health} read=${read} versions=${versions} span=${span} />
    <div class="heading">
      <h2>Average reward</h2>
      <${Choices} label="Averaged over" options=${averages} chosen=${steps === Infinity ? "all" : "window"} />
    </div>
    ${read.all.events + read.all.held === 0
      ? html`<div class="empty"><p>No event of the last ${span.label} is joined. Choose a longer span, or <a href=${hashOf("try")}>send some</a>.</p></div>`
      : html`<${TimeChart}
            titled=${false} label=${`Average reward of a decision, ${steps === Infinity ? "since the span began" : `over the last ${window}`}`}
            note=${`Drawn from ${LEAST} events on. Shaded: 95 % intervals, if events are independent.${marks.length ? " Marks: model versions, by the first digits of their hash." : ""}`}
            times=${read.times} series=${lines} marks=${marks} height=${280} />
          <${Policies} read=${read} mode=${mode} span=${span} />`}
    ${mode === "Apprentice" && html`<${Apprentice} read=${read} span=${span} marks=${marks} />`}
    <div class="pair">
      <${TimeChart} label="Decisions and rewards a minute" times=${read.times} series=${events} min=${0} height=${190} />
      <${TimeChart} label=${`Share of decisions that explored, over the last ${window}`}
        times=${read.times} series=${exploration} min=${0} format=${percent} ticks=${percentTick} height=${190} />
      <${TimeChart} label="Calls a minute by what they were answered" times=${read.times} series=${calls} min=${0} height=${190} />
      <${Calls} metrics=${metrics} span=${span} />
    </div>
    <p class="muted">As of <${When} at=${at} short />. This page looks again every ${duration(span.every)} while it is in sight.</p>
  `;
}

function Figures({ health, read, versions, span }) {
  const { all } = read;
  const { own } = earned(read, health.learningMode);
  const serving = versions.find((version) => version.serves);
  const age = serving && health.time - new Date(serving.created) / 1000;
  return html`<div class="figures">
    <${Figure} label="Average reward" value=${number(own.value)}
      note=${own.low === null ? `of the last ${span.label}` : `95 %: ${number(own.low)} … ${number(own.high)}`} />
    <${Figure} label=${`Decisions, last ${span.label}`} value=${number(all.events)} note=${`${number(health.joinedEvents ?? 0)} events in all`} />
    <${Figure} label="Got a reward" value=${percent(all.events ? all.rewarded / all.events : null)} note="the others count with the default" />
    <${Figure} label="Model" value=${health.modelVersion ? shortName(health.modelVersion) : "none yet"}
      note=${health.modelVersion ? `${age ? `${duration(Math.max(0, age))} old, ` : ""}${number(health.modelEvents)} events learned` : "it explores uniformly"} />
    <${Figure} label="Joined through" value=${html`<${When} at=${health.joinedThrough || null} short />`} note=${joinedNote(health)} />
  </div>`;
}

/** Who has earned what over the whole span. */
function Policies({ read, mode, span }) {
  const { own, baseline, held } = earned(read, mode);
  const row = (label, { value, low, high }, tone, note) => ({ label, value, low, high, tone, note });
  const rows = [row(mode === "Online" ? "This loop" : "The application", own)];
  if (baseline) {
    const short = baseline.value !== null && baseline.low === null;
    rows.push(row("Baseline, estimated", baseline, "ink-2", short ? "Too little was drawn like the baseline for an interval that can be trusted." : undefined));
  }
  if (held) rows.push(row("Holdback", held, "ink-3"));
  return html`<${Whiskers} label=${`Average reward over the last ${span.label}`} rows=${rows} />
    ${baseline &&
    html`<p class="muted">The baseline is the first action of each request. What it would have earned is estimated (SNIPS) from the decisions in which
      it was drawn. ${held ? html`<${Lift} />` : "A holdback measures it, at the price of a share of the decisions."}</p>`}`;
}

function Lift() {
  const holdback = useData((signal) => api("holdback", { signal }), []);
  return holdback.data?.says ?? null;
}

function Apprentice({ read, span, marks }) {
  const judged = useData((signal) => api("apprentice", { signal }), [], { every: 10 });
  const lines = useMemo(() => achievementLines(read, span.window), [read, span]);
  const band = useMemo(() => [{ low: 0.6, high: 0.8 }], []);
  return html`<section>
    <h2>Apprentice</h2>
    <${Shown} of=${judged}>
      ${(told) => html`
        <p><strong>${told.says}</strong></p>
        <div class="figures">
          <${Figure} label="Achieves" value=${percent(told.latest.rewardAchievementRatio)} note=${`of the application's reward, latest ${number(told.latest.events)} events`} />
          <${Figure} label="The application earns" value=${number(told.baselineAverageReward)} note="a decision, since Apprentice mode began" />
          <${Figure} label="The loop would share in" value=${number(told.personalizerAverageReward)} note="counting where it drew the same" />
          <${Figure} label="Drew the same" value=${percent(told.events ? told.imitatedEvents / told.events : null)} note=${`of ${number(told.events)} events`} />
        </div>
      `}
    <//>
    <${TimeChart} label="What the loop would have achieved of the application's reward" note="The band from 60 to 80 % is where to switch to Online mode."
      times=${read.times} series=${lines} marks=${marks} ranges=${band} min=${0} max=${1} format=${percent} ticks=${percentTick} height=${220} />
  </section>`;
}

function Calls({ metrics, span }) {
  const columns = [
    { label: "Call", of: (row) => row.operation },
    ...STATUSES.map(([status, label]) => ({ label, number: true, of: (row) => number(row[status]) })),
  ];
  return html`<div>
    <${Table} caption=${`Calls of the last ${span.label}`} columns=${columns} rows=${callTotals(metrics)} keyOf=${(row) => row.operation} />
    <p class="muted">Refused: the call was at fault (4xx). Turned away: too many came, or storage was silent (429, 503). Failed: look at the log (5xx).</p>
  </div>`;
}
