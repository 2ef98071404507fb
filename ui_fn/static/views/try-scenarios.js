// Turns two published tutorials of Personalizer into what a simulated user would reward: visits, all equally likely.
// They are those of `make demo`, which tests hold to each other.

const COFFEES = {
  Cappucino: { type: "hot", origin: "kenya", organic: "yes", roast: "dark" },
  "Cold brew": { type: "cold", origin: "brazil", organic: "yes", roast: "light" },
  "Iced mocha": { type: "cold", origin: "ethiopia", organic: "no", roast: "light" },
  Latte: { type: "hot", origin: "brazil", organic: "no", roast: "dark" },
};
const DAYTIMES = ["Morning", "Afternoon", "Evening"];
const LETTERS = { C: "Cappucino", B: "Cold brew", M: "Iced mocha", L: "Latte" };
// What a guest likes in the morning, in the afternoon and in the evening, by weather.
const LIKES = {
  Alice: { Sunny: "BMB", Rainy: "LCL", Snowy: "CCC" },
  Bob: { Sunny: "CMB", Rainy: "LLL", Snowy: "MMM" },
  Cathy: { Sunny: "LBC", Rainy: "CLM", Snowy: "BMC" },
  Dave: { Sunny: "MMM", Rainy: "LLL", Snowy: "CCC" },
};

const asActions = (features) => Object.entries(features).map(([id, of]) => ({ id, features: [of] }));
const rewardsOf = (features, judge) => Object.fromEntries(Object.entries(features).map(([id, of]) => [id, judge(id, of) ? 1 : 0]));

const coffeeVisits = Object.entries(LIKES).flatMap(([name, likes]) =>
  Object.entries(likes).flatMap(([weather, letters]) =>
    [...letters].map((letter, n) => ({
      context: [{ timeofday: DAYTIMES[n], weather, name }],
      rewards: rewardsOf(COFFEES, (id) => id === LETTERS[letter]),
    })),
  ),
);

const DIETS = ["vegan", "low_carb", "high_protein", "vegetarian", "low_fat", "low_sodium"];
const item = (company, [kind, of], qty, price, ...diet) => ({
  brand_info: { company },
  attributes: { qty, [kind]: of, price },
  dietary_attributes: Object.fromEntries(DIETS.map((label) => [label, diet.includes(label)])),
});
const PRODUCTS = {
  pasta: item("pasta_inc", ["cuisine", "italian"], 1, 12, "low_fat", "low_sodium"),
  bbq: item("ambisco", ["category", "bbq"], 2, 20, "low_carb", "high_protein"),
  bao: item("bao_and_co", ["category", "chinese"], 4, 8, "low_carb", "high_protein", "low_fat"),
  hummus: item("garbanzo_inc", ["category", "breakfast"], 1, 5, "vegan", "high_protein", "vegetarian"),
  veg_platter: item("farm_fresh", ["category", "produce"], 1, 7, "vegan", "low_carb", "vegetarian", "low_fat", "low_sodium"),
};
const SHOPPERS = {
  Bill: { dietary_preferences: "low_carb", avg_order_price: "0-20", browser_type: "edge" },
  Satya: { dietary_preferences: "low_sodium", avg_order_price: "201+", browser_type: "safari" },
  Amy: { dietary_preferences: "vegan, vegetarian", avg_order_price: "21-50", browser_type: "edge" },
};
const BUYS = {
  Bill: (of, location) => (location === "midwest" ? of.dietary_attributes.low_carb : of.attributes.price < 10),
  Satya: (of) => of.dietary_attributes.low_sodium,
  Amy: (of) => of.dietary_attributes.vegan || of.dietary_attributes.vegetarian,
};

const groceryVisits = Object.keys(SHOPPERS).flatMap((shopper) =>
  ["west", "east", "midwest"].flatMap((location) =>
    ["morning", "afternoon", "evening"].flatMap((time_of_day) =>
      ["edge", "safari", "edge_mobile", "mobile_app"].map((application_type) => ({
        context: [SHOPPERS[shopper], { location }, { time_of_day }, { application_type }],
        rewards: rewardsOf(PRODUCTS, (_, of) => BUYS[shopper](of, location)),
      })),
    ),
  ),
);

/** By name: {title, told, actions, visits: [{context, rewards}], events: how many are played at most, batch: a point's}. */
export const SCENARIOS = {
  grocery: {
    title: "Grocery",
    told: "Three shoppers on the move: which of five products should the shop feature? Learned within half a minute.",
    actions: asActions(PRODUCTS),
    visits: groceryVisits,
    events: 5000,
    batch: 100,
  },
  coffee: {
    title: "Coffee",
    told: "Four guests, each with a taste for each weather and time of day: which of four coffees? Learned from some 3,000 events on.",
    actions: asActions(COFFEES),
    visits: coffeeVisits,
    events: 10000,
    batch: 200,
  },
};

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** What a choice earns that knows nothing. */
export const uniform = ({ visits }) => mean(visits.flatMap(({ rewards }) => Object.values(rewards)));

/** What one earns that knows everything, and still gives this share of its decisions to chance. */
export function ceiling(scenario, exploration) {
  const best = mean(scenario.visits.map(({ rewards }) => Math.max(...Object.values(rewards))));
  return (1 - exploration) * best + exploration * uniform(scenario);
}

/** The body of a Rank call for a visit. */
export const requestOf = (scenario, visit) => ({ contextFeatures: visit.context, actions: scenario.actions });

/** A call for several slots, to begin with where a loop decides for these: the page of a shop. */
export const SLOTTED = {
  contextFeatures: [{ time: "morning" }, { device: "mobile" }],
  actions: [
    { id: "shirt", features: [{ onSale: "true", price: 20, category: "clothing" }] },
    { id: "racket", features: [{ onSale: "false", price: 70, category: "sports" }] },
    { id: "monitor", features: [{ onSale: "true", price: 200, category: "electronics" }] },
  ],
  slots: [
    { id: "hero", features: [{ size: "large" }], baselineAction: "shirt" },
    { id: "sidebar", features: [{ size: "small" }], baselineAction: "monitor" },
  ],
};
