// Turns settings into inputs, and what was typed into a bar that says what saving does.

import { html, useEffect, useRef, useState } from "/page/preact.js";
import { api, hashOf } from "/page/core.js";
import { Confirm, Failure, lacks, useId } from "/page/parts.js";
import { KINDS, UNIT_NAMES, judge, told } from "/page/views/setup-rules.js";

/** Whether a form may be changed, said once above it. */
export function MayNot({ may, role }) {
  const why = lacks(may, role);
  return why ? html`<p class="maynot" role="note">You may look, and change nothing. ${why}</p>` : null;
}

/**
 * The inputs of some settings.
 *
 * fields: see setup-rules.js. form: what `useForm` returned. context: what their ranges depend on. locked: why they may
 * not be changed, or "".
 */
export function Settings({ fields, form, context, locked }) {
  return html`<div class="columns">
    ${fields.map((field) => html`<${Setting} key=${field.name} field=${field} form=${form} context=${context} locked=${locked} />`)}
  </div>`;
}

function Setting({ field, form, context, locked }) {
  const id = useId();
  const kind = KINDS[field.kind];
  const held = form.held[field.name];
  const text = form.draft[field.name] ?? (held === undefined || held === null ? "" : kind.text(held));
  const change = form.changes.find((one) => one.field === field);
  const wrong = form.refused?.target === field.name ? form.refused.message : form.wrong[field.name];
  const range = kind.range(field, { ...context, values: form.values });
  const given = {
    id,
    name: field.name,
    disabled: Boolean(locked),
    title: locked || undefined,
    "aria-invalid": wrong ? "true" : undefined,
    "aria-describedby": `${id}-help${wrong ? ` ${id}-wrong` : ""}`,
  };
  const label = html`<label for=${id} class="label">${field.label}${field.unit ? html` <span class="unit">(${field.unit})</span>` : ""}</label>`;
  return html`<div class=${`field setting ${change ? "changed" : ""}`}>
    ${field.kind === "flag" ? html`<${Input} field=${field} text=${text} given=${given} form=${form} /> ${label}` : html`${label}<${Input} field=${field} text=${text} given=${given} form=${form} />`}
    <small id=${`${id}-help`}>${field.help} ${wrong === range ? "" : range}</small>
    ${change && html`<small class="was">Was ${told(change).from}.</small>`}
    ${wrong && html`<small id=${`${id}-wrong`} class="wrong" role="alert">${wrong}</small>`}
  </div>`;
}

function Input({ field, text, given, form }) {
  const set = (value) => form.set(field, value);
  const typed = (event) => set(event.target.value);
  if (field.kind === "flag") {
    return html`<input type="checkbox" role="switch" ...${given} checked=${Boolean(text)} onChange=${(event) => set(event.target.checked)} />`;
  }
  if (field.kind === "choice") {
    return html`<select ...${given} value=${text} onChange=${typed}>
      ${Object.entries(field.options).map(([value, label]) => html`<option key=${value} value=${value}>${label}</option>`)}
    </select>`;
  }
  if (field.kind === "duration") {
    const [amount, unit] = text.split(" ");
    return html`<span class="amount">
      <input type="number" step="any" min="0" ...${given} value=${amount} onInput=${(event) => set(`${event.target.value} ${unit}`)} />
      <select aria-label=${`Unit of ${field.label}`} disabled=${given.disabled} title=${given.title} value=${unit} onChange=${(event) => set(`${amount} ${event.target.value}`)}>
        ${Object.entries(UNIT_NAMES).map(([value, label]) => html`<option key=${value} value=${value}>${label}</option>`)}
      </select>
    </span>`;
  }
  const type = { secret: "password", instant: "datetime-local" }[field.kind] ?? "number";
  return html`<input type=${type} step=${type === "number" ? "any" : type === "datetime-local" ? "1" : undefined} autocomplete="off" spellcheck="false"
    ...${given} value=${text} onInput=${typed} />`;
}

/**
 * A form's state.
 *
 * fields, held, context: see `judge`. draft, setDraft: what was typed, kept by the view, so that it stays while another
 * section is shown. put: async (values of what changes, by name) => void. reload: () => void, after it.
 */
