// Turns a tutorial into a run against this loop, or a scratch one, and the run into a curve that rises.

import { html, useEffect, useMemo, useState } from "/page/preact.js";
import { LATEST, api, hashOf, pageOf, useData } from "/page/core.js";
import { Confirm, Failure, Figure, Shown, TimeChart, When, duration, lacks, number, percent, secondsOf } from "/page/parts.js";
import { open } from "/page/page.js";
import { AT_ONCE, A_SECOND, begin, forget } from "/page/views/try-run.js";
import { SCENARIOS, ceiling, uniform } from "/page/views/try-scenarios.js";
import { lentLoops, onLent, putBack, quicken } from "/page/views/try-waits.js";

const SCRATCH = "try-";
const QUICK_SECONDS = 5;

/** The choice of a tutorial and of where it is played, and what came of it; run: the page's, of whichever loop. */
export function Learning({ loop, may, several, run, state, set }) {
  const name = state.scenario in SCENARIOS ? state.scenario : "grocery";
  const mine = run?.loop === loop ? run : null;
  const left = useLent().filter((one) => one.error);
  return html`<section class="boxed" aria-labelledby="learn">
    <h2 id="learn">Watch it learn</h2>
    ${left.map((one) => html`<${StillQuick} key=${one.loop} of=${one} />`)}
    ${several
      ? html`<p>
          This loop decides for several slots at a time, and the tutorials ask for one. ${may.owner ? "A scratch loop takes them." : ""}
        </p>`
      : html`<${Choice} name=${name} busy=${mine?.goesOn} set=${set} />`}
    ${run?.goesOn && !mine
      ? html`<p role="status">
          A run goes on in the loop <strong>${run.loop}</strong>. <button type="button" class="quiet" onClick=${() => run.stop()}>Stop it</button>
        </p>`
      : mine?.goesOn || mine?.state === "stopping"
        ? html`<${Controls} run=${mine} />`
        : html`<${Start} key=${`${loop} ${mine?.state}`} loop=${loop} may=${may} several=${several} name=${name} again=${Boolean(mine)} />`}
    ${mine && html`<${Course} run=${mine} />`}
  </section>`;
}

/** The loops that are to have their own waits again, with each change of them. */
function useLent() {
  const [loops, setLoops] = useState(lentLoops);
  useEffect(() => onLent(() => setLoops(lentLoops())), []);
  return loops;
}

/** What a run has left behind, where its last call failed. */
function StillQuick({ of }) {
  const [state, setState] = useState({});
  const act = async () => {
    setState({ busy: true });
    try {
      await putBack(of.loop);
    } catch (error) {
      setState({ error });
    }
  };
  return html`<div class="stale" role="status">
    <p>
      The loop <strong>${of.loop}</strong> still has waits of ${QUICK_SECONDS} s: its own could not be put back.
      ${of.tries ? "The page goes on trying while it is open." : "The page does not try again by itself."}
    </p>
    <${Failure} error=${state.error ?? of.error} />
    <button type="button" class="quiet" aria-busy=${state.busy} onClick=${act}>Put its own waits back</button>
  </div>`;
}

function Choice({ name, busy, set }) {
  return html`<fieldset class="choices" disabled=${busy}>
    <legend>Tutorial</legend>
    ${Object.entries(SCENARIOS).map(
      ([key, { title, told }]) => html`<label key=${key}>
        <input type="radio" name="scenario" value=${key} checked=${key === name} onChange=${() => set({ scenario: key })} />
        <span><strong>${title}</strong><br /><small>${told}</small></span>
      </label>`,
    )}
  </fieldset>`;
}

function Start({ loop, may, several, name, again }) {
  const about = useData(
    async (signal) => {
      const [settings, health] = await Promise.all([
        api("personalizer/configurations/service", { query: LATEST, signal }),
        api("health", { signal }),
      ]);
      return { settings, health };
    },
    [loop],
  );
  return html`<${Shown} of=${about}>
    ${({ settings, health }) => html`<${Ready} loop=${loop} may=${may} several=${several} name=${name} again=${again} settings=${settings} health=${health} />`}
  <//>`;
}

