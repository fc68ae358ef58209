/** The service: requests, its errors, and the token that it may ask for. */

const KEY = "nuadapt-token";
let token = sessionStorage.getItem(KEY);
const kept = new Map(); // address -> answer of what does not change while the service runs
const KEPT = 60;

/** What went wrong, in the words of the service: `what`, `where`, `expected`, `next`. */
export class ServiceError extends Error {
  constructor(status, { what, where, expected, next_step: next } = {}) {
    super(sentence(what) || `The service answered with status ${status}.`);
    Object.assign(this, { status, where, expected, next });
  }
}

function sentence(text) {
  return text ? text.charAt(0).toUpperCase() + text.slice(1) : "";
}

/** Keep a token for this tab. */
export function useToken(given) {
  token = given;
  sessionStorage.setItem(KEY, given);
}

/** The answer (JSON) of a path with query parameters. */
export async function get(path, query = {}, signal) {
  return (await send(address(path, query), { signal })).json();
}

/** As `get`, for what stays the same: asked for once. */
export async function getKept(path, query = {}) {
  const where = address(path, query);
  if (!kept.has(where)) {
    const asked = get(path, query);
    kept.set(where, asked);
    asked.catch(() => kept.delete(where));
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  }
  return kept.get(where);
}

/** The answer (JSON) to a POST. */
export async function post(path, query = {}, body = undefined, signal = undefined) {
  return (await send(address(path, query), { method: "POST", body, signal })).json();
}

/** A file, such as an image. */
export async function getBlob(path, query = {}) {
  return (await send(address(path, query), {})).blob();
}

function address(path, query) {
  const search = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== "" && v !== null && v !== undefined));
  return search.size ? `${path}?${search}` : path;
}

async function send(where, options) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(where, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(0, { what: "The service does not answer.", next_step: "See whether nuadapt serve still runs." });
  }
  if (response.ok) return response;
  throw new ServiceError(response.status, await problem(response));
}

async function problem(response) {
  try {
    const found = (await response.json()).error ?? {};
    const wait = response.headers.get("Retry-After");
    return wait ? { ...found, next_step: `Try again in ${wait} s.` } : found;
  } catch {
    return {}; // not an answer of the service itself
  }
}
