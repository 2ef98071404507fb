// Turns the waits of a loop into quick ones while a run goes on, and back into its own, which are kept here until it has them.

import { ApiFailure, api } from "/page/core.js";

const SETTINGS = "personalizer/v1.0/configurations/service";
/** The waits with which learning is seen within seconds. */
const QUICK = { rewardWaitTime: "PT5S", modelExportFrequency: "PT5S" };
const LONGEST_PAUSE_SECONDS = 30;

/** By loop what it is to have again: {own: its waits, settings: as last seen, error: why it has them not yet, tries}. */
const lent = new Map();
const heard = new Set();

/** Call a function whenever another loop is to have its waits again, or has them; returns what ends that. */
export function onLent(hear) {
  heard.add(hear);
  return () => heard.delete(hear);
}

function tell() {
  for (const hear of heard) hear();
}

/** The loops that are to have their own waits again: [{loop, error, tries}], `tries` while that is tried again by itself. */
export const lentLoops = () => [...lent].map(([loop, { error, tries }]) => ({ loop, error, tries }));

/** A loop's settings. */
export async function readSettings(loop) {
  const settings = await api(SETTINGS, { loop });
  const of = lent.get(loop);
  if (of) of.settings = settings;
  return settings;
}

const writeSettings = (loop, settings, keepalive) => api(SETTINGS, { loop, method: "PUT", body: settings, keepalive });

/** Give a loop quick waits for good, as to one that is for trying alone. */
export async function quicken(loop) {
  await writeSettings(loop, { ...(await readSettings(loop)), ...QUICK });
}

/** Give a loop quick waits until `giveBack`. One that has them still from before is to have the ones before that. */
export async function hasten(loop) {
  const settings = await readSettings(loop);
  const slow = Object.keys(QUICK).filter((name) => settings[name] !== QUICK[name]);
  const own = { ...lent.get(loop)?.own, ...Object.fromEntries(slow.map((name) => [name, settings[name]])) };
  // Before they are written: that may have been done though no answer came. And anew: whoever still tries shall not.
  if (Object.keys(own).length) lent.set(loop, { own, settings });
  tell();
  if (slow.length) await writeSettings(loop, { ...settings, ...QUICK });
}

/** Give a loop its own waits again, once; what was set meanwhile stays, be it another wait. */
export async function putBack(loop) {
  const of = lent.get(loop);
  if (!of) return;
  const settings = await readSettings(loop);
  const still = Object.entries(of.own).filter(([name]) => settings[name] === QUICK[name]);
  if (still.length) await writeSettings(loop, { ...settings, ...Object.fromEntries(still) });
  if (lent.get(loop) === of) lent.delete(loop);
  tell();
}

/** The same, and again by itself where it may do yet; returns when the first try is over. */
export async function giveBack(loop) {
  const of = lent.get(loop);
  if (of) await attempt(loop, of, 1);
}

async function attempt(loop, of, tries) {
  // Put back by another way, or lent anew.
  if (lent.get(loop) !== of) return;
  try {
    await putBack(loop);
  } catch (error) {
    const gone = error.status === 404;
    const again = error instanceof ApiFailure && (error.status === 0 || error.status === 429 || error.status >= 500);
    Object.assign(of, { error, tries: again ? tries : undefined });
    if (gone && lent.get(loop) === of) lent.delete(loop);
    if (again) setTimeout(() => attempt(loop, of, tries + 1), 1000 * Math.min(2 ** (tries - 1), LONGEST_PAUSE_SECONDS));
    tell();
  }
}

/** The same for all loops, in one call each, for a page that is left and may hear no answer. */
export function putAllBack() {
  for (const [loop, of] of lent) {
    lent.delete(loop);
    writeSettings(loop, { ...of.settings, ...of.own }, true).catch((error) => {
      if (!lent.has(loop)) lent.set(loop, { ...of, error, tries: undefined });
      tell();
    });
  }
}
