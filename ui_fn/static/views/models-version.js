// Turns one model version into all that is known of it, how it differs from another one, and the step back to it.

import { html, useState } from "/page/preact.js";
import { api, hashOf, useData } from "/page/core.js";
import { Confirm, Copy, Failure, Field, Shown, Table, When, lacks, number, save } from "/page/parts.js";
import { Tags, shortOf } from "/page/views/models-words.js";

/** A version, and its difference from the one that the address names, or from its parent. */
export function Version(view) {
  const { loop, state } = view;
  const held = useData((signal) => api(`versions/${encodeURIComponent(state.version)}`, { signal }), [loop, state.version]);
  return html`<div>
    <p><a href=${hashOf("models")}>← All versions</a></p>
    <${Shown} of=${held}>
      ${(of) => html`
        <div class="head"><h1>Version <span class="mono">${shortOf(of.version)}</span> <${Tags} of=${of} /></h1></div>
        ${of.heldBack && html`<p class="bad">It was held back when it was made: ${of.heldBack}</p>`}
        <${Steps} of=${of} reload=${held.reload} ...${view} />
        <${Facts} of=${of} />
        <${Difference} of=${of} ...${view} />
      `}
    <//>
  </div>`;
}

function Steps({ of, listed, relist, may, reload }) {
  const [failure, setFailure] = useState(null);
  const [busy, setBusy] = useState(false);
  if (of.blank) return html`<p>It stands for a deleted model: it has no bytes, so nothing can be rolled back to.</p>`;
  const act = async () => {
    await api(`versions/${encodeURIComponent(of.version)}/rollback`, { method: "POST" });
    await Promise.all([reload(), relist()]);
  };
  const download = async () => {
    setBusy(true);
    setFailure(null);
    try {
      save(await (await api(`versions/${encodeURIComponent(of.version)}/model`, { raw: true })).blob(), `${of.version}.vw`);
    } catch (error) {
      setFailure(error);
    }
    setBusy(false);
  };
  const now = listed.find((one) => one.serves);
  const refused = lacks(may, "manage") || (of.pinned && "It serves already, and is pinned.");
  return html`<div>
    <div class="buttons">
      <${Confirm} label="Roll back to it" title=${`Roll back to ${shortOf(of.version)}?`} yes="Roll back" act=${act} disabled=${refused}>
        <ul>
          <li>It serves within 5 s on every instance${of.stored ? "" : ", after its bytes are rebuilt from the log, which takes some seconds"}.</li>
          <li>It is pinned: no newer version and no new policy takes its place until you unpin it.</li>
          <li>Learning goes on beside it, and the loop's settings stay as they are.</li>
          ${now && now.version !== of.version && html`<li><code>${shortOf(now.version)}</code>, which serves now, is kept; roll back to it in the same way.</li>`}
        </ul>
      <//>
      <button type="button" class="quiet" onClick=${download} aria-busy=${busy}>Download its model</button>
    </div>
    <${Failure} error=${failure} />
  </div>`;
}

function Facts({ of }) {
  const link = (version) => (version ? html`<a class="mono" href=${hashOf("models", { version })}>${shortOf(version)}</a>` : "none");
  const facts = {
    Name: html`<span class="mono">${of.version}</span> <${Copy} text=${of.version} />`,
    Made: html`<${When} at=${of.created} />`,
    "Trained through": html`<${When} at=${of.trainedThrough} />`,
    "Events learned": `${number(of.events)}, ${number(of.learned)} of them since its base${of.skipped ? `; ${number(of.skipped)} were not for learning` : ""}${of.refused ? `; ${number(of.refused)} were refused` : ""}`,
    "Progressive reward": of.reward === null ? "not known in multi-slot" : `${number(of.reward, 4)} an event, by IPS`,
    "Learning mode": of.mode,
    Parent: link(of.parent),
    "Learned on from": of.base ? link(of.base) : "nothing: it was begun anew",
    Bytes: of.blank ? "none" : of.stored ? "stored" : "thinned out; rebuilt from the log when they are asked for",
    Policy: html`<code class="mono">${of.policy}</code> <${Copy} text=${of.policy} />`,
  };
  return html`<dl class="facts">
    ${Object.entries(facts).map(([label, value]) => html`<div key=${label}><dt>${label}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

function Difference({ of, listed, state, go }) {
  const other = state.with || of.parent;
  const choose = (event) => go("models", { ...state, with: event.target.value }, { replace: true });
  const names = [...new Set([other, ...listed.map((one) => one.version)])].filter((name) => name && name !== of.version);
  return html`<section aria-label="Difference">
    <h2>How it differs</h2>
    <${Field} label="From version">
      <select value=${other ?? ""} onChange=${choose}>
        ${!other && html`<option value="">choose one</option>`}
        ${names.map((name) => html`<option key=${name} value=${name}>${optionOf(name, of, listed)}</option>`)}
      </select>
    <//>
    ${other && html`<${Told} key=${other} version=${of.version} other=${other} />`}
  </section>`;
}

function optionOf(name, of, listed) {
  const known = listed.find((one) => one.version === name);
  const made = known ? `, made ${new Date(known.created).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })}` : "";
  return `${shortOf(name)}${made}${name === of.parent ? ", its parent" : ""}${known?.serves ? ", serves" : ""}`;
}

function Told({ version, other }) {
  const held = useData((signal) => api(`versions/${encodeURIComponent(version)}/diff`, { query: { with: other }, signal }), [version, other]);
  return html`<div><${Shown} of=${held}>
    ${({ policy, mode, events, reward, weights }) => html`
      <ul>
        <li>${signed(events)} events learned${reward === null ? "" : `, ${signed(reward)} progressive reward an event; each is a mean over its own events`}.</li>
        ${mode[0] !== mode[1] && html`<li>Learning mode ${mode[0]}, where the other has ${mode[1]}.</li>`}
        <li>${policy.length ? "The policies differ:" : "The policies are alike."}</li>
      </ul>
      ${policy.length > 0 && html`<${Table} caption="Options that differ" columns=${OPTIONS} rows=${policy} keyOf=${(row) => row.name} />`}
      ${weights
        ? html`<${Table} caption="Weights" columns=${WEIGHTS} rows=${[weights]} />`
        : html`<p class="muted">Weights are not compared: bytes of one are not stored, are large, or features lie elsewhere in them.</p>`}
    `}
  <//></div>`;
}

const signed = (value) => `${value >= 0 ? "+" : "−"}${number(Math.abs(value), 4)}`;
const valuesOf = (values) => (values ? values.map((value) => value || "set").join(", ") : "–");

const OPTIONS = [
  { label: "Option", of: (row) => html`<code>${row.name ? `--${row.name}` : "all"}</code>` },
  { label: "Change", of: (row) => row.change },
  { label: "This version", of: (row) => html`<span class="mono">${valuesOf(row.values)}</span>` },
  { label: "The other", of: (row) => html`<span class="mono">${valuesOf(row.other)}</span>` },
];

const WEIGHTS = [
  { label: "Not zero", number: true, of: (row) => number(row.nonzero) },
  { label: "of the other", number: true, of: (row) => number(row.otherNonzero) },
  { label: "Differ", number: true, of: (row) => number(row.differ) },
  { label: "Largest change", number: true, of: (row) => number(row.largestChange, 5) },
  { label: "Distance", number: true, of: (row) => number(row.distance, 5) },
];