function Ready({ loop, may, several, name, again, settings, health }) {
  const waits = [settings.rewardWaitTime, settings.modelExportFrequency].map(secondsOf);
  const slow = Math.max(...waits) > QUICK_SECONDS;
  const scratch = loop.startsWith(SCRATCH);
  const used = (health.joinedEvents ?? 0) > 0 && !scratch && !again;
  const [quick, setQuick] = useState(may.manage);
  return html`
    ${used &&
    html`<p class="warn">
      This loop has learned from ${number(health.joinedEvents)} events already. What you send here goes into its log and its
      model as everything else does. ${may.owner ? "A scratch loop leaves it alone." : "Ask the deployment's owner for a loop to try things in."}
    </p>`}
    ${settings.learningMode !== "Online" && html`<p class="warn">
      Its learning mode is ${settings.learningMode}: it answers with the first action, whatever it learns, and the reward does not rise.
    </p>`}
    ${slow && !several && (may.manage
      ? html`<label>
          <input type="checkbox" checked=${quick} onChange=${(event) => setQuick(event.target.checked)} />
          Let it learn every 5 s meanwhile: its reward wait is ${duration(waits[0])}, and it has a new model each ${duration(waits[1])}.
          Both come back when the run ends.
        </label>`
      : html`<p class="warn">Its reward wait is ${duration(waits[0])}, and it has a new model each ${duration(waits[1])}: that is how long the curve stays flat.</p>`)}
    <div class="buttons">
      ${!several &&
      html`<button type="button" class=${used ? "quiet" : ""} disabled=${!may.call} title=${lacks(may, "call") || undefined}
        onClick=${() => begin(name, SCENARIOS[name], loop, quick && slow)}>${again ? "Start again" : scratch ? "Start" : `Start in the loop ${loop}`}</button>`}
      ${may.owner && !scratch && html`<${MakeScratch} primary=${used || several} />`}
      ${may.owner && scratch && html`<${DropScratch} loop=${loop} />`}
    </div>
  `;
}

function MakeScratch({ primary }) {
  const [state, setState] = useState({});
  const make = async () => {
    setState({ busy: true });
    const name = SCRATCH + Math.random().toString(36).slice(2, 8).padEnd(6, "0");
    try {
      await api("loops", { method: "POST", body: { name }, loop: "default" });
      await quicken(name);
      await show(name);
      setState({});
    } catch (error) {
      setState({ error });
    }
  };
  return html`
    <button type="button" class=${primary ? "" : "quiet"} aria-busy=${state.busy} onClick=${make}>Make a scratch loop</button>
    <${Failure} error=${state.error} />
  `;
}

function DropScratch({ loop }) {
  const act = async () => {
    await forget();
    await api(`loops/${encodeURIComponent(loop)}`, { method: "DELETE", loop: "default" });
    await show("default");
  };
  return html`<${Confirm} label="Delete this scratch loop" title=${`Delete ${loop}?`} yes="Delete it" danger act=${act}>
    <p>Its settings, keys, log and models go for ever. The page then shows the default loop.</p>
  <//>`;
}

/** Another loop is another page: this view of it. */
async function show(name) {
  history.pushState(null, "", pageOf(name) + hashOf("try"));
  await open(name);
}

function Controls({ run }) {
  const held = run.state === "paused";
  return html`<div class="buttons">
    ${run.state !== "stopping" && html`<button type="button" class="quiet" disabled=${run.state === "starting"} onClick=${() => run.hold(!held)}>${held ? "Go on" : "Pause"}</button>`}
    <button type="button" class="quiet" aria-busy=${run.state === "stopping"} disabled=${run.state === "stopping"} onClick=${() => run.stop()}>Stop</button>
    <span class="muted">At most ${A_SECOND} events a second, ${AT_ONCE} calls at a time, ${number(run.scenario.events)} events in all.</span>
  </div>`;
}

const SAID = {
  starting: "Starting",
  running: "Running",
  paused: "Paused",
  stopping: "Stopping: the last calls, and the loop's own waits",
  stopped: "Done",
  failed: "Ended by a failure",
};

