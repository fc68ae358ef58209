/** The display of a pixel map: all its views, the colour scale, truth and evidence over them. */

import { current, note } from "./address.js";
import { get, getBlob } from "./api.js";
import { evidenceBar, valueBar } from "./colourbar.js";
import { button, choice, select, toggle } from "./controls.js";
import { announce, el, replace } from "./dom.js";
import { classTitle } from "./format.js";
import { ordered, PixelView, SHOWN } from "./pixelview.js";
import { vertexPixel, withRays } from "./rays.js";
import { valueScale } from "./scale.js";
import { Window } from "./window.js";

/**
 * `event` (its JSON), `parts` (the answers of `.../views/{view}`), `base` of its addresses, `query`: the view state,
 * `runs`: names of those that have evidence.
 */
export function pixelDisplay(event, parts, base, query, runs) {
  const specs = event.views.map(specOf);
  const unit = parts[0]?.unit ?? "GeV";
  const pixels = parts.map((part) => ordered(part, unit));
  const state = { unit, evidence: null, particles: null, scale: null };
  const window = new Window(specs);
  window.fit(parts, specs.map((spec) => vertexPixel(spec, event.vertex_cm)));
  window.read(query.window);
  window.watch(() => later(() => note({ window: window.text() === window.home ? null : window.text() })));
  const views = specs.map((spec, i) => new PixelView(i, spec, pixels[i], window, state));
  const display = new Display({ event, base, runs, unit, state, views, pixels, window });
  display.setScale(query.scale === "linear" ? "linear" : "log");
  display.setTruth(query.overlay === "truth");
  if (query.evidence) display.setEvidence(query.evidence);
  return { node: display.node(query), keys: display.keys(), state, window, dispose: () => clearTimeout(timer) };
}

/** The spec of a view in the words of this page. */
export function specOf(view) {
  const pitch = Array.isArray(view.pixel_cm) ? view.pixel_cm : [view.pixel_cm ?? 1, view.pixel_cm ?? 1];
  const origin = view.origin_cm?.every?.(Number.isFinite) ? view.origin_cm : null;
  return { ...view, pitch, origin, axis_unit: view.axis_unit ?? "cm" };
}

let timer = 0;
function later(act) {
  clearTimeout(timer);
  const here = location.hash;
  timer = setTimeout(() => location.hash === here && act(), 200);
}

class Display {
  constructor(parts) {
    Object.assign(this, parts);
    this.bars = el("div", { class: "bars" });
    this.message = el("p", { class: "fine", role: "status" });
  }

  node(query) {
    const canTruth = this.views.some((v) => vertexPixel(v.spec, this.event.vertex_cm));
    const many = withRays(this.event.particles ?? []).length;
    this.scaleChoice = choice("Colours", "scale", [["log", "log"], ["linear", "linear"]], this.state.scale.kind,
      (kind) => this.setScale(kind));
    this.truthBox = toggle(canTruth && !many ? "truth (vertex)" : "truth", "overlay", query.overlay === "truth",
      (on) => this.setTruth(on), !canTruth);
    this.evidenceChoice = this.runs.length ? select("Evidence", "evidence",
      [["", "none"], ...this.runs.map((r) => [r, r])], query.evidence, (run) => this.setEvidence(run)) : null;
    return el("div", { class: "display pixels" },
      el("div", { class: "toolbar" }, this.scaleChoice, this.truthBox, this.evidenceChoice,
        el("span", { class: "buttons" },
          button("−", () => this.zoom(1 / 1.5), { aria: { label: "Zoom out" }, title: "Zoom out (−)" }),
          button("+", () => this.zoom(1.5), { aria: { label: "Zoom in" }, title: "Zoom in (+)" }),
          button("Signal", () => this.window.reset(), { title: "Show the whole signal (0)" }),
          button("Whole map", () => this.whole()),
          ...this.views.map((v) => button(`PNG ${v.spec.name}`, () => this.save(v.spec.name), { class: "quiet" })))),
      el("div", { class: "views", data: { views: String(this.views.length) } }, this.views.map((v) => v.node)),
      this.bars, this.message);
  }

  keys() {
    const press = (node) => node?.querySelector("input:not(:checked), input[type=checkbox]")?.click();
    return { l: () => press(this.scaleChoice), t: () => press(this.truthBox), e: () => this.nextEvidence() };
  }

  redraw() {
    for (const view of this.views) view.surface.again();
    const [name, , label] = SHOWN[this.unit];
    const shown = this.state.evidence;
    replace(this.bars, valueBar(this.state.scale, name ? `${label} [${name}]` : label, Boolean(shown)),
      shown && evidenceBar(shown.limit, classTitle(shown.target), shown.unit));
  }

  setScale(kind) {
    this.state.scale = valueScale(this.pixels.flatMap((p) => p.value), kind);
    this.redraw();
    if (current().scale !== kind && (kind !== "log" || current().scale)) note({ scale: kind });
  }

  setTruth(on) {
    this.state.particles = on ? { vertex: this.event.vertex_cm, list: this.event.particles ?? [] } : null;
    this.redraw();
    if ((current().overlay === "truth") !== on) note({ overlay: on ? "truth" : null });
  }

  async setEvidence(run) {
    if ((current().evidence ?? "") !== run) note({ evidence: run || null });
    this.asked = run;
    this.message.textContent = run ? `Asking for the evidence of ${run} ...` : "";
    if (!run) return this.show(null);
    try {
      const found = await get(`${this.base}/evidence/${encodeURIComponent(run)}`);
      if (this.asked !== run) return undefined;
      this.message.textContent = "";
      return this.show(found, run);
    } catch (error) {
      this.message.textContent = [error.message, error.next].filter(Boolean).join(" ");
      return this.show(null);
    }
  }

  show(found, run) {
    const strength = Object.values(found?.views ?? {}).flatMap((v) => v.values.flat()).map(Math.abs).filter((v) => v > 0);
    strength.sort((a, b) => a - b);
    const limit = strength[Math.floor(0.99 * (strength.length - 1))] || 1;
    const target = found?.target ?? this.event.answers?.[run]?.label;
    this.state.evidence = found ? { views: found.views, limit, target, unit: found.unit ?? "log-odds" } : null;
    this.redraw();
  }

  nextEvidence() {
    const box = this.evidenceChoice?.querySelector("select");
    if (!box) return announce("No run has evidence for this event.");
    box.selectedIndex = (box.selectedIndex + 1) % box.options.length;
    return box.dispatchEvent(new Event("change"));
  }

  zoom(factor) {
    const [col, row] = this.window.centres[0];
    this.window.zoom(0, factor, col, row);
  }

  whole() {
    this.window.setAll();
    this.window.changed();
  }

  /** The service's own picture of a view, as a file. */
  async save(view) {
    try {
      const truth = String(Boolean(this.state.particles));
      const blob = await getBlob(`${this.base}/views/${encodeURIComponent(view)}.png`, { scale: this.state.scale.kind, truth });
      const link = el("a", { href: URL.createObjectURL(blob), download: `${this.event.key ?? "event"}-${view}.png`.replaceAll("/", "_") });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    } catch (error) {
      this.message.textContent = error.message;
    }
  }
}
