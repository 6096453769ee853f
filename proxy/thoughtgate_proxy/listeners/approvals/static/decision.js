// Approve or reject: buttons that stay where they are, and wait a moment before they can be used.

import { h, say } from "./dom.js";

// Whoever was about to press something else must not press this. Also longer than a double click.
const ARMING_MS = 450;

export class Decision {
  /** `cast(verdict, reason)` sends the vote; it rejects with an error to show. */
  constructor(cast) {
    this.cast = cast;
    this.can = { approve: false, reject: false };
    this.busy = false;
    this.armed = false;
    this.approve = h("button", { type: "button", class: "approve", "aria-keyshortcuts": "a", onclick: () => this.press("approve") }, "Approve ", h("kbd", { text: "A", "aria-hidden": "true" }));
    this.reject = h("button", { type: "button", class: "reject", "aria-keyshortcuts": "r", onclick: () => this.press("reject") }, "Reject… ", h("kbd", { text: "R", "aria-hidden": "true" }));
    this.reason = h("textarea", { id: "reason", rows: "2", maxlength: "1000", onkeydown: (event) => this.keyed(event) });
    this.confirm = h("button", { type: "submit", class: "reject" }, "Reject ", h("kbd", { text: "Enter", "aria-hidden": "true" }));
    this.form = h(
      "form",
      { class: "reason", hidden: true },
      h("label", { for: "reason", text: "Why not? The agent reads this (may be empty)" }),
      this.reason,
      h("div", { class: "buttons" }, h("button", { type: "button", class: "quiet", text: "Keep waiting", onclick: () => this.leaveReason() }), this.confirm),
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send("reject", this.reason.value);
    });
    this.buttons = h("div", { class: "buttons" }, this.approve, this.reject);
    this.told = h("p", { class: "told" });
    this.wrong = h("p", { class: "wrong", role: "alert" });
    this.element = h("div", { class: "decision" }, this.wrong, this.told, this.buttons, this.form);
    this.arm();
  }

  update(item, loaded, online) {
    const usable = loaded && online && !this.busy;
    const before = { ...this.can };
    this.can = { approve: item.may.includes("approve"), reject: item.may.includes("reject") };
    if ((this.can.approve && !before.approve) || (this.can.reject && !before.reject)) this.arm();
    this.usable = usable;
    say(this.told, item.may_not && ["pending", "approved"].includes(item.state) ? `Not yours to decide: ${item.may_not}.` : "");
    const any = this.can.approve || this.can.reject;
    this.buttons.hidden = !any || !this.form.hidden;
    if (!this.can.reject) this.form.hidden = true;
    this.element.hidden = !any && !this.told.textContent && !this.wrong.textContent;
    this.show();
  }

  show() {
    const ready = this.usable && this.armed;
    this.approve.disabled = !ready;
    this.reject.disabled = !ready;
    this.confirm.disabled = !ready;
    // It keeps its place, so that the other never comes to lie where this one was.
    this.approve.classList.toggle("absent", !this.can.approve);
    this.element.setAttribute("aria-busy", String(this.busy));
  }

  arm() {
    this.armed = false;
    clearTimeout(this.arming);
    this.arming = setTimeout(() => {
      this.armed = true;
      this.show();
    }, ARMING_MS);
  }

  press(verdict) {
    if (!this.usable || !this.armed || !this.can[verdict] || !this.form.hidden) return;
    if (verdict === "approve") {
      this.send("approve", "");
      return;
    }
    this.form.hidden = false;
    this.buttons.hidden = true;
    this.arm();
    this.show();
    this.reason.focus();
  }

  keyed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!event.repeat && !this.confirm.disabled) this.form.requestSubmit();
  }

  /** Close the reason; whether it was open. */
  leaveReason() {
    if (this.form.hidden) return false;
    this.form.hidden = true;
    this.buttons.hidden = false;
    this.arm();
    this.show();
    return true;
  }

  async send(verdict, reason) {
    if (this.busy || !this.usable || !this.armed) return;
    this.busy = true;
    this.usable = false;
    say(this.wrong, "");
    this.show();
    try {
      await this.cast(verdict, reason);
      this.form.hidden = true;
    } catch (error) {
      say(this.wrong, `Not counted: ${error.message}.`);
    } finally {
      this.busy = false;
      this.usable = true;
      this.show();
    }
  }
}
