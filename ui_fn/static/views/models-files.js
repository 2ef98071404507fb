// Turns the loop's model and its learning settings into files, and files into these.

import { html, useState } from "/page/preact.js";
import { LATEST, api, useData } from "/page/core.js";
import { Confirm, Copy, Failure, Field, Shown, When, lacks, save } from "/page/parts.js";

const MODEL = "personalizer/model";
const POLICY = "personalizer/configurations/policy";

/** Export and import of the model and of the learning settings. */
export function Files(view) {
  return html`<div class="columns files">
    <${Model} ...${view} />
    <${Settings} ...${view} />
  </div>`;
}

function Model({ loop, may, reload }) {
  const held = useData((signal) => api("personalizer/model/properties", { query: LATEST, signal }), [loop]);
  const [file, setFile] = useState(null);
  const again = async () => {
    await Promise.all([reload(), held.reload()]);
  };
  const put = async () => {
    await api(MODEL, { method: "PUT", query: LATEST, body: file });
    await again();
  };
  const remove = async () => {
    await api(MODEL, { method: "DELETE", query: LATEST });
    await again();
  };
  return html`<section class="boxed" aria-label="Model file">
    <h2>Model</h2>
    <${Shown} of=${held}>
      ${(of) => html`<p class="muted">First made <${When} at=${of.creationTime} />; the one that serves <${When} at=${of.lastModifiedTime} />.</p>`}
    <//>
    <div class="buttons">
      <${Export} label="Export" query=${{ signed: "false" }} name="model.vw" />
      <${Export} label="Export signed" query=${{ signed: "true" }} name="model.vw.zip" />
    </div>
    <p class="muted">A signed file is a zip that vouches for its model: only such a one can be imported, here or into another loop.</p>
    <${Field} label="Import a signed model" help="A .zip of at most 100 MB, signed by this deployment or by one that it trusts.">
      <input type="file" accept=".zip,application/zip" onChange=${(event) => setFile(event.target.files[0] ?? null)} />
    <//>
    <div class="buttons">
      <${Confirm} label="Import" title=${`Import ${file?.name}?`} yes="Import" act=${put} disabled=${lacks(may, "manage") || (!file && "Choose a file first.")}>
        <ul>
          <li>Its model serves within 5 s, and learning goes on from it. If a version is pinned, this one takes the pin over.</li>
          <li>What serves now is kept: roll back to it whenever you like.</li>
        </ul>
      <//>
      <${Confirm} label="Delete model" danger title="Delete the model?" word=${loop} yes="Delete" act=${remove} disabled=${lacks(may, "manage")}>
        <p>
          The loop forgets all that it has learned, and a pin with it: every action is equally likely until it has learned again, from
          what is joined from now on. The log stays, and so do older versions, to which you can roll back.
        </p>
      <//>
    </div>
  </section>`;
}

function Export({ label, query, name }) {
  const [state, setState] = useState({});
  const act = async () => {
    setState({ busy: true });
    try {
      save(await (await api(MODEL, { query: { ...LATEST, ...query }, raw: true })).blob(), name);
      setState({});
    } catch (error) {
      setState({ error });
    }
  };
  return html`<span>
    <button type="button" class="quiet" onClick=${act} aria-busy=${state.busy}>${label}</button>
    <${Failure} error=${state.error} />
  </span>`;
}

function Settings({ loop, may }) {
  const held = useData((signal) => api(POLICY, { query: LATEST, signal }), [loop]);
  return html`<section class="boxed" aria-label="Learning settings">
    <h2>Learning settings</h2>
    <${Shown} of=${held}>${(policy) => html`<${Policy} policy=${policy} may=${may} reload=${held.reload} />`}<//>
  </section>`;
}

function Policy({ policy, may, reload }) {
  const [read, setRead] = useState({});
  const choose = async (event) => setRead(event.target.files[0] ? await policyOf(event.target.files[0]) : {});
  const file = () => save(new Blob([JSON.stringify(policy, null, 2)], { type: "application/json" }), "learning-settings.json");
  const put = async () => {
    await api(POLICY, { method: "PUT", query: LATEST, body: read.policy });
    await reload();
  };
  return html`
    <p><code class="mono">${policy.arguments}</code> <${Copy} text=${policy.arguments} /></p>
    <div class="buttons"><button type="button" class="quiet" onClick=${file}>Export</button></div>
    <${Field} label="Import learning settings" help="A JSON file with a name and arguments, as it was exported here or by Personalizer." wrong=${read.wrong}>
      <input type="file" accept=".json,application/json" onChange=${choose} />
    <//>
    <div class="buttons">
      <${Confirm} label="Import" title="Change the learning settings?" yes="Import" act=${put} disabled=${lacks(may, "manage") || (!read.policy && "Choose a file first.")}>
        <p>From <code class="mono">${policy.arguments}</code> to <code class="mono">${read.policy?.arguments}</code></p>
        <p>A new model is built from the log with them. Until it stands, the one that serves now goes on; that is kept, and can be rolled back to.</p>
      <//>
    </div>
  `;
}

/** The policy in a file, or what is wrong with it. */
async function policyOf(file) {
  try {
    const { name, arguments: options } = JSON.parse(await file.text());
    if (typeof options !== "string" || !options) return { wrong: "arguments must be a text: the file is of no learning settings." };
    return { policy: { name: typeof name === "string" ? name : file.name, arguments: options } };
  } catch {
    return { wrong: "The file is no JSON." };
  }
}
