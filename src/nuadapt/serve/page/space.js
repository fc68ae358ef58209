/** Tokens of a cloud in space: an orthographic projection that can be turned. */

import { themeColour } from "./dom.js";
import { FONT, haloText } from "./frame.js";
import { listen } from "./gestures.js";
import { draw as drawMarker } from "./markers.js";
import { tickLabel, ticks } from "./scale.js";
import { Surface } from "./surface.js";

const HOME = { turn: -35, tilt: 20, zoom: 1 };
const RADIAN = Math.PI / 180;
/** The beam goes from left to right, y upwards; x towards the reader: the order of axes in the projection. */
const AXES = ["z", "y", "x"];

export class SpaceView {
  /** `points`: `{place: {x, y, z}, look, radius, words}`; `unit` of the places; `origin`: lines start at (0, 0, 0). */
  constructor(points, { unit, origin, noted, told }) {
    Object.assign(this, { points, unit, origin, noted, told, ...HOME });
    this.surface = new Surface((c, w, h) => this.draw(c, w, h), {
      label: `${points.length} tokens in space. Arrow keys turn, plus and minus zoom, 0 resets.`,
      height: (w) => Math.min(0.85 * w, 460),
    });
    listen(this.surface.canvas, {
      move: (dx, dy) => this.set({ turn: this.turn + dx * 0.4, tilt: clamp(this.tilt + dy * 0.4, -90, 90) }),
      zoom: (factor) => this.set({ zoom: clamp(this.zoom * factor, 0.4, 12) }),
      reset: () => this.set(HOME),
      hover: (x, y) => this.told(x === null ? "" : this.nearest(x, y)),
    });
    this.limits = Object.fromEntries(AXES.map((axis) => [axis, this.range(axis)]));
  }

  /** Change the direction of view and note it in the address. */
  set(changes) {
    Object.assign(this, changes);
    this.noted({ turn: `${Math.round(this.turn)},${Math.round(this.tilt)}`, zoom: this.zoom.toFixed(2) });
    this.surface.again();
  }

  /** From an address; what is missing or no number stays. */
  read(turn, zoom) {
    const [a, b] = (turn ?? "").split(",").map(Number);
    if (Number.isFinite(a) && Number.isFinite(b)) Object.assign(this, { turn: a, tilt: clamp(b, -90, 90) });
    if (Number(zoom) > 0) this.zoom = clamp(Number(zoom), 0.4, 12);
  }

  range(axis) {
    const values = this.points.map((p) => p.place[axis]).concat(this.origin ? [0] : []);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const pad = 0.08 * (high - low) || Math.abs(low) * 0.1 || 1;
    return [low - pad, high + pad];
  }

  /** Half sizes of the box: in proportion to its extents, but no side below a third of the longest. */
  halves() {
    const extents = AXES.map((axis) => this.limits[axis][1] - this.limits[axis][0]);
    const most = Math.max(...extents);
    return extents.map((e) => Math.max(e / most, 0.34));
  }

  /** `[x, y, depth]` on the canvas of a place given as `{x, y, z}`. */
  project(place, width, height) {
    const [a, b, c] = AXES.map((axis, i) => {
      const [low, high] = this.limits[axis];
      return this.halves()[i] * (2 * ((place[axis] - low) / (high - low)) - 1);
    });
    const [ct, st, ci, si] = [this.turn, this.tilt].flatMap((d) => [Math.cos(d * RADIAN), Math.sin(d * RADIAN)]);
    const [across, towards] = [a * ct + c * st, c * ct - a * st];
    const scale = 0.3 * Math.min(width, height * 1.25) * this.zoom;
    return [width / 2 + scale * across, height / 2 - scale * (b * ci - towards * si), towards * ci + b * si];
  }

  draw(context, width, height) {
    context.fillStyle = themeColour("--plot");
    context.fillRect(0, 0, width, height);
    context.font = FONT;
    this.drawBox(context, width, height);
    this.placed = this.points.map((p) => ({ ...p, at: this.project(p.place, width, height) }));
    const floor = this.limits.y[0];
    for (const p of this.placed) {
      const foot = this.origin ? { x: 0, y: 0, z: 0 } : { ...p.place, y: floor };
      stroke(context, this.project(foot, width, height), p.at, this.origin ? p.look.colour : themeColour("--line"));
    }
    for (const p of [...this.placed].sort((a, b) => a.at[2] - b.at[2])) {
      drawMarker(context, p.look, p.at[0], p.at[1], p.radius, themeColour("--plot"));
    }
    if (this.origin) haloText(context, "vertex", ...this.project({ x: 0, y: 0, z: 0 }, width, height).slice(0, 2));
  }

  /** Twelve edges, and along three of them numbers and the name of the axis. */
  drawBox(context, width, height) {
    const corner = (bits) => Object.fromEntries(AXES.map((axis, i) => [axis, this.limits[axis][(bits >> i) & 1]]));
    for (let bits = 0; bits < 8; bits += 1) {
      for (let i = 0; i < 3; i += 1) {
        if ((bits >> i) & 1) continue;
        const ends = [bits, bits | (1 << i)].map((b) => this.project(corner(b), width, height));
        stroke(context, ...ends, themeColour("--line"));
      }
    }
    const near = { x: this.limits.x[1], y: this.limits.y[0], z: this.limits.z[0] };
    this.drawAxis(context, "z", near, [width, height]);
    this.drawAxis(context, "x", { ...near, z: this.limits.z[1] }, [width, height]);
    this.drawAxis(context, "y", near, [width, height]);
  }

  drawAxis(context, axis, corner, size) {
    const [low, high] = this.limits[axis];
    const middle = AXES.reduce((m, a) => ({ ...m, [a]: (this.limits[a][0] + this.limits[a][1]) / 2 }), {});
    const centre = this.project(middle, ...size);
    const write = (text, at, by, colour) => {
      const d = [at[0] - centre[0], at[1] - centre[1]];
      const n = Math.hypot(...d) || 1;
      const wide = context.measureText(text).width;
      const left = at[0] + (by * d[0]) / n - (d[0] < -0.5 * n ? wide : d[0] > 0.5 * n ? 0 : wide / 2);
      context.textAlign = "left";
      const inside = [clamp(left, 3, size[0] - wide - 3), clamp(at[1] + (by * d[1]) / n, 9, size[1] - 9)];
      haloText(context, text, ...inside, colour);
    };
    context.textBaseline = "middle";
    const inner = (v) => Math.abs(2 * ((v - low) / (high - low)) - 1) < 0.86; // corners belong to two axes
    for (const value of ticks(low, high, 4).filter(inner)) {
      write(tickLabel(value), this.project({ ...corner, [axis]: value }, ...size), 8, themeColour("--muted"));
    }
    const name = `${this.origin ? `p${axis}` : axis} [${this.unit}]`;
    write(name, this.project({ ...corner, [axis]: (low + high) / 2 }, ...size), 36);
  }

  nearest(x, y) {
    const near = (this.placed ?? []).map((p) => [Math.hypot(p.at[0] - x, p.at[1] - y) - p.radius, p]);
    const [distance, point] = near.sort((a, b) => a[0] - b[0])[0] ?? [Infinity];
    return distance < 8 ? point.words : "";
  }
}

function stroke(context, from, to, colour) {
  context.beginPath();
  context.moveTo(from[0], from[1]);
  context.lineTo(to[0], to[1]);
  context.strokeStyle = colour;
  context.lineWidth = 1.2;
  context.stroke();
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
