/** The confusion matrix: rows are true classes, columns answers, and each cell leads to its events. */

import { make } from "./address.js";
import { el } from "./dom.js";
import { classTitle, count, share } from "./format.js";
import { scrolling } from "./particles.js";

/** The table for the counts of `run`; `{classes, counts}` is the service's. */
export function confusionTable({ classes, counts }, run, titles) {
  const names = classes.map((c) => c.name ?? c);
  const head = names.map((name) => el("th", { scope: "col" }, classTitle(name, titles)));
  const rows = names.map((truth, i) => {
    const total = counts[i].reduce((a, b) => a + b, 0);
    return el("tr", {}, el("th", { scope: "row" }, classTitle(truth, titles)),
      names.map((label, j) => cell({ run, truth, label, titles }, counts[i][j], total)),
      el("td", { class: "total" }, count(total)));
  });
  return el("figure", { class: "chart-box confusion" }, el("figcaption", {}, "Confusion: events by truth and answer"),
    scrolling("Confusion matrix", el("table", {},
      el("thead", {}, el("tr", {}, el("td", { class: "corner" }, "truth ↓  answer →"), head, el("th", { scope: "col" }, "all"))),
      el("tbody", {}, rows))),
    el("p", { class: "fine" }, "Each cell leads to its events. Shares are of the row."));
}

function cell({ run, truth, label, titles }, n, total) {
  const part = total ? n / total : 0;
  const words = `${count(n)} events: truth ${classTitle(truth, titles)}, answer ${classTitle(label, titles)}`;
  return el("td", { class: `cell ${part > 0.5 ? "strong" : ""}`, style: { "--part": `${Math.round(100 * part)}%` } },
    el("a", { href: make(["events"], { run, truth, label }), aria: { label: words }, title: words },
      el("b", {}, count(n)), el("small", {}, `${share(100 * part, 1)}%`)));
}
