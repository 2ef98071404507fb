// Turns a Rank call and a reward into programs that make them: Python, C#, JavaScript and curl.

import { CSHARP, JSON_STYLE, PYTHON, literal } from "/page/views/try-literals.js";

export const LANGUAGES = { python: "Python", csharp: "C#", javascript: "JavaScript", curl: "curl" };
/** What stands for the key until it is shown. */
export const PLACEHOLDER = "<your key>";

/**
 * A program, ready to run.
 *
 * language: one of LANGUAGES. endpoint: the loop's, with a slash at its end. key: or what stands for it.
 * request: the body of the Rank call; one with `slots` is for several. reward: what the action earned.
 */
export function snippet(language, { endpoint, key, request, reward }) {
  const several = Array.isArray(request.slots);
  const body = several ? { reward: request.slots.map(({ id }) => ({ slotId: id, value: reward })) } : { value: reward };
  return { python, csharp, javascript, curl }[language]({ endpoint, key, request, reward: body, value: reward, several });
}

function python({ endpoint, key, request, reward, several }) {
  const write = (value) => literal(value, PYTHON);
  return `# pip install azure-ai-personalizer
from azure.ai.personalizer import PersonalizerClient
from azure.core.credentials import AzureKeyCredential

client = PersonalizerClient(${write(endpoint)}, AzureKeyCredential(${write(key)}))

ranked = client.${several ? "rank_multi_slot" : "rank"}(${write(request)})
${several
    ? `for slot in ranked["slots"]:
    print("Show", slot.get("rewardActionId"), "in", slot["id"])`
    : `print("Show", ranked["rewardActionId"])`}

client.${several ? "reward_multi_slot" : "reward"}(ranked["eventId"], ${write(reward)})
print("Rewarded", ranked["eventId"])
`;
}

function javascript({ endpoint, key, request, reward, several }) {
  const write = (value) => literal(value, JSON_STYLE);
  const events = several ? "multislot/events" : "events";
  return `// Node 18 or later (as an .mjs file), or a browser; no package is needed.
const endpoint = ${write(`${endpoint}personalizer/v1.1-preview.3/`)};
const headers = { "Ocp-Apim-Subscription-Key": ${write(key)}, "Content-Type": "application/json" };

async function post(path, body) {
  const response = await fetch(endpoint + path, { method: "POST", headers, body: JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(\`\${response.status} \${text}\`);
  return text && JSON.parse(text);
}

const ranked = await post("${several ? "multislot/rank" : "rank"}", ${write(request)});
${several
    ? `for (const slot of ranked.slots) console.log("Show", slot.rewardActionId, "in", slot.id);`
    : `console.log("Show", ranked.rewardActionId);`}

await post(\`${events}/\${encodeURIComponent(ranked.eventId)}/reward\`, ${write(reward)});
console.log("Rewarded", ranked.eventId);
`;
}

function curl({ endpoint, key, request, reward, several }) {
  const base = `${endpoint}personalizer/v1.1-preview.3/${several ? "multislot/" : ""}`;
  // The service's own ids need no encoding; how one's own is encoded is known here, and no shell has it at hand.
  const own = request.eventId && encodeURIComponent(request.eventId);
  return `ENDPOINT=${quoted(base)}
KEY=${quoted(key)}

RANKED=$(curl -sS --fail-with-body "\${ENDPOINT}rank" -H "Ocp-Apim-Subscription-Key: $KEY" \\
  -H 'Content-Type: application/json' -d @- <<'JSON'
${literal(request, JSON_STYLE)}
JSON
)
echo "$RANKED"

${own ? `EVENT=${quoted(own)} # the id, percent-encoded` : `EVENT=$(printf '%s' "$RANKED" | sed 's/.*"eventId":"\\([^"]*\\)".*/\\1/')`}
curl -sS --fail-with-body "\${ENDPOINT}events/$EVENT/reward" -H "Ocp-Apim-Subscription-Key: $KEY" \\
  -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(reward))} && echo "Rewarded $EVENT"
`;
}

/** A word of a POSIX shell. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function csharp(call) {
  return call.several ? csharpSlots(call) : csharpOne(call);
}

function csharpOne({ endpoint, key, request, value }) {
  const write = (part) => literal(part, CSHARP, "    ");
  const { contextFeatures = [], actions, excludedActions, eventId, deferActivation } = request;
  const given = [
    "actions",
    `contextFeatures: new List<object> ${write(contextFeatures).replace(/^new object\[\] /, "")}`,
    excludedActions?.length && `excludedActions: new[] { ${excludedActions.map(write).join(", ")} }`,
    eventId !== undefined && `eventId: ${write(eventId)}`,
    deferActivation !== undefined && `deferActivation: ${write(deferActivation)}`,
  ].filter(Boolean);
  return `// dotnet add package Azure.AI.Personalizer --prerelease
using Azure;
using Azure.AI.Personalizer;

var client = new PersonalizerClient(new Uri(${write(endpoint)}), new AzureKeyCredential(${write(key)}));

var actions = new List<PersonalizerRankableAction>
{
${actions.map((action) => `    new(${write(action.id)}, ${write(action.features ?? [])}),`).join("\n")}
};
PersonalizerRankResult ranked = client.Rank(new PersonalizerRankOptions(
    ${given.join(",\n    ")}));
Console.WriteLine($"Show {ranked.RewardActionId}");

client.Reward(ranked.EventId, ${value}f);
Console.WriteLine($"Rewarded {ranked.EventId}");
`;
}

function csharpSlots({ endpoint, key, request, reward }) {
  const json = (value) => `"""\n${literal(value, JSON_STYLE)}\n"""`;
  return `// .NET 7 or later; no package is needed.
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;

using var client = new HttpClient { BaseAddress = new Uri(${literal(`${endpoint}personalizer/v1.1-preview.3/multislot/`, CSHARP)}) };
client.DefaultRequestHeaders.Add("Ocp-Apim-Subscription-Key", ${literal(key, CSHARP)});

async Task<HttpResponseMessage> Post(string path, string json) =>
    (await client.PostAsync(path, new StringContent(json, Encoding.UTF8, "application/json"))).EnsureSuccessStatusCode();

var answer = await Post("rank", ${json(request)});
var ranked = await answer.Content.ReadFromJsonAsync<JsonElement>();
Console.WriteLine(ranked.GetProperty("slots"));

var eventId = ranked.GetProperty("eventId").GetString()!;
await Post($"events/{Uri.EscapeDataString(eventId)}/reward", ${json(reward)});
Console.WriteLine($"Rewarded {eventId}");
`;
}
