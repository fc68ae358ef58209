/** The charts of runs: ROC, reliability, and what changes with the energy. */

import { chart, limits } from "./charts.js";
import { classColour, kind, SHAPES } from "./colour.js";
import { classTitle, isNumber, share, words } from "./format.js";

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
  const { confidence, count } = reliability;
  const edges = reliability.edges ?? between(confidence);
  const points = count.map((n, i) => [confidence[i], n, edges[i], edges[i + 1]]).filter((p) => p[1] > 0);
  return chart({ title: "Events by probability", series: [{ name: "", as: "bars", points }],
    x: { ...UNIT, label: "probability of the answer" }, y: { low: 0, high: 1.08 * Math.max(...count, 1), label: "events" } });
}

function between(centres) {
  const middles = centres.slice(1).map((c, i) => (c + centres[i]) / 2);
  return [Math.max(0, 2 * centres[0] - (middles[0] ?? 1)), ...middles, 1];
}

/** One chart per quantity and axis, with the runs over each other; `found` is a list of `{name, binned}`. */
export function binnedCharts(found) {
  const keys = [...new Set(found.flatMap((f) => (f.binned ?? []).map((b) => `${b.name}|${b.by}`)))];
  return keys.map((key) => {
    const of = found.map((f, i) => ({ run: f.name, look: kind(i), bin: f.binned?.find((b) => `${b.name}|${b.by}` === key) }))
      .filter((f) => f.bin);
    return binnedChart(of, found.length > 1);
  });
}

function binnedChart(of, named) {
  const { by, unit, name } = of[0].bin;
  const series = of.map(({ run, look, bin }) => ({ name: named ? run : "", as: "points", look, points: pointsOf(bin) }));
  const spread = series.flatMap((s) => s.points.flatMap((p) => [p[1], p[2], p[3]]));
  const [low, high] = limits(spread, name === "accuracy" ? [0, 1.02] : undefined);
  const edges = series.flatMap((s) => s.points.flatMap((p) => [p[4], p[5]]));
  return chart({ title: `${words(name)} by ${words(by)}`, series, y: { low, high, label: words(name) },
    x: { low: Math.min(...edges), high: Math.max(...edges), label: unit ? `${words(by)} [${unit}]` : words(by) } });
}

/** x in the middle of its bin, value, interval, and the edges; an open bin is drawn as wide as its neighbour. */
function pointsOf({ edges, value, low, high }) {
  const shown = [...edges];
  const n = shown.length - 1;
  if (!isNumber(shown[0])) shown[0] = 2 * shown[1] - shown[2];
  if (!isNumber(shown[n])) shown[n] = 2 * shown[n - 1] - shown[n - 2];
  return value.map((v, i) => [(shown[i] + shown[i + 1]) / 2, v, low?.[i], high?.[i], shown[i], shown[i + 1]]);
}
