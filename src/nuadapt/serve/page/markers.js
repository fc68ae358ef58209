/** Signs for kinds of tokens: a shape and a colour each, the same on canvases and in legends. */

import { kind } from "./colour.js";
import { el, svg } from "./dom.js";
import { words } from "./format.js";

/** SVG path of a shape about (0, 0) with radius `r`. */
export function path(shape, r) {
  const circle = `M${-r} 0A${r} ${r} 0 1 0 ${r} 0A${r} ${r} 0 1 0 ${-r} 0Z`;
  const d = 0.86 * r;
  const t = 0.36 * r;
  return {
    circle,
    square: `M${-d} ${-d}H${d}V${d}H${-d}Z`,
    triangle: `M0 ${-r}L${r} ${d}H${-r}Z`,
    down: `M0 ${r}L${r} ${-d}H${-r}Z`,
    diamond: `M0 ${-1.2 * r}L${r} 0L0 ${1.2 * r}L${-r} 0Z`,
    cross: `M${-t} ${-r}H${t}V${-t}H${r}V${t}H${t}V${r}H${-t}V${t}H${-r}V${-t}H${-t}Z`,
    star: `M0 ${-1.2 * r}L${t} ${-t}L${1.2 * r} 0L${t} ${t}L0 ${1.2 * r}L${-t} ${t}L${-1.2 * r} 0L${-t} ${-t}Z`,
    ring: `${circle}M${-r / 2} 0A${r / 2} ${r / 2} 0 1 1 ${r / 2} 0A${r / 2} ${r / 2} 0 1 1 ${-r / 2} 0Z`,
  }[shape];
}

/** Draw one sign. */
export function draw(context, { shape, colour }, x, y, r, outline) {
  const p = new Path2D(path(shape, r));
  context.save();
  context.translate(x, y);
  context.globalAlpha = 0.85;
  context.fillStyle = colour;
  context.fill(p);
  context.globalAlpha = 1;
  context.lineWidth = 1;
  context.strokeStyle = outline;
  context.stroke(p);
  context.restore();
}

/** The kinds in use with their names. */
export function legend(types, used) {
  return el("ul", { class: "legend", aria: { label: "Token types" } }, types.map((name, i) => used.has(name) &&
    el("li", {}, svg("svg", { viewBox: "-8 -8 16 16", width: 14, height: 14, aria: { hidden: "true" } },
      svg("path", { d: path(kind(i).shape, 5.5), fill: kind(i).colour, class: "legend-sign" })), words(name))));
}

/** Radius (CSS pixels) of a token of energy `value` where the largest is `most`: the area goes with the energy. */
export function radius(value, most) {
  return 3.5 + 12 * Math.sqrt(Math.max(value, 0) / (most || 1));
}
