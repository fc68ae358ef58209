/** The page: from an address to what is shown. */

import { go, parse } from "./address.js";
import { get, useToken } from "./api.js";
import { ComparePage } from "./comparepage.js";
import { isTyping, replace } from "./dom.js";
import { EventsPage } from "./eventspage.js";
import { count } from "./format.js";
import { askToken, openHelp } from "./help.js";
import { problemBox } from "./problem.js";
import { RunsPage } from "./runspage.js";
import { sweep } from "./surface.js";
import { startTheme } from "./theme.js";
import { UploadPage } from "./uploadpage.js";

const main = document.getElementById("main");
const makers = { events: EventsPage, runs: RunsPage, compare: ComparePage, upload: UploadPage };
const pages = {}; // name -> page, made when first asked for
let data = null;
let page = null;

async function start() {
  takeToken();
  startTheme(document.getElementById("theme"), () => ["runs", "compare"].includes(parse(location.hash).path[0]) && show());
  document.getElementById("help-open").addEventListener("click", openHelp);
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault(); // a fragment would be taken for an address
    main.focus();
  });
  try {
    data = await firstAnswer();
  } catch (error) {
    return replace(main, problemBox(error));
  }
  document.getElementById("data-name").textContent = `${data.name} · ${count(data.n_events)} events${simulated(data)}`;
  addEventListener("hashchange", show);
  addEventListener("keydown", press);
  return show();
}

function simulated({ simulated: is }) {
  return is === true ? " · simulation" : is === false ? " · recorded" : "";
}

/** `/#token=...` gives the token; it leaves the address at once, so that links do not carry it. */
function takeToken() {
  const found = /^#token=([^&]+)(?:&(.*))?$/.exec(location.hash);
  if (!found) return;
  useToken(decodeURIComponent(found[1]));
  history.replaceState(null, "", `#${found[2] ?? "/events"}`);
}

/** What the service serves; asks for a token as long as the service wants one. */
async function firstAnswer() {
  for (let tries = 0; ; tries += 1) {
    try {
      return await get("/api/data");
    } catch (error) {
      if (error.status !== 401) throw error;
      await askToken(tries > 0);
    }
  }
}

async function show() {
  const { path, query } = parse(location.hash);
  const name = path[0] in makers ? path[0] : "events";
  pages[name] ??= new makers[name](data, go);
  if (page !== pages[name]) replace(main, pages[name].node);
  page = pages[name];
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  await page.show(path[0] in makers ? path : ["events"], query);
  page.settled?.();
  sweep();
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event) || document.querySelector("dialog[open]")) return;
  const act = { "?": openHelp, "/": find, ...page?.keys }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

/** Put the cursor into the field that finds an event. */
function find() {
  const field = document.querySelector("input[name=find]");
  field?.closest("details")?.setAttribute("open", "");
  field?.focus();
}

start();
