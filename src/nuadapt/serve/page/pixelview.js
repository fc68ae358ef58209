/** One view of a pixel map on a canvas. */

import { EVIDENCE, isDark, levels } from "./colour.js";
import { el, themeColour } from "./dom.js";
import { axisUnit, number } from "./format.js";
import { axes, background, box, inside, MARGIN } from "./frame.js";
import { listen } from "./gestures.js";
import { drawRays } from "./rays.js";
import { Surface } from "./surface.js";

/** Pixel values are shown in this unit: stored unit -> [name, factor]. */
export const SHOWN = { GeV: ["MeV", 1000, "energy per pixel"], ke: ["ke", 1, "charge per pixel"],
  grey: ["", 1, "grey level"] };

export class PixelView {
  /**
   * `spec`: name, rows, cols, shape, pitch [row, col], origin [row, col] or null, axis_unit. `pixels`: row, col, value
   * (ascending, in the shown unit). `state` is shared by the views: scale, evidence, particles (or null).
   */
  constructor(index, spec, pixels, window, state) {
    Object.assign(this, { index, spec, pixels, window, state });
    this.aspect = spec.axis_unit === "cm" ? spec.pitch[0] / spec.pitch[1] : 1; // of a pixel on the screen
    this.surface = new Surface((c, w, h) => this.draw(c, w, h), { label: this.label(), height: heightFor });
    this.readout = el("p", { class: "readout" });
    this.node = el("figure", { class: "view", data: { view: spec.name } },
      el("figcaption", {}, el("span", { class: "view-name" }, `${spec.rows} against ${spec.cols}`), this.readout),
      this.surface.canvas);
    listen(this.surface.canvas, {
      move: (dx, dy) => this.window.move(this.index, -dx / this.scale(), dy / this.scale() / this.aspect),
      zoom: (factor, x, y) => this.window.zoom(this.index, factor, ...this.pixelAt(x, y)),
      reset: () => this.window.reset(),
      hover: (x, y) => this.hover(x, y),
    });
    window.watch(() => this.surface.again());
  }

  label() {
    const n = this.pixels.value.length;
    return `View ${this.spec.name} with ${n} pixels. Arrow keys move, plus and minus zoom, 0 shows the whole signal.`;
  }

  /** The inner box of the canvas, and CSS pixels per column. */
  inner() {
    const width = this.surface.canvas.clientWidth;
    return box(width, heightFor(width));
  }

  scale() {
    return this.inner().w / this.window.span;
  }

  /** Column and row of the map at a place of the canvas; the middle for null. */
  pixelAt(x, y) {
    const [col, row] = this.window.centres[this.index];
    if (x === null) return [col, row];
    const inner = this.inner();
    return [col + (x - inner.x - inner.w / 2) / this.scale(),
      row - (y - inner.y - inner.h / 2) / this.scale() / this.aspect];
  }

  /** Place on the canvas of a column and row. */
  placeOf(col, row) {
    const inner = this.inner();
    const [c, r] = this.window.centres[this.index];
    return [inner.x + inner.w / 2 + (col - c) * this.scale(),
      inner.y + inner.h / 2 - (row - r) * this.scale() * this.aspect];
  }

  draw(context, width, height) {
    const inner = box(width, height);
    background(context, inner);
    inside(context, inner, () => {
      this.drawEdge(context);
      this.drawPixels(context, inner);
      if (this.state.evidence) this.drawEvidence(context);
      if (this.state.particles) drawRays(context, inner, this, this.state.particles);
    });
    const [low, high] = [this.pixelAt(inner.x, inner.y + inner.h), this.pixelAt(inner.x + inner.w, inner.y)];
    axes(context, inner, this.axis(1, low[0], high[0]), this.axis(0, low[1], high[1]));
  }

  axis(which, low, high) {
    const { origin, pitch, rows, cols, axis_unit: unit } = this.spec;
    const at = (pixel) => (origin ? origin[which] : 0) + pixel * pitch[which];
    const name = which ? cols : rows;
    const from = origin || unit !== "cm" ? "" : " from the edge of the map";
    const bracket = axisUnit(unit) && axisUnit(unit) !== name ? ` [${axisUnit(unit)}]` : "";
    return { low: at(low), high: at(high), name: `${name}${bracket}${from}` };
  }

