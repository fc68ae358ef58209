/** What went wrong, in plain words. */

import { el } from "./dom.js";

/** A box with what happened, where, what was expected and what to do next. */
export function problemBox(error) {
  const parts = [error.where && `Where: ${error.where}`, error.expected && `Expected: ${error.expected}`, error.next]
    .filter(Boolean);
  return el("div", { class: "problem", role: "alert" }, el("p", {}, el("strong", {}, error.message)),
    parts.map((text) => el("p", {}, text)));
}
