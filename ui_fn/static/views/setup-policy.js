// Turns a loop's learning policy into its options in words, and edited arguments into a new policy.

import { html, useState } from "/page/preact.js";
import { LATEST, api, hashOf } from "/page/core.js";
import { Confirm, Table, lacks, useId } from "/page/parts.js";
import { NewModel, newestRetrain } from "/page/views/setup-form.js";
import { OPTIONS, read } from "/page/views/setup-options.js";

const PATH = "personalizer/configurations/policy";
/** What is worth a try, and what for; see docs/operations.md. */
const TRIED = [
  ["As Personalizer had it", "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"],
  ["Explores what may still be good, and ever less", "--cb_explore_adf --squarecb --power_t 0 -l 0.001 --cb_type mtr -q ::"],
  ["Shares close calls", "--cb_explore_adf --softmax --lambda 20 --power_t 0 -l 0.001 --cb_type mtr -q ::"],
];

/** The policy. */
export const getPolicy = (signal) => api(PATH, { query: LATEST, signal });
/** Back to the default of the policy's kind. */
export const resetPolicy = () => api(PATH, { method: "DELETE", query: LATEST });

export default function Policy({ may, held, reload, draft, setDraft }) {
  const [state, setState] = useState({});
  const id = useId();
  const locked = lacks(may, "manage");
  const present = held.policy.arguments;
  const text = draft.arguments ?? present;
  const { options, wrong } = read(text);
  const changed = text.trim() !== present.trim();
  const said = state.error?.message ?? (changed ? wrong : "");
  const set = (value) => {
    setDraft(value === present ? {} : { arguments: value });
    setState({});
  };
  const done = (act) => async () => {
    const before = await newestRetrain();
    try {
      await act();
    } catch (error) {
      if (error.target !== "arguments") throw error;
      return setState({ error });
    }
    setDraft({});
    setState({ before, saved: true });
    reload();
  };
  const put = () => api(PATH, { method: "PUT", query: LATEST, body: { name: "set-by-hand", arguments: text.trim() } });
  const kinds = (one) => one.includes("--ccb_explore_adf");
  return html`
    <p>How the model learns and explores, as options of Vowpal Wabbit. A change of it makes a new model from the log; until that stands the old one serves.</p>
    <div class=${`field setting ${changed ? "changed" : ""}`}>
      <label for=${id} class="label">Arguments</label>
      <textarea id=${id} class="mono" rows="3" spellcheck="false" disabled=${Boolean(locked)} title=${locked || undefined} value=${text}
        aria-invalid=${said ? "true" : undefined} aria-describedby=${`${id}-help${said ? ` ${id}-wrong` : ""}`} onInput=${(event) => set(event.target.value)}></textarea>
      <small id=${`${id}-help`}>1,024 characters at most. Vowpal Wabbit tries them before they are taken.</small>
      ${changed && html`<small class="was">Was <span class="mono">${present}</span></small>`}
      ${said && html`<small id=${`${id}-wrong`} class="wrong" role="alert">${said}</small>`}
    </div>
    ${state.saved && html`<p class="saved" role="status"><span class="good">Saved.</span> <${NewModel} before=${state.before} /></p>`}
    <div class="buttons">
      ${changed &&
      html`<${Confirm} label="Save" primary title="Make a new model by this policy?" yes="Save, and make a new model" act=${done(put)}
          disabled=${locked || (wrong && "Something above is not as it must be.")}>
          <p class="mono">${text}</p>
          <p>A new model is made from the log by these options. Until it stands, the one that there is goes on serving.
            ${options.some((one) => one.name === "epsilon") && " Its epsilon becomes the exploration percentage."}</p>
          ${kinds(text) !== kinds(present) &&
          html`<p class="warn">It turns the loop from ${kinds(present) ? "multi-slot to single slot" : "single slot to multi-slot"}: events of the other kind are not learned, so it begins with nothing.</p>`}
        <//>
        <button type="button" class="quiet" onClick=${() => set(present)}>Discard</button>`}
      <${Confirm} label="Reset to the default" title="Go back to the default policy?" yes="Reset, and make a new model" act=${done(resetPolicy)} disabled=${locked}>
        <p>The policy becomes the one of a new loop, for ${kinds(present) ? "several slots" : "a single slot"}, with exploration 20 %, and a new model is made from the log.</p>
      <//>
      <a href=${hashOf("models")}>Import or export it: Models</a>
    </div>
    <${Table} caption="What these options mean" keyOf=${(row, index) => index} rows=${options}
      columns=${[
        { label: "Option", of: (row) => html`<span class="mono">--${row.name}${row.value && ` ${row.value}`}</span>` },
        { label: "Meaning", of: (row) => row.meaning },
      ]} />
    <details>
      <summary>Policies to begin from</summary>
      <ul class="plain">
        ${TRIED.map(
          ([what, given]) => html`<li key=${given}>${what}: <span class="mono">${given}</span>${" "}
            <button type="button" class="quiet small" onClick=${() => set(given)} disabled=${Boolean(locked)} title=${locked || undefined}>Take this one</button></li>`,
        )}
      </ul>
      <p class="muted">An <a href=${hashOf("evaluations")}>evaluation</a> tells what one would have earned on this log, before you take it.</p>
    </details>
    <details>
      <summary>All options that are allowed</summary>
      <${Table} caption="Options" rows=${Object.entries(OPTIONS)} keyOf=${([name]) => name}
        columns=${[{ label: "Option", of: ([name]) => html`<span class="mono">--${name}</span>` }, { label: "Meaning", of: ([, [meaning]]) => meaning }]} />
    </details>
  `;
}
