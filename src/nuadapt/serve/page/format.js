/** Numbers, names and units as people read them. */

const PARTICLES = {
  "e-": "e⁻", "e+": "e⁺", "mu-": "μ⁻", "mu+": "μ⁺", "tau-": "τ⁻", "tau+": "τ⁺",
  "nu(e)": "νe", "nu(mu)": "νμ", "nu(tau)": "ντ", "nu(e)~": "ν̄e", "nu(mu)~": "ν̄μ", "nu(tau)~": "ν̄τ",
  "pi+": "π⁺", "pi-": "π⁻", pi0: "π⁰", "K+": "K⁺", "K-": "K⁻", K0: "K⁰", "K(S)0": "K⁰S", "K(L)0": "K⁰L",
  gamma: "γ", Lambda: "Λ", "Sigma+": "Σ⁺", "Sigma-": "Σ⁻", Sigma0: "Σ⁰", "p~": "p̄", "n~": "n̄",
};
const TITLES = { nue_cc: "νe CC", numu_cc: "νμ CC", nc: "NC", cc_1pi_charged: "CC 1π±", cc_npi_charged: "CC Nπ±",
  cc_1pi0: "CC 1π⁰", cc_other: "CC other" };
const COLUMN_UNITS = { cm: "cm", tick: "ticks", wire: "wires" };

/** Name of a particle with its Greek letter. */
export function particleName(name) {
  return PARTICLES[name] ?? name;
}

/** Short title of a class; the name itself where there is none. */
export function classTitle(name, classes = []) {
  if (name === null || name === undefined) return "unknown";
  return TITLES[name] ?? classes.find((c) => c.name === name)?.title ?? name;
}

/** A probability or share with three digits; a dash for none. */
export function share(value, digits = 3) {
  return isNumber(value) ? value.toFixed(digits) : "–";
}

/** Three significant digits, no exponent for ordinary sizes; a dash for none. */
export function number(value, digits = 3) {
  if (!isNumber(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(digits - 1);
  return String(Number(value.toPrecision(digits)));
}

/** A metric: four decimals below ten, four digits above. */
export function metric(value) {
  return isNumber(value) && Math.abs(value) < 10 ? value.toFixed(4) : number(value, 4);
}

/** An energy (GeV) in GeV, or in MeV below 0.1 GeV. */
export function energy(value) {
  if (!isNumber(value)) return "–";
  return Math.abs(value) < 0.1 ? `${number(value * 1000)} MeV` : `${number(value)} GeV`;
}

/** A count with thin spaces between thousands. */
export function count(value) {
  return isNumber(value) ? String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f") : "–";
}

/** Name of an interaction mode. */
export function modeTitle(mode) {
  return mode ? (mode.length <= 3 ? mode.toUpperCase() : mode.replace("_", "-")) : "–";
}

/** Words with spaces for a name with underscores. */
export function words(name) {
  return String(name).replaceAll("_", " ");
}

/** What an axis counts in. */
export function axisUnit(unit) {
  return COLUMN_UNITS[unit] ?? unit ?? "";
}

/** Whether a value is a finite number. */
export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
