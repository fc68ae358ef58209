/** Colours that people with any colour vision tell apart. */

// Viridis (S. van der Walt and N. Smith, matplotlib 2.0) at 17 even steps, from dark to light.
const VIRIDIS = ["440154", "48186a", "472d7b", "424086", "3b528b", "33638d", "2c728e", "26828e", "21918c", "1fa088",
  "28ae80", "3fbc73", "5ec962", "84d44b", "addc30", "d8e219", "fde725"].map(rgb);
/** Okabe and Ito, "Color Universal Design" (2008). */
export const OKABE_ITO = { orange: "#E69F00", sky: "#56B4E9", green: "#009E73", yellow: "#F0E442", blue: "#0072B2",
  vermillion: "#D55E00", purple: "#CC79A7", grey: "#8A8F98" };
const IN_ORDER = ["blue", "vermillion", "green", "orange", "sky", "purple", "yellow", "grey"].map((n) => OKABE_ITO[n]);
/** Signs that go with the colours, so that neither is needed alone. */
export const SHAPES = ["circle", "square", "triangle", "diamond", "cross", "star", "down", "ring"];
const SPECIES = { 11: 0, 13: 1, 22: 4, 211: 2, 111: 5, 2212: 3, 2112: 7 };
const CLASSES = { nue_cc: 0, numu_cc: 1, nc: 5 };

function rgb(hex) {
  return [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

/** Colour (css) of a level 0..1: from faint to strong against the background, which is `dark` or light. */
export function level(t, dark) {
  const at = dark ? 0.22 + 0.78 * t : 0.86 - 0.86 * t;
  const [i, f] = [Math.min(Math.floor(at * 16), 15), at * 16 - Math.min(Math.floor(at * 16), 15)];
  const mixed = VIRIDIS[i].map((v, k) => Math.round(v + f * (VIRIDIS[i + 1][k] - v)));
  return `rgb(${mixed.join(" ")})`;
}

/** 256 colours from the lowest to the highest level. `grey` below an overlay that has its own colours. */
export function levels(dark, grey = false) {
  const one = (t) => {
    const v = Math.round(dark ? 70 + 110 * t : 215 - 120 * t);
    return grey ? `rgb(${v} ${v} ${v})` : level(t, dark);
  };
  return Array.from({ length: 256 }, (_, i) => one(i / 255));
}

/** The blue of the set is too dark on a dark ground. */
const ON_DARK = { [OKABE_ITO.blue]: "#3D9BE0" };

function tone(colour) {
  return (isDark() && ON_DARK[colour]) || colour;
}

/** Colour and shape of the i-th kind in a list. */
export function kind(index) {
  return { colour: tone(IN_ORDER[index % IN_ORDER.length]), shape: SHAPES[index % SHAPES.length] };
}

/** Colour of a class: those of the flavours are always the same. */
export function classColour(name, index) {
  return tone(IN_ORDER[CLASSES[name] ?? index % IN_ORDER.length]);
}

/** Colour of a particle by its PDG code. */
export function particleColour(pdg) {
  return tone(IN_ORDER[SPECIES[Math.abs(pdg)] ?? 6]);
}

/** For (above 0) and against (below 0): red, green and blue of evidence. */
export const EVIDENCE = { for: [213, 94, 0], against: [0, 114, 178] };

/** Whether the page is dark now. */
export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
