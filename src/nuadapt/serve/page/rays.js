/** Truth over a view: the vertex, and the directions of particles from it. */

import { particleColour } from "./colour.js";
import { themeColour } from "./dom.js";
import { energy, isNumber, particleName } from "./format.js";
import { FONT, haloText } from "./frame.js";

const MOST = 8; // rays; the table has all particles
const NEUTRINOS = [12, 14, 16];
const NUCLEI = 1_000_000_000; // codes from here on are nuclei
const NEUTRAL = new Set([22, 111, 130, 310, 311, 2112, 3122, 3212]);

/** Where the vertex lies in a view, `[col, row]` in pixels of the map; null if that is not known. */
export function vertexPixel(spec, vertex) {
  if (!vertex || !spec.origin || spec.axis_unit !== "cm") return null;
  const [row, col] = [spec.rows, spec.cols].map((name) => vertex["xyz".indexOf(name)]);
  if (!isNumber(row) || !isNumber(col)) return null;
  return [(col - spec.origin[1]) / spec.pitch[1], (row - spec.origin[0]) / spec.pitch[0]];
}

/** The particles that get a ray: the most energetic ones of known direction that can be seen at all. */
export function withRays(particles) {
  return particles
    .filter((p) => p.momentum_GeV?.every(isNumber) && !NEUTRINOS.includes(Math.abs(p.pdg)) && Math.abs(p.pdg) < NUCLEI)
    .sort((a, b) => kinetic(b) - kinetic(a))
    .slice(0, MOST);
}

/** Kinetic energy (GeV), or the total one where that is all there is. */
export function kinetic(particle) {
  return particle.kinetic_GeV ?? particle.energy_GeV ?? 0;
}

/** Draw the vertex and the rays. A ray's length on the screen grows with the logarithm of the kinetic energy. */
export function drawRays(context, inner, view, { vertex, list }) {
  const at = vertexPixel(view.spec, vertex);
  if (!at) return;
  const from = view.placeOf(...at);
  const ends = withRays(list).map((p) => ({ particle: p, ...end(view, from, p, inner) }));
  for (const ray of ends) drawRay(context, from, ray);
  drawVertex(context, from);
  context.font = FONT;
  for (const { particle, x, y, left } of apart(ends)) {
    context.textAlign = left ? "right" : "left";
    context.textBaseline = "middle";
    const text = `${particleName(particle.name)} ${energy(kinetic(particle))}`;
    haloText(context, text, ...kept(context, text, x + (left ? -5 : 5), y, left, inner));
  }
}

/** Projected onto the view: rows and columns of the map are coordinates of space. */
function end(view, from, particle, inner) {
  const p = particle.momentum_GeV;
  const size = Math.hypot(...p) || 1;
  const [up, across] = [view.spec.rows, view.spec.cols].map((name) => (p["xyz".indexOf(name)] ?? 0) / size);
  const length = Math.min(55 + 40 * Math.log10(1 + kinetic(particle) / 0.01), 0.46 * inner.w);
  return { x: from[0] + length * across, y: from[1] - length * up, left: across < -0.1 };
}

function drawRay(context, from, { particle, x, y }) {
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(x, y);
  context.setLineDash([]);
  context.lineCap = "butt";
  context.globalAlpha = 0.6; // what lies below stays visible
  context.strokeStyle = themeColour("--plot");
  context.lineWidth = 3.5;
  context.stroke();
  context.globalAlpha = 1;
  context.setLineDash(NEUTRAL.has(Math.abs(particle.pdg)) ? [2, 4] : [8, 3]);
  context.strokeStyle = particleColour(particle.pdg);
  context.lineWidth = 2;
  context.stroke();
  context.setLineDash([]);
}

function drawVertex(context, [x, y]) {
  for (const [colour, width] of [[themeColour("--plot"), 4], [themeColour("--ink"), 1.6]]) {
    context.beginPath();
    context.arc(x, y, 6, 0, 2 * Math.PI);
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  }
}

/** Labels one below the other where they would overlap. */
function apart(ends) {
  const sorted = [...ends].sort((a, b) => a.y - b.y);
  for (let i = 1; i < sorted.length; i += 1) {
    if (sorted[i].y - sorted[i - 1].y < 13 && Math.abs(sorted[i].x - sorted[i - 1].x) < 90) {
      sorted[i] = { ...sorted[i], y: sorted[i - 1].y + 13 };
    }
  }
  return sorted;
}

/** A place for text so that it does not leave the box. */
function kept(context, text, x, y, left, inner) {
  const width = context.measureText(text).width;
  const low = left ? x - width : x;
  const shift = Math.max(inner.x + 3 - low, 0) + Math.min(inner.x + inner.w - 3 - low - width, 0);
  return [x + shift, Math.min(Math.max(y, inner.y + 8), inner.y + inner.h - 8)];
}
