// Turns what the API calls an evaluation's status, its policies and its estimates into words, and ids into paths.

import { html } from "/page/preact.js";

const STATUS = {
  Succeeded: ["finished", "good"],
  Running: ["running", ""],
  NotSubmitted: ["not begun", ""],
  Failed: ["failed", "bad"],
  Timeout: ["timed out", "bad"],
  Canceled: ["canceled", "warn"],
  OptimalPolicyApplied: ["better policy applied", "good"],
  OnlinePolicyRetained: ["policy kept", "good"],
};

/** The statuses, for a choice among them: by the API's name what it is called here. */
export const STATUSES = Object.fromEntries(Object.entries(STATUS).map(([name, [words]]) => [name, words]));

/** Whether work of a status has not come to its end. */
export const runs = (status) => status === "Running" || status === "NotSubmitted";

/** A status, as a badge. */
export function Status({ of }) {
  const [words, tone] = STATUS[of] ?? [of, ""];
  return html`<span class=${`badge ${tone}`}>${words}</span>`;
}

/** Where a policy of an evaluation is from. */
export const SOURCES = {
  Online: "what decided",
  Baseline: "the first action",
  Random: "all actions alike",
  Custom: "your own",
  OfflineExperimentation: "found by the search",
};

/** The estimates of a report by their names there: what they are called, and when to go by them. */
export const ESTIMATES = {
  snips: ["SNIPS", "Self-normalised: the one to go by. It stays within what was earned."],
  ips: ["IPS", "Inverse propensity scores: to be compared with Personalizer's numbers. They vary more where most decisions are rewarded."],
  dr: ["DR", "Doubly robust: a model of rewards, corrected by what it did not expect. Trust it where it agrees with SNIPS."],
  conservative: ["Conservative", "IPS with an interval that needs no normal distribution: wide, and right also of few events and rare rewards."],
};

/** The path of an evaluation in Personalizer's API. */
export const evaluationAt = (id) => `personalizer/evaluations/${encodeURIComponent(id)}`;

/** The path of its report in Rankloop's own. */
export const reportAt = (id) => `evaluations/${encodeURIComponent(id)}`;

/** Of a policy's options the share of decisions that explore; null where they do not say. */
export function epsilonOf(options) {
  const found = /(?:^|\s)--epsilon[ =](\S+)/.exec(options ?? "");
  return found ? Number(found[1]) : null;
}
