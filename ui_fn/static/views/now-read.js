// Turns metrics and health into what the view Now shows: lines, figures, and what there is to do.

import { baselineOf, behind, dateOf, duration, lineOfEstimates, meanOf, number, total } from "/page/parts.js";

/** What can be looked at: how long, in which steps, averaged over how many of them, loaded again after so many seconds. */
export const SPANS = {
  "2h": { label: "2 h", seconds: 7200, step: 60, window: 15, every: 10 },
  "24h": { label: "24 h", seconds: 86_400, step: 300, window: 12, every: 10 },
  "7d": { label: "7 d", seconds: 604_800, step: 3600, window: 6, every: 60 },
  "30d": { label: "30 d", seconds: 2_592_000, step: 3600, window: 24, every: 60 },
};

export const STATUSES = [
  ["ok", "Answered"],
  ["refused", "Refused"],
  ["limited", "Turned away"],
  ["failed", "Failed"],
];
export const OPERATIONS = { rank: "Rank", reward: "Reward", activate: "Activate" };

const secondsOf = (instant) => (dateOf(instant)?.getTime() ?? 0) / 1000;
const shareOf = (part, whole) => (whole ? part / whole : null);
const whole = (series) => Object.fromEntries(Object.entries(series).map(([name, values]) => [name, total(values)]));

/** Steps that are shown at least. */
const SHORTEST = 10;

/** Metrics without the steps before there was anything: a loop that is some minutes old has a chart of some minutes. */
export function sinceFirst(metrics) {
  const calls = Object.values(metrics.calls).flatMap((statuses) => Object.values(statuses));
  const any = [metrics.series.events, metrics.series.held, ...calls];
  const found = Math.min(...any.map((values) => values.findIndex((value) => value > 0)).filter((at) => at >= 0));
  const first = Math.max(0, Math.min(found - 1, metrics.count - SHORTEST));
  const cut = (columns) => Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values.slice(first)]));
  return {
    ...metrics,
    start: new Date(1000 * (secondsOf(metrics.start) + first * metrics.step)).toISOString(),
    count: metrics.count - first,
    series: cut(metrics.series),
    calls: Object.fromEntries(Object.entries(metrics.calls).map(([name, statuses]) => [name, cut(statuses)])),
  };
}

/** Metrics by time: {times, sums (of each step), all (sums over the span), joined (steps that are, at least in part)}. */
export function timed(metrics) {
  const start = secondsOf(metrics.start);
  const times = Array.from({ length: metrics.count }, (_, at) => start + at * metrics.step);
  const through = secondsOf(metrics.through);
  return { times, sums: metrics.series, all: whole(metrics.series), joined: times.filter((time) => time < through).length };
}

/** What each policy has earned over the span: {own, baseline, held} as estimates; null for what does not apply. */
export function earned({ all }, mode) {
  return {
    own: meanOf(all.events, all.rewards, all.squares),
    baseline: mode === "Online" ? baselineOf(all) : null,
    held: all.held ? meanOf(all.held, all.heldRewards, all.heldSquares) : null,
  };
}

/** Lines of the average reward. steps: over how many each point reaches back. */
export function rewardLines({ times, sums, all, joined }, mode, steps) {
  const lines = [];
  const add = (label, of, more = {}) => lines.push({ label, ...lineOfEstimates(estimates(of)), ...more });
  const runs = behind(sums, steps);
  const estimates = (of) => times.map((_, at) => (at < joined ? of(runs[at]) : null));
  add(mode === "Online" ? "This loop" : "The application", (run) => meanOf(run.events, run.rewards, run.squares));
  if (mode === "Online") add("Baseline, estimated", baselineOf, { dash: [6, 4] });
  if (all.held) add("Holdback", (run) => meanOf(run.held, run.heldRewards, run.heldSquares), { dash: [2, 3] });
  return lines;
}

/** Lines of the share of decisions that explored: what was asked for, and what came of it. */
export function explorationLines({ times, sums, joined }, steps) {
  const runs = behind({ events: sums.events, asked: sums.explorationAsked, explored: sums.explored }, steps);
  const line = (name) => times.map((_, at) => (at < joined ? shareOf(runs[at][name], runs[at].events) : null));
  return [
    { label: "Asked", values: line("asked"), dash: [6, 4] },
    { label: "Got", values: line("explored") },
  ];
}

