// Turns what is typed for a setting into the API's value, what is wrong with it, and what a change of it leads to.

import { number, percent, secondsOf } from "/page/parts.js";

export const DAY = 86400;
const LONGEST_EXPORT = 30 * DAY;
const INT32_MAX = 2 ** 31 - 1;
const UNITS = { d: DAY, h: 3600, min: 60, s: 1 };
export const UNIT_NAMES = { s: "seconds", min: "minutes", h: "hours", d: "days" };

/** Seconds in words, in the largest unit that they are whole in: "90 minutes", "2 days". */
export function span(seconds) {
  const unit = Object.keys(UNITS).find((one) => seconds % UNITS[one] === 0) ?? "s";
  const amount = seconds / UNITS[unit];
  return `${number(amount)} ${amount === 1 ? UNIT_NAMES[unit].slice(0, -1) : UNIT_NAMES[unit]}`;
}

/** Digits that a 32-bit float has, which is what the API keeps of a number. */
const rounded = (value) => Number(value.toPrecision(7));
const finite = (text) => (String(text).trim() === "" || !Number.isFinite(Number(text)) ? null : Number(text));
const between = (low, high, what = "") => `From ${low} to ${high}${what}.`;

const numeric = {
  text: (value) => String(rounded(value)),
  value: finite,
  same: (a, b) => Math.fround(a) === Math.fround(b),
  told: (value) => number(value, 6),
  range: (field) => between(number(field.low), number(field.high)),
  wrong: (field, value) => (value < field.low || value > field.high ? between(number(field.low), number(field.high)) : ""),
};

/**
 * How each kind of setting is typed and told.
 *
 * text: of the API's value, what stands in the input. value: of that text, the API's value; null where it is none.
 * same: whether two values are one. told: a value in words. wrong: (field, value, context) => why it may not be, or "".
 * range: (field, context) => what it may be, in words.
 */
export const KINDS = {
  duration: {
    text: (value) => {
      const seconds = secondsOf(value);
      const unit = Object.keys(UNITS).find((one) => seconds % UNITS[one] === 0) ?? "s";
      return `${seconds / UNITS[unit]} ${unit}`;
    },
    value: (text) => {
      const [amount, unit] = text.split(" ");
      const found = finite(amount);
      return found === null || found < 0 ? null : `PT${Number((found * UNITS[unit]).toFixed(7))}S`;
    },
    same: (a, b) => secondsOf(a) === secondsOf(b),
    told: (value) => span(secondsOf(value)),
    range: (field, context) => between(span(field.low), span(field.most(context))),
    wrong: (field, value, context) =>
      secondsOf(value) < field.low || secondsOf(value) > field.most(context) ? KINDS.duration.range(field, context) : "",
  },
  number: numeric,
  percent: {
    ...numeric,
    text: (value) => String(rounded(100 * value)),
    value: (text) => (finite(text) === null ? null : rounded(finite(text) / 100)),
    told: (value) => percent(value, 2).replace(/\.?0+ %$/, " %"),
    range: (field) => between(100 * field.low, `${100 * field.high} %`),
    wrong: (field, value) => (value < field.low || value > field.high ? KINDS.percent.range(field) : ""),
  },
  whole: {
    ...numeric,
    text: String,
    value: (text) => (/^\s*-?\d{1,10}\s*$/.test(text) ? Number(text) : null),
    same: (a, b) => a === b,
    told: (value, field) => field.names?.[value] ?? `${number(value)}${field.unit ? ` ${field.unit}` : ""}`,
    range: (field, context) => field.within(context).told,
    wrong: (field, value, context) => {
      const { low, high, told } = field.within(context);
      return value in (field.names ?? {}) || (value >= low && value <= high) ? "" : told;
    },
  },
  choice: {
    text: String,
    value: (text) => text,
    same: (a, b) => a === b,
    told: (value) => value,
    range: () => "",
    wrong: () => "",
  },
  flag: { text: Boolean, value: Boolean, same: (a, b) => Boolean(a) === Boolean(b), told: (value) => (value ? "on" : "off"), range: () => "", wrong: () => "" },
  secret: {
    text: (value) => value ?? "",
    value: (text) => text.trim(),
    same: (a, b) => (a ?? "") === (b ?? ""),
    told: (value) => (value ? value.split("?", 1)[0] : "none"),
    range: () => "",
    wrong: (field, value) => (value.length > 4096 ? "4,096 characters at most." : ""),
  },
  instant: {
    // datetime-local knows no zone: it is the local one.
    text: (value) => {
      const date = new Date(value.endsWith("Z") ? value : `${value}Z`);
      return new Date(date.getTime() - 60000 * date.getTimezoneOffset()).toISOString().slice(0, 19);
    },
    value: (text) => (Number.isNaN(Date.parse(text)) ? null : new Date(text).toISOString().replace(".000Z", "Z")),
    same: (a, b) => Math.floor(Date.parse(a) / 1000) === Math.floor(Date.parse(b) / 1000),
    told: (value) => new Date(value).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }),
    range: () => "",
    wrong: () => "",
  },
};

