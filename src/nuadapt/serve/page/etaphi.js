/** Tokens of a cloud in pseudorapidity and azimuth. */

import { themeColour } from "./dom.js";
import { axes, background, box, inside } from "./frame.js";
import { listen } from "./gestures.js";
import { draw as drawMarker } from "./markers.js";
import { Surface } from "./surface.js";

export class EtaPhiView {
  /** `points`: `{eta, phi, look, radius, words}`, angles in radians about the axis that `frame` names. */
  constructor(points, { frame, told }) {
    Object.assign(this, { points, frame, told });
    this.surface = new Surface((c, w, h) => this.draw(c, w, h), {
      label: `${points.length} tokens in pseudorapidity and azimuth. Arrow keys move, plus and minus zoom, 0 resets.`,
      height: (w) => Math.min(0.85 * w, 460),
    });
    this.home();
    listen(this.surface.canvas, {
      move: (dx, dy) => this.move(dx, dy),
      zoom: (factor, x, y) => this.magnify(factor, x, y),
      reset: () => { this.home(); this.surface.again(); },
      hover: (x, y) => this.told(x === null ? "" : this.nearest(x, y)),
    });
  }

  home() {
    const etas = this.points.map((p) => p.eta);
    const [low, high] = etas.length ? [Math.min(...etas), Math.max(...etas)] : [-1, 1];
    const pad = 0.12 * (high - low) + 0.2;
    this.eta = [low - pad, high + pad];
    this.phi = [-3.6, 3.6];
  }

  inner() {
    const { clientWidth, clientHeight } = this.surface.canvas;
    return box(clientWidth, clientHeight);
  }

  move(dx, dy) {
    const { w, h } = this.inner();
    const [a, b] = [(dx / w) * (this.eta[1] - this.eta[0]), (dy / h) * (this.phi[1] - this.phi[0])];
    this.eta = this.eta.map((v) => v - a);
    this.phi = this.phi.map((v) => v + b);
    this.surface.again();
  }

  magnify(factor, x, y) {
    const { x: x0, y: y0, w, h } = this.inner();
    const [u, v] = x === null ? [0.5, 0.5] : [(x - x0) / w, 1 - (y - y0) / h];
    const about = ([low, high], t) => {
      const at = low + t * (high - low);
      return [at - (at - low) / factor, at + (high - at) / factor];
    };
    this.eta = about(this.eta, u);
    this.phi = about(this.phi, v);
    this.surface.again();
  }

  at(point, inner) {
    return [inner.x + ((point.eta - this.eta[0]) / (this.eta[1] - this.eta[0])) * inner.w,
      inner.y + inner.h - ((point.phi - this.phi[0]) / (this.phi[1] - this.phi[0])) * inner.h];
  }

  draw(context, width, height) {
    const inner = box(width, height);
    background(context, inner);
    inside(context, inner, () => {
      for (const p of [...this.points].sort((a, b) => b.radius - a.radius)) {
        drawMarker(context, p.look, ...this.at(p, inner), p.radius, themeColour("--plot"));
      }
    });
    axes(context, inner, { low: this.eta[0], high: this.eta[1], name: `pseudorapidity η (about the ${this.frame} axis)` },
      { low: this.phi[0], high: this.phi[1], name: "azimuth φ [rad]" });
  }

  nearest(x, y) {
    const inner = this.inner();
    const near = this.points.map((p) => {
      const [px, py] = this.at(p, inner);
      return [Math.hypot(px - x, py - y) - p.radius, p];
    });
    const [distance, point] = near.sort((a, b) => a[0] - b[0])[0] ?? [Infinity];
    return distance < 8 ? point.words : "";
  }
}
