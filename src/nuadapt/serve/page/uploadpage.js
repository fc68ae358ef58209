/** Events of one's own: drop or choose files, and see the answer and the display. */

import { LOOK_KEYS, make, parse, pick } from "./address.js";
import { post } from "./api.js";
import { button, field, select } from "./controls.js";
import { announce, el, replace } from "./dom.js";
import { eventView } from "./eventview.js";
import { classTitle, count, energy, isNumber, share, words } from "./format.js";
import { problemBox } from "./problem.js";

const FORMATS = [["DUNE CVN", ".gz pixel map"], ["PNG pair", "two pictures of one event, together"],
  ["NuHepMC", ".hepmc, .hepmc3, also .gz: its particles go through the simulated detector"], ["ROOT", "a small MINERvA file"]];

export class UploadPage {
  constructor(data, go) {
    Object.assign(this, { data, go, keys: {}, found: null, run: data.runs.find((r) => r.has_model)?.name ?? "", scale: "" });
    this.answer = el("section", { class: "upload-answer", aria: { label: "Answer", live: "polite" } });
    this.stage = el("section", { class: "stage", aria: { label: "Event" } });
    this.node = el("div", { class: "page upload-page" }, el("h1", {}, "Ask about your own events"),
      this.form(), this.answer, this.stage);
  }

  async show(path, query) {
    document.title = "Upload – nuadapt";
    const [, upload, index = "0"] = path;
    if (!upload) return replace(this.stage);
    try {
      const base = `/api/uploads/${encodeURIComponent(upload)}/events/${encodeURIComponent(index)}`;
      const view = await eventView(base, this.data, query, { upload: true });
      this.keys = { ...view.keys, j: () => this.step(1), n: () => this.step(1), k: () => this.step(-1), p: () => this.step(-1) };
      replace(this.stage, el("header", { class: "event-head" }, el("h2", {}, `Event ${view.event.key ?? index}`)), view.node);
      this.mark(index);
      return undefined;
    } catch (error) {
      return replace(this.stage, problemBox(error));
    }
  }

  form() {
    const models = this.data.runs.filter((r) => r.has_model);
    const input = el("input", { type: "file", id: "files", multiple: true, on: { change: () => this.send([...input.files]) } });
    const drop = el("label", { class: "drop", for: "files" }, el("strong", {}, "Drop files here, or choose them"), input,
      el("span", { class: "fine" }, FORMATS.map(([name, what]) => el("span", { class: "format" }, el("b", {}, name), ` ${what}`))));
    this.listen(drop);
    this.status = el("p", { class: "fine", role: "status" });
    return el("div", { class: "upload-form" },
      select("Ask", "run", [...models.map((r) => [r.name, `${r.name} (${words(r.task)})`]), ["", "no model, only display"]], this.run, (run) => { this.run = run; }),
      this.greys(), drop, this.status);
  }

  /** What the grey levels of pictures stand for, where no file says it; energies are in MeV here. */
  greys() {
    this.numbers = el("span", { class: "numbers" });
    const number = (label, name, value) => field(label, name, value, () => {}, { type: "number", min: "0", step: "any" });
    const chosen = (scale) => {
      this.scale = scale;
      replace(this.numbers, scale ? number("Brightest level (MeV)", "full", "20") : null,
        scale === "log" ? number("Knee (MeV)", "knee", "0.5") : null);
    };
    return el("div", { class: "greys" }, select("Grey levels of pictures", "scale", [["", "as they are"],
      ["linear", "energy, linear"], ["log", "energy, logarithmic"]], "", chosen), this.numbers);
  }

  /** The query that says so, in GeV, where there are pictures among the files. */
  meaning(files) {
    if (!files.some(({ name }) => /\.png$|(?<!\.hepmc3?)\.gz$/i.test(name))) return {};
    const numbers = [...this.numbers.querySelectorAll("input")].map((input) => [input.name, Number(input.value) / 1000]);
    return this.scale ? { scale: this.scale, ...Object.fromEntries(numbers) } : {};
  }

  listen(drop) {
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
      drop.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
        if (kind === "drop") this.send([...event.dataTransfer.files]);
      });
    }
  }

  async send(files) {
    if (!files.length) return;
    const body = new FormData();
    for (const file of files) body.append("files", file, file.name);
    this.stop?.abort();
    this.stop = new AbortController();
    replace(this.status, `${this.run ? `Asking ${this.run} about` : "Reading"} ${files.map((f) => f.name).join(", ")} ... `,
      button("Stop", () => this.stop.abort(), { class: "quiet" }));
    replace(this.answer);
    replace(this.stage);
    try {
      this.found = await post("/api/predict", { run: this.run, ...this.meaning(files) }, body, this.stop.signal);
      this.asked = this.run;
      this.showAnswer();
    } catch (error) {
      replace(this.status, error.name === "AbortError" ? "Stopped." : "");
      if (error.name === "AbortError") return;
      const hint = error.status === 422 && this.run
        ? el("p", { class: "fine" }, "To look at the events without an answer, choose \"no model, only display\".") : null;
      replace(this.answer, problemBox(error), hint);
    }
  }

  showAnswer() {
    const { upload, events, format, left_out: left, notes } = this.found;
    const all = this.found.n_events ?? events.length;
    const leftWords = Object.entries(left ?? {}).filter(([, n]) => n).map(([why, n]) => `${count(n)} left out: ${words(why)}`);
    const text = [`${count(all)} event${all === 1 ? "" : "s"} read as ${format}`, ...leftWords, ...(notes ?? [])].join(". ");
    replace(this.status, text);
    announce(text);
    replace(this.answer, this.table(events, upload));
    if (events.length) {
      const here = make(["upload", upload, "0"]);
      if (location.hash === here) this.show(["upload", upload, "0"], {});
      else location.hash = here;
    }
  }

  table(events, upload) {
    const run = this.data.runs.find((r) => r.name === this.asked);
    const names = (run?.classes ?? []).map((c) => c.name ?? c);
    const energyRun = run?.kind === "energy";
    return el("div", { class: "rows" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Event"), el("th", { scope: "col" }, energyRun ? "Energy" : "Answer"),
        names.map((n) => el("th", { scope: "col", class: "number" }, classTitle(n, run.classes))))),
      el("tbody", {}, events.map((event, i) => {
        const answer = event.answers?.[this.asked] ?? {};
        const words = isNumber(answer.energy) ? energy(answer.energy) : answer.label ? classTitle(answer.label, run?.classes) : "–";
        return el("tr", { data: { index: String(i) } },
          el("th", { scope: "row" }, el("a", { href: make(["upload", upload, String(i)]) }, event.key ?? `#${i}`)),
          el("td", {}, words),
          names.map((_, k) => el("td", { class: "number" }, share(answer.p?.[k]))));
      }))));
  }

  mark(index) {
    for (const row of this.answer.querySelectorAll("tr[data-index]")) row.classList.toggle("chosen", row.dataset.index === index);
  }

  step(by) {
    const { path, query } = parse(location.hash);
    const to = Number(path[2] ?? 0) + by;
    if (to < 0 || (this.found && to >= (this.found.n_events ?? this.found.events.length))) return;
    this.go(["upload", path[1], String(to)], pick(query, LOOK_KEYS));
  }
}
