// One request in full, and the buttons that decide it. It is built once for each request that is
// chosen; later news change words in place, so that nothing moves under the pointer, and neither
// the reason that is being written nor the place in a long call is lost.

import * as api from "./api.js";
import { byId, h, say } from "./dom.js";
import { exact } from "./exact.js";
import { Decision } from "./decision.js";
import { tick } from "./rows.js";
import { atLength, atTime, size, standing, state } from "./words.js";

const pane = byId("detail");
const known = new Map();
let shown = null;

/** The id of the request that is shown, if any. */
export const shownId = () => shown?.id ?? null;

/** Show `item`; `decide(details, verdict, reason)` casts a vote, `back()` returns to the list. */
export function choose(item, decide, back) {
  shown = new Detail(item, decide, back);
  pane.replaceChildren(shown.element);
  pane.scrollTop = 0;
  shown.load();
}

/** Take what is new; `item` is undefined once the pod has forgotten it. */
export function refresh(item, online) {
  shown?.update(item, online);
}

export const press = (verdict) => shown?.decision.press(verdict);
export const leaveReason = () => shown?.decision.leaveReason() ?? false;
export const focusTitle = () => shown?.title.focus({ preventScroll: true });

class Detail {
  constructor(item, decide, back) {
    this.id = item.id;
    this.item = item;
    this.details = known.get(item.id) ?? null;
    this.decision = new Decision((verdict, reason) => decide(this.details, verdict, reason));
    this.title = h("h2", { class: "name", tabindex: "-1", text: item.name });
    this.standing = h("p", { class: "standing" });
    this.time = h("strong", { class: "time", "data-opened": item.opened });
    this.clock = h("div", { class: "clock" }, this.time, h("span", { text: " left" }), h("span", { class: "bar", "aria-hidden": "true" }));
    this.votes = h("ul", { class: "votes", "aria-label": "Votes" });
    this.call = h("div", { class: "call" }, h("p", { class: "nothing", text: "Loading the exact call…" }));
    this.element = h(
      "article",
      { "aria-labelledby": "detail-name" },
      h("div", { class: "scroll" },
        h("button", { type: "button", class: "back quiet", onclick: back, text: "‹ All requests" }),
        h("div", { class: "head" }, this.title, this.clock),
        this.standing,
        this.votes,
        h("section", {}, h("h3", { text: "Arguments" }), this.call),
        h("section", {}, h("h3", { text: "Why you are asked" }), why(item)),
        h("section", {}, h("h3", { text: "Who asks, and what" }), facts(item)),
      ),
      this.decision.element,
    );
    this.title.id = "detail-name";
    this.update(item, true);
  }

  async load() {
    if (this.details) return this.showCall();
    try {
      this.details = await api.details(this.id);
      known.set(this.id, this.details);
      this.showCall();
    } catch (error) {
      const again = h("button", { type: "button", class: "quiet", text: "Try again", onclick: () => this.load() });
      this.call.replaceChildren(h("p", { class: "wrong", role: "alert", text: `The call cannot be shown: ${error.message}. ` }, again));
    }
  }

  showCall() {
    const { arguments: text, others, redacted } = this.details;
    const parts = [];
    if (!text) parts.push(h("p", { class: "nothing", text: "This call has no arguments." }));
    else {
      parts.push(exact(text, "The exact arguments"));
      const lines = text.split("\n").length;
      parts.push(h("p", { class: "measure", text: `${size(text.length)}, ${lines} line${lines === 1 ? "" : "s"}; nothing is cut` }));
    }
    if (redacted.length) parts.push(h("p", { class: "measure", text: `Redacted by the workflow, and sent all the same: ${redacted.join(", ")}` }));
    if (others) parts.push(h("details", {}, h("summary", { text: "Also sent with the call" }), exact(others, "Other parameters")));
    this.call.replaceChildren(...parts);
    this.update(this.item, this.online);
  }

  update(item, online) {
    this.online = online;
    if (item === undefined) {
      say(this.standing, "The pod does not keep this request any more.");
      this.clock.hidden = true;
      this.decision.update({ may: [], may_not: "", state: "gone" }, false, online);
      return;
    }
    this.item = item;
    this.element.dataset.state = item.state;
    say(this.standing, sentence(item));
    this.clock.hidden = item.deadline === null;
    if (item.deadline !== null) this.time.dataset.deadline = item.deadline;
    else delete this.time.dataset.deadline;
    this.votes.replaceChildren(...item.votes.map(voteLine));
    this.votes.hidden = item.votes.length === 0;
    this.decision.update(item, this.details !== null, online);
    tick();
  }
}

function sentence(item) {
  const words = [standing(item)];
  if (item.caller_left) words.push("The agent has left; the same call joins this request");
  if (item.state === "rejected" && item.outcome && !item.votes.some((vote) => vote.reason === item.outcome)) words.push(item.outcome);
  return `${words.join(". ")}.`;
}

function voteLine(vote) {
  const said = vote.verdict === "approve" ? "approved" : "rejected";
  const reason = vote.reason ? h("q", { text: vote.reason }) : null;
  return h("li", { "data-verdict": vote.verdict }, h("strong", { text: vote.name }), ` ${said} at ${atTime(vote.at)} `, reason);
}

function why(item) {
  const by = item.policies.length ? ` · Cedar: ${item.policies.join(", ")}` : "";
  return h(
    "div",
    { class: "why" },
    h("p", { text: item.why }),
    h("p", { class: "measure", text: `workflow ${item.workflow}${by}` }),
    item.description ? h("blockquote", {}, h("p", { class: "measure", text: `What the server claims of ${item.name}` }), h("p", { text: item.description })) : null,
  );
}

function facts(item) {
  const rows = [
    ["Principal", item.principal],
    ["Namespace", item.namespace],
    ["Pod", item.pod],
    ["Source", item.source],
    ["Method", item.method],
    ["Asked", atLength(item.opened)],
    ["Needs", item.required === 1 ? "1 approval" : `${item.required} approvals of different people`],
    ["Correlation id", item.correlation_id],
    ["Request", item.id],
    ["Digest", item.digest],
  ];
  return h("dl", { class: "facts" }, ...rows.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", { text: name }), h("dd", { text: value }))));
}

/** What is said aloud when a request came to its end or moved on. */
export const news = (item) => `${item.name}: ${state(item.state)}`;
