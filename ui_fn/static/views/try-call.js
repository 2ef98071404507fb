// Turns one Rank call, the run's latest or one's own, into its answer, a reward for it, and the program that does the same.

import { html, useEffect, useState } from "/page/preact.js";
import { LATEST, api, endpointOf, hashOf, session } from "/page/core.js";
import { Code, Failure, Field, lacks, number } from "/page/parts.js";
import { JSON_STYLE, literal } from "/page/views/try-literals.js";
import { SCENARIOS, SLOTTED, requestOf } from "/page/views/try-scenarios.js";
import { LANGUAGES, PLACEHOLDER, snippet } from "/page/views/try-snippets.js";

const LOOKED_MS = 1000;
const pathOf = (several) => `personalizer/${several ? "multislot/" : ""}`;
const NARROW = 64;
const written = (value) => literal(value, JSON_STYLE, "", NARROW);

/** A call of the kind that the loop takes; run: that of this loop, or null. */
export function OneCall({ loop, may, several, run, state, set }) {
  const scenario = SCENARIOS[state.scenario] ?? SCENARIOS.grocery;
  const sample = several ? SLOTTED : requestOf(scenario, scenario.visits[0]);
  const [own, setOwn] = useState(null); // the text of one's own request, or null while the run's is shown
  const [sent, setSent] = useState(null); // the answer to it
  const [reward, setReward] = useState(1);
  const latest = useLatest(own === null ? run : null);
  const text = own ?? written(latest?.request ?? sample);
  const { request, wrong } = read(text);
  const answer = own === null ? latest : sent;
  return html`
    <section class="boxed call" aria-labelledby="one-call">
      <h2 id="one-call">One call</h2>
      <p class="muted">
        ${own === null
          ? latest
            ? "The run's latest call, as it was sent and answered. Change it, and it is yours."
            : "A Rank call and its answer. Change what you like, and send it."
          : "Your own call."}
        ${own !== null && html` <button type="button" class="quiet" onClick=${() => { setOwn(null); setSent(null); }}>${run ? "Follow the run again" : "Begin anew"}</button>`}
      </p>
      <div class="columns">
        <div>
          <${Field} label="Request" help=${`POST ${several ? "multislot/" : ""}rank`} wrong=${wrong}>
            <textarea class="mono" rows="18" spellcheck="false" value=${text} onInput=${(event) => setOwn(event.target.value)}></textarea>
          <//>
          <${Send} loop=${loop} may=${may} several=${several} request=${request} done=${(response) => { setOwn(text); setSent({ request, response }); }} />
        </div>
        <div>
          <h3>Response</h3>
          ${answer ? html`<${Code} label="Response" text=${written(answer.response)} />` : html`<p class="empty">The answer stands here.</p>`}
          ${answer && own !== null && html`<${Rewarding} key=${answer.response.eventId} answer=${answer} may=${may} several=${several} value=${reward} setValue=${setReward} />`}
          ${answer && own === null && html`<p>Rewarded with <strong>${number(answer.reward)}</strong>. <${ToStory} id=${answer.response.eventId} /></p>`}
        </div>
      </div>
    </section>
    <${Programs} loop=${loop} request=${request} reward=${own === null && latest ? latest.reward : reward} state=${state} set=${set} />
  `;
}

/** The latest call of a run, once a second: what flickers cannot be read. */
function useLatest(run) {
  const [latest, setLatest] = useState(run?.latest ?? null);
  useEffect(() => {
    if (!run) return undefined;
    const look = () => setLatest(run.latest);
    look();
    const timer = setInterval(look, LOOKED_MS);
    return () => clearInterval(timer);
  }, [run]);
  return latest;
}

/** What a text says as a request, or what is wrong with it. */
function read(text) {
  try {
    const request = JSON.parse(text);
    if (!Array.isArray(request?.actions)) return { wrong: "A request is an object with a list of actions." };
    return { request };
  } catch (error) {
    return { wrong: `This is no JSON: ${error.message}` };
  }
}

