/** The display of a particle cloud: tokens in space and in eta-phi, the energies, and a table. */

import { note } from "./address.js";
import { kind } from "./colour.js";
import { el, replace } from "./dom.js";
import { EtaPhiView } from "./etaphi.js";
import { energy, isNumber, share, words } from "./format.js";
import { legend, radius } from "./markers.js";
import { scrolling } from "./particles.js";
import { choice } from "./controls.js";
import { SpaceView } from "./space.js";

/** The whole display of a cloud (the answer of `.../cloud`), with the view state of `query`; `trueName`: which energy is meant. */
export function cloudDisplay(cloud, event, query, trueName) {
  const points = cloud.tokens.map((t) => point(t, cloud));
  const readout = el("p", { class: "readout", aria: { live: "off" } });
  const told = (text) => { readout.textContent = text; };
  const place = el("div", { class: "view-canvas" });
  const show = (space, q) => replace(place, spaceView(points, space, q, told).surface.canvas);
  const start = query.space ?? (points.some((p) => p.position) ? "position" : "momentum");
  const etaphi = new EtaPhiView(points, { frame: cloud.frame, told });
  show(start, query);
  const node = el("div", { class: "display cloud" },
    el("div", { class: "toolbar" },
      choice("3D view of", "space", [["position", "positions"], ["momentum", "momenta"]], start, (space) => {
        note({ space, turn: null, zoom: null });
        show(space, {});
      }), readout),
    el("div", { class: "views" },
      el("figure", { class: "view", data: { view: "space" } }, el("figcaption", {}, "in space"), place),
      el("figure", { class: "view", data: { view: "eta-phi" } }, el("figcaption", {}, "eta and phi"),
        etaphi.surface.canvas)),
    legend(cloud.types, new Set(cloud.tokens.map((t) => t.type))),
    el("p", { class: "fine" }, "The area of a sign grows with the energy of its token."),
    energies(cloud, event, trueName), tokenTable(cloud));
  return { node, keys: {} };
}

function point(token, cloud) {
  const index = Math.max(cloud.types.indexOf(token.type), 0);
  const most = Math.max(...cloud.tokens.map((t) => t.energy_GeV ?? 0));
  const places = [token.x_cm, token.y_cm, token.z_cm];
  const [x, y, z] = places;
  const pt = token.pt_GeV ?? 0;
  return { eta: token.eta, phi: token.phi, look: kind(index), radius: radius(token.energy_GeV ?? 0, most),
    position: places.every(isNumber) ? { x, y, z } : null,
    momentum: { x: pt * Math.cos(token.phi), y: pt * Math.sin(token.phi), z: pt * Math.sinh(token.eta) },
    words: `${words(token.type)}: ${energy(token.energy_GeV)}` };
}

function spaceView(points, space, query, told) {
  const shown = points.filter((p) => p[space]).map((p) => ({ ...p, place: p[space] }));
  const momentum = space === "momentum";
  const view = new SpaceView(shown, { unit: momentum ? "GeV" : "cm", origin: momentum, noted: note, told });
  view.read(query.turn, query.zoom);
  return view;
}

/** Reconstructed and true energy of the event. */
function energies(cloud, event, trueName) {
  const sum = (tokens) => tokens.reduce((total, t) => total + (t.energy_GeV ?? 0), 0);
  const hadrons = cloud.tokens.filter((t) => t.type !== "muon");
  const estimates = Object.entries(event.answers ?? {}).filter(([, a]) => isNumber(a.energy));
  const item = (name, value) => [el("dt", {}, name), el("dd", {}, value)];
  return el("dl", { class: "facts energies" },
    item("reconstructed", energy(sum(cloud.tokens))),
    hadrons.length < cloud.tokens.length && item("without the muon", energy(sum(hadrons))),
    item(`true ${trueName}`, energy(cloud.true_energy_GeV)),
    estimates.map(([run, a]) => item(`estimate of ${run}`, isNumber(a.true_energy_GeV) && a.true_energy_GeV > 0
      ? `${energy(a.energy)} (${share(a.energy / a.true_energy_GeV, 2)} of ${energy(a.true_energy_GeV)})` : energy(a.energy))));
}

function tokenTable(cloud) {
  const columns = [["energy", (t) => energy(t.energy_GeV)], ["pT", (t) => energy(t.pt_GeV)],
    ["η", (t) => share(t.eta, 2)], ["φ [rad]", (t) => share(t.phi, 2)], ["x [cm]", (t) => share(t.x_cm, 1)],
    ["y [cm]", (t) => share(t.y_cm, 1)], ["z [cm]", (t) => share(t.z_cm, 1)],
    ["dE/dx [MeV/cm]", (t) => share(isNumber(t.dedx_GeV_per_cm) ? 1000 * t.dedx_GeV_per_cm : null, 2)], ["time [ns]", (t) => share(t.time_ns, 0)]];
  const rows = [...cloud.tokens].sort((a, b) => (b.energy_GeV ?? 0) - (a.energy_GeV ?? 0)).map((t) =>
    el("tr", {}, el("th", { scope: "row" }, words(t.type)), columns.map(([, read]) => el("td", {}, read(t)))));
  return el("details", { class: "table-below" }, el("summary", {}, `All ${cloud.tokens.length} tokens`),
    scrolling("Tokens", el("table", { class: "numbers" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "token"),
        columns.map(([name]) => el("th", { scope: "col" }, name)))), el("tbody", {}, rows))));
}
