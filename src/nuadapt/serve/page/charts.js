/** Small charts as SVG: a frame, labelled axes, and points, lines or bars with their intervals. */

import { kind } from "./colour.js";
import { el, svg } from "./dom.js";
import { isNumber, share } from "./format.js";
import { path as sign } from "./markers.js";
import { tickLabel, ticks } from "./scale.js";

const SIZE = { width: 400, height: 300, left: 52, right: 12, top: 10, bottom: 42 };
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "12 4"];

/**
 * A chart. `x` and `y`: `{low, high, label}`, `x` also `ticks` as `[[place, words]]`; `series`: `{name, points: [[x, y, low, high]], as: "line"|"points"|"bars",
 * look}`, `low` and `high` being the interval; `diagonal` draws the line x = y. `spoken` tells those who listen, `note`
 * all.
 */
export function chart({ title, x, y, series, diagonal = false, spoken = "", note = "" }) {
  const inner = { w: SIZE.width - SIZE.left - SIZE.right, h: SIZE.height - SIZE.top - SIZE.bottom };
  const at = {
    x: (v) => SIZE.left + ((v - x.low) / (x.high - x.low)) * inner.w,
    y: (v) => SIZE.top + inner.h - ((v - y.low) / (y.high - y.low)) * inner.h,
  };
  const picture = svg("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", class: "chart",
    aria: { label: `${title}: ${y.label} against ${x.label}. ${spoken}` } },
  grid(at, x, y), diagonal && svg("line", { x1: at.x(x.low), y1: at.y(x.low), x2: at.x(x.high), y2: at.y(x.high), class: "diagonal" }),
  series.map((s, i) => drawn(s, s.look ?? kind(i), i, at, y)), names(x, y));
  const many = series.filter((s) => s.name).length > 1 || series.some((s) => s.always);
  return el("figure", { class: "chart-box" }, el("figcaption", {}, title), picture, many && chartLegend(series),
    note && el("p", { class: "fine" }, note));
}

function grid(at, x, y) {
  const [left, bottom] = [SIZE.left, SIZE.height - SIZE.bottom];
  return [
    (x.ticks ?? ticks(x.low, x.high, 5).map((v) => [v, tickLabel(v)])).map(([v, text]) => [
      svg("line", { x1: at.x(v), x2: at.x(v), y1: SIZE.top, y2: bottom, class: "grid" }),
      svg("text", { x: at.x(v), y: bottom + 15, "text-anchor": "middle", class: "tick-label" }, text)]),
    ticks(y.low, y.high, 5).map((v) => [
      svg("line", { x1: left, x2: SIZE.width - SIZE.right, y1: at.y(v), y2: at.y(v), class: "grid" }),
      svg("text", { x: left - 6, y: at.y(v) + 4, "text-anchor": "end", class: "tick-label" }, tickLabel(v))]),
    svg("rect", { x: left, y: SIZE.top, width: SIZE.width - SIZE.right - left, height: bottom - SIZE.top, class: "frame" })];
}

function names(x, y) {
  const middle = SIZE.top + (SIZE.height - SIZE.top - SIZE.bottom) / 2;
  return [svg("text", { x: SIZE.width - SIZE.right, y: SIZE.height - 6, "text-anchor": "end", class: "axis-name" }, x.label),
    svg("text", { x: 13, y: middle, "text-anchor": "middle", class: "axis-name", transform: `rotate(-90 13 ${middle})` }, y.label)];
}

function drawn(series, look, index, at, y) {
  const points = series.points.filter((p) => isNumber(p[0]) && isNumber(p[1]));
  if (series.as === "bars") return points.map((p) => barOf(p, at, y));
  if (series.as === "line") {
    const d = points.map((p, i) => `${i ? "L" : "M"}${at.x(p[0]).toFixed(1)} ${at.y(p[1]).toFixed(1)}`).join("");
    return svg("path", { d, class: "line", stroke: look.colour, "stroke-dasharray": DASHES[index % DASHES.length] });
  }
  return points.map((p) => [
    isNumber(p[2]) && isNumber(p[3]) && svg("line", { x1: at.x(p[0]), x2: at.x(p[0]), y1: at.y(p[2]), y2: at.y(p[3]), class: "whisker", stroke: look.colour }),
    isNumber(p[4]) && svg("line", { x1: at.x(p[4]), x2: at.x(p[5]), y1: at.y(p[1]), y2: at.y(p[1]), class: "whisker", stroke: look.colour }),
    svg("path", { d: sign(look.shape, 4), transform: `translate(${at.x(p[0])} ${at.y(p[1])})`, fill: look.colour },
      svg("title", {}, `${series.name ? `${series.name}: ` : ""}${share(p[1])} at ${tickLabel(p[0])}`))]);
}

/** A bar from the lower end of the axis: x, height, low and high edge. */
function barOf([, value, low, high], at, y) {
  const [top, bottom] = [at.y(value), at.y(y.low)];
  return svg("rect", { x: at.x(low), y: top, width: Math.max(at.x(high) - at.x(low) - 1, 1), height: Math.max(bottom - top, 0), class: "count-bar" });
}

function chartLegend(series) {
  return el("ul", { class: "legend" }, series.map((s, i) => {
    if (!s.name) return null;
    const look = s.look ?? kind(i);
    const mark = s.as === "line"
      ? svg("line", { x1: 0, x2: 24, y1: 6, y2: 6, class: "line", stroke: look.colour, "stroke-dasharray": DASHES[i % DASHES.length] })
      : svg("path", { d: sign(look.shape, 4), transform: "translate(12 6)", fill: look.colour });
    return el("li", {}, svg("svg", { viewBox: "0 0 24 12", width: 24, height: 12, aria: { hidden: "true" } }, mark), s.name);
  }));
}

/** Ends of an axis that holds all values with some room; `within` limits them. */
export function limits(values, within = [-Infinity, Infinity]) {
  const known = values.filter(isNumber);
  if (!known.length) return [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const room = 0.08 * (high - low) || 0.1 * Math.abs(high) || 1;
  return [Math.max(low - room, within[0]), Math.min(high + room, within[1])];
}
