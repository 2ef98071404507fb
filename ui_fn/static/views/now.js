// (view under construction)
import { html } from "/page/preact.js";
import { TimeChart, Whiskers, Confirm } from "/page/parts.js";

export default function Now({ loop }) {
  const n = 300, times = Array.from({ length: n }, (_, i) => 1790000000 + 60 * i);
  const values = times.map((_, i) => 0.3 + 0.3 * (1 - Math.exp(-i / 80)));
  const series = [{ label: "reward", values, low: values.map((v) => v - 0.05), high: values.map((v) => v + 0.05) }, { label: "baseline", values: times.map(() => 0.3), dash: [5, 4] }];
  return html`<h2>Now ${loop}</h2><${TimeChart} label="Average reward" times=${times} series=${series} marks=${[{ time: times[60], label: "v1" }, { time: times[200], label: "v2" }]} ranges=${[{ low: 0.6, high: 0.8 }]} min=${0} max=${1} />
  <${Whiskers} label="policies" rows=${[{ label: "a", value: 0.5, low: 0.4, high: 0.6 }, { label: "b", value: 0.7, low: 0.65, high: 0.75, tone: "best", note: "more" }]} reference=${0.5} />
  <${Confirm} label="Delete" title="Delete?" word="x" danger act=${async () => {}}>Really.<//>`;
}
