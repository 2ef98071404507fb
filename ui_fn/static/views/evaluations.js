// Turns the state of the address into what is shown of evaluations: their list, their history, a form, or one of them.

import { html } from "/page/preact.js";
import { hashOf } from "/page/core.js";
import { lacks } from "/page/parts.js";
import { History } from "/page/views/evaluations-history.js";
import { List } from "/page/views/evaluations-list.js";
import { Report } from "/page/views/evaluations-report.js";
import { Start } from "/page/views/evaluations-start.js";

const SHOWS = { "": "All", auto: "Auto-optimisation" };

export default function Evaluations(view) {
  const { loop, may, state, go } = view;
  if (state.id) return html`<${Report} key=${`${loop} ${state.id}`} ...${view} />`;
  if (state.show === "new") return html`<${Start} ...${view} />`;
  const refused = lacks(may, "manage");
  return html`
    <div class="head">
      <h1>Evaluations</h1>
      <button type="button" disabled=${Boolean(refused)} title=${refused || undefined} onClick=${() => go("evaluations", { show: "new" })}>
        New evaluation
      </button>
    </div>
    <p class="muted">What another policy would have earned on the events in the log, without letting it decide anything.</p>
    <nav class="within" aria-label="Kinds of evaluations">
      ${Object.entries(SHOWS).map(
        ([key, label]) => html`<a key=${key} href=${hashOf("evaluations", { show: key })} aria-current=${key === (state.show ?? "") ? "page" : undefined}>${label}</a>`,
      )}
    </nav>
    ${state.show === "auto" ? html`<${History} ...${view} />` : html`<${List} ...${view} />`}
  `;
}
