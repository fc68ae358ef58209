/** Axes on a canvas: a frame, ticks with numbers, names with units. */

import { themeColour } from "./dom.js";
import { tickLabel, ticks } from "./scale.js";

export const MARGIN = { left: 46, right: 8, top: 8, bottom: 36 };
export const FONT = "11px system-ui, sans-serif";

/** The inner box of a canvas. */
export function box(width, height) {
  return { x: MARGIN.left, y: MARGIN.top, w: width - MARGIN.left - MARGIN.right,
    h: height - MARGIN.top - MARGIN.bottom };
}

/** Fill the inner box. */
export function background(context, inner) {
  context.fillStyle = themeColour("--plot");
  context.fillRect(inner.x, inner.y, inner.w, inner.h);
}

/** Draw only inside the box while `draw` runs. */
export function inside(context, inner, draw) {
  context.save();
  context.beginPath();
  context.rect(inner.x, inner.y, inner.w, inner.h);
  context.clip();
  draw();
  context.restore();
}

/** Frame, ticks and names. `across` and `up` are `{low, high, name}` in the unit of their axis. */
export function axes(context, inner, across, up) {
  context.strokeStyle = themeColour("--axis");
  context.fillStyle = themeColour("--muted");
  context.font = FONT;
  context.lineWidth = 1;
  context.strokeRect(inner.x + 0.5, inner.y + 0.5, inner.w - 1, inner.h - 1);
  context.beginPath();
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const value of ticks(across.low, across.high, inner.w / 75)) {
    const x = inner.x + ((value - across.low) / (across.high - across.low)) * inner.w;
    line(context, x, inner.y + inner.h, x, inner.y + inner.h - 5);
    context.fillText(tickLabel(value), x, inner.y + inner.h + 4);
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of ticks(up.low, up.high, inner.h / 60)) {
    const y = inner.y + inner.h - ((value - up.low) / (up.high - up.low)) * inner.h;
    line(context, inner.x, y, inner.x + 5, y);
    context.fillText(tickLabel(value), inner.x - 4, y);
  }
  context.stroke();
  names(context, inner, across.name, up.name);
}

function names(context, inner, across, up) {
  context.fillStyle = themeColour("--ink");
  context.textAlign = "right";
  context.textBaseline = "bottom";
  context.fillText(across, inner.x + inner.w, inner.y + inner.h + MARGIN.bottom - 2);
  context.save();
  context.translate(2, inner.y);
  context.rotate(-Math.PI / 2);
  context.textAlign = "right";
  context.textBaseline = "top";
  context.fillText(up, 0, 0);
  context.restore();
}

function line(context, x0, y0, x1, y1) {
  context.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
  context.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
}

/** Text that stays readable on whatever is below. */
export function haloText(context, text, x, y, colour) {
  context.lineJoin = "round";
  context.lineWidth = 3.5;
  context.strokeStyle = themeColour("--plot");
  context.strokeText(text, x, y);
  context.fillStyle = colour ?? themeColour("--ink");
  context.fillText(text, x, y);
}