/** The line of what the loop would have earned as an apprentice, by what the application did. */
export function achievementLines({ times, sums, joined }, steps) {
  const runs = behind({ all: sums.apprenticeRewards, own: sums.imitatedRewards }, steps);
  const values = times.map((_, at) => (at < joined && runs[at].all > 0 ? runs[at].own / runs[at].all : null));
  return [{ label: "Achieved", values }];
}

/** Lines of events and rewards a minute. What is not joined yet is not known. */
export function eventLines({ times, sums, joined }, step) {
  const line = (name) => times.map((_, at) => (at < joined - 1 ? (sums[name][at] * 60) / step : null));
  return [
    { label: "Decisions", values: line("events") },
    { label: "With a reward", values: line("rewarded") },
  ];
}

/** Lines of calls a minute by status. now: in seconds; the step that is not over is not known. */
export function callLines({ times }, metrics, now) {
  const rate = (value, at) => (times[at] + metrics.step <= now ? (value * 60) / metrics.step : null);
  return STATUSES.map(([status, label], index) => {
    const of = Object.values(metrics.calls).map((calls) => calls[status]);
    return { label, ink: [1, 2, 3, 5][index], values: times.map((_, at) => rate(total(of.map((values) => values[at])), at)) };
  });
}

/** Calls over the span: [{operation, ok, refused, limited, failed}]. */
export function callTotals(metrics) {
  return Object.entries(OPERATIONS)
    .filter(([name]) => metrics.calls[name])
    .map(([name, operation]) => ({ operation, ...whole(metrics.calls[name]) }));
}

/** The reward wait that holds now, in seconds. */
export const waitOf = (health) => health.rewardWaits.at(-1)?.seconds ?? 0;

/** Ranks that should be joined by now, and are not: 0 where the join keeps up, however long ago the latest event is. */
export function overdue(metrics, health) {
  const latest = health.time - 1.5 * waitOf(health) - 300;
  const through = secondsOf(metrics.through);
  const start = secondsOf(metrics.start);
  return total(
    (metrics.calls.rank?.ok ?? []).filter((_, at) => {
      const time = start + at * metrics.step;
      return time >= through && time + metrics.step <= latest;
    }),
  );
}

/** What there is to know and to do, the worst first: [{severity, what, todo, view}], `view` being where to do it. */
export function notices(health, metrics) {
  const found = [];
  const say = (severity, what, todo, view) => found.push({ severity, what, todo, view });
  if (!health.storageAnswers) {
    say("error", "Storage does not answer.", "Ranks go on with the last model. Look at the storage account and at the deployment's log.");
    return found;
  }
  const late = metrics ? overdue(metrics, health) : 0;
  if (late) {
    const what = `The join is behind: ${number(late)} ranks are not joined yet, though their reward wait is long over.`;
    say("error", what, "Look at the join timer and the counter join.failed of health: until it goes on, nothing is learned.");
  }
  found.push(...(health.findings ?? []));
  if (health.heldBackVersion) {
    say("warning", `The newest model is held back: ${health.heldBackReason}`, "The one before serves. Compare both in Models.", "models");
  }
  if (health.modelPinned) say("info", "A model is pinned: it serves, whatever is learned.", "Unpin it in Models to let newer ones serve.", "models");
  if (!health.modelVersion && health.joinedEvents) {
    say("info", "There is no model yet: all actions are equally likely.", "The first one comes with the next export, from the events that are joined.");
  }
  return found;
}

/** How far the join is, in words. */
export function joinedNote(health) {
  if (!health.joinedThrough) return `the reward wait is ${duration(waitOf(health))}`;
  return `${duration(Math.max(0, health.time - health.joinedThrough))} ago; the reward wait is ${duration(waitOf(health))}`;
}

/** The versions that served, as marks in a span that begins at `start`. */
export function marksOf(versions, start) {
  return versions
    .filter((version) => !version.heldBack && secondsOf(version.created) >= start)
    .map((version) => ({ time: secondsOf(version.created), label: shortName(version.version) }))
    .reverse();
}

/** A version's name, as short as it can be told apart. */
export const shortName = (version) => version.split("-").at(-1).slice(0, 6);
