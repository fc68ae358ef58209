/** Colour bars: what the colours of pixels and of evidence stand for. */

import { EVIDENCE, isDark, levels } from "./colour.js";
import { el, svg } from "./dom.js";
import { number } from "./format.js";
import { tickLabel } from "./scale.js";

const [WIDTH, HEIGHT, PAD] = [360, 12, 16];

/** The bar of a value scale (see `scale.js`) with its label, such as "energy per pixel [MeV]". */
export function valueBar(scale, label, grey = false) {
  const colours = levels(isDark(), grey);
  const at = (v) => PAD + scale.place(v) * (WIDTH - 2 * PAD);
  const strip = strips((i, n) => colours[Math.round((255 * i) / (n - 1))]);
  const marks = scale.ticks.map((v) => tick(at(v), tickLabel(v)));
  const range = `${scale.kind} from ${number(scale.low)} to ${number(scale.high)}`;
  return bar(label, `${label}: ${range}`, strip, marks, "value-bar");
}

/** The bar of evidence: against at the left, for at the right, up to `limit` in its unit. */
export function evidenceBar(limit, title, unit) {
  const strip = strips((i, n) => {
    const t = (2 * i) / (n - 1) - 1;
    return `rgb(${EVIDENCE[t > 0 ? "for" : "against"].join(" ")} / ${(0.85 * Math.sqrt(Math.abs(t))).toFixed(3)})`;
  });
  const marks = [[-1, `−${number(limit, 2)} against`], [0, "0"], [1, `+${number(limit, 2)} for`]].map(([t, text]) =>
    tick(WIDTH / 2 + t * (WIDTH / 2 - PAD), text, { "-1": "start", 0: "middle", 1: "end" }[t]));
  const label = `evidence for ${title} [${unit}]`;
  return bar(label, `${label}: blue against, orange for`, strip, marks, "evidence-bar");
}

function strips(colour) {
  const n = 64;
  const width = (WIDTH - 2 * PAD) / n;
  return Array.from({ length: n }, (_, i) =>
    svg("rect", { x: PAD + i * width, y: 0, width: width + 0.5, height: HEIGHT, fill: colour(i, n) }));
}

function tick(x, text, anchor = "middle") {
  return [svg("line", { x1: x, x2: x, y1: HEIGHT, y2: HEIGHT + 4, class: "axis-line" }),
    svg("text", { x, y: HEIGHT + 15, "text-anchor": anchor, class: "tick-label" }, text)];
}

function bar(label, spoken, strip, marks, name) {
  const frame = svg("rect", { x: PAD, y: 0, width: WIDTH - 2 * PAD, height: HEIGHT, class: "bar-frame" });
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + 18}`, role: "img", aria: { label: spoken } },
    strip, frame, marks);
  return el("div", { class: `colour-bar ${name}` }, el("span", { class: "bar-label" }, label), picture);
}
