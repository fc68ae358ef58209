/** The table of events: a page of rows at a time, asked for as the filters say. */

import { LIST_KEYS, LOOK_KEYS, make, parse, pick } from "./address.js";
import { get } from "./api.js";
import { button } from "./controls.js";
import { el, replace } from "./dom.js";
import { energyName } from "./eventview.js";
import { chosenRun, filterForm } from "./filters.js";
import { classTitle, count, energy, isNumber, modeTitle, share } from "./format.js";

export const PAGE = 50; // rows asked for at once

/** Filters of an address as the service wants them. */
export function listQuery(query, data) {
  return { ...pick(query, LIST_KEYS), run: chosenRun(query, data) };
}

export class EventList {
  /** `data` is the answer of `/api/data`; `go(path, query)` changes the address. */
  constructor(data, go) {
    Object.assign(this, { data, go, offset: 0 });
    this.node = el("section", { class: "list", aria: { label: "Events" } });
    this.node.addEventListener("keydown", (event) => this.walk(event));
  }

  /** Show the rows of an address; `chosen` is the index of the displayed event, or null. */
  async show(query, chosen) {
    const filters = listQuery(query, this.data);
    const signature = JSON.stringify(filters);
    const offset = query.offset !== undefined ? Math.max(Number(query.offset) || 0, 0)
      : signature === this.signature ? this.offset : 0;
    this.chosen = chosen;
    if (signature !== this.signature || offset !== this.offset) await this.load(query, filters, offset, signature);
    this.mark();
  }

  /** Turn to the page that holds the event of that rank in the list. */
  async reveal(rank) {
    const offset = PAGE * Math.floor(rank / PAGE);
    if (!this.found || (rank >= this.offset && rank < this.offset + PAGE)) return;
    await this.load(this.query, listQuery(this.query, this.data), offset, this.signature);
    this.mark();
  }

  async load(query, filters, offset, signature) {
    const mine = (this.loading = Symbol("load"));
    const found = await get("/api/events", { ...filters, offset, limit: PAGE });
    if (this.loading !== mine) return; // a later question has been asked
    Object.assign(this, { offset, signature, found, query });
    this.draw(query);
  }

  draw(query) {
    const changed = (changes) => {
      const { path, query: now } = parse(location.hash);
      this.go(path, { ...now, ...changes, offset: null });
    };
    const focused = this.node.contains(document.activeElement) ? document.activeElement.name || document.activeElement.dataset.sort : null;
    replace(this.node, filterForm(query, this.data, changed), this.pager(), this.table(query, changed));
    if (focused) this.node.querySelector(`[name="${focused}"], [data-sort="${focused}"]`)?.focus();
  }

  pager() {
    const { total } = this.found;
    const last = Math.min(this.offset + PAGE, total);
    const turn = (to) => () => {
      const { path, query } = parse(location.hash);
      this.go(path, { ...query, offset: to });
    };
    return el("div", { class: "pager" },
      el("span", { role: "status" }, total ? `${count(this.offset + 1)}–${count(last)} of ${count(total)} events` : "No event fits these filters"),
      el("span", { class: "buttons" },
        button("‹", turn(Math.max(this.offset - PAGE, 0)), { disabled: this.offset <= 0, aria: { label: "Previous page" } }),
        button("›", turn(this.offset + PAGE), { disabled: last >= total, aria: { label: "Next page" } })));
  }

  table(query, changed) {
    const run = chosenRun(query, this.data);
    const runs = this.data.runs;
    const head = (title, key, extra = "") => this.heading(title, key, extra, query, changed);
    return el("div", { class: "rows", tabindex: "-1" }, el("table", {},
      el("caption", { class: "visually-hidden" }, "Events; each row leads to its display"),
      el("thead", {}, el("tr", {}, head("Event", "index"), head("Truth", "truth"),
        runs.map((r) => head(r.name, r.name === run ? "probability" : null, r.name === run ? "" : "wide")),
        head("Energy", "energy", "number"), head("Mode", "mode", "wide"), head("Split", null, "wide"))),
      el("tbody", {}, this.found.events.map((row) => this.row(row, query, run)))));
  }

  /** A column that can be sorted by has a button, and says how it is sorted. */
  heading(title, key, extra, query, changed) {
    const meaning = key === "energy" ? energyName(this.data) : null;
    if (!key || !this.data.sortable.includes(key)) return el("th", { scope: "col", class: extra, title: meaning }, title);
    const sorted = (query.sort ?? "index") === key;
    const down = sorted && query.order === "desc";
    const next = { sort: key === "index" ? "" : key, order: sorted && !down ? "desc" : "" };
    return el("th", { scope: "col", class: extra, title: meaning, aria: { sort: sorted ? (down ? "descending" : "ascending") : "none" } },
      el("button", { type: "button", class: "sort", data: { sort: key }, on: { click: () => changed(next) } }, title,
        el("span", { aria: { hidden: "true" } }, sorted ? (down ? " ▾" : " ▴") : "")));
  }

  row(row, query, run) {
    const to = make(["events", String(row.index)], pick(query, [...LIST_KEYS, ...LOOK_KEYS]));
    return el("tr", { data: { index: String(row.index) } },
      el("th", { scope: "row" }, el("a", { href: to, data: { event: String(row.index) } }, row.key ?? `#${row.index}`)),
      el("td", {}, classTitle(row.truth, this.data.classes)),
      this.data.runs.map((r) => el("td", { class: r.name === run ? "" : "wide" }, answerWords(row.answers?.[r.name], r))),
      el("td", { class: "number" }, energy(row.energy)), el("td", { class: "wide" }, modeTitle(row.mode)),
      el("td", { class: "wide" }, row.split ?? "–"));
  }

  /** Mark the displayed event, and bring it into sight. */
  mark() {
    for (const row of this.node.querySelectorAll("tr[data-index]")) {
      const here = row.dataset.index === String(this.chosen);
      row.classList.toggle("chosen", here);
      row.querySelector("a").toggleAttribute("aria-current", here);
      if (here) {
        row.querySelector("a").setAttribute("aria-current", "true");
        const box = row.closest(".rows");
        const off = row.getBoundingClientRect().top - box.getBoundingClientRect().top;
        if (off < 30 || off > box.clientHeight - 30) box.scrollTop += off - box.clientHeight / 2;
      }
    }
  }

  /** Up and down walk from row to row. */
  walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const link = event.target.closest?.("a[data-event]");
    if (!step || !link) return;
    event.preventDefault();
    const links = [...this.node.querySelectorAll("a[data-event]")];
    links[links.indexOf(link) + step]?.focus();
  }
}

/** An answer in a cell: sign for right or wrong, class, probability of it; or the energy. */
function answerWords(answer, run) {
  if (!answer) return "–";
  if (isNumber(answer.energy)) return energy(answer.energy);
  const names = (run.classes ?? []).map((c) => c.name ?? c);
  const p = answer.p?.[names.indexOf(answer.label)] ?? Math.max(...(answer.p ?? [NaN]));
  const mark = answer.correct === true ? el("span", { class: "right", title: "correct" }, "✓")
    : answer.correct === false ? el("span", { class: "wrong", title: "wrong" }, "✗") : "";
  const spoken = answer.correct === null || answer.correct === undefined ? "" : answer.correct ? " correct" : " wrong";
  return [mark, el("span", { class: "visually-hidden" }, spoken), ` ${classTitle(answer.label, run.classes)} `,
    el("span", { class: "p" }, share(p, 2))];
}
