// Turns an endpoint, a key and perhaps a loop's name into a line of JSON for each call of the SDK of v1.0.
// The first line names the SDK's own operations, so that whoever reads the lines sees when one was left out.

import azure from "@azure/ms-rest-azure-js";
import personalizer from "@azure/cognitiveservices-personalizer";

const { ENDPOINT, LOOP, KEY } = process.env;
function open(key) {
  const client = new personalizer.PersonalizerClient(new azure.CognitiveServicesCredentials(key), ENDPOINT);
  // Of an endpoint that has a path, this SDK loses what it appends to it: a loop's path goes where the version's is.
  if (LOOP) client.baseUri = `{Endpoint}/loops/${LOOP}/personalizer/v1.0`;
  return client;
}
const client = open(KEY);
const stranger = open("wrong");
const tell = (line) => console.log(JSON.stringify(line));

const ownMethods = (type) => Object.getOwnPropertyNames(type.prototype).filter((name) => name !== "constructor");
const events = ownMethods(personalizer.Events).map((name) => `events.${name}`);
tell({ operations: [...ownMethods(personalizer.PersonalizerClient), ...events] });

async function call(operation, name, promise) {
  try {
    const result = await promise;
    tell({ operation, name, status: result._response.status, body: result._response.parsedBody });
  } catch (error) {
    tell({ operation, name, status: error.statusCode, code: error.body?.error?.code, failed: error.constructor.name });
  }
}

const actions = ["a", "b", "c"].map((id) => ({ id, features: [{ name: id }] }));
const contextFeatures = [{ mood: "good" }, { place: { name: "home" } }];

await call("rank", "bare", client.rank({ actions }));
const everything = { actions, contextFeatures, excludedActions: ["b"], eventId: "js/1", deferActivation: true };
await call("rank", "everything", client.rank(everything));
await call("rank", "no action", client.rank({ actions: [] }));
await call("rank", "wrong key", stranger.rank({ actions }));
await call("events.reward", "ranked", client.events.reward("js/1", { value: 0.5 }));
await call("events.reward", "not a float", client.events.reward("js/1", { value: 1e39 }));
await call("events.reward", "wrong key", stranger.events.reward("js/1", { value: 0.5 }));
await call("events.activate", "ranked", client.events.activate("js/1"));
await call("events.activate", "wrong key", stranger.events.activate("js/1"));
