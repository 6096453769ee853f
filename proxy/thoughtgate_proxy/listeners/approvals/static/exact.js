// The exact call as text, with a little colour so that the eye finds keys and odd characters.

import { h } from "./dom.js";

const REDACTED = '"[redacted]"';
// Beyond this the colours cost more than they help; the text is whole all the same.
const MOST_COLOURED = 50_000;
const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|[^"]+/g;
const PIECES = /\\u[0-9a-f]{4}|\\.|[^\\]+/gi;

/** A `<pre>` with the whole of `text`, which is JSON that cannot deceive (`core.shown`). */
export function exact(text, label) {
  const pre = h("pre", { class: "exact", tabindex: "0", role: "region", "aria-label": label });
  if (text.length > MOST_COLOURED) {
    pre.textContent = text;
    return pre;
  }
  for (const [token, string, colon] of text.matchAll(TOKENS)) {
    if (!string) pre.append(token);
    else if (colon) pre.append(h("span", { class: "key" }, ...pieces(string)), colon);
    else if (string === REDACTED) pre.append(h("mark", { text: "[redacted]" }));
    else pre.append(...pieces(string));
  }
  return pre;
}

function pieces(string) {
  return [...string.matchAll(PIECES)].map(([piece]) =>
    /^\\u/i.test(piece) ? h("span", { class: "odd", text: piece }) : piece,
  );
}
