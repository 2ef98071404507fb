// Turns a loop's learning mode into a choice, beside what it has come to as an apprentice.

import { html } from "/page/preact.js";
import { api, useData } from "/page/core.js";
import { Figure, Shown, lacks, number, percent } from "/page/parts.js";
import { SaveBar, useForm } from "/page/views/setup-form.js";
import { LEARNING_MODE } from "/page/views/setup-rules.js";
import { putService } from "/page/views/setup-service.js";

const MEANT = {
  Online: "The loop decides. It answers the action that it has drawn, and learns from its reward.",
  Apprentice:
    "Your application decides, as before: the answer is always the first action of the request. The loop watches, and learns to choose as your application does, so that it begins well when it is let decide.",
  LoggingOnly: "Your application decides, and the loop logs it with its rewards. For a log to evaluate, before anything is decided differently.",
};

export default function Mode({ may, held, reload, draft, setDraft }) {
  const form = useForm({ fields: [LEARNING_MODE], held: held.service, draft, setDraft, put: putService, reload });
  const locked = lacks(may, "manage");
  const chosen = draft.learningMode ?? held.service.learningMode;
  return html`
    <form onSubmit=${(event) => event.preventDefault()}>
      <fieldset class="cards">
        <legend>Who decides</legend>
        ${Object.entries(MEANT).map(
          ([mode, meant]) => html`<label key=${mode} class=${`card ${mode === chosen ? "chosen" : ""} ${form.changes.length && mode === chosen ? "changed" : ""}`}>
            <input type="radio" name="learningMode" value=${mode} checked=${mode === chosen} disabled=${Boolean(locked)} title=${locked || undefined}
              onChange=${() => form.set(LEARNING_MODE, mode)} aria-describedby=${`mode-${mode}`} />
            <span><strong>${mode}</strong><small id=${`mode-${mode}`}>${meant}</small></span>
          </label>`,
        )}
      </fieldset>
      ${form.refused && html`<p class="failure" role="alert">${form.refused.message}</p>`}
    </form>
    <${SaveBar} form=${form} locked=${locked} />
    <${Apprenticeship} loop=${held.loop} mode=${held.service.learningMode} ever=${Boolean(held.service.latestApprenticeModeMetrics)} />
  `;
}

/** What the loop has come to as an apprentice, and whether it is time to let it decide. */
function Apprenticeship({ loop, mode, ever }) {
  const of = useData(
    async (signal) => (ever ? api("apprentice", { signal }) : null),
    [loop, mode, ever],
    { every: 30 },
  );
  return html`<section aria-label="Apprentice mode">
    <h3>As an apprentice</h3>
    <${Shown} of=${of} empty=${(found) =>
      found ? null : html`<p>This loop was never an apprentice. Turn it to Apprentice mode to see how near it comes to what your application decides, before it decides anything itself.</p>`}>
      ${(found) => html`
        <p><strong>${found.says}</strong></p>
        <div class="figures">
          <${Figure} label="Achieved of your application's reward" value=${percent(found.latest.rewardAchievementRatio)} note=${`over the latest ${number(found.latest.events)} events`} />
          <${Figure} label="Your application's average reward" value=${number(found.baselineAverageReward)} note=${`${number(found.events)} events`} />
          <${Figure} label="The loop's share in it" value=${number(found.personalizerAverageReward)} note=${`${number(found.imitatedEvents)} times it drew the same`} />
        </div>
        <p class="muted">Switch to Online between 60 and 80 %. It cannot come near 100 %: what is explored differs by chance.</p>
      `}
    <//>
  </section>`;
}