const shortest = 5;
const kept = (values) => (values.logRetentionDays === -1 ? INT32_MAX : values.logRetentionDays);
const shorter = (from, to) => to !== -1 && (from === -1 || to < from);
const leastKept = (values) => Math.ceil((secondsOf(values.rewardWaitTime) ?? 0) / DAY + 1);

/** The settings of a loop (PUT configurations/service, version 2022), in groups. The learning mode has a form of its own. */
export const SERVICE = [
  {
    title: "Rewards",
    about: "What an event earns, and how long that is waited for.",
    fields: [
      {
        name: "rewardWaitTime", label: "Reward wait", kind: "duration", low: shortest, retrains: true,
        most: ({ limits }) => secondsOf(limits.longestRewardWait),
        help: "How long after its Rank a reward counts. Nothing is learned of an event before that.",
        follows: (from, to) =>
          secondsOf(to) > secondsOf(from)
            ? "It holds for what is ranked from then on: rewards that came too late stay late."
            : "Rewards that counted until now go on counting.",
      },
      {
        name: "defaultReward", label: "Default reward", kind: "number", low: -1, high: 1, retrains: true,
        help: "What an event earns that got no reward in that time.",
      },
      {
        name: "rewardAggregation", label: "Several rewards of one event", kind: "choice", retrains: true,
        options: { earliest: "The earliest counts", sum: "Their sum", average: "Their average", median: "Their median", min: "The smallest", max: "The largest" },
        help: "Rewards are kept as they came, so this can be changed afterwards.",
      },
    ],
  },
  {
    title: "Exploration and model",
    about: "How much is tried out, and how often what was learned begins to serve.",
    fields: [
      {
        name: "explorationPercentage", label: "Exploration", kind: "percent", low: 0, high: 1, unit: "%", retrains: true,
        help: "The share of decisions that are drawn from all actions, so that others than the best known are learned of.",
        follows: (from, to) => (to === 0 ? "Nothing is explored any more: other actions are never learned of, and evaluations cannot judge other policies." : ""),
      },
      {
        name: "modelExportFrequency", label: "Model update", kind: "duration", low: shortest, most: () => LONGEST_EXPORT,
        help: "How often what was learned becomes a version that serves.",
      },
      {
        name: "modelRetrainDays", label: "A new model is built from", kind: "whole", unit: "days", retrains: true, names: { 0: "the whole log" },
        within: ({ values }) => ({ low: 0, high: kept(values), told: `From 0, the whole log, to ${kept(values) === INT32_MAX ? "any number of" : number(kept(values))} days.` }),
        help: "How far back the log is learned anew when a setting changes that shapes the model.",
      },
      {
        name: "isInferenceExplainabilityEnabled", label: "Rank tells why", kind: "flag",
        help: "Each answer names the features that spoke for its choice, or against it.",
        follows: (from, to) => (to ? "With ten actions a Rank takes half as much of the processor again." : "Answers hold no inferenceExplanation any more."),
      },
    ],
  },
  {
    title: "Log",
    about: "What evaluations, new models and events' stories are made from.",
    fields: [
      {
        name: "logRetentionDays", label: "The log is kept for", kind: "whole", unit: "days", names: { "-1": "for ever" },
        within: ({ values }) => ({ low: leastKept(values), high: INT32_MAX, told: `-1 for ever, or from ${leastKept(values)}: the reward wait and a day.` }),
        help: "Each day that is over for longer is deleted.",
        loses: (from, to) => (shorter(from, to) ? "Delete a part of the log?" : ""),
        follows: (from, to) =>
          shorter(from, to) ? `What is older than ${number(to)} days is deleted within the hour, and cannot be had back.` : "What was deleted already does not come back.",
      },
      {
        name: "logMirrorEnabled", label: "Mirror the log", kind: "flag",
        help: "Copies what is joined from then on into a container of yours.",
      },
      {
        name: "logMirrorSasUri", label: "The mirror's container", kind: "secret",
        help: "The container's address with a shared access signature that may write and delete. Whoever may only read is not shown it.",
        also: (value, values) => (values.logMirrorEnabled && !value ? "A mirror needs the address of a container." : ""),
      },
    ],
  },
  {
    title: "Auto-optimization",
    about: "Evaluates other policies by itself and takes over one that is better for certain: the lower end of its interval must lie above that of the policy that decides.",
    fields: [
      {
        name: "isAutoOptimizationEnabled", label: "Look for better policies", kind: "flag",
        help: "Not with a multi-slot policy.",
        also: (value, values, { multiSlot }) => (value && multiSlot ? "The loop's policy is multi-slot, for which there is none: switch it off." : ""),
      },
      {
        name: "autoOptimizationFrequency", label: "Every", kind: "duration", low: DAY, most: () => 365 * DAY,
        help: "Between one look and the next.",
      },
      { name: "autoOptimizationStartDate", label: "First", kind: "instant", help: "In your local time." },
    ],
  },
];

