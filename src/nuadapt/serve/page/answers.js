/** What the runs say about one event: probabilities, conformal set, reason and its claims. */

import { classColour } from "./colour.js";
import { el } from "./dom.js";
import { classTitle, energy, isNumber, share, words } from "./format.js";

const VERDICTS = [[true, "✓", "supported"], [false, "✗", "not supported"], [null, "?", "not decided"]];

/**
 * A card per run. `ask.explain(run)` asks for a reason and `ask.predict(run)` for an answer (promises); both are offered
 * where a model is there. `ask` is null for events that were uploaded.
 */
export function answerCards(event, runs, classes, ask) {
  const found = Object.keys(event.answers ?? {});
  const known = runs.filter((run) => found.includes(run.name));
  const silent = ask ? runs.filter((run) => run.has_model && !found.includes(run.name)) : [];
  const cards = [...known.map((run) => card(event, run, event.answers[run.name], classes, ask)),
    ...silent.map((run) => unasked(event, run, classes, ask))];
  return cards.length ? cards : [el("p", { class: "empty" }, "No run has an answer for this event.")];
}

function card(event, run, answer, classes, ask) {
  const own = run.classes?.length ? run.classes : classes;
  const body = isNumber(answer.energy) ? energyAnswer(answer) : classAnswer(event, run, answer, own);
  return frame(run, body, reasonPart(run, answer, ask));
}

function frame(run, ...body) {
  return el("section", { class: "card answer", data: { run: run.name }, aria: { label: `Answer of ${run.name}` } },
    el("h3", {}, run.name, el("small", {}, run.task ? words(run.task) : "")), body);
}

/** A run without a stored answer, whose model can be asked. */
function unasked(event, run, classes, ask) {
  const place = el("div", {});
  const whole = frame(run, place);
  place.append(askButton("Ask the model", place, async () => {
    const { answer } = await ask.predict(run.name);
    whole.replaceWith(card(event, run, answer, classes, ask));
  }));
  return whole;
}

function classAnswer(event, run, answer, classes) {
  const names = classes.map((c) => c.name ?? c);
  const list = el("ul", { class: "posterior", aria: { label: "Probability of each class" } },
    names.map((name, i) => bar(name, i, { event, run, answer, classes })));
  return [verdict(answer, classes), list, setWords(answer, classes)];
}

/** The label, and whether it is right: a sign and a word. */
function verdict(answer, classes) {
  const right = answer.correct;
  const mark = right === true ? el("span", { class: "right" }, "✓ correct")
    : right === false ? el("span", { class: "wrong" }, "✗ wrong") : null;
  return el("p", { class: "verdict" }, el("strong", {}, classTitle(answer.label, classes)), " ", mark);
}

function bar(name, index, { event, run, answer, classes }) {
  const p = answer.p?.[index];
  const inSet = answer.set?.includes(name);
  const truth = (event.truths?.[run.name] ?? event.truth) === name;
  const marks = [inSet && el("span", { class: "in-set", title: "in the conformal set" }, "[in set]"),
    truth && el("span", { class: "is-truth", title: "true class" }, "◆ truth")];
  return el("li", { class: `${inSet ? "set" : ""} ${name === answer.label ? "chosen" : ""}` },
    el("span", { class: "bar-name" }, classTitle(name, classes)),
    el("span", { class: "bar-track", aria: { hidden: "true" } },
      el("span", { class: "bar-fill", style: { width: `${100 * (p ?? 0)}%`, background: classColour(name, index) } })),
    el("span", { class: "bar-value" }, share(p)), el("span", { class: "bar-marks" }, marks));
}

function setWords(answer, classes) {
  const parts = [];
  if (answer.set) {
    const names = answer.set.map((n) => classTitle(n, classes)).join(", ") || "empty";
    const cover = isNumber(answer.coverage) ? ` (holds the truth in ${share(100 * answer.coverage, 0)}% of events)` : "";
    parts.push(`Conformal set: ${names}${cover}.`);
  }
  if (isNumber(answer.temperature)) parts.push(`Temperature ${share(answer.temperature, 2)}.`);
  return parts.length ? el("p", { class: "fine" }, parts.join(" ")) : null;
}

/** The estimate with its interval and the truth on one line of energy. */
function energyAnswer(answer) {
  const truth = answer.true_energy_GeV;
  const [low, high] = answer.interval_GeV ?? [];
  const top = 1.15 * Math.max(answer.energy, truth ?? 0, high ?? 0, 0.1);
  const at = (v) => `${Math.min(Math.max((100 * v) / top, 0), 100)}%`;
  const line = el("div", { class: "energy-line", aria: { hidden: "true" } },
    isNumber(low) && el("span", { class: "energy-interval", style: { left: at(low), width: at(high - low) } }),
    el("span", { class: "energy-mark", style: { left: at(answer.energy) } }),
    isNumber(truth) && el("span", { class: "energy-truth", style: { left: at(truth) } }));
  return [
    el("p", { class: "verdict" }, el("strong", {}, energy(answer.energy)), " reconstructed"), line,
    el("p", { class: "fine" }, isNumber(low) && `Interval ${energy(low)} to ${energy(high)}` +
      `${isNumber(answer.coverage) ? ` (${share(100 * answer.coverage, 0)}%)` : ""}. `,
    isNumber(truth) && `◆ true ${energy(truth)}, ratio ${truth > 0 ? share(answer.energy / truth, 2) : "–"}.`)];
}

function reasonPart(run, answer, ask) {
  const place = el("div", { class: "reason" });
  const show = (given) => place.replaceChildren(...[
    given.reason && el("blockquote", {}, given.reason),
    given.claims?.length > 0 && claimList(given.claims)].filter(Boolean));
  if (answer.reason || answer.claims?.length) show(answer);
  else if (run.has_model && ask && run.kind !== "energy") {
    place.append(askButton("Ask for a reason", place, async () => {
      const given = await ask.explain(run.name);
      show(given);
      if (!given.reason && !given.claims?.length) place.append(el("p", { class: "fine" }, "This model gives no reasons."));
    }));
  }
  return place;
}

/** A button that asks the service, and says in `place` what went wrong. */
function askButton(text, place, act) {
  const button = el("button", { type: "button", class: "explain" }, text);
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Asking ...";
    place.querySelector(".problem")?.remove();
    try {
      await act();
    } catch (error) {
      button.disabled = false;
      button.textContent = "Ask again";
      place.append(el("p", { class: "problem", role: "alert" }, [error.message, error.next].filter(Boolean).join(" ")));
    }
  });
  return button;
}

/** Each checked claim with a sign and a word. */
export function claimList(claims) {
  return el("ul", { class: "claims", aria: { label: "Claims of the reason, compared with the event" } },
    claims.map((claim) => {
      const [, mark, word] = VERDICTS.find(([v]) => v === (claim.supported ?? null));
      return el("li", { class: `claim ${word.replace(" ", "-")}` },
        el("span", { class: "claim-mark", aria: { hidden: "true" } }, mark),
        el("span", {}, claim.text, " ", el("em", {}, word)));
    }));
}
