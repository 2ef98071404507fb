// Turns the wish to begin anew into the deletion of a loop's log, its model or its settings.

import { html, useState } from "/page/preact.js";
import { LATEST, api } from "/page/core.js";
import { Confirm, lacks } from "/page/parts.js";
import { MayNot } from "/page/views/setup-form.js";
import { resetPolicy } from "/page/views/setup-policy.js";
import { DEFAULTS } from "/page/views/setup-rules.js";
import { putService } from "/page/views/setup-service.js";

const remove = (path) => () => api(`personalizer/${path}`, { method: "DELETE", query: LATEST });

/** Policy first, since its epsilon is the exploration percentage; the mode apart from what earns, as the API wants it. */
async function resetSettings() {
  const { arguments: used } = await resetPolicy();
  const { learningMode, ...others } = DEFAULTS;
  if (used.includes("--ccb_explore_adf")) others.isAutoOptimizationEnabled = false;
  await putService({ learningMode });
  await putService({ ...others, logMirrorEnabled: false });
}

const STEPS = [
  {
    label: "Clear the log",
    title: "Delete the whole log?",
    act: remove("logs"),
    about: "What was ranked before now is never learned again, evaluated or told of: events, rewards and their stories are gone. The model keeps what it has learned, and what was mirrored is yours to delete.",
  },
  {
    label: "Clear the model",
    title: "Delete the model?",
    act: remove("model"),
    about: "The loop forgets what it has learned, and decides evenly at first. What is in the log stays there: the next change of a setting that shapes the model learns it again, unless the log is cleared, too.",
  },
  {
    label: "Reset the settings",
    title: "Give it the settings of a new loop?",
    act: resetSettings,
    about: "Every service setting and the policy become those of a new loop, the mirror is switched off, and a new model is made from the log. Shorter retention deletes what is older. Limits, holdback and keys stay.",
  },
];

export default function Clear({ may, held, reload }) {
  const [done, setDone] = useState("");
  const locked = lacks(may, "manage");
  const act = (step) => async () => {
    try {
      await step.act();
      setDone(step.label);
    } finally {
      reload();
    }
  };
  return html`
    <${MayNot} may=${may} role="manage" />
    <p>None of these can be undone. Each asks for the loop's name.</p>
    ${done && html`<p class="saved" role="status"><span class="good">Done: ${done.toLowerCase()}.</span> It holds for every call that begins 5 s from now.</p>`}
    ${STEPS.map(
      (step) => html`<section class="step" key=${step.label} aria-label=${step.label}>
        <h3>${step.label}</h3>
        <p>${step.about}</p>
        <${Confirm} label=${step.label} danger title=${step.title} word=${held.loop} yes=${step.label} act=${act(step)} disabled=${locked}>
          <p>${step.about}</p>
        <//>
      </section>`,
    )}
  `;
}
