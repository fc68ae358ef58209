/** The dialogues: keys, and the token of the service. */

import { useToken } from "./api.js";
import { button } from "./controls.js";
import { el, replace } from "./dom.js";

const KEYS = [
  ["j or n, k or p", "next, previous event"], ["u", "back to the list"], ["/", "find an event"],
  ["↑ ↓ in the list", "from row to row; Enter opens"], ["l", "linear or logarithmic colours"],
  ["t", "truth over the picture"], ["e", "evidence over the picture"], ["?", "this help"],
  ["in a picture: + −", "zoom (also wheel, pinch, double click)"],
  ["in a picture: arrows", "move, or turn in space (also drag)"], ["in a picture: 0", "show the whole signal again"],
];

/** Fill and open the help. */
export function openHelp() {
  const dialog = document.getElementById("help");
  replace(dialog, el("h2", { id: "help-title" }, "Keys"),
    el("dl", { class: "keys" }, KEYS.map(([key, what]) => [el("dt", {}, key), el("dd", {}, what)])),
    el("p", {}, "The address holds the event, the filters and the view: copy it to show somebody the same."),
    button("Close", () => dialog.close(), { class: "primary" }));
  dialog.showModal();
}

/** Ask for the token until one is given; resolves then. */
export function askToken(wrong) {
  const dialog = document.getElementById("token-dialog");
  return new Promise((resolve) => {
    const input = el("input", { type: "password", name: "token", autocomplete: "off", required: true });
    const done = (event) => {
      event.preventDefault();
      if (!input.value.trim()) return;
      useToken(input.value.trim());
      dialog.close();
      resolve();
    };
    replace(dialog, el("h2", { id: "token-title" }, "This service asks for its token"),
      wrong && el("p", { class: "problem", role: "alert" }, "The service does not take that token."),
      el("p", {}, "nuadapt serve printed it when it was started. It is kept until this tab is closed."),
      el("form", { on: { submit: done } }, el("label", { class: "field" }, el("span", {}, "Token"), input),
        el("button", { type: "submit", class: "primary" }, "Go on")));
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.showModal();
  });
}
