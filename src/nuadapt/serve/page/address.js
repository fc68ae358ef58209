/**
 * The address of what is shown, after the `#`: `/events/12?run=vit&scale=log`. A link holds one page, one event, the
 * filters of its list and the state of its display.
 */

/** Filters and order of the list, as the service names them. */
export const LIST_KEYS = ["sort", "order", "run", "label", "truth", "correct", "min_p", "max_p", "min_energy",
  "max_energy", "mode", "split", "disagree", "find"];
/** State of the display of an event. */
export const VIEW_KEYS = ["scale", "overlay", "evidence", "window", "space", "turn", "zoom"];
/** What stays from event to event; the window belongs to one. */
export const LOOK_KEYS = VIEW_KEYS.filter((k) => k !== "window");

/** `{path: ["events", "12"], query: {run: "vit"}}` of a fragment. */
export function parse(fragment) {
  const [path, query = ""] = fragment.replace(/^#/, "").split(/\?(.*)/s);
  const parts = path.split("/").filter(Boolean).map(decoded);
  return { path: parts, query: Object.fromEntries(new URLSearchParams(query)) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a lone % typed by hand
  }
}

/** The fragment, with its `#`, of a path and a query; empty values are left out. */
export function make(path, query = {}) {
  const kept = Object.entries(query).filter(([, v]) => v !== null && v !== undefined && v !== "");
  const search = new URLSearchParams(kept.map(([k, v]) => [k, String(v)])).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

/** Only some keys of a query. */
export function pick(query, keys) {
  return Object.fromEntries(keys.filter((k) => query[k] !== undefined && query[k] !== "").map((k) => [k, query[k]]));
}

/** Go to another address; the browser's back button comes back from it. */
export function go(path, query) {
  location.hash = make(path, query);
}

/** Note a changed state of the same display in the address: no new entry in the history, nothing is drawn again. */
export function note(changes) {
  const { path, query } = parse(location.hash);
  history.replaceState(history.state, "", make(path, { ...query, ...changes }));
}

/** The query as it is now. */
export function current() {
  return parse(location.hash).query;
}
