// Turns a policy of an evaluation into the loop's own, after it has said what that does.

import { html } from "/page/preact.js";
import { LATEST, api, hashOf } from "/page/core.js";
import { Confirm, lacks, number, percent } from "/page/parts.js";
import { shortOf } from "/page/views/models-words.js";
import { epsilonOf } from "/page/views/evaluations-words.js";

/**
 * The button that applies a policy.
 *
 * row: the policy, with what is known of it. online: the same of what decided. own: the loop's policy, settings and
 * serving version, as far as they are loaded. onApplied: called once it is.
 */
export function Apply({ row, online, own, report, may, onApplied }) {
  if (!row.arguments) return html`<span class="muted" title="It is no policy of Vowpal Wabbit.">–</span>`;
  const isOwn = own?.arguments === row.arguments;
  if (isOwn) return html`<span class="muted whole">in force</span>`;
  const act = async () => {
    const body = { evaluationId: report.id, policyName: row.name };
    await api("personalizer/configurations/applyFromEvaluation", { method: "POST", query: LATEST, body });
    onApplied();
  };
  return html`<${Confirm} label="Apply" title=${`Apply ${row.name}?`} yes="Apply" act=${act} disabled=${lacks(may, "manage") || (!own && "The loop's policy is not known yet.")}>
    ${own && html`<${Consequences} own=${own} row=${row} />`}
    <${Rule} row=${row} online=${online} />
  <//>`;
}

/** What applying does, step by step. */
function Consequences({ own, row }) {
  const { service, serving } = own;
  const days = service.modelRetrainDays;
  const [now, then] = [service.explorationPercentage, epsilonOf(row.arguments)];
  return html`<ul>
    <li>Its arguments become the loop's learning settings: <code class="mono">${row.arguments}</code></li>
    ${then !== null && then !== now && html`<li>Exploration changes from ${percent(now, 0)} to ${percent(then, 0)} at once.</li>`}
    <li>
      A new model is built from ${days ? `the last ${number(days)} days of the log` : "the whole log"}. Until it stands, what serves now
      goes on; it serves by itself then${serving?.pinned ? ", once you unpin the version that is pinned now" : ""}.
    </li>
    <li>
      ${serving ? html`The version that serves now, <code>${shortOf(serving.version)}</code>,` : "What serves now"} is kept: roll back to it in${" "}
      <a href=${hashOf("models")}>Models</a> whenever you like.
    </li>
  </ul>`;
}

/** Whether auto-optimisation would take the policy over. */
function Rule({ row, online }) {
  if (!online || row.policySource === "Online") return null;
  const [its, was] = [row.known.snips, online.known.snips];
  const better = its.value > was.value && its.low > was.low;
  const told = `its interval begins at ${number(its.low)}, that of what decided at ${number(was.low)}`;
  if (better && row.known.trusted) return html`<p class="good">Auto-optimisation would take it over, by SNIPS: ${told}.</p>`;
  if (better) return html`<p class="warn">Auto-optimisation would not take it over, though ${told}. ${row.known.says}</p>`;
  return html`<p class="warn">
    Auto-optimisation would not take it over: by SNIPS it must earn more (${number(its.value)} against ${number(was.value)}), and the
    lower end of its interval must be higher; ${told}.
  </p>`;
}
