/** The filters of the event list. */

import { LIST_KEYS, pick } from "./address.js";
import { button, field, select, toggle } from "./controls.js";
import { el } from "./dom.js";
import { classTitle, modeTitle } from "./format.js";

const FILTERS = LIST_KEYS.filter((k) => !["sort", "order", "run"].includes(k));
/** What the page asks for where the address does not say. */
export const SORTS = { index: "file order", energy: "energy", probability: "probability of the answer", answer: "answered energy",
  ratio: "answer / true energy", disagreement: "disagreement of the runs", deposited_energy: "deposited energy", Q2: "Q²" };

/** The run whose answers are filtered and sorted by. */
export function chosenRun(query, data) {
  return data.runs.some((r) => r.name === query.run) ? query.run : data.runs[0]?.name ?? "";
}

/** The form; `changed(changes)` gets what to change in the address. */
export function filterForm(query, data, changed) {
  const name = chosenRun(query, data);
  const run = data.runs.find((r) => r.name === name);
  const classes = run?.classes?.length ? run.classes : data.classes;
  const named = classes.map((c) => [c.name ?? c, classTitle(c.name ?? c, classes)]);
  const set = (key) => (value) => changed({ [key]: value });
  const any = (options, words = "any") => [["", words], ...options];
  const form = el("form", { class: "filters", aria: { label: "Filters" }, on: { submit: (e) => e.preventDefault() } },
    data.runs.length > 1 && select("Run", "run", data.runs.map((r) => [r.name, r.name]), name, set("run")),
    named.length > 0 && select("Answer", "label", any(named), query.label, set("label")),
    named.length > 0 && select("Truth", "truth", any(named), query.truth, set("truth")),
    named.length > 0 && select("Answer is", "correct", any([["true", "correct"], ["false", "wrong"]]), query.correct, set("correct")),
    data.modes.length > 0 && select("Mode", "mode", any(data.modes.map((m) => [m, modeTitle(m)])), query.mode, set("mode")),
    data.splits.length > 0 && select("Split", "split", any(data.splits.map((s) => [s, s])), query.split, set("split")),
    range("Probability", "p", query, changed, { min: 0, max: 1, step: 0.01 }),
    range("Energy [GeV]", "energy", query, changed, { min: 0, step: 0.1 }),
    field("Find", "find", query.find, set("find"), { placeholder: "run/subrun/event", type: "search" }),
    sorting(query, data, changed),
    data.runs.length > 1 && toggle("runs disagree", "disagree", query.disagree === "true",
      (on) => changed({ disagree: on ? "true" : "" })));
  const active = Object.keys(pick(query, FILTERS)).length;
  return el("details", { class: "filter-box", open: innerWidth > 900 },
    el("summary", {}, active ? `Filters (${active} set)` : "Filters"), form,
    active > 0 && button("Clear filters", () => changed(Object.fromEntries(FILTERS.map((k) => [k, ""]))), { class: "quiet clear" }));
}

function range(label, key, query, changed, limits) {
  const one = (end, words, sign) => el("input", { name: `${end}_${key}`, type: "number", inputmode: "decimal", placeholder: sign,
    value: query[`${end}_${key}`] ?? "", aria: { label: `${label} ${words}` }, ...limits,
    on: { change: (event) => changed({ [`${end}_${key}`]: event.target.value.trim() }) } });
  return el("div", { class: "field range", role: "group", aria: { label } }, el("span", {}, label),
    el("span", { class: "range-ends" }, one("min", "from", "≥"), one("max", "to", "≤")));
}

function sorting(query, data, changed) {
  const options = data.sortable.map((s) => [s, SORTS[s] ?? s.replaceAll("_", " ")]);
  return [select("Sort by", "sort", options, query.sort ?? "index", (sort) => changed({ sort: sort === "index" ? "" : sort })),
    select("Order", "order", [["asc", "ascending"], ["desc", "descending"]], query.order ?? "asc",
      (order) => changed({ order: order === "asc" ? "" : order }))];
}
