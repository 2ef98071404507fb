// Turns what actions have earned, and what features are like, into what the view Features shows.

import { dateOf, lineOfEstimates, meanOf, total } from "/page/parts.js";

export const SPANS = {
  "24h": { label: "24 h", seconds: 86_400, step: 3600, every: 60 },
  "7d": { label: "7 d", seconds: 604_800, step: 3600, every: 60 },
  "30d": { label: "30 d", seconds: 2_592_000, step: 86_400, every: 300 },
};
/** Actions that are drawn; the others are one area. */
const DRAWN = 5;

/** What an action has earned over the span, and its share of all decisions. */
function summed(action, all) {
  const events = total(action.events);
  const found = meanOf(events, total(action.rewards), total(action.squares));
  return { id: action.id, events, share: all ? events / all : null, ...found };
}

/** Actions over the span, those with the most decisions first; behind them all that are not told apart, if any. */
export function actionRows({ actions, others }) {
  const all = total([...actions, others].map((one) => total(one.events)));
  const rows = actions.map((action) => summed(action, all));
  const rest = summed({ id: "all others", ...others }, all);
  return rest.events ? [...rows, rest] : rows;
}

/**
 * What actions have earned without the steps before the first of them: {times, actions, others, count}. The times have
 * the end of the last step, too, and so have the lines below: each value holds for a step.
 */
export function sinceFirst({ start, step, count, actions, others, distinct }) {
  const all = [...actions, others];
  const found = Math.min(...all.map((one) => one.events.findIndex((events) => events > 0)).filter((at) => at >= 0), count - 1);
  const cut = ({ id, events, rewards, squares }) => ({ id, events: events.slice(found), rewards: rewards.slice(found), squares: squares.slice(found) });
  const from = dateOf(start).getTime() / 1000 + found * step;
  const times = Array.from({ length: count - found + 1 }, (_, at) => from + at * step);
  return { step, times, count: count - found, actions: actions.map(cut), others: cut(others), distinct };
}

const held = (values) => [...values, values.at(-1)];

/** Shares of all decisions by time: the most shown actions, and all others as one. */
export function shareLines({ actions, others, count }) {
  const steps = Array.from({ length: count }, (_, at) => at);
  const all = steps.map((at) => total(actions.map((one) => one.events[at])) + others.events[at]);
  const share = (events) => held(steps.map((at) => (all[at] ? events(at) / all[at] : null)));
  const lines = actions.slice(0, DRAWN).map((one) => ({ label: one.id, stepped: true, values: share((at) => one.events[at]) }));
  const rest = actions.slice(DRAWN);
  if (!rest.length && !total(others.events)) return lines;
  const events = (at) => total(rest.map((one) => one.events[at])) + others.events[at];
  return [...lines, { label: "all others", ink: 6, stepped: true, values: share(events) }];
}

/** Average rewards by time, of the most shown actions, or with its intervals of the one that is asked for. */
export function rewardLines({ actions, count }, asked) {
  const steps = Array.from({ length: count }, (_, at) => at);
  const line = (one) => lineOfEstimates(held(steps.map((at) => meanOf(one.events[at], one.rewards[at], one.squares[at]))));
  const one = actions.find((action) => action.id === asked);
  if (one) return [{ label: one.id, stepped: true, ...line(one) }];
  return actions.slice(0, DRAWN).map((action) => ({ label: action.id, stepped: true, values: line(action).values }));
}

const PLACES = { FromUrl: "context", j: "action", i: "action id" };

/** A feature of an importance, in words: where it stands, and its name. */
export const featureName = ({ namespace, featureName: name }) => `${PLACES[namespace] ?? namespace}: ${name.replaceAll("^", ".")}`;

/** Standard errors to either side of a loss in 95 % of the cases. */
const Z = 1.96;

/** How much features matter, as rows of bars with whiskers; what may be chance stands back. */
export function importanceRows(features) {
  return features.map((one) => ({
    label: featureName(one),
    value: one.loss,
    low: one.loss - Z * one.error,
    high: one.loss + Z * one.error,
    tone: one.loss > 2 * one.error ? "" : "chance",
  }));
}
