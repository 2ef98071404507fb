// Turns a deployment's loops into a list to switch, make and delete them in.

import { html, useState } from "/page/preact.js";
import { api, leave, useData } from "/page/core.js";
import { Confirm, Copy, Failure, Shown, Table, lacks, useId } from "/page/parts.js";
import { open, switchTo } from "/page/page.js";
import { MayNot } from "/page/views/setup-form.js";
import { Made } from "/page/views/setup-keys.js";

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const RULE = "1 to 63 of a-z, 0-9 and -, neither first nor last a hyphen.";

export default function Loops({ may, held }) {
  if (!may.owner) return html`<${MayNot} may=${may} role="owner" /><p>This page shows the loop <strong>${held.loop}</strong>.</p>`;
  return html`<${Owned} held=${held} may=${may} />`;
}

function Owned({ held, may }) {
  const of = useData((signal) => api("loops", { signal, loop: "default" }), []);
  // The header's list is of the page's own access: it is asked for again.
  const changed = () => Promise.all([of.reload(), open(held.loop)]);
  const remove = (name) => async () => {
    await api(`loops/${encodeURIComponent(name)}`, { method: "DELETE", loop: "default" });
    await (name === held.loop ? switchTo("default") : changed());
  };
  return html`
    <p>Each loop has an endpoint, keys, settings, a log and a model of its own.</p>
    <${Shown} of=${of}>
      ${({ value }) => html`<${Table} caption="Loops" rows=${value} keyOf=${(row) => row.id}
        columns=${[
          { label: "Name", of: (row) => html`<strong>${row.name}</strong>${row.name === held.loop ? html` <span class="badge">shown</span>` : ""}` },
          { label: "Endpoint", of: (row) => html`<code>${row.endpoint}</code> <${Copy} text=${row.endpoint} />` },
          { label: "", of: (row) => html`<${Acts} row=${row} held=${held} remove=${remove} />` },
        ]} />`}
    <//>
    <${Create} may=${may} changed=${changed} />
  `;
}

function Acts({ row, held, remove }) {
  return html`<span class="buttons tight">
    <button type="button" class="quiet" disabled=${row.name === held.loop} title=${row.name === held.loop ? "It is shown." : undefined}
      aria-label=${`Show ${row.name}`} onClick=${() => leave(() => switchTo(row.name))}>Show</button>
    <${Confirm} label=${html`Delete <span class="unseen">${row.name}</span>`} danger title=${`Delete the loop ${row.name}?`} word=${row.name} yes="Delete it for ever" act=${remove(row.name)}
      disabled=${row.name === "default" ? "The default loop cannot be deleted; its log and model can." : ""}>
      <p>Its calls get 404 at once. Its settings, keys, log and models are removed a minute later, for ever: nothing brings them back.</p>
    <//>
  </span>`;
}

function Create({ may, changed }) {
  const [name, setName] = useState("");
  const [state, setState] = useState({});
  const id = useId();
  const wrong = state.error?.target === "name" ? state.error.message : name && !NAME.test(name) ? RULE : "";
  const create = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      const made = await api("loops", { method: "POST", body: { name }, loop: "default" });
      setName("");
      setState({ made });
    } catch (error) {
      return setState({ error });
    }
    // Its keys are shown this once: what is asked for anew must not take them away.
    await changed();
  };
  const typed = (event) => {
    setName(event.target.value);
    setState({});
  };
  return html`<h3>A new loop</h3>
    ${state.made && html`<${Made} keys=${state.made.keys}>${`The loop ${state.made.name} is made, at ${state.made.endpoint}.`}<//>`}
    <form class="inline" onSubmit=${create}>
      <div class="field">
        <label for=${id} class="label">Name</label>
        <input id=${id} value=${name} onInput=${typed} autocomplete="off" spellcheck="false" required disabled=${!may.owner}
          aria-invalid=${wrong ? "true" : undefined} aria-describedby=${`${id}-help`} />
        <small id=${`${id}-help`}>${RULE} Callers see it in the endpoint.</small>
        ${wrong && html`<small class="wrong" role="alert">${wrong}</small>`}
      </div>
      <button type="submit" disabled=${!name || Boolean(wrong)} aria-busy=${state.busy}>Make it</button>
    </form>
    ${!wrong && html`<${Failure} error=${state.error} />`}`;
}
