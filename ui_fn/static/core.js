// Turns what a view asks for into calls of the API, and the address's fragment into which view is shown and how.

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "/page/preact.js";

/** Who is signed in. It lives in memory alone: a reload, or closing the page, forgets the key. */
export const session = { loop: loopOf(location.pathname), key: "", token: null, who: "", access: null };

/** Where people sign in besides with a key, {authority, tenant, client, scope}; undefined where they cannot. */
export const entra = document.querySelector('meta[name="entra"]')?.dataset;

/** The loop that the page's own address names; the default one has the deployment's address. */
export function loopOf(path) {
  // The host's routes do not tell capitals apart, but in the names of loops.
  const found = /^\/loops\/([^/]+)/i.exec(path);
  if (!found) return "default";
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return found[1]; // no loop's name, as the API then says
  }
}

/** A read that takes longer is not coming: the connection hangs. A file may take its time. */
const DEADLINE_MS = 30_000;

/** Where a loop's page is. */
export const pageOf = (loop) => (loop === "default" ? "/" : `/loops/${encodeURIComponent(loop)}/`);

/** The address that SDKs are given for a loop, with a slash at its end. */
export const endpointOf = (loop) => location.origin + pageOf(loop);

/**
 * A refusal or a fault, as the API tells it. `status` is 0 where no answer came at all; `retryAfter` are the seconds after
 * which it may be tried again, where that was said.
 */
export class ApiFailure extends Error {
  constructor(status, code, message, target, retryAfter) {
    super(message);
    Object.assign(this, { status, code, target, retryAfter });
  }
}

/**
 * Call the API of the loop that is shown.
 *
 * path: below `rankloop/v1/`, or one that starts with `personalizer/`; each id in it encoded by the caller.
 * options: method; query (an object; members without a value are left out); body (sent as JSON, or as it is where it is
 *   a Blob); headers; raw (true for the Response itself); signal; keepalive (true for a call that is to outlive the page);
 *   loop (another one than that which is shown); refused (the token that a first try was refused with).
 * Returns the decoded answer, or null for an empty one; throws ApiFailure.
 */
export async function api(path, options = {}) {
  const { method = "GET", query, body, headers = {}, raw, signal, keepalive, loop = session.loop, refused } = options;
  const below = path.startsWith("personalizer/") ? path : `rankloop/v1/${path}`;
  const address = new URL(endpointOf(loop) + below);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") address.searchParams.set(name, value);
  }
  const sent = { ...headers };
  // Read before anything is waited for: whoever signs out may send a last call with what is forgotten right after.
  const { key, token: ask } = session;
  const token = ask ? await ask(refused) : null;
  if (token) sent.Authorization = `Bearer ${token}`;
  else sent["Ocp-Apim-Subscription-Key"] = key;
  const isFile = body instanceof Blob;
  if (body !== undefined && !isFile) sent["Content-Type"] = "application/json";
  const late = method === "GET" && !raw ? AbortSignal.timeout(DEADLINE_MS) : undefined;
  let response;
  let text;
  try {
    response = await fetch(address, {
      method,
      headers: sent,
      body: body === undefined || isFile ? body : JSON.stringify(body),
      signal: late && signal ? AbortSignal.any([signal, late]) : (late ?? signal),
      keepalive,
      cache: "no-store",
      redirect: "error",
    });
    if (response.ok && !raw) text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiFailure(0, "NoAnswer", "No answer came: the deployment, or the way to it, is down.");
  }
  // A token may end before its time: by another clock, or since the person was shut out.
  if (response.status === 401 && token && !refused && session.access) return api(path, { ...options, refused: token });
  if (!response.ok) throw await failureOf(response);
  if (raw) return response;
  return text ? JSON.parse(text) : null;
}

async function failureOf(response) {
  let told = {};
  try {
    told = (await response.json()).error ?? {};
  } catch {
    // Not ours: a proxy's, or the host's own.
  }
  const message = told.message || `The answer was ${response.status} ${response.statusText}`.trim();
  const retryAfter = Number(response.headers.get("retry-after")) || undefined;
  return new ApiFailure(response.status, told.code || response.headers.get("x-ms-error-code"), message, told.target, retryAfter);
}

