/** The charts of runs: ROC, reliability, and what changes with the energy. */

import { chart, limits } from "./charts.js";
import { classColour, kind, SHAPES } from "./colour.js";
import { classTitle, isNumber, modeTitle, number, share, words } from "./format.js";

const UNIT = { low: 0, high: 1 };

/** ROC of every class against the rest. */
export function rocChart(roc, classes) {
  const names = Object.keys(roc ?? {});
  if (!names.length) return null;
  const series = names.map((name, i) => ({
    name: `${classTitle(name, classes)} (area ${share(roc[name].auc)})`, as: "line", always: true,
    look: { colour: classColour(name, i), shape: SHAPES[i] }, points: roc[name].fpr.map((f, k) => [f, roc[name].tpr[k]]) }));
  return chart({ title: "ROC, each class against the rest", series, diagonal: true, spoken: series.map((s) => s.name).join(", "),
    x: { ...UNIT, label: "false positive rate" }, y: { ...UNIT, label: "true positive rate" } });
}

/** Accuracy against confidence; `found` is a list of `{name, reliability}`. */
export function reliabilityChart(found) {
  const known = found.filter((f) => f.reliability?.confidence?.length);
  if (!known.length) return null;
  const series = known.map((f, i) => ({ name: known.length > 1 ? f.name : "", as: "points", look: kind(i),
    points: f.reliability.confidence.map((c, k) => [c, f.reliability.accuracy[k], f.reliability.low?.[k], f.reliability.high?.[k]]) }));
  return chart({ title: "Reliability", series, diagonal: true, x: { ...UNIT, label: "probability of the answer" },
    y: { ...UNIT, label: "share that is correct" }, spoken: "On the diagonal, probabilities mean what they say." });
}

/** Events in each bin of confidence. */
export function confidenceChart(reliability) {
  if (!reliability?.count?.length) return null;
  const { confidence, count, edges } = reliability;
  const points = count.map((n, i) => [confidence[i], n, ...edges[i]]);
  return chart({ title: "Events by probability", series: [{ name: "", as: "bars", points }],
    x: { ...UNIT, label: "probability of the answer" }, y: { low: 0, high: 1.08 * Math.max(...count, 1), label: "events" } });
}

/**
 * One chart per quantity and axis, with runs, and estimates of one run, over each other; `found` is a list of
 * `{name, binned}`.
 */
export function binnedCharts(found) {
  const all = found.flatMap((f) => (f.binned ?? []).map((bin) => ({ run: f.name, bin })));
  const keys = [...new Set(all.map(({ bin }) => `${bin.name}|${bin.by}`))];
  return keys.map((key) => binnedChart(all.filter(({ bin }) => `${bin.name}|${bin.by}` === key), found.length > 1));
}

function binnedChart(of, severalRuns) {
  const { by, unit, name, labels } = of[0].bin;
  const names = of.map(({ run, bin }) => seriesName(run, bin, severalRuns, of.length > 1));
  const last = of[0].bin.edges.at(-1);
  const cut = last && pointsOf(of[0].bin).at(-1)[5] !== last[1] ? (isNumber(last[1]) ? `to ${number(last[1])}` : "without end") : "";
  const counted = !of[0].bin.edges.length; // by names, such as interaction modes
  const places = [...new Set(of.flatMap(({ bin }) => bin.labels))];
  const series = of.map(({ bin }, i) => ({ name: names[i], as: "points", look: kind(i),
    points: counted ? namedPoints(bin, places, i, of.length) : pointsOf(bin) }));
  const [low, high] = limits(series.flatMap((s) => s.points.flatMap((p) => [p[1], p[2], p[3]])), name === "accuracy" ? [0, 1.02] : undefined);
  const edges = series.flatMap((s) => s.points.flatMap((p) => [p[4], p[5]]));
  const x = counted ? { low: -0.5, high: places.length - 0.5, ticks: places.map((n, i) => [i, modeTitle(n)]) }
    : { low: Math.min(...edges), high: Math.max(...edges) };
  return chart({ title: `${words(name)} by ${words(by)}`, series, y: { low, high, label: words(MEANING[name] ?? name) },
    x: { ...x, label: unit ? `${words(by)} [${unit}]` : words(by) }, spoken: labels ? `Bins: ${labels.join(", ")}` : "",
    note: cut ? `The last bin reaches ${cut}.` : "" });
}

const WIDEST = 6; // times the bin before
const MEANING = { resolution: "interquartile range of estimate / truth" };

function seriesName(run, bin, severalRuns, several) {
  const estimate = bin.estimate && bin.estimate !== "model" ? words(bin.estimate) : "";
  if (severalRuns) return estimate ? `${run}: ${estimate}` : run;
  return several ? estimate || run : "";
}

/** Points above names, those of several series side by side. */
function namedPoints({ labels, value, low, high }, places, index, n) {
  return value.map((v, i) => [places.indexOf(labels[i]) + 0.14 * (index - (n - 1) / 2), v, low?.[i], high?.[i]]);
}

/** x in the middle of its bin, value, interval, and the edges; an open or very wide last bin is drawn narrower. */
function pointsOf({ edges, value, low, high }) {
  return value.map((v, i) => {
    const start = edges[i][0];
    const before = i ? edges[i - 1][1] - edges[i - 1][0] : 1;
    const wide = !isNumber(edges[i][1]) || (i > 0 && edges[i][1] - start > WIDEST * before);
    const end = wide ? start + 2 * before : edges[i][1];
    return [(start + end) / 2, v, low?.[i], high?.[i], start, end];
  });
}