function Course({ run }) {
  const { scenario, batches, settings, busy } = run;
  const most = ceiling(scenario, settings?.explorationPercentage ?? 0.2);
  const chance = uniform(scenario);
  const last = batches.at(-1);
  return html`
    <p role="status">
      <strong>${SAID[run.state]}.</strong> ${run.state === "paused" && lentLoops().some(({ loop }) => loop === run.loop) ? "The loop still learns every 5 s." : ""}
      ${run.goesOn && html`<${Until} health=${run.health} quick=${run.quick} />`}
    </p>
    ${busy && run.goesOn && html`<p class="stale" role="status">${asked(busy.status)} Going on in a moment.</p>`}
    <${Failure} error=${run.error} />
    <div class="figures">
      <${Figure} label="Events sent" value=${number(run.sent)} note=${`of ${number(scenario.events)}`} />
      <${Figure} label=${`Mean reward of the last ${scenario.batch}`} value=${number(last?.mean)} note=${run.sent ? `${number(run.earned / run.sent)} since the start` : ""} />
      <${Figure} label="Of what can be learned" value=${percent(last && (last.mean - chance) / (most - chance), 0)} note="0 % is chance, 100 % full knowledge" />
      <${Figure} label="Events learned" value=${number(run.health?.modelEvents)} note=${`${run.versions.length} new models since the start`} />
    </div>
    <${Curve} batches=${batches} size=${scenario.batch} first=${run.versions[0]} most=${most} chance=${chance} exploration=${settings?.explorationPercentage} />
    ${batches.length > 2 && html`<${Next} run=${run} />`}
  `;
}

function Curve({ batches, size, first, most, chance, exploration }) {
  const { times, series } = useMemo(() => {
    const constant = (value) => batches.map(() => value);
    return {
      times: batches.map(({ time }) => time),
      series: [
        { label: `Mean reward of ${size} events`, values: batches.map(({ mean }) => mean), low: batches.map(({ low }) => low), high: batches.map(({ high }) => high) },
        { label: `All known, ${percent(exploration, 0)} explored`, values: constant(most), dash: [6, 4] },
        { label: "Chance", values: constant(chance), dash: [2, 4] },
      ],
    };
  }, [batches, size, most, chance, exploration]);
  const marks = useMemo(() => (first ? [{ time: first, label: "first new model" }] : []), [first]);
  if (batches.length < 2) {
    return html`<p class="empty">The curve begins after ${2 * size} events, some ten seconds.</p>`;
  }
  return html`
    <${TimeChart} label="Average reward" times=${times} series=${series} marks=${marks} min=${0} max=${1} />
    <p class="muted">The band is the 95 % interval of each point.</p>
  `;
}

function Next({ run }) {
  return html`<p>
    Next: ${run.latest && html`<a href=${hashOf("events", { id: run.latest.response.eventId })}>open one of its events</a>, `}
    <a href=${hashOf("now")}>see it on Now</a>, or <a href=${hashOf("evaluations")}>compare policies on its log</a>.
  </p>`;
}

const asked = (status) =>
  status === 0 ? "No answer came." : status === 429 ? "The loop takes no more calls just now (429)." : "The loop asks for patience (503).";

/** From when on what is sent is learned, where that is not at once. */
function Until({ health, quick }) {
  const at = health && learnsFrom(health);
  if (!at || !quick) return null;
  return html`<span class="warn">
    The loop still waits for rewards of earlier events: what is sent now is learned from about <${When} at=${at} short /> on.
  </span>`;
}

const MARGIN_SECONDS = 100;

/**
 * When a loop whose wait was shortened has joined what was ranked under its longer waits, in seconds since the epoch, at
 * the latest; null where nothing of that kind is left.
 */
export function learnsFrom({ rewardWaits, time }) {
  const ends = rewardWaits.slice(1).map((later, n) => later.from + rewardWaits[n].seconds);
  const end = Math.max(...ends) + MARGIN_SECONDS;
  return ends.length && end > time ? end : null;
}