function Send({ loop, may, several, request, done }) {
  const [state, setState] = useState({});
  const send = async () => {
    setState({ busy: true });
    try {
      done(await api(`${pathOf(several)}rank`, { method: "POST", query: LATEST, body: request, loop }));
      setState({});
    } catch (error) {
      setState({ error });
    }
  };
  return html`
    <div class="buttons">
      <button type="button" disabled=${!request || !may.call} title=${lacks(may, "call") || undefined} aria-busy=${state.busy} onClick=${send}>Rank</button>
    </div>
    <${Failure} error=${state.error} />
  `;
}

function Rewarding({ answer, may, several, value, setValue }) {
  const [state, setState] = useState({});
  const { eventId, slots } = answer.response;
  const send = async () => {
    setState({ busy: true });
    const body = several ? { reward: slots.map(({ id }) => ({ slotId: id, value })) } : { value };
    const path = `${pathOf(several)}events/${encodeURIComponent(eventId)}/reward`;
    try {
      await api(path, { method: "POST", query: LATEST, body });
      setState({ given: value });
    } catch (error) {
      setState({ error });
    }
  };
  return html`
    <${Field} label=${`Reward: ${number(value)}`} help=${several ? "for every slot; 0 to 1" : "0 to 1: how well the action did"}>
      <input type="range" min="0" max="1" step="0.05" value=${value} aria-valuetext=${number(value)} onInput=${(event) => setValue(Number(event.target.value))} />
    <//>
    <div class="buttons">
      <button type="button" disabled=${!may.call} title=${lacks(may, "call") || undefined} aria-busy=${state.busy} onClick=${send}>Reward</button>
      <span role="status">${state.given !== undefined ? `Rewarded with ${number(state.given)} (204, no content).` : ""}</span>
      <${ToStory} id=${eventId} />
    </div>
    <${Failure} error=${state.error} />
  `;
}

const ToStory = ({ id }) => html`<a href=${hashOf("events", { id })}>Its story</a>`;

function Programs({ loop, request, reward, state, set }) {
  const [shown, setShown] = useState(false);
  const language = state.code in LANGUAGES ? state.code : "python";
  const keys = Object.keys(LANGUAGES);
  const step = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = keys[(keys.indexOf(language) + by + keys.length) % keys.length];
    set({ code: next });
    document.getElementById(`code-${next}`).focus();
  };
  const key = shown && session.key ? session.key : PLACEHOLDER;
  const code = request && programOf(language, { endpoint: endpointOf(loop), key, request, reward });
  return html`<section class="boxed" aria-labelledby="programs">
    <h2 id="programs">The same from your application</h2>
    <p>
      The loop's endpoint is <code class="mono">${endpointOf(loop)}</code>.
      ${session.key && html` <label><input type="checkbox" checked=${shown} onChange=${(event) => setShown(event.target.checked)} /> Show my key in the code</label>`}
    </p>
    <div role="tablist" aria-label="Language" class="tabs" onKeyDown=${step}>
      ${keys.map(
        (name) => html`<button key=${name} type="button" role="tab" id=${`code-${name}`} class="quiet" aria-selected=${name === language}
          aria-controls="code" tabindex=${name === language ? 0 : -1} onClick=${() => set({ code: name })}>${LANGUAGES[name]}</button>`,
      )}
    </div>
    <div role="tabpanel" id="code" aria-labelledby=${`code-${language}`}>
      ${code
        ? html`<${Code} label=${`${LANGUAGES[language]} program`} text=${code} />`
        : html`<p class="empty">
            ${request
              ? "This request cannot be written as a program: one of its members is not what Rank takes. Send it, and the answer says which."
              : "The request above is no JSON yet."}
          </p>`}
    </div>
  </section>`;
}

/** A program, or null where a member of the request is of another kind than Rank takes, so that it cannot be written. */
function programOf(language, call) {
  try {
    return snippet(language, call);
  } catch {
    return null;
  }
}
