/** The page of events: the list, and beside it the event that the address names. */

import { go, LIST_KEYS, LOOK_KEYS, parse, pick } from "./address.js";
import { button } from "./controls.js";
import { announce, el, replace } from "./dom.js";
import { EventList, listQuery } from "./eventlist.js";
import { eventView, neighbours } from "./eventview.js";
import { count } from "./format.js";
import { problemBox } from "./problem.js";

export class EventsPage {
  constructor(data) {
    this.data = data;
    this.list = new EventList(data, go);
    this.side = el("section", { class: "stage", aria: { label: "Event" } });
    this.node = el("div", { class: "events-page" }, this.list.node, this.side);
    this.keys = {};
    this.shown = null;
  }

  async show(path, query) {
    const index = path[1] === undefined ? null : path[1];
    this.node.classList.toggle("with-event", index !== null);
    this.listed = this.list.show(query, index).catch((error) => replace(this.list.node, problemBox(error)));
    if (index === null) this.clear();
    else await this.showEvent(index, query);
    await this.listed;
    this.list.mark();
  }

  clear() {
    this.shown = null;
    this.keys = {};
    replace(this.side);
    document.title = `Events – ${this.data.name} – nuadapt`;
  }

  async showEvent(index, query) {
    const mine = (this.asked = Symbol("event"));
    this.side.setAttribute("aria-busy", "true");
    try {
      const beside = neighbours(index, listQuery(query, this.data)).catch(() => ({}));
      const view = await eventView(`/api/events/${encodeURIComponent(index)}`, this.data, query);
      const found = await beside;
      if (this.asked !== mine) return;
      this.shown = view;
      this.keys = { ...view.keys, j: () => this.step(found.next), n: () => this.step(found.next),
        k: () => this.step(found.previous), p: () => this.step(found.previous), u: () => this.close() };
      replace(this.side, this.heading(view.event, found), view.node);
      document.title = `Event ${view.event.key} – nuadapt`;
      announce(`Event ${view.event.key}`);
      if (isIndex(found.rank)) this.listed.then(() => this.list.reveal(found.rank)).catch(() => {});
    } catch (error) {
      if (this.asked === mine) replace(this.side, this.back(), problemBox(error));
    } finally {
      if (this.asked === mine) this.side.removeAttribute("aria-busy");
    }
  }

  heading(event, found) {
    const rank = found.rank !== undefined && found.rank !== null ? `${count(found.rank + 1)} of ${count(found.total)}` : "outside these filters";
    return el("header", { class: "event-head" }, this.back(),
      el("h1", { tabindex: "-1" }, "Event ", event.key), el("span", { class: "rank" }, rank),
      el("span", { class: "buttons" },
        button("‹ Previous", () => this.step(found.previous), { id: "previous", disabled: !isIndex(found.previous), title: "Previous event (k)" }),
        button("Next ›", () => this.step(found.next), { id: "next", disabled: !isIndex(found.next), title: "Next event (j)" }),
        button("Copy link", (e) => copyLink(e.target), { class: "quiet" })));
  }

  back() {
    return button("☰ List", () => this.close(), { class: "quiet back", title: "Back to the list (u)" });
  }

  /** To another event with the same filters and the same look; the window belongs to one event. */
  step(index) {
    if (!isIndex(index)) return;
    const { query } = parse(location.hash);
    const focused = document.activeElement?.id;
    go(["events", String(index)], pick(query, [...LIST_KEYS, ...LOOK_KEYS]));
    this.focusNext = focused === "next" || focused === "previous" ? focused : null;
  }

  close() {
    go(["events"], pick(parse(location.hash).query, LIST_KEYS));
  }

  /** After drawing: the button that was pressed keeps the focus; focus that was in what is gone goes to the heading. */
  settled() {
    if (this.focusNext) document.getElementById(this.focusNext)?.focus();
    else if (this.settledOnce && document.activeElement === document.body) this.side.querySelector("h1")?.focus({ preventScroll: true });
    this.focusNext = null;
    this.settledOnce = true;
  }
}

function isIndex(value) {
  return value !== null && value !== undefined;
}

async function copyLink(node) {
  try {
    await navigator.clipboard.writeText(location.href);
    node.textContent = "Copied";
  } catch {
    node.textContent = "The address bar has the link";
  }
  setTimeout(() => { node.textContent = "Copy link"; }, 2000);
}
