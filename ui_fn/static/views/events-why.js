// Turns a decision into what each feature added to the reward that the model expected of each action.

import { html, useState } from "/page/preact.js";
import { api, eventAt, useData } from "/page/core.js";
import { Field, Shown, Whiskers, number, percent } from "/page/parts.js";

const SHOWN = 12;

/** Why the decision of an event at a time was taken; it is computed once it is asked for. */
export function Explanation({ id, time }) {
  const [asked, setAsked] = useState(false);
  return html`<section>
    <h3>Why</h3>
    ${asked
      ? html`<${Explained} id=${id} time=${time} />`
      : html`<p>
            <button type="button" class="quiet" onClick=${() => setAsked(true)}>Explain this decision</button>
            <span class="muted"> What each feature added to the reward that the model expected.</span>
          </p>`}
  </section>`;
}

function Explained({ id, time }) {
  const told = useData((signal) => api(`${eventAt(id)}/explanation`, { signal }), [id]);
  return html`<${Shown} of=${told} empty=${({ events }) => (events.some((one) => one.time === time) ? null : "It is not told any more.")}>
    ${({ events }) => {
      const one = events.find((event) => event.time === time);
      return one.actions ? html`<${Weighed} actions=${one.actions} />` : html`<p role="status"><strong>It cannot be explained.</strong> ${one.cannotExplain}</p>`;
    }}
  <//>`;
}

function Weighed({ actions }) {
  const [chosen, setChosen] = useState(actions[0].id);
  const { features, score } = actions.find(({ id }) => id === chosen);
  const most = Math.max(...actions.map((one) => one.score));
  const drawn = actions[0];
  const shown = features.slice(0, SHOWN);
  const rest = shown.reduce((left, feature) => left - feature.score, score);
  const rows = shown.map((feature) => ({ label: plain(feature.name), value: feature.score, tone: feature.score < 0 ? "against" : "best" }));
  return html`
    <p>
      ${drawn.score >= most
        ? html`The model expected most of <strong>${drawn.id}</strong>, and it was drawn.`
        : html`<strong>${drawn.id}</strong> was drawn to explore: the model expected more of
            <strong> ${actions.find((one) => one.score === most).id}</strong>. What is explored is not explained by its features.`}
    </p>
    <${Whiskers} label="Reward expected of each action" zero
      rows=${actions.map((one) => ({ label: one.id, value: one.score, tone: one.score === most ? "best" : "", note: `drawn with probability ${percent(one.probability)}` }))} />
    <${Field} label="What spoke for it, and against it">
      <select value=${chosen} onChange=${(event) => setChosen(event.target.value)}>
        ${actions.map((one) => html`<option key=${one.id} value=${one.id}>${one.id}</option>`)}
      </select>
    <//>
    <${Whiskers} label=${`What each feature added for ${chosen}`} zero format=${(value) => number(value, 4)} rows=${rows} />
    <p class="muted">
      In units of the reward. All that the model has of ${chosen} comes to ${number(score)}${Math.abs(rest) >= 0.0005 * Math.abs(score) && Math.abs(rest) > 1e-9 ? `; what is not shown here, to ${number(rest)}` : ""}.
    </p>
  `;
}

/** A name as the API has it, with room where features stand together. */
const plain = (name) => name.replaceAll("^", " × ");
