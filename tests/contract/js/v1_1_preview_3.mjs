// Turns two loops and a signed model into a line of JSON for each call of the SDK of v1.1-preview.3.
// The first loop has seen nothing yet, the second one has a log.
// Its isUnexpected() is not asked: it knows no path with an id, whatever the server answers.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { buffer } from "node:stream/consumers";

import { AzureKeyCredential } from "@azure/core-auth";
import sdk from "@azure-rest/ai-personalizer";

const { ENDPOINT, KEY, LOGGED_ENDPOINT, LOGGED_KEY, MODEL } = process.env;
// Loopback has no TLS; and a 503 is an answer to be looked at here, where the SDK would try again for some seconds.
const options = { allowInsecureConnection: true, retryOptions: { maxRetries: 0 } };
const open = (endpoint, key) => sdk.default(endpoint, new AzureKeyCredential(key), options);
const client = open(ENDPOINT, KEY);
const logged = open(LOGGED_ENDPOINT, LOGGED_KEY);
const stranger = open(ENDPOINT, "wrong");

const tell = (line) => console.log(JSON.stringify(line));
const binary = (body) => ({ body, contentType: "application/octet-stream" });

// A path with ids is given as its template and the ids.
async function call(name, method, path, request = {}, caller = client) {
  const [template, ...ids] = [path].flat();
  const response = await caller.path(template, ...ids)[method](request);
  const { status, headers, body } = response;
  const line = { operation: `${method.toUpperCase()} ${template}`, name, status: Number(status), headers, body };
  tell({ ...line, code: body?.error?.code });
  return body;
}

async function download(name, request) {
  const response = await client.path("/model").get(request).asNodeStream();
  const bytes = await buffer(response.body);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const body = { bytes: bytes.length, sha256 };
  tell({ operation: "GET /model", name, status: Number(response.status), headers: response.headers, body });
}

const event = "js/1";
const slotted = "js/2";
const actions = ["a", "b", "c"].map((id) => ({ id, features: [{ name: id }] }));
const contextFeatures = [{ mood: "good" }];
const slots = ["top", "side"].map((id, n) => ({ id, baselineAction: actions[n].id, features: [{ size: n + 1 }] }));
const day = 24 * 3600 * 1000;
const dates = { startTime: new Date(Date.now() - day), endTime: new Date(Date.now() + day) };
const evaluation = { name: "yesterday and today", ...dates, policies: [] };
const reward = { reward: slots.map(({ id }) => ({ slotId: id, value: 0.5 })) };

// Settings, and the learning policy
const settings = await call("get", "get", "/configurations/service");
await call("put", "put", "/configurations/service", { body: { ...settings, rewardWaitTime: "PT1M" } });
await call("out of range", "put", "/configurations/service", { body: { ...settings, explorationPercentage: 2 } });
const policy = await call("get", "get", "/configurations/policy");
const bagged = { name: "bagged", arguments: "--cb_explore_adf --bag 3 --cb_type mtr -q ::" };
await call("put", "put", "/configurations/policy", { body: bagged });
await call("no policy", "put", "/configurations/policy", { body: { name: "none", arguments: "--no_such_option" } });
await call("delete", "delete", "/configurations/policy");

// A loop of one slot
await call("too early", "post", "/multislot/rank", { body: { actions, slots } });
await call("rank", "post", "/rank", { body: { actions, contextFeatures, eventId: event } });
await call("no action", "post", "/rank", { body: { actions: [] } });
await call("reward", "post", ["/events/{eventId}/reward", event], { body: { value: 1 } });
await call("no number", "post", ["/events/{eventId}/reward", event], { body: { value: "high" } });
await call("activate", "post", ["/events/{eventId}/activate", event]);

// The model, and the log
await call("import", "put", "/model", binary(readFileSync(MODEL)));
await call("no zip", "put", "/model", binary(Buffer.from("no zip")));
await download("unsigned", {});
await download("signed", { queryParameters: { signed: true } });
await call("get", "get", "/model/properties");
await call("reset", "delete", "/model");
await call("get", "get", "/logs/properties");
await call("upload", "post", "/logs/interactions", binary(Buffer.from("00000000", "hex")));
await call("upload", "post", "/logs/observations", binary(Buffer.from("00000000", "hex")));
await call("delete", "delete", "/logs");

// Evaluations
await call("list", "get", "/evaluations");
await call("no log", "post", "/evaluations", { body: evaluation });
await call("log", "post", "/evaluations", { body: evaluation }, logged);
await call("no name", "post", "/evaluations", { body: { ...evaluation, name: undefined } });
await call("unknown", "get", ["/evaluations/{evaluationId}", "no/such"]);
await call("unknown", "delete", ["/evaluations/{evaluationId}", "no/such"]);
const applied = { evaluationId: "no/such", policyName: "online" };
await call("unknown", "post", "/configurations/applyFromEvaluation", { body: applied });

// A loop of several slots
await call("alone", "put", "/configurations/service", { body: { ...settings, isAutoOptimizationEnabled: false } });
const several = policy.arguments.replace("--cb_explore_adf", "--ccb_explore_adf");
await call("several slots", "put", "/configurations/policy", { body: { ...policy, arguments: several } });
await call("rank", "post", "/multislot/rank", { body: { actions, slots, contextFeatures, eventId: slotted } });
await call("no slot", "post", "/multislot/rank", { body: { actions, slots: [] } });
await call("reward", "post", ["/multislot/events/{eventId}/reward", slotted], { body: reward });
await call("no reward", "post", ["/multislot/events/{eventId}/reward", slotted], { body: {} });
await call("activate", "post", ["/multislot/events/{eventId}/activate", slotted]);

// Every operation once more, with a key that opens nothing
const calls = [
  ["/configurations/service", "get"],
  ["/configurations/service", "put", { body: settings }],
  ["/configurations/applyFromEvaluation", "post", { body: applied }],
  ["/configurations/policy", "get"],
  ["/configurations/policy", "put", { body: bagged }],
  ["/configurations/policy", "delete"],
  [["/evaluations/{evaluationId}", "x"], "get"],
  [["/evaluations/{evaluationId}", "x"], "delete"],
  ["/evaluations", "get"],
  ["/evaluations", "post", { body: evaluation }],
  [["/events/{eventId}/reward", event], "post", { body: { value: 1 } }],
  [["/events/{eventId}/activate", event], "post"],
  ["/logs/interactions", "post", binary(Buffer.from("x"))],
  ["/logs/observations", "post", binary(Buffer.from("x"))],
  ["/logs", "delete"],
  ["/logs/properties", "get"],
  ["/model", "get"],
  ["/model", "put", binary(readFileSync(MODEL))],
  ["/model", "delete"],
  ["/model/properties", "get"],
  [["/multislot/events/{eventId}/reward", slotted], "post", { body: reward }],
  [["/multislot/events/{eventId}/activate", slotted], "post"],
  ["/multislot/rank", "post", { body: { actions, slots } }],
  ["/rank", "post", { body: { actions } }],
];
for (const [path, method, request] of calls) await call("wrong key", method, path, request, stranger);
