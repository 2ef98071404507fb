// Turns sums over events into averages with their 95 % intervals, by the rules of shared/evaluation.

/** Standard errors to either side in 95 % of the cases, as evaluations take them. */
const Z = 1.96;
/** The part of a sum of squares that rounding may leave of numbers that are all alike: sums come with seven digits. */
const ROUNDING = 1e-6;
/** Events without which a mean has no interval: what Cochran's rule asks for where nothing is skewed. */
export const LEAST = 28;
/** The effective sample below which evaluations trust no interval of a reweighted mean. */
const LEAST_EFFECTIVE = 200;

/**
 * @typedef {{value: ?number, low: ?number, high: ?number, effective: number}} Estimate null where nobody can say;
 *   `effective`: as many events of equal weight tell as much (Kish).
 */

/**
 * The sum of tops by the sum of bottoms, and its standard error, linearised (the delta method).
 *
 * sums: {events, tops, bottoms, topSquares, bottomSquares, products}, each over the events.
 * Returns {value, error}, or null where the bottoms add up to nothing; the error is 0 where nothing varies.
 */
export function ratio({ events, tops, bottoms, topSquares, bottomSquares, products }) {
  if (!bottoms) return null;
  const value = tops / bottoms;
  const squares = topSquares - 2 * value * products + value * value * bottomSquares;
  if (events < 2 || squares <= ROUNDING * topSquares) return { value, error: 0 };
  return { value, error: Math.sqrt((squares * events) / (events - 1)) / bottoms };
}

/** @returns {Estimate} of a mean of `events` rewards, from their sum and that of their squares. */
export function meanOf(events, rewards, squares) {
  const found = ratio({
    events,
    tops: rewards,
    bottoms: events,
    topSquares: squares,
    bottomSquares: events,
    products: rewards,
  });
  return estimate(found, events, LEAST);
}

/**
 * What the baseline would have earned, by SNIPS: rewards of the events in which its action was drawn, weighed with how
 * improbable that was.
 *
 * sums: {events, baseline, baselineWeights, baselineSquares, baselineWeightSquares, baselineCross}, as the API has them.
 * @returns {Estimate}
 */
export function baselineOf(sums) {
  const found = ratio({
    events: sums.events,
    tops: sums.baseline,
    bottoms: sums.baselineWeights,
    topSquares: sums.baselineSquares,
    bottomSquares: sums.baselineWeightSquares,
    products: sums.baselineCross,
  });
  const squares = sums.baselineWeightSquares;
  return estimate(found, squares ? sums.baselineWeights ** 2 / squares : 0, LEAST_EFFECTIVE);
}

/** Without enough events, and where all rewards were alike so far, there is no interval: it would be too narrow. */
function estimate(found, effective, least) {
  if (!found) return { value: null, low: null, high: null, effective };
  const half = effective >= least && found.error ? Z * found.error : null;
  const [low, high] = half === null ? [null, null] : [found.value - half, found.value + half];
  return { value: found.value, low, high, effective };
}

/**
 * The sums of some series over the steps that lie behind, at each step.
 *
 * series: {name: [sum of each step]}. steps: how many, itself among them; Infinity for all since the first.
 * Returns, for each step, an object with one sum of each name.
 */
export function behind(series, steps) {
  const names = Object.keys(series);
  const length = names.length ? series[names[0]].length : 0;
  const running = Object.fromEntries(names.map((name) => [name, [0]]));
  for (const name of names) for (let at = 0; at < length; at++) running[name].push(running[name][at] + series[name][at]);
  return Array.from({ length }, (_, at) => {
    const from = Math.max(0, at + 1 - steps);
    return Object.fromEntries(names.map((name) => [name, running[name][at + 1] - running[name][from]]));
  });
}

/** The sum of some numbers. */
export const total = (numbers) => numbers.reduce((sum, value) => sum + value, 0);

/**
 * Estimates as a chart takes them: {values, low, high}. One of fewer than LEAST events is noise, and left out, as is
 * what is not known at all (null).
 */
export function lineOfEstimates(estimates) {
  const column = (name) => estimates.map((one) => (one && one.effective >= LEAST ? one[name] : null));
  return { values: column("value"), low: column("low"), high: column("high") };
}
