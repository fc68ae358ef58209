/** Elements from scripts. Text enters the page only as text, so nothing that a file says can become markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with properties and children (nodes or text; null and false are left out).
 *
 * `class`, `data` (an object), `style` (an object, set property by property), `on` (an object of listeners) and
 * `aria` (an object) are special; every other key is an attribute. `true` sets an empty attribute, `false` and null none.
 */
export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") node.setAttribute("class", value);
    else if (key === "data") Object.assign(node.dataset, value);
    else if (key === "style") for (const [name, v] of Object.entries(value)) node.style.setProperty(name, v);
    else if (key === "on") for (const [name, f] of Object.entries(value)) node.addEventListener(name, f);
    else if (key === "aria") for (const [name, v] of Object.entries(value)) node.setAttribute(`aria-${name}`, v);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

/** Put `children` in place of everything inside `node`. */
export function replace(node, ...children) {
  node.replaceChildren(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

/** Say something to those who listen rather than look. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** Whether keys typed now belong to a field rather than to the page. */
export function isTyping(event) {
  const node = event.target;
  return node instanceof HTMLElement && (node.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(node.tagName));
}

/** The colour that a custom property of the style sheet has now, for canvases. */
export function themeColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
