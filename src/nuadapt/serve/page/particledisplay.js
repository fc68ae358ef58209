/** The display of events that have no pixels and no tokens: the momenta of their particles. */

import { note } from "./address.js";
import { particleColour } from "./colour.js";
import { el } from "./dom.js";
import { energy, isNumber, particleName } from "./format.js";
import { radius } from "./markers.js";
import { kinetic } from "./rays.js";
import { SpaceView } from "./space.js";

/** Momenta from the vertex, turned as `query` says; null where none is known. */
export function particleDisplay(particles, query) {
  const known = (particles ?? []).filter((p) => p.momentum_GeV?.every(isNumber));
  if (!known.length) return null;
  const most = Math.max(...known.map(kinetic));
  const points = known.map((p) => ({ place: { x: p.momentum_GeV[0], y: p.momentum_GeV[1], z: p.momentum_GeV[2] },
    look: { colour: particleColour(p.pdg), shape: "circle" }, radius: radius(kinetic(p), most) * 0.7,
    label: particleName(p.name), words: `${particleName(p.name)}: ${energy(kinetic(p))}` }));
  const readout = el("p", { class: "readout" });
  const told = (text) => { readout.textContent = text; };
  const view = new SpaceView(points, { unit: "GeV", origin: true, noted: note, told });
  view.read(query.turn, query.zoom);
  return el("div", { class: "display cloud" }, el("figure", { class: "view", data: { view: "space" } },
    el("figcaption", {}, "momenta of the particles", readout), view.surface.canvas),
  el("p", { class: "fine" }, "This file holds particles and no detector, so there is nothing for a model to read."));
}
