// Turns a key into the page of a loop: signing in, the way from view to view, light and dark.

import { html, render, useEffect, useErrorBoundary, useRef, useState } from "/page/preact.js";
import { ApiFailure, api, entra, go, guard, hashOf, leave, loopOf, pageOf, readHash, session, useHash } from "/page/core.js";
import { Failure } from "/page/parts.js";

const VIEWS = {
  now: "Now",
  features: "Features",
  evaluations: "Evaluations",
  models: "Models",
  events: "Events",
  setup: "Setup",
  try: "Try it",
};

/** Answers to a sign-in that say that this key or account does not open the loop, and not that something is down. */
const SHUT = [401, 403, 404];

let show = () => {};
/** Whether the page is opened with Entra's answer to a sign-in. */
const arriving = Boolean(entra) && /^#(?!\/)(.*&)?state=/.test(location.hash);

function Page() {
  const [shown, setShown] = useState({ access: null, said: "", failed: null, arriving });
  show = (access, { said = "", failed = null } = {}) => setShown({ access, said, failed });
  useEffect(() => {
    if (arriving) arrive();
    const follow = () => {
      const asked = loopOf(location.pathname);
      if (asked === session.loop || !session.access) return;
      if (!guard.unsaved) return void open(asked);
      history.pushState(null, "", pageOf(session.loop) + location.hash);
      leave(() => switchTo(asked));
    };
    addEventListener("popstate", follow);
    return () => removeEventListener("popstate", follow);
  }, []);
  if (shown.arriving) return html`<main class="signin"><h1>Rankloop</h1><p aria-busy="true">Signing you in</p></main>`;
  if (!shown.access) return html`<${SignIn} said=${shown.said} />`;
  return html`<${Loop} key=${shown.access.loop} access=${shown.access} failed=${shown.failed} />`;
}

/** Forget the key or the tokens, and ask who it is; whoever still needs them hears of that before. */
export function signOut(said = "") {
  dispatchEvent(new Event("rankloop:leave"));
  Object.assign(session, { key: "", token: null, who: "", access: null });
  show(null, { said });
}

async function arrive() {
  try {
    const { complete } = await import("/page/entra.js");
    Object.assign(session, await complete(entra, signOut));
    await open(loopOf(location.pathname));
  } catch (error) {
    session.loop = loopOf(location.pathname);
    signOut(error.message);
  }
}

/**
 * Show a loop with the key that there is: another loop, or the same one after its keys or names have changed. Where no
 * answer says whether the key opens it, what was shown stays, with the failure.
 */
export async function open(loop) {
  // Until it is there, what is still shown is of the loop before, and must not act on this one.
  if (session.access && session.access.loop !== loop) document.getElementById("content").inert = true;
  session.loop = loop;
  const { key, token } = session;
  const outrun = () => session.loop !== loop || session.key !== key || session.token !== token;
  try {
    const access = await api("access");
    if (outrun()) return;
    session.access = access;
    show(access);
  } catch (error) {
    if (outrun()) return;
    if (session.access && !SHUT.includes(error.status)) stay(loop, error);
    else signOut(refused(error));
  }
}

/** Go on with the loop that was shown, since another one, or the same one anew, could not be. */
function stay(asked, error) {
  const { access } = session;
  session.loop = access.loop;
  if (loopOf(location.pathname) !== access.loop) history.replaceState(null, "", pageOf(access.loop) + location.hash);
  document.getElementById("content").inert = false;
  show(access, { failed: { error, asked, view: readHash().view } });
}

function SignIn({ said }) {
  const [failure, setFailure] = useState(null);
  const [busy, setBusy] = useState(false);
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const enter = async (event) => {
    event.preventDefault();
    setBusy(true);
    session.key = field.current.value.trim();
    try {
      session.access = await api("access");
      show(session.access);
    } catch (error) {
      session.key = "";
      setFailure(error);
      setBusy(false);
      field.current.select();
    }
  };
  return html`<main class="signin">
    <h1>Rankloop</h1>
    <p>
      Loop <strong>${session.loop}</strong>. A key of this loop opens it, and so does the deployment's key
      (<code>make run</code> prints it). It is kept in this tab's memory, and forgotten when you close or reload it.
    </p>
    <p role="status" class="warn">${said}</p>
    ${entra && html`<${ByAccount} failed=${setFailure} />`}
    <form onSubmit=${enter}>
      <label>
        Key
        <input ref=${field} type="password" name="key" autocomplete="off" spellcheck="false" required
          aria-invalid=${failure ? "true" : undefined} aria-describedby="signin-failure" />
      </label>
      <p id="signin-failure" role="alert" class="failure">${failure && refused(failure)}</p>
      <button type="submit" aria-busy=${busy}>Open</button>
    </form>
  </main>`;
}

function ByAccount({ failed }) {
  const begin = () => import("/page/entra.js").then((module) => module.begin(entra)).catch(failed);
  return html`<p><button type="button" onClick=${begin}>Sign in with Microsoft Entra ID</button></p>
    <p class="muted">Your account opens what its app roles say. Or, with a key:</p>`;
}

