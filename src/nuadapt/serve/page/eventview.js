/** One event: its display, its truth and what the runs say. The same for events of the file and uploaded ones. */

import { get, getKept, post } from "./api.js";
import { answerCards } from "./answers.js";
import { cloudDisplay } from "./clouddisplay.js";
import { el } from "./dom.js";
import { classTitle, energy, modeTitle, words } from "./format.js";
import { columnTable, particleTable } from "./particles.js";
import { pixelDisplay } from "./pixeldisplay.js";

/**
 * Ask for everything about the event at `base` (such as `/api/events/12`) and build its parts:
 * `{event, node, keys}`. `event` may be given if it is known. `data` is the answer of `/api/data`.
 */
export async function eventView(base, data, query, { event: given, upload = false } = {}) {
  const event = given ?? await getKept(base);
  const kinds = event.representations ?? data.representations;
  const shown = kinds.includes("pixelmap") ? await withPixels(event, base, data, query, upload) : null;
  const cloud = kinds.includes("cloud") ? cloudDisplay(await getKept(`${base}/cloud`), event, query, trueEnergy(data)) : null;
  const ask = upload ? null : { explain: (run) => post(`${base}/explain`, { run }), predict: (run) => post(`${base}/predict`, { run }) };
  const node = el("div", { class: "event" },
    facts(event, data), shown?.node, cloud?.node,
    el("div", { class: "below" },
      el("section", { class: "answers", aria: { label: "Answers" } }, el("h2", {}, "Answers"),
        el("div", { class: "cards" }, answerCards(event, data.runs, data.classes, ask))),
      el("section", { class: "truth", aria: { label: "Truth" } }, el("h2", {}, "Truth"),
        particleTable(event.particles),
        el("details", {}, el("summary", {}, "All truth columns"), columnTable(event.truth_columns)))));
  return { event, node, keys: { ...cloud?.keys, ...shown?.keys }, display: shown };
}

async function withPixels(event, base, data, query, upload) {
  const views = event.views ?? data.views;
  const ask = (view) => getKept(`${base}/views/${encodeURIComponent(view.name)}`);
  const parts = await Promise.all(views.map(ask));
  return pixelDisplay({ ...event, views }, parts, base, query, evidenceRuns(event, upload ? [] : data.runs));
}

/** Runs with stored evidence, and those whose model can make it. */
function evidenceRuns(event, runs) {
  const able = runs.filter((r) => event.answers?.[r.name]?.evidence || (r.has_model && r.kind === "classes" && r.reads === "pixelmap"));
  return able.map((r) => r.name);
}

/** What is known of the event, in one line. */
function facts(event, data) {
  const item = (name, value) => [el("dt", {}, name), el("dd", {}, value)];
  return el("dl", { class: "facts" },
    item("true class", event.truth ? classTitle(event.truth, data.classes) : "unknown"),
    item("mode", modeTitle(event.mode)),
    item(energyName(data), energy(event.energy)),
    event.split && item("split", event.split));
}

/** What the column of energies holds. */
export function energyName(data) {
  return (data.energy_column ?? "energy").replaceAll("_", " ").replace(/^nu energy$/, "neutrino energy");
}

/** Which energy the service gives as the true one of a cloud: that of the first run that asks for one. */
function trueEnergy(data) {
  return words(data.runs.find((r) => r.kind === "energy")?.energy ?? "energy");
}

/** Previous and next event under the filters `query`; nothing where the service does not say. */
export async function neighbours(index, query) {
  return get(`/api/events/${index}/neighbours`, query);
}