export const LEARNING_MODE = {
  name: "learningMode", label: "Learning mode", kind: "choice", retrains: true,
  options: { Online: "Online", Apprentice: "Apprentice", LoggingOnly: "LoggingOnly" },
  follows: (from, to) =>
    to === "Online"
      ? "The loop's own decisions are answered from the next seconds on. While the log has more of another mode, the model that there is learns on."
      : "Every answer is the baseline from the next seconds on: the first action that is not excluded, or each slot's own.",
};

/** What a new loop has (shared/loops/service.py); a test holds both equal. */
export const DEFAULTS = {
  rewardWaitTime: "PT10M",
  defaultReward: 0,
  rewardAggregation: "earliest",
  explorationPercentage: 0.2,
  modelExportFrequency: "PT5M",
  logRetentionDays: 90,
  learningMode: "Online",
  isAutoOptimizationEnabled: true,
  autoOptimizationFrequency: "P28D",
  modelRetrainDays: 2,
  isInferenceExplainabilityEnabled: false,
};

/**
 * What a form holds, against what holds now.
 *
 * fields: as those above. held: the API's values by name. draft: what was typed, by name, of those that were touched.
 * context: {limits, multiSlot}, of what fields ask for.
 * Returns {values, wrong, changes}: values by name as they would be; why one may not be, by name; and the fields that
 * change, as [{field, from, to}].
 */
export function judge(fields, held, draft, context = {}) {
  const values = { ...held };
  const wrong = {};
  for (const field of fields) {
    if (!(field.name in draft)) continue;
    const value = KINDS[field.kind].value(draft[field.name]);
    if (value === null) wrong[field.name] = field.kind === "instant" ? "A date and a time." : field.kind === "whole" ? "A whole number." : "A number.";
    else values[field.name] = value;
  }
  const known = { ...context, values };
  for (const field of fields) {
    const value = values[field.name];
    if (wrong[field.name]) continue;
    const said = (value !== undefined && KINDS[field.kind].wrong(field, value, known)) || field.also?.(value, values, known);
    if (said) wrong[field.name] = said;
  }
  const changes = fields
    .filter((field) => field.name in draft && !(field.name in wrong) && !KINDS[field.kind].same(values[field.name], held[field.name]))
    .map((field) => ({ field, from: held[field.name], to: values[field.name] }));
  return { values, wrong, changes };
}

/** A change in words: {label, from, to, follows, retrains, loses}; `loses` asks whether what is lost may be. */
export function told({ field, from, to }) {
  const kind = KINDS[field.kind];
  const name = (value) => (value === undefined || value === null ? "not set" : field.options?.[value] ?? kind.told(value, field));
  const loses = field.loses?.(from, to) ?? "";
  return { label: field.label, from: name(from), to: name(to), follows: field.follows?.(from, to) ?? "", retrains: Boolean(field.retrains), loses };
}
