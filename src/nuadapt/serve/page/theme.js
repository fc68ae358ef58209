/** Light or dark: as the system says, or as chosen here. */

import { redrawAll } from "./surface.js";

const KEY = "nuadapt-theme";
const STATES = ["system", "light", "dark"];
const SIGNS = { system: "◐", light: "☀", dark: "☾" };

/** Start the switch; `changed` is called when the colours have changed. */
export function startTheme(node, changed) {
  let state = STATES.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : "system";
  const apply = () => {
    if (state === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = state;
    node.textContent = SIGNS[state];
    node.setAttribute("aria-label", `Colour scheme: ${state === "system" ? "as the system" : state}`);
    node.title = node.getAttribute("aria-label");
  };
  const redraw = () => { redrawAll(); changed(); };
  node.addEventListener("click", () => {
    state = STATES[(STATES.indexOf(state) + 1) % STATES.length];
    localStorage.setItem(KEY, state);
    apply();
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  apply();
}
