/** Form parts that several pages use. */

import { el } from "./dom.js";

let made = 0;

/** Radio buttons side by side. `options` is `[[value, words], ...]`; `changed(value)`. */
export function choice(label, name, options, chosen, changed) {
  made += 1;
  const group = `${name}-${made}`;
  return el("fieldset", { class: "choice", data: { control: name } }, el("legend", {}, label), options.map(([value, text]) =>
    el("label", {}, el("input", { type: "radio", name: group, value, checked: value === chosen,
      on: { change: () => changed(value) } }), el("span", {}, text))));
}

/** A check box. */
export function toggle(label, name, checked, changed, disabled = false) {
  return el("label", { class: "toggle" }, el("input", { type: "checkbox", name, checked, disabled,
    on: { change: (event) => changed(event.target.checked) } }), el("span", {}, label));
}

/** A drop-down list with its label. `options` is `[[value, words], ...]`. */
export function select(label, name, options, chosen, changed) {
  const node = el("select", { name, on: { change: (event) => changed(event.target.value) } },
    options.map(([value, text]) => el("option", { value, selected: value === (chosen ?? "") }, text)));
  return el("label", { class: "field" }, el("span", {}, label), node);
}

/** A field for text or a number. */
export function field(label, name, value, changed, props = {}) {
  return el("label", { class: "field" }, el("span", {}, label), el("input", { name, value: value ?? "", ...props,
    on: { change: (event) => changed(event.target.value.trim()) } }));
}

/** A button with words. */
export function button(text, click, props = {}) {
  return el("button", { type: "button", ...props, on: { click } }, text);
}