function refused(failure) {
  if (!(failure instanceof ApiFailure)) return String(failure);
  if (session.token && failure.status === 403) return `${failure.message} Ask whoever runs this deployment to assign it to you.`;
  if (session.token) return failure.message;
  if (failure.status === 401) return "This is no key of this loop, nor the deployment's.";
  if (failure.status === 404) return `${failure.message} See the address of this page.`;
  return failure.message;
}

function Loop({ access, failed }) {
  const { view, state } = useHash();
  const may = Object.fromEntries(["call", "read", "manage", "owner"].map((role) => [role, access.roles.includes(role)]));
  const name = view in VIEWS ? view : "now";
  useEffect(() => {
    document.title = `${VIEWS[name]} · ${access.loop} · Rankloop`;
    document.querySelector("header.top [aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [name, access.loop]);
  // What had the focus is gone: whoever works by keyboard, or hears the page, goes on where the loop is told of.
  useEffect(() => document.getElementById("content").focus({ preventScroll: true }), []);
  return html`
    <a class="skip" href="#content" onClick=${toContent}>To the content</a>
    <header class="top">
      <strong class="brand">Rankloop</strong>
      <${Loops} access=${access} />
      <nav aria-label="Views">
        <ul>
          ${Object.entries(VIEWS).map(
            ([key, label]) =>
              html`<li key=${key}><a href=${hashOf(key)} aria-current=${key === name ? "page" : undefined}>${label}</a></li>`,
          )}
        </ul>
      </nav>
      <div class="tools">
        ${!may.manage && html`<span class="badge" title="Whoever opened this page may look, and change nothing.">read only</span>`}
        <${Theme} />
        <button type="button" class="quiet" title=${session.who ? `Signed in as ${session.who}` : undefined} onClick=${() => leave(signOut)}>Sign out</button>
      </div>
    </header>
    <main id="content" tabindex="-1">
      ${failed?.view === view && html`<${Failure} error=${failed.error} retry=${() => (failed.asked === access.loop ? open : switchTo)(failed.asked)} />`}
      <${Shell} key=${name} name=${name} view=${{ loop: access.loop, may, state, go }} />
    </main>
    <${Leaving} />
  `;
}

function toContent(event) {
  event.preventDefault();
  document.getElementById("content").focus();
}

function Loops({ access }) {
  if (access.loops.length < 2) return html`<span class="loop" title="The loop that is shown">${access.loop}</span>`;
  // Another loop is another page: the key is taken along in memory, so that no address ever holds it.
  const change = (event) => {
    const chosen = event.target.value;
    event.target.value = access.loop;
    leave(() => switchTo(chosen));
  };
  return html`<select class="loop" aria-label="Loop" value=${access.loop} onChange=${change}>
    ${access.loops.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
  </select>`;
}

/** Show another loop, at its own address. */
export function switchTo(loop) {
  history.pushState(null, "", pageOf(loop) + location.hash);
  return open(loop);
}

/** Asks before a view is left whose changes would be lost. */
function Leaving() {
  const dialog = useRef(null);
  const wanted = useRef(null);
  useEffect(() => {
    guard.ask = (next) => {
      wanted.current = next;
      dialog.current.showModal();
    };
  }, []);
  const settle = (goes) => {
    dialog.current.close();
    if (goes) wanted.current();
  };
  return html`<dialog ref=${dialog} aria-labelledby="leaving">
    <article>
      <h3 id="leaving">Leave without saving?</h3>
      <p>There are changes here that are not saved. They are lost when you leave.</p>
      <footer>
        <button type="button" class="quiet" onClick=${() => settle(false)}>Stay</button>
        <button type="button" class="danger" onClick=${() => settle(true)}>Leave</button>
      </footer>
    </article>
  </dialog>`;
}

function Theme() {
  const chosen = () => document.documentElement.dataset.theme;
  const [theme, setTheme] = useState(chosen);
  const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const turn = () => {
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    setTheme(chosen());
    dispatchEvent(new Event("rankloop:theme"));
  };
  return html`<button type="button" class="quiet" onClick=${turn} aria-label=${dark ? "Light colours" : "Dark colours"}>
    ${dark ? "☀" : "☾"}
  </button>`;
}

/** A view, once its module is there. */
function Shell({ name, view }) {
  const [loaded, setLoaded] = useState({});
  // What throws while it is drawn would else leave all of the page as it is, for good.
  const [broken, draw] = useErrorBoundary((error) => console.error(error));
  useEffect(() => {
    import(`/page/views/${name}.js`).then(
      (module) => setLoaded({ View: module.default }),
      () => setLoaded({ failed: true }),
    );
  }, [name]);
  if (loaded.failed) {
    return html`<p role="alert">This part of the page could not be loaded. <a href="" onClick=${() => location.reload()}>Reload the page.</a></p>`;
  }
  if (broken) {
    return html`<div class="failure" role="alert">
      <p><strong>This view cannot be drawn: ${String(broken.message ?? broken)}.</strong> The other views go on. If it stays so, reload the page and sign in again.</p>
      <button type="button" class="quiet" onClick=${draw}>Draw it again</button>
    </div>`;
  }
  if (!loaded.View) return html`<p aria-busy="true">Loading ${VIEWS[name]}</p>`;
  return html`<${loaded.View} ...${view} />`;
}

render(html`<${Page} />`, document.body.appendChild(document.createElement("div")));
