// Building elements, and the only door through which HTML enters the page.

/** An element with attributes (false and null are left out) and children (texts stay texts). */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}

// The browser lets no string become HTML but through this policy, and only the server's sanitiser writes what it gets.
const policy = window.trustedTypes?.createPolicy("tutelage", { createHTML: (html) => html });

/** Fills an element with HTML that came from the server's sanitiser. */
export function fill(target, sanitised) {
  target.innerHTML = policy ? policy.createHTML(sanitised) : sanitised;
  return target;
}

/** What stands between keys and controls: the name of a key as it is printed on keyboards. */
const PRINTED = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space", Escape: "Esc" };

export function printed(key) {
  const [last, ...held] = key === "+" ? ["+"] : key.split("+").reverse();
  const shown = PRINTED[last] ?? (last.length === 1 ? last.toUpperCase() : last);
  return [...held.reverse(), shown].join(" ");
}

/** One or more keys, as they are shown on a control. */
export function caps(keys) {
  return keys.map((key) => element("kbd", {}, printed(key)));
}
