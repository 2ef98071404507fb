// Turns a tutorial and a loop into a run: Rank and Reward, some at a time and not too fast, and what they earned.
// It goes on while other views are shown, and leaves the loop with the waits that it had.

import { ApiFailure, api } from "/page/core.js";
import { requestOf } from "/page/views/try-scenarios.js";
import { giveBack, hasten, lentLoops, putAllBack, readSettings } from "/page/views/try-waits.js";

/** Calls at a time, and events a second at most: a loop has other callers. */
export const AT_ONCE = 8;
export const A_SECOND = 40;
const LONGEST_PAUSE_SECONDS = 30;
const FAILURES_IN_A_ROW = 40;
const LOOKED_SECONDS = 3;

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
const now = () => Date.now() / 1000;

/**
 * A run.
 *
 * name, scenario: one of SCENARIOS. loop: by name. quick: whether the loop is to have the quick waits meanwhile.
 * state: starting, running, paused, stopping, stopped or failed. sent: events that were rewarded. earned: the sum of
 * their rewards. batches: [{time, mean, low, high}]. versions: when another model version was first seen to serve.
 * latest: {request, response, reward} of the call that was answered last. busy: {status, until} while the loop asks for
 * patience. error: what ended it. settings, health: the loop's, as they were last seen.
 */
export class Run {
  constructor(name, scenario, loop, quick) {
    Object.assign(this, { name, scenario, loop, quick });
    Object.assign(this, { state: "starting", sent: 0, earned: 0, batches: [], versions: [], latest: null, busy: null });
    Object.assign(this, { error: null, settings: null, health: null, resumeAt: 0, inARow: 0, due: 0 });
    this.batch = [];
    this.heard = new Set();
  }

  /** Whether it may still send something. */
  get goesOn() {
    return ["starting", "running", "paused"].includes(this.state);
  }

  /** Call a function at each change; returns what ends that. */
  listen(hear) {
    this.heard.add(hear);
    return () => this.heard.delete(hear);
  }

  tell() {
    for (const hear of this.heard) hear();
  }

  /** Set the waits, send until stopped or all is played, put the waits back. */
  async play() {
    try {
      // One that has quick waits still from the run before keeps them for this one.
      if (this.quick || lentLoops().some(({ loop }) => loop === this.loop)) await hasten(this.loop);
      this.settings = await readSettings(this.loop);
      if (this.state === "starting") this.state = "running";
      this.tell();
      await Promise.all([this.watch(), ...Array.from({ length: AT_ONCE }, () => this.work())]);
    } catch (error) {
      this.error ??= error;
    }
    await this.end();
  }

  async work() {
    while (this.goesOn && this.sent < this.scenario.events) {
      if (!(await this.turn())) continue;
      try {
        await this.visit();
      } catch (error) {
        this.fail(error);
      }
    }
  }

  /** Wait for a turn: false where it is to be looked again first whether the run goes on. */
  async turn() {
    const wait = Math.max(this.resumeAt - now(), 0);
    if (this.state !== "running" || wait > 0) {
      await pause(Math.min(wait || 0.2, 0.5));
      return false;
    }
    const mine = (this.due = Math.max(this.due + 1 / A_SECOND, now()));
    await pause(mine - now());
    return this.state === "running" && this.resumeAt <= now();
  }

  async visit() {
    const { visits } = this.scenario;
    const visit = visits[Math.floor(Math.random() * visits.length)];
    const request = requestOf(this.scenario, visit);
    const response = await this.patiently("personalizer/v1.0/rank", request);
    if (!response) return;
    const reward = visit.rewards[response.rewardActionId];
    await this.patiently(`personalizer/v1.0/events/${encodeURIComponent(response.eventId)}/reward`, { value: reward });
    this.latest = { request, response, reward };
    this.earn(reward);
  }

