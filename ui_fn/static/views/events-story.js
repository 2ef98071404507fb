// Turns an event id into its story: what was decided and drawn, what came of it, and the decision once more.

import { html, useState } from "/page/preact.js";
import { api, eventAt, hashOf, useData } from "/page/core.js";
import { Code, Copy, Figure, Shown, When, number, percent } from "/page/parts.js";
import { Drawn } from "/page/views/events-draw.js";
import { Erase } from "/page/views/events-erasure.js";
import { Explanation } from "/page/views/events-why.js";

const SOON_SECONDS = 4;
const LATER_SECONDS = 60;
const LEARNED_WITHIN_SECONDS = 900;

/** All times that an id was ranked, the latest first. erased: whether it was erased from here. */
export function Story({ id, may, go, erased }) {
  const [every, setEvery] = useState(SOON_SECONDS);
  const load = async (signal) => {
    if (/^\.{1,2}$/.test(id)) throw new Error("No browser can ask for this id, which its addresses take for a folder: use curl --path-as-is.");
    const story = await api(eventAt(id), { signal });
    const waits = story.events.map(lookAgain).filter(Boolean);
    setEvery(waits.length ? Math.min(...waits) : 0);
    return story;
  };
  const story = useData(load, [id], { every });
  const left = story.error?.status === 404;
  if (left && erased) return html`<p class="empty">The log holds no event <code class="mono">${id}</code> any more.</p>`;
  if (left) return html`<${Unknown} id=${id} retry=${story.reload} />`;
  return html`<${Shown} of=${story}>
    ${(found) => html`
      ${found.missing.map((why) => html`<p class="stale" role="status">${why}</p>`)}
      ${found.events.length > 1 && html`<p>This id was ranked ${found.events.length} times; the latest stands first.</p>`}
      ${[...found.events].reverse().map((event) => html`<${Told} key=${event.ranked.time} event=${event} id=${id} />`)}
      <details><summary>The whole story as JSON</summary><${Code} label="The story as JSON" text=${JSON.stringify(found, null, 2)} /></details>
      <div class="buttons"><${Erase} id=${id} may=${may} erased=${(erasure) => go("events", { id, erasure })} /></div>
    `}
  <//>`;
}

/** Seconds after which something may have happened to an event; 0 where nothing will. */
function lookAgain({ state, window: joined, trainedInto, pendingUntil }) {
  const until = (time) => (Date.parse(time) - Date.now()) / 1000;
  if (state === "pending") return until(pendingUntil) < LATER_SECONDS ? SOON_SECONDS : LATER_SECONDS;
  return joined && !trainedInto && until(joined.to) > -LEARNED_WITHIN_SECONDS ? SOON_SECONDS : 0;
}

function Unknown({ id, retry }) {
  return html`<div class="empty" role="status">
    <p>
      The log holds no event <code class="mono">${id}</code>. It was never ranked in this loop, was erased, or is older than
      the log's retention. Ids are taken letter by letter, spaces at the ends and capitals included.
    </p>
    <p class="buttons">
      <button type="button" class="quiet" onClick=${retry}>Look again</button>
      <a href=${hashOf("events")}>The latest events</a>
    </p>
  </div>`;
}

const STATES = {
  pending: ["warn", "Pending: rewards may still come"],
  joined: ["good", "Joined with its rewards"],
  retry: ["muted", "A repetition of the call before it, which alone counts"],
};

function Told({ event, id }) {
  const { ranked, decision, rewards, replay } = event;
  const [tone, state] = STATES[event.state];
  const slots = decision.slots ?? [{ ranking: decision.ranking, excluded: decision.excluded }];
  const nothingDrawn = ranked.holdback || ranked.mode === "LoggingOnly";
  return html`<article class="story" aria-label=${`Ranked ${ranked.time}`}>
    <h2>Ranked <${When} at=${ranked.time} /></h2>
    <p><span class=${tone}>${state}</span> · <span class="mono">${event.eventId}</span> <${Copy} text=${event.eventId} label="Copy the id" /></p>
    <div class="figures">
      ${slots.map(({ id: slot, ranking }) => html`<${Figure} key=${slot} label=${slot ? `Drawn for ${slot}` : "Drawn"}
        value=${ranking[0]?.id ?? "no action left"} note=${ranking.length ? `probability ${percent(ranking[0].probability)}` : "earlier slots took all"} />`)}
      ${rewards.map((reward) => html`<${Figure} key=${reward.slot} label=${reward.slot ? `Reward of ${reward.slot}` : "Reward"}
        value=${number(reward.aggregated)} note=${reward.learned === reward.aggregated ? "as it was learned" : `learned as ${number(reward.learned)}`} />`)}
      <${Figure} label="Decided by" value=${ranked.modelVersion ? html`<${Version} name=${ranked.modelVersion} />` : "no model"}
        note=${ranked.modelVersion ? "model version" : nothingDrawn ? "the baseline was taken" : "all actions alike"} />
      <${Figure} label="The same once more" value=${sameness(replay)} tone=${replay.same ? "good" : replay.same === false ? "bad" : ""} />
    </div>
    <div class="columns">
      <section><h3>What happened</h3><${Timeline} event=${event} id=${id} /></section>
      <section>
        <h3>The draw</h3>
        ${nothingDrawn && html`<p class="muted">${ranked.holdback
          ? "Held back from the model for comparison: the baseline was taken, and nothing was drawn."
          : "The loop only logs: the baseline was taken, and nothing was drawn."}</p>`}
        ${slots.map((slot, n) => html`<${Drawn} key=${slot.id} slot=${slot} draw=${nothingDrawn ? null : ranked.draws?.[n]} seed=${ranked.seeds[n]} />`)}
      </section>
    </div>
    <section><h3>The same decision once more</h3><${Replay} replay=${replay} /></section>
    <${Explanation} id=${id} time=${ranked.time} />
  </article>`;
}

