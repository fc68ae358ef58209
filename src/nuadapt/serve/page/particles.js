/** Truth as tables: the particles that leave the nucleus, and the columns of the file. */

import { particleColour } from "./colour.js";
import { el, svg } from "./dom.js";
import { energy, isNumber, number, particleName, words } from "./format.js";
import { kinetic } from "./rays.js";

/** Table of final-state particles, most energetic first. */
export function particleTable(particles) {
  if (!particles?.length) return el("p", { class: "empty" }, "No particles are stored for this event.");
  const rows = [...particles].sort((a, b) => kinetic(b) - kinetic(a)).map((p) => el("tr", {},
    el("th", { scope: "row" }, swatch(p.pdg), particleName(p.name)),
    el("td", {}, String(p.pdg)), el("td", {}, energy(p.kinetic_GeV)), el("td", {}, energy(p.energy_GeV)),
    el("td", {}, angle(p.momentum_GeV))));
  return scrolling("Final-state particles", el("table", { class: "numbers" },
    el("caption", { class: "visually-hidden" }, "Particles leaving the nucleus"),
    el("thead", {}, el("tr", {}, ["particle", "PDG", "kinetic", "total", "to beam"].map((name) =>
      el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows)));
}

/** Every truth column with unit and meaning. */
export function columnTable(columns) {
  const rows = Object.entries(columns ?? {}).map(([name, { value, unit, meaning }]) => el("tr", {},
    el("th", { scope: "row", title: meaning ?? "" }, words(name)),
    el("td", {}, isNumber(value) ? `${number(value, 4)}${isUnit(unit) ? ` ${unit}` : ""}` : String(value ?? "–")),
    el("td", { class: "meaning" }, meaning ?? "")));
  if (!rows.length) return el("p", { class: "empty" }, "No truth is stored for this event.");
  return scrolling("Truth columns", el("table", { class: "numbers columns" },
    el("thead", {}, el("tr", {}, ["column", "value", "meaning"].map((n) => el("th", { scope: "col" }, n)))),
    el("tbody", {}, rows)));
}

/** A part that scrolls by itself, reachable by keyboard. */
export function scrolling(label, ...children) {
  return el("div", { class: "scrolling", tabindex: "0", role: "region", aria: { label } }, children);
}

function isUnit(unit) {
  return Boolean(unit) && !/^[A-Z][a-z]+[A-Z]|scheme|Scheme|^Current$|^PDG$/.test(unit); // not the name of a code
}

function swatch(pdg) {
  return svg("svg", { viewBox: "0 0 14 10", width: 14, height: 10, class: "swatch", aria: { hidden: "true" } },
    svg("rect", { x: 0, y: 3, width: 14, height: 4, rx: 2, fill: particleColour(pdg) }));
}

/** Angle between a momentum and the z axis. */
function angle(momentum) {
  if (!momentum?.every(isNumber)) return "–";
  const size = Math.hypot(...momentum);
  return size > 0 ? `${Math.round((Math.acos(momentum[2] / size) * 180) / Math.PI)}°` : "–";
}
