// Elements from plain values. Texts only ever become text nodes: nothing here can make HTML.

/** An element; `properties` are attributes, `on…` listeners and `text`. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Set a text only where it differs, so that screen readers and selections are left alone. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Make `parent`'s children those of `items`, in their order, keeping the elements that are there.
 * `make(item)` gives a new one, `update(element, item)` brings one up to date.
 */
export function sync(parent, items, make, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.id, child]));
  const wanted = new Set(items.map((item) => item.id));
  for (const [id, child] of known) if (!wanted.has(id)) child.remove();
  let at = parent.firstElementChild;
  for (const item of items) {
    let element = known.get(item.id);
    if (!element) {
      element = make(item);
      element.dataset.id = item.id;
    }
    update(element, item);
    // Moving an element takes its focus away, so that only those out of place are moved.
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
}