const sameness = (replay) => (replay.cannotReplay !== undefined ? "cannot be told" : replay.same ? "yes" : "no");

const Version = ({ name }) => html`<a class="mono" href=${hashOf("models", { version: name })}>${name}</a>`;

function Replay({ replay }) {
  if (replay.cannotReplay !== undefined) {
    return html`<p role="status"><strong>It cannot be replayed.</strong> ${replay.cannotReplay}</p>`;
  }
  return html`
    <p role="status">
      ${replay.same
        ? html`<strong class="good">Same answer: yes.</strong> The decision was computed anew from the log and the model version
            that took it: order, probabilities and draw are what the log holds.`
        : html`<strong class="bad">Same answer: no.</strong> What computes it now is not what decided then: another Vowpal Wabbit,
            or another processor.`}
    </p>
    <details>
      <summary>The answer, computed anew</summary>
      <${Code} label="The answer, computed anew" text=${JSON.stringify(replay.answer, null, 2)} />
      <p class="muted">SHA-256 of its bytes: <code class="mono">${replay.sha256}</code></p>
    </details>
  `;
}

function Timeline({ event }) {
  const { ranked } = event;
  const details = [
    ranked.mode,
    ranked.exploration === null ? null : `exploration ${percent(ranked.exploration)}`,
    ranked.seeds.length === 1 ? `seed ${ranked.seeds[0]}` : null,
    ranked.deferred ? "waits for activation" : null,
    ranked.holdback ? `held back (${percent(ranked.holdbackShare)} of decisions are)` : null,
    ranked.subject ? "about a named subject" : null,
  ];
  return html`<ol class="timeline">
    <${Step} at=${ranked.time} title="Ranked">
      ${ranked.modelVersion ? html`by <${Version} name=${ranked.modelVersion} />` : "without a model"}; ${details.filter(Boolean).join(", ")}
    <//>
    ${event.observations.map((one, n) => html`<${Observed} key=${n} one=${one} />`)}
    ${event.state === "pending" &&
    html`<${Step} title="Will be joined" tone="open" at=${event.pendingUntil} when="from">once its reward wait is over<//>`}
    ${event.window &&
    html`<${Step} title="Joined" at=${event.window.to} when="window until">
      ${event.rewards.map((reward) => `${reward.slot ? `${reward.slot}: ` : ""}reward ${number(reward.aggregated)}`).join(", ") || "without a reward"}
      ${ranked.deferred && !event.activated ? "; never activated, so never learned" : ""}
    <//>`}
    ${event.trainedInto
      ? html`<${Step} title="Learned">first by model version <${Version} name=${event.trainedInto} /><//>`
      : event.state !== "retry" && html`<${Step} title="Not learned yet" tone="open">by any model version that is kept<//>`}
  </ol>`;
}

function Step({ title, at, when, tone, children }) {
  return html`<li class=${tone ?? ""}>
    <strong>${title}</strong> ${at && html`<span class="muted">${when ?? ""} <${When} at=${at} short /></span>`}
    <div>${children}</div>
  </li>`;
}

const ARRIVED = { early: "before the event, too early to count", late: "after the reward wait, too late to count" };

function Observed({ one }) {
  const title = one.kind === "reward" ? `Reward ${number(one.value)}${one.slot ? ` for ${one.slot}` : ""}` : "Activated";
  const counts = one.repeated
    ? "repeats another call, and counts once"
    : ARRIVED[one.arrived] ?? (one.counted === undefined ? "in time" : one.counted ? "in time; it counts" : "in time, but it does not count");
  return html`<${Step} title=${title} at=${one.time} tone=${one.counted === false ? "open" : ""}>${counts}<//>`;
}
