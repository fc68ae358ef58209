/** A canvas that keeps the size of its place and is drawn again when something changes, once per frame. */

import { el } from "./dom.js";

const surfaces = new Set();

export class Surface {
  /** `draw(context, width, height)` in CSS pixels; `height(width)` says how tall the canvas is. */
  constructor(draw, { label, height }) {
    this.canvas = el("canvas", { tabindex: "0", role: "application", aria: { label, roledescription: "event view" } });
    this.draw = draw;
    this.height = height;
    this.waiting = false;
    this.observer = new ResizeObserver(() => this.again());
    this.observer.observe(this.canvas);
    surfaces.add(this);
  }

  /** Ask for a drawing in the next frame. */
  again() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.now();
    });
  }

  now() {
    if (!this.canvas.isConnected) return;
    const width = this.canvas.clientWidth;
    const height = Math.round(this.height(width));
    const ratio = window.devicePixelRatio || 1;
    const size = [Math.round(width * ratio), Math.round(height * ratio)];
    if (!width) return;
    this.canvas.style.height = `${height}px`;
    if (this.canvas.width !== size[0] || this.canvas.height !== size[1]) [this.canvas.width, this.canvas.height] = size;
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    this.draw(context, width, height);
    this.canvas.dataset.drawn = String(Number(this.canvas.dataset.drawn ?? 0) + 1);
  }
}

/** Draw everything again, for a changed colour scheme; forgets canvases that have left the page. */
export function redrawAll() {
  for (const surface of surfaces) {
    if (surface.canvas.isConnected) surface.again();
    else forget(surface);
  }
}

/** Stop watching canvases that have left the page. */
export function sweep() {
  for (const surface of surfaces) if (!surface.canvas.isConnected) forget(surface);
}

function forget(surface) {
  surface.observer.disconnect();
  surfaces.delete(surface);
}