  /** The answer to a call, repeated while the loop asks for patience; null once the run is over. */
  async patiently(path, body) {
    // A reward that was answered 503 may have been stored all the same: by this id its repetition counts once.
    const headers = { "x-ms-client-request-id": idOf() };
    while (this.state !== "failed" && this.state !== "stopped") {
      try {
        const answer = await api(path, { loop: this.loop, method: "POST", body, headers });
        this.inARow = 0;
        if (this.busy) {
          this.busy = null;
          this.tell();
        }
        return answer;
      } catch (error) {
        if (!(error instanceof ApiFailure) || ![0, 429, 503].includes(error.status) || ++this.inARow > FAILURES_IN_A_ROW) throw error;
        this.backOff(error);
      }
      while (this.resumeAt > now() && this.state !== "stopping") await pause(0.2);
      if (this.state === "stopping") return null;
    }
    return null;
  }

  backOff({ status, retryAfter }) {
    const doubled = Math.min(2 ** Math.floor(this.inARow / AT_ONCE), LONGEST_PAUSE_SECONDS);
    const wait = Math.min(retryAfter ?? doubled, LONGEST_PAUSE_SECONDS);
    this.resumeAt = Math.max(this.resumeAt, now() + wait);
    this.busy = { status, until: this.resumeAt };
    this.tell();
  }

  earn(reward) {
    this.sent += 1;
    this.earned += reward;
    this.batch.push(reward);
    const { batch } = this.scenario;
    if (this.batch.length < batch) return;
    const mean = this.batch.reduce((sum, value) => sum + value, 0) / batch;
    const around = 1.96 * Math.sqrt((mean * (1 - mean)) / batch);
    this.batches = [...this.batches, { time: now(), mean, low: Math.max(mean - around, 0), high: Math.min(mean + around, 1) }];
    this.batch = [];
    this.tell();
  }

  /** Look at the loop's health while the run goes on. */
  async watch() {
    while (this.goesOn && this.sent < this.scenario.events) {
      try {
        this.settings = await readSettings(this.loop);
        this.look(await api("health", { loop: this.loop }));
      } catch (error) {
        if (!(error instanceof ApiFailure)) throw error;
      }
      for (let waited = 0; waited < LOOKED_SECONDS && this.goesOn; waited += 0.25) await pause(0.25);
    }
  }

  look(health) {
    if (!health.storageAnswers) return;
    if (this.health && health.modelVersion !== this.health.modelVersion) this.versions = [...this.versions, now()];
    this.health = health;
    this.tell();
  }

  fail(error) {
    if (!this.goesOn) return;
    this.error = error;
    this.state = "failed";
    this.tell();
  }

  hold(held) {
    if (this.state === (held ? "running" : "paused")) this.state = held ? "paused" : "running";
    this.tell();
  }

  stop() {
    if (this.goesOn) this.state = "stopping";
    this.tell();
  }

  async end() {
    await giveBack(this.loop);
    this.state = this.error ? "failed" : "stopped";
    this.tell();
  }
}

/** An id of 128 random bits: `crypto.randomUUID` is there on safe origins only. */
function idOf() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

let current = null;
const told = new Set();

/** The run of this page, or null before the first. */
export const currentRun = () => current;

/** Call a function whenever there is another run. */
export function onRun(hear) {
  told.add(hear);
  return () => told.delete(hear);
}

/** Begin a run, in place of the one before, which must be over. */
export function begin(name, scenario, loop, quick) {
  if (current?.goesOn) return;
  current = new Run(name, scenario, loop, quick);
  current.ended = current.play();
  for (const hear of told) hear();
}

/** End the run and forget it, as one does with its loop. */
export async function forget() {
  current?.stop();
  await current?.ended;
  current = null;
  for (const hear of told) hear();
}

// Whoever leaves must not leave a loop behind that waits for 5 s only.
for (const name of ["pagehide", "rankloop:leave"]) {
  addEventListener(name, () => {
    current?.stop();
    putAllBack();
  });
}