  /** The border of the map, so that emptiness inside and nothing outside differ. */
  drawEdge(context) {
    const [x0, y0] = this.placeOf(0, 0);
    const [x1, y1] = this.placeOf(this.spec.shape[1], this.spec.shape[0]);
    context.strokeStyle = themeColour("--line");
    context.lineWidth = 1;
    context.strokeRect(x0, y1, x1 - x0, y0 - y1);
  }

  /** Brightest last: where pixels are smaller than the screen's, the largest value is seen. */
  drawPixels(context, inner) {
    const { row, col, value } = this.pixels;
    const colours = levels(isDark(), Boolean(this.state.evidence));
    const [w, h] = [Math.max(this.scale(), 1.2), Math.max(this.scale() * this.aspect, 1.2)];
    const { place } = this.state.scale;
    let last = -1;
    for (let i = 0; i < value.length; i += 1) {
      const [x, y] = this.placeAt(inner, col[i], row[i] + 1);
      if (x + w < inner.x || y + h < inner.y || x > inner.x + inner.w || y > inner.y + inner.h) continue;
      const bucket = Math.round(place(value[i]) * 255);
      if (bucket !== last) context.fillStyle = colours[bucket];
      last = bucket;
      context.fillRect(x, y, w + 0.3, h + 0.3); // a little over: no seams between neighbours
    }
  }

  placeAt(inner, col, row) {
    const [c, r] = this.window.centres[this.index];
    const s = inner.w / this.window.span;
    return [inner.x + inner.w / 2 + (col - c) * s, inner.y + inner.h / 2 - (row - r) * s * this.aspect];
  }

  /** Orange for and blue against; the weaker, the more of the charge shines through. */
  drawEvidence(context) {
    const { views, limit } = this.state.evidence;
    const grid = views[this.spec.name];
    if (!grid) return;
    const inner = this.inner();
    const size = [grid.factor * this.scale(), grid.factor * this.scale() * this.aspect];
    grid.values.forEach((line, r) => line.forEach((value, c) => {
      if (!value) return;
      const strength = Math.sqrt(Math.min(Math.abs(value) / limit, 1));
      const [x, y] = this.placeAt(inner, c * grid.factor, (r + 1) * grid.factor);
      context.fillStyle = `rgb(${EVIDENCE[value > 0 ? "for" : "against"].join(" ")} / ${(0.85 * strength).toFixed(3)})`;
      context.fillRect(x, y, size[0], size[1]);
    }));
  }

  /** Coordinates and value below the pointer. */
  hover(x, y) {
    const inner = this.inner();
    const within = x !== null && x > inner.x && x < inner.x + inner.w && y > inner.y && y < inner.y + inner.h;
    this.readout.textContent = within ? this.words(...this.pixelAt(x, y)) : "";
  }

  words(col, row) {
    const at = this.at(Math.floor(row), Math.floor(col));
    const [across, up] = [this.axis(1, col, col), this.axis(0, row, row)];
    const unit = this.spec.axis_unit === "cm" ? " cm" : "";
    const value = at ? `${number(at)} ${SHOWN[this.state.unit][0]}` : "empty";
    return `${this.spec.cols} ${across.low.toFixed(1)}${unit}, ${this.spec.rows} ${up.low.toFixed(1)}${unit}: ${value}`;
  }

  at(row, col) {
    this.lookup ??= new Map(this.pixels.value.map((v, i) => [this.pixels.row[i] * 65536 + this.pixels.col[i], v]));
    return this.lookup.get(row * 65536 + col);
  }
}

/** A square plot. */
function heightFor(width) {
  return width - MARGIN.left - MARGIN.right + MARGIN.top + MARGIN.bottom;
}

/** Pixels in the shown unit, in ascending order of value, so that the largest is drawn last. */
export function ordered({ row, col, value }, unit) {
  const factor = SHOWN[unit][1];
  const order = value.map((_, i) => i).sort((a, b) => value[a] - value[b]);
  return { row: order.map((i) => row[i]), col: order.map((i) => col[i]), value: order.map((i) => value[i] * factor) };
}
