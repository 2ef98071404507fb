// Turns a loop's keys into new ones, each shown once.

import { html, useState } from "/page/preact.js";
import { api, endpointOf } from "/page/core.js";
import { Confirm, Copy, lacks } from "/page/parts.js";
import { MayNot } from "/page/views/setup-form.js";

const OTHER = { key1: "key2", key2: "key1" };

/** Keys that were made just now, which nobody can be shown again; keys: by name. */
export function Made({ keys, children }) {
  const shown = Object.keys(keys).length > 1 ? "The keys are" : "The key is";
  return html`<div class="made" role="status">
    <p><strong>${children}</strong> ${shown} shown this once, since the deployment keeps a hash alone: copy now.</p>
    ${Object.entries(keys).map(([name, key]) => html`<p key=${name}>${name}: <code class="secret">${key}</code> <${Copy} text=${key} label=${`Copy ${name}`} /></p>`)}
  </div>`;
}

export default function Keys({ may, held }) {
  const [made, setMade] = useState(null);
  const locked = lacks(may, "owner");
  const replace = (name) => async () => setMade(await api(`keys/${name}`, { method: "POST" }));
  return html`
    <${MayNot} may=${may} role="owner" />
    <p>Callers send one of two keys with each call, to the endpoint
      <code>${endpointOf(held.loop)}</code> <${Copy} text=${endpointOf(held.loop)} label="Copy the endpoint" /></p>
    <p>To replace both without a gap: move all callers to key2, replace key1, move them to the new key1, replace key2.</p>
    ${held.loop === "default" && html`<p class="muted">The default loop has no keys of its own until one is made here; the deployment's key opens it always.</p>`}
    ${made && html`<${Made} keys=${{ [made.name]: made.key }}>${`${made.name} is replaced.`}<//>`}
    <div class="buttons">
      ${Object.keys(OTHER).map(
        (name) => html`<${Confirm} key=${name} label=${`Replace ${name}`} title=${`Replace ${name} of ${held.loop}?`} danger yes="Replace it" act=${replace(name)} disabled=${locked}>
          <p>Whoever still calls with the present ${name} gets 401 from 5 s later on, for ever. Move callers to ${OTHER[name]} first.</p>
          <p>The new one is shown once, in the next step.</p>
        <//>`,
      )}
    </div>
  `;
}
