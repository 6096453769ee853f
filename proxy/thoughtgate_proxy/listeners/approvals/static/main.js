// The page: signs in, follows the pod's list, and takes keys.

import * as api from "./api.js";
import * as detail from "./detail.js";
import { byId, say } from "./dom.js";
import { Notices } from "./notices.js";
import { focusRow, revealRow, showRows, tick } from "./rows.js";
import { atTime, now, setClock } from "./words.js";

const narrow = matchMedia("(max-width: 859px)");
const notices = new Notices(select);
let listing = { version: "", pending: [], recent: [] };
let selected = null;
let online = true;
let following = null;

const all = () => [...listing.pending, ...listing.recent];
const find = (id) => all().find((item) => item.id === id);

// --- signing in ---------------------------------------------------------------------------------

async function start() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  // At once, and from the history too: it must not be read over a shoulder, or bookmarked.
  if (location.hash) history.replaceState(null, "", location.pathname);
  selected = fragment.get("request") ?? selected;
  if (token) await enter(token);
  else if (api.hasKey()) follow();
  else askToken("");
}

async function enter(token) {
  try {
    await api.signIn(token);
  } catch (error) {
    askToken(error.message);
    return;
  }
  byId("token").value = "";
  follow();
}

function askToken(why) {
  following?.abort();
  byId("app").hidden = true;
  byId("sign-in").hidden = false;
  say(byId("sign-in-wrong"), why ? `${why[0].toUpperCase()}${why.slice(1)}.` : "");
  document.title = "Approvals · ThoughtGate";
  byId("token").focus();
}

byId("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  enter(byId("token").value.trim());
});

byId("sign-out").addEventListener("click", async () => {
  await api.signOut().catch(() => undefined);
  location.reload();
});

// --- following the list -------------------------------------------------------------------------

async function follow() {
  byId("sign-in").hidden = true;
  byId("app").hidden = false;
  following?.abort();
  following = new AbortController();
  const { signal } = following;
  let version = "";
  let failures = 0;
  while (!signal.aborted) {
    try {
      const next = await api.listing(version, signal);
      failures = 0;
      version = next.version;
      take(next);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) {
        askToken("the session has ended");
        return;
      }
      failures += 1;
      version = "";
      lose(error);
      await new Promise((resolve) => setTimeout(resolve, Math.min(8000, 500 * 2 ** failures)));
    }
  }
}

function take(next) {
  const first = listing.version === "";
  const before = new Map(all().map((item) => [item.id, item.state]));
  listing = next;
  online = true;
  setClock(next.now);
  byId("offline").hidden = true;
  byId("live").dataset.online = "true";
  say(byId("live-text"), `Live · ${next.you}`);
  say(byId("whose"), [next.whose.principal, next.whose.namespace, next.whose.pod].filter(Boolean).join(" · "));
  notices.waiting(next.pending.filter((item) => item.state === "pending").length, next.whose);
  const come = first ? [] : next.pending.filter((item) => !before.has(item.id));
  const moved = first ? [] : all().filter((item) => before.has(item.id) && before.get(item.id) !== item.state);
  const said = [...come.map((item) => `New request: ${item.name}`), ...moved.map(detail.news)];
  if (said.length) say(byId("said"), said.join(". "));
  notices.tell(come.filter((item) => item.may.includes("approve")));
  show();
}

function lose(error) {
  if (online) {
    const since = atTime(now());
    const why = error.status ? error.message : "is the port-forward still running?";
    say(byId("offline"), `No connection to the pod since ${since}: ${why} What you see may be out of date.`);
  }
  online = false;
  byId("offline").hidden = false;
  byId("live").dataset.online = "false";
  say(byId("live-text"), "Connecting again");
  detail.refresh(find(selected), online);
}

function show() {
  // With room for both, the oldest request is there to be read; on a phone the list comes first.
  if (selected !== null && detail.shownId() === null && !find(selected)) selected = null;
  if (selected === null && !narrow.matches && listing.pending.length) selected = listing.pending[0].id;
  showRows(listing, selected, select);
  if (selected !== null && detail.shownId() !== selected && find(selected)) open(selected);
  else detail.refresh(find(selected), online);
}

// --- choosing and deciding ----------------------------------------------------------------------

function open(id) {
  detail.choose(find(id), (details, verdict, reason) => decide(details, verdict, reason), () => history.back());
  if (narrow.matches && document.body.dataset.view !== "detail") history.pushState({ view: "detail" }, "");
  document.body.dataset.view = "detail";
}

function select(id) {
  if (!find(id)) return;
  selected = id;
  if (detail.shownId() !== id || document.body.dataset.view !== "detail") open(id);
  show();
  revealRow(id);
  if (narrow.matches) detail.focusTitle();
}

addEventListener("popstate", () => {
  delete document.body.dataset.view;
  if (selected !== null) focusRow(selected);
});

async function decide(details, verdict, reason) {
  let item;
  try {
    item = await api.vote(details.id, details.digest, verdict, reason);
  } catch (error) {
    if (error.status === 401) askToken("the session has ended");
    throw error;
  }
  const said = verdict === "approve" ? "You approved" : "You rejected";
  say(byId("said"), `${said} ${item.name}`);
  listing = {
    ...listing,
    pending: listing.pending.map((old) => (old.id === item.id ? { ...old, ...item } : old)),
  };
  show();
  // The pressed button may be gone now: what was decided stays, and nothing else is chosen.
  if (detail.shownId() === item.id) detail.focusTitle();
}

// --- keys ---------------------------------------------------------------------------------------

function step(by) {
  const rows = all();
  if (!rows.length) return;
  const at = rows.findIndex((item) => item.id === selected);
  const next = rows[at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by))];
  select(next.id);
  if (!narrow.matches) focusRow(next.id);
}

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  a: () => detail.press("approve"),
  r: () => detail.press("reject"),
  "?": () => byId("keys").showModal(),
};
const ARROWS = { ArrowDown: KEYS.j, ArrowUp: KEYS.k };

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || byId("app").hidden || byId("keys").open) return;
  if (event.key === "Escape") {
    if (detail.leaveReason()) detail.focusTitle();
    else if (narrow.matches && document.body.dataset.view === "detail") history.back();
    return;
  }
  if (event.target.closest("input, textarea")) return;
  // Arrows move in the list, and scroll elsewhere.
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const inList = event.target === document.body || event.target.closest("#list");
  const action = KEYS[key] ?? (inList ? ARROWS[key] : undefined);
  if (!action) return;
  event.preventDefault();
  // A key that is held down moves on; it does not decide.
  if (event.repeat && (key === "a" || key === "r")) return;
  action();
});

byId("help").addEventListener("click", KEYS["?"]);
addEventListener("hashchange", start);
setInterval(tick, 500);
start();
