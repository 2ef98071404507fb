// Turns a policy's arguments into their options, what each means, and why one may not stand (shared/loops/options.py).

const FLAG = null;
const NUMBER = /^-?(?:\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(?:[eE][-+]?\d{1,2})?$/;

const from = (low, high) => (text) => NUMBER.test(text) && Number(text) >= low && Number(text) <= high;
const whole = (low, high) => (text) => /^\d{1,9}$/.test(text) && Number(text) >= low && Number(text) <= high;
const oneOf = (...values) => (text) => values.includes(text);
const initials = (shortest, longest, wild) => (text) =>
  /^[A-Za-z0-9:]+$/.test(text) && text.length >= shortest && text.length <= longest && text.split(":").length - 1 <= wild;

/** By name: what it means, and the check of its value. */
export const OPTIONS = {
  cb_explore_adf: ["Decides one action of each request.", FLAG],
  ccb_explore_adf: ["Decides an action for each of several slots.", FLAG],
  cb_type: ["How rewards of what was drawn say something of what was not: mtr (default), ips, dr or dm.", oneOf("mtr", "ips", "dr", "dm")],
  rank_all: ["Ranks all actions.", FLAG],
  cb_min_cost: ["The least cost there can be: less the highest reward.", from(-1000, 1000)],
  cb_max_cost: ["The largest cost there can be: less the lowest reward.", from(-1000, 1000)],
  epsilon: ["The share of decisions drawn from all actions: the exploration percentage.", from(0, 1)],
  first_only: ["Of actions that are equally good, only the first counts as the best.", FLAG],
  first: ["Draws evenly for so many learned events, then from the best.", whole(0, 999999999)],
  bag: ["So many models that learned from other samples; what they disagree on is explored.", whole(1, 20)],
  greedify: ["With --bag: the first of its models is the best one.", FLAG],
  cover: ["So many policies that cover what may be good.", whole(1, 20)],
  psi: ["With --cover: how much policies are to differ.", from(0, 1000)],
  nounif: ["With --cover: explores only what a policy names.", FLAG],
  softmax: ["Better actions are drawn more often, by their scores.", FLAG],
  lambda: ["With --softmax: how much more.", from(-1e6, 1e6)],
  squarecb: ["Explores what may still be good, and ever less. The one to try first.", FLAG],
  gamma_scale: ["With --squarecb: how soon it explores less.", from(0, 1e4)],
  gamma_exponent: ["With --squarecb: how that grows with events.", from(0, 2)],
  rnd: ["So many random models that say what is not known yet.", whole(1, 20)],
  rnd_alpha: ["With --rnd: the width of what may still be.", from(0, 1000)],
  rnd_invlambda: ["With --rnd: how uncertain it begins.", from(0, 1000)],
  regcb: ["Rules actions out for good evidence.", FLAG],
  mellowness: ["With --regcb: how much evidence that takes.", from(0, 1000)],
  synthcover: ["A synthetic cover of what may be good; for few actions.", FLAG],
  synthcoverpsi: ["With --synthcover: how much it explores.", from(0, 1000)],
  random_seed: ["Where what is drawn in learning begins.", whole(0, 999999999)],
  learning_rate: ["How far one event moves the model (short: -l).", from(0, 1000)],
  power_t: ["How the learning rate falls with events; 0: not at all.", from(-10, 10)],
  l1: ["Pulls weights to 0, so that few features matter.", from(0, 1)],
  l2: ["Pulls weights towards 0.", from(0, 1)],
  sgd: ["Plain gradient descent.", FLAG],
  adaptive: ["A learning rate for each feature.", FLAG],
  invariant: ["Updates that do not overshoot.", FLAG],
  normalized: ["Updates that do not depend on a feature's scale.", FLAG],
  bit_precision: ["2 to this are the weights of the model (short: -b).", whole(8, 22)],
  hash: ["How names of features are hashed.", oneOf("all", "strings")],
  noconstant: ["No feature that is always there.", FLAG],
  constant: ["Where that feature's weight begins.", from(-1000, 1000)],
  quadratic: ["Crosses the features of two namespaces by their initials, : for any (short: -q).", initials(2, 2, 2)],
  cubic: ["Crosses those of three namespaces.", initials(3, 3, 1)],
  interactions: ["Crosses those of two to six namespaces.", initials(2, 6, 1)],
  ignore: ["Leaves the namespace with this initial out.", initials(1, 1, 0)],
  ignore_linear: ["Leaves it out but where it is crossed.", initials(1, 1, 0)],
  keep: ["Leaves every other namespace out.", initials(1, 1, 0)],
  marginal: ["Keeps the average reward of each feature of the namespaces in i.", oneOf("i")],
};
const SHORT = { q: "quadratic", l: "learning_rate", b: "bit_precision" };
const CROSSED = ["quadratic", "cubic", "interactions"];
const REPEATABLE = [...CROSSED, "ignore", "ignore_linear", "keep"];
const MEANINGLESS = ["json", "dsjson", "quiet", "save_resume", "preserve_performance_counters"];
const ENSEMBLES = ["bag", "cover", "rnd"];
const MAX_CROSSED = 32;
const MAX_CROSSINGS = 64;
const MAX_ARGUMENTS = 1024;

/** Arguments into {options: [{name, value, meaning}], wrong}: why they are refused, or "". */
export function read(text) {
  const options = [];
  const words = text.split(/\s+/).filter(Boolean);
  const refused = (wrong) => ({ options, wrong });
  for (let at = 0; at < words.length; at += 1) {
    const found = split(words[at]);
    if (MEANINGLESS.includes(found?.name) && found.value === null) continue;
    if (!found || !Object.hasOwn(OPTIONS, found.name)) return refused(`The option ${words[at].slice(0, 64)} is not allowed.`);
    const [meaning, check] = OPTIONS[found.name];
    if (check === FLAG && found.value !== null) return refused(`The option --${found.name} takes no value.`);
    const value = check === FLAG ? "" : found.value ?? words[(at += 1)] ?? "";
    if (check !== FLAG && !check(value)) return refused(`The option --${found.name} cannot be “${value.slice(0, 64)}”.`);
    options.push({ name: found.name, value, meaning });
  }
  return { options, wrong: together(options, text) };
}

function together(options, text) {
  const values = {};
  for (const { name, value } of options) {
    if (!REPEATABLE.includes(name) && (values[name] ??= value) !== value) return `The option --${name} cannot be both ${values[name]} and ${value}.`;
  }
  const crossed = options.filter((option) => CROSSED.includes(option.name)).length;
  const models = ENSEMBLES.reduce((sum, name) => sum + Number(values[name] ?? 0), 1);
  if (crossed > MAX_CROSSED) return `There may be ${MAX_CROSSED} interactions at most.`;
  if (("cb_explore_adf" in values) === ("ccb_explore_adf" in values)) return "One of --cb_explore_adf (single slot) and --ccb_explore_adf (multi-slot) must stand.";
  if (models * crossed > MAX_CROSSINGS) return `${crossed} interactions for ${models} models: ${MAX_CROSSINGS} in all are served.`;
  if ([...text].length > MAX_ARGUMENTS) return `${MAX_ARGUMENTS} characters at most.`;
  return "";
}

function split(word) {
  if (word.startsWith("--")) {
    const at = word.indexOf("=");
    return at < 0 ? { name: word.slice(2), value: null } : { name: word.slice(2, at), value: word.slice(at + 1) };
  }
  if (word[0] !== "-" || !Object.hasOwn(SHORT, word[1] ?? "")) return null;
  return { name: SHORT[word[1]], value: word.slice(2).replace(/^=/, "") || null };
}
