/** The page of runs: what each was measured to be worth. */

import { make } from "./address.js";
import { getKept } from "./api.js";
import { confusionTable } from "./confusion.js";
import { el, replace } from "./dom.js";
import { classTitle, count, number, words } from "./format.js";
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
      metricsTable(run.metrics, classes),
      el("div", { class: "charts" },
        run.confusion?.classes && confusionTable(run.confusion, run.name, classes),
        rocChart(run.roc, classes), reliabilityChart([run]), confidenceChart(run.reliability), binnedCharts([run]))];
  }
}

/** All metrics with their intervals. */
export function metricsTable(metrics, classes) {
  const names = Object.keys(metrics ?? {});
  if (!names.length) return el("p", { class: "empty" }, "No metrics are stored for this run: nuadapt evaluate writes them.");
  return scrolling("Metrics", el("table", { class: "numbers metrics" },
    el("thead", {}, el("tr", {}, ["metric", "value", "interval"].map((n) => el("th", { scope: "col" }, n)))),
    el("tbody", {}, names.map((name) => el("tr", {}, el("th", { scope: "row" }, metricTitle(name, classes)),
      el("td", {}, number(metrics[name].value, 4)), el("td", {}, interval(metrics[name])))))));
}

/** A metric's name for people: `precision_nue_cc` is the precision of νe CC. */
export function metricTitle(name, classes = []) {
  for (const one of classes) {
    const key = one.name ?? one;
    if (name.endsWith(key) && name !== key) return `${words(name.slice(0, -key.length)).replace(/[.\s/]+$/, "")} ${classTitle(key, classes)}`;
  }
  return words(name);
}

/** An interval in words; a dash where there is none. */
export function interval({ low, high }) {
  return Number.isFinite(low) && Number.isFinite(high) ? `${number(low, 4)} to ${number(high, 4)}` : "–";
}
