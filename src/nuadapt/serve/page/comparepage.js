/** Several runs side by side, on the events that all of them answered. */

import { getKept } from "./api.js";
import { kind } from "./colour.js";
import { el, replace, svg } from "./dom.js";
import { count, isNumber, metric, share } from "./format.js";
import { path as sign } from "./markers.js";
import { scrolling } from "./particles.js";
import { problemBox } from "./problem.js";
import { binnedCharts, reliabilityChart } from "./runcharts.js";
import { interval, metricTitle } from "./runspage.js";

export class ComparePage {
  constructor(data, go) {
    Object.assign(this, { data, go, keys: {} });
    this.node = el("div", { class: "page compare-page" });
  }

  async show(path, query) {
    document.title = "Runs side by side – nuadapt";
    const all = this.data.runs.map((r) => r.name);
    const asked = (query.runs ?? "").split(",").filter((name) => all.includes(name));
    const chosen = asked.length ? asked : sameTask(this.data.runs.filter((run) => run.n_predicted > 0));
    const head = [el("h1", {}, "Runs side by side"), this.chooser(all, chosen)];
    if (chosen.length < 2) {
      return replace(this.node, ...head, el("p", { class: "empty" }, all.length < 2
        ? "One run is served. Give nuadapt serve several to compare them." : "Choose two runs or more."));
    }
    replace(this.node, ...head, el("p", { class: "waiting" }, "Loading ..."));
    try {
      const found = await getKept("/api/compare", { runs: chosen.join(",") });
      const runs = await Promise.all(chosen.map((name) => getKept(`/api/runs/${encodeURIComponent(name)}`).catch(() => ({ name }))));
      return replace(this.node, ...head, ...this.parts(found, runs));
    } catch (error) {
      return replace(this.node, ...head, problemBox(error));
    }
  }

  chooser(all, chosen) {
    const changed = (name, on) => {
      const runs = all.filter((other) => (other === name ? on : chosen.includes(other)));
      this.go(["compare"], { runs: runs.join(",") });
    };
    return el("fieldset", { class: "choice runs" }, el("legend", {}, "Runs"), all.map((name) => el("label", {},
      el("input", { type: "checkbox", name: `run-${name}`, checked: chosen.includes(name), on: { change: (e) => changed(name, e.target.checked) } }),
      el("span", {}, name))));
  }

  parts(found, runs) {
    return [
      el("p", {}, `${count(found.n_common)} events have an answer of every run; these numbers are of them alone.`),
      comparisonTable(found),
      el("div", { class: "charts" }, found.agreement?.flat().some(isNumber) && agreementTable(found),
        reliabilityChart(runs), binnedCharts(runs)),
      el("p", { class: "fine" }, "Charts are of all events of each run.")];
  }
}

/** The runs of the first task of which there are several; else those of the first kind of answer. */
function sameTask(runs) {
  const several = runs.find((run) => runs.filter((r) => r.task === run.task).length > 1);
  const same = several ? runs.filter((r) => r.task === several.task) : runs.filter((r) => r.kind === runs[0]?.kind);
  return same.map((r) => r.name);
}

/** A row per metric, a column per run, and the intervals drawn on one line. */
function comparisonTable({ runs, rows }) {
  return scrolling("Metrics of the runs", el("table", { class: "numbers metrics comparison" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "metric"),
      runs.map((name, i) => el("th", { scope: "col" }, runSign(i), name)), el("th", { scope: "col" }, "on one line"))),
    el("tbody", {}, rows.map((row) => el("tr", {}, el("th", { scope: "row" }, metricTitle(row.name)),
      runs.map((name) => el("td", {}, metric(row.values[name]?.value), el("small", {}, interval(row.values[name] ?? {})))),
      el("td", { class: "line-cell" }, intervals(row, runs)))))));
}

function runSign(i) {
  return svg("svg", { viewBox: "-6 -6 12 12", width: 12, height: 12, class: "swatch", aria: { hidden: "true" } },
    svg("path", { d: sign(kind(i).shape, 4.5), fill: kind(i).colour }));
}

function intervals(row, runs) {
  const known = runs.map((name) => row.values[name] ?? {});
  const ends = known.flatMap((v) => [v.low, v.high, v.value]).filter(isNumber);
  if (!ends.length) return null;
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const at = (v) => 8 + (high > low ? (v - low) / (high - low) : 0.5) * 144;
  const height = 10 * runs.length + 4;
  return svg("svg", { viewBox: `0 0 160 ${height}`, width: 160, height, aria: { hidden: "true" } }, known.map((v, i) => [
    isNumber(v.low) && svg("line", { x1: at(v.low), x2: at(v.high), y1: 7 + 10 * i, y2: 7 + 10 * i, class: "whisker", stroke: kind(i).colour }),
    isNumber(v.value) && svg("path", { d: sign(kind(i).shape, 3.6), transform: `translate(${at(v.value)} ${7 + 10 * i})`, fill: kind(i).colour })]));
}

/** The share of events on which two runs give the same answer. */
function agreementTable({ runs, agreement }) {
  return el("figure", { class: "chart-box" }, el("figcaption", {}, "Share of events with the same answer"),
    scrolling("Agreement", el("table", { class: "numbers" },
      el("thead", {}, el("tr", {}, el("td", {}), runs.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, runs.map((name, i) => el("tr", {}, el("th", { scope: "row" }, name),
        agreement[i].map((v) => el("td", {}, share(v)))))))),
    el("p", { class: "fine" }, el("a", { href: "#/events?disagree=true" }, "Events on which runs disagree")));
}
