/** From values to places and colours: ticks, linear and logarithmic scales. */

/** Round steps (1, 2, 5 times a power of ten) that give about `wanted` ticks between `low` and `high`. */
export function ticks(low, high, wanted = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(wanted, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const near = [[1, Math.SQRT2], [2, Math.sqrt(10)], [5, Math.sqrt(50)], [10, Infinity]]; // nearest in the logarithm
  const step = power * near.find(([, end]) => rough / power < end)[0];
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Powers of ten between `low` and `high`, with 2 and 5 times them where there are few. */
export function logTicks(low, high) {
  const found = [];
  const few = Math.log10(high / low) < 2.5;
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p += 1) {
    for (const m of few ? [1, 2, 5] : [1]) {
      const value = Number((m * 10 ** p).toPrecision(6));
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  }
  return found;
}

/** The next round number (1, 2, 5 times a power of ten) at or above a positive value. */
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return Number((power * [1, 2, 5, 10].find((m) => m * power >= value * 0.9999)).toPrecision(6));
}

/** Place of `value` between `low` and `high`, 0..1 without clipping. */
export function linear(low, high) {
  return (value) => (value - low) / (high - low);
}

/** The same on a logarithmic scale; values from zero down lie at the low end. */
export function log(low, high) {
  const span = Math.log(high / low);
  return (value) => (value > low ? Math.log(value / low) / span : 0);
}

/** The colour scale of pixel values: `{low, high, place, ticks}`, `kind` being `log` or `linear`. */
export function valueScale(values, kind) {
  const sorted = Float64Array.from(values).filter((v) => v > 0).sort();
  const most = sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(0.998 * sorted.length))] : 1;
  const high = roundUp(most);
  const low = kind === "log" ? high / 300 : 0;
  const place = kind === "log" ? log(low, high) : linear(low, high);
  return { kind, low, high, place: (v) => Math.min(Math.max(place(v), 0), 1),
    ticks: kind === "log" ? logTicks(low, high) : ticks(low, high, 5) };
}

/** A value on an axis, with no more digits than its step needs. */
export function tickLabel(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(0).replace("e+", "e");
  return String(Number(value.toPrecision(6))).replace("-", "−");
}
