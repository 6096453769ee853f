// What tells of waiting requests outside of the page: its title, its icon, and notifications.

import { byId } from "./dom.js";

const WANTED = "thoughtgate-notify";

export class Notices {
  /** `choose(id)` is called when a notification is pressed. */
  constructor(choose) {
    this.choose = choose;
    this.button = byId("notify");
    if (!("Notification" in window)) return;
    this.button.hidden = false;
    this.wanted = localStorage.getItem(WANTED) !== null && Notification.permission === "granted";
    this.button.addEventListener("click", () => this.toggle());
    this.show();
  }

  async toggle() {
    this.wanted = !this.wanted && (await Notification.requestPermission()) === "granted";
    if (this.wanted) localStorage.setItem(WANTED, "1");
    else localStorage.removeItem(WANTED);
    this.show();
  }

  show() {
    this.button.setAttribute("aria-pressed", String(this.wanted));
    this.button.title = Notification.permission === "denied" ? "This browser does not allow it for this page" : "";
  }

  /** So many wait now. */
  waiting(count, whose) {
    document.title = `${count ? `(${count}) ` : ""}Approvals · ${whose.pod ?? whose.principal}`;
    const icon = count ? "/icon-waiting.svg" : "/icon.svg";
    if (byId("icon").getAttribute("href") !== icon) byId("icon").href = icon;
    navigator.setAppBadge?.(count).catch(() => undefined);
  }

  /** These have come. Nobody who looks at the page needs to be told. */
  tell(items) {
    if (!this.wanted || !document.hidden) return;
    for (const item of items) {
      const notice = new Notification(`Approve ${item.name}?`, { body: `${item.principal} asks`, tag: item.id, icon: "/icon-waiting.svg" });
      notice.onclick = () => {
        window.focus();
        this.choose(item.id);
        notice.close();
      };
    }
  }
}
