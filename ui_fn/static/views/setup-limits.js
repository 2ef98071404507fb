// Turns how far a loop's settings may go beyond Personalizer into a form for its owner.

import { html } from "/page/preact.js";
import { api } from "/page/core.js";
import { lacks, number, secondsOf } from "/page/parts.js";
import { MayNot, SaveBar, Settings, useForm } from "/page/views/setup-form.js";
import { DAY, span } from "/page/views/setup-rules.js";

const MOST_WAIT = 60 * DAY;
const MOST_REWARD = 1e6;
const clamped = "What events earned beyond it counted as the nearer end; the log holds what was sent, so all of it is learned anew.";

export const LIMITS = [
  {
    name: "mostActions", label: "Most actions of a call", kind: "whole",
    within: () => ({ low: 1, high: 1000, told: "From 1 to 1,000." }),
    help: "50 where nobody has changed it. What a request may cost stays the same.",
    follows: (from, to) => (to < from ? "Calls with more actions are refused." : to > 50 ? "Each instance keeps more memory, and the log grows with the actions." : ""),
  },
  {
    name: "longestRewardWait", label: "Longest reward wait", kind: "duration", low: 5, most: () => MOST_WAIT,
    help: "How long the reward wait may be; 2 days where nobody has changed it.",
    also: (value, values, { wait }) => (secondsOf(value) < secondsOf(wait) ? `Not below the reward wait, which is ${span(secondsOf(wait))}: change that first.` : ""),
    follows: () => "What waits is kept in the journal, which costs storage by events and time.",
  },
  {
    name: "lowestReward", label: "Lowest reward", kind: "number", low: -MOST_REWARD, high: MOST_REWARD, retrains: true,
    help: "What an event earns in learning at least; -1 where nobody has changed it.",
    also: (value, values) => (value >= values.highestReward ? `It must be below the highest reward, ${number(values.highestReward)}.` : ""),
    follows: () => clamped,
  },
  {
    name: "highestReward", label: "Highest reward", kind: "number", low: -MOST_REWARD, high: MOST_REWARD, retrains: true,
    help: "What it earns in learning at most; 1 where nobody has changed it. The default learning rate is meant for about 1.",
    also: (value, values) => (value <= values.lowestReward ? `It must be above the lowest reward, ${number(values.lowestReward)}.` : ""),
    follows: () => clamped,
  },
];

const put = (changed) => api("limits", { method: "PUT", body: changed });

export default function Limits({ may, held, reload, draft, setDraft }) {
  const context = { wait: held.service.rewardWaitTime };
  const form = useForm({ fields: LIMITS, held: held.limits, context, draft, setDraft, put, reload });
  const locked = lacks(may, "owner");
  return html`
    <${MayNot} may=${may} role="owner" />
    <p>How far the loop's settings and calls may go beyond what Personalizer allowed.</p>
    <form onSubmit=${(event) => event.preventDefault()}>
      <${Settings} fields=${LIMITS} form=${form} context=${context} locked=${locked} />
    </form>
    <${SaveBar} form=${form} locked=${locked} />
  `;
}