/**
 * Where an event is, below `rankloop/v1/`. A slash in its id is encoded twice, for it is read as one all the same
 * (docs/adr/0005), and what follows it is not taken for a segment of the route.
 */
export const eventAt = (id) => `events/${encodeURIComponent(id).replaceAll("%2F", "%252F")}`;

/** Personalizer's latest version of the API, for the query of the paths that take one. */
export const LATEST = { "api-version": "2022-09-01-preview" };

/** All pages of a list, one after the other, `most` elements at most. */
export async function all(path, { query, most = 1000 } = {}) {
  const found = [];
  let page = await api(path, { query });
  for (;;) {
    found.push(...page.value);
    const next = page.nextLink ?? page["@nextLink"];
    if (!next || found.length >= most) return found;
    page = await api(path, { query: { ...query, ...Object.fromEntries(new URL(next).searchParams) } });
  }
}

/**
 * Something that is loaded, and loaded again.
 *
 * load: async (signal) => data.
 * deps: with others it is something else, which is loaded from the start.
 * every: seconds after which it is loaded again while the page is in sight, unless it still is; 0 for never.
 * Returns {data, error, loading, stale, at, reload}: `stale` says that the latest try failed and `data` is of `at`.
 */
export function useData(load, deps, { every = 0 } = {}) {
  const [held, setHeld] = useState({ loading: true });
  const running = useRef(null);
  const start = useCallback(async () => {
    running.current?.abort();
    const mine = (running.current = new AbortController());
    setHeld((was) => ({ ...was, loading: true }));
    try {
      const data = await load(mine.signal);
      if (!mine.signal.aborted) setHeld({ data, at: new Date(), loading: false });
    } catch (error) {
      if (!mine.signal.aborted) setHeld((was) => ({ ...was, error, loading: false, stale: was.data !== undefined }));
    } finally {
      if (running.current === mine) running.current = null;
    }
  }, deps);
  useEffect(() => {
    setHeld({ loading: true });
    start();
    return () => running.current?.abort();
  }, [start]);
  useEffect(() => {
    if (!every) return undefined;
    const timer = setInterval(() => document.hidden || running.current || start(), every * 1000);
    return () => clearInterval(timer);
  }, [start, every]);
  return { ...held, reload: start };
}

/** What the fragment says: `#/events?id=a` is {view: "events", state: {id: "a"}}. */
export function readHash() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { view: path || "now", state: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

/** The fragment of a view in a state. */
export function hashOf(view, state = {}) {
  const kept = Object.entries(state).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = new URLSearchParams(kept).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

/** Show a view in a state; with `replace` the step back skips what was shown before. */
export function go(view, state = {}, { replace = false } = {}) {
  if (replace) {
    history.replaceState(null, "", hashOf(view, state));
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = hashOf(view, state);
  }
}

/** What the fragment says, now and whenever it changes. */
export function useHash() {
  const [shown, setShown] = useState(readHash);
  useEffect(() => {
    let here = location.hash;
    let { view } = readHash();
    const read = () => {
      const [next, wanted] = [readHash(), location.hash];
      if (next.view !== view && guard.unsaved) {
        history.pushState(null, "", location.pathname + here);
        leave(() => (location.hash = wanted));
        return;
      }
      [here, view] = [wanted, next.view];
      setShown(next);
    };
    addEventListener("hashchange", read);
    return () => removeEventListener("hashchange", read);
  }, []);
  return shown;
}

/** Whether there is what would be lost with the view, and how the page asks before it is: `ask(go)` calls `go` or not. */
export const guard = { unsaved: false, ask: (go) => go() };

/** Do what leaves the view, once whoever has unsaved changes there agrees. */
export function leave(go) {
  const gone = () => {
    guard.unsaved = false;
    go();
  };
  if (guard.unsaved) guard.ask(gone);
  else gone();
}

/** For a view that has changes which are not saved yet: leaving it, or the page, asks first. */
export function useUnsaved(unsaved) {
  // With what is shown and not behind it: a page that is slow may be left before its next frame.
  useLayoutEffect(() => {
    guard.unsaved = unsaved;
    const stay = (event) => guard.unsaved && event.preventDefault();
    addEventListener("beforeunload", stay);
    return () => {
      guard.unsaved = false;
      removeEventListener("beforeunload", stay);
    };
  }, [unsaved]);
}
