/** The page of runs: what each was measured to be worth. */

import { make } from "./address.js";
import { getKept } from "./api.js";
import { confusionTable } from "./confusion.js";
import { el, replace } from "./dom.js";
import { classTitle, count, isNumber, metric, share, words } from "./format.js";
import { scrolling } from "./particles.js";
import { problemBox } from "./problem.js";
import { binnedCharts, confidenceChart, reliabilityChart, rocChart } from "./runcharts.js";

export class RunsPage {
  constructor(data) {
    this.data = data;
    this.node = el("div", { class: "page runs-page" });
    this.keys = {};
  }

  async show(path) {
    const name = path[1] ?? (this.data.runs.length === 1 ? this.data.runs[0].name : null);
    document.title = `${name ?? "Runs"} – nuadapt`;
    if (name === null) return replace(this.node, el("h1", {}, "Runs"), this.cards());
    replace(this.node, this.tabs(name), el("p", { class: "waiting" }, "Loading ..."));
    try {
      const run = await getKept(`/api/runs/${encodeURIComponent(name)}`);
      return replace(this.node, this.tabs(name), ...this.parts(run));
    } catch (error) {
      return replace(this.node, this.tabs(name), problemBox(error));
    }
  }

  cards() {
    if (!this.data.runs.length) return el("p", { class: "empty" }, "No run was given when the service was started.");
    return el("ul", { class: "run-cards" }, this.data.runs.map((run) => el("li", { class: "card" },
      el("h2", {}, el("a", { href: make(["runs", run.name]) }, run.name)),
      el("p", {}, `${words(run.task)}, ${run.kind === "energy" ? "energy" : `${run.classes?.length ?? 0} classes`}`),
      el("p", { class: "fine" }, `${count(run.n_predicted)} events answered; ${run.has_model ? "can answer new events" : "answers of its evaluation only"}`))));
  }

  tabs(name) {
    if (this.data.runs.length < 2) return null;
    return el("nav", { class: "tabs", aria: { label: "Runs" } }, this.data.runs.map((run) =>
      el("a", { href: make(["runs", run.name]), "aria-current": run.name === name ? "page" : null }, run.name)),
    el("a", { href: make(["compare"]), class: "aside" }, "side by side"));
  }

  parts(run) {
    const classes = this.data.runs.find((r) => r.name === run.name)?.classes ?? this.data.classes;
    return [
      el("h1", {}, run.name, el("small", {}, ` ${words(run.task)}, ${count(run.n_events)} events`)),
      run.note && el("p", { class: "fine" }, run.note),
      el("div", { class: "tables" }, metricsTable(run.metrics, run.definitions), classTable(run.per_class, classes)),
      el("div", { class: "charts" },
        run.confusion?.classes && confusionTable(run.confusion, run.name, classes),
        rocChart(run.roc, classes),
        reliabilityChart([run]), confidenceChart(run.reliability), binnedCharts([run]))];
  }
}

/** All metrics with their intervals; `meanings` says what each is. */
export function metricsTable(metrics, meanings = {}) {
  const names = Object.keys(metrics ?? {}).filter((name) => isNumber(metrics[name]?.value));
  if (!names.length) return el("p", { class: "empty" }, "No metrics are stored for this run: nuadapt evaluate writes them.");
  return scrolling("Metrics", el("table", { class: "numbers metrics" },
    el("thead", {}, el("tr", {}, ["metric", "value", "interval"].map((n) => el("th", { scope: "col" }, n)))),
    el("tbody", {}, names.map((name) => el("tr", {}, el("th", { scope: "row", title: meanings?.[name] ?? null }, metricTitle(name)),
      el("td", {}, metric(metrics[name].value)), el("td", {}, interval(metrics[name])))))));
}

/** The metrics of each class. */
function classTable(found, classes) {
  const names = Object.keys(found ?? {});
  if (!names.length) return null;
  const columns = Object.keys(found[names[0]]).filter((name) => found[names[0]][name]?.value !== undefined);
  return scrolling("Metrics of each class", el("table", { class: "numbers metrics" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "class"), el("th", { scope: "col" }, "events"),
      columns.map((c) => el("th", { scope: "col" }, metricTitle(c))))),
    el("tbody", {}, names.map((name) => el("tr", {}, el("th", { scope: "row" }, classTitle(name, classes)),
      el("td", {}, count(found[name].n_events)),
      columns.map((c) => el("td", {}, share(found[name][c]?.value), el("small", {}, interval(found[name][c] ?? {}, share)))))))));
}

const TITLES = { auc_ovr_macro: "AUC, mean over classes", auc_ovr: "AUC", ece: "expected calibration error (ECE)", nll: "negative log-likelihood (NLL)",
  brier: "Brier score", f1: "F1", macro_f1: "macro F1", accuracy_ovr: "accuracy against rest" };

/** A metric's name for people. */
export function metricTitle(name) {
  return TITLES[name] ?? words(name);
}

/** An interval in words; a dash where there is none. */
export function interval({ low, high }, write = metric) {
  return isNumber(low) && isNumber(high) ? `${write(low)} to ${write(high)}` : "–";
}
