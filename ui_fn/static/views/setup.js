// Turns a loop's settings into sections, one of which is shown, and keeps what was typed in any of them until it is saved.

import { html, useEffect, useRef, useState } from "/page/preact.js";
import { api, hashOf, useData, useUnsaved } from "/page/core.js";
import { Shown } from "/page/parts.js";
import Clear from "/page/views/setup-clear.js";
import { MayNot } from "/page/views/setup-form.js";
import Holdback from "/page/views/setup-holdback.js";
import Jobs from "/page/views/setup-jobs.js";
import Keys from "/page/views/setup-keys.js";
import Limits from "/page/views/setup-limits.js";
import Loops from "/page/views/setup-loops.js";
import Mode from "/page/views/setup-mode.js";
import Policy, { getPolicy } from "/page/views/setup-policy.js";
import Service, { getService } from "/page/views/setup-service.js";

const SECTIONS = {
  settings: ["Settings", Service],
  mode: ["Learning mode", Mode],
  policy: ["Policy", Policy],
  holdback: ["Holdback", Holdback],
  limits: ["Limits", Limits],
  keys: ["Keys", Keys],
  loops: ["Loops", Loops],
  jobs: ["Jobs", Jobs],
  clear: ["Clear", Clear],
};
/** Those that Rankloop.Manage changes; others say themselves which role they take. */
const MANAGED = ["settings", "mode", "policy", "holdback"];
const NONE = {};

export default function Setup({ loop, may, state }) {
  const name = state.section in SECTIONS ? state.section : "settings";
  const [title, Section] = SECTIONS[name];
  const [drafts, setDrafts] = useState({});
  const unsaved = Object.keys(drafts).filter((one) => Object.keys(drafts[one]).length);
  useUnsaved(unsaved.length > 0);
  const of = useData(
    async (signal) => {
      const [service, policy, limits] = await Promise.all([getService(signal), getPolicy(signal), api("limits", { signal })]);
      return { loop, service, policy, limits };
    },
    [loop],
  );
  const sections = useRef(null);
  useEffect(() => sections.current.querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" }), [name]);
  const setDraft = (draft) => setDrafts((was) => ({ ...was, [name]: draft }));
  return html`<h1 class="unseen">Setup</h1><div class="setup">
    <nav aria-label="Sections of the setup" ref=${sections}>
      <ul>
        ${Object.entries(SECTIONS).map(
          ([key, [label]]) => html`<li key=${key}>
            <a href=${hashOf("setup", { section: key })} aria-current=${key === name ? "page" : undefined}>${label}${unsaved.includes(key) ? html`<span class="unseen"> (not saved)</span> <span class="dot"></span>` : ""}</a>
          </li>`,
        )}
      </ul>
    </nav>
    <div class="section">
      <h2>${title}</h2>
      ${MANAGED.includes(name) && html`<${MayNot} may=${may} role="manage" />`}
      <${Shown} of=${of}>
        ${(held) => html`<${Section} key=${name} ...${{ may, held, state, reload: of.reload, draft: drafts[name] ?? NONE, setDraft }} />`}
      <//>
    </div>
  </div>`;
}
