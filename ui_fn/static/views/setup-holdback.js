// Turns the share of decisions that is kept from the model into a form, beside the lift that it has shown.

import { html } from "/page/preact.js";
import { api, useData } from "/page/core.js";
import { Figure, Shown, When, dateOf, lacks, number, percent } from "/page/parts.js";
import { SaveBar, Settings, useForm } from "/page/views/setup-form.js";

export const HOLDBACK = [
  {
    name: "share", label: "Held back", kind: "percent", unit: "%", low: 0, high: 0.5,
    help: "Of decisions in Online mode: they get the baseline, and are not learned. 5 % are usual.",
    loses: (from) => (from ? "Begin the comparison anew?" : ""),
    follows: () => "The comparison begins anew: what was counted until now is not told any more.",
  },
];

const put = (changed) => api("holdback", { method: "PUT", body: changed });

export default function Holdback({ may, held, draft, setDraft }) {
  const of = useData((signal) => api("holdback", { signal }), [held.loop], { every: 30 });
  return html`
    <p>What is the model worth? Hold a share of decisions back from it, and compare what both sides earn.</p>
    <${Shown} of=${of}>${(found) => html`<${Share} ...${{ may, found, draft, setDraft, reload: of.reload }} /><${Lift} found=${found} />`}<//>
  `;
}

function Share({ may, found, draft, setDraft, reload }) {
  const form = useForm({ fields: HOLDBACK, held: found, draft, setDraft, put, reload });
  const locked = lacks(may, "manage");
  return html`<form onSubmit=${(event) => event.preventDefault()}><${Settings} fields=${HOLDBACK} form=${form} context=${{}} locked=${locked} /></form>
    <${SaveBar} form=${form} locked=${locked} />`;
}

const interval = (found, format) => (found ? `${format(found[0])} … ${format(found[1])}, with 95 % confidence` : "not judged yet");

function Lift({ found }) {
  return html`<section aria-label="Lift">
    <h3>What it has shown</h3>
    <p><strong>${found.says}</strong></p>
    <div class="figures">
      <${Figure} label="Average reward with the model" value=${number(found.model.averageReward)} note=${`${number(found.model.events)} events`} />
      <${Figure} label="Average reward held back" value=${number(found.baseline.averageReward)} note=${`${number(found.baseline.events)} events`} />
      <${Figure} label="Difference" value=${number(found.lift.difference)} note=${interval(found.lift.differenceInterval, number)} />
      <${Figure} label="Ratio" value=${percent(found.lift.ratio)} note=${interval(found.lift.ratioInterval, percent)} />
    </div>
    <p class="muted">
      ${dateOf(found.since) ? html`Counted since the share was last changed, <${When} at=${found.since} />. ` : ""}Intervals take events as
      independent: where a person has many, they are too narrow. Decide beforehand how many events to wait for.
    </p>
  </section>`;
}