export function useForm({ fields, held, context, draft, setDraft, put, reload }) {
  const [state, setState] = useState({});
  const judged = judge(fields, held, draft, context);
  const set = (field, value) => {
    const kind = KINDS[field.kind];
    const { [field.name]: _, ...others } = draft;
    const now = held[field.name];
    const same = kind.text(now ?? (field.kind === "flag" ? false : "")) === value;
    setDraft(same ? others : { ...others, [field.name]: value });
    setState({});
  };
  const save = async () => {
    const before = judged.changes.some((one) => one.field.retrains) ? await newestRetrain() : undefined;
    try {
      await put(Object.fromEntries(judged.changes.map(({ field, to }) => [field.name, to])));
    } catch (error) {
      if (!fields.some((field) => field.name === error.target)) throw error;
      setState({ refused: error });
      return;
    }
    setDraft({});
    setState({ saved: new Date(), before });
    reload();
  };
  return { ...judged, ...state, held, draft, set, save, discard: () => (setDraft({}), setState({})) };
}

/** What saving changes and leads to, and the buttons for it; what was saved, after that. */
export function SaveBar({ form, locked }) {
  const [state, setState] = useState({});
  if (!Object.keys(form.draft).length) return form.saved ? html`<${Saved} form=${form} />` : null;
  const changes = form.changes.map(told);
  const problems = Object.keys(form.wrong).length;
  const retrains = changes.some((one) => one.retrains);
  const { loses } = changes.find((one) => one.loses) ?? {};
  const now = async () => {
    setState({ busy: true });
    try {
      await form.save();
      setState({});
    } catch (error) {
      setState({ error });
    }
  };
  const why = locked || (problems ? "Something above is not as it must be." : changes.length ? "" : "What was typed changes nothing.");
  return html`<section class="savebar" aria-label="Unsaved changes">
    <div role="status" tabindex="0">
      <${Changes} changes=${changes} />
      ${problems > 0 && html`<p class="bad">${problems === 1 ? "One setting is" : `${problems} settings are`} not as it must be: see above.</p>`}
      ${!problems && !changes.length && html`<p>${why}</p>`}
      ${retrains && html`<p class="warn"><${Retrains} /></p>`}
    </div>
    <${Failure} error=${state.error} />
    <div class="buttons">
      ${retrains || loses
        ? html`<${Confirm} label="Save" primary danger=${Boolean(loses)} title=${loses || "Make a new model?"}
            yes=${retrains ? "Save, and make a new model" : "Save all the same"} act=${form.save} disabled=${why}>
            <${Changes} changes=${changes} />
            ${retrains && html`<p><${Retrains} /></p>`}
          <//>`
        : html`<button type="button" onClick=${now} disabled=${Boolean(why)} title=${why || undefined} aria-busy=${state.busy}>Save</button>`}
      <button type="button" class="quiet" onClick=${form.discard}>Discard</button>
    </div>
  </section>`;
}

function Changes({ changes }) {
  return changes.length
    ? html`<ul>${changes.map((one) => html`<li key=${one.label}><strong>${one.label}</strong>: ${one.from} → ${one.to}. ${one.follows}</li>`)}</ul>`
    : null;
}

const Retrains = () =>
  html`A new model is made from the log. Until it stands, the one that there is goes on serving; what it knows that the log
  does not hold any more is lost with it.`;

function Saved({ form }) {
  return html`<p class="saved" role="status">
    <span class="good">Saved.</span> It holds for every call that begins 5 s from now.
    ${form.before !== undefined && html` <${NewModel} before=${form.before} />`}
  </p>`;
}

/** The id of the newest job that makes a new model; null where there is none. */
export async function newestRetrain(signal) {
  const { value } = await api("jobs", { query: { top: 5 }, signal });
  return value.find((job) => job.kind === "retrain")?.id ?? null;
}

/** A link to the job that makes the new model, once there is one; before: the newest one until then. */
export function NewModel({ before }) {
  const [job, setJob] = useState(null);
  const timer = useRef(0);
  useEffect(() => {
    const stop = new AbortController();
    const look = async () => {
      try {
        const id = await newestRetrain(stop.signal);
        if (id !== before) return setJob(id);
      } catch {
        // The next look may find it; the list of jobs itself says what is wrong.
      }
      if (!stop.signal.aborted) timer.current = setTimeout(look, 2000);
    };
    look();
    return () => {
      stop.abort();
      clearTimeout(timer.current);
    };
  }, [before]);
  return job
    ? html`<a href=${hashOf("setup", { section: "jobs", job })}>See the job that makes the new model</a>`
    : html`<span>The new model is begun by the next run of the train timer: <a href=${hashOf("setup", { section: "jobs" })}>jobs</a>.</span>`;
}
