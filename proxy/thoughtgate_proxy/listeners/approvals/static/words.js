// How times and states are said.

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const long = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

let skew = 0;

/** The pod's clock, in Unix seconds: the browser's own may be wrong. */
export const now = () => Date.now() / 1000 + skew;

/** Take the pod's time, as it just came. */
export function setClock(seconds) {
  skew = seconds - Date.now() / 1000;
}

export function left(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${String(whole % 60).padStart(2, "0")}`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(hours / 24)} days`;
}

export const atTime = (seconds) => clock.format(new Date((seconds - skew) * 1000));
export const atLength = (seconds) => long.format(new Date((seconds - skew) * 1000));

export function size(characters) {
  return `${characters.toLocaleString()} character${characters === 1 ? "" : "s"}`;
}

const STATES = {
  pending: "Waiting",
  approved: "Approved",
  sending: "Being sent",
  done: "Done",
  rejected: "Rejected",
  expired: "Timed out",
  cancelled: "Cancelled",
  unknown: "Outcome unknown",
};

const CANCELLED = {
  cancelled: "Cancelled by the agent",
  disconnected: "Cancelled: the agent left",
  frozen: "Cancelled: everything is frozen by the configuration",
  reconfigured: "Cancelled: the configuration is another one now",
  turned_away: "Not done: the server turned it away each time",
  ruled_out: "Cancelled: the rules no longer allow it",
  not_told: "Cancelled: nobody could be asked",
};

export const state = (name) => STATES[name] ?? name;

/** One sentence on where a request stands. */
export function standing(item) {
  const by = item.votes.filter((vote) => vote.verdict === "approve").map((vote) => vote.name);
  const no = item.votes.find((vote) => vote.verdict === "reject");
  switch (item.state) {
    case "pending":
      if (item.required > 1) return `${by.length} of ${item.required} approvals`;
      return "Waiting for a decision";
    case "approved":
      return `Approved by ${by.join(", ")}: goes as soon as the agent takes it`;
    case "sending":
      return `Approved by ${by.join(", ")}: being sent`;
    case "done":
      return `Approved by ${by.join(", ")}, and sent`;
    case "rejected":
      return no ? `Rejected by ${no.name}` : "Rejected";
    case "expired":
      return item.ending === "not_used" ? "Approved, but the agent did not take it in time" : "Nobody decided in time: denied";
    case "cancelled":
      return CANCELLED[item.ending] ?? "Cancelled";
    case "unknown":
      return "Cut off while it was being sent: the server may or may not have acted";
    default:
      return item.state;
  }
}
