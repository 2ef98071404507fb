// Turns a person's account in Microsoft Entra ID into tokens that the API takes: authorization code with PKCE (RFC 7636).
//
// Tokens live in memory alone. What the way to Entra and back needs lies in the tab's session storage meanwhile: it is good
// for the one answer that comes, and gone when that is read.

import { ApiFailure } from "/page/core.js";

const KEPT = "rankloop.signin";
/** Seconds before its end from which a token is renewed. */
const SPARE = 60;

/** Where Entra sends people back to: one address for all loops, since each must be registered. */
const returnTo = () => `${location.origin}/`;
const endpoint = (entra, name) => `${entra.authority}/${entra.tenant}/oauth2/v2.0/${name}`;

/** Go to Entra; entra: {authority, tenant, client, scope}. */
export async function begin(entra) {
  const [state, nonce, verifier] = [random(), random(), random()];
  sessionStorage.setItem(KEPT, JSON.stringify({ state, nonce, verifier, from: location.pathname + location.hash }));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const asked = new URLSearchParams({
    client_id: entra.client,
    response_type: "code",
    // In the fragment, which no server's log ever holds.
    response_mode: "fragment",
    redirect_uri: returnTo(),
    scope: `openid profile offline_access ${entra.scope}`,
    state,
    nonce,
    code_challenge: spelled(new Uint8Array(digest)),
    code_challenge_method: "S256",
    prompt: "select_account",
  });
  location.assign(`${endpoint(entra, "authorize")}?${asked}`);
}

/**
 * Turn what Entra has answered into tokens, and the address into that from which it was asked.
 *
 * ended: called with the reason when they cannot be renewed any more.
 * Returns {token, who}: what `session.token` is, and the account's name. Throws an Error that says why not.
 */
export async function complete(entra, ended) {
  const answer = new URLSearchParams(location.hash.slice(1));
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  sessionStorage.removeItem(KEPT);
  history.replaceState(null, "", kept?.from ?? location.pathname);
  if (!kept || answer.get("state") !== kept.state) {
    throw new Error("This answer of Entra ID is not to a sign-in that was begun in this tab. Sign in again.");
  }
  if (answer.has("error")) {
    throw new Error(`Entra ID did not sign you in: ${answer.get("error_description") || answer.get("error")}`);
  }
  const given = await ask(entra, {
    grant_type: "authorization_code",
    code: answer.get("code") ?? "",
    redirect_uri: returnTo(),
    code_verifier: kept.verifier,
  });
  // It came from Entra itself over TLS, so its signature says no more (OpenID Connect Core 3.1.3.7).
  const claims = claimsOf(given.id_token);
  if (claims.nonce !== kept.nonce || claims.aud !== entra.client) {
    throw new Error("Entra ID has answered with an identity that was not asked for. Sign in again.");
  }
  return { token: holder(entra, given, ended), who: claims.preferred_username || claims.name || "" };
}

/** What gives a token that is valid for a while, renewed where it must be; `refused` is one that the API did not take. */
function holder(entra, first, ended) {
  let held = timed(first);
  let renewing = null;
  const renew = async () => {
    try {
      if (!held.refresh_token) throw new Ended();
      const given = await ask(entra, { grant_type: "refresh_token", refresh_token: held.refresh_token });
      held = { refresh_token: held.refresh_token, ...timed(given) };
    } catch (error) {
      if (!(error instanceof Ended)) throw error;
      const message = "Your sign-in has ended. Sign in again to go on.";
      ended(message);
      throw new ApiFailure(401, "SignInEnded", message);
    }
  };
  return async (refused) => {
    if (held.access_token === refused || Date.now() >= held.until) {
      renewing ??= renew().finally(() => (renewing = null));
      await renewing;
    }
    return held.access_token;
  };
}

const timed = (given) => ({ ...given, until: Date.now() + 1000 * (given.expires_in - SPARE) });

/** Entra wants to see the person again. */
class Ended extends Error {}

async function ask(entra, members) {
  let response;
  let told;
  try {
    response = await fetch(endpoint(entra, "token"), {
      method: "POST",
      body: new URLSearchParams({ client_id: entra.client, scope: `openid profile offline_access ${entra.scope}`, ...members }),
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
    });
    told = await response.json();
  } catch {
    throw new ApiFailure(0, "NoAnswer", "Entra ID does not answer, or not to this page: see whether its address is registered as that of a single-page application.");
  }
  if (response.ok && told.access_token) return told;
  if (members.grant_type === "refresh_token" && response.status < 500) throw new Ended();
  throw new ApiFailure(0, told.error, `Entra ID gave no token: ${told.error_description || told.error || response.status}`);
}

function claimsOf(token) {
  const bytes = Uint8Array.from(atob(String(token).split(".")[1].replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

const random = () => spelled(crypto.getRandomValues(new Uint8Array(32)));

/** Bytes in base64url, without padding. */
const spelled = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
