// Turns the versions of a loop's model into which one serves, how they have done, and what can be done with them.

import { html, useMemo, useState } from "/page/preact.js";
import { api, hashOf, useData } from "/page/core.js";
import { Confirm, Figure, Shown, Table, TimeChart, When, dateOf, lacks, number } from "/page/parts.js";
import { Files } from "/page/views/models-files.js";
import { Imports } from "/page/views/models-imports.js";
import { Renewal } from "/page/views/models-renewal.js";
import { Version } from "/page/views/models-version.js";
import { Tags, shortOf } from "/page/views/models-words.js";

const PAGE = 50;

export default function Models(view) {
  const { loop, may, state } = view;
  const [pages, setPages] = useState(1);
  const held = useData((signal) => load(pages, signal), [loop, pages], { every: 15 });
  if (state.version) return html`<${Version} key=${state.version} listed=${held.data?.value ?? []} relist=${held.reload} ...${view} />`;
  return html`<div>
    <h1>Models</h1>
    <${Renewal} loop=${loop} may=${may} onEnd=${held.reload} />
    <${Shown} of=${held} empty=${({ value }) => value.length === 0 && nothing}>
      ${({ value, more }) => html`
        <${Serving} of=${value.find((one) => one.serves)} reload=${held.reload} ...${view} />
        <${HeldBack} versions=${value} />
        <${Course} versions=${value} />
        <${Table} caption=${`${more ? "The newest " : ""}${value.length} ${value.length === 1 ? "version" : "versions"}`} columns=${COLUMNS} rows=${value} keyOf=${(row) => row.version} />
        ${more && html`<button type="button" class="quiet" onClick=${() => setPages(pages + 1)} aria-busy=${held.loading}>Show older ones</button>`}
      `}
    <//>
    <${Files} reload=${held.reload} ...${view} />
    <${Imports} ...${view} />
  </div>`;
}

const nothing = html`<p><strong>The loop has no model yet.</strong></p>
  <p>
    The first one is made of the first events whose reward wait is over. Send some from <a href=${hashOf("try")}>Try it</a>, or
    import a model or past decisions below.
  </p>`;

/** So many pages of versions, the newest first. */
async function load(pages, signal) {
  const value = [];
  let more = true;
  for (let page = 0; page < pages && more; page++) {
    const found = await api("versions", { query: { skip: page * PAGE, maxpagesize: PAGE }, signal });
    value.push(...found.value);
    more = Boolean(found.nextLink);
  }
  return { value, more };
}

function Serving({ of, may, reload }) {
  if (!of || of.blank) {
    return html`<div class="empty"><p><strong>No model serves.</strong> Every action is equally likely until events are learned, or a version is rolled back to.</p></div>`;
  }
  return html`
    <div class="figures">
      <${Figure} label="Serves" value=${html`<a href=${hashOf("models", { version: of.version })}>${shortOf(of.version)}</a>`} note=${html`made <${When} at=${of.created} />`} />
      <${Figure} label="Events learned" value=${number(of.events)} />
      <${Figure} label="Progressive reward" value=${number(of.reward)} note="an event, as it learned" />
      <${Figure} label="Learned through" value=${html`<${When} at=${of.trainedThrough} />`} />
    </div>
    <div class="buttons">
      ${of.pinned ? html`<span class="badge warn">pinned</span> <${Unpin} may=${may} reload=${reload} />` : html`<${Pin} of=${of} may=${may} reload=${reload} />`}
    </div>
  `;
}

/** Why the newest version that was held back since the serving one was made does not serve. */
function HeldBack({ versions }) {
  const newer = versions.slice(0, Math.max(versions.findIndex((one) => one.serves), 0));
  const held = newer.find((one) => one.heldBack);
  if (!held) return null;
  return html`<p class="notice">
    Version <a class="mono" href=${hashOf("models", { version: held.version })}>${shortOf(held.version)}</a> was held back: ${held.heldBack} The one
    before goes on serving, learning goes on, and the next version that is sound serves by itself.
  </p>`;
}

function Pin({ of, may, reload }) {
  const act = async () => {
    await api("pin", { method: "PUT" });
    await reload();
  };
  return html`<${Confirm} label="Pin it" title="Pin the version that serves?" yes="Pin it" act=${act} disabled=${lacks(may, "manage")}>
    <p><code>${shortOf(of.version)}</code> goes on serving until it is unpinned, whatever is learned. Learning goes on beside it.</p>
  <//>`;
}

function Unpin({ may, reload }) {
  const act = (learn) => async () => {
    await api("pin", { method: "DELETE", query: { learn } });
    await reload();
  };
  const disabled = lacks(may, "manage");
  return html`
    <${Confirm} label="Unpin: the newest serves" title="Let the newest version serve?" yes="Unpin" act=${act("newest")} disabled=${disabled}>
      <p>The newest version that was not held back serves within 5 s, and every newer one after it. Choose this when nothing was wrong, or it has mended itself.</p>
    <//>
    <${Confirm} label="Unpin: this one learns on" title="Let the pinned version learn on?" yes="Unpin" act=${act("pinned")} disabled=${disabled}>
      <p>
        It goes on serving, and learns what is joined from now on. What was learned beside it since is passed over. Choose this when
        that was bad, for example by a bug of a caller that is repaired.
      </p>
    <//>
  `;
}

/** The progressive reward of versions over what they are trained through. */
function Course({ versions }) {
  const known = useMemo(() => versions.filter((one) => one.reward !== null).reverse(), [versions]);
  const chart = useMemo(() => {
    const times = known.map((one) => dateOf(one.trainedThrough).getTime() / 1000);
    const marks = known.flatMap((one, at) => {
      const changed = at > 0 && one.policy !== known[at - 1].policy;
      return changed || one.serves ? [{ time: times[at], label: one.serves ? "serves" : "new policy" }] : [];
    });
    return { times, marks, series: [{ label: "progressive reward", values: known.map((one) => one.reward) }] };
  }, [known]);
  if (known.length < 2) return null;
  return html`
    <${TimeChart} label="Progressive reward of each version, by what it is trained through" ...${chart} />
    <p class="muted">What a model earned on each event before it learned of it, by IPS, since it was begun: a mean over its course, not over the latest events alone.</p>
  `;
}

const COLUMNS = [
  { label: "Version", of: (row) => html`<a class="mono whole" href=${hashOf("models", { version: row.version })} title=${row.version}>${shortOf(row.version)}</a>` },
  { label: "State", of: (row) => html`<${Tags} of=${row} />` },
  { label: "Made", of: (row) => html`<${When} at=${row.created} />` },
  { label: "Events", number: true, of: (row) => number(row.events) },
  { label: "Reward", number: true, of: (row) => number(row.reward) },
  { label: "Parent", of: (row) => (row.parent ? html`<a class="mono whole" href=${hashOf("models", { version: row.parent })} title=${row.parent}>${shortOf(row.parent)}</a>` : "–") },
  { label: "Policy", of: (row) => html`<code class="clip" title=${row.policy}>${row.policy}</code>` },
];
