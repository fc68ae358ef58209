/** The part of the maps that is shown: one magnification for all views, one centre per view, in pixels of the map. */

const SMALLEST = 8; // pixels across
const KEPT = 0.99; // share of the signal that the first window holds along each axis
const START = 32; // pixels across at least, at first

export class Window {
  /** `views`: specs with `shape` and `cols`. Views with the same column axis move along it together. */
  constructor(views) {
    this.views = views;
    this.widest = Math.max(...views.map((v) => Math.max(...v.shape))) * 1.08;
    this.watchers = [];
    this.setAll();
    this.home = this.text();
  }

  /** Show the whole maps. */
  setAll() {
    this.span = this.widest;
    this.centres = this.views.map((v) => [v.shape[1] / 2, v.shape[0] / 2]);
  }

  /** Show the signal: `parts` has `{row, col, value}` of each view, `marks` a `[col, row]` or null to be kept in. */
  fit(parts, marks) {
    const spans = parts.map((p, i) => [spanOf(p.col, p.value, marks[i]?.[0]), spanOf(p.row, p.value, marks[i]?.[1])]);
    if (spans.some((s) => s.flat().every((v) => v !== null))) {
      const usable = spans.map((s, i) => (s[0] && s[1] ? s : [[0, this.views[i].shape[1]], [0, this.views[i].shape[0]]]));
      const columns = usable.map((s, i) => this.joined(i, usable));
      const widest = Math.max(...usable.map((s) => s[1][1] - s[1][0]), ...columns.map((c) => c[1] - c[0]), START);
      this.span = Math.min(1.2 * widest, this.widest);
      this.centres = usable.map((s, i) => [mid(columns[i]), mid(s[1])]);
    }
    this.home = this.text();
  }

  joined(index, spans) {
    const mine = spans.filter((_, i) => this.views[i].cols === this.views[index].cols);
    return [Math.min(...mine.map((s) => s[0][0])), Math.max(...mine.map((s) => s[0][1]))];
  }

  /** Move the centre of a view by pixels of the map. */
  move(index, columns, rows) {
    const [col, row] = this.centres[index];
    this.place(index, col + columns, row + rows);
    this.changed();
  }

  /** Magnify by `factor`, keeping the map's place `(col, row)` of view `index` where it is. */
  zoom(index, factor, col, row) {
    const before = this.span;
    this.span = Math.min(Math.max(before / factor, SMALLEST), this.widest);
    const keep = this.span / before;
    const [c, r] = this.centres[index];
    this.place(index, col + (c - col) * keep, row + (r - row) * keep);
    this.changed();
  }

  place(index, col, row) {
    const [rows, cols] = this.views[index].shape;
    const at = [Math.min(Math.max(col, 0), cols), Math.min(Math.max(row, 0), rows)];
    this.centres = this.centres.map((old, i) => {
      if (i === index) return at;
      return this.views[i].cols === this.views[index].cols ? [at[0], old[1]] : old;
    });
  }

  reset() {
    this.read(this.home);
    this.changed();
  }

  /** For the address: `span;col,row;col,row`. Empty at the first window. */
  text() {
    const one = (v) => String(Math.round(v * 10) / 10);
    return [one(this.span), ...this.centres.map((c) => c.map(one).join(","))].join(";");
  }

  /** Inverse of `text`; words that are no window of these views are ignored. */
  read(text) {
    const [span, ...centres] = (text ?? "").split(";");
    const places = centres.map((c) => c.split(",").map(Number));
    const fine = places.length === this.views.length && places.every((p) => p.length === 2 && p.every(Number.isFinite));
    if (!fine || !(Number(span) > 0)) return false;
    this.span = Math.min(Math.max(Number(span), SMALLEST), this.widest);
    this.centres = places;
    return true;
  }

  watch(watcher) {
    this.watchers.push(watcher);
  }

  changed() {
    for (const watcher of this.watchers) watcher();
  }
}

/** First and last place between which the middle 99% of the signal lies, with a mark; null without signal. */
function spanOf(places, values, mark) {
  const profile = new Map();
  let total = 0;
  for (let i = 0; i < places.length; i += 1) {
    profile.set(places[i], (profile.get(places[i]) ?? 0) + Math.abs(values[i]));
    total += Math.abs(values[i]);
  }
  if (!(total > 0)) return null;
  const order = [...profile.keys()].sort((a, b) => a - b);
  const cut = ((1 - KEPT) / 2) * total;
  let [sum, low, high] = [0, order[0], order.at(-1)];
  for (const at of order) {
    if (sum <= cut) low = at;
    if (sum < total - cut) high = at;
    sum += profile.get(at);
  }
  return mark === undefined ? [low, high + 1] : [Math.min(low, mark), Math.max(high + 1, mark)];
}

function mid([low, high]) {
  return (low + high) / 2;
}
