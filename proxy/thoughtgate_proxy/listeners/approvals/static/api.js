// The page's API. A session is a cookie, out of our reach, and a key that we keep for this origin.

const KEY = "thoughtgate-key";

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function ask(method, path, body, signal) {
  const headers = { "X-ThoughtGate-Key": localStorage.getItem(KEY) ?? "" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(`/api/v1/${path}`, {
    method,
    headers,
    signal,
    cache: "no-store",
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.status === 204) return null;
  const answer = await response.json();
  if (response.ok) return answer;
  throw new Refused(response.status, answer.error.code, answer.error.message);
}

export const hasKey = () => localStorage.getItem(KEY) !== null;

export async function signIn(token) {
  const answer = await ask("POST", "session", { token });
  localStorage.setItem(KEY, answer.key);
}

export async function signOut() {
  try {
    await ask("DELETE", "session");
  } finally {
    localStorage.removeItem(KEY);
  }
}

/** Everything in short, as soon as it differs from the version `after`, or after a while. */
export const listing = (after, signal) =>
  ask("GET", `approvals?wait=${after ? 20 : 0}&after=${encodeURIComponent(after)}`, undefined, signal);

export const details = (id) => ask("GET", `approvals/${encodeURIComponent(id)}`);

export const vote = (id, digest, verdict, reason) =>
  ask("POST", `approvals/${encodeURIComponent(id)}/votes`, { verdict, digest, reason });
