// Turns a distribution and the number that was drawn into a staircase, of which that number meets the drawn step.

import { html } from "/page/preact.js";
import { number, percent } from "/page/parts.js";

const SHOWN = 40;

/**
 * The order in which an action was drawn, and where each begins.
 *
 * ranking: [{id, probability}], the drawn one first. Before the draw a most probable one stood there, and was put where
 * the drawn one had been: at the first place that fits the number, since what stood first is no smaller than any other.
 * draw: in [0, 1), or null where nothing was drawn: then the order stays.
 * Returns [{id, probability, from, to, drawn}] with `from` and `to` as shares of the whole.
 */
export function staircase(ranking, draw) {
  const total = ranking.reduce((sum, { probability }) => sum + probability, 0) || 1;
  const place = draw === null || draw === undefined ? 0 : placeOf(ranking, draw * total);
  const listed = [...ranking];
  if (place > 0) [listed[0], listed[place]] = [listed[place], listed[0]];
  let reached = 0;
  return listed.map(({ id, probability }, index) => {
    const from = reached / total;
    reached += probability;
    return { id, probability, from, to: reached / total, drawn: index === place };
  });
}

function placeOf(ranking, target) {
  let before = 0;
  for (let place = 0; place < ranking.length; place++) {
    if (place) before += ranking[place].probability;
    if (before <= target && target < before + ranking[0].probability) return place;
  }
  return 0;
}

/** A slot's distribution with its draw. slot: {id, ranking, excluded, baseline}; draw, seed: of it. */
export function Drawn({ slot, draw, seed }) {
  const { id, ranking, excluded = [], baseline } = slot;
  const steps = staircase(ranking, draw);
  const drawn = steps.find((step) => step.drawn);
  const had = draw !== null && draw !== undefined && drawn;
  const shown = steps.filter((step, index) => index < SHOWN || step.drawn);
  return html`<div class="draw">
    ${id && html`<h4>${id}</h4>`}
    ${!drawn && html`<p class="muted">Earlier slots had taken all actions that it admits.</p>`}
    ${had &&
    html`<p>
      The number <span class="mono">${number(draw, 6)}</span> was drawn (seed <span class="mono">${String(seed)}</span>). It falls into the step of
      <strong> ${drawn.id}</strong>, which goes from ${number(drawn.from, 4)} to ${number(drawn.to, 4)}.
    </p>`}
    <div class="steps" role="table" aria-label=${id ? `Probabilities for ${id}` : "Probabilities"}>
      ${shown.map((step) => html`<${Step} key=${step.id} step=${step} draw=${had ? draw : null} />`)}
    </div>
    ${shown.length < steps.length && html`<p class="muted">${steps.length - shown.length} more actions are not shown.</p>`}
    ${excluded.length > 0 && html`<p class="muted">Excluded by the call: ${excluded.join(", ")}.</p>`}
    ${baseline !== undefined && html`<p class="muted">The baseline there is ${baseline}.</p>`}
  </div>`;
}

function Step({ step, draw }) {
  const { id, probability, from, to, drawn } = step;
  return html`<div class=${`row ${drawn ? "drawn" : ""}`} role="row">
    <span class="name" role="rowheader">${id}${drawn ? html` <span class="badge">drawn</span>` : ""}</span>
    <span role="presentation">
      <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
        <rect class="bar" x=${100 * from} width=${Math.max(100 * (to - from), 0.3)} y="1" height="8" />
        ${draw !== null && html`<line class="mark" x1=${100 * draw} x2=${100 * draw} y1="0" y2="10" />`}
      </svg>
    </span>
    <span class="number" role="cell">${percent(probability)}</span>
  </div>`;
}
