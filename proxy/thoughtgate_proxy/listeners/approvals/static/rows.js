// The list: what waits, oldest first, so that new requests never push one that is read.

import { byId, h, say, sync } from "./dom.js";
import { atTime, left, now, state } from "./words.js";

const URGENT_SECONDS = 60;

/** Show both lists; `choose(id)` is called when a row is pressed. */
export function showRows(listing, selected, choose) {
  // A request that is decided moves from one list to the other: the keyboard goes with it.
  const focused = document.activeElement?.closest("#list li")?.dataset.id;
  const make = (item) => makeRow(item.id, choose);
  const update = (row, item) => updateRow(row, item, item.id === selected);
  sync(byId("waiting"), listing.pending, make, update);
  sync(byId("recent"), listing.recent, make, update);
  say(byId("waiting-count"), String(listing.pending.length));
  byId("nothing").hidden = listing.pending.length > 0;
  byId("recent-section").hidden = listing.recent.length === 0;
  if (focused && document.activeElement?.closest("#list li")?.dataset.id !== focused) focusRow(focused);
}

export function focusRow(id) {
  rowOf(id)?.querySelector("button").focus({ preventScroll: true });
}

export function revealRow(id) {
  rowOf(id)?.scrollIntoView({ block: "nearest" });
}

const rowOf = (id) => byId("list").querySelector(`li[data-id="${CSS.escape(id)}"]`);

function makeRow(id, choose) {
  return h(
    "li",
    {},
    h(
      "button",
      { type: "button", class: "row", onclick: () => choose(id) },
      h("span", { class: "row-name" }),
      h("span", { class: "row-left" }),
      h("span", { class: "row-preview" }),
      h("span", { class: "row-foot" }),
    ),
  );
}

function updateRow(row, item, current) {
  const button = row.firstElementChild;
  const [name, time, preview, foot] = button.children;
  row.dataset.state = item.state;
  if (current) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
  say(name, item.name);
  say(preview, item.preview);
  say(foot, footOf(item));
  if (item.state === "pending") {
    time.dataset.deadline = item.deadline;
    tickOne(time);
  } else {
    delete time.dataset.deadline;
    delete time.dataset.urgent;
    say(time, state(item.state));
  }
}

function footOf(item) {
  const words = [item.source, atTime(item.ended ?? item.opened)];
  if (item.required > 1 && item.state === "pending") words.push(`${item.required - item.missing} of ${item.required}`);
  if (item.caller_left) words.push("caller left");
  return words.join(" · ");
}

/** Bring every time that is counted down up to date. */
export function tick() {
  for (const element of document.querySelectorAll("[data-deadline]")) tickOne(element);
}

function tickOne(element) {
  const seconds = Number(element.dataset.deadline) - now();
  say(element, seconds > 0 ? left(seconds) : "time is up");
  element.dataset.urgent = seconds <= URGENT_SECONDS;
  const opened = Number(element.dataset.opened);
  if (opened) {
    const part = Math.max(0, Math.min(1, seconds / (Number(element.dataset.deadline) - opened)));
    element.parentElement.style.setProperty("--part", part.toFixed(4));
  }
}
