// Turns a model version into its short name, and into what is to be said of it in a word or two.

import { html } from "/page/preact.js";

/** What of a version's name tells it from others at a glance: of its time the end, of its bytes' hash the beginning. */
export const shortOf = (version) => version.slice(6, 19);

const TAGS = [
  ["serves", "good", (of) => of.serves],
  ["pinned", "warn", (of) => of.pinned],
  ["learns", "", (of) => of.learns],
  ["held back", "bad", (of) => of.heldBack],
  ["imported", "", (of) => of.imported],
  ["model deleted", "", (of) => of.blank],
];

/** The state of a version, as badges; why it was held back for whoever asks. */
export function Tags({ of }) {
  return html`<span class="tags">
    ${TAGS.filter(([, , holds]) => holds(of)).map(
      ([label, tone]) => html`<span key=${label} class=${`badge ${tone}`} title=${label === "held back" ? of.heldBack : undefined}>${label}</span>`,
    )}
  </span>`;
}
