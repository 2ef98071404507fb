// Turns a loop's service configuration into a form, and the form into a PUT of what changed.

import { html } from "/page/preact.js";
import { LATEST, api } from "/page/core.js";
import { When, dateOf, lacks } from "/page/parts.js";
import { SaveBar, Settings, useForm } from "/page/views/setup-form.js";
import { SERVICE } from "/page/views/setup-rules.js";

const PATH = "personalizer/configurations/service";
const FIELDS = SERVICE.flatMap((group) => group.fields);

/** The service configuration. */
export const getService = (signal) => api(PATH, { query: LATEST, signal });

/** Change some members over what holds now, whoever else has changed others meanwhile. */
export async function putService(changed) {
  const { lastConfigurationEditDate, latestApprenticeModeMetrics, ...now } = await getService();
  return api(PATH, { method: "PUT", query: LATEST, body: { ...now, ...changed } });
}

export default function Service({ may, held, reload, draft, setDraft }) {
  const context = { limits: held.limits, multiSlot: held.policy.arguments.includes("--ccb_explore_adf") };
  const form = useForm({ fields: FIELDS, held: held.service, context, draft, setDraft, put: putService, reload });
  const locked = lacks(may, "manage");
  const edited = held.service.lastConfigurationEditDate;
  return html`
    <form onSubmit=${(event) => event.preventDefault()}>
      ${SERVICE.map(
        (group) => html`<fieldset key=${group.title}>
          <legend>${group.title}</legend>
          <p class="muted">${group.about}</p>
          <${Settings} fields=${group.fields} form=${form} context=${context} locked=${locked} />
        </fieldset>`,
      )}
    </form>
    <${SaveBar} form=${form} locked=${locked} />
    <p class="muted">
      ${edited && dateOf(`${edited}Z`) ? html`What shapes the model was last changed <${When} at=${`${edited}Z`} />.` : "What shapes the model was never changed."}
    </p>
  `;
}
